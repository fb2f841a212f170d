"""The pictures that ranges are measured on, and those that judge the result.

No picture is ever both: each goes to one side by the hash of its content, so copies of a
picture go together, and adding pictures moves none of the others. Files are read again on
every pass; one picture at a time is in memory, however many there are.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from mfs_edge.base import images
from mfs_edge.base.errors import InputError
from mfs_edge.base.progress import Count
from mfs_edge.graph import statistics
from mfs_edge.load import limits
from mfs_edge.load.arrays import open_arrays

LIMIT = 100
SUFFICIENT = 32
TOO_FEW = 8
HELD_OUT_SHARE = 4  # one picture in so many judges
HELD_OUT_FACES = range(32)  # of the demo; 32..63 calibrate
LISTED = 10  # skipped pictures named in a warning

DRAWN = (
    "calibrated on drawn faces and noise: ranges and figures may not carry over to photographs; "
    f"give about {SUFFICIENT} face crops with --calibration DIR"
)

Read = Callable[[], np.ndarray]


def evenly(total: int, wanted: int) -> list[int]:
    """At most ``wanted`` of 0..total - 1, evenly spaced from the first to the last."""
    return [int(i) for i in np.linspace(0, total - 1, min(wanted, total))]


class Pictures(Sequence[np.ndarray]):
    """float32 [1, 3, S, S] RGB in 0..1 each, made anew whenever they are asked for."""

    def __init__(self, readers: Sequence[Read]) -> None:
        self._readers = tuple(readers)

    def __len__(self) -> int:
        return len(self._readers)

    def __getitem__(self, index):  # type: ignore[no-untyped-def]  # int -> picture, slice -> Pictures
        return Pictures(self._readers[index]) if isinstance(index, slice) else self._readers[index]()

    def __iter__(self) -> Iterator[np.ndarray]:
        return (read() for read in self._readers)

    def spread(self, count: int) -> Pictures:
        """At most ``count`` of them, evenly spaced: float32 [1, 3, S, S] each, in 0..1."""
        return Pictures([self._readers[i] for i in evenly(len(self), count)])


@dataclass(frozen=True)
class CalibrationSet:
    """What to calibrate on and what to judge with."""

    images: Pictures
    held_out: Pictures
    source: str  # for the manifest: the folder's or file's name
    warnings: tuple[str, ...] = ()  # belong into the manifest
    notices: tuple[str, ...] = ()
    skipped: tuple[str, ...] = ()  # a line per unreadable picture


def load(path: Path | None, size: int, limit: int = LIMIT, progress: Count | None = None) -> CalibrationSet:
    """Find and check the calibration pictures.

    Args:
        path: a folder of face crops (any readable picture files, subfolders too), or an
            ``.npz`` of uint8 [N, H, W, 3] or float [N, 3, H, W] in 0..1 (several arrays, and
            single pictures without N, too); None for the demo's drawn faces.
        size: S; other pictures are centre-cropped square and resized, with a notice.
        limit: at most so many are used, evenly spaced over the folder in the order of names.
        progress: told after each picture.

    Raises:
        InputError: there is no such folder or file, or no picture in it can be used.
    """
    if path is None:
        return _drawn(size, limit)
    candidates, passed_over = _candidates(Path(path))
    chosen = [candidates[i] for i in evenly(len(candidates), limit)]
    found = _Found()
    for number, candidate in enumerate(chosen, start=1):
        found.take(candidate, size)
        if progress is not None:
            progress(number, len(chosen))
    return found.split(Path(path), size, passed_over)


@dataclass(frozen=True)
class _Candidate:
    name: str
    read: Callable[[], np.ndarray]  # uint8 or float [H, W, 3]
    again: Callable[[], np.ndarray]  # the same, once it is known to be whole


class _Found:
    """Sorts pictures as they are read once."""

    def __init__(self) -> None:
        self.sides: tuple[list[Read], list[Read]] = ([], [])  # calibrate, judge
        self.skipped: list[str] = []
        self.fitted = 0

    def take(self, candidate: _Candidate, size: int) -> None:
        try:
            picture = candidate.read()
            fitted = _fit(picture, size)
        except InputError as error:
            self.skipped.append(str(error))
            return
        self.fitted += picture.shape[:2] != (size, size)
        side = hashlib.sha256(fitted.tobytes()).digest()[0] % HELD_OUT_SHARE == 0
        self.sides[side].append(lambda: _fit(candidate.again(), size))

    def split(self, path: Path, size: int, passed_over: Sequence[str] = ()) -> CalibrationSet:
        calibrate, judge = self.sides
        readable = len(calibrate) + len(judge)
        if not readable:
            raise InputError(f"{path}: none of its {len(self.skipped)} pictures can be used ({self.skipped[0]})")
        warnings = [*passed_over]
        if self.skipped:
            warnings.append(_list_skipped(self.skipped, readable + len(self.skipped)))
        if readable < TOO_FEW:
            warnings.append(
                f"ONLY {readable} CALIBRATION PICTURE{'S' * (readable > 1)} in {path.name}: ranges are a guess; "
                f"give about {SUFFICIENT} face crops"
            )
        if not calibrate or not judge:  # too few to share out
            calibrate, judge = [*calibrate, *judge], _faces(HELD_OUT_FACES, size)
            warnings.append(f"too few pictures in {path.name} to hold some out: judged on drawn faces")
        notices = []
        if self.fitted:
            notices.append(f"{self.fitted} of {readable} calibration pictures centre-cropped or resized to {size} px")
        return CalibrationSet(
            Pictures(calibrate), Pictures(judge), path.name, tuple(warnings), tuple(notices), tuple(self.skipped)
        )


def _list_skipped(lines: Sequence[str], total: int) -> str:
    more = f"; and {len(lines) - LISTED} more" if len(lines) > LISTED else ""
    return f"skipped {len(lines)} of {total} calibration pictures: {'; '.join(lines[:LISTED])}{more}"


def _drawn(size: int, limit: int) -> CalibrationSet:
    faces = list(statistics.FACES)[:limit]
    readers = _faces(faces, size)
    noise = [partial(np.asarray, picture) for picture in statistics.noise(size)]
    return CalibrationSet(
        Pictures([*readers, *noise]), Pictures(_faces(HELD_OUT_FACES, size)), "drawn faces and noise", (DRAWN,)
    )


def _faces(numbers: Sequence[int], size: int) -> list[Read]:
    from mfs_edge import sample

    def face(number: int) -> np.ndarray:
        return _fit(sample.target(number), size)

    return [partial(face, number) for number in numbers]


def _candidates(path: Path) -> tuple[list[_Candidate], list[str]]:
    """The pictures, and a line for the manifest where something was passed over."""
    if path.is_dir():
        files, passed_over = images.within(path)
        said = f"passed over in {path.name}: {'; '.join(passed_over)}" if passed_over else ""
        if not files:
            raise InputError(f"{path}: holds no picture{said and f' ({said})'}; give a folder of face crops")
        found = [
            _Candidate(file.name, partial(images.read_rgb, file), partial(images.read_rgb, file, trusted=True))
            for file in files
        ]
        return found, [said] if said else []
    if path.suffix == ".npz" and path.is_file():
        return _arrays(path)
    raise InputError(f"{path}: is neither a folder of pictures nor an .npz file; give --calibration one of them")


def _arrays(path: Path) -> tuple[list[_Candidate], list[str]]:
    try:
        described = open_arrays(path)
        limits.check_bytes(sum(array.bytes for array in described.values()), "its pictures")
        with np.load(path, allow_pickle=False) as stored:
            arrays = {key: stored[key] for key in described}
            others = [key for key in stored.files if key not in described]
    except limits.TooLarge as error:
        raise InputError(f"{path}: {error}") from error
    except Exception as error:  # zipfile, zlib and numpy errors share no base
        raise InputError(f"{path}: is not a readable .npz of arrays ({error}); write it with numpy.savez") from error
    found = []
    for key, array in arrays.items():
        batch = array[None] if array.ndim == 3 else array
        if batch.ndim != 4 or batch.dtype.kind not in "uf":
            raise InputError(
                f"{path}: array {key} is {array.dtype} {list(array.shape)}; "
                "give uint8 [N, H, W, 3] in 0..255 or float [N, 3, H, W] in 0..1"
            )
        named = ((f"{path}: {key}[{i}]", picture) for i, picture in enumerate(batch))
        reads = ((name, partial(_channels_last, name, picture)) for name, picture in named)
        found += [_Candidate(name, read, read) for name, read in reads]
    if not found:
        raise InputError(f"{path}: holds no picture; give uint8 [N, H, W, 3] or float [N, 3, H, W]")
    return found, [f"passed over in {path.name}: {images.no_pictures(others)}"] if others else []


def _channels_last(name: str, picture: np.ndarray) -> np.ndarray:
    """One picture of an array as [H, W, 3], checked."""
    if picture.shape[-1] != 3 and picture.shape[0] == 3:
        picture = picture.transpose(1, 2, 0)
    if picture.shape[-1] != 3 or 0 in picture.shape:
        raise InputError(f"{name} has shape {list(picture.shape)}, not three channels")
    if picture.dtype.kind == "f":
        if not np.isfinite(picture).all():
            raise InputError(f"{name} has pixels that are not numbers")
        if picture.min() < 0 or picture.max() > 1:
            raise InputError(f"{name} has values outside 0..1")
        return picture.astype(np.float32)
    if picture.dtype != np.uint8:
        raise InputError(f"{name} is {picture.dtype}, not uint8 or float")
    return picture


def _fit(picture: np.ndarray, size: int) -> np.ndarray:
    """[H, W, 3] -> float32 [1, 3, size, size] in 0..1, centre-cropped square."""
    height, width = picture.shape[:2]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    square = picture[top : top + side, left : left + side]
    if side != size:
        square = images.resize(np.ascontiguousarray(square), size)
    if square.dtype == np.uint8:
        return images.to_nchw(square)
    return np.clip(np.ascontiguousarray(square.transpose(2, 0, 1)[None]), 0, 1)
