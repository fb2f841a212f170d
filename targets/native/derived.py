"""What follows from an identity's bytes in ``idn.weights``: their checksum, and the file's hash in the index."""

from __future__ import annotations

import hashlib
import re
import struct
from collections.abc import Mapping

from mfs_edge.base.errors import LoweringError
from mfs_edge.base.runs import Derived

from .read import INDEX
from .weights import HEADER, checksum

WEIGHTS = "idn.weights"
_SHARED, _SUM = 32, 40  # where a header holds the bytes behind it, and their checksum
_HASH = re.compile(rb'"' + re.escape(WEIGHTS.encode()) + rb'":\s*"([0-9a-f]{64})"')
_WORD = struct.Struct("<Q")


def derived(folder: str, contents: Mapping[str, bytes]) -> tuple[Derived, ...]:
    """Both, for the weights in ``contents``.

    Args:
        folder: the artefact's name.
        contents: path from the folder in which it lies -> bytes.

    Raises:
        LoweringError: the index does not name the weights.
    """
    file, index = f"{folder}/{WEIGHTS}", f"{folder}/{INDEX}"
    weights = contents[file]
    (shared,) = _WORD.unpack_from(weights, _SHARED)
    header = HEADER.size + shared
    summed = _WORD.pack(checksum(weights[header + HEADER.size :]))
    fresh = weights[: header + _SUM] + summed + weights[header + _SUM + _WORD.size :]
    named = _HASH.search(contents[index])
    if named is None:
        raise LoweringError(f"{index}: does not name {WEIGHTS}; this is a defect of target c, please report it")
    return (
        Derived(file, header + _SUM, summed, "checksum of the identity"),
        Derived(index, named.start(1), hashlib.sha256(fresh).hexdigest().encode(), f"sha256 of {WEIGHTS}"),
    )
