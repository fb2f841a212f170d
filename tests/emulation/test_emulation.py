"""The emulated Pi: real aarch64 wheels, real counts, on artefacts of 64 pixels."""

from __future__ import annotations

import json
import shlex
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from mfs_edge.targets.tflite import TfliteTarget

from mfs_edge.base.errors import CheckFailed, DeviceError, InputError, MissingDependency, UsageError
from mfs_edge.emulation import apt, count, setup, wheels
from mfs_edge.emulation import device as emulated
from mfs_edge.emulation.boards import BOARDS
from mfs_edge.emulation.environment import UNFINISHED, Environment, cache, lock
from mfs_edge.fold import FoldedIDN
from mfs_edge.graph import build, passes
from mfs_edge.measure import facts, gate, picture
from mfs_edge.measure.devices import Options, Request, Watch, availability, open_device
from mfs_edge.measure.observed import Observation, Picture
from mfs_edge.measure.results import Entry, Report
from mfs_edge.sample.pictures import exam_pictures
from mfs_edge.target import EmitOptions
from tests.measure import plant
from tests.measure.conftest import Server
from tests.targets.tflite import qdq

pytestmark = pytest.mark.emulated

SIZE = 64
Measure = Callable[[str, Path], Observation]


@pytest.fixture(scope="module")
def environment() -> Environment:
    return setup.ensure(lambda line: None)


@pytest.fixture(scope="module")
def folder(artefacts: Path, demo_folded: FoldedIDN, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """idn.onnx and idn.tflite, an int8 and a wasteful one, with nothing to compare with but this machine."""
    target, into = TfliteTarget(), tmp_path_factory.mktemp("emulated")
    for name in ("idn.onnx", "idn.tflite"):
        shutil.copy(artefacts / name, into)
    graph = passes.optimise(build.build(demo_folded.weights(), size=SIZE), level=1)
    wasteful = plant.redundant_pointwise(graph, "tflite")
    target.emit(wasteful, into / "wasteful.tflite", EmitOptions())
    quantised = qdq.quantise(graph, exam_pictures(SIZE)[0])
    target.emit(quantised, into / "int8.tflite", EmitOptions(precision="int8"))
    return into


@pytest.fixture(scope="module")
def measure() -> Measure:
    """Measures each file on each board once."""
    seen: dict[tuple[str, Path], Observation] = {}

    def measured(board: str, path: Path) -> Observation:
        if (board, path) not in seen:
            device = open_device(f"emulated:{board}", Options())
            seen[board, path] = device.measure(path, Request(), Watch())
        return seen[board, path]

    return measured


@pytest.mark.parametrize("board", sorted(BOARDS))
@pytest.mark.parametrize("name", ["idn.onnx", "idn.tflite", "int8.tflite"])
def test_a_board_gives_this_machines_picture_and_a_count_that_repeats(
    measure: Measure, folder: Path, board: str, name: str
) -> None:
    found = measure(board, folder / name)
    assert found.machine.arch == "aarch64"
    line = picture.judge(folder / name, None, found, device=f"emulated:{board}")
    assert "the picture of this machine's runtime" in line
    assert found.instructions is not None
    assert found.instructions.cpu in BOARDS[board].cpus
    assert found.instructions.median > 1e6
    assert found.instructions.spread < gate.INSTRUCTIONS_SLACK / 2
    assert len(found.instructions.samples) == emulated.FRAMES - 1 + count.SHORT - 1
    assert found.peak_rss_bytes is not None
    assert 20e6 < found.peak_rss_bytes < 400e6


def test_nothing_that_it_records_is_a_time(measure: Measure, folder: Path) -> None:
    found = measure("rpi5", folder / "idn.tflite")
    assert found.latency is None
    assert found.layers == ()
    assert found.temperature_c == (None, None)
    assert not [key for key in json.loads(found.model_dump_json(exclude_none=True)) if "ms" in key.split("_")]


def test_xnnpack_takes_on_aarch64_what_it_takes_here(measure: Measure, folder: Path) -> None:
    for name in ("idn.tflite", "int8.tflite"):
        coverage = measure("rpi5", folder / name).coverage
        assert coverage is not None
        assert coverage.delegated > 0
        here = TfliteTarget().load(folder / name).engine.coverage()
        assert here is not None
        assert (coverage.nodes, coverage.delegated) == (here["nodes"], here["delegated"]), coverage.outside


def test_int8_gives_identical_pictures_and_takes_more_without_dot_products(measure: Measure, folder: Path) -> None:
    counts, pictures = {}, []
    for board in BOARDS:
        found = measure(board, folder / "int8.tflite")
        assert found.instructions is not None
        counts[board] = found.instructions.median
        pictures.append(found.picture)
    assert None not in pictures
    assert all(shown == pictures[0] for shown in pictures)
    assert counts["rpi4"] > 1.1 * counts["rpi5"]


def test_a_planted_regression_fails_the_gate_and_identical_files_do_not(measure: Measure, folder: Path) -> None:
    same = shutil.copy(folder / "idn.tflite", folder / "again.tflite")
    before, again, worse = (entry(p, measure) for p in (folder / "idn.tflite", same, folder / "wasteful.tflite"))
    assert not gate.compare(again, before, snapshot=True).causes
    causes = gate.compare(worse, before, snapshot=False).causes
    assert any("instructions" in cause for cause in causes)


def test_a_baseline_of_another_runtime_is_refused_not_compared(measure: Measure, folder: Path) -> None:
    now = entry(folder / "idn.tflite", measure)
    older = now.observation.machine.model_copy(update={"runtime_version": "1.0"})
    stored = now.model_copy(update={"observation": now.observation.model_copy(update={"machine": older})})
    path = Path("emulated.json")
    assert not gate.check_baseline(Report(versions={}, entries=(now,)), path, [now])[0].causes
    (cause,) = gate.check_baseline(Report(versions={}, entries=(stored,)), path, [now])[0].causes
    assert "was counted by LiteRT 1.0 on cortex-a76, now by LiteRT" in cause


def entry(path: Path, measure: Measure) -> Entry:
    observation = measure("rpi5", path)
    return Entry(
        device="emulated:rpi5",
        facts=facts.of(path),
        observation=observation,
        machine_key=observation.machine.key,
    )


def test_another_picture_is_an_error(measure: Measure, folder: Path) -> None:
    found = measure("rpi5", folder / "idn.onnx")
    assert found.picture is not None
    brighter = Picture(swapped=[[v + 0.01 for v in row] for row in found.picture.swapped], mask=found.picture.mask)
    with pytest.raises(CheckFailed, match=r"idn\.onnx.*does not give the picture of this machine's runtime .*40 dB"):
        picture.judge(folder / "idn.onnx", None, found.model_copy(update={"picture": brighter}), device="emulated:rpi5")


def test_threads_do_not_apply(folder: Path) -> None:
    found = emulated.EmulatedDevice(BOARDS["rpi5"]).measure(folder / "idn.tflite", Request(threads=4), Watch())
    assert "one thread" in found.notes[0]


@pytest.fixture
def pi(environment: Environment, tmp_path: Path) -> Path:
    """An aarch64 Python with both runtimes, as a command that this machine can start, and that starts itself."""
    modules = dict.fromkeys(
        module for suffix in (".onnx", ".tflite") for module in environment.modules(suffix, lambda line: None)
    )
    path = tmp_path / "pi"
    command = environment.command(BOARDS["rpi4"], [], log=tmp_path / "log", modules=list(modules))
    at = command.index("-cpu")
    command[at:at] = ["-0", str(path)]  # sys.executable: without binfmt, no other name of it can be started
    path.write_text(f'#!/bin/sh\nexec {shlex.join(command[:-1])} -E "TMPDIR=$TMPDIR" {command[-1]} "$@"\n')
    path.chmod(0o755)
    return path


@pytest.mark.parametrize(("name", "runtime"), [("idn.tflite", "LiteRT"), ("idn.onnx", "onnxruntime")])
def test_what_ssh_sends_runs_on_aarch64(folder: Path, sshd: Server, pi: Path, name: str, runtime: str) -> None:
    """The ssh device itself, a real server, and behind it a Python that can run nothing but aarch64."""
    remote = open_device(sshd.spec, Options(python=str(pi)))
    remote.check()
    request = Request(threads=1, runs=2, warmup=1, seconds=0.0, warmup_seconds=0.0, profile=False)
    found = remote.measure(folder / name, request, Watch())
    assert (found.machine.arch, found.machine.runtime) == ("aarch64", runtime)
    assert "part 0xd08" in found.machine.cpu
    assert found.latency is not None
    assert found.latency.runs == 2
    assert sshd.is_clean()


def test_a_cpu_that_does_not_hold_what_its_kernel_says_dies_with_a_clear_error(folder: Path) -> None:
    boastful = replace(BOARDS["rpi5"], cpus=("cortex-a72",))
    with pytest.raises(DeviceError, match=r"emulated:rpi5: the process died on int8\.tflite .*Illegal instruction"):
        emulated.EmulatedDevice(boastful).measure(folder / "int8.tflite", Request(), Watch())


def test_a_file_that_the_runtime_refuses_is_named(folder: Path, environment: Environment, tmp_path: Path) -> None:
    model = onnx.load(folder / "idn.onnx")
    model.opset_import[0].version = 4  # which knows none of its operators in this form
    onnx.save(model, tmp_path / "old.onnx")
    images = np.zeros((2, 3, SIZE, SIZE), np.float32)
    with pytest.raises(InputError, match=r"old\.onnx: on emulated:rpi4, .*compile it again"):
        count.emulate(environment, BOARDS["rpi4"], tmp_path / "old.onnx", images, watch=Watch(), say=lambda line: None)


@pytest.mark.parametrize(("name", "reason"), [("idn.xml", "OpenVINO"), ("idn.mlpackage", "Core ML")])
def test_other_formats_say_why_not(name: str, reason: str) -> None:
    refused = open_device("emulated:rpi5", Options()).refuses(Path(name))
    assert refused is not None
    assert reason in refused


def test_an_unknown_board_is_refused() -> None:
    with pytest.raises(UsageError, match="emulated:rpi4"):
        open_device("emulated:rpi3", Options())


USAGE = "emulated:rpi5|rpi4"


class TestWithoutACache:
    """On a machine where nothing has been built yet."""

    @pytest.fixture(autouse=True)
    def elsewhere(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
        yield
        assert not list(tmp_path.glob("cache/mfs-edge/emulated/*/")), "something half-built was left"

    def test_what_a_killed_builder_left_is_removed(self) -> None:
        left = cache() / f"{UNFINISHED}x"
        left.mkdir(parents=True)
        with lock(cache()):
            assert not left.exists()

    def test_doctor_says_beforehand_that_it_can_be_had(self, tmp_path: Path) -> None:
        found = availability()[USAGE]
        assert (found.possible, found.built) == (True, False)
        assert "first use" in found.said
        assert "MB" in found.said
        assert not list(tmp_path.iterdir()), "something was written to find out"

    def test_missing_tools_are_named(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("PATH", str(tmp_path))
        with pytest.raises(MissingDependency, match="no C compiler") as caught:
            setup.ensure(lambda line: None)
        assert caught.value.exit_code == 3
        (tmp_path / "cc").symlink_to("/bin/true")
        with pytest.raises(MissingDependency, match="apt-get, dpkg-deb, dpkg is missing"):
            setup.ensure(lambda line: None)
        assert not availability()[USAGE].possible

    def test_a_full_disk_is_told_beforehand(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(setup, "NEEDED", 1 << 60)
        with pytest.raises(MissingDependency, match=r"MB free.*XDG_CACHE_HOME"):
            setup.ensure(lambda line: None)

    def test_a_distribution_without_arm64_says_so(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (tmp_path / "sources.list").write_text("# nothing\n")
        monkeypatch.setenv(apt.SOURCES, str(tmp_path / "sources.list"))
        with pytest.raises(MissingDependency, match=rf"Unable to locate package.*\${apt.SOURCES}"):
            setup.ensure(lambda line: None)


def test_doctor_says_where_it_is(environment: Environment) -> None:
    found = availability()[USAGE]
    assert (found.possible, found.built) == (True, True)
    assert str(environment.folder) in found.said
    assert "MB" in found.said


def test_what_is_built_needs_no_compiler(
    environment: Environment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert setup.ensure(lambda line: None) == environment


def test_a_wheel_that_does_not_exist_is_named(tmp_path: Path) -> None:
    with pytest.raises(MissingDependency, match=r"no wheel of ai-edge-litert==0\.0\.1 for Python 3\.11 on aarch64"):
        wheels.unpack("ai-edge-litert==0.0.1", python="3.11", glibc="2.36", into=tmp_path)
    assert not list(tmp_path.iterdir())
