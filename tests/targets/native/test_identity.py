"""What an identity owns of ``idn.weights``: compact, alike in every precision, and set at run time."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest
from mfs_edge.targets.native import NativeTarget, derived, engine, plan, schedule, weights

from mfs_edge.base.errors import LoweringError
from mfs_edge.fold import fold
from mfs_edge.graph import build, edit, passes
from mfs_edge.load.checkpoint import Checkpoint
from mfs_edge.load.identity import Identity
from mfs_edge.quantize import half, quantise
from mfs_edge.target import EmitOptions
from tests.targets.native.test_family import Builder

TARGET = NativeTarget()
SIZE = 64
BUDGETS = {"fp32": 104_000, "fp16": 54_000, "int8 codes": 45_000}
# Widths of whole panels, ragged ones, a squeeze of more than one panel, and odd ones, whose pairs int8 does not take.
WIDTHS = {
    "whole": ([16, 32, 48, 64, 80], [48, 32, 32, 16], [32, 24, 16, 8, 2], 8),
    "ragged": ([10, 18, 18, 22, 20], [18, 18, 22, 16], [18, 18, 6, 8, 2], 11),
    "odd": ([9, 18, 17, 21, 19], [18, 17, 21, 16], [17, 18, 5, 8, 2], 9),
    "narrow": ([4, 4, 4, 4, 4], [4, 4, 4, 4], [4, 4, 4, 4, 2], 4),
}
NAMES = [
    "stem_kernel", *(f"encoder.{i}_kernel" for i in range(1, 5)), *(f"decoder.{i}_kernel" for i in range(4)),
    "mask.0_kernel", "squeeze_weight",
]  # fmt: skip
FORMS = ("fp32", "fp16", "int8", "int8 codes")


def owners(model: ir.Model) -> list[ir.Node]:
    """The convs whose weights an identity owns."""
    found = {str(node.name): node for node in edit.of_type(model.graph, "Conv")}
    return [found[block.nodes[0]] for block in schedule.read(model).owned]


def coded(model: ir.Model) -> ir.Model:
    """With those weights as int8 codes behind a DequantizeLinear, one scale per channel."""
    copy = model.clone()
    for node in owners(copy):
        if edit.constant(node.inputs[1]) is None:  # the quantiser has done it: these are the checkpoint's names
            continue
        weight = edit.weight(node, 1)
        scale = (np.abs(weight).reshape(len(weight), -1).max(axis=1) / 100).astype(np.float32)  # some room is left
        code(copy.graph, node, np.rint(weight / scale.reshape(-1, 1, 1, 1)).astype(np.int8), scale)
    return copy


def code(graph: ir.Graph, node: ir.Node, codes: np.ndarray, scale: np.ndarray, axis: int = 0, zero: int = 0) -> None:
    name = f"{node.name}.weight"
    zeros = np.full(scale.shape, zero, codes.dtype)
    given = [
        edit.new_initialiser(graph, f"{name}.{n}", a) for n, a in (("codes", codes), ("scale", scale), ("zero", zeros))
    ]
    restored = edit.new_node(f"{name}.restored", "DequantizeLinear", *given, axis=axis)
    graph.insert_before(node, restored)
    node.replace_input_with(1, restored.outputs[0])


def another(model: ir.Model, seed: int) -> ir.Model:
    """Another identity of the same base: what it owns is drawn, all else is alike."""
    copy, rng = model.clone(), np.random.default_rng(seed)
    for node in owners(copy):
        restored = edit.producer(node.inputs[1], "DequantizeLinear")
        value = node.inputs[1] if restored is None else restored.inputs[0]
        array = edit.constant(value)
        assert array is not None
        assert value is not None
        drawn = rng.integers(-127, 128, array.shape) if restored else array * rng.uniform(-1.5, 1.5, array.shape)
        value.const_value = ir.Tensor(drawn.astype(np.float16).astype(array.dtype), name=value.name)
    return copy


def in_form(model: ir.Model, form: str) -> ir.Model:
    if not form.startswith("int8"):
        return model
    rng = np.random.default_rng(0)
    rounded = quantise(model, [rng.random((1, 3, SIZE, SIZE), np.float32) for _ in range(2)], products=True).model
    return coded(rounded) if form == "int8 codes" else rounded


def pictures() -> np.ndarray:
    return np.random.default_rng(5).random((1, 3, SIZE, SIZE), np.float32)


def frame(made: engine.Engine) -> dict[str, np.ndarray]:
    made.feed({"image": pictures()})
    made.infer()
    return made.fetch()


def same(one: Mapping[str, np.ndarray], other: Mapping[str, np.ndarray]) -> bool:
    return all((one[name] == value).all() for name, value in other.items())


PAIRS = [(form, width) for form in FORMS for width in WIDTHS if width != "odd" or "int8" not in form]


@pytest.fixture(scope="module", params=PAIRS, ids=" ".join)
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two identities of one base, as folders."""
    form, width = request.param
    model = in_form(Builder(7, SIZE).model(*WIDTHS[width]), form)
    room = tmp_path_factory.mktemp("pair")
    for name, graph in (("one", model), ("other", another(model, 3))):
        TARGET.emit(graph, room / name, EmitOptions(form.split()[0]))
    return room / "one", room / "other"


def test_two_identities_differ_in_their_blocks_alone(pair: tuple[Path, Path]) -> None:
    one, other = ((folder / "idn.weights").read_bytes() for folder in pair)
    assert len(one) == len(other)
    own = engine.Engine(str(pair[0]), threads=1).lib.idn_identity_bytes()
    assert one[:-own] == other[:-own]
    assert one[-own:] != other[-own:]
    assert (pair[0] / "idn.c").read_bytes() == (pair[1] / "idn.c").read_bytes()


def test_each_computes_what_its_own_file_does(pair: tuple[Path, Path]) -> None:
    """Set one after the other, in the model's memory: the same bits."""
    made, alone = (engine.Engine(str(folder), threads=2) for folder in pair)
    own = made.lib.idn_identity_bytes()
    held = [(folder / "idn.weights").read_bytes()[-own:] for folder in pair]
    expected = [frame(made), frame(alone)]
    assert not same(*expected)
    for turn in (1, 0, 0, 1, 1):
        made.set_identity(held[turn])
        assert same(frame(made), expected[turn])


def test_a_patched_file_has_the_checksum_of_what_it_holds(pair: tuple[Path, Path]) -> None:
    """What is derived from the tensors of another identity is what its own file has."""
    one, other = ((folder / "idn.weights").read_bytes() for folder in pair)
    tensors = engine.Engine(str(pair[0]), threads=1).lib.idn_identity_bytes() - weights.HEADER.size
    patched = one[:-tensors] + other[-tensors:]
    assert patched != other
    contents = {"a.idn/idn.weights": patched, "a.idn/idn.json": (pair[0] / "idn.json").read_bytes()}
    for each in derived.derived("a.idn", contents):
        held = contents[each.file]
        contents[each.file] = held[: each.offset] + each.data + held[each.offset + len(each.data) :]
    assert contents["a.idn/idn.weights"] == other
    assert contents["a.idn/idn.json"] == (pair[1] / "idn.json").read_bytes()


def test_one_is_made_ready_in_other_memory(pair: tuple[Path, Path]) -> None:
    """By a copy of the model, at any address; switching is then giving the other model."""
    made, alone = (engine.Engine(str(folder), threads=1) for folder in pair)
    own = made.lib.idn_identity_bytes()
    shifted = np.frombuffer(b"\0" + (pair[1] / "idn.weights").read_bytes()[-own:], np.uint8)[1:]
    first, memory, expected = made.model, engine._aligned(b"\xff" * made.memory.size), [frame(made), frame(alone)]
    second = engine._Model.from_buffer_copy(first)
    given = (*engine._sized(shifted), *engine._sized(memory))
    assert made.lib.idn_set_identity(ctypes.byref(second), *given) == 0
    for turn in (0, 1, 0, 1):
        made.model = (first, second)[turn]
        assert same(frame(made), expected[turn])


@pytest.mark.parametrize("form", FORMS)
def test_the_block_is_the_tensors_and_no_more(form: str) -> None:
    """[taps][channels], and of the tail's 1x1 [inputs][outputs], as the type that the precision stores."""
    model = in_form(Builder(8, SIZE).model(*WIDTHS["ragged"]), form)
    network = schedule.read(model)
    packed = weights.pack(plan.make(replace(network, half=form == "fp16")))
    dtype = {"fp16": np.float16, "int8 codes": np.int8}.get(form, np.float32)
    owned, length = {tensor.name: tensor for tensor in packed.owned}, 0
    for name, node in zip(NAMES, owners(model), strict=True):
        restored = edit.producer(node.inputs[1], "DequantizeLinear")
        array = edit.constant(node.inputs[1] if restored is None else restored.inputs[0])
        assert array is not None
        expected = array.reshape(len(array), -1).T.astype(dtype).tobytes()
        start = owned[name].start
        assert packed.identity[start : start + len(expected)] == expected, name
        length += -(-len(expected) // 4) * 4
    assert len(packed.identity) == -(-length // 64) * 64
    assert len(owned) == len(NAMES)


def graph(checkpoint: Checkpoint, person: Identity, form: str) -> ir.Model:
    """As ``compile`` makes them."""
    plain = passes.optimise(build.build(fold(checkpoint, person).weights("identity-local"), size=SIZE))
    if form == "fp16":
        return half.prepare(plain)
    return in_form(plain, form)


@pytest.mark.parametrize("form", BUDGETS)
def test_an_identity_of_the_real_network_is_small(
    demo_iin: Checkpoint, demo_identities: list[Identity], tmp_path: Path, form: str
) -> None:
    """And set in it, another one computes what its own file does; the switch is timed by nobody here."""
    model = graph(demo_iin, demo_identities[0], form)
    for name, made in (("one", model), ("other", another(model, 9))):
        TARGET.emit(made, tmp_path / name, EmitOptions(form.split()[0]))
    one, other = (engine.Engine(str(tmp_path / name), threads=1) for name in ("one", "other"))
    own = one.lib.idn_identity_bytes()
    assert 25_264 * {"fp32": 4, "fp16": 2}.get(form, 1) <= own <= BUDGETS[form]
    one.set_identity((tmp_path / "other/idn.weights").read_bytes()[-own:])
    assert same(frame(one), frame(other))


def test_two_people_share_a_base(demo_iin: Checkpoint, demo_identities: list[Identity], tmp_path: Path) -> None:
    """In fp32 nothing else of two folded identities differs, and the C need not be built twice."""
    for name, person in zip(("one", "other"), demo_identities, strict=False):
        TARGET.emit(graph(demo_iin, person, "fp32"), tmp_path / name, EmitOptions())
    one, other = (engine.Engine(str(tmp_path / name), threads=1) for name in ("one", "other"))
    one.set_identity((tmp_path / "other/idn.weights").read_bytes()[-one.lib.idn_identity_bytes() :])
    assert same(frame(one), frame(other))


def test_codes_compute_what_they_stand_for(tmp_path: Path) -> None:
    """Against the same numbers as plain floats."""
    model = in_form(Builder(4, SIZE).model(*WIDTHS["ragged"]), "int8 codes")
    decoded = model.clone()
    for node in owners(decoded):
        restored = edit.producer(node.inputs[1], "DequantizeLinear")
        assert restored is not None
        codes, scale = edit.constant(restored.inputs[0]), edit.constant(restored.inputs[1])
        assert codes is not None
        assert scale is not None
        real = codes * scale.reshape(-1, 1, 1, 1)
        node.replace_input_with(1, edit.new_initialiser(decoded.graph, f"{node.name}.real", real))
        decoded.graph.remove([restored], safe=True)
    for name, each in (("codes", model), ("floats", decoded)):
        TARGET.emit(each, tmp_path / name, EmitOptions("int8"))
    one, other = (frame(engine.Engine(str(tmp_path / name), threads=1)) for name in ("codes", "floats"))
    assert max(np.abs(one[name] - other[name]).max() for name in one) < 2e-3  # a byte that lies half-way falls anywhere
    told = {t.name: t for t in TARGET.read(tmp_path / "codes").quantised() if t.name == "encoder.1.depthwise"}
    assert any(t.kind == "weight" and len(t.scales) == 10 for t in told.values())


def test_codes_of_what_is_shared_become_real(tmp_path: Path) -> None:
    """The mask's later depthwise convs belong to the base: the file has them as kernels read them."""
    model = Builder(2, SIZE).model(*WIDTHS["whole"])
    (node,) = [n for n in edit.of_type(model.graph, "Conv") if n.name == "mask.1.depthwise"]
    weight = edit.weight(node, 1)
    code(model.graph, node, np.rint(weight * 50).astype(np.int8), np.full(len(weight), 0.02, np.float32))
    TARGET.emit(model, tmp_path / "a", EmitOptions("int8"))
    assert {tensor.kind for tensor in weights.pack(plan.make(schedule.read(model))).owned} == {"float"}
    assert np.isfinite(frame(engine.Engine(str(tmp_path / "a"), threads=1))["swapped"]).all()


Wrong = Callable[[np.ndarray], dict[str, object]]


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (lambda w: {"codes": w.astype(np.int8), "scale": np.ones(len(w), np.float32), "zero": 3}, "around zero"),
        (lambda w: {"codes": np.abs(w).astype(np.uint8), "scale": np.ones(len(w), np.float32)}, "int8 constants"),
        (lambda w: {"codes": w.astype(np.int8), "scale": np.ones(w.shape[3], np.float32), "axis": 3}, "one scale per"),
        (lambda w: {"codes": w.astype(np.int8), "scale": np.ones(w.shape[2], np.float32), "axis": 2}, "one scale per"),
    ],
    ids=["zero point", "unsigned", "columns", "rows"],
)
def test_other_codes_are_refused(tmp_path: Path, wrong: Wrong, words: str) -> None:
    model = Builder(2, SIZE).model(*WIDTHS["whole"])
    node = owners(model)[2]
    code(model.graph, node, **wrong(np.rint(edit.weight(node, 1) * 9)))  # type: ignore[arg-type]
    with pytest.raises(LoweringError, match=rf"encoder\.2\.depthwise\.weight\.restored: .*{words}"):
        TARGET.emit(model, tmp_path / "a", EmitOptions("int8"))


def test_one_scale_will_do(tmp_path: Path) -> None:
    """And an axis counted from the end."""
    model = Builder(2, SIZE).model(*WIDTHS["whole"])
    for node, axis in zip(owners(model)[1:3], (0, -4), strict=True):
        weight = edit.weight(node, 1)
        scale = np.full(len(weight) if axis else (), 0.02, np.float32)
        code(model.graph, node, np.rint(weight * 50).astype(np.int8), scale, axis)
    packed = weights.pack(plan.make(schedule.read(model)))
    assert {t.name: t.kind for t in packed.owned}["encoder.1_kernel"] == "code"
    TARGET.emit(model, tmp_path / "a", EmitOptions("int8"))
    assert np.isfinite(frame(engine.Engine(str(tmp_path / "a"), threads=1))["swapped"]).all()


def test_a_weight_beyond_a_half_is_refused(tmp_path: Path) -> None:
    model = Builder(2, SIZE).model(*WIDTHS["whole"])
    node = owners(model)[6]
    edit.set_weight(model.graph, node, 1, edit.weight(node, 1) * 1e6)
    with pytest.raises(LoweringError, match=r"decoder\.1_kernel: a weight of .* is beyond float16; compile with fp32"):
        TARGET.emit(model, tmp_path / "a", EmitOptions("fp16"))
