"""``mfs-edge inspect``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from mfs_edge.cli.common import PATH, json_errors, json_option, steps_for


@click.command()
@click.argument("file", type=PATH)
@click.option("--layers", is_flag=True, help="What each node of an ONNX artefact costs.")
@click.option("--quant", is_flag=True, help="The quantised tensors of an artefact, and what each costs.")
@click.option(
    "--trust",
    type=PATH,
    metavar="PEM",
    help="Certificates of those whom you trust to sign pictures.  [default: the file in $MFS_EDGE_TRUST]",
)
@click.option("--key", type=PATH, help="Secret key, for a sealed pack.  [default: the file in $MFS_EDGE_KEY]")
@json_option
def inspect(file: Path, json: bool, **options: Any) -> None:
    """Show what FILE is: a checkpoint, an identity, an artefact, a manifest, a pack, a picture or a video."""
    from mfs_edge.about import inspection
    from mfs_edge.cli import show as report

    with json_errors(json):
        report.inspected(inspection.inspect(file, **options, steps=steps_for(json=json)), json=json)
