"""Damaged and foreign files end in one clear line, never in the interpreter."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from mfs_edge.targets.tflite import TfliteTarget, flatbuffer, reader, validate
from mfs_edge.targets.tflite.flatbuffer import Builder, Quantisation

from mfs_edge.base.errors import InputError
from mfs_edge.fold import FoldedIDN
from tests.targets.tflite import graphs, qdq
from tests.targets.tflite.conftest import Writer

TARGET = TfliteTarget()


@pytest.fixture(scope="module")
def sound(written: Writer) -> bytes:
    return written(size=32, precision="fp16", io="uint8").read_bytes()


def refused(data: bytes, folder: Path) -> str:
    """The one line that both ways to open a file give."""
    path = folder / "broken.tflite"
    path.write_bytes(data)
    lines = []
    for opening in (TARGET.load, TARGET.read):
        with pytest.raises(InputError) as failure:
            opening(path)
        lines.append(str(failure.value))
    assert lines[0] == lines[1]
    assert str(path) in lines[0]
    assert "\n" not in lines[0]
    return lines[0]


@pytest.mark.parametrize("part", [0.0, 0.000004, 0.00001, 0.001, 0.3, 0.9, 0.999999])
def test_a_truncated_file_is_refused(sound: bytes, tmp_path: Path, part: float) -> None:
    refused(sound[: int(len(sound) * part)], tmp_path)


def test_every_changed_bit_is_noticed(sound: bytes) -> None:
    rng = np.random.default_rng(0)
    for position in rng.integers(8, len(sound), 200):
        changed = bytearray(sound)
        changed[position] ^= 1 << int(rng.integers(8))
        with pytest.raises(reader.Damaged):
            validate.check(bytes(changed))


def test_bytes_appended_are_noticed(sound: bytes, tmp_path: Path) -> None:
    assert "changed since it was written" in refused(sound + b"\0", tmp_path)


@pytest.mark.parametrize("content", [b"hello, world, this is no model", b"\x89PNG\r\n\x1a\n" * 9, bytes(4096)])
def test_other_formats_are_refused(tmp_path: Path, content: bytes) -> None:
    assert "TFLite's mark" in refused(content, tmp_path)


def test_a_missing_file_a_folder_and_an_empty_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        TARGET.load(tmp_path / "nothing.tflite")
    with pytest.raises(InputError, match="is a folder"):
        TARGET.read(tmp_path)
    assert "is empty" in refused(b"", tmp_path)


def test_a_sound_model_of_something_else_is_refused(tmp_path: Path) -> None:
    builder = Builder()
    x, y = builder.tensor("x", "float32", (1, 5)), builder.tensor("y", "float32", (1, 5))
    builder.operator("TANH", [x], [y])
    data = flatbuffer.serialise(builder, inputs={"args_0": x}, outputs={"out": y}, description="", metadata={})
    assert "args_0 -> out, not image -> swapped, mask" in refused(data, tmp_path)


def swapper(*, tensors: dict[str, tuple[int, ...]] | None = None, pieces: list[int] | None = None) -> bytes:
    """A tiny builder that passes; ``tensors`` overrides shapes, ``pieces`` the order of its operators."""
    shapes = {"image": (1, 8, 8, 3), "kernel": (3, 3, 3, 3), "swapped": (1, 8, 8, 3), "mask": (1, 8, 8, 1)}
    shapes |= tensors or {}
    builder = Builder()
    image = builder.tensor("image", "float32", shapes["image"])
    kernel = builder.constant("kernel", np.ones(shapes["kernel"], np.float32))
    bias = builder.constant("bias", np.zeros(3, np.float32))
    middle, swapped = (builder.tensor(name, "float32", shapes["swapped"]) for name in ("middle", "swapped"))
    narrow = builder.constant("narrow", np.ones((1, 1, 1, 3), np.float32))
    one = builder.constant("one", np.zeros(1, np.float32))
    mask = builder.tensor("mask", "float32", shapes["mask"])
    builder.operator("CONV_2D", [image, kernel, bias], [middle], "Conv2D", padding=0, strideW=1, strideH=1)
    builder.operator("TANH", [middle], [swapped])
    builder.operator("CONV_2D", [image, narrow, one], [mask], "Conv2D", padding=0, strideW=1, strideH=1)
    builder.operators = [builder.operators[number] for number in pieces or (0, 1, 2)]
    outputs = {"swapped": swapped, "mask": mask}
    return flatbuffer.serialise(builder, inputs={"image": image}, outputs=outputs, description="", metadata={})


def test_a_foreign_file_with_the_right_edges_is_read(tmp_path: Path) -> None:
    path = tmp_path / "other.tflite"
    path.write_bytes(swapper())
    outputs = TARGET.load(path).run(np.ones((1, 3, 8, 8), np.float32))
    assert np.isfinite(outputs["swapped"]).all()


BAD_PROGRAMS = {
    "a result larger than computed": ({"tensors": {"swapped": (1, 8, 8, 4)}}, "where its CONV_2D computes"),
    "a kernel of other channels": ({"tensors": {"kernel": (3, 3, 3, 4)}}, "do not fit together"),
    "an image that is not square": ({"tensors": {"image": (1, 8, 9, 3), "swapped": (1, 8, 9, 3)}}, "computes"),
    "a mask of another size": ({"tensors": {"mask": (1, 4, 4, 1)}}, "where its CONV_2D computes"),
    "operators out of order": ({"pieces": [1, 0, 2]}, "nothing computes before"),
    "an operator twice": ({"pieces": [0, 1, 1, 2]}, "where it cannot be"),
    "an output that nothing computes": ({"pieces": [0, 2]}, "computed by no operator"),
}


@pytest.mark.parametrize("kind", BAD_PROGRAMS)
def test_programs_that_make_no_sense_are_refused(tmp_path: Path, kind: str) -> None:
    changes, message = BAD_PROGRAMS[kind]
    assert message in refused(swapper(**changes), tmp_path)  # type: ignore[arg-type]


def test_a_stride_of_zero_is_refused(tmp_path: Path) -> None:
    """The interpreter divides by it."""
    builder = Builder()
    image = builder.tensor("image", "float32", (1, 8, 8, 3))
    kernel = builder.constant("kernel", np.ones((3, 1, 1, 3), np.float32))
    bias = builder.constant("bias", np.zeros(3, np.float32))
    swapped, mask = (builder.tensor(name, "float32", (1, 8, 8, depth)) for name, depth in (("s", 3), ("m", 1)))
    builder.operator("CONV_2D", [image, kernel, bias], [swapped], "Conv2D", padding=0, strideW=0, strideH=1)
    builder.operator("TANH", [swapped], [mask])
    ends = {"swapped": swapped, "mask": mask}
    data = flatbuffer.serialise(builder, inputs={"image": image}, outputs=ends, description="", metadata={})
    assert "a stride or extent of 0" in refused(data, tmp_path)


@pytest.mark.parametrize(
    ("quantisation", "said"),
    [
        (None, "int8 and has no scale"),
        (Quantisation.per_tensor(0.1, 128), "a zero point outside -128..127"),
        (Quantisation(np.full(3, 0.1, np.float32), np.zeros(3, np.int64), axis=3), "3 scales"),
    ],
)
def test_integers_need_a_scale_that_fits(tmp_path: Path, quantisation: Quantisation | None, said: str) -> None:
    builder = Builder()
    image = builder.tensor("image", "float32", (1, 8, 8, 3))
    inside = builder.tensor("inside", "int8", (1, 8, 8, 3), quantisation=quantisation)
    swapped, mask = (builder.tensor(name, "float32", (1, 8, 8, depth)) for name, depth in (("s", 3), ("m", 1)))
    builder.operator("QUANTIZE", [image], [inside], "Quantize")
    builder.operator("DEQUANTIZE", [inside], [swapped])
    builder.operator("TANH", [swapped], [mask])
    ends = {"swapped": swapped, "mask": mask}
    data = flatbuffer.serialise(builder, inputs={"image": image}, outputs=ends, description="", metadata={})
    assert said in refused(data, tmp_path)


FUZZ = """
import sys
import numpy as np
from ai_edge_litert.interpreter import Interpreter
from mfs_edge.targets.tflite import reader, validate

validate._check_digest = lambda data, model: None  # else nothing changed would get past it
base = open(sys.argv[1], "rb").read()
weights = np.zeros(len(base), bool)
for tensor in reader.read(base).tensors:
    start, size = tensor.content
    weights[start : start + size] = size > 1000
spots = np.flatnonzero(~weights)
rng = np.random.default_rng(int(sys.argv[2]))
refused = ran = failed = 0
for _ in range(int(sys.argv[3])):
    data = bytearray(base)
    for spot in rng.choice(spots, rng.integers(1, 4)):
        data[spot] = rng.integers(256) if rng.random() < 0.5 else data[spot] ^ (1 << int(rng.integers(8)))
    try:
        validate.check(bytes(data))
    except reader.Damaged:
        refused += 1
        continue
    try:
        interpreter = Interpreter(model_content=bytes(data), num_threads=1)
        interpreter.allocate_tensors()
        interpreter.invoke()
        ran += 1
    except (ValueError, RuntimeError):
        failed += 1
print(refused, ran, failed)
"""


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("precision", ["fp16", "int8"])
def test_what_passes_does_not_end_the_process(
    written: Writer, demo_folded: FoldedIDN, tmp_path: Path, precision: str, seed: int
) -> None:
    """Structure changed at random, with the digest switched off, in a process that may die."""
    if precision == "int8":
        model = qdq.quantise(graphs.idn(demo_folded.weights(), size=32), graphs.noise(32))
        path = graphs.write(model, tmp_path, precision="int8")
    else:
        path = written(size=32, precision="fp16", io="uint8")
    done = subprocess.run(
        [sys.executable, "-c", FUZZ, str(path), str(seed), "250"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    refused_count, ran, _ = (int(count) for count in done.stdout.split())
    assert refused_count > 100
    assert ran > 10


@pytest.mark.parametrize("sizes", [(1, 8, 8, 3), (1, 4, 16, 3), (8, 8, 3)])
def test_a_reshape_does_what_its_result_says(tmp_path: Path, sizes: tuple[int, ...]) -> None:
    """The interpreter goes by the constant, and would write past a result that is shaped otherwise."""
    builder = Builder()
    image = builder.tensor("image", "float32", (1, 8, 8, 3))
    swapped = builder.tensor("s", "float32", (1, 8, 8, 3))
    shape = builder.constant("shape", np.array(sizes, np.int32))
    builder.operator("RESHAPE", [image, shape], [swapped], "Reshape", newShape=[1, 8, 8, 3])
    kernel = builder.constant("kernel", np.ones((1, 1, 1, 3), np.float32))
    mask = builder.tensor("m", "float32", (1, 8, 8, 1))
    bias = builder.constant("bias", np.zeros(1, np.float32))
    builder.operator("CONV_2D", [image, kernel, bias], [mask], "Conv2D", padding=0, strideW=1, strideH=1)
    ends = {"swapped": swapped, "mask": mask}
    data = flatbuffer.serialise(builder, inputs={"image": image}, outputs=ends, description="", metadata={})
    if sizes == (1, 8, 8, 3):
        validate.check(data)
    else:
        assert "RESHAPE" in refused(data, tmp_path)
