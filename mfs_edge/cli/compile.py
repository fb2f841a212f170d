"""``mfs-edge compile``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from mfs_edge.cli.common import PATH, json_errors, json_option, sha256_option, steps_for


class _Compile(click.Command):
    """Its help lists what each target lets you set, from the target's own model."""

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        from mfs_edge import target

        options = [option for kind in target.registered().values() for option in target.options_of(kind)]
        with formatter.section("Target options, for --set"):
            formatter.write_dl([(f"{option.name}={option.type}", option.description) for option in options])


@click.command(cls=_Compile)
@click.option("--identity", type=PATH, help="id.npy (or .npz, or a picture with --arcface).")
@click.option(
    "--identities",
    metavar="[DIR]",
    is_flag=False,
    flag_value="drawn",
    help="Instead: a folder of id.npy whose base this is to be; without DIR the demo's drawn faces.",
)
@click.option(
    "--target", multiple=True, default=("onnx",), show_default=True, help='Repeats; "all" is every installed one.'
)
@click.option(
    "--checkpoint",
    type=PATH,
    help="MobileFaceSwap checkpoint: .pdparams, .pth or .safetensors; FILE#NAME takes one of several networks.",
)
@click.option("--arcface", type=PATH, help="ArcFace checkpoint, where the identity needs it; may be the same file.")
@sha256_option
@click.option("--size", type=int, default=224, show_default=True, help="Image side in pixels, a multiple of 32.")
@click.option("--precision", type=click.Choice(["fp32", "fp16", "int8", "int8-mixed"]), help="Default: the target's.")
@click.option("--calibration", type=PATH, help="Face crops (a folder or .npz) to quantise with.")
@click.option(
    "--io",
    type=click.Choice(["float32", "uint8", "image"]),
    help="What the file takes and gives. Default: the target's.",
)
@click.option("--optimize", type=click.IntRange(0, 1), default=1, show_default=True, help="1: all exact passes.")
@click.option("--out", type=PATH, default=Path("build"), show_default=True, help="Output folder.")
@click.option("--overwrite", is_flag=True, help="Write into a folder that holds other files.")
@click.option("--min-psnr", type=float, help="Least PSNR in dB against the reference. Default: the precision's.")
@click.option(
    "--set", multiple=True, metavar="TARGET.OPTION=VALUE", help="An option of one target; repeats. See below."
)
@click.option("--min-ios", metavar="N", help="Short for --set coreml.min_ios=N.")
@click.option("--verify/--no-verify", default=True, help="Run every written file against the reference.")
@json_option
def compile(json: bool, min_ios: str | None, **options: Any) -> None:
    """Fold an identity, emit it for each target, and prove every file."""
    import mfs_edge
    from mfs_edge.cli import show as report

    if min_ios is not None:
        options["set"] += (f"coreml.min_ios={min_ios}",)
    steps = steps_for(json=json)
    with json_errors(json):
        result = mfs_edge.compile(**options, steps=steps)
        report.compiled(result, seconds=steps.seconds, notes=steps.notes, json=json)
        report.require_passed(result)
