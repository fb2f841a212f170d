"""A long run over every reader: ``make fuzz``, or ``python -m tests.fuzz --examples 100000 [READER ...]``."""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from pathlib import Path

from tests.fuzz import registry
from tests.fuzz.hunt import Hunt
from tests.fuzz.pool import Pool


def main() -> None:
    """Print a line per reader and finding; exit 1 if there was one."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("readers", nargs="*", help="names, or how they begin; all by default")
    parser.add_argument("--examples", type=int, default=100_000, help="over all of these readers")
    parser.add_argument("--seed", type=int, default=None, help="of the edits; another one each time by default")
    parser.add_argument("--found", type=Path, default=Path("build/fuzz"), help="where the bytes of findings go")
    given = parser.parse_args()
    seed = int(time.time()) if given.seed is None else given.seed
    chosen = [h for name, h in registry.harnesses().items() if name.startswith(tuple(given.readers or [""]))]
    if not chosen:
        parser.error(f"no such reader; there are {', '.join(registry.harnesses())}")
    sys.stdout.write(f"{given.examples} examples over {len(chosen)} readers, seed {seed}\n")
    raise SystemExit(1 if _all(chosen, given.examples, seed, given.found) else 0)


def _all(chosen: list[registry.Harness], examples: int, seed: int, folder: Path) -> int:
    """How many faults were found."""
    total: Counter[str] = Counter()
    faults, shares = 0, sum(harness.share for harness in chosen)
    with Pool() as pool:
        for harness in chosen:
            begun, hunt = time.monotonic(), Hunt(harness, pool)
            hunt.run(max(1, round(examples * harness.share / shares)), seed)
            counts = ", ".join(f"{count} {outcome}" for outcome, count in hunt.tally.most_common())
            sys.stdout.write(f"{harness.name}: {counts}; {time.monotonic() - begun:.0f} s\n")
            for finding in hunt.found.values():
                sys.stdout.write(f"  {finding}\n  {finding.save(folder)}\n")
            sys.stdout.flush()
            faults, total = faults + len(hunt.found), total + hunt.tally
    sys.stdout.write(f"{total.total()} files read: {dict(total.most_common())}; {faults} faults\n")
    return faults


if __name__ == "__main__":
    main()
