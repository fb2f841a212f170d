"""A step list with times while the work goes on."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from typing import Protocol

Count = Callable[[int, int], None]


class Steps(Protocol):
    """What the pipeline reports its progress to."""

    def step(self, title: str) -> contextlib.AbstractContextManager[None]:
        """A piece of work; entered when it starts, left when it ends."""
        ...

    def counted(self, title: str) -> contextlib.AbstractContextManager[Count]:
        """A longer piece of work, which tells how many of how many things are done."""
        ...

    def note(self, line: str) -> None:
        """Something the user must see: a fallback, a skipped target, a warning."""
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

    def note(self, line: str) -> None:
        self.notes.append(line)


class Printed(Recorded):
    """Also shows each step on the terminal, on standard error."""

    def __init__(self) -> None:
        super().__init__()
        from rich.console import Console

        self.console = Console(stderr=True, highlight=False)

    @contextlib.contextmanager
    def step(self, title: str) -> Iterator[None]:
        with self.console.status(title), super().step(title):
            yield
        self._done(title)

    @contextlib.contextmanager
    def counted(self, title: str) -> Iterator[Count]:
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (TextColumn("  {task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        with (
            Progress(*columns, console=self.console, transient=True, disable=not self.console.is_terminal) as bar,
            Recorded.step(self, title),
        ):
            task = bar.add_task(title, total=None)
            yield lambda done, total: bar.update(task, completed=done, total=total)
        self._done(title)

    def _done(self, title: str) -> None:
        self.console.print(f"  [green]✓[/] {title} [dim]{self.seconds[title]:.2f} s[/]", soft_wrap=True)

    def note(self, line: str) -> None:
        super().note(line)
        self.console.print(f"  [yellow]![/] {line}", markup=True, soft_wrap=True)
