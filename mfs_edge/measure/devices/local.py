"""This machine: the runner in a fresh process; and a Mac's Core ML, on chosen compute units."""

from __future__ import annotations

import sys
from pathlib import Path

from mfs_edge import target
from mfs_edge.base import files
from mfs_edge.base.errors import DeviceError, UsageError
from mfs_edge.measure import luggage
from mfs_edge.measure.devices import THIS_MACHINE, Device, Options, Request, Watch, device, talk
from mfs_edge.measure.observed import Observation

UNITS = ("cpu", "gpu", "ane", "all")  # as the engine of packages names them


class LocalDevice:
    """See ``devices.Device``."""

    name = "local"
    host = THIS_MACHINE
    whole_frames = every_stage = True

    def __init__(self, *, units: str | None = None) -> None:
        self.units = units

    def check(self) -> None:
        """It is always there."""

    def refuses(self, artefact: Path) -> str | None:
        reason = target.of_file(artefact).unrunnable()
        return f"{reason}; copy it to a machine that can, or give --device ssh:USER@HOST" if reason else None

    def measure(self, artefact: Path, request: Request, watch: Watch) -> Observation:
        taken = luggage.pack(artefact, request.switched.get(artefact), request.frame, request.finders)
        with files.temporary_folder() as folder:
            for name, content in taken.files.items():
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                (folder / name).write_bytes(content)
            given = talk.arguments(str(artefact.resolve()), taken, request)
            if self.units:
                given.append(f"--units={self.units}")
            ended = talk.converse([sys.executable, "runner.py", *given], watch, folder=str(folder))
        return talk.observation(ended, where=self.name, artefact=artefact.name, frame=request.frame)


@device("local", "local")
def open_local(address: str, options: Options) -> Device:
    if address:
        raise UsageError(f"--device local:{address}: local takes no address; write --device local")
    return LocalDevice()


class MacDevice(LocalDevice):
    """This machine, for Core ML packages only."""

    def __init__(self, units: str) -> None:
        super().__init__(units=units)
        self.name = f"macos:{units}"

    def check(self) -> None:
        if sys.platform != "darwin":
            raise DeviceError(f"{self.name}: this machine is not a Mac; run the same command on one")

    def refuses(self, artefact: Path) -> str | None:
        return None if artefact.suffix == ".mlpackage" else "compute units are Core ML's; use --device local"


@device("macos", "macos[:cpu|gpu|ane|all]")
def open_macos(address: str, options: Options) -> Device:
    units = address or "all"
    if units not in UNITS:
        raise UsageError(f"--device macos:{address}: no such compute units; there are {', '.join(UNITS)}")
    return MacDevice(units)
