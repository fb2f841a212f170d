"""A face is pasted as the plain composition over the whole frame does, and nothing else is touched."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from mfs_edge.face import align, paste

SIZE = 224


def composed(frame: np.ndarray, face: np.ndarray, mask: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """DESIGN section 2 written down once more: the whole frame, in floats, without a box."""
    size = face.shape[0]
    shade = (mask.reshape(size, size) > (0.001 if mask.dtype.kind == "f" else 0)).astype(np.float32)
    kernel = np.ones((11, 11), np.uint8)
    shade = cv2.erode(cv2.dilate(shade, kernel), kernel, iterations=2)
    shade = cv2.blur(shade, (7, 7))
    border = np.ones((size, size), np.float32)
    border[:10] = border[-10:] = 0
    border[:, :10] = border[:, -10:] = 0
    shade = shade * cv2.blur(border, (11, 11))
    back, where = cv2.invertAffineTransform(matrix), (frame.shape[1], frame.shape[0])
    over = cv2.warpAffine(face.astype(np.float32), back, where, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    share = cv2.warpAffine(shade, back, where, flags=cv2.INTER_LINEAR)[..., None]
    return np.rint(frame + share * (over - frame.astype(np.float32))).astype(np.uint8)


def landmarks(eyes: float, degrees: float, at: tuple[float, float]) -> np.ndarray:
    """The template, turned, with its middle at ``at`` and eyes ``eyes`` px apart; [5, 2]."""
    turn = np.deg2rad(degrees)
    rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    centred = align.TEMPLATE - align.TEMPLATE.mean(axis=0)
    return centred * eyes / 35.24 @ rotation.T + at


def drawn(seed: int, height: int = 360, width: int = 480) -> np.ndarray:
    """Noise: every pixel beside another is far from it; uint8 [height, width, 3]."""
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def blob(size: int = SIZE) -> np.ndarray:
    """A mask as the network gives it, with soft edges, float32 [size, size]."""
    y, x = np.mgrid[:size, :size] / size - 0.5
    return np.clip(8 * (0.14 - x**2 - (y * 0.8) ** 2), 0, 1).astype(np.float32)


PLACES = {
    "in the middle": (90, 0, (240, 180)),
    "small and turned": (22, -35, (300.3, 99.7)),
    "larger than the frame": (400, 12, (220, 190)),
    "over the left edge": (120, 8, (5.5, 170)),
    "over a corner": (150, 160, (470, 350)),
    "mostly outside": (60, 0, (-20, 100)),
}


@pytest.mark.parametrize(("eyes", "degrees", "at"), PLACES.values(), ids=PLACES)
@pytest.mark.parametrize("kind", ["floats", "bytes", "all of the crop"])
def test_it_is_the_composition_over_the_whole_frame(
    eyes: float, degrees: float, at: tuple[float, float], kind: str
) -> None:
    frame, face = drawn(1), drawn(2, SIZE, SIZE)
    mask = np.ones((SIZE, SIZE), np.float32) if kind == "all of the crop" else blob()
    if kind == "bytes":
        mask = np.rint(mask * 255).astype(np.uint8)[None, ..., None]
    matrix = align.affine(landmarks(eyes, degrees, at), SIZE)
    expected = composed(frame, face, mask, matrix)
    pasted = frame.copy()
    box = paste.paste(pasted, face, mask, matrix)
    assert box is not None
    assert np.abs(pasted.astype(int) - expected).max() <= 1
    outside = np.ones(frame.shape[:2], bool)
    outside[box.of] = False
    assert (pasted[outside] == frame[outside]).all()
    assert (expected[outside] == frame[outside]).all(), "the box leaves out what is pasted"
    assert (pasted != frame).any()


def test_the_box_is_no_larger_than_it_must_be() -> None:
    matrix = align.affine(landmarks(90, 0, (240, 180)), SIZE)
    frame = np.zeros((360, 480, 3), np.uint8)
    pasted = frame.copy()
    box = paste.paste(pasted, np.full((SIZE, SIZE, 3), 255, np.uint8), blob(), matrix)
    assert box is not None
    rows, columns = np.nonzero(pasted.any(axis=2))
    touched = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
    slack = np.abs(np.subtract(touched, (box.left, box.top, box.right, box.bottom)))
    assert slack.max() <= np.ceil(90 / 35.24 / 2 * 3), "a few of the crop's pixels around the mask"


@pytest.mark.parametrize(
    ("mask", "at"),
    [
        (np.zeros((SIZE, SIZE), np.float32), (240, 180)),
        (np.full((SIZE, SIZE), 0.0009, np.float32), (240, 180)),
        (np.eye(SIZE, dtype=np.float32), (240, 180)),  # thinner than what the erosions leave
        (np.ones((SIZE, SIZE), np.float32), (-900, 180)),
    ],
    ids=["nothing", "below the limit", "a hair", "outside of the frame"],
)
def test_nothing_to_paste_leaves_the_frame_alone(mask: np.ndarray, at: tuple[float, float]) -> None:
    frame = drawn(3)
    before = frame.copy()
    matrix = align.affine(landmarks(90, 0, at), SIZE)
    assert paste.paste(frame, drawn(4, SIZE, SIZE), mask, matrix) is None
    assert (frame == before).all()


def test_a_window_of_a_larger_picture_is_written_in_place() -> None:
    whole = drawn(5)
    before, window = whole.copy(), whole[40:300, 60:420]
    matrix = align.affine(landmarks(60, 5, (180, 130)), SIZE)
    expected = composed(window, drawn(6, SIZE, SIZE), blob(), matrix)
    paste.paste(window, drawn(6, SIZE, SIZE), blob(), matrix)
    assert np.abs(whole[40:300, 60:420].astype(int) - expected).max() <= 1
    assert (whole[:40] == before[:40]).all()


@pytest.mark.parametrize("size", [224, 256, 64])
def test_the_rim_shows_nothing(size: int) -> None:
    shade = paste.softened(np.ones((size, size), np.float32))
    assert shade.dtype == np.float32
    assert 0 <= shade.min() <= shade.max() <= 1
    assert not shade[:5].any()
    assert not shade[:, -5:].any()
    assert shade[size // 2, size // 2] > 0.999


def test_a_face_over_the_edge_is_cut_with_the_edge_repeated() -> None:
    frame = np.full((100, 100, 3), 77, np.uint8)
    crop = align.cut(frame, align.affine(landmarks(60, 0, (0, 50)), SIZE), SIZE)
    assert crop.shape == (SIZE, SIZE, 3)
    assert (crop == 77).all()


def test_only_the_result_is_rounded() -> None:
    """An enlarged face, in floats and over several parts: but for ties it is what the composition in floats is."""
    frame, face = drawn(7, 900, 1200), np.random.default_rng(8).uniform(0, 255, (SIZE, SIZE, 3)).astype(np.float32)
    matrix = align.affine(landmarks(200, -30, (600, 450)), SIZE)
    expected = composed(frame, face, blob(), matrix)
    assert paste.paste(frame, face, blob(), matrix) is not None
    wrong = frame.astype(int) - expected
    assert np.abs(wrong).max() <= 1
    assert (wrong != 0).mean() < 0.01
