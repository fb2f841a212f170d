"""What every benchmark needs: one network, one picture, tables of rows, and errors in one line."""

from __future__ import annotations

import contextlib
import json
import os
import platform
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import click
import numpy as np
from rich.console import Console
from rich.table import Table

from mfs_edge.base.errors import MfsEdgeError
from mfs_edge.measure.machine import cpu_model

Arrays = dict[str, np.ndarray]
Row = Mapping[str, Any]


def demo_weights(identity: int = 0) -> Arrays:
    """The embedded demo's network of one identity, folded, under the IDN's official keys."""
    from mfs_edge.fold import fold
    from mfs_edge.sample import weights

    return fold(weights.checkpoint("iin"), weights.identity(identity)).weights()


def frame(size: int) -> np.ndarray:
    """A drawn face, float32 [1, 3, size, size] in 0..1."""
    from mfs_edge import sample
    from mfs_edge.base import images

    return images.to_nchw(images.resize(sample.target(0), size))


def cells(rows: Sequence[Row]) -> list[dict[str, str]]:
    """Every row as text, under the same columns."""
    columns = dict.fromkeys(key for row in rows for key in row)
    return [{key: _text(row.get(key)) for key in columns} for row in rows]


def _text(value: Any) -> str:
    if isinstance(value, tuple):
        return "..".join(map(_text, value))
    return "-" if value is None else f"{value:.2f}" if isinstance(value, float) else str(value)


def show(title: str, rows: Sequence[Row]) -> None:
    """Print rows as a table."""
    table = Table(title=title, caption=f"{cpu_model()}, {platform.system()}, Python {platform.python_version()}")
    first, *_ = texts = cells(rows)
    for key, value in first.items():
        table.add_column(key, justify="left" if value[:1].isalpha() else "right", overflow="fold")
    for text in texts:
        table.add_row(*text.values())
    Console(width=160).print(table)


def markdown(rows: Sequence[Row]) -> str:
    """Rows as a table on a page."""
    first, *_ = texts = cells(rows)
    lines = [list(first), ["---"] * len(first), *(list(text.values()) for text in texts)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def save(path: Path, results: Row) -> None:
    """Write results as JSON, with the machine they are from."""
    machine = {"cpu": cpu_model(), "cores": os.cpu_count(), "system": platform.platform(), "python": sys.version}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"host": machine, **results}, indent=2) + "\n")


@contextlib.contextmanager
def told() -> Iterator[None]:
    """Our own errors in one line, with their exit code."""
    try:
        yield
    except MfsEdgeError as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(error.exit_code)
