"""A run over a video that does next to nothing to its frames; also as a process, to be stopped and killed.

python -m tests.swap.video.driven IN OUT [--resume] [--pause SECONDS]
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from mfs_edge.base.errors import MfsEdgeError
from mfs_edge.swap import video


class Drift:
    """Remembers from frame to frame, as a tracker does: what it does to a frame depends on all before it."""

    def __init__(self) -> None:
        self.level = 0.1

    def state(self) -> dict[str, Any]:
        return {"level": self.level}

    def restore(self, state: dict[str, Any]) -> None:
        self.level = state["level"]

    def change(self, pixels: np.ndarray) -> None:
        """Brighten a corner of the picture, uint8 [H, W, 3], in place."""
        self.level = 3.7 * self.level * (1 - self.level)  # chaotic: a lost bit would be seen
        pixels[:16, :16] = round(255 * self.level)


def run(source: Path, out: Path, *, pause: float = 0.0, said: list[str] | None = None, **options: Any) -> int:
    """Returns how many frames were given to it, which a resumed run gets fewer of."""
    say = (said if said is not None else []).append
    drift, given = Drift(), 0
    options.setdefault("piece", 10)
    with (
        video.open(source, note=say) as film,
        video.create(out, like=film, note=say, memory=drift, **options) as sink,
    ):
        for frame in film:
            drift.change(frame.pixels)
            sink.write(frame)
            given += 1
            if pause:
                sys.stdout.write(f"{frame.index}\n")
                sys.stdout.flush()
                time.sleep(pause)
    return given


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("source", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--resume", action="store_true")
    parser.add_argument("--pause", type=float, default=0.0)
    told = vars(parser.parse_args())
    try:
        run(told.pop("source"), told.pop("out"), **told)
    except KeyboardInterrupt:
        sys.exit(130)
    except MfsEdgeError as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main()
