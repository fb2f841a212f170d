"""One frame: each face is cut out, run through the network, and pasted back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mfs_edge.base.errors import IdentityError, InputError
from mfs_edge.base.reasons import reason_of
from mfs_edge.face import align, paste
from mfs_edge.face.found import Face
from mfs_edge.face.landmarks import MAX_SIDE
from mfs_edge.face.paste import Box
from mfs_edge.swap.session import Session
from mfs_edge.swap.stages import ALIGN, NETWORK, PASTE, Stages


@dataclass(frozen=True)
class Chosen:
    """A face that is to be swapped, and for whose."""

    face: Face
    person: int = 0  # of ``Session.people``


class FaceSwap:
    """Swaps faces in frames with one session, and adds up the time of each stage.

    An engine that does the whole frame itself (``swap_frame``, see ``targets/native``) is asked to; the
    others' frames are cut and pasted here. Both give the same within 1 of 255.
    """

    def __init__(self, session: Session, stages: Stages | None = None, *, direct: bool = True) -> None:
        """Take a session; ``direct`` False cuts and pastes here, whatever the engine can."""
        self.session = session
        self.stages = stages or Stages()
        self.direct = direct and hasattr(session.engine, "swap_frame")

    def frame(self, pixels: np.ndarray, faces: Sequence[Face | Chosen]) -> int:
        """Swap ``faces`` one after the other in ``pixels``, in place.

        Args:
            pixels: uint8 [H, W, 3] RGB, upright; outside of the faces' boxes every pixel stays as it is.
            faces: with landmarks in pixels of this frame; a plain face gets the first person.

        Returns:
            How many were swapped; a face of which nothing is inside of the frame is none.

        Raises:
            InputError: the network failed, or landmarks are not those of a face.
        """
        height, width = pixels.shape[:2]
        if max(height, width) > MAX_SIDE:
            raise InputError(f"a picture of {width}x{height} is more than {MAX_SIDE} pixels on a side; make it smaller")
        chosen = [face if isinstance(face, Chosen) else Chosen(face) for face in faces]
        # Mirrored or transposed views are for neither OpenCV nor C.
        plain = pixels.strides[0] > 0 and pixels.strides[1:] == (3, 1)
        rows = pixels if plain else np.ascontiguousarray(pixels)
        swap = self._directly if self.direct and min(height, width) > 1 else self._here
        count = sum(swap(rows, one) for one in chosen)
        if count and rows is not pixels:
            pixels[:] = rows
        return count

    def _here(self, pixels: np.ndarray, chosen: Chosen) -> bool:
        crops = self.session.of(chosen.person)
        with self.stages.timed(ALIGN):
            matrix = placed(chosen.face.landmarks, crops.size)
            if reaches(matrix, crops.size, pixels) is None:
                return False
            crops.feed(align.cut(pixels, matrix, crops.size))
        with self.stages.timed(NETWORK):
            crops.infer()
        with self.stages.timed(PASTE):
            face, mask = crops.fetch()
            return paste.paste(pixels, face, mask, matrix) is not None

    def _directly(self, pixels: np.ndarray, chosen: Chosen) -> bool:
        crops = self.session.of(chosen.person)
        reached = reaches(placed(chosen.face.landmarks, crops.size), crops.size, pixels)
        if reached is None:
            return False
        points, before = np.ascontiguousarray(chosen.face.landmarks, np.float64), pixels[reached.of].copy()
        try:
            self.stages.add(crops.engine.swap_frame(pixels, points))
        except RuntimeError as error:
            raise InputError(f"{crops.path}: {crops.engine.title} cannot swap it ({reason_of(error)})") from error
        return not np.array_equal(pixels[reached.of], before)  # the mask may have shown nothing


def placed(landmarks: np.ndarray, size: int) -> np.ndarray:
    """The affine [2, 3] from the picture to the crop of ``size`` px, of landmarks [5, 2] that can be a face's.

    Raises:
        InputError: they cannot.
    """
    try:
        matrix = align.affine(landmarks, size)
    except IdentityError as error:
        raise InputError(str(error)) from error
    if np.linalg.det(matrix[:, :2]) <= 0:
        raise InputError(
            "the landmarks would mirror the face; give of the eyes, and of the mouth corners, the left one in the "
            "picture first"
        )
    return matrix


def reaches(matrix: np.ndarray, size: int, pixels: np.ndarray) -> Box | None:
    """What of ``pixels`` [H, W, 3] the crop covers that ``matrix`` [2, 3] cuts; None if nothing."""
    return paste.box(np.ones((size, size), np.float32), matrix, pixels.shape[1], pixels.shape[0])
