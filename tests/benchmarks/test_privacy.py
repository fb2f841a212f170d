"""That the person can be computed back from an artefact is measured, and told wherever it matters."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import mfs_edge
from benchmarks import peerlib, privacy, privacy_features, privacy_held, privacy_links, privacy_local, privacy_regressor
from mfs_edge import target
from mfs_edge.fold import FoldedIDN, fold
from mfs_edge.load.checkpoint import Checkpoint
from mfs_edge.load.identity import Identity

ROOT = Path(__file__).parents[2]
SIZE = 32


PAGE = ROOT / "docs" / "privacy.md"
RESULTS: dict[str, Any] = json.loads((ROOT / "benchmarks" / "results" / "privacy.json").read_text())
cosine = privacy_local.cosine


def test_the_embedding_comes_back_from_the_plain_form(golden_iin: Checkpoint, golden_identity: Identity) -> None:
    found = privacy.attack(golden_iin, golden_identity)
    assert found == {"cosine": pytest.approx(1, abs=1e-6), "equations": 1891, "unknowns": 521, "rank": 521}


def test_and_from_the_demos(demo_iin: Checkpoint, demo_identities: list[Identity], golden_identity: Identity) -> None:
    """Its own identities wholly; of a foreign one what its 33 dimensions hold."""
    for identity in demo_identities:
        assert privacy.attack(demo_iin, identity)["cosine"] == pytest.approx(1, abs=1e-5)
    assert privacy.attack(demo_iin, golden_identity)["cosine"] == pytest.approx(0.29, abs=0.05)


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


# --- the identity-local form ---------------------------------------------------------------


@pytest.fixture(scope="module")
def attack(golden_iin: Checkpoint) -> privacy_local.Attack:
    return privacy_local.Attack(golden_iin)


@pytest.fixture(scope="module")
def stranger(golden_identity: Identity) -> Identity:
    """Of an embedding that lies anywhere, and another feature map."""
    random = np.random.default_rng(16)
    embedding = random.standard_normal(512)
    mixed = golden_identity.feature_map * random.uniform(0.5, 1.5, (512, 7, 7)) + random.normal(0, 0.1, (512, 7, 7))
    return Identity((embedding / np.linalg.norm(embedding)).astype(np.float32), mixed.astype(np.float32))


@pytest.mark.parametrize(("precision", "least"), [("fp32", 0.999999), ("fp16", 0.999), ("int8", 0.97)])
def test_the_embedding_comes_back_from_demodulations_and_kernels(
    attack: privacy_local.Attack,
    golden_folded: FoldedIDN,
    golden_identity: Identity,
    precision: str,
    least: float,
) -> None:
    found = attack.by_kernels(privacy_held.held(golden_folded, precision))
    assert cosine(found, golden_identity.embedding) > least
    assert np.linalg.norm(found) == pytest.approx(1, abs=0.03)


def test_the_numbers_are_those_of_a_written_file(golden_iin: Checkpoint, golden_identity: Identity) -> None:
    written = privacy.held_by(golden_iin, golden_identity, "fp32")
    expected = privacy_held.held(fold(golden_iin, golden_identity), "fp32")
    for found, kernel in zip(written.encoder, expected.encoder, strict=True):
        np.testing.assert_allclose(found, kernel, rtol=1e-6)
    np.testing.assert_allclose(written.deepest, expected.deepest, rtol=1e-6)
    np.testing.assert_allclose(written.last, expected.last, rtol=1e-6)


def test_of_whoever_is_in_the_file(
    attack: privacy_local.Attack, golden_iin: Checkpoint, golden_identity: Identity, stranger: Identity
) -> None:
    found = attack.by_kernels(privacy.held_by(golden_iin, stranger, "fp32"))
    assert cosine(found, stranger.embedding) > 0.999999
    assert abs(cosine(found, golden_identity.embedding)) < 0.2


@pytest.mark.parametrize("precision", privacy_local.NOISE)
def test_half_of_it_from_the_deepest_demodulations_alone(
    attack: privacy_local.Attack, golden_folded: FoldedIDN, golden_identity: Identity, precision: str
) -> None:
    """256 equations for 512 unknowns: a cosine of about the square root of a half, and no more."""
    found = attack.by_squares(privacy_held.held(golden_folded, precision))
    assert cosine(found, golden_identity.embedding) == pytest.approx(0.5**0.5, abs=0.05)


@pytest.mark.parametrize("precision", privacy_local.NOISE)
def test_and_all_of_the_demos(demo_iin: Checkpoint, demo_identities: list[Identity], precision: str) -> None:
    attack = privacy_local.Attack(demo_iin)
    for identity in demo_identities[:2]:
        held = privacy_held.held(fold(demo_iin, identity), precision)
        assert cosine(attack.by_squares(held), identity.embedding) > 0.99
    assert cosine(attack.by_steps(held, np.zeros(512)), identity.embedding) > 0.99


def test_what_is_read_off_a_file_are_the_demodulations(golden_folded: FoldedIDN) -> None:
    for precision, most in (("fp32", 1e-7), ("fp16", 5e-4), ("int8", 8e-3)):
        held = privacy_held.held(golden_folded, precision)
        np.testing.assert_allclose(held.deepest, golden_folded.encoder[-1].demodulation, rtol=most)
        np.testing.assert_allclose(held.last, golden_folded.decoder[-1].demodulation, rtol=most)


def test_rounding_is_that_of_files() -> None:
    values = np.array([[0.1, -1.0, 0.5], [0.0, 0.0, 0.0], [3e-9, 1e-9, -2e-9]])
    np.testing.assert_array_equal(privacy_held.rounded(values, "fp32"), values.astype(np.float32))
    np.testing.assert_array_equal(privacy_held.rounded(values, "fp16"), values.astype(np.float16))
    coded = privacy_held.rounded(values, "int8")
    np.testing.assert_allclose(coded, [[13 / 127, -1, 64 / 127], [0, 0, 0], [3e-9, 42 * 3e-9 / 127, -85 * 3e-9 / 127]])


def test_a_regression_learns_it_too(
    golden_iin: Checkpoint, golden_identity: Identity, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From few identities less; from none of the right ones nothing: they are drawn anew and held out."""
    monkeypatch.setattr(privacy_regressor, "MAPS", 8)
    monkeypatch.setattr(privacy_regressor, "TEST", 20)
    found = []
    for count in (100, 800):
        monkeypatch.setattr(privacy_regressor, "TRAIN", count)
        found.append(privacy_regressor.row("", golden_iin, golden_identity.feature_map)["median"])
    assert found[0] < found[1] - 0.1
    assert found[1] > 0.4


def test_a_feature_map_is_the_shortest_that_fits(golden_iin: Checkpoint, golden_identity: Identity) -> None:
    """8,192 of its 25,088 dimensions: what is left is as good as nothing to the predictor, and not to ArcFace."""
    weight = golden_iin.tensors["predictor.first.weight"]
    found = privacy_features.shortest(weight, golden_identity.feature_map)
    again = privacy_features.shortest(weight, found.astype(np.float32))
    np.testing.assert_allclose(again, found, atol=1e-4)
    left = golden_identity.feature_map - found
    assert np.linalg.norm(privacy_features.shortest(weight, left.astype(np.float32))) < 1e-4 * np.linalg.norm(left)
    assert 0.4 < cosine(found, golden_identity.feature_map) < 0.8


def test_the_second_picture_of_a_person_is_another_one() -> None:
    first, second = privacy_links.picture(0), privacy_links.picture(0, again=True)
    assert 5 < np.abs(first - second).mean() < 50  # of 0..255
    np.testing.assert_array_equal(second, privacy_links.picture(0, again=True))


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
    found = privacy.attack(golden_iin, golden_identity)
    assert f"| {found['cosine']:.6f} | {found['rank']} |" in PAGE.read_text()
    assert RESULTS["plain"][0] == {"checkpoint": privacy.FULL, **found}


@pytest.mark.parametrize(("part", "digits"), [("local", 6), ("features", 2), ("links", 2)])
def test_the_tables_of_the_page_are_the_results(part: str, digits: int) -> None:
    """Where this fails, paste what it wants into the page."""
    rows = [
        {key: f"{value:.{digits}f}" if isinstance(value, float) else value for key, value in row.items()}
        for row in RESULTS[part]
    ]
    wanted = peerlib.markdown(rows)
    assert wanted in PAGE.read_text(), f"\n{wanted}"
