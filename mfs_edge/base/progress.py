"""A step list with times, and bars with the time left, while the work goes on."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from typing import Protocol

from mfs_edge.base.printable import printable, styled

Count = Callable[[int, int], None]  # things done, things in all
Tell = Callable[[float, float], None]  # the share done, seconds left
Pace = Callable[[int, int | None], None]  # frames done, frames in all, where that is known


class Steps(Protocol):
    """What the pipeline reports its progress to."""

    def step(self, title: str) -> contextlib.AbstractContextManager[None]:
        """A piece of work; entered when it starts, left when it ends."""
        ...

    def counted(self, title: str) -> contextlib.AbstractContextManager[Count]:
        """A longer piece of work, which tells how many of how many things are done."""
        ...

    def streamed(self, title: str) -> contextlib.AbstractContextManager[Pace]:
        """Work on frame after frame, which tells how many of how many are done; of a camera nobody knows how many."""
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
    def counted(self, title: str) -> Iterator[Count]:
        with self.step(title):
            yield lambda done, total: None

    @contextlib.contextmanager
    def streamed(self, title: str) -> Iterator[Pace]:
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
    def counted(self, title: str) -> Iterator[Count]:
        with self.job(title) as tell, Recorded.step(self, title):
            yield lambda done, total: tell(done / total, 0.0)
        self._done(title)

    @contextlib.contextmanager
    def streamed(self, title: str) -> Iterator[Pace]:
        started = time.monotonic()
        before = last = None
        with self._bar(title) as update, Recorded.step(self, title):

            def tell(done: int, total: int | None) -> None:
                nonlocal before, last
                before, last = done - 1 if before is None else before, done  # a resumed run begins in the middle
                pace = paced(done, total, (done - before) / max(time.monotonic() - started, 1e-3))
                update(completed=done / total if total else 0, left=pace)

            yield tell
        frames = 0 if before is None or last is None else last - before
        self._done(title, f", {frames / max(self.seconds[title], 1e-3):.1f} frames/s" if frames else "")

    @contextlib.contextmanager
    def job(self, title: str) -> Iterator[Tell]:
        started = time.monotonic()
        with self._bar(title) as update:

            def tell(done: float, left_s: float) -> None:
                elapsed = time.monotonic() - started
                # What the job says of its phases leaves out start-up; its own pace so far does not.
                left = max(left_s, elapsed / done - elapsed) if done > 0.1 else left_s
                update(completed=done, left=f"{left:.0f} s left")

            yield tell

    @contextlib.contextmanager
    def _bar(self, title: str) -> Iterator[Callable[..., None]]:
        """A bar among the others; what is yielded sets its columns."""
        with self._lock:
            task = self._bars.add_task(printable(title), total=1.0, left="")
            self._bars.start()
        try:
            yield lambda **columns: self._bars.update(task, **columns)
        finally:
            with self._lock:
                self._bars.remove_task(task)
                if not self._bars.tasks and not self._bars.disable:
                    self._bars.stop()

    def _done(self, title: str, more: str = "") -> None:
        tick = "✓" if self.console.encoding.startswith("utf") else "ok"
        self.console.print(
            styled("  ", (tick, "green"), f" {title} ", (f"{self.seconds[title]:.2f} s{more}", "dim")), soft_wrap=True
        )

    def note(self, line: str) -> None:
        super().note(line)
        self.console.print(styled("  ", ("!", "yellow"), f" {line}"), soft_wrap=True)


def paced(done: int, total: int | None, rate: float) -> str:
    """What a bar says of frames: how many, how fast, and how long it will take.

    Args:
        done: frames so far.
        total: frames in all, where that is known.
        rate: frames per second.
    """
    told = f"{done}/{total}, {rate:.1f} frames/s" if total else f"{done}, {rate:.1f} frames/s"
    return f"{told}, {max(total - done, 0) / rate:.0f} s left" if total and rate else told
