"""An Android phone over adb: push the artefact and a runtime's own benchmark tool, read what it prints."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
from pathlib import Path, PurePosixPath

from mfs_edge.base import files
from mfs_edge.base.errors import DeviceError, MissingDependency, UsageError
from mfs_edge.base.reasons import reason_in
from mfs_edge.measure import luggage, machine, pinning
from mfs_edge.measure.devices import Cancelled, Device, Options, Request, Watch, device, talk, tools
from mfs_edge.measure.observed import Machine, Observation

VARIABLE = "MFS_EDGE_ADB"
_ROOM = "/data/local/tmp"  # where the shell user may execute files
_ARTEFACT = "artefact"  # the folder in it for all that belongs to the artefact
_EXIT = "mfs-edge-exit="  # adb before Android 7 does not pass exit codes on
_SIGNAL = 128
# What adb says -> what is wrong, and what to do; {said} is all that it said.
_REASONS = (
    ("permissions", "may not be accessed ({said}); set up udev rules for Android devices, then: adb kill-server"),
    ("unauthorized", "it has not authorised this computer; unlock it and accept the debugging prompt"),
    ("offline", "is offline; unplug it and plug it in again, or: adb reconnect"),
    ("no devices/emulators found", "no device is connected; plug one in and enable USB debugging"),
    ("more than one device", "several are connected; name one with adb:SERIAL (adb devices lists them)"),
    ("device '", "is not connected; adb devices lists those that are"),
    ("device not found", "is not connected; adb devices lists those that are"),
    ("cannot connect to daemon", "adb's server does not start ({said}); try: adb kill-server"),
    ("No space left on device", "its storage is full; free some, nothing was left on it"),
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
_ONLINE = "cat /sys/devices/system/cpu/online 2>/dev/null; true"
_TEMPERATURES = (
    'for zone in /sys/class/thermal/thermal_zone*; do echo "$(cat $zone/type)=$(cat $zone/temp)"; done 2>/dev/null; '
    "true"
)
_CHATTER = "* daemon"  # of a server that starts
_MOST = 400  # signs of what adb says that are passed on


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
        (state, *_) = [*self._adb("get-state", watch=Watch(), doing="connecting"), ""]
        if state.strip() not in ("device", ""):
            raise DeviceError(f"{self.name}: is in state {state.strip()}; start Android on it: adb reboot")

    def refuses(self, artefact: Path) -> str | None:
        if artefact.suffix == self.tool.suffix:
            return None
        if artefact.suffix not in tools.SUFFIXES:
            known = ", ".join(tools.SUFFIXES)
            return (
                f"no tool that is known here runs {artefact.suffix} files on a phone, only {known}; give one of those"
            )
        return f"{self.tool.name} runs {self.tool.suffix} files; give --runner another tool"

    def measure(self, artefact: Path, request: Request, watch: Watch) -> Observation:
        folder, there = f"{_ROOM}/mfs-edge-{secrets.token_hex(4)}", f"{_ARTEFACT}/{artefact.name}"
        self._require(request.cpus, watch)
        before = self._temperature(watch)
        try:
            self._send(artefact, folder, watch)
            lines = self._tool(folder, self.tool.arguments(there, request), artefact, request, watch)
            reading = self.tool.parse(lines)
            if reading is None:
                raise DeviceError(
                    f"{self.name}: {self.tool.name} printed no timings for {artefact.name} ({reason_in(lines)}); "
                    "nothing was recorded"
                )
            profile = self.tool.profile(there, request) if request.profile and self.tool.profile else []
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

    def _send(self, artefact: Path, folder: str, watch: Watch) -> None:
        """The tool, and every file of the artefact: in a folder of its own, where no name is another's."""
        sent = {"runner": self.runner}
        sent |= {f"{_ARTEFACT}/{name}": path for name, path in luggage.members(artefact).items()}
        folders = dict.fromkeys(str(PurePosixPath(folder, name).parent) for name in sent)
        self._shell(talk.shell("mkdir", "-p", *folders), watch, doing="making a folder")
        for name, source in sent.items():
            local = str(source.absolute())  # which no name makes an option
            self._adb("push", local, f"{folder}/{name}", watch=watch, doing=f"copying {source.name}")
        self._shell(talk.shell("chmod", "755", f"{folder}/runner"), watch, doing="preparing")

    def _tool(self, folder: str, given: list[str], artefact: Path, request: Request, watch: Watch) -> list[str]:
        """Run it, bound to its CPUs. The trap cleans up where the cable is pulled: adbd hangs the shell up."""
        pinned = ["taskset", f"{sum(1 << cpu for cpu in request.cpus):x}"] if request.cpus else []
        clean = talk.shell("trap", talk.shell("rm", "-rf", folder), "HUP")
        command = (
            f"{clean}; {talk.shell('cd', folder)} && {talk.shell(*pinned, './runner', *given)} 2>&1; "
            f"code=$?; {talk.shell('cat', tools.RESULTS)} 2>/dev/null; echo {_EXIT}$code"
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
                f"{self.name}: {self.tool.name} died while measuring {artefact.name} ({how}: {reason_in(lines[:-1])}); "
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
            said = _said(ended.words or reason_in(lines)) or f"exit code {ended.code}"
            told = said
            for word in words:  # a file may be called "offline.tflite"
                told = told.replace(_said(word), "")
            for sign, reason in _REASONS:
                if sign in told:
                    raise DeviceError(f"{self.name}: {reason.format(said=said)}")
            raise DeviceError(f"{self.name}: {doing} failed ({said}); nothing was recorded, try again")
        return lines

    def _clean(self, folder: str) -> None:
        """Also after Ctrl-C and failures; a device that has gone cleans itself when the shell hangs up."""
        with contextlib.suppress(DeviceError, Cancelled):
            self._shell(talk.shell("rm", "-rf", folder), Watch(), doing="cleaning up")

    def _temperature(self, watch: Watch) -> float | None:
        lines = self._shell(_TEMPERATURES, watch, doing="reading temperatures")
        return machine.hottest((kind, text.strip()) for kind, _, text in (line.rpartition("=") for line in lines))

    def _require(self, cpus: tuple[int, ...], watch: Watch) -> None:
        """The phone's own taskset leaves out in silence what is not there, or says "Invalid argument"."""
        if not cpus:
            return
        told = " ".join(self._shell(_ONLINE, watch, doing="asking for its CPUs")).strip()
        missing = sorted(set(cpus) - pinning.from_list(told)) if told else []
        if missing:
            named = machine.first_of(missing)
            raise UsageError(f"{self.name}: --cpu-mask names CPU {named}; those that are switched on there: {told}")

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


def _said(words: str) -> str:
    """All of what adb says on one line, but that its server starts."""
    lines = (line.strip() for line in words.splitlines())
    return " ".join(line for line in lines if line and not line.startswith(_CHATTER))[:_MOST]


@device("adb", "adb[:SERIAL]")
def open_adb(address: str, options: Options) -> Device:
    if options.runner is None:
        raise UsageError(
            "--device adb needs --runner PATH: TFLite's benchmark_model or onnxruntime_perf_test, built for the phone"
        )
    return AdbDevice(address, runner=files.require_file(options.runner, "benchmark tool"))
