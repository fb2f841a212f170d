"""Our files under tflite-runtime 2.14 and numpy 1, in an environment that this test builds.

That is what boards with an older image have. Nothing else is installed there: reading,
running and describing an artefact needs no torch, onnx or LiteRT.
"""

from __future__ import annotations

import json
import subprocess
import sys
import venv
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mfs_edge.targets.tflite import TfliteTarget

from mfs_edge import fold
from tests.targets.tflite import graphs, qdq
from tests.targets.tflite.conftest import Writer

pytestmark = pytest.mark.compat
REPOSITORY = Path(__file__).parents[3]
CHILD = Path(__file__).with_name("compat_child.py")


@pytest.fixture(scope="session")
def old_python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of the small environment; tflite-runtime's last wheels are for Python 3.11."""
    assert sys.version_info[:2] == (3, 11), (
        "tflite-runtime 2.14 has wheels up to Python 3.11; run the compat tests there"
    )
    folder = tmp_path_factory.mktemp("old-runtime")
    venv.create(folder, with_pip=True)
    python = folder / "bin" / "python"
    install = [
        str(python),
        "-m",
        "pip",
        "install",
        "--quiet",
        "--only-binary=:all:",
        "tflite-runtime==2.14.0",
        "numpy<2",
        "pydantic>=2.7",  # of every install of mfs-edge; a target declares its options with it
    ]
    done = subprocess.run(install, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return python


def old_run(
    python: Path, artefact: Path, image: np.ndarray, folder: Path
) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    np.save(folder / "image.npy", image)
    arguments = [str(REPOSITORY), str(artefact), str(folder / "image.npy"), str(folder / "outputs.npz")]
    done = subprocess.run(
        [str(python), str(CHILD), *arguments], capture_output=True, text=True, check=False, cwd=folder
    )
    assert done.returncode == 0, done.stderr[-2000:]
    with np.load(folder / "outputs.npz") as outputs:
        return dict(outputs), json.loads(done.stdout)


@pytest.mark.parametrize("io", ["float32", "uint8"])
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_float_files_give_the_same_picture(
    old_python: Path, written: Writer, golden: graphs.Arrays, tmp_path: Path, precision: str, io: str
) -> None:
    image = graphs.nchw(golden["target224/image"])
    artefact = written(precision=precision, io=io)
    outputs, report = old_run(old_python, artefact, image, tmp_path)
    assert report["runtime"] == "tflite-runtime 2.14.0"
    assert report["numpy"].startswith("1.")
    tolerance = 5e-5 if io == "float32" else 1.01 / 255
    for name, here in TfliteTarget().load(artefact).run(image).items():
        np.testing.assert_allclose(outputs[name], here, atol=tolerance)
    if (precision, io) == ("fp32", "float32"):
        np.testing.assert_allclose(outputs["swapped"][0], golden["target224/output"], atol=5e-5)
        np.testing.assert_allclose(outputs["mask"][0], golden["target224/mask"], atol=5e-5)
        assert report["coverage"]["partitions"] == 1
        assert report["coverage"]["outside"] == []


def test_an_int8_file_runs_and_what_falls_out_of_the_delegate_is_said(
    old_python: Path, golden_folded: fold.FoldedIDN, tmp_path: Path
) -> None:
    image = graphs.noise(64)
    model = qdq.quantise(graphs.idn(golden_folded.weights(), size=64), image)
    outputs, report = old_run(old_python, graphs.write(model, tmp_path, precision="int8"), image, tmp_path)
    assert all(np.isfinite(value).all() for value in outputs.values())
    (warning,) = report["warnings"]
    assert "tflite-runtime 2.14.0 runs none of the" in warning
    assert "takes no int8" in warning
    assert "pip install ai-edge-litert" in warning
    (caution,) = report["cautions"]  # what doctor says there
    assert "runs int8 files outside XNNPACK" in caution
    assert "pip install ai-edge-litert" in caution
