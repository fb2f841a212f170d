"""The device "browser": a real headless Chromium measures, and what is missing or ends is said."""

from __future__ import annotations

import shutil
import subprocess
import threading
from pathlib import Path

import pytest

import mfs_edge
from mfs_edge import pack, target
from mfs_edge.base.errors import DeviceError, InputError, MissingDependency
from mfs_edge.load.checkpoint import Checkpoint
from mfs_edge.load.identity import Identity, save
from mfs_edge.measure import chromium
from mfs_edge.measure.devices import Cancelled, Options, Request, Watch, open_device

SETUP = Path(__file__).parents[1] / "targets" / "web" / "setup_chromium.sh"
SIZE = 64


@pytest.fixture(scope="module")
def browser() -> str:
    subprocess.run([str(SETUP)], check=True, stdout=subprocess.DEVNULL)
    return chromium.found()


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory, demo_iin: Checkpoint, demo_identities: list[Identity]) -> Path:
    """A folder with an artefact of bytes, proven, and a pack for it."""
    out = tmp_path_factory.mktemp("web")
    for number, person in enumerate(demo_identities[:2]):
        save(person, out / f"{number}.npy")
    mfs_edge.compile(
        identity=out / "0.npy", checkpoint=demo_iin, target="web", size=SIZE, io="uint8", out=out / "build",
        min_psnr=40,
    )  # fmt: skip
    pack.make(base=out / "build", identity=out / "1.npy", out=out / "packs")
    return out


@pytest.mark.usefixtures("browser")
def test_it_measures_what_was_proven_and_switches(base: Path) -> None:
    (made,) = (base / "packs").glob("*.pack")
    report = mfs_edge.bench(base / "build", device="browser", pack=made, threads=2)
    (entry,) = report.entries
    seen = entry.observation
    assert seen.machine.runtime == "Chromium"
    assert seen.machine.runtime_version.count(".") == 3
    assert seen.machine.threads == 1
    assert seen.latency is not None
    assert seen.latency.runs >= 50
    assert seen.latency.warmup_runs is not None
    assert seen.latency.warmup_runs >= 10
    assert seen.switches is not None
    assert seen.switches.switches == 20
    stages = target.get("web").read(next((base / "build").glob("*.web"))).details["stages"]
    assert len(seen.layers) == stages
    assert "it computed fp32 on relaxed SIMD" in seen.notes
    assert any("on one thread" in note for note in seen.notes)
    assert any("the picture that was proven" in note for note in seen.notes)
    assert report.passed


def test_other_artefacts_are_not_for_it(artefacts: Path) -> None:
    device = open_device("browser", Options())
    assert "browsers run .web artefacts" in (device.refuses(artefacts / "idn.onnx") or "")


def test_what_is_missing_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(MissingDependency, match="no-such-browser is not found; install one"):
        open_device("browser:no-such-browser", Options()).check()
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MissingDependency, match="apt-get install chromium") as failure:
        open_device("browser", Options()).check()
    assert failure.value.exit_code == 3


def test_what_is_no_browser_is_told(tmp_path: Path) -> None:
    silent = tmp_path / "browser"
    silent.write_text("#!/bin/sh\nexit 0\n")
    silent.chmod(0o755)
    with pytest.raises(DeviceError, match="does not say which Chromium it is"):
        open_device(f"browser:{silent}", Options()).check()


def test_one_that_dies_is_told(base: Path, tmp_path: Path) -> None:
    dying = tmp_path / "browser"
    dying.write_text("#!/bin/sh\necho 'Chromium 1.2.3.4'\necho 'no display' >&2\nexit 7\n")
    dying.chmod(0o755)
    device = open_device(f"browser:{dying}", Options())
    with pytest.raises(DeviceError, match=r"ended before its page was done \(exit code 7: no display\)"):
        device.measure(next((base / "build").glob("*.web")), Request(), Watch())


def test_it_can_be_cancelled_and_leaves_no_process(base: Path, browser: str) -> None:
    watch = Watch()
    watch.cancelled = threading.Event()
    threading.Timer(1.5, watch.cancelled.set).start()
    with pytest.raises(Cancelled):
        open_device(f"browser:{browser}", Options()).measure(
            next((base / "build").glob("*.web")), Request(seconds=120), watch
        )
    running = [path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline") if path.exists()]
    assert not [words for words in running if b"--headless=new" in words and b"mfs-edge-" in words]


@pytest.mark.usefixtures("browser")
def test_a_damaged_artefact_is_not_opened(base: Path, tmp_path: Path) -> None:
    folder = tmp_path / "idn.web"
    shutil.copytree(next((base / "build").glob("*.web")), folder)
    (folder / "mfs-swap.js").write_text("export const version = 0;")
    with pytest.raises(InputError, match=r"mfs-swap\.js"):
        open_device("browser", Options()).measure(folder, Request(), Watch())
