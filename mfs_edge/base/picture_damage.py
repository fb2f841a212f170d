"""Damage that a decoder papers over: a picture is whole, or it is refused.

Decoders are made to show something. Of 40 bytes overwritten in a JPEG, libjpeg mends two
cases of three with a complaint and the third without one. What each format gives away:

* PNG: a checksum per chunk.
* JPEG: libjpeg's complaints, and codes that no encoder writes (``jpeg_codes``). Where the
  damage leaves neither, the brightness of all that follows is shifted, since each block is
  coded as a difference from the one before: a seam along the order of coding (``seam``).
* WebP: its arithmetic code must use up its bytes. A whole file cannot be decoded with its
  last bytes cut off; one that can has stopped making sense before its end.
* TIFF: libtiff's complaints. AVIF and GIF: their decoders refuse.
* BMP and other raw pixels have nothing to show it by, and nothing spreads: what is damaged
  is a few pixels. Lossless WebP has no checksum either, and there damage may spread.
"""

from __future__ import annotations

import re
import zlib

import numpy as np

from mfs_edge.base import picture_formats

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"

# Bytes cut off a WebP's code. Encoders end it with up to 2 bytes (libwebp) or 4 (libvpx) more than a decoder
# needs; damaged pictures decoded with 8, 12 and 16 bytes less in 41 cases of the 41 that decoded at all.
WEBP_CUT = 12

# Of 1,600 whole JPEGs (photographs, textures, text and drawings of 67 to 1,411 px; quality 30 to 97; 4:4:4, 4:2:2
# and 4:2:0) the strongest seam was 9.5, the next 7.8. With 40 bytes overwritten, libjpeg complains of 1,353; of the
# 179 others whose pixels are off by more than 3 levels on average, 154 are told by their codes or a seam.
MAX_SEAM = 10.0

HARMLESS = re.compile(
    rb"Warning: unknown JFIF revision|Unknown Adobe color transform|Invalid SOS parameters for sequential"
    rb"|Inconsistent progression sequence|extraneous bytes before marker 0x(e|fe)"
)


def complaint(said: bytes, name: str, encoded: bytes) -> str:
    """What the decoder said of a picture that it decoded, if that means damage; else nothing."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    if name == "JPEG":
        lines = [line for line in lines if not HARMLESS.search(line) and not _is_padding(line, encoded)]
    elif name == "TIFF":
        lines = [line.rpartition(b"TIFF_Error ")[2] for line in lines if b"TIFF_Error" in line]
    else:
        return ""
    return lines[0].decode(errors="replace") if lines else ""


def _is_padding(line: bytes, encoded: bytes) -> bool:
    """Whether it is only that a camera filled up the space before the end with zeros."""
    found = re.search(rb"(\d+) extraneous bytes before marker 0xd9", line)
    end = encoded.rfind(b"\xff\xd9")
    return found is not None and end > 0 and not any(encoded[max(end - int(found[1]), 0) : end])


def png_is_whole(encoded: bytes) -> bool:
    """Whether every chunk is there and has its checksum."""
    position = len(PNG_SIGNATURE)
    while position + 12 <= len(encoded):
        length = int.from_bytes(encoded[position : position + 4], "big")
        body = memoryview(encoded)[position + 4 : position + 8 + length]
        checksum = encoded[position + 8 + length : position + 12 + length]
        if zlib.crc32(body).to_bytes(4, "big") != checksum:
            return False
        if bytes(body[:4]) == b"IEND":
            return True
        position += 12 + length
    return False


def webp_cut(encoded: bytes) -> bytes | None:
    """The picture without the last bytes of its code; None for what has no single code, such as an animation."""
    for name, start, length in picture_formats.riff(encoded):
        if name in (b"VP8 ", b"VP8L") and length > 2 * WEBP_CUT:
            body = encoded[start : start + length - WEBP_CUT]
            chunks = encoded[12 : start - 8] + name + len(body).to_bytes(4, "little") + body + b"\0" * (len(body) % 2)
            return b"RIFF" + (4 + len(chunks)).to_bytes(4, "little") + b"WEBP" + chunks
    return None


# BGR -> Y, Cb, Cr, which JPEG codes apart
_YCC = np.array([[0.114, 0.587, 0.299], [0.5, -0.3313, -0.1687], [-0.0813, -0.4187, 0.5]]).T
_GAPS = (1, 3, 6, 10, 16)  # units of garbage that may lie before the shift
_CLIP = 80.0


def seam(image: np.ndarray, unit: tuple[int, int]) -> float:
    """How surely all of a picture from some unit on, in the order of coding, is shifted in brightness or colour.

    Such a shift shows above the unit and all to its right, and below all to its left. The
    result is that step in standard errors; nothing in a picture follows this line by itself.

    Args:
        image: uint8 [H, W, 3] BGR, not yet turned by EXIF.
        unit: height and width in pixels of what is coded at a time.
    """
    steps = _steps(image, unit)
    if min(steps.shape[:2]) < 2:
        return 0.0
    upper, lower = steps[:-1], steps[1:]
    return max((_seam(upper, lower, gap) for gap in _GAPS if gap + 3 < steps.shape[1]), default=0.0)


def _steps(image: np.ndarray, unit: tuple[int, int]) -> np.ndarray:
    """[boundaries, columns, 3]: the step over each boundary of rows of units, less the slope on both sides."""
    tall, wide = unit
    rows = np.arange(tall, image.shape[0] - 3, tall)
    columns = image.shape[1] // wide

    def band(offset: int) -> np.ndarray:
        two = image[rows + offset, : columns * wide].astype(np.uint16) + image[rows + offset + 1, : columns * wide]
        mean: np.ndarray = two.reshape(len(rows), columns, wide, 3).mean(axis=2, dtype=np.float32) / 2
        return mean

    above, over, under, below = (band(offset) for offset in (-4, -2, 0, 2))
    steps = (under - over) - ((over - above) + (below - under)) / 2
    clipped: np.ndarray = np.clip(steps @ _YCC, -_CLIP, _CLIP)
    return clipped


def _seam(upper: np.ndarray, lower: np.ndarray, gap: int) -> float:
    total = upper.shape[1]
    start = np.arange(gap + 2, total - 1)  # the first unit that is shifted
    right, left = (total - start)[None, :, None], (start - gap)[None, :, None]
    sums, squares = _cumulative(upper), _cumulative(upper**2)
    mean_right = (sums[:, -1:] - sums[:, start]) / right
    mean_left = _cumulative(lower)[:, start - gap] / left
    mean = (mean_right * right + mean_left * left) / (right + left)
    square = (squares[:, -1:] - squares[:, start] + _cumulative(lower**2)[:, start - gap]) / (right + left)
    variance = np.maximum(square - mean**2, 0) + 1
    variance = variance * (total - gap) / max(total - gap - 4, 1)  # of few units, chance makes little
    sure = np.abs(mean) * np.sqrt((right + left) / variance)
    sides = np.abs(mean_right) * np.sqrt(right / variance), np.abs(mean_left) * np.sqrt(left / variance)
    weak, strong = (pick(np.abs(mean_right), np.abs(mean_left)) for pick in (np.minimum, np.maximum))
    same = (mean_right * mean_left > 0) & (weak > strong / 2)
    score = np.where(same, np.minimum(2 * np.minimum(*sides), sure), 0)
    return float(np.sqrt((score**2).sum(axis=-1)).max())


def _cumulative(values: np.ndarray) -> np.ndarray:
    padded: np.ndarray = np.cumsum(np.pad(values, ((0, 0), (1, 0), (0, 0))), axis=1, dtype=np.float64)
    return padded
