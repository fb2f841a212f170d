"""Whether a description, as it lies in ``idn.json``, is one of a network of this family.

Whoever sends a folder writes its description, and everything in the C follows from it: names become comments and
identifiers, and shapes become loops over the weights and the arena. So both are checked before any C is made.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from typing import Any

from mfs_edge.target import PRECISIONS

TEXT = re.compile(r"[A-Za-z0-9_./:+-]{1,200}")  # ends no comment and no string, begins no line
NAME = re.compile(r"[a-z]{1,20}\.[0-9]{1,3}")  # of a block: an identifier that no other tensor has
MOST_PIXELS = 4096  # of a side
MOST_NUMBERS = 2**24  # of all weights
MOST_PLANES = 256  # outputs of a kernel that is printed output by output


def check(held: Mapping[str, Any], precision: str) -> None:
    """Nothing is returned.

    Args:
        held: as of ``schedule.describe``.
        precision: what the header will say.

    Raises:
        ValueError, KeyError, TypeError: it is not such a description; says why.
    """
    _require(precision in PRECISIONS, f"there is no precision {precision!r}")
    for text in _texts(held):
        _require(TEXT.fullmatch(text) is not None, f"no node is called {text[:40]!r}")
    blocks = list(_blocks(held))
    names = [str(block["name"]) for block in blocks]
    _require(all(map(NAME.fullmatch, names)) and len(set(names)) == len(names), "its blocks' names are not their own")
    _require(math.isfinite(held["centre"]) and 0 <= held["slope"] <= 1, "its centre or slope is no number")
    _require(sum(math.prod(shape) for block in blocks for shape in _shapes(block)) <= MOST_NUMBERS, "it is too large")
    _geometry(held)
    _widths(held)
    _kinds(held)


def _kinds(held: Mapping[str, Any]) -> None:
    """Which products are of integers; never those whose results are planes."""
    floats = [block["integer"] for block in (held["stem"], *held["mask"][-2:])]
    others = [block["integer"] for block in (*held["encoder"], *held["decoder"], *held["mask"][:-2])]
    _require(
        all(type(flag) is bool for flag in (*floats, *others, held["half"], held["halves"])),
        "its kinds are not booleans",
    )
    _require(not any(floats), "what planes are made of is never rounded")
    owned = (held["stem"], *held["encoder"], *held["decoder"], held["mask"][0], held["squeeze"])
    shared = (*held["mask"][1:], *held["face"], held["mask_out"])
    coded = [block["coded"] for block in owned]
    _require(all(type(flag) is bool for flag in coded), "its kinds are not booleans")
    _require(all(block["coded"] is False for block in shared), "what is shared has no codes of its own")
    _require(not ((any(others) or any(coded)) and held["half"]), "it is rounded twice")


def _geometry(held: Mapping[str, Any]) -> None:
    """Every stage halves or doubles, down to one pixel at least and up to the picture again."""
    size, depth = held["size"], len(held["encoder"])
    _require(size % 32 == 0 and 32 <= size <= MOST_PIXELS, f"no network of this family takes {size} px")
    _require(depth >= 2 and size % 2 ** (depth + 1) == 0, f"{size} px are not halved {depth + 1} times")
    _require((len(held["decoder"]), len(held["mask"])) == (depth, depth + 1), "its branches are not as deep as it")
    skips = [depth - 2 - i for i in range(depth - 1)]
    _require(list(held["skips"]) == [*skips, None], f"its skips are {held['skips']}, not {skips}")


def _widths(held: Mapping[str, Any]) -> None:
    """What a block reads is what the one before it writes."""
    encoded = []
    width = _pair(held["stem"], 3, 4)
    for block in held["encoder"]:
        width = _pair(block, width, 4)
        encoded.append(width)
    shown = deepest = width
    for block, skip in zip(held["decoder"], held["skips"], strict=True):
        width = _pair(block, width, 3) + (encoded[skip] if skip is not None else 0)
    for block in held["mask"]:
        shown = _pair(block, shown, 3)
    _require(deepest == encoded[-1], "its branches begin elsewhere")
    (one, two), out = held["face"], held["mask_out"]
    width = _dense(held["squeeze"], width, 1)
    width = _dense(one, width, 3)
    _require(_dense(two, width, 3) == 3 and _dense(out, shown, 3) == 1, "it gives no picture and no mask")
    _require(max(width, shown) <= MOST_PLANES, f"it has more than {MOST_PLANES} planes")


def _pair(block: Mapping[str, Any], inputs: int, side: int) -> int:
    """Its outputs."""
    outputs = block["weight"][0]
    _fits(block, kernel=[inputs, side, side], weight=[outputs, inputs], bias=[outputs], offset=[inputs])
    return int(outputs)


def _dense(block: Mapping[str, Any], inputs: int, side: int) -> int:
    outputs = block["weight"][0]
    _fits(block, weight=[outputs, inputs, side, side], bias=[outputs])
    return int(outputs)


def _fits(block: Mapping[str, Any], **shapes: list[int]) -> None:
    for key, shape in shapes.items():
        found = block[key]
        sound = isinstance(found, list) and all(type(n) is int and n > 0 for n in found)
        _require(sound and found == shape, f"{block['name']}: its {key} is {found}, not {shape}")


def _blocks(held: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    yield from (held[name] for name in ("stem", "squeeze", "mask_out"))
    for name in ("encoder", "decoder", "face", "mask"):
        yield from held[name]


def _shapes(block: Mapping[str, Any]) -> Iterator[list[int]]:
    return (block[key] for key in ("kernel", "weight", "bias", "offset") if key in block)


def _texts(value: Any) -> Iterator[str]:
    """Every string in it, keys left out; whatever is no JSON of ours is refused."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for each in value.values():
            yield from _texts(each)
    elif isinstance(value, list | tuple):
        _require(len(value) <= 1000, "it is too long")
        for each in value:
            yield from _texts(each)


def _require(held: bool, why: str) -> None:
    if not held:
        raise ValueError(why)
