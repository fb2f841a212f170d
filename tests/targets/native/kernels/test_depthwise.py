"""kernels/depthwise.c.j2: 4x4 with stride 2, and the 3x3 behind an upsample as one stencil on the source."""

from __future__ import annotations

import ctypes

import numpy as np
import pytest
from mfs_edge.targets.native.tiles import Isa
from mfs_edge.targets.native.weights import axis

from tests.targets.native.kernels import reference, shim

CALLS = """
CALL call_4x4(const float *const r[4], int W, int C, int stride, const float *k, int ldk, float *out, int ldo) {
  F(depthwise_4x4)(r, W, C, stride, k, ldk, out, ldo);
}
CALL call_taps(int C, const float *k, const float *axis, float *taps) { F(up_taps)(C, k, axis, taps); }
CALL call_up(const float *const s[3], int W, int stride, int C, const float *taps, const float *axis, int first, int last, float *out, int ldo) {
  F(up_depthwise)(s, W, stride, C, taps, axis, first, last, out, ldo);
}
"""  # noqa: E501


@pytest.fixture(scope="module")
def libraries(tmp_path_factory: pytest.TempPathFactory) -> dict[str, ctypes.CDLL]:
    return shim.libraries(tmp_path_factory.mktemp("depthwise"), template="depthwise", calls=CALLS)


@shim.every_isa()
@pytest.mark.parametrize(("side", "channels"), [(2, 16), (4, 32), (6, 48), (14, 16), (30, 80)])
def test_4x4_with_stride_2(isa: Isa, side: int, channels: int, libraries: dict[str, ctypes.CDLL]) -> None:
    rng = np.random.default_rng(side)
    stride, wide = channels + 16, channels + 32
    source = shim.floats(rng.normal(0, 1, (side, side, stride)))
    kernel = shim.floats(rng.normal(0, 0.3, (16, channels)))
    zeros = shim.floats(np.zeros((side, stride)))
    expected = reference.strided(source[:, :, :channels], kernel.reshape(4, 4, channels))
    for y in range(side // 2):
        out = shim.floats(np.full((side // 2, wide), 7.0))
        given = [source[at] if 0 <= at < side else zeros for at in range(2 * y - 1, 2 * y + 3)]
        libraries[isa.name].call_4x4(
            shim.rows(*given), side // 2, channels, stride, shim.at(kernel), channels, shim.at(out), wide
        )
        assert np.abs(out[:, :channels] - expected[y]).max() < 5e-6
        assert (out[:, channels:] == 7).all()


@shim.every_isa()
@pytest.mark.parametrize(
    ("side", "channels", "tile"), [(1, 16, 1), (2, 16, 2), (3, 32, 2), (7, 48, 3), (8, 16, 8), (28, 96, 5)]
)
def test_an_upsample_and_a_3x3(
    isa: Isa, side: int, channels: int, tile: int, libraries: dict[str, ctypes.CDLL]
) -> None:
    """Row by row, in tiles of columns of which the last is shorter."""
    rng = np.random.default_rng(side)
    stride, wide = channels + 16, channels + 32
    source = shim.floats(rng.normal(0, 1, (side, side, stride)))
    kernel, table = shim.floats(rng.normal(0, 0.3, (9, channels))), shim.floats(axis(side))
    upsampled = reference.doubled(source[:, :, :channels])
    expected = reference.same(upsampled, kernel.reshape(3, 3, channels))
    library = libraries[isa.name]
    for i in range(side):
        taps = shim.floats(np.full((2, 9, channels), np.nan))
        library.call_taps(channels, shim.at(kernel), ctypes.c_void_p(table.ctypes.data + 48 * i), shim.at(taps))
        given = shim.rows(*(source[min(max(at, 0), side - 1)] for at in (i - 1, i, i + 1)))
        for x in range(0, side, tile):
            end = min(x + tile, side)
            out = shim.floats(np.full((2, 2 * (end - x), wide), 7.0))
            library.call_up(given, side, stride, channels, shim.at(taps), shim.at(table), x, end, shim.at(out), wide)
            assert np.abs(out[:, :, :channels] - expected[2 * i : 2 * i + 2, 2 * x : 2 * end]).max() < 5e-6
            assert (out[:, :, channels:] == 7).all()


BYTES = """
CALL call_4x4(const float *const r[4], int W, int C, int stride, const float *k, int ldk, const float *offset, unsigned char *out, int ldo) {
  F(depthwise_4x4_bytes)(r, W, C, stride, k, ldk, offset, out, ldo);
}
CALL call_taps(int C, const float *k, const float *axis, float *taps) { F(up_taps)(C, k, axis, taps); }
CALL call_up(const float *const s[3], int W, int stride, int C, const float *taps, const float *axis, int first, int last, const float *offset, unsigned char *out, int ldo) {
  F(up_depthwise_bytes)(s, W, stride, C, taps, axis, first, last, offset, out, ldo);
}
"""  # noqa: E501


@pytest.fixture(scope="module")
def rounding(tmp_path_factory: pytest.TempPathFactory) -> dict[str, ctypes.CDLL]:
    return shim.libraries(tmp_path_factory.mktemp("bytes"), "integers", template="depthwise", calls=BYTES)


def is_rounded(found: np.ndarray, exact: np.ndarray) -> bool:
    """To the nearest byte, either where it is half-way between two."""
    return bool(np.abs(found - np.clip(exact, 0, 255)).max() < 0.501)


@shim.every_isa("integers")
@pytest.mark.parametrize(("side", "channels"), [(2, 64), (6, 48), (14, 32)])
def test_results_that_are_rounded_to_bytes(
    isa: Isa, side: int, channels: int, rounding: dict[str, ctypes.CDLL]
) -> None:
    """In steps of a byte, of which some lie beyond either end."""
    rng = np.random.default_rng(side)
    stride, wide, library = channels + 16, channels + 32, rounding[isa.name]
    source, offset = shim.floats(rng.normal(0, 1, (side, side, stride))), shim.floats(rng.uniform(0, 255, channels))
    zeros, table = shim.floats(np.zeros((side, stride))), shim.floats(axis(side))
    kernel = shim.floats(rng.normal(0, 30, (16, channels)))
    expected = reference.strided(source[:, :, :channels], kernel.reshape(4, 4, channels)) + offset
    assert (expected < 0).any()
    assert (expected > 255).any()
    for y in range(side // 2):
        out = np.full((side // 2, wide), 7, np.uint8)
        given = [source[at] if 0 <= at < side else zeros for at in range(2 * y - 1, 2 * y + 3)]
        library.call_4x4(
            shim.rows(*given), side // 2, channels, stride, shim.at(kernel), channels, shim.at(offset), shim.at(out),
            wide,
        )  # fmt: skip
        assert is_rounded(out[:, :channels], expected[y])
        assert (out[:, channels:] == 7).all()
    square = shim.floats(kernel[:9])
    expected = reference.same(reference.doubled(source[:, :, :channels]), square.reshape(3, 3, channels)) + offset
    for i in range(side):
        taps = shim.floats(np.full((2, 9, channels), np.nan))
        library.call_taps(channels, shim.at(square), ctypes.c_void_p(table.ctypes.data + 48 * i), shim.at(taps))
        given = [source[min(max(at, 0), side - 1)] for at in (i - 1, i, i + 1)]
        out = np.full((2, 2 * side, wide), 7, np.uint8)
        library.call_up(
            shim.rows(*given), side, stride, channels, shim.at(taps), shim.at(table), 0, side, shim.at(offset),
            shim.at(out), wide,
        )  # fmt: skip
        assert is_rounded(out[:, :, :channels], expected[2 * i : 2 * i + 2])
        assert (out[:, :, channels:] == 7).all()
