"""Checkpoints in, validated float32 arrays out.

Reads ``.pdparams`` (Paddle's pickle), ``.pth`` / ``.pt`` (torch) and ``.safetensors`` for
ArcFace and for the IIN, tells by content which one it has, and brings both conventions to
one: torch's (Linear weights ``[out, in]``, ``running_mean``, PReLU ``weight``). Loading
never runs code from the file.
"""

from __future__ import annotations

import functools
import pickle
import zipfile
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mfs_edge import extras, files, pickles
from mfs_edge.errors import CheckpointError
from mfs_edge.networks import spec

TITLES = {"arcface": "ArcFace", "iin": "MobileFaceSwap (IIN)"}
OPTIONS = {"arcface": "--arcface", "iin": "--checkpoint"}
_NOT_A_TENSOR = ("StructuredToParameterName@@", "num_batches_tracked")  # name tables and torch's step counters
_PADDLE_NAMES = {"_mean": "running_mean", "_variance": "running_var", "_weight": "weight"}
_TORCH_LEGACY_MAGIC = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
_MIN_MATCH = 0.1  # a file with fewer of a network's keys than this is some other model


@dataclass(frozen=True)
class Checkpoint:
    """A validated state dict: every key of its network, float32, finite, torch layout."""

    network: str  # "arcface" or "iin"
    tensors: Mapping[str, np.ndarray]
    source: str  # file name, or a description for rebuilt weights
    sha256: str
    format: str  # "paddle pickle", "torch", "safetensors", "rebuilt"
    convention: str  # "paddle" or "torch": how Linear weights were laid out
    dtype: str  # as stored
    prefix: str = ""  # stripped from every key
    warning: str | None = None  # what a reader of any result must know about these weights

    @property
    def parameters(self) -> int:
        return sum(tensor.size for tensor in self.tensors.values())


def load(path: str | Path, *, expect: str | None = None) -> Checkpoint:
    """Read and validate a checkpoint.

    Args:
        path: ``.pdparams``, ``.pth``, ``.pt`` or ``.safetensors``; judged by content.
        expect: "arcface" or "iin"; None takes either.

    Raises:
        CheckpointError: it is not a checkpoint, is the other network's, or does not match
            the definition; the message lists every problem.
        MissingDependency: reading this format needs an extra.
    """
    path = files.require_file(Path(path), "checkpoint")
    format_, read = _reader(path)
    state = _state_dict(read(path), path)
    return from_state(state, expect=expect, source=str(path), sha256=files.sha256(path), format=format_)


def from_state(
    state: Mapping[str, Any],
    *,
    expect: str | None,
    source: str,
    sha256: str,
    format: str = "rebuilt",
    warning: str | None = None,
) -> Checkpoint:
    """Validate a state dict of either convention, with or without a prefix.

    Raises:
        CheckpointError: as :func:`load`; ``source`` names it in the message.
    """
    state = {_canonical(key): value for key, value in state.items() if _is_entry(key)}
    network, prefix = _identify(state, source)
    if expect is not None and network != expect:
        raise CheckpointError(
            f"{source}: is {_article(network)} checkpoint where {_article(expect)} checkpoint is needed; "
            f"give it as {OPTIONS[network]}, and the other file as {OPTIONS[expect]} (were the two swapped?)"
        )
    state = {key.removeprefix(prefix): value for key, value in state.items()}
    tensors, convention = _validate(state, network, source)
    return Checkpoint(
        network=network,
        tensors=tensors,
        source=Path(source).name,
        sha256=sha256,
        format=format,
        convention=convention,
        dtype="/".join(sorted({str(state[key].dtype) for key in tensors})),
        prefix=prefix,
        warning=warning,
    )


def save_safetensors(checkpoint: Checkpoint, path: str | Path) -> None:
    """Write ``checkpoint`` as ``.safetensors`` (torch conventions), leaving pickle behind.

    Raises:
        OutputError: the file cannot be written; nothing is left behind.
    """
    save_file = extras.require("safetensors.numpy", "compile").save_file
    contiguous = {key: np.ascontiguousarray(tensor) for key, tensor in checkpoint.tensors.items()}
    with files.atomic(Path(path)) as temporary:
        save_file(contiguous, temporary, metadata={"network": checkpoint.network, "source": checkpoint.source})


# --- reading: bytes -> a mapping of names to arrays ---------------------------------------


def _reader(path: Path) -> tuple[str, Callable[[Path], Any]]:
    """Tell the format by content; a suffix only lies by accident."""
    with path.open("rb") as file:
        head = file.read(4096)
    if zipfile.is_zipfile(path) or head.startswith((_TORCH_LEGACY_MAGIC, b"PK\x03\x04")):
        return "torch", _read_torch
    if head[8:9] == b"{":
        return "safetensors", _read_safetensors
    if head.lstrip()[:1] == b"<":
        raise CheckpointError(
            f"{path}: is a web page, not a checkpoint; the download gave an error or login page, download it again"
        )
    if head[:1] == b"\x80" or path.suffix == ".pdparams":
        return "paddle pickle", _read_pickle
    raise CheckpointError(f"{path}: is not a .pdparams, .pth, .pt or .safetensors file; check the download")


def _read_pickle(path: Path) -> Any:
    try:
        return pickles.load(path)
    except pickle.UnpicklingError as error:
        if "truncated" in str(error):
            raise CheckpointError(f"{path}: is truncated; download it again") from error
        raise CheckpointError(
            f"{path}: refused, it contains {error}; only numpy arrays and plain containers are read, "
            "and nothing in it was run: get the file from a source you trust"
        ) from error
    except (EOFError, MemoryError, OverflowError) as error:
        raise CheckpointError(f"{path}: is truncated or damaged; download it again") from error
    except Exception as error:  # a damaged pickle raises anything; the cause is chained
        raise CheckpointError(f"{path}: is not a readable pickle ({type(error).__name__}); download it again") from error


def _read_torch(path: Path) -> Any:
    torch = extras.require("torch", "compile")
    try:
        # Old torch files are not archives, and only archives can be mapped.
        state = torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    except pickle.UnpicklingError as error:
        raise CheckpointError(
            f"{path}: refused, it holds more than tensors (torch's weights_only reader says so), and nothing in it "
            "was run; save the state dict alone with torch.save(model.state_dict(), ...)"
        ) from error
    except Exception as error:  # torch raises RuntimeError, EOFError and others on damaged files
        raise CheckpointError(f"{path}: is truncated or damaged ({type(error).__name__}); download it again") from error
    return _torch_to_numpy(state, torch)


def _torch_to_numpy(value: Any, torch: Any) -> Any:
    if isinstance(value, torch.Tensor):
        value = value.detach()
        return (value.float() if value.is_floating_point() and value.dtype == torch.bfloat16 else value).numpy()
    if isinstance(value, Mapping):
        return {key: _torch_to_numpy(item, torch) for key, item in value.items()}
    return value


def _read_safetensors(path: Path) -> Any:
    safetensors = extras.require("safetensors.numpy", "compile")
    try:
        return safetensors.load_file(path)
    except Exception as error:  # SafetensorError, or a dtype that numpy lacks
        reason = str(error).splitlines()[0]
        raise CheckpointError(f"{path}: is not a readable safetensors file ({reason}); download it again") from error


# --- naming: whatever wrapper, prefix and convention -> the official keys -------------------


def _state_dict(loaded: Any, path: Path) -> dict[str, Any]:
    """The one dict that holds arrays, through wrappers such as ``{"state_dict": ...}``."""
    if not isinstance(loaded, dict):
        raise CheckpointError(f"{path}: holds a {type(loaded).__name__}, not a state dict; save model.state_dict()")
    named = {str(key): _paddle_tensor(value) for key, value in loaded.items()}
    if any(isinstance(value, np.ndarray) for value in named.values()):
        return named
    nested = {key: value for key, value in named.items() if isinstance(value, dict) and value and _is_entry(key)}
    if len(nested) == 1:
        return _state_dict(next(iter(nested.values())), path)
    for usual in ("state_dict", "model_state_dict", "model"):  # beside an optimiser's, say
        if usual in nested:
            return _state_dict(nested[usual], path)
    found = f"several dicts ({', '.join(sorted(nested))})" if nested else "no tensors"
    raise CheckpointError(f"{path}: holds {found}; save one network's state dict alone")


def _paddle_tensor(value: Any) -> Any:
    """Paddle writes some tensors as ``(parameter name, array)``."""
    if isinstance(value, tuple) and len(value) == 2 and isinstance(value[1], np.ndarray):
        return value[1]
    return value


def _is_entry(key: str) -> bool:
    return key.rsplit(".", 1)[-1] not in _NOT_A_TENSOR


def _canonical(key: str) -> str:
    stem, _, leaf = key.rpartition(".")
    return f"{stem}.{_PADDLE_NAMES.get(leaf, leaf)}" if stem else key


@functools.cache
def _shapes(network: str) -> spec.Shapes:
    return spec.NETWORK_SHAPES[network]()


def _identify(state: Mapping[str, Any], source: str) -> tuple[str, str]:
    """Which network, and behind which prefix (``module.``, ``netG.module.``, ...): by vote of the keys."""
    votes: Counter[tuple[str, str]] = Counter()
    for key in state:
        parts = key.split(".")
        for network in spec.NETWORK_SHAPES:
            start = next((i for i in range(len(parts)) if ".".join(parts[i:]) in _shapes(network)), None)
            if start is not None:
                votes[network, key.removesuffix(".".join(parts[start:]))] += 1
    if votes:
        (network, prefix), count = votes.most_common(1)[0]
        if count >= _MIN_MATCH * len(_shapes(network)):
            return network, prefix
    sample = ", ".join(sorted(state)[:3])
    raise CheckpointError(
        f"{source}: holds {len(state)} tensors of another model (such as {sample}); "
        "an ArcFace or MobileFaceSwap checkpoint is needed"
    )


def _article(network: str) -> str:
    return f"{'an' if TITLES[network][0] in 'AEIOU' else 'a'} {TITLES[network]}"


# --- validation: every problem, not the first ----------------------------------------------


def _validate(state: Mapping[str, Any], network: str, source: str) -> tuple[dict[str, np.ndarray], str]:
    shapes = _shapes(network)
    convention = _linear_convention(state, shapes)
    problems = [f"missing {key}" for key in shapes if key not in state]
    problems += [f"unexpected {key}" for key in state if key not in shapes]
    tensors = {}
    for key, shape in shapes.items():
        if key in state:
            tensor, problem = _check(key, state[key], shape, transpose=convention == "paddle" and len(shape) == 2)
            if problem:
                problems.append(f"{key} {problem}")
            else:
                tensors[key] = tensor
    if problems:
        count = f"{len(problems)} problem{'s' * (len(problems) > 1)}"
        raise CheckpointError(
            f"{source}: does not match the {TITLES[network]} definition, {count}: {'; '.join(problems)}; "
            "use the checkpoint as published, or retrain with the official architecture"
        )
    return tensors, convention


def _linear_convention(state: Mapping[str, Any], shapes: spec.Shapes) -> str:
    """``paddle`` if Linear weights are ``[in, out]``: told by those that are not square."""
    votes = {"paddle": 0, "torch": 0}
    for key, shape in shapes.items():
        if len(shape) == 2 and shape[0] != shape[1] and isinstance(state.get(key), np.ndarray):
            votes["torch"] += state[key].shape == shape
            votes["paddle"] += state[key].shape == shape[::-1]
    return "paddle" if votes["paddle"] > votes["torch"] else "torch"


def _check(key: str, value: Any, shape: tuple[int, ...], *, transpose: bool) -> tuple[np.ndarray, str | None]:
    """The tensor as float32 in torch layout, or what is wrong with it."""
    nothing = np.empty(0, np.float32)
    if not isinstance(value, np.ndarray):
        return nothing, f"is a {type(value).__name__}, not a tensor"
    if not np.issubdtype(value.dtype, np.floating) and value.dtype.name != "bfloat16":
        return nothing, f"has dtype {value.dtype}, expected a floating type"
    stored = shape[::-1] if transpose else shape
    if value.shape != stored:
        return nothing, f"has shape {list(value.shape)}, expected {list(stored)}"
    with np.errstate(over="ignore"):
        tensor = (value.T if transpose else value).astype(np.float32, copy=False)
    if not np.isfinite(tensor).all():
        return nothing, f"has {int((~np.isfinite(tensor)).sum())} of {tensor.size} values that are NaN or infinite"
    if key.endswith(".running_var") and (tensor < 0).any():
        return nothing, f"has negative variances (lowest {tensor.min():g})"
    return tensor, None
