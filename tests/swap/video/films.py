"""Small videos, made at run time: pictures that move, with a tone, in whichever form a test asks for."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

SOUND_RATE = 48000


@dataclass
class Film:
    """How a video is made."""

    frames: int = 30
    width: int = 96
    height: int = 64
    base: int = 12800  # ticks in a second
    times: Sequence[int] | None = None  # in ticks; 25 frames per second otherwise
    codec: str = "libx264"
    layout: str = "yuv420p"
    sounds: Sequence[str] = ("aac",)
    rotation: int | None = None
    tags: tuple[int, int, int, int] = (1, 1, 1, 1)  # matrix, range, primaries, transfer
    container: dict[str, str] = field(default_factory=dict)
    options: dict[str, str] = field(default_factory=lambda: {"crf": "12"})
    metadata: dict[str, str] = field(default_factory=dict)
    early: float = 0.0  # seconds of sound before the first frame, which an edit list hides in MP4
    aspect: Fraction = Fraction(1)  # of a pixel

    def seconds(self) -> float:
        times = self.at()
        return (times[-1] + self.base // 25) / self.base

    def at(self) -> Sequence[int]:
        return self.times or [index * self.base // 25 for index in range(self.frames)]

    def picture(self, index: int) -> np.ndarray:
        """Smooth colours that drift: uint8 [H, W, 3]."""
        return _picture(self.height, self.width, index % 100)


@functools.lru_cache(100)
def _picture(height: int, width: int, index: int) -> np.ndarray:
    y, x = np.mgrid[:height, :width] * (2 * np.pi) / np.array([height, width])[:, None, None]
    waves = [np.sin(x + y + 0.1 * index), np.cos(x - 0.07 * index), np.sin(2 * y + x + 1 - 0.05 * index)]
    return np.rint(128 + 60 * np.stack(waves, axis=-1)).astype(np.uint8)


def write(path: Path, film: Film | None = None, **changes: Any) -> Path:
    """The film as a file; its container by the suffix."""
    film = film or Film(**changes)
    with av.open(str(path), "w", options=film.container) as out:
        out.metadata.update(film.metadata)
        video = _video(out, film)
        sounds = [out.add_stream(name, rate=SOUND_RATE) for name in film.sounds]
        for number, sound in enumerate(sounds):
            sound.metadata["language"] = ("eng", "deu", "fra")[number]
        for index, pts in enumerate(film.at()):
            out.mux(video.encode(_frame(film, index, pts)))
        out.mux(video.encode(None))
        for number, sound in enumerate(sounds):
            for frame in _tone(film, 440 * (number + 1), sound):
                out.mux(sound.encode(frame))
            out.mux(sound.encode(None))
    return path


def _video(out: Any, film: Film) -> Any:
    video = out.add_stream(
        film.codec,
        rate=25,
        width=film.width,
        height=film.height,
        time_base=Fraction(1, film.base),
        options=film.options,
    )
    video.pix_fmt = film.layout
    context = video.codec_context
    context.colorspace, context.color_range, context.color_primaries, context.color_trc = film.tags
    context.sample_aspect_ratio = film.aspect
    if film.rotation is not None:
        video.set_display_rotation(film.rotation)
    return video


def _frame(film: Film, index: int, pts: int) -> av.VideoFrame:
    given = av.VideoFrame.from_ndarray(film.picture(index), format="rgb24")
    scaler = {1: 1, 5: 5, 6: 5, 9: 9}.get(film.tags[0], 5)
    frame = given.reformat(
        format=film.layout,
        dst_colorspace=scaler,
        dst_color_range=film.tags[1] or 1,
        interpolation=4 | 0x2000 | 0x4000 | 0x40000,
    )
    frame.pts, frame.time_base = pts, Fraction(1, film.base)
    return frame


def _tone(film: Film, hertz: int, sound: Any) -> Iterator[av.AudioFrame]:
    count = int((film.seconds() + film.early) * SOUND_RATE)
    wave = (8000 * np.sin(2 * np.pi * hertz * np.arange(count) / SOUND_RATE)).astype(np.int16)
    for start in range(0, count, 960):
        block = np.repeat(wave[start : start + 960, None], 2, axis=1).reshape(1, -1)
        frame = av.AudioFrame.from_ndarray(block, format="s16", layout="stereo")
        frame.sample_rate, frame.pts = SOUND_RATE, start - int(film.early * SOUND_RATE)
        frame.time_base = Fraction(1, SOUND_RATE)
        yield frame


@dataclass
class Seen:
    """What a file holds, as PyAV tells it."""

    times: list[Fraction]  # of the frames that are shown
    durations: list[Fraction]
    packets: list[list[tuple[Fraction, str]]]  # per stream of sound: time and hash
    duration: int | None  # of the whole, in microseconds
    rotation: int
    tags: tuple[int, int, int, int]
    size: tuple[int, int]  # as stored
    pictures: list[np.ndarray]  # uint8 [H, W, 3], as stored


def seen(path: Path, *, pictures: bool = False) -> Seen:
    """Read a file with PyAV alone."""
    with av.open(str(path)) as container:
        sounds = list(container.streams.audio)
        packets: dict[int, list[tuple[Fraction, str]]] = {sound.index: [] for sound in sounds}
        for packet in container.demux(sounds) if sounds else ():
            if packet.size:
                digest = hashlib.sha256(bytes(packet)).hexdigest()
                packets[packet.stream_index].append((packet.pts * packet.time_base, digest))
        whole = container.duration
    with av.open(str(path)) as container:
        frames = []
        told = []
        for frame in container.decode(video=0):
            frames.append((frame.pts * frame.time_base, (frame.duration or 0) * frame.time_base))
            if pictures:
                told.append(frame.to_ndarray(format="rgb24"))
            tags = (frame.colorspace, frame.color_range, frame.color_primaries, frame.color_trc)
            look = (frame.rotation, tags, (frame.width, frame.height))
    times, durations = zip(*frames, strict=True)
    return Seen(list(times), list(durations), list(packets.values()), whole, *look, told)
