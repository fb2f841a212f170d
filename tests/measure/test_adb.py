"""``adb:`` against an executable that replays what adb, an Android shell and the benchmark tools print.

The tools' transcripts are from public logs of phones and boards (TensorFlow issues 42507 and
46084, onnxruntime issues 4647 and 17313, among others), shortened.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import onnx
import pytest

from mfs_edge.base.errors import DeviceError, InputError, MissingDependency, UsageError
from mfs_edge.measure import machine
from mfs_edge.measure.devices import Cancelled, Device, Options, Request, Watch, open_device, tools
from mfs_edge.measure.task import remarks

FAKE = Path(__file__).parent / "fake_adb.py"
TOOL = Path(__file__).parent / "fake_tool.py"
PROPERTIES = {
    **{"ro.product.manufacturer": "Google", "ro.product.model": "Pixel 7", "ro.soc.model": "GS201"},
    **{"ro.build.version.release": "13", "ro.product.cpu.abi": "arm64-v8a"},
}
ANDROID = {
    "getprop": "case $1 in " + " ".join(f"{k}) echo '{v}';;" for k, v in PROPERTIES.items()) + " esac",
    "nproc": "echo 8",
    "taskset": 'shift; exec "$@"',  # this machine has not the phone's CPUs
}
ZONES = (("nonsense", -274000), ("skin", 36500), ("cpu", 41200))
TRANSCRIPTS = Path(__file__).parent / "transcripts"


@dataclass
class Phone:
    """The fake device's state."""

    folder: Path
    runner: Path

    @property
    def storage(self) -> list[Path]:
        return list((self.folder / "storage").iterdir())

    @property
    def commands(self) -> list[list[str]]:
        return [json.loads(line) for line in (self.folder / "log").read_text().splitlines()]

    @property
    def ran(self) -> list[list[str]]:
        """What the tool was given."""
        return [json.loads(line) for line in (self.folder / "ran").read_text().splitlines()]

    @property
    def held(self) -> list[dict[str, str]]:
        """What lay in the graph's folder while the tool ran: name -> SHA-256."""
        return [json.loads(line) for line in (self.folder / "held").read_text().splitlines()]

    def device(self, serial: str = "") -> Device:
        return open_device(f"adb:{serial}" if serial else "adb", Options(runner=self.runner))


def script(path: Path, code: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{code}\n")
    path.chmod(0o755)


@pytest.fixture
def phone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Phone]:
    """A phone in the given scenario, reached by an ``adb`` on PATH."""
    folder = tmp_path / "phone"
    (folder / "storage").mkdir(parents=True)
    tools_folder = tmp_path / "platform-tools"
    tools_folder.mkdir()
    script(tools_folder / "adb", f'exec {sys.executable} {FAKE} "$@"')
    for name, code in ANDROID.items():
        script(folder / "bin" / name, code)
    monkeypatch.setenv("PATH", f"{tools_folder}:{os.environ['PATH']}")
    monkeypatch.setenv("FAKE_ADB", str(folder))

    def make(tool: str = "benchmark_model", *, zones: Sequence[tuple[str, object]] = ZONES, **scenario: Any) -> Phone:
        kernel = {"devices/system/cpu/online": "0-7"}
        for number, (kind, value) in enumerate(zones):
            kernel |= {f"class/thermal/thermal_zone{number}/type": kind}
            kernel |= {f"class/thermal/thermal_zone{number}/temp": str(value)}
        for name, text in kernel.items():
            (folder / "sys" / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / "sys" / name).write_text(f"{text}\n")
        given = {"transcript": "benchmark_model-2023", "profile": "benchmark_model-profile", **scenario}
        (folder / "scenario.json").write_text(json.dumps(given))
        runner = tmp_path / tool
        script(runner, f'exec {sys.executable} {TOOL} "$@"')
        return Phone(folder, runner)

    return make


def test_benchmark_model(phone: Callable[..., Phone], artefacts: Path, quick: Request) -> None:
    used = phone()
    device = used.device()
    device.check()
    found = device.measure(
        artefacts / "idn.tflite", replace(quick, threads=4, profile=True, cpus=(4, 5, 6, 7)), Watch()
    )
    latency = found.latency
    assert latency is not None
    assert (latency.load_ms, latency.first_ms, latency.runs) == (95.112, 237.814, 50)
    assert (latency.min_ms, latency.p50_ms, latency.mean_ms, latency.std_ms) == (220.934, 252.767, 257.131, 27.081)
    assert latency.p90_ms is None  # the tool gives none, and none is made up
    assert latency.samples_ms == ()
    assert found.coverage is not None
    assert (found.coverage.delegated, found.coverage.nodes, found.coverage.partitions) == (642, 685, 19)
    assert found.temperature_c == (41.2, 41.2)
    assert found.machine.cpu == "Google Pixel 7 GS201"
    assert [(layer.kind, layer.ms) for layer in found.layers] == [
        ("TfLiteXNNPackDelegate", 6.549),
        ("RESIZE_BILINEAR", 3.011),
    ]
    ran = next(words[-1] for words in used.commands if "./runner" in words[-1])
    assert "taskset f0 ./runner --graph=artefact/idn.tflite --num_threads=4 --num_runs=5" in ran
    assert used.storage == []


def test_onnxruntime_perf_test(phone: Callable[..., Phone], artefacts: Path, quick: Request) -> None:
    used = phone("onnxruntime_perf_test", transcript="onnxruntime_perf_test-2024")
    found = used.device().measure(artefacts / "idn.onnx", replace(quick, profile=True), Watch())
    assert found.latency is not None
    assert (found.latency.p50_ms, found.latency.min_ms) == pytest.approx((99.5086, 95.8204))
    assert len(found.latency.samples_ms) == 5
    assert (found.latency.mean_ms, found.latency.load_ms, found.latency.first_ms) == pytest.approx(
        (98.961997, 217.932, 196)
    )
    assert found.peak_rss_bytes == 271122432
    assert used.storage == []


@pytest.mark.parametrize(
    ("transcript", "runs", "mean"),
    [
        ("benchmark_model-2020", 50, 33.2094),
        ("benchmark_model-slow", 50, 2950.34),
    ],
)
def test_other_versions_of_the_tools(transcript: str, runs: int, mean: float) -> None:
    reading = tools.find(transcript).parse((TRANSCRIPTS / f"{transcript}.txt").read_text().splitlines())
    assert reading is not None
    assert (reading.latency.runs, reading.latency.mean_ms) == (runs, pytest.approx(mean))
    assert reading.peak_bytes


@pytest.mark.parametrize("tool", [tools.BENCHMARK_MODEL, tools.PERF_TEST])
def test_output_without_timings_is_no_reading(tool: tools.Tool) -> None:
    assert tool.parse((TRANSCRIPTS / "benchmark_model-crash.txt").read_text().splitlines()) is None


@pytest.mark.parametrize(
    ("scenario", "message"),
    [
        ({"get-state": "offline"}, "adb: is offline; unplug it"),
        ({"get-state": "unauthorized"}, "adb: it has not authorised this computer; unlock it"),
        ({"devices": 0}, "adb: no device is connected"),
        ({"devices": 2}, "adb: several are connected; name one with adb:SERIAL"),
    ],
)
def test_unreachable(phone: Callable[..., Phone], scenario: dict[str, Any], message: str) -> None:
    with pytest.raises(DeviceError, match=message):
        phone(**scenario).device().check()


def test_serial(phone: Callable[..., Phone]) -> None:
    used = phone(serial="29081FDH2", devices=2)
    used.device("29081FDH2").check()
    with pytest.raises(DeviceError, match="adb:X1: is not connected; adb devices lists"):
        used.device("X1").check()


def test_crash_in_the_middle(phone: Callable[..., Phone], artefacts: Path, quick: Request) -> None:
    used = phone(transcript="benchmark_model-crash", exit=139)
    with pytest.raises(DeviceError, match=r"died while measuring idn\.tflite \(signal 11: Segmentation fault\)"):
        used.device().measure(artefacts / "idn.tflite", quick, Watch())
    assert used.storage == []


REFUSALS = {  # what the tools write of a file that their runtime refuses -> what is told of it
    "benchmark_model": (
        "idn.tflite",
        r"exit code 1: Didn't find op for builtin opcode 'CONV_2D' version '99'\..*Benchmarking failed\.\)",
    ),
    "onnxruntime_perf_test": (
        "idn.onnx",
        r"exit code 1: Exception during initialization: Could not find an implementation for Conv\(22\) node with name "
        r"'encoder/conv'\)",
    ),
}


@pytest.mark.parametrize("tool", REFUSALS)
def test_a_file_that_the_runtime_there_refuses(
    phone: Callable[..., Phone], artefacts: Path, quick: Request, tool: str
) -> None:
    """Their last line says only that they ended."""
    name, why = REFUSALS[tool]
    used = phone(tool, transcript=f"{tool}-refused", exit=1)
    with pytest.raises(DeviceError, match=why):
        used.device().measure(artefacts / name, quick, Watch())
    assert used.storage == []


def test_unplugged_in_the_middle(phone: Callable[..., Phone], artefacts: Path, quick: Request) -> None:
    used = phone(transcript="benchmark_model-crash", unplugged=True)
    with pytest.raises(DeviceError, match=r"measuring idn\.tflite failed.*nothing was recorded"):
        used.device().measure(artefacts / "idn.tflite", quick, Watch())
    assert used.storage == []


def test_full_storage(phone: Callable[..., Phone], artefacts: Path, quick: Request) -> None:
    used = phone(full=True)
    with pytest.raises(DeviceError, match="its storage is full"):
        used.device().measure(artefacts / "idn.tflite", quick, Watch())
    assert used.storage == []


def test_a_tool_that_says_nothing_useful(phone: Callable[..., Phone], artefacts: Path, quick: Request) -> None:
    used = phone(transcript="benchmark_model-crash", exit=0)
    with pytest.raises(DeviceError, match="printed no timings"):
        used.device().measure(artefacts / "idn.tflite", quick, Watch())
    assert used.storage == []


def test_interrupt_cleans_up(phone: Callable[..., Phone], artefacts: Path, quick: Request) -> None:
    used = phone(hangs=True)
    watch = Watch()
    watch.tell = lambda done, left_s: watch.cancelled.set()  # the tool has just been started
    with pytest.raises(Cancelled):
        used.device().measure(artefacts / "idn.tflite", quick, watch)
    assert used.storage == []


def test_the_wrong_tool_for_a_file(phone: Callable[..., Phone], artefacts: Path) -> None:
    assert phone().device().refuses(artefacts / "idn.tflite") is None
    assert "benchmark_model runs .tflite files" in str(phone().device().refuses(artefacts / "idn.onnx"))
    for name in ("idn.xml", "idn.mlpackage"):
        assert "files on a phone, only .tflite, .onnx; give one" in str(phone().device().refuses(artefacts / name))


def test_needs_adb_and_a_runner(phone: Callable[..., Phone], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--device adb needs --runner PATH"):
        open_device("adb", Options())
    used = phone()
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MissingDependency, match="install Android's platform-tools"):
        used.device().check()


# Names that a shell, a printf, an option parser or a line reader would take for something else.
HOSTILE = [
    "a b.tflite",
    "x;cd ..;cd ..;touch PWNED;.tflite",
    "$(touch PWNED).tflite",
    "`touch PWNED`.tflite",
    "a' ; touch PWNED ; '.tflite",
    'a" ; touch PWNED ; ".tflite',
    "a\ntouch PWNED\n.tflite",
    "a&touch PWNED&.tflite",
    "a|touch PWNED.tflite",
    "a>PWNED.tflite",
    "$HOME*?[a]{b,c}~.tflite",
    "#comment.tflite",
    "back\\slash\\n.tflite",
    "-x --help.tflite",
    "--graph=PWNED.tflite",
    "größe 額.tflite",
    "offline unauthorized.tflite",
    ".tflite.tflite",
]


@pytest.mark.parametrize("name", HOSTILE)
def test_a_name_is_a_name(
    phone: Callable[..., Phone], artefacts: Path, quick: Request, tmp_path: Path, name: str
) -> None:
    """Over a real shell: the tool gets the very name, nothing else is run, nothing is left."""
    used = phone()
    named = tmp_path / "in" / name
    named.parent.mkdir()
    shutil.copyfile(artefacts / "idn.tflite", named)
    found = used.device().measure(named, replace(quick, profile=True, cpus=(4,)), Watch())
    assert found.latency is not None
    assert len(used.ran) == 2  # and again for the profile
    assert all(words[0] == f"--graph=artefact/{name}" for words in used.ran)
    assert used.storage == []
    assert not [path for path in tmp_path.rglob("*") if "PWNED" in path.name and path != named]


@pytest.mark.parametrize("name", [f"{name.removesuffix('.tflite')}.onnx" for name in HOSTILE])
def test_a_name_is_a_name_to_the_other_tool(
    phone: Callable[..., Phone], artefacts: Path, quick: Request, tmp_path: Path, name: str
) -> None:
    used = phone("onnxruntime_perf_test", transcript="onnxruntime_perf_test-2024")
    named = tmp_path / "in" / name
    named.parent.mkdir()
    shutil.copyfile(artefacts / "idn.onnx", named)
    assert used.device().measure(named, quick, Watch()).latency is not None
    assert used.ran[0][-2] == f"artefact/{name}"
    assert used.storage == []
    assert not [path for path in tmp_path.rglob("*") if "PWNED" in path.name and path != named]


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize(
    "location",
    [
        *["idn.onnx.data", "runner", "results.csv", "deep/er/w", "a b;touch PWNED;", "-rf", "$(touch PWNED)/`x`'\"\n"],
        "artefact/ünï.data",
    ],
)
def test_weights_beside_a_graph_go_along(
    phone: Callable[..., Phone], artefacts: Path, quick: Request, tmp_path: Path, location: str
) -> None:
    folder = tmp_path / "in"
    (folder / location).parent.mkdir(parents=True)
    onnx.save_model(
        onnx.load(artefacts / "idn.onnx"), folder / "idn.onnx", save_as_external_data=True, location=location,
        size_threshold=0,
    )  # fmt: skip
    (folder / "private.txt").write_text("stays here")
    used = phone("onnxruntime_perf_test", transcript="onnxruntime_perf_test-2024")
    assert used.device().measure(folder / "idn.onnx", quick, Watch()).latency is not None
    assert used.held == [{name: digest(folder / name) for name in ("idn.onnx", location)}]
    assert used.storage == []
    assert not [path for path in tmp_path.rglob("PWNED*") if folder not in path.parents]


@pytest.mark.parametrize("name", ["idn", "a b;touch PWNED;", "-x $(touch PWNED)"])
def test_both_files_of_an_openvino_artefact_go_along(
    phone: Callable[..., Phone], artefacts: Path, quick: Request, tmp_path: Path, name: str
) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    for suffix in (".xml", ".bin"):
        shutil.copyfile(artefacts / f"idn{suffix}", folder / f"{name}{suffix}")
    used = phone()
    used.device().measure(folder / f"{name}.xml", quick, Watch())
    assert used.held == [{f"{name}{suffix}": digest(folder / f"{name}{suffix}") for suffix in (".xml", ".bin")}]
    assert used.storage == []
    assert not [path for path in tmp_path.rglob("PWNED*") if folder not in path.parents]


def test_missing_weights_are_named_before_anything_is_sent(
    phone: Callable[..., Phone], artefacts: Path, quick: Request, tmp_path: Path
) -> None:
    model = onnx.load(artefacts / "idn.onnx")
    onnx.save_model(model, tmp_path / "x.onnx", save_as_external_data=True, location="w", size_threshold=0)
    (tmp_path / "w").unlink()
    used = phone("onnxruntime_perf_test")
    with pytest.raises(InputError, match="keeps weights in 'w', which is not beside it"):
        used.device().measure(tmp_path / "x.onnx", quick, Watch())
    assert used.storage == []
    assert not any(words[0] == "push" for words in used.commands)


@pytest.mark.parametrize("name", ["benchmark_model", "my tools; touch PWNED", "-rf $(touch PWNED)"])
def test_a_runner_of_any_name(
    phone: Callable[..., Phone], artefacts: Path, quick: Request, tmp_path: Path, name: str
) -> None:
    used = phone(name)
    assert used.device().measure(artefacts / "idn.tflite", quick, Watch()).latency is not None
    assert used.storage == []
    assert not (list(tmp_path.rglob("PWNED")))


NO_ACCESS = [
    "error: insufficient permissions for device: user in plugdev group; are your udev rules wrong?\n"
    "See [http://developer.android.com/tools/device.html] for more information",
    "error: insufficient permissions for device\n"
    "See [http://developer.android.com/tools/device.html] for more information",
    "error: no permissions (missing udev rules? user is in the plugdev group); see\n"
    "[http://developer.android.com/tools/device.html]",
]


@pytest.mark.parametrize("said", NO_ACCESS)
def test_what_adb_says_of_permissions_is_told_whole(phone: Callable[..., Phone], said: str) -> None:
    with pytest.raises(DeviceError) as caught:
        phone(**{"get-state": said}).device().check()
    assert " ".join(said.split()) in str(caught.value)
    assert "set up udev rules" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("said", "told"),
    [
        (
            "error: cannot connect to daemon at tcp:5037: Connection refused",
            r"server does not start \(.*tcp:5037.*refused",
        ),
        ("error: protocol fault (couldn't read status):\nSuccess", r"\(error: protocol fault .*: Success\)"),
        ("error: closed", r"connecting failed \(error: closed\)"),
    ],
)
def test_whatever_else_adb_says_is_told_whole(phone: Callable[..., Phone], said: str, told: str) -> None:
    with pytest.raises(DeviceError, match=told):
        phone(**{"get-state": said}).device().check()


@pytest.mark.parametrize("state", ["recovery", "sideload", "bootloader"])
def test_a_phone_that_runs_no_android(phone: Callable[..., Phone], state: str) -> None:
    with pytest.raises(DeviceError, match=f"adb: is in state {state}; start Android"):
        phone(**{"get-state": state}).device().check()


@pytest.mark.parametrize(
    ("zones", "degrees"),
    [
        ([("cpu-0-0", 36500), ("soc", 87)], 36.5),  # the battery's charge, in per cent
        ([("battery", 312), ("cpu", 365)], 36.5),  # tenths
        ([("cpu_thermal", 41), ("soc", 100)], 41.0),  # whole degrees
        ([("soc", 88)], None),
        ([("soc", 45123)], 45.123),  # others call the chip so
        ([("cpu", 41000), ("unknown", 99)], 41.0),  # what keeps to the unit is believed
        ([("cpu", 41000), ("vbat", 4100), ("ibat-lvl0", 120000), ("pm8150b-bcl-lvl1", 100000)], 41.0),
        ([("cpu", -274000), ("gpu", -40), ("x", 0), ("y", 2147483647), ("z", 999999), ("w", "")], None),
        ([("cpu", "N/A"), ("a=b", 40500), ("q", "12.5")], 40.5),
        ([], None),
    ],
)
def test_thermal_zones_of_any_unit(
    phone: Callable[..., Phone],
    artefacts: Path,
    quick: Request,
    zones: list[tuple[str, object]],
    degrees: float | None,
) -> None:
    assert machine.hottest((kind, str(value)) for kind, value in zones) == degrees
    found = phone(zones=zones).device().measure(artefacts / "idn.tflite", quick, Watch())
    assert found.temperature_c == (degrees, degrees)


@pytest.mark.parametrize(
    ("cpus", "said"),
    [
        *[((8,), "CPU 8;"), ((0, 7, 9), "CPU 9;"), ((100_000,), "CPU 100000;")],
        (tuple(range(64)), "CPU 8, 9, 10, 11, ...;"),
    ],
)
def test_a_mask_beyond_the_cpus(
    phone: Callable[..., Phone], artefacts: Path, quick: Request, cpus: tuple[int, ...], said: str
) -> None:
    used = phone()
    with pytest.raises(UsageError, match=f"--cpu-mask names {said} those that are switched on there: 0-7"):
        used.device().measure(artefacts / "idn.tflite", replace(quick, cpus=cpus), Watch())
    assert used.storage == []


def test_a_throttled_phone_gets_a_remark(phone: Callable[..., Phone], artefacts: Path, quick: Request) -> None:
    steady = phone().device().measure(artefacts / "idn.tflite", quick, Watch())
    assert remarks(steady.model_copy(update={"coverage": None})) == []
    hot = phone(transcript="benchmark_model-throttled").device().measure(artefacts / "idn.tflite", quick, Watch())
    assert hot.latency is not None
    assert any(
        line.startswith("the mean is 2.4 times the median: it was throttled or busy; let it cool")
        for line in remarks(hot)
    )
