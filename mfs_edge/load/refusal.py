"""A pickle refused, and how a message quotes what the file says."""

from __future__ import annotations

import pickle
from typing import Any

_QUOTED = 60  # characters of a stranger's text in a message


class Refused(pickle.UnpicklingError):
    """The pickle holds what this reader does not admit; the text completes "it contains ..."."""


def quoted(text: Any) -> str:
    """``text`` from a stranger's file, safe for one line of a terminal."""
    shown = ascii(text[:_QUOTED] if isinstance(text, str) else type(text).__name__)[1:-1]
    return f"{shown}..." if isinstance(text, str) and len(text) > _QUOTED else shown
