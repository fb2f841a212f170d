"""What a swapped file says of itself, as a stranger's reader has it; and that nothing else in it changed."""

from __future__ import annotations

import io
import json
import resource
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import av
import c2pa
import cv2
import numpy as np
import pytest
from PIL import Image

from mfs_edge.base.errors import InputError, OutputError
from mfs_edge.swap import carriers, claims, provenance
from mfs_edge.swap.provenance import Signer
from tests.swap import people
from tests.swap.people import MADE, Person

PICTURES = ("png", "jpg", "webp", "tiff", "gif", "avif")
VIDEOS = {
    "plain.mp4": {},
    "early.mp4": {"movflags": "faststart"},
    "fragments.mp4": {"movflags": "frag_keyframe+empty_moov"},
    "a.mov": {},
}
WITH_XMP = ("png", "jpg", "webp", "tiff")


@pytest.fixture(scope="module")
def who(tmp_path_factory: pytest.TempPathFactory) -> Person:
    return people.person(tmp_path_factory.mktemp("who"))


@pytest.fixture(scope="module")
def signer(who: Person) -> Signer:
    return Signer.of(who.cert, who.key)


def stranger(path: Path, root: Path | None = None) -> dict[str, Any]:
    """What c2pa-python's own reader tells, by its own settings but for the trusted authority."""
    media = carriers.of(path).media_type  # type: ignore[union-attr]
    settings = {"trust": {"user_anchors": root.read_text()}} if root else {}
    with path.open("rb") as stream:
        return json.loads(c2pa.Reader(media, stream, context=c2pa.Context.from_dict(settings)).json())


def active(store: dict[str, Any]) -> dict[str, Any]:
    return store["manifests"][store["active_manifest"]]


def assertions(store: dict[str, Any]) -> dict[str, Any]:
    return {each["label"]: each["data"] for each in active(store)["assertions"]}


def pixels(path: Path) -> np.ndarray:
    """By Pillow, which reads what OpenCV does not (AVIF with boxes before its own)."""
    with Image.open(path) as image:
        return np.array(image.convert("RGB"))


def said(path: Path, signer: Signer, source: Path | None = None) -> Path:
    assert provenance.say(path, MADE, signer, source=source) == []
    return path


@pytest.mark.parametrize("kind", PICTURES)
def test_a_picture(tmp_path: Path, who: Person, signer: Signer, kind: str) -> None:
    source, path = tmp_path / f"in.{kind}", tmp_path / ".out.12345678.tmp"  # a name without a suffix that tells
    source.write_bytes(people.encoded(kind))
    path.write_bytes(people.encoded(kind))
    before = pixels(path)
    said(path, signer, source)
    assert np.array_equal(pixels(path), before)
    if kind != "avif":
        assert np.array_equal(cv2.imread(str(path)), cv2.imread(str(source)))
    store = stranger(path)
    assert store["validation_state"] == "Valid"
    assert [each["code"] for each in store["validation_results"]["activeManifest"]["failure"]] == [
        "signingCredential.untrusted"
    ]
    assert stranger(path, who.root)["validation_state"] == "Trusted"
    assert [(each["title"], each["relationship"]) for each in active(store)["ingredients"]] == [
        (source.name, "parentOf")
    ]
    opened, edited = assertions(store)["c2pa.actions.v2"]["actions"]
    assert (opened["action"], edited["action"]) == ("c2pa.opened", "c2pa.edited")
    assert edited["digitalSourceType"] == claims.SOURCE_TYPE
    assert edited["softwareAgent"]["name"] == active(store)["claim_generator_info"][0]["name"] == "mfs-edge"


def test_our_assertion_has_hashes_and_nothing_of_where_it_was_made(tmp_path: Path, signer: Signer) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(people.encoded("png"))
    told = assertions(stranger(said(path, signer)))["org.mfs-edge.swap"]
    assert told == {
        "artefact": {"name": "idn-224-int8.onnx", "sha256": "a" * 64},
        "identities": [{"sha256": "b" * 64}, {"sha256": "d" * 64}],
        "checkpoint": {"sha256": "c" * 64},
        "precision": "int8",
        "target": "onnx",
        "versions": {"mfs-edge": "0.1", "onnxruntime": "1.2.3"},
        "faces": 2,
        "frames": 1,
        "certificate": "given",
    }
    assert b"private" not in path.read_bytes().replace(b"c2pa.private", b"")
    assert str(tmp_path).encode() not in path.read_bytes()


def test_a_camera_s_picture_was_created(tmp_path: Path, signer: Signer) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(people.encoded("png"))
    store = stranger(said(path, signer))
    (created,) = assertions(store)["c2pa.actions.v2"]["actions"]
    assert (created["action"], created["digitalSourceType"]) == ("c2pa.created", claims.SOURCE_TYPE)
    assert "ingredients" not in active(store) or active(store)["ingredients"] == []


def test_a_certificate_made_on_the_spot_is_recorded_as_such(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(people.encoded("jpg"))
    store = stranger(said(path, Signer.of()))
    assert store["validation_state"] == "Valid"
    assert assertions(store)["org.mfs-edge.swap"]["certificate"] == "made on the spot"
    assert "self-made" in active(store)["signature_info"]["issuer"]


@pytest.mark.parametrize("kind", WITH_XMP)
def test_others_find_iptc_s_source_type(tmp_path: Path, signer: Signer, kind: str) -> None:
    path = tmp_path / f"a.{kind}"
    path.write_bytes(people.encoded(kind))
    with Image.open(said(path, signer)) as image:
        held = image.info.get("xmp") or image.info.get("XML:com.adobe.xmp") or image.tag_v2[700]  # type: ignore[attr-defined]
    text = held if isinstance(held, str) else bytes(held).decode()
    assert f'Iptc4xmpExt:DigitalSourceType="{claims.SOURCE_TYPE}"' in text


@pytest.mark.parametrize("kind", PICTURES)
def test_one_changed_byte_of_the_picture_shows(tmp_path: Path, signer: Signer, kind: str) -> None:
    path = tmp_path / f"a.{kind}"
    plain = people.encoded(kind)
    path.write_bytes(plain)
    data = bytearray(said(path, signer).read_bytes())
    tail = plain[-60:-20]  # of the code; what stands before it may have moved
    at = data.find(tail)
    assert at > 0 or kind == "tiff"
    at = at if at > 0 else data.find(plain[8:48])
    data[at + 11] ^= 1
    path.write_bytes(data)
    assert stranger(path)["validation_state"] == "Invalid"
    found = claims.read(path, carriers.of(path).media_type)  # type: ignore[union-attr]
    assert found is not None
    assert found.state == claims.INVALID
    assert found.problems[0].startswith("the file was changed after it was signed")


def test_so_does_a_changed_source_type(tmp_path: Path, signer: Signer) -> None:
    """The signature covers XMP, too."""
    path = tmp_path / "a.jpg"
    path.write_bytes(people.encoded("jpg"))
    data = said(path, signer).read_bytes()
    path.write_bytes(data.replace(b"Iptc4xmpExt:DigitalSourceType", b"Iptc4xmpExt:DigitalSourceTypf", 1))
    assert stranger(path)["validation_state"] == "Invalid"


def test_the_input_s_own_manifest_is_kept(tmp_path: Path, signer: Signer) -> None:
    first, second = tmp_path / "first.jpg", tmp_path / "second.png"
    first.write_bytes(people.encoded("jpg"))
    second.write_bytes(people.encoded("png"))
    label = stranger(said(first, signer))["active_manifest"]
    store = stranger(said(second, signer, first))
    assert store["validation_state"] == "Valid"
    assert active(store)["ingredients"][0]["active_manifest"] == label
    assert label in store["manifests"]


def test_an_input_that_was_tampered_with_stays_so(tmp_path: Path, signer: Signer) -> None:
    first, second = tmp_path / "first.png", tmp_path / "second.png"
    for path in (first, second):
        path.write_bytes(people.encoded("png"))
    data = bytearray(said(first, signer).read_bytes())
    data[-40] ^= 1
    first.write_bytes(data)
    store = stranger(said(second, signer, first))
    results = active(store)["ingredients"][0]["validation_results"]["activeManifest"]
    assert "assertion.dataHash.mismatch" in [each["code"] for each in results["failure"]]


def test_no_picture_of_the_one_who_was_replaced_is_in_it(tmp_path: Path, signer: Signer) -> None:
    """The library would put small pictures of input and output into the manifest."""
    source, path = tmp_path / "in.jpg", tmp_path / "out.jpg"
    source.write_bytes(people.encoded("jpg", people.picture(1, 600, 800)))
    path.write_bytes(people.encoded("jpg"))
    size = path.stat().st_size
    store = stranger(said(path, signer, source))
    assert "thumbnail" not in json.dumps(store)
    assert path.stat().st_size < size + 16_000


@pytest.mark.parametrize("kind", ["bmp", "ppm"])
def test_an_input_without_a_place_for_a_manifest_is_still_named(tmp_path: Path, signer: Signer, kind: str) -> None:
    source, path = tmp_path / f"in.{kind}", tmp_path / "out.png"
    source.write_bytes(people.encoded(kind))
    path.write_bytes(people.encoded("png"))
    store = stranger(said(path, signer, source))
    assert (store["validation_state"], active(store)["ingredients"][0]["title"]) == ("Valid", f"in.{kind}")


def test_an_input_whose_name_is_no_utf_8_is_named(tmp_path: Path, signer: Signer) -> None:
    """As it is printed: JSON has no bytes. Not every file system has such names, so that none is made here."""
    source, to = tmp_path / "in.png", tmp_path / "out.png"
    source.write_bytes(people.encoded("png"))
    named = ("caf\udce9\n.png", "image/png", source)
    with source.open("rb") as plain, to.open("w+b") as signed:
        assert claims.sign(signer.credential, "image/png", plain, signed, told={}, parent=named) == []
    assert active(stranger(to))["ingredients"][0]["title"] == "caf\\udce9\\n.png"


def test_an_input_that_cannot_be_read_is_named_and_told(tmp_path: Path, signer: Signer) -> None:
    source, path = tmp_path / "in.png", tmp_path / "out.png"
    source.write_bytes(people.encoded("png")[:60])
    path.write_bytes(people.encoded("png"))
    (note,) = provenance.say(path, MADE, signer, source=source)
    assert note.startswith(f"{source}: what it says of its own origin could not be kept")
    assert active(stranger(path))["ingredients"][0]["title"] == "in.png"


@pytest.mark.parametrize("name", VIDEOS)
def test_a_video(tmp_path: Path, who: Person, signer: Signer, name: str) -> None:
    path = people.video(tmp_path / name, **VIDEOS[name])
    source = tmp_path / f"in{path.suffix}"
    source.write_bytes(path.read_bytes())
    before = people.packets(path)
    said(path, signer, source)
    assert people.packets(path) == before
    assert stranger(path)["validation_state"] == "Valid"
    assert stranger(path, who.root)["validation_state"] == "Trusted"
    assert active(stranger(path))["ingredients"][0]["relationship"] == "parentOf"
    data = bytearray(path.read_bytes())
    data[data.rfind(before[0][-1]) + 20] ^= 1
    path.write_bytes(data)
    assert stranger(path)["validation_state"] == "Invalid"


def test_an_avi_is_signed_too(tmp_path: Path, signer: Signer) -> None:
    path = people.video(tmp_path / "a.avi", codec="mpeg4", audio="mp2")
    before = people.packets(path)
    said(path, signer)
    assert people.packets(path) == before
    assert stranger(path)["validation_state"] == "Valid"


def test_a_large_video_is_signed_and_read_in_little_memory(tmp_path: Path, signer: Signer) -> None:
    path = tmp_path / "a.mov"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("rawvideo", rate=25)
        stream.width, stream.height, stream.pix_fmt = 640, 480, "rgb24"
        frame = av.VideoFrame.from_ndarray(people.picture(0, 480, 640), format="rgb24")
        for number in range(130):
            frame.pts = number
            container.mux(stream.encode(frame))
    size = path.stat().st_size
    Path("/proc/self/clear_refs").write_text("5")  # the peak counts from here
    before = resident("VmRSS")
    said(path, signer)
    assert claims.read(path, "video/quicktime").state == claims.UNTRUSTED  # type: ignore[union-attr]
    assert size > 115e6
    assert resident("VmHWM") - before < size / 2


def resident(what: str) -> int:
    """Bytes of this process, as Linux counts them."""
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(what))
    return int(line.split()[1]) * 1024


@pytest.mark.parametrize(("name", "codec", "audio"), [("a.mkv", "libx264", "aac"), ("a.webm", "libvpx-vp9", "libopus")])
def test_matroska_gets_a_tag_and_a_warning(tmp_path: Path, signer: Signer, name: str, codec: str, audio: str) -> None:
    path = people.video(tmp_path / name, codec, audio)
    before = people.packets(path)
    (warning,) = provenance.say(path, MADE, signer, source=None)
    assert "cannot carry a signed C2PA manifest" in warning
    assert people.packets(path) == before
    with av.open(str(path)) as container:
        tags = dict(container.metadata)
    assert tags["DIGITAL_SOURCE_TYPE"] == claims.SOURCE_TYPE
    assert "b" * 64 in tags["SYNTHETIC_MEDIA"]
    assert "ENCODER" in tags  # what was there before


@pytest.mark.parametrize("kind", ["bmp", "ppm"])
def test_what_can_carry_nothing_is_left_alone_and_warned_of(tmp_path: Path, signer: Signer, kind: str) -> None:
    path = tmp_path / f"a.{kind}"
    path.write_bytes(people.encoded(kind))
    (warning,) = provenance.say(path, MADE, signer, source=None)
    assert "cannot carry what says that" in warning
    assert path.name not in warning, "it has another name by then"
    assert "Article 50" in warning
    assert path.read_bytes() == people.encoded(kind)


def test_raw_frames_have_a_warning_of_their_own() -> None:
    assert provenance.cannot("raw frames").startswith("raw frames cannot carry")


def test_what_is_no_picture_is_refused(tmp_path: Path, signer: Signer) -> None:
    path = tmp_path / "a.png"
    path.write_text("a text")
    with pytest.raises(InputError, match="neither a picture nor a video"):
        provenance.say(path, MADE, signer, source=None)


@pytest.fixture
def small_disk() -> Iterator[None]:
    """As if the disk were full after some kilobytes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2_000, hard))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_full_disk_is_told_and_nothing_is_half_written(
    tmp_path: Path, signer: Signer, request: pytest.FixtureRequest
) -> None:
    path = tmp_path / "a.png"
    plain = people.encoded("png")
    path.write_bytes(plain)
    request.getfixturevalue("small_disk")
    with pytest.raises(OutputError, match=r"a.png: cannot be written \(File too large\); free space"):
        provenance.say(path, MADE, signer, source=None)
    assert [each.name for each in tmp_path.iterdir()] == ["a.png"]
    assert path.read_bytes() == plain


class _Counting(BaseHTTPRequestHandler):
    asked = 0

    def do_GET(self) -> None:
        _Counting.asked += 1
        self.send_error(404)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@pytest.fixture
def address() -> Iterator[str]:
    """Of a server that counts who asks."""
    _Counting.asked = 0
    with HTTPServer(("127.0.0.1", 0), _Counting) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/manifest.c2pa"
        server.shutdown()


def elsewhere(path: Path, address: str, signer: Signer) -> Path:
    """A picture whose manifest lies on a server."""
    c2 = c2pa.Builder(json.dumps(claims._manifest({}, edited=False)))
    c2.set_no_embed()
    c2.set_remote_url(address)
    to = io.BytesIO()
    with claims._signer(c2pa, signer.credential) as native:
        c2.sign(native, "image/jpeg", io.BytesIO(people.encoded("jpg")), to)
    path.write_bytes(to.getvalue())
    assert address.encode() in path.read_bytes()
    return path


def test_nothing_is_fetched(tmp_path: Path, signer: Signer, address: str) -> None:
    remote, path = elsewhere(tmp_path / "remote.jpg", address, signer), tmp_path / "out.png"
    path.write_bytes(people.encoded("png"))
    found = claims.read(remote, "image/jpeg")
    assert found is not None
    assert found.state == claims.UNREADABLE
    provenance.say(path, MADE, signer, source=remote)
    assert stranger(path)["validation_state"] == "Valid"
    assert _Counting.asked == 0
    with pytest.raises(c2pa.C2paError), remote.open("rb") as stream:
        c2pa.Reader("image/jpeg", stream)  # by its own settings
    assert _Counting.asked > 0
