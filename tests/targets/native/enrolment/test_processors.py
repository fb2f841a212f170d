"""The same C on other processors, under sanitisers and valgrind; wrong calls."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from tests.targets.native import toolchains
from tests.targets.native.enrolment import zoo
from tests.targets.native.enrolment.conftest import Written, near
from tests.targets.native.kernels.shim import PORTABLE
from tests.targets.native.test_robustness import BAD_MEMORY, DEBUG, RACES, VALGRIND

pytestmark = pytest.mark.usefixtures("tools")
FACES, WRONG = "enrol_faces.c", "enrol_wrong_calls.c"


def judge(written: Written, path: Path) -> None:
    near(np.fromfile(path, np.float32), zoo.computed(written("float")[1], zoo.crop(0)))


def test_the_portable_section_is_what_numpy_computes(written: Written, raw: Path, tmp_path: Path) -> None:
    folder, _ = written("float")
    program = toolchains.compile_c(
        folder, FACES, tmp_path / "faces", compiler=("gcc",), flags=toolchains.QUICK, own="enrol", more=PORTABLE
    )
    toolchains.call([program, folder / "enrol.weights", raw, tmp_path / "out.raw"])
    judge(written, tmp_path / "out.raw")


@pytest.mark.parametrize("target", ["aarch64", "riscv64"])
def test_other_processors_are_what_numpy_computes(written: Written, raw: Path, target: str, tmp_path: Path) -> None:
    """In an arena of anything, and nothing outside is touched."""
    folder, _ = written("float")
    flags = (*toolchains.QUICK, "-target", f"{target}-linux-musl", "-static")
    program = toolchains.compile_c(folder, FACES, tmp_path / "faces", flags=flags, own="enrol")
    toolchains.call([toolchains.emulator(target), program, folder / "enrol.weights", raw, tmp_path / "out.raw"])
    judge(written, tmp_path / "out.raw")


def test_webassembly_is_what_numpy_computes(written: Written, raw: Path, tmp_path: Path) -> None:
    folder, _ = written("float")
    given = (*toolchains.QUICK, "-target", "wasm32-wasi", "-s", "-msimd128")
    module = toolchains.compile_c(folder, FACES, tmp_path / "faces.wasm", flags=given, own="enrol")
    shutil.copyfile(folder / "enrol.weights", tmp_path / "enrol.weights")
    shutil.copyfile(raw, tmp_path / "in.raw")
    toolchains.wasm(module, tmp_path, "enrol.weights", "in.raw", "out.raw")
    judge(written, tmp_path / "out.raw")


@pytest.mark.parametrize(("compiler", "payload"), [("gcc", "float"), ("clang", "code")])
def test_every_wrong_call_has_its_own_error_and_touches_nothing(
    written: Written, compiler: str, payload: str, tmp_path: Path
) -> None:
    folder, _ = written(payload)
    program = toolchains.compile_c(
        folder, WRONG, tmp_path / "wrong", compiler=(compiler,), flags=BAD_MEMORY, pool=True, own="enrol"
    )
    said = toolchains.call([program, folder / "enrol.weights"])
    assert said.stdout.endswith(" cases, 0 failures\n")
    assert int(said.stdout.split()[0]) >= 60


@pytest.mark.parametrize("compiler", ["gcc", "clang"])
def test_faces_under_the_sanitisers(written: Written, raw: Path, compiler: str, tmp_path: Path) -> None:
    folder, _ = written("float")
    program = toolchains.compile_c(
        folder, FACES, tmp_path / "faces", compiler=(compiler,), flags=BAD_MEMORY, own="enrol"
    )
    for cpu in ("0", "-1"):
        toolchains.call([program, folder / "enrol.weights", raw, tmp_path / "out.raw", cpu])
        judge(written, tmp_path / "out.raw")


def test_threads_do_not_race(written: Written, tmp_path: Path) -> None:
    folder, _ = written("float")
    program = toolchains.compile_c(
        folder, WRONG, tmp_path / "wrong", compiler=("clang",), flags=RACES, pool=True, own="enrol"
    )
    toolchains.call([program, folder / "enrol.weights"])


def test_valgrind_is_silent(written: Written, raw: Path, tmp_path: Path) -> None:
    """Nothing that was not written is read for anything, borders and gaps included; of AVX2 and SSE2."""
    folder, _ = written("float")
    program = toolchains.compile_c(folder, FACES, tmp_path / "faces", compiler=("gcc",), flags=DEBUG, own="enrol")
    arguments = [program, folder / "enrol.weights", raw, tmp_path / "out.raw", "-1", "1"]
    toolchains.call([*VALGRIND, *arguments])


def test_an_object_for_a_phone_needs_no_c_library(written: Written, tmp_path: Path) -> None:
    folder, _ = written("code")
    flags = ("-target", "aarch64-freestanding", "-ffreestanding", "-nostdinc", *toolchains.own_headers(), "-c")
    into = tmp_path / "enrol.o"
    toolchains.call([*toolchains.ZIG, *toolchains.QUICK, *flags, str(folder / "enrol.c"), "-o", str(into)])
    assert into.read_bytes().startswith(b"\x7fELF")
    assert not {b"sqrtf", b"expf", b"rintf"} & set(into.read_bytes().split(b"\0"))
