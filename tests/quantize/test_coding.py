"""What of a graph is an identity's, and how a base stores it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mfs_edge import precisions
from mfs_edge.base.errors import CheckpointError, InputError
from mfs_edge.base.fidelity import psnr
from mfs_edge.base.progress import Recorded
from mfs_edge.fold import FoldedIDN, fold
from mfs_edge.graph import build
from mfs_edge.load.checkpoint import Checkpoint
from mfs_edge.load.identity import Identity
from mfs_edge.networks import spec
from mfs_edge.quantize import execute, people, scalars
from mfs_edge.quantize.coding import Coding, Energy

SIZE = 64
# What is left of the picture and the mask of identities that the base of two has not seen, dB.
LEAST = {"fp32": (120, 110), "fp16": (85, 75), "int8": (28, 22), precisions.PRODUCTS: (30, 24)}


@pytest.fixture(scope="module")
def everyone(demo_iin: Checkpoint, demo_identities: list[Identity]) -> list[FoldedIDN]:
    return [fold(demo_iin, one) for one in demo_identities]


@pytest.fixture(scope="module", params=list(LEAST))
def made(request: pytest.FixtureRequest, everyone: list[FoldedIDN]) -> precisions.Graph:
    """A base over two, in every precision."""
    base = precisions.Base.of(everyone[:2], size=SIZE, optimize=1)
    pictures = precisions.pictures(None, [request.param], size=SIZE, steps=Recorded())
    return precisions.make(base, request.param, pictures, min_psnr=None, steps=Recorded())


def local(folded: FoldedIDN) -> dict[str, np.ndarray]:
    return folded.weights("identity-local")


def levels(model: object, folded: FoldedIDN, judging: list[np.ndarray]) -> list[float]:
    wanted = execute.outputs(build.build(folded.weights(), size=SIZE), judging)
    found = execute.outputs(model, judging)  # type: ignore[arg-type]
    return [
        float(np.mean([psnr(a[k] - b[k]) for a, b in zip(found, wanted, strict=True)])) for k in ("swapped", "mask")
    ]


@pytest.fixture(scope="module")
def judging() -> list[np.ndarray]:
    from mfs_edge.quantize import calibration

    return list(calibration.load(None, SIZE).held_out.spread(4))


def test_the_graph_holds_the_first(
    made: precisions.Graph, everyone: list[FoldedIDN], judging: list[np.ndarray]
) -> None:
    again = people.install(made.model, made.owned(local(everyone[0])), made.readers)
    for one, other in zip(execute.outputs(made.model, judging), execute.outputs(again, judging), strict=True):
        assert all(np.array_equal(one[name], other[name]) for name in one)


def test_others_can_take_its_place(
    made: precisions.Graph, everyone: list[FoldedIDN], judging: list[np.ndarray]
) -> None:
    for folded in everyone[1:]:
        model = people.install(made.model, made.owned(local(folded)), made.readers)
        assert all(np.array(levels(model, folded, judging)) > LEAST[made.precision])


def test_nothing_else_is_theirs(everyone: list[FoldedIDN]) -> None:
    """Two identities' float graphs differ in the owned weights alone."""
    first, second = (precisions.Base.of([one], size=SIZE, optimize=1).model.graph for one in everyone[:2])
    differing = {
        name
        for name, value in first.initializers.items()
        if not np.array_equal(value.const_value.numpy(), second.initializers[name].const_value.numpy())  # type: ignore[union-attr]
    }
    assert differing == set(spec.OWNED)
    assert sum(local(everyone[0])[name].size for name in spec.OWNED) == 25_264


def test_it_is_stored_and_read_again(made: precisions.Graph, everyone: list[FoldedIDN], tmp_path: Path) -> None:
    assert made.coding is not None
    made.coding.save(tmp_path / "a.base")
    made.coding.save(tmp_path / "b.base")
    assert (tmp_path / "a.base").read_bytes() == (tmp_path / "b.base").read_bytes()
    wanted = made.coding.owned(local(everyone[2]))
    for name, array in Coding.load(tmp_path / "a.base").owned(local(everyone[2])).items():
        assert array.dtype == wanted[name].dtype
        assert np.array_equal(array, wanted[name])


@pytest.mark.parametrize("damage", [b"", b"PK\x03\x04", b"not one"])
def test_a_damaged_base_is_named(damage: bytes, tmp_path: Path) -> None:
    (tmp_path / "x.base").write_bytes(damage)
    with pytest.raises(InputError, match=r"x\.base: "):
        Coding.load(tmp_path / "x.base")


def test_what_is_no_number_is_refused(made: precisions.Graph, everyone: list[FoldedIDN]) -> None:
    broken = {**local(everyone[0]), "Decoder.1.0.weight": np.full((512, 1, 3, 3), np.nan, np.float32)}
    with pytest.raises(CheckpointError, match=r"Decoder\.1\.0\.weight"):
        made.owned(broken)


def test_what_a_base_cannot_hold_is_counted(made: precisions.Graph, everyone: list[FoldedIDN]) -> None:
    assert made.coding is not None
    own = local(everyone[0])
    assert made.coding.beyond(own) == 0
    lone = {**own, "mask.0.1.weight": own["mask.0.1.weight"].copy()}
    lone["mask.0.1.weight"][0] *= 1e6
    assert (made.coding.beyond(lone) > 0) == (made.precision != "fp32")


def test_a_larger_identity_comes_to_the_same_level(everyone: list[FoldedIDN], judging: list[np.ndarray]) -> None:
    """A stage's kernels times a number, the next ones' divided by it: the same network, and the same codes."""
    base = precisions.Base.of(everyone[:2], size=SIZE, optimize=1)
    pictures = precisions.pictures(None, ["int8"], size=SIZE, steps=Recorded())
    graph = precisions.make(base, "int8", pictures, min_psnr=None, steps=Recorded())
    own = local(everyone[2])
    other = {
        **own,
        "Encoder.1.0.weight": own["Encoder.1.0.weight"] * 64,
        "Encoder.2.0.weight": own["Encoder.2.0.weight"] / 64,
    }
    skipped = other["Decoder.3.0.weight"].copy()
    skipped[spec.DECODER_OUT[2] :] /= 64  # the skip connection of that stage
    other["Decoder.3.0.weight"] = skipped
    wanted, found = graph.owned(own), graph.owned(other)
    assert all(np.abs(wanted[name].astype(int) - found[name].astype(int)).max() <= 1 for name in wanted)


def test_an_identity_alone_keeps_its_scale(everyone: list[FoldedIDN], judging: list[np.ndarray]) -> None:
    base = precisions.Base.of(everyone[:1], size=SIZE, optimize=1)
    assert base.people is not None
    _, levelled = scalars.level(base.model, base.people, judging, powers=False)
    assert len(levelled.energies) == 9
    for name, array in base.people.weights[0].items():
        assert np.array_equal(levelled.weights[0][name], array)


def test_a_stage_without_energy_is_left_alone() -> None:
    moments, shares = np.zeros((4, 9, 9), np.float32), np.ones(4, np.float32)
    assert Energy(moments, shares, 1.0, powers=False).scalar(np.ones((4, 1, 3, 3))) == 1.0
    eye = np.broadcast_to(np.eye(9, dtype=np.float32), (4, 9, 9))
    assert Energy(eye, shares, 36.0 * 2, powers=True).scalar(np.ones((4, 1, 3, 3))) in (1.0, 2.0)
    assert Energy(eye, shares, 36.0 * 9, powers=False).scalar(np.ones((4, 1, 3, 3))) == pytest.approx(3)
