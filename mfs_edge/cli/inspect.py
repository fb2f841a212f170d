"""``mfs-edge inspect``."""

from __future__ import annotations

from pathlib import Path

import click

from mfs_edge.cli.common import PATH, json_errors, json_option, steps_for


@click.command()
@click.argument("file", type=PATH)
@click.option("--layers", is_flag=True, help="What each node of an ONNX artefact costs.")
@click.option("--quant", is_flag=True, help="The quantised tensors of an artefact, and what each costs.")
@json_option
def inspect(file: Path, layers: bool, quant: bool, json: bool) -> None:
    """Show what FILE is: a checkpoint, an identity, an artefact or a manifest."""
    from mfs_edge.about import inspection
    from mfs_edge.cli import show as report

    with json_errors(json):
        report.inspected(inspection.inspect(file, layers=layers, quant=quant, steps=steps_for(json=json)), json=json)
