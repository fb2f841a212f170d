"""A failure told in many lines, as the one that says why.

It travels with the runner: Python 3.9, and no import from this package.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

# Lines of an exception that say where, not why: OpenVINO's positions, checks and nodes; TFLite's frames.
_WHERE = ("Exception from", "Check '", "While validating ", "File ")
_TRACEBACK = "Traceback (most recent call last)"
_NODE = re.compile(r"While validating .*?(?:with friendly_name '|<Node\(\w*\): )([^'>]+)")
# The same within a line of onnxruntime's: its error code, the file, and the C++ function with its source position.
_POSITIONS = re.compile(
    r"\[ONNXRuntimeError\] : \d+ : \w+ : |Load model from .*? failed:|\S+\.(?:cc|cpp|h|hpp):\d+:? (?:.*?\) (?=[A-Z]))?"
)
# What a program writes before an error, in the forms of TFLite, Android, abseil, onnxruntime and C++ itself.
_MARK = re.compile(r"^(?:ERROR|FATAL): ?|^[EF]/[^:]*: ?|^[EF]\d{4} [^\]]*\] ?|^.*\[[EF]:[^\]]*\] ?|^what\(\): *")
_LENGTH = 300


def reason_of(error: BaseException) -> str:
    """An exception's own words on one line of at most 300 signs: why, without source positions.

    Where the runtime names the node that it was at, that follows. What is too long is shortened in the middle.
    """
    lines = list(_outside_tracebacks(str(error).splitlines())) or [type(error).__name__]
    why = [line for line in lines if not line.startswith(_WHERE)]
    node = next((found[1] for line in lines if (found := _NODE.match(line))), "")
    text = _POSITIONS.sub("", " ".join(why or lines[-1:])).strip() or lines[-1]
    return _shortened(f"{text.rstrip('.')}, at node {node}" if node and why and node not in text else text)


def named(error: BaseException) -> str:
    """The same behind the exception's type, for those that say little without it."""
    kind, said = type(error).__name__, reason_of(error)
    return said if said == kind else f"{kind}: {said}"


def reason_in(lines: Sequence[str]) -> str:
    """The same of what a program wrote before it ended.

    That is what follows a Python traceback, or the lines that it marks as errors, or else its last one.
    """
    traces = [number for number, line in enumerate(lines) if line.startswith(_TRACEBACK)]
    said = list(_outside_tracebacks(lines[traces[-1] :] if traces else lines))
    if traces and said:
        return reason_of(RuntimeError("\n".join(said)))
    marked = [_MARK.sub("", line) for line in said if _MARK.match(line)]
    return reason_of(RuntimeError("\n".join(marked or said[-1:]) or "it said nothing"))


def _outside_tracebacks(lines: Sequence[str]) -> Iterator[str]:
    """Lines without blanks around them; of a Python traceback only what follows its indented lines."""
    inside = False
    for line in lines:
        inside = line.startswith(_TRACEBACK) or (inside and line.startswith(" "))
        if line.strip() and not inside:
            yield line.strip()


def _shortened(text: str) -> str:
    return text if len(text) <= _LENGTH else f"{text[: _LENGTH // 3]} ... {text[-(_LENGTH * 2 // 3 - 5) :]}"
