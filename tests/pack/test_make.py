"""Packs of many: the same bytes by one process, by several and by a cluster; none lost, none made twice."""

from __future__ import annotations

import inspect
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from mfs_edge import pack as packs
from mfs_edge.base import files
from mfs_edge.base.errors import CheckFailed, InputError, MfsEdgeError, UsageError
from mfs_edge.base.progress import Recorded
from mfs_edge.base.runs import TYPES, Run
from mfs_edge.bundle import manifest
from mfs_edge.cli.main import pack as commands
from mfs_edge.load import identity as identities
from mfs_edge.pack import container, sealed

ARTEFACTS = 3  # of the base


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture(scope="module")
def wanted(tmp_path_factory: pytest.TempPathFactory, built: Path, crowd: Path) -> dict[str, bytes]:
    """Every pack of the crowd, by one process."""
    out = tmp_path_factory.mktemp("wanted")
    result = packs.make(base=built, identities=crowd, out=out)
    assert (len(result.packs), result.kept, result.failed) == (12 * ARTEFACTS, 0, {})
    return contents(out)


def test_a_pack_says_whose_it_is(wanted: dict[str, bytes], crowd: Path, built: Path) -> None:
    records = {record.file: record for record in manifest.read(built / "manifest.json").artefacts}
    for path in crowd.iterdir():
        for file, record in records.items():
            found = container.loads(wanted[f"{path.stem}-{file}.pack"], path)
            assert found.identity_sha256 == identities.load(path).sha256
            assert (found.target, found.precision, found.size) == (record.target, record.precision, record.size)
            assert found.checkpoint_sha256 == record.checkpoint.sha256


@pytest.mark.parametrize("stem", ["0f8fad5b-d9cb-469f-a165-70867728950e", "two\nlines", "plain"])
def test_what_was_begun_of_these_packs_goes_and_another_run_keeps_its_own(
    stem: str, built: Path, crowd: Path, tmp_path: Path
) -> None:
    one, out = tmp_path / f"{stem}.npy", tmp_path / "out"
    shutil.copy(crowd / "person00.npy", one)
    out.mkdir()
    begun: list[Path] = []
    with files.atomic(out / f"{stem}-idn-64-fp16.mlpackage.pack") as temporary:
        begun.append(temporary)
    others = [out / f".other-idn-64-fp16.{kind}.pack.0123abcd.tmp" for kind in ("onnx", "xml")]
    for path in (*begun, *others):
        path.write_bytes(b"half")
    os.utime(others[1], (1e9, 1e9))
    packs.make(base=built, identity=one, out=out)
    assert [path.name for path in out.iterdir() if path.suffix == ".tmp"] == [others[0].name]


def test_an_identity_that_a_base_cannot_hold_is_told(built: Path, crowd: Path, tmp_path: Path) -> None:
    people = tmp_path / "people"
    people.mkdir()
    known = identities.load(crowd / "person00.npy")
    identities.save(known, people / "fits.npy")
    identities.save(replace(known, feature_map=known.feature_map * np.float32(1000)), people / "large.npy")
    steps = Recorded()
    packs.make(base=built, identities=people, out=tmp_path / "packs", jobs=2, steps=steps)
    (told,) = [line for line in steps.notes if "cut off" in line]
    assert told.startswith("large.npy: ")
    assert all(record.base in told for record in manifest.read(built / "manifest.json").artefacts)


@pytest.mark.parametrize("jobs", [2, 3, -1])
def test_several_processes_make_the_same(
    jobs: int, wanted: dict[str, bytes], built: Path, crowd: Path, tmp_path: Path
) -> None:
    assert packs.make(base=built, identities=crowd, out=tmp_path, jobs=jobs).failed == {}
    assert contents(tmp_path) == wanted


def test_what_is_finished_is_kept_and_what_is_not_is_made_again(
    wanted: dict[str, bytes], built: Path, crowd: Path, tmp_path: Path
) -> None:
    for name, data in wanted.items():
        (tmp_path / name).write_bytes(data)
    names = sorted(wanted)
    (tmp_path / names[0]).unlink()
    (tmp_path / names[1]).write_bytes(wanted[names[1]][:-1])
    (tmp_path / names[2]).write_bytes(b"")
    (tmp_path / names[5]).write_bytes(wanted[names[8]])  # another's
    (tmp_path / f".{names[7]}.0123abcd.tmp").write_bytes(b"half")
    before = {name: (tmp_path / name).stat().st_mtime_ns for name in names[9:]}
    result = packs.make(base=built, identities=crowd, out=tmp_path)
    assert result.kept == len(wanted) - 4
    assert contents(tmp_path) == wanted
    assert before == {name: (tmp_path / name).stat().st_mtime_ns for name in names[9:]}


def test_a_strangers_file_in_the_way_is_not_replaced(built: Path, crowd: Path, tmp_path: Path) -> None:
    taken = tmp_path / next(iter(packs.make(base=built, identity=crowd / "person01.npy", out=tmp_path).packs)).name
    taken.write_text("a letter")
    with pytest.raises(InputError, match="in the way, and no pack"):
        packs.make(base=built, identity=crowd / "person01.npy", out=tmp_path)
    assert taken.read_text() == "a letter"


def test_a_failed_identity_is_one_line_and_the_others_are_made(built: Path, crowd: Path, tmp_path: Path) -> None:
    folder, out = tmp_path / "people", tmp_path / "out"
    shutil.copytree(crowd, folder)
    (folder / "person03.npy").write_bytes(b"no array")
    np.save(folder / "person04.npy", np.full(25600, np.nan, np.float32))
    np.save(folder / "person05.npy", np.zeros(512, np.float32))
    steps = Recorded()
    result = packs.make(base=built, identities=folder, out=out, jobs=2, steps=steps)
    assert {Path(name).stem for name in result.failed} == {"person03", "person04", "person05"}
    assert len(list(out.iterdir())) == len(result.packs) == 9 * ARTEFACTS
    for name, line in result.failed.items():
        assert line.startswith(name)
        assert steps.notes.count(line) == 1
    with pytest.raises(CheckFailed, match="3 identities have no packs"):
        result.require_all()


def test_one_pack_by_its_name(built: Path, crowd: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="the base has 3 artefacts"):
        packs.make(base=built, identity=crowd / "person00.npy", out=tmp_path / "me.pack")
    alone = tmp_path / "alone"
    shutil.copytree(built, alone)
    path = alone / "manifest.json"
    recorded = manifest.read(path)
    first = [record for record in recorded.artefacts if record.target == "onnx"]
    path.write_text(recorded.model_copy(update={"artefacts": tuple(first)}).dumps())
    result = packs.make(base=alone, identity=crowd / "person00.npy", out=tmp_path / "me.pack")
    assert result.packs == (tmp_path / "me.pack",)
    assert packs.apply(alone / first[0].file, result.packs[0], tmp_path / "me.onnx").path.exists()
    with pytest.raises(UsageError, match="is one pack, of 12 identities"):
        packs.make(base=alone, identities=crowd, out=tmp_path / "me.pack")


@pytest.mark.parametrize(("options", "message"), [
    ({}, "either --identity"),
    ({"identity": "a.npy", "identities": "b"}, "either --identity"),
    ({"identity": "a.npy", "jobs": 2, "dask": "tcp://127.0.0.1:1"}, "either --jobs"),
    ({"identity": "a.npy", "jobs": 0}, "--jobs 0"),
    ({"identity": "gone.npy"}, "gone.npy: no such file"),
    ({"identities": "gone"}, "gone: is not a folder"),
    ({"identity": "a.npy", "recipient": "age1nobody"}, "age1nobody"),
    ({"identity": "a.npy", "dask": "tcp://127.0.0.1:1"}, "no scheduler answers there"),
])  # fmt: skip
def test_bad_usage_is_one_line(
    options: dict[str, object], message: str, built: Path, crowd: Path, tmp_path: Path
) -> None:
    if options.get("identity") == "a.npy":
        options = {**options, "identity": crowd / "person00.npy"}
    with pytest.raises(MfsEdgeError, match=message) as caught:
        packs.make(base=built, out=tmp_path / "out", **options)  # type: ignore[arg-type]
    assert caught.value.exit_code == 2
    assert list(tmp_path.rglob("*.pack")) == []


def test_two_identities_of_one_name_are_refused(built: Path, crowd: Path, tmp_path: Path) -> None:
    for name in ("me.npy", "me.npz"):
        shutil.copy(crowd / "person00.npy", tmp_path / name)
    with pytest.raises(UsageError, match="packs of the same name"):
        packs.make(base=built, identities=tmp_path, out=tmp_path / "out")


def test_another_checkpoint_or_an_edited_base_is_refused(
    built: Path, crowd: Path, tmp_path: Path, golden_iin: object
) -> None:
    from mfs_edge.load.checkpoint import save_safetensors

    other = tmp_path / "other.safetensors"
    save_safetensors(golden_iin, other)  # type: ignore[arg-type]
    person = crowd / "person00.npy"
    with pytest.raises(InputError, match=r"is not the checkpoint that .* was compiled for"):
        packs.make(base=built, identity=person, out=tmp_path / "out", checkpoint=other)
    for name in ("idn-64-fp16.base", "idn-64-fp16.onnx", "idn-64-fp16.bin"):
        copy = tmp_path / name / "base"
        shutil.copytree(built, copy)
        data = bytearray((copy / name).read_bytes())
        data[len(data) // 2] ^= 1
        (copy / name).write_bytes(data)
        with pytest.raises(InputError, match="compile"):
            packs.make(base=copy, identity=person, out=tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []


def test_sealed_packs_are_applied_with_a_key(built: Path, crowd: Path, tmp_path: Path) -> None:
    import pyrage

    secret = pyrage.x25519.Identity.generate()
    key = tmp_path / "key.txt"
    key.write_text(f"{secret}\n")
    result = packs.make(
        base=built, identity=crowd / "person00.npy", out=tmp_path / "out", recipient=str(secret.to_public())
    )
    (pack,) = [path for path in result.packs if ".onnx" in path.name]
    assert sealed.is_sealed(pack.read_bytes())
    base = built / "idn-64-fp16.onnx"
    with pytest.raises(InputError, match="--key"):
        packs.apply(base, pack, tmp_path / "new.onnx")
    assert not (tmp_path / "new.onnx").exists()
    packs.apply(base, pack, tmp_path / "new.onnx", key=key)
    plain = packs.make(base=built, identity=crowd / "person00.npy", out=tmp_path / "plain").packs[0]
    packs.apply(base, plain.with_name(pack.name), tmp_path / "plain.onnx")
    assert (tmp_path / "new.onnx").read_bytes() == (tmp_path / "plain.onnx").read_bytes()


def test_open_packs_are_sealed_where_that_is_asked_for(built: Path, crowd: Path, tmp_path: Path) -> None:
    import pyrage

    secret = pyrage.x25519.Identity.generate()
    one = {"base": built, "identity": crowd / "person00.npy", "out": tmp_path}
    before = contents_of(packs.make(**one).packs)
    result = packs.make(**one, recipient=str(secret.to_public()))
    assert result.kept == 0
    after = contents_of(result.packs)
    assert before.keys() == after.keys()
    assert {name: pyrage.decrypt(data, [secret]) for name, data in after.items()} == before


def contents_of(paths: tuple[Path, ...]) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in paths}


def test_a_base_without_runs_is_told(tmp_path: Path, demo_identities: list, crowd: Path) -> None:  # type: ignore[type-arg]
    import mfs_edge

    mfs_edge.compile(identity=demo_identities[0], size=64, optimize=0, out=tmp_path / "b", verify=False)
    with pytest.raises(InputError, match="no artefact that takes packs"):
        packs.make(base=tmp_path / "b", identity=crowd / "person00.npy", out=tmp_path / "out")


def moved(runs: tuple[Run, ...]) -> tuple[Run, ...]:
    """The last of the weights behind the file's end."""
    return (*lost(runs), replace(next(run for run in reversed(runs) if run.dtype in TYPES), offset=10**8))


def lost(runs: tuple[Run, ...]) -> tuple[Run, ...]:
    """Without the last of the weights."""
    last = next(run for run in reversed(runs) if run.dtype in TYPES)
    return tuple(run for run in runs if run is not last)


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"runs": moved}, "lies behind the end of idn-64-fp16.onnx"),
        ({"runs": lost}, "does not say where"),
        ({"target": lambda _: "tflite"}, "not a sound TFLite artefact"),
    ],
)
def test_a_manifest_that_contradicts_its_files_is_refused(
    changed: dict[str, Callable[[Any], Any]], told: str, built: Path, crowd: Path, tmp_path: Path
) -> None:
    base = shutil.copytree(built, tmp_path / "base")
    recorded = manifest.read(base / "manifest.json")
    (record,) = [record for record in recorded.artefacts if record.target == "onnx"]
    fresh = {key: change(getattr(record, key)) for key, change in changed.items()}
    only = recorded.model_copy(update={"artefacts": (record.model_copy(update=fresh),)})
    (base / "manifest.json").write_text(only.model_dump_json())
    with pytest.raises(InputError, match=told):
        packs.make(base=base, identity=crowd / "person00.npy", out=tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize("command", ["make", "apply"])
def test_the_command_line_and_python_are_one(command: str) -> None:
    options = {parameter.name for parameter in commands.commands[command].params} - {"json"}
    assert options == set(inspect.signature(getattr(packs, command)).parameters) - {"steps"}


@pytest.mark.parametrize(("identities", "told"), [(1, "over one identity"), (3, "over 3 identities"), (8, "")])
def test_a_base_of_few_in_integers_is_told_of(
    identities: int, told: str, built: Path, crowd: Path, tmp_path: Path
) -> None:
    base = shutil.copytree(built, tmp_path / "base")
    recorded = manifest.read(base / "manifest.json")
    seen = {"identities": identities, "precision": "int8"}
    records = tuple(record.model_copy(update=seen) for record in recorded.artefacts)
    (base / "manifest.json").write_text(recorded.model_copy(update={"artefacts": records}).model_dump_json())
    steps = Recorded()
    packs.make(base=base, identity=crowd / "person00.npy", out=tmp_path / "out", steps=steps)
    found = [note for note in steps.notes if "others swap much worse" in note]
    assert len(found) == (ARTEFACTS if told else 0)
    assert all(told in note for note in found)


# --- workers that are killed ---------------------------------------------------------------


@pytest.fixture
def many(wanted: dict[str, bytes], crowd: Path, tmp_path: Path) -> tuple[Path, dict[str, bytes]]:
    """60 identities, each of the crowd's five times, so that work is left whenever a kill comes; and their packs."""
    folder = tmp_path / "many"
    folder.mkdir()
    expected = {}
    for number in range(60):
        one, person = f"one{number:02}", f"person{number % 12:02}"
        shutil.copy(crowd / f"{person}.npy", folder / f"{one}.npy")
        expected |= {n.replace(person, one): data for n, data in wanted.items() if n.startswith(f"{person}-")}
    return folder, expected


@pytest.fixture
def scheduler(tmp_path: Path) -> Iterator[tuple[str, list[subprocess.Popen[bytes]]]]:
    """A Dask scheduler and two worker processes, on loopback."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": "5"}
    announced = tmp_path / "scheduler.json"
    run = [sys.executable, "-m", "distributed.cli.dask_scheduler"]
    there = ["--host", "127.0.0.1", "--port", "0", "--no-dashboard", "--scheduler-file", str(announced)]
    running = [_started([*run, *there], environment)]
    try:
        _wait(announced.exists)
        address = json.loads(announced.read_text())["address"]
        run = [sys.executable, "-m", "distributed.cli.dask_worker", address, "--nthreads", "1", "--no-dashboard"]
        workers = [_started([*run, "--no-nanny", "--local-directory", str(tmp_path)], environment) for _ in range(2)]
        running += workers
        yield address, workers
    finally:
        for process in reversed(running):
            process.kill()
            process.wait()


def _started(command: list[str], environment: dict[str, str]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


HALF_WRITTEN = ".one00-idn-64-fp16.xml.pack.0123abcd.tmp"  # as a killed worker may leave it; nothing of it may stay


def _wait(happened: object, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not happened():  # type: ignore[operator]
        assert time.monotonic() < end
        time.sleep(0.05)


def test_a_cluster_loses_nothing_when_a_worker_is_killed(
    scheduler: tuple[str, list[subprocess.Popen[bytes]]], many: tuple[Path, dict[str, bytes]], built: Path,
    tmp_path: Path,
) -> None:  # fmt: skip
    address, workers = scheduler
    folder, expected = many
    out = tmp_path / "out"

    def kill() -> None:
        _wait(lambda: out.exists() and len(list(out.glob("*.pack"))) >= 6)
        workers[0].send_signal(signal.SIGKILL)
        (out / HALF_WRITTEN).write_bytes(b"half")

    killer = threading.Thread(target=kill)
    killer.start()
    result = packs.make(base=built, identities=folder, out=out, dask=address)
    killer.join()
    assert workers[0].wait() == -signal.SIGKILL
    assert (len(result.packs), result.failed) == (60 * ARTEFACTS, {})
    assert contents(out) == expected


def test_processes_here_lose_nothing_when_one_is_killed(
    many: tuple[Path, dict[str, bytes]], built: Path, tmp_path: Path
) -> None:
    folder, expected = many
    out = tmp_path / "out"
    killed: list[int] = []

    def kill() -> None:
        _wait(lambda: len(list(out.glob("*.pack"))) >= 3)
        for child in psutil.Process().children(recursive=True):
            if "loky" in " ".join(child.cmdline()) and "resource_tracker" not in " ".join(child.cmdline()):
                child.send_signal(signal.SIGKILL)
                (out / HALF_WRITTEN).write_bytes(b"half")
                killed.append(child.pid)
                return

    killer = threading.Thread(target=kill)
    killer.start()
    steps = Recorded()
    result = packs.make(base=built, identities=folder, out=out, jobs=2, steps=steps)
    killer.join()
    assert killed
    assert result.failed == {}
    assert contents(out) == expected
    assert any("a worker was killed" in note for note in steps.notes)
