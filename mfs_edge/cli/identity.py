"""``mfs-edge identity``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from mfs_edge.cli.common import PATH, json_errors, json_option, sha256_option, steps_for


@click.command()
@click.argument("photo", type=PATH)
@click.option("--arcface", type=PATH, required=True, help="ArcFace checkpoint, or FILE#NAME.")
@sha256_option
@click.option(
    "--landmarks",
    type=PATH,
    help="Five x,y points of the face in a whole photo, as text or as detectors write them.",
)
@click.option("-o", "--out", type=PATH, default=Path("id.npy"), show_default=True, help="Where to write the identity.")
@click.option("--preview/--no-preview", default=True, help="Write the aligned crop beside it, as .png.")
@click.option("--overwrite", is_flag=True, help="Replace an existing file.")
@json_option
def identity(photo: Path, json: bool, **options: Any) -> None:
    """Read an identity from PHOTO: an aligned square face crop, or any photo with --landmarks."""
    from mfs_edge.cli import show as report
    from mfs_edge.pipeline.identify import identify

    steps = steps_for(json=json)
    with json_errors(json):
        found = identify(photo, **options, steps=steps)
        report.identified(found, options["out"], seconds=steps.seconds, notes=steps.notes, json=json)
