"""The process that reads hostile files, so that it may die of them: ``python -m tests.fuzz.child``.

A line of JSON in: ``reader`` (see ``registry.at``), ``path``, ``warm`` (no limits yet: whatever the
reader imports is not the file's doing). A line out: ``outcome``, ``detail``, ``place``.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import signal
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mfs_edge.base.errors import MfsEdgeError
from tests.fuzz import registry

GROWTH = 2**30  # bytes of memory that one file may take
_CEILING = 2 * GROWTH  # of address space: so that the machine survives what does not
_ROOT = Path(__file__).parents[2]
# What no reader does: start a process, or talk to another machine.
_OUTSIDE = ("os.system", "os.exec", "os.posix_spawn", "os.fork", "subprocess.Popen", "socket.connect", "ctypes.dlopen")


def main() -> None:
    """Serve until standard input ends."""
    replies = os.fdopen(os.dup(1), "w")
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)  # decoders and runtimes print what they like
    os.dup2(nowhere, 2)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's
    watch = _Watch()
    sys.addaudithook(watch.heard)
    for line in sys.stdin:
        asked = json.loads(line)
        with _limits(warm=asked["warm"]):
            told = _read(registry.at(asked["reader"]), Path(asked["path"]), watch, warm=asked["warm"])
        replies.write(json.dumps(told) + "\n")
        replies.flush()


class _Watch:
    """Hears what Python tells its audit hooks, while a reader runs."""

    def __init__(self) -> None:
        self.listening, self.events = False, list[str]()

    def heard(self, event: str, _arguments: Any) -> None:
        if self.listening and event in _OUTSIDE:
            self.events.append(event)


def _read(harness: registry.Harness, path: Path, watch: _Watch, *, warm: bool) -> dict[str, str]:
    before = _reset_peak()
    watch.events, watch.listening = [], not warm
    try:
        harness.read(path)
        told = {"outcome": "read", "detail": "", "place": ""}
    except MfsEdgeError as error:
        told = {"outcome": "refused", "detail": f"{type(error).__name__}: {error}", "place": _place(error)}
        if not warm and _ran_out(error):
            told["outcome"] = "grew"
    except BaseException as error:  # whatever else comes out is what is looked for
        outcome = "grew" if _ran_out(error) else "foreign"
        told = {"outcome": outcome, "detail": f"{type(error).__name__}: {error}"[:500], "place": _place(error)}
    watch.listening = False
    grown = _memory("VmHWM") - before
    if not warm and grown > GROWTH:
        told = {
            **told,
            "outcome": "grew",
            "detail": f"by {grown / 2**20:.0f} MB; then {told['outcome']}: {told['detail']}",
        }
    if watch.events:
        told = {**told, "outcome": "reached out", "detail": ", ".join(sorted(set(watch.events)))}
    return told


@contextlib.contextmanager
def _limits(*, warm: bool) -> Iterator[None]:
    """A ceiling of address space above what the process has now."""
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    if not warm:
        resource.setrlimit(resource.RLIMIT_AS, (_memory("VmSize") + _CEILING, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (hard, hard))


def _memory(field: str) -> int:
    """Bytes, from Linux's account of this process."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError(f"/proc/self/status has no {field}")


def _reset_peak() -> int:
    """Bytes resident now; ``VmHWM`` counts from here."""
    Path("/proc/self/clear_refs").write_text("5")
    return _memory("VmRSS")


def _ran_out(error: BaseException) -> bool:
    """Whether the ceiling was met, however it was told."""
    seen: BaseException | None = error
    while seen is not None:
        text = str(seen)
        if isinstance(seen, MemoryError) or any(words in text for words in ("alloc", "nsufficient memory", "ENOMEM")):
            return True
        seen = seen.__cause__ or seen.__context__
    return False


def _place(error: BaseException) -> str:
    """The innermost function of this project that the exception came through."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename.startswith(str(_ROOT))]
    ours = [frame for frame in frames if "/.venv/" not in frame.filename and "/tests/fuzz/" not in frame.filename]
    if not ours:
        return ""
    return f"{Path(ours[-1].filename).relative_to(_ROOT)}:{ours[-1].name}"


if __name__ == "__main__":
    main()
