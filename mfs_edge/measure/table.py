"""The rows that the terminal, Markdown and HTML reports share."""

from __future__ import annotations

from mfs_edge.measure.results import Comparison, Entry, Report, Trend

COLUMNS = (
    *("artefact", "device", "MB", "M params", "M MACs"),
    *("load", "first", "min", "p50", "p90", "p99", "fps", "RSS MB"),
)
COMPARED = ("artefact", "against", "device", "verdict", "p50 change", "difference", "noise floor (A/A)", "pairs")
SWITCH_REMARK = "Another identity of the base, set between two frames; medians in ms."
FRAME_REMARK = "Whole frames with one face; medians in ms, and their share. p50 is of all stages together."
PROFILE = ("kernel or stage", "kind", "ms", "share")
SWITCHED = ("artefact", "device", "switch", "first after", "p50", "switches")
TREND = ("artefact", "device", "stored p50", "now", "machine")


def _scaled(value: float | None, divisor: float, digits: int) -> str:
    return "-" if value is None else f"{value / divisor:.{digits}f}"


def _ms(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def entry(row: Entry) -> tuple[str, ...]:
    """Times in ms."""
    facts, latency = row.facts, row.observation.latency
    costs = (_scaled(facts.bytes, 1e6, 2), _scaled(facts.parameters, 1e6, 3), _scaled(facts.macs, 1e6, 1))
    memory = _scaled(row.observation.peak_rss_bytes, 1e6, 0)
    if latency is None:
        return (facts.file, row.device, *costs, *("-",) * 7, memory)
    times = (latency.load_ms, latency.first_ms, latency.min_ms, latency.p50_ms, latency.p90_ms, latency.p99_ms)
    return (facts.file, row.device, *costs, *map(_ms, times), f"{latency.fps:.1f}", memory)


def compared(row: Comparison) -> tuple[str, ...]:
    change = (
        "-" if row.change is None else f"{row.change.estimate:+.1f} % [{row.change.low:+.1f}, {row.change.high:+.1f}]"
    )
    noise = "-" if row.control is None else f"{row.control.low:+.1f} .. {row.control.high:+.1f} %"
    difference = "-" if row.difference_ms is None else f"{row.difference_ms:+.2f} ms"
    return (row.head, row.base, row.device, row.verdict, change, difference, noise, str(row.pairs))


def switched(row: Entry) -> tuple[str, ...]:
    """Times in ms."""
    seen, latency = row.observation.switches, row.observation.latency
    times = (seen.switch_ms, seen.first_ms) if seen else (None, None)
    p50 = latency.p50_ms if latency else None
    return (row.facts.file, row.device, *map(_fine_ms, (*times, p50)), str(seen.switches if seen else 0))


def framed(row: Entry) -> tuple[str, ...]:
    """Times in ms."""
    seen, latency = row.observation.frame, row.observation.latency
    stages = [f"{stage.ms:.2f} ({100 * stage.share:.0f} %)" for stage in seen.stages] if seen else []
    p50, fps = (_ms(latency.p50_ms), f"{latency.fps:.1f}") if latency else ("-", "-")
    return (row.facts.file, row.device, seen.size if seen else "-", *stages, p50, fps)


def _fine_ms(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"  # of the C less than a tenth


def switching(report: Report) -> list[Entry]:
    """The rows of SWITCHED."""
    return [row for row in report.entries if row.observation.switches is not None]


def framing(report: Report) -> list[Entry]:
    """The rows of :func:`frames`."""
    return [row for row in report.entries if row.observation.frame is not None]


def frames(report: Report) -> tuple[str, ...]:
    """The columns of whole frames: of one run, the same stages were chosen for all."""
    stages = next((row.observation.frame.stages for row in report.entries if row.observation.frame), ())
    return ("artefact", "device", "frame", *(stage.stage for stage in stages), "p50", "fps")


def trend(row: Trend) -> tuple[str, ...]:
    machine = "the same" if row.same_machine else "another: not comparable"
    return (row.file, row.device, _ms(row.stored_ms), _ms(row.now_ms), machine)


def profile(row: Entry) -> list[tuple[str, ...]]:
    """Every kernel or stage in run order: per frame, of a session of its own, which may be slower; rows of PROFILE."""
    total = sum(layer.ms for layer in row.observation.layers) or 1.0
    return [
        (layer.name, layer.kind, f"{layer.ms:.3f}", f"{100 * layer.ms / total:.1f} %")
        for layer in row.observation.layers
    ]


def tables(report: Report) -> list[tuple[str, tuple[str, ...], list[tuple[str, ...]]]]:
    """Those that have rows: a remark, the columns, the rows."""
    told = "Stored timings, as a trend; nothing is decided from them."
    found = [
        ("", COLUMNS, [entry(row) for row in report.entries]),
        (FRAME_REMARK, frames(report), [framed(row) for row in framing(report)]),
        (SWITCH_REMARK, SWITCHED, [switched(row) for row in switching(report)]),
        ("", COMPARED, [compared(row) for row in report.comparisons]),
        (told, TREND, [trend(row) for row in report.trends]),
    ]
    return [each for each in found if each[2]]


def details(row: Entry) -> list[str]:
    """What stands below a table about one row."""
    facts, seen = row.facts, row.observation
    lines = [f"{facts.file} on {row.device}: {row.machine_key}"]
    counts = {"FLOPs": facts.flops, "paper's count": facts.paper, "peak activation bytes": facts.peak_activation_bytes}
    counted = [f"{name} {value / 1e6:.1f} M" for name, value in counts.items() if value is not None]
    if counted:
        lines.append("  " + ", ".join(counted))
    if facts.verification is not None:
        lines.append(f"  {facts.precision}, verification: {facts.verification}")
    if seen.coverage is not None:
        taken = seen.coverage
        lines.append(f"  {taken.delegate}: {taken.delegated} of {taken.nodes} nodes in {taken.partitions} partitions")
    if seen.instructions is not None:
        lines.append(f"  {seen.instructions.median / 1e6:.1f} M instructions per frame (emulated; no measure of time)")
    if seen.frame is not None and seen.frame.sighting:
        lines.append(f"  {seen.frame.sighting}")
    before, after = seen.temperature_c
    if before is not None and after is not None:
        lines.append(f"  {before:.0f} C before, {after:.0f} C after")
    return lines + [f"  {note}" for note in seen.notes]


def verdict(report: Report) -> str:
    """One line for the whole run."""
    if report.causes:
        return f"{len(report.causes)} check{'s' * (len(report.causes) > 1)} failed"
    if report.failures:
        return f"{len(report.failures)} device{'s' * (len(report.failures) > 1)} could not be used"
    return "interrupted: partial results" if report.partial else "no check failed"
