"""How much a checkpoint may take before it is decoded, and how a user raises it.

A megabyte of a stranger's file can ask for gigabytes and minutes. What real checkpoints need is far
below these bounds: both networks in float64 take 0.6 GB and some 40,000 pickle instructions.
"""

from __future__ import annotations

import os

from mfs_edge.base.errors import UsageError

VARIABLE = "MFS_EDGE_MAX_GB"
DEFAULT_GB = 2.0
_STEPS_PER_GB = 500_000  # pickle instructions; a million take about two seconds
_CONTENTS_PER_GB = 4_000_000  # bytes that list a zip's members: some 40,000 of torch's, read in a second
_HEADER_PER_GB = 8_000_000  # bytes of a safetensors header; both networks need a fifth of a megabyte
_ARRAYS_PER_GB = 10_000  # in an .npz; the headers of as many are read in a second


class TooLarge(Exception):
    """Decoding would go beyond a bound; the text completes "it ..." and says how to raise it."""

    def __init__(self, what: str, bound: str) -> None:
        super().__init__(
            f"{what}, more than the bound of {bound}; if you trust the file, raise the bound: "
            f"{VARIABLE}={_gigabytes() * 4:g} (now {_gigabytes():g})"
        )


def _gigabytes() -> float:
    given = os.environ.get(VARIABLE, "")
    try:
        value = float(given or DEFAULT_GB)
    except ValueError:
        value = -1.0
    if not 0 < value < 1e6:
        raise UsageError(f"{VARIABLE}={ascii(given)[1:-1]}: is not a number of gigabytes; give one such as 8")
    return value


def check_bytes(size: int, what: str) -> None:
    """Raises TooLarge if ``size`` bytes in memory are more than the bound; ``what`` takes them."""
    if size > _gigabytes() * 1e9:
        raise TooLarge(f"{what} would take {size / 1e9:.3g} GB", f"{_gigabytes():g} GB")


def steps() -> int:
    """The number of pickle instructions that are read."""
    return int(_gigabytes() * _STEPS_PER_GB)


def contents() -> int:
    """Bytes of a zip's table of contents that are read."""
    return int(_gigabytes() * _CONTENTS_PER_GB)


def header() -> int:
    """Bytes of a safetensors header that are read."""
    return int(_gigabytes() * _HEADER_PER_GB)


def check_arrays(count: int) -> None:
    """Raises TooLarge if an ``.npz`` holds more arrays than the bound."""
    most = int(_gigabytes() * _ARRAYS_PER_GB)
    if count > most:
        raise TooLarge(f"holds {count:,} arrays", f"{most:,}")


class Budget:
    """Bytes that may still be copied out of one pickle.

    Every byte of an array is in the file once, so honest files never copy more than they hold; a
    hostile one names the same bytes again and again.
    """

    def __init__(self, size: int) -> None:
        self.size = self.left = size

    def spend(self, size: int) -> None:
        """Raises TooLarge if ``size`` more bytes are more than the file holds."""
        self.left -= size
        if self.left < 0:
            raise TooLarge(f"unpacks to more than {self.size:,} bytes", "what its own size can hold")
