"""Plant regressions in an ONNX artefact or a graph: what a careless change would do."""

from __future__ import annotations

import math
import time
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
from onnx import helper, numpy_helper

from mfs_edge.graph import edit


def insert_transposes(source: Path, target: Path) -> None:
    """A pair of transposes that cancel, behind the first activation."""
    model = onnx.load(source)
    place = next(i for i, node in enumerate(model.graph.node) if node.op_type == "LeakyRelu")
    name = model.graph.node[place].output[0]
    _redirect(model, name, "planted.back")
    for node in (
        helper.make_node("Transpose", ["planted.there"], ["planted.back"], perm=[0, 3, 1, 2]),
        helper.make_node("Transpose", [name], ["planted.there"], perm=[0, 2, 3, 1]),
    ):
        model.graph.node.insert(place + 1, node)
    onnx.save(_with_shapes(model), target)


def widen(source: Path, target: Path, *, share: float) -> None:
    """A redundant pointwise pair (identity weights) at full resolution worth ``share`` of the MACs."""
    model = onnx.load(source)
    shapes = {v.name: [d.dim_value for d in v.type.tensor_type.shape.dim] for v in model.graph.value_info}
    place = next(i for i, node in enumerate(model.graph.node) if node.op_type == "LeakyRelu")
    name = model.graph.node[place].output[0]
    _, channels, height, width = shapes[name]
    total = sum(_macs(node, model, shapes) for node in model.graph.node if node.op_type == "Conv")
    inner = max(channels, math.ceil(share * total / (2 * channels * height * width)))
    there = np.zeros((inner, channels, 1, 1), np.float32)
    there[np.arange(channels), np.arange(channels)] = 1
    back = np.ascontiguousarray(there.transpose(1, 0, 2, 3))
    model.graph.initializer.extend(
        [numpy_helper.from_array(there, "planted.w1"), numpy_helper.from_array(back, "planted.w2")]
    )
    _redirect(model, name, "planted.y")
    for node in (
        helper.make_node("Conv", ["planted.x", "planted.w2"], ["planted.y"]),
        helper.make_node("Conv", [name, "planted.w1"], ["planted.x"]),
    ):
        model.graph.node.insert(place + 1, node)
    onnx.save(_with_shapes(model), target)


def slow_down(source: Path, target: Path, *, share: float) -> float:
    """Like :func:`widen`, but worth ``share`` of the time: the least share of the MACs that costs that much here.

    Returns:
        The share of the time that it costs, by the quickest of many frames taken in turns in one
        process, which a busy machine disturbs least.
    """
    for macs in np.arange(share, 4 * share, share / 10):
        widen(source, target, share=float(macs))
        cost = _cost(source, target)
        if cost >= share:
            return cost
    raise ValueError(f"no redundant convolution of up to {4 * share:.0%} of the MACs costs {share:.0%} of the time")


def _cost(base: Path, head: Path) -> float:
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    sessions = [ort.InferenceSession(path, options, providers=["CPUExecutionProvider"]) for path in (base, head)]
    feed = {i.name: np.full(i.shape, 0.5, np.float32) for i in sessions[0].get_inputs()}
    times: list[list[float]] = [[], []]
    for _ in range(200):
        for session, taken in zip(sessions, times, strict=True):
            start = time.perf_counter()
            session.run(None, feed)
            taken.append(time.perf_counter() - start)
    return float(np.quantile(times[1], 0.05) / np.quantile(times[0], 0.05)) - 1


def _macs(node: onnx.NodeProto, model: onnx.ModelProto, shapes: dict[str, list[int]]) -> int:
    weight = next(tensor for tensor in model.graph.initializer if tensor.name == node.input[1])
    return math.prod(weight.dims[1:]) * math.prod(shapes.get(node.output[0], [0]))


def _redirect(model: onnx.ModelProto, old: str, new: str) -> None:
    for node in model.graph.node:
        for i, name in enumerate(node.input):
            if name == old:
                node.input[i] = new


def _with_shapes(model: onnx.ModelProto) -> onnx.ModelProto:
    return onnx.shape_inference.infer_shapes(model, strict_mode=True)


# A pointwise convolution behind these nodes costs 5 to 6 % of a frame's instructions, on either runtime.
BEHIND = {"onnx": ("mask.0.up",), "tflite": ("encoder.0.leaky", "encoder.1.leaky")}


def redundant_pointwise(model: ir.Model, target: str) -> ir.Model:
    """A copy of the demo's graph with pointwise identities, 5 to 6 % more instructions in the file of ``target``."""
    changed = model.clone()
    for node in [node for node in changed.graph if node.name in BEHIND[target]]:
        value = node.outputs[0]
        channels = edit.weight(next(use.node for use in value.uses()), 1).shape[0]
        identity = np.eye(channels, dtype=np.float32)[:, :, None, None]
        weight = edit.new_initialiser(changed.graph, f"{node.name}.identity", identity)
        readers = list(value.uses())
        extra = edit.new_node(f"{node.name}.redundant", "Conv", value, weight, kernel_shape=[1, 1])
        extra.outputs[0].shape, extra.outputs[0].type = value.shape, value.type
        changed.graph.insert_after(node, extra)
        for reader, index in readers:
            reader.replace_input_with(index, extra.outputs[0])
    return changed
