"""XMP goes into every form of a file in which it has a place, and what is damaged there says nothing."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image

from mfs_edge.swap import xmp
from mfs_edge.swap.claims import SOURCE_TYPE
from tests.swap import people

OTHER = xmp.PACKET.replace(b"compositeWithTrainedAlgorithmicMedia", b"digitalCapture")


def saved(kind: str, *, mode: str = "RGB", **options: object) -> bytes:
    """As Pillow writes it."""
    pixels = np.random.default_rng(1).integers(0, 256, (33, 47, 4), np.uint8)
    to = io.BytesIO()
    Image.fromarray(pixels).convert(mode).save(to, kind, **options)
    return to.getvalue()


def tiff(**options: object) -> bytes:
    to = io.BytesIO()
    tifffile.imwrite(to, people.picture(), photometric="rgb", **options)
    return to.getvalue()


def pages() -> bytes:
    to = io.BytesIO()
    with tifffile.TiffWriter(to) as writer:
        for seed in range(3):
            writer.write(people.picture(seed), photometric="rgb")
    return to.getvalue()


EXIF = Image.Exif()
EXIF[274] = 6
FORMS = {
    "JPEG": [
        saved("JPEG"),
        saved("JPEG", exif=EXIF.tobytes()),
        saved("JPEG", xmp=OTHER, exif=EXIF.tobytes()),
        saved("JPEG", mode="L", progressive=True),
        saved("JPEG", icc_profile=b"p" * 100_000),
    ],
    "PNG": [saved("PNG"), saved("PNG", mode="RGBA"), saved("PNG", mode="P")],
    "WebP": [
        saved("WebP"),
        saved("WebP", lossless=True),
        saved("WebP", mode="RGBA", lossless=True),
        saved("WebP", mode="RGBA"),
        saved("WebP", xmp=OTHER, exif=EXIF.tobytes()),
    ],
    "TIFF": [
        *(tiff(byteorder=order, bigtiff=big) for order in "<>" for big in (False, True)),
        tiff(compression="zlib"),
        pages(),
        saved("TIFF", mode="RGBA"),
    ],
}
CASES = [pytest.param(name, data, id=f"{name}-{n}") for name, forms in FORMS.items() for n, data in enumerate(forms)]


@pytest.mark.parametrize(("name", "data"), CASES)
def test_a_packet_is_put_in_once_and_nothing_else_changes(name: str, data: bytes) -> None:
    fresh = xmp.put(data, name)
    assert xmp.get(fresh, name) == xmp.PACKET
    assert xmp.source_type(xmp.get(fresh, name)) == SOURCE_TYPE
    assert xmp.put(fresh, name).count(xmp.PACKET) >= 1
    assert len(xmp.put(fresh, name)) == len(fresh) or name == "TIFF"  # whose old directory stays behind
    (same_in_a_tiff if name == "TIFF" else same)(data, fresh)
    assert np.array_equal(
        *(cv2.imdecode(np.frombuffer(each, np.uint8), cv2.IMREAD_UNCHANGED) for each in (data, fresh))
    )


def same(data: bytes, fresh: bytes) -> None:
    with Image.open(io.BytesIO(data)) as before, Image.open(io.BytesIO(fresh)) as after:
        assert np.array_equal(np.array(before), np.array(after))
        assert dict(before.getexif()) == dict(after.getexif())
        assert before.info.get("icc_profile") == after.info.get("icc_profile")


def same_in_a_tiff(data: bytes, fresh: bytes) -> None:
    """By tifffile: Pillow reads not all of them."""
    with tifffile.TiffFile(io.BytesIO(data)) as before, tifffile.TiffFile(io.BytesIO(fresh)) as after:
        assert len(before.pages) == len(after.pages)
        for old, new in zip(before.pages, after.pages, strict=True):
            assert np.array_equal(old.asarray(), new.asarray())
        held, wanted = ({tag.code: tag.value for tag in file.pages[0].tags} for file in (after, before))
    assert held == {**wanted, 700: xmp.PACKET}


def test_of_two_packets_ours_remains() -> None:
    fresh = xmp.put(saved("JPEG", xmp=OTHER), "JPEG")
    assert fresh.count(b"http://ns.adobe.com/xap/1.0/\0") == 1
    assert b"digitalCapture" not in fresh


def test_a_compressed_packet_of_a_png_is_read_and_replaced() -> None:
    body = b"iTXt" + b"XML:com.adobe.xmp\0\1\0\0\0" + zlib.compress(OTHER)
    chunk = struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))
    plain = saved("PNG")
    data = plain[:33] + chunk + plain[33:]
    assert xmp.source_type(xmp.get(data, "PNG")).endswith("digitalCapture")
    assert xmp.source_type(xmp.get(xmp.put(data, "PNG"), "PNG")) == SOURCE_TYPE
    assert b"iTXt" in xmp.put(data, "PNG")
    assert xmp.put(data, "PNG").count(b"iTXt") == 1


@pytest.mark.parametrize("name", FORMS)
def test_a_damaged_picture_has_no_packet_and_breaks_nothing(name: str) -> None:
    whole = xmp.put(FORMS[name][0], name)
    random = np.random.default_rng(3)
    for _ in range(300):
        data = bytearray(whole[: random.integers(2, len(whole))])
        for at in random.integers(0, len(data), 20):
            data[at] = random.integers(0, 256)
        xmp.source_type(xmp.get(bytes(data), name))


@pytest.mark.parametrize(
    "packet",
    [
        None,
        b"",
        b"no xml",
        b"<a>" * 100_000,
        b"<!DOCTYPE x [<!ENTITY a 'aaaaaaaaaa'>]>" + xmp.PACKET,
        b"<?xml version='1.0' encoding='klingon'?><a/>",
        b"\xff\xfe\0\0",
        bytes(xmp.LARGEST + 1),
    ],
)
def test_a_packet_that_is_none_says_nothing(packet: bytes | None) -> None:
    assert xmp.source_type(packet) == ""


def test_the_source_type_may_be_an_element_under_any_prefix() -> None:
    packet = OTHER.replace(b"Iptc4xmpExt:DigitalSourceType=", b"Iptc4xmpExt:Other=")
    inner = b"<q:DigitalSourceType xmlns:q='http://iptc.org/std/Iptc4xmpExt/2008-02-29/'> x </q:DigitalSourceType>"
    packet = packet.replace(b"</rdf:RDF>", inner + b"</rdf:RDF>")
    assert xmp.source_type(packet) == "x"


def test_a_box_goes_to_the_end_once(tmp_path: Path) -> None:
    path = people.video(tmp_path / "a.mp4")
    before = path.read_bytes()
    assert xmp.put_box(path)
    assert xmp.put_box(path)
    assert path.read_bytes()[: len(before)] == before
    assert xmp.get_box(path) == xmp.PACKET
    assert [kind for kind, _, _ in xmp.boxes(path)].count(b"uuid") == 1


def test_of_a_file_of_fragments_the_index_stays_last(tmp_path: Path) -> None:
    path = people.video(tmp_path / "a.mp4", movflags="frag_keyframe+empty_moov")
    assert xmp.put_box(path)
    assert [kind for kind, _, _ in xmp.boxes(path)][-2:] == [b"uuid", b"mfra"]
    data = path.read_bytes()
    size = int.from_bytes(data[-4:], "big")  # by which readers find it from the end
    assert data[-size + 4 : -size + 8] == b"mfra"


def test_a_box_that_reaches_to_the_end_gets_its_length(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    path.write_bytes(struct.pack(">I4s4sI", 16, b"ftyp", b"isom", 0) + struct.pack(">I4s", 0, b"mdat") + b"x" * 100)
    assert xmp.put_box(path)
    assert [kind for kind, _, _ in xmp.boxes(path)] == [b"ftyp", b"mdat", b"uuid"]
    assert xmp.get_box(path) == xmp.PACKET


def test_a_file_that_is_cut_short_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    path.write_bytes(struct.pack(">I4s", 100, b"ftyp") + b"isom")
    before = path.read_bytes()
    assert not xmp.put_box(path)
    assert path.read_bytes() == before
