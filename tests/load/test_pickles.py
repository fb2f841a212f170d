"""The restricted reader: everything numpy writes comes in, and nothing else does."""

from __future__ import annotations

import builtins
import collections
import contextlib
import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mfs_edge.base.errors import CheckpointError
from mfs_edge.load import checkpoint, formats, inert, pickles, torchfile

PLAIN = {
    "matrix": np.arange(6, dtype=np.float32).reshape(2, 3),
    "fortran": np.asfortranarray(np.arange(6, dtype=np.float64).reshape(2, 3)),
    "transposed": np.arange(24, dtype=np.float32).reshape(2, 3, 4).transpose(1, 0, 2),
    "half": np.array([1, 2], np.float16),
    "big-endian": np.array([1, 2], ">f4"),
    "empty": np.empty((0, 3), np.float32),
    "scalar": np.float32(2.5),
    "zero-dimensional": np.array(7, np.int64),
    "nested": [{"deep": (np.ones(3, np.float32), None, True, "text", b"bytes")}],
}


class Call:
    """Pickles as a call of ``function``; the payload leaves a file behind if it runs."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> Any:
        return self.call


def written(tmp_path: Path, data: bytes) -> Path:
    path = tmp_path / "file.pdparams"
    path.write_bytes(data)
    return path


def assert_same(found: Any, expected: Any) -> None:
    if isinstance(expected, dict):
        assert list(found) == list(expected)
        for key, value in expected.items():
            assert_same(found[key], value)
    elif isinstance(expected, list | tuple):
        assert type(found) is type(expected)
        for one, other in zip(found, expected, strict=True):
            assert_same(one, other)
    elif isinstance(expected, np.ndarray):
        assert found.dtype == expected.dtype.newbyteorder("=")
        assert found.flags.writeable
        np.testing.assert_array_equal(found, expected)
    else:
        assert type(found) is type(expected)
        assert found == expected


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("core", ["numpy.core.", "numpy._core."])
def test_every_protocol_under_both_names_of_numpys_core(tmp_path: Path, protocol: int, core: str) -> None:
    data = pickle.dumps(PLAIN, protocol)
    if protocol < 4:  # text lines there; later ones count the characters
        data = data.replace(b"numpy._core.", core.encode()).replace(b"numpy.core.", core.encode())
    elif core == "numpy.core.":
        for module in (b"multiarray", b"numeric"):
            old, new = b"numpy._core." + module, b"numpy.core." + module
            data = data.replace(b"\x8c" + bytes([len(old)]) + old, b"\x8c" + bytes([len(new)]) + new)
        data = b"".join((data[:2], data[11:]))  # the frame's length no longer holds, and frames are optional
    found = pickles.load(written(tmp_path, data))
    assert_same(found, PLAIN)


@pytest.mark.parametrize("protocol", range(6))
def test_ordered_dicts_and_paddles_pairs(tmp_path: Path, protocol: int) -> None:
    pair = Call(tuple, ("linear_0.w_0", np.ones(2, np.float32)))
    found = pickles.load(written(tmp_path, pickle.dumps(collections.OrderedDict(weight=pair), protocol)))
    assert_same(found, {"weight": ("linear_0.w_0", np.ones(2, np.float32))})


def test_the_file_paddle_wrote() -> None:
    found = pickles.load(Path(__file__).parents[1] / "golden" / "sample.pdparams")
    assert found["StructuredToParameterName@@"]
    assert all(isinstance(value, np.ndarray | dict) for value in found.values())


def test_shared_objects_are_walked_once(tmp_path: Path) -> None:
    value: list[Any] = []
    for _ in range(200):  # 2**200 paths through a kilobyte
        value = [value, value]
    found = pickles.load(written(tmp_path, pickle.dumps(value)))
    assert found[0] is found[1]


def payloads(trace: Path) -> dict[str, Any]:
    command = f"touch {trace}"
    getter = Call(builtins.getattr, Call(__import__, "os"), "system")
    return {
        "system": Call(os.system, command),
        "eval": Call(eval, f"open({str(trace)!r}, 'w')"),
        "exec": Call(exec, f"open({str(trace)!r}, 'w')"),
        "open": Call(open, str(trace), "w"),
        "getattr": getter,
        "map": Call(list, Call(map, os.system, [command])),
        "numpy.save": Call(np.save, str(trace), np.ones(1)),
        "numpy.tofile": Call(np.memmap, str(trace), "uint8", "w+", 0, (1,)),
        "numpy.load": Call(np.load, str(trace)),
        "nested": {"conv1.weight": np.ones(2), "deep": [({"x": Call(os.system, command)},)]},
        "key": {("a", Call(os.system, command)): 1},
        "array subclass": Call(np.matrix, "1 2"),
    }


@pytest.mark.parametrize("protocol", [0, 2, 4, 5])
@pytest.mark.parametrize("name", list(payloads(Path("x"))))
def test_payloads_are_refused_and_do_not_run(tmp_path: Path, name: str, protocol: int) -> None:
    trace = tmp_path / "trace.npy"
    path = written(tmp_path, pickle.dumps(payloads(trace)[name], protocol))
    with pytest.raises(pickles.Refused, match="the code "):
        pickles.load(path)
    with pytest.raises(CheckpointError, match="refused, it contains the code ") as caught:
        checkpoint.load(path)
    assert "\n" not in str(caught.value)
    assert not trace.exists()


GLOBAL_RECONSTRUCT = b"cnumpy._core.multiarray\n_reconstruct\n"
CRAFTED = {
    "object array": pickle.dumps(np.array([object, None], dtype=object)),
    "structured array": pickle.dumps(np.zeros(2, [("a", "f4")])),
    "newline in a name": b"\x80\x04\x8c\x03a\nb\x8c\x04\x1b[2J\x93.",
    "alters a function": b"\x80\x02" + GLOBAL_RECONSTRUCT + b"N}X\x0c\x00\x00\x00__defaults__)s\x86b.",
    "calls dtype with a dict": b"\x80\x02cnumpy\ndtype\n}\x85R.",
    "array without data": b"\x80\x02" + GLOBAL_RECONSTRUCT + b"cnumpy\nndarray\nK\x00\x85U\x01b\x87R.",
    "references outside": b"\x80\x02U\x01aQ.",
}


@pytest.mark.parametrize("name", list(CRAFTED))
def test_crafted_pickles_are_refused_in_one_line(tmp_path: Path, name: str) -> None:
    path = written(tmp_path, CRAFTED[name])
    with pytest.raises(CheckpointError, match="refused, it contains") as caught:
        checkpoint.load(path)
    assert str(caught.value).isprintable()


def test_a_refused_file_leaves_the_reader_as_it_was(tmp_path: Path) -> None:
    for data in CRAFTED.values():
        with pytest.raises(pickles.Refused):
            pickles.load(written(tmp_path, data))
    assert_same(pickles.load(written(tmp_path, pickle.dumps(PLAIN, 2))), PLAIN)


BOMBS = {
    "memo": b"\x80\x04Nr\xff\xff\xff\x7f.",
    "text memo": b"Np2000000000\n.",
    "bytearray": b"\x80\x05\x96\xff\xff\xff\xff\xff\x00\x00\x00abc.",
    "bytes": b"\x80\x04\x8e\xff\xff\xff\xff\xff\x00\x00\x00abc.",
    "text": b"\x80\x04\x8d\xff\xff\xff\xff\xff\x00\x00\x00abc.",
    "frame": b"\x80\x04\x95\xff\xff\xff\xff\xff\x00\x00\x00N.",
    "array": pickle.dumps(np.zeros(3, np.float32), 2).replace(b"K\x03\x85", b"J\xff\xff\xff\x7f\x85"),
    "cycle": b"\x80\x02]q\x00h\x00a.",
    "deep": b"\x80\x02" + b"]" * 100_000 + b"a" * 99_999 + b".",
    "wide number": b"I" + b"9" * 5000 + b"\n.",
    "new without init": b"\x80\x02}cnumpy\ndtype\n)\x81s.",
}


@pytest.mark.parametrize("name", list(BOMBS))
def test_ten_bytes_cannot_ask_for_all_of_the_memory(tmp_path: Path, name: str) -> None:
    with pytest.raises(CheckpointError) as caught:
        checkpoint.load(written(tmp_path, BOMBS[name]))
    assert "\n" not in str(caught.value)


SEEDS = [
    pickle.dumps({"conv1.weight": np.ones((2, 3), np.float32), "bn": {"x": ("y", np.float64(2))}}, protocol)
    for protocol in (0, 2, 4, 5)
]


@settings(max_examples=400, deadline=None)
@given(data=st.data())
def test_damaged_bytes_only_ever_give_a_checkpoint_error(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    seed = bytearray(data.draw(st.sampled_from(SEEDS)))
    for position in data.draw(st.lists(st.integers(0, len(seed) - 1), max_size=6)):
        seed[position] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(1, len(seed)))
    path = tmp_path_factory.getbasetemp() / "damaged.pdparams"
    path.write_bytes(seed[:cut] + data.draw(st.binary(max_size=12)))
    with pytest.raises(CheckpointError) as caught:
        checkpoint.load(path)
    assert "\n" not in str(caught.value)


@settings(max_examples=200, deadline=None)
@given(st.binary(min_size=1, max_size=60))
def test_random_bytes_only_ever_give_a_checkpoint_error(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "random.pdparams"
    path.write_bytes(b"\x80\x04" + data)
    with pytest.raises(CheckpointError):
        checkpoint.load(path)


# --- every name that is admitted is ours -----------------------------------------------------


def all_admitted() -> dict[tuple[str, str], Any]:
    return torchfile._names(1000)


def test_nothing_is_admitted_but_stand_ins_of_our_own() -> None:
    for name, value in all_admitted().items():
        kind = value if isinstance(value, type) else type(value)
        assert kind.__module__ in ("mfs_edge.load.inert", "mfs_edge.load.torchfile"), name


STATES = [b"}", b"}X\x05\x00\x00\x00valueK\x01s", b"N}X\x0c\x00\x00\x00__defaults__)s\x86"]


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("name", sorted(all_admitted()), ids=".".join)
def test_no_stand_in_can_be_altered(tmp_path: Path, name: tuple[str, str], state: bytes) -> None:
    reference = b"c%b\n%b\n" % (name[0].encode(), name[1].encode())
    before = {kind: dict(vars(kind)) for kind in (inert.Dtype, inert.Namespace, inert.Array, inert.Inert)}
    with pytest.raises(CheckpointError):
        checkpoint.load(written(tmp_path, b"\x80\x02" + reference + state + b"b."))
    assert before == {kind: dict(vars(kind)) for kind in before}
    assert_same(pickles.load(written(tmp_path, pickle.dumps(PLAIN, 2))), PLAIN)


@pytest.mark.parametrize("name", sorted(inert.admitted(inert.Budget(1000))), ids=".".join)
@pytest.mark.parametrize("arguments", [b")", b"]\x85", b"X\x06\x00\x00\x00import\x85", b"K\x01K\x02\x86", b"]]]\x87"])
def test_calling_a_stand_in_gives_data_or_a_refusal(tmp_path: Path, name: tuple[str, str], arguments: bytes) -> None:
    reference = b"c%b\n%b\n" % (name[0].encode(), name[1].encode())
    path = written(tmp_path, b"\x80\x02}X\x01\x00\x00\x00a" + reference + arguments + b"Rs.")
    found: Any = {"a": ()}
    with contextlib.suppress(CheckpointError):  # anything else fails the test
        _, found = formats.read(path)
    allowed = (inert.Inert, inert.Dtype, dict, list, tuple, set, frozenset, bytes, int, str)
    assert isinstance(found["a"], allowed)
