"""Run a command that speaks the runner's protocol, and turn what it says into an observation."""

from __future__ import annotations

import contextlib
import json
import queue
import shlex
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from mfs_edge.base.errors import DeviceError, InputError, MissingDependency, UsageError
from mfs_edge.base.reasons import reason_in
from mfs_edge.measure.devices import Cancelled, Request, Watch
from mfs_edge.measure.luggage import Luggage
from mfs_edge.measure.observed import Coverage, Latency, Layer, Machine, Observation, Picture, Switches, WholeFrame
from mfs_edge.measure.runner import PREFIX

STALL = 300.0  # s without a word; loading a large model on a slow device is silent
_POLL = 0.1
_GRACE = 5.0


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    code: int
    result: dict[str, Any] | None
    error: dict[str, Any] | None
    words: str  # the end of what it wrote on standard error


def shell(*words: str | Path) -> str:
    """One command for the POSIX shell of a device. Every name that reaches one comes through here, quoted."""
    return shlex.join(map(str, words))


def arguments(artefact: str, luggage: Luggage, request: Request) -> list[str]:
    """The runner's command line."""
    given = [
        artefact,
        *luggage.arguments,
        f"--threads={request.threads or 0}",
        f"--runs={request.runs}",
        f"--seconds={request.seconds}",
        f"--warmup={request.warmup}",
        f"--warmup-seconds={request.warmup_seconds}",
    ]
    if request.cpus:
        given.append(f"--cpus={','.join(map(str, request.cpus))}")
    return [*given, "--profile"] if request.profile else given


def converse(
    command: Sequence[str],
    watch: Watch,
    *,
    feed: Callable[[IO[bytes]], None] | None = None,
    hear: Callable[[str], None] = lambda line: None,
    folder: str | None = None,
) -> Ended:
    """Run ``command`` to its end.

    Args:
        feed: writes to its standard input, which then stays open until it ends.
        hear: gets every line that is not of the runner's protocol.
        folder: to run it in.

    Raises:
        Cancelled: the watch says so; the command has been stopped.
        DeviceError: it has not said a word for :data:`STALL` seconds; it has been stopped.
    """
    with tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE if feed else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            cwd=folder,
            start_new_session=True,  # Ctrl-C reaches us alone; we stop it in good order
        )
        try:
            result, error = _listen(process, watch, feed, hear)
        finally:
            _stop(process)
        errors.seek(0)
        words = errors.read()[-4000:].decode(errors="replace").strip()
    return Ended(process.returncode, result, error, words)


def _listen(
    process: subprocess.Popen[bytes],
    watch: Watch,
    feed: Callable[[IO[bytes]], None] | None,
    hear: Callable[[str], None],
) -> tuple[dict[str, Any] | None, dict[str, Any] | None]:
    lines: queue.Queue[bytes | None] = queue.Queue()
    threading.Thread(target=_read, args=(process.stdout, lines), daemon=True).start()
    if feed:
        threading.Thread(target=_write, args=(feed, process.stdin), daemon=True).start()
    found: dict[str, dict[str, Any]] = {}
    heard = time.monotonic()
    while True:
        if watch.cancelled.is_set():
            raise Cancelled
        try:
            line = lines.get(timeout=_POLL)
        except queue.Empty:
            if time.monotonic() - heard > STALL:
                raise DeviceError(
                    f"no word for {STALL:.0f} s; the device hangs or sleeps: wake it and try again"
                ) from None
            continue
        if line is None:
            process.wait(timeout=_GRACE * 4)
            return found.get("result"), found.get("error")
        heard = time.monotonic()
        event = _event(line)
        if event.get("event") == "progress":
            watch.tell(event["done"], event["left_s"])
        elif event:
            found[event["event"]] = event
        else:
            hear(line.decode(errors="replace").rstrip("\r\n"))


def _event(line: bytes) -> dict[str, Any]:
    text = line.decode(errors="replace").strip()
    with contextlib.suppress(json.JSONDecodeError):  # a line that broke off says nothing
        if text.startswith(PREFIX):
            return dict(json.loads(text.removeprefix(PREFIX)))
    return {}


def _read(stream: IO[bytes] | None, lines: queue.Queue[bytes | None]) -> None:
    for line in stream or ():
        lines.put(line)
    lines.put(None)


def _write(feed: Callable[[IO[bytes]], None], stream: IO[bytes] | None) -> None:
    """A command that ends before it has read everything breaks the pipe; how it ended says why."""
    if stream is not None:
        with contextlib.suppress(BrokenPipeError, ValueError):
            feed(stream)
            stream.flush()


def _stop(process: subprocess.Popen[bytes]) -> None:
    if process.stdin is not None:
        with contextlib.suppress(BrokenPipeError):
            process.stdin.close()
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(timeout=_GRACE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def finished(ended: Ended, *, where: str, artefact: str) -> dict[str, Any]:
    """The result of a program that has ended.

    Raises:
        MissingDependency, InputError, UsageError, DeviceError: what it said, or how it died.
    """
    if ended.error is not None:
        _complain(ended.error, where=where, artefact=artefact)
    if ended.result is None:
        died = f"signal {-ended.code}" if ended.code < 0 else f"exit code {ended.code}"
        last = f": {reason_in(ended.words.splitlines())}" if ended.words else ""
        raise DeviceError(f"{where}: the process died on {artefact} ({died}{last}); nothing was recorded, try again")
    return ended.result


def observation(ended: Ended, *, where: str, artefact: str, frame: tuple[int, int] | None = None) -> Observation:
    """What a finished runner found, of whole frames if it was asked for ``frame``; raises as :func:`finished`."""
    found = finished(ended, where=where, artefact=artefact)
    return Observation(
        machine=Machine(**found["machine"]),
        latency=Latency.of(
            found["samples_ms"],
            load_ms=found["load_ms"],
            first_ms=found["first_ms"],
            warmup_runs=found["warmup_runs"],
        ),
        switches=Switches.of(**found["switches"]) if found["switches"] else None,
        frame=WholeFrame.of(*frame, **found["frame"]) if frame else None,
        picture=Picture(**found["picture"]) if found["picture"] else None,
        coverage=Coverage(**found["coverage"]) if found["coverage"] else None,
        peak_rss_bytes=found["peak_rss_bytes"],
        temperature_c=tuple(found["temperature_c"]),
        layers=tuple(Layer(**layer) for layer in found["layers"]),
    )


def _complain(error: dict[str, Any], *, where: str, artefact: str) -> None:
    kind, message = error["kind"], error["message"]
    if kind == "missing":
        raise MissingDependency(f"{where}: {message}")
    if kind == "input":
        raise InputError(f"{artefact}: on {where}, {message}; compile it again, or update the runtime there")
    if kind == "usage":
        raise UsageError(f"{where}: {message}")
    if kind == "full":
        raise DeviceError(f"{where}: its disk is full ({message}); free some space there, nothing was left on it")
    raise DeviceError(f"{where}: measuring {artefact} failed ({message}); nothing was recorded")
