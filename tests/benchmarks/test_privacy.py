"""That the person can be computed back from an artefact is measured, and told wherever it matters."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest

import mfs_edge
from benchmarks import privacy
from mfs_edge import target
from mfs_edge.fold import FoldedIDN
from mfs_edge.load.checkpoint import Checkpoint
from mfs_edge.load.identity import Identity

ROOT = Path(__file__).parents[2]
SIZE = 32


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))


def test_the_embedding_comes_back_from_a_default_file(golden_iin: Checkpoint, golden_identity: Identity) -> None:
    found = privacy.attack(golden_iin, golden_identity, size=SIZE)
    assert found == {"cosine": pytest.approx(1, abs=1e-6), "equations": 1891, "unknowns": 521, "rank": 521}


def test_and_from_the_demos(demo_iin: Checkpoint, demo_identities: list[Identity], golden_identity: Identity) -> None:
    """Its own identities wholly; of a foreign one what its 33 dimensions hold."""
    for identity in demo_identities:
        assert privacy.attack(demo_iin, identity, size=SIZE)["cosine"] == pytest.approx(1, abs=1e-5)
    assert privacy.attack(demo_iin, golden_identity, size=SIZE)["cosine"] == pytest.approx(0.29, abs=0.05)


def test_it_is_the_files_own_person(
    golden_folded: FoldedIDN, golden_iin: Checkpoint, golden_identity: Identity
) -> None:
    """Not one that the checkpoint alone would give: without the modulation nothing is found."""
    stored = {name: golden_folded.weights()[name][:, :, 0, 0].astype(np.float64) for name in privacy.LAYERS}
    right, _, _ = privacy.recover(stored, golden_iin.tensors)
    shared = {name: golden_iin.tensors[f"{key}.weight"][:, :, 0, 0] for name, key in privacy.LAYERS.items()}
    wrong, _, _ = privacy.recover({k: v.astype(np.float64) for k, v in shared.items()}, golden_iin.tensors)
    assert cosine(right, golden_identity.embedding) > 0.999999
    assert abs(cosine(wrong, golden_identity.embedding)) < 0.5


@pytest.mark.parametrize("signs", [(1, 1), (-1, 1), (1, -1)])
def test_gains_are_found_up_to_a_factor(signs: tuple[int, int]) -> None:
    random = np.random.default_rng(0)
    shared, gain = random.normal(size=(20, 7)), random.uniform(0.2, 3, 7)
    gain[0] *= signs[0]
    row = signs[1] * random.uniform(0.1, 2, 20)
    found = privacy.gains(shared * gain * row[:, None], shared)
    assert abs(cosine(found, gain)) == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize("name", sorted(target.registered()))
def test_every_artefact_says_what_it_is(
    name: str, golden_iin: Checkpoint, golden_identity: Identity, tmp_path: Path
) -> None:
    compiled = mfs_edge.compile(
        identity=golden_identity, checkpoint=golden_iin, target=name, size=SIZE, out=tmp_path, verify=False
    )
    (artefact,) = compiled.manifest.artefacts
    assert "biometric data" in target.get(name).read(tmp_path / artefact.file).metadata["notice"]
    assert "biometric data" in json.loads((tmp_path / "manifest.json").read_text())["notice"]


def test_nowhere_is_a_hash_said_to_hide_a_face() -> None:
    """In what users read: the pages, the code's own words, and what the artefacts and manifests say."""
    claims = re.compile(
        r"without revealing|by (a )?hash only|as a hash only|hides? the (face|person|identity)|anonymous", re.I
    )
    pages = [ROOT / "README.md", *ROOT.glob("docs/*.md"), *ROOT.glob("mfs_edge/**/*.py"), *ROOT.glob("targets/**/*.py")]
    assert len(pages) > 100
    found = {str(page.relative_to(ROOT)): claims.search(" ".join(page.read_text().split())) for page in pages}
    assert not {name: match for name, match in found.items() if match}


def test_the_numbers_of_the_page_are_those_measured(golden_iin: Checkpoint, golden_identity: Identity) -> None:
    found = privacy.attack(golden_iin, golden_identity, size=SIZE)
    assert f"| {found['cosine']:.6f} | {found['rank']} |" in (ROOT / "docs" / "privacy.md").read_text()
