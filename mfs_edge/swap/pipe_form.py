"""How frames lie in a pipe: raw, as the user says, or as YUV4MPEG2's header does."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction

from mfs_edge.base.errors import InputError, UsageError
from mfs_edge.swap.video import colour
from mfs_edge.swap.video.reader import Note

Y4M = "y4m"
RATE = Fraction(30)  # of raw frames, where nobody says another
RGB = {"rgb24": (0, 1, 2), "bgr24": (2, 1, 0), "rgba": (0, 1, 2), "bgra": (2, 1, 0)}  # where red, green and blue are
ALPHA = ("rgba", "bgra")
YUV = ("yuv420p", "nv12", "yuv422p", "yuv444p", "gray")
FORMATS = (*RGB, *YUV)
MAGIC = b"YUV4MPEG2"
_LAYOUTS = {
    "420jpeg": "yuv420p", "420paldv": "yuv420p", "420mpeg2": "yuv420p", "420": "yuv420p",
    "422": "yuv422p", "444": "yuv444p", "mono": "gray",
}  # fmt: skip
_LONGEST_SIDE = 16384
_PROGRESSIVE = ("p", "?")
NAME = "standard input"


@dataclass(frozen=True)
class Form:
    """How frames lie in a pipe, one behind the other."""

    format: str  # one of FORMATS
    width: int
    height: int
    rate: Fraction = RATE
    header: bytes = b""  # of YUV4MPEG2; raw frames have none
    full: bool = False  # whether its YUV fills 0..255

    @property
    def planes(self) -> list[tuple[int, int]]:
        """Rows, and bytes in a row, of each plane."""
        w, h = self.width, self.height
        half_w, half_h = (w + 1) // 2, (h + 1) // 2
        if self.format in RGB:
            return [(h, w * (4 if self.format in ALPHA else 3))]
        chroma = {
            "yuv420p": [(half_h, half_w)] * 2,
            "nv12": [(half_h, 2 * half_w)],
            "yuv422p": [(h, half_w)] * 2,
            "yuv444p": [(h, w)] * 2,
            "gray": [],
        }
        return [(h, w), *chroma[self.format]]

    @property
    def size(self) -> int:
        """Bytes of a frame."""
        return sum(rows * row for rows, row in self.planes)

    def colour(self) -> colour.Colour:
        """How its YUV becomes RGB and back: by the matrix that players guess, as a pipe cannot say."""
        usual = colour.sized(self.width, self.height)
        return colour.Colour(usual.matrix, scaler=usual.scaler, full=self.full)


def parsed_size(text: str) -> tuple[int, int]:
    """Width and height in pixels of "640x480".

    Raises:
        UsageError: it is no such thing.
    """
    width, _, height = text.lower().partition("x")
    if not (width.isdecimal() and height.isdecimal()):
        raise UsageError(f"--pipe-size {text}: is no size; write it as 640x480")
    _require_size(int(width), int(height), lambda said: UsageError(f"--pipe-size {text}: {said}"))
    return int(width), int(height)


def parsed_rate(text: str) -> Fraction:
    """Frames per second of "30", "29.97" or "30000/1001".

    Raises:
        UsageError: it is no such thing.
    """
    try:
        rate = Fraction(text)
    except (ValueError, ZeroDivisionError):
        rate = Fraction(0)
    if not 0 < rate <= 100_000:
        raise UsageError(f"--pipe-rate {text}: is no number of frames per second; write it as 30 or 30000/1001")
    return rate.limit_denominator(100_000)


def _require_size(width: int, height: int, error: Callable[[str], Exception]) -> None:
    if not (0 < width <= _LONGEST_SIDE and 0 < height <= _LONGEST_SIDE):
        raise error(f"pictures of {width} x {height} cannot be; each side has 1 to {_LONGEST_SIDE} pixels")


def header(line: bytes, note: Note) -> Form:
    """Of YUV4MPEG2.

    Raises:
        InputError: it says nothing that is read here.
    """
    words = line.decode("ascii", "replace").split()[1:]
    told = {word[0]: word[1:] for word in words if word[0] != "X"}
    layout = told.get("C", "420jpeg")
    if layout not in _LAYOUTS:
        raise InputError(f"{NAME}: YUV4MPEG2 of the kind C{layout} is not read here; write C420jpeg, C422 or C444")
    try:
        width, height = int(told["W"]), int(told["H"])
        above, below = map(int, told["F"].split(":"))
        rate = Fraction(above, below) if above and below else RATE
    except (KeyError, ValueError) as error:
        raise InputError(f"{NAME}: its header tells no width, height and rate; write the YUV4MPEG2 again") from error
    _require_size(width, height, lambda said: InputError(f"{NAME}: {said}"))
    if not 0 < rate <= 100_000:
        raise InputError(f"{NAME}: a rate of {above}:{below} cannot be; write the YUV4MPEG2 again")
    if told.get("I", "p") not in _PROGRESSIVE:
        note(f"{NAME}: is interlaced; it is read and written as whole frames, which may comb")
    full = "XCOLORRANGE=FULL" in words or layout == "mono"
    return Form(_LAYOUTS[layout], width, height, rate, line, full)
