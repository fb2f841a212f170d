"""How many CPUs this process really has: its affinity (a cpuset's too), and the quota of its control groups.

``docker run --cpus 1`` on 16 cores leaves 16 to be seen; whoever starts 4 threads there is throttled
and times that. It stands alone (Python 3.9, standard library), so that it can travel to a device.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterator
from pathlib import Path


def available() -> list[int]:
    """The CPUs this process may run on."""
    return sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else list(range(os.cpu_count() or 1))


def usable() -> int:
    """How many threads can compute at once without being throttled; at least 1."""
    granted = quota()
    return len(available()) if granted is None else max(1, min(len(available()), math.floor(granted + 1e-6)))


def limit() -> int:
    """Threads for a runtime that would start one per core, which a quota throttles; 0, its own choice, without one."""
    return 0 if quota() is None else usable()


def quota(root: Path = Path("/")) -> float | None:
    """Seconds of CPU per second that the tightest control group around this process grants; None without a limit.

    Args:
        root: where ``proc/self/cgroup`` and what it leads to are looked up.
    """
    found = [granted for group in _groups(root) for granted in (_granted(group),) if granted is not None]
    return min(found, default=None)


def _groups(root: Path) -> Iterator[Path]:
    """The folders of this process's own groups and of all groups around them, version 1 and 2."""
    paths = {}
    for line in _read(root / "proc/self/cgroup").splitlines():
        _, controllers, path = [*line.split(":", 2), "", ""][:3]
        if not controllers or "cpu" in controllers.split(","):
            paths["cgroup" if controllers else "cgroup2"] = path
    for line in _read(root / "proc/self/mountinfo").splitlines():
        left, _, right = line.partition(" - ")
        fields, kind = left.split(), right.split()
        if len(fields) < 5 or len(kind) < 3 or kind[0] not in paths:
            continue
        if kind[0] == "cgroup2" or "cpu" in kind[2].split(","):
            yield from _around(root / _unescaped(fields[4]).lstrip("/"), _unescaped(fields[3]), paths[kind[0]])


def _around(point: Path, mounted: str, path: str) -> Iterator[Path]:
    """From the group down to where the hierarchy is mounted; only the latter if the group lies outside of it."""
    parts = [part for part in path.split("/") if part]
    above = [part for part in mounted.split("/") if part]
    inside = parts[len(above) :] if parts[: len(above)] == above and ".." not in parts else []
    for length in range(len(inside), -1, -1):
        yield point.joinpath(*inside[:length])


def _granted(group: Path) -> float | None:
    """Version 2 says "200000 100000" or "max 100000" in one file, version 1 in two, with -1 for none."""
    words = _read(group / "cpu.max").split()
    if len(words) != 2:
        words = [_read(group / "cpu.cfs_quota_us"), _read(group / "cpu.cfs_period_us")]
    if not all(word.isdigit() for word in words) or int(words[1]) == 0:
        return None
    return int(words[0]) / int(words[1]) or None


def _unescaped(path: str) -> str:
    """mountinfo writes blanks as \\040."""
    return re.sub(r"\\([0-7]{3})", lambda found: chr(int(found.group(1), 8)), path)


def _read(path: Path) -> str:
    """What the kernel says there, or nothing."""
    try:
        return path.read_text(errors="replace").strip()
    except OSError:
        return ""
