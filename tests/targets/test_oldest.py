"""The oldest runtime that each target names really runs every one of its artefacts, and none prints a warning.

``python -m pytest tests/targets/test_oldest.py`` reproduces what ``oldest_runtime`` in a manifest says.
"""

from __future__ import annotations

import functools
import subprocess
import sys
import venv
import xml.etree.ElementTree as ET
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import onnx
import pytest
from mfs_edge.targets.coreml import CoremlOptions
from mfs_edge.targets.tflite import reader

from mfs_edge import target
from mfs_edge.base.fidelity import psnr
from mfs_edge.quantize import half
from mfs_edge.target import EmitOptions
from tests.targets.integers import Graphs, faces

CHILD = Path(__file__).with_name("oldest_child.py")
RUN = ("onnx", "openvino", "tflite")
FORMS = [(precision, io) for precision in target.PRECISIONS for io in ("float32", "uint8")]
Written = Callable[[str], list[Path]]


@pytest.fixture(scope="module")
def written(demo_integers: Graphs, tmp_path_factory: pytest.TempPathFactory) -> Written:
    """Every artefact of a target: all precisions, floats and bytes."""

    @functools.cache
    def write(name: str) -> list[Path]:
        folder, kind = tmp_path_factory.mktemp(name), target.get(name)
        for precision, io in FORMS:
            graph = half.prepare(demo_integers("fp32")) if precision == "fp16" else demo_integers(precision)
            kind.emit(graph, folder / f"{precision}-{io}{kind.suffix}", EmitOptions(precision=precision, io=io))
        return [folder / f"{precision}-{io}{kind.suffix}" for precision, io in FORMS]

    return write


def child(python: Path, name: str, artefacts: Iterable[Path], folder: Path) -> subprocess.CompletedProcess[str]:
    engine = Path(sys.modules[type(target.get(name)).__module__].__file__ or "").with_name("engine.py")
    np.savez(folder / "frames.npz", image=faces(range(1))[0])
    command = [str(python), str(CHILD), str(engine), str(folder / "frames.npz"), *map(str, artefacts)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.compat
@pytest.mark.parametrize("name", RUN)
def test_the_oldest_runtime_runs_everything(written: Written, tmp_path: Path, name: str) -> None:
    (runtime,) = set(target.get(name).oldest.values())
    package, version = runtime.split()
    venv.create(tmp_path / "old", with_pip=True)
    python = tmp_path / "old" / "bin" / "python"
    pip = [str(python), "-m", "pip", "install", "--quiet", "--only-binary=:all:", f"{package}=={version}", "numpy<2"]
    done = subprocess.run(pip, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    artefacts = written(name)
    ran = child(python, name, artefacts, tmp_path)
    assert ran.returncode == 0, ran.stderr[-2000:]
    assert [line.split()[-1] for line in ran.stdout.splitlines()] == [version] * len(artefacts)
    assert not [line for line in ran.stderr.splitlines() if not line.startswith("INFO:")]
    for path in artefacts:
        here = target.get(name).load(path).run(faces(range(1))[0])
        with np.load(path.with_suffix(".npz")) as there:
            for output, found in here.items():
                value = there[output] / 255 if there[output].dtype == np.uint8 else there[output]
                value = value if value.shape == found.shape else value.transpose(0, 3, 1, 2)
                assert psnr(value - found) > (35 if "int8" in path.name else 50)


@pytest.mark.parametrize("name", RUN)
def test_todays_runtime_prints_no_warning(written: Written, tmp_path: Path, name: str) -> None:
    ran = child(Path(sys.executable), name, written(name), tmp_path)
    assert ran.returncode == 0, ran.stderr[-2000:]
    assert not [line for line in ran.stderr.splitlines() if not line.startswith("INFO:")]


def test_onnxruntime_has_nothing_to_warn_of_at_its_own_level(written: Written) -> None:
    """Our engine asks for errors only; an app's may not."""
    session = "o.InferenceSession(path, providers=['CPUExecutionProvider'])"
    load = f"import sys, onnxruntime as o\nfor path in sys.argv[1:]: {session}"
    command = [sys.executable, "-c", load, *map(str, written("onnx"))]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def names(path: Path) -> list[list[str]]:
    """Lists of names, each of which must hold none twice."""
    if path.suffix == ".xml":
        return [[str(layer.get("name")) for layer in ET.parse(path).getroot().findall("layers/layer")]]
    if path.suffix == ".tflite":
        return [[tensor.name for tensor in reader.read(path.read_bytes()).tensors]]
    graph = onnx.load(path).graph
    made = [output for node in graph.node for output in node.output]
    return [[node.name for node in graph.node], [*made, *(t.name for t in graph.initializer)]]


@pytest.mark.parametrize("name", RUN)
def test_names_are_unique(written: Written, name: str) -> None:
    for path in written(name):
        for found in names(path):
            assert not [each for each, count in Counter(found).items() if count > 1], path.name


@pytest.mark.parametrize("precision", target.PRECISIONS)
def test_core_ml_names_are_unique(demo_integers: Graphs, tmp_path: Path, precision: str) -> None:
    from mfs_edge.targets.coreml import evaluator

    graph = half.prepare(demo_integers("fp32")) if precision == "fp16" else demo_integers(precision)
    target.get("coreml").emit(graph, tmp_path / "a.mlpackage", EmitOptions(precision=precision, io="image"))
    made = [operation.outputs[0].name for operation in evaluator.Package.open(tmp_path / "a.mlpackage").operations()]
    assert len(made) == len(set(made))


@pytest.mark.parametrize(
    ("ios", "said"), [(16, "iOS 16, macOS 13"), (18, "iOS 18, macOS 15"), (26, "iOS 26, macOS 26")]
)
def test_core_ml_says_that_nobody_tried(ios: int, said: str) -> None:
    options = EmitOptions(precision="fp16", own=CoremlOptions.model_validate({"min_ios": ios}))
    assert target.get("coreml").oldest_runtime(options) == f"{said} (documented, not run)"


def test_every_precision_of_ours_names_its_oldest_runtime() -> None:
    for name in RUN:
        kind = target.get(name)
        assert set(kind.oldest) == set(kind.precisions)
