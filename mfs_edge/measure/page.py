"""A self-contained HTML page: distributions, the layers' profile, the bundle's pictures. No script, no network.

``page.html.j2`` is what it looks like; here is what is drawn, in units from 0 to 1.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mfs_edge.base import pages
from mfs_edge.measure import table
from mfs_edge.measure.observed import Latency, Layer
from mfs_edge.measure.results import Comparison, Report

BINS = 60
LAYERS_SHOWN = 40
PICTURES = {".png": "image/png", ".jpg": "image/jpeg", ".jpeg": "image/jpeg"}
PICTURE_LIMIT = 5_000_000  # bytes; a page of them must still open


def template() -> Any:
    """The page's template.

    Raises:
        MissingDependency: jinja2 is not installed.
    """
    return pages.template(Path(__file__).with_name("page.html.j2"), "report")


def render(report: Report, folders: Sequence[Path]) -> str:
    """The whole page; pictures come from ``folders``, where the artefacts lie."""
    pictures = [picture for folder in folders for picture in _pictures(folder)]
    drawn = {"distribution": distribution, "ratios": ratios, "longest": longest}
    rendered: str = template().render(report=report, table=table, pictures=pictures, **drawn)
    return rendered


def distribution(latency: Latency) -> dict[str, Any]:
    """A histogram of every frame, up to twice the p99, and where the percentiles lie in it."""
    samples = np.asarray(latency.samples_ms)
    named = {"p50": latency.p50_ms, "p90": latency.p90_ms, "p99": latency.p99_ms}
    marks = {name: value for name, value in named.items() if value is not None}
    low, high = 0.98 * float(samples.min()), 1.02 * float(min(samples.max(), 2 * max(marks.values())))
    counts, _ = np.histogram(np.clip(samples, low, high), bins=BINS, range=(low, high))
    places = [(name, value, (value - low) / (high - low)) for name, value in marks.items()]
    return {"low": low, "high": high, "bars": (counts / counts.max()).tolist(), "marks": places}


def ratios(comparison: Comparison) -> dict[str, Any]:
    """Every pair as a dot: head over base, and base over itself; lines at no change and at the limit."""
    base = np.asarray(comparison.base_p50_ms)
    rows = {"head": np.asarray(comparison.head_p50_ms) / base, "A/A": np.asarray(comparison.control_p50_ms) / base}
    lines = np.array([1.0, 1 + comparison.max_regression / 100])
    every = np.concatenate([*rows.values(), lines])
    low, high = 0.99 * float(every.min()), 1.01 * float(every.max())

    def x(values: np.ndarray) -> list[float]:
        places: list[float] = ((values - low) / (high - low)).tolist()
        return places

    return {"rows": {name: x(values) for name, values in rows.items()}, "lines": zip(lines, x(lines), strict=True)}


def longest(layers: Sequence[Layer]) -> list[Layer]:
    """In run order, the longest LAYERS_SHOWN of them."""
    least = sorted((layer.ms for layer in layers), reverse=True)[:LAYERS_SHOWN][-1]
    return [layer for layer in layers if layer.ms >= least]


def _pictures(folder: Path) -> list[tuple[Path, str]]:
    """The folder's own pictures, each as a data URL; what a link elsewhere calls a picture may be anything."""
    inside = (path for path in sorted(folder.iterdir()) if path.resolve().is_relative_to(folder.resolve()))
    found = (path for path in inside if path.suffix.lower() in PICTURES and path.is_file())
    small = [path for path in found if path.stat().st_size <= PICTURE_LIMIT]
    return [(p, f"data:{PICTURES[p.suffix.lower()]};base64,{base64.b64encode(p.read_bytes()).decode()}") for p in small]
