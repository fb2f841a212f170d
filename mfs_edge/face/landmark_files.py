"""Five landmarks from whatever detectors write: ten numbers, ``kps``, named points, or a mesh."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mfs_edge.base import files, text
from mfs_edge.base.errors import IdentityError, InputError
from mfs_edge.face import align

MOST_BYTES = 4 << 20  # a mesh of 478 points takes 0.05 MB

_HOLDERS = (  # the keys under which detectors keep a face's points
    *("kps", "landmarks", "keypoints", "landmark", "points", "faces", "relative_keypoints", "relativekeypoints"),
    *("face_landmarks", "facelandmarks", "multi_face_landmarks", "multifacelandmarks", "landmarks5", "lmk5"),
)
# Of denser sets, the points whose mean is an eye, the nose, a mouth corner; left to right in the picture.
_DENSE = {
    68: (range(36, 42), range(42, 48), (30,), (48,), (54,)),  # dlib, iBUG 300-W
    468: ((33, 133), (362, 263), (1,), (61,), (291,)),  # MediaPipe Face Mesh
    478: ((33, 133), (362, 263), (1,), (61,), (291,)),  # the same with irises
}


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
    file = files.require_file(path, "landmarks")
    if file.stat().st_size > MOST_BYTES:
        raise InputError(f"{path}: is too large for landmarks; write ten numbers, two to a line")
    try:
        points = _five(_parsed(file.read_bytes(), path))
    except _Unknown as error:
        raise InputError(f"{path}: {error}; write ten numbers, two to a line") from error
    except (ValueError, TypeError, OverflowError, RecursionError) as error:
        raise InputError(f"{path}: does not hold five x,y points; write ten numbers, two to a line") from error
    if not np.isfinite(points).all():
        raise InputError(f"{path}: has landmarks that are not finite; write ten numbers, two to a line")
    return points


def _parsed(content: bytes, path: Path) -> Any:
    if content.startswith(b"\x93NUMPY"):
        return np.load(io.BytesIO(content), allow_pickle=False).tolist()
    written = text.decode(content, path, "landmarks").strip()
    if written.startswith(("[", "{")):
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
    if len(points) in _DENSE:
        return np.array([points[list(some)].mean(axis=0) for some in _DENSE[len(points)]])
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
