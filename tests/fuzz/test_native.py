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


def test_what_was_found_once(fuzzer: harness.Fuzzer, tmp_path: Path) -> None:
    """And the inputs that every run begins with, one by one."""
    begun = [tmp_path / f"seed-{number}" for number in range(len(harness.seeds()))]
    for path, content in zip(begun, harness.seeds(), strict=True):
        path.write_bytes(content)
    for path in (*KEPT, *begun):
        code, said = fuzzer.replay(path)
        assert code == 0, f"{path.name}: {said}"


@pytest.mark.parametrize(
    ("check", "without"),
    [
        ("!in->data || !out->data", "!in->data"),
        ("if (bytes < IDN_ARENA_BYTES(workers)) return IDN_EARENA;", ""),
        ("if (memory_bytes < IDN_EXPANDED_BYTES) return IDN_EMEMORY;", ""),
        ("*model = found;\n  return status;", "*model = found;\n  else model->cpu = 0;\n  return status;"),
    ],
    ids=["null", "arena", "memory", "written on error"],
)
def test_a_planted_fault_is_found(tools: None, tmp_path: Path, check: str, without: str) -> None:
    planted = harness.build(tmp_path, edit=lambda source: source.replace(check, without), expected=check)
    code, _ = planted.run(seconds=60, seed=1, found=tmp_path / "found")
    assert code != 0
    assert list((tmp_path / "found").iterdir())
