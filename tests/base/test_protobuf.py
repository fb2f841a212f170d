"""The wire format, against protobuf's own encoder."""

from __future__ import annotations

import contextlib

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mfs_edge.base.protobuf import Message


def test_fields_are_those_that_protobuf_wrote() -> None:
    tensor = onnx.TensorProto(name="wörd", data_type=3, dims=[2, 300, 70_000], raw_data=b"\1\2\3", float_data=[0.5, 2])
    graph = onnx.GraphProto(name="g", initializer=[tensor, tensor])
    model = Message(onnx.ModelProto(ir_version=8, graph=graph).SerializeToString())
    (first, _) = model.message(7).messages(5)
    assert (model.number(1), first.text(8), first.number(2)) == (8, "wörd", 3)
    assert first.numbers(1) == [2, 300, 70_000]
    assert bytes(first.raw(9)) == b"\1\2\3"
    np.testing.assert_array_equal(np.frombuffer(first.raw(4), np.float32), [0.5, 2])


def test_what_is_missing_is_empty() -> None:
    empty = Message()
    assert (empty.number(1), empty.text(1), empty.texts(1), empty.numbers(1), empty.messages(1)) == (0, "", [], [], [])
    assert 1 not in empty
    assert empty.number(1, default=7) == 7


@pytest.mark.parametrize("data", [b"\x0a\xff", b"\x08" + b"\xff" * 20, b"\x0b", b"\x0a"])
def test_what_is_cut_off_or_endless_is_an_error(data: bytes) -> None:
    with pytest.raises((IndexError, KeyError)):
        Message(data)


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_end_in_one_of_three_errors(data: bytes) -> None:
    with contextlib.suppress(IndexError, KeyError, UnicodeDecodeError):
        message = Message(data)
        for field in message.fields:
            message.numbers(field), message.texts(field), message.messages(field)
