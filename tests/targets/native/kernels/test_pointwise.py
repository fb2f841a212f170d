"""kernels/pointwise.c.j2: pixels x channels times channels x outputs, and LeakyReLU."""

from __future__ import annotations

import ctypes

import numpy as np
import pytest
from mfs_edge.targets.native.tiles import Isa
from mfs_edge.targets.native.weights import _panels

from tests.targets.native.kernels import shim

CALLS = """
CALL call(int M, int K, int N, const float *a, int lda, const void *w, const float *bias, float *out, int ldo) {
  F(pointwise)(M, K, N, a, lda, w, bias, out, ldo);
}
"""
SIZES = [(1, 16, 16), (7, 16, 16), (14, 32, 48), (15, 48, 16), (28, 64, 32), (29, 16, 80), (97, 80, 112), (6, 512, 256)]


KINDS = [(kind, isa) for kind in ("float", "half") for isa in shim.runnable(kind)]


@pytest.fixture(scope="module")
def libraries(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], ctypes.CDLL]:
    folder = tmp_path_factory.mktemp("pointwise")
    return {
        (kind, isa.name): shim.compiled(
            folder, isa, kind=kind, template="pointwise", calls=CALLS,
            pixels=list(range(1, isa.pixels + 1)), vectors=sorted({isa.vectors, 1}, reverse=True),
        )
        for kind, isa in KINDS
    }  # fmt: skip


@pytest.mark.parametrize(("kind", "isa"), KINDS, ids=lambda each: each if isinstance(each, str) else each.name)
@pytest.mark.parametrize(("pixels", "inner", "outer"), SIZES)
def test_it_is_a_product(
    kind: str, isa: Isa, pixels: int, inner: int, outer: int, libraries: dict[tuple[str, str], ctypes.CDLL]
) -> None:
    """Of weights in float32, or in float16, of which some are subnormal."""
    rng = np.random.default_rng(pixels)
    lda, ldo = inner + 16, outer + 32
    a, out = shim.floats(rng.normal(0, 1, (pixels, lda))), shim.floats(np.full((pixels + 1, ldo), 7.0))
    scales = 10.0 ** -rng.integers(0, 6, outer)[:, None]
    w = (rng.normal(0, 1, (outer, inner)) / np.sqrt(inner) * scales).astype(
        np.float16 if kind == "half" else np.float32
    )
    bias, packed = shim.floats(rng.normal(0, 1, outer) * scales[:, 0]), shim.aligned(_panels(w))
    libraries[kind, isa.name].call(
        pixels, inner, outer, shim.at(a), lda, shim.at(packed), shim.at(bias), shim.at(out), ldo
    )
    sums = a[:, :inner].astype(np.float64) @ w.astype(np.float64).T + bias
    error = np.abs(out[:pixels, :outer] - np.where(sums > 0, sums, sums * shim.SLOPE))
    assert (error < 2e-5 * scales[:, 0]).all()
    assert (out[:pixels, outer:] == 7).all()
    assert (out[pixels] == 7).all()
