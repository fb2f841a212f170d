"""``mfs-edge pack``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from mfs_edge.cli.common import PATH, json_errors, json_option, steps_for


@click.group()
def pack() -> None:
    """Another identity for a compiled artefact, as a patch of some 25 to 100 kB.

    A pack is biometric data of the person in it: keep it as you would a photograph.
    """


@pack.command()
@click.option("--base", type=PATH, required=True, help="Folder that compile wrote.")
@click.option("--identity", type=PATH, help="id.npy (or .npz).")
@click.option("--identities", type=PATH, help="Instead, a folder of them.")
@click.option(
    "-o", "--out", type=PATH, required=True, help="Folder for NAME-ARTEFACT.pack; for one, a name that ends in .pack."
)
@click.option("--checkpoint", type=PATH, help="The one that the base was compiled for; FILE#NAME for one of several.")
@click.option("--jobs", type=int, default=1, show_default=True, help="Processes here; -1: one for each CPU.")
@click.option("--dask", metavar="ADDRESS", help="Instead, a Dask scheduler: tcp://HOST:PORT.")
@click.option(
    "--recipient", multiple=True, metavar="AGE", help="Seal packs for this public key, or those in a file; repeats."
)
@json_option
def make(json: bool, **options: Any) -> None:
    """Write a pack for each identity and each artefact of a base; finished ones are kept."""
    from mfs_edge import pack as packs
    from mfs_edge.cli import show as report

    steps = steps_for(json=json)
    with json_errors(json):
        made = packs.make(**options, steps=steps)
        report.packed(made, seconds=steps.seconds, notes=steps.notes, json=json)
        made.require_all()


@pack.command()
@click.argument("base", type=PATH)
@click.argument("pack", type=PATH)
@click.option("-o", "--out", type=PATH, required=True, help="File or folder to write, with the base's suffix.")
@click.option("--overwrite", is_flag=True, help="Replace what is there.")
@click.option("--key", type=PATH, help="Secret key, for a sealed pack.  [default: the file in $MFS_EDGE_KEY]")
@json_option
def apply(json: bool, base: Path, pack: Path, **options: Any) -> None:
    """Write the artefact BASE with the identity of PACK in it."""
    from mfs_edge import pack as packs
    from mfs_edge.cli import show as report

    with json_errors(json):
        report.applied(packs.apply(base, pack, **options), json=json)
