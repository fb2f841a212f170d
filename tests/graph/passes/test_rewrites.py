"""What each pass leaves behind, what it asks for, and what the whole list amounts to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import numpy as np
import onnx
import onnx_ir as ir
import onnxsim
import pytest

from mfs_edge.base.errors import PassError, UsageError
from mfs_edge.fold import FORMS, FoldedIDN
from mfs_edge.graph import edit, passes
from mfs_edge.graph.build import build
from mfs_edge.graph.passes.base import GraphPass

Plain = Callable[[int], ir.Model]

ALL = passes.LEVELS[1]
FLOAT_ONLY = tuple(kind for kind in ALL if kind not in (passes.ShareSubexpressions, passes.DropDead))


def operators(model: ir.Model) -> Counter[str]:
    return Counter(node.op_type for node in model.graph)


def node(model: ir.Model, name: str) -> ir.Node:
    return next(node for node in model.graph if node.name == name)


def test_level_0_changes_nothing(plain: Plain) -> None:
    before, after = ir.to_proto(plain(96)), ir.to_proto(passes.optimise(plain(96), level=0))
    assert after.graph.node == before.graph.node
    assert after.graph.initializer == before.graph.initializer


def test_unknown_level(plain: Plain) -> None:
    with pytest.raises(UsageError, match="optimisation level 7 is unknown; there are 0, 1"):
        passes.optimise(plain(96), level=7)


@pytest.mark.parametrize("form", FORMS)
def test_the_whole_list_leaves_a_valid_graph(golden_folded: FoldedIDN, form: str) -> None:
    model = passes.optimise(build(golden_folded.weights(form), size=96))
    onnx.checker.check_model(ir.to_proto(model), full_check=True)
    found = operators(model)
    assert not found.keys() & {"BatchNormalization", "Tanh", "Div"}
    assert (found["Conv"], found["Resize"], found["LeakyRelu"]) == (32, 9, 16)
    assert all(value.shape is not None for step in model.graph for value in step.outputs)
    assert all(step.name == step.outputs[0].name for step in model.graph)
    assert [value.name for value in model.graph.outputs] == ["swapped", "mask"]


@pytest.mark.parametrize("kind", ALL)
def test_a_second_time_changes_nothing(plain: Plain, kind: type[GraphPass]) -> None:
    assert not kind()(passes.optimise(plain(96))).modified


@pytest.mark.parametrize("form", FORMS)
def test_onnxsim_finds_nothing_to_remove(golden_folded: FoldedIDN, form: str) -> None:
    proto = ir.to_proto(passes.optimise(build(golden_folded.weights(form), size=224)))
    simplified, valid = onnxsim.simplify(proto)
    assert valid
    assert len(simplified.graph.node) == len(proto.graph.node)
    assert len(simplified.graph.initializer) == len(proto.graph.initializer)


def test_fold_batch_norm(plain: Plain) -> None:
    model = plain(96)
    assert passes.FoldBatchNorm()(model).modified
    assert operators(model)["BatchNormalization"] == 0
    assert operators(model)["Conv"] == operators(plain(96))["Conv"]
    assert node(model, "mask.0.norm").op_type == "Conv", "the conv computes what the norm did, so it has its name"


def test_hoist_pointwise(plain: Plain) -> None:
    model = plain(96)
    passes.FoldBatchNorm()(model)
    assert passes.HoistPointwise()(model).modified
    model = passes.run(model, [])
    early, late = node(model, "tail.0.norm.hoisted"), node(model, "tail.0.norm")
    assert (early.op_type, list(early.outputs[0].shape)) == ("Conv", [1, 8, 48, 48])
    assert (late.op_type, list(late.outputs[0].shape)) == ("Resize", [1, 8, 96, 96])
    depthwise = [conv for conv in model.graph if conv.op_type == "Conv" and edit.is_depthwise(conv)]
    assert all(conv.inputs[0].producer().op_type == "Resize" for conv in depthwise if "encoder" not in conv.name)


def test_share_subexpressions_merges_exactly_one_resize(plain: Plain) -> None:
    model = plain(96)
    before = operators(model)
    assert passes.ShareSubexpressions()(model).modified
    assert before - operators(model) == Counter(Resize=1)
    readers = {use.node.name for use in node(model, "mask.0.up").outputs[0].uses()}
    assert readers == {"mask.0.depthwise", "decoder.0.depthwise"}


def test_tanh_to_sigmoid(plain: Plain) -> None:
    model = plain(96)
    last = edit.weight(node(model, "tail.2.conv"), 1)
    assert passes.TanhToSigmoid()(model).modified
    assert node(model, "tail.face").op_type == "Sigmoid"
    assert not operators(model)["Tanh"]
    np.testing.assert_array_equal(edit.weight(node(model, "tail.2.conv.doubled"), 1), 2 * last)


def test_blend_form(plain: Plain) -> None:
    model = plain(96)
    assert passes.BlendForm()(model).modified
    passes.DropDead()(model)
    assert operators(plain(96)) - operators(model) == Counter(Sub=0, Mul=1, Add=0)
    assert node(model, "swapped").op_type == "Add"
    assert "one" in model.graph.initializers, "the tail's (1 + tanh) still reads it"


def test_fold_normalisation(plain: Plain) -> None:
    model = plain(96)
    kernel = edit.weight(node(model, "encoder.0.depthwise"), 1)
    assert passes.FoldNormalisation()(model).modified
    conv = node(model, "encoder.0.depthwise")
    np.testing.assert_array_equal(edit.weight(conv, 1), 2 * kernel)
    assert conv.inputs[0].producer().inputs[0].name == "image"


def test_fold_depthwise_bias(plain: Plain) -> None:
    model = plain(96)
    assert passes.FoldDepthwiseBias()(model).modified
    depthwise = [conv for conv in model.graph if conv.op_type == "Conv" and edit.is_depthwise(conv)]
    assert len(depthwise) == 14
    assert all(len(conv.inputs) == 2 for conv in depthwise)


def test_drop_dead(plain: Plain) -> None:
    model = plain(96)
    edit.new_initialiser(model.graph, "nobody", np.zeros(3, np.float32))
    assert passes.DropDead()(model).modified
    assert "nobody" not in model.graph.initializers
    assert operators(model) == operators(plain(96))


def test_an_initialiser_with_two_readers_is_split_not_overwritten(plain: Plain) -> None:
    model = plain(96)
    first, second = node(model, "mask.3.pointwise"), node(model, "mask.4.pointwise")
    shared = second.inputs[2]
    other = edit.new_node("other", "Mul", second.outputs[0], shared)
    edit.set_weight(model.graph, second, 2, np.array([5.0, 6.0]))
    np.testing.assert_array_equal(edit.conv_bias(second), [5, 6])
    assert shared is other.inputs[1]
    assert second.inputs[2] is not shared
    assert first.inputs[2] is not None


# --- what identity-local promises --------------------------------------------------------------
LOCAL = {f"{branch}.{i}.0.weight" for branch, n in (("Encoder", 5), ("Decoder", 4)) for i in range(n)}
LOCAL |= {"mask.0.1.weight", "final.1.weight"}


def identity_dependent(first: ir.Model, second: ir.Model) -> set[str]:
    """The initialisers in which two graphs differ."""
    pair = [{name: value.const_value.numpy() for name, value in m.graph.initializers.items()} for m in (first, second)]
    assert pair[0].keys() == pair[1].keys()
    return {name for name in pair[0] if not np.array_equal(pair[0][name], pair[1][name])}


def two_identities(golden_folded: FoldedIDN, level: int) -> set[str]:
    from dataclasses import replace

    rng = np.random.default_rng(3)

    def other(stage):
        gain = stage.gain * rng.choice([-1, 1e-12, 0, 1.5], stage.gain.shape)  # negative, tiny and zero too
        return replace(stage, kernel=stage.kernel * 1.1, gain=gain)

    changed = replace(
        golden_folded,
        encoder=tuple(map(other, golden_folded.encoder)),
        decoder=tuple(map(other, golden_folded.decoder)),
    )
    graphs = [build(folded.weights("identity-local"), size=64) for folded in (golden_folded, changed)]
    return identity_dependent(*(passes.optimise(graph, level=level) for graph in graphs))


def test_an_identity_is_local_at_level_0(golden_folded: FoldedIDN) -> None:
    assert two_identities(golden_folded, 0) == LOCAL


def test_an_identity_is_local_at_level_1(golden_folded: FoldedIDN) -> None:
    assert two_identities(golden_folded, 1) == LOCAL


# --- contracts ---------------------------------------------------------------------------------
@pytest.mark.parametrize("kind", [*FLOAT_ONLY, passes.Balance])
def test_quantised_graphs_are_refused(plain: Plain, kind: type[GraphPass]) -> None:
    model = plain(64)
    leaky = node(model, "encoder.0.leaky")
    quantise = edit.new_node("early", "QuantizeLinear", leaky.outputs[0], model.graph.initializers["half"])
    model.graph.insert_after(leaky, [quantise])
    with pytest.raises(PassError, match=f"{kind.__name__} broke its contract: QuantizeLinear early is there before"):
        passes.run(model, [kind()])


BROKEN_PROMISES = {
    passes.FoldBatchNorm: "BatchNormalization mask.0.norm is left",
    passes.HoistPointwise: "could still be hoisted",
    passes.TanhToSigmoid: "Tanh tail.tanh is left",
    passes.BlendForm: "Add swapped still blends in the long form",
    passes.FoldNormalisation: "Div normalise.scale still normalises",
    passes.FoldDepthwiseBias: "Conv mask.0.depthwise still has a bias",
    passes.DropDead: "initialiser nobody is read by nothing",
}


@pytest.mark.parametrize("kind", BROKEN_PROMISES)
def test_a_pass_that_does_nothing_breaks_its_promise(plain: Plain, kind: type[GraphPass]) -> None:
    class Idle(kind):  # type: ignore[misc, valid-type]
        def call(self, model: ir.Model) -> ir.passes.PassResult:
            return ir.passes.PassResult(model, modified=False)

    model = plain(64)
    edit.new_initialiser(model.graph, "nobody", np.zeros(3, np.float32))
    with pytest.raises(PassError, match=f"Idle broke its contract: .*{BROKEN_PROMISES[kind]}"):
        passes.run(model, [Idle()])
