"""kernels/vector.c.j2: the operations that differ between instruction sets."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from mfs_edge.targets.native.tiles import Isa

from tests.targets.native.kernels import shim

CALLS = """
#define EACH(name, expression)                                           \\
  CALL name(int n, const float *a, const float *b, float *out) {         \\
    for (int i = 0; i < n; i += (int)(sizeof(V) / 4)) {                                 \\
      const V x = LD(a + i), y = LD(b + i);                              \\
      V z = y;                                                           \\
      ST(out + i, expression);                                           \\
    }                                                                    \\
  }
EACH(call_sigmoid, F(sigmoid)(x))
EACH(call_leaky, F(leaky)(x))
EACH(call_larger, F(larger)(x, y))
EACH(call_madd, (MADD(z, x, F(splat)(3.0f)), z))
EACH(call_splat, F(splat)(a[i]))
"""
EDGES = [0.0, -0.0, 1e-30, -1e-30, 1.0, -1.0, 87.0, -87.0, 88.0, -88.0, 1e4, -1e4, 3e38, -3e38, np.inf, -np.inf]


@shim.every_isa()
def test_it_is_what_numpy_computes(isa: Isa, tmp_path: Path) -> None:
    library = shim.compiled(tmp_path, isa, template="vector", calls=CALLS)
    rng = np.random.default_rng(0)
    a = shim.floats(np.concatenate([EDGES, rng.normal(0, 5, 4096), rng.uniform(-90, 90, 4096)]))
    b = shim.floats(rng.normal(0, 5, a.size))

    def called(name: str) -> np.ndarray:
        out = shim.floats(np.full(a.size, np.nan))
        library[name](a.size, shim.at(a), shim.at(b), shim.at(out))
        return out.astype(np.float64)

    x, y = a.astype(np.float64), b.astype(np.float64)
    with np.errstate(over="ignore"):
        assert np.abs(called("call_sigmoid") - 1 / (1 + np.exp(-x))).max() < 2e-7
    assert (called("call_larger") == np.maximum(x, y)).all()
    finite = np.isfinite(x) & (np.abs(x) < 1e38)
    assert np.allclose(called("call_leaky"), np.where(x > 0, x, x * np.float32(shim.SLOPE)), rtol=1e-7, atol=1e-38)
    assert np.allclose(called("call_madd")[finite], (y + 3 * x)[finite], rtol=3e-7, atol=1e-5)
    lanes = np.repeat(a[:: isa.lanes], isa.lanes)
    assert (called("call_splat")[np.isfinite(lanes)] == lanes[np.isfinite(lanes)]).all()
