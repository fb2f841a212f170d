"""``mfs-edge identity``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from mfs_edge.cli.common import PATH, face_models_option, json_errors, json_option, sha256_option, steps_for


@click.command()
@click.argument("photo", type=PATH)
@click.option("--arcface", type=PATH, required=True, help="ArcFace checkpoint, or FILE#NAME.")
@sha256_option
@click.option(
    "--landmarks",
    type=PATH,
    metavar="FILE|auto",
    help="Five points of the face in a whole photo: ten numbers, or what insightface, mtcnn, retina-face, dlib or "
    "MediaPipe's mesh write; or auto, to find its one face.",
)
@face_models_option
@click.option("-o", "--out", type=PATH, default=Path("id.npy"), show_default=True, help="Where to write the identity.")
@click.option("--overwrite", is_flag=True, help="Replace existing files.")
@click.option("--preview/--no-preview", default=True, help="Write the aligned crop, id.crop.png, beside it.")
@json_option
def identity(photo: Path, json: bool, **options: Any) -> None:
    """Read an identity from PHOTO: an aligned square face crop, or any photo with --landmarks.

    Beside id.npy go id.json, the record of what it was read from, and id.crop.png, the face as
    it was understood: look at it.
    """
    from mfs_edge.cli import show as report
    from mfs_edge.pipeline.identify import identify

    steps = steps_for(json=json)
    with json_errors(json):
        found = identify(photo, **options, steps=steps)
        report.identified(found, options["out"], seconds=steps.seconds, notes=steps.notes, json=json)
