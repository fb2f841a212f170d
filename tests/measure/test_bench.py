"""``mfs_edge.measure`` and ``mfs-edge bench`` from end to end on this machine."""

from __future__ import annotations

import ast
import inspect
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

import mfs_edge
from mfs_edge import target
from mfs_edge.base import cpus, frames, reasons
from mfs_edge.base.errors import CheckFailed, DeviceError, InputError, MfsEdgeError, OutputError, UsageError
from mfs_edge.cli.bench import bench as command
from mfs_edge.measure import agent, ends, luggage, machine, results, run, runner, whole
from mfs_edge.measure.devices import Options, Request, Watch, known, open_device, talk
from mfs_edge.measure.task import remarks
from tests.measure.conftest import Server
from tests.measure.plant import insert_transposes

Run = Callable[..., subprocess.CompletedProcess[str]]
MAIN = "from mfs_edge.cli.main import main; main()"
# A shell starts its background jobs deaf to Ctrl-C, and so would be all that a test run starts among them.
LISTENING = f"import signal; signal.signal(signal.SIGINT, signal.default_int_handler); {MAIN}"


@pytest.fixture
def cli(tmp_path: Path) -> Run:
    def cli(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-c", MAIN, "bench", *map(str, arguments)],
            capture_output=True,
            text=True,
            cwd=tmp_path,
            timeout=300,
        )

    return cli


def test_the_package_exports_plain_functions() -> None:
    assert mfs_edge.bench is run.bench
    assert inspect.isfunction(mfs_edge.bench)
    assert inspect.isfunction(mfs_edge.compile)


def test_command_and_function_have_the_same_names() -> None:
    printed = {"profile"}  # the report has it anyway
    options = {parameter.name for parameter in command.params} - printed
    named = set(inspect.signature(run.bench).parameters)
    assert named - options == {"progress"}
    assert options <= named
    params = command.make_context("bench", []).params
    given = {name: value for name, value in params.items() if name not in printed}
    defaults = {name: p.default for name, p in inspect.signature(run.bench).parameters.items() if name in given}
    assert given == defaults | {"artefacts": (), "device": ("local",)}


def test_help_names_every_device() -> None:
    (option,) = (parameter for parameter in command.params if parameter.name == "device")
    said = option.help or ""  # type: ignore[attr-defined]
    assert [scheme for scheme in known() if scheme not in said] == []


def test_measures_a_folder_and_writes_everything(cli: Run, artefacts: Path, tmp_path: Path) -> None:
    written = ("--json", "r.json", "--html", "r.html", "--markdown", "r.md")
    ran = cli(artefacts, "--threads", "1", "--profile", *written)
    assert ran.returncode == 0, ran.stderr
    assert [name in ran.stdout for name in ("idn.onnx", "idn.tflite", "idn.xml")] == [True] * 3
    found = results.load(tmp_path / "r.json")
    assert found.passed
    assert not found.partial
    for entry in found.entries:
        latency = entry.observation.latency
        assert latency is not None
        assert latency.runs == len(latency.samples_ms) >= 50
        assert (latency.warmup_runs or 0) >= 10
        assert sum(latency.samples_ms) >= 900  # a second of them, less what lies between
        assert 0 < latency.min_ms <= (latency.p50_ms or 0) <= (latency.p99_ms or 0)
        assert entry.observation.machine.threads == 1
        assert (entry.observation.peak_rss_bytes or 0) > 10_000_000
    coverage = next(e for e in found.entries if e.facts.file == "idn.tflite").observation.coverage
    assert coverage is not None
    assert (coverage.undelegated, coverage.partitions) == (0, 1)
    assert {e.facts.file for e in found.entries if e.observation.layers} == {"idn.onnx", "idn.xml"}
    assert ran.stdout.count("kernel or stage") == 3
    assert "idn.tflite on local: its runtime tells no kernels" in ran.stdout
    for layer in (layer for entry in found.entries for layer in entry.observation.layers):
        assert f"{layer.ms:.3f}" in ran.stdout


def test_planted_transposes_fail_without_a_clock(cli: Run, artefacts: Path, tmp_path: Path) -> None:
    insert_transposes(artefacts / "idn.onnx", tmp_path / "idn.onnx")
    ran = cli("idn.onnx", "--against", artefacts / "idn.onnx", "--no-time")
    assert ran.returncode == 1
    assert "mfs-edge: idn.onnx on local: transposes 2, was 0" in ran.stderr.splitlines()


def test_a_baseline_of_the_same_passes(cli: Run, artefacts: Path, tmp_path: Path) -> None:
    first = cli(artefacts, "--no-time", "--json", "b.json")
    assert first.returncode == 0, first.stderr
    second = cli(artefacts, "--no-time", "--baseline", "b.json", "--json", "b2.json")
    assert second.returncode == 0, second.stderr
    stored, again = (json.loads((tmp_path / name).read_text()) for name in ("b.json", "b2.json"))
    assert [e["facts"] for e in stored["entries"]] == [e["facts"] for e in again["entries"]]
    assert all(e["observation"]["latency"] is None for e in stored["entries"])


def test_a_changed_graph_fails_the_baseline(artefacts: Path, tmp_path: Path) -> None:
    base = tmp_path / "b.json"
    mfs_edge.bench(artefacts / "idn.onnx", time=False, json=base)
    insert_transposes(artefacts / "idn.onnx", tmp_path / "idn.onnx")
    found = mfs_edge.bench(tmp_path / "idn.onnx", time=False, baseline=base)
    assert not found.passed
    with pytest.raises(CheckFailed):
        run.require_passed(found)


def test_one_line_per_cause(cli: Run, artefacts: Path, tmp_path: Path) -> None:
    (tmp_path / "budget.toml").write_text("[default]\nparameters = 1\nmacs = 2\nbytes = 3\n")
    ran = cli(artefacts / "idn.onnx", "--no-time", "--budget", "budget.toml")
    assert ran.returncode == 1
    lines = ran.stderr.strip().splitlines()
    assert [line.split(": ")[2].split()[0] for line in lines] == ["parameters", "macs", "bytes"]
    assert all(line.startswith("mfs-edge: idn.onnx on local: ") for line in lines)


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["none.onnx"], 2, "none.onnx: no such file"),
        (["--device", "lokal", "{onnx}"], 2, "did you mean local?"),
        (["--device", "local:x", "{onnx}"], 2, "local takes no address"),
        (["--device", "macos:npu", "{onnx}"], 2, "no such compute units"),
        (["--device", "adb", "{onnx}"], 2, "needs --runner PATH"),
        (["--runs", "3", "{onnx}"], 2, "too few to mean anything"),
        (["--threads", "0", "{onnx}"], 2, "must be at least 1"),
        (["--max-regression", "much", "{onnx}"], 2, "is not a percentage"),
        (["--max-pairs", "2", "{onnx}"], 2, "at least 8 pairs"),
        (["--cpu-mask", "xyz", "{onnx}"], 2, "is not hexadecimal"),
        (["--budget", "none.toml", "{onnx}"], 2, "none.toml: cannot be read"),
        (["--baseline", "none.json", "{onnx}"], 2, "none.json: no such file"),
        (["--json", "no/folder.json", "{onnx}"], 2, "its folder does not exist"),
        (["--against", "{onnx}", "{onnx}", "{tflite}"], 2, "is one artefact, but 2 were given"),
        (["--device", "ssh:nobody@localhost:1", "{onnx}"], 4, "nothing listens there"),
        (["--device", "macos", "{onnx}"], 4, "is not a Mac"),
    ],
)
def test_failures_are_one_line(cli: Run, artefacts: Path, arguments: list[str], code: int, message: str) -> None:
    given = [text.format(onnx=artefacts / "idn.onnx", tflite=artefacts / "idn.tflite") for text in arguments]
    ran = cli(*given)
    assert ran.returncode == code, ran.stderr
    assert message in ran.stderr
    assert len(ran.stderr.strip().splitlines()) == 1
    assert "Traceback" not in ran.stderr


def test_a_damaged_artefact(cli: Run, tmp_path: Path) -> None:
    (tmp_path / "idn.onnx").write_bytes(b"\x08\x08 not a model")
    ran = cli("idn.onnx")
    assert ran.returncode == 2
    assert "idn.onnx" in ran.stderr


def test_devices_run_in_parallel_and_make_one_report(
    sshd: Server, artefacts: Path, tmp_path: Path, python: str
) -> None:
    found = mfs_edge.bench(
        artefacts / "idn.onnx", device=["local", sshd.spec], python=python, threads=1, json=tmp_path / "r.json"
    )
    assert [entry.device for entry in found.entries] == ["local", sshd.spec]
    local, remote = (entry.machine_key for entry in found.entries)
    assert local == remote  # it is the same machine
    assert sshd.is_clean()


def test_one_device_of_two_missing(cli: Run, artefacts: Path, tmp_path: Path) -> None:
    lost = "ssh:nobody@127.0.0.1:1"
    ran = cli(artefacts / "idn.onnx", "--no-time", "--device", "local", "--device", lost, "--json", "r.json")
    assert ran.returncode == 4
    assert f"mfs-edge: {lost}: nothing listens there" in ran.stderr
    found = results.load(tmp_path / "r.json")
    assert found.partial
    assert [entry.device for entry in found.entries] == ["local"]
    assert len(found.failures) == 1


def test_nothing_measured_is_no_success(artefacts: Path) -> None:
    with pytest.raises(DeviceError, match="nothing listens there"):
        mfs_edge.bench(artefacts / "idn.onnx", device="ssh:nobody@127.0.0.1:1", time=False)


def test_interrupt_leaves_a_valid_partial_report(artefacts: Path, tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", LISTENING, "bench", str(artefacts), "--runs", "1000000", "--json", "r.json"],
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        text=True,
    )
    threading.Timer(4.0, lambda: process.send_signal(signal.SIGINT)).start()
    try:
        _, errors = process.communicate(timeout=60)
    finally:
        process.kill()  # or a million runs would go on behind a failed test
    assert process.returncode == 130, errors
    found = results.load(tmp_path / "r.json")
    assert found.partial
    assert found.entries == ()
    left = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout
    assert str(artefacts) not in left  # the runner has been stopped, too


def test_a_local_process_that_dies(artefacts: Path, quick: Request) -> None:
    local = open_device("local", Options())

    def kill(done: float, left_s: float) -> None:
        for task in Path("/proc/self/task").glob("*/children"):
            for pid in task.read_text().split():
                if done > 0 and b"runner.py" in Path(f"/proc/{pid}/cmdline").read_bytes():
                    os.kill(int(pid), signal.SIGSEGV)

    with pytest.raises(DeviceError, match=r"the process died on idn\.onnx \(signal 11"):
        local.measure(artefacts / "idn.onnx", Request(threads=1, seconds=30.0), Watch(kill))


TRAVELLERS = [Path(str(module.__file__)) for module in (runner, machine, agent, frames, cpus, reasons, whole, ends)]
TRAVELLERS += [luggage.engine_file(kind) for kind in target.registered().values()]


@pytest.mark.parametrize("path", TRAVELLERS, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_what_travels_runs_under_python_3_9_and_needs_nothing(path: Path) -> None:
    """Syntax of 3.9, and no import at module level beyond the standard library and numpy."""
    source = path.read_text()
    tree = ast.parse(source, feature_version=(3, 9))
    imported = {
        name.split(".")[0]
        for node in tree.body
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in ([node.module or ""] if isinstance(node, ast.ImportFrom) else [a.name for a in node.names])
    }
    assert imported - {"numpy"} <= sys.stdlib_module_names
    assert "tomllib" not in imported  # of 3.11
    called = {node.func.id for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)}
    assert not called & {"anext", "aiter"}  # of 3.10
    strict = [n for n in ast.walk(tree) if isinstance(n, ast.keyword) and n.arg == "strict"]
    assert not strict  # zip's, of 3.10
    assert not [n for n in ast.walk(tree) if isinstance(n, ast.Match)]


def test_the_runner_stands_alone(artefacts: Path, tmp_path: Path) -> None:
    """Copied away, with this project out of reach."""
    taken = luggage.pack(artefacts / "idn.tflite")
    for name, content in taken.files.items():
        (tmp_path / name).write_bytes(content)
    script = (
        "import runpy, sys; sys.modules['mfs_edge'] = None; sys.argv = sys.argv[1:]; "
        "runpy.run_path('runner.py', run_name='__main__')"
    )
    ran = subprocess.run(
        [
            sys.executable,
            "-c",
            script,
            "runner.py",
            str(artefacts / "idn.tflite"),
            *taken.arguments,
            "--runs=5",
            "--seconds=0",
        ],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        check=True,
    )
    last = json.loads(ran.stdout.splitlines()[-1].removeprefix(runner.PREFIX))
    assert last["event"] == "result"
    assert len(last["samples_ms"]) == 5


def test_bench_imports_no_compiler(artefacts: Path) -> None:
    """In the process itself; test_install.py shows that it works where none is installed."""
    script = f"""
import sys, mfs_edge
mfs_edge.bench({str(artefacts / "idn.onnx")!r}, {str(artefacts / "idn.tflite")!r}, time=False)
heavy = {{"torch", "onnx", "onnx_ir", "coremltools", "cv2", "tensorflow", "onnxruntime", "ai_edge_litert", "openvino"}}
print(sorted(heavy & set(sys.modules)))
"""
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"


def test_the_command_imports_fast() -> None:
    script = "import sys, mfs_edge.cli.bench; print([m for m in ('numpy', 'rich', 'pydantic') if m in sys.modules])"
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"


def test_every_device_says_how_it_is_written() -> None:
    assert {"local", "ssh", "adb", "macos"} <= known().keys()


def test_the_fixture_fails_a_regression(artefacts: Path, tmp_path: Path) -> None:
    insert_transposes(artefacts / "idn.onnx", tmp_path / "slow.onnx")
    (tmp_path / "test_it.py").write_text(
        f"""
def test_same(mfs_latency_gate):
    assert mfs_latency_gate({str(artefacts / "idn.onnx")!r}, against={str(artefacts / "idn.onnx")!r}, time=False).passed

def test_slow(mfs_latency_gate):
    mfs_latency_gate({str(tmp_path / "slow.onnx")!r}, against={str(artefacts / "idn.onnx")!r}, time=False)
"""
    )
    options = ["-p", "no:cacheprovider", "-q", "--rootdir", str(tmp_path)]
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", *options, str(tmp_path / "test_it.py")], capture_output=True, text=True
    )
    assert "1 failed, 1 passed" in ran.stdout
    assert "slow.onnx on local: transposes 2, was 0" in ran.stdout


def test_errors_belong_to_the_tree(artefacts: Path) -> None:
    for wrong in ({"device": []}, {"device": ["local", "local"]}, {"max_regression": -1}, {"against": "none.onnx"}):
        with pytest.raises(MfsEdgeError) as caught:
            mfs_edge.bench(artefacts / "idn.onnx", **wrong)
        assert isinstance(caught.value, UsageError | InputError)


def test_a_quota_is_recorded_and_told(artefacts: Path, quick: Request, tmp_path: Path) -> None:
    """The runner that travels, where a container grants half a CPU: its tree stands in for the kernel's."""
    taken = luggage.pack(artefacts / "idn.onnx")
    for name, content in taken.files.items():
        (tmp_path / name).write_bytes(content)
    room = tmp_path / "kernel"
    (room / "proc/self").mkdir(parents=True)
    (room / "cg").mkdir()
    (room / "proc/self/cgroup").write_text("0::/\n")
    (room / "proc/self/mountinfo").write_text("1 2 0:1 / /cg rw - cgroup2 cgroup2 rw\n")
    (room / "cg/cpu.max").write_text("50000 100000\n")
    moved = (tmp_path / "cpus.py").read_text().replace('Path("/")', f"Path({str(room)!r})")
    (tmp_path / "cpus.py").write_text(moved)
    given = [str(artefacts / "idn.onnx"), *taken.arguments, "--runs=5", "--seconds=0"]
    for threads, expected in (("0", 1), ("2", 2)):
        ended = talk.converse(
            [sys.executable, "runner.py", *given, f"--threads={threads}"], Watch(), folder=str(tmp_path)
        )
        seen = talk.observation(ended, where="local", artefact="idn.onnx")
        assert (seen.machine.quota, seen.machine.threads) == (0.5, expected)
        assert "CPU quota 0.5" in seen.machine.key
        assert any("a container's CPU quota of 0.5 is throttled" in line for line in remarks(seen))
        for enough in (None, 8.0):
            free = seen.model_copy(update={"machine": seen.machine.model_copy(update={"quota": enough})})
            assert not [line for line in remarks(free) if "quota" in line]


@pytest.mark.parametrize("mask", ["100000", "f" * 200, "10000000001"])
def test_a_mask_beyond_the_cpus_of_this_machine(artefacts: Path, mask: str) -> None:
    with pytest.raises(UsageError, match=r"local: --cpu-mask names CPU \d+.*; this process may use 0"):
        run.bench(artefacts / "idn.onnx", cpu_mask=mask, time=False)


def test_what_falls_out_of_a_delegate_is_told_loudly(artefacts: Path, quick: Request) -> None:
    """Not in small print alone; ``tests/targets/tflite/test_compat.py`` runs the old runtime itself."""
    seen = open_device("local", Options()).measure(artefacts / "idn.tflite", quick, Watch())
    assert seen.coverage is not None
    assert seen.coverage.warning == ""
    said = "runs none of the 70 operators inside XNNPACK"
    slow = seen.model_copy(update={"coverage": seen.coverage.model_copy(update={"warning": said})})
    assert any(line.startswith("LiteRT ") and line.endswith(said) for line in remarks(slow))
    assert not any("XNNPACK" in line for line in remarks(seen))


LONG = "x" * 300


@pytest.mark.parametrize("name", [LONG, f"{LONG}.onnx", f"{LONG}/x.onnx", f"{LONG}/x"])
def test_names_longer_than_any_system_allows(artefacts: Path, tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match="cannot be opened"):
        run.bench(tmp_path / name, time=False)
    for option in ("json", "markdown", "html", "history"):
        with pytest.raises(OutputError, match="cannot be written"):
            run.bench(artefacts / "idn.onnx", time=False, **{option: tmp_path / name})
    for option in ("baseline", "budget", "against"):
        with pytest.raises(InputError, match=r"File name too long"):
            run.bench(artefacts / "idn.onnx", time=False, **{option: tmp_path / name})


def test_a_name_that_is_no_text(artefacts: Path, tmp_path: Path) -> None:
    """Runtimes take names as text."""
    named = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff\xe9.onnx"))
    named.write_bytes((artefacts / "idn.onnx").read_bytes())
    with pytest.raises(InputError, match=r"\\udcff\\udce9\.onnx: its name is not UTF-8.*rename it"):
        run.bench(named, time=False)
