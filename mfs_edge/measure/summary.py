"""Markdown for a pull request, and for GitHub's step summary."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from mfs_edge.base import files
from mfs_edge.base.printable import printable
from mfs_edge.measure import table
from mfs_edge.measure.results import Report

VARIABLE = "GITHUB_STEP_SUMMARY"


def render(report: Report) -> str:
    """The whole report as GitHub-flavoured Markdown."""
    parts = [f"### mfs-edge bench: {table.verdict(report)}"]
    wrong = [*report.causes, *report.failures]
    if wrong:
        parts.append("\n".join(f"- :x: {_cell(line)}" for line in wrong))
    for remark, columns, rows in table.tables(report):
        parts += [remark, _table(columns, rows)]
    if report.notes:
        parts.append("\n".join(f"- {_cell(note)}" for note in report.notes))
    machines = dict.fromkeys(entry.machine_key for entry in report.entries)
    parts.append("\n".join(f"<sub>{_cell(machine)}</sub>" for machine in machines))
    return "\n\n".join(filter(None, parts)) + "\n"


def to_github(report: Report) -> None:
    """Append it to the step summary, where there is one."""
    where = os.environ.get(VARIABLE)
    if where:
        with files.writing(Path(where)), Path(where).open("a", encoding="utf-8", errors="backslashreplace") as file:
            file.write(render(report))


def _table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join(f"| {' | '.join(map(_cell, line))} |" for line in lines)


def _cell(text: str) -> str:
    return printable(text.replace("\n", " ")).replace("|", "\\|").replace("<", "&lt;")
