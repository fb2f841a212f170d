"""A swapped picture says so: signed C2PA metadata and IPTC's source type, in the file itself.

The EU AI Act, Article 50, wants this of whoever makes such pictures; ``docs/provenance.md`` has what it says and
what it cannot do.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, cast

from mfs_edge.base import extras, files
from mfs_edge.base.errors import InputError, OutputError
from mfs_edge.swap import carriers, certificate, claims, matroska, xmp
from mfs_edge.swap.carriers import Carrier
from mfs_edge.swap.certificate import Credential
from mfs_edge.swap.made import Made

DUTY = "whoever shows it must say that faces in it were swapped (EU AI Act, Article 50); --label draws it into it"
_OTHERS = "write another format, such as PNG or MP4"
_TRIED = "image/png"
# 1x1, grey; what a credential is tried on
_DOT = bytes.fromhex(
    "89504e470d0a1a0a0000000d49484452000000010000000108000000003a7e9b55"
    "0000000a49444154789c636000000002000148afa4710000000049454e44ae426082"
)


@dataclass(frozen=True)
class Signer:
    """Who signs what is made, checked before any work."""

    credential: Credential

    @classmethod
    def of(cls, cert: Path | None = None, key: Path | None = None) -> Signer:
        """The one that ``--sign-cert`` and ``--sign-key`` name, or one that is made on the spot.

        It is tried on a picture of one pixel: what would be refused after the work is refused here.

        Raises:
            UsageError: one is given without the other.
            InputError: they cannot sign; the line says why.
            MissingDependency: what signs is not installed.
        """
        extras.require("c2pa", certificate.EXTRA)
        credential = certificate.given(cert, key)
        try:
            claims.sign(credential, _TRIED, io.BytesIO(_DOT), io.BytesIO(), told={})
        except claims.Refused as error:
            name = cert or "the certificate that was made on the spot"
            raise InputError(f"{name}: cannot sign pictures ({error}); give another certificate and its key") from error
        return cls(credential)

    @property
    def notes(self) -> list[str]:
        """What the user is to be told, once."""
        return list(self.credential.notes)


def say(path: Path, made: Made, signer: Signer, *, source: Path | None) -> list[str]:
    """Write into the finished picture or video ``path`` what it is.

    Its pixels stay as they are, bit for bit. Call it before the file gets its final name; it is replaced in one step.

    Args:
        path: under whatever name; what it is shows in its content.
        made: what it was made with.
        signer: who says so.
        source: the picture or video whose faces were swapped; None for a camera or a pipe.

    Returns:
        What the user is to be told: that the format has no place for it, say.

    Raises:
        InputError: it is neither a picture nor a video.
        OutputError: it cannot be written.
        MissingDependency: what signs is not installed.
    """
    carrier = carriers.of(path)
    if carrier is None:
        raise InputError(f"{path}: is neither a picture nor a video that is known here; write PNG, JPEG or MP4")
    if not carrier.media_type:
        return _tagged(path, carrier, made)
    notes = [] if _box(path, carrier) else [f"{carrier.name}: IPTC's source type found no place in it"]
    with files.atomic(path) as fresh:
        notes += _signed(path, fresh, carrier, told=_told(made, signer), by=signer.credential, source=source)
    return notes


def _signed(
    path: Path, fresh: Path, carrier: Carrier, *, told: dict[str, Any], by: Credential, source: Path | None
) -> list[str]:
    """``path`` with its manifest as ``fresh``, read again from there; what is to be said of the source."""
    parent = None if source is None else _parent(source)
    with _plain(path, carrier) as plain, fresh.open("w+b") as to:
        kept = _Kept(to)
        into, chunked = cast(IO[bytes], kept), _in_one(path, carrier)
        try:
            notes = claims.sign(by, carrier.media_type, plain, into, told=told, parent=parent, chunked=chunked)
        except claims.Refused as error:
            if kept.error is not None:
                raise kept.error from error
            raise OutputError(f"{path}: cannot be signed ({error}); {_OTHERS}") from error
    found = claims.read(fresh, carrier.media_type)
    if found is None or found.state not in (claims.TRUSTED, claims.UNTRUSTED):
        reason = "; ".join(found.problems) if found else "no manifest is in it"
        raise OutputError(f"{path}: what was signed cannot be verified ({reason}); {_OTHERS}")
    return notes


def cannot(what: str) -> str:
    """The warning for what can carry nothing, such as "raw frames"."""
    return f"{what} cannot carry what says that it was made by swapping faces: {DUTY}"


def _told(made: Made, signer: Signer) -> dict[str, Any]:
    """Our own assertion: hashes and versions; no path, no embedding."""
    return {
        "artefact": {"name": made.artefact.name, "sha256": made.artefact_sha256},
        "identities": [{"sha256": digest} for digest in made.identity_sha256s],
        "checkpoint": {"sha256": made.checkpoint_sha256},
        "precision": made.precision,
        "target": made.target,
        "versions": dict(made.versions),
        "faces": made.faces,
        "frames": made.frames,
        "certificate": "made on the spot" if signer.credential.self_made else "given",
    }


def _parent(source: Path) -> tuple[str, str, Path]:
    carrier = carriers.of(source)
    return source.name, (carrier.media_type if carrier else "") or "application/octet-stream", source


def _box(path: Path, carrier: Carrier) -> bool:
    """Put XMP into a video's file; whether it is where it can be."""
    with files.writing(path):
        return not (carrier.video and carrier.xmp) or xmp.put_box(path)


def _in_one(path: Path, carrier: Carrier) -> bool:
    """Whether it is an MP4 or QuickTime file that has its frames in one piece, not in fragments."""
    return carrier in (carriers.MP4, carriers.MOV) and all(kind != b"moof" for kind, _, _ in xmp.boxes(path))


@contextmanager
def _plain(path: Path, carrier: Carrier) -> Iterator[IO[bytes]]:
    """What is to be signed: the file, a picture with its XMP."""
    if carrier.video or not carrier.xmp:
        with path.open("rb") as file:
            yield file
    else:
        yield io.BytesIO(xmp.put(path.read_bytes(), carrier.name))


class _Kept(io.RawIOBase):
    """A file that remembers what the system said: the library in between tells no more than that it failed."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.error: OSError | None = None

    def write(self, data: Any) -> int:
        return int(self._do(self._file.write, data))

    def read(self, size: int = -1) -> bytes:
        return bytes(self._do(self._file.read, size))

    def seek(self, offset: int, whence: int = 0) -> int:
        return int(self._do(self._file.seek, offset, whence))

    def tell(self) -> int:
        return self._file.tell()

    def flush(self) -> None:
        if not self._file.closed:
            self._do(self._file.flush)

    def _do(self, what: Any, *given: Any) -> Any:
        try:
            return what(*given)
        except OSError as error:
            self.error = error
            raise


def _tagged(path: Path, carrier: Carrier, made: Made) -> list[str]:
    """Matroska and WebM have no place for a manifest: the source type as a tag; others have none at all."""
    if carrier not in (carriers.MATROSKA, carriers.WEBM):
        return [cannot(carrier.name)]
    with files.writing(path):
        there = matroska.put_tags(path, tags(made))
    tag = ", only a tag that anyone may change" if there else ""
    return [f"{carrier.name} cannot carry a signed C2PA manifest{tag}: {DUTY}; write .mp4 or .mov"]


def tags(made: Made) -> dict[str, str]:
    """The same as text, for containers that hold no more."""
    listed = {"artefact": [made.artefact_sha256], "identity": made.identity_sha256s, "made with": _versions(made)}
    said = "; ".join(f"{key} {' '.join(held)}" for key, held in listed.items() if any(held))
    return {"DIGITAL_SOURCE_TYPE": claims.SOURCE_TYPE, "SYNTHETIC_MEDIA": f"faces swapped by mfs-edge; {said}"}


def _versions(made: Made) -> list[str]:
    return [f"{name} {version}" for name, version in made.versions.items()]
