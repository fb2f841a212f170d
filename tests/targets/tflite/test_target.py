"""The written file, in LiteRT, against the authors' own outputs."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest
from mfs_edge.targets.tflite import TfliteTarget

from mfs_edge import fold
from mfs_edge.base import fidelity
from mfs_edge.program import Program
from mfs_edge.target import EmitOptions
from tests.targets.tflite import graphs
from tests.targets.tflite.conftest import Writer

Arrays = Mapping[str, np.ndarray]
TARGET = TfliteTarget()
HALF_LEVEL = 0.5 / 255


def worst(outputs: Arrays, golden: Arrays, size: int) -> float:
    return max(
        float(np.abs(outputs["swapped"][0] - golden[f"target{size}/output"]).max()),
        float(np.abs(outputs["mask"][0] - golden[f"target{size}/mask"]).max()),
    )


@pytest.mark.parametrize("level", [0, 1])
@pytest.mark.parametrize("size", [224, 256])
def test_golden_outputs_come_out_of_the_file(written: Writer, golden: Arrays, size: int, level: int) -> None:
    image = graphs.nchw(golden[f"target{size}/image"])
    outputs = TARGET.load(written(size=size, level=level)).run(image)
    assert outputs["swapped"].shape == (1, 3, size, size)
    assert outputs["mask"].shape == (1, 1, size, size)
    assert worst(outputs, golden, size) < 5e-5


@pytest.mark.parametrize("size", [224, 256])
def test_half_precision_weights_keep_the_picture(written: Writer, golden: Arrays, size: int) -> None:
    image = graphs.nchw(golden[f"target{size}/image"])
    outputs = TARGET.load(written(size=size, precision="fp16")).run(image)
    assert fidelity.psnr(outputs["swapped"][0] - golden[f"target{size}/output"]) >= 60
    assert fidelity.psnr(outputs["mask"][0] - golden[f"target{size}/mask"]) >= 60


def test_bytes_at_the_edges_lose_half_a_level_at_most(written: Writer, golden: Arrays) -> None:
    path = written(io="uint8")
    edges = TARGET.read(path)
    assert [(t.name, t.dtype, t.shape, t.layout, t.range) for t in (*edges.takes, *edges.gives)] == [
        ("image", "uint8", (1, 224, 224, 3), "NHWC", "0..255"),
        ("swapped", "uint8", (1, 224, 224, 3), "NHWC", "0..255"),
        ("mask", "uint8", (1, 224, 224, 1), "NHWC", "0..255"),
    ]
    outputs = TARGET.load(path).run(graphs.nchw(golden["target224/image"]))
    assert worst(outputs, golden, 224) <= HALF_LEVEL + 5e-5


def test_a_camera_frame_goes_in_and_comes_out_as_it_is(written: Writer, golden: Arrays) -> None:
    """No work is left to the app: bytes [1, S, S, 3] through the signature, in any language's binding."""
    from ai_edge_litert.interpreter import Interpreter

    run = Interpreter(model_path=str(written(io="uint8"))).get_signature_runner("serving_default")
    outputs = run(image=golden["target224/image"][None])
    expected = np.rint(golden["target224/output"].transpose(1, 2, 0) * 255)
    assert outputs["swapped"].dtype == np.uint8
    assert np.abs(outputs["swapped"][0].astype(float) - expected).max() <= 1
    assert outputs["mask"].shape == (1, 224, 224, 1)


@pytest.mark.parametrize("size", [32, 96])
def test_any_multiple_of_32(golden_folded: fold.FoldedIDN, written: Writer, size: int) -> None:
    from tests.targets.tflite import qdq

    image = graphs.noise(size)
    expected = qdq.run(graphs.idn(golden_folded.weights(), size=size, level=0), image)
    outputs = TARGET.load(written(size=size)).run(image)
    for name, reference in expected.items():
        np.testing.assert_allclose(outputs[name], reference, atol=5e-5)


@pytest.mark.parametrize(("precision", "bytes_each"), [("fp32", 4), ("fp16", 2)])
@pytest.mark.parametrize("level", [0, 1])
def test_the_file_is_its_weights_and_little_more(
    golden_folded: fold.FoldedIDN, written: Writer, precision: str, bytes_each: int, level: int
) -> None:
    weights = sum(weight.size for weight in golden_folded.weights().values()) * bytes_each
    assert written(precision=precision, level=level).stat().st_size <= weights * 1.01 + 20_000


@pytest.mark.parametrize("io", ["float32", "uint8"])
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
@pytest.mark.parametrize("level", [0, 1])
def test_one_partition_and_no_transpose(written: Writer, precision: str, io: str, level: int) -> None:
    loaded = TARGET.load(written(precision=precision, io=io, level=level))
    description = loaded.program
    assert not {"TRANSPOSE", "RESHAPE", "PAD", "PADV2"} & set(description.operators)
    covered = loaded.engine.coverage()
    assert covered is not None
    assert covered["partitions"] == 1
    assert covered["delegated"] == covered["nodes"] == sum(description.operators.values())
    assert loaded.warnings() == []


def test_the_same_model_gives_the_same_bytes(golden_folded: fold.FoldedIDN) -> None:
    def emitted(identity: str) -> bytes:
        model = graphs.idn(golden_folded.weights(), size=64)
        return TARGET.to_bytes(model, EmitOptions("fp16", "uint8", {"identity_sha256": identity}))

    assert emitted("a") == emitted("a")
    assert emitted("a") != emitted("b")


def test_emission_leaves_the_graph_alone(golden_folded: fold.FoldedIDN) -> None:
    import onnx_ir as ir

    model = graphs.idn(golden_folded.weights(), size=32)
    before = ir.to_proto(model).SerializeToString(deterministic=True)
    TARGET.to_bytes(model, EmitOptions("fp16", "uint8"))
    assert ir.to_proto(model).SerializeToString(deterministic=True) == before


def test_tensors_are_named_as_in_the_graph(golden_folded: fold.FoldedIDN, written: Writer) -> None:
    from mfs_edge.targets.tflite import validate

    model = graphs.idn(golden_folded.weights(), size=224)
    named = {tensor.name for tensor in validate.load(written()).tensors}
    absorbed = {"image.padded"}  # the Conv behind it pads by itself
    assert {str(node.outputs[0].name) for node in model.graph} - absorbed <= named


def test_metadata_and_description_are_in_the_file(written: Writer) -> None:
    description = TARGET.read(written(precision="fp16"))
    assert description.metadata == {"identity_sha256": "ab" * 32}
    assert "fp16" in description.details["description"]
    assert "mfs-edge" in description.details["description"]
    assert description.details["min_runtime"] == "2.1.0"  # DEPTH_TO_SPACE
    assert description.details["constant_bytes"]["float16"] > 900_000


@pytest.mark.parametrize(
    ("precision", "told"), [("fp32", 0), ("fp16", 0), ("int8", 1), ("int8-mixed", 1), ("int8-whatever", 1), ("", 0)]
)
def test_an_int8_file_says_which_runtime_makes_it_slow(precision: str, told: int) -> None:
    remarks = TARGET.remarks(Program("TFLite", (), {}, (), (), metadata={"precision": precision}))
    assert len(remarks) == told
    assert all("tflite-runtime" in line and "pip install ai-edge-litert" in line for line in remarks)


def test_litert_itself_needs_no_caution() -> None:
    assert TARGET.run_needs == ("ai_edge_litert",)
    assert TARGET.cautions() == []
