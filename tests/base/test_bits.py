"""Numbers that numpy has no type for, against ONNX's own packing."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from mfs_edge.base import bits


@pytest.mark.parametrize("count", [0, 1, 2, 7, 8, 33])
@pytest.mark.parametrize("kind", ["int4", "uint4", "bfloat16", "int8", "uint16", "float16", "float64"])
def test_the_values_that_onnx_reads(kind: str, count: int) -> None:
    low, high = bits.reach(kind) if "int" in kind else (-4, 4)
    numbers = np.random.default_rng(count).integers(low, high + 1, count)
    number = getattr(onnx.TensorProto, "DOUBLE" if kind == "float64" else kind.upper())
    if kind in ("int4", "uint4"):
        padded = np.append(numbers, 0)[: count + count % 2]
        raw = ((padded[::2] & 15) | (padded[1::2] & 15) << 4).astype(np.uint8).tobytes()
    else:
        made = onnx.helper.make_tensor("x", number, [count], numbers.tolist())
        raw = onnx.numpy_helper.to_array(made).tobytes()
    theirs = onnx.numpy_helper.to_array(onnx.helper.make_tensor("x", number, [count], raw, raw=True))
    assert len(raw) == bits.size(count, kind)
    np.testing.assert_array_equal(bits.decode(raw, kind, count).astype(np.float64), theirs.astype(np.float64))


def test_two_bits() -> None:
    assert bits.decode(b"\xe4\x02", "int2", 5).tolist() == [0, 1, -2, -1, -2]
    assert bits.decode(b"\xe4\x02", "uint2", 5).tolist() == [0, 1, 2, 3, 2]
    assert bits.reach("int2") == (-2, 1)
    assert bits.reach("uint4") == (0, 15)


@pytest.mark.parametrize("kind", ["float8e4m3fn", "float4e2m1", "string4", "type 99"])
def test_other_types_are_not_read(kind: str) -> None:
    with pytest.raises(bits.Unread, match=kind):
        bits.decode(b"", kind, 0)


@pytest.mark.parametrize(("raw", "kind"), [(b"", "int4"), (b"\0\0", "int4"), (b"\0", "int16"), (bytes(3), "bfloat16")])
def test_bytes_that_do_not_fit_are_damage(raw: bytes, kind: str) -> None:
    with pytest.raises(ValueError, match="1 numbers"):
        bits.decode(raw, kind, 1)
