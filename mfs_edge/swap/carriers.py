"""Which files can say what they are: told by their content, with what C2PA and XMP call them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from mfs_edge.base import files, picture_formats

HEAD = 4096  # bytes that tell a container
_EBML = b"\x1aE\xdf\xa3"


@dataclass(frozen=True)
class Carrier:
    """A kind of file.

    Attributes:
        name: for people.
        media_type: by which C2PA knows it; empty where it has no place for a manifest.
        xmp: it has a place for XMP that is written here.
        video: or a picture.
    """

    name: str
    media_type: str = ""
    xmp: bool = False
    video: bool = False


_PICTURES = {
    "JPEG": Carrier("JPEG", "image/jpeg", xmp=True),
    "PNG": Carrier("PNG", "image/png", xmp=True),
    "WebP": Carrier("WebP", "image/webp", xmp=True),
    "TIFF": Carrier("TIFF", "image/tiff", xmp=True),
    "GIF": Carrier("GIF", "image/gif"),
    "AVIF": Carrier("AVIF", "image/avif"),
    "HEIC": Carrier("HEIC", "image/heic"),
}
MP4 = Carrier("MP4", "video/mp4", xmp=True, video=True)
MOV = Carrier("QuickTime", "video/quicktime", xmp=True, video=True)
AVI = Carrier("AVI", "video/avi", video=True)
MATROSKA = Carrier("Matroska", video=True)
WEBM = Carrier("WebM", video=True)


def of(path: Path) -> Carrier | None:
    """What the picture or video in ``path`` is; None if it is neither.

    Raises:
        InputError: there is no such file, or it may not be read.
    """
    with files.require_file(path, "picture or video").open("rb") as file:
        return of_head(file.read(HEAD))


def of_head(head: bytes) -> Carrier | None:
    """The same of a file that begins with ``head`` (``HEAD`` bytes are enough)."""
    if head.startswith(_EBML):
        return WEBM if b"webm" in head[:64] else MATROSKA
    if head[:4] == b"RIFF" and head[8:12] == b"AVI ":
        return AVI
    name = picture_formats.kind(head[: picture_formats.HEAD])
    if name is not None:
        return _PICTURES.get(name, Carrier(name))
    if head[4:8] == b"ftyp":
        return MOV if head[8:12] == b"qt  " else MP4
    return MOV if head[4:8] in (b"moov", b"mdat", b"wide") else None  # QuickTime before it had a type
