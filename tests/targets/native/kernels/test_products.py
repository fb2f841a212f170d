"""kernels/products.c.j2: bytes by codes, summed exactly, times a scale per output, and LeakyReLU."""

from __future__ import annotations

import ctypes
from dataclasses import replace

import numpy as np
import pytest
from mfs_edge.targets.native import engine
from mfs_edge.targets.native.integers import saturates
from mfs_edge.targets.native.tiles import ISAS, PANEL, Isa

from tests.targets.native.kernels import shim

CALLS = """
CALL call(int M, int K, int N, const unsigned char *a, int lda, const signed char *w, const int32_t *start, const float *scale, float *out, int ldo) {
  F(product)(M, K, N, a, lda, w, start, scale, out, ldo);
}
"""  # noqa: E501
SIZES = [(1, 16, 16), (7, 16, 16), (14, 32, 48), (15, 48, 16), (28, 64, 32), (29, 16, 80), (97, 80, 112), (6, 512, 256)]


@pytest.fixture(scope="module")
def libraries(tmp_path_factory: pytest.TempPathFactory) -> dict[str, ctypes.CDLL]:
    folder = tmp_path_factory.mktemp("products")
    return {
        isa.name: shim.compiled(
            folder, isa, kind="integers", template="products", calls=CALLS,
            pixels=list(range(1, isa.dot_pixels + 1)), vectors=sorted({isa.dot_vectors, 1}, reverse=True),
        )
        for isa in shim.runnable("integers")
    }  # fmt: skip


every_size = pytest.mark.parametrize(("pixels", "inner", "outer"), SIZES)
every_kind = pytest.mark.parametrize("extreme", [False, True], ids=["random", "extreme"])


@shim.every_isa("integers")
@every_size
@every_kind
def test_it_is_exact(
    isa: Isa, pixels: int, inner: int, outer: int, extreme: bool, libraries: dict[str, ctypes.CDLL]
) -> None:
    """To the last bit; extreme are bytes and codes that are as large as they may be."""
    exact(libraries[isa.name], pixels, inner, outer, extreme=extreme)


@pytest.fixture(scope="module")
def otherwise_encoded(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    """AVX-VNNI's section in the encoding of AVX-512, whose processors mostly lack the other."""
    (isa,) = [isa for isa in ISAS if isa.name == "avxvnni"]
    given = replace(isa, attribute='target("avx512vnni,avx512vl,avx2,fma")')
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(engine, "FLAGS", (*engine.FLAGS, '-DIDN_VEX=""'))
        return shim.compiled(
            tmp_path_factory.mktemp("avxvnni"), given, kind="integers", template="products", calls=CALLS,
            pixels=list(range(1, isa.dot_pixels + 1)), vectors=[isa.dot_vectors, 1],
        )  # fmt: skip


@pytest.mark.skipif(
    "avx512" not in [isa.name for isa in shim.runnable("integers")],
    reason="not run: this processor has no AVX-512 with VNNI",
)
@every_size
@every_kind
def test_avx_vnni_is_exact(pixels: int, inner: int, outer: int, extreme: bool, otherwise_encoded: ctypes.CDLL) -> None:
    exact(otherwise_encoded, pixels, inner, outer, extreme=extreme)


def exact(library: ctypes.CDLL, pixels: int, inner: int, outer: int, *, extreme: bool) -> None:
    rng = np.random.default_rng(pixels)
    lda, ldo = inner + 16, outer + 32
    a = shim.aligned(rng.integers(0, 256, (pixels, lda)).astype(np.uint8))
    codes = rng.integers(-64, 65, (outer, inner)).astype(np.int8)
    if extreme:
        a[:] = 255
        codes[:, 0::2], codes[0::2, 1::2], codes[1::2, 1::2] = 64, 64, -127
        codes[1::2, 0::2] = 127
    assert not saturates(codes)
    start = shim.aligned(rng.integers(-(2**16), 2**16, outer).astype(np.int32))
    scale, out = shim.floats(rng.uniform(1e-5, 1e-3, outer)), shim.floats(np.full((pixels + 1, ldo), 7.0))
    packed = shim.aligned(codes.reshape(-1, PANEL, inner // 4, 4).transpose(0, 2, 1, 3))
    library.call(
        pixels, inner, outer, shim.at(a), lda, shim.at(packed), shim.at(start), shim.at(scale), shim.at(out), ldo
    )
    sums = a[:, :inner].astype(np.int64) @ codes.T.astype(np.int64) + start
    real = sums.astype(np.float32) * scale
    assert (out[:pixels, :outer] == np.maximum(real, real * np.float32(shim.SLOPE))).all()
    assert (out[:pixels, outer:] == 7).all()
    assert (out[pixels] == 7).all()
