"""Size and time are bounded before decoding; what Paddle itself writes is read, and nothing is evaluated."""

from __future__ import annotations

import builtins
import pickle
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mfs_edge.base.errors import CheckpointError, UsageError
from mfs_edge.load import checkpoint, formats, limits, pickles

RECONSTRUCT = b"cpaddle.framework.io_utils\n_reconstruct_dense_tensor_data\n"


def written(tmp_path: Path, data: bytes) -> Path:
    path = tmp_path / "file.pdparams"
    path.write_bytes(data)
    return path


# --- what Paddle writes ------------------------------------------------------------------------


class Call:
    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> Any:
        return self.call


@pytest.mark.parametrize("array", [np.ones((2, 3), np.float32), np.arange(4, dtype=np.float16), np.float64(2) * 1])
def test_both_of_paddles_ways_to_write_a_tensor(tmp_path: Path, array: np.ndarray) -> None:
    array = np.asarray(array)
    data = pickle.dumps({"a": Call(builtins.eval, "data", {"data": array})}, 2)
    np.testing.assert_array_equal(pickles.load(written(tmp_path, data))["a"], array)
    data = b"\x80\x02}U\x01a" + RECONSTRUCT + pickle.dumps(array, 2)[2:-1] + b"\x85Rs."
    np.testing.assert_array_equal(pickles.load(written(tmp_path, data))["a"], array)


EVALS: dict[str, Callable[[str], tuple[Any, ...]]] = {
    "other code": lambda trace: (f"open({trace!r}, 'w')", {"data": np.ones(2)}),
    "code and no data": lambda trace: (f"open({trace!r}, 'w')",),
    "data that is no array": lambda trace: ("data", {"data": f"open({trace!r}, 'w')"}),
    "more names": lambda trace: ("data", {"data": np.ones(2), "x": 1}),
    "locals too": lambda trace: ("data", {"data": np.ones(2)}, {}),
    "blanks": lambda trace: (" data", {"data": np.ones(2)}),
}


@pytest.mark.parametrize("protocol", [0, 2, 4])
@pytest.mark.parametrize("name", list(EVALS))
def test_any_other_eval_is_refused(tmp_path: Path, name: str, protocol: int) -> None:
    trace = tmp_path / "trace"
    data = pickle.dumps({"a": Call(builtins.eval, *EVALS[name](str(trace)))}, protocol)
    with pytest.raises(CheckpointError, match=r"refused, it contains the code builtins\.eval"):
        checkpoint.load(written(tmp_path, data))
    assert not trace.exists()


def test_arrays_in_slices_are_put_together(tmp_path: Path) -> None:
    whole = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    sliced = {"small": np.ones(2), "UnpackBigParamInfor@@": {}}
    for key, cuts in {"big": [10, 20], "one": [], "even": [12]}.items():
        parts = np.split(whole.ravel(), cuts)
        names = [f"{key}@@.{i}" for i in range(len(parts))]
        sliced.update(dict(zip(names, parts, strict=True)))
        sliced["UnpackBigParamInfor@@"][key] = {"OriginShape": whole.shape, "slices": names}
    _, found = formats.read(written(tmp_path, pickle.dumps(sliced, 2)))
    assert set(found) == {"small", "big", "one", "even"}
    for key in ("big", "one", "even"):
        np.testing.assert_array_equal(found[key], whole)


@pytest.mark.parametrize(
    "entry",
    [
        {"OriginShape": (2, 3), "slices": ["a"]},
        {"OriginShape": (8,), "slices": ["a", "a"]},
        {"OriginShape": (4,), "slices": ["b"]},
        {"slices": ["a"]},
        7,
    ],
)
def test_slices_that_do_not_fit_are_damage(tmp_path: Path, entry: Any) -> None:
    data = pickle.dumps({"a": np.ones(4), "UnpackBigParamInfor@@": {"x": entry}}, 2)
    with pytest.raises(CheckpointError, match="truncated or damaged"):
        checkpoint.load(written(tmp_path, data))


# --- bounds ------------------------------------------------------------------------------------

SCALAR = b"cnumpy._core.numeric\n_frombuffer\nq\x01"
DTYPE = b"cnumpy\ndtype\nX\x02\x00\x00\x00u1\x85Rq\x02"
BLOCK = 1_000_000


def repeated(tail: bytes, times: int) -> bytes:
    """A block of data in the memo, used again and again."""
    block = b"B" + BLOCK.to_bytes(4, "little") + bytes(BLOCK) + b"q\x00"
    return b"\x80\x04" + block + b"0" + SCALAR + b"0" + DTYPE + b"0]" + tail * times + b"."


SHARED = {
    "one array many times": repeated(b"h\x01(h\x00h\x02J" + BLOCK.to_bytes(4, "little") + b"\x85U\x01CtRa", 5000),
    "one text many times": b"\x80\x02X"
    + BLOCK.to_bytes(4, "little")
    + b"a" * BLOCK
    + b"q\x000c_codecs\nencode\nq\x010]"
    + b"h\x01h\x00\x85Ra" * 5000
    + b".",
    "one list as tuples": b"\x80\x02]("
    + b"K\x01" * 100_000
    + b"eq\x000c__builtin__\ntuple\nq\x010]"
    + b"h\x01h\x00\x85Ra" * 5000
    + b".",
    "one dict many times": b"\x80\x02}("
    + b"".join(b"M%bK\x01" % n.to_bytes(2, "little") for n in range(50_000))
    + b"uq\x000ccollections\nOrderedDict\nq\x010]"
    + b"h\x01h\x00\x85Ra" * 5000
    + b".",
}


@pytest.mark.parametrize("name", list(SHARED))
def test_what_is_copied_again_and_again_is_bounded(tmp_path: Path, name: str) -> None:
    path = written(tmp_path, SHARED[name])
    assert path.stat().st_size < 1.5e6
    tracemalloc.start()
    try:
        with pytest.raises(CheckpointError, match=r"more than the bound of what its own size can hold"):
            checkpoint.load(path)
        assert tracemalloc.get_traced_memory()[1] < 50e6
    finally:
        tracemalloc.stop()


MANY = {
    "lists": b"\x80\x02" + b"]" * 1_200_000 + b".",
    "nested lists": b"\x80\x02" + b"]" * 600_000 + b"a" * 599_999 + b".",
    "sets": b"\x80\x04]" + b"\x8fa" * 600_000 + b".",
    "numbers": b"\x80\x02](" + b"K\x01" * 1_200_000 + b"e.",
}


@pytest.mark.parametrize("name", list(MANY))
def test_instructions_are_bounded_and_the_message_says_how_to_raise_it(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = written(tmp_path, MANY[name])
    with pytest.raises(CheckpointError, match=r"the bound of 1,000,000 instructions; .*: MFS_EDGE_MAX_GB=8 \(now 2\)"):
        checkpoint.load(path)
    monkeypatch.setenv("MFS_EDGE_MAX_GB", "20")
    with pytest.raises(CheckpointError) as caught:
        checkpoint.load(path)
    assert "more than the bound" not in str(caught.value)


def test_nesting_that_cannot_be_walked_is_named(tmp_path: Path) -> None:
    data = b"\x80\x02" + b"]" * 100_000 + b"a" * 99_999 + b"."
    with pytest.raises(CheckpointError, match="containers nested too deep"):
        checkpoint.load(written(tmp_path, data))


def test_integers_that_collide_in_a_dict_are_bounded(tmp_path: Path) -> None:
    modulus = (1 << 61) - 1
    data = pickle.dumps({modulus * n << 61: 0 for n in range(1, 10)} | {"a": np.ones(2)}, 2)
    assert pickles.load(written(tmp_path, data))["a"].shape == (2,)
    item = b"".join(b"\x8a\x0c" + (modulus * n << 20).to_bytes(12, "little") + b"N" for n in range(1 << 10, 30_000))
    with pytest.raises(CheckpointError, match="integers beyond 64 bits"):
        checkpoint.load(written(tmp_path, b"\x80\x02}(" + item + b"u."))


@pytest.mark.parametrize("given", ["much", "-1", "0", "nan", "1e9", "\x1b[2J"])
def test_a_bound_that_is_no_number(monkeypatch: pytest.MonkeyPatch, given: str) -> None:
    monkeypatch.setenv(limits.VARIABLE, given)
    with pytest.raises(UsageError, match="is not a number of gigabytes") as caught:
        limits.steps()
    assert str(caught.value).isprintable()
