"""The plot of ``peers.py all``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from benchmarks.peerlib import Row
from mfs_edge.measure.machine import cpu_model


def draw(rows: Sequence[Row], path: Path) -> None:
    """Milliseconds at the first size and thread count, ours in colour."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    size, threads = rows[0]["px"], rows[0]["threads"]
    timed = [row for row in rows if "median ms" in row and (row["px"], row["threads"]) == (size, threads)]
    timed.sort(key=lambda row: -row["median ms"])
    spread = [(row["median ms"] - row["quartiles"][0], row["quartiles"][1] - row["median ms"]) for row in timed]
    figure, axes = pyplot.subplots(figsize=(7.2, 0.42 * len(timed) + 1))
    bars = axes.barh(
        [f"{row['converted by']}, {row['runtime'].split()[0]}" for row in timed],
        [row["median ms"] for row in timed],
        xerr=list(zip(*spread, strict=True)) or None,
        color=["#1f6f8b" if row["converted by"].startswith("mfs-edge") else "#b8b8b8" for row in timed],
    )
    axes.bar_label(bars, fmt="%.1f", padding=4)
    axes.set_xlabel(f"ms per frame, {threads} thread(s), {size} px, float32 ({cpu_model()})")
    axes.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    figure.savefig(path, dpi=100, metadata={"Software": None})
    pyplot.close(figure)
