"""Bytes of an identity are found once, under whichever layout; and a manifest's runs are sound."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from mfs_edge.base import runs
from mfs_edge.base.errors import InputError, LoweringError
from mfs_edge.bundle import manifest, publication
from mfs_edge.bundle.manifest import ArtefactRecord, Source, Verification

RANDOM = np.random.default_rng(5)
DEPTHWISE = RANDOM.normal(size=(6, 1, 3, 3)).astype(np.float32)
POINTWISE = RANDOM.normal(size=(8, 32, 1, 1)).astype(np.float32)


def searched(data: bytes, array: np.ndarray) -> runs.Run:
    (found,) = runs.search({"other": b"nothing", "weights": data}, {"w": array})
    return found


@pytest.mark.parametrize("dtype", ["float32", "float16", "int8"])
@pytest.mark.parametrize("axes", [(0, 1, 2, 3), (1, 2, 3, 0), (0, 2, 3, 1), (2, 3, 1, 0)])
@pytest.mark.parametrize("array", [DEPTHWISE, POINTWISE], ids=["depthwise", "pointwise"])
def test_every_layout_is_found(array: np.ndarray, axes: tuple[int, ...], dtype: str) -> None:
    stored = (array * 40).astype(dtype)
    data = b"head" + np.ascontiguousarray(stored.transpose(axes)).tobytes() + b"tail"
    found = searched(data, stored)
    assert (found.file, found.offset, found.bytes, found.dtype) == ("weights", 4, stored.nbytes, dtype)
    other = (RANDOM.normal(size=array.shape) * 40).astype(dtype)  # the layout holds for any other identity
    assert runs.encode(other, found.dtype, found.axes) == np.ascontiguousarray(other.transpose(axes)).tobytes()


def test_halves_may_be_stored_as_floats() -> None:
    halves = DEPTHWISE.astype(np.float16)
    assert searched(halves.astype("<f4").tobytes(), halves).dtype == "float32"


@pytest.mark.parametrize("data", [
    b"",
    DEPTHWISE.tobytes()[:-1],
    2 * DEPTHWISE.tobytes(),
    DEPTHWISE.astype(np.float16).tobytes(),
    DEPTHWISE.tobytes() + np.ascontiguousarray(DEPTHWISE.transpose(1, 2, 3, 0)).tobytes(),
])  # fmt: skip
def test_an_array_that_is_not_there_once_is_a_defect_that_names_it(data: bytes) -> None:
    with pytest.raises(LoweringError, match=r"tensor w of the identity is found [02] times"):
        searched(data, DEPTHWISE)


def record(**changed: object) -> ArtefactRecord:
    return ArtefactRecord(
        file="idn.onnx", files={"idn.onnx": "0" * 64}, bytes=9, target="onnx", precision="fp32", io="float32", size=64,
        optimize=1, checkpoint=Source(name="c", sha256="1" * 64), identity_sha256="2" * 64, inputs=(), outputs=(),
        operators={}, parameters=0, macs=0, verification=Verification(status="not verified", verified="no", run="no"),
        **changed,  # type: ignore[arg-type]
    )  # fmt: skip


RUN = {"file": "idn.onnx", "offset": 4, "bytes": 8, "tensor": "w", "dtype": "float32", "axes": [0, 1, 2, 3]}


def read(tmp_path: Path, *listed: dict[str, object], base: str = "idn.base") -> manifest.Manifest:
    held = manifest.Manifest(versions={}, artefacts=(record(),)).model_dump(mode="json")
    held["artefacts"][0] |= {"base": base, "runs": listed}
    path = tmp_path / "manifest.json"
    path.write_text(json.dumps(held))
    return manifest.read(path)


def test_runs_are_read_back(tmp_path: Path) -> None:
    (artefact,) = read(tmp_path, RUN, RUN | {"offset": 12}).artefacts
    assert [(run.offset, run.end, run.axes) for run in artefact.runs] == [(4, 12, (0, 1, 2, 3)), (12, 20, (0, 1, 2, 3))]


@pytest.mark.parametrize("changed", [
    {"file": "../idn.onnx"}, {"file": "/etc/passwd"}, {"offset": -1}, {"offset": 1.5}, {"bytes": 0}, {"bytes": -8},
    {"dtype": "object"}, {"axes": [0, 0, 1, 2]}, {"axes": [1, 2, 3, 4]}, {"more": 1},
])  # fmt: skip
def test_a_run_that_lies_nowhere_is_refused(changed: dict[str, object], tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is not a manifest of this version"):
        read(tmp_path, RUN | changed)


def test_runs_that_overlap_and_bases_elsewhere_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="overlap"):
        read(tmp_path, RUN, RUN | {"offset": 11})
    for name in ("../a.base", "/a.base"):
        with pytest.raises(InputError):
            read(tmp_path, RUN, base=name)


def test_runs_move_with_their_artefact() -> None:
    staged = publication.moved(record(runs=(runs.Run(**RUN),)), Path("stage"))  # type: ignore[arg-type]
    assert [run.file for run in staged.runs] == ["stage/idn.onnx"]
    assert publication.moved(staged, None).runs[0].file == "idn.onnx"
