"""A package's permissions, and a full folder for temporary files."""

from __future__ import annotations

import os
import resource
from collections.abc import Callable, Iterator
from pathlib import Path

import onnx_ir as ir
import pytest
from mfs_edge.targets.coreml import CoremlTarget

from mfs_edge import target
from mfs_edge.base.errors import OutputError
from mfs_edge.target import EmitOptions

SMALL = EmitOptions("fp16", "float32")


@pytest.fixture
def full_disk() -> Iterator[None]:
    """No file may grow beyond four kilobytes, as if there were no space for more."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize(
    ("umask", "file", "folder"), [(0o022, 0o644, 0o755), (0o027, 0o640, 0o750), (0o077, 0o600, 0o700)]
)
def test_the_umask_is_honoured(
    graph: Callable[..., ir.Model], tmp_path: Path, umask: int, file: int, folder: int
) -> None:
    before = os.umask(umask)
    try:
        CoremlTarget().emit(graph("demo", size=64, balanced=True), tmp_path / "x.mlpackage", SMALL)
    finally:
        os.umask(before)
    for path in (tmp_path / "x.mlpackage", *(tmp_path / "x.mlpackage").rglob("*")):
        assert path.stat().st_mode & 0o777 == (folder if path.is_dir() else file), path


@pytest.mark.usefixtures("full_disk")
def test_a_full_disk_is_not_the_files_fault(graph: Callable[..., ir.Model], tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="cannot be written") as caught:
        CoremlTarget().emit(graph("demo", size=64, balanced=True), tmp_path / "x.mlpackage", SMALL)
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_verification_on_a_full_temporary_folder(artefacts: Path, full_disk: None, tmp_path: Path) -> None:
    """onnxruntime profiles into it; the model is not to be written again."""
    with pytest.raises(OutputError, match=r"temporary files cannot be written.*TMPDIR"):
        target.get("onnx").load(artefacts / "idn.onnx").execution()
