"""The command line as a process: exit codes, one-line failures, JSON, start-up."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from mfs_edge.load.checkpoint import Checkpoint, save_safetensors
from mfs_edge.load.identity import Identity, save
from mfs_edge.sample import FACES

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """``mfs-edge ARGS`` in an empty folder, without the caller's settings."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("MFS_EDGE")}

    def run(*arguments: str | Path, **more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "mfs_edge", *map(str, arguments)],
            capture_output=True,
            text=True,
            cwd=tmp_path,
            env=environment | more,
            timeout=300,
        )

    return run


@pytest.fixture(scope="session")
def identity_file(tmp_path_factory: pytest.TempPathFactory, demo_identities: list[Identity]) -> Path:
    path = tmp_path_factory.mktemp("identity") / "id.npy"
    save(demo_identities[0], path)
    return path


def failed(result: subprocess.CompletedProcess[str], code: int, *fragments: str) -> None:
    """One line on standard error, this exit code, no traceback, these words."""
    lines = [line for line in result.stderr.splitlines() if line.startswith("mfs-edge: ")]
    assert (result.returncode, len(lines)) == (code, 1), result.stderr
    assert "Traceback" not in result.stderr
    for fragment in fragments:
        assert fragment in lines[0]


def test_help_imports_nothing_heavy() -> None:
    script = (
        "import sys\nfrom mfs_edge.cli import main as cli\n"
        "try: cli.cli(['--help'])\nexcept SystemExit: pass\n"
        "print('LOADED', [m for m in ('torch', 'onnx', 'onnx_ir', 'numpy', 'pydantic', 'cv2') if m in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert "LOADED []" in result.stdout
    assert "compile" in result.stdout


@pytest.mark.parametrize("command", ["inspect", "doctor"])
def test_inspect_and_doctor_load_no_torch(command: str, identity_file: Path) -> None:
    arguments = ["inspect", str(identity_file)] if command == "inspect" else ["doctor"]
    script = (
        f"import sys\nfrom mfs_edge.cli import main as cli\ntry: cli.cli({arguments!r})\nexcept SystemExit: pass\n"
        "heavy = ('torch', 'coremltools', 'openvino', 'ai_edge_litert', 'c2pa', 'cryptography')\n"
        "print('LOADED', [m for m in heavy if m in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert "LOADED []" in result.stdout


def test_the_help_of_compile_lists_what_targets_let_one_set(run: Run) -> None:
    result = run("compile", "--help")
    assert "coreml.min_ios=16, 17, 18, 26" in result.stdout
    assert "the oldest iOS" in result.stdout


@pytest.mark.parametrize("option", [("--set", "coreml.min_ios=18"), ("--min-ios", "18")])
def test_an_option_of_one_target_and_its_shorthand(
    run: Run, identity_file: Path, tmp_path: Path, option: tuple[str, str]
) -> None:
    result = run("compile", "--identity", identity_file, "--size", "32", "--target", "coreml", "--no-verify", *option)
    assert result.returncode == 0, result.stderr
    (artefact,) = json.loads((tmp_path / "build/manifest.json").read_text())["artefacts"]
    assert artefact["options"] == {"min_ios": 18}


def test_compile_writes_a_verified_artefact(run: Run, identity_file: Path, tmp_path: Path) -> None:
    result = run("compile", "--identity", identity_file, "--out", "build")
    assert result.returncode == 0, result.stderr
    assert "demo weights" in result.stderr  # the loud warning
    assert sorted(p.name for p in (tmp_path / "build").iterdir()) == [
        "idn-224-fp32.base", "idn-224-fp32.onnx", "manifest.json",
    ]  # fmt: skip
    manifest = json.loads((tmp_path / "build/manifest.json").read_text())
    (artefact,) = manifest["artefacts"]
    assert artefact["verification"]["status"] == "passed"
    assert artefact["verification"]["swapped"]["max_abs"] < 5e-5
    assert any("drawn faces" in warning for warning in artefact["warnings"])
    assert run("inspect", "build/idn-224-fp32.onnx").returncode == 0
    assert run("inspect", "build").returncode == 0


def test_json_is_one_object_and_nothing_else(run: Run, identity_file: Path) -> None:
    result = run("compile", "--identity", identity_file, "--size", "96", "--json")
    assert result.returncode == 0
    assert result.stderr == ""
    assert json.loads(result.stdout)["passed"] is True


def test_a_failure_in_json_is_an_object_too(run: Run) -> None:
    result = run("compile", "--identity", "nothing.npy", "--json")
    failed(result, 2, "nothing.npy", "no such file")
    assert json.loads(result.stdout)["exit_code"] == 2


@pytest.mark.parametrize(
    ("arguments", "fragments"),
    [
        (["--size", "225"], ["225", "multiple of 32"]),
        (["--target", "onxx"], ["onxx", "did you mean onnx"]),
        (["--precision", "fp8"], ["fp8"]),
        (["--io", "image"], ["image", "float32"]),
        (["--min-psnr", "nan"], ["nan"]),
        (["--optimize", "7"], ["7"]),
        (["--set", "coreml.min_oss=17"], ["min_oss", "did you mean min_ios"]),
        (["--target", "coreml", "--min-ios", "15"], ["coreml.min_ios=15", "16, 17, 18"]),
    ],
)
def test_bad_options_say_so_before_any_work(
    run: Run, identity_file: Path, tmp_path: Path, arguments: list[str], fragments: list[str]
) -> None:
    failed(run("compile", "--identity", identity_file, *arguments), 2, *fragments)
    assert list(tmp_path.iterdir()) == []


def test_a_rejected_artefact_is_kept_aside_and_exits_1(run: Run, identity_file: Path, tmp_path: Path) -> None:
    result = run("compile", "--identity", identity_file, "--min-psnr", "199", "--size", "64")
    failed(result, 1, "failed verification", "199")
    names = sorted(p.name for p in (tmp_path / "build").iterdir())
    assert names == ["idn-64-fp32.base", "idn-64-fp32.onnx.rejected", "manifest.json"]


def test_an_output_folder_with_other_files_is_refused(run: Run, identity_file: Path, tmp_path: Path) -> None:
    (tmp_path / "build").mkdir()
    (tmp_path / "build/thesis.txt").write_text("years of work")
    failed(run("compile", "--identity", identity_file, "--size", "64"), 2, "thesis.txt", "--overwrite")
    assert [p.name for p in (tmp_path / "build").iterdir()] == ["thesis.txt"]
    assert run("compile", "--identity", identity_file, "--size", "64", "--overwrite").returncode == 0
    assert (tmp_path / "build/thesis.txt").read_text() == "years of work"


def test_a_second_run_replaces_its_own_files_and_keeps_the_rest(run: Run, identity_file: Path, tmp_path: Path) -> None:
    for size in ("64", "96", "64"):
        assert run("compile", "--identity", identity_file, "--size", size).returncode == 0
    manifest = json.loads((tmp_path / "build/manifest.json").read_text())
    assert [a["file"] for a in manifest["artefacts"]] == ["idn-64-fp32.onnx", "idn-96-fp32.onnx"]


def test_swapped_checkpoints_are_told_apart(
    run: Run, demo_iin: Checkpoint, identity_file: Path, tmp_path: Path
) -> None:
    save_safetensors(demo_iin, tmp_path / "iin.safetensors")
    photo = FACES / "identity_0.png"
    failed(run("identity", photo, "--arcface", "iin.safetensors"), 2, "iin.safetensors", "--checkpoint")
    assert not (tmp_path / "id.npy").exists()
    assert run("inspect", "iin.safetensors").returncode == 0
    ok = run("compile", "--identity", identity_file, "--checkpoint", "iin.safetensors", "--size", "64")
    assert ok.returncode == 0, ok.stderr
    by_variable = run("compile", "--identity", identity_file, "--size", "64", MFS_EDGE_CHECKPOINT="gone.pdparams")
    failed(by_variable, 2, "gone.pdparams")
    (tmp_path / "mfs-edge.toml").write_text('checkpoint = "missing.pth"')
    failed(run("compile", "--identity", identity_file, "--size", "64"), 2, "missing.pth")


def test_a_read_only_place_is_named(run: Run, identity_file: Path) -> None:
    failed(run("compile", "--identity", identity_file, "--size", "64", "--out", "/proc/build"), 2, "/proc/build")


def test_a_full_disk_leaves_nothing(run: Run, identity_file: Path, tmp_path: Path) -> None:
    """The kernel's file-size limit stands in for a full disk: both fail in write(2)."""
    script = (
        "import resource, signal, sys\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))\n"
        f"from mfs_edge.cli.main import cli\ncli(['compile', '--identity', {str(identity_file)!r}, '--size', '64'])"
    )
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=tmp_path, timeout=300)
    failed(result, 2, "cannot be written")
    assert list(tmp_path.iterdir()) == []


def test_killed_at_any_moment_nothing_half_written(identity_file: Path, tmp_path: Path) -> None:
    """SIGKILL at various times: whatever has its final name is whole, and the next run works."""
    command = [sys.executable, "-m", "mfs_edge", "compile", "--identity", str(identity_file), "--size", "64"]
    start = time.monotonic()
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    whole = (tmp_path / "build/idn-64-fp32.onnx").read_bytes()
    duration = time.monotonic() - start
    for fraction in (0.5, 0.7, 0.8, 0.9, 0.95, 1.0):
        process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(duration * fraction)
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert (tmp_path / "build/idn-64-fp32.onnx").read_bytes() == whole
        json.loads((tmp_path / "build/manifest.json").read_text())
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    assert sorted(p.name for p in (tmp_path / "build").iterdir()) == [
        "idn-64-fp32.base", "idn-64-fp32.onnx", "manifest.json",
    ]  # fmt: skip


def test_the_manifest_names_no_biometric_data(run: Run, identity_file: Path, tmp_path: Path) -> None:
    assert run("compile", "--identity", identity_file, "--size", "64").returncode == 0
    text = (tmp_path / "build/manifest.json").read_text()
    embedding = np.load(identity_file)[:512]
    assert not any(f"{value:.5f}"[:7] in text for value in np.abs(embedding) if value > 0.05)


def test_usage_errors_are_one_line(run: Run) -> None:
    failed(run("compile"), 2, "--identity")
    failed(run("frobnicate"), 2, "frobnicate")
    failed(run("--nonsense"), 2, "--nonsense")


def test_debug_shows_the_traceback(run: Run) -> None:
    result = run("--debug", "inspect", "nothing.npy")
    assert result.returncode != 0
    assert "Traceback" in result.stderr


@pytest.mark.parametrize(
    "words",
    [
        ["compile", "--size", "64", "--out", "LONG", "--identity"],
        ["compile", "--size", "64", "--out", "LONG/b", "--identity"],
        ["compile", "--checkpoint", "LONG", "--identity"],
        ["compile", "--precision", "int8", "--calibration", "LONG", "--identity"],
        ["inspect", "LONG"],
        ["bench", "LONG.onnx"],
        ["demo", "LONG"],
        ["identity", "LONG", "--arcface", "LONG"],
    ],
)
def test_names_longer_than_any_system_allows(run: Run, identity_file: Path, tmp_path: Path, words: list[str]) -> None:
    given = [word.replace("LONG", "x" * 300) for word in words]
    out = "LONG" in "".join(words[words.index("--out") :]) if "--out" in words else words[0] == "demo"
    why = "no folder can be called so" if out else "File name too long"
    failed(run(*given, *([identity_file] if words[-1] == "--identity" else [])), 2, why, "xxx")
    assert list(tmp_path.iterdir()) == []
