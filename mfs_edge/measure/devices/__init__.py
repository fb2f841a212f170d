"""Where an artefact is measured: a protocol, and a registry by the scheme of ``--device``.

A device module registers a factory under the word before the colon; a third party's is found
under the entry-point group ``mfs_edge.devices`` (a module that registers on import)::

    @device("emulated", "emulated:rpi5|rpi4")
    def open_emulated(address: str, options: Options) -> Device: ...

A device that cannot tell time (an emulator) leaves ``Observation.latency`` empty and fills
``instructions``; everything downstream copes with either.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

from mfs_edge.base.errors import UsageError, nearest
from mfs_edge.measure.observed import Observation

GROUP = "mfs_edge.devices"
THIS_MACHINE = "this machine"
_BUILT_IN = ("local", "ssh", "adb", "browser")  # modules


@dataclass(frozen=True)
class Request:
    """How to measure. At least this many frames and at least this many seconds of each phase."""

    threads: int | None = None  # None: the CPUs of the device, or its container's quota, at most 4
    warmup: int = 10
    warmup_seconds: float = 0.5
    runs: int = 50
    seconds: float = 1.0
    cpus: tuple[int, ...] = ()  # bind to these; empty leaves it to the scheduler
    profile: bool = True  # per layer, in a session of its own
    # Artefact -> its files with another identity in them, by their names beside it, to be switched to and from.
    switched: Mapping[Path, Mapping[str, bytes]] = field(default_factory=dict)
    frame: tuple[int, int] | None = None  # width and height of whole frames to be swapped; None: aligned crops
    # The files that find faces, a detector and a mesh: whole frames are then decoded, searched and encoded, too.
    finders: tuple[Path, Path] | None = None

    def quick(self) -> Request:
        """For one of many paired processes: many short ones beat few long ones.

        Most of the noise of a shared machine lies between processes (placement in memory,
        neighbours), not between the frames of one.
        """
        return replace(
            self,
            warmup_seconds=min(self.warmup_seconds, 0.2),
            runs=min(self.runs, 30),
            seconds=min(self.seconds, 0.4),
            profile=False,
            switched={},
        )


@dataclass(frozen=True)
class Options:
    """What a device is opened with."""

    python: str | None = None  # the interpreter on a device reached by ssh
    runner: Path | None = None  # a benchmark tool to push over adb


@dataclass
class Watch:
    """Progress out, cancellation in; one per device."""

    tell: Callable[[float, float], None] = lambda done, left_s: None
    cancelled: threading.Event = field(default_factory=threading.Event)


class Cancelled(Exception):
    """The user interrupted; the device has been left clean."""


class Device(Protocol):
    """One device, reached over and over; nothing stays on it between measurements."""

    name: str  # as given to --device
    host: str  # devices with the same host take turns; others run in parallel
    # One that can time whole frames (Request.frame) also has ``whole_frames = True``, and ``every_stage = True`` if it
    # can time what is before and behind their swap (Request.finders).

    def check(self) -> None:
        """Before any work: is it there?

        Raises:
            DeviceError: it is not.
            MissingDependency: a tool to reach it is missing.
        """
        ...

    def refuses(self, artefact: Path) -> str | None:
        """Why it cannot run files of this kind; None if it can."""
        ...

    def measure(self, artefact: Path, request: Request, watch: Watch) -> Observation:
        """One fresh process.

        Raises:
            DeviceError: the device died, is full, or lost.
            MissingDependency: the runtime is not on it.
            InputError: its runtime cannot load the file.
            Cancelled: ``watch.cancelled`` was set.
        """
        ...


@dataclass(frozen=True)
class Availability:
    """Whether a device that must be built or fetched before its first use can be had here.

    Attributes:
        possible: it is there, or what building it takes is.
        built: it is there.
        said: where, or what will be fetched, or what is missing and the way out.
    """

    possible: bool
    built: bool
    said: str


Factory = Callable[[str, Options], Device]
_FACTORIES: dict[str, tuple[Factory, str]] = {}
_AVAILABLE: dict[str, Callable[[], Availability]] = {}


def device(
    scheme: str, usage: str, *, available: Callable[[], Availability] | None = None
) -> Callable[[Factory], Factory]:
    """Register what opens ``--device SCHEME[:ADDRESS]``; ``available`` starts, fetches and writes nothing."""

    def register(function: Factory) -> Factory:
        _FACTORIES[scheme] = (function, usage)
        if available is not None:
            _AVAILABLE[usage] = available
        return function

    return register


def availability() -> dict[str, Availability]:
    """What ``doctor`` says of the devices that must be built first, by how they are written."""
    known()
    return {usage: look() for usage, look in _AVAILABLE.items()}


def known() -> dict[str, str]:
    """Every scheme and how it is written."""
    for name in _BUILT_IN:
        importlib.import_module(f"{__name__}.{name}")
    for point in importlib.metadata.entry_points(group=GROUP):
        point.load()
    return {scheme: usage for scheme, (_, usage) in _FACTORIES.items()}


def open_device(spec: str, options: Options) -> Device:
    """The device that ``spec`` names; nothing is contacted yet.

    Raises:
        UsageError: no such kind, or an address that cannot be one.
    """
    schemes = known()
    scheme, _, address = spec.partition(":")
    if scheme not in schemes:
        hint = nearest(scheme, schemes)
        raise UsageError(f"--device {spec}: is unknown; {hint}there are: {', '.join(schemes.values())}")
    return _FACTORIES[scheme][0](address, options)
