"""Checkpoints whose kernels are far larger or smaller than usual: half precision must hold what becomes of them."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest
from mfs_edge.targets.coreml import CoremlOptions, CoremlTarget, quantised

from mfs_edge.fold import FoldedIDN
from mfs_edge.graph import build, passes
from mfs_edge.quantize import execute, half, quantise
from mfs_edge.target import EmitOptions
from tests.targets.integers import LOST_DB, SIZE, Graphs, faces, levels

TARGET = CoremlTarget()
# What a kernel is multiplied by; the network is then another one.
CHANGED: dict[str, dict[str, float]] = {
    "reported": {"Encoder.1.0": 15_000, "Decoder.1.0": 1 / 1600},
    "first stage": {"Encoder.0.0": 1e5},
    "deepest stage": {"Encoder.4.0": 3e5},
    "last stage": {"Decoder.3.0": 1e5},
    "everywhere": {f"Encoder.{i}.0": 1e3 for i in range(4)},
    "far beyond": {"Encoder.1.0": 1e8, "Decoder.2.0": 1e4},
    "one logit": {"final.7": 1e6},
    "tiny": {"Encoder.2.0": 1e-6, "Decoder.0.0": 1e-4},
}
# The same, and what reads it is divided: the network computes what it did.
UNDONE: dict[str, dict[str, float]] = {
    "nothing": {},
    "reported": {"Encoder.1.0": 15_000, "Encoder.1.1": 1 / 15_000, "Decoder.1.0": 1 / 1600, "Decoder.1.1": 1600},
    "upwards": {"Encoder.0.0": 1e6, "Encoder.0.1": 1e-6, "mask.0.1": 1e5, "mask.0.2": 1e-5},
    "downwards": {"Encoder.3.0": 1e-6, "Encoder.3.1": 1e6, "Decoder.3.0": 1e-5, "Decoder.3.1": 1e5},
}
Make = Callable[[str, str], ir.Model]


@pytest.fixture(scope="module")
def make(golden_folded: FoldedIDN) -> Make:
    """``make(case, precision)``: the graph, and in fp32 the one it is judged by."""

    def scaled(factors: Mapping[str, float]) -> ir.Model:
        weights = dict(golden_folded.weights())
        for key, factor in factors.items():
            weights[f"{key}.weight"] = weights[f"{key}.weight"] * np.float32(factor)
        return passes.optimise(build.build(weights, size=SIZE))

    @functools.cache
    def made(case: str, precision: str) -> ir.Model:
        kind, _, name = case.partition(": ")
        plain = scaled((CHANGED if kind == "changed" else UNDONE)[name])
        if precision == "fp32":
            return plain
        if precision == "fp16":
            return half.prepare(plain)
        return quantise(plain, faces(range(32, 48, 4)), precision=precision).model

    return made


def emitted(make: Make, case: str, precision: str, folder: Path, ios: int = 17) -> dict[str, float]:
    """dB of the written package."""
    path = folder / f"{precision}-{ios}.mlpackage"
    TARGET.emit(
        make(case, precision), path, EmitOptions(precision=precision, io="float32", own=CoremlOptions(min_ios=ios))
    )
    outputs = TARGET.evaluator(path).run(faces(range(1))[0])
    assert all(np.isfinite(value).all() for value in outputs.values())
    return levels(TARGET.evaluator(path), make(case, "fp32"))


CASES = [("int8", name) for name in CHANGED] + [("int8-mixed", name) for name in ("reported", "one logit")]


@pytest.mark.parametrize(("precision", "name"), CASES)
def test_integers_with_half_precision_between_them_are_as_good_as_the_graph(
    make: Make, tmp_path: Path, name: str, precision: str
) -> None:
    case = f"changed: {name}"
    wanted = levels(execute.Session(make(case, precision), as_written=True), make(case, "fp32"))
    for ios in (16, 17):
        found = emitted(make, case, precision, tmp_path, ios)
        assert all(found[output] > wanted[output] - LOST_DB for output in wanted)


# Which way the last digit of a sum is rounded depends on the processor, and moves one picture by up to 1.8 dB in either
# direction; a value that half precision does not hold costs tens.
MOVED_DB = 3.0


@pytest.mark.parametrize("precision", ["int8", "fp16"])
def test_a_network_that_computes_the_same_is_as_good_as_it_was(make: Make, tmp_path: Path, precision: str) -> None:
    wanted = emitted(make, "undone: nothing", precision, tmp_path)
    for name in UNDONE:
        found = emitted(make, f"undone: {name}", precision, tmp_path)
        assert all(found[output] > wanted[output] - MOVED_DB for output in wanted)


@pytest.mark.parametrize("name", CHANGED)
def test_half_precision_holds_logits_of_any_size(make: Make, tmp_path: Path, name: str) -> None:
    """Logits of 100,000 turn the picture black and white: half precision moves its edges, 34 dB at the worst here."""
    found = emitted(make, f"changed: {name}", "fp16", tmp_path)
    assert min(found.values()) > 30


def test_usual_logits_get_no_product(integers: Graphs) -> None:
    for precision in ("int8", "int8-mixed"):
        prepared = quantised.prepare(integers(precision), min_ios=17)
        assert not [node for node in prepared.graph if str(node.name).endswith(".scaled")]
