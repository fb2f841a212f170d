"""A video file as frames: upright, in RGB, each with its exact time."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mfs_edge.base.errors import InputError
from mfs_edge.base.extras import require
from mfs_edge.base.files import require_file, require_text
from mfs_edge.base.reasons import reason_of
from mfs_edge.swap.stream import Frame
from mfs_edge.swap.video import colour, turn
from mfs_edge.swap.video.whole import require_whole

if TYPE_CHECKING:  # Self is of Python 3.11, and this file travels to devices, see mfs_edge/measure/ends.py
    from typing import Self

    from av import VideoFrame
    from av.container import InputContainer

Note = Callable[[str], None]
# What holds a file's own pictures: no playlist, which would open others, and no text that looks like subtitles.
_FORMATS = "mov,matroska,avi,mpegts,mpeg,flv,asf,ogg,mxf,gif,nut,yuv4mpegpipe,apng,h264,hevc,rm,dv,ivf"
_PROGRESSIVE = (0, 1)  # libavcodec's field orders: not known, and progressive
_MOST = 1 << 26  # pixels of a frame; 8K has half as many
_FINER = {"422": "4:2:2", "444": "4:4:4", "440": "4:4:0"}


@dataclass(frozen=True)
class Facts:
    """What a video is, beside its pictures."""

    stream: int  # its index in the file
    width: int  # as stored
    height: int
    time_base: Fraction
    rate: Fraction | None
    aspect: Fraction  # of a pixel
    colour: colour.Colour
    turn: turn.Turn
    frames: int
    gaps: bool  # its container says how long each frame is shown; MP4's only when the next is decoded


class Reader:
    """A :class:`~mfs_edge.swap.stream.Source`; a context manager."""

    live = False

    def __init__(self, path: Path, *, note: Note) -> None:
        self._note = note
        self.path = require_text(require_file(path, "video"))
        require_whole(path)
        self.facts = _facts(path, note)
        across = (self.facts.width, self.facts.height)
        self.width, self.height = across[::-1] if self.facts.turn.swaps else across
        self.frames, self.time_base, self.rate = self.facts.frames, self.facts.time_base, self.facts.rate
        self.first = 0  # frames before this one are decoded and not given: an earlier run has done them
        self.done = False  # an earlier run has done all of them
        self.read = 0  # frames so far, with those
        self.ended = False  # there are no more
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._stack.close()

    def __iter__(self) -> Iterator[Frame]:
        """Frames from ``first`` on, in the order in which they are shown.

        Raises:
            InputError: a frame cannot be decoded, has no time of its own, or another size than those before it.
        """
        if self.done:
            self.read, self.ended = self.first, True
            return
        container = self._stack.enter_context(opened(self.path))
        stream: Any = container.streams[self.facts.stream]
        stream.thread_type = "AUTO"
        last, damaged = None, 0
        for decoded in self._decoded(container, stream):
            self.read += 1
            last = self._checked(decoded, last)
            damaged += decoded.is_corrupt
            if self.read > self.first:
                yield self._frame(decoded)
        self.ended = True
        if damaged:
            self._note(f"{self.path}: {damaged} frames are damaged, and as the decoder mended them")
        if not self.read:
            raise InputError(f"{self.path}: holds no frame that can be decoded; encode it again")

    def _decoded(self, container: InputContainer, stream: Any) -> Iterator[VideoFrame]:
        with decoding(self.path, lambda: f"frame {self.read} cannot be decoded"):
            for packet in container.demux(stream):
                yield from packet.decode()

    def _checked(self, frame: VideoFrame, last: int | None) -> int:
        """Its time; ``last`` is the one before."""
        at = f"{self.path}: frame {self.read - 1}"
        if frame.pts is None or (last is not None and frame.pts <= last):
            raise InputError(
                f"{at} has {'no time' if frame.pts is None else 'a time that is not after the one before'}; "
                "write the file again, for example with: ffmpeg -fflags +genpts -i IN -c copy OUT.mp4"
            )
        if (frame.width, frame.height) != (self.facts.width, self.facts.height):
            raise InputError(
                f"{at} is {frame.width} x {frame.height}, those before it {self.facts.width} x {self.facts.height}; "
                "encode the file again at one size"
            )
        return frame.pts

    def _frame(self, decoded: VideoFrame) -> Frame:
        pts = int(decoded.pts or 0)
        pixels = self.facts.turn.upright(self.facts.colour.rgb(decoded))
        return Frame(self.read - 1, float(pts * self.time_base), pixels, pts, max(int(decoded.duration or 0), 0))


def opened(path: Path) -> InputContainer:
    """The file, by what it holds and not by its name; only itself is read, whatever it points to.

    Raises:
        InputError: it is no video or sound that is known here.
    """
    av = require("av", colour.EXTRA)
    options = {"format_whitelist": ",".join(_names(av)), "protocol_whitelist": "file"}
    with decoding(path, lambda: "is no video that can be read"):
        return av.open(f"file:{path}", options=options, metadata_errors="replace")


def _names(av: Any) -> list[str]:
    return [name for name in _FORMATS.split(",") if name in av.formats_available]


@contextlib.contextmanager
def decoding(path: Path, what: Callable[[], str]) -> Iterator[None]:
    """Turn libav's errors about ``path`` into one clear line, in which ``what`` says what failed."""
    av = require("av", colour.EXTRA)
    try:
        yield
    except (av.FFmpegError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or reason_of(error)
        raise InputError(
            f"{path}: {what()} ({reason}); play it to see whether it is damaged, and encode or download it again"
        ) from error


def is_picture_track(stream: Any) -> bool:
    """Whether it is a video, and not a cover, a thumbnail or a still that lies beside one."""
    av = require("av.stream", colour.EXTRA)
    still = av.Disposition.attached_pic | av.Disposition.timed_thumbnails | av.Disposition.still_image
    return stream.type == "video" and not stream.disposition & still


def _facts(path: Path, note: Note) -> Facts:
    with opened(path) as container:
        chosen = _chosen(container, path, note)
        index, frames = chosen.index, _counted(container, chosen, path)  # a stream ends with its container
    with opened(path) as container:
        stream: Any = container.streams[index]
        first = _first(container, stream, path)
        _refuse_alpha(first, stream, path)
        _tell(first, stream, path, note)
        rate = stream.average_rate or stream.guessed_rate
        return Facts(
            index,
            first.width,
            first.height,
            Fraction(stream.time_base),
            Fraction(rate) if rate else None,
            Fraction(stream.sample_aspect_ratio or 1),
            colour.of(first, str(path)),
            _turned(first),
            frames,
            not container.format.name.startswith("mov"),
        )


def _chosen(container: InputContainer, path: Path, note: Note) -> Any:
    """The default one of its videos, or the first."""
    av = require("av.stream", colour.EXTRA)
    videos: list[Any] = [stream for stream in container.streams if is_picture_track(stream)]
    if not videos:
        kinds = " and ".join(sorted({stream.type for stream in container.streams})) or "nothing"
        raise InputError(f"{path}: holds no video, only {kinds}; give a file with moving pictures")
    chosen = next((video for video in videos if video.disposition & av.Disposition.default), videos[0])
    if len(videos) > 1:
        others = ", ".join(str(video.index) for video in videos if video is not chosen)
        note(f"{path}: stream {chosen.index} is swapped; its other videos (stream {others}) are left out")
    if chosen.codec_context is None:
        raise InputError(f"{path}: its video is of a kind that PyAV cannot decode; encode it as H.264 with ffmpeg")
    width, height = chosen.codec_context.width, chosen.codec_context.height
    if width * height > _MOST:
        raise InputError(f"{path}: its frames of {width} x {height} are too large; scale it to 8K at most with ffmpeg")
    return chosen


def _counted(container: InputContainer, stream: Any, path: Path) -> int:
    """How many packets are shown; all are read, so that damage is known before any work."""
    count = 0
    with decoding(path, lambda: f"breaks off behind frame {count}"):
        for packet in container.demux(stream):
            if packet.is_corrupt:
                raise InputError(f"{path}: is damaged at frame {count}; copy or download it again")
            count += bool(packet.size and not packet.is_discard)
    if not count:
        raise InputError(f"{path}: its video holds no frames; record or download it again")
    return count


def _first(container: InputContainer, stream: Any, path: Path) -> VideoFrame:
    with decoding(path, lambda: "its first frame cannot be decoded"):
        for frame in container.decode(stream):
            return frame
    raise InputError(f"{path}: holds no frame that can be decoded; encode it again")


def _refuse_alpha(frame: VideoFrame, stream: Any, path: Path) -> None:
    beside = {key.lower(): value for key, value in stream.metadata.items()}.get("alpha_mode") == "1"  # VP8, VP9
    if beside or any(part.is_alpha for part in frame.format.components):
        raise InputError(
            f"{path}: is transparent in places, which the result could not be; put it on a background first, "
            "for example with: ffmpeg -i IN -pix_fmt yuv420p OUT.mp4"
        )


def _tell(frame: VideoFrame, stream: Any, path: Path, note: Note) -> None:
    """What the result will not have of it."""
    if frame.interlaced_frame or stream.codec_context.field_order not in _PROGRESSIVE:
        note(
            f"{path}: is interlaced; it is read and written as whole frames, which may comb: "
            "deinterlace it first (ffmpeg -vf bwdif)"
        )
    bits = max(part.bits for part in frame.format.components)
    if bits > 8:
        note(f"{path}: has {bits} bits per sample; the result has 8")
    finer = next((name for digits, name in _FINER.items() if digits in frame.format.name), None)
    if finer and not (frame.width | frame.height) & 1:
        note(f"{path}: its colours are {finer}; those of the result are 4:2:0, which every player shows")


def _turned(frame: VideoFrame) -> turn.Turn:
    kinds = require("av.sidedata.sidedata", colour.EXTRA).Type
    matrix: Any = frame.side_data.get(kinds.DISPLAYMATRIX)
    return turn.of(bytes(matrix) if matrix is not None else None)
