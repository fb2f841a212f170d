"""A step list with times, and bars with the time left, while the work goes on."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from typing import Protocol

from mfs_edge.base.printable import printable, styled

Count = Callable[[int, int], None]  # things done, things in all (0: nobody knows)
Tell = Callable[[float, float], None]  # the share done, seconds left


class Steps(Protocol):
    """What the pipeline reports its progress to."""

    def step(self, title: str) -> contextlib.AbstractContextManager[None]:
        """A piece of work; entered when it starts, left when it ends."""
        ...

    def counted(self, title: str, unit: str = "") -> contextlib.AbstractContextManager[Count]:
        """A longer piece of work, which tells how many of how many things are done; with ``unit`` also how fast."""
        ...

    def note(self, line: str) -> None:
        """Something the user must see: a fallback, a skipped target, a warning."""
        ...


class Jobs(Protocol):
    """What ``bench`` reports its progress to, from several threads."""

    def job(self, title: str) -> contextlib.AbstractContextManager[Tell]:
        """A piece of work beside others."""
        ...


class Recorded:
    """Remembers times and notes, prints nothing: the Python API's default and ``--json``'s."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self.notes: list[str] = []

    @contextlib.contextmanager
    def step(self, title: str) -> Iterator[None]:
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[title] = round(time.perf_counter() - start, 4)

    @contextlib.contextmanager
    def counted(self, title: str, unit: str = "") -> Iterator[Count]:
        with self.step(title):
            yield lambda done, total: None

    @contextlib.contextmanager
    def job(self, title: str) -> Iterator[Tell]:
        yield lambda done, left_s: None

    def note(self, line: str) -> None:
        self.notes.append(line)


class Printed(Recorded):
    """Also shows them on standard error; bars vanish when they end, and are drawn on a terminal only."""

    def __init__(self) -> None:
        super().__init__()
        from rich import progress
        from rich.console import Console

        self.console = Console(stderr=True, highlight=False)
        self._lock = threading.Lock()
        self._bars = progress.Progress(
            progress.SpinnerColumn(),
            progress.TextColumn("{task.description}", markup=False),
            progress.BarColumn(),
            progress.TaskProgressColumn(),
            progress.TextColumn("[dim]{task.fields[left]}"),
            console=self.console,
            transient=True,
            disable=not self.console.is_terminal,
        )

    @contextlib.contextmanager
    def step(self, title: str) -> Iterator[None]:
        with self.console.status(styled(title)), super().step(title):
            yield
        self._done(title)

    @contextlib.contextmanager
    def counted(self, title: str, unit: str = "") -> Iterator[Count]:
        with self._job(title) as tell, Recorded.step(self, title):
            begun: list[tuple[float, int]] = []  # when, and how many an earlier run had done

            def count(done: int, total: int) -> None:
                if not begun:
                    begun.append((time.monotonic(), done))
                seconds, more = time.monotonic() - begun[0][0], done - begun[0][1]
                pace = f"{more / seconds:.1f} {unit}/s, " if unit and more else ""
                tell(done / total if total else 0.0, 0.0, pace)

            yield count
        self._done(title)

    @contextlib.contextmanager
    def job(self, title: str) -> Iterator[Tell]:
        with self._job(title) as tell:
            yield tell

    @contextlib.contextmanager
    def _job(self, title: str) -> Iterator[Callable[..., None]]:
        started = time.monotonic()
        with self._lock:
            task = self._bars.add_task(printable(title), total=1.0, left="")
            self._bars.start()

        def tell(done: float, left_s: float, pace: str = "") -> None:
            elapsed = time.monotonic() - started
            # What the job says of its phases leaves out start-up; its own pace so far does not.
            left = max(left_s, elapsed / done - elapsed) if done > 0.1 else left_s
            self._bars.update(task, completed=done, left=f"{pace}{left:.0f} s left")

        try:
            yield tell
        finally:
            with self._lock:
                self._bars.remove_task(task)
                if not self._bars.tasks and not self._bars.disable:
                    self._bars.stop()

    def _done(self, title: str) -> None:
        tick = "✓" if self.console.encoding.startswith("utf") else "ok"
        self.console.print(
            styled("  ", (tick, "green"), f" {title} ", (f"{self.seconds[title]:.2f} s", "dim")), soft_wrap=True
        )

    def note(self, line: str) -> None:
        super().note(line)
        self.console.print(styled("  ", ("!", "yellow"), f" {line}"), soft_wrap=True)
