"""Feed a harness with edits until it does something that no reader may do; keep the bytes that made it do so."""

from __future__ import annotations

import gzip
import hashlib
import warnings
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import hypothesis
from hypothesis import HealthCheck, Phase, Verbosity, given, settings
from hypothesis import strategies as st
from hypothesis.errors import HypothesisWarning

from tests.fuzz import edits
from tests.fuzz.pool import Pool, Verdict
from tests.fuzz.registry import Harness, Sample

PIECE = 1000  # examples of one run of hypothesis, whose memory of them grows
CORPUS = Path(__file__).parent / "corpus"
PLAIN, PACKED = 2048, ".gz"  # bytes up to which a finding is kept as it is, and what larger ones end in
_TOO_DEAR = ("hung", "grew")  # to be made smaller, each try costs seconds


@dataclass(frozen=True)
class Case:
    """Edited bytes, and the sample that they were."""

    sample: Sample
    data: bytes

    def __repr__(self) -> str:  # hypothesis would spell all of it out
        return f"{len(self.data)} bytes"


@dataclass(eq=False)
class Finding(Exception):
    """What a reader did, and the bytes it did it with."""

    reader: str
    verdict: Verdict
    data: bytes

    def __str__(self) -> str:
        told, detail = self.verdict, " ".join(self.verdict.detail.split())[:200]
        return f"{self.reader}: {told.outcome} {detail} at {told.place or '?'}, {len(self.data)} bytes"

    def save(self, folder: Path) -> Path:
        """Write the bytes as ``corpus/`` keeps them: READER/what-hash, the larger ones as ``.gz``."""
        words = [self.verdict.outcome, *self.verdict.signature[1:]]
        plain = "-".join("".join(c if c.isalnum() else "-" for c in Path(word).name) for word in words if word)
        path = folder / self.reader / f"{plain}-{hashlib.sha256(self.data).hexdigest()[:8]}"
        path.parent.mkdir(parents=True, exist_ok=True)
        if len(self.data) > PLAIN:
            path = path.with_name(f"{path.name}{PACKED}")
        path.write_bytes(gzip.compress(self.data, mtime=0) if len(self.data) > PLAIN else self.data)
        return path


@dataclass
class Hunt:
    """One reader's share of a run."""

    harness: Harness
    pool: Pool
    tally: Counter[str] = field(default_factory=Counter)  # outcome -> how often
    found: dict[tuple[str, str, str], Finding] = field(default_factory=dict)

    def run(self, examples: int, seed: int) -> None:
        """``examples`` edits, the same ones for the same ``seed``; what is found is made smaller and kept."""
        for number, size in enumerate(_pieces(examples)):
            for attempt in range(5):  # a piece ends at something new, and is then begun with other edits
                try:
                    self._piece(size, seed + 1000 * number + attempt)
                except Finding as finding:
                    self.found[finding.verdict.signature] = finding
                else:
                    break

    def _piece(self, examples: int, seed: int) -> None:
        @hypothesis.seed(seed)
        @settings(
            max_examples=examples,
            database=None,
            deadline=None,
            phases=[Phase.generate, Phase.shrink],
            suppress_health_check=list(HealthCheck),
            report_multiple_bugs=False,
            print_blob=False,
            verbosity=Verbosity.quiet,
        )
        @given(cases(self.harness))
        def read(case: Case) -> None:
            self._one(case)

        with warnings.catch_warnings():
            warnings.simplefilter("ignore", HypothesisWarning)  # files are large to spell out, which nobody does
            read()

    def _one(self, case: Case) -> None:
        verdict = self.pool.judge(self.harness, case.sample, case.data)
        self.tally[verdict.outcome] += 1
        if verdict.accepted or verdict.signature in self.found:
            return
        finding = Finding(self.harness.name, verdict, case.data)
        if verdict.outcome in _TOO_DEAR:
            self.found[verdict.signature] = finding
            return
        raise finding


def _pieces(examples: int) -> Iterator[int]:
    for done in range(0, examples, PIECE):
        yield min(PIECE, examples - done)


def cases(harness: Harness) -> st.SearchStrategy[Case]:
    """A sample with an edit of its bytes, of those that know the format more often than of those that do not."""
    samples = harness.samples()

    def edited(sample: Sample) -> st.SearchStrategy[Case]:
        blind = edits.blind(sample.data, tuple(other.data for other in samples))
        aware = [structure(sample.data) for structure in harness.structures]
        return st.one_of(blind, *aware, *aware).map(lambda data: Case(sample, data))

    return st.one_of([edited(sample) for sample in samples])


def kept(path: Path) -> bytes:
    """What :meth:`Finding.save` wrote."""
    content = path.read_bytes()
    return gzip.decompress(content) if path.suffix == PACKED else content


def replay(harness: Harness, pool: Pool, data: bytes) -> list[Verdict]:
    """What becomes of bytes that were found once, beside each sample's other files."""
    distinct = {tuple(sorted(sample.beside.items())): sample for sample in harness.samples()}
    return [pool.judge(harness, sample, data) for sample in distinct.values()]
