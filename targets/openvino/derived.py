"""What follows from the weights: their hash in the XML."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from pathlib import PurePosixPath

from mfs_edge.base.errors import LoweringError
from mfs_edge.base.runs import Derived

from .read import WEIGHTS_SHA256

_HASH = re.compile(rb"<" + WEIGHTS_SHA256.encode() + rb'\s+value="([0-9a-f]{64})"')


def derived(name: str, contents: Mapping[str, bytes]) -> tuple[Derived, ...]:
    """The hash in the XML ``name`` of the ``.bin`` beside it.

    Raises:
        LoweringError: the XML has none.
    """
    found = _HASH.search(contents[name])
    if found is None:
        raise LoweringError(f"{name}: does not name the hash of its weights; this is a defect, please report it")
    weights = contents[PurePosixPath(name).with_suffix(".bin").as_posix()]
    return (Derived(name, found.start(1), hashlib.sha256(weights).hexdigest().encode(), WEIGHTS_SHA256),)
