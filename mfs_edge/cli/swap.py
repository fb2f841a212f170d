"""``mfs-edge swap``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from mfs_edge.cli.common import PATH, json_errors, json_option, steps_for


@click.command()
@click.argument("source", metavar="IN", type=PATH)
@click.argument("out", metavar="OUT", type=PATH)
@click.option("--artefact", type=PATH, required=True, help="What compile wrote: a file, or its folder.")
@click.option(
    "--pack",
    multiple=True,
    type=PATH,
    help="Whose face to put in, in place of the artefact's own identity. Repeats with --face all: from left to right.",
)
@click.option("--key", type=PATH, help="Secret key, for sealed packs.  [default: the file in $MFS_EDGE_KEY]")
@click.option(
    "--face",
    default="largest",
    show_default=True,
    metavar="WHICH",
    help="largest, all, N (1 is the leftmost), or reference:PHOTO (the one in PHOTO, with --arcface).",
)
@click.option(
    "--landmarks",
    type=PATH,
    help="Five points of the face, instead of finding it; for a folder of photos, a folder of NAME.json, .txt or .npy.",
)
@click.option(
    "--face-models", metavar="DIR", type=PATH, help="Where the models that find faces are.  [default: the cache]"
)
@click.option("--arcface", type=PATH, help="ArcFace checkpoint, or FILE#NAME; for --face reference:PHOTO.")
@click.option("--threads", type=int, help="Of the runtime.  [default: the runtime's own choice]")
@click.option("--profile", is_flag=True, help="Show the time of each stage; --json has it anyway.")
@click.option("--overwrite", is_flag=True, help="Replace what is there.")
@click.option("--resume", is_flag=True, help="Continue a video where an earlier run ended.")
@json_option
def swap(source: Path, out: Path, json: bool, profile: bool, **options: Any) -> None:
    """Swap the faces of IN into OUT.

    IN is a photo, a folder of photos, a video, camera:0, or - for raw frames on standard input. OUT is written in the
    format that its name ends in. A folder's results keep their names, and what is there already is kept.
    """
    from mfs_edge.cli import show as report
    from mfs_edge.swap.run import swap as run

    steps = steps_for(json=json)
    with json_errors(json):
        result = run(source, out, **options, steps=steps)
        report.swapped(result, profile=profile, seconds=steps.seconds, notes=steps.notes, json=json)
        result.require_all()
