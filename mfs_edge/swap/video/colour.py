"""A video's colours: its YUV to RGB and back by the matrix and the range that its tags name.

Both ways use the same, and the tags are written as they were read: where a player guesses, it guesses the same of
both files.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from mfs_edge.base.errors import InputError
from mfs_edge.base.extras import require

if TYPE_CHECKING:
    from av import VideoFrame

EXTRA = "video"
# ISO/IEC 23091-2's numbers, as libavutil has them.
_UNSPECIFIED, _RGB, _BT709, _SMPTE170M = 2, 0, 1, 6
_SCALER = {_BT709: 1, 4: 4, 5: 5, _SMPTE170M: 5, 7: 7, 9: 9}  # the matrix, and libswscale's number for it
_NAMED = {8: "YCgCo", 10: "BT.2020 constant luminance", 14: "ICtCp", 15: "IPT-C2"}
_HDR = {16: "PQ", 18: "HLG"}
LIMITED, FULL = 1, 2
_HD = 576  # lines; players hold what has more, and no tag, for BT.709


def _converter() -> Any:
    return require("av.video.reformatter", EXTRA).VideoReformatter()


@dataclass(frozen=True)
class Colour:
    """The tags of a video, and what they mean where they leave it open."""

    matrix: int = _UNSPECIFIED  # as tagged
    range: int = 0
    primaries: int = _UNSPECIFIED
    transfer: int = _UNSPECIFIED
    scaler: int = 5  # what converts it
    full: bool = False
    _readers: Any = field(default_factory=_converter, compare=False, repr=False)  # kept: to set one up takes longer
    _writers: Any = field(default_factory=_converter, compare=False, repr=False)  # than to convert a small picture

    def rgb(self, frame: VideoFrame) -> np.ndarray:
        """The picture of a decoded frame: uint8 [H, W, 3], as stored; may be written to."""
        told = self._readers.reformat(
            frame,
            format="rgb24",
            src_colorspace=self.scaler,
            src_color_range=FULL if self.full else LIMITED,
            interpolation=_exact(),
            threads=0,
        )
        return np.array(told.to_ndarray(), order="C")

    def frame(self, pixels: np.ndarray, layout: str) -> VideoFrame:
        """The picture as an encoder takes it.

        Args:
            pixels: uint8 [H, W, 3] RGB, as stored.
            layout: libavutil's name of a YUV format.
        """
        av = require("av", EXTRA)
        given = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb24")
        return self._writers.reformat(
            given,
            format=layout,
            dst_colorspace=self.scaler,
            dst_color_range=FULL if self.full else LIMITED,
            interpolation=_exact(),
            threads=0,
        )

    def tag(self, stream: Any) -> None:
        """Write the tags on an encoder's stream."""
        context = stream.codec_context
        context.colorspace, context.color_range = self.matrix, self.range
        context.color_primaries, context.color_trc = self.primaries, self.transfer


def of(frame: VideoFrame, source: str) -> Colour:
    """How a video is coloured whose first frame this is.

    Raises:
        InputError: its light is not that of an 8-bit picture, or no matrix of ours makes it RGB.
    """
    if frame.color_trc in _HDR:
        raise InputError(
            f"{source}: is HDR ({_HDR[frame.color_trc]}), which 8-bit RGB cannot hold; make it SDR first, "
            "with ffmpeg's filters zscale and tonemap"
        )
    if frame.format.is_rgb:  # it will be YUV, of which the tags must tell
        matrix = guessed(frame.width, frame.height)
        return Colour(matrix, LIMITED, frame.color_primaries, frame.color_trc, _SCALER[matrix], full=False)
    matrix = frame.colorspace if frame.colorspace != _UNSPECIFIED else guessed(frame.width, frame.height)
    if matrix not in _SCALER:
        name = _NAMED.get(matrix, f"number {matrix}")
        raise InputError(f"{source}: its colour matrix ({name}) is not read here; convert it to BT.709 with ffmpeg")
    full = frame.color_range == FULL or (not frame.color_range and _full_by_format(frame.format.name))
    tags = (frame.colorspace, frame.color_range, frame.color_primaries, frame.color_trc)
    return Colour(*tags, _SCALER[matrix], full=full)


def guessed(width: int, height: int) -> int:
    """The matrix of a video that has no tag, as most players guess it: by its size in pixels."""
    return _BT709 if width >= 1280 or height > _HD else _SMPTE170M


def sized(width: int, height: int) -> Colour:
    """For pictures that were made here: tagged, with the matrix that is usual at this size in pixels."""
    matrix = guessed(width, height)
    return Colour(matrix, LIMITED, matrix, matrix, _SCALER[matrix], full=False)


def _full_by_format(name: str) -> bool:
    return name.startswith(("yuvj", "gray", "ya8"))


def _exact() -> Any:
    """libswscale's exact way; its fast one darkens by up to a level."""
    how = require("av.video.reformatter", EXTRA).Interpolation
    return how.BICUBIC | how.FULL_CHR_H_INT | how.FULL_CHR_H_INP | how.ACCURATE_RND
