"""Runs in an environment with numpy and one old runtime alone, as a device would; see ``test_oldest``.

Arguments: an engine's file, the input (.npz), then artefacts. What they give is written beside each, as .npz.
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import numpy as np


def main() -> None:
    engine, frames, *artefacts = map(Path, sys.argv[1:])
    spec = importlib.util.spec_from_file_location("engine", engine)
    if spec is None or spec.loader is None:
        raise SystemExit(f"{engine} is no module")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    with np.load(frames) as stored:
        image = stored["image"]
    for path in artefacts:
        loaded = module.Engine(str(path), 1)
        ((name, (shape, dtype)),) = loaded.inputs.items()
        frame = image if shape[1] == 3 else image.transpose(0, 2, 3, 1)
        loaded.feed({name: np.ascontiguousarray(np.rint(frame * 255) if dtype == "uint8" else frame, dtype)})
        loaded.infer()
        np.savez(path.with_suffix(".npz"), **loaded.fetch())
        print(f"{loaded.title} {loaded.version}")  # noqa: T201


if __name__ == "__main__":
    main()
