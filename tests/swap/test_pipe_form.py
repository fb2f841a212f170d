"""What is said of frames in a pipe."""

from __future__ import annotations

from fractions import Fraction

import pytest

from mfs_edge.base.errors import UsageError
from mfs_edge.swap import pipe_form


def test_options_are_read() -> None:
    assert pipe_form.parsed_size("640x480") == (640, 480)
    assert pipe_form.parsed_rate("30000/1001") == Fraction(30000, 1001)
    assert pipe_form.parsed_rate("29.97") == Fraction(2997, 100)
    for text in ("640", "640x", "axb", "0x4", "-1x4", "99999x4"):
        with pytest.raises(UsageError, match="--pipe-size"):
            pipe_form.parsed_size(text)
    for text in ("x", "0", "-1", "1/0", "inf", "1e9"):
        with pytest.raises(UsageError, match="--pipe-rate"):
            pipe_form.parsed_rate(text)


@pytest.mark.parametrize(
    ("name", "bytes_of_3_by_5"),
    [
        ("rgb24", 45),
        ("rgba", 60),
        ("gray", 15),
        ("yuv420p", 15 + 2 * 6),
        ("nv12", 15 + 12),
        ("yuv422p", 15 + 20),
        ("yuv444p", 45),
    ],
)
def test_odd_sizes_have_a_half_pixel_more(name: str, bytes_of_3_by_5: int) -> None:
    assert pipe_form.Form(name, 3, 5).size == bytes_of_3_by_5
