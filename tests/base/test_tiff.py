"""The first directory of a TIFF."""

from __future__ import annotations

import io
import struct

import numpy as np
import pytest
from PIL import Image

from mfs_edge.base import tiff


def written(*, big: bool = False) -> bytes:
    file = io.BytesIO()
    Image.fromarray(np.arange(64, dtype=np.uint8).reshape(4, 4, 4)).save(file, "TIFF", big_tiff=big)
    return file.getvalue()


@pytest.mark.parametrize("big", [False, True])
def test_an_entry(big: bool) -> None:
    """In the entry or apart, in the place of another: Pillow reads it, and the same picture."""
    data = written(big=big)
    assert tiff.directory(data).big is big
    for values in ((7,), tuple(range(9))):
        data = tiff.put(data, 65000, tiff.SHORT, struct.pack(f"<{len(values)}H", *values))
        read = Image.open(io.BytesIO(data))
        assert read.tag_v2[65000] == (values if len(values) > 1 else values[0])
        assert np.asarray(read).ravel().tolist() == list(range(64))


@pytest.mark.parametrize("big", [False, True])
def test_transparency(big: bool) -> None:
    data = written(big=big)
    assert tiff.transparency(data) == tiff.STRAIGHT
    stored = tiff.as_stored(data)
    assert tiff.transparency(stored) == tiff.MULTIPLIED
    assert len(stored) == len(data)
    assert tiff.as_stored(stored) == stored
    assert tiff.transparency(tiff.tell_straight(stored)) == tiff.STRAIGHT


def test_a_directory_that_is_cut_says_nothing() -> None:
    data = written()
    end = tiff.directory(data).starts[-1] + 12 + 4
    for length in range(end):
        assert tiff.transparency(data[:length]) == 0
        assert tiff.as_stored(data[:length]) == data[:length]
    assert tiff.transparency(data[:end]) == tiff.STRAIGHT


def test_a_directory_that_lies_nowhere_says_nothing() -> None:
    for start in (2**31, 2**63, 2**64 - 1):
        data = b"II+\0\x08\0\0\0" + struct.pack("<Q", start) + bytes(100)
        assert tiff.transparency(data) == 0
