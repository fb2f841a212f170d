"""The file that was written, read back: every picture at its time, every packet of sound as it was."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

from mfs_edge.base.errors import CheckFailed
from mfs_edge.swap.video.join import Plan, is_cut
from mfs_edge.swap.video.reader import Note, is_picture_track, opened

_ADTS = (7, 9)  # bytes of the header in front of AAC in a transport stream, which no other container takes
_MILLISECOND = Fraction(1, 1000)


@dataclass
class _Sum:
    """Of a stream's packets."""

    count: int = 0
    payload: Any = None
    first: Fraction | None = None
    last: Fraction | None = None


def require_same(made: Path, plan: Plan, times: Sequence[int], note: Note) -> None:
    """Compare what was made with the original and with the frames that were given.

    Args:
        made: the file.
        plan: what went into it.
        times: of its frames, in the video's time base.
        note: is told where a container has rounded times.

    Raises:
        CheckFailed: a picture is missing or a packet of sound is another.
    """
    shown, sums = _read(made, plan)
    exact = [pts * plan.look.time_base for pts in times]
    _require_times(made, shown, exact, note)
    if plan.source is None:
        return
    _, before = _read(plan.source, plan)
    wanted = [before[index] for index in plan.kept]
    for number, (was, now) in enumerate(zip(wanted, sums.values(), strict=False)):
        if (was.count, was.payload.digest()) != (now.count, now.payload.digest()):
            raise CheckFailed(
                f"{made}: stream {plan.kept[number]} of {plan.source} was not kept as it is ({now.count} of "
                f"{was.count} packets); this is a defect of mfs-edge: nothing was published"
            )
        _tell_shift(plan, number, was, now, shown[0] - exact[0], note)
    if len(wanted) > len(sums):
        raise CheckFailed(f"{made}: holds {len(sums)} of {len(wanted)} other streams; nothing was published")


def _read(path: Path, plan: Plan) -> tuple[list[Fraction], dict[int, _Sum]]:
    """The times of its pictures, and the sums of its other streams by their index; titles of chapters left out."""
    shown: list[Fraction] = []
    with opened(path) as container:
        video = next((stream.index for stream in container.streams if is_picture_track(stream)), None)
        sums = {
            stream.index: _Sum(payload=hashlib.sha256()) for stream in container.streams if not is_picture_track(stream)
        }
        for packet in container.demux():
            if not packet.size or is_cut(packet, plan.container):
                continue
            if packet.stream_index == video and packet.pts is not None:
                shown.append(packet.pts * packet.time_base)
            elif packet.stream_index in sums:
                _add(sums[packet.stream_index], packet)
    return sorted(shown), sums


def _add(to: _Sum, packet: Any) -> None:
    payload = bytes(packet)
    if payload[:1] == b"\xff" and payload[1] & 0xF6 == 0xF0 and getattr(packet.stream, "name", None) == "aac":
        payload = payload[_ADTS[1 - (payload[1] & 1)] :]
    to.payload.update(len(payload).to_bytes(8, "little") + payload)
    to.count += 1
    if packet.pts is not None:
        to.last = packet.pts * packet.time_base
        to.first = to.last if to.first is None else to.first


def _require_times(made: Path, shown: Sequence[Fraction], exact: Sequence[Fraction], note: Note) -> None:
    if len(shown) != len(exact):
        raise CheckFailed(f"{made}: holds {len(shown)} of {len(exact)} frames; nothing was published")
    shift = shown[0] - exact[0]
    off = max(abs(now - was - shift) for now, was in zip(shown, exact, strict=True))
    if off > _MILLISECOND:
        raise CheckFailed(f"{made}: a frame is shown {float(off):.4f} s off its time; nothing was published")
    if abs(shift) >= _MILLISECOND:
        note(f"all times begin {float(shift):.3f} s later, as {made.suffix} has none below zero")
    if off:
        note(f"times are rounded to milliseconds, as {made.suffix} holds no finer ones")


def _tell_shift(plan: Plan, number: int, was: _Sum, now: _Sum, shift: Fraction, note: Note) -> None:
    """Where sound and pictures are no longer as they were to each other."""
    if was.first is None or was.last is None or now.first is None or now.last is None:
        return
    off = max(abs(now.first - was.first - shift), abs(now.last - was.last - shift))
    if off > 2 * _MILLISECOND:
        note(f"stream {plan.kept[number]} of {plan.source} is {float(off):.3f} s off the pictures")
