"""Fit ``mfs_edge/face/likeness_weights.py``, and show what it refuses: ``python -m benchmarks.likeness [--write]``.

Right: 100 small faces of LFW (scikit-image's ``lfw_subset``; their landmarks are found by matching brightness with
the mean face) and 64 drawn ones, rolled, turned, lit from a side, with a detector's errors. Wrong: the same pictures
with landmarks that are shifted, of another scale or turned, and places in pictures without a face. Judged on persons
and pictures that were not fitted to: five parts, each judged by what is fitted to the other four.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import skimage.data

from mfs_edge.face import align, likeness
from tests.face import scenes

PARTS = 5
PENALTY = 3e-3
SCALE = 16  # weights are stored as whole numbers of 1 / SCALE
TURNS = ((4, 3, 2, 1, 0), (1, 4, 2, 0, 3), (3, 0, 2, 4, 1))
TEXTURES = (
    *("coffee", "chelsea", "rocket", "coins", "brick", "grass", "gravel", "hubble_deep_field", "moon", "cat", "clock"),
    *("immunohistochemistry", "text", "page", "retina"),
)


@dataclass(frozen=True)
class Case:
    """A crop's features, whether they are a face's, whose, and of which kind it is."""

    features: np.ndarray
    right: bool
    group: int
    kind: str


def lfw() -> list[scenes.Photo]:
    """100 faces; landmarks by matching each one's brightness with the mean's, three times over."""
    photos = [scenes.small(number) for number in range(100)]
    inside = likeness.inside()
    found = [photo.landmarks for photo in photos]

    def brightness(photo: scenes.Photo, points: np.ndarray) -> np.ndarray:
        values = cv2.GaussianBlur(likeness.crop(photo.image, points), (0, 0), 3)[inside]
        normal: np.ndarray = (values - values.mean()) / (values.std() + 1e-6)
        return normal

    shifts = [(x, y, s) for x in np.arange(-16, 17, 4) for y in np.arange(-16, 17, 4) for s in (0.9, 1, 1.1)]
    for _ in range(3):
        mean = np.mean([brightness(photo, points) for photo, points in zip(photos, found, strict=True)], axis=0)
        for number, photo in enumerate(photos):
            centre = photo.landmarks.mean(axis=0)
            tried = [(photo.landmarks - centre) * s + centre + (x, y) for x, y, s in shifts]
            found[number] = max(tried, key=lambda points: float(brightness(photo, points) @ mean))
    return [scenes.Photo(photo.image, points) for photo, points in zip(photos, found, strict=True)]


def lit(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """As if lit from a side, brighter or darker, with more or less contrast."""
    height, width = image.shape[:2]
    ramp = np.linspace(-1, 1, width)[None, :] * rng.uniform(-0.5, 0.5) + np.linspace(-1, 1, height)[
        :, None
    ] * rng.uniform(-0.3, 0.3)
    bright = (image * rng.uniform(0.5, 1.1) + rng.uniform(0, 40)) * (1 + ramp[..., None])
    return np.clip(bright, 0, 255).astype(np.uint8)


def wrong_points(photo: scenes.Photo, count: int, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """Landmarks of this photo shifted, at another scale, in another order or turned."""
    points, centre = photo.landmarks, photo.landmarks.mean(axis=0)
    eyes = np.hypot(*(points[1] - points[0]))
    for number in range(count):
        way, angle = rng.normal(size=2), rng.uniform(1, 5)
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        found = (
            points + way / np.hypot(*way) * rng.uniform(0.6, 3) * eyes,
            (points - centre) * rng.choice([0.4, 0.5, 0.6, 1.7, 2, 2.5]) + centre + 0.3 * way * eyes,
            points[list(TURNS[number // 4 % 3])],
            (points - centre) @ turn.T + centre,
        )[number % 4]
        if (found > 0).all() and (found < photo.image.shape[1::-1]).all():
            yield found


def texture_points(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A face's landmarks anywhere."""
    angle = rng.uniform(-0.6, 0.6)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    points = (align.TEMPLATE - 54) * rng.uniform(10, 60) / 35 @ turn.T
    places: np.ndarray = points - points.min(axis=0)
    return places + rng.uniform(0, 1, 2) * (np.array(image.shape[1::-1]) - places.max(axis=0))


def cases() -> Iterator[Case]:
    """Everything that is fitted to."""
    rng = np.random.default_rng(0)
    people = [("lfw", number, [photo] * 6) for number, photo in enumerate(lfw())]
    for number in range(64):
        views = [
            scenes.drawn(number, face=rng.uniform(60, 300), roll=rng.uniform(-40, 40), turn=turn, room=2)
            for turn in (0, 0.3, 0.6, 0.8, 1)
        ]
        people.append(("drawn", number, views))
    for kind, number, views in people:
        for photo in views:
            image = lit(photo.image, rng)
            right = scenes.noisy(photo.landmarks, rng.uniform(0.02, 0.06), rng)
            mirrored = np.ascontiguousarray(image[:, ::-1])
            flipped = np.column_stack([image.shape[1] - 1 - right[:, 0], right[:, 1]])[[1, 0, 2, 4, 3]]
            yield Case(likeness.features(image, right), True, number, kind)
            yield Case(likeness.features(mirrored, flipped), True, number, kind)
            for points in wrong_points(photo, 4, rng):
                yield Case(likeness.features(image, points), False, number, f"{kind}, wrong place")
    for number, name in enumerate(TEXTURES):
        grey_or_not = getattr(skimage.data, name)()
        image = np.stack([grey_or_not] * 3, -1) if grey_or_not.ndim == 2 else grey_or_not[..., :3]
        image = np.ascontiguousarray(image)
        for _ in range(120):
            yield Case(likeness.features(image, texture_points(image, rng)), False, number, "no face")


def fit(found: list[Case]) -> tuple[np.ndarray, float]:
    """Weights and offset of a logistic regression, both classes of the same weight."""
    import torch

    x = torch.tensor(np.array([case.features for case in found]), dtype=torch.float64)
    y = torch.tensor([1.0 if case.right else -1.0 for case in found], dtype=torch.float64)
    share = torch.where(y > 0, (y < 0).sum() / (y > 0).sum(), 1.0)
    weights = torch.zeros(x.shape[1], dtype=torch.float64, requires_grad=True)
    offset = torch.zeros(1, dtype=torch.float64, requires_grad=True)
    optimiser = torch.optim.LBFGS([weights, offset], max_iter=500)

    def loss() -> torch.Tensor:
        optimiser.zero_grad()
        value = (share * torch.nn.functional.softplus(-y * (x @ weights + offset))).mean() + PENALTY * weights @ weights
        value.backward()  # type: ignore[no-untyped-call]
        return value

    optimiser.step(loss)  # type: ignore[no-untyped-call]
    return weights.detach().numpy(), float(offset.detach())


def show(found: list[Case]) -> None:
    """Scores of each kind, on the part that was not fitted to."""
    scores = np.zeros(len(found))
    for part in range(PARTS):
        weights, offset = fit([case for case in found if case.group % PARTS != part])
        for number, case in enumerate(found):
            if case.group % PARTS == part:
                scores[number] = likeness.probability(case.features @ weights + offset)
    print("kind, cases, scores at 0, 1, 2, 5, 50, 95 and 100 %, share below 0.2, 0.25, 0.3, 0.35, 0.4")  # noqa: T201
    for kind in dict.fromkeys(case.kind for case in found):
        these = scores[[case.kind == kind for case in found]]
        below = [round(float((these < limit).mean()), 3) for limit in (0.2, 0.25, 0.3, 0.35, 0.4)]
        print(kind, len(these), np.round(np.percentile(these, [0, 1, 2, 5, 50, 95, 100]), 2), below)  # noqa: T201


def main() -> None:
    """Show, and write if asked to."""
    found = list(cases())
    show(found)
    if "--write" in sys.argv:
        weights, offset = fit(found)
        rows = np.rint(np.array([*weights, offset]) * SCALE).astype(int).tolist()
        lines = [", ".join(map(str, rows[at : at + 20])) for at in range(0, len(rows), 20)]
        head = f"Written by benchmarks/likeness.py: in 1/{SCALE}, of the cells of edges, of brightness, and the offset."
        text = f'"""{head}"""\n\n'
        text += "WEIGHTS = (\n" + "".join(f"    *({line}),\n" for line in lines) + f")\nSCALE = {SCALE}\n"
        Path("mfs_edge/face/likeness_weights.py").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
