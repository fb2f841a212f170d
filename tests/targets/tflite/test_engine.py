"""Runtimes, threads, frames, and what of a file the delegate takes, from real interpreters."""

from __future__ import annotations

import importlib
from pathlib import Path

import numpy as np
import pytest
from mfs_edge.targets.tflite import TfliteTarget, engine

from mfs_edge.base.errors import InputError, MissingDependency
from tests.targets.tflite import graphs
from tests.targets.tflite.conftest import Writer

TARGET = TfliteTarget()


def test_threads_do_not_change_the_result(written: Writer) -> None:
    one, two = (TARGET.load(written(size=96), threads=threads).run(graphs.noise(96)) for threads in (1, 2))
    for name, value in one.items():
        np.testing.assert_allclose(two[name], value, atol=1e-6)


def test_frames_do_not_leak_into_each_other(written: Writer) -> None:
    loaded = TARGET.load(written(size=32))
    first = loaded.run(graphs.noise(32))
    kept = first["swapped"].copy()
    loaded.run(np.zeros((1, 3, 32, 32), np.float32))
    np.testing.assert_array_equal(first["swapped"], kept)
    np.testing.assert_array_equal(loaded.run(graphs.noise(32))["swapped"], kept)


def test_an_image_of_another_size_is_refused(written: Writer) -> None:
    with pytest.raises(InputError, match=r"takes \[1, 3, 32, 32\]"):
        TARGET.load(written(size=32)).run(graphs.noise(64))


def test_without_a_runtime_both_are_named(written: Writer, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(size=32)

    def missing(name: str) -> None:
        raise ImportError(f"No module named {name!r}")

    monkeypatch.setattr(engine.importlib, "import_module", missing)
    with pytest.raises(ImportError, match="tflite-runtime will do"):
        engine.Engine(str(path))
    monkeypatch.undo()
    monkeypatch.setattr(engine.Engine, "MODULES", ("nowhere.interpreter",))
    with pytest.raises(MissingDependency, match=r"ai-edge-litert .*tflite-runtime.*mfs-edge\[tflite\]"):
        TARGET.load(path)
    assert TARGET.read(path).operators["CONV_2D"] == 18  # a file can still be looked into


def test_a_whole_network_is_inside(written: Writer) -> None:
    loaded = TARGET.load(written(size=32, precision="fp16"))
    covered = loaded.engine.coverage()
    assert covered is not None
    assert covered["nodes"] == covered["delegated"] > 60
    assert (covered["partitions"], covered["outside"], covered["warning"]) == (1, [], "")
    assert loaded.warnings() == []
    assert loaded.execution().startswith(f"LiteRT {loaded.engine.version}: {covered['nodes']} of {covered['nodes']} ")


def test_an_operator_that_is_left_out_is_named_with_the_reason(tmp_path: Path) -> None:
    pad: graphs.Spec = ("Pad", [np.array([0, 0, 2, 1, 0, 0, 0, 1]), np.float32(0.5)], {"mode": "constant"})
    kernel = np.full((3, 3, 3, 3), 0.1, np.float32)
    model = graphs.chain(10, [("Tanh", [], {}), pad, ("Conv", [kernel], {})])
    loaded = TARGET.load(graphs.write(model, tmp_path))
    covered = loaded.engine.coverage()
    assert covered is not None
    assert covered["outside"] == ["PADV2"]
    assert (covered["delegated"], covered["partitions"]) == (covered["nodes"] - 1, 2)
    (warning,) = loaded.warnings()
    assert "2 partitions" in warning
    assert "1 left out as XNNPACK has no such operator" in warning


def test_a_runtime_without_the_delegate_is_reported(written: Writer) -> None:
    interpreters = importlib.import_module("ai_edge_litert.interpreter")
    path = str(written(size=32))
    loaded = engine.Engine(path)
    bare = interpreters.OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    loaded.interpreter = interpreters.Interpreter(model_path=path, experimental_op_resolver_type=bare)
    loaded.interpreter.allocate_tensors()
    found = loaded.coverage()
    assert (found["partitions"], found["delegated"]) == (0, 0)
    assert len(found["outside"]) == found["nodes"]
    assert found["warning"].startswith(f"runs none of the {found['nodes']} operators inside XNNPACK")
    assert "built without XNNPACK" in found["warning"]
