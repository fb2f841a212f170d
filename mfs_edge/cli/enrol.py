"""``mfs-edge enrol``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from mfs_edge.cli.common import PATH, json_errors, json_option, sha256_option, steps_for


@click.command()
@click.option(
    "--base", type=PATH, default=Path("build"), show_default=True, help="Folder of the base that packs are for."
)
@click.option("--artefact", metavar="FILE", help="Which of its files payloads are for, where they differ.")
@click.option("--arcface", type=PATH, required=True, help="ArcFace checkpoint, or FILE#NAME.")
@click.option("--checkpoint", type=PATH, help="MobileFaceSwap checkpoint that the base was compiled from.")
@sha256_option
@click.option(
    "--target", multiple=True, default=("onnx",), show_default=True, help='Repeats; "all" is every installed one.'
)
@click.option(
    "--precision",
    type=click.Choice(["fp32", "fp16", "int8"]),
    default="fp32",
    show_default=True,
    help="Of the weights; it computes in float32.",
)
@click.option("--out", type=PATH, default=Path("enrol"), show_default=True, help="Output folder.")
@click.option("--overwrite", is_flag=True, help="Write into a folder that holds other files.")
@click.option("--min-psnr", type=float, help="Least PSNR in dB of swapped pictures. Default: 70, 50 or 40.")
@click.option("--verify/--no-verify", default=True, help="Run every written file against the torch path.")
@json_option
def enrol(json: bool, **options: Any) -> None:
    """Emit what reads an identity on the device: an aligned face crop in, a pack's payload out."""
    import mfs_edge
    from mfs_edge.cli import show as report

    steps = steps_for(json=json)
    with json_errors(json):
        result = mfs_edge.enrol(**options, steps=steps)
        report.compiled(result, seconds=steps.seconds, notes=steps.notes, json=json)
        report.require_passed(result)
