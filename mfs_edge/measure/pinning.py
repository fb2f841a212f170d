"""Which CPUs a measurement runs on."""

from __future__ import annotations

import contextlib
import os
import re
import time
from dataclasses import replace
from pathlib import Path

from mfs_edge.base.errors import UsageError
from mfs_edge.measure.devices import THIS_MACHINE, Device, Request


def from_mask(mask: str | None) -> tuple[int, ...]:
    """The CPUs of a hexadecimal mask, ``f0`` being 4 to 7; none for None.

    Raises:
        UsageError: it is not one, or names no CPU.
    """
    if mask is None:
        return ()
    try:
        bits = int(mask, 16)
    except ValueError as error:
        raise UsageError(f"--cpu-mask {mask}: is not hexadecimal; f0 stands for CPUs 4 to 7") from error
    if bits <= 0:
        raise UsageError(f"--cpu-mask {mask}: names no CPU; f0 stands for CPUs 4 to 7")
    return tuple(cpu for cpu in range(bits.bit_length()) if bits >> cpu & 1)


def from_list(text: str) -> set[int]:
    """The CPUs of a kernel's list, ``0-3,6`` being 0 to 3 and 6; what is none of that counts for nothing."""
    found: set[int] = set()
    for first, last in re.findall(r"(\d{1,5})(?:-(\d{1,5}))?", text):
        found |= set(range(int(first), int(last or first) + 1))
    return found


def pinned(request: Request, device: Device) -> Request:
    """Both sides of a pair on the same CPUs: here, those that are least busy right now."""
    threads = request.threads or 1
    request = replace(request, threads=threads)
    if device.host != THIS_MACHINE or request.cpus:
        return request
    quiet = quiet_cpus(threads)
    return replace(request, cpus=quiet) if quiet else request


def quiet_cpus(count: int) -> tuple[int, ...]:
    """The ``count`` CPUs of this machine with the most idle time; none where that is unknown, or all are needed."""
    before = _idle()
    if len(before) <= count:
        return ()
    time.sleep(0.3)
    after = _idle()
    idle = sorted(before, key=lambda cpu: after.get(cpu, 0) - before[cpu], reverse=True)
    return tuple(sorted(idle[:count]))


def _idle() -> dict[int, int]:
    """Ticks that each CPU this process may use has idled."""
    allowed = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set()
    found = {}
    with contextlib.suppress(OSError):
        for line in Path("/proc/stat").read_text().splitlines():
            name, *ticks = line.split()
            if name.startswith("cpu") and name[3:].isdigit() and int(name[3:]) in allowed:
                found[int(name[3:])] = int(ticks[3])
    return found
