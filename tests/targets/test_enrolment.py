"""Enrolment graphs as files: what each runtime reads from the golden face, from the bytes that were written."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

from mfs_edge import target
from mfs_edge.base.errors import InputError
from mfs_edge.enrolment import Plan, Run, coded
from mfs_edge.graph.session import Session
from mfs_edge.networks import spec
from mfs_edge.target import ENROL, EmitOptions
from tests.enrolment.conftest import golden_crop, level, stored
from tests.enrolment.test_coding import KEYS, part, stub

__all__ = ["golden_crop", "level", "stored"]

LEAST = {"fp32": 70, "fp16": 50, "int8": 40}
MEGABYTES = {"fp32": 292, "fp16": 147, "int8": 76}
# Each kind of storage in each target, at a full-size file or two.
CASES = [
    *(("onnx", "fp16"), ("onnx", "int8"), ("tflite", "fp32"), ("tflite", "int8")),
    *(("openvino", "fp16"), ("openvino", "int8"), ("coreml", "fp16"), ("coreml", "int8")),
    *(("c", "fp32"), ("c", "fp16"), ("c", "int8")),
]


def payload_of(kind: target.Target, path: Path, crop: np.ndarray) -> np.ndarray:
    if kind.unrunnable() is None:
        return kind.load(path).enrol(crop)
    evaluator = kind.evaluator(path)
    assert evaluator is not None
    return evaluator.run(crop)["payload"]


@pytest.mark.parametrize(("name", "precision"), CASES)
def test_written_files_read_the_golden_face(
    stored: Callable[[str], ir.Model], level: Callable[[np.ndarray], float], golden_crop: np.ndarray, tmp_path: Path,
    name: str, precision: str,
) -> None:  # fmt: skip
    kind, path = target.get(name), tmp_path / f"enrol{target.get(name).suffix}"
    kind.emit(
        stored(precision), path, EmitOptions(precision, task=ENROL, metadata={"task": ENROL, "precision": precision})
    )
    assert target.artefact_of(kind, path).size <= MEGABYTES[precision] * 1e6
    program = kind.read(path)
    assert [tensor.name for tensor in program.takes] == ["crop"]
    assert [(tensor.name, tensor.shape) for tensor in program.gives] == [("payload", (25_264,))]
    assert program.metadata["task"] == ENROL
    assert level(payload_of(kind, path, golden_crop)) >= LEAST[precision]
    if name == "tflite":
        coverage = kind.load(path).engine.coverage()
        assert coverage is not None
        assert (coverage["partitions"], coverage["outside"]) == (1, [])
    with pytest.raises(InputError):
        payload_of(kind, path, golden_crop[:, :, ::2, ::2])


@pytest.mark.parametrize("name", ["onnx", "tflite", "openvino", "coreml"])
@pytest.mark.parametrize("dtype", ["float16", "int8"])
def test_a_payload_of_codes_is_what_the_graph_says(name: str, dtype: str, tmp_path: Path) -> None:
    """Small numbers behind a graph that is nothing but its end, as a base in that type wants them."""
    trunk, _ = stub()
    one = np.ones((1, 1, 1, 1))
    scales = {key: np.linspace(0.01, 0.05, max(spec.local_shapes()[key][:1])) for key in KEYS}
    parts = [replace(part(key, one, dtype), scale=scales[key] if dtype == "int8" else None) for key in KEYS]
    model = coded(trunk, Plan(tuple(parts), tuple(Run(key) for key in KEYS), dtype=dtype))
    crop = np.zeros((1, 3, 224, 224), np.float32)
    wanted = Session(model).run({"crop": crop})["payload"]
    assert wanted.dtype == dtype
    assert len(np.unique(wanted)) > 100
    kind, path = target.get(name), tmp_path / f"enrol{target.get(name).suffix}"
    kind.emit(model, path, EmitOptions("fp32", task=ENROL))
    found = payload_of(kind, path, crop)
    assert np.abs(found.astype(np.float64) - wanted).max() <= (1 if dtype == "int8" else 0)
    assert np.mean(found != wanted) < 0.01  # a tie may fall either way
    if name == "tflite":
        coverage = kind.load(path).engine.coverage()
        assert coverage is not None
        outside = ["CAST"] if dtype == "float16" else []  # to half precision, behind everything else
        assert (coverage["partitions"], coverage["outside"]) == (1, outside)
