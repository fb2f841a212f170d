"""A frame that is swapped is what the plain composition makes of the network's answer, and nothing else changes."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest

import mfs_edge
from mfs_edge import target
from mfs_edge.base import images
from mfs_edge.base.errors import InputError
from mfs_edge.face import align
from mfs_edge.face.found import Face
from mfs_edge.load.identity import Identity
from mfs_edge.swap.frame import Chosen, FaceSwap
from mfs_edge.swap.session import Session
from tests.face.test_paste import composed
from tests.swap.conftest import ASTRONAUT, SIZE, Built, astronaut, room, two


def independent(built: Built, frame: np.ndarray, landmarks: np.ndarray) -> np.ndarray:
    """The network's floats, composed over the whole frame in floats."""
    matrix = align.affine(landmarks, SIZE)
    crop = cv2.warpAffine(frame, matrix, (SIZE, SIZE), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    path = built.path("onnx")
    answer = target.of_file(path).load(path).run(images.to_nchw(crop))
    face = answer["swapped"][0].transpose(1, 2, 0) * 255
    return composed(frame, face, answer["mask"][0, 0], matrix)


@pytest.mark.parametrize("suffix", ["onnx", "tflite", "xml"])
def test_any_artefact_gives_the_composition(built: Built, suffix: str) -> None:
    swap = FaceSwap(Session(built.path(suffix), threads=1))
    frame = astronaut().copy()
    assert swap.frame(frame, [Face(ASTRONAUT)]) == 1
    expected = independent(built, astronaut(), ASTRONAUT)
    assert np.abs(frame.astype(int) - expected).max() <= 1
    untouched = (expected == astronaut()).all(axis=2)
    assert (frame != astronaut()).any(axis=2).sum() > 500
    assert (frame[:60] == astronaut()[:60]).all()
    assert np.abs(frame[untouched].astype(int) - astronaut()[untouched]).max() <= 1


@pytest.fixture(scope="module")
def swap(built: Built) -> FaceSwap:
    return FaceSwap(Session(built.path("onnx"), built.packs["onnx"], threads=1))


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory, demo_identities: list[Identity]) -> Session:
    """The C, which does whole frames itself."""
    out = tmp_path_factory.mktemp("c")
    mfs_edge.compile(identity=demo_identities[0], target="c", size=SIZE, out=out, verify=False)
    return Session(out / f"idn-{SIZE}-fp32.idn", threads=1)


@pytest.mark.parametrize("shift", [(0, 0), (-226, 0), (0, -126), (260, 300)], ids=["middle", "left", "top", "corner"])
def test_c_and_python_give_the_same_frame(compiled: Session, shift: tuple[float, float]) -> None:
    frames = [np.roll(astronaut(), np.array(shift)[::-1].astype(int), (0, 1)) for _ in range(2)]
    swaps = [FaceSwap(compiled), FaceSwap(compiled, direct=False)]
    assert swaps[0].direct
    assert [swap.frame(frame, [Face(ASTRONAUT + shift)]) for swap, frame in zip(swaps, frames, strict=True)] == [1, 1]
    apart = np.abs(frames[0].astype(int) - frames[1]).max(axis=2)
    # Crops differ by a rounding here and there, so a mask at 0.001 may fall on either side: of 49 pixels' mean, one.
    assert (apart > 1).sum() <= 49
    assert apart.max() <= 1 + 255 / 49
    assert all(swap.stages.seconds[stage] > 0 for swap in swaps for stage in ("align", "network", "paste"))


def test_a_mask_that_shows_nothing_is_no_face(compiled: Session) -> None:
    for direct in (True, False):
        frame = np.zeros((300, 300, 3), np.uint8)
        landmarks = align.TEMPLATE - align.TEMPLATE.mean(axis=0) + np.array([-70.0, 150.0])
        assert FaceSwap(compiled, direct=direct).frame(frame, [Face(landmarks)]) == 0
        assert not frame.any()


@pytest.mark.parametrize("shift", [(-226, 0), (0, -126), (260, 300)], ids=["left", "top", "corner"])
def test_a_face_over_the_edge(built: Built, shift: tuple[float, float]) -> None:
    frame = np.roll(astronaut(), np.array(shift)[::-1].astype(int), (0, 1))
    before, landmarks = frame.copy(), ASTRONAUT + shift
    assert FaceSwap(Session(built.path("onnx"))).frame(frame, [Face(landmarks)]) == 1
    assert np.abs(frame.astype(int) - independent(built, before, landmarks)).max() <= 1


def test_each_face_gets_its_own_person(swap: FaceSwap) -> None:
    picture, (left, right) = two()
    both, alone = picture.copy(), picture.copy()
    assert swap.frame(both, [Chosen(Face(left), 0), Chosen(Face(right), 1)]) == 2
    swap.frame(alone, [Chosen(Face(left), 0)])
    swap.frame(alone, [Chosen(Face(right), 1)])
    assert (both == alone).all()
    other = picture.copy()
    swap.frame(other, [Chosen(Face(left), 1), Chosen(Face(right), 0)])
    assert (both != other).any(), "both people are one"


def test_nothing_inside_of_the_frame_is_no_face(swap: FaceSwap) -> None:
    frame = room().image.copy()
    assert swap.frame(frame, []) == 0
    assert swap.frame(frame, [Face(room().landmarks + 5000)]) == 0
    assert (frame == room().image).all()


@pytest.mark.parametrize("shape", [(1, 1, 3), (2, 700, 3), (700, 1, 3)])
def test_pictures_of_a_pixel_or_a_line(swap: FaceSwap, shape: tuple[int, ...]) -> None:
    frame = np.full(shape, 9, np.uint8)
    swap.frame(frame, [Face(align.TEMPLATE - align.TEMPLATE.mean(axis=0))])
    assert frame.shape == shape


@pytest.mark.parametrize("direct", [True, False], ids=["in C", "in Python"])
@pytest.mark.parametrize(
    "view", [np.s_[:, :, ::-1], np.s_[::-1], np.s_[:, ::-1]], ids=["BGR", "upside down", "mirrored"]
)
def test_views_of_any_kind_are_swapped_in_place(compiled: Session, direct: bool, view: Any) -> None:
    alone = room().image.copy()
    held = np.ascontiguousarray(room().image[view])
    shown = held[view]
    assert (shown == alone).all()
    swap = FaceSwap(compiled, direct=direct)
    assert swap.frame(alone, [Face(room().landmarks)]) == swap.frame(shown, [Face(room().landmarks)]) == 1
    assert (shown == alone).all()
    assert (alone != room().image).any()


def test_a_window_that_is_not_contiguous_is_swapped_in_place(swap: FaceSwap) -> None:
    wide = np.hstack([room().image, room().image])
    window = wide[:, : room().image.shape[1]]
    alone = room().image.copy()
    swap.frame(window, [Face(room().landmarks)])
    swap.frame(alone, [Face(room().landmarks)])
    assert (window == alone).all()


@pytest.mark.parametrize(
    ("landmarks", "words"),
    [
        (ASTRONAUT[[1, 0, 2, 4, 3]], "mirror"),
        (np.full((5, 2), 7.0), "one line"),
        (np.full((5, 2), np.nan), "not finite"),
    ],
)
def test_what_cannot_be_a_face_is_refused(swap: FaceSwap, landmarks: np.ndarray, words: str) -> None:
    frame = astronaut().copy()
    with pytest.raises(InputError, match=words):
        swap.frame(frame, [Face(landmarks)])
    assert (frame == astronaut()).all()


def test_frames_that_opencv_cannot_warp_are_refused(swap: FaceSwap) -> None:
    with pytest.raises(InputError, match="40000"):
        swap.frame(np.zeros((1, 40000, 3), np.uint8), [Face(ASTRONAUT)])


def test_an_engine_that_does_the_whole_frame_is_asked_to(built: Built, monkeypatch: pytest.MonkeyPatch) -> None:
    session = Session(built.path("onnx"))
    asked: list[np.ndarray] = []

    def swap_frame(pixels: np.ndarray, landmarks: np.ndarray) -> dict[str, float]:
        asked.append(landmarks)
        pixels[126, 226] = 1
        return {"align": 1.0, "network": 8.0, "paste": 1.0}

    monkeypatch.setattr(session.engine, "swap_frame", swap_frame, raising=False)
    frame: Any = astronaut().copy()
    swap = FaceSwap(session)
    assert swap.frame(frame, [Face(ASTRONAUT)]) == 1
    assert (asked[0] == ASTRONAUT).all()
    assert (frame[126, 226] == 1).all()
    assert swap.stages.seconds["network"] == pytest.approx(0.008)
    here = FaceSwap(session, direct=False)
    here.frame(frame, [Face(ASTRONAUT)])
    assert len(asked) == 1
