"""Frames through a pipe: YUV4MPEG2, which says what it is, or raw frames whose size and format the user says."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, BinaryIO

import numpy as np

from mfs_edge.base.errors import InputError, UsageError, nearest
from mfs_edge.base.extras import require
from mfs_edge.swap.pipe_form import ALPHA, FORMATS, MAGIC, NAME, RATE, RGB, Y4M, YUV, Form, header
from mfs_edge.swap.stream import Frame, Source
from mfs_edge.swap.video import colour
from mfs_edge.swap.video.reader import Note, Reader

_LONGEST_LINE = 4096


class PipeSource:
    """A :class:`~mfs_edge.swap.stream.Source` of what comes through a pipe; a context manager."""

    frames = None
    live = False

    def __init__(
        self,
        stream: BinaryIO,
        *,
        note: Note,
        format: str | None = None,
        size: tuple[int, int] | None = None,
        rate: Fraction | None = None,
    ) -> None:
        """Read as far as the first frame.

        Args:
            stream: the pipe.
            note: is told what the user must see.
            format: of raw frames, one of ``FORMATS``; without it the pipe is YUV4MPEG2, or RGB where a size is given.
            size: width and height of raw frames in pixels.
            rate: frames per second of raw frames.

        Raises:
            UsageError: raw frames come, and it is not said of what size; or the format is not known.
            InputError: a header cannot be understood.
        """
        self._stream, self._start = stream, b""
        if format is not None and format not in FORMATS:
            near = nearest(format, FORMATS)
            raise UsageError(f"--pipe-format {format}: is not known; {near}it may be {', '.join(FORMATS)}")
        self.form = self._raw(format, size, rate) if format or size else self._told(note)
        self.width, self.height = self.form.width, self.form.height
        self.rate: Fraction | None = self.form.rate
        self.time_base = 1 / self.form.rate
        self._colour = self.form.colour() if self.form.format in YUV else None

    def _raw(self, format: str | None, size: tuple[int, int] | None, rate: Fraction | None) -> Form:
        if size is None:
            raise UsageError(f"{NAME}: raw frames do not say how large they are; add --pipe-size, as in 640x480")
        return Form(format or "rgb24", *size, rate or RATE)

    def _told(self, note: Note) -> Form:
        start = self._read(len(MAGIC))
        if start != MAGIC:
            what = "is empty" if not start else "does not begin as YUV4MPEG2"
            raise UsageError(
                f"{NAME}: {what}; of raw frames say --pipe-size 640x480 and --pipe-format, or write YUV4MPEG2 "
                "(ffmpeg -i IN -f yuv4mpegpipe -)"
            )
        return header(start + self._line("its header"), note)

    def __enter__(self) -> PipeSource:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """The pipe is its giver's to close."""

    def __iter__(self) -> Iterator[Frame]:
        """Frames until the pipe ends.

        Raises:
            InputError: it ends within a frame, or something else than a frame comes.
        """
        index = 0
        while (data := self._next(index)) is not None:
            pixels, alpha = self._pixels(data)
            yield Frame(index, float(index * self.time_base), pixels, index, 1, alpha)
            index += 1
        if not index:
            raise InputError(f"{NAME}: ends before its first frame; give one at least")

    def _next(self, index: int) -> bytes | None:
        if self.form.header:
            start = self._read(5)
            if not start:
                return None
            if start != b"FRAME":
                raise InputError(f"{NAME}: frame {index} does not begin as one of YUV4MPEG2; write it again")
            self._line(f"frame {index}")
        data = self._read(self.form.size)
        if not data and not self.form.header:
            return None
        if len(data) < self.form.size:
            raise InputError(
                f"{NAME}: ends within frame {index}, behind {len(data):,} of its {self.form.size:,} bytes; "
                "give whole frames, and their size and format as they are"
            )
        return data

    def _line(self, what: str) -> bytes:
        line = bytearray()
        while not line.endswith(b"\n"):
            sign = self._stream.read(1)
            if not sign or len(line) >= _LONGEST_LINE:
                raise InputError(f"{NAME}: {what} is not that of YUV4MPEG2: its line does not end; write it again")
            line += sign
        return bytes(line)

    def _read(self, count: int) -> bytes:
        """So many bytes, or what there is before the end."""
        data = bytearray()
        while len(data) < count and (more := self._stream.read(count - len(data))):
            data += more
        return bytes(data)

    def _pixels(self, data: bytes) -> tuple[np.ndarray, np.ndarray | None]:
        """Of a frame's bytes the picture, uint8 [H, W, 3], and its alpha, uint8 [H, W], if it has one."""
        if self._colour is not None:
            return self._colour.rgb(_yuv(self.form, data)), None
        given = np.frombuffer(data, np.uint8).reshape(self.height, self.width, -1)
        alpha = given[..., 3].copy() if self.form.format in ALPHA else None
        return np.ascontiguousarray(given[..., list(RGB[self.form.format])]), alpha


def _yuv(form: Form, data: bytes) -> Any:
    """A frame's bytes as libav has them, in rows that it aligns."""
    frame = require("av", colour.EXTRA).VideoFrame(form.width, form.height, form.format)
    at = 0
    for plane, (rows, row) in zip(frame.planes, form.planes, strict=True):
        lines = np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)
        lines[:rows, :row] = np.frombuffer(data, np.uint8, rows * row, at).reshape(rows, row)
        at += rows * row
    return frame


@dataclass
class PipeSink:
    """A :class:`~mfs_edge.swap.stream.Sink` that writes into a pipe, each frame at once; a context manager."""

    stream: BinaryIO
    form: Form
    _colour: colour.Colour | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        if self.form.format in YUV:
            self._colour = self.form.colour()
        if self.form.header:
            self.stream.write(self.form.header)

    def __enter__(self) -> PipeSink:
        return self

    def __exit__(self, *_: object) -> None:
        """The pipe is its giver's to close, and what went through it is gone."""

    def write(self, frame: Frame) -> None:
        """Pass a frame on.

        Raises:
            OSError: nobody reads any more, ...: standard output has its own way with that (``cli/streams.py``).
        """
        if self.form.header:
            self.stream.write(b"FRAME\n")
        self.stream.write(self._bytes(frame))
        self.stream.flush()

    def close(self) -> None:
        self.stream.flush()

    def _bytes(self, frame: Frame) -> bytes:
        if self._colour is not None:
            made: Any = self._colour.frame(frame.pixels, self.form.format)
            lines = (np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size) for plane in made.planes)
            return b"".join(
                each[:rows, :row].tobytes() for each, (rows, row) in zip(lines, self.form.planes, strict=True)
            )
        pixels = frame.pixels[..., list(RGB[self.form.format])]
        if self.form.format in ALPHA:
            alpha = frame.alpha if frame.alpha is not None else np.full(pixels.shape[:2], 255, np.uint8)
            pixels = np.dstack([pixels, alpha])
        return pixels.tobytes()


def open(
    stream: BinaryIO,
    *,
    note: Note,
    format: str | None = None,
    size: tuple[int, int] | None = None,
    rate: Fraction | None = None,
) -> PipeSource:
    """The frames of a pipe: see :class:`PipeSource`."""
    return PipeSource(stream, note=note, format=format, size=size, rate=rate)


def create(stream: BinaryIO, *, like: Source, note: Note, format: str | None = None) -> PipeSink:
    """What takes the frames of ``like`` and writes them into a pipe.

    Args:
        stream: the pipe; nothing else may be written to it.
        like: where the frames come from. Without a format a pipe goes on as it came, and anything else becomes
            YUV4MPEG2.
        note: is told what is lost.
        format: one of ``FORMATS``, for raw frames, or "y4m".

    Raises:
        UsageError: the format is not known.
    """
    known = (*FORMATS, Y4M)
    if format is not None and format not in known:
        raise UsageError(f"--pipe-format {format}: is not known; {nearest(format, known)}it may be {', '.join(known)}")
    if isinstance(like, Reader):
        note("a pipe carries pictures at one rate: sound and uneven times stay behind")
    if isinstance(like, PipeSource) and format in (None, Y4M if like.form.header else like.form.format):
        return PipeSink(stream, like.form)
    rate = like.rate or RATE
    if format not in (None, Y4M):
        return PipeSink(stream, Form(str(format), like.width, like.height, rate))
    aspect = _aspect(like)
    told = (
        f"W{like.width} H{like.height} F{rate.numerator}:{rate.denominator} Ip A{aspect.numerator}:"
        f"{aspect.denominator} C420jpeg XCOLORRANGE=LIMITED"
    )
    return PipeSink(stream, Form("yuv420p", like.width, like.height, rate, MAGIC + f" {told}\n".encode()))


def _aspect(like: Source) -> Fraction:
    """Of a pixel, upright."""
    if not isinstance(like, Reader):
        return Fraction(1)
    return 1 / like.facts.aspect if like.facts.turn.swaps else like.facts.aspect
