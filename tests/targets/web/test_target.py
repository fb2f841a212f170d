"""The WebAssembly in wasmtime: the authors' own output, the numbers of C, packs, and what is refused."""

from __future__ import annotations

import ctypes
import functools
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest
import wasmtime
from mfs_edge.targets.native import NativeTarget
from mfs_edge.targets.web import WebTarget, emit, engine, page, read

from mfs_edge.base.errors import InputError
from mfs_edge.fold import FoldedIDN
from mfs_edge.graph import build, passes
from mfs_edge.quantize import quantise
from mfs_edge.target import EmitOptions
from tests.targets.integers import faces

TARGET = WebTarget()
GOLDEN_TOLERANCE = 5e-5
MODULES = (engine.SIMD, engine.RELAXED)
Writer = Callable[..., Path]


@pytest.fixture(scope="module", autouse=True)
def quickly_compiled() -> Iterator[None]:
    """-O1 takes half as long as -O3 to compile, and most tests are not about speed."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(emit, "FLAGS", tuple("-O1" if flag == "-O3" else flag for flag in emit.FLAGS))
        yield


@pytest.fixture(scope="module")
def graph(golden_folded: FoldedIDN) -> Callable[[int, str], ir.Model]:
    @functools.cache
    def make(size: int, precision: str) -> ir.Model:
        plain = passes.optimise(build.build(golden_folded.weights(), size=size), level=1)
        if precision != "int8":
            return plain
        return quantise(plain, [f[:, :, :size, :size] for f in faces(range(32, 48, 2))], products=True).model

    return make


@pytest.fixture(scope="module")
def written(graph: Any, tmp_path_factory: pytest.TempPathFactory) -> Writer:
    """Writes an artefact (once per combination) and returns it; never change it in place."""
    folder = tmp_path_factory.mktemp("web")

    def write(*, size: int = 64, precision: str = "fp32", io: str = "float32", kind: Any = TARGET) -> Path:
        path = folder / f"idn-{size}-{precision}-{io}{kind.suffix}"
        if not path.exists():
            kind.emit(graph(size, precision), path, EmitOptions(precision=precision, io=io))
        return path

    return write


def ran(path: Path, image: np.ndarray, module: str) -> dict[str, np.ndarray]:
    made = engine.Engine(str(path), module=module)
    made.feed({"image": image})
    made.infer()
    found: dict[str, np.ndarray] = made.fetch()
    return found


def noise(size: int) -> np.ndarray:
    return np.random.default_rng(size).random((1, 3, size, size), np.float32)


@pytest.mark.parametrize("module", MODULES)
@pytest.mark.parametrize("size", [224, 256])
def test_both_modules_are_golden(written: Writer, golden: Any, size: int, module: str) -> None:
    image = (golden[f"target{size}/image"].astype(np.float32) / 255).transpose(2, 0, 1)[None]
    found = ran(written(size=size), image, module)
    assert np.abs(found["swapped"][0] - golden[f"target{size}/output"]).max() < GOLDEN_TOLERANCE
    assert np.abs(found["mask"][0] - golden[f"target{size}/mask"]).max() < GOLDEN_TOLERANCE


@pytest.mark.parametrize("precision", TARGET.precisions)
def test_without_relaxed_simd_the_numbers_are_those_of_c(written: Writer, precision: str) -> None:
    """To the bit: on an instruction set that, like this one, multiplies and adds in two steps."""
    native = NativeTarget().load(written(precision=precision, kind=NativeTarget()), threads=1).engine
    forced: Any = native
    if forced.lib.idn_set_cpu(ctypes.byref(forced.model), 0):
        pytest.fail("the C cannot compute on the least instruction set")
    image = noise(64)
    native.feed({"image": image})
    native.infer()
    expected = native.fetch()
    for name, value in ran(written(precision=precision), image, engine.SIMD).items():
        close = np.array_equal if _in_two_steps() else functools.partial(np.allclose, atol=2e-6, rtol=0)
        assert close(value, expected[name]), name


def _in_two_steps() -> bool:
    """x86's least has no fused multiply-add; 64-bit Arm's has."""
    import platform

    return platform.machine().lower() in ("x86_64", "amd64")


@pytest.mark.parametrize("precision", TARGET.precisions)
def test_relaxed_simd_is_as_near_as_rounding(written: Writer, precision: str) -> None:
    one, other = (ran(written(precision=precision), noise(64), module) for module in MODULES)
    for name, value in one.items():
        assert np.abs(value - other[name]).max() <= engine.APART[precision]


@pytest.mark.parametrize("size", [32, 96])
@pytest.mark.parametrize("io", ["float32", "uint8"])
def test_other_sizes(written: Writer, graph: Any, size: int, io: str) -> None:
    from mfs_edge.graph.session import Session

    image = np.rint(noise(size) * 255) / np.float32(255)
    expected = Session(graph(size, "fp32")).run({"image": image})
    found = TARGET.load(written(size=size, io=io)).run(image)
    rounding = 0.5 / 255 if io == "uint8" else 0.0
    for name, value in expected.items():
        assert np.abs(found[name] - value).max() < GOLDEN_TOLERANCE + rounding


def test_the_same_bytes_are_written_again(written: Writer, graph: Any, tmp_path: Path) -> None:
    TARGET.emit(graph(64, "fp32"), tmp_path / "again.web", EmitOptions())
    first, second = (
        {f.relative_to(p): f.read_bytes() for f in p.rglob("*") if f.is_file()}
        for p in (written(), tmp_path / "again.web")
    )
    assert first == second


def test_the_modules_follow_from_the_shape_alone(written: Writer, demo_folded: FoldedIDN, tmp_path: Path) -> None:
    graph = passes.optimise(build.build(demo_folded.weights(), size=64), level=1)
    TARGET.emit(graph, tmp_path / "other.web", EmitOptions())
    for name in MODULES:
        assert (tmp_path / "other.web" / name).read_bytes() == (written() / name).read_bytes()


@pytest.mark.parametrize(("precision", "most"), [("fp32", 2_600_000), ("int8", 1_100_000), ("fp16", 1_400_000)])
def test_what_one_identity_downloads(written: Writer, precision: str, most: int) -> None:
    """The page, its scripts, the larger module and the weights; the index is not fetched, nor is what measures."""
    folder = written(size=224, precision=precision) if precision != "int8" else written(precision=precision)
    files = {file.relative_to(folder).as_posix(): file.stat().st_size for file in folder.rglob("*") if file.is_file()}
    fetched = {n: size for n, size in files.items() if n not in ("idn.json", "engine.js", "mfs-swap.d.ts")}
    assert sum(fetched.values()) - min(fetched.pop(name) for name in MODULES) < most


def test_a_module_asks_for_nothing(written: Writer) -> None:
    store = wasmtime.Store()
    for name in MODULES:
        module = wasmtime.Module.from_file(store.engine, str(written() / name))
        assert not module.imports
        assert b"/" not in (written() / name).read_bytes().split(b"idn.c")[0][-80:]  # no path of this machine


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ('(module (import "host" "call" (func)))', "it imports something"),
        ("(module (memory 65536))", "bytes of memory"),
        ("(module (func $begin) (start $begin) (memory 1))", "a start function"),
        ("(module (memory 1) (memory 1))", "2 memories"),
    ],
)
def test_a_strangers_module_that_wants_more_is_refused(written: Writer, tmp_path: Path, text: str, why: str) -> None:
    folder = tmp_path / "idn.web"
    shutil.copytree(written(), folder)
    replaced(folder, engine.SIMD, bytes(wasmtime.wat2wasm(text)))
    with pytest.raises(InputError, match=why):
        TARGET.load(folder)


@pytest.mark.parametrize("keep", [0, 4, 9, 100, -1])
def test_a_cut_module_is_refused(written: Writer, tmp_path: Path, keep: int) -> None:
    (tmp_path / "idn.wasm").write_bytes((written() / engine.SIMD).read_bytes()[:keep])
    with pytest.raises(InputError, match="is no module of ours"):
        read.check(tmp_path / "idn.wasm")


def test_a_strangers_script_is_not_served(written: Writer, tmp_path: Path) -> None:
    for name in ("mfs-swap.js", "page/main.js", "more.js"):
        folder = tmp_path / name.replace("/", "-") / "idn.web"
        shutil.copytree(written(), folder)
        replaced(folder, name, b"fetch('https://elsewhere.example')")
        with pytest.raises(InputError, match=rf"{name}: is not what mfs-edge"):
            TARGET.vouch(folder)


def test_a_module_that_lies_about_its_memory_is_refused(written: Writer, tmp_path: Path) -> None:
    folder = tmp_path / "idn.web"
    shutil.copytree(written(), folder)
    exports = "".join(
        f'(func (export "{name}") (result i32) i32.const 2000000000)'
        for name in ("weights", "weights_bytes", "image", "swapped", "mask", "open", "size")
    )
    replaced(folder, engine.RELAXED, bytes(wasmtime.wat2wasm(f'(module (memory (export "memory") 1) {exports})')))
    with pytest.raises(InputError, match="outside of the module's memory"):
        TARGET.load(folder)


def replaced(folder: Path, name: str, content: bytes) -> None:
    """With the hash that a careful stranger would write, too."""
    import hashlib

    (folder / name).write_bytes(content)
    about = json.loads((folder / "idn.json").read_text())
    about["sha256"][name] = hashlib.sha256(content).hexdigest()
    (folder / "idn.json").write_text(json.dumps(about))


def test_the_two_modules_are_compared_when_it_is_proven(written: Writer, tmp_path: Path) -> None:
    assert "on relaxed SIMD; on SIMD alone the same within" in TARGET.load(written()).execution()
    folder = tmp_path / "idn.web"
    shutil.copytree(written(), folder)
    replaced(folder, engine.SIMD, (written(size=32) / engine.SIMD).read_bytes())
    with pytest.raises(RuntimeError):
        TARGET.load(folder).execution()


def test_stages_are_timed(written: Writer) -> None:
    made = engine.Engine(str(written()), profile=True)
    made.feed({"image": noise(64)})
    for _ in range(2):
        made.infer()
    stages = json.loads((written() / "idn.json").read_text())["stages"]
    assert len(made.layers()) == stages
    assert all(layer["ms"] > 0 for layer in made.layers())


def test_every_script_of_the_page_is_written(written: Writer) -> None:
    made = page.files()
    assert {"index.html", "mfs-swap.js", "mfs-swap.d.ts", "sw.js", "engine.js", "page/main.js"} <= made.keys()
    held = b"".join(made.values())
    assert page.VERSION not in held
    assert emit.SHIM.name not in made
    inline = [name for name, text in made.items() if b" style=" in text or b"<style" in text or b'onclick="' in text]
    assert inline == []  # which a strict policy would not run
