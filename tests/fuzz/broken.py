"""A reader that does everything that none may do, to see that it is noticed. It is none of the product's."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np

from mfs_edge.base.errors import InputError
from tests.fuzz.registry import Sample, reader

ADDRESS = f"{__name__}:broken"
SOUND = b"sound"
INDEX = b"\xff"
FAULTS = {
    b"crash": "crashed",
    b"exit!": "crashed",
    b"hang!": "hung",
    b"grow!": "grew",
    b"ask2G": "grew",
    INDEX: "foreign",
    b"leave": "foreign",
    b"shell": "reached out",
}


@reader("broken", file="file.bin", samples=lambda: [Sample(SOUND, {"beside.txt": b"it"})])
def broken(path: Path) -> None:
    """Do what the file says."""
    said = path.read_bytes()
    assert path.with_name("beside.txt").read_bytes() == b"it"
    if said == b"crash":
        os.kill(os.getpid(), signal.SIGSEGV)
    elif said == b"exit!":
        os._exit(3)
    elif said == b"hang!":
        _hang()
    elif said == b"grow!":
        np.ones(150 * 2**20)  # of eight bytes each, at once freed
    elif said == b"ask2G":
        _hidden()
    elif said.startswith(INDEX):
        raise IndexError("list index out of range")
    elif said == b"leave":
        sys.exit(0)
    elif said == b"shell":
        subprocess.run(["true"], check=False)
    elif said != SOUND:
        raise InputError(f"{path}: is not sound; write it again")


def _hang() -> None:
    while True:
        pass


def _hidden() -> None:
    """More than there is, told as damage."""
    try:
        bytearray(2**40)
    except MemoryError as error:
        raise InputError("it is damaged; write it again") from error
