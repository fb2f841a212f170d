"""The file formats of checkpoints: bytes -> nested dicts of numpy arrays, no code run.

A file is told by its content. bfloat16, which numpy lacks, comes out as :data:`BFLOAT16`.
"""

from __future__ import annotations

import pickle
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from mfs_edge.base import extras
from mfs_edge.base.errors import CheckpointError
from mfs_edge.load import pickles

BFLOAT16 = np.dtype([("bfloat16", "<u2")])  # its bits, under its name
_TORCH_LEGACY_MAGIC = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
_UTF8_MARK = b"\xef\xbb\xbf"


def read(path: Path) -> tuple[str, Any]:
    """The format's name, and what the file holds.

    Raises:
        CheckpointError: it is of no known format, damaged, or holds more than tensors.
        MissingDependency: reading this format needs an extra.
    """
    with path.open("rb") as file:
        head = file.read(64)
    name, reader = _reader(path, head)
    return name, reader(path)


def _reader(path: Path, head: bytes) -> tuple[str, Callable[[Path], Any]]:
    """Tell the format by content; a suffix only lies by accident."""
    if head.startswith((_TORCH_LEGACY_MAGIC, b"PK\x03\x04")):
        return "torch", _read_torch
    if head[5:9] == b"\0\0\0{":  # its length, below 2**40, then a JSON header
        return "safetensors", _read_safetensors
    if head.removeprefix(_UTF8_MARK).lstrip().startswith(b"<"):
        raise CheckpointError(
            f"{path}: is a web page, not a checkpoint; the download gave an error or login page, download it again"
        )
    if head.startswith(b"version https://git-lfs"):
        raise CheckpointError(f"{path}: is a Git LFS pointer, not the checkpoint itself; fetch it with: git lfs pull")
    if head.startswith(b"\x80") or path.suffix == ".pdparams":
        return "paddle pickle", _read_pickle
    raise CheckpointError(f"{path}: is not a .pdparams, .pth, .pt or .safetensors file; check the download")


def _read_pickle(path: Path) -> Any:
    try:
        return pickles.Rebuild(_paddle_bfloat16)(pickles.load(path))
    except pickles.Refused as error:
        raise CheckpointError(
            f"{path}: refused, it contains {error}; only numpy arrays and plain containers are read, "
            "and nothing in it was run: get the file from a source you trust"
        ) from error
    except Exception as error:  # a damaged pickle raises anything; the cause is chained
        raise CheckpointError(
            f"{path}: is truncated or damaged, not a readable pickle ({type(error).__name__}); download it again"
        ) from error


def _paddle_bfloat16(value: Any) -> Any:
    """Paddle hands bfloat16 tensors to numpy as uint16, and has no uint16 tensors."""
    return value.view(BFLOAT16) if isinstance(value, np.ndarray) and value.dtype == np.uint16 else value


def _read_torch(path: Path) -> Any:
    torch = extras.require("torch", "compile")
    try:
        archive = zipfile.is_zipfile(path)
        if archive:
            with zipfile.ZipFile(path) as members:
                if not any(name.endswith("data.pkl") for name in members.namelist()):
                    raise CheckpointError(f"{path}: is a zip of other files; unpack it and give the checkpoint inside")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of unusual pickle protocols, in damaged files
            # Old torch files are not archives, and only archives can be mapped.
            loaded = torch.load(path, map_location="cpu", weights_only=True, mmap=archive)
        return pickles.Rebuild(_from_torch)(loaded)
    except CheckpointError:
        raise
    except pickle.UnpicklingError as error:
        raise CheckpointError(
            f"{path}: refused, it is damaged or holds more than tensors (torch's weights_only reader says so), and "
            "nothing in it was run; save the state dict alone with torch.save(model.state_dict(), ...)"
        ) from error
    except Exception as error:  # torch raises RuntimeError, EOFError and others on damaged files
        raise CheckpointError(f"{path}: is truncated or damaged ({type(error).__name__}); download it again") from error


def _from_torch(value: Any) -> Any:
    import torch

    if not isinstance(value, torch.Tensor):
        return value
    value = value.detach()
    return value.view(torch.int16).numpy().view(BFLOAT16) if value.dtype == torch.bfloat16 else value.numpy()


def _read_safetensors(path: Path) -> Any:
    safetensors = extras.require("safetensors", "compile")
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        header = file.read(min(length, path.stat().st_size))
    if b'"BF16"' in header:  # numpy has no bfloat16
        extras.require("torch", "compile")
    try:
        with safetensors.safe_open(path, framework="pt" if b'"BF16"' in header else "np") as opened:
            state = {key: opened.get_tensor(key) for key in opened.keys()}  # noqa: SIM118 - it is no mapping
        return pickles.Rebuild(_from_torch)(state) if b'"BF16"' in header else state
    except Exception as error:  # SafetensorError, or a dtype that numpy lacks
        raise CheckpointError(
            f"{path}: is truncated or damaged, not a readable safetensors file ({pickles.quoted(str(error))}); "
            "download it again"
        ) from error
