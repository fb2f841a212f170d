"""Five landmarks from whatever detectors write: ten numbers, ``kps``, named points, or a mesh; of one face or more."""

from __future__ import annotations

import contextlib
import io
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mfs_edge.base import files, text
from mfs_edge.base.errors import IdentityError, InputError
from mfs_edge.face import align, dense

MOST_BYTES = 4 << 20  # a mesh of 478 points takes 0.05 MB
MOST_FRAMES_BYTES = 64 << 20  # five points of an hour's frames take 20 MB
WRITE = "write ten numbers, two to a line"

_HOLDERS = (  # the keys under which detectors keep a face's points
    *("kps", "landmarks", "keypoints", "landmark", "points", "faces", "relative_keypoints", "relativekeypoints"),
    *("face_landmarks", "facelandmarks", "multi_face_landmarks", "multifacelandmarks", "landmarks5", "lmk5"),
)
_OF_PICTURES = ("faces", "face_landmarks", "facelandmarks", "multi_face_landmarks", "multifacelandmarks")
_NUMBERS = ("frame", "frame_index", "frame_number", "index")


class _Unknown(Exception):
    """What is there is no face's points; its text says why, where that is known."""


def read(path: Path) -> np.ndarray:
    """Five x, y points: the eyes, the nose, the mouth corners, left to right in the picture; float64 [5, 2].

    Reads ten numbers (text or JSON), a ``.npy`` [5, 2], insightface's ``kps``, points named as
    retina-face and mtcnn name them (whichever side they call left), dlib's 68 points and
    MediaPipe's mesh. Numbers are as the file has them: pixels, or fractions of the picture.

    Raises:
        InputError: it holds no five points, or those of several faces.
    """
    (found,) = _converted(path, MOST_BYTES, lambda value: [_five(value)])
    return found


def read_all(path: Path) -> list[np.ndarray]:
    """The faces of one picture, in the file's order; each as of :func:`read`, float64 [5, 2].

    What detectors write where they found none (``[]``, ``{"faces": []}``, ``null``) is an empty list.

    Raises:
        InputError: it holds something else.
    """
    return _converted(path, MOST_BYTES, _faces)


def read_frames(path: Path) -> Mapping[int, list[np.ndarray]]:
    """The faces of every frame of a video: frame, counted from 0 -> faces in the file's order, float64 [5, 2] each.

    A frame that is not among the keys was not given; one with an empty list has no face. Reads

    * a folder with a file per frame as of :func:`read_all`, whose names end in the frame's number (``f_0012.json``);
    * JSON: a list with an entry per frame, each as of :func:`read_all` (``[[face, face], [], [face]]``), or such a
      list under ``frames``, a mapping from numbers (``{"0": [face], "12": [face]}``), or records that say their
      ``frame``;
    * ``.npy`` [N, 5, 2], or [N, F, 5, 2] of F faces; a face of NaN is none; the same as lists in JSON.

    What :func:`read` or :func:`read_all` take for the faces of one picture is frame 0 alone: a single set
    of points, or a list of mappings as detectors write them.

    Raises:
        InputError: it holds something else; says in which frame.
    """
    if path.is_dir():
        return _of_folder(path)
    return _of_file(path)


def _of_file(path: Path) -> dict[int, list[np.ndarray]]:
    frames: dict[int, list[np.ndarray]] = {}

    def convert(value: Any) -> list[np.ndarray]:
        for number, entry in _frames(value):
            if number < 0:
                raise _Unknown(f"counts a frame as {number}")
            with _in_frame(number):
                frames[number] = [*frames.get(number, []), *_faces(entry)]
        return [face for faces in frames.values() for face in faces]

    _converted(path, MOST_FRAMES_BYTES, convert)
    return frames


def _of_folder(folder: Path) -> dict[int, list[np.ndarray]]:
    frames: dict[int, list[np.ndarray]] = {}
    for path in sorted(path for path in folder.iterdir() if path.is_file() and not path.name.startswith(".")):
        number = re.search(r"(\d+)$", path.stem)
        if number is None:
            raise InputError(f"{path}: its name does not end in the number of a frame; call it so, as in f_0012.json")
        if int(number[1]) in frames:
            raise InputError(f"{path}: is a second file for frame {int(number[1])}; keep one")
        frames[int(number[1])] = read_all(path)
    if 0 not in frames:
        raise InputError(
            f"{folder}: has no file for frame 0, so that it may count from 1; count from 0 (a file with [] for a frame "
            "without a face)"
        )
    return frames


def _frames(value: Any) -> Iterable[tuple[int, Any]]:
    """Frames' numbers and what is given for them; a single picture's faces are frame 0."""
    if isinstance(value, Mapping):
        keys = {str(key).lower(): key for key in value}
        if "frames" in keys and isinstance(value[keys["frames"]], Sequence | Mapping):
            return _frames(value[keys["frames"]])
        if value and all(re.fullmatch(r"\d{1,9}", str(key)) for key in value):
            return sorted((int(key), entry) for key, entry in value.items())
        return [(0, value)]
    if not isinstance(value, Sequence) or isinstance(value, str):
        return [(0, value)]
    if all(isinstance(part, Mapping) for part in value) and len(value):
        return _of_records([{str(key).lower(): entry for key, entry in part.items()} for part in value])
    return [(0, value)] if _is_set(value) else list(enumerate(value))


def _of_records(records: list[dict[str, Any]]) -> Iterable[tuple[int, Any]]:
    """Frames' numbers and records: numbered, or one per frame; detections of single faces are all in frame 0."""
    for key in _NUMBERS:
        if all(isinstance(record.get(key), int) for record in records):
            return sorted(((int(record[key]), record) for record in records), key=lambda pair: pair[0])
    of_frames = all(any(key in record for key in _OF_PICTURES) for record in records)
    return list(enumerate(records)) if of_frames else [(0, records)]


def _is_set(value: Sequence[Any]) -> bool:
    """Whether these are the numbers or points of one face."""
    return not any(isinstance(part, Sequence | Mapping) for part in value if part is not None) or all(
        _is_point(part) for part in value
    )


def _faces(value: Any) -> list[np.ndarray]:
    """The faces in one picture's parsed value; raises _Unknown."""
    if value is None or (isinstance(value, Sequence | Mapping) and not isinstance(value, str) and not len(value)):
        return []
    if isinstance(value, Mapping):
        lower = {str(key).lower(): part for key, part in value.items()}
        if _named(lower) is not None:
            return [_five(value)]
        for key in _HOLDERS:
            if key in lower and isinstance(lower[key], Sequence | Mapping):
                return _faces(lower[key])
        parts = [part for part in lower.values() if isinstance(part, Mapping)]
        return [_five(part) for part in parts] if len(parts) > 1 else [_five(value)]
    if isinstance(value, Sequence) and not isinstance(value, str) and not _is_set(value):
        return [_five(part) for part in value if not _is_nan(part)]
    return [] if _is_nan(value) else [_five(value)]


def _is_nan(value: Any) -> bool:
    """Whether a face is written as nothing but NaN."""
    flat = np.ravel(np.array(value, dtype=object))
    return bool(len(flat)) and all(isinstance(number, float) and np.isnan(number) for number in flat)


@contextlib.contextmanager
def _in_frame(number: int) -> Iterator[None]:
    try:
        yield
    except _Unknown as error:
        raise _Unknown(f"in frame {number} {error}") from error


def _converted(path: Path, most: int, convert: Callable[[Any], list[np.ndarray]]) -> list[np.ndarray]:
    """What ``convert`` makes of a file's parsed content, with what it raises told as InputError."""
    file = files.require_file(path, "landmarks")
    if file.stat().st_size > most:
        raise InputError(f"{path}: is too large for landmarks; {WRITE}")
    try:
        found = convert(_parsed(file.read_bytes(), path))
    except _Unknown as error:
        raise InputError(f"{path}: {error}; {WRITE}") from error
    except (ValueError, TypeError, OverflowError, RecursionError) as error:
        raise InputError(f"{path}: does not hold five x,y points; {WRITE}") from error
    if not all(np.isfinite(points).all() for points in found):
        raise InputError(f"{path}: has landmarks that are not finite; {WRITE}")
    return found


def _parsed(content: bytes, path: Path) -> Any:
    if content.startswith(b"\x93NUMPY"):
        return np.load(io.BytesIO(content), allow_pickle=False).tolist()
    written = text.decode(content, path, "landmarks").strip()
    if written.startswith(("[", "{")) or written == "null":
        try:
            return json.loads(written)
        except ValueError:
            pass  # as numpy prints an array: without commas
    plain = re.sub(r"array|dtype=\w+|[\[\](),;]", " ", written)
    return [float(word) for word in plain.split()]


def _five(value: Any) -> np.ndarray:
    """The points in one parsed value; raises _Unknown."""
    if isinstance(value, Mapping):
        return _of_mapping({str(key).lower(): part for key, part in value.items()})
    if not isinstance(value, Sequence) or isinstance(value, str):
        raise _Unknown("does not hold five x,y points")
    if len(value) == 1:
        return _five(value[0])
    points = _points(value)
    if points is None:
        if all(isinstance(part, Sequence | Mapping) for part in value) and len(value) > 1:
            raise _Unknown(f"holds {len(value)} faces; keep the one that is meant")
        raise _Unknown("does not hold five x,y points")
    return _of_points(points)


def _of_points(points: np.ndarray) -> np.ndarray:
    if len(points) == 5:
        return points
    if len(points) in dense.INDICES:
        return dense.five(points)
    if len(points) == 6:
        raise _Unknown("has six points, as MediaPipe's face detection writes, without the mouth's corners")
    raise _Unknown(f"has {len(points)} points, not five")


def _points(value: Sequence[Any]) -> np.ndarray | None:
    """float64 [N, 2] of a list of points or of ten numbers; None if it is neither."""
    if not any(isinstance(part, Sequence | Mapping) for part in value):
        flat = np.asarray(value, np.float64)
        if flat.size != 10:
            raise _Unknown(f"holds {flat.size} numbers, not five x,y points")
        return flat.reshape(5, 2)
    if all(_is_point(part) for part in value):
        return np.array([_point(part) for part in value])
    return None


def _is_point(value: Any) -> bool:
    if isinstance(value, Mapping):
        return {"x", "y"} <= {str(key).lower() for key in value}
    return isinstance(value, Sequence) and len(value) in (2, 3) and all(_is_number(part) for part in value)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _point(value: Any) -> tuple[float, float]:
    """x and y; what follows is a depth or a score."""
    if isinstance(value, Mapping):
        named = {str(key).lower(): part for key, part in value.items()}
        return float(named["x"]), float(named["y"])
    return float(value[0]), float(value[1])


def _of_mapping(value: Mapping[str, Any]) -> np.ndarray:
    named = _named(value)
    if named is not None:
        return named
    for key in _HOLDERS:
        if key in value and value[key] is not None:
            return _five(value[key])
    faces = [part for part in value.values() if isinstance(part, Mapping)]
    if len(faces) == 1:  # retina-face: {"face_1": {...}}
        return _five(faces[0])
    if len(faces) > 1:
        raise _Unknown(f"holds {len(faces)} faces; keep the one that is meant")
    raise _Unknown("does not hold five x,y points")


def _named(value: Mapping[str, Any]) -> np.ndarray | None:
    """Points under names such as left_eye, noseTip, mouth_right; None if there are none such."""
    found: dict[str, tuple[float, float]] = {}
    for key, part in value.items():
        if _is_point(part):
            side = "left" if "left" in key else "right" if "right" in key else ""
            what = next((name for name in ("eye", "nose", "mouth") if name in key and "brow" not in key), None)
            if what and (side or what == "nose"):
                found["nose" if what == "nose" else f"{side} {what}"] = _point(part)
    order = ("left eye", "right eye", "nose", "left mouth", "right mouth")
    if not set(order) <= set(found):
        return None
    points = np.array([found[name] for name in order])
    try:
        mirrored = np.linalg.det(align.affine(points, align.CROP)[:, :2]) < 0
    except IdentityError:  # they lie on one line, which is for the judge to say
        return points
    # To some, left is the person's; to others, the picture's. Only one of the two makes a face.
    return points[[1, 0, 2, 4, 3]] if mirrored else points
