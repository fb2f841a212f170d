"""Quantises a graph with NNCF; runs in that package's own environment.

Arguments: the float .onnx, calibration pictures (.npy, float32 [N, 3, S, S]), the .onnx to
write, and "default" or "bias correction" (the slower, sequential one).
"""

from __future__ import annotations

import sys

import numpy as np


def main() -> None:
    source, pictures, path, mode = sys.argv[1:]
    import nncf  # type: ignore[import-not-found]
    import onnx

    batch = np.load(pictures)
    dataset = nncf.Dataset([picture[None] for picture in batch], lambda picture: {"image": picture})
    quantised = nncf.quantize(
        onnx.load(source), dataset, subset_size=len(batch), fast_bias_correction=mode == "default"
    )
    onnx.save(quantised, path)


if __name__ == "__main__":
    main()
