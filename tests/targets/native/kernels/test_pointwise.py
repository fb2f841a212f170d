"""kernels/pointwise.c.j2: pixels x channels times channels x outputs, and LeakyReLU."""

from __future__ import annotations

import ctypes

import numpy as np
import pytest
from mfs_edge.targets.native.tiles import Isa
from mfs_edge.targets.native.weights import _panels

from tests.targets.native.kernels import shim

CALLS = """
CALL call(int M, int K, int N, const float *a, int lda, const float *w, const float *bias, float *out, int ldo) {
  F(pointwise)(M, K, N, a, lda, w, bias, out, ldo);
}
"""
SIZES = [(1, 16, 16), (7, 16, 16), (14, 32, 48), (15, 48, 16), (28, 64, 32), (29, 16, 80), (97, 80, 112), (6, 512, 256)]


@pytest.fixture(scope="module")
def libraries(before: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, ctypes.CDLL]:
    folder = tmp_path_factory.mktemp("pointwise")
    return {
        isa.name: shim.compiled(
            folder, isa, before=before, template="pointwise", calls=CALLS,
            pixels=list(range(1, isa.pixels + 1)), vectors=sorted({isa.vectors, 1}, reverse=True),
        )
        for isa in shim.runnable()
    }  # fmt: skip


@shim.every_isa
@pytest.mark.parametrize(("pixels", "inner", "outer"), SIZES)
def test_it_is_a_product(isa: Isa, pixels: int, inner: int, outer: int, libraries: dict[str, ctypes.CDLL]) -> None:
    rng = np.random.default_rng(pixels)
    lda, ldo = inner + 16, outer + 32
    a, out = shim.floats(rng.normal(0, 1, (pixels, lda))), shim.floats(np.full((pixels + 1, ldo), 7.0))
    w, bias = rng.normal(0, 1 / np.sqrt(inner), (outer, inner)), shim.floats(rng.normal(0, 1, outer))
    packed = shim.floats(_panels(w))
    libraries[isa.name].call(pixels, inner, outer, shim.at(a), lda, shim.at(packed), shim.at(bias), shim.at(out), ldo)
    sums = a[:, :inner].astype(np.float64) @ w.astype(np.float32).astype(np.float64).T + bias
    assert np.abs(out[:pixels, :outer] - np.where(sums > 0, sums, sums * shim.SLOPE)).max() < 2e-5
    assert (out[:pixels, outer:] == 7).all()
    assert (out[pixels] == 7).all()
