"""The written IR, loaded by OpenVINO, against the authors' own output."""

from __future__ import annotations

import functools
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import openvino
import pytest
from mfs_edge.targets.openvino import OpenvinoTarget, engine

from mfs_edge.base.errors import InputError, LoweringError, OutputError
from mfs_edge.base.fidelity import psnr
from mfs_edge.fold import FoldedIDN
from mfs_edge.graph import build, passes
from mfs_edge.target import EmitOptions

TARGET = OpenvinoTarget()
GOLDEN_TOLERANCE = 5e-5
FP16_DB = 60.0
FP16_BYTES = 1_150_000
Writer = Callable[..., Path]


@pytest.fixture(scope="module")
def graph(golden_folded: FoldedIDN) -> Callable[..., ir.Model]:
    weights = golden_folded.weights("plain")

    @functools.cache  # emission does not change a graph
    def make(*, size: int = 224, level: int = 1) -> ir.Model:
        return passes.optimise(build.build(weights, size=size), level=level)

    return make


@pytest.fixture(scope="module")
def written(graph: Any, tmp_path_factory: pytest.TempPathFactory) -> Writer:
    """Writes an IR (once per combination) and returns its path; never change it in place."""
    folder = tmp_path_factory.mktemp("ir")

    @functools.cache
    def write(*, precision: str = "fp32", io: str = "float32", size: int = 224, level: int = 1) -> Path:
        path = folder / f"idn-{size}-{precision}-{io}-{level}.xml"
        options = EmitOptions(precision=precision, io=io, metadata={"identity": "abc123", "author": "mfs-edge & co"})
        TARGET.emit(graph(size=size, level=level), path, options)
        return path

    return write


@pytest.fixture
def broken(written: Writer, tmp_path: Path) -> Path:
    """A copy to break."""
    source = written(size=32)
    for suffix in (".xml", ".bin"):
        shutil.copy(source.with_suffix(suffix), tmp_path / f"broken{suffix}")
    return tmp_path / "broken.xml"


@pytest.fixture
def frame(golden: Any) -> Callable[[int], np.ndarray]:
    def load(size: int) -> np.ndarray:
        return (golden[f"target{size}/image"].astype(np.float32) / 255).transpose(2, 0, 1)[None]

    return load


@pytest.mark.parametrize("level", [1, 0])
@pytest.mark.parametrize("size", [224, 256])
def test_float32_is_golden(written: Writer, frame: Any, golden: Any, size: int, level: int) -> None:
    outputs = TARGET.load(written(size=size, level=level)).run(frame(size))
    assert np.abs(outputs["swapped"][0] - golden[f"target{size}/output"]).max() < GOLDEN_TOLERANCE
    assert np.abs(outputs["mask"][0] - golden[f"target{size}/mask"]).max() < GOLDEN_TOLERANCE


@pytest.mark.parametrize("size", [224, 256])
def test_compressed_weights(written: Writer, frame: Any, golden: Any, size: int) -> None:
    path = written(precision="fp16", size=size)
    outputs = TARGET.load(path).run(frame(size))
    assert psnr(outputs["swapped"][0] - golden[f"target{size}/output"]) >= FP16_DB
    assert psnr(outputs["mask"][0] - golden[f"target{size}/mask"]) >= FP16_DB


@pytest.mark.parametrize("level", [1, 0])
def test_size_budget(written: Writer, level: int) -> None:
    path = written(precision="fp16", level=level)
    assert path.stat().st_size + path.with_suffix(".bin").stat().st_size <= FP16_BYTES


def test_camera_bytes(written: Writer, frame: Any, golden: Any) -> None:
    """As an app uses it: NHWC bytes in and out, rounded to the nearest."""

    compiled = engine.core().compile_model(written(io="uint8"), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    given = np.rint(frame(224).transpose(0, 2, 3, 1) * 255).astype(np.uint8)
    results = compiled({"image": given})
    for name, key in (("swapped", "output"), ("mask", "mask")):
        found = results[name]
        exact = golden[f"target224/{key}"].transpose(1, 2, 0)[None] * 255
        assert found.dtype == np.uint8
        assert found.shape == exact.shape
        assert np.abs(found - exact).max() <= 0.5 + 255 * GOLDEN_TOLERANCE


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_the_runner_hides_the_bytes(written: Writer, frame: Any, golden: Any, precision: str) -> None:
    outputs = TARGET.load(written(io="uint8", precision=precision)).run(frame(224))
    assert outputs["swapped"].dtype == np.float32
    assert psnr(outputs["swapped"][0] - golden["target224/output"]) > 55
    assert psnr(outputs["mask"][0] - golden["target224/mask"]) > 55


def test_saturation_does_not_wrap(graph: Any, tmp_path: Path) -> None:
    """A quantised network may leave 0..1 a little; 256 must not become 0."""
    image = ir.val("image", dtype=ir.DataType.FLOAT, shape=[1, 3, 32, 32])
    factor = ir.Value(name="factor", shape=ir.Shape([1]), type=ir.TensorType(ir.DataType.FLOAT))
    factor.const_value = ir.Tensor(np.array([1.25], np.float32), name="factor")
    outputs = [
        ir.Value(name=n, shape=ir.Shape([1, 3, 32, 32]), type=ir.TensorType(ir.DataType.FLOAT))
        for n in ("swapped", "mask")
    ]
    nodes = [
        ir.node("Mul", [image, factor], outputs=[outputs[0]], name="swapped"),
        ir.node("Sub", [image, factor], outputs=[outputs[1]], name="mask"),
    ]
    model = ir.Model(
        ir.Graph([image], outputs, nodes=nodes, initializers=[factor], opset_imports={"": 17}), ir_version=8
    )
    TARGET.emit(model, tmp_path / "a.xml", EmitOptions(io="uint8"))
    results = TARGET.load(tmp_path / "a.xml").run(np.ones((1, 3, 32, 32), np.float32))
    assert (results["swapped"] == 1).all()
    assert (results["mask"] == 0).all()


@pytest.mark.parametrize("size", [32, 96])
@pytest.mark.parametrize("io", ["float32", "uint8"])
def test_other_sizes(written: Writer, graph: Any, size: int, io: str) -> None:
    import onnxruntime as ort

    image = np.rint(np.random.default_rng(1).random((1, 3, size, size)) * 255).astype(np.float32) / 255
    session = ort.InferenceSession(ir.to_proto(graph(size=size, level=0)).SerializeToString())
    expected = dict(zip(("swapped", "mask"), session.run(["swapped", "mask"], {"image": image}), strict=True))
    found = TARGET.load(written(size=size, io=io)).run(image)
    rounding = 0.5 / 255 if io == "uint8" else 0.0
    for name, value in expected.items():
        assert np.abs(found[name] - value).max() < GOLDEN_TOLERANCE + rounding


@pytest.mark.parametrize(("io", "dtype", "layout", "limits"), [
    ("float32", "float32", "NCHW", "0..1"), ("uint8", "uint8", "NHWC", "0..255"),
])  # fmt: skip
def test_description(written: Writer, io: str, dtype: str, layout: str, limits: str) -> None:
    found = TARGET.read(written(io=io))
    tensors = [*found.takes, *found.gives]
    assert [tensor.name for tensor in tensors] == ["image", "swapped", "mask"]
    assert {(tensor.dtype, tensor.layout, tensor.range) for tensor in tensors} == {(dtype, layout, limits)}
    assert tensors[2].shape == ((1, 1, 224, 224) if layout == "NCHW" else (1, 224, 224, 1))
    assert found.operators["Interpolate"] == 9
    assert found.operators["Convolution"] + found.operators["GroupConvolution"] == 32
    assert found.metadata["identity"] == "abc123"
    assert found.metadata["author"] == "mfs-edge & co"
    assert "ShapeOf" not in found.operators  # resize sizes are folded


def test_openvino_sees_names_layout_and_metadata(written: Writer) -> None:

    model = engine.core().read_model(written())
    assert model.input("image").get_any_name() == "image"
    assert [output.get_any_name() for output in model.outputs] == ["swapped", "mask"]
    assert str(model.get_parameters()[0].get_layout()) == str(openvino.Layout("NCHW"))
    assert model.get_rt_info(["mfs_edge", "identity"]).astype(str) == "abc123"


def test_equal_graphs_make_equal_bytes(graph: Any, tmp_path: Path) -> None:
    for io in ("float32", "uint8"):
        for name in "ab":
            TARGET.emit(graph(size=32), tmp_path / f"{name}.xml", EmitOptions(precision="fp16", io=io))
        for suffix in (".xml", ".bin"):
            assert (tmp_path / f"a{suffix}").read_bytes() == (tmp_path / f"b{suffix}").read_bytes()


def test_precision_is_pinned_and_reported(written: Writer) -> None:
    loaded = engine.Engine(str(written(size=32)), threads=1)
    assert loaded.precision == "f32"
    assert loaded.compiled.get_property("INFERENCE_NUM_THREADS") == 1
    assert loaded.unpinned in ("f32", "bf16", "f16")


def test_another_precision_than_asked_is_an_error(written: Writer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Asked for another than the hint pins, so that no CPU is needed that would fall into one by itself."""
    monkeypatch.setattr(engine, "PRECISION", "bf16")
    with pytest.raises(InputError, match="computes in f32 on this CPU though bf16 was asked"):
        TARGET.load(written(size=32))


def remove_weights(path: Path) -> None:
    path.with_suffix(".bin").unlink()


def cut_weights(path: Path) -> None:
    data = path.with_suffix(".bin").read_bytes()
    path.with_suffix(".bin").write_bytes(data[:-1])


def empty_weights(path: Path) -> None:
    path.with_suffix(".bin").write_bytes(b"")


def change_weights(path: Path) -> None:
    data = bytearray(path.with_suffix(".bin").read_bytes())
    data[len(data) // 2] ^= 1
    path.with_suffix(".bin").write_bytes(data)


def cut_xml(path: Path) -> None:
    path.write_text(path.read_text()[:50_000])


def empty_xml(path: Path) -> None:
    path.write_text("")


def other_xml(path: Path) -> None:
    path.write_text("<html></html>")


def binary_xml(path: Path) -> None:
    path.write_bytes(bytes(range(256)))


def damaged_offset(path: Path) -> None:
    path.write_text(path.read_text().replace('offset="', 'offset="x', 1))


@pytest.mark.parametrize(("damage", "named"), [
    (remove_weights, r"broken\.bin: is missing"), (cut_weights, r"broken\.bin: is truncated"),
    (empty_weights, r"broken\.bin: is truncated"), (change_weights, r"broken\.bin: is damaged"),
    (cut_xml, r"broken\.xml: is damaged"), (empty_xml, r"broken\.xml: is empty"),
    (other_xml, r"broken\.xml: .*not an OpenVINO model"), (binary_xml, r"broken\.xml: is damaged"),
    (damaged_offset, r"broken\.xml: is damaged"),
])  # fmt: skip
def test_damage_is_reported(broken: Path, damage: Callable[[Path], None], named: str) -> None:
    damage(broken)
    for attempt in (TARGET.read, TARGET.load):
        with pytest.raises(InputError, match=named) as caught:
            attempt(broken)
        assert "\n" not in str(caught.value)


def test_what_openvino_alone_refuses(broken: Path) -> None:
    """Well-formed XML, right weights, but no model: OpenVINO's own words, on one line."""
    broken.write_text(broken.read_text().replace('type="Concat"', 'type="Nonsense"'))
    with pytest.raises(InputError, match=r"broken\.xml: OpenVINO cannot load it") as caught:
        TARGET.load(broken)
    assert "\n" not in str(caught.value)


def test_a_foreign_ir_loads_without_a_hash(broken: Path) -> None:

    model = engine.core().read_model(broken)
    foreign = broken.with_name("foreign.xml")
    openvino.save_model(openvino.Model(model.get_results(), model.get_parameters()), foreign, compress_to_fp16=False)
    assert TARGET.load(foreign).run(np.zeros((1, 3, 32, 32), np.float32))["mask"].shape == (1, 1, 32, 32)


@pytest.mark.parametrize("domain", ["", "com.example"])
def test_an_operator_without_a_lowering(domain: str, tmp_path: Path) -> None:
    image = ir.val("image", dtype=ir.DataType.FLOAT, shape=[1, 3, 32, 32])
    out = ir.Value(name="swapped", shape=ir.Shape([1, 3, 32, 32]), type=ir.TensorType(ir.DataType.FLOAT))
    node = ir.node("Det", [image], outputs=[out], name="odd.one", domain=domain)
    imports = {"": 17, **({domain: 1} if domain else {})}
    model = ir.Model(ir.Graph([image], [out], nodes=[node], opset_imports=imports, name="g"), ir_version=8)
    with pytest.raises(LoweringError, match=r"'odd\.one'.*Det"):
        TARGET.emit(model, tmp_path / "a.xml", EmitOptions())
    assert list(tmp_path.iterdir()) == []


def test_another_suffix_is_refused(graph: Any, tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"\.xml"):
        TARGET.emit(graph(size=32), tmp_path / "a.onnx", EmitOptions())


SIGNALLED = """
import signal, sys
from mfs_edge.targets.openvino.engine import Engine

heard = []
signal.signal(signal.SIGINT, lambda *_: heard.append(1))
first = Engine(sys.argv[1])
second = Engine(sys.argv[1])
del first
del second
signal.raise_signal(signal.SIGINT)
print(len(heard))
"""


def test_signals_are_heard_after_two_engines_have_gone(written: Callable[..., Path]) -> None:
    """It can fail on CPUs with AMX alone."""
    ran = subprocess.run([sys.executable, "-c", SIGNALLED, str(written())], capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stdout) == (0, "1\n"), ran.stderr
