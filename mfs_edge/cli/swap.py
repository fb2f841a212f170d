"""``mfs-edge swap``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from mfs_edge.base.errors import UsageError
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
    help="The faces' five points, instead of finding them: of a photo, or of a video's frames; for a folder of "
    "photos, a folder of NAME.json, .txt or .npy.",
)
@click.option(
    "--face-models", metavar="DIR", type=PATH, help="Where the models that find faces are.  [default: the cache]"
)
@click.option("--arcface", type=PATH, help="ArcFace checkpoint, or FILE#NAME; for --face reference:PHOTO and --report.")
@click.option("--threads", type=int, help="Of the runtime.  [default: the runtime's own choice]")
@click.option("--profile", is_flag=True, help="Show the time of each stage; --json has it anyway.")
@click.option("--overwrite", is_flag=True, help="Replace what is there.")
@click.option("--resume", is_flag=True, help="Continue a video where an earlier run ended.")
@click.option("--pipe-size", metavar="WxH", help="Of raw frames on standard input; YUV4MPEG2 says it itself.")
@click.option("--pipe-format", metavar="FORMAT", help="Of raw frames: rgb24, bgr24, rgba, bgra, yuv420p, nv12, ...")
@click.option("--pipe-rate", metavar="FPS", help="Of raw frames on standard input.  [default: 30]")
@click.option(
    "--sign-cert", type=PATH, help="Certificate (PEM) that signs the results.  [default: one made on the spot]"
)
@click.option("--sign-key", type=PATH, help="Its key (PEM).")
@click.option("--label", is_flag=True, help="Draw a mark that people see.")
@click.option("--report", metavar="DIR", type=PATH, help="Write what was changed and what was not, as JSON and a page.")
@click.option("--identity", type=PATH, help="id.npy of whose face is put in, for the likeness in --report.")
@json_option
def swap(source: Path, out: Path, json: bool, profile: bool, **options: Any) -> None:
    """Swap the faces of IN into OUT.

    IN is a photo, a folder of photos, a video, camera:0, or - for frames on standard input. OUT is written in the
    format that its name ends in, and says in its metadata, signed, that faces in it were swapped. A folder's results
    keep their names, and what is there already is kept.
    """
    from mfs_edge.cli import show as report
    from mfs_edge.swap.run import PIPE
    from mfs_edge.swap.run import swap as run

    steps = steps_for(json=json)
    with json_errors(json):
        if json and str(out) == PIPE:
            raise UsageError("--json: standard output carries the frames; write to a file, or leave --json out")
        result = run(source, out, **options, steps=steps)
        report.swapped(result, profile=profile, seconds=steps.seconds, notes=steps.notes, json=json)
        result.require_all()
