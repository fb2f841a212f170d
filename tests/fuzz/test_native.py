"""A minute of libFuzzer on the generated C; ``make fuzz`` runs it for longer."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fuzz.native import harness
from tests.targets.native.conftest import tools

__all__ = ["tools"]
SECONDS = 60
KEPT = sorted(path for path in harness.CORPUS.iterdir() if path.name != ".gitkeep")


@pytest.fixture(scope="module")
def fuzzer(tools: None, tmp_path_factory: pytest.TempPathFactory) -> harness.Fuzzer:
    return harness.build(tmp_path_factory.mktemp("fuzz"))


def test_nothing_is_found(fuzzer: harness.Fuzzer, tmp_path: Path) -> None:
    code, said = fuzzer.run(seconds=SECONDS, seed=1, found=tmp_path / "found")
    assert code == 0, f"{said}\n{[path.read_bytes().hex() for path in (tmp_path / 'found').iterdir()]}"
    assert "Done" in said


@pytest.mark.parametrize("path", KEPT, ids=lambda path: path.name)
def test_what_was_found_once(fuzzer: harness.Fuzzer, path: Path) -> None:
    code, said = fuzzer.replay(path)
    assert code == 0, said


def test_the_seeds_reach_what_is_computed(fuzzer: harness.Fuzzer, tmp_path: Path) -> None:
    """An input that a bug would stop at: the same program, with one planted behind the checksums."""
    (tmp_path / "seed").write_bytes(harness.seeds()[2])
    assert fuzzer.replay(tmp_path / "seed")[0] == 0
