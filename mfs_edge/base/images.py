"""Pictures in and out: float RGB arrays in 0..1, never OpenCV's BGR bytes."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import numpy as np

from mfs_edge.base import extras, files, jpeg_codes, picture_damage, picture_formats, quiet, tiff
from mfs_edge.base.errors import InputError, UsageError

SUFFIXES = frozenset([".png", ".jpg", ".jpeg", ".jfif", ".bmp", ".webp", ".avif", ".gif", ".tif", ".tiff"])
USE = "use a PNG or JPEG file"
AGAIN = "copy or download it again"
MAX_PIXELS = 200_000_000  # what the largest phone cameras give; decoded, 0.6 GB
RAISE_PIXELS = "MFS_EDGE_MAX_PIXELS"  # environment variable
LITTER = frozenset([".DS_Store", "Thumbs.db", "ehthumbs.db", "desktop.ini"])


def kind(path: Path) -> str | None:
    """The format of the picture in ``path`` by its content, whatever its suffix; None if it is no picture.

    Raises:
        InputError: there is no such file, or it may not be read.
    """
    with files.require_file(path, "picture").open("rb") as file:
        return picture_formats.kind(file.read(picture_formats.HEAD))


def is_litter(path: Path) -> bool:
    """Whether a system left this behind: ``._x.jpg``, ``__MACOSX/``, ``.DS_Store``, ``Thumbs.db``."""
    return path.name.startswith("._") or path.name in LITTER or "__MACOSX" in path.parts


def within(folder: Path) -> tuple[list[Path], list[str]]:
    """The pictures in a folder and its subfolders, and what was passed over.

    Pictures are told by content. A file that only its suffix calls a picture is one of
    them: it is damaged, and reading it says so.

    Returns:
        Paths, sorted; and a line for each reason to pass files over, with their number.
    """
    found: list[Path] = []
    litter, others = 0, []
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        if is_litter(path.relative_to(folder)):
            litter += 1
        elif path.suffix.lower() in SUFFIXES or _is_picture(path):
            found.append(path)
        else:
            others.append(path.name)
    lines = [no_pictures(others)] if others else []
    return found, lines + ([f"{litter} of a system's own (._*, __MACOSX, .DS_Store, Thumbs.db)"] if litter else [])


def _is_picture(path: Path) -> bool:
    try:
        return kind(path) is not None
    except InputError:  # empty, or may not be read
        return False


def no_pictures(names: list[str]) -> str:
    """The line for files of these names, which are no pictures."""
    return f"{len(names)} that {'are' if len(names) > 1 else 'is'} no picture ({_some(names)})"


def _some(names: list[str], shown: int = 3) -> str:
    more = f" and {len(names) - shown} more" if len(names) > shown else ""
    return ", ".join(ascii(name)[1:-1] for name in names[:shown]) + more


def read_rgb(path: Path, *, trusted: bool = False) -> np.ndarray:
    """The picture in ``path`` as uint8 [H, W, 3] RGB, EXIF rotation applied, alpha dropped.

    16-bit pictures keep their upper byte; grey ones become three equal channels; of an
    animation it is the first picture. What decodes whole is read, however odd; see
    ``picture_damage`` for what is not whole.

    Args:
        path: of the file.
        trusted: it was read before, and found whole: look for no damage again.

    Raises:
        InputError: it is not a readable picture, damaged, or larger than ``MAX_PIXELS``.
    """
    cv2 = extras.require("cv2", "compile")
    name = kind(path)
    if name is None:
        raise InputError(f"{path}: is not a readable picture; {USE}")
    if name in picture_formats.UNREADABLE:
        raise InputError(f"{path}: is a {name} file, which is not read here; {USE}")
    encoded = tiff.as_stored(path.read_bytes()) if name == "TIFF" else path.read_bytes()
    _check_size(picture_formats.pixels(encoded, name), name, path)
    if name == "PNG" and not picture_damage.png_is_whole(encoded):
        raise InputError(f"{path}: is a truncated or damaged PNG; {AGAIN}")
    bgr = _decoded(encoded, name, path, trusted=trusted)
    return cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB, dst=bgr)


def _check_size(size: tuple[int, int] | None, name: str, path: Path) -> None:
    if size is None:
        raise InputError(f"{path}: is a truncated or damaged {name}; {AGAIN}")
    setting = os.environ.get(RAISE_PIXELS, "")
    if setting and not setting.isdecimal():
        raise UsageError(f"{RAISE_PIXELS}={setting!a}: is not a number of pixels; give one, such as 400000000")
    most = int(setting or MAX_PIXELS)
    width, height = size
    if width * height > most:
        raise InputError(
            f"{path}: is {width}x{height}, {width * height / 1e6:,.0f} megapixels, more than {most / 1e6:,.0f}; "
            f"make it smaller, or set {RAISE_PIXELS}={width * height} if you have the memory"
        )


def _decoded(encoded: bytes, name: str, path: Path, *, trusted: bool) -> np.ndarray:
    """uint8 [H, W, 3] BGR, turned by EXIF; raises InputError if anything says that it is not what was saved."""
    cv2 = extras.require("cv2", "compile")
    unturned = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
    turns = name == "JPEG" and b"Exif" in encoded[: 1 << 17] and not trusted
    first = unturned if turns else cv2.IMREAD_COLOR
    image, said = _decode(encoded, first)
    if name == "JPEG" and (image is None or b"Premature end of JPEG" in said):
        encoded += b"\xff\xd9"  # some cameras leave the end marker out: all else must be there
        image, said = _decode(encoded, first)
    if image is None:
        raise InputError(f"{path}: is a truncated or damaged {name}, or of a kind that OpenCV does not read; {USE}")
    damage = "" if trusted else picture_damage.complaint(said, name, encoded) or _damage(encoded, name, image)
    if damage:
        raise InputError(f"{path}: is a damaged {name} ({damage}); {AGAIN}")
    return _decode(encoded, cv2.IMREAD_COLOR)[0] if turns else image  # type: ignore[return-value]


def _damage(encoded: bytes, name: str, image: np.ndarray) -> str:
    """What shows that a picture that was decoded without complaint (BGR, not turned) is not what was saved."""
    if name == "JPEG":
        frame = picture_formats.jpeg_frame(encoded)
        shifted = frame is not None and picture_damage.seam(image, frame.unit) > picture_damage.MAX_SEAM
        return jpeg_codes.nonsense(encoded) or ("all is shifted from some point on" if shifted else "")
    cut = picture_damage.webp_cut(encoded) if name == "WebP" else None
    cv2 = extras.require("cv2", "compile")
    return "its code ends before its data" if cut and _decode(cut, cv2.IMREAD_COLOR)[0] is not None else ""


def _decode(encoded: bytes, flags: int) -> tuple[np.ndarray | None, bytes]:
    """What OpenCV makes of it (None: nothing), and what it and its libraries said meanwhile."""
    cv2 = extras.require("cv2", "compile")
    logging = extras.require("cv2.utils.logging", "compile")
    with quiet.caught() as said:
        previous = logging.setLogLevel(logging.LOG_LEVEL_ERROR)  # libtiff's errors come this way
        try:
            # imdecode takes any path, where imread has its own ideas of encodings.
            image = cv2.imdecode(np.frombuffer(encoded, np.uint8), flags)
        except cv2.error:
            image = None
        finally:
            logging.setLogLevel(previous)
        said.seek(0)
        return image, said.read()


def write_rgb(path: Path, image: np.ndarray) -> None:
    """Write uint8 [H, W, 3] RGB as PNG, atomically."""
    cv2 = extras.require("cv2", "compile")
    _, encoded = cv2.imencode(".png", cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
    with files.atomic(path) as temporary:
        temporary.write_bytes(encoded.tobytes())


def resize(image: np.ndarray, size: int) -> np.ndarray:
    """``image`` [H, W, C] at [size, size, C]: area averages when shrinking, else bilinear."""
    cv2 = extras.require("cv2", "compile")
    shrinking = size < max(image.shape[:2])
    method = cv2.INTER_AREA if shrinking else cv2.INTER_LINEAR
    resized: np.ndarray = cv2.resize(image, (size, size), interpolation=method)
    return resized


def self_test() -> None:
    """Write, read and shrink a picture; for ``doctor``: some builds of OpenCV lack what is used here."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "tiny.png")
        picture = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)
        write_rgb(path, picture)
        if not np.array_equal(read_rgb(path), picture) or resize(picture, 2).shape != (2, 2, 3):
            raise InputError(f"{path}: OpenCV read another picture than it wrote; install another version of it")


def to_nchw(image: np.ndarray) -> np.ndarray:
    """uint8 [H, W, 3] in 0..255 -> float32 [1, 3, H, W] in 0..1."""
    return np.ascontiguousarray(image.transpose(2, 0, 1)[None], np.float32) / np.float32(255)


def to_bytes(tensor: np.ndarray) -> np.ndarray:
    """float [1, 3, H, W] in 0..1 -> uint8 [H, W, 3]."""
    levels: np.ndarray = np.rint(np.clip(tensor[0].transpose(1, 2, 0), 0, 1) * 255)
    return levels.astype(np.uint8)
