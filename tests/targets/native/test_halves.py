"""float16 arithmetic on 64-bit Arm, emulated: chosen where the processor has it, from the same files, and how near."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest
from mfs_edge.targets.native import NativeTarget, schedule

from mfs_edge.base.fidelity import psnr
from mfs_edge.fold import FoldedIDN
from mfs_edge.graph import build, edit, passes
from mfs_edge.quantize import execute, half, quantise
from mfs_edge.target import EmitOptions
from tests.targets.native import toolchains
from tests.targets.native.test_family import Builder
from tests.targets.native.test_integers import pictures

pytestmark = pytest.mark.usefixtures("tools")
SIZE = 64
WIDTHS = ([16, 32, 48, 64, 80], [48, 32, 32, 16], [32, 24, 16, 8, 2], 8)
NONE, DOTPROD, FP16 = 0, 1, 2
COMPILERS = {
    "zig": (*toolchains.ZIG, "-target", "aarch64-linux-musl"),
    "gcc": ("aarch64-linux-gnu-gcc",),
    "gcc for Armv8.4": ("aarch64-linux-gnu-gcc", "-march=armv8.4-a"),
    "gcc for a Pi 4": ("aarch64-linux-gnu-gcc", "-mcpu=cortex-a72+crypto"),
    "gcc for a Pi 5": ("aarch64-linux-gnu-gcc", "-mcpu=cortex-a76"),
    "clang": ("clang", "--target=aarch64-linux-gnu", "--sysroot=/usr/aarch64-linux-gnu"),
}
Compiled = Callable[..., Path]


@pytest.fixture(scope="module")
def models() -> dict[str, ir.Model]:
    """By precision."""
    plain = Builder(3, SIZE).model(*WIDTHS)
    seen = pictures(8)
    return {
        "fp32": plain,
        "fp16": half.prepare(plain, seen),
        "int8": quantise(plain, seen, products=True).model,
    }


@pytest.fixture(scope="module")
def folders(models: Mapping[str, ir.Model], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("halves")
    for precision, model in models.items():
        NativeTarget().emit(model, root / f"{precision}.idn", EmitOptions(precision))
    return {precision: root / f"{precision}.idn" for precision in models}


@pytest.fixture(scope="module")
def program(folders: Mapping[str, Path]) -> Callable[..., Path]:
    def make(precision: str, compiler: str = "gcc") -> Path:
        into = folders[precision].with_name(f"{precision}-{compiler.replace(' ', '-')}")
        flags = (*toolchains.QUICK, "-static")
        return toolchains.compile_c(folders[precision], "frames.c", into, compiler=COMPILERS[compiler], flags=flags)

    return make


def ran(
    program: Path, folder: Path, image: np.ndarray, cpu: str, forced: int = -1, *, size: int = SIZE, turns: int = 1
) -> tuple[int, dict[str, np.ndarray]]:
    """The instruction set in use on ``cpu``, and the outputs. Emulated halves are slow: few turns."""
    shown, out = folder.with_suffix(".raw"), folder.with_suffix(".out")
    image.astype(np.float32).tofile(shown)
    emulated = (toolchains.emulator("aarch64"), "-cpu", cpu, program, folder / "idn.weights", shown, out)
    used = int(toolchains.call([*emulated, str(forced), str(turns)]).stdout)
    swapped, mask = toolchains.outputs(out, size)
    return used, {"swapped": swapped[None], "mask": mask[None]}


def least(found: Mapping[str, np.ndarray], expected: Mapping[str, np.ndarray]) -> float:
    return min(psnr(found[name] - expected[name]) for name in expected)


@pytest.mark.parametrize(
    ("precision", "cpu", "best"),
    [
        ("fp32", "cortex-a76", NONE),
        ("fp16", "cortex-a72", NONE),
        ("fp16", "cortex-a76", FP16),
        ("fp16", "a64fx", FP16),
        ("int8", "cortex-a72", NONE),
        ("int8", "a64fx", NONE),  # float16, and no dot products
        ("int8", "neoverse-n1", FP16),
        ("int8", "cortex-a76", FP16),
        ("int8", "max", FP16),
    ],
)
def test_every_processor_gets_what_it_has(
    precision: str, cpu: str, best: int, program: Compiled, folders: Mapping[str, Path]
) -> None:
    used, _ = ran(program(precision), folders[precision], pictures(1)[0], cpu, turns=3)
    assert used == best


@pytest.mark.parametrize("precision", ["fp16", "int8"])
def test_a_processor_without_it_refuses_to_be_told(
    precision: str, program: Compiled, folders: Mapping[str, Path]
) -> None:
    pictures(1)[0].tofile(folders[precision].with_suffix(".raw"))
    command = (toolchains.emulator("aarch64"), "-cpu", "cortex-a72", program(precision))
    files = (folders[precision] / "idn.weights", folders[precision].with_suffix(".raw"), "/dev/null")
    assert "lacks that instruction set" in toolchains.call([*command, *files, str(FP16)], code=5).stderr


@pytest.mark.parametrize("seed", range(4))
def test_half_precision_is_near_to_float(
    seed: int, models: Mapping[str, ir.Model], program: Compiled, folders: Mapping[str, Path]
) -> None:
    image = pictures(1, seed=10 + seed)[0]
    (expected,) = execute.outputs(models["fp32"], [image])
    found = [ran(program("fp16"), folders["fp16"], image, "cortex-a76", cpu)[1] for cpu in (FP16, NONE)]
    assert least(found[0], expected) > 60
    assert least(found[1], expected) > 75
    assert least(found[0], found[1]) > 60


def test_integers_lose_little_more(
    models: Mapping[str, ir.Model], program: Compiled, folders: Mapping[str, Path]
) -> None:
    """Codes that fall on the other side of a half are as near to the float graph as those that do not: 1 dB."""
    levels = []
    for image in pictures(6, seed=20):
        (expected,) = execute.outputs(models["fp32"], [image])
        found = [ran(program("int8"), folders["int8"], image, "cortex-a76", cpu)[1] for cpu in (FP16, DOTPROD, NONE)]
        assert least(found[1], found[2]) > 60
        assert least(found[0], found[1]) > 38
        levels.append([psnr(f[name] - expected[name]) for f in found[:2] for name in ("swapped", "mask")])
    swapped, mask, swapped_too, mask_too = np.mean(levels, axis=0)
    assert swapped > swapped_too - 1
    assert mask > mask_too - 1


@pytest.mark.parametrize(
    ("compiler", "precision"),
    [
        ("zig", "fp16"),
        ("zig", "int8"),
        ("gcc for Armv8.4", "fp16"),
        ("gcc for a Pi 4", "fp16"),
        ("gcc for a Pi 5", "int8"),
        ("clang", "fp16"),
        ("clang", "int8"),
    ],
)
def test_every_compiler_takes_it(compiler: str, precision: str, program: Compiled, folders: Mapping[str, Path]) -> None:
    image = pictures(1, seed=30)[0]
    _, expected = ran(program(precision), folders[precision], image, "cortex-a76")
    used, found = ran(program(precision, compiler), folders[precision], image, "max")
    assert used == FP16
    assert least(found, expected) > (60 if precision == "fp16" else 38)


def test_the_golden_network(golden_folded: FoldedIDN, golden: Mapping[str, np.ndarray], tmp_path: Path) -> None:
    """Drawn at random, it is wilder than any that was trained."""
    size = 96
    graph = passes.optimise(build.build(golden_folded.weights(), size=size), level=1)
    NativeTarget().emit(half.prepare(graph), tmp_path / "a.idn", EmitOptions("fp16"))
    flags = (*toolchains.QUICK, "-static")
    made = toolchains.compile_c(
        tmp_path / "a.idn", "frames.c", tmp_path / "frames", compiler=COMPILERS["gcc"], flags=flags
    )
    image = golden["target224/image"][64:160, 64:160].astype(np.float32).transpose(2, 0, 1)[None] / 255
    (expected,) = execute.outputs(graph, [image])
    used, found = ran(made, tmp_path / "a.idn", image, "cortex-a76", size=size)
    assert used == FP16
    assert least(found, expected) > 55
    assert max(np.abs(found[name] - value).max() for name, value in expected.items()) < 0.05
    _, by_floats = ran(made, tmp_path / "a.idn", image, "cortex-a72", size=size)
    assert least(by_floats, expected) > 70


@pytest.mark.parametrize("seed", range(3))
def test_any_width_and_size(seed: int, tmp_path: Path) -> None:
    rng = np.random.default_rng(300 + seed)
    size = 32 * (1 + seed)
    encoder, decoder, mask = ([int(n) for n in rng.integers(3, 70, count)] for count in (5, 4, 5))
    model = Builder(seed, size).model(encoder, decoder, mask, int(rng.integers(3, 20)))
    NativeTarget().emit(half.prepare(model), tmp_path / "a.idn", EmitOptions("fp16"))
    made = toolchains.compile_c(
        tmp_path / "a.idn",
        "frames.c",
        tmp_path / "frames",
        compiler=COMPILERS["gcc"],
        flags=(*toolchains.QUICK, "-static"),
    )
    image = rng.random((3, size, size))
    (_, halves), (_, floats) = (ran(made, tmp_path / "a.idn", image, cpu, size=size) for cpu in ("max", "cortex-a53"))
    assert least(halves, floats) > 55


@pytest.mark.parametrize("block", ["encoder.1", "decoder.0", "mask.1"])
def test_what_no_half_holds_is_computed_in_floats(block: str, models: Mapping[str, ir.Model]) -> None:
    network = schedule.read(models["int8"])
    assert schedule.for_precision(network, "int8").halves
    kind = block.split(".", maxsplit=1)[0]
    pairs = tuple(
        replace(pair, kernel=pair.kernel * 1e8) if pair.name == block else pair for pair in getattr(network, kind)
    )
    assert any(pair.name == block for pair in pairs)
    assert not schedule.for_precision(replace(network, **{kind: pairs}), "int8").halves


def test_float_files_have_no_such_section(folders: Mapping[str, Path]) -> None:
    assert "_Float16" not in (folders["fp32"] / "idn.c").read_text()
    for precision in ("fp16", "int8"):
        assert "stages_fp16" in (folders[precision] / "idn.c").read_text()


@pytest.mark.parametrize("name", ["encoder.2.pointwise", "decoder.1.pointwise"])
def test_an_overflow_is_seen(name: str, tmp_path: Path) -> None:
    """Weights that float16 holds and activations that it does not: nothing that could be taken for the picture."""
    plain = Builder(3, SIZE).model(*WIDTHS)
    graph = plain.graph
    (conv,) = [node for node in edit.of_type(graph, "Conv") if node.name == name]
    edit.set_weight(graph, conv, 1, edit.weight(conv, 1) * 3e4)
    NativeTarget().emit(plain, tmp_path / "a.idn", EmitOptions("fp16"))
    made = toolchains.compile_c(
        tmp_path / "a.idn",
        "frames.c",
        tmp_path / "frames",
        compiler=COMPILERS["gcc"],
        flags=(*toolchains.QUICK, "-static"),
    )
    image = pictures(1)[0] + np.float32(3)
    (_, halves), (_, floats) = (ran(made, tmp_path / "a.idn", image, cpu) for cpu in ("max", "cortex-a72"))
    assert all(np.isfinite(value).all() for value in floats.values())
    assert least(halves, floats) < 40
