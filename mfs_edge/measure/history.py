"""One JSON line per artefact and device, to see a trend over months."""

from __future__ import annotations

import datetime
import json
import os
from pathlib import Path
from typing import Any

from mfs_edge.base import files
from mfs_edge.measure.results import Entry, Report


def append(report: Report, path: Path) -> None:
    """Add the figures of ``report`` (not its samples) to ``path``.

    Raises:
        OutputError: it cannot be written.
    """
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    commit = os.environ.get("GITHUB_SHA", "")
    text = "".join(json.dumps({"time": now, "commit": commit, **_line(entry)}) + "\n" for entry in report.entries)
    with files.writing(path), path.open("a", encoding="utf-8", errors="backslashreplace") as file:
        file.write(text)  # one write: lines of parallel jobs do not mix


def _line(entry: Entry) -> dict[str, Any]:
    latency, coverage = entry.observation.latency, entry.observation.coverage
    counts = entry.facts.model_dump(
        include={"file", "sha256", "graph_hash", "bytes", "parameters", "macs", "transposes", "peak_activation_bytes"}
    )
    times = latency.model_dump(exclude={"samples_ms"}) if latency else {}
    taken = {"undelegated": coverage.undelegated, "partitions": coverage.partitions} if coverage else {}
    seen = entry.observation.frame
    frame: dict[str, Any] = {}
    if seen is not None:
        medians = {f"{stage.stage}_ms": stage.ms for stage in seen.stages}
        frame = {"frame": seen.size, "stages": seen.chosen, **medians}
    return {"device": entry.device, "machine": entry.machine_key, **counts, **taken, **frame, **times}
