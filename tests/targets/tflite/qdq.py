"""A small QDQ quantiser for tests: min-max ranges, one picture, nothing clever."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime as ort
from onnx import helper, numpy_helper

Arrays = dict[str, np.ndarray]

_TIED = ("Concat", "Resize", "Pad")  # operators that pass their input's scale on
_SIGMOID = (np.float32(1 / 256), np.int8(-128))


def run(model: ir.Model | onnx.ModelProto, image: np.ndarray, names: Collection[str] = ("swapped", "mask")) -> Arrays:
    """Evaluate node by node: with onnxruntime's fusions a QDQ graph computes something else."""
    proto = model if isinstance(model, onnx.ModelProto) else ir.to_proto(model)
    options = ort.SessionOptions()
    options.log_severity_level = 3  # it warns of every weight that was replaced
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = ort.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return dict(zip(names, session.run(list(names), {"image": image}), strict=True))


def quantise(model: ir.Model, image: np.ndarray, *, floating: Collection[str] = ()) -> ir.Model:
    """``model`` with Q/DQ around every activation, int8, weights per channel.

    Args:
        model: float32.
        image: what ranges are read off, [1, 3, S, S].
        floating: names of the nodes that stay float.
    """
    proto = onnx.ModelProto.FromString(ir.to_proto(model).SerializeToString())
    return ir.from_proto(_Quantiser(proto, image, floating).proto())


class _Quantiser:
    def __init__(self, proto: onnx.ModelProto, image: np.ndarray, floating: Collection[str]) -> None:
        self.model, self.graph = proto, proto.graph
        self.constants = {item.name: numpy_helper.to_array(item) for item in self.graph.initializer}
        self.integer = {node.name for node in self.graph.node} - set(floating)
        self.parameters = self._parameters(self._values(image))
        self.made: dict[str, str] = {}
        self.nodes: list[onnx.NodeProto] = []

    def proto(self) -> onnx.ModelProto:
        outputs = {output.name for output in self.graph.output}
        self._pair("image", "image")
        for node in list(self.graph.node):
            self._rewire(node, outputs)
        del self.graph.node[:]
        self.graph.node.extend(self.nodes)
        del self.graph.value_info[:]
        onnx.checker.check_model(self.model, full_check=True)
        return self.model

    def _values(self, image: np.ndarray) -> Arrays:
        names = [node.output[0] for node in self.graph.node]
        probe = onnx.ModelProto.FromString(self.model.SerializeToString())
        del probe.graph.output[:]
        probe.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
        return {"image": image, **run(probe, image, names)}

    def _parameters(self, values: Mapping[str, np.ndarray]) -> dict[str, tuple[np.float32, np.int8]]:
        """Scale and zero point per tensor; tied tensors share them."""
        group = {name: name for name in values}
        for node in self.graph.node:
            if node.op_type in _TIED:
                for name in node.input:
                    if name in values:
                        old, new = group[name], group[node.output[0]]
                        group = {key: new if root == old else root for key, root in group.items()}
        found = {}
        for name in values:
            members = [values[other] for other in values if group[other] == group[name]]
            low, high = (min(0.0, *(m.min() for m in members)), max(0.0, *(m.max() for m in members)))
            scale = np.float32((high - low) / 255)
            found[name] = scale, np.int8(np.clip(round(-128 - low / scale), -128, 127))
        sigmoids = {node.output[0]: _SIGMOID for node in self.graph.node if node.op_type == "Sigmoid"}
        return found | sigmoids

    def _pair(self, source: str, name: str, output: str | None = None) -> None:
        """QuantizeLinear and DequantizeLinear after ``source``; readers of ``name`` see the result."""
        scale, zero = self.parameters[name]
        q, dq = f"{name}.q", output or f"{name}.dq"
        ends = [self._store(f"{name}.scale", scale), self._store(f"{name}.zero", zero)]
        self.nodes += [
            helper.make_node("QuantizeLinear", [source, *ends], [q], name=q),
            helper.make_node("DequantizeLinear", [q, *ends], [dq], name=f"{name}.dq"),
        ]
        self.made[name] = dq

    def _store(self, name: str, value: np.ndarray | np.generic) -> str:
        if name not in self.constants:
            self.constants[name] = np.asarray(value)
            self.graph.initializer.append(numpy_helper.from_array(np.asarray(value), name))
        return name

    def _rewire(self, node: onnx.NodeProto, outputs: Collection[str]) -> None:
        name = node.output[0]
        integer = node.name in self.integer
        if integer and node.op_type == "Conv":
            self._weights(node)
        for index, read in enumerate(node.input):
            node.input[index] = self.made.get(read, read)
        readers = [other for other in self.graph.node if name in other.input]
        self.nodes.append(node)
        if integer or any(reader.name in self.integer for reader in readers):
            if name in outputs:
                node.output[0] = f"{name}.real"
            self._pair(node.output[0], name, name if name in outputs else None)

    def _weights(self, node: onnx.NodeProto) -> None:
        kernel = self.constants[node.input[1]]
        scale = np.maximum(np.abs(kernel).max(axis=(1, 2, 3)), 1e-6).astype(np.float32) / 127
        codes = np.rint(kernel / scale[:, None, None, None]).astype(np.int8)
        steps = (scale * self.parameters[node.input[0]][0]).astype(np.float32)
        self._dequantised(node, 1, codes, scale)
        if len(node.input) > 2:
            self._dequantised(node, 2, np.rint(self.constants[node.input[2]] / steps).astype(np.int32), steps)

    def _dequantised(self, node: onnx.NodeProto, index: int, codes: np.ndarray, scale: np.ndarray) -> None:
        name = node.input[index]
        zero = self._store(f"{name}.zero", np.zeros(scale.size, codes.dtype))
        inputs = [self._store(f"{name}.codes", codes), self._store(f"{name}.scale", scale), zero]
        self.nodes.append(helper.make_node("DequantizeLinear", inputs, [f"{name}.dq"], name=f"{name}.dq", axis=0))
        node.input[index] = f"{name}.dq"
