"""A self-contained HTML page: distributions, the layers' profile, the bundle's pictures. No script, no network."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path

import numpy as np

from mfs_edge.base import files
from mfs_edge.measure import table
from mfs_edge.measure.results import Comparison, Entry, Latency, Layer, Report

WIDTH, HEIGHT = 720, 120
BINS = 60
LAYERS_SHOWN = 40
PICTURES = {".png": "image/png", ".jpg": "image/jpeg", ".jpeg": "image/jpeg"}
PICTURE_LIMIT = 5_000_000  # bytes; a page of them must still open
_STYLE = """
body { font: 14px/1.5 system-ui, sans-serif; margin: 2em auto; max-width: 1100px; padding: 0 1em; color: #222 }
table { border-collapse: collapse; margin: 1em 0 } td, th { padding: .2em .7em; border-bottom: 1px solid #ddd }
td { text-align: right; font-variant-numeric: tabular-nums } td:first-child, th:first-child { text-align: left }
.bad { color: #b00020 } .note { color: #7a5b00 } .dim { color: #777; font-size: 12px } img { max-width: 100% }
svg { background: #fafafa; display: block } .bar { background: #4477aa; height: 10px; display: block }
@media (prefers-color-scheme: dark) { body { background: #161616; color: #ddd } td, th { border-color: #333 }
svg { background: #1e1e1e } .bad { color: #ff7a85 } .note { color: #e0b84c } }
"""


def save(report: Report, path: Path, folders: Sequence[Path]) -> None:
    """Write the page atomically; pictures come from ``folders``, where the artefacts lie."""
    with files.atomic(path) as temporary:
        temporary.write_text(render(report, folders), encoding="utf-8")


def render(report: Report, folders: Sequence[Path]) -> str:
    """The whole page."""
    title = f"mfs-edge bench: {table.verdict(report)}"
    body = [f"<h1>{escape(title)}</h1>"]
    body += [f"<p class=bad>{escape(line)}</p>" for line in (*report.causes, *report.failures)]
    body += [f"<p class=note>{escape(line)}</p>" for line in report.notes]
    if report.entries:
        body.append(_table(table.COLUMNS, map(table.entry, report.entries)))
        body.append(
            f"<p class=dim>Times in ms. {escape(', '.join(f'{k} {v}' for k, v in report.versions.items()))}</p>"
        )
    body += [_comparison(comparison) for comparison in report.comparisons]
    if report.trends:
        body.append("<h2>Trend</h2><p>Stored timings; nothing is decided from them.</p>")
        body.append(_table(table.TREND, map(table.trend, report.trends)))
    body += [_entry(entry) for entry in report.entries]
    body += [_picture(path) for folder in folders for path in _pictures(folder)]
    head = f'<meta charset="utf-8"><title>{escape(title)}</title><style>{_STYLE}</style>'
    return f'<!doctype html><html lang="en"><head>{head}</head><body>{"".join(body)}</body></html>\n'


def _table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    head = "".join(f"<th>{escape(column)}</th>" for column in columns)
    lines = "".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in rows)
    return f"<table><tr>{head}</tr>{lines}</table>"


def _entry(entry: Entry) -> str:
    parts = [f"<h2>{escape(entry.facts.file)} on {escape(entry.device)}</h2>"]
    parts += [f"<p class=dim>{escape(line)}</p>" for line in table.details(entry)]
    if entry.observation.latency is not None and entry.observation.latency.samples_ms:
        parts.append(_distribution(entry.observation.latency))
    if entry.facts.operators:
        counted = ", ".join(f"{number} {kind}" for kind, number in entry.facts.operators.items())
        parts.append(f"<p>Operators: {escape(counted)}</p>")
    if entry.observation.layers:
        parts.append(_layers(entry.observation.layers))
    return "".join(parts)


def _distribution(latency: Latency) -> str:
    """A histogram of every frame, up to twice the p99; a line for each percentile."""
    samples = np.asarray(latency.samples_ms)
    marks = [(name, value) for name, value in _percentiles(latency) if value is not None]
    low, high = 0.98 * float(samples.min()), 1.02 * float(min(samples.max(), 2 * max(v for _, v in marks)))
    counts, edges = np.histogram(np.clip(samples, low, high), bins=BINS, range=(low, high))

    def x(value: float) -> float:
        return (value - low) / (high - low) * WIDTH

    bars = "".join(
        f'<rect x="{x(edge):.1f}" y="{HEIGHT * (1 - count / counts.max()):.1f}" width="{WIDTH / BINS - 1:.1f}" '
        f'height="{HEIGHT * count / counts.max():.1f}" fill="#4477aa"/>'
        for edge, count in zip(edges[:-1], counts, strict=True)
    )
    lines = "".join(
        f'<line x1="{x(v):.1f}" x2="{x(v):.1f}" y1="0" y2="{HEIGHT}" stroke="#cc3311"/>'
        f'<text x="{x(v) + 3:.1f}" y="{12 + 13 * i}" font-size="11" fill="#cc3311">{escape(name)} {v:.2f}</text>'
        for i, (name, v) in enumerate(marks)
    )
    label = f"Latency of {len(samples)} frames, {low:.2f} to {high:.2f} ms"
    drawing = f'<svg width="{WIDTH}" height="{HEIGHT}" role="img" aria-label="{label}">{bars}{lines}</svg>'
    return f"{drawing}<p class=dim>{label}</p>"


def _percentiles(latency: Latency) -> list[tuple[str, float | None]]:
    return [("p50", latency.p50_ms), ("p90", latency.p90_ms), ("p99", latency.p99_ms)]


def _comparison(comparison: Comparison) -> str:
    """The verdict, and every pair as a dot: head over base above, base over itself below."""
    parts = [f"<h2>{escape(comparison.head)} against {escape(comparison.base)} on {escape(comparison.device)}</h2>"]
    parts.append(_table(table.COMPARED, [table.compared(comparison)]))
    if comparison.pairs:
        base = np.asarray(comparison.base_p50_ms)
        rows = {
            "head": np.asarray(comparison.head_p50_ms) / base,
            "A/A": np.asarray(comparison.control_p50_ms) / base,
        }
        parts.append(_dots(rows, 1 + comparison.max_regression / 100))
    return "".join(parts)


def _dots(rows: dict[str, np.ndarray], limit: float) -> str:
    every = np.concatenate([*rows.values(), [1.0, limit]])
    low, high = float(every.min()) * 0.99, float(every.max()) * 1.01

    def x(ratio: float) -> float:
        return 60 + (ratio - low) / (high - low) * (WIDTH - 80)

    lines = "".join(
        f'<line x1="{x(v):.1f}" x2="{x(v):.1f}" y1="0" y2="70" stroke="{colour}"/>'
        f'<text x="{x(v) + 3:.1f}" y="68" font-size="11" fill="{colour}">{(v - 1) * 100:+.0f} %</text>'
        for v, colour in ((1.0, "#888"), (limit, "#cc3311"))
    )
    dots = "".join(
        f'<text x="4" y="{24 + 26 * i}" font-size="12" fill="#888">{name}</text>'
        + "".join(
            f'<circle cx="{x(r):.1f}" cy="{20 + 26 * i}" r="4" fill="#4477aa" fill-opacity=".5"/>' for r in ratios
        )
        for i, (name, ratios) in enumerate(rows.items())
    )
    return f'<svg width="{WIDTH}" height="72" role="img" aria-label="ratio of p50 in every pair">{lines}{dots}</svg>'


def _layers(layers: Sequence[Layer]) -> str:
    """In run order, the longest LAYERS_SHOWN of them, with their share of the profiled total."""
    total = sum(layer.ms for layer in layers) or 1.0
    least = sorted((layer.ms for layer in layers), reverse=True)[:LAYERS_SHOWN][-1]
    shown = [layer for layer in layers if layer.ms >= least]
    rows = "".join(
        f"<tr><td>{escape(layer.name)}</td><td>{escape(layer.kind)}</td><td>{layer.ms:.3f}</td>"
        f"<td>{100 * layer.ms / total:.1f} %</td>"
        f'<td><span class=bar style="width:{200 * layer.ms / total:.0f}px"></span></td></tr>'
        for layer in shown
    )
    left = f"; {len(layers) - len(shown)} shorter ones are left out" if len(shown) < len(layers) else ""
    caption = f"Profile by the runtime, in a session of its own: {total:.2f} ms per frame{left}."
    return f"<p>{caption}</p><table><tr><th>layer<th>kind<th>ms<th>share<th></tr>{rows}</table>"


def _pictures(folder: Path) -> list[Path]:
    found = (path for path in sorted(folder.iterdir()) if path.suffix.lower() in PICTURES)
    return [path for path in found if path.stat().st_size <= PICTURE_LIMIT]


def _picture(path: Path) -> str:
    content = base64.b64encode(path.read_bytes()).decode()
    kind = PICTURES[path.suffix.lower()]
    return f'<h2>{escape(path.name)}</h2><img alt="{escape(path.stem)}" src="data:{kind};base64,{content}">'
