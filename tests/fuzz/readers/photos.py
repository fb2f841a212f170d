"""Photos as ``swap`` reads them: with alpha, 16 bits, a profile and EXIF; and the EXIF alone."""

from __future__ import annotations

import io
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageCms

from mfs_edge import sample
from mfs_edge.base import images
from mfs_edge.swap import exif, photo
from tests.fuzz.registry import Sample, reader
from tests.fuzz.structures import binaries

SIDE = 24


def _exif() -> bytes:
    """With a turn, a directory of its own, and a preview, in both orders of bytes."""
    found = Image.Exif()
    found[0x0112], found[0x010F] = 6, "Maker"
    found.get_ifd(0x8769)[0xA002] = SIDE
    return found.tobytes()


def _samples(kind: str) -> list[Sample]:
    face = images.resize(sample.target(0), SIDE)
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    told = io.BytesIO()
    Image.fromarray(face).save(told, kind, exif=_exif(), icc_profile=profile)
    found = [Sample(told.getvalue())]
    if kind == "PNG":
        deep = np.dstack([face, face[..., 0]]).astype(np.uint16) * 257
        found += [Sample(cv2.imencode(".png", form)[1].tobytes()) for form in (deep, deep[..., 0])]
    if kind == "TIFF":
        found += [Sample(_clear(face, big=big)) for big in (False, True)]
    return found


def _clear(face: np.ndarray, *, big: bool) -> bytes:
    """A TIFF whose colours lie below a transparency."""
    file = io.BytesIO()
    Image.fromarray(np.dstack([face, face[..., 0]])).save(file, "TIFF", big_tiff=big)
    return file.getvalue()


def read_photo(path: Path) -> None:
    """The photo, and the same written again."""
    for suffix in (".png", ".jpg", ".tif"):
        found = photo.read(path)
        if suffix != ".jpg" or found.alpha is None:
            photo.encode(found, path.with_suffix(suffix))


reader("photo-png", file="a.png", samples=lambda: _samples("PNG"), structures=[binaries.as_png])(read_photo)
reader("photo-jpg", file="a.jpg", samples=lambda: _samples("JPEG"), share=0.5)(read_photo)
reader("photo-webp", file="a.webp", samples=lambda: _samples("WEBP"), share=0.5)(read_photo)
reader("photo-tiff", file="a.tiff", samples=lambda: _samples("TIFF"), share=0.5)(read_photo)


@reader("photo-exif", file="exif", samples=lambda: [Sample(_exif()), Sample(_exif().removeprefix(exif.PREFIX))])
def read_exif(path: Path) -> None:
    """Whatever is in it, what comes out has its length, or there is nothing."""
    block = path.read_bytes()
    assert len(exif.upright(block, SIDE, SIDE)) in (0, len(block.removeprefix(exif.PREFIX)))
