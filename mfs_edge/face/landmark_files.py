"""Five landmarks from a file, in any of the forms that detectors write.

Five points as text or JSON; insightface's ``kps``; points by name as retina-face and mtcnn write them; all
points of MediaPipe's Face Mesh (468, or 478 with irises). Fractions of the picture are told by their size.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mfs_edge.base import files, text
from mfs_edge.base.errors import InputError

WRITE = "write ten numbers, two to a line: x,y of both eyes, the nose, both mouth corners, in pixels"
PARTS = ("eye", "eye", "nose", "mouth", "mouth")
# MediaPipe Face Mesh: the corners and lids of each eye, the tip of the nose, the mouth's corners.
MESH = (468, 478)
MESH_PARTS = ((33, 133, 159, 145), (362, 263, 386, 374), (4,), (61,), (291,))
FRACTION = 1.5  # no face is a pixel wide: points that are all smaller than this are shares of the picture
_KEYS = ("kps", "keypoints", "landmarks", "face_landmarks", "landmark", "points")


@dataclass(frozen=True)
class Landmarks:
    """Five points as a file gives them."""

    points: np.ndarray  # float64 [5, 2], x, y: the eyes, the nose, the mouth corners, each as the picture shows them
    form: str  # what the file was understood as, for people

    @property
    def fractions(self) -> bool:
        """Whether they are shares of width and height, not pixels."""
        return bool(np.abs(self.points).max() <= FRACTION)

    def pixels(self, width: int, height: int) -> np.ndarray:
        """float64 [5, 2] in pixels of a picture of this size."""
        return self.points * (width, height) if self.fractions else self.points


def read(path: Path) -> Landmarks:
    """The landmarks in ``path``.

    Raises:
        InputError: it does not hold those of exactly one face.
    """
    written = text.read(files.require_file(path, "landmarks"), "landmarks")
    try:
        as_json = written.lstrip().startswith(("[", "{", '"', "null"))
        found = _understood(json.loads(written) if as_json else written.replace(",", " ").split())
    except (ValueError, TypeError, RecursionError, OverflowError, KeyError) as error:
        raise InputError(f"{path}: does not hold five x,y points of one face ({_words(error)}); {WRITE}") from error
    if not np.isfinite(found.points).all():
        raise InputError(f"{path}: has landmarks that are not finite; {WRITE}")
    return found


def _words(error: Exception) -> str:
    return str(error)[:80] if isinstance(error, ValueError) and error.args else type(error).__name__


def _understood(held: Any) -> Landmarks:
    if isinstance(held, Mapping):
        return _of_mapping(held)
    if not isinstance(held, list):
        raise TypeError
    if len(held) == 1 and isinstance(held[0], Mapping | list):  # a list of faces, of which there is one
        return _understood(held[0])
    if held and all(isinstance(face, Mapping) and not _is_point(face) for face in held):
        raise ValueError(f"it holds {len(held)} faces: leave one")
    if len(held) in MESH:
        return _of_mesh(held)
    return Landmarks(_points(held), "five points")


def _of_mapping(held: Mapping[str, Any]) -> Landmarks:
    named = {str(name).lower().replace("-", "_").replace(" ", "_"): value for name, value in held.items()}
    if any("eye" in name for name in named):
        return _of_names(named)
    for key in _KEYS:
        if key in named:
            inner = _understood(named[key])
            return Landmarks(inner.points, "insightface's kps" if key == "kps" else inner.form)
    faces = [value for value in named.values() if isinstance(value, Mapping)]
    if len(faces) == 1:
        return _understood(faces[0])
    raise ValueError(f"it holds {len(faces)} faces: leave one" if faces else "no landmarks are in it")


def _of_names(named: Mapping[str, Any]) -> Landmarks:
    """Some call an eye left as the picture shows it (mtcnn), some as its owner does (retina-face): positions decide."""
    groups = [
        [_point(value) for name, value in named.items() if part in name and _is_point(value)]
        for part in ("eye", "nose", "mouth")
    ]
    eyes, nose, mouth = groups
    if (len(eyes), len(nose), len(mouth)) != (2, 1, 2):
        raise ValueError("of names it needs two eyes, a nose and two mouth corners")
    points = np.array([*eyes, *nose, *mouth])
    # Seen upright, the first eye is left of the second where the mouth lies clockwise from the line between them.
    down = points[3:].mean(axis=0) - points[:2].mean(axis=0)
    across = np.array([down[1], -down[0]])
    order = [*np.argsort(points[:2] @ across), 2, *(3 + np.argsort(points[3:] @ across))]
    return Landmarks(points[order], "points by name")


def _of_mesh(held: Iterable[Any]) -> Landmarks:
    mesh = np.array([_point(point) for point in held])
    return Landmarks(
        np.array([mesh[list(part)].mean(axis=0) for part in MESH_PARTS]), f"a face mesh of {len(mesh)} points"
    )


def _points(held: list[Any]) -> np.ndarray:
    if held and all(_is_point(point) for point in held):
        if len(held) != len(PARTS):
            raise ValueError(f"it holds {len(held)} points")
        return np.array([_point(point) for point in held])
    values = np.asarray(held, dtype=np.float64)
    if values.size != 2 * len(PARTS) or values.ndim > 2:
        raise ValueError(f"it holds {values.size} numbers")
    return values.reshape(len(PARTS), 2)


def _is_point(value: Any) -> bool:
    if isinstance(value, Mapping):
        return {"x", "y"} <= value.keys()
    return isinstance(value, list) and len(value) in (2, 3) and all(isinstance(v, int | float) for v in value)


def _point(value: Any) -> tuple[float, float]:
    x, y = (value["x"], value["y"]) if isinstance(value, Mapping) else value[:2]
    return float(x), float(y)
