"""Whole files of other formats are named for what they are, with the way to a checkpoint."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import struct
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from mfs_edge.base import images
from mfs_edge.base.errors import CheckpointError
from mfs_edge.load import checkpoint


def tar(path: Path, kind: str = "") -> None:
    with tarfile.open(path, f"w{kind}") as archive:
        for name in ("arcface.pdparams", "MobileFaceSwap_224.pdparams"):
            archive.addfile(tarfile.TarInfo(f"checkpoints/{name}"), io.BytesIO())


def torchscript(path: Path) -> None:
    torch.jit.script(torch.nn.Linear(2, 3)).save(str(path))


def onnx(path: Path) -> None:
    from onnx import TensorProto, helper

    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1])]
    outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1])]
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "g", inputs, outputs)
    path.write_bytes(helper.make_model(graph, producer_name="pytorch").SerializeToString())


def float8(path: Path, dtype: torch.dtype = torch.float8_e4m3fn) -> None:
    from safetensors.torch import save_file

    save_file({"conv1.weight": torch.ones(2, 3).to(dtype)}, path)


def pdiparams(path: Path) -> None:
    """A tensor as Paddle's C++ code streams it: versions and level of detail, its description, its data."""
    description = b"\x08\x05\x10\x02\x10\x03"  # float32, dimensions 2 and 3
    head = struct.pack("<IQIi", 0, 0, 0, len(description))
    path.write_bytes(head + description + np.ones(6, np.float32).tobytes())


def archive(*names: str) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        with zipfile.ZipFile(path, "w") as opened:
            for name in names:
                opened.writestr(name, b"...")

    return write


def content(data: bytes) -> Callable[[Path], None]:
    return lambda path: path.write_bytes(data) and None


NEIGHBOURS: dict[str, tuple[Callable[[Path], None], str]] = {
    "tar": (
        tar,
        r"is a tar archive \(checkpoints/arcface.pdparams, .*\); unpack it \(tar -xf\) and give the checkpoint",
    ),
    "tar.gz": (lambda path: tar(path, ":gz"), "is compressed with gzip; unpack it"),
    "tar.bz2": (lambda path: tar(path, ":bz2"), "is compressed with bzip2; unpack it"),
    "tar.xz": (lambda path: tar(path, ":xz"), "is compressed with xz; unpack it"),
    "gz": (content(gzip.compress(b"\x80\x04}.")), "is compressed with gzip; unpack it"),
    "bz2": (content(bz2.compress(b"\x80\x04}.")), "is compressed with bzip2"),
    "xz": (content(lzma.compress(b"\x80\x04}.")), "is compressed with xz"),
    "zip": (
        archive("a/iin.pdparams"),
        r"is a zip of other files \(a/iin.pdparams\); unpack it and give the checkpoint",
    ),
    "torchscript": (torchscript, r"is a TorchScript archive .*torch.save\(torch.jit.load\(FILE\).state_dict\(\)"),
    "exported": (archive("m/archive_format", "m/models/model.json"), "is an exported program .*state_dict"),
    "onnx": (onnx, "is an ONNX model.*give the checkpoint that it was made from"),
    "tflite": (content(b"\x1c\0\0\0TFL3" + bytes(40)), "is a TFLite model.*give the checkpoint"),
    "openvino": (content(b'<?xml version="1.0"?>\n<net name="idn" version="11">'), "is an OpenVINO model"),
    "pdiparams": (pdiparams, r"is a .pdiparams file, .*without their names; .*paddle.save\(model.state_dict\(\)"),
    "e4m3": (float8, "stores tensors as F8_E4M3, which is not read; .*save it anew"),
    "e5m2": (lambda path: float8(path, torch.float8_e5m2), "stores tensors as F8_E5M2, which is not read"),
    "hdf5": (content(b"\x89HDF\r\n\x1a\n" + bytes(40)), "is an HDF5 file"),
    "mxnet": (content(b"\x12\x01\0\0\0\0\0\0" + bytes(40)), "is an MXNet .params file"),
    "npy": (lambda path: np.save(path.open("wb"), np.ones(25600)), "is a .npy array.*--identity"),
    "npz": (lambda path: np.savez(path.open("wb"), a=np.ones(3)), "is an .npz of arrays.*--identity"),
}


@pytest.mark.parametrize("suffix", ["pdparams", "pth"])
@pytest.mark.parametrize("expect", ["arcface", "iin"])
@pytest.mark.parametrize("name", list(NEIGHBOURS))
def test_neighbouring_formats_are_named(tmp_path: Path, name: str, expect: str, suffix: str) -> None:
    write, reason = NEIGHBOURS[name]
    path = tmp_path / f"weights.{suffix}"
    write(path)
    with pytest.raises(CheckpointError, match=reason) as caught:
        checkpoint.load(path, expect=expect)
    assert str(caught.value).isprintable()
    assert "damaged" not in str(caught.value)
    assert "download" not in str(caught.value)


def test_a_picture_as_checkpoint(tmp_path: Path) -> None:
    path = tmp_path / "face.png"
    images.write_rgb(path, np.zeros((8, 8, 3), np.uint8))
    with pytest.raises(CheckpointError, match="is a picture, not a checkpoint"):
        checkpoint.load(path)


def test_a_float8_tensor_in_a_torch_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "x.pth"
    torch.save({"a": torch.ones(3).to(torch.float8_e4m3fn)}, path)
    with pytest.raises(CheckpointError, match=r"it contains the code torch.float8_e4m3fn.*save the weights alone"):
        checkpoint.load(path)


def test_a_safetensors_header_is_bounded(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    header = json.dumps({f"tensor {n}": {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]} for n in range(250_000)})
    path.write_bytes(len(header).to_bytes(8, "little") + header.encode())
    with pytest.raises(CheckpointError, match=r"has a header of 18.1 MB, more than the bound of 16 MB"):
        checkpoint.load(path)
