"""libFuzzer on the generated C: ``python -m tests.fuzz.native --seconds 600``; a part of ``make fuzz``.

What it finds lies in ``build/fuzz/native``; keep it in ``tests/fuzz/native/corpus`` when it is mended.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from tests.fuzz.native import harness


def main() -> None:
    """Print what libFuzzer says in the end; exit 1 if it found something."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz.native", description=__doc__)
    parser.add_argument("--seconds", type=int, default=600)
    parser.add_argument("--seed", type=int, default=0, help="0: another one each time")
    parser.add_argument("--found", type=Path, default=Path("build/fuzz/native"), help="where inputs of findings go")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        built = harness.build(Path(folder))
        code, said = built.run(seconds=given.seconds, seed=given.seed, found=given.found)
    sys.stdout.write(f"{said}\n")
    raise SystemExit(1 if code else 0)


if __name__ == "__main__":
    main()
