"""The scripts and pages of an artefact: the same for every network, but for the version that is written into them."""

from __future__ import annotations

from pathlib import Path

from mfs_edge.base.errors import InputError
from mfs_edge.base.version import __version__

from ..native import read as native
from ..native.derived import WEIGHTS
from .read import MODULES

STATIC = Path(__file__).with_name("static")
VERSION = b"0.0.0-unwritten"  # where the version goes
SUFFIXES = (".js", ".ts", ".html", ".css", ".svg", ".webmanifest")


def files() -> dict[str, bytes]:
    """Path in the artefact -> content."""
    return {
        file.relative_to(STATIC).as_posix(): file.read_bytes().replace(VERSION, __version__.encode())
        for file in sorted(STATIC.rglob("*"))
        if file.suffix in SUFFIXES
    }


def vouch(path: Path) -> None:
    """Raise unless every script and page in ``path`` is, to the byte, what this version writes.

    Raises:
        InputError: something in the folder was not written by this version of mfs-edge.
    """
    made = files()
    found = {file.relative_to(path).as_posix() for file in path.rglob("*") if not file.is_dir()}
    wrong = sorted(found - made.keys() - {native.INDEX, WEIGHTS, *MODULES})
    wrong += sorted(
        name for name, content in made.items() if name not in found or (path / name).read_bytes() != content
    )
    if wrong:
        raise InputError(
            f"{path / wrong[0]}: is not what mfs-edge {__version__} writes for a page, and is not served or called: it "
            "may come from a stranger, or from another version; compile it again"
        )
