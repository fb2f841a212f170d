"""What is read, and what is refused in one line before any work."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from mfs_edge.base.errors import InputError
from mfs_edge.swap import video
from mfs_edge.swap.video import whole
from tests.swap.video import films


def frames(path: Path, said: list[str] | None = None) -> int:
    with video.open(path, note=(said if said is not None else []).append) as film:
        return sum(1 for _ in film)


def refused(path: Path, match: str) -> None:
    with pytest.raises(InputError, match=match) as caught:
        frames(path)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


def test_frames_have_their_exact_times_and_can_be_written_to(tmp_path: Path) -> None:
    times = [0, 612, 700, 5000]
    path = films.write(tmp_path / "in.mp4", times=times)
    with video.open(path, note=print) as film:
        assert (film.width, film.height, film.frames, film.live) == (96, 64, 4, False)
        told = list(film)
        assert film.ended
    assert [frame.index for frame in told] == [0, 1, 2, 3]
    assert [frame.pts for frame in told] == times
    assert [frame.seconds for frame in told] == [pts / 12800 for pts in times]
    for frame in told:
        assert (frame.pixels.shape, frame.pixels.dtype) == ((64, 96, 3), np.uint8)
        frame.pixels[:] = 0


@pytest.mark.parametrize("name", ["text.mp4", "playlist.mp4", "list.mkv", "noise.mp4", "words.webm"])
def test_what_is_no_video_is_refused_and_opens_nothing_else(tmp_path: Path, name: str) -> None:
    films.write(tmp_path / "other.mp4", frames=2, sounds=())
    contents = {
        "text.mp4": b"Dear diary, this is not a video.\n" * 40,
        "playlist.mp4": b"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9.0,\nother.mp4\n#EXT-X-ENDLIST\n",
        "list.mkv": b"ffconcat version 1.0\nfile other.mp4\n",
        "noise.mp4": np.random.default_rng(3).bytes(5000),
        "words.webm": b"1\n00:00:00,000 --> 00:00:02,000\nhello\n",
    }
    (tmp_path / name).write_bytes(contents[name])
    refused(tmp_path / name, "is no video that can be read")


def test_missing_and_empty_files_and_folders_are_refused(tmp_path: Path) -> None:
    refused(tmp_path / "none.mp4", "no such file")
    (tmp_path / "empty.mp4").touch()
    refused(tmp_path / "empty.mp4", "is empty")
    refused(tmp_path, "is a folder")


@pytest.mark.parametrize("name", ["in.mp4", "in.mkv", "in.webm", "in.mov", "in.avi", "front.mp4", "fragments.mp4"])
@pytest.mark.parametrize("share", [0.3, 0.6, 0.95])
def test_a_file_that_was_cut_off_is_refused(tmp_path: Path, name: str, share: float) -> None:
    container = {"front.mp4": "faststart", "fragments.mp4": "frag_keyframe+empty_moov"}
    told: dict[str, Any] = {"container": {"movflags": container[name]}} if name in container else {}
    if name.endswith("webm"):
        told |= {"codec": "libvpx-vp9", "sounds": ("libopus",)}
    if name.endswith("avi"):
        told |= {"codec": "mpeg4", "base": 25, "times": range(30), "options": {}, "sounds": ("mp2",)}
    path = films.write(tmp_path / name, **told)
    assert frames(path) == 30
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    refused(path, "is cut off|is no video")


def test_lengths_that_containers_state_are_read(tmp_path: Path) -> None:
    path = tmp_path / "boxes"
    path.write_bytes(struct.pack(">I4sI", 12, b"ftyp", 0) + struct.pack(">I4sQ", 1, b"mdat", 20) + bytes(4))
    whole.require_whole(path)
    path.write_bytes(struct.pack(">I4sI", 12, b"ftyp", 0) + struct.pack(">I4sQ", 1, b"mdat", 21) + bytes(4))
    refused(path, "36 of at least 37|32 of at least 33")
    path.write_bytes(struct.pack(">I4sI", 12, b"ftyp", 0) + struct.pack(">I4s", 0, b"mdat") + bytes(4))
    whole.require_whole(path)
    open_ended = b"\x1a\x45\xdf\xa3\x80\x18\x53\x80\x67\x01" + b"\xff" * 7
    path.write_bytes(open_ended)
    whole.require_whole(path)


def test_a_recording_that_was_never_closed_is_read(tmp_path: Path) -> None:
    """Matroska that is written live states no length: what is there counts."""
    path = films.write(tmp_path / "in.mkv", container={"live": "1"})
    assert frames(path) == 30


def test_sound_alone_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "in.mp4"
    with av.open(str(path), "w") as out:
        sound = out.add_stream("aac", rate=48000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 2048), np.int16), format="s16", layout="stereo")
        frame.sample_rate = 48000
        out.mux(sound.encode(frame))
        out.mux(sound.encode(None))
    refused(path, "holds no video, only audio")


def test_a_video_without_frames_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "in.mkv"
    with av.open(str(path), "w") as out:
        out.add_stream("libx264", rate=25, width=64, height=64)
        out.start_encoding()
    refused(path, "holds no frames|holds no video|no video that can be read")


@pytest.mark.parametrize(("transfer", "name"), [(16, "PQ"), (18, "HLG")])
def test_hdr_is_refused_with_the_way_out(tmp_path: Path, transfer: int, name: str) -> None:
    path = films.write(tmp_path / "in.mp4", frames=2, layout="yuv420p10le", tags=(9, 1, 9, transfer))
    refused(path, rf"is HDR \({name}\).*tonemap")


def test_ten_bits_are_read_and_said(tmp_path: Path) -> None:
    film, said = films.Film(2, layout="yuv420p10le", sounds=()), list[str]()
    path = films.write(tmp_path / "in.mp4", film)
    with video.open(path, note=said.append) as reader:
        for frame in reader:
            assert np.abs(frame.pixels.astype(int) - film.picture(frame.index)).mean() < 5
    assert any("10 bits per sample; the result has 8" in line for line in said)


@pytest.mark.parametrize(
    ("name", "codec", "layout"),
    [("in.mov", "prores_ks", "yuva444p10le"), ("in.webm", "libvpx-vp9", "yuva420p"), ("in.mkv", "ffv1", "bgra")],
)
def test_transparency_is_refused(tmp_path: Path, name: str, codec: str, layout: str) -> None:
    path = tmp_path / name
    with av.open(str(path), "w") as out:
        made = out.add_stream(codec, rate=25, width=64, height=48)
        made.pix_fmt = layout
        for index in range(3):
            frame = av.VideoFrame.from_ndarray(np.full((48, 64, 4), 99, np.uint8), format="rgba").reformat(
                format=layout
            )
            frame.pts = index
            out.mux(made.encode(frame))
        out.mux(made.encode(None))
    refused(path, "is transparent in places")


def test_interlacing_is_said(tmp_path: Path) -> None:
    said: list[str] = []
    options = {"crf": "20", "x264-params": "interlaced=1:tff=1"}
    path = films.write(tmp_path / "in.mp4", frames=4, sounds=(), options=options)
    assert frames(path, said) == 4
    assert any("is interlaced" in line for line in said)
    plain: list[str] = []
    frames(films.write(tmp_path / "plain.mp4", frames=4, sounds=()), plain)
    assert not plain


def test_finer_colours_are_said(tmp_path: Path) -> None:
    said: list[str] = []
    frames(films.write(tmp_path / "in.mp4", frames=2, layout="yuv422p"), said)
    assert any("4:2:2" in line for line in said)


def test_a_size_that_changes_is_refused(tmp_path: Path) -> None:
    large = films.write(tmp_path / "large.ts", frames=5, sounds=())
    small = films.write(
        tmp_path / "small.ts", frames=5, width=64, height=48, times=[9999 + 512 * n for n in range(5)], sounds=()
    )
    path = tmp_path / "in.ts"
    path.write_bytes(large.read_bytes() + small.read_bytes())
    refused(path, "is 64 x 48, those before it 96 x 64|after the one before")


def test_a_second_video_is_left_out_and_said(tmp_path: Path) -> None:
    path, said = tmp_path / "in.mkv", list[str]()
    with av.open(str(path), "w") as out:
        both = [out.add_stream("libx264", rate=25, width=64, height=48) for _ in range(2)]
        for stream in both:
            for index in range(3):
                frame = av.VideoFrame(64, 48, "yuv420p")
                frame.pts = index
                out.mux(stream.encode(frame))
            out.mux(stream.encode(None))
    assert frames(path, said) == 3
    assert any("its other videos (stream 1) are left out" in line for line in said)


@pytest.mark.parametrize("edits", range(6))
def test_damage_ends_in_frames_or_one_line(tmp_path: Path, edits: int) -> None:
    path = films.write(tmp_path / "in.mp4", frames=12)
    content = bytearray(path.read_bytes())
    random = np.random.default_rng(edits)
    for at in random.integers(64, len(content), 40):
        content[at] = random.integers(256)
    path.write_bytes(content)
    try:
        assert frames(path) > 0
    except InputError as error:
        assert str(error).startswith(str(path))  # noqa: PT017
