"""Which encoder writes a container's video, and how well; and pictures encoded to a piece that plays by itself."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mfs_edge.base.errors import MissingDependency, OutputError, UsageError, nearest
from mfs_edge.base.extras import require
from mfs_edge.base.reasons import reason_of
from mfs_edge.swap.stream import Frame
from mfs_edge.swap.video.colour import EXTRA, Colour, sized
from mfs_edge.swap.video.turn import Turn

if TYPE_CHECKING:
    from av.video.stream import VideoStream

    from mfs_edge.swap.video.reader import Facts

PIECE = 60  # frames that are encoded together; what a run that is killed loses at most
THREADS = 4  # the same on every machine: what an encoder writes depends on their number
CRF = (0, 51)


@dataclass(frozen=True)
class Encoder:
    """An encoder of libavcodec's, and what it is told."""

    name: str
    codec: str  # as people call it
    crf: int  # where differences begin to be hard to see
    odd: bool  # whether it takes 4:2:0 pictures of an odd width or height
    options: Mapping[str, str] = field(default_factory=dict)

    def layout(self, width: int, height: int) -> str:
        """The YUV format for pictures of this size in pixels."""
        return "yuv420p" if self.odd or not (width | height) & 1 else "yuv444p"


# No frame waits for a later one (bf=0): what is decoded first is shown first, so that pieces can be joined anywhere.
# Without mbtree, whose AVX-512 code makes other bytes of the same pictures once in a while.
H264 = Encoder("libx264", "H.264", 20, odd=False, options={"preset": "veryfast", "bf": "0", "mbtree": "0"})
VP9 = Encoder("libvpx-vp9", "VP9", 24, odd=True, options={"deadline": "good", "cpu-used": "5", "lag-in-frames": "16"})
CONTAINERS = {
    ".mp4": ("mp4", H264),
    ".m4v": ("mp4", H264),
    ".mov": ("mov", H264),
    ".mkv": ("matroska", H264),
    ".webm": ("webm", VP9),
}


def chosen(out: Path) -> tuple[str, Encoder]:
    """libavformat's name of the container that ``out`` asks for by its name, and the encoder for it.

    Raises:
        UsageError: it is none that is written here.
        MissingDependency: this PyAV was built without the encoder.
    """
    suffix = out.suffix.lower()
    if suffix not in CONTAINERS:
        told = ", ".join(CONTAINERS)
        raise UsageError(
            f"{out}: no video is written as {suffix or 'a name without suffix'}; "
            f"{nearest(suffix, CONTAINERS)}it may be {told}"
        )
    container, encoder = CONTAINERS[suffix]
    if encoder.name not in require("av", EXTRA).codecs_available:
        raise MissingDependency(
            f"{out}: {encoder.codec} needs the encoder {encoder.name}, which this PyAV was built without; install "
            "PyAV's own: pip install --force-reinstall --only-binary av av"
        )
    return container, encoder


@dataclass(frozen=True)
class Look:
    """What an encoder must know of the pictures that it is given."""

    width: int  # as stored
    height: int
    time_base: Fraction
    rate: Fraction
    aspect: Fraction
    colour: Colour
    turn: Turn
    gaps: bool = False  # a frame may end before the next one begins


def alike(facts: Facts, rate: Fraction) -> Look:
    """As the video is whose facts these are; ``rate`` in frames per second."""
    size = (facts.width, facts.height)
    return Look(*size, facts.time_base, rate, facts.aspect, facts.colour, facts.turn, facts.gaps)


def plain(width: int, height: int, time_base: Fraction, rate: Fraction) -> Look:
    """Of pictures that come from no file: pixels, seconds, frames per second."""
    return Look(width, height, time_base, rate, Fraction(1), sized(width, height), Turn())


class Piece:
    """Frames as one file in memory that plays by itself; MP4, whichever container it will end in."""

    def __init__(self, encoder: Encoder, look: Look, *, length: int, crf: int) -> None:
        av = require("av", EXTRA)
        self._look, self._layout = look, encoder.layout(look.width, look.height)
        self._bytes = io.BytesIO()
        self.times: list[int] = []  # in the look's time base
        self.durations: list[int] = []
        told = {"video_track_timescale": str(look.time_base.denominator), "fflags": "+bitexact"}
        self._file = av.open(self._bytes, "w", format="mp4", options=told)
        self._stream = add(self._file, encoder, look, {**encoder.options, "crf": str(crf), "g": str(length)})

    def __len__(self) -> int:
        return len(self.times)

    def write(self, frame: Frame, pts: int) -> None:
        """Encode one picture.

        Args:
            frame: of the size that the look tells, upright.
            pts: in the look's time base, after those before it.
        """
        made = self._look.colour.frame(self._look.turn.stored(frame.pixels), self._layout)
        start = self.times[0] if self.times else pts
        made.pts, made.time_base = pts - start, self._look.time_base
        self._file.mux(self._stream.encode(made))
        self.times.append(pts)
        self.durations.append(frame.duration)

    def finished(self) -> bytes:
        """The file; no frame follows."""
        self._file.mux(self._stream.encode(None))
        self._file.close()
        return self._bytes.getvalue()


@contextlib.contextmanager
def encoding(out: Path) -> Iterator[None]:
    """Turn an encoder's refusal of a frame of ``out`` into one clear line."""
    av = require("av", EXTRA)
    try:
        yield
    except av.FFmpegError as error:
        reason = getattr(error, "strerror", None) or reason_of(error)
        raise OutputError(
            f"{out}: a frame cannot be encoded ({reason}); try another container, such as .mkv"
        ) from error


def add(container: Any, encoder: Encoder, look: Look, options: Mapping[str, str]) -> VideoStream:
    """A stream of pictures in a container that is written to."""
    stream = container.add_stream(
        encoder.name,
        rate=look.rate,
        width=look.width,
        height=look.height,
        time_base=look.time_base,
        options=dict(options),
    )
    stream.pix_fmt = encoder.layout(look.width, look.height)
    stream.codec_context.thread_count, stream.codec_context.thread_type = THREADS, "FRAME"
    stream.codec_context.sample_aspect_ratio = look.aspect
    look.colour.tag(stream)
    stream.set_display_matrix(look.turn.matrix)
    return stream


def require_possible(out: Path, encoder: Encoder, look: Look, *, crf: int) -> None:
    """Encode a frame, so that what cannot be done is known before any work.

    Raises:
        OutputError: pictures of this size cannot be encoded so.
    """
    import numpy as np

    av = require("av", EXTRA)
    turned = (look.width, look.height) if look.turn.swaps else (look.height, look.width)
    try:
        piece = Piece(encoder, look, length=1, crf=crf)
        piece.write(Frame(0, 0.0, np.zeros((*turned, 3), np.uint8)), 0)
        piece.finished()
    except (av.FFmpegError, ValueError) as error:
        reason = getattr(error, "strerror", None) or reason_of(error)
        raise OutputError(
            f"{out}: {encoder.codec} cannot hold pictures of {look.width} x {look.height} ({reason}); "
            "scale the video first, or choose another container"
        ) from error
