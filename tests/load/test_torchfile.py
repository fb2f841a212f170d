"""Torch's files read without torch: what torch itself reads comes out, damage does not."""

from __future__ import annotations

import argparse
import collections
import io
import pathlib
import pickle
import random
import re
import types
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mfs_edge.base.errors import CheckpointError
from mfs_edge.load import checkpoint, formats, torchfile
from mfs_edge.load.checkpoint import Checkpoint
from mfs_edge.load.inert import Inert


def tensors() -> dict[str, torch.Tensor]:
    numbers = torch.arange(24, dtype=torch.float32)
    kinds = (torch.float16, torch.float64, torch.int8, torch.uint8, torch.int16, torch.int32, torch.int64, torch.bool)
    return {
        "matrix": numbers.reshape(2, 3, 4),
        "transposed": numbers.reshape(4, 6).T,
        "view": numbers[3:7],
        "strided": numbers[1::5],
        "expanded": numbers[:1].expand(3, 2),
        "zero-dimensional": torch.tensor(3.5),
        "empty": torch.empty(0, 3),
        "parameter": torch.nn.Parameter(numbers),
        "complex": torch.complex(numbers, numbers),
        **{str(kind): numbers.to(kind) for kind in kinds},
    }


@pytest.mark.parametrize("legacy", [False, True])
def test_every_tensor_as_torch_reads_it(tmp_path: Path, legacy: bool) -> None:
    path = tmp_path / "x.pth"
    torch.save(tensors(), path, _use_new_zipfile_serialization=not legacy)
    found = torchfile.read(path, checked=True)
    for key, expected in torch.load(path, weights_only=True).items():
        assert found[key].dtype == expected.detach().numpy().dtype
        np.testing.assert_array_equal(found[key], expected.detach().numpy(), err_msg=key)


BESIDE = {  # what training code saves beside the weights -> what is read of it
    "numpy scalar": (np.float64(0.5), 0.5),
    "numpy integer": (np.int64(3), 3),
    "numpy bool": (np.bool_(True), True),
    "numpy array": (np.arange(3), np.arange(3)),
    "namespace": (argparse.Namespace(lr=0.1, name="run"), {"lr": 0.1, "name": "run"}),
    "nested namespaces": (argparse.Namespace(a=types.SimpleNamespace(b=[1])), {"a": {"b": [1]}}),
    "defaultdict": (collections.defaultdict(list, {"a": [1]}), {"a": [1]}),
    "counter": (collections.Counter("aab"), {"a": 2, "b": 1}),
    "complex": (1 + 2j, Inert("complex number")),
    "text array": (np.array(["one", "two"]), Inert("array of dtype U3")),
    "bytes array": (np.array([b"one"]), Inert("array of dtype S3")),
    "path": (pathlib.PurePosixPath("runs/1"), Inert("path")),
    "size": (torch.Size([2, 3]), (2, 3)),
    "set": ({1, 2}, {1, 2}),
}


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("name", list(BESIDE))
def test_what_stands_beside_the_weights_is_inert(tmp_path: Path, name: str, legacy: bool) -> None:
    value, expected = BESIDE[name]
    path = tmp_path / "x.pth"
    for protocol in (2, 4):
        torch.save({"beside": value, "a": torch.ones(2)}, path, pickle_protocol=protocol,
                   _use_new_zipfile_serialization=not legacy)  # fmt: skip
        found = torchfile.read(path, checked=True)
        np.testing.assert_array_equal(found["a"], np.ones(2))
        if isinstance(expected, np.ndarray):
            np.testing.assert_array_equal(found["beside"], expected)
        else:
            assert found["beside"] == expected


# --- damage ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, demo_iin: Checkpoint) -> Path:
    path = tmp_path_factory.mktemp("torch") / "iin.pth"
    torch.save({key: torch.from_numpy(np.ascontiguousarray(tensor)) for key, tensor in demo_iin.tensors.items()}, path)
    assert path.stat().st_size > 80e6
    return path


def test_thirty_flipped_bits_in_a_full_size_file_are_found(whole: Path, demo_iin: Checkpoint) -> None:
    draw = random.Random(14)
    with zipfile.ZipFile(whole) as archive:
        runs = [(i.header_offset + 30 + len(i.filename) + 64, i.file_size) for i in archive.infolist()]
    missed = []
    with whole.open("r+b") as file:
        for _ in range(30):
            start, size = draw.choices(runs, weights=[size for _, size in runs])[0]
            position = start + draw.randrange(max(1, size - 64))
            file.seek(position)
            byte = file.read(1)[0]
            file.seek(position)
            file.write(bytes([byte ^ 1 << draw.randrange(8)]))
            file.flush()
            try:
                torchfile.read(whole, checked=True)
                missed.append(position)
            except torchfile.BadChecksum:
                pass
            file.seek(position)
            file.write(bytes([byte]))
    assert missed == []
    np.testing.assert_array_equal(
        checkpoint.load(whole).tensors["mask.5.weight"], demo_iin.tensors["mask.5.weight"]
    )  # and it is whole again


def test_damage_is_one_line_that_names_the_member(tmp_path: Path) -> None:
    path = tmp_path / "x.pth"
    torch.save({"a": torch.arange(1000.0)}, path)
    content = bytearray(path.read_bytes())
    content[content.index(np.arange(1000, dtype=np.float32).tobytes()[:400]) + 100] ^= 1
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"is damaged, the checksum of x/data/0 does not hold; copy or download"):
        checkpoint.load(path)


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_STORED, zipfile.ZIP_BZIP2])
def test_a_checkpoint_zipped_anew(tmp_path: Path, method: int) -> None:
    path, again = tmp_path / "x.pth", tmp_path / "again.pth"
    torch.save(tensors(), path)
    with zipfile.ZipFile(path) as one, zipfile.ZipFile(again, "w", method) as other:
        for name in one.namelist():
            other.writestr(name, one.read(name))
    if method == zipfile.ZIP_BZIP2:
        with pytest.raises(CheckpointError, match="is a zip compressed by method 12; save it anew: torch"):
            checkpoint.load(again)
        return
    expected = torchfile.read(path, checked=True)
    for key, value in torchfile.read(again, checked=True).items():
        np.testing.assert_array_equal(value, expected[key])


def test_a_file_written_without_checksums_is_proven_by_its_hash(tmp_path: Path) -> None:
    path = tmp_path / "x.pth"
    torch.serialization.set_crc32_options(False)
    try:
        torch.save({"a.weight": torch.arange(1e4)}, path)
    finally:
        torch.serialization.set_crc32_options(True)
    with pytest.raises(CheckpointError, match="prove it with --sha256"):
        formats.read(path)
    _, loaded = formats.read(path, proven=True)
    np.testing.assert_array_equal(loaded["a.weight"], np.arange(1e4))


def test_a_deflated_bomb_is_judged_by_its_header(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "x.pth"
    monkeypatch.setenv("MFS_EDGE_MAX_GB", "0.01")
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x/data.pkl", b"\x80\x02}.")
        archive.writestr("x/data/0", bytes(20_000_000))
    message = re.escape("would take 0.02 GB, more than the bound of 0.01 GB") + ".*MFS_EDGE_MAX_GB=0.04"
    with pytest.raises(CheckpointError, match=message):
        checkpoint.load(path)


def storage_like(*pid: Any) -> bytes:
    class Pickler(pickle.Pickler):
        def persistent_id(self, obj: Any) -> Any:
            return pid if obj == "here" else None

    buffer = io.BytesIO()
    Pickler(buffer, 2).dump({"a": "here"})
    return buffer.getvalue()


@pytest.mark.parametrize("pid", [("storage",), ("module", "x"), ("storage", "torch.FloatStorage", "0", "cpu", 3)])
def test_references_that_are_no_storages_are_refused(tmp_path: Path, pid: tuple[Any, ...]) -> None:
    path = tmp_path / "x.pth"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x/data.pkl", storage_like(*pid))
    with pytest.raises(CheckpointError, match="refused, it contains references to data outside the file"):
        checkpoint.load(path)


@pytest.mark.parametrize(("shape", "stride", "offset"), [((3,), (1,), 8), ((100,), (1,), 0), ((2, 2), (9, 1), 0)])
def test_a_tensor_beyond_its_storage_is_damage(
    tmp_path: Path, shape: tuple[int, ...], stride: tuple[int, ...], offset: int
) -> None:
    path = tmp_path / "x.pth"
    tensor = torch.arange(10.0)
    torch.save({"a": tensor}, path)
    program = torchfile._Tensor(torchfile._Storage("0", "f4"), offset, shape, stride)
    with zipfile.ZipFile(path) as archive:
        data = memoryview(archive.read("x/data/0"))
    with pytest.raises((TypeError, ValueError)):
        program.over(data, "<")
