"""This machine: the runner in a fresh process."""

from __future__ import annotations

import sys
from pathlib import Path

from mfs_edge.base.errors import UsageError
from mfs_edge.measure import runner
from mfs_edge.measure.devices import THIS_MACHINE, Device, Options, Request, Watch, device, talk
from mfs_edge.measure.results import Observation


class LocalDevice:
    """See ``devices.Device``."""

    name = "local"
    host = THIS_MACHINE

    def __init__(self, *, units: str | None = None) -> None:
        self.units = units

    def check(self) -> None:
        """It is always there."""

    def refuses(self, artefact: Path) -> str | None:
        if artefact.suffix == ".mlpackage" and sys.platform != "darwin":
            return "Core ML runs on macOS only; copy the package to a Mac, or give --device ssh:USER@MAC"
        return None

    def measure(self, artefact: Path, request: Request, watch: Watch) -> Observation:
        given = talk.arguments(str(artefact), request)
        if self.units:
            given.append(f"--units={self.units}")
        ended = talk.converse([sys.executable, str(Path(runner.__file__)), *given], watch)
        return talk.observation(ended, where=self.name, artefact=artefact.name)


@device("local", "local")
def open_local(address: str, options: Options) -> Device:
    if address:
        raise UsageError(f"--device local:{address}: local takes no address; write --device local")
    return LocalDevice()
