"""Runtimes, threads, images of another size."""

from __future__ import annotations

import numpy as np
import pytest
from mfs_edge.targets.tflite import TfliteTarget, runner

from mfs_edge.base import extras
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


def test_values_beyond_white_are_clipped_not_wrapped(written: Writer) -> None:
    prepared = TARGET.load(written(size=32, io="uint8")).prepare(np.full((1, 3, 32, 32), 1.2, np.float32))
    assert prepared.dtype == np.uint8
    assert (prepared == 255).all()


def test_without_a_runtime_both_are_named(written: Writer, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(size=32)
    monkeypatch.setattr(extras, "available", lambda module: False)
    with pytest.raises(MissingDependency, match=r"ai-edge-litert .*tflite-runtime.*mfs-edge\[tflite\]"):
        TARGET.load(path)
    assert runner.needs() == ("ai_edge_litert",)
    description = TARGET.describe(path)  # a file can still be looked into
    assert description.operators["CONV_2D"] == 18
    assert description.details["delegate"].startswith("not run: ")


def test_the_older_runtime_will_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extras, "available", lambda module: module == "tflite_runtime")
    assert runner.needs() == ("tflite_runtime",)
