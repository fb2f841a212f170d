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
from mfs_edge.base.frames import as_taken


def main() -> None:
    pictures, into, *paths = sys.argv[1:]
    frames = list(np.load(pictures))
    found: dict[str, list[np.ndarray]] = {}
    for path in map(Path, paths):
        loaded = target.of_file(path).load(path, threads=1)
        name, (shape, dtype) = loaded.input
        for frame in frames:
            # Not through ``loaded.run``, which knows swapped pictures and masks only.
            loaded.engine.feed({name: as_taken(frame, shape, dtype)})
            loaded.engine.infer()
            for output, value in loaded.engine.fetch().items():
                found.setdefault(f"{path.suffix[1:]} {output}", []).append(planes(value))
        if path.suffix == ".onnx":
            widened(path, frames, found)
    np.savez(into, **{name: np.stack(values) for name, values in found.items()})


def planes(value: np.ndarray) -> np.ndarray:
    """A square output as [1, C, S, S], a copy."""
    _, _, columns, last = value.shape
    return np.array(value if columns == last else value.transpose(0, 3, 1, 2))


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
