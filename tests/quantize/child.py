"""Runs artefacts in a process of its own, whose CPU may be another one: an emulator's, or one with instructions hidden.

Arguments: pictures (.npy, float32 [N, 3, S, S] in 0..1), the .npz to write, artefacts. Keys are
"<suffix> <output>"; for .onnx also "widened <output>", what onnxruntime gives when told to avoid
saturation.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from mfs_edge import target


def main() -> None:
    pictures, into, *paths = sys.argv[1:]
    frames = list(np.load(pictures))
    found: dict[str, list[np.ndarray]] = {}
    for path in map(Path, paths):
        backend = target.of_file(path)
        runner = backend.load(path, threads=1)
        for frame in frames:
            for name, value in runner.run(frame).items():
                found.setdefault(f"{path.suffix[1:]} {name}", []).append(value)
        if path.suffix == ".onnx":
            widened(path, frames, found)
    np.savez(into, **{name: np.stack(values) for name, values in found.items()})


def widened(path: Path, frames: list[np.ndarray], found: dict[str, list[np.ndarray]]) -> None:
    """With u8 x s8 products in 32 bits wherever weights are beyond +-64 (microsoft/onnxruntime#12088)."""
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.log_severity_level = 3
    options.add_session_config_entry("session.x64quantprecision", "1")
    session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    for frame in frames:
        for name, value in zip(names, session.run(names, {"image": frame}), strict=True):
            found.setdefault(f"widened {name}", []).append(value)


if __name__ == "__main__":
    main()
