"""The coverage report, from real interpreters."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from mfs_edge.targets.tflite import TfliteTarget

from tests.targets.tflite import graphs
from tests.targets.tflite.conftest import Writer

TARGET = TfliteTarget()


def test_a_whole_network_is_inside(written: Writer) -> None:
    runner = TARGET.load(written(size=32, precision="fp16"))
    assert runner.coverage.nodes == runner.coverage.delegated > 60
    assert runner.coverage.partitions == 1
    assert runner.coverage.outside == ()
    assert runner.warnings == []
    assert runner.coverage.runtime.startswith("ai-edge-litert 2")


def test_an_operator_that_is_left_out_is_named_with_the_reason(tmp_path: Path) -> None:
    pad: graphs.Spec = ("Pad", [np.array([0, 0, 2, 1, 0, 0, 0, 1]), np.float32(0.5)], {"mode": "constant"})
    kernel = np.full((3, 3, 3, 3), 0.1, np.float32)
    model = graphs.chain(10, [("Tanh", [], {}), pad, ("Conv", [kernel], {})])
    runner = TARGET.load(graphs.write(model, tmp_path))
    left = runner.coverage.outside
    assert [(item.operator, item.tensor) for item in left] == [("PADV2", "pad.1")]
    assert "no such operator" in left[0].reason
    assert runner.coverage.delegated == runner.coverage.nodes - 1
    assert runner.coverage.partitions == 2
    (warning,) = runner.warnings
    assert "2 partitions" in warning
    assert "1 left out as XNNPACK has no such operator" in warning
    covered = TARGET.describe(tmp_path / "fp32-float32.tflite").details["delegate"]
    assert covered["outside"] == {"XNNPACK has no such operator": ["PADV2 pad.1"]}
    assert TARGET.describe(tmp_path / "fp32-float32.tflite").details["warnings"] == [warning]


def test_a_runtime_without_the_delegate_is_reported(written: Writer) -> None:
    from ai_edge_litert.interpreter import Interpreter, OpResolverType
    from mfs_edge.targets.tflite import delegate, validate

    path = written(size=32)
    plain = Interpreter(
        model_path=str(path), experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    )
    plain.allocate_tensors()
    found = delegate.coverage(plain, validate.load(path).model, runtime="bare 1.0")
    assert (found.partitions, found.delegated) == (0, 0)
    assert len(found.outside) == found.nodes
    assert "built without XNNPACK" in found.outside[0].reason
    assert str(found.warning()).startswith(f"bare 1.0 runs none of the {found.nodes} operators inside XNNPACK")
