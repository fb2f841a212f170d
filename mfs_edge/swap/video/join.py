"""The finished pieces and everything of the original but its pictures, in one file; nothing is encoded here."""

from __future__ import annotations

import contextlib
import errno
import io
import math
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mfs_edge.base.errors import OutputError
from mfs_edge.base.extras import require
from mfs_edge.base.reasons import reason_of
from mfs_edge.swap.video import encoders
from mfs_edge.swap.video.colour import EXTRA
from mfs_edge.swap.video.encoders import Encoder, Look
from mfs_edge.swap.video.reader import Note, decoding, is_picture_track, opened

if TYPE_CHECKING:
    from av.container import InputContainer, OutputContainer

_EDITED = ("mp4", "mov")  # containers that can hold what is not to be played
_PRIMING = Fraction(1, 20)  # seconds; what a decoder of sound needs before the first that is heard is less
_OF_THE_FILE = {"major_brand", "minor_version", "compatible_brands", "encoder", "duration"}  # not of what it shows
_SYSTEM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS, errno.EACCES, errno.EPERM)
_BASES = 1 << 31
_Timed = tuple[Fraction, Any]  # seconds, and the packet that is due then


@dataclass(frozen=True)
class Stretch:
    """A piece, and when its frames are shown."""

    path: Path
    times: Sequence[int]  # in the video's time base
    durations: Sequence[int]


@dataclass(frozen=True)
class Plan:
    """What goes into the file."""

    container: str  # as libavformat calls it
    look: Look
    source: Path | None  # where the other streams come from
    kept: tuple[int, ...] = ()  # their indices there


def kept(out: Path, container: str, encoder: Encoder, look: Look, source: Path, note: Note) -> tuple[int, ...]:
    """Which of the original's streams the new container can hold, by trying each; sound must be kept.

    Raises:
        OutputError: the container cannot hold a sound as it is.
    """
    found = []
    with opened(source) as original:
        for stream in original.streams:
            if is_picture_track(stream) or _is_written_anew(original, stream):
                continue
            reason = _refused(container, encoder, look, stream)
            if reason is None:
                found.append(stream.index)
                continue
            codec = _codec_of(stream)
            if stream.type == "audio":
                raise OutputError(
                    f"{out}: {out.suffix} cannot hold the {codec} sound of {source} as it is ({reason}); "
                    f"{_way_out(out)}"
                )
            note(f"{source}: its {stream.type} (stream {stream.index}, {codec}) cannot be kept in {out.suffix}")
    return tuple(found)


def _way_out(out: Path) -> str:
    if out.suffix.lower() == ".mkv":
        return "make it AAC first: ffmpeg -i IN -c:v copy -c:a aac OUT.mkv"
    return "name the result .mkv, or as the original"


def _is_written_anew(original: InputContainer, stream: Any) -> bool:
    """Whether it is a track of QuickTime's that muxers make of metadata: titles of chapters, a timecode."""
    if stream.type != "data" or not original.format.name.startswith("mov"):
        return False
    return "timecode" in stream.metadata or bool(original.chapters() and _codec_of(stream) in ("bin_data", "unknown"))


def _codec_of(stream: Any) -> str:
    context = stream.codec_context
    named = context if context is not None else stream  # libav has streams of no kind at all, without a name
    return getattr(named, "name", None) or "unknown"


def _refused(container: str, encoder: Encoder, look: Look, stream: Any) -> str | None:
    """Why a container cannot hold a stream, or None where its header can be written with it."""
    av = require("av", EXTRA)
    trial = av.open(io.BytesIO(), "w", format=container)
    try:
        encoders.add(trial, encoder, look, encoder.options)
        _copied(trial, stream)
        trial.start_encoding()
    except (av.FFmpegError, ValueError) as error:
        return getattr(error, "strerror", None) or reason_of(error)
    finally:
        with contextlib.suppress(av.FFmpegError):  # a file of headers alone need not be a good one
            trial.close()
    return None


def _copied(out: OutputContainer, stream: Any) -> Any:
    made = out.add_stream_from_template(stream)
    made.time_base = stream.time_base
    made.metadata.update({key: value for key, value in stream.metadata.items() if key.lower() not in _OF_THE_FILE})
    made.disposition = stream.disposition
    return made


def write(target: Path, plan: Plan, stretches: Sequence[Stretch], *, until: Fraction | None = None) -> None:
    """Write the file.

    Args:
        target: is written anew.
        plan: what goes into it.
        stretches: the pictures, in their order; at least one.
        until: seconds, where the other streams end too; all of them otherwise.

    Raises:
        OSError: the disk is full, ...
        OutputError: the streams cannot be put together.
        InputError: the original cannot be read any more.
    """
    av = require("av", EXTRA)
    with contextlib.ExitStack() as stack:
        original = stack.enter_context(opened(plan.source)) if plan.source is not None else None
        first = stack.enter_context(av.open(f"file:{stretches[0].path}"))
        try:
            with av.open(f"file:{target}", "w", format=plan.container, options=_options(plan, original)) as out:
                _fill(out, plan, original, first, stretches, until)
        except av.FFmpegError as error:
            if error.errno in _SYSTEM:  # the disk is full, ...
                raise OSError(error.errno, os.strerror(error.errno)) from error
            reason = getattr(error, "strerror", None) or reason_of(error)
            raise OutputError(
                f"{target}: cannot be put together ({reason}), probably as times in {plan.source or 'its frames'} "
                "are damaged; write that again (ffmpeg -i IN -c copy OUT.mkv)"
            ) from error


def _fill(
    out: OutputContainer,
    plan: Plan,
    original: InputContainer | None,
    first: InputContainer,
    stretches: Sequence[Stretch],
    until: Fraction | None,
) -> None:
    video, others = _streams(out, plan, original, first.streams.video[0])
    if original is not None:
        out.metadata.update({k: v for k, v in original.metadata.items() if k.lower() not in _OF_THE_FILE})
        out.set_chapters(original.chapters())
    pictures = _pictures(stretches, video, plan.look)
    rest = _others(original, plan, others, until) if original is not None and others else iter(())
    for packet in _merged(pictures, rest):
        out.mux(packet)


def _streams(
    out: OutputContainer, plan: Plan, original: InputContainer | None, template: Any
) -> tuple[Any, dict[int, Any]]:
    """The video and the others, by the original's index, in the original's order."""
    video: Any = None
    others: dict[int, Any] = {}
    for stream in original.streams if original is not None else ():
        if video is None and is_picture_track(stream):
            video = _video(out, plan.look, template, stream)
        elif stream.index in plan.kept:
            others[stream.index] = _copied(out, stream)
    return video or _video(out, plan.look, template, None), others


def _video(out: OutputContainer, look: Look, template: Any, of: Any) -> Any:
    video = out.add_stream_from_template(template, opaque=True)
    video.time_base = look.time_base
    video.set_display_matrix(look.turn.matrix)
    video.codec_context.framerate = look.rate
    if of is not None:
        video.metadata.update({k: v for k, v in of.metadata.items() if k.lower() not in {*_OF_THE_FILE, "rotate"}})
        video.disposition = of.disposition
    return video


def _options(plan: Plan, original: InputContainer | None) -> dict[str, str]:
    """The muxer's: nothing of the day or of chance, and every time exact."""
    told = {"fflags": "+bitexact"}
    if plan.container in _EDITED:
        told["video_track_timescale"] = str(plan.look.time_base.denominator)
        told["movflags"] = "+faststart"
        bases = {plan.look.time_base.denominator}
        bases |= (
            {Fraction(original.streams[index].time_base or 1).denominator for index in plan.kept}
            if original is not None
            else set()
        )
        common = math.lcm(*bases)  # what edit lists count in: where each stream begins
        if common < _BASES:
            told["movie_timescale"] = str(common)
    return told


def _pictures(stretches: Sequence[Stretch], video: Any, look: Look) -> Iterator[_Timed]:
    """Anys of the pieces with their times in the whole, each with its time in seconds."""
    av = require("av", EXTRA)
    ends = [each.times[0] for each in stretches[1:]] + [None]
    for stretch, behind in zip(stretches, ends, strict=True):
        with decoding(stretch.path, lambda: "cannot be read back"), av.open(f"file:{stretch.path}") as piece:
            packets = [packet for packet in piece.demux(video=0) if packet.size]
            shown = durations(stretch.times, stretch.durations, behind, gaps=look.gaps)
            for packet, pts, duration in zip(packets, stretch.times, shown, strict=True):
                packet.stream, packet.time_base = video, look.time_base
                packet.pts = packet.dts = pts
                packet.duration = duration
                yield pts * look.time_base, packet


def durations(times: Sequence[int], told: Sequence[int], behind: int | None, *, gaps: bool) -> list[int]:
    """How long each frame is shown, in the unit of its time.

    Args:
        times: of a piece's frames.
        told: by the source, of each; 0 where it did not say.
        behind: when the frame behind the piece is shown; None where there is none.
        gaps: a frame may end before the next one begins, as the source said; else it never does.
    """
    shown: list[int] = []
    for pts, duration, end in zip(times, told, [*times[1:], behind], strict=True):
        if end is None:
            shown.append(duration or (shown[-1] if shown else 0))
        else:
            shown.append(duration if gaps and 0 < duration < end - pts else end - pts)
    return shown


def _others(original: InputContainer, plan: Plan, others: dict[int, Any], until: Fraction | None) -> Iterator[_Timed]:
    """Anys of the other streams as they come, with the times of those that have one."""
    time = Fraction(0)
    streams = [original.streams[index] for index in others]
    ends = _ends(original, streams)
    with decoding(plan.source or Path(), lambda: "cannot be read to its end"):
        for packet in original.demux(streams):
            if not packet.size or is_cut(packet, plan.container):
                continue
            at = packet.dts if packet.dts is not None else packet.pts
            time = at * packet.time_base if at is not None else time
            if until is not None and time >= until:
                continue
            end = ends.get(packet.stream_index)
            if end is not None and packet.pts is not None and packet.pts < end < packet.pts + (packet.duration or 0):
                packet.duration = end - packet.pts
            packet.stream = others[packet.stream_index]
            yield time, packet


def _ends(original: InputContainer, streams: Sequence[Any]) -> dict[int, int]:
    """When the sounds of an MP4 end, in their time bases: libav holds the last packet of some for longer."""
    if not original.format.name.startswith("mov"):
        return {}
    timed = [stream for stream in streams if stream.type == "audio" and stream.duration]
    return {stream.index: (stream.start_time or 0) + stream.duration for stream in timed}


def is_cut(packet: Any, container: str) -> bool:
    """Whether it lies before a file's edited start, and ``container`` has no way to say that it is not played."""
    if container in _EDITED or not packet.is_discard or packet.pts is None:
        return False
    return bool((packet.pts + (packet.duration or 0)) * packet.time_base <= -_PRIMING)


def _merged(*sources: Iterator[_Timed]) -> Iterator[Any]:
    """From several streams of packets the one that is due; none is reordered in itself."""
    heads: list[tuple[Fraction, Any, Callable[[], _Timed | None]]] = []
    for source in sources:
        take = _taker(source)
        head = take()
        if head is not None:
            heads.append((*head, take))
    while heads:
        number = min(range(len(heads)), key=lambda each: heads[each][0])
        _, packet, take = heads[number]
        yield packet
        head = take()
        if head is None:
            del heads[number]
        else:
            heads[number] = (*head, take)


def _taker(source: Iterator[_Timed]) -> Callable[[], _Timed | None]:
    return lambda: next(source, None)
