"""The fuzzed program: a small network as C, compiled by clang with libFuzzer and the sanitisers."""

from __future__ import annotations

import os
import random
import struct
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from mfs_edge.targets.native import NativeTarget

from mfs_edge.target import EmitOptions
from tests.targets.native.test_family import Builder

HERE = Path(__file__).parent
CORPUS = HERE / "corpus"
SANITISERS = "-fsanitize=fuzzer,address,undefined,float-cast-overflow"
WIDTHS = ([5, 7, 18, 6, 9], [8, 20, 4, 6], [5, 4, 7, 3, 2], 4)  # small, and no multiple of anything
# One allocation is limited, all of them are not: what libFuzzer takes for its own peak is, on Linux, that of whoever
# started it (ru_maxrss outlives exec), gigabytes behind a long run of tests. Leaks AddressSanitizer tells by itself; it
# keeps what was freed for a while, less of it here than it would.
MEMORY = ("-malloc_limit_mb=256", "-rss_limit_mb=0")
ASAN = "quarantine_size_mb=32"
PLAN = struct.Struct("<4B3bB5H6B")  # as in idn_fuzz.c
OPEN, FIXED = 0, 1 | 2 | 64  # of ``kind``: as edited; with sums, bases and headers put right


@dataclass(frozen=True)
class Fuzzer:
    """The program, and the sound weights that it edits."""

    program: Path
    weights: Path

    def run(self, *, seconds: int, seed: int, found: Path) -> tuple[int, str]:
        """libFuzzer's exit code and last words.

        Args:
            found: the folder for inputs that do what they may not.
        """
        inputs = self.program.with_name("inputs")
        inputs.mkdir(exist_ok=True)
        for number, content in enumerate(seeds()):
            (inputs / f"seed-{number}").write_bytes(content)
        found.mkdir(parents=True, exist_ok=True)
        limits = [f"-max_total_time={seconds}", "-max_len=512", "-timeout=20", *MEMORY]
        command = [str(self.program), *limits, f"-seed={seed}", f"-artifact_prefix={found}/", str(inputs), str(CORPUS)]
        return self._call(command)

    def replay(self, path: Path) -> tuple[int, str]:
        """One input again."""
        return self._call([str(self.program), str(path)])

    def _call(self, command: list[str]) -> tuple[int, str]:
        given = os.environ | {"IDN_FUZZ_WEIGHTS": str(self.weights), "UBSAN_OPTIONS": "print_stacktrace=1"}
        given |= {"ASAN_OPTIONS": ASAN}
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False, env=given)
        return done.returncode, "\n".join(done.stderr.splitlines()[-30 if done.returncode else -3 :])


def build(folder: Path, *, edit: Callable[[str], str] = lambda source: source, expected: str = "") -> Fuzzer:
    """The program in ``folder``; ``edit`` plants a fault where ``expected`` stands."""
    made = folder / "small.idn"
    NativeTarget().emit(Builder(3, 32).model(*WIDTHS), made, EmitOptions())
    source = (made / "idn.c").read_text()
    assert expected in source
    (made / "idn.c").write_text(edit(source))
    program = folder / "idn_fuzz"
    flags = ["-std=c11", "-O1", "-g", SANITISERS, "-fno-sanitize-recover=all", f"-I{made}"]
    command = ["clang", *flags, str(made / "idn.c"), str(HERE / "idn_fuzz.c"), "-o", str(program)]
    subprocess.run(command, check=True)
    return Fuzzer(program, made / "idn.weights")


def seeds() -> list[bytes]:
    """Inputs that reach every way in: each function, format and instruction set, sums as they are and put right."""
    drawn = random.Random(0)
    made = []
    for kind in (OPEN, FIXED, FIXED | 4, FIXED | 4 | 32, FIXED | 8, FIXED | 16, FIXED | 4 | 16):
        for cpu in range(3):
            formats = (drawn.randrange(4), drawn.randrange(4), drawn.choice((0, 4)))
            plan = PLAN.pack(
                kind, drawn.randrange(12), cpu, drawn.randrange(4), *formats, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0
            )
            edits = b"".join(struct.pack("<If", drawn.randrange(2**20), drawn.uniform(-2, 2)) for _ in range(3))
            made += [plan, plan + edits]
    for value in (float("nan"), float("inf"), 3e38, 1e-42, 0.0):
        plan = PLAN.pack(FIXED, 0, 2, 0, 1, 2, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)
        made.append(plan + b"".join(struct.pack("<If", 97 * i, value) for i in range(40)))
    return made
