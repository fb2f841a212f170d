"""Broken passes, planted on purpose, are caught and named."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx_ir as ir
import pytest

from mfs_edge.base.errors import PassError
from mfs_edge.graph import edit, passes
from mfs_edge.graph.passes.base import GraphPass
from tests.graph.conftest import natural_images
from tests.graph.passes.checker import Checker, evaluate

Plain = Callable[[int], ir.Model]


def conv(graph: ir.Graph, name: str) -> ir.Node:
    return next(node for node in graph if node.name == name)


class Detuned(GraphPass):
    """One weight of one conv is a little off."""

    def rewrite(self, model: ir.Model) -> bool:
        graph = model.graph
        node = conv(graph, "decoder.1.pointwise")
        weight = edit.weight(node, 1)
        weight[3, 5] *= 1.1
        edit.set_weight(graph, node, 1, weight)
        return True


class Quiet(Detuned):
    """Changes a weight, and says that it has not."""

    def rewrite(self, model: ir.Model) -> bool:
        super().rewrite(model)
        return False


class Boastful(GraphPass):
    def rewrite(self, model: ir.Model) -> bool:
        return True


class Reshaping(GraphPass):
    """Makes the mask one number, which broadcasts."""

    def rewrite(self, model: ir.Model) -> bool:
        conv(model.graph, "mask.5.conv").attributes["strides"] = ir.AttrInt64s("strides", [64, 64])
        return True


class Ill(GraphPass):
    """Leaves a graph that cannot run."""

    def rewrite(self, model: ir.Model) -> bool:
        conv(model.graph, "encoder.2.pointwise").attributes["group"] = ir.AttrInt64("group", 3)
        return True


class Infinite(GraphPass):
    def rewrite(self, model: ir.Model) -> bool:
        graph = model.graph
        node = conv(graph, "encoder.1.depthwise")
        edit.set_weight(graph, node, 1, edit.weight(node, 1) * np.inf)
        return True


class Renaming(GraphPass):
    def rewrite(self, model: ir.Model) -> bool:
        model.graph.outputs[1].name = "alpha"
        return True


class Rescaling(GraphPass):
    """Doubles the values inside, rightly compensated."""

    rescales = True
    factor = 0.5

    def rewrite(self, model: ir.Model) -> bool:
        graph = model.graph
        first, second = conv(graph, "encoder.1.depthwise"), conv(graph, "encoder.1.pointwise")
        edit.set_weight(graph, first, 1, edit.weight(first, 1) * 2)
        edit.set_weight(graph, second, 1, edit.weight(second, 1) * self.factor)
        return True


class Miscompensated(Rescaling):
    factor = 0.4


BROKEN = {
    Detuned: "pass Detuned is not exact: tensor decoder.1.pointwise of Conv decoder.1.pointwise differs by",
    Quiet: "pass Quiet changed the graph and reported that it had not",
    Boastful: "pass Boastful left the graph as it was and reported that it changed it",
    Reshaping: r"tensor mask.5.conv of Conv mask.5.conv has shape \[1, 1, 1, 1\], not \[1, 1, 64, 64\]",
    Ill: "pass Ill left a graph that onnxruntime refuses",
    Infinite: "tensor encoder.1.depthwise of Conv encoder.1.depthwise differs by (nan|inf)",
    Renaming: r"pass Renaming turned the outputs \['swapped', 'mask'\] into \['swapped', 'alpha'\]",
    Miscompensated: "pass Miscompensated is not exact: tensor (mask|swapped) of",
}


@pytest.fixture
def checker() -> Checker:
    return Checker(natural_images(64)[0])


@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")
@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_pass_is_named(plain: Plain, checker: Checker, kind: type[GraphPass]) -> None:
    good = passes.FoldBatchNorm()
    with pytest.raises(PassError, match=BROKEN[kind]):
        passes.run(plain(64), [good, kind()], checker=checker)


def test_all_of_ours_pass(plain: Plain, checker: Checker) -> None:
    model = passes.optimise(plain(64), checker=checker)
    passes.balance(model, checker=checker)


def test_a_rescaling_pass_is_judged_by_the_outputs_alone(plain: Plain, checker: Checker) -> None:
    model = passes.run(plain(64), [Rescaling()], checker=checker)
    assert len(model.graph) == 78


def test_evaluate_gives_every_tensor_in_order(plain: Plain) -> None:
    model = plain(64)
    values = evaluate(model, natural_images(64)[0])
    assert list(values) == [node.outputs[0].name for node in model.graph]
    assert values["mask"].shape == (1, 1, 64, 64)
