"""What follows from the weights: their hash in the model; and from the model: the package's identifiers."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping

from mfs_edge.base.errors import LoweringError
from mfs_edge.base.runs import Derived

from .package import named
from .read import MANIFEST, MODEL, WEIGHTS, WEIGHTS_SHA256

_DIGITS = 64
_IDENTIFIER = re.compile(rb"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
# An entry of a protobuf map: the key, then field 2, a text of so many bytes.
_BEFORE = WEIGHTS_SHA256.encode() + bytes([0x12, _DIGITS])


def derived(package: str, contents: Mapping[str, bytes]) -> tuple[Derived, ...]:
    """Both, of the package of that name.

    Raises:
        LoweringError: the model has no hash of its weights.
    """
    model, weights, manifest = (f"{package}/{name.as_posix()}" for name in (MODEL, WEIGHTS, MANIFEST))
    at = contents[model].find(_BEFORE) + len(_BEFORE)
    if at < len(_BEFORE):
        raise LoweringError(f"{model}: does not name the hash of its weights; this is a defect, please report it")
    digest = hashlib.sha256(contents[weights]).hexdigest().encode()
    fresh = contents[model][:at] + digest + contents[model][at + _DIGITS :]
    return (
        Derived(model, at, digest, WEIGHTS_SHA256),
        *_identifiers(manifest, contents[manifest], named(contents[manifest], fresh)),
    )


def _identifiers(file: str, old: bytes, new: bytes) -> list[Derived]:
    """Every place of an identifier in the manifest."""
    return [
        Derived(file, found.start(), new[found.start() : found.end()], "identifier of an item in the package")
        for found in _IDENTIFIER.finditer(old)
    ]
