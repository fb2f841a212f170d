"""``mfs-edge[tflite]`` alone, installed into a fresh environment, measures an artefact."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.compat
REPOSITORY = Path(__file__).parents[2]
SOURCES = ("mfs_edge", "targets", "pyproject.toml", "README.md", "LICENSE")
HEAVY = ("torch", "onnx", "onnx_ir", "onnxruntime", "openvino", "coremltools", "cv2", "tensorflow")
SCRIPT = """
import importlib.util, json, sys
import mfs_edge.measure
report = mfs_edge.bench(sys.argv[1], threads=1)
installed = [name for name in sys.argv[2:] if importlib.util.find_spec(name)]
print(json.dumps({"installed": installed, "report": json.loads(report.dumps()), "from": mfs_edge.__file__}))
"""


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of an environment with ``mfs-edge[tflite]`` and nothing else."""
    folder = tmp_path_factory.mktemp("bare")
    copy = folder / "source"  # a build writes into the folder it builds
    copy.mkdir()
    for name in SOURCES:
        source = REPOSITORY / name
        if source.is_dir():
            shutil.copytree(source, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copyfile(source, copy / name)
    subprocess.run([sys.executable, "-m", "venv", str(folder / "venv")], check=True)
    python = folder / "venv" / "bin" / "python"
    done = subprocess.run(
        [str(python), "-m", "pip", "install", "--quiet", f"{copy}[tflite]"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return python


def alone(python: Path, folder: Path, code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run ``code`` with what is installed there, whatever the caller's PYTHONPATH."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    command = [str(python), "-c", code, *arguments]
    return subprocess.run(command, capture_output=True, text=True, cwd=folder, env=environment)


def test_bench_works_from_the_tflite_extra_alone(bare: Path, artefacts: Path, tmp_path: Path) -> None:
    ran = alone(bare, tmp_path, SCRIPT, str(artefacts / "idn.tflite"), *HEAVY)
    assert ran.returncode == 0, ran.stderr[-2000:]
    found = json.loads(ran.stdout)
    assert found["installed"] == []
    assert str(REPOSITORY) not in found["from"]
    entry = found["report"]["entries"][0]
    assert entry["facts"]["macs"] > 0
    assert entry["observation"]["coverage"]["partitions"] == 1
    assert entry["observation"]["latency"]["runs"] >= 50


def test_a_file_whose_runtime_is_not_there_names_what_to_install(bare: Path, artefacts: Path, tmp_path: Path) -> None:
    code = "import sys, mfs_edge; mfs_edge.bench(sys.argv[1])"
    ran = alone(bare, tmp_path, code, str(artefacts / "idn.onnx"))
    last = ran.stderr.strip().splitlines()[-1]
    assert last.startswith("mfs_edge.base.errors.MissingDependency: local: onnxruntime cannot be imported")
    assert "pip install onnxruntime" in last
