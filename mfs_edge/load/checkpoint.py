"""Checkpoints in, validated float32 arrays out.

Reads ``.pdparams`` (Paddle's pickle), ``.pth`` / ``.pt`` (torch) and ``.safetensors`` for
ArcFace and for the IIN, tells by content which one it has, and brings both conventions to
one: torch's (Linear weights ``[out, in]``, ``running_mean``, PReLU ``weight``). Loading
never runs code from the file.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mfs_edge.base import extras, files
from mfs_edge.base.errors import CheckpointError, UsageError
from mfs_edge.load import contents, formats
from mfs_edge.load.contents import OPTIONS, TITLES
from mfs_edge.load.inert import Inert
from mfs_edge.load.refusal import quoted
from mfs_edge.load.torchfile import BFLOAT16
from mfs_edge.networks import spec

__all__ = ["OPTIONS", "TITLES", "Checkpoint", "expected", "from_state", "load", "locate", "save_safetensors"]

_SHA256 = re.compile(r"[0-9a-f]{64}")


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
    told: str = ""  # which networks the file holds, and what was ignored
    notes: tuple[str, ...] = ()  # where a choice was made: what was taken, and how to take the other

    @property
    def read(self) -> str:
        """What was read, in one line for the user."""
        return f"{self.source}: {self.told}; sha256 {self.sha256}"

    @property
    def parameters(self) -> int:
        return sum(tensor.size for tensor in self.tensors.values())


def locate(path: str | Path) -> tuple[Path, str]:
    """The file, and the part of it that ``FILE#NAME`` asks for; "" for a file alone."""
    path = Path(path)
    name, mark, wanted = path.name.rpartition("#")
    if not mark or path.exists():
        return path, ""
    return path.with_name(name) if name else path, wanted


def expected(hashes: str | Sequence[str]) -> frozenset[str]:
    """SHA-256 hashes as a user gives them, checked.

    Raises:
        UsageError: one is not 64 hexadecimal digits.
    """
    given = (hashes,) if isinstance(hashes, str) else tuple(hashes)
    found = frozenset(text.strip().lower().removeprefix("sha256:") for text in given)
    for text in found:
        if not _SHA256.fullmatch(text):
            raise UsageError(f"--sha256 {quoted(text)}: is not a SHA-256 hash; give 64 hexadecimal digits")
    return found


def load(path: str | Path, *, expect: str | None = None, sha256: Collection[str] = ()) -> Checkpoint:
    """Read and validate a checkpoint.

    Args:
        path: ``.pdparams``, ``.pth``, ``.pt`` or ``.safetensors``, judged by content; ``FILE#NAME``
            takes the network under that name where the file holds several.
        expect: "arcface" or "iin"; None takes either.
        sha256: what :func:`expected` gives; if any, the file's must be one of them.

    Raises:
        CheckpointError: it is not a checkpoint, is the other network's, or does not match
            the definition; the message lists every problem.
        MissingDependency: reading this format needs an extra.
    """
    file, wanted = locate(path)
    file = files.require_file(file, "checkpoint")
    digest = files.sha256(file)
    if sha256 and digest not in sha256:
        raise CheckpointError(
            f"{file}: has sha256 {digest}, which is not what --sha256 gives ({', '.join(sorted(sha256))}); "
            "download it again, or give its hash if this is the file that you mean"
        )
    format_, loaded = formats.read(file, proven=bool(sha256))
    if not isinstance(loaded, dict):
        kind = loaded.kind if isinstance(loaded, Inert) else type(loaded).__name__
        raise CheckpointError(f"{file}: holds a {kind}, not a state dict; save model.state_dict()")
    states = contents.tensor_dicts(loaded)
    if not states:
        raise CheckpointError(f"{file}: holds no tensors; save one network's state dict alone")
    choice = contents.choose(states, expect=expect, wanted=wanted, source=str(file))
    source = f"{file}#{wanted}" if wanted else str(file)
    return _checkpoint(choice, source=source, sha256=digest, format=format_)


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
    choice = contents.choose({"": state}, expect=expect, wanted="", source=source)
    return _checkpoint(choice, source=source, sha256=sha256, format=format, warning=warning)


def _checkpoint(
    choice: contents.Choice, *, source: str, sha256: str, format: str, warning: str | None = None
) -> Checkpoint:
    tensors, convention = _validate(choice.entries, choice.unexpected, choice.found.network, source)
    return Checkpoint(
        network=choice.found.network,
        tensors=tensors,
        source=Path(source).name,
        sha256=sha256,
        format=format,
        convention=convention,
        dtype="/".join(sorted({_dtype_name(choice.entries[key]) for key in tensors})),
        prefix=choice.found.prefix,
        warning=warning,
        told=choice.told,
        notes=choice.notes,
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


# --- validation: every problem, not the first ----------------------------------------------


def _validate(
    state: Mapping[str, Any], unexpected: Sequence[str], network: str, source: str
) -> tuple[dict[str, np.ndarray], str]:
    shapes = contents.shapes(network)
    convention = _linear_convention(state, shapes)
    problems = [f"missing {key}" for key in shapes if key not in state]
    problems += [f"unexpected {quoted(key)}" for key in unexpected]
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
    return "bfloat16" if value.dtype == BFLOAT16 else str(value.dtype)


def _check(key: str, value: Any, shape: tuple[int, ...], *, transpose: bool) -> tuple[np.ndarray, str | None]:
    """The tensor as float32 in torch layout, or what is wrong with it."""
    nothing = np.empty(0, np.float32)
    if not isinstance(value, np.ndarray):
        return nothing, f"is a {type(value).__name__}, not a tensor"
    if value.dtype != BFLOAT16 and not np.issubdtype(value.dtype, np.floating):
        return nothing, f"has dtype {value.dtype}, expected a floating type"
    stored = shape[::-1] if transpose else shape
    if value.shape != stored:
        return nothing, f"has shape {list(value.shape)}, expected {list(stored)}"
    if value.dtype == BFLOAT16:  # the upper half of a float32
        value = (value["bfloat16"].astype(np.uint32) << np.uint32(16)).view(np.float32)
    with np.errstate(over="ignore"):
        tensor = (value.T if transpose else value).astype(np.float32, copy=False)
    if not np.isfinite(tensor).all():
        return nothing, f"has {int((~np.isfinite(tensor)).sum())} of {tensor.size} values that are NaN or infinite"
    if key.endswith(".running_var") and (tensor < 0).any():
        return nothing, f"has negative variances (lowest {tensor.min():g})"
    return tensor, None
