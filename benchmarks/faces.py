"""How well faces are found: ``python -m benchmarks.faces [--views 200] [--seed 0]``.

* 200 pictures made of scikit-image's astronaut (turned by up to 30 degrees, 60 to 1000 px wide, down to 0.3 as bright,
  blurred by up to 2 % of the face's width, mirrored): the worst of five points against where the change puts those of
  the picture as it is, in distances of the eyes.
* The same by how strong the blur is.
* 200 crops of its pictures without a face.
* How much the points tremble on a still scene with noise, as they are and smoothed; how far they are behind on a
  moving one.
"""

from __future__ import annotations

import argparse
import time
from collections import Counter

import cv2
import numpy as np

from mfs_edge.face import smooth
from mfs_edge.face.detect import Detector
from mfs_edge.face.track import Tracker
from tests.face import views

WITHIN = 0.06  # of the eyes' distance
FRAMES, RATE = 60, 30
LINE = "{:<56} {}"


def say(what: str, found: str) -> None:
    """One figure."""
    print(LINE.format(what, found), flush=True)  # noqa: T201


def errors_of(detector: Detector, shown: list[views.View]) -> tuple[np.ndarray, int]:
    """Of each view the error of the best face, 1 where there is none: [N]; and how many others were found."""
    image = views.picture("astronaut")
    (own,) = detector(image)
    errors, others = [], 0
    for view in shown:
        right = view.points(own.landmarks, image.shape)
        found = [views.error(face.landmarks, right) for face in detector(view.of(image))]
        errors.append(min([1.0, *found]))
        others += max(0, len(found) - 1)
    return np.array(errors), others


def found_again(detector: Detector, count: int, seed: int) -> None:
    """The share within 6 %, and quantiles."""
    start = time.perf_counter()
    errors, others = errors_of(detector, list(views.views(count, seed)))
    seconds = (time.perf_counter() - start) / count
    say(f"{count} views, within 6 % of the eyes", f"{(errors < WITHIN).mean():.1%}; {others} other faces")
    say("  error at 50, 90, 95, 100 %", " ".join(f"{e:.2%}" for e in np.percentile(errors, [50, 90, 95, 100])))
    say("  seconds a picture, with making it", f"{seconds:.2f}")
    for blur in (0.0, 0.01, 0.02, 0.03, 0.05):
        turned = [views.View(turn=turn, face=150, blur=blur, mirrored=turn > 0) for turn in range(-30, 31, 6)]
        errors, _ = errors_of(detector, turned)
        say(f"  blurred by {blur:.0%} of the face, mean, worst", f"{errors.mean():.2%} {errors.max():.2%}")


def none_found(detector: Detector, count: int, seed: int) -> None:
    """The share without a face, and where there was one."""
    names = Counter(
        views.FACELESS[number % len(views.FACELESS)]
        for number, image in enumerate(views.faceless(count, seed))
        if detector(image)
    )
    say(f"{count} crops without a face, none found", f"{1 - sum(names.values()) / count:.1%} {dict(names) or ''}")


def trembling(detector: Detector, seed: int) -> None:
    """Jitter on a still scene, and lag on a moving one."""
    image = views.picture("astronaut")
    for face, sigma in ((60, 10), (100, 5), (100, 10), (200, 10)):
        still = views.View(face=face).of(image)
        found = []
        for smoothed in (False, True):
            rng, tracker = np.random.default_rng(seed), Tracker(detector, smoothed)
            points = []
            for number in range(FRAMES):
                noisy = np.clip(still + rng.normal(0, sigma, still.shape), 0, 255).astype(np.uint8)
                points.append(tracker(noisy, number / RATE)[0].landmarks)
            found.append(np.array(points)[10:])
        levels = [f"{smooth.jitter(points):.3f} ({points.std(axis=0).mean():.3f})" for points in found]
        say(f"face {face} px, noise {sigma}: jitter px (deviation)", f"{levels[0]} -> smoothed {levels[1]}")
    for pixels in (1, 5, 20):
        say(f"face 100 px, moving {pixels} px a frame: frames behind", f"{behind(detector, image, pixels):.2f}")


def behind(detector: Detector, image: np.ndarray, pixels: int) -> float:
    """By how many frames smoothing is late, on a face that moves steadily."""
    frames = max(10, min(40, 240 // pixels))
    wide = cv2.copyMakeBorder(image, 0, 0, 0, pixels * frames, cv2.BORDER_REPLICATE)
    found = []
    for smoothed in (False, True):
        tracker = Tracker(detector, smoothed)
        shifted = (np.roll(wide, pixels * number, axis=1) for number in range(frames))
        found.append(np.array([tracker(frame, n / RATE)[0].landmarks[:, 0] for n, frame in enumerate(shifted)]))
    return float((found[0] - found[1])[5:].mean() / pixels)


def main() -> None:
    """Print it all."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--views", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    detector = Detector()
    found_again(detector, asked.views, asked.seed)
    none_found(detector, asked.views, asked.seed)
    trembling(detector, asked.seed)


if __name__ == "__main__":
    main()
