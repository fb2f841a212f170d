"""Edits of bytes that know nothing of what the bytes mean."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence

from hypothesis import strategies as st

# Where lengths, counts and offsets break: around zero, and around the ends of every width.
NUMBERS = [0, 1, 2, 3, 0x7F, 0x80, 0xFF, 0x100, 0x7FFF, 0x8000, 0xFFFF, 0x10000, 0xFFFFFF, 2**31 - 1, 2**31, 2**32 - 1]
NUMBERS += [2**32, 2**33, 2**40, 2**62, 2**63 - 1, 2**63, 2**64 - 2, 2**64 - 1]
_WIDTHS = (1, 2, 4, 8)
_HEADER = 128  # bytes in which most formats say how large they are
_SPAN = 64

Edit = Callable[[bytes], bytes]


@functools.lru_cache(maxsize=512)  # making a strategy takes longer than drawing from it
def blind(data: bytes, others: tuple[bytes, ...] = ()) -> st.SearchStrategy[bytes]:
    """One to six edits of ``data``; ``others`` are what pieces may come from besides itself."""
    edits = st.lists(_edit(len(data), (data, *others)), min_size=1, max_size=6)
    return edits.map(lambda drawn: functools.reduce(lambda found, edit: edit(found), drawn, data))


def _edit(size: int, sources: Sequence[bytes]) -> st.SearchStrategy[Edit]:
    """Of ``size`` bytes or fewer; a place behind the end is the end."""
    at = st.integers(0, max(0, size - 1))
    early = st.integers(0, max(0, min(size, _HEADER) - 1))
    span = st.integers(1, _SPAN)
    number = st.tuples(st.sampled_from(NUMBERS), st.sampled_from(_WIDTHS), st.sampled_from(["little", "big"]))
    return st.one_of(
        st.builds(_flip, at, st.integers(0, 7)),
        st.builds(_overwrite, st.one_of(at, early), number.map(lambda n: _packed(*n))),
        st.builds(_overwrite, at, st.binary(min_size=1, max_size=40)),
        st.builds(_cut, at, st.one_of(span, st.just(size))),
        st.builds(_insert, at, st.binary(min_size=1, max_size=_SPAN)),
        st.builds(_repeat, at, span, st.integers(1, 5)),
        st.builds(_splice, at, st.sampled_from(sources), st.floats(0, 1), span),
    )


def _packed(number: int, width: int, order: str) -> bytes:
    return (number % 2 ** (8 * width)).to_bytes(width, "little" if order == "little" else "big")


def _flip(at: int, bit: int) -> Edit:
    return lambda data: data[:at] + bytes([data[at] ^ 1 << bit]) + data[at + 1 :] if at < len(data) else data


def _overwrite(at: int, content: bytes) -> Edit:
    return lambda data: data[:at] + content + data[at + len(content) :]


def _cut(at: int, size: int) -> Edit:
    return lambda data: data[:at] + data[at + size :]


def _insert(at: int, content: bytes) -> Edit:
    return lambda data: data[:at] + content + data[at:]


def _repeat(at: int, size: int, times: int) -> Edit:
    return lambda data: data[:at] + data[at : at + size] * times + data[at:]


def _splice(at: int, source: bytes, where: float, size: int) -> Edit:
    start = int(where * len(source))
    return lambda data: data[:at] + source[start : start + size] + data[at + size :]
