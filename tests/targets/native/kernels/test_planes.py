"""kernels/planes.c.j2: where channels are few, they lie in planes."""

from __future__ import annotations

import ctypes

import numpy as np
import pytest
from mfs_edge.targets.native.tiles import Isa
from mfs_edge.targets.native.weights import _eights, axis

from tests.targets.native.kernels import reference, shim

DRAWN, HIDDEN, FACE, MASK = 7, 6, 5, 3  # channels of shim's tail: into its 3x3s, and between them
COUNTS = [1, 2]  # vectors at once
CALLS = """
CALL call_to_planes(int M, int K, const float *a, int lda, int planes, const float *w, const float *bias, float *out, int plane, int bend) {
  F(to_planes)(M, K, a, lda, planes, w, bias, out, plane, bend ? IDN_SLOPE : 1.0f);
}
CALL call_up_row(int planes, int W, const float *a, const float *b, int plane, const float *weights, const float *left, const float *right, float *out, int wide, int bend) {
  F(up_row)(planes, W, a, b, plane, weights[0], weights[1], left, right, out, wide, bend);
}
#define EVERY(count) \\
CALL call_face_##count(const float *const in[4], int x, int plane, const float *k, const float *bias, float *const out[2]) { F(tail_face_##count)(in, x, plane, k, bias, out); } \\
CALL call_mask_##count(const float *const in[4], int x, int plane, const float *k, const float *w, const float *bias, float *const out[2]) { F(tail_mask_##count)(in, x, plane, k, w, bias, out); } \\
CALL call_shade_##count(const float *const in[4], int x, int plane, const float *k, const float *bias, float *const out[2]) { F(tail_shade_##count)(in, x, plane, k, bias, out); } \\
CALL call_blend_##count(const float *const in[4], int x, int plane, const float *k, const float *bias, float *const mask[2], const float *const image[2][3], float *const out[2][3]) { F(tail_blend_##count)(in, x, plane, k, bias, mask, image, out); }
EVERY(1)
EVERY(2)
"""  # noqa: E501
MARGIN = 16


@pytest.fixture(scope="module")
def libraries(tmp_path_factory: pytest.TempPathFactory) -> dict[str, ctypes.CDLL]:
    return shim.libraries(tmp_path_factory.mktemp("planes"), template="planes", calls=CALLS, counts=COUNTS)


@shim.every_isa()
@pytest.mark.parametrize(("pixels", "inner", "planes"), [(4, 16, 8), (8, 16, 8), (12, 48, 16), (28, 32, 24)])
@pytest.mark.parametrize("bend", [0, 1])
def test_a_product_into_planes(
    isa: Isa, pixels: int, inner: int, planes: int, bend: int, libraries: dict[str, ctypes.CDLL]
) -> None:
    rng = np.random.default_rng(pixels)
    a = shim.floats(rng.normal(0, 1, (pixels, inner + 16)))
    w, bias = shim.floats(rng.normal(0, 0.3, (planes, inner))), shim.floats(rng.normal(0, 1, planes))
    packed, out = shim.floats(_eights(w)), shim.floats(np.full((planes, pixels + 4), 7.0))
    libraries[isa.name].call_to_planes(
        pixels, inner, shim.at(a), inner + 16, planes, shim.at(packed), shim.at(bias), shim.at(out), pixels + 4, bend
    )
    sums = w.astype(np.float64) @ a[:, :inner].T + bias[:, None]
    expected = reference.leaky(sums, shim.SLOPE) if bend else sums
    assert np.abs(out[:, :pixels] - expected).max() < 1e-5
    assert (out[:, pixels:] == 7).all()


@shim.every_isa()
@pytest.mark.parametrize("bend", [0, 1])
@pytest.mark.parametrize("side", [16, 48, 80])
def test_a_row_twice_as_wide(isa: Isa, side: int, bend: int, libraries: dict[str, ctypes.CDLL]) -> None:
    rng = np.random.default_rng(side)
    planes, wide = 3, 2 * side + 32
    a, b = (shim.floats(np.pad(rng.normal(0, 1, (planes, side)), ((0, 0), (MARGIN, MARGIN)))) for _ in range(2))
    table, weights = axis(side), shim.floats(np.array([0.3, 0.7]))
    left, right = (shim.floats(table[:, columns]) for columns in ([2, 8], [3, 9]))
    out = shim.floats(np.full((planes, wide), 7.0))
    libraries[isa.name].call_up_row(
        planes, 2 * side, ctypes.c_void_p(a.ctypes.data + 4 * MARGIN), ctypes.c_void_p(b.ctypes.data + 4 * MARGIN),
        side + 32, shim.at(weights), shim.at(left), shim.at(right), ctypes.c_void_p(out.ctypes.data + 4 * MARGIN),
        wide, bend,
    )  # fmt: skip
    mixed = (0.3 * a.astype(np.float64) + 0.7 * b)[:, MARGIN:-MARGIN]
    sums = mixed @ reference.interpolation(side).T
    expected = reference.leaky(sums, shim.SLOPE) if bend else sums
    assert np.abs(out[:, MARGIN:-MARGIN] - expected).max() < 2e-6
    assert (out[:, :MARGIN] == 7).all()
    assert (out[:, -MARGIN:] == 7).all()


class Rows:
    """Four rows of planes with zeros around, of which the kernels compute the two in the middle."""

    def __init__(self, seed: int, channels: int, width: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.width, self.plane = width, width + 2 * MARGIN
        drawn = self.rng.normal(0, 1, (4, channels, width))
        self.held = shim.floats(np.pad(drawn, ((0, 0), (0, 0), (MARGIN, MARGIN))))
        self.source = self.held[:, :, MARGIN:-MARGIN].transpose(0, 2, 1)

    @property
    def given(self) -> object:
        return inside(*self.held)

    def room(self, channels: int) -> np.ndarray:
        return shim.floats(np.full((2, channels, self.plane), 7.0))


def inside(*arrays: np.ndarray) -> object:
    """Pointers to what lies behind the margin."""
    return (ctypes.c_void_p * len(arrays))(*(array.ctypes.data + 4 * MARGIN for array in arrays))


def dense_weights(rng: np.random.Generator, outputs: int, inputs: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """[O, I, 3, 3] and the bias, and the weights as the kernels read them."""
    weight, bias = shim.floats(rng.normal(0, 0.2, (outputs, inputs, 3, 3))), shim.floats(rng.normal(0, 1, outputs))
    return weight, bias, shim.floats(weight.transpose(1, 2, 3, 0))


def middle(whole: np.ndarray) -> np.ndarray:
    """Of what a 3x3 makes of four rows, the two that need no padding: [2, C, W]."""
    return whole[1:3].transpose(0, 2, 1)


def ran(kernel: str, isa: Isa, rows: Rows, library: ctypes.CDLL, *arguments: object) -> None:
    """Along a whole row, first in steps of two vectors, then of one."""
    x = 0
    for count in (2, 1):
        while x + count * isa.lanes <= rows.width:
            library[f"call_{kernel}_{count}"](rows.given, x, rows.plane, *arguments)
            x += count * isa.lanes
    assert x == rows.width


widths = pytest.mark.parametrize("width", [16, 48, 112])


@shim.every_isa()
@widths
def test_the_face_s_first_3x3(isa: Isa, width: int, libraries: dict[str, ctypes.CDLL]) -> None:
    rows = Rows(1, DRAWN, width)
    weight, bias, packed = dense_weights(rows.rng, FACE, DRAWN)
    out = rows.room(FACE)
    ran("face", isa, rows, libraries[isa.name], shim.at(packed), shim.at(bias), inside(*out))
    expected = reference.leaky(middle(reference.dense(rows.source, weight, bias)), shim.SLOPE)
    assert np.abs(out[:, :, MARGIN:-MARGIN] - expected).max() < 1e-5
    assert (out[:, :, :MARGIN] == 7).all()
    assert (out[:, :, -MARGIN:] == 7).all()


@shim.every_isa()
@widths
def test_the_mask_s_last_pair(isa: Isa, width: int, libraries: dict[str, ctypes.CDLL]) -> None:
    rows = Rows(2, HIDDEN, width)
    kernel = shim.floats(rows.rng.normal(0, 0.3, (HIDDEN, 3, 3)))
    weight, bias = shim.floats(rows.rng.normal(0, 1, (HIDDEN, MASK))), shim.floats(rows.rng.normal(0, 1, MASK))
    out = rows.room(MASK)
    ran("mask", isa, rows, libraries[isa.name], shim.at(kernel), shim.at(weight), shim.at(bias), inside(*out))
    sums = reference.same(rows.source, kernel.transpose(1, 2, 0)) @ weight.astype(np.float64) + bias
    assert np.abs(out[:, :, MARGIN:-MARGIN] - reference.leaky(middle(sums), shim.SLOPE)).max() < 1e-5
    assert (out[:, :, -MARGIN:] == 7).all()


@shim.every_isa()
@widths
def test_the_mask(isa: Isa, width: int, libraries: dict[str, ctypes.CDLL]) -> None:
    rows = Rows(3, MASK, width)
    weight, bias, packed = dense_weights(rows.rng, 1, MASK)
    out = rows.room(1)
    ran("shade", isa, rows, libraries[isa.name], shim.at(packed), shim.at(bias), inside(*out))
    expected = reference.sigmoid(middle(reference.dense(rows.source, weight, bias)))
    assert np.abs(out[:, :, MARGIN:-MARGIN] - expected).max() < 2e-6
    assert (out[:, :, -MARGIN:] == 7).all()


@shim.every_isa()
@widths
def test_the_face_and_the_blend(isa: Isa, width: int, libraries: dict[str, ctypes.CDLL]) -> None:
    """The mask and the image lie without a margin of their own."""
    rows = Rows(4, FACE, width)
    weight, bias, packed = dense_weights(rows.rng, 3, FACE)
    mask, image = shim.floats(rows.rng.random((2, width))), shim.floats(rows.rng.random((2, 3, width)))
    out = shim.floats(np.full((2, 3, width), 7.0))
    ran(
        "blend", isa, rows, libraries[isa.name], shim.at(packed), shim.at(bias), shim.rows(*mask),
        shim.rows(*image.reshape(6, width)), shim.rows(*out.reshape(6, width)),
    )  # fmt: skip
    face = reference.sigmoid(middle(reference.dense(rows.source, weight, bias)))
    assert np.abs(out - (image + (face - image) * mask[:, None])).max() < 2e-6
