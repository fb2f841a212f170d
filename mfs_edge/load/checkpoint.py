"""Checkpoints in, validated float32 arrays out.

Reads ``.pdparams`` (Paddle's pickle), ``.pth`` / ``.pt`` (torch) and ``.safetensors`` for
ArcFace and for the IIN, tells by content which one it has, and brings both conventions to
one: torch's (Linear weights ``[out, in]``, ``running_mean``, PReLU ``weight``). Loading
never runs code from the file.
"""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mfs_edge.base import extras, files
from mfs_edge.base.errors import CheckpointError
from mfs_edge.load import formats, pickles
from mfs_edge.networks import spec

TITLES = {"arcface": "ArcFace", "iin": "MobileFaceSwap (IIN)"}
OPTIONS = {"arcface": "--arcface", "iin": "--checkpoint"}
_NOT_A_TENSOR = ("StructuredToParameterName@@", "num_batches_tracked")  # name tables and torch's step counters
_PADDLE_NAMES = {"_mean": "running_mean", "_variance": "running_var", "_weight": "weight"}
_USUAL_WRAPPERS = ("state_dict", "model_state_dict", "model")
_MAX_NESTING = 4  # wrappers around a state dict
_MAX_PARTS = 8  # of a key; official ones have up to six
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
    format_, loaded = formats.read(path)
    state = _state_dict(loaded, path)
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
    state = {key: value for key, value in state.items() if _is_entry(key)}
    network, prefix = _identify(state, source)
    if expect is not None and network != expect:
        raise CheckpointError(
            f"{source}: is {_article(network)} checkpoint where {_article(expect)} checkpoint is needed; "
            f"give it as {OPTIONS[network]}, and the other file as {OPTIONS[expect]} (were the two swapped?)"
        )
    state, unexpected = _strip(state, prefix, _shapes(network))
    tensors, convention = _validate(state, unexpected, network, source)
    return Checkpoint(
        network=network,
        tensors=tensors,
        source=Path(source).name,
        sha256=sha256,
        format=format,
        convention=convention,
        dtype="/".join(sorted({_dtype_name(state[key]) for key in tensors})),
        prefix=prefix,
        warning=warning,
    )


def save_safetensors(checkpoint: Checkpoint, path: str | Path) -> None:
    """Write ``checkpoint`` as ``.safetensors`` (torch conventions), leaving pickle behind.

    Raises:
        OutputError: the file cannot be written; nothing is left behind.
    """
    save = extras.require("safetensors.numpy", "compile").save
    contiguous = {key: np.ascontiguousarray(tensor) for key, tensor in checkpoint.tensors.items()}
    # Written here and not by the library, whose own exception hides what the system said.
    encoded = save(contiguous, metadata={"network": checkpoint.network, "source": checkpoint.source})
    with files.atomic(Path(path)) as temporary:
        temporary.write_bytes(encoded)


# --- naming: whatever wrapper, prefix and convention -> the official keys -------------------


def _state_dict(loaded: Any, path: Path) -> dict[str, Any]:
    """The one dict that holds a network, through wrappers such as ``{"state_dict": ...}``."""
    if not isinstance(loaded, dict):
        raise CheckpointError(f"{path}: holds a {type(loaded).__name__}, not a state dict; save model.state_dict()")
    found = _tensor_dicts(loaded)
    if len(found) > 1:  # beside an optimiser's moments, say
        found = {name: state for name, state in found.items() if _vote(state)} or found
    usual = [name for name in found if name in _USUAL_WRAPPERS]
    if len(found) != 1 and len(usual) != 1:
        names = ", ".join(sorted(pickles.quoted(name) or "the outermost" for name in found))
        holds = f"several state dicts ({names})" if found else "no tensors"
        raise CheckpointError(f"{path}: holds {holds}; save one network's state dict alone")
    return found[usual[0]] if usual else next(iter(found.values()))


def _tensor_dicts(loaded: Mapping[Any, Any]) -> dict[str, dict[str, Any]]:
    """Every dict in ``loaded``, itself included, that holds arrays directly, by dotted name."""
    found, seen = {}, {id(loaded)}
    level: Sequence[tuple[str, Mapping[Any, Any]]] = [("", loaded)]
    for _ in range(_MAX_NESTING):
        deeper = []
        for name, value in level:
            named = {key if isinstance(key, str) else f"<{type(key).__name__}>": item for key, item in value.items()}
            named = {key: _paddle_tensor(item) for key, item in named.items()}
            if any(isinstance(item, np.ndarray) for item in named.values()):
                found[name] = named
            for key, item in named.items():
                if isinstance(item, dict) and id(item) not in seen and _is_entry(key):
                    seen.add(id(item))
                    deeper.append((f"{name}.{key}" if name else key, item))
        level = deeper
    return found


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


def _vote(state: Mapping[str, Any]) -> tuple[str, str] | None:
    """Which network, and behind which prefix (``module.``, ``netG.module.``, ...): by vote of the keys."""
    votes: Counter[tuple[str, str]] = Counter()
    for key in map(_canonical, state):
        parts = key.split(".")
        starts = range(max(0, len(parts) - _MAX_PARTS), len(parts))
        for network in spec.NETWORK_SHAPES:
            official = next((name for i in starts if (name := ".".join(parts[i:])) in _shapes(network)), None)
            if official is not None:
                votes[network, key.removesuffix(official)] += 1
    if votes:
        (network, prefix), count = votes.most_common(1)[0]
        if count >= _MIN_MATCH * len(_shapes(network)):
            return network, prefix
    return None


def _identify(state: Mapping[str, Any], source: str) -> tuple[str, str]:
    found = _vote(state)
    if found is None:
        sample = ", ".join(pickles.quoted(key) for key in sorted(state)[:3])
        raise CheckpointError(
            f"{source}: holds {len(state)} tensors of another model (such as {sample}); "
            "an ArcFace or MobileFaceSwap checkpoint is needed"
        )
    return found


def _strip(state: Mapping[str, Any], prefix: str, shapes: spec.Shapes) -> tuple[dict[str, Any], list[str]]:
    """The entries by official key, and the names of tensors that are none of the network's."""
    known, unexpected = {}, []
    for key, value in state.items():
        name = _canonical(key)
        if name.startswith(prefix) and name.removeprefix(prefix) in shapes and name.removeprefix(prefix) not in known:
            known[name.removeprefix(prefix)] = value
        elif isinstance(value, np.ndarray):  # numbers and texts beside the tensors do no harm
            unexpected.append(key)
    return known, unexpected


def _article(network: str) -> str:
    return f"{'an' if TITLES[network][0] in 'AEIOU' else 'a'} {TITLES[network]}"


# --- validation: every problem, not the first ----------------------------------------------


def _validate(
    state: Mapping[str, Any], unexpected: Sequence[str], network: str, source: str
) -> tuple[dict[str, np.ndarray], str]:
    shapes = _shapes(network)
    convention = _linear_convention(state, shapes)
    problems = [f"missing {key}" for key in shapes if key not in state]
    problems += [f"unexpected {pickles.quoted(key)}" for key in unexpected]
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


def _dtype_name(value: np.ndarray) -> str:
    return "bfloat16" if value.dtype == formats.BFLOAT16 else str(value.dtype)


def _check(key: str, value: Any, shape: tuple[int, ...], *, transpose: bool) -> tuple[np.ndarray, str | None]:
    """The tensor as float32 in torch layout, or what is wrong with it."""
    nothing = np.empty(0, np.float32)
    if not isinstance(value, np.ndarray):
        return nothing, f"is a {type(value).__name__}, not a tensor"
    if value.dtype != formats.BFLOAT16 and not np.issubdtype(value.dtype, np.floating):
        return nothing, f"has dtype {value.dtype}, expected a floating type"
    stored = shape[::-1] if transpose else shape
    if value.shape != stored:
        return nothing, f"has shape {list(value.shape)}, expected {list(stored)}"
    if value.dtype == formats.BFLOAT16:  # the upper half of a float32
        value = (value["bfloat16"].astype(np.uint32) << np.uint32(16)).view(np.float32)
    with np.errstate(over="ignore"):
        tensor = (value.T if transpose else value).astype(np.float32, copy=False)
    if not np.isfinite(tensor).all():
        return nothing, f"has {int((~np.isfinite(tensor)).sum())} of {tensor.size} values that are NaN or infinite"
    if key.endswith(".running_var") and (tensor < 0).any():
        return nothing, f"has negative variances (lowest {tensor.min():g})"
    return tensor, None
