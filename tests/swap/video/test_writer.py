"""What is written: every frame at its time, the sound as it was, tags and turn kept; and what is refused."""

from __future__ import annotations

import itertools
import resource
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from mfs_edge.base.errors import CheckFailed, OutputError, UsageError
from mfs_edge.swap import video
from tests.swap.video import driven, films


def untouched(source: Path, out: Path, **options: Any) -> list[str]:
    """Write a film's frames as they come; returns what was said."""
    said: list[str] = []
    with (
        video.open(source, note=said.append) as film,
        video.create(out, like=film, note=said.append, **options) as sink,
    ):
        for frame in film:
            sink.write(frame)
    return said


def level(a: np.ndarray, b: np.ndarray) -> float:
    return float(10 * np.log10(255**2 / max(np.mean((a.astype(np.float64) - b) ** 2), 1e-9)))


NO_B = {"crf": "12", "bf": "0"}
UNEVEN = [0, 400, 1300, 1301, 2000, 4100, 9000, 9100, 9200, 12000, 20000, 20512]


@pytest.mark.parametrize(
    ("name", "film"),
    [
        ("even.mp4", films.Film(30)),
        ("b-frames.mp4", films.Film(30, options={"crf": "12", "bf": "3", "g": "12"})),
        ("uneven.mp4", films.Film(times=UNEVEN, options=NO_B)),
        ("late.mp4", films.Film(times=[7000 + 512 * index for index in range(25)])),
        ("ntsc.mov", films.Film(times=[1001 * index for index in range(30)], base=30000, options=NO_B)),
        ("two-sounds.mp4", films.Film(12, sounds=("aac", "aac"))),
        ("pcm.mov", films.Film(12, sounds=("pcm_s16le",))),
        ("mp3.mp4", films.Film(30, sounds=("libmp3lame",))),
        ("early.mp4", films.Film(30, early=0.7)),
        ("timecode.mov", films.Film(30, metadata={"timecode": "01:02:03:04"})),
        ("silent.mp4", films.Film(12, sounds=())),
        ("even.mkv", films.Film(30, base=1000)),
        ("flac.mkv", films.Film(30, base=1000, sounds=("flac", "libopus"))),
        ("even.webm", films.Film(30, base=1000, codec="libvpx-vp9", sounds=("libopus",), options={"crf": "20"})),
        ("fragments.mp4", films.Film(30, container={"movflags": "frag_keyframe+empty_moov"})),
        ("one.mp4", films.Film(1)),
    ],
    ids=lambda told: told if isinstance(told, str) else "",
)
def test_counts_times_durations_and_sound_are_kept(tmp_path: Path, name: str, film: films.Film) -> None:
    source, out = films.write(tmp_path / name, film), tmp_path / f"out{Path(name).suffix}"
    said = untouched(source, out, piece=7)
    was, now = films.seen(source, pictures=True), films.seen(out, pictures=True)
    assert now.times == was.times
    assert now.durations == was.durations
    assert now.packets == was.packets
    assert len(now.packets) == len(film.sounds)
    assert now.tags == was.tags
    if out.suffix in (".mp4", ".mov"):
        assert abs((now.duration or 0) - (was.duration or 0)) <= 1000  # some count it in milliseconds
    assert min(map(level, was.pictures, now.pictures)) > 32
    assert not said
    assert {path.name for path in tmp_path.iterdir()} == {name, out.name}


@pytest.mark.parametrize("rotation", [90, 180, -90])
@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_a_turned_video_is_seen_upright_and_stays_turned(tmp_path: Path, rotation: int, suffix: str) -> None:
    source, out = films.write(tmp_path / f"in{suffix}", frames=3, rotation=rotation), tmp_path / f"out{suffix}"
    with (
        video.open(source, note=print) as film,
        video.create(out, like=film, note=print) as sink,
    ):
        assert (film.width, film.height) == ((96, 64) if rotation == 180 else (64, 96))
        for frame in film:
            turned = np.rot90(films.Film().picture(frame.index), rotation // 90)  # counter-clockwise, as FFmpeg counts
            assert level(turned, frame.pixels) > 30
            frame.pixels[:8, :8] = (255, 0, 0)
            sink.write(frame)
    was, now = films.seen(source), films.seen(out, pictures=True)
    assert (now.rotation, now.size) == (was.rotation, was.size)
    assert now.size == (96, 64)
    assert (now.rotation - rotation) % 360 == 0
    upright = np.rot90(now.pictures[0], rotation // 90)
    assert upright[2:6, 2:6].mean(axis=(0, 1)) == pytest.approx((255, 0, 0), abs=12)


@pytest.mark.parametrize("tags", [(1, 1, 1, 1), (6, 1, 6, 6), (5, 2, 5, 6), (9, 1, 9, 14), (2, 0, 2, 2), (1, 2, 1, 13)])
def test_colours_are_those_of_the_tags_both_ways(tmp_path: Path, tags: tuple[int, int, int, int]) -> None:
    film = films.Film(2, tags=tags, sounds=(), options={"crf": "1"})
    source, out = films.write(tmp_path / "in.mp4", film), tmp_path / "out.mp4"
    with video.open(source, note=print) as reader:
        for frame in reader:
            assert level(film.picture(frame.index), frame.pixels) > 38
            assert abs(frame.pixels.mean(axis=(0, 1)) - film.picture(frame.index).mean(axis=(0, 1))).max() < 1
    untouched(source, out, crf=1)
    assert films.seen(out).tags == films.seen(source).tags == tags


@pytest.mark.parametrize(("width", "height"), [(97, 64), (96, 65), (97, 65)])
@pytest.mark.parametrize("suffix", [".mp4", ".webm"])
def test_odd_sizes_are_kept(tmp_path: Path, width: int, height: int, suffix: str) -> None:
    film = films.Film(3, width, height, layout="yuv444p", sounds=())
    source, out = films.write(tmp_path / "in.mp4", film), tmp_path / f"out{suffix}"
    untouched(source, out)
    now = films.seen(out, pictures=True)
    assert now.size == (width, height)
    assert level(now.pictures[0], film.picture(0)) > 25


WORDS = "1\n00:00:00,100 --> 00:00:00,400\nwords\n"


def with_everything(folder: Path) -> Path:
    """A Matroska file with sound, subtitles, an attachment, a title and chapters."""
    plain, path = films.write(folder / "plain.mkv", frames=25, base=1000), folder / "in.mkv"
    (folder / "words.srt").write_text(WORDS)
    chapters = [{"id": 1, "start": 0, "end": 500, "time_base": Fraction(1, 1000), "metadata": {"title": "one"}}]
    with (
        av.open(str(plain)) as given,
        av.open(str(folder / "words.srt")) as words,
        av.open(str(path), "w") as made,
    ):
        streams = [*given.streams, *words.streams]
        copies = [made.add_stream_from_template(stream, opaque=True) for stream in streams]
        for stream, copy in zip(streams, copies, strict=True):
            copy.metadata.update(stream.metadata)
        made.add_attachment("note.txt", "text/plain", b"attached")
        made.metadata["title"] = "a title"
        made.set_chapters(chapters)  # type: ignore[arg-type]
        for container, offset in ((given, 0), (words, len(given.streams))):
            for packet in container.demux():
                if packet.size:
                    packet.stream = copies[packet.stream_index + offset]
                    made.mux(packet)
    return path


def test_everything_beside_the_pictures_goes_along(tmp_path: Path) -> None:
    source = with_everything(tmp_path)
    out = tmp_path / "out.mkv"
    assert not untouched(source, out)
    with av.open(str(out)) as kept:
        assert kept.metadata["title"] == "a title"
        assert [chapter["metadata"]["title"] for chapter in kept.chapters()] == ["one"]
        kinds = [stream.type for stream in kept.streams]
        assert sorted(kinds) == ["attachment", "audio", "subtitle", "video"]
        (attached,) = (stream for stream in kept.streams if stream.type == "attachment")
        assert attached.data == b"attached"  # type: ignore[attr-defined]
        assert kept.streams.audio[0].language == "eng"
        assert [bytes(packet) for packet in kept.demux(subtitles=0) if packet.size] == [b"words"]
    said = untouched(source, tmp_path / "out.mp4")
    assert any("subtitle" in line and "cannot be kept in .mp4" in line for line in said)
    assert any("attachment" in line for line in said)


def test_a_cover_is_not_the_video_and_is_kept(tmp_path: Path) -> None:
    plain, source, out = films.write(tmp_path / "plain.mp4", frames=12), tmp_path / "in.mp4", tmp_path / "out.mp4"
    cover = av.CodecContext.create("mjpeg", "w")
    cover.width, cover.height, cover.pix_fmt, cover.time_base = 32, 32, "yuvj420p", Fraction(1, 25)
    (picture,) = [*cover.encode(av.VideoFrame(32, 32, "yuvj420p")), *cover.encode(None)]
    with av.open(str(plain)) as given, av.open(str(source), "w") as made:
        beside = made.add_mux_stream("mjpeg", width=32, height=32)
        beside.disposition = av.stream.Disposition.attached_pic
        streams = {stream.index: made.add_stream_from_template(stream, opaque=True) for stream in given.streams}
        for packet in given.demux():
            if packet.size:
                packet.stream = streams[packet.stream_index]
                made.mux(packet)
        picture.stream = beside
        made.mux(picture)
    assert not untouched(source, out)
    with av.open(str(out)) as kept:
        covers = [stream for stream in kept.streams.video if stream.disposition & av.stream.Disposition.attached_pic]
        assert len(covers) == 1
        assert len(kept.streams.video) == 2
    assert films.seen(out).packets == films.seen(source).packets


def test_into_matroska_times_keep_their_distances(tmp_path: Path) -> None:
    source, out = films.write(tmp_path / "in.mp4", frames=25), tmp_path / "out.mkv"
    said = untouched(source, out)
    was, now = films.seen(source), films.seen(out)
    shift = now.times[0] - was.times[0]
    assert max(abs(b - a - shift) for a, b in zip(was.times, now.times, strict=True)) <= Fraction(1, 1000)
    assert [digest for _, digest in now.packets[0]] == [digest for _, digest in was.packets[0]]
    assert any("below zero" in line for line in said)


def test_what_an_edit_list_hides_is_not_played_in_matroska(tmp_path: Path) -> None:
    source, out = films.write(tmp_path / "in.mp4", frames=30, early=0.7), tmp_path / "out.mkv"
    said = untouched(source, out)
    was, now = films.seen(source), films.seen(out)
    assert was.packets[0][0][0] < -0.6
    heard = now.packets[0]
    assert heard[0][0] == 0
    assert 0 <= now.times[0] < 0.1
    assert [digest for _, digest in heard] == [digest for _, digest in was.packets[0][-len(heard) :]]
    first = was.packets[0][-len(heard)][0]
    assert abs((heard[0][0] - now.times[0]) - (first - was.times[0])) <= Fraction(1, 1000)
    assert any("below zero" in line for line in said)


def test_timecodes_and_pixel_aspects_are_kept(tmp_path: Path) -> None:
    film = films.Film(5, metadata={"timecode": "01:02:03:04"}, aspect=Fraction(4, 3))
    source, out = films.write(tmp_path / "in.mov", film), tmp_path / "out.mov"
    assert not untouched(source, out)
    with av.open(str(out)) as kept:
        assert kept.streams.video[0].sample_aspect_ratio == Fraction(4, 3)
        assert [stream.metadata["timecode"] for stream in kept.streams if stream.type == "data"] == ["01:02:03:04"]


def test_sound_that_the_container_cannot_hold_is_told_before_any_work(tmp_path: Path) -> None:
    source = films.write(tmp_path / "in.mp4", frames=5)
    with video.open(source, note=print) as film, pytest.raises(OutputError, match=r"\.webm cannot hold the aac sound"):
        video.create(tmp_path / "out.webm", like=film, note=print)
    assert {path.name for path in tmp_path.iterdir()} == {"in.mp4"}


@pytest.mark.parametrize(
    ("name", "options", "error", "said"),
    [
        ("out.xyz", {}, UsageError, "no video is written as .xyz"),
        ("out", {}, UsageError, "a name without suffix"),
        ("out.mp5", {}, UsageError, "did you mean .mp4"),
        ("out.mp4", {"crf": 99}, UsageError, "quality of 99"),
        ("out.mp4", {"piece": 0}, UsageError, "pieces of 0 frames"),
        ("in.mp4", {"overwrite": True}, UsageError, "is the video itself"),
        ("there.mp4", {}, OutputError, "exists"),
        ("away/out.mp4", {}, OutputError, "there is no folder"),
    ],
)
def test_what_cannot_be_done_is_told_at_once(
    tmp_path: Path, name: str, options: dict[str, Any], error: type[Exception], said: str
) -> None:
    source = films.write(tmp_path / "in.mp4", frames=3, sounds=())
    (tmp_path / "there.mp4").write_text("mine")
    with video.open(source, note=print) as film, pytest.raises(error, match=said):
        video.create(tmp_path / name, like=film, note=print, **options)
    assert {path.name for path in tmp_path.iterdir()} == {"in.mp4", "there.mp4"}
    assert (tmp_path / "there.mp4").read_text() == "mine"


def test_a_run_that_ends_early_publishes_nothing(tmp_path: Path) -> None:
    source, out = films.write(tmp_path / "in.mp4", frames=20), tmp_path / "out.mp4"

    def run() -> None:
        with (
            video.open(source, note=print) as film,
            video.create(out, like=film, note=print, piece=4) as sink,
        ):
            for frame in itertools.islice(film, 5):
                sink.write(frame)

    with pytest.raises(CheckFailed, match="5 frames were written of a video that has more"):
        run()
    assert not out.exists()


def test_the_finished_file_is_handed_over_before_it_has_its_name(tmp_path: Path) -> None:
    source, out = films.write(tmp_path / "in.mp4", frames=5), tmp_path / "out.mp4"

    def finish(path: Path) -> None:
        assert not out.exists()
        assert path.suffix == ".mp4"
        path.write_bytes(path.read_bytes() + b"\0\0\0\x08free")

    untouched(source, out, finish=finish)
    assert out.read_bytes().endswith(b"free")


def test_memory_stays_flat_over_3000_frames(tmp_path: Path) -> None:
    source, out = films.write(tmp_path / "in.mp4", frames=3000, width=64, height=64), tmp_path / "out.mp4"
    peaks = []
    with (
        video.open(source, note=print) as film,
        video.create(out, like=film, note=print) as sink,
    ):
        for frame in film:
            sink.write(frame)
            if frame.index in (500, 2999):
                peaks.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
    peaks.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
    assert peaks[-1] - peaks[0] < 8 * 1024, f"kB at most after 500 frames, 3,000, and the end: {peaks}"
    assert len(films.seen(out).times) == 3000


def test_the_same_video_gives_the_same_bytes(tmp_path: Path) -> None:
    source = films.write(tmp_path / "in.mp4", frames=25)
    for name in ("a.mp4", "b.mp4", "a.mkv", "b.mkv"):
        driven.run(source, tmp_path / name, said=[])
    assert (tmp_path / "a.mp4").read_bytes() == (tmp_path / "b.mp4").read_bytes()
    assert (tmp_path / "a.mkv").read_bytes() == (tmp_path / "b.mkv").read_bytes()
