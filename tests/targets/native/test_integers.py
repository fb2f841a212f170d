"""int8: products of integers, the same on every instruction set, against the graph operator by operator."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest
from mfs_edge.targets.native import NativeTarget, engine, integers, plan, schedule, weights

from mfs_edge.base.errors import LoweringError
from mfs_edge.base.fidelity import psnr
from mfs_edge.graph import edit
from mfs_edge.quantize import execute, quantise
from mfs_edge.target import EmitOptions
from tests.targets.native import toolchains
from tests.targets.native.test_family import Builder

TARGET = NativeTarget()
SIZE = 64
# A value half-way between two codes falls on either side, as the order of float sums has it: one step of one channel.
BOUND_DB = 60.0


def pictures(count: int, seed: int = 0) -> list[np.ndarray]:
    """Smooth ones, float32 [1, 3, S, S] in 0..1."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:SIZE, 0:SIZE] / SIZE
    found = []
    for _ in range(count):
        a, b, c = rng.uniform(1, 6, (3, 3, 1, 1))
        found.append((0.5 + 0.5 * np.sin(a * x + b * y + c))[None].astype(np.float32))
    return found


@pytest.fixture(scope="module")
def plain() -> ir.Model:
    return Builder(3, SIZE).model([16, 32, 48, 64, 80], [48, 32, 32, 16], [32, 24, 16, 8, 2], 8)


@pytest.fixture(scope="module")
def quantised(plain: ir.Model) -> ir.Model:
    return quantise(plain, pictures(8), products=True).model


@pytest.mark.parametrize("io", ["float32", "uint8"])
def test_every_instruction_set_computes_what_the_graph_does(
    quantised: ir.Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, io: str
) -> None:
    TARGET.emit(quantised, tmp_path / "a.idn", EmitOptions("int8", io))
    shown = [np.rint(picture * 255) / np.float32(255) for picture in pictures(3, seed=1)]
    expected = execute.outputs(quantised, shown, as_written=True)
    for cpu in engine.Engine(str(tmp_path / "a.idn"), threads=1).cpus():
        monkeypatch.setenv("MFS_EDGE_IDN_CPU", str(cpu))
        loaded = TARGET.load(tmp_path / "a.idn", threads=1 + cpu)
        for picture, wanted in zip(shown, expected, strict=True):
            found = loaded.run(picture)
            for name, value in wanted.items():
                level = psnr(found[name] - value) if io == "float32" else psnr(found[name] - np.rint(value * 255) / 255)
                assert level > (BOUND_DB if io == "float32" else 55)


def test_is_nearer_to_the_float_graph_than_whole_int8(plain: ir.Model, quantised: ir.Model, tmp_path: Path) -> None:
    judged = pictures(4, seed=2)
    expected = execute.outputs(plain, judged)
    TARGET.emit(quantised, tmp_path / "a.idn", EmitOptions("int8"))
    loaded = TARGET.load(tmp_path / "a.idn")
    whole = execute.outputs(quantise(plain, pictures(8)).model, judged, as_written=True)
    for name in ("swapped", "mask"):
        mine = [psnr(loaded.run(picture)[name] - e[name]) for picture, e in zip(judged, expected, strict=True)]
        theirs = [psnr(o[name] - e[name]) for o, e in zip(whole, expected, strict=True)]
        assert np.mean(mine) > np.mean(theirs)


@pytest.mark.parametrize("seed", range(6))
def test_any_width(seed: int, tmp_path: Path) -> None:
    rng = np.random.default_rng(seed)
    encoder = [int(2 * n) for n in rng.integers(8, 36, 5)]
    decoder = [int(2 * n) for n in rng.integers(8, 36, 4)]
    mask = [*(int(n) for n in rng.integers(3, 40, 3)), 8, 2]
    model = quantise(Builder(seed, SIZE).model(encoder, decoder, mask, 8), pictures(4), products=True).model
    TARGET.emit(model, tmp_path / "a.idn", EmitOptions("int8"))
    (picture,) = pictures(1, seed=3)
    (expected,) = execute.outputs(model, [picture], as_written=True)
    found = TARGET.load(tmp_path / "a.idn", threads=2).run(picture)
    for name, value in expected.items():
        assert psnr(found[name] - value) > BOUND_DB


@pytest.mark.parametrize(
    ("flags", "deterministic"), [((), False), (("-mrelaxed-simd",), False), (("-mrelaxed-simd",), True)]
)
@pytest.mark.usefixtures("tools")
def test_webassembly_computes_what_the_graph_does(
    quantised: ir.Model, tmp_path: Path, flags: tuple[str, ...], deterministic: bool
) -> None:
    """Relaxed, engines take bytes with a sign or without one; where wasmtime is deterministic, it is with one."""
    TARGET.emit(quantised, tmp_path / "a.idn", EmitOptions("int8"))
    (picture,) = pictures(1, seed=1)
    (wanted,) = execute.outputs(quantised, [picture], as_written=True)
    given = (*toolchains.QUICK, "-target", "wasm32-wasi", "-s", "-msimd128", *flags)
    module = toolchains.compile_c(tmp_path / "a.idn", "frames.c", tmp_path / "frames.wasm", flags=given)
    shutil.copyfile(tmp_path / "a.idn" / "idn.weights", tmp_path / "idn.weights")
    picture.tofile(tmp_path / "in.raw")
    toolchains.wasm(module, tmp_path, "idn.weights", "in.raw", "out.raw", deterministic=deterministic)
    swapped, mask = toolchains.outputs(tmp_path / "out.raw", SIZE)
    assert min(psnr(swapped - wanted["swapped"][0]), psnr(mask - wanted["mask"][0])) > BOUND_DB


@pytest.mark.parametrize("compiler", ["gcc", "clang", "zig"])
@pytest.mark.usefixtures("tools")
def test_avx_vnni_is_encoded_for_processors_without_avx512(quantised: ir.Model, tmp_path: Path, compiler: str) -> None:
    """No emulator here has it: what is compiled is looked at."""
    TARGET.emit(quantised, tmp_path / "a.idn", EmitOptions("int8"))
    command = (*toolchains.ZIG, "-target", "x86_64-linux-musl") if compiler == "zig" else (compiler,)
    toolchains.call(
        [*command, *toolchains.QUICK, "-c", str(tmp_path / "a.idn" / "idn.c"), "-o", str(tmp_path / "idn.o")]
    )
    seen = dict.fromkeys(("avxvnni", "avx512"), "")
    for function in toolchains.call(["objdump", "-d", str(tmp_path / "idn.o")]).stdout.split("\n\n"):
        name = next((name for name in seen if f"_{name}>:" in function and "<product_" in function), None)
        if name:
            seen[name] += function
    for name, first in (("avxvnni", "c4"), ("avx512", "62")):
        found = [line.split("\t")[1] for line in seen[name].splitlines() if "vpdpbusd" in line]
        assert len(found) > 10
        assert all(code.startswith(first) for code in found)
    assert "%zmm" not in seen["avxvnni"]
    assert all(f"%ymm{number}" not in seen["avxvnni"] for number in range(16, 32))


def test_lists_what_is_rounded(quantised: ir.Model, tmp_path: Path) -> None:
    TARGET.emit(quantised, tmp_path / "a.idn", EmitOptions("int8"))
    tensors = TARGET.read(tmp_path / "a.idn").quantised()
    written = {node.name: node for node in edit.of_type(quantised.graph, "DequantizeLinear")}
    activations = [t for t in tensors if t.kind == "activation"]
    assert len(activations) == len([t for t in tensors if t.kind == "weight" and t.dtype == "int8"]) > 8
    for tensor in activations:
        node = written[f"{tensor.name}.restored"]
        assert tensor.scales == (float(edit.weight(node, 1)),)
        assert tensor.zero_point == int(edit.weight(node, 2))


def test_whole_int8_is_refused_by_name(plain: ir.Model) -> None:
    with pytest.raises(LoweringError, match=r"node \S+ \(.*\): target c"):
        schedule.read(quantise(plain, pictures(4)).model)


@pytest.mark.parametrize("pair", [(127, 2), (-127, -2), (100, 29)])
def test_codes_that_could_saturate_are_refused(quantised: ir.Model, pair: tuple[int, int]) -> None:
    network = schedule.read(quantised)
    product = network.encoder[0].integer
    assert product is not None
    assert not integers.saturates(product.codes)
    codes = product.codes.copy()
    codes[0, :2] = pair
    assert integers.saturates(codes)
    product.codes[0, :2] = pair
    with pytest.raises(LoweringError, match=r"encoder\.1: its int8 weights do not lie in pairs"):
        weights.pack(plan.make(network))


def test_what_was_rounded_is_shared(quantised: ir.Model) -> None:
    """Codes of pointwise convs, scales and offsets belong to the base; an identity's kernels stay as they are."""
    packed = weights.pack(plan.make(schedule.read(quantised)))
    owned = {name for name, (block, _) in packed.places.items() if block == "identity"}
    assert owned == {
        "stem_kernel", "squeeze_weight", "mask_0_kernel", *(f"encoder_{i}_kernel" for i in range(1, 5)),
        *(f"decoder_{i}_kernel" for i in range(4)),
    }  # fmt: skip
    assert {tensor.kind for tensor in packed.owned} == {"float"}
