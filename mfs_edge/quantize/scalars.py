"""One number per identity and stage, by which its activations come to lie where the base's do.

An identity's gains and kernels make its activations larger or smaller than another's, all channels of a
stage together. That much is free (:mod:`mfs_edge.quantize.coding`); what is left are differences between
channels, which a base's shared ranges must hold.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import onnx_ir as ir

from mfs_edge.graph import edit
from mfs_edge.quantize import people, taps
from mfs_edge.quantize.coding import LEAST_ENERGY, Energy
from mfs_edge.quantize.people import People


def level(model: ir.Model, persons: People, pictures: Sequence[np.ndarray], *, powers: bool) -> tuple[ir.Model, People]:
    """Every identity of ``persons`` on the level of all; the first one's graph is left as it is.

    Args:
        model: the float graph of the first identity.
        persons: in its units.
        pictures: float32 [1, 3, S, S] each, in 0..1, to see what convs read.
        powers: whether only powers of two may be used, which change no digit.

    Returns:
        Both in units in which expected energies are the first identity's, where it is alone, or the
        (geometric) mean of all.
    """
    owned = people.convs(model.graph)
    stages = {name: reader for name, conv in owned.items() if (reader := _reader(conv)) is not None}
    moments = [_moments(version, list(stages), pictures) for version in persons.versions(model)]
    scalars: list[dict[str, float]] = [{} for _ in persons.weights]
    moved: list[dict[str, np.ndarray]] = [{} for _ in persons.weights]
    energies: dict[str, Energy] = {}
    for name, conv in owned.items():
        incoming = [_incoming(conv, found) for found in scalars]
        for own, weights, scale in zip(moved, persons.weights, incoming, strict=True):
            own[name] = weights[name] * edit.per_input(conv, 1 / scale)
        if name not in stages:
            continue
        seen = np.mean([m[name] * s[:, None, None] ** 2 for m, s in zip(moments, incoming, strict=True)], axis=0)
        shares = (edit.weight(stages[name], 1)[:, :, 0, 0] ** 2).sum(axis=0)
        energy = Energy(seen.astype(np.float32), shares.astype(np.float32), 1.0, powers)
        found = np.maximum([energy.of(own[name]) for own in moved], LEAST_ENERGY)
        energies[name] = replace(energy, wanted=_typical(found))
        for own, numbers in zip(moved, scalars, strict=True):
            numbers[name] = energies[name].scalar(own[name])
            own[name] = own[name] * numbers[name]
    levelled = replace(persons, weights=tuple(moved), energies=energies)
    return people.with_weights(model, levelled.weights[0]), levelled


def _typical(energies: np.ndarray) -> float:
    return float(energies[0]) if len(energies) == 1 else float(np.exp(np.log(energies).mean()))


def _reader(conv: ir.Node) -> ir.Node | None:
    """The pointwise conv behind a depthwise one, if all that follows carries a factor as far as owned convs."""
    if not edit.is_depthwise(conv):
        return None
    reader = edit.only_consumer(conv.outputs[0])
    if reader is None or not edit.is_pointwise(reader) or edit.conv_bias(reader).any() or edit.conv_bias(conv).any():
        return None
    return reader if edit.scalable(reader.outputs[0], ("LeakyRelu", "Relu", "Resize", "Concat")) else None


def _moments(model: ir.Model, names: Sequence[str], pictures: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
    """Of what each named conv's kernels see, [C, K, K]."""
    owned = people.convs(model.graph)
    found = taps.seen(model, pictures, only=[owned[name] for name in names])
    return {name: found[owned[name]].moments for name in names}


def _incoming(conv: ir.Node, scalars: Mapping[str, float]) -> np.ndarray:
    """What each input channel is multiplied by: [C]."""
    return np.concatenate([np.full(count, scalars.get(name, 1.0)) for name, count in people.sources(conv)])
