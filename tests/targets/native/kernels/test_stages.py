"""kernels/stages.c.j2: each fused block, by what it leaves in the arena, against its layers one after the other."""

from __future__ import annotations

import ctypes
from pathlib import Path

import numpy as np
import pytest
from mfs_edge.targets.native import NativeTarget, engine, plan, schedule
from mfs_edge.targets.native.schedule import Network, Pair

from mfs_edge.target import EmitOptions
from tests.targets.native.kernels import reference
from tests.targets.native.test_family import Builder

# size; channels of the encoder, the decoder and the mask branch; the tail's
NETWORKS = {
    "multiples of the vectors": (64, [32, 32, 64, 64, 128], [64, 64, 32, 32], [64, 32, 16, 8, 2], 8),
    "ragged": (96, [5, 17, 33, 9, 20], [13, 31, 7, 19], [11, 3, 21, 5, 2], 7),
    "one pixel deep": (32, [3, 4, 5, 6, 7], [8, 9, 10, 11], [6, 5, 4, 3, 2], 3),
}


def layers(net: Network, image: np.ndarray) -> dict[str, np.ndarray]:
    """What every stage leaves behind, by the name of its block; the tail's are "swapped" and "mask"."""

    def pair(block: Pair, value: np.ndarray, *, down: bool = False) -> np.ndarray:
        kernel = block.kernel.transpose(1, 2, 0)
        value = reference.strided(value, kernel) if down else reference.same(value, kernel)
        return reference.leaky(value @ block.weight.T + block.bias, net.slope)

    found, encoded = {}, []
    value = pair(net.stem, image - net.centre, down=True)
    for block in net.encoder:
        value = pair(block, value, down=True)
        encoded.append(value)
        found[block.name] = value
    found[net.stem.name] = found.pop(net.encoder[0].name)  # the two are one stage, called by the first
    shown = value
    for block, skip in zip(net.decoder, net.skips, strict=True):
        value = pair(block, reference.doubled(value))
        found[block.name] = value
        if skip is not None:
            value = np.concatenate([value, encoded[skip]], axis=2)
    for block in net.mask:
        shown = pair(block, reference.doubled(shown))
        found[block.name] = shown
    mask = reference.sigmoid(reference.dense(shown, net.mask_out.weight, net.mask_out.bias))
    squeezed = reference.doubled(value @ net.squeeze.weight[:, :, 0, 0].T + net.squeeze.bias)
    drawn = reference.leaky(squeezed, net.slope)
    drawn = reference.leaky(reference.dense(drawn, net.face[0].weight, net.face[0].bias), net.slope)
    face = reference.sigmoid(reference.dense(drawn, net.face[1].weight, net.face[1].bias))
    return {**found, "mask": mask, "swapped": image + (face - image) * mask}


@pytest.mark.parametrize("name", NETWORKS)
def test_every_stage_leaves_what_its_layers_compute(name: str, tmp_path: Path) -> None:
    size, *widths = NETWORKS[name]
    model = Builder(3, size).model(*widths)  # type: ignore[arg-type]
    NativeTarget().emit(model, tmp_path / "a.idn", EmitOptions())
    planned = plan.make(schedule.read(model))
    image = np.random.default_rng(4).random((1, 3, size, size), np.float32)
    expected = layers(planned.network, image[0].transpose(1, 2, 0).astype(np.float64))
    made = engine.Engine(str(tmp_path / "a.idn"), threads=1)
    made.feed({"image": image})
    for cpu in range(made.model.cpu, -1, -1):
        made.lib.idn_set_cpu(ctypes.byref(made.model), cpu)
        made.arena[:] = 0xFF  # NaN
        for number, stage in enumerate(planned.stages):
            name_of = ctypes.c_char_p()
            made._check(made.lib.idn_run_stage(*made._pictures(), number, ctypes.byref(name_of)))
            assert (name_of.value or b"").decode() == stage.name
            if stage.part is None or stage.target is None:
                continue
            target, part, wanted = stage.target, stage.part, expected[stage.name]
            held = made.arena.view(np.float32)[target.offset : target.offset + target.floats]
            left = held.reshape(target.side, target.side, target.stride)[:, :, part.offset :]
            assert np.abs(left[:, :, : part.channels] - wanted).max() < 2e-5, stage.name
            assert (left[:, :, part.channels : part.places] == 0).all(), "what is rounded up is zeros"
        found = made.fetch()
        for output in ("swapped", "mask"):
            assert np.abs(found[output][0].transpose(1, 2, 0) - expected[output]).max() < 1e-5


def test_every_stage_of_the_templates_is_met() -> None:
    """Nothing is left out above: all kinds of blocks, in all of them."""
    for size, *widths in NETWORKS.values():
        kinds = [stage.kind for stage in plan.make(schedule.read(Builder(3, size).model(*widths))).stages]  # type: ignore[arg-type]
        assert set(kinds) == {"first", "down", "up", "tail"}
        assert (kinds.count("down"), kinds.count("up")) == (3, 6)


def test_rows_may_be_cut_anywhere(tmp_path: Path) -> None:
    """Any stretch of rows is computed as in the whole, though no ring holds the rows before it."""
    size, *widths = NETWORKS["ragged"]
    NativeTarget().emit(Builder(5, size).model(*widths), tmp_path / "a.idn", EmitOptions())  # type: ignore[arg-type]
    made = engine.Engine(str(tmp_path / "a.idn"), threads=1)
    made.feed({"image": np.random.default_rng(6).random((1, 3, size, size), np.float32)})
    for cpu in range(made.model.cpu, -1, -1):
        made.lib.idn_set_cpu(ctypes.byref(made.model), cpu)
        outputs = []
        for workers in (1, 2, 5, 48, 64):
            made.workers = workers
            made.arena = engine._aligned(bytes(made.about["arena"]["shared"] + workers * made.about["arena"]["worker"]))
            made.infer()
            outputs.append(made.fetch())
        assert all((found[key] == outputs[0][key]).all() for found in outputs for key in ("swapped", "mask"))
