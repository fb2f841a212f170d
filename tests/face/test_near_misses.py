"""Landmarks that are nearly right are refused, and those of real heads are not.

A wrong unit or order that the numbers show ends in a refusal; so does nothing that a head can do.
"""

from __future__ import annotations

import itertools

import cv2
import numpy as np
import pytest

from mfs_edge import sample
from mfs_edge.base.errors import IdentityError
from mfs_edge.face import align
from mfs_edge.face.crop import crop
from mfs_edge.face.landmark_files import Landmarks

WIDTH, HEIGHT = 1600, 1200
# A head in units of the distance between its eyes: eyes, tip of the nose, corners of the mouth.
HEAD = np.array([(-0.5, 0, 0), (0.5, 0, 0), (0, 0.57, 0.42), (-0.415, 1.15, 0.08), (0.415, 1.15, 0.08)])
PHOTO = np.random.default_rng(5).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)


def head(seed: int, *, eyes: float | None = None) -> np.ndarray:
    """Landmarks of a head turned at random, as a detector finds them: [5, 2] in a photo of WIDTH x HEIGHT."""
    rng = np.random.default_rng(seed)
    yaw, pitch, roll = np.radians(rng.uniform((-50, -20, -40), (50, 20, 40)))
    spin = [
        cv2.Rodrigues(axis * angle)[0] for axis, angle in zip(np.eye(3)[[2, 0, 1]], (roll, pitch, yaw), strict=True)
    ]
    distance = eyes if eyes is not None else np.exp(rng.uniform(np.log(16), np.log(260)))
    points = (HEAD @ (spin[0] @ spin[1] @ spin[2]).T)[:, :2] * distance + (WIDTH / 2, HEIGHT / 2)
    return points + rng.normal(0, 0.04 * distance, (5, 2))


def refused(points: np.ndarray, photo: np.ndarray = PHOTO) -> str:
    with pytest.raises(IdentityError) as caught:
        crop(photo, "photo.png", Landmarks(points, "five points"))
    assert str(caught.value).startswith("photo.png: ")
    return str(caught.value)


@pytest.mark.parametrize("seed", range(200))
def test_heads_are_not_refused(seed: int) -> None:
    found = crop(PHOTO, "photo.png", Landmarks(head(seed), "five points"))
    assert found.image.shape == (224, 224, 3)


@pytest.mark.parametrize("eyes", [14, 40, 300])
@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".bmp"])
def test_small_and_large_faces_give_the_crop_that_was_put_there(eyes: float, suffix: str) -> None:
    face = cv2.GaussianBlur(sample.target(0), (0, 0), 3)
    scale = eyes / 70.5
    placed = np.array([[scale, 0, 500.0], [0, scale, 200.0]])
    photo = cv2.warpAffine(face, placed, (WIDTH, HEIGHT), flags=cv2.INTER_AREA, borderMode=cv2.BORDER_REPLICATE)
    photo = cv2.imdecode(cv2.imencode(suffix, photo)[1], cv2.IMREAD_COLOR)
    points = align.TEMPLATE * 2 @ placed[:, :2].T + placed[:, 2]
    found = crop(photo, "photo.png", Landmarks(points, "five points"))
    assert np.abs(found.image.astype(int) - face)[16:-16, 16:-16].mean() < 8


@pytest.mark.parametrize("seed", range(40))
def test_fractions_are_read_as_such(seed: int) -> None:
    points = head(seed)
    as_pixels = crop(PHOTO, "photo.png", Landmarks(points, "five points"))
    as_fractions = crop(PHOTO, "photo.png", Landmarks(points / (WIDTH, HEIGHT), "five points"))
    assert np.abs(as_pixels.image.astype(int) - as_fractions.image).max() <= 1


WRONG = [order for order in itertools.permutations(range(5)) if order != (0, 1, 2, 3, 4)]


@pytest.mark.parametrize("order", WRONG)
def test_every_wrong_order_is_refused(order: tuple[int, ...]) -> None:
    for seed in range(20):
        assert "eye on the picture's left" in refused(head(seed, eyes=100)[list(order)])


@pytest.mark.parametrize("seed", range(10))
def test_percent_of_a_face_in_the_middle_is_refused_where_it_is_no_face(seed: int) -> None:
    refused(head(seed, eyes=90) / (WIDTH, HEIGHT) * 100)


@pytest.mark.parametrize("seed", range(10))
def test_swapped_coordinates_and_mirrored_faces_are_refused(seed: int) -> None:
    points = head(seed, eyes=100)
    refused(points[:, ::-1])
    refused(np.abs(points - (WIDTH, 0)))


@pytest.mark.parametrize("seed", range(10))
def test_points_of_a_larger_copy_are_refused(seed: int) -> None:
    assert "outside" in refused(head(seed, eyes=100) * 2)


def test_a_face_on_the_edge_keeps_to_the_picture() -> None:
    points = align.TEMPLATE * 2
    assert "inside" in refused(points - points.min(axis=0))
    crop(PHOTO, "photo.png", Landmarks(points, "five points"))


def test_a_wall_is_no_face() -> None:
    assert "one colour" in refused(align.TEMPLATE * 2, np.full((400, 400, 3), 128, np.uint8))
