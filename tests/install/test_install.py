"""What ``pip install mfs-edge`` and each of its extras alone can do, at both ends of the versions that are admitted."""

from __future__ import annotations

import json
import shutil
import zipfile
from pathlib import Path

import pytest

from mfs_edge.target import get
from tests.install.conftest import REPOSITORY, SIZE, Install, called

pytestmark = pytest.mark.install
TARGETS = ("c", "coreml", "onnx", "openvino", "tflite", "web")
RUNTIMES = {
    "c": "ziglang",
    "onnx": "onnxruntime",
    "openvino": "openvino",
    "tflite": "ai-edge-litert",
    "web": "wasmtime",
}
COMPILERS = {"web": {"ziglang"}}  # of C, that an extra brings beside its runtime
BESIDE = ("jinja2",)  # what runs C makes it again first, to compare
COMPILER = {"torch", "onnx", "onnx-ir", "opencv-python-headless", "safetensors"}
resolutions = pytest.mark.parametrize("resolution", ["lowest-direct", "highest"])


def test_the_wheel_holds_the_package_and_nothing_else(wheels: Path) -> None:
    (ours,) = wheels.glob("mfs_edge-*")
    with zipfile.ZipFile(ours) as archive:
        held = {name for name in archive.namelist() if ".dist-info/" not in name}
    wanted = {("mfs_edge" / path.relative_to(REPOSITORY)) for path in (REPOSITORY / "targets").rglob("*.py")}
    for pattern in ("*.j2", "*.c", "*.h", "*.js", "*.ts", "*.html", "*.css", "*.svg", "CMakeLists.txt"):
        wanted |= {("mfs_edge" / path.relative_to(REPOSITORY)) for path in (REPOSITORY / "targets").rglob(pattern)}
    for pattern in ("*.py", "*.npz", "*.png", "*.json", "*.j2", "*.html", "*.js", "plugin.c"):
        wanted |= {path.relative_to(REPOSITORY) for path in (REPOSITORY / "mfs_edge").rglob(pattern)}
    assert held == {path.as_posix() for path in wanted}


@resolutions
def test_the_base_alone(install: Install, formats: dict[str, Path], identity_file: Path, resolution: str) -> None:
    """It reads every format; for the rest it names what to install before any work."""
    there = install(resolution=resolution)
    assert COMPILER.isdisjoint(there.modules())
    found = there.json("doctor")
    assert not found["problems"]
    assert not found["compiles"]
    for report in found["targets"]:
        assert (report["emits"], report["runs"]) == (False, False)
        assert f"mfs-edge[{get(report['name']).extra}]" in report["remedy"]
    assert "mfs-edge[emulated]" in there.succeeds("doctor")
    for name in TARGETS:
        said = there.refuses(3, "compile", "--identity", identity_file, "--target", name)
        assert f"mfs-edge[{get(name).extra}]" in said
    for name, distribution in RUNTIMES.items():
        needed = "pip install 'mfs-edge[native]'" if name == "c" else f"pip install {distribution}"
        assert needed in there.refuses(3, "bench", formats[name])
    assert "mfs-edge[report]" in there.refuses(3, "bench", formats["onnx"], "--html", "report.html")
    assert "mfs-edge[emulated]" in there.refuses(3, "bench", formats["onnx"], "--device", "emulated:rpi5")


@resolutions
def test_the_base_alone_reads_every_format(install: Install, formats: dict[str, Path], resolution: str) -> None:
    there = install(resolution=resolution)
    for path in formats.values():
        assert "image" in there.succeeds("inspect", path)


@resolutions
@pytest.mark.parametrize("target", TARGETS)
def test_an_extra_alone_compiles_to_its_target(
    install: Install, identity_file: Path, target: str, resolution: str
) -> None:
    kind = get(target)
    there = install(kind.extra, resolution=resolution)
    strangers = {*RUNTIMES.values(), "coremltools"} - {RUNTIMES.get(target, "coremltools"), "onnxruntime"}
    assert (strangers - COMPILERS.get(target, set())).isdisjoint(there.modules())
    found = there.json("doctor", "--thorough")
    report = next(each for each in found["targets"] if each["name"] == target)
    assert (found["problems"], found["compiles"], report["emits"]) == ([], True, True)
    for options in ([], *([["--precision", "int8"]] if "int8" in kind.precisions else [])):
        size = ("--size", str(SIZE), "--out", "build")
        made = there.json("compile", "--identity", identity_file, "--target", target, *size, *options)
        (artefact,) = made["manifest"]["artefacts"]
        assert artefact["verification"]["status"] == "passed"
        if target == "c":
            assert "compiled by zig " in artefact["verification"]["execution"]
        there.succeeds("inspect", there.folder / "build" / artefact["file"])
    if target in RUNTIMES:
        assert report["runs"]
        there.succeeds("bench", "build", "--no-time")


@resolutions
def test_a_device_needs_the_base_and_a_runtime(install: Install, formats: dict[str, Path], resolution: str) -> None:
    there = install(resolution=resolution, runtimes=(*RUNTIMES.values(), *BESIDE))
    assert COMPILER.isdisjoint(there.modules())
    found = there.json("doctor")
    assert not found["problems"]
    assert {each["name"] for each in found["targets"] if each["runs"]} == set(RUNTIMES)
    there.succeeds("bench", *(formats[name] for name in RUNTIMES), "--threads", "1", "--json", "report.json")
    assert "p50_ms" in (there.folder / "report.json").read_text()


@resolutions
def test_reports_and_the_emulated_devices(install: Install, formats: dict[str, Path], resolution: str) -> None:
    there = install("report", "emulated", resolution=resolution, runtimes=("onnxruntime",))
    there.succeeds("bench", formats["onnx"], "--no-time", "--html", "report.html")
    assert "<!doctype html>" in (there.folder / "report.html").read_text()
    (device,) = there.json("doctor")["devices"].values()
    assert "mfs-edge[emulated]" not in device["said"]
    locked = "from mfs_edge.emulation.environment import lock; from pathlib import Path\nwith lock(Path('new')): pass"
    called(there.python, "-c", locked, folder=there.folder)


@resolutions
def test_sealed_packs_need_the_base_and_their_extra(install: Install, resolution: str) -> None:
    there = install("age", resolution=resolution)
    assert COMPILER.isdisjoint(there.modules())
    assert not there.json("doctor")["problems"]
    script = (
        "import pyrage; from mfs_edge.pack import sealed\n"
        "key = pyrage.x25519.Identity.generate()\n"
        "packed = sealed.seal(b'a pack', sealed.recipients([str(key.to_public())]))\n"
        "assert sealed.open_(packed, [str(key)]) == b'a pack'\n"
    )
    called(there.python, "-c", script, folder=there.folder)


@resolutions
def test_packs_by_a_cluster_and_by_processes_are_the_same(
    install: Install, identity_file: Path, resolution: str
) -> None:
    there = install("cluster", resolution=resolution)
    there.succeeds("compile", "--identity", identity_file, "--size", str(SIZE), "--no-verify", "--out", "build")
    people = there.folder / "people"
    people.mkdir()
    for number in range(4):
        shutil.copy(identity_file, people / f"{number}.npy")
    script = (
        "import distributed\n"
        "from pathlib import Path\n"
        "from mfs_edge import pack\n"
        "if __name__ == '__main__':\n"
        "    with distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster:\n"
        "        pack.make(base='build', identities='people', out='a', dask=cluster.scheduler_address)\n"
        "    pack.make(base='build', identities='people', out='b', jobs=2)\n"
        "    found = [{p.name: p.read_bytes() for p in Path(out).iterdir()} for out in 'ab']\n"
        "    assert found[0] == found[1] and len(found[0]) == 4\n"
    )
    (there.folder / "script.py").write_text(script)
    called(there.python, "script.py", folder=there.folder)


@resolutions
def test_swapping_needs_its_extra_and_no_compiler(
    install: Install, identity_file: Path, tmp_path: Path, resolution: str
) -> None:
    """A photo with landmarks; what comes out says so, and is read back."""
    import mfs_edge
    from mfs_edge import sample

    there = install("swap", resolution=resolution)
    assert {"torch", "onnx", "onnx-ir", "onnxruntime", "av"}.isdisjoint(there.modules())
    assert not there.json("doctor")["problems"]
    mfs_edge.compile(identity=identity_file, target="tflite", out=tmp_path / "build", verify=False)
    landmarks = json.loads((sample.FACES / "landmarks.json").read_text())["target_00"]
    (tmp_path / "points.json").write_text(json.dumps(landmarks))
    given = ("--artefact", tmp_path / "build", "--landmarks", tmp_path / "points.json")
    (file,) = there.json("swap", sample.FACES / "target_00.png", "out.png", *given)["files"]
    assert file["status"] == "swapped"
    assert "valid" in there.json("inspect", "out.png")["manifest"]
    (tmp_path / "film.mp4").write_bytes(b"a film")
    assert "mfs-edge[video]" in there.refuses(3, "swap", tmp_path / "film.mp4", "out.mp4", *given)
    photo = (sample.FACES / "target_00.png", "b.png", "--artefact", tmp_path / "build")
    assert "mfs-edge face-models" in there.refuses(2, "swap", *photo, "--face-models", tmp_path)
