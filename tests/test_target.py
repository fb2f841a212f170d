"""The registry of backends."""

from __future__ import annotations

from pathlib import Path

import pytest

from mfs_edge import target
from mfs_edge.base.errors import InputError, MissingDependency, UsageError


def test_every_backend_fits_the_protocol() -> None:
    attributes = (
        "name",
        "title",
        "suffix",
        "extra",
        "emit_needs",
        "run_needs",
        "precisions",
        "io_forms",
        "companions",
        "options",
    )
    for name, backend in target.registered().items():
        assert backend.name == name
        assert all(hasattr(backend, attribute) for attribute in attributes)
        assert backend.default_precision in backend.precisions
        assert backend.default_io in backend.io_forms
        assert set(backend.precisions) <= set(target.PRECISIONS)
        assert set(backend.io_forms) <= {"float32", "uint8", "image"}


def test_suffixes_tell_backends_apart() -> None:
    suffixes = [backend.suffix for backend in target.registered().values()]
    assert len(suffixes) == len(set(suffixes))


def test_an_unknown_name_gets_the_nearest() -> None:
    with pytest.raises(UsageError, match="did you mean onnx"):
        target.get("onxn")
    with pytest.raises(UsageError, match="there are: "):
        target.get("zzz")


def test_a_missing_extra_is_named_and_all_skips_it(monkeypatch: pytest.MonkeyPatch) -> None:
    real = target.extras.available
    monkeypatch.setattr(target.extras, "available", lambda module: module != "onnxruntime" and real(module))
    with pytest.raises(MissingDependency, match=r"mfs-edge\[onnx\]") as failure:
        target.select(("onnx",))
    assert failure.value.exit_code == 3
    monkeypatch.setattr(target.extras, "available", lambda module: False)
    with pytest.raises(MissingDependency):
        target.select(("all",))


def test_all_leaves_out_what_is_missing_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    present = target.registered()["onnx"]

    class Absent(type(present)):  # type: ignore[misc]
        name = "absent"
        run_needs = ("a_runtime_nobody_has",)

    monkeypatch.setattr(target, "registered", lambda: {"absent": Absent(), "onnx": present})
    chosen, skipped = target.select(("all",))
    assert [backend.name for backend in chosen] == ["onnx"]
    assert "a_runtime_nobody_has" in skipped[0]


def test_a_file_finds_its_backend_by_suffix() -> None:
    assert target.of_file(Path("x/idn-224-fp32.onnx")).name == "onnx"
    with pytest.raises(InputError, match=r"\.onnx"):
        target.of_file(Path("model.caffemodel"))


def test_options_a_backend_lacks_are_refused() -> None:
    with pytest.raises(UsageError, match="--io image"):
        target.get("onnx").check(target.EmitOptions(io="image"))
