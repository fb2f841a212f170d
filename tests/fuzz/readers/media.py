"""Pictures and videos that say what they are, and certificates, by ``mfs_edge.about.media`` and ``mfs_edge.swap``."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

from mfs_edge.about import media
from mfs_edge.swap import carriers, certificate, provenance
from mfs_edge.swap.provenance import Signer
from tests.fuzz.registry import Sample, reader
from tests.fuzz.structures import binaries
from tests.swap import people

KINDS = ("png", "jpg", "webp", "tiff", "gif", "mp4", "mkv")


def _said(kind: str) -> list[Sample]:
    """One that was signed (or tagged), and one that was not."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, f"a.{kind}")
        if kind in ("mp4", "mkv"):
            people.video(path)
        else:
            path.write_bytes(people.encoded(kind, people.picture(height=8, width=12)))
        plain = path.read_bytes()
        provenance.say(path, people.MADE, Signer.of(), source=None)
        return [Sample(path.read_bytes()), Sample(plain)]


def _samples(kind: str) -> Callable[[], list[Sample]]:
    return lambda: _said(kind)


def read_media(path: Path) -> None:
    """As ``inspect`` does."""
    carrier = carriers.of(path)
    if carrier is not None:
        media.facts(path, carrier, None)


def _register() -> None:
    for kind in KINDS:
        aware = [binaries.as_png] if kind == "png" else []
        reader(f"said-{kind}", file=f"a.{kind}", samples=_samples(kind), structures=aware, share=0.4)(read_media)


_register()


def _certificates() -> list[Sample]:
    with tempfile.TemporaryDirectory() as folder:
        who = people.person(Path(folder))
        return [Sample(who.cert.read_bytes(), {"key.pem": who.key.read_bytes()})]


@reader("certificate", file="cert.pem", samples=_certificates, share=0.4)
def read_certificate(path: Path) -> None:
    certificate.anchors(path)
    Signer.of(path, path.with_name("key.pem"))


def _keys() -> list[Sample]:
    with tempfile.TemporaryDirectory() as folder:
        who = people.person(Path(folder))
        return [Sample(who.key.read_bytes(), {"cert.pem": who.cert.read_bytes()})]


@reader("private-key", file="key.pem", samples=_keys, share=0.4)
def read_key(path: Path) -> None:
    certificate.load(path.with_name("cert.pem"), path)
