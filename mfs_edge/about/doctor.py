"""What is installed here, and what each target can therefore do."""

from __future__ import annotations

import contextlib
import platform
from dataclasses import asdict, dataclass
from importlib import metadata
from typing import Any

from mfs_edge import target
from mfs_edge.base import extras
from mfs_edge.base.version import __version__
from mfs_edge.options import Option

COMPILER = ("torch", "onnx", "onnx_ir", "cv2", "safetensors")


@dataclass(frozen=True)
class TargetReport:
    """One target on this machine."""

    name: str
    title: str
    emits: bool
    runs: bool
    precisions: tuple[str, ...]
    io_forms: tuple[str, ...]
    options: tuple[Option, ...]  # of its own, for --set
    versions: dict[str, str]
    remedy: str  # empty if all is well


@dataclass(frozen=True)
class EmulationReport:
    """The emulated Raspberry Pis on this machine.

    Attributes:
        devices: what ``bench --device`` calls them.
        available: they can be had, at once or after the first use has built them.
        built: at once.
        said: where they are, or what will be fetched, or what is missing and the way out.
    """

    devices: tuple[str, ...]
    available: bool
    built: bool
    said: str


@dataclass(frozen=True)
class Diagnosis:
    """This machine."""

    version: str
    python: str
    platform: str
    compiler: dict[str, str]  # module -> version, or "missing"
    compiles: bool
    targets: tuple[TargetReport, ...]
    emulation: EmulationReport

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def diagnose() -> Diagnosis:
    """Look, without importing anything heavy."""
    compiler = {module: _version(module) for module in COMPILER}
    return Diagnosis(
        version=__version__,
        python=platform.python_version(),
        platform=f"{platform.system()} {platform.machine()}",
        compiler=compiler,
        compiles="missing" not in compiler.values(),
        targets=tuple(_report(kind) for kind in target.registered().values()),
        emulation=_emulation(),
    )


def _emulation() -> EmulationReport:
    """Nothing is started, fetched or written for it."""
    from mfs_edge.emulation import setup
    from mfs_edge.emulation.boards import BOARDS

    devices = tuple(f"emulated:{name}" for name in BOARDS)
    found = setup.available()
    return EmulationReport(devices, found.possible, found.built, found.said)


def _report(kind: target.Target) -> TargetReport:
    lacking = set(target.missing(kind))
    reason = kind.unrunnable()
    remedy = f"pip install 'mfs-edge[{kind.extra}]'" if lacking else reason or ""
    return TargetReport(
        name=kind.name,
        title=kind.title,
        emits=lacking.isdisjoint(kind.emit_needs),
        runs=lacking.isdisjoint(kind.run_needs) and reason is None,
        precisions=tuple(kind.precisions),
        io_forms=tuple(kind.io_forms),
        options=target.options_of(kind),
        versions={module: _version(module) for module in dict.fromkeys((*kind.emit_needs, *kind.run_needs))},
        remedy=remedy,
    )


def _version(module: str) -> str:
    if not extras.available(module):
        return "missing"
    distributions = {"cv2": ("opencv-python-headless", "opencv-python")}.get(module, (module,))
    for distribution in distributions:
        with contextlib.suppress(metadata.PackageNotFoundError):
            return metadata.version(distribution)
    return "installed"
