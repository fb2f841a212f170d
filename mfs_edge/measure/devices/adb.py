"""An Android phone over adb: push the artefact and a runtime's own benchmark tool, read what it prints."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
from pathlib import Path

from mfs_edge.base import files
from mfs_edge.base.errors import DeviceError, MissingDependency, UsageError
from mfs_edge.measure.devices import Cancelled, Device, Options, Request, Watch, device, talk, tools
from mfs_edge.measure.results import Machine, Observation

VARIABLE = "MFS_EDGE_ADB"
_ROOM = "/data/local/tmp"  # where the shell user may execute files
_EXIT = "mfs-edge-exit="  # adb before Android 7 does not pass exit codes on
_SIGNAL = 128
# What adb says -> what is wrong, and what to do.
_REASONS = (
    ("unauthorized", "it has not authorised this computer; unlock it and accept the debugging prompt"),
    ("offline", "is offline; unplug it and plug it in again, or: adb reconnect"),
    ("no devices/emulators found", "no device is connected; plug one in and enable USB debugging"),
    ("more than one device", "several are connected; name one with adb:SERIAL (adb devices lists them)"),
    ("not found", "is not connected; adb devices lists those that are"),
    ("No space left on device", "its storage is full; free some, nothing was left on it"),
    ("no permissions", "may not be accessed; set up udev rules for Android devices, then: adb kill-server"),
)
_PROPERTIES = {
    "maker": "getprop ro.product.manufacturer",
    "model": "getprop ro.product.model",
    "soc": "getprop ro.soc.model",
    "release": "getprop ro.build.version.release",
    "abi": "getprop ro.product.cpu.abi",
    "cores": "nproc --all",
    "governor": "cat /sys/devices/system/cpu/cpu*/cpufreq/scaling_governor 2>/dev/null | sort -u",
}
_TEMPERATURES = "cat /sys/class/thermal/thermal_zone*/temp 2>/dev/null"


class AdbDevice:
    """See ``devices.Device``."""

    def __init__(self, serial: str, *, runner: Path) -> None:
        self.name = f"adb:{serial}" if serial else "adb"
        self.host = self.name
        self.serial = serial
        self.runner = runner
        self.tool = tools.find(runner.name)
        self.adb = os.environ.get(VARIABLE, "adb")

    def check(self) -> None:
        if shutil.which(self.adb) is None:
            raise MissingDependency(f"{self.name}: adb is not installed here; install Android's platform-tools")
        self._adb("get-state", watch=Watch(), doing="connecting")

    def refuses(self, artefact: Path) -> str | None:
        if artefact.suffix == self.tool.suffix:
            return None
        return f"{self.tool.name} runs {self.tool.suffix} files; give --runner another tool"

    def measure(self, artefact: Path, request: Request, watch: Watch) -> Observation:
        folder = f"{_ROOM}/mfs-edge-{secrets.token_hex(4)}"
        before = self._temperature(watch)
        try:
            self._shell(f"mkdir -p {folder}", watch, doing="making a folder")
            for source, name in ((artefact, artefact.name), (self.runner, "runner")):
                self._adb("push", str(source), f"{folder}/{name}", watch=watch, doing=f"copying {source.name}")
            self._shell(f"chmod 755 {folder}/runner", watch, doing="preparing")
            lines = self._tool(folder, self.tool.arguments(artefact.name, request), artefact, request, watch)
            reading = self.tool.parse(lines)
            if reading is None:
                raise DeviceError(
                    f"{self.name}: {self.tool.name} printed no timings for {artefact.name} ({_last(lines)}); "
                    "nothing was recorded"
                )
            profile = self.tool.profile(artefact.name, request) if request.profile and self.tool.profile else []
            layers = self._tool(folder, profile, artefact, request, watch) if profile else []
            return Observation(
                machine=self._machine(reading, request, watch),
                latency=reading.latency,
                coverage=reading.coverage,
                peak_rss_bytes=reading.peak_bytes,
                temperature_c=(before, self._temperature(watch)),
                layers=tools.layers(layers),
                notes=(reading.note,) if reading.note else (),
            )
        finally:
            self._clean(folder)

    def _tool(self, folder: str, given: list[str], artefact: Path, request: Request, watch: Watch) -> list[str]:
        """Run it, bound to its CPUs. The trap cleans up where the cable is pulled: adbd hangs the shell up."""
        pinned = f"taskset {sum(1 << cpu for cpu in request.cpus):x} " if request.cpus else ""
        command = (
            f"trap 'rm -rf {folder}' HUP; cd {folder} && {pinned}./runner {' '.join(given)} 2>&1; "
            f"code=$?; cat {tools.RESULTS} 2>/dev/null; echo {_EXIT}$code"
        )
        watch.tell(0.1, request.warmup_seconds + request.seconds)
        lines = self._shell(command, watch, doing=f"measuring {artefact.name}")
        code = next((line.removeprefix(_EXIT) for line in reversed(lines) if line.startswith(_EXIT)), None)
        if code is None:
            raise DeviceError(
                f"{self.name}: the connection broke off while measuring {artefact.name}; nothing was recorded, "
                "check the cable and try again"
            )
        if code != "0":
            number = int(code) if code.isdigit() else 1
            how = f"signal {number - _SIGNAL}" if number > _SIGNAL else f"exit code {number}"
            raise DeviceError(
                f"{self.name}: {self.tool.name} died while measuring {artefact.name} ({how}: {_last(lines[:-1])}); "
                "nothing was recorded"
            )
        return lines

    def _shell(self, command: str, watch: Watch, *, doing: str) -> list[str]:
        return self._adb("shell", command, watch=watch, doing=doing)

    def _adb(self, *words: str, watch: Watch, doing: str) -> list[str]:
        """The lines that adb prints.

        Raises:
            DeviceError: adb failed.
        """
        lines: list[str] = []
        chosen = ["-s", self.serial] if self.serial else []
        ended = talk.converse([self.adb, *chosen, *words], watch, hear=lines.append)
        if ended.code != 0:
            said = f"{ended.words}\n{_last(lines)}"
            for sign, reason in _REASONS:
                if sign in said:
                    raise DeviceError(f"{self.name}: {reason}")
            last = (ended.words or _last(lines)).splitlines()[-1:] or [f"exit code {ended.code}"]
            raise DeviceError(f"{self.name}: {doing} failed ({last[0][:200]}); nothing was recorded, try again")
        return lines

    def _clean(self, folder: str) -> None:
        """Also after Ctrl-C and failures; a device that has gone cleans itself when the shell hangs up."""
        with contextlib.suppress(DeviceError, Cancelled):
            self._shell(f"rm -rf {folder}", Watch(), doing="cleaning up")

    def _temperature(self, watch: Watch) -> float | None:
        lines = self._shell(f"{_TEMPERATURES}; true", watch, doing="reading temperatures")
        degrees = [int(line) / 1000 for line in lines if line.strip().lstrip("-").isdigit()]
        return max((value for value in degrees if 0 < value < 150), default=None)

    def _machine(self, reading: tools.Reading, request: Request, watch: Watch) -> Machine:
        asked = "; ".join(f'echo "{name}=$({command})"' for name, command in _PROPERTIES.items())
        found = dict(line.split("=", 1) for line in self._shell(asked, watch, doing="asking what it is") if "=" in line)
        return Machine(
            cpu=" ".join(filter(None, (found.get("maker"), found.get("model"), found.get("soc")))) or "unknown",
            cores=int(found["cores"]) if found.get("cores", "").isdigit() else 0,
            governor=found.get("governor", ""),
            os=f"Android {found.get('release', '?')}",
            arch=found.get("abi", ""),
            runtime=reading.runtime,
            # The tools do not tell their version; the executable itself does.
            runtime_version=f"sha256 {files.sha256(self.runner)[:12]}",
            threads=reading.threads or request.threads or 4,
            cpus=request.cpus,
        )


def _last(lines: list[str]) -> str:
    said = [line.strip() for line in lines if line.strip()]
    return said[-1][:200] if said else "it said nothing"


@device("adb", "adb[:SERIAL]")
def open_adb(address: str, options: Options) -> Device:
    if options.runner is None:
        raise UsageError(
            "--device adb needs --runner PATH: TFLite's benchmark_model or onnxruntime_perf_test, built for the phone"
        )
    return AdbDevice(address, runner=files.require_file(options.runner, "benchmark tool"))
