"""What is no enrolment of the few operators, and folders that a stranger wrote: nothing of it is compiled."""

from __future__ import annotations

import copy
import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest
from mfs_edge.targets.native import NativeOptions, NativeTarget, emit, engine, read
from mfs_edge.targets.native.enrolment import emit as enrolment
from mfs_edge.targets.native.enrolment import graph, operators, plan, weights

from mfs_edge import program as programs
from mfs_edge.base.errors import InputError, LoweringError, UsageError
from mfs_edge.target import ENROL, EmitOptions
from tests.targets.native.enrolment.conftest import Written
from tests.targets.native.enrolment.zoo import SIZE, Zoo

TARGET = NativeTarget()
ATTACK = "*/ __attribute__((constructor)) static void attack(void) { __builtin_trap(); } /*"
Spoil = Callable[[Zoo, ir.Value], ir.Value]


def convolved(**changed: Any) -> Spoil:
    def spoil(zoo: Zoo, x: ir.Value) -> ir.Value:
        shape = {"kernel_shape": [3, 3], "strides": [1, 1], "pads": [1] * 4, "group": 1}
        weight = zoo.constant("odd.weight", 4, 4 // changed.get("group", 1), 3, 3)
        return zoo.net.op("odd", "Conv", x, weight, zoo.constant("odd.bias", 4), **(shape | changed))

    return spoil


def many_pictures(zoo: Zoo, x: ir.Value) -> ir.Value:
    return zoo.net.op("odd", "Mul", x, zoo.constant("by", 2, 4, 1, 1))


def grouped(zoo: Zoo, x: ir.Value) -> ir.Value:
    return zoo.conv("odd", x, 4, 4, 3, group=4, bias=False)


REFUSED: dict[str, tuple[Spoil, str]] = {
    "an operator that it has not": (lambda zoo, x: zoo.net.op("odd", "Tanh", x), r"node odd: target c has no Tanh"),
    "a softmax": (lambda zoo, x: zoo.net.op("odd", "Softmax", x, axis=1), r"node odd: target c has no Softmax"),
    "gaps in a kernel": (convolved(dilations=[2, 2], pads=[2] * 4), r"node odd \(Conv\): .*without gaps"),
    "uneven steps": (convolved(strides=[1, 2]), r"node odd \(Conv\): .*square"),
    "uneven borders": (convolved(pads=[1, 1, 0, 0]), r"node odd \(Conv\): .*square"),
    "borders of its own": (convolved(auto_pad="SAME_UPPER"), r"node odd \(Conv\): .*borders"),
    "groups of part of a map": (grouped, r"node odd: of convolutions in groups"),
    "pictures of pictures": (many_pictures, r"node odd: .*spread"),
    "a sum along pixels": (
        lambda zoo, x: zoo.net.op("odd", "Concat", x, x, axis=2),
        r"node odd \(Concat\): .*channels",
    ),
    "sizes rounded up": (
        lambda zoo, x: zoo.net.op("odd", "MaxPool", x, kernel_shape=[5, 5], strides=[2, 2], ceil_mode=1),
        r"node odd \(MaxPool\): .*down only",
    ),
    "a cast": (lambda zoo, x: zoo.net.op("odd", "Cast", x, to=ir.DataType.FLOAT.value), r"node odd: .*stored weights"),
    "weights that are computed": (
        lambda zoo, x: zoo.net.op(
            "odd",
            "Conv",
            x,
            zoo.net.op("made", "Sqrt", zoo.constant("w", 4, 4, 1, 1, low=1)),
            kernel_shape=[1, 1],
            strides=[1, 1],
            pads=[0] * 4,
        ),
        r"node odd \(Conv\): its weight is not stored",
    ),
    "three axes": (lambda zoo, x: zoo.net.op("odd", "Add", x, zoo.constant("n", 4, 12, 12)), r"tensor n: .*3 axes"),
}


def small(spoil: Spoil | None = None) -> ir.Model:
    zoo = Zoo()
    x = zoo.net.op("leaky", "LeakyRelu", zoo.conv("stem", zoo.crop, 3, 4, 7, stride=2, stored="code"), alpha=0.2)
    zoo.keep("out", zoo.net.op("mean", "GlobalAveragePool", x) if spoil is None else spoil(zoo, x))
    return zoo.model()


@pytest.mark.parametrize("what", REFUSED)
def test_what_it_cannot_compute_is_refused_by_name(what: str, tmp_path: Path) -> None:
    spoil, said = REFUSED[what]
    with pytest.raises(LoweringError, match=said):
        TARGET.emit(small(spoil), tmp_path / "a.idn", EmitOptions(task=ENROL))
    assert not (tmp_path / "a.idn").exists()


def test_weights_are_not_embedded(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"c\.embed"):
        TARGET.emit(small(), tmp_path / "a.idn", EmitOptions(task=ENROL, own=NativeOptions(embed=True)))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("c") / "a.idn"
    TARGET.emit(small(), path, EmitOptions("int8", task=ENROL, metadata={"task": ENROL}))
    return path


def test_the_same_graph_gives_the_same_bytes_and_its_weights_do_not_shape_the_code(
    folder: Path, tmp_path: Path
) -> None:
    TARGET.emit(small(), tmp_path / "b.idn", EmitOptions("int8", task=ENROL, metadata={"task": ENROL}))
    for file in folder.iterdir():
        assert (tmp_path / "b.idn" / file.name).read_bytes() == file.read_bytes()
    model = small()
    for held in model.graph.initializers.values():
        array = held.const_value.numpy()  # type: ignore[union-attr]
        if array.dtype == np.float32:
            held.const_value = ir.Tensor(array * 3 - 1, name=held.name)
    TARGET.emit(model, tmp_path / "other.idn", EmitOptions("int8", task=ENROL))
    for name in ("enrol.c", "enrol.h"):
        assert (tmp_path / "other.idn" / name).read_bytes() == (folder / name).read_bytes()
    assert (tmp_path / "other.idn" / "enrol.weights").read_bytes() != (folder / "enrol.weights").read_bytes()


def test_it_is_read_and_vouched_for(folder: Path) -> None:
    found = TARGET.vouch(folder)
    assert isinstance(found, programs.Program)
    assert found.metadata["task"] == ENROL
    assert [(held.name, held.shape, held.dtype) for held in found.takes] == [("crop", (1, 3, SIZE, SIZE), "float32")]
    assert [(held.name, held.shape, held.dtype) for held in found.gives] == [("payload", (4,), "float32")]
    (held,) = found.quantised()
    scale = next(v for v in small().graph.initializers.values() if v.name == "stem.scale").const_value
    assert (held.name, held.kind, held.dtype, len(held.scales)) == ("stem.weight", "weight", "int8", 4)
    np.testing.assert_array_equal(np.float32(held.scales), scale.numpy())  # type: ignore[union-attr]


@pytest.mark.parametrize("name", ["enrol.c", "enrol.h", "enrol.weights", "enrol.json", "enrol_pool.c"])
def test_a_damaged_or_missing_file_is_told(folder: Path, name: str, tmp_path: Path) -> None:
    for number, damage in enumerate((lambda data: data[:-3], lambda data: data[:40] + b"?" + data[41:])):
        path = Path(shutil.copytree(folder, tmp_path / f"{number}.idn"))
        (path / name).write_bytes(damage((path / name).read_bytes()))
        with pytest.raises(InputError, match=f"{number}.idn"):
            TARGET.vouch(path)
    (path / name).unlink()
    with pytest.raises(InputError, match=f"{number}.idn"):
        TARGET.vouch(path)


def test_a_file_more_is_told(folder: Path, tmp_path: Path) -> None:
    for name in ("idn.json", "evil.c", "idn.weights"):
        path = Path(shutil.copytree(folder, tmp_path / f"{name}.idn"))
        (path / name).write_text("{}")
        with pytest.raises(InputError, match=f"{name}: is not what mfs-edge"):
            TARGET.vouch(path)


Edit = Callable[[dict[str, Any]], None]


def node(slot: int, value: Any) -> Edit:
    return lambda held: held["nodes"][0].__setitem__(slot, value)


def constant(name: str, stored: str, shape: list[Any]) -> Edit:
    return lambda held: held["constants"].__setitem__(name, [stored, shape])


EDITS: dict[str, Edit] = {
    "a name that ends a comment": node(1, ATTACK),
    "a value that does": node(3, ATTACK),
    "a constant that does": constant(ATTACK, "float", [1, 1, 1, 1]),
    "a huge kernel": node(4, 10**6),
    "a step of zero": node(5, 0),
    "a border beyond the kernel": node(6, 7),
    "text for a number": node(5, "2"),
    "a number that is none": node(5, True),
    "an unknown operator": node(0, "system"),
    "unknown inputs": node(2, ["crop", "no", "no"]),
    "few inputs": node(2, ["crop"]),
    "a weight of another size": constant("stem.weight", "code", [4, 3, 9, 9]),
    "a weight of no type": constant("stem.weight", "double", [4, 3, 7, 7]),
    "no shape": constant("stem.weight", "code", [4, 3]),
    "nothing of it": constant("stem.weight", "code", [0, 3, 7, 7]),
    "less than nothing": constant("stem.weight", "code", [-4, 3, 7, 7]),
    "a bias of another size": constant("stem.bias", "float", [1, 5, 1, 1]),
    "a bias in halves": constant("stem.bias", "half", [1, 4, 1, 1]),
    "more than memory": constant("more", "float", [2**15, 2**15, 1, 1]),
    "several slopes": constant("leaky.slope", "float", [1, 4, 1, 1]),
    "a picture of no size": lambda held: held.update(size=0),
    "a huge picture": lambda held: held.update(size=10**5),
    "another payload": lambda held: held.update(payload="text"),
    "no payload": lambda held: held.update(parts=[]),
    "a payload of weights": lambda held: held.update(parts=[["stem.weight", [0, 1, 2, 3]]]),
    "a payload of the crop": lambda held: held.update(parts=[["crop", [0, 1, 2, 3]]]),
    "axes that are none": lambda held: held.update(parts=[["mean", [0, 1, 2, 2]]]),
    "a value twice": lambda held: held["nodes"].append(held["nodes"][0]),
    "a circle": lambda held: held["nodes"].reverse(),
    "no nodes": lambda held: held.update(nodes=None),
    "very many": lambda held: held.update(nodes=held["nodes"] * 10_000),
}


@pytest.mark.parametrize("what", EDITS)
def test_a_strangers_description_is_refused(folder: Path, what: str, tmp_path: Path) -> None:
    """Also where it comes with the very C that this version makes of it, and with right hashes."""
    path = Path(shutil.copytree(folder, tmp_path / "a.idn"))
    index = json.loads((path / read.ENROLMENT).read_text())
    EDITS[what](index["network"])
    held = copy.deepcopy(index)
    try:  # whatever would be made without looking
        made = enrolment.sources(plan.make(graph.blank(held["network"])), "int8")
    except (*emit.DAMAGE, AssertionError):
        made = {}
    for name, content in made.items():
        (path / name).write_bytes(content)
    index["sha256"] = {name: hashlib.sha256((path / name).read_bytes()).hexdigest() for name in index["sha256"]}
    (path / read.ENROLMENT).write_text(json.dumps(index))
    with pytest.raises(InputError, match=r"enrol\.json: is damaged"):
        TARGET.vouch(path)


def test_a_sound_description_with_other_sources_is_refused(folder: Path, tmp_path: Path) -> None:
    path = Path(shutil.copytree(folder, tmp_path / "a.idn"))
    source = path / "enrol.c"
    source.write_text(
        source.read_text().replace("int enrol_size(void)", "__attribute__((constructor)) int enrol_size(void)")
    )
    index = json.loads((path / read.ENROLMENT).read_text())
    index["sha256"]["enrol.c"] = hashlib.sha256(source.read_bytes()).hexdigest()
    (path / read.ENROLMENT).write_text(json.dumps(index))
    with pytest.raises(InputError, match=r"enrol\.c: is not what mfs-edge"):
        TARGET.load(path)


def test_checksums_are_the_cs(folder: Path, written: Written) -> None:
    """Of a file shorter than a block, and of one that is several and a part."""
    longer = (written("float")[0] / "enrol.weights").read_bytes()
    assert len(longer) > 3 * weights.BLOCK
    assert (len(longer) - weights.HEADER.size) % weights.BLOCK
    for path in (folder, written("float")[0]):
        assert engine.Engine(str(path), threads=1).model.weights


def test_a_shape_that_is_described_is_the_models(written: Written) -> None:
    path, model = written("float")
    held = operators.shaped(graph.blank(json.loads((path / read.ENROLMENT).read_text())["network"]))
    for made in model.graph:
        name = str(made.outputs[0].name)
        if name in held.shapes and len(made.outputs[0].shape or ()) == 4:
            assert list(held.shapes[name]) == list(made.outputs[0].shape)  # type: ignore[arg-type]
