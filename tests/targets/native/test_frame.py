"""Whole frames in C against OpenCV's composition of the same network's outputs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from mfs_edge.targets.native import NativeTarget

from mfs_edge.face import align
from mfs_edge.swap.frame import reaches
from mfs_edge.target import EmitOptions
from tests.targets.native import composed
from tests.targets.native.composed import BGRA8, I420, NV12, NV21, RGB8, RGBA8, Camera, Library
from tests.targets.native.test_family import Builder

SIZES = (32, 96, 224)  # rows of less than a word of bits, of one and a half, of three and a half
MIRRORED, OUTSIDE, NO_FACE = -19, -20, -18
Libraries = Callable[[int], Library]


@pytest.fixture(scope="module")
def libraries(tmp_path_factory: pytest.TempPathFactory) -> Libraries:
    """Small networks, by size."""
    folder, found = tmp_path_factory.mktemp("c"), dict[int, Library]()

    def get(size: int) -> Library:
        if size not in found:
            path = folder / f"{size}.idn"
            model = Builder(4, size).model([4] * 5, [4] * 4, [4, 4, 4, 4, 2], 4)
            NativeTarget().emit(model, path, EmitOptions())
            found[size] = Library(path, threads=3)
        return found[size]

    return get


def noise(rng: np.random.Generator, *shape: int) -> np.ndarray:
    return rng.integers(0, 256, shape, dtype=np.uint8)


def smooth(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """A picture as cameras take them, without sharp edges."""
    small = rng.integers(60, 200, (height // 24 + 2, width // 24 + 2, 3)).astype(np.float32)
    big: np.ndarray = np.clip(cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC), 0, 255)
    return np.rint(big).astype(np.uint8)


def difference(one: np.ndarray, other: np.ndarray) -> int:
    return int(np.abs(one.astype(int) - other.astype(int)).max())


def flat(rgb: np.ndarray, form: int, alpha: np.ndarray | None = None) -> np.ndarray:
    """As it lies in memory, uint8 [H, bytes]."""
    if form == RGB8:
        return rgb.reshape(len(rgb), -1)
    order = rgb[..., ::-1] if form == BGRA8 else rgb
    return np.concatenate([order, np.asarray(alpha)[..., None]], axis=-1).reshape(len(rgb), -1)


@pytest.mark.parametrize("form", [RGB8, RGBA8, BGRA8])
@pytest.mark.parametrize("size", SIZES)
def test_pixels_are_those_of_the_composition(libraries: Libraries, size: int, form: int) -> None:
    """Any angle and scale, over every border, of noise; outside of the box and between rows nothing changes."""
    library, rng = libraries(size), np.random.default_rng(size + form)
    changed = 0
    for _ in range(12):
        width, height = int(rng.integers(2, 1300)), int(rng.integers(2, 800))
        frame, alpha = noise(rng, height, width, 3), noise(rng, height, width)
        points = composed.landmarks(rng, width, height, composed.sizes(rng))
        camera = Camera.of([flat(frame, form, alpha)], form, gap=int(rng.integers(0, 9)))
        status = library.swap(camera, points)
        assert status == 0  # its middle is inside
        wanted = composed.swap(frame, points, size, library.run)
        found = camera.shown()[0].reshape(height, width, -1)
        assert difference(found[..., ::-1][..., 1:] if form == BGRA8 else found[..., :3], wanted) <= 1
        outside = ~composed.box(points, size, frame.shape)
        before = flat(frame, form, alpha).reshape(height, width, -1)
        assert (found[outside] == before[outside]).all()
        assert form == RGB8 or (found[..., 3] == alpha).all()
        assert camera.gaps()
        changed += bool((found != before).any())
    assert changed >= 6


@pytest.mark.parametrize("size", SIZES)
def test_the_engine_swaps_alike_and_says_where_time_goes(libraries: Libraries, size: int) -> None:
    library, rng = libraries(size), np.random.default_rng(size)
    frame = noise(rng, 400, 700, 3)
    points = composed.landmarks(rng, 700, 400, 150)
    camera = Camera.of([flat(frame, RGB8)], RGB8)
    assert library.swap(camera, points) == 0
    room = np.zeros((400, 711, 3), np.uint8)
    given = room[:, 5:705]
    given[:] = frame
    stages = library.engine.swap_frame(given, points)
    assert list(stages) == ["align", "network", "paste"]
    assert all(ms > 0 for ms in stages.values())
    assert (given == camera.shown()[0].reshape(frame.shape)).all()
    assert not room[:, :5].any()
    assert not room[:, 705:].any()


def test_the_engine_refuses_what_is_no_frame(libraries: Libraries) -> None:
    engine, frame = libraries(32).engine, np.zeros((60, 80, 3), np.uint8)
    points = align.TEMPLATE * 0.5
    read_only = frame.copy()
    read_only.setflags(write=False)
    for wrong in (
        frame.astype(np.float32),
        frame[..., :2],
        frame[:, ::2],
        frame[::-1],
        frame.transpose(1, 0, 2),
        read_only,
    ):
        with pytest.raises(ValueError, match="a frame is"):
            engine.swap_frame(wrong, points)
    with pytest.raises(ValueError, match=r"landmarks are \[4, 2\]"):
        engine.swap_frame(frame, points[:4])
    for wrong in (points + 500, points * [-1, 1] + [80, 0], np.full((5, 2), np.nan), points * 0 + 9):
        with pytest.raises(RuntimeError, match="landmarks "):
            engine.swap_frame(frame, wrong)
    with pytest.raises(RuntimeError, match="a frame of fewer than 2 pixels"):
        engine.swap_frame(frame[:1, :1], points)
    assert not frame.any()


@pytest.mark.parametrize("workers", [2, 3, 7])
@pytest.mark.parametrize("form", [RGB8, NV12, I420])
def test_any_number_of_workers_computes_the_same(libraries: Libraries, form: int, workers: int) -> None:
    library, rng = libraries(96), np.random.default_rng(workers)
    points = composed.landmarks(rng, 301, 203, 60)
    planes = [noise(rng, 203, 301 * composed.CHANNELS.get(form, 1))]
    planes += {RGB8: [], NV12: [noise(rng, 102, 302)], I420: [noise(rng, 102, 151), noise(rng, 102, 151)]}[form]
    one, many = Camera.of(planes, form), Camera.of(planes, form)
    assert library.swap(one, points) == library.swap(many, points, workers) == 0
    assert all((a == b).all() for a, b in zip(one.planes, many.planes, strict=True))
    assert not (one.planes[0] == planes[0].ravel()).all()


def masks(rng: np.random.Generator, size: int) -> dict[str, np.ndarray]:
    """Shapes that the softening must treat alike, float32 [S, S]."""
    rows, columns = np.mgrid[0:size, 0:size]
    round_ = ((rows - size / 2) ** 2 + (columns - size / 2) ** 2 < (size / 3) ** 2).astype(np.float32)
    holes = (cv2.GaussianBlur(rng.random((size, size)), (0, 0), size / 16) > 0.5).astype(np.float32)
    corner = np.zeros((size, size), np.float32)
    corner[: size // 2, size // 3 :] = 0.5
    edge = np.where(rng.random((size, size)) < 0.5, np.float32(0.001), np.float32(0.0011)).astype(np.float32)
    point = np.zeros((size, size), np.float32)
    point[size // 2, size // 2] = 1
    return {
        "round": round_, "holes": holes, "corner": corner, "at the limit": edge, "a point": point,
        "all": np.ones((size, size), np.float32), "nothing": np.zeros((size, size), np.float32),
    }  # fmt: skip


@pytest.mark.parametrize("size", SIZES)
def test_every_mask_is_softened_alike(libraries: Libraries, size: int) -> None:
    library, rng = libraries(size), np.random.default_rng(size)
    for name, mask in masks(rng, size).items():
        frame, face = noise(rng, 310, 420, 3), noise(rng, size, size, 3)
        matrix = align.affine(composed.landmarks(rng, 420, 310, 90), size)
        wanted = np.rint(composed.paste(frame, face, mask, matrix)).astype(np.uint8)
        planes = np.ascontiguousarray(face.transpose(2, 0, 1), np.float32) / 255
        for given, shade in ((face, mask), (planes, mask), (face, (mask > 0.001).astype(np.uint8))):
            camera = Camera.of([flat(frame, RGB8)], RGB8)
            library.paste(camera, given, shade, matrix)
            found = camera.shown()[0].reshape(frame.shape)
            assert difference(found, wanted) <= 1, name
            untouched = (wanted == frame) & (composed.paste(frame, 255 - face, mask, matrix) == frame)
            assert (found[untouched] == frame[untouched]).all(), name
        assert (name in ("nothing", "a point")) == (composed.softened(mask).max() == 0)


def yuv(rng: np.random.Generator, height: int, width: int, colour: int) -> list[np.ndarray]:
    """Luma, U and V of a smooth picture, in bytes."""
    made = composed.to_yuv(smooth(rng, height, width), colour)
    planes = (made[..., 0], composed.halved(made[..., 1]), composed.halved(made[..., 2]))
    return [np.rint(plane).astype(np.uint8) for plane in planes]


def laid(planes: list[np.ndarray], form: int) -> list[np.ndarray]:
    luma, u, v = planes
    if form == I420:
        return [luma, u, v]
    pair = (u, v) if form == NV12 else (v, u)
    return [luma, np.stack(pair, axis=-1).reshape(len(u), -1)]


def parted(shown: list[np.ndarray], form: int) -> list[np.ndarray]:
    if form == I420:
        return shown
    pairs = shown[1].reshape(len(shown[1]), -1, 2)
    return [shown[0], *(pairs[..., i] for i in ((0, 1) if form == NV12 else (1, 0)))]


def upright(planes: list[np.ndarray], colour: int) -> np.ndarray:
    """RGB in floats, [H, W, 3]."""
    luma, u, v = planes
    return composed.to_rgb(
        np.stack([luma, *(composed.wide(c, luma.shape) for c in (u, v))], axis=-1).astype(float), colour
    )


@pytest.mark.parametrize("colour", range(4))
@pytest.mark.parametrize("form", [NV12, NV21, I420])
def test_cameras_frames_are_those_of_the_composition(libraries: Libraries, form: int, colour: int) -> None:
    """Converted, swapped and converted back in floats; odd sides too, and faces over the border."""
    library, rng = libraries(96), np.random.default_rng(10 * form + colour)
    for turn in range(6):
        height, width = int(rng.integers(60, 400)), int(rng.integers(60, 500))
        planes = yuv(rng, height, width, colour)
        points = composed.landmarks(rng, width, height, composed.sizes(rng, 40, 400))
        camera = Camera.of(laid(planes, form), form, colour, gap=turn)
        matrix = align.affine(points, 96)
        crop = np.clip(np.rint(composed.warp(upright(planes, colour).astype(np.float32), matrix, 96)), 0, 255)
        assert np.abs(library.align(camera, matrix) - crop).max() <= 1
        face, mask = smooth(rng, 96, 96), masks(rng, 96)["round"]
        library.paste(camera, face, mask, matrix)
        whole = composed.paste(upright(planes, colour).astype(np.float32), face.astype(np.float32), mask, matrix)
        wanted = composed.to_yuv(whole.astype(float), colour)
        found = parted(camera.shown(), form)
        for i, plane in enumerate(found):
            expected = wanted[..., 0] if i == 0 else composed.halved(wanted[..., i])
            assert np.abs(plane - expected).max() <= 1.5, (i, turn)  # half of it is the byte that it was
        outside = ~composed.box(points, 96, (height, width))
        assert (found[0][outside] == planes[0][outside]).all()
        beyond = composed.halved(outside.astype(float)) == 1
        assert all((found[i][beyond] == planes[i][beyond]).all() for i in (1, 2))
        assert camera.gaps()


@pytest.mark.parametrize("form", [NV12, NV21, I420])
def test_a_cameras_frame_of_noise_keeps_what_the_mask_leaves(libraries: Libraries, form: int) -> None:
    """Colours that no RGB has, too: what is not the face's is never converted."""
    library, rng = libraries(32), np.random.default_rng(form)
    planes = [noise(rng, 201, 301), noise(rng, 101, 151), noise(rng, 101, 151)]
    camera, points = Camera.of(laid(planes, form), form), composed.landmarks(rng, 301, 201, 70)
    assert library.swap(camera, points) == 0
    matrix = align.affine(points, 32)
    full = np.ones((32, 32), np.float32)  # the most that a mask can show
    shown = (
        composed.paste(np.zeros((201, 301, 3), np.uint8), np.full((32, 32, 3), 255, np.uint8), full, matrix)[..., 0] > 0
    )
    found = parted(camera.shown(), form)
    assert (found[0][~shown] == planes[0][~shown]).all()
    assert not (found[0] == planes[0]).all()
    beyond = composed.halved(shown.astype(float)) == 0
    assert all((found[i][beyond] == planes[i][beyond]).all() for i in (1, 2))


@pytest.mark.parametrize("form", [RGB8, RGBA8, BGRA8])
def test_crops_are_cut_in_any_order_of_colours(libraries: Libraries, form: int) -> None:
    library, rng = libraries(96), np.random.default_rng(form)
    frame = noise(rng, 150, 210, 3)
    matrix = align.affine(composed.landmarks(rng, 210, 150, 120), 96)
    wanted = composed.warp(frame, matrix, 96)
    for given in (RGB8, RGBA8, BGRA8):
        camera = Camera.of([flat(frame, given, noise(rng, 150, 210))], given, gap=2)
        found = library.align(camera, matrix, form)
        assert difference(found[..., 2::-1] if form == BGRA8 else found[..., :3], wanted) <= 1
        assert form == RGB8 or (found[..., 3] == 9).all()


def test_the_affine_map_is_least_squares_and_reaches_as_far_as_in_python(libraries: Libraries) -> None:
    library, rng = libraries(224), np.random.default_rng(0)
    camera = Camera.of([noise(rng, 700, 3 * 900)], RGB8)
    seen = set()
    for _ in range(200):
        points = composed.landmarks(rng, 900, 700, composed.sizes(rng, 2, 4000))
        points += rng.uniform(-1, 1, 2) * composed.sizes(rng, 1, 3000)  # far outside of the frame, too
        status, matrix = library.affine(camera, points)
        inside = reaches(align.affine(points, 224), 224, np.broadcast_to(np.uint8(0), (700, 900, 3)))
        assert status == (0 if inside else OUTSIDE)
        if inside:
            wanted = align.affine(points, 224)
            assert np.abs(matrix - wanted).max() <= 1e-9 * np.abs(wanted).max()
        else:
            assert np.isnan(matrix).all()
        seen.add(status)
    assert seen == {0, OUTSIDE}


@pytest.mark.parametrize(
    ("points", "status"),
    [
        (np.full((5, 2), 40.0), NO_FACE),
        (np.arange(10.0).reshape(5, 2) * 7, NO_FACE),
        (np.array([[i * 0.3, 7 + i * 0.1] for i in range(5)]), NO_FACE),
        (align.TEMPLATE * [1, 0] + [0, 30], NO_FACE),
        (np.where(np.eye(5, 2) > 0, np.nan, align.TEMPLATE), NO_FACE),
        (np.where(np.eye(5, 2) > 0, np.inf, align.TEMPLATE), NO_FACE),
        (np.where(np.eye(5, 2) > 0, -1e300, align.TEMPLATE), NO_FACE),
        (align.TEMPLATE * 1e-9 + 50, NO_FACE),
        (align.TEMPLATE[:, ::-1].copy(), MIRRORED),
        (align.TEMPLATE[[1, 0, 2, 4, 3]], MIRRORED),
        (align.TEMPLATE + np.array([300, 0]), OUTSIDE),
        (align.TEMPLATE - np.array([0, 1e6]), OUTSIDE),
    ],
)
def test_landmarks_that_cannot_be_have_their_error(libraries: Libraries, points: np.ndarray, status: int) -> None:
    library, frame = libraries(32), noise(np.random.default_rng(0), 120, 3 * 130)
    camera = Camera.of([frame], RGB8)
    assert library.swap(camera, points) == library.affine(camera, points)[0] == status
    assert (camera.planes[0] == frame.ravel()).all()


def test_instruction_sets_agree(libraries: Libraries) -> None:
    library, rng = libraries(96), np.random.default_rng(3)
    frame, face, mask = noise(rng, 300, 400, 3), noise(rng, 96, 96, 3), masks(rng, 96)["holes"]
    matrix, found = align.affine(composed.landmarks(rng, 400, 300, 100), 96), []
    best = library.engine.model.cpu
    for code in library.engine.cpus():
        library.engine.model.cpu = code
        camera = Camera.of([flat(frame, RGB8)], RGB8)
        found.append(library.align(camera, matrix))
        library.paste(camera, face, mask, matrix)
        found.append(camera.shown()[0])
    library.engine.model.cpu = best
    assert all(difference(found[i], found[i % 2]) <= 1 for i in range(len(found)))


def test_the_golden_network_swaps_a_frame(made: Callable[[int], Path]) -> None:
    """Wilder activations, at the size that is shipped."""
    library, rng = Library(made(224)), np.random.default_rng(8)
    frame = smooth(rng, 480, 640)
    points = composed.landmarks(rng, 640, 480, 140)
    camera = Camera.of([flat(frame, RGB8)], RGB8)
    assert library.swap(camera, points) == 0
    found = camera.shown()[0].reshape(frame.shape)
    assert difference(found, composed.swap(frame, points, 224, library.run)) <= 1
    assert difference(found, frame) > 20
