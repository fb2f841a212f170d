"""Files of very many small things are refused by what their headers say, in bounded time and memory."""

from __future__ import annotations

import io
import json
import pickle
import resource
import struct
import time
import zlib
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mfs_edge.base.errors import CheckpointError, IdentityError, InputError, MfsEdgeError
from mfs_edge.load import checkpoint, identity, pickles
from mfs_edge.quantize import calibration

MILLION = 1_000_000
SECONDS, BYTES = 10, 1_000_000_000


@contextmanager
def bounded() -> Iterator[None]:
    """Processor time of ten seconds, and a gigabyte of address space more than there is."""
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (used + BYTES, before[1]))
    start = time.process_time()
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)
    assert time.process_time() - start < SECONDS


def zipped(path: Path, count: int, *, name: str, content: bytes) -> Path:
    """A zip64 of ``count`` members called ``name`` with their number, all of one content (zipfile takes a minute)."""
    checks = (zlib.crc32(content), len(content), len(content))
    body, table = bytearray(), bytearray()
    for number in range(count):
        called = (name % number).encode()
        table += struct.pack(
            "<IHHHHHHIIIHHHHHII", 0x02014B50, 20, 20, 0, 0, 0, 33, *checks, len(called), *[0] * 5, len(body)
        )
        table += called
        body += struct.pack("<IHHHHHIIIHH", 0x04034B50, 20, 0, 0, 0, 33, *checks, len(called), 0) + called + content
    start = len(body)
    body += table
    body += struct.pack("<IQHHIIQQQQ", 0x06064B50, 44, 45, 45, 0, 0, count, count, len(table), start)
    body += struct.pack("<IIQI", 0x07064B50, 0, start + len(table), 1)
    path.write_bytes(body + struct.pack("<IHHHHIIH", 0x06054B50, 0, 0, 0xFFFF, 0xFFFF, len(table), start, 0))
    return path


def npy(array: np.ndarray) -> bytes:
    held = io.BytesIO()
    np.save(held, array)
    return held.getvalue()


ZIP = r"is a zip whose table of contents takes [\d.]+ MB .*, more than the bound of 8 MB; .*: MFS_EDGE_MAX_GB=8"


def test_a_checkpoint_of_a_million_members(tmp_path: Path) -> None:
    path = zipped(tmp_path / "many.pth", MILLION, name="archive/data/%d", content=b"")
    with bounded(), pytest.raises(CheckpointError, match=ZIP):
        checkpoint.load(path)


@pytest.mark.parametrize(
    ("load", "kind"), [(checkpoint.load, CheckpointError), (identity.load, IdentityError), (None, InputError)]
)
def test_an_npz_of_a_million_arrays(
    tmp_path: Path, load: Callable[[Path], Any] | None, kind: type[MfsEdgeError]
) -> None:
    path = zipped(tmp_path / "many.npz", MILLION, name="%d.npy", content=b"")
    with bounded(), pytest.raises(kind, match=ZIP):
        (load or (lambda path: calibration.load(path, 224)))(path)


def test_an_npz_of_more_arrays_than_the_bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = zipped(tmp_path / "many.npz", 25_000, name="%d.npy", content=npy(np.zeros(1, np.float32)))
    with pytest.raises(IdentityError, match=r"holds 25,000 arrays, more than the bound of 20,000; .*MFS_EDGE_MAX_GB=8"):
        identity.load(path)
    monkeypatch.setenv("MFS_EDGE_MAX_GB", "8")
    with bounded(), pytest.raises(IdentityError, match=r"holds 0, 1, 10, 100, 1000, 10000, ..., expected") as caught:
        identity.load(path)
    assert len(str(caught.value)) < 400


def test_calibration_arrays_are_bounded_before_they_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "faces.npz"
    np.savez_compressed(path, np.zeros((40, 224, 224, 3), np.uint8))
    assert path.stat().st_size < 50_000
    monkeypatch.setenv("MFS_EDGE_MAX_GB", "0.005")
    with pytest.raises(InputError, match=r"its pictures would take 0\.00602 GB, more than the bound of 0\.005 GB"):
        calibration.load(path, 224)
    monkeypatch.setenv("MFS_EDGE_MAX_GB", "0.02")
    assert len(calibration.load(path, 224).images)


def header(entries: dict[str, Any]) -> bytes:
    written = json.dumps(entries, separators=(",", ":")).encode()
    return len(written).to_bytes(8, "little") + written


EMPTY = {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]}


@pytest.mark.parametrize(
    "entries",
    [
        {f"t{i}": EMPTY for i in range(MILLION)},
        {"__metadata__": {f"{i:032}": "" for i in range(500_000)}},
        {"a" * 17_000_000: EMPTY},
    ],
    ids=["tensors", "metadata", "one name"],
)
def test_a_safetensors_header_beyond_the_bound(tmp_path: Path, entries: dict[str, Any]) -> None:
    path = tmp_path / "many.safetensors"
    path.write_bytes(header(entries))
    with (
        bounded(),
        pytest.raises(
            CheckpointError, match=r"has a header of [\d.]+ MB, more than the bound of 16 MB; .*MFS_EDGE_MAX_GB=8"
        ),
    ):
        checkpoint.load(path)


def test_a_safetensors_header_below_the_bound_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "some.safetensors"
    path.write_bytes(header({f"t{i}": EMPTY for i in range(100_000)}))
    with bounded(), pytest.raises(CheckpointError, match="holds 100000 tensors of another model"):
        checkpoint.load(path)
    monkeypatch.setenv("MFS_EDGE_MAX_GB", "0.1")
    with pytest.raises(CheckpointError, match=r"MFS_EDGE_MAX_GB=0.4"):
        checkpoint.load(path)


def test_a_header_that_the_file_does_not_hold_is_damage(tmp_path: Path) -> None:
    path = tmp_path / "cut.safetensors"
    path.write_bytes((1 << 39).to_bytes(8, "little") + b'{"a":')
    with pytest.raises(CheckpointError, match="truncated or damaged"):
        checkpoint.load(path)


FORTY = 40_000_000
MANY = {
    "nested lists": b"\x80\x02" + b"]" * (FORTY // 2) + b"a" * (FORTY // 2 - 1) + b".",
    "nested tuples": b"\x80\x02)" + b"\x85" * FORTY + b".",
    "small entries": b"\x80\x02}(" + b"".join(b"J%bK\x01" % i.to_bytes(4, "little") for i in range(MILLION)) + b"u.",
    "memo entries": b"\x80\x04](" + b"]\x94" * (FORTY // 2) + b"e.",
    "lines": b"\x80\x02](" + b"S'%b'\n" % (b"x" * 30) * (FORTY // 34) + b"e.",
}


@pytest.mark.parametrize("name", list(MANY))
def test_a_pickle_of_many_small_things(tmp_path: Path, name: str) -> None:
    path = tmp_path / "many.pdparams"
    path.write_bytes(MANY[name])
    with bounded(), pytest.raises(CheckpointError, match=r"the bound of 1,000,000 instructions; .*MFS_EDGE_MAX_GB=8"):
        checkpoint.load(path)


DEEP = b")" + b"\x85" * 300_000  # ((((...))))
WIDE = b")q\x00" + b"h\x00\x86q\x00" * 60  # of 2**60 parts, 60 of them different
# A list, and the arguments that hold it, made before it grows: tuple(list), put into the list twice, ...
ROOM = b"T" + (1_000_000).to_bytes(4, "little") + b"x" * 1_000_000 + b"0"  # a file as large as what it copies
GROWING = ROOM + b"]q\x00\x85q\x01c__builtin__\ntuple\nq\x02h\x01R0" + b"h\x00h\x02h\x01Rq\x03ah\x00h\x03a00" * 60
KEYS = {
    "deep": b"}" + DEEP + b"K\x01s.",
    "wide": b"}" + WIDE + b"K\x01s.",
    "wide, several keys": b"}(K\x01K\x02" + WIDE + b"K\x01u.",
    "wide, protocol 0": b"(" + WIDE + b"K\x01d.",
    "set": b"\x8f(" + WIDE + b"\x90.",
    "frozenset": b"(" + WIDE + b"\x91.",
    "deep frozenset": b"(" * 3000 + b")" + b"\x91" * 3000 + b".",
    "called": b"c__builtin__\nset\n]" + WIDE + b"a\x85R.",
    "ordered": b"ccollections\nOrderedDict\n]" + WIDE + b"K\x01\x86a\x85R.",
    "grown": GROWING + b"0}h\x02h\x01RK\x01s.",
    "grown, called": GROWING + b"0c__builtin__\nset\n]h\x02h\x01Ra\x85R.",
    "many that may collide": b"}(" + b"".join(b"M%b\x85K\x01" % i.to_bytes(2, "little") for i in range(20_000)) + b"u.",
}


@pytest.mark.parametrize("name", list(KEYS))
def test_keys_that_take_long_to_hash(tmp_path: Path, name: str) -> None:
    path = tmp_path / "keys.pdparams"
    path.write_bytes(b"\x80\x04" + KEYS[name])
    with bounded(), pytest.raises(CheckpointError, match=r"keys that are large|damaged, .*unhashable"):
        checkpoint.load(path)


@pytest.mark.parametrize("protocol", range(6))
def test_keys_and_sets_of_honest_files_are_read(tmp_path: Path, protocol: int) -> None:
    pair = ("conv", (3, 3))
    shared = [pair] * 100_000
    kept = {
        "a": np.ones(2, np.float32),
        pair: 1,
        **{("layer", i): None for i in range(500)},
        "sets": [{1, "x", pair}, frozenset({2, pair}), frozenset(range(500))],
        "inside": OrderedDict([(("k", i), i) for i in range(100)]),
        "shared": shared,
        "values": tuple(tuple(range(300)) for _ in range(300)),
    }
    path = tmp_path / "file.pdparams"
    path.write_bytes(pickle.dumps(kept, protocol))
    found = pickles.load(path)
    assert found[pair] == 1
    assert found["inside"]["k", 7] == 7
    assert {1, "x", pair} == set(found["sets"][0])
    np.testing.assert_array_equal(found["a"], kept["a"])


def test_a_storage_is_named_by_a_text(tmp_path: Path) -> None:
    """Its name becomes a text, which would be as long as a tuple is wide."""
    import zipfile

    path = tmp_path / "x.pth"
    program = b"\x80\x02(U\x07storagectorch\nFloatStorage\n" + WIDE + b"U\x03cpuK\x01tQ."
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a/data.pkl", program)
    with bounded(), pytest.raises(CheckpointError, match="a storage without a name"):
        checkpoint.load(path)
