"""A bar with the time left for every device, on standard error."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from typing import Protocol

Tell = Callable[[float, float], None]


class Progress(Protocol):
    """What ``bench`` reports to while it measures."""

    def job(self, title: str) -> contextlib.AbstractContextManager[Tell]:
        """A piece of work; what it yields takes the share done and the seconds left."""
        ...


class Silent:
    """Says nothing: the Python API's default."""

    @contextlib.contextmanager
    def job(self, title: str) -> Iterator[Tell]:
        yield lambda done, left_s: None


class Bars:
    """One line per running job; they vanish when it ends. Nothing is drawn where there is no terminal."""

    def __init__(self) -> None:
        from rich import progress
        from rich.console import Console

        console = Console(stderr=True, highlight=False)
        self._bars = progress.Progress(
            progress.SpinnerColumn(),
            progress.TextColumn("{task.description}"),
            progress.BarColumn(),
            progress.TaskProgressColumn(),
            progress.TextColumn("[dim]{task.fields[left]}"),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )

    def __enter__(self) -> Bars:
        self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bars.stop()

    @contextlib.contextmanager
    def job(self, title: str) -> Iterator[Tell]:
        task = self._bars.add_task(title, total=1.0, left="")
        started = time.monotonic()

        def tell(done: float, left_s: float) -> None:
            elapsed = time.monotonic() - started
            # What the job says of its phases leaves out start-up; its own pace so far does not.
            left = max(left_s, elapsed / done - elapsed) if done > 0.1 else left_s
            self._bars.update(task, completed=done, left=f"{left:.0f} s left")

        try:
            yield tell
        finally:
            self._bars.remove_task(task)
