"""What cutting a face out and pasting it back costs beside the network: whole frames, stage by stage, in turns.

    python benchmarks/swap_frames.py build/*.onnx build/*.tflite [--frame 1280x720] [--eyes 90] [--frames 300]

Every artefact swaps the same drawn face in a frame of noise. Stages of a frame are timed one behind the other in the
same run; what is compared is align + paste with the network of the same frame.
"""

from __future__ import annotations

import argparse
import json
import statistics
from pathlib import Path

import numpy as np

from mfs_edge import sample
from mfs_edge.face import align
from mfs_edge.face.found import Face
from mfs_edge.swap.frame import FaceSwap
from mfs_edge.swap.session import Session
from mfs_edge.swap.stages import ALIGN, NETWORK, PASTE

WARMUP = 10


def scene(width: int, height: int, eyes: float) -> tuple[np.ndarray, Face]:
    """uint8 [height, width, 3] with a drawn face whose eyes are so many pixels apart, and where it is."""
    import cv2

    points = np.array(json.loads((sample.FACES / "landmarks.json").read_text())["target_00"])
    scale = eyes / float(np.hypot(*(points[1] - points[0])))
    face = cv2.resize(sample.target(0), None, fx=scale, fy=scale, interpolation=cv2.INTER_LINEAR)
    frame = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    top, left = (height - face.shape[0]) // 2, (width - face.shape[1]) // 2
    frame[top : top + face.shape[0], left : left + face.shape[1]] = face
    return frame, Face(points * scale + (left, top))


def measured(swap: FaceSwap, frame: np.ndarray, face: Face, frames: int) -> dict[str, float]:
    """Medians in ms of each stage, and of the ratio within a frame."""
    rows: list[dict[str, float]] = []
    for _ in range(frames + WARMUP):
        before = dict(swap.stages.seconds)
        swap.frame(frame.copy(), [face])
        rows.append({stage: 1000 * (swap.stages.seconds[stage] - before[stage]) for stage in (ALIGN, NETWORK, PASTE)})
    rows = rows[WARMUP:]
    ratios = [(row[ALIGN] + row[PASTE]) / row[NETWORK] for row in rows]
    low, middle, high = statistics.quantiles(ratios, n=4)
    medians = {stage: statistics.median(row[stage] for row in rows) for stage in (ALIGN, NETWORK, PASTE)}
    return medians | {"ratio": middle, "low": low, "high": high}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("artefacts", nargs="+", type=Path)
    parser.add_argument("--frame", default="1280x720")
    parser.add_argument("--eyes", type=float, default=90.0)
    parser.add_argument("--frames", type=int, default=300)
    parser.add_argument("--threads", type=int, default=2)
    given = parser.parse_args()
    width, height = map(int, given.frame.split("x"))
    frame, face = scene(width, height, given.eyes)
    corners = np.linalg.det(align.affine(face.landmarks, 224)[:, :2]) ** -0.5 * 224
    print(f"{width}x{height}, eyes {given.eyes:g} px apart, the crop covers {corners:.0f} px", end="\n\n")  # noqa: T201
    print(f"{'artefact':28} {'align':>7} {'network':>8} {'paste':>7}  (align + paste) / network")  # noqa: T201
    for path in given.artefacts:
        session = Session(path, threads=given.threads)
        for direct in (False, True) if hasattr(session.engine, "swap_frame") else (False,):
            row = measured(FaceSwap(session, direct=direct), frame, face, given.frames)
            name = path.name + (" (C)" if direct else "")
            told = f"{row[ALIGN]:7.2f} {row[NETWORK]:8.2f} {row[PASTE]:7.2f}"
            print(f"{name:28} {told}  {row['ratio']:.2f} ({row['low']:.2f} to {row['high']:.2f})")  # noqa: T201


if __name__ == "__main__":
    main()
