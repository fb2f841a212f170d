"""``adb:`` against an executable that replays what adb, an Android shell and the benchmark tools print.

The tools' transcripts are from public logs of phones and boards (TensorFlow issues 42507 and
46084, onnxruntime issues 4647 and 17313, among others), shortened.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from mfs_edge.base.errors import DeviceError, MissingDependency, UsageError
from mfs_edge.measure.devices import Cancelled, Device, Options, Request, Watch, open_device, tools

FAKE = Path(__file__).parent / "fake_adb.py"
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

    def device(self, serial: str = "") -> Device:
        return open_device(f"adb:{serial}" if serial else "adb", Options(runner=self.runner))


@pytest.fixture
def phone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Phone]:
    """A phone in the given scenario, reached by an ``adb`` on PATH."""
    folder = tmp_path / "phone"
    (folder / "storage").mkdir(parents=True)
    tools_folder = tmp_path / "platform-tools"
    tools_folder.mkdir()
    adb = tools_folder / "adb"
    adb.write_text(f'#!/bin/sh\nexec {sys.executable} {FAKE} "$@"\n')
    adb.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tools_folder}:{os.environ['PATH']}")
    monkeypatch.setenv("FAKE_ADB", str(folder))

    def make(tool: str = "benchmark_model", **scenario: Any) -> Phone:
        given = {"transcript": "benchmark_model-2023", "profile": "benchmark_model-profile", **scenario}
        (folder / "scenario.json").write_text(json.dumps(given))
        runner = tmp_path / tool
        runner.write_bytes(b"\x7fELF")
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
    assert "taskset f0 ./runner --graph=idn.tflite --num_threads=4 --num_runs=5" in ran
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


def test_needs_adb_and_a_runner(phone: Callable[..., Phone], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--device adb needs --runner PATH"):
        open_device("adb", Options())
    used = phone()
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MissingDependency, match="install Android's platform-tools"):
        used.device().check()
