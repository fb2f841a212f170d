"""ONNX, TFLite, OpenVINO and Core ML files: what ``inspect`` and ``bench`` make of them without running them."""

from __future__ import annotations

import contextlib
import functools
import tempfile
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
from mfs_edge.targets.coreml import read as coreml_read
from mfs_edge.targets.tflite import flatbuffer
from mfs_edge.targets.tflite import reader as tflite_reader
from onnx_ir.passes.common import ShapeInferencePass

from mfs_edge import target
from mfs_edge.base import files
from mfs_edge.base.errors import InputError
from mfs_edge.graph import cost
from mfs_edge.measure import facts
from mfs_edge.target import EmitOptions
from tests.fuzz.registry import Sample, reader
from tests.fuzz.structures import binaries, texts
from tests.targets.tflite import graphs, qdq

SIZE = 16
METADATA = {"identity_sha256": "ab" * 32, "checkpoint": "iin.pdparams", "precision": "fp32"}
MLMODEL, WEIGHTS, MANIFEST = (str(path) for path in (coreml_read.MODEL, coreml_read.WEIGHTS, coreml_read.MANIFEST))


@functools.cache
def emitted(name: str, precision: str) -> tuple[str, dict[str, bytes]]:
    """The name by which a small artefact opens, and its files."""
    kind = target.get(name)
    with tempfile.TemporaryDirectory() as folder:
        opened = Path(folder, f"idn{kind.suffix}")
        kind.emit(_graph(precision), opened, EmitOptions(precision, "float32", METADATA))
        return opened.name, {str(path.relative_to(folder)): path.read_bytes() for path in files.under(Path(folder))}


@functools.cache
def _graph(precision: str):  # type: ignore[no-untyped-def]  # an onnx_ir model, imported where it is made
    """image -> swapped, mask: a convolution of each kind, a sum, a concatenation and a resize."""
    random = np.random.default_rng(0)

    def weights(*shape: int) -> np.ndarray:
        return random.normal(0, 0.3, shape).astype(np.float32)

    down = ("Conv", [weights(3, 1, 4, 4)], {"pads": [1, 1, 1, 1], "strides": [2, 2], "group": 3})
    up = (
        "Resize",
        [None, np.array([1, 1, 2, 2], np.float32)],
        {"mode": "linear", "coordinate_transformation_mode": "align_corners"},
    )
    wide = ("Conv", [weights(8, 3, 1, 1), weights(8)], {})
    narrow = ("Conv", [weights(3, 8, 3, 3)], {"pads": [1, 1, 1, 1]})
    leaky = ("LeakyRelu", [], {"alpha": 0.1})
    model = graphs.chain(SIZE, [down, up, ("Add", ["image"], {}), wide, leaky, narrow, ("Sigmoid", [], {})])
    return ShapeInferencePass()(qdq.quantise(model, graphs.noise(SIZE))).model if precision == "int8" else model


def written(name: str, member: str, precisions: tuple[str, ...] = ("fp32", "int8")) -> list[Sample]:
    """Each precision's, with ``member`` to be edited."""
    found = []
    for precision in precisions:
        held = dict(emitted(name, precision)[1])
        found.append(Sample(held.pop(member), held))
    return found


def examined(path: Path) -> None:
    """All that is told of an artefact without a runtime: facts, graph hash, costs, metadata, integers."""
    program = target.of_file(path).read(path)
    with contextlib.suppress(InputError):  # a stranger's file may lack shapes
        cost.count(program)
    facts.of(path)
    list(program.quantised())


@reader(
    "onnx", file="idn.onnx", samples=lambda: written("onnx", "idn.onnx"), structures=[binaries.as_protobuf], share=3
)
def read_onnx(path: Path) -> None:
    examined(path)


def digest(data: bytes) -> tuple[int, int] | None:
    return tflite_reader.read(data).metadata.get(flatbuffer.DIGEST)


def foreign_tflite() -> list[Sample]:
    """Ours, and the same without the digest: a stranger's, which is only read."""
    ours = written("tflite", "idn.tflite")
    return [
        *ours,
        *(Sample(sample.data.replace(flatbuffer.DIGEST.encode(), b"x" * len(flatbuffer.DIGEST))) for sample in ours),
    ]


@reader("tflite", file="idn.tflite", samples=foreign_tflite, structures=[binaries.Signed(digest)], share=3)
def read_tflite(path: Path) -> None:
    examined(path)


@reader(
    "openvino-xml", file="idn.xml", samples=lambda: written("openvino", "idn.xml"), structures=[texts.as_xml], share=2
)
def read_xml(path: Path) -> None:
    examined(path)


def _unsigned_ir() -> list[Sample]:
    """With and without the hash of the ``.bin`` in the ``.xml``: a stranger's has none."""
    found = written("openvino", "idn.bin")
    for sample in list(found):
        root = ET.fromstring(sample.beside["idn.xml"])
        root.remove(root.find("rt_info"))  # type: ignore[arg-type]
        found.append(Sample(sample.data, {"idn.xml": ET.tostring(root)}))
    return found


@reader("openvino-bin", file="idn.bin", samples=_unsigned_ir, share=0.5)
def read_bin(path: Path) -> None:
    examined(path.with_suffix(".xml"))


@reader(
    "coreml-mlmodel",
    file=f"idn.mlpackage/{MLMODEL}",
    samples=lambda: written("coreml", f"idn.mlpackage/{MLMODEL}"),
    structures=[binaries.as_protobuf],
    share=2,
)
def read_mlmodel(path: Path) -> None:
    examined(path.parents[2])


def _unsigned_package() -> list[Sample]:
    """With and without the hash of the weights among the model's entries."""
    found = written("coreml", f"idn.mlpackage/{WEIGHTS}")
    name = coreml_read.WEIGHTS_SHA256.encode()
    for sample in list(found):
        model = sample.beside[f"idn.mlpackage/{MLMODEL}"].replace(name, b"x" * len(name))
        found.append(Sample(sample.data, {**sample.beside, f"idn.mlpackage/{MLMODEL}": model}))
    return found


@reader("coreml-weights", file=f"idn.mlpackage/{WEIGHTS}", samples=_unsigned_package, share=0.5)
def read_weights(path: Path) -> None:
    examined(path.parents[3])


@reader(
    "coreml-manifest",
    file=f"idn.mlpackage/{MANIFEST}",
    samples=lambda: written("coreml", f"idn.mlpackage/{MANIFEST}", ("fp32",)),
    structures=[texts.as_json],
)
def read_package_manifest(path: Path) -> None:
    examined(path.parent)


def _evaluated(package: Path) -> None:
    """What ``compile`` verifies a package with, where there is no Core ML."""
    coreml = target.get("coreml")
    runner = coreml.evaluator(package)
    assert runner is not None
    runner.run(graphs.noise(SIZE))
    runner.execution()


@reader(
    "coreml-evaluator",
    file=f"idn.mlpackage/{MLMODEL}",
    samples=lambda: written("coreml", f"idn.mlpackage/{MLMODEL}"),
    structures=[binaries.as_protobuf],
    share=2,
)
def evaluate_model(path: Path) -> None:
    _evaluated(path.parents[2])


@reader("coreml-evaluator-weights", file=f"idn.mlpackage/{WEIGHTS}", samples=_unsigned_package, share=0.5)
def evaluate_weights(path: Path) -> None:
    _evaluated(path.parents[3])


@reader(
    "coreml-evaluator-manifest",
    file=f"idn.mlpackage/{MANIFEST}",
    samples=lambda: written("coreml", f"idn.mlpackage/{MANIFEST}", ("fp32",)),
    structures=[texts.as_json],
    share=0.5,
)
def evaluate_package(path: Path) -> None:
    _evaluated(path.parent)
