"""The generated C, compiled and called, against the authors' own output and onnxruntime's."""

from __future__ import annotations

import ctypes
import functools
import importlib.util
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest
from mfs_edge.targets.native import NativeTarget, emit, engine, plan, read, schedule, weights

from mfs_edge.base.errors import InputError, LoweringError
from mfs_edge.fold import FoldedIDN, fold
from mfs_edge.graph import build, passes
from mfs_edge.load.checkpoint import Checkpoint
from mfs_edge.load.identity import Identity
from mfs_edge.target import EmitOptions

TARGET = NativeTarget()
GOLDEN_TOLERANCE = 5e-5
Writer = Callable[..., Path]
STATUS = {
    "null": -1, "short": -2, "magic": -3, "version": -4, "endian": -5, "network": -6, "checksum": -7, "align": -8,
    "arena": -9, "stride": -10, "format": -11, "workers": -12, "cpu": -13,
}  # fmt: skip


@pytest.fixture(scope="module")
def graph(golden_folded: FoldedIDN) -> Callable[..., ir.Model]:
    @functools.cache
    def make(*, size: int = 224, level: int = 1) -> ir.Model:
        return passes.optimise(build.build(golden_folded.weights(), size=size), level=level)

    return make


@pytest.fixture(scope="module")
def written(graph: Any, tmp_path_factory: pytest.TempPathFactory) -> Writer:
    """Writes a folder (once per combination) and returns it; never change it in place."""
    folder = tmp_path_factory.mktemp("c")

    def write(*, io: str = "float32", size: int = 224) -> Path:
        path = folder / f"idn-{size}-fp32-{io}.idn"
        if not path.exists():
            TARGET.emit(graph(size=size), path, EmitOptions(precision="fp32", io=io, metadata={"identity": "abc123"}))
        return path

    return write


@pytest.fixture
def frame(golden: Any) -> Callable[[int], np.ndarray]:
    def load(size: int) -> np.ndarray:
        return (golden[f"target{size}/image"].astype(np.float32) / 255).transpose(2, 0, 1)[None]

    return load


def compilers() -> list[str]:
    found = [name for name in ("gcc", "clang") if shutil.which(name)]
    return (
        [*found, f"{sys.executable} -m ziglang cc -fno-sanitize=all"] if importlib.util.find_spec("ziglang") else found
    )


@pytest.mark.usefixtures("as_shipped")
@pytest.mark.parametrize("size", [224, 256])
@pytest.mark.parametrize(
    "compiler", compilers(), ids=lambda command: command.split()[-2] if " " in command else command
)
def test_every_compiler_and_instruction_set_is_golden(
    written: Writer, frame: Any, golden: Any, size: int, compiler: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CC", compiler)
    best = engine.Engine(str(written(size=size)), threads=1).model.cpu
    for cpu in range(best + 1):
        monkeypatch.setenv("MFS_EDGE_IDN_CPU", str(cpu))
        outputs = TARGET.load(written(size=size), threads=1).run(frame(size))
        assert np.abs(outputs["swapped"][0] - golden[f"target{size}/output"]).max() < GOLDEN_TOLERANCE
        assert np.abs(outputs["mask"][0] - golden[f"target{size}/mask"]).max() < GOLDEN_TOLERANCE


@pytest.mark.parametrize("size", [32, 64, 96, 160])
@pytest.mark.parametrize("io", ["float32", "uint8"])
def test_other_sizes(written: Writer, graph: Any, size: int, io: str) -> None:
    image = np.rint(np.random.default_rng(1).random((1, 3, size, size)) * 255).astype(np.float32) / 255
    expected = by_onnxruntime(graph(size=size), image)
    found = TARGET.load(written(size=size, io=io)).run(image)
    rounding = 0.5 / 255 if io == "uint8" else 0.0
    for name, value in expected.items():
        assert np.abs(found[name] - value).max() < GOLDEN_TOLERANCE + rounding


def by_onnxruntime(model: ir.Model, image: np.ndarray) -> dict[str, np.ndarray]:
    from mfs_edge.graph.session import Session

    return Session(model).run({"image": image})


@pytest.mark.parametrize("threads", [2, 3, 7])
def test_threads_change_nothing(written: Writer, frame: Any, threads: int) -> None:
    one = TARGET.load(written(size=96), threads=1).run(frame(224)[:, :, :96, :96])
    many = TARGET.load(written(size=96), threads=threads)
    for _ in range(3):
        found = many.run(frame(224)[:, :, :96, :96])
        assert all((found[name] == value).all() for name, value in one.items())


def test_what_the_arena_held_does_not_matter_and_nothing_outside_is_touched(written: Writer, frame: Any) -> None:
    made = engine.Engine(str(written(size=64)), threads=1)
    made.feed({"image": frame(224)[:, :, 100:164, 100:164]})
    made.infer()
    clean = made.fetch()
    room = np.full(made.arena.size + 2 * 4096, 0xAB, np.uint8)
    start = 4096 - room[4096:].ctypes.data % 64 + 64
    for poison in (0x00, 0xFF, 0x7F):
        room[:] = 0xAB
        made.arena = room[start : start + made.arena.size]
        made.arena[:] = poison
        made.infer()
        assert all((made.fetch()[name] == value).all() for name, value in clean.items())
        assert (room[:start] == 0xAB).all()
        assert (room[start + made.arena.size :] == 0xAB).all()


def test_equal_graphs_make_equal_bytes(graph: Any, tmp_path: Path) -> None:
    for name in "ab":
        TARGET.emit(graph(size=32), tmp_path / f"{name}.idn", EmitOptions())
    for path in (tmp_path / "a.idn").iterdir():
        assert path.read_bytes() == (tmp_path / "b.idn" / path.name).read_bytes()


def test_description(written: Writer) -> None:
    found = TARGET.read(written())
    assert [tensor.name for tensor in (*found.takes, *found.gives)] == ["image", "swapped", "mask"]
    assert found.operators["Conv"] == 32
    assert found.metadata["identity"] == "abc123"
    assert found.details["arena bytes"] <= 3_500_000


def test_an_unoptimised_graph_is_refused_by_its_node(graph: Any, tmp_path: Path) -> None:
    with pytest.raises(LoweringError, match="node "):
        TARGET.emit(graph(size=32, level=0), tmp_path / "a.idn", EmitOptions())
    assert not (tmp_path / "a.idn").exists()


@pytest.fixture
def broken(written: Writer, tmp_path: Path) -> Path:
    """A copy to break."""
    return Path(shutil.copytree(written(size=32), tmp_path / "broken.idn"))


@pytest.mark.parametrize("name", ["idn.c", "idn.h", "idn.weights", "idn_pool.c", "main.c"])
@pytest.mark.parametrize("how", ["cut", "changed", "missing"])
def test_damage(broken: Path, name: str, how: str) -> None:
    path = broken / name
    data = path.read_bytes()
    if how == "missing":
        path.unlink()
    else:
        path.write_bytes(data[:-9] if how == "cut" else data[:-9] + b"#" + data[-8:])
    with pytest.raises(InputError, match=name.replace(".", r"\.")):
        TARGET.load(broken)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"sha256": {"../x": "0"}}', "[" * 10**5, '{"sha256": 1}', "\xff"])
def test_a_damaged_index(broken: Path, text: str) -> None:
    (broken / "idn.json").write_text(text, encoding="latin-1")
    with pytest.raises(InputError):
        TARGET.load(broken)


ATTACK = "\n__attribute__((constructor)) static void attack(void) { __builtin_trap(); }\n"


@pytest.mark.parametrize("name", ["idn.c", "idn.h", "idn_pool.c", "idn_pool.h"])
def test_a_strangers_code_is_never_compiled(broken: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even where the index vouches for it."""
    path = broken / name
    path.write_text(path.read_text() + ATTACK)
    index = json.loads((broken / "idn.json").read_text())
    from mfs_edge.base import files

    index["sha256"][name] = files.sha256(path)
    (broken / "idn.json").write_text(json.dumps(index))
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: pytest.fail("a compiler was called"))
    with pytest.raises(InputError, match="may come from a stranger"):
        TARGET.load(broken)


def test_a_strangers_library_is_never_called(broken: Path) -> None:
    (broken / "lib").mkdir()
    (broken / "lib" / engine.library_name()).write_bytes(b"\x7fELF")
    with pytest.raises(InputError, match="may come from a stranger"):
        TARGET.load(broken)


@pytest.mark.parametrize(
    ("key", "value"),
    [("centre", 'x"), system("'), ("size", 10**9), ("skips", [5, 1, 0, None]), ("blend", ["*/ int x; /*"] * 3)],
)
def test_a_lying_description_never_reaches_a_compiler(broken: Path, key: str, value: object, monkeypatch: Any) -> None:
    index = json.loads((broken / "idn.json").read_text())
    index["network"][key] = value
    (broken / "idn.json").write_text(json.dumps(index))
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: pytest.fail("a compiler was called"))
    with pytest.raises(InputError):
        TARGET.load(broken)


def test_an_identity_is_data(
    golden_folded: FoldedIDN, golden_iin: Checkpoint, demo_identities: list[Identity], tmp_path: Path, frame: Any
) -> None:
    """Two identities of one checkpoint share all that is not theirs: one call changes the face."""
    other = fold(golden_iin, demo_identities[0])
    image = frame(224)[:, :, :64, :64]
    models = [passes.optimise(build.build(f.weights("identity-local"), size=64)) for f in (golden_folded, other)]
    folders = [tmp_path / f"{i}.idn" for i in range(2)]
    for model, folder in zip(models, folders, strict=True):
        TARGET.emit(model, folder, EmitOptions())
    held = [(folder / "idn.weights").read_bytes() for folder in folders]
    packed = weights.pack(plan.make(schedule.read(models[1])))
    made = engine.Engine(str(folders[0]), threads=1)
    made.feed({"image": image})
    for turn in range(3):
        made.set_identity(held[turn % 2][-packed.identity_bytes :])
        made.infer()
        expected = by_onnxruntime(models[turn % 2], image)
        assert np.abs(made.fetch()["swapped"] - expected["swapped"]).max() < GOLDEN_TOLERANCE
    with pytest.raises(RuntimeError, match="damaged"):
        made.set_identity(held[1][-packed.identity_bytes : -4] + b"\1\2\3\4")
    made.infer()  # what was set before still holds
    assert np.abs(made.fetch()["swapped"] - expected["swapped"]).max() < GOLDEN_TOLERANCE


Edit = Callable[[bytearray], bytes]


def put(at: int, value: bytes) -> Edit:
    return lambda data: bytes(data[:at]) + value + bytes(data[at + len(value) :])


@pytest.mark.parametrize(
    ("edit", "status"),
    [
        (lambda data: bytes(data[:40]), "short"),
        (lambda data: bytes(data[:-64]), "short"),
        (put(0, b"XXXX"), "magic"),
        (put(4, b"\1\0\0\0"), "version"),
        (put(8, b"\1\2\3\4"), "endian"),
        (put(16, b"\0" * 8), "network"),
        (put(5000, b"\x55\xaa\x55"), "checksum"),
    ],
)
def test_weights_that_are_refused(written: Writer, edit: Edit, status: str) -> None:
    made = engine.Engine(str(written(size=32)), threads=1)
    data = engine._aligned(edit(bytearray((written(size=32) / "idn.weights").read_bytes())))
    model = engine._Model(shared=1, identity=2)
    found = made.lib.idn_open(ctypes.byref(model), *engine._sized(data), *engine._sized(made.memory))
    assert found == STATUS[status]
    assert (model.shared, model.identity) == (1, 2)  # untouched


def test_calls_that_are_refused(written: Writer) -> None:
    made = engine.Engine(str(written(size=32)), threads=1)
    model, image, out, mask, arena, size = made._pictures()
    call = made.lib.idn_run
    assert call(model, image, out, mask, arena, size) == 0
    null = ctypes.c_void_p(None)
    for number in range(5):
        given = [model, image, out, mask, arena]
        given[number] = null
        assert call(*given, size) == STATUS["null"]
    assert call(model, image, out, mask, ctypes.c_void_p(arena.value + 4), size) == STATUS["align"]
    assert call(model, image, out, mask, arena, ctypes.c_size_t(size.value - 64)) == STATUS["arena"]
    for stride, form, status in (
        (127, 0, "stride"),
        (130, 0, "stride"),
        (95, 1, "stride"),
        (128, 9, "format"),
        (128, 4, "format"),
    ):
        wrong = engine._Image(made.image.ctypes.data, stride, form)
        assert call(model, ctypes.byref(wrong), out, mask, arena, size) == STATUS[status]
    assert made.lib.idn_set_cpu(model, ctypes.c_int(7)) == STATUS["cpu"]


@pytest.mark.parametrize(("form", "order"), [(1, [0, 1, 2]), (2, [0, 1, 2, 3]), (3, [2, 1, 0, 3])])
def test_pixel_formats_with_a_stride(written: Writer, frame: Any, form: int, order: list[int]) -> None:
    made = engine.Engine(str(written(size=64, io="uint8")), threads=1)
    rgb = np.rint(frame(224)[0, :, :64, :64].transpose(1, 2, 0) * 255).astype(np.uint8)
    made.feed({"image": rgb[None]})
    made.infer()
    expected = made.fetch()["swapped"][0]
    channels = len(order)
    rows = np.full((64, 64 * channels + 24), 77, np.uint8)
    pixels = rows[:, : 64 * channels].reshape(64, 64, channels)
    rgba = np.dstack([rgb, np.full((64, 64), 9, np.uint8)])
    rows[:, : 64 * channels] = rgba[:, :, order].reshape(64, -1)
    picture = engine._Image(rows.ctypes.data, rows.strides[0], form)
    none = engine._Image()
    given = (ctypes.byref(made.model), ctypes.byref(picture), ctypes.byref(picture), ctypes.byref(none))
    assert made.lib.idn_run(*given, engine._at(made.arena), ctypes.c_size_t(made.arena.size)) == 0
    pixels = rows[:, : 64 * channels].reshape(64, 64, channels)
    assert (pixels[:, :, [order.index(c) for c in range(3)]] == expected).all()
    assert (rows[:, 64 * channels :] == 77).all()
    if channels == 4:
        assert (pixels[:, :, 3] == 9).all()


def test_the_checksum_is_the_c_ones() -> None:
    assert weights.checksum(b"") == weights.checksum(b"")
    assert weights.checksum(b"\0" * 32) != weights.checksum(b"\0" * 64)


def test_emitting_is_cheap_to_vouch_for(written: Writer) -> None:
    emit.vouch(written(size=32))
    assert read.read(written(size=32)).format == "C"
