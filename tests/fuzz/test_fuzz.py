"""Every reader on files that nobody wrote: it reads them or refuses them, in time and in bounds.

A minute's worth of edits, the same ones each time; ``make fuzz`` makes others, for as long as one likes. What
was found once lies in ``corpus/READER/`` and is read again by :func:`test_what_was_found_once`.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fuzz import broken, registry
from tests.fuzz.hunt import CORPUS, Finding, Hunt, kept, replay
from tests.fuzz.pool import Pool, Verdict

HARNESSES = registry.harnesses()
EXAMPLES = 5000  # over all readers
_SHARES = sum(harness.share for harness in HARNESSES.values())
_FOUND = sorted(path for path in CORPUS.rglob("*") if path.is_file())


@pytest.fixture(scope="module")
def pool() -> Iterator[Pool]:
    with Pool() as made:
        yield made


@pytest.fixture(scope="module")
def impatient() -> Iterator[Pool]:
    with Pool(hang=3.0) as made:
        yield made


def accepted(harness: registry.Harness, data: bytes, verdict: Verdict, folder: Path) -> None:
    if not verdict.accepted:
        finding = Finding(harness.name, verdict, data)
        pytest.fail(f"{finding}; mend the reader and keep {finding.save(folder)} in {CORPUS.name}/{harness.name}/")


@pytest.mark.parametrize("name", HARNESSES)
def test_edited_files_are_read_or_refused(name: str, pool: Pool, tmp_path: Path) -> None:
    harness = HARNESSES[name]
    sound = pool.warm(harness)
    hunt = Hunt(harness, pool)
    hunt.run(max(20, round(EXAMPLES * harness.share / _SHARES)), seed=0)
    for finding in hunt.found.values():
        accepted(harness, finding.data, finding.verdict, tmp_path)
    assert hunt.tally.total() > 10
    assert all(verdict.accepted for verdict in sound)


@pytest.mark.parametrize("path", _FOUND, ids=[str(path.relative_to(CORPUS)) for path in _FOUND])
def test_what_was_found_once(path: Path, pool: Pool, tmp_path: Path) -> None:
    harness = HARNESSES[path.parent.name]
    for verdict in replay(harness, pool, kept(path)):
        accepted(harness, kept(path), verdict, tmp_path)


@pytest.mark.parametrize("name", [name for name, harness in HARNESSES.items() if harness.known is not tuple])
def test_hostile_files_that_are_made(name: str, pool: Pool, tmp_path: Path) -> None:
    harness = HARNESSES[name]
    for data in harness.known():
        for verdict in replay(harness, pool, data):
            accepted(harness, data, verdict, tmp_path)


def test_sound_files_are_sound(pool: Pool) -> None:
    """Where every sample is refused, edits of them go nowhere; only checkpoints are cut down too far to be taken."""
    for name, harness in HARNESSES.items():
        outcomes = {pool.judge(harness, sample, sample.data).outcome for sample in harness.samples()}
        assert "read" in outcomes or name.startswith("checkpoint"), name


@pytest.mark.parametrize(("said", "outcome"), [*broken.FAULTS.items(), (broken.SOUND, "read"), (b"other", "refused")])
def test_what_no_reader_may_do_is_noticed(said: bytes, outcome: str, impatient: Pool) -> None:
    """By a child that is there again afterwards."""
    harness = registry.at(broken.ADDRESS)
    assert replay(harness, impatient, said)[0].outcome == outcome
    assert replay(harness, impatient, broken.SOUND)[0].outcome == "read"


def test_a_fault_is_found_and_its_bytes_are_kept(tmp_path: Path, impatient: Pool) -> None:
    hunt = Hunt(registry.at(broken.ADDRESS), impatient)
    hunt.run(600, seed=1)
    (finding,) = hunt.found.values()
    assert finding.verdict.outcome == "foreign"
    assert finding.data.startswith(broken.INDEX)
    saved = finding.save(tmp_path)
    assert saved.parent.name == "broken"
    assert kept(saved) == finding.data
    assert hunt.tally["refused"] > 100
