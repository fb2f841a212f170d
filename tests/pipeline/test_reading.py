"""What was read is told, chosen where the user says so, and proven by its hash."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import mfs_edge
from mfs_edge.base import files, progress
from mfs_edge.base.errors import CheckpointError, UsageError
from mfs_edge.load.checkpoint import Checkpoint
from mfs_edge.load.identity import Identity
from mfs_edge.pipeline.compile import Result
from mfs_edge.sample import weights


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory, demo_iin: Checkpoint) -> Path:
    """A training state: both networks, and an average beside one of them."""
    path = tmp_path_factory.mktemp("both") / "all.pth"
    iin = {k: torch.from_numpy(np.ascontiguousarray(v)) for k, v in demo_iin.tensors.items()}
    average = iin | {"mask.5.bias": iin["mask.5.bias"] + 1}
    arcface = {k: torch.from_numpy(np.ascontiguousarray(v)) for k, v in weights.checkpoint("arcface").tensors.items()}
    torch.save({"model": iin, "ema": average, "netArc": arcface, "best": np.float64(1)}, path)
    return path


def compiled(tmp_path: Path, who: Identity, steps: progress.Recorded | None = None, **options: Any) -> Result:
    return mfs_edge.compile(identity=who, size=32, verify=False, out=tmp_path / "build", steps=steps, **options)


def test_one_file_serves_as_both_and_the_choice_is_in_the_manifest(
    tmp_path: Path, both: Path, demo_identities: list[Identity]
) -> None:
    steps = progress.Recorded()
    result = compiled(tmp_path, demo_identities[0], steps, checkpoint=both, arcface=both, sha256=files.sha256(both))
    told = "all.pth: model was taken, ema stands beside it; to take that: --checkpoint FILE#ema"
    assert told in result.warnings
    assert told in steps.notes
    assert result.manifest.artefacts[0].checkpoint.sha256 == files.sha256(both)
    for network in ("MobileFaceSwap (IIN) under model", "ArcFace under netArc"):
        (line,) = [line for line in steps.notes if line.startswith(f"all.pth: {network}")]
        assert line.endswith(f"sha256 {files.sha256(both)}")


def test_what_the_user_chose_is_named_in_the_manifest(
    tmp_path: Path, both: Path, demo_identities: list[Identity], monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = compiled(tmp_path / "1", demo_identities[0], checkpoint=f"{both}#model").manifest.artefacts[0]
    monkeypatch.setenv("MFS_EDGE_CHECKPOINT", f"{both}#ema")
    chosen = compiled(tmp_path / "2", demo_identities[0]).manifest.artefacts[0]
    assert (plain.checkpoint.name, chosen.checkpoint.name) == ("all.pth#model", "all.pth#ema")
    assert not any("stands beside" in line for line in (*plain.warnings, *chosen.warnings))
    assert plain.files != chosen.files


def test_a_hash_that_nothing_has_is_refused(tmp_path: Path, both: Path, demo_identities: list[Identity]) -> None:
    who = demo_identities[0]
    with pytest.raises(CheckpointError, match=r"has sha256 .*, which is not what --sha256 gives"):
        compiled(tmp_path, who, checkpoint=both, sha256="0" * 64)
    with pytest.raises(UsageError, match="no checkpoint was read that it could belong to"):
        compiled(tmp_path, who, sha256="0" * 64)
    with pytest.raises(UsageError, match="no checkpoint was read that it could belong to"):
        compiled(tmp_path, who, checkpoint=both, sha256=[files.sha256(both), "0" * 64])
    with pytest.raises(UsageError, match="is not a SHA-256 hash"):
        compiled(tmp_path, who, checkpoint=both, sha256="abc")
    assert not (tmp_path / "build").exists()
