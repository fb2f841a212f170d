"""``mfs-edge demo``."""

from __future__ import annotations

from pathlib import Path

import click

from mfs_edge.cli.common import PATH, json_errors, json_option, steps_for


@click.command()
@click.argument("folder", metavar="[DIR]", type=PATH, default=Path("demo"))
@click.option("--overwrite", is_flag=True, help="Write into a folder that holds other files.")
@json_option
def demo(folder: Path, overwrite: bool, json: bool) -> None:
    """The main job on the embedded demo: drawn faces, to every installed target, into DIR.

    With the extra video it also draws a short video and swaps the face in it with each artefact that runs here.
    """
    from mfs_edge.cli import show as report
    from mfs_edge.pipeline import demo as run

    steps = steps_for(json=json)
    with json_errors(json):
        result = run.demo(folder, overwrite=overwrite, steps=steps)
        report.demonstrated(result, seconds=steps.seconds, notes=steps.notes, json=json)
        report.require_passed(result)
