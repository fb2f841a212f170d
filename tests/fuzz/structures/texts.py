"""JSON, TOML and XML: other values in the same places, and other texts of the same values."""

from __future__ import annotations

import copy
import json
import re
import xml.etree.ElementTree as ET
from collections.abc import Callable
from typing import Any

from hypothesis import strategies as st

WORDS = [
    "",
    " ",
    "0",
    "1",
    "-1",
    "3",
    "64",
    "nan",
    "inf",
    "1e400",
    "9" * 5000,
    "0x10",
    "a" * 4000,
    "[/b]x",
    "\x1b[31m",
    "ä",
    "\u202e",
]
WORDS += [
    "../../etc/passwd",
    "/etc/passwd",
    "x" * 300,
    "a\nb",
    "a\0b",
    "float32",
    "f32",
    "i8",
    "Conv",
    "-9223372036854775809",
]
LEAVES = st.one_of(
    st.sampled_from(
        [None, True, False, 0, 1, -1, 2, 64, 2**31, 2**63, 2**64, 10**30, 1e308, float("nan"), float("inf")]
    ),
    st.integers(),
    st.floats(),
    st.sampled_from(WORDS),
    st.text(max_size=20),
)
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.one_of(st.lists(inner, max_size=12), st.dictionaries(st.text(max_size=8), inner, max_size=4)),
    max_leaves=12,
)
_MARKS = [b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff", b"\0", b"//\n"]
_CODINGS = ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-8-sig", "utf-7"]
_DEPTHS = [50, 500, 3_000, 100_000]


def as_json(data: bytes) -> st.SearchStrategy[bytes]:
    """Values changed, entries dropped, repeated and renamed; now and then the text itself is odd."""
    try:
        held = json.loads(data)
    except ValueError:
        return st.just(data)
    changed = st.lists(st.tuples(st.randoms(use_true_random=False), VALUES), min_size=1, max_size=3).map(
        lambda drawn: _all(_change, held, drawn)
    )
    written = changed.map(lambda value: json.dumps(value).encode())
    return st.one_of(written, written, written, VALUES.map(lambda value: json.dumps(value).encode()), odd_text(data))


def odd_text(data: bytes) -> st.SearchStrategy[bytes]:
    """The same in another encoding, behind a mark, or very deep; the same for any text."""
    text = data.decode("utf-8", "replace")
    return st.one_of(
        st.sampled_from(_CODINGS).map(lambda coding: text.encode(coding, "replace")),
        st.sampled_from(_MARKS).map(lambda mark: mark + data),
        st.tuples(st.sampled_from("[{("), st.sampled_from(_DEPTHS)).map(lambda drawn: (drawn[0] * drawn[1]).encode()),
        st.tuples(st.sampled_from(['{"a":', "[0,", "a=["]), st.sampled_from(_DEPTHS)).map(
            lambda d: (d[0] * d[1]).encode()
        ),
        _numbers(data),
    )


def _numbers(data: bytes) -> st.SearchStrategy[bytes]:
    """One number of the text replaced by another."""
    places = [found.span() for found in re.finditer(rb"-?\d+(\.\d+)?", data)] or [(0, 0)]
    numbers = st.sampled_from(
        ["-1", "0", "1e999", "NaN", "9" * 5000, "1" + "0" * 400, "-0.0", "18446744073709551616", "1e-400"]
    )
    return st.tuples(st.sampled_from(places), numbers).map(
        lambda drawn: data[: drawn[0][0]] + drawn[1].encode() + data[drawn[0][1] :]
    )


def _all(change: Callable[[Any, Any, Any], Any], held: Any, drawn: list[tuple[Any, Any]]) -> Any:
    held = copy.deepcopy(held)
    for random, value in drawn:
        held = change(held, random, value)
    return held


def _change(held: Any, random: Any, value: Any) -> Any:
    """One place somewhere in ``held`` changed."""
    if not isinstance(held, dict | list) or not held or random.random() < 0.15:
        return value
    key = random.choice(list(held)) if isinstance(held, dict) else random.randrange(len(held))
    what = random.random()
    if what < 0.7:
        held[key] = _change(held[key], random, value)
    elif what < 0.8:
        del held[key]
    elif isinstance(held, dict):
        held[value if isinstance(value, str) else f"{key}x"] = held[key]
    else:
        held.extend(copy.deepcopy(held[key]) for _ in range(random.choice([1, 2, 50])))
    return held


def as_toml(data: bytes) -> st.SearchStrategy[bytes]:
    """Lines with other values and keys, dropped, repeated and moved."""
    lines = data.decode().splitlines()
    values = st.one_of(
        VALUES.map(json.dumps), st.sampled_from(["{}", "[[]]", "1979-05-27", "'''x", '"""', "0b1", "+inf", "1_0"])
    )

    @st.composite
    def edited(draw: st.DrawFn) -> bytes:
        found = list(lines)
        for _ in range(draw(st.integers(1, 3))):
            at = draw(st.integers(0, max(0, len(found) - 1)))
            key = draw(
                st.sampled_from([found[at].partition("=")[0] if found else "a", "x", "a.b", '"*"', "[x]", "[[x]]", ""])
            )
            found[at : at + draw(st.integers(0, 1))] = [f"{key} = {draw(values)}"]
        return "\n".join(found).encode("utf-8", "surrogatepass")

    return st.one_of(edited(), edited(), odd_text(data))


def as_xml(data: bytes) -> st.SearchStrategy[bytes]:
    """Attributes, texts and tags changed; elements dropped, repeated and moved; entities declared."""
    edit = st.tuples(st.randoms(use_true_random=False), st.sampled_from(WORDS) | st.integers(-2, 70).map(str))
    edited = st.lists(edit, min_size=1, max_size=4).map(lambda drawn: _edited_xml(data, drawn))
    bombs = st.sampled_from(
        ["<!ENTITY a 'aaaaaaaaaa'>" + "".join(f"<!ENTITY {chr(98 + i)} '{f'&{chr(97 + i)};' * 10}'>" for i in range(9))]
    )
    declared = bombs.map(lambda bomb: f"<!DOCTYPE net [{bomb}]><net><layers>&j;</layers><edges/></net>".encode())
    return st.one_of(*[edited] * 8, declared, odd_text(data))


def _edited_xml(data: bytes, drawn: list[tuple[Any, str]]) -> bytes:
    root = ET.fromstring(data)
    for random, word in drawn:
        elements = list(root.iter())
        element, other, what = random.choice(elements), random.choice(elements), random.random()
        if what < 0.5 and element.attrib:
            element.set(random.choice(list(element.attrib)), word)
        elif what < 0.65 and element.attrib and other.attrib:  # edges that point elsewhere
            key = random.choice(list(element.attrib))
            element.set(key, other.get(key, word))
        elif what < 0.75:
            element.text = word
        elif what < 0.85 and len(element):
            element.remove(random.choice(list(element)))
        elif what < 0.95 and len(element):
            element.append(copy.deepcopy(random.choice(list(element))))
        else:
            element.tag = random.choice(["layer", "port", "dim", "data", "edge"])
    return _writable(ET.tostring(root, encoding="unicode"))


def _writable(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")
