"""The IR's interpreter: onnxruntime on the CPU, as it comes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import onnx_ir as ir

from mfs_edge.base import cpus

Arrays = dict[str, np.ndarray]


class Session:
    """Runs a graph that is in memory."""

    def __init__(self, model: ir.Model, *, as_written: bool = False, observed: Iterable[str] = ()) -> None:
        """Prepare ``model``.

        Args:
            model: left as it is.
            as_written: operator by operator, nothing fused or reordered: a QDQ graph in float.
            observed: outputs of nodes to give beside the graph's own.

        Raises:
            Exception: onnxruntime refuses the graph; its exceptions share no base.
        """
        import onnx
        import onnxruntime as ort

        proto = ir.to_proto(model)
        declared = [output.name for output in proto.graph.output]
        self.outputs = list(dict.fromkeys([*declared, *observed]))
        proto.graph.output.extend(onnx.ValueInfoProto(name=name) for name in self.outputs[len(declared) :])
        options = ort.SessionOptions()
        options.log_severity_level = 3  # errors only
        options.intra_op_num_threads = cpus.limit()
        if as_written:
            options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
        self._session = ort.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"])
        source = self._session.get_inputs()[0]
        self.image, self.shape, self.type = str(source.name), list(source.shape), str(source.type)

    def run(self, feeds: Mapping[str, np.ndarray], names: Iterable[str] | None = None) -> Arrays:
        """The tensors ``names`` (all outputs if None), for the inputs by name; of any shape and type that it has."""
        wanted = self.outputs if names is None else list(names)
        if not wanted:  # for which onnxruntime gives everything
            return {}
        return dict(zip(wanted, self._session.run(wanted, dict(feeds)), strict=True))
