"""Fit ``OFFSETS`` in ``mfs_edge/face/mesh.py``: ``python -m benchmarks.face_offsets``.

Face Mesh's points are not quite those that the template was made of: it puts the mouth's corners at the outer
edge of the lips. Faces with such points that anybody may have are few, so three sources count the same:

* the 64 drawn faces of this repository, whose points are known because they were drawn there;
* scikit-image's astronaut, with the points of another detector (``tests/face/scenes.py``);
* 100 small faces of LFW (scikit-image's ``lfw_subset``), without points: there the mean of all faces is laid on
  the template, which is itself the mean of a detector's points. That says nothing of a shift, turn or scale
  that all five share, and little of mouths that are blurred.

Each source gives the mean of what is missing, in px of the 112 px crop, made the same on both sides of the face. Where
they do not agree even on the direction, nothing is added: that leaves the mouth's corners. What is printed beside the
fit is what each source's points are off as they are, and with the offsets of the other two.
"""

from __future__ import annotations

from collections.abc import Iterable

import cv2
import numpy as np

from mfs_edge.face import align, dense, mesh
from mfs_edge.face.detect import Detector
from tests.face import scenes

NAMES = ("left eye", "right eye", "nose", "left mouth", "right mouth")
MARGIN = 50  # px around the faces of LFW, which are cut close


def missing(detector: Detector, photo: scenes.Photo, known: np.ndarray | None) -> np.ndarray | None:
    """What the mesh's five points lack, [5, 2] in px of the 112 px crop; None if no face is found.

    Args:
        detector: of faces.
        photo: with one face.
        known: its points [5, 2] pixels; None takes the template.
    """
    sightings = detector.sightings(photo.image)
    if not sightings:
        return None
    raw = sightings[0].raw
    factor, summand = mesh.in_template(raw)

    def laid(points: np.ndarray) -> np.ndarray:
        placed = points @ [1, 1j] * factor + summand
        return np.column_stack([placed.real, placed.imag])

    return (align.TEMPLATE if known is None else laid(known)) - laid(raw)


def both_sides(offsets: np.ndarray) -> np.ndarray:
    """The mean of offsets [5, 2] and of their mirror image."""
    mean: np.ndarray = (offsets + offsets[dense.MIRRORED] * (-1, 1)) / 2
    return mean


def agreed(means: Iterable[np.ndarray]) -> np.ndarray:
    """Offsets [5, 2]: the mean of several sources', 0 where their directions differ."""
    all_of_them = np.array(list(means))
    one_way = (np.abs(np.sign(all_of_them).sum(axis=0)) == len(all_of_them)).astype(float)
    mean: np.ndarray = all_of_them.mean(axis=0) * one_way
    return mean


def sources(detector: Detector) -> dict[str, np.ndarray]:
    """By source, what each of its faces lacks: [N, 5, 2]."""
    drawn = [scenes.drawn(number, face=200) for number in range(64)]
    portrait = scenes.portrait()
    small = [scenes.small(number, 4) for number in range(100)]
    framed = [
        scenes.Photo(cv2.copyMakeBorder(photo.image, *(MARGIN,) * 4, cv2.BORDER_REPLICATE), photo.landmarks)
        for photo in small
    ]
    found = {
        "drawn": [missing(detector, photo, photo.landmarks) for photo in drawn],
        "astronaut": [missing(detector, portrait, portrait.landmarks)],
        "LFW's mean": [missing(detector, photo, None) for photo in framed],
    }
    return {name: np.array([one for one in some if one is not None]) for name, some in found.items()}


def main() -> None:
    """Print the fit, and what it is worth."""
    found = sources(Detector())
    means = {name: both_sides(some.mean(axis=0)) for name, some in found.items()}
    for name, some in found.items():
        others = agreed(mean for other, mean in means.items() if other != name)
        raw, with_others = (np.hypot(*(some.mean(axis=0) - add).T) for add in (0, others))
        print(f"{name}, {len(some)} faces: lacks, in px of 112, by point: {means[name].round(2).tolist()}")  # noqa: T201
        print(f"  off by {dict(zip(NAMES, raw.round(2).tolist(), strict=True))}")  # noqa: T201
        print(f"  with the others' offsets {dict(zip(NAMES, with_others.round(2).tolist(), strict=True))}")  # noqa: T201
    fit = agreed(means.values())
    print("OFFSETS =", tuple(tuple(point) for point in fit.round(2).tolist()))  # noqa: T201


if __name__ == "__main__":
    main()
