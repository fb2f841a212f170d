"""A container's quota, from trees as kernels and container engines lay them out."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from mfs_edge.base import cpus

V2 = "31 23 0:28 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate"
V1 = "32 31 0:29 {root} /sys/fs/cgroup/cpu,cpuacct rw,relatime - cgroup cgroup rw,cpu,cpuacct"
V1_OTHER = "33 31 0:30 / /sys/fs/cgroup/cpuset rw,relatime - cgroup cgroup rw,cpuset"
HYBRID = "34 31 0:31 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw"
ROOM = "sys/fs/cgroup"


def tree(root: Path, groups: str, mounts: str, files: Mapping[str, str]) -> Path:
    for name, text in {"proc/self/cgroup": groups, "proc/self/mountinfo": mounts, **files}.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(f"{text}\n")
    return root


def v1(folder: str, quota: int, period: int = 100_000) -> dict[str, str]:
    room = f"{ROOM}/cpu,cpuacct/{folder}"
    return {f"{room}/cpu.cfs_quota_us": str(quota), f"{room}/cpu.cfs_period_us": str(period)}


CASES = {
    "none": ("0::/user.slice", V2, {f"{ROOM}/user.slice/cpu.max": "max 100000"}, None),
    "docker --cpus 1": ("0::/", V2, {f"{ROOM}/cpu.max": "100000 100000"}, 1.0),
    "another period": ("0::/", V2, {f"{ROOM}/cpu.max": "150000 50000"}, 3.0),
    "less than one": ("0::/", V2, {f"{ROOM}/cpu.max": "25000 100000"}, 0.25),
    "the group around is tighter": (
        *("0::/kubepods/pod7/c1", V2),
        {
            **{f"{ROOM}/kubepods/cpu.max": "max 100000", f"{ROOM}/kubepods/pod7/cpu.max": "200000 100000"},
            f"{ROOM}/kubepods/pod7/c1/cpu.max": "400000 100000",
        },
        2.0,
    ),
    "its own is tighter": (
        *("0::/a/b", V2),
        {f"{ROOM}/a/cpu.max": "800000 100000", f"{ROOM}/a/b/cpu.max": "150000 100000"},
        1.5,
    ),
    "a group beside is not ours": (
        *("0::/a", V2),
        {f"{ROOM}/a/cpu.max": "max 100000", f"{ROOM}/b/cpu.max": "100000 100000"},
        None,
    ),
    "a namespace whose group lies outside": ("0::/../other", V2, {f"{ROOM}/cpu.max": "300000 100000"}, 3.0),
    "a mount point with a blank": (
        *("0::/", V2.replace("/sys/fs/cgroup", "/sys/my\\040groups")),
        {"sys/my groups/cpu.max": "100000 100000"},
        1.0,
    ),
    "version 1": ("4:cpu,cpuacct:/docker/7\n3:cpuset:/", V1.format(root="/"), v1("docker/7", 250_000), 2.5),
    "version 1 without a limit": ("4:cpu,cpuacct:/", V1.format(root="/"), v1("", -1), None),
    "version 1, mounted from its own group": (
        "4:cpuacct,cpu:/docker/7",
        V1.format(root="/docker/7"),
        v1("", 50000),
        0.5,
    ),
    "version 1, nested": (
        *("4:cpu,cpuacct:/a/b/c", V1.format(root="/a")),
        {**v1("b", 400_000), **v1("b/c", 100_000, 50_000), **v1("", -1)},
        2.0,
    ),
    "version 1, the group is not in sight": ("4:cpu,cpuacct:/x/y", V1.format(root="/docker/7"), v1("", 100_000), 1.0),
    "hybrid": ("4:cpu,cpuacct:/\n0::/", f"{V1_OTHER}\n{HYBRID}\n{V1.format(root='/')}", v1("", 100_000), 1.0),
    "nonsense": ("0::/", V2, {f"{ROOM}/cpu.max": "lots of it"}, None),
    "a period of zero": ("0::/", V2, {f"{ROOM}/cpu.max": "100000 0"}, None),
    "damaged lists": ("what\n\n::", "x - y\n\n1 2 - cgroup2", {}, None),
}


@pytest.mark.parametrize("name", CASES)
def test_quota(tmp_path: Path, name: str) -> None:
    groups, mounts, files, expected = CASES[name]
    assert cpus.quota(tree(tmp_path, groups, mounts, files)) == expected


def test_a_system_without_groups(tmp_path: Path) -> None:
    assert cpus.quota(tmp_path) is None


@pytest.mark.parametrize(
    ("affinity", "quota", "usable"),
    [(16, None, 16), (16, 1.0, 1), (16, 2.5, 2), (16, 0.2, 1), (2, 8.0, 2), (3, 3.0, 3), (1, None, 1)],
)
def test_usable(monkeypatch: pytest.MonkeyPatch, affinity: int, quota: float | None, usable: int) -> None:
    monkeypatch.setattr(cpus, "available", lambda: list(range(affinity)))
    monkeypatch.setattr(cpus, "quota", lambda: quota)
    assert cpus.usable() == usable


def test_a_cpuset_counts() -> None:
    """The kernel shows a cpuset as the process's affinity; here one that it is given."""
    (first, *_) = sorted(os.sched_getaffinity(0))
    script = "from mfs_edge.base import cpus; import json; print(json.dumps([cpus.available(), cpus.usable()]))"
    found = subprocess.check_output(
        [sys.executable, "-c", f"import os; os.sched_setaffinity(0, {{{first}}})\n{script}"], text=True
    )
    assert json.loads(found) == [[first], 1]
