"""A Mac's Core ML, on chosen compute units."""

from __future__ import annotations

import sys
from pathlib import Path

from mfs_edge.base.errors import DeviceError, UsageError
from mfs_edge.measure.devices import Device, Options, device
from mfs_edge.measure.devices.local import LocalDevice

# As the engine of packages names them.
UNITS = ("cpu", "gpu", "ane", "all")


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
