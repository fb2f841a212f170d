"""Sealed packs, keys and lists of recipients, by ``mfs_edge.pack.sealed``."""

from __future__ import annotations

import base64
from pathlib import Path

from mfs_edge.pack import sealed
from tests.fuzz.registry import Sample, reader
from tests.fuzz.structures import texts

# Of no other use; the process that seals is not the one that reads.
SECRET = "AGE-SECRET-KEY-1Y9WAX5LS7KWXQA26K2D46E5MGHY80V0H7EK8N2P9NCCP6NPNG7ASUAN2YJ"
PUBLIC = "age1hq0zlgyme9503xw57z5wmud6a3w43vy8cl63lgqh7wr2du6h7ees4v8u74"


def _packs() -> list[Sample]:
    binary = sealed.seal(b"payload" * 20, [PUBLIC])
    lines = base64.encodebytes(binary)
    return [
        Sample(binary),
        Sample(b"-----BEGIN AGE ENCRYPTED FILE-----\n" + lines + b"-----END AGE ENCRYPTED FILE-----\n"),
    ]


@reader("sealed", file="a.pack", samples=_packs, structures=[texts.odd_text])
def read_sealed(path: Path) -> None:
    sealed.open_(path.read_bytes(), [SECRET], source=path)


@reader("sealed-key", file="key.txt", samples=lambda: [Sample(f"# made\n{SECRET}\n".encode())])
def read_key(path: Path) -> None:
    sealed.keys(path)


@reader("sealed-recipients", file="team.txt", samples=lambda: [Sample(f"# us\n{PUBLIC}\n".encode())])
def read_recipients(path: Path) -> None:
    sealed.recipients([str(path)])
