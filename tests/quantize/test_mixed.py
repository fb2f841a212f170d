"""Which nodes stay float."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from mfs_edge.base.errors import UsageError
from mfs_edge.base.fidelity import psnr
from mfs_edge.quantize import execute, mixed, quantise
from mfs_edge.quantize.mixed import Unit


def unit(name: str, macs: int, inside: float, output: float, readers: tuple[int, ...]) -> Unit:
    return Unit((name,), frozenset(readers), macs, {"swapped": inside}, {"swapped": output})


CHAIN = [unit("a", 10, 1.0, 5.0, (1,)), unit("b", 10, 1.0, 5.0, (2,)), unit("c", 100, 1.0, 8.0, ())]


def test_an_output_is_spared_only_with_its_readers() -> None:
    assert mixed.remaining(CHAIN, ()) == {"swapped": 21.0}
    assert mixed.remaining(CHAIN, {0}) == {"swapped": 20.0}
    assert mixed.remaining(CHAIN, {0, 1}) == {"swapped": 14.0}
    assert mixed.remaining(CHAIN, {0, 1, 2}) == {"swapped": 0.0}


@pytest.mark.parametrize(
    ("allowed", "kept"), [(25.0, ()), (20.0, ("a",)), (15.0, ("a", "b")), (12.5, ("c",)), (0.5, ("a", "b", "c"))]
)
def test_the_fewest_macs_are_taken(allowed: float, kept: tuple[str, ...]) -> None:
    found = mixed.cheapest(CHAIN, {"swapped": allowed})
    numbers = {i for i, one in enumerate(CHAIN) if one.nodes[0] in found}
    assert mixed.remaining(CHAIN, numbers)["swapped"] <= allowed
    assert len(found) == len(kept)


def test_the_default_keeps_a_small_share_of_the_work(small: ir.Model) -> None:
    kept = set(mixed.default(small))
    total = sum(map(mixed.macs, small.graph))
    assert 0.05 < sum(mixed.macs(node) for node in small.graph if node.name in kept) / total < 0.2
    assert {"encoder.0.depthwise", "normalise.centre", "tail.face", "swapped"} <= kept


def test_units_partition_all_but_carriers(small: ir.Model) -> None:
    names = [str(node.name) for nodes in mixed.units(small.graph) for node in nodes]
    assert len(names) == len(set(names))
    left = {node.op_type for node in small.graph if node.name not in names}
    assert left == {"Resize", "Concat"}


def levels(model: ir.Model, reference: ir.Model, pictures: list[np.ndarray]) -> dict[str, float]:
    pairs = zip(execute.outputs(model, pictures), execute.outputs(reference, pictures), strict=True)
    found = [{name: psnr(outputs[name] - wanted[name]) for name in wanted} for outputs, wanted in pairs]
    return {name: float(np.mean([one[name] for one in found])) for name in ("swapped", "mask")}


def test_a_search_reaches_what_is_asked_with_less_than_everything(
    small: ir.Model, calibrating: list[np.ndarray], judging: list[np.ndarray]
) -> None:
    plain = quantise(small, calibrating).model
    wanted = min(levels(plain, small, calibrating).values()) + 4
    searched = quantise(small, calibrating, precision="int8-mixed", min_psnr=wanted)
    assert min(levels(searched.model, small, calibrating).values()) >= wanted - 0.5
    # Held-out pictures are harder here, but they gain as much.
    assert min(levels(searched.model, small, judging).values()) >= min(levels(plain, small, judging).values()) + 2.5
    work = {str(node.name): mixed.macs(node) for node in small.graph}
    assert 0 < sum(work[name] for name in searched.float_nodes) < 0.6 * sum(work.values())


def test_an_easy_wish_keeps_nothing_in_float(small: ir.Model, calibrating: list[np.ndarray]) -> None:
    assert quantise(small, calibrating, precision="int8-mixed", min_psnr=5).float_nodes == ()


def test_an_impossible_wish_keeps_everything(
    small: ir.Model, calibrating: list[np.ndarray], judging: list[np.ndarray]
) -> None:
    searched = quantise(small, calibrating[:2], precision="int8-mixed", min_psnr=120)
    assert set(searched.float_nodes) == {str(node.name) for node in small.graph}
    assert min(levels(searched.model, small, judging).values()) > 100


def test_named_nodes_stay_float_and_unknown_ones_are_refused(small: ir.Model, calibrating: list[np.ndarray]) -> None:
    named = quantise(small, calibrating[:2], precision="int8-mixed", float_nodes=["tail.2.conv.doubled", "tail.face"])
    conv = next(node for node in named.model.graph if node.name == "tail.2.conv.doubled")
    assert conv.inputs[1].const_value is not None
    with pytest.raises(UsageError, match="no node 'tail'"):
        quantise(small, calibrating[:2], precision="int8-mixed", float_nodes=["tail"])
