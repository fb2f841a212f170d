"""Which files are artefacts, and what belongs to one."""

from __future__ import annotations

from pathlib import Path

import pytest

from mfs_edge import target
from mfs_edge.base.errors import InputError
from mfs_edge.measure import facts

FORMATS = ("idn.onnx", "idn.tflite", "idn.xml")


def test_a_bundle_folder_and_foreign_files(artefacts: Path, tmp_path: Path) -> None:
    assert [path.name for path in facts.artefacts((artefacts,))] == sorted(FORMATS)
    assert facts.artefacts((artefacts / "idn.onnx", artefacts / "idn.onnx")) == [artefacts / "idn.onnx"]
    with pytest.raises(InputError, match="holds no artefact"):
        facts.artefacts((tmp_path,))
    with pytest.raises(InputError, match="no such file"):
        facts.artefacts((tmp_path / "none.onnx",))
    (tmp_path / "picture.png").write_bytes(b"x")
    with pytest.raises(InputError, match="is not an artefact"):
        facts.artefacts((tmp_path / "picture.png",))


def test_openvino_weights_belong_to_the_file(artefacts: Path) -> None:
    found = facts.of(artefacts / "idn.xml")
    assert found.bytes == (artefacts / "idn.xml").stat().st_size + (artefacts / "idn.bin").stat().st_size
    assert list(target.artefact(artefacts / "idn.xml").members) == [artefacts / "idn.xml", artefacts / "idn.bin"]
