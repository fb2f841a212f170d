"""Frames through pipes: what goes in comes out, and what is no frame is told."""

from __future__ import annotations

import io
import subprocess
import sys
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from mfs_edge.base.errors import CheckFailed, InputError, UsageError
from mfs_edge.swap import pipe, pipe_form, video
from mfs_edge.swap.stream import Frame
from tests.swap.video import films

W, H = 33, 21


def through(data: bytes, *, out: str | None = None, **told: Any) -> tuple[bytes, list[np.ndarray], list[str]]:
    """Everything from one pipe into another."""
    sent, seen, said = io.BytesIO(), [], list[str]()
    with (
        pipe.open(io.BytesIO(data), note=said.append, **told) as source,
        pipe.create(sent, like=source, note=said.append, format=out) as sink,
    ):
        for frame in source:
            seen.append(frame.pixels.copy())
            sink.write(frame)
    return sent.getvalue(), seen, said


def noise(channels: int, frames: int = 3) -> bytes:
    return np.random.default_rng(channels).bytes(frames * W * H * channels)


@pytest.mark.parametrize("name", ["rgb24", "bgr24", "rgba", "bgra"])
def test_raw_rgb_comes_out_as_it_went_in(name: str) -> None:
    channels = len(name.rstrip("24"))
    data = noise(channels)
    sent, seen, said = through(data, format=name, size=(W, H))
    assert sent == data
    assert not said
    given = np.frombuffer(data, np.uint8).reshape(3, H, W, channels)
    assert np.array_equal(seen[1], given[1][..., [name.index(sign) for sign in "rgb"]])


def test_a_size_alone_means_rgb() -> None:
    data = noise(3)
    assert through(data, size=(W, H))[0] == data


def test_frames_can_be_changed_and_have_their_times() -> None:
    with pipe.open(io.BytesIO(noise(4)), note=print, format="rgba", size=(W, H), rate=Fraction(30000, 1001)) as source:
        frames = list(source)
    assert [frame.index for frame in frames] == [frame.pts for frame in frames] == [0, 1, 2]
    assert frames[2].seconds == pytest.approx(2 * 1001 / 30000)
    assert source.time_base == Fraction(1001, 30000)
    frames[0].pixels[:] = 0


@pytest.mark.parametrize("name", ["yuv420p", "nv12", "yuv422p", "yuv444p", "gray"])
@pytest.mark.parametrize("size", [(W, H), (64, 48)])
def test_raw_yuv_is_read_as_libav_reads_it(name: str, size: tuple[int, int]) -> None:
    film = films.Film(3, *size)
    form, data, pictures = pipe_form.Form(name, *size), b"", []
    for index in range(3):
        picture = film.picture(index)
        if name == "gray":
            picture = np.repeat(picture[..., :1], 3, axis=2)
        data += pipe.PipeSink(io.BytesIO(), form)._bytes(Frame(index, 0.0, picture))
        pictures.append(picture)
    sent, seen, _ = through(data, format=name, size=size)
    assert len(sent) == len(data) == 3 * form.size
    difference = np.abs(np.frombuffer(sent, np.uint8).astype(int) - np.frombuffer(data, np.uint8))
    assert difference.mean() < 0.6
    for wanted, got in zip(pictures, seen, strict=True):
        assert np.abs(wanted.astype(int) - got).mean() < 2.5


def y4m(folder: Path, *, layout: str = "yuv420p", size: tuple[int, int] = (64, 48), **options: str) -> bytes:
    """Written by libav."""
    path = folder / "out.y4m"
    with av.open(str(path), "w", format="yuv4mpegpipe", options=options) as out:
        stream = out.add_stream("wrapped_avframe", rate=Fraction(30000, 1001), width=size[0], height=size[1])
        stream.pix_fmt = layout
        for index in range(3):
            frame = av.VideoFrame.from_ndarray(films.Film(3, *size).picture(index), format="rgb24")
            frame = frame.reformat(format=layout, interpolation=4 | 0x2000 | 0x4000 | 0x40000)
            frame.pts = index
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    return path.read_bytes()


@pytest.mark.parametrize("layout", ["yuv420p", "yuv422p", "yuv444p", "gray"])
def test_yuv4mpeg2_says_what_it_is(tmp_path: Path, layout: str) -> None:
    data = y4m(tmp_path, layout=layout)
    sent, seen, said = through(data)
    assert not said
    assert sent.splitlines()[0] == data.splitlines()[0]
    assert len(sent) == len(data)
    wanted = films.Film(3, 64, 48).picture(2).astype(int)
    if layout != "gray":
        assert np.abs(seen[2] - wanted).mean() < 2.5
    with av.open(io.BytesIO(sent), format="yuv4mpegpipe") as again:
        assert again.streams.video[0].average_rate == Fraction(30000, 1001)
        assert sum(1 for _ in again.decode(video=0)) == 3


def test_a_video_becomes_yuv4mpeg2_that_libav_reads(tmp_path: Path) -> None:
    film, sent, said = films.Film(4, rotation=90), io.BytesIO(), list[str]()
    path = films.write(tmp_path / "in.mp4", film)
    with video.open(path, note=print) as source, pipe.create(sent, like=source, note=said.append) as sink:
        for frame in source:
            sink.write(frame)
    assert any("sound" in line for line in said)
    with av.open(io.BytesIO(sent.getvalue()), format="yuv4mpegpipe") as again:
        pictures = [frame.to_ndarray(format="rgb24") for frame in again.decode(video=0)]
    assert [picture.shape for picture in pictures] == [(96, 64, 3)] * 4
    assert np.abs(np.rot90(film.picture(1)).astype(int) - pictures[1]).mean() < 4


def test_a_pipe_becomes_a_video(tmp_path: Path) -> None:
    out = tmp_path / "out.mp4"
    data = b"".join(films.Film(5, 64, 48).picture(index).tobytes() for index in range(5))
    with (
        pipe.open(io.BytesIO(data), note=print, size=(64, 48), rate=Fraction(10)) as source,
        video.create(out, like=source, note=print) as sink,
    ):
        for frame in source:
            sink.write(frame)
    told = films.seen(out, pictures=True)
    assert told.times == [Fraction(index, 10) for index in range(5)]
    assert np.abs(told.pictures[3].astype(int) - films.Film(5, 64, 48).picture(3)).mean() < 4


@pytest.mark.parametrize(
    ("data", "told", "error", "said"),
    [
        (b"", {}, UsageError, "is empty; of raw frames say --pipe-size"),
        (b"raw frames", {}, UsageError, "does not begin as YUV4MPEG2"),
        (b"", {"size": (4, 4)}, InputError, "ends before its first frame"),
        (bytes(4 * 4 * 3 + 5), {"size": (4, 4)}, InputError, "ends within frame 1, behind 5 of its 48 bytes"),
        (bytes(48), {"format": "rgb24"}, UsageError, "add --pipe-size"),
        (bytes(48), {"format": "rgb25", "size": (4, 4)}, UsageError, "did you mean rgb24"),
        (b"YUV4MPEG2 W4 H4 F25:1", {}, InputError, "its line does not end"),
        (b"YUV4MPEG2 " + b"X" * 5000 + b"\n", {}, InputError, "its line does not end"),
        (b"YUV4MPEG2 W4 F25:1\n", {}, InputError, "no width, height and rate"),
        (b"YUV4MPEG2 W4 H4 F25\n", {}, InputError, "no width, height and rate"),
        (b"YUV4MPEG2 W-4 H4 F25:1\n", {}, InputError, "-4 x 4 cannot be"),
        (b"YUV4MPEG2 W99999 H99999 F25:1\n", {}, InputError, "99999 x 99999 cannot be"),
        (b"YUV4MPEG2 W4 H4 F-25:1\n", {}, InputError, "a rate of -25:1 cannot be"),
        (b"YUV4MPEG2 W4 H4 F25:1 C420p10\n", {}, InputError, "C420p10 is not read here"),
        (b"YUV4MPEG2 W4 H4 F25:1\n", {}, InputError, "ends before its first frame"),
        (b"YUV4MPEG2 W4 H4 F25:1\nFRAME\n" + bytes(23), {}, InputError, "ends within frame 0, behind 23 of its 24"),
        (b"YUV4MPEG2 W4 H4 F25:1\nFRAME\n" + bytes(25), {}, InputError, "frame 1 does not begin as one"),
        (b"YUV4MPEG2 W4 H4 F25:1\nFRAME", {}, InputError, "frame 0 is not that of YUV4MPEG2"),
    ],
)
def test_what_is_no_frame_is_one_line(data: bytes, told: dict[str, Any], error: type[Exception], said: str) -> None:
    with pytest.raises(error, match=said):
        through(data, **told)


def test_interlacing_is_said() -> None:
    assert any("interlaced" in line for line in through(b"YUV4MPEG2 W4 H4 F25:1 It\nFRAME\n" + bytes(24))[2])


def test_a_reader_that_goes_ends_it_quietly() -> None:
    code = (
        "import io, sys; from mfs_edge.cli import streams; from mfs_edge.swap import pipe; streams.guard();"
        "source = pipe.open(io.BytesIO(bytes(64 * 64 * 3) * 500), note=print, size=(64, 64));"
        "sink = pipe.create(sys.stdout.buffer, like=source, note=print);"
        "[sink.write(frame) for frame in source]"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.read(100) == bytes(100)
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(60) == 141


@pytest.mark.parametrize(("count", "left"), [(0, set[str]()), (7, {"out.partial.mp4"})])
def test_a_pipe_that_breaks_off_leaves_what_plays(tmp_path: Path, count: int, left: set[str]) -> None:
    said: list[str] = []

    def record() -> None:
        data = b"".join(films.Film(9, 64, 48).picture(index).tobytes() for index in range(count)) + b"\1" * 99
        with (
            pipe.open(io.BytesIO(data), note=said.append, size=(64, 48)) as source,
            video.create(tmp_path / "out.mp4", like=source, note=said.append, piece=3) as sink,
        ):
            for frame in source:
                sink.write(frame)

    with pytest.raises(InputError, match=f"ends within frame {count}"):
        record()
    assert {path.name for path in tmp_path.iterdir()} == left
    if left:
        assert len(films.seen(tmp_path / "out.partial.mp4").times) == count
        assert any("plays, with 7 frames" in line for line in said)


def test_no_frame_at_all_leaves_nothing(tmp_path: Path) -> None:
    def record() -> None:
        with (
            pipe.open(io.BytesIO(b""), note=print, size=(64, 48)) as source,
            video.create(tmp_path / "out.mp4", like=source, note=print),
        ):
            pass

    with pytest.raises(CheckFailed, match="no frame came"):
        record()
    assert not list(tmp_path.iterdir())
