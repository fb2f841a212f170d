"""Whole files of other formats that people give as checkpoints, named for what they are.

Each line says what the file is and how the weights get from there into a checkpoint. None is called
damaged: it is not.
"""

from __future__ import annotations

import tarfile
import zipfile
from collections.abc import Sequence
from pathlib import Path

from mfs_edge.load.refusal import quoted

UNPACK = "unpack it and give the checkpoint inside"
_SAVE_TORCH = "save the weights alone: torch.save(model.state_dict(), 'NAME.pth')"
_SAVE_PADDLE = "save the weights by name: paddle.save(model.state_dict(), 'NAME.pdparams')"
_ORIGINAL = "give the checkpoint that it was made from (.pdparams, .pth or .safetensors)"
_SHOWN = 3  # members of an archive in a message

_COMPRESSED = {
    b"\x1f\x8b": ("gzip", "gunzip or tar -xzf"),
    b"BZh": ("bzip2", "bunzip2 or tar -xjf"),
    b"\xfd7zXZ\0": ("xz", "unxz or tar -xJf"),
    b"\x28\xb5\x2f\xfd": ("zstandard", "unzstd"),
    b"7z\xbc\xaf\x27\x1c": ("7-Zip", "7z x"),
    b"Rar!\x1a\x07": ("RAR", "unrar x"),
}
_STARTS = {
    b"\x89HDF\r\n\x1a\n": f"is an HDF5 file (Keras, h5py), not a checkpoint; {_ORIGINAL}",
    b"GGUF": f"is a GGUF model, not a checkpoint; {_ORIGINAL}",
    b"\x93NUMPY": "is a .npy array, not a checkpoint; an identity is given as --identity",
    b"\x12\x01\0\0\0\0\0\0": f"is an MXNet .params file, not a checkpoint; {_ORIGINAL}",
    b"7767517\n": f"is an ncnn .param file, not a checkpoint; {_ORIGINAL}",
    b"\x89PNG\r\n\x1a\n": "is a picture, not a checkpoint; a face is given as --identity, or to: mfs-edge identity",
    b"\xff\xd8\xff": "is a picture, not a checkpoint; a face is given as --identity, or to: mfs-edge identity",
    b"version https://git-lfs": "is a Git LFS pointer, not the checkpoint itself; fetch it with: git lfs pull",
}
_ONNX_NEXT = (0x12, 0x1A, 0x22, 0x28, 0x32, 0x3A, 0x42)  # the tags that may follow the version in a ModelProto


def named(path: Path, head: bytes) -> str | None:
    """What a file that starts with ``head`` is, to follow its name in a message; None if it is none of these."""
    for start, (name, command) in _COMPRESSED.items():
        if head.startswith(start):
            return f"is compressed with {name}; unpack it ({command}) and give the checkpoint inside"
    for start, line in _STARTS.items():
        if head.startswith(start):
            return line
    return _markup(head) or _model(head) or _tar(path)


def _markup(head: bytes) -> str | None:
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    if text.startswith(b"<") and b"<net " in text:
        return f"is an OpenVINO model, not a checkpoint; {_ORIGINAL}"
    if text.startswith(b"<"):
        return "is a web page, not a checkpoint; the download gave an error or login page, download it again"
    return None


def _model(head: bytes) -> str | None:
    if head[4:8] == b"TFL3":
        return f"is a TFLite model, not a checkpoint; {_ORIGINAL}"
    if head[:1] == b"\x08" and 1 <= head[1] <= 20 and head[2] in _ONNX_NEXT:
        return (
            "is an ONNX model: an exporter renames and folds its weights, so it cannot serve as a checkpoint; "
            f"{_ORIGINAL}"
        )
    # Version, level of detail and version again, all zero, then the length of a description.
    if head[:16] == bytes(16) and 0 < int.from_bytes(head[16:20], "little") < 64 and head[20:21] == b"\x08":
        return (
            "is a .pdiparams file, the weights of a Paddle inference model without their names; "
            f"in training code, {_SAVE_PADDLE}"
        )
    return None


def _tar(path: Path) -> str | None:
    try:
        with tarfile.open(path, "r:") as archive:
            names = []
            for member in archive:
                names.append(member.name)
                if len(names) > _SHOWN:
                    break
    except (tarfile.TarError, OSError, EOFError, ValueError, OverflowError):
        return None  # it is no tar archive, which is all that was asked
    return f"is a tar archive ({_listed(names)}); unpack it (tar -xf) and give the checkpoint inside" if names else None


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(map(quoted, names[:_SHOWN]))
    return f"{shown}, ..." if len(names) > _SHOWN else shown


def named_zip(archive: zipfile.ZipFile) -> str | None:
    """What a zip is that torch did not save; None if it did."""
    names = archive.namelist()
    leaves = {name.rsplit("/", 1)[-1] for name in names}
    if "constants.pkl" in leaves or any("/code/" in name for name in names):
        return (
            "is a TorchScript archive (torch.jit.save), which holds a program; with torch, "
            "save the weights alone: torch.save(torch.jit.load(FILE).state_dict(), 'NAME.pth')"
        )
    if "data.pkl" in leaves:
        return None
    if any("archive_format" in name or name.endswith("serialized_exported_program.json") for name in names):
        return f"is an exported program (torch.export), not a checkpoint; with torch, {_SAVE_TORCH}"
    if names and all(name.endswith(".npy") for name in names):
        return "is an .npz of arrays, not a checkpoint; an identity is given as --identity"
    return f"is a zip of other files ({_listed(names) or 'none'}); {UNPACK}"
