"""The weights as C: constants that are compiled into the program, so that it opens no file.

They are written as the 32-bit words of ``idn.weights``, since those survive every compiler to the bit.
"""

from __future__ import annotations

import itertools
import re

import numpy as np

from mfs_edge.base.version import __version__

from .weights import HEADER, Weights

FILE = "idn_weights.c"
WORDS = re.compile(rb"0x([0-9a-f]{8})")
LINE = 12  # words
HEAD = f"""/* Written by mfs-edge {__version__}; do not edit. idn.h has the manual.
   The weights in words of 32 bits: a header, what all identities share, a header, what is one identity's. */
#include "idn.h"

const uint32_t idn_weights[IDN_WEIGHTS_BYTES / 4] __attribute__((aligned(IDN_ALIGNMENT))) = {{
"""


def source(data: bytes, packed: Weights) -> bytes:
    """``idn_weights.c`` for ``data``, the bytes of an ``idn.weights`` that is laid out like ``packed``."""
    words = np.frombuffer(data, "<u4").astype(">u4").tobytes().hex()
    starts = [*sorted(_titles(packed).items()), (len(data) // 4, "")]
    lines = [HEAD]
    for (start, title), (end, _) in itertools.pairwise(starts):
        lines.append(f"  /* {title} */\n")
        for at in range(start, end, LINE):
            line = words[8 * at : 8 * min(at + LINE, end)]
            lines.append("  " + "".join(f"0x{line[i : i + 8]}," for i in range(0, len(line), 8)) + "\n")
    return "".join([*lines, "};\n"]).encode()


def data(text: bytes) -> bytes:
    """The bytes that ``text`` would compile to, if :func:`source` wrote it: the caller writes it again to see."""
    words = b"".join(WORDS.findall(text.partition(b"= {")[2]))
    return np.frombuffer(bytes.fromhex(words.decode()), ">u4").astype("<u4").tobytes()


def _titles(packed: Weights) -> dict[int, str]:
    """Where each tensor begins, in words of the file; of two that begin together, all are named."""
    blocks = {"shared": HEADER.size // 4, "identity": HEADER.size // 2 + packed.shared_bytes // 4}
    found = {blocks["shared"] - HEADER.size // 4: "header", blocks["identity"] - HEADER.size // 4: "header: identity"}
    starts = [(blocks[block] + offset, name) for name, (block, offset) in packed.places.items() if block == "shared"]
    starts += [(blocks["identity"] + tensor.start // 4, tensor.name) for tensor in packed.owned]
    for at, name in starts:
        found[at] = f"{found[at]}, {name}" if at in found else name
    return found
