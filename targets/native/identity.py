"""What one identity owns: its tensors, compact in the file, and where the C expands each for its kernels.

In the file a tensor is [rows][channels], in the network's order and without gaps: the taps of a depthwise conv by its
channels, the inputs of the tail's 1x1 by its outputs. Nothing else of ``idn.weights`` is an identity's: scales are
shared, too.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .plan import LINE, rounded

KINDS = {np.dtype(np.float32): "float", np.dtype(np.float16): "half", np.dtype(np.int8): "code"}


@dataclass(frozen=True)
class Span:
    """Channels that lie side by side, and where they are expanded to, in floats."""

    first: int
    count: int
    to: int  # of the first one in the first row, from the tensor's first
    row: int  # from a row to the next
    step: int = 1  # from a channel to the next


@dataclass(frozen=True)
class Owned:
    """One tensor of an identity."""

    name: str  # of the macro by which kernels find it
    kind: str  # one of KINDS
    start: int  # bytes from the block's first
    rows: int
    channels: int
    to: int  # floats from the first that is expanded
    unit: int | None  # where what each channel is multiplied by lies, in floats of what is shared
    spans: tuple[Span, ...]

    @property
    def bytes(self) -> int:
        """Of one number in the file."""
        return {"float": 4, "half": 2, "code": 1}[self.kind]


class Block:
    """Collects an identity's tensors."""

    def __init__(self) -> None:
        self.stored, self.floats, self.owned = bytearray(), 0, list[Owned]()

    def put(self, name: str, array: np.ndarray, spans: Sequence[Span], floats: int, unit: int | None) -> None:
        """Append ``array`` [rows, channels], float32, float16 or int8, which is expanded to ``floats`` floats."""
        (rows, channels), kind = array.shape, KINDS[array.dtype]
        self.owned.append(Owned(name, kind, len(self.stored), rows, channels, self.floats, unit, tuple(spans)))
        data = np.ascontiguousarray(array, array.dtype.newbyteorder("<")).tobytes()
        self.stored.extend(data.ljust(rounded(len(data), 4), b"\0"))
        self.floats += rounded(floats)

    def data(self) -> bytes:
        """The bytes of the file, in whole lines."""
        return bytes(self.stored).ljust(rounded(len(self.stored), 4 * LINE), b"\0")


def at(places: Sequence[int], width: int) -> list[Span]:
    """Channel c of a row of ``width`` floats lies at ``places[c]``."""
    breaks = [i for i in range(1, len(places)) if places[i] != places[i - 1] + 1]
    return [Span(a, b - a, places[a], width) for a, b in itertools.pairwise([0, *breaks, len(places)])]


def planes(channels: int, rows: int) -> list[Span]:
    """All rows of a channel side by side."""
    return [Span(0, channels, 0, 1, rows)]


def panels(channels: int, rows: int, panel: int = 8) -> list[Span]:
    """Panels of 8 channels, each [rows][8]."""
    return [Span(c, min(panel, channels - c), c * rows, panel) for c in range(0, channels, panel)]
