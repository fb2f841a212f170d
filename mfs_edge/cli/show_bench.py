"""The terminal's table."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import click
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from mfs_edge.measure import table
from mfs_edge.measure.results import Report

LOG_WIDTH = 160
_LEFT = {"artefact", "against", "device", "verdict", "machine"}


def show(report: Report) -> None:
    """Tables and notes on standard output; causes and failures, one line each but the last, on standard error.

    The last is for the exception that ends the program.
    """
    console = Console(highlight=False, soft_wrap=True)
    if not console.is_terminal:  # a log has no width
        console.width = LOG_WIDTH
    if report.entries:
        console.print(_table(table.COLUMNS, map(table.entry, report.entries)))
        for entry in report.entries:
            for line in table.details(entry):
                console.print(f"[dim]{escape(line)}[/]")
    if report.comparisons:
        console.print(_table(table.COMPARED, map(table.compared, report.comparisons)))
    if report.trends:
        console.print(_table(table.TREND, map(table.trend, report.trends)))
    for note in report.notes:
        console.print(f"[yellow]note:[/] {escape(note)}")
    for line in (*report.failures, *report.causes)[:-1]:
        click.echo(f"mfs-edge: {line}", err=True)


def _table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> Table:
    made = Table(box=box.SIMPLE_HEAD)
    for column in columns:
        made.add_column(column, justify="left" if column in _LEFT else "right", overflow="fold")
    for row in rows:
        made.add_row(*map(escape, row))
    return made
