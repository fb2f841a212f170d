"""What the machine is, and how hot: read from the kernel.

It stands alone (Python 3.9, standard library): it travels to a device with the runner.
"""

from __future__ import annotations

import os
import platform
import re
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

# Zones of phones that hold a share in per cent, a current, a voltage or a step of a limiter.
_NO_TEMPERATURE = re.compile(r"[iv]bat|vph|bcl|lvl|step|capacity|percent|level|current|voltage|charge_", re.I)


def read(path: str | Path, default: str = "") -> str:
    """The text of a file of the kernel's, or ``default``."""
    try:
        with Path(path).open(encoding="utf-8", errors="replace") as file:
            return file.read().strip("\0\n ")
    except OSError:
        return default


def cpu_model() -> str:
    """The board or CPU as its kernel calls it."""
    board = read("/proc/device-tree/model")
    entries = dict(line.split(":", 1) for line in read("/proc/cpuinfo").splitlines() if ":" in line)
    names = {key.strip(): value.strip() for key, value in entries.items()}
    if board or "model name" in names:
        return board or names["model name"]
    if sys.platform == "darwin":
        with os.popen("sysctl -n machdep.cpu.brand_string") as pipe:
            return pipe.read().strip()
    part = f"implementer {names.get('CPU implementer', '?')} part {names.get('CPU part', '?')}"
    return names.get("Hardware") or (part if "CPU part" in names else platform.processor() or platform.machine())


def governor() -> str:
    """Of all cores, or an empty string where the kernel does not tell."""
    found = {read(path) for path in Path("/sys/devices/system/cpu").glob("cpu*/cpufreq/scaling_governor")}
    return "/".join(sorted(found - {""}))


def temperature() -> float | None:
    """Degrees Celsius of the hottest zone; None where the device does not tell."""
    zones = Path("/sys/class/thermal").glob("thermal_zone*")
    return hottest((read(zone / "type"), read(zone / "temp")) for zone in zones)


def hottest(zones: Iterable[tuple[str, str]]) -> float | None:
    """Degrees Celsius of the hottest of ``zones`` (type, reading); None if none of them holds a temperature.

    The kernel's unit is a thousandth of a degree; vendors also write tenths, whole degrees, per cent
    and nonsense under the same name. Zones in the kernel's unit are believed first, then tenths, then
    whole degrees: where one zone keeps to the unit, a small number beside it is most likely no temperature.
    """
    values = [int(text) for kind, text in zones if re.fullmatch(r"\d{1,9}", text) and not _is_other(kind, int(text))]
    for divisor, low, high in ((1000, 1000, 150_000), (10, 150, 1000), (1, 1, 150)):
        degrees = [value / divisor for value in values if low < value < high]
        if degrees:
            return max(degrees)
    return None


def _is_other(kind: str, value: int) -> bool:
    """Qualcomm's "soc" is the battery's state of charge; others call a chip so."""
    return bool(_NO_TEMPERATURE.search(kind)) or (kind == "soc" and value <= 100)


def first_of(cpus: Sequence[int]) -> str:
    """For a message: "3, 4, 5, 6, ...", however many there are."""
    return ", ".join(map(str, cpus[:4])) + (", ..." if len(cpus) > 4 else "")


def system() -> str:
    """The operating system and its kernel."""
    entries = dict(line.split("=", 1) for line in read("/etc/os-release").splitlines() if "=" in line)
    name = entries.get("PRETTY_NAME", platform.system()).strip('"')
    return f"{name}, {platform.system()} {platform.release()}"


def peak_rss() -> int:
    """Bytes this process has had resident at most.

    VmHWM starts anew with the program; ru_maxrss on Linux also counts the parent it was forked from.
    """
    for line in read("/proc/self/status").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
