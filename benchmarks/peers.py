"""Our artefacts beside other toolchains': ``python benchmarks/peers.py tflite``.

Each ``peers_*.py`` next to this file holds one comparison, as a click command called
``main``; ``peerlib`` holds what they share.
"""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import click

from mfs_edge.base.errors import MfsEdgeError

HERE = Path(__file__).parent


class _Group(click.Group):
    """Reports our own errors as one line, with their exit code."""

    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except MfsEdgeError as error:
            click.echo(f"error: {error}", err=True)
            ctx.exit(error.exit_code)


@click.group(cls=_Group)
def main() -> None:
    """Compare our artefacts with those of other toolchains, on the same network."""


def register() -> None:
    """Add the command of every comparison that is here."""
    sys.path.insert(0, str(HERE.parent))  # run as a script, only this folder is on the path
    for path in sorted(HERE.glob("peers_*.py")):
        module = importlib.import_module(f"benchmarks.{path.stem}")
        main.add_command(module.main, path.stem.removeprefix("peers_"))


if __name__ == "__main__":
    register()
    main()
