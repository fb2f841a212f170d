"""A graph with every operator as C: each instruction set against numpy in float64, and every way to round a payload."""

from __future__ import annotations

import ctypes

import numpy as np
import pytest
from mfs_edge.targets.native import NativeTarget, engine

from tests.targets.native.enrolment import zoo
from tests.targets.native.enrolment.conftest import Written, near

TARGET = NativeTarget()


def test_every_instruction_set_is_what_numpy_computes(written: Written) -> None:
    path, model = written("float")
    made = engine.Engine(str(path), threads=1)
    for cpu in made.cpus():
        made._check(made.lib.enrol_set_cpu(ctypes.byref(made.model), cpu))
        for seed in range(2):
            made.feed({"crop": zoo.crop(seed)})
            made.infer()
            near(made.fetch()["payload"], zoo.computed(model, zoo.crop(seed)))


@pytest.mark.parametrize("payload", ["half", "rounded", "code"])
def test_a_payload_is_rounded_to_nearest(written: Written, payload: str) -> None:
    """From the very floats that the same C computes, so that it is bit for bit."""
    exact, found = (TARGET.load(written(kind)[0], threads=1).enrol(zoo.crop(3)) for kind in ("float", payload))
    if payload == "code":
        sure = ~np.isnan(exact)
        np.testing.assert_array_equal(found[sure], np.rint(exact[sure]).clip(-128, 127).astype(np.int8))
        assert {-127, 127} <= set(found.tolist())
        return
    with np.errstate(over="ignore"):
        wanted = exact.astype(np.float16)
    np.testing.assert_array_equal(found, wanted if payload == "half" else wanted.astype(np.float32))
    assert found.dtype == ("float16" if payload == "half" else "float32")


def test_any_number_of_threads_computes_the_same_bits(written: Written) -> None:
    path, _ = written("float")
    first, *others = (TARGET.load(path, threads=threads).enrol(zoo.crop(4)) for threads in (1, 2, 3, 7))
    for other in others:
        assert first.tobytes() == other.tobytes()


def test_stages_have_the_names_of_nodes(written: Written) -> None:
    path, model = written("float")
    made = engine.Engine(str(path), threads=1, profile=True)
    for _ in range(2):
        made.feed({"crop": zoo.crop(0)})
        made.infer()
    told = {word for layer in made.layers() for word in layer["name"].split(", ")}
    shown = {str(n.name) for n in model.graph if n.op_type not in ("Reshape", "Transpose", "Cast", "DequantizeLinear")}
    assert shown - {"payload.real"} <= told
