"""The identities of a base: one graph, and what each of them owns in it.

All that identities share is decided once, by looking at every one of them; see DESIGN 4.4. A base of
one identity is an artefact like any other.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import onnx_ir as ir

from mfs_edge.graph import build, edit, passes
from mfs_edge.networks import spec
from mfs_edge.quantize.coding import Energy, Part

Arrays = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class People:
    """What each identity owns, by official key, in units of the graph that it goes with; float64."""

    weights: tuple[Arrays, ...]  # the first identity's are the graph's own
    passes: Arrays  # what the passes multiplied folded weights by
    factors: Arrays = field(default_factory=dict)  # what balancing or equalisation did since; 1 where absent
    energies: Mapping[str, Energy] = field(default_factory=dict)  # per stage whose scale is free

    @classmethod
    def alone(cls, model: ir.Model) -> People:
        """Of a graph that is not known to have been folded: whose weights it holds is one identity."""
        own = {name: edit.weight(conv, 1) for name, conv in convs(model.graph).items()}
        return cls((own,), {name: np.ones([1] * array.ndim) for name, array in own.items()})

    def versions(self, model: ir.Model) -> Iterator[ir.Model]:
        """``model`` for each identity."""
        for weights in self.weights:
            yield with_weights(model, weights)

    def scaled(self, factors: Arrays) -> People:
        """In units of a graph whose owned weights were multiplied by ``factors``, broadcast over [O, I, k, k]."""
        moved = tuple({name: array * factors.get(name, 1.0) for name, array in own.items()} for own in self.weights)
        known = {name: self.factors.get(name, 1.0) * factor for name, factor in factors.items()}
        return replace(self, weights=moved, factors={**self.factors, **known})

    def part(
        self, name: str, conv: ir.Node, stored: str, *, moments: np.ndarray | None = None,
        scale: np.ndarray | None = None,
    ) -> Part:  # fmt: skip
        """How the owned weight ``name``, of ``conv``, is stored; ``moments`` [groups, K, K], ``scale`` [O]."""
        factors = np.asarray(self.factors.get(name, np.ones([1] * 4)))
        dense = not edit.is_depthwise(conv)
        energy = self.energies.get(name)
        return Part(name, sources(conv), self.passes[name], factors, stored, energy, moments, scale, dense)

    def mean(self, name: str) -> np.ndarray:
        """Of the weight [O, I, k, k], over all identities."""
        found: np.ndarray = np.mean([own[name] for own in self.weights], axis=0)
        return found


def gather(folded: Sequence[Arrays], *, size: int) -> tuple[ir.Model, People]:
    """The optimised graph of the first identity, and what all of them own in it.

    Args:
        folded: of each identity, ``FoldedIDN.weights("identity-local")``, [C, 1, k, k] and so on.
        size: S.
    """
    model = passes.optimise(build.build(folded[0], size=size), level=1)
    exact = {name: np.asarray(array, np.float64) for name, array in folded[0].items()}
    exact |= {name: np.ones_like(exact[name]) for name in spec.OWNED}  # whatever a pass multiplies them by is left
    probe = convs(passes.optimise(build.build(exact, size=size), level=1).graph)
    moved = {name: edit.weight(conv, 1) for name, conv in probe.items()}
    weights = [{name: (own[name] * factor).astype(np.float32) for name, factor in moved.items()} for own in folded]
    return model, People(tuple({n: w.astype(np.float64) for n, w in own.items()} for own in weights), moved)


def convs(graph: ir.Graph) -> dict[str, ir.Node]:
    """The convs whose weights an identity owns, by official key, in the order in which data flows."""
    found = {}
    for conv in edit.of_type(graph, "Conv"):
        stored = conv.inputs[1]
        if stored is not None and stored.name in spec.OWNED:
            found[str(stored.name)] = conv
    return {name: found[name] for name in spec.OWNED if name in found}


def with_weights(model: ir.Model, weights: Arrays) -> ir.Model:
    """A copy of ``model`` with other owned weights, [O, I, k, k] each."""
    copy = model.clone()
    for name, conv in convs(copy.graph).items():
        edit.set_weight(copy.graph, conv, 1, weights[name])
    return copy


def install(model: ir.Model, owned: Arrays, readers: Mapping[str, str]) -> ir.Model:
    """A copy of ``model``, float or QDQ, with other stored weights.

    Args:
        model: to emit.
        owned: by official key, [O, I, k, k] each, as of :meth:`Coding.owned`.
        readers: names of the Convs that read them, by official key.
    """
    copy = model.clone()
    for name, array in owned.items():
        conv = copy.graph.node(readers[name])
        codes = edit.producer(conv.inputs[1], "DequantizeLinear")
        if codes is None:
            edit.set_weight(copy.graph, conv, 1, array)
        else:
            edit.fill(codes, 0, array)
    return copy


def sources(conv: ir.Node) -> tuple[tuple[str, int], ...]:
    """Whose stages the input channels of an owned ``conv`` come from, and how many; "" is none of them."""
    return tuple(_made_by(conv.inputs[0]))


def _made_by(value: ir.Value | None) -> Iterator[tuple[str, int]]:
    made = value.producer() if value is not None else None
    if made is not None and made.op_type == "Concat":
        for part in made.inputs:
            yield from _made_by(part)
    elif made is not None and made.op_type in ("Resize", "LeakyRelu", "Relu"):
        yield from _made_by(made.inputs[0])
    else:
        stage = edit.producer(made.inputs[0], "Conv") if made is not None and made.op_type == "Conv" else None
        key = "" if stage is None or stage.inputs[1] is None else str(stage.inputs[1].name)
        yield key if key in spec.OWNED else "", _channels(value)


def _channels(value: ir.Value | None) -> int:
    if value is None or value.shape is None or not isinstance(value.shape[1], int):
        raise ValueError("a tensor has no inferred shape")
    return value.shape[1]
