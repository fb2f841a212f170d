"""Which networks a file holds, under which names, and which of them is taken.

Training code saves more than one network: both of them flat (``netArc.*``, ``netG.*``) or nested, an
average of the weights beside the weights, an optimiser's moments. What is taken is told, and where it
was a choice, so is how to choose otherwise.
"""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mfs_edge.base.errors import CheckpointError
from mfs_edge.load.refusal import quoted
from mfs_edge.networks import spec

TITLES = {"arcface": "ArcFace", "iin": "MobileFaceSwap (IIN)"}
OPTIONS = {"arcface": "--arcface", "iin": "--checkpoint"}
_NOT_A_TENSOR = ("StructuredToParameterName@@", "num_batches_tracked")  # name tables and torch's step counters
_PADDLE_NAMES = {"_mean": "running_mean", "_variance": "running_var", "_weight": "weight"}
_USUAL = ("", "module", "state_dict", "model_state_dict", "model", "params")  # of the weights that were trained
_MAX_NESTING = 4  # wrappers around a state dict
_MAX_PARTS = 8  # of a key; official ones have up to six
_MAX_KEY = 300  # characters
_MIN_MATCH = 0.1  # a file with fewer of a network's keys than this is some other model
_SHOWN = 6  # names in a message

State = Mapping[str, Any]


@dataclass(frozen=True)
class Found:
    """One network in a file."""

    network: str  # "arcface" or "iin"
    at: str  # dotted name of the dict that holds it; "" for the outermost
    prefix: str  # before each of its keys there
    keys: frozenset[str]  # its entries in that dict
    state: State

    @property
    def name(self) -> str:
        """What it is chosen by: ``FILE#name``."""
        return ".".join(filter(None, [self.at, self.prefix.rstrip(".")]))

    @property
    def shown(self) -> str:
        return f"{TITLES[self.network]} under {quoted(self.name)}" if self.name else TITLES[self.network]


@dataclass(frozen=True)
class Choice:
    """The network that is taken, its entries by official key, and what there is to say of it."""

    found: Found
    entries: State  # official key -> value
    unexpected: tuple[str, ...]  # tensors that might be the network's and are none of its keys
    told: str  # what was found and what was ignored, for the user
    notes: tuple[str, ...]  # where a choice was made, for the manifest too


def choose(states: Mapping[str, State], *, expect: str | None, wanted: str, source: str) -> Choice:
    """The network to take out of ``states`` (dotted name -> dict with arrays).

    Args:
        expect: "arcface" or "iin"; None takes either.
        wanted: the part of the file that the user asked for, or "".

    Raises:
        CheckpointError: it is not there, or it cannot be told which of several is meant.
    """
    networks = [found for name, state in states.items() for found in _networks(name, state)]
    if not networks:
        raise CheckpointError(_another_model(states, source))
    meant = [found for found in networks if wanted and _matches(found.name, wanted)] or networks
    network = expect or max(meant, key=lambda found: (found.network == "iin", len(found.keys))).network
    fitting = [found for found in networks if found.network == network]
    if not fitting:
        other = networks[0].network
        raise CheckpointError(
            f"{source}: is {_article(other)} checkpoint where {_article(network)} checkpoint is needed; "
            f"give it as {OPTIONS[other]}, and the other file as {OPTIONS[network]} (were the two swapped?)"
        )
    taken, notes = _one(fitting, wanted, source)
    entries, unexpected, ignored = _entries(taken, networks)
    beside = [found.shown for found in networks if found is not taken]
    ignored = [*ignored, *(name for name in states if name != taken.at and not any(f.at == name for f in networks))]
    return Choice(taken, entries, tuple(unexpected), _told(taken, beside, ignored), notes)


def tensor_dicts(loaded: Mapping[Any, Any]) -> dict[str, dict[str, Any]]:
    """Every dict in ``loaded``, itself included, that holds arrays directly, by dotted name."""
    found, seen = {}, {id(loaded)}
    level: Sequence[tuple[str, Mapping[Any, Any]]] = [("", loaded)]
    for _ in range(_MAX_NESTING):
        deeper = []
        for name, value in level:
            named = {key if isinstance(key, str) else f"<{type(key).__name__}>": item for key, item in value.items()}
            named = {key: _paddle_tensor(item) for key, item in named.items() if _is_entry(key)}
            if any(isinstance(item, np.ndarray) for item in named.values()):
                found[name] = named
            for key, item in named.items():
                if isinstance(item, dict) and id(item) not in seen:
                    seen.add(id(item))
                    deeper.append((f"{name}.{key}" if name else key, item))
        level = deeper
    return found


def _paddle_tensor(value: Any) -> Any:
    """Paddle writes some tensors as ``(parameter name, array)``."""
    if isinstance(value, tuple) and len(value) == 2 and isinstance(value[1], np.ndarray):
        return value[1]
    return value


def _is_entry(key: str) -> bool:
    return key.rsplit(".", 1)[-1] not in _NOT_A_TENSOR


def canonical(key: str) -> str:
    """A key with torch's name for its last part."""
    stem, _, leaf = key.rpartition(".")
    return f"{stem}.{_PADDLE_NAMES.get(leaf, leaf)}" if stem else key


@functools.cache
def shapes(network: str) -> spec.Shapes:
    """Key -> shape of a network's tensors, torch's conventions."""
    return spec.NETWORK_SHAPES[network]()


def _official(key: str, network: str) -> str | None:
    """The longest end of ``key`` that is one of the network's keys."""
    if len(key) > _MAX_KEY:
        return None
    parts = canonical(key).split(".")
    starts = range(max(0, len(parts) - _MAX_PARTS), len(parts))
    return next((name for i in starts if (name := ".".join(parts[i:])) in shapes(network)), None)


def _networks(at: str, state: State) -> list[Found]:
    """Each network in one dict, behind each prefix: by vote of the keys."""
    votes: dict[tuple[str, str], set[str]] = {}
    for key in filter(_is_entry, state):
        for network in spec.NETWORK_SHAPES:
            official = _official(key, network)
            if official is not None:
                votes.setdefault((network, canonical(key).removesuffix(official)), set()).add(key)
    most = Counter[str]()
    for (network, _), keys in votes.items():
        most[network] = max(most[network], len(keys))
    return [
        Found(network, at, prefix, frozenset(keys), state)
        for (network, prefix), keys in votes.items()
        if len(keys) >= max(_MIN_MATCH * len(shapes(network)), most[network] / 2)
    ]


def _one(fitting: Sequence[Found], wanted: str, source: str) -> tuple[Found, tuple[str, ...]]:
    """The one that is meant, and a note if it was chosen among several."""
    matching = [found for found in fitting if _matches(found.name, wanted)] if wanted else list(fitting)
    exact = [found for found in matching if found.name == wanted] if wanted else []
    usual = [] if wanted else [found for found in matching if found.name in _USUAL]
    chosen = exact or (matching if len(matching) == 1 else usual)
    names = ", ".join(sorted(quoted(found.name) or "the outermost" for found in fitting)[:_SHOWN])
    if not matching:
        raise CheckpointError(
            f"{source}: has no {TITLES[fitting[0].network]} called {quoted(wanted)}; there is: {names}"
        )
    if len(chosen) != 1:
        name = next(found.name for found in matching if found.name)
        raise CheckpointError(f"{source}: holds several state dicts ({names}); choose one of them: FILE#{quoted(name)}")
    taken = chosen[0]
    others = [quoted(found.name) or "the outermost" for found in fitting if found is not taken]
    if not others or wanted:
        return taken, ()
    return taken, (
        f"{Path(source).name}: {quoted(taken.name) or 'the outermost'} was taken, "
        f"{', '.join(others[:_SHOWN])} stands beside it; to take that: {OPTIONS[taken.network]} FILE#{others[0]}",
    )


def _matches(name: str, wanted: str) -> bool:
    """``wanted`` is ``name``, or some of its dotted parts in a row."""
    return f".{wanted}." in f".{name}."


def _entries(taken: Found, networks: Iterable[Found]) -> tuple[State, list[str], list[str]]:
    """The entries by official key; tensors that might be the network's; the first part of what is ignored."""
    known: dict[str, Any] = {}
    unexpected: list[str] = []
    ignored: list[str] = []
    elsewhere = {key for found in networks if found is not taken and found.at == taken.at for key in found.keys}
    for key, value in taken.state.items():
        name = canonical(key)
        official = name.removeprefix(taken.prefix) if name.startswith(taken.prefix) else ""
        if official in shapes(taken.network) and official not in known:
            known[official] = value
        elif isinstance(value, np.ndarray) and key not in elsewhere:  # numbers and texts do no harm
            (ignored if _harmless(key, value, taken) else unexpected).append(key)
    return known, unexpected, [key.split(".")[0] for key in ignored]


def _harmless(key: str, value: np.ndarray, taken: Found) -> bool:
    """Counters, single numbers, and other networks behind other prefixes."""
    if _official(key, taken.network) is not None:  # the same tensor twice: which one is meant?
        return False
    counter = value.ndim == 0 or value.dtype.kind in "iub"
    return counter or bool(taken.prefix and not canonical(key).startswith(taken.prefix))


def _told(taken: Found, beside: Sequence[str], ignored: Sequence[str]) -> str:
    names = list(dict.fromkeys(quoted(name.split(".<")[0]) or "the outermost" for name in ignored))
    shown = ", ".join(names[:_SHOWN]) + (", ..." if len(names) > _SHOWN else "")
    told = taken.shown + (f", beside {', '.join(beside[:_SHOWN])}" if beside else "")
    return told + (f"; ignored: {shown}" if names else "")


def _another_model(states: Mapping[str, State], source: str) -> str:
    state = max(states.values(), key=len, default={})
    sample = ", ".join(quoted(key) for key in sorted(state)[:3])
    return (
        f"{source}: holds {len(state)} tensors of another model (such as {sample}); "
        "an ArcFace or MobileFaceSwap checkpoint is needed"
    )


def _article(network: str) -> str:
    return f"{'an' if TITLES[network][0] in 'AEIOU' else 'a'} {TITLES[network]}"
