"""Reading in a child process that survives nothing and costs nothing: it is started anew."""

from __future__ import annotations

import json
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from tests.fuzz.registry import Harness, Sample

HANG = 10.0
_STUCK = 90.0  # seconds of wall-clock time, on a machine that may be busy with other things
_ROOT = Path(__file__).parents[2]
ACCEPTED = ("read", "refused")
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Verdict:
    """How reading one file ended: "read", "refused" or what must not be, in words."""

    outcome: str  # or "foreign", "grew", "reached out", "crashed", "hung"
    detail: str = ""
    place: str = ""  # FILE:FUNCTION of this project

    @property
    def accepted(self) -> bool:
        return self.outcome in ACCEPTED

    @property
    def signature(self) -> tuple[str, str, str]:
        """The same for what is most likely the same fault."""
        return self.outcome, self.detail.partition(":")[0] if self.outcome == "foreign" else "", self.place


class Pool:
    """One child that reads for any harness; a context manager."""

    def __init__(self, hang: float = HANG) -> None:
        self.hang = hang  # seconds of processor time that one file may take
        self.folder = Path(tempfile.mkdtemp(prefix="fuzz-"))
        self._child: subprocess.Popen[bytes] | None = None
        self._warm: set[str] = set()

    def __enter__(self) -> Pool:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._kill()
        shutil.rmtree(self.folder)

    def judge(self, harness: Harness, sample: Sample, data: bytes) -> Verdict:
        """Have ``data`` read, with what lies beside it in ``sample``."""
        self.warm(harness)
        return self._ask(harness, sample, data, warm=False)

    def warm(self, harness: Harness) -> list[Verdict]:
        """Have the samples read once by this child, without limits: whatever is imported is imported."""
        if self._child is None:
            self._start()
        if harness.address in self._warm:
            return []
        self._warm.add(harness.address)
        return [self._ask(harness, sample, sample.data, warm=True) for sample in harness.samples()]

    def _ask(self, harness: Harness, sample: Sample, data: bytes, *, warm: bool) -> Verdict:
        path = self._lay_out(harness, sample, data)
        child = self._child
        assert child is not None
        assert child.stdin is not None
        asked = {"reader": harness.address, "path": str(path), "warm": warm}
        child.stdin.write(json.dumps(asked).encode() + b"\n")
        child.stdin.flush()
        return self._answer(child, limit=None if warm else self.hang)

    def _lay_out(self, harness: Harness, sample: Sample, data: bytes) -> Path:
        """In place of the last; a new file each time, as an old one may still be mapped."""
        folder = self.folder / "case"
        shutil.rmtree(folder, ignore_errors=True)
        for name, content in {**sample.beside, harness.file: data}.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(content)
        return folder / harness.file

    def _answer(self, child: subprocess.Popen[bytes], limit: float | None) -> Verdict:
        assert child.stdout is not None
        begun, used = time.monotonic(), _processor_seconds(child.pid)
        while not select.select([child.stdout], [], [], 0.5)[0]:
            busy = _processor_seconds(child.pid) - used
            if time.monotonic() - begun > _STUCK or (limit is not None and busy > limit):
                self._kill()
                return Verdict("hung", f"{busy:.0f} s of processor time and no end")
        line = child.stdout.readline()
        if line:
            return Verdict(**json.loads(line))
        code = child.wait()
        self._kill()
        return Verdict("crashed", signal.Signals(-code).name if code < 0 else f"exit status {code}")

    def _start(self) -> None:
        threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MALLOC_ARENA_MAX"), "1")
        self._child = subprocess.Popen(
            [sys.executable, "-m", "tests.fuzz.child"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=_ROOT,
            env={**os.environ, **threads},
        )

    def _kill(self) -> None:
        if self._child is not None:
            self._child.kill()
            self._child.wait()
            for pipe in filter(None, (self._child.stdin, self._child.stdout)):
                pipe.close()
        self._child, self._warm = None, set()


def _processor_seconds(pid: int) -> float:
    """Of all of a process's threads; Linux's account."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except FileNotFoundError:  # it is gone, which its pipe tells
        return 0.0
    return (int(fields[11]) + int(fields[12])) / _TICKS
