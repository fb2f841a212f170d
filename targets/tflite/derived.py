"""What follows from all other bytes of a ``.tflite``: the digest in its metadata."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from mfs_edge.base.runs import Derived

from . import flatbuffer, reader


def derived(name: str, contents: Mapping[str, bytes]) -> tuple[Derived, ...]:
    """The digest of the file ``name`` as ``contents`` has it."""
    data = contents[name]
    start, size = reader.read(data).metadata[flatbuffer.DIGEST]
    blanked = data[:start] + b"0" * size + data[start + size :]
    return (Derived(name, start, hashlib.sha256(blanked).hexdigest().encode(), flatbuffer.DIGEST),)
