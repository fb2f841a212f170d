"""The file formats of checkpoints: bytes -> nested dicts of numpy arrays, no code run.

A file is told by its content. bfloat16, which numpy lacks, comes out as :data:`BFLOAT16`.
"""

from __future__ import annotations

import math
import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from mfs_edge.base import extras
from mfs_edge.base.errors import CheckpointError, MfsEdgeError
from mfs_edge.load import limits, neighbours, pickles, torchfile, zips
from mfs_edge.load.torchfile import BFLOAT16

_HEAD = 4096
_SLICED = "UnpackBigParamInfor@@"  # Paddle's name for its table of arrays that protocol 2 could not hold whole


def read(path: Path, *, proven: bool = False) -> tuple[str, Any]:
    """The format's name, and what the file holds.

    Args:
        proven: the whole file's hash was compared, so that its own checksums need not hold.

    Raises:
        CheckpointError: it is of no known format, damaged, or holds more than tensors.
        MissingDependency: reading this format needs an extra.
    """
    with path.open("rb") as file:
        head = file.read(_HEAD)
    name, reader, save = _reader(path, head, proven=proven)
    try:
        return name, reader(path)
    except MfsEdgeError:
        raise
    except limits.TooLarge as error:
        raise CheckpointError(f"{path}: {error}") from error
    except pickles.Refused as error:
        raise CheckpointError(
            f"{path}: refused, it contains {error}, and nothing in it was run; where you trust what wrote it, "
            f"save the weights alone: {save}"
        ) from error
    except torchfile.Unusual as error:
        raise CheckpointError(f"{path}: {error}; save it anew: {save}") from error
    except torchfile.BadChecksum as error:
        raise CheckpointError(
            f"{path}: is damaged, the checksum of {error} does not hold; copy or download it again (if it was written "
            "without checksums, torch.serialization.set_crc32_options(False), prove it with --sha256)"
        ) from error
    except Exception as error:  # damaged files raise anything; the cause is chained
        raise CheckpointError(
            f"{path}: is truncated or damaged, not a readable {name} file ({_said(error)}); copy or download it again"
        ) from error


def _reader(path: Path, head: bytes, *, proven: bool) -> tuple[str, Callable[[Path], Any], str]:
    """The format's name, its reader, and how to save such a file; told by content, a suffix only lies by accident."""
    torch = ("torch", lambda path: _read_torch(path, proven=proven), "torch.save(model.state_dict(), ...)")
    if head.startswith(b"PK\x03\x04") or torchfile.is_legacy(head):
        return torch
    if head[5:9] == b"\0\0\0{":  # its length, below 2**40, then a JSON header
        return "safetensors", _read_safetensors, "safetensors.torch.save_file(...)"
    other = neighbours.named(path, head)
    if other is not None:
        raise CheckpointError(f"{path}: {other}")
    if head.startswith(b"\x80") or path.suffix == ".pdparams":
        return "paddle pickle", _read_pickle, "paddle.save(model.state_dict(), ...) or torch.save of the same"
    raise CheckpointError(f"{path}: is not a .pdparams, .pth, .pt or .safetensors file; check the download")


def _said(error: Exception) -> str:
    """The kind of a stranger's error, with its text where that is a sentence of a library's."""
    text = pickles.quoted(str(error))
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _read_pickle(path: Path) -> Any:
    return _unsliced(pickles.Rebuild(_paddle_bfloat16)(pickles.load(path)))


def _paddle_bfloat16(value: Any) -> Any:
    """Paddle hands bfloat16 tensors to numpy as uint16, and has no uint16 tensors."""
    return value.view(BFLOAT16) if isinstance(value, np.ndarray) and value.dtype == np.uint16 else value


def _unsliced(state: Any) -> Any:
    """With the arrays put together that Paddle sliced: {name: {"OriginShape": shape, "slices": names}}."""
    table = state.get(_SLICED) if isinstance(state, dict) else None
    if table is None:
        return state
    state = {key: value for key, value in state.items() if key != _SLICED}
    limits.check_bytes(sum(v.nbytes for v in state.values() if isinstance(v, np.ndarray)), "what its slices make")
    for key, entry in table.items():
        slices = [state.pop(name) for name in entry["slices"]]  # each once: a name given twice is damage
        shape = tuple(int(n) for n in entry["OriginShape"])
        if math.prod(shape) != sum(part.size for part in slices):
            raise ValueError("slices do not make up their shape")
        state[key] = np.concatenate(slices).reshape(shape)
    return state


def _read_torch(path: Path, *, proven: bool) -> Any:
    if zipfile.is_zipfile(path):
        with zips.opened(path) as archive:
            other = neighbours.named_zip(archive)
        if other is not None:
            raise CheckpointError(f"{path}: {other}")
    return torchfile.read(path, checked=not proven)


def _read_safetensors(path: Path) -> Any:
    safetensors = extras.require("safetensors", "compile")
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if length > path.stat().st_size:
            raise ValueError(f"its header would be {length:,} bytes long")
        if length > limits.header():
            raise limits.TooLarge(f"has a header of {length / 1e6:.3g} MB", f"{limits.header() / 1e6:g} MB")
        header = file.read(length)
    float8 = re.search(rb'"dtype"\s*:\s*"(F8_\w+|F4|F6_\w+)"', header)
    if float8:
        raise CheckpointError(
            f"{path}: stores tensors as {float8[1].decode()}, which is not read; with torch, save it anew: "
            "safetensors.torch.save_file({k: v.float() for k, v in load_file(FILE).items()}, ...)"
        )
    bfloat16 = b'"BF16"' in header  # numpy has none
    if bfloat16:
        extras.require("torch", "compile")
    with safetensors.safe_open(path, framework="pt" if bfloat16 else "np") as opened:
        state = {key: opened.get_tensor(key) for key in opened.keys()}  # noqa: SIM118 - it is no mapping
    return pickles.Rebuild(_from_torch)(state) if bfloat16 else state


def _from_torch(value: Any) -> Any:
    import torch

    return value.view(torch.int16).numpy().view(BFLOAT16) if value.dtype == torch.bfloat16 else value.numpy()
