"""A short film of a drawn person in a drawn room: what ``mfs-edge demo`` swaps a face in.

The person is one of the sample's drawn faces, cut out and put on shoulders; it walks through the frame, nods and comes
nearer. Where its five points are in each frame is known exactly. There is no file of it: it is drawn each time, and is
the same each time.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from mfs_edge import sample
from mfs_edge.base import extras

WIDTH, HEIGHT = 640, 360
RATE, FRAMES = 25, 50
SOUND_RATE, HERTZ, LOUDNESS = 48_000, 440, 0.2
ACTOR = 61  # one of the sample's faces whose drawn ground is plain, so that it can be cut out
SEED = 17
_LEVEL = 4  # two neighbours that differ by less belong to the same ground
_COLLAR = 7  # lowest rows of the picture, which show another shirt
_SHIRT, _SHADE = (58, 84, 128), (44, 64, 98)


@dataclass(frozen=True)
class Actor:
    """A drawn face without its ground."""

    picture: np.ndarray  # uint8 [224, 224, 3] RGB
    opaque: np.ndarray  # float32 [224, 224, 1] in 0..1
    landmarks: np.ndarray  # [5, 2] pixels
    skin: tuple[int, int, int]  # of the neck


def frames() -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """The pictures, uint8 [360, 640, 3] RGB, each with the five points in it, float64 [5, 2] pixels."""
    ground, shown = room(), actor(ACTOR)
    for index in range(FRAMES):
        matrix = pose(index / FRAMES)
        yield _placed(ground.copy(), shown, matrix), shown.landmarks @ matrix[:, :2].T + matrix[:, 2]


def tone() -> np.ndarray:
    """What is heard: a sine that swells and fades, float32 [1, N] in -1..1."""
    time = np.arange(FRAMES * SOUND_RATE // RATE) / SOUND_RATE
    swell = np.sin(np.pi * time * RATE / FRAMES)
    return (LOUDNESS * swell * np.sin(2 * np.pi * HERTZ * time)).astype(np.float32)[None]


def pose(share: float) -> np.ndarray:
    """Where the face is at ``share`` (0..1) of the film: the affine [2, 3] from its picture to the frame.

    It walks from left to right, comes nearer, nods from side to side by 9 degrees, and turns: a head that turns gets
    narrower, which an affine can show.
    """
    turn = 2 * np.pi * share
    scale, roll = 0.82 - 0.16 * np.cos(turn), np.deg2rad(9) * np.sin(2 * turn)
    narrow = 1 - 0.1 * np.sin(turn) ** 2
    linear = np.array([(np.cos(roll), -np.sin(roll)), (np.sin(roll), np.cos(roll))]) @ np.diag([narrow, 1.0]) * scale
    middle = np.array([190 + 240 * share, 172 - 6 * np.cos(2 * turn)])
    return np.column_stack([linear, middle - linear @ np.array([112.0, 112.0])])


@functools.cache
def actor(number: int) -> Actor:
    """Drawn face ``number`` (0..63), cut out: the ground that is joined to the upper corners goes, and the collar."""
    cv2 = extras.require("cv2", "swap")
    picture = sample.target(number)
    ground = np.zeros((226, 226), np.uint8)
    for corner in ((0, 0), (223, 0)):
        level = (_LEVEL,) * 3
        cv2.floodFill(picture.copy(), ground, corner, 255, level, level, 4 | cv2.FLOODFILL_MASK_ONLY | 255 << 8)
    around = cv2.dilate(ground[1:-1, 1:-1], np.ones((5, 5), np.uint8))  # with the edge, which is mixed with the ground
    around[-_COLLAR:] = 255
    opaque = cv2.GaussianBlur(255 - around, (3, 3), 0).astype(np.float32)[..., None] / 255
    points = json.loads((sample.FACES / "landmarks.json").read_text(encoding="utf-8"))[f"target_{number:02}"]
    neck = np.median(picture[-2 * _COLLAR : -_COLLAR, 104:120].reshape(-1, 3), axis=0).astype(int).tolist()
    return Actor(picture, opaque, np.array(points, np.float64), (neck[0], neck[1], neck[2]))


def room() -> np.ndarray:
    """The room, uint8 [360, 640, 3] RGB: a window, a picture, and books whose colours come from a seed."""
    cv2 = extras.require("cv2", "swap")
    light = np.linspace(1.0, 0.86, WIDTH)[None, :, None] * np.linspace(1.02, 0.9, HEIGHT)[:, None, None]
    image = np.clip(light * np.array([226, 214, 190]), 0, 255).astype(np.uint8)
    cv2.rectangle(image, (0, 318), (WIDTH, HEIGHT), (148, 112, 80), -1)
    cv2.rectangle(image, (0, 312), (WIDTH, 318), (240, 234, 222), -1)
    _window(image, 36, 40, 150, 150)
    _shelf(image, np.random.default_rng(SEED), 470, 96, 144)
    _shelf(image, np.random.default_rng(SEED + 1), 470, 176, 144)
    cv2.rectangle(image, (270, 44), (350, 104), (120, 92, 62), -1)
    cv2.rectangle(image, (276, 50), (344, 98), (236, 240, 236), -1)
    for at, radius, colour in (((298, 76), 15, (208, 92, 70)), ((318, 70), 13, (70, 120, 168))):
        cv2.circle(image, at, radius, colour, -1, cv2.LINE_AA)
    return image


def _window(image: np.ndarray, x: int, y: int, width: int, height: int) -> None:
    cv2 = extras.require("cv2", "swap")
    cv2.rectangle(image, (x - 8, y - 8), (x + width + 8, y + height + 8), (250, 248, 244), -1)
    sky = np.linspace((116, 172, 226), (206, 228, 244), height)[:, None]
    image[y : y + height, x : x + width] = sky
    pane = image[y : y + height, x : x + width]
    cv2.circle(pane, (width - 34, 34), 15, (252, 226, 132), -1, cv2.LINE_AA)
    cv2.ellipse(pane, (40, height + 24), (92, 74), 0, 0, 360, (112, 160, 96), -1, cv2.LINE_AA)
    cv2.ellipse(pane, (132, height + 30), (80, 62), 0, 0, 360, (86, 138, 84), -1, cv2.LINE_AA)
    cv2.line(image, (x + width // 2, y), (x + width // 2, y + height), (250, 248, 244), 5)
    cv2.line(image, (x, y + height // 2), (x + width, y + height // 2), (250, 248, 244), 5)


def _shelf(image: np.ndarray, rng: np.random.Generator, x: int, y: int, width: int) -> None:
    """A board with books on it; ``y`` is where they stand."""
    cv2 = extras.require("cv2", "swap")
    cv2.rectangle(image, (x - 6, y), (x + width + 6, y + 7), (140, 104, 72), -1)
    left = x
    while left < x + width - 18:
        thick, high = (int(rng.integers(*limits)) for limits in ((9, 18), (36, 58)))
        colour = tuple(int(level) for level in rng.integers(60, 200, 3))
        cv2.rectangle(image, (left, y - high), (left + thick - 2, y - 1), colour, -1)
        cv2.line(image, (left + 2, y - high + 8), (left + thick - 4, y - high + 8), (236, 226, 200), 2)
        left += thick


def _placed(image: np.ndarray, shown: Actor, matrix: np.ndarray) -> np.ndarray:
    """The person in the room, uint8 [360, 640, 3] RGB, in place: shoulders, then the head upon them."""
    cv2 = extras.require("cv2", "swap")
    scale = float(np.sqrt(np.linalg.det(matrix[:, :2])))
    neck = matrix @ np.array([112.0, 205.0, 1.0])
    _shoulders(image, neck, scale, shown.skin)
    head = cv2.warpAffine(
        shown.picture, matrix, (WIDTH, HEIGHT), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    opaque = cv2.warpAffine(shown.opaque, matrix, (WIDTH, HEIGHT), flags=cv2.INTER_LINEAR)[..., None]
    image[:] = np.rint(image + opaque * (head.astype(np.float32) - image))
    return image


def _shoulders(image: np.ndarray, neck: np.ndarray, scale: float, skin: tuple[int, int, int]) -> None:
    """``neck`` is where the head ends, [2] pixels; they follow it, and do not nod."""
    cv2 = extras.require("cv2", "swap")

    def oval(right: float, down: float, width: float, height: float, colour: tuple[int, int, int]) -> None:
        at = neck + scale * np.array([right, down])
        ends = [round(16 * value) for value in (*at, scale * width, scale * height)]  # to a sixteenth of a pixel
        cv2.ellipse(image, tuple(ends[:2]), tuple(ends[2:]), 0, 0, 360, colour, -1, cv2.LINE_AA, 4)

    oval(0, 175, 150, 150, _SHADE)
    oval(0, 179, 146, 150, _SHIRT)
    oval(0, 20, 38, 30, _SHADE)
    oval(0, 8, 31, 34, skin)
