"""The same C on other processors: emulated, in WebAssembly, or at least compiled for them."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest

from tests.targets.native import toolchains

GOLDEN_TOLERANCE = 5e-5
SIZES = (224, 256)
Made = Callable[[int], Path]
# What a processor is emulated as -> the instruction set that the C must choose there.
PROCESSORS = {"Nehalem": 0, "Haswell": 1}
BOARDS = ("cortex-a72", "cortex-a76")
ONCE = ("-1", "1")  # the best of the processor, one frame: an emulated one takes half a minute and more
pytestmark = pytest.mark.usefixtures("tools")


def judge(path: Path, golden: Mapping[str, np.ndarray], size: int) -> None:
    swapped, mask = toolchains.outputs(path, size)
    assert np.abs(swapped - golden[f"target{size}/output"]).max() < GOLDEN_TOLERANCE
    assert np.abs(mask - golden[f"target{size}/mask"]).max() < GOLDEN_TOLERANCE


def same(one: Path, other: Path) -> None:
    there, here = (np.fromfile(path, np.float32) for path in (one, other))
    assert np.abs(there - here).max() < GOLDEN_TOLERANCE


@pytest.mark.parametrize(("size", "board"), list(zip(SIZES, BOARDS, strict=True)))
def test_aarch64_is_golden(
    made: Made, raw: Made, golden: Mapping[str, np.ndarray], size: int, board: str, tmp_path: Path
) -> None:
    """On the processors of a Raspberry Pi 4 and 5, in an arena of NaN, and nothing outside is touched."""
    flags = (*toolchains.FLAGS, "-target", "aarch64-linux-musl", "-static")
    program = toolchains.compile_c(made(size), "frames.c", tmp_path / "frames", flags=flags)
    emulated = (toolchains.emulator("aarch64"), "-cpu", board, program)
    toolchains.call([*emulated, made(size) / "idn.weights", raw(size), tmp_path / "out.raw", *ONCE])
    judge(tmp_path / "out.raw", golden, size)


@pytest.mark.parametrize("processor", PROCESSORS)
def test_older_x86_chooses_what_it_has(made: Made, raw: Made, processor: str, tmp_path: Path) -> None:
    """Small pictures, as emulated AVX2 takes minutes for large ones: test_native.py has the same functions on those."""
    compiler = ("gcc",) if toolchains.is_x86() else (*toolchains.ZIG, "-target", "x86_64-linux-musl", "-static")
    program = toolchains.compile_c(made(32), "frames.c", tmp_path / "frames", compiler=compiler)
    here = toolchains.compile_c(made(32), "frames.c", tmp_path / "here", compiler=("gcc",), flags=toolchains.QUICK)
    emulated = (toolchains.emulator("x86_64"), "-cpu", processor, program)
    ran = toolchains.call([*emulated, made(32) / "idn.weights", raw(32), tmp_path / "there.raw"])
    assert int(ran.stdout) == PROCESSORS[processor]
    toolchains.call([here, made(32) / "idn.weights", raw(32), tmp_path / "here.raw"])
    same(tmp_path / "there.raw", tmp_path / "here.raw")
    refused = toolchains.call([*emulated, made(32) / "idn.weights", raw(32), tmp_path / "no.raw", "2"], code=5)
    assert "lacks that instruction set" in refused.stderr


@pytest.mark.skipif(
    not toolchains.has_avx512(), reason="not run: this processor has no AVX-512, and no emulator here has"
)
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("compiler", ["gcc", "clang", "zig"])
def test_avx512_is_golden(
    made: Made, raw: Made, golden: Mapping[str, np.ndarray], size: int, compiler: str, tmp_path: Path
) -> None:
    command = toolchains.ZIG if compiler == "zig" else (compiler,)
    program = toolchains.compile_c(made(size), "frames.c", tmp_path / "frames", compiler=command)
    ran = toolchains.call([program, made(size) / "idn.weights", raw(size), tmp_path / "out.raw"])
    assert int(ran.stdout) == 2
    judge(tmp_path / "out.raw", golden, size)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(
    "flags", [("-msimd128",), ("-msimd128", "-mrelaxed-simd"), ()], ids=["simd", "relaxed", "plain"]
)
def test_webassembly_is_golden(
    made: Made, raw: Made, golden: Mapping[str, np.ndarray], size: int, flags: tuple[str, ...], tmp_path: Path
) -> None:
    given = (*toolchains.FLAGS, "-target", "wasm32-wasi", "-s", *flags)
    module = toolchains.compile_c(made(size), "frames.c", tmp_path / "frames.wasm", flags=given)
    shutil.copyfile(made(size) / "idn.weights", tmp_path / "idn.weights")
    shutil.copyfile(raw(size), tmp_path / "in.raw")
    for deterministic in (False, True) if "-mrelaxed-simd" in flags else (False,):
        toolchains.wasm(module, tmp_path, "idn.weights", "in.raw", "out.raw", deterministic=deterministic)
        judge(tmp_path / "out.raw", golden, size)


def test_a_processor_that_is_none_of_these_computes_the_same(made: Made, raw: Made, tmp_path: Path) -> None:
    """RISC-V: the section for any other."""
    flags = (*toolchains.QUICK, "-target", "riscv64-linux-musl", "-static")
    program = toolchains.compile_c(made(32), "frames.c", tmp_path / "frames", flags=flags)
    here = toolchains.compile_c(made(32), "frames.c", tmp_path / "here", compiler=("gcc",), flags=toolchains.QUICK)
    for command, out in (((toolchains.emulator("riscv64"), program), "there.raw"), ((here,), "here.raw")):
        toolchains.call([*command, made(32) / "idn.weights", raw(32), tmp_path / out])
    same(tmp_path / "there.raw", tmp_path / "here.raw")


def test_whole_frames_on_other_processors(made: Made, tmp_path: Path) -> None:
    """A Raspberry Pi, RISC-V and WebAssembly: the same cases without a failure."""
    shutil.copyfile(made(32) / "idn.weights", tmp_path / "idn.weights")
    for target, command in (
        ("aarch64-linux-musl", (toolchains.emulator("aarch64"), "-cpu", "cortex-a76")),
        ("riscv64-linux-musl", (toolchains.emulator("riscv64"),)),
    ):
        flags = (*toolchains.QUICK, "-target", target, "-static")
        program = toolchains.compile_c(made(32), "whole_frames.c", tmp_path / target, flags=flags, frame=())
        said = toolchains.call([*command, program, tmp_path / "idn.weights", "60"])
        assert said.stdout.endswith(" cases, 0 failures\n")
    flags = (*toolchains.QUICK, "-target", "wasm32-wasi", "-s", "-msimd128")
    module = toolchains.compile_c(made(32), "whole_frames.c", tmp_path / "whole.wasm", flags=flags, frame=())
    assert toolchains.wasm(module, tmp_path, "idn.weights", "60").endswith(" cases, 0 failures\n")


def test_the_other_byte_order_refuses_the_weights(made: Made, raw: Made, tmp_path: Path) -> None:
    flags = (*toolchains.QUICK, "-target", "s390x-linux-musl", "-static")
    program = toolchains.compile_c(made(32), "frames.c", tmp_path / "frames", flags=flags)
    command = (toolchains.emulator("s390x"), program, made(32) / "idn.weights", raw(32), tmp_path / "out.raw")
    assert "other byte order" in toolchains.call(command, code=5).stderr
    assert not (tmp_path / "out.raw").exists()


@pytest.mark.parametrize(
    ("target", "kind"),
    [
        ("x86_64-windows-gnu", b"MZ"),
        ("x86_64-macos", b"\xcf\xfa\xed\xfe"),
        ("aarch64-macos", b"\xcf\xfa\xed\xfe"),
        ("x86_64-linux-gnu.2.17", b"\x7fELF"),
        ("aarch64-linux-gnu.2.17", b"\x7fELF"),
    ],
)
def test_shared_libraries_for_other_systems(made: Made, target: str, kind: bytes, tmp_path: Path) -> None:
    """Compiled only: there is nothing here that runs them."""
    into = tmp_path / "library"
    sources = [str(made(32) / name) for name in ("idn.c", "idn_frame.c")]
    toolchains.call(
        [*toolchains.ZIG, *toolchains.QUICK, "-target", target, "-shared", "-fPIC", *sources, "-o", str(into)]
    )
    assert into.read_bytes().startswith(kind)


@pytest.mark.parametrize(
    ("target", "kind"),
    [
        ("aarch64-linux-android", b"\x7fELF"),
        ("x86_64-linux-android", b"\x7fELF"),
        ("aarch64-ios", b"\xcf\xfa\xed\xfe"),
        ("aarch64-freestanding", b"\x7fELF"),
    ],
)
def test_objects_for_phones_need_no_c_library(made: Made, target: str, kind: bytes, tmp_path: Path) -> None:
    for name in ("idn", "idn_frame"):
        into = tmp_path / f"{name}.o"
        flags = ("-target", target, "-ffreestanding", "-nostdinc", *toolchains.own_headers(), "-c")
        toolchains.call([*toolchains.ZIG, *toolchains.QUICK, *flags, str(made(32) / f"{name}.c"), "-o", str(into)])
        assert into.read_bytes().startswith(kind)
