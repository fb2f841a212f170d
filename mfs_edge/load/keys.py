"""What a pickle hashes, followed before it is read.

A tuple's hash is that of all its parts, nothing of it is kept, and C walks it without a limit: a few bytes of
tuples in tuples, as the key of a dict, would take for ever or overrun the stack. Keys of real checkpoints
are texts. What lies on a pickle's stack is followed here by one number each: how much its hash takes.
"""

from __future__ import annotations

import pickletools
from typing import Any, Final

from mfs_edge.load.refusal import Refused

SMALL = 64  # parts of what may be hashed, where its own call makes it; see :func:`small`
_MOST = 1024  # parts of a key
_MOST_KEYS = 10_000  # that are more than a text or number: their hashes can be chosen to be all the same
_MARK: Final = -1
_TUPLES = ("TUPLE", "TUPLE1", "TUPLE2", "TUPLE3", "EMPTY_TUPLE", "FROZENSET")
_CALLS = ("REDUCE", "NEWOBJ", "NEWOBJ_EX", "OBJ", "INST")


def small(value: Any) -> bool:
    """Whether hashing ``value`` takes no more than a few steps; it may be a tuple of tuples of ..."""
    parts, left = [value], SMALL
    while parts and left:
        part, left = parts.pop(), left - 1
        if isinstance(part, tuple | frozenset):
            if len(part) > SMALL:
                return False
            parts.extend(part)
    return not parts


class Keys:
    """The stack and memo of one pickle, as numbers; told of one instruction after the other."""

    def __init__(self) -> None:
        self._stack: list[int] = []
        self._memo: dict[int, int] = {}
        self._large = 0

    def step(self, opcode: pickletools.OpcodeInfo, argument: Any) -> None:
        """Follow one instruction.

        Raises:
            Refused: it makes a key that takes too long to hash, or one more of many odd ones.
            IndexError, KeyError: the pickle is damaged.
        """
        name = opcode.name
        if name in ("PUT", "BINPUT", "LONG_BINPUT"):
            self._memo[argument] = self._stack[-1]
        elif name == "MEMOIZE":
            self._memo[len(self._memo)] = self._stack[-1]
        elif name in ("GET", "BINGET", "LONG_BINGET"):
            self._stack.append(self._memo[argument])
        elif name == "DUP":
            self._stack.append(self._stack[-1])
        elif name == "MARK":
            self._stack.append(_MARK)
        else:
            taken = self._taken(opcode)
            self._check(name, taken)
            self._stack += [self._made(name, taken)] * len(opcode.stack_after)

    def _taken(self, opcode: pickletools.OpcodeInfo) -> list[int]:
        """What the instruction takes off the stack, the lowest first."""
        before, stack = opcode.stack_before, self._stack
        if opcode.name == "POP" and stack[-1] == _MARK:
            return [stack.pop()]
        above: list[int] = []
        if pickletools.markobject in before:
            mark = _last_mark(stack)
            above, before = stack[mark + 1 :], before[: before.index(pickletools.markobject)]
            del stack[mark:]
        if not before:
            return above
        if len(stack) < len(before):
            raise IndexError("a pickle takes more than it made")
        taken = stack[-len(before) :]
        del stack[-len(before) :]
        return [*taken, *above]

    def _check(self, name: str, taken: list[int]) -> None:
        hashed = _hashed(name, taken)
        if hashed and max(hashed) > 1:
            self._large += sum(cost > 1 for cost in hashed)
            if max(hashed) > _MOST or self._large > _MOST_KEYS:
                raise Refused("keys that are large or many tuples")

    @staticmethod
    def _made(name: str, taken: list[int]) -> int:
        if name in _TUPLES:
            return min(1 + sum(taken), _MOST + 1)
        return SMALL + 1 if name in _CALLS else 1


def _last_mark(stack: list[int]) -> int:
    mark = len(stack) - 1
    while stack[mark] != _MARK:
        mark -= 1
        if mark < 0:
            raise IndexError("a pickle goes back to a mark that it did not make")
    return mark


def _hashed(name: str, taken: list[int]) -> list[int]:
    """Those of ``taken`` that become keys of a dict or members of a set."""
    if name == "SETITEM":
        return taken[1:2]
    if name == "SETITEMS":
        return taken[1::2]
    if name == "DICT":
        return taken[::2]
    if name == "ADDITEMS":
        return taken[1:]
    return taken if name == "FROZENSET" else []
