"""What the commands print: rich tables for people, one JSON object for machines.

Whatever was not written here (names, metadata, what a device says) is printed through ``styled``: its
brackets are no markup, its escapes do not reach the terminal. JSON escapes them by itself.
"""

from __future__ import annotations

import json as jsonlib
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mfs_edge.base.errors import CheckFailed
from mfs_edge.base.printable import counted, printable, styled
from mfs_edge.bundle import manifest as records

if TYPE_CHECKING:
    from rich.console import Console

    from mfs_edge.about.doctor import Diagnosis
    from mfs_edge.about.inspection import Inspection
    from mfs_edge.base.artefact import Artefact
    from mfs_edge.base.fidelity import Fidelity
    from mfs_edge.face.models import Models
    from mfs_edge.measure.results import Report
    from mfs_edge.pack.make import Made
    from mfs_edge.pipeline.compile import Result
    from mfs_edge.pipeline.demo import DemoResult
    from mfs_edge.pipeline.film import Screened
    from mfs_edge.pipeline.identify import Identified
    from mfs_edge.swap.results import Done, Swapped
    from mfs_edge.swap.stages import Stages


LOG_WIDTH = 160
_NEXT = ("Next: ", "dim")
_TICK = {True: ("yes", "green"), False: ("no", "red")}


def _console(*, stderr: bool = False) -> Console:
    from rich.console import Console

    console = Console(stderr=stderr, highlight=False, soft_wrap=True, markup=False, emoji=False)
    if not console.is_terminal:  # a log has no width; 80 columns would fold every table
        console.width = LOG_WIDTH
    return console


def _print_json(value: Mapping[str, Any]) -> None:
    sys.stdout.write(jsonlib.dumps(value, indent=2, default=str) + "\n")


def _table(title: str | None, columns: Sequence[str], rows: Iterable[Iterable[Any]], right: Iterable[str] = ()) -> Any:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    heading = styled(title) if title else None
    table = Table(title=heading, box=box.SIMPLE_HEAD, title_justify="left", title_style="bold")
    for column in columns:
        table.add_column(styled(column), justify="right" if column in right else "left", overflow="fold")
    for row in rows:
        table.add_row(*(cell if isinstance(cell, Text) else styled(str(cell)) for cell in row))
    return table


def _fidelity(fidelity: Fidelity | None) -> tuple[str, str]:
    return ("-", "-") if fidelity is None else (f"{fidelity.max_abs:.1e}", f"{fidelity.psnr_mean:.1f}")


def _artefact_table(artefacts: Iterable[records.ArtefactRecord]) -> Any:
    rows = []
    for artefact in artefacts:
        checked = artefact.verification
        colour = {"passed": "green", "failed": "red"}.get(checked.status, "yellow")
        rows.append(
            (
                artefact.file,
                *(f"{artefact.bytes / 1e6:.2f}", f"{artefact.parameters / 1e6:.3f}", f"{artefact.macs / 1e6:.1f}"),
                *_fidelity(checked.swapped),
                *_fidelity(checked.mask),
                styled((checked.status, colour), " (evaluator)" if checked.verified == "evaluator" else ""),
            )
        )
    columns = ("file", "MB", "M params", "M MACs", "swapped max", "dB", "mask max", "mask dB", "verified")
    return _table(None, columns, rows, right=columns[1:-1])


def compiled(result: Result, *, seconds: Mapping[str, float], notes: Sequence[str], json: bool) -> None:
    """The result of ``compile``."""
    if json:
        told = {"out": str(result.out), "passed": result.passed, "manifest": result.manifest.model_dump(mode="json")}
        _print_json({**told, "notes": list(notes), "seconds": dict(seconds)})
        return
    console = _console()
    console.print(_artefact_table(result.manifest.artefacts))
    console.print(styled(_NEXT, f"mfs-edge inspect {result.out / result.manifest.artefacts[0].file}"))


def require_passed(result: Result | DemoResult) -> None:
    """Raises CheckFailed, after the table, if a verification failed."""
    failed = [a for a in result.manifest.artefacts if a.verification.status == "failed"]
    if failed:
        worst = failed[0].verification
        sides = {"swapped": worst.swapped, "mask": worst.mask}
        levels = ", ".join(f"{name} {found.psnr_mean:.1f} dB" for name, found in sides.items() if found)
        raise CheckFailed(
            f"{result.out / failed[0].file}: failed verification ({levels}; {worst.min_psnr:g} dB needed); "
            "kept under this name for inspection, do not ship it, or accept it with --min-psnr"
        )


def identified(found: Identified, out: Path, *, seconds: Mapping[str, float], notes: Sequence[str], json: bool) -> None:
    """The result of ``identity``: what was understood, beside what was made of it."""
    identity, record = found.identity, found.record
    if json:
        told = {"out": str(out), "sha256": identity.sha256, "preview": str(found.preview) if found.preview else None}
        _print_json({**asdict(record), **told, "notes": list(notes), "seconds": dict(seconds)})
        return
    console = _console()
    console.print(styled(f"{out}: identity ", (identity.sha256[:12], "bold"), ", 512 + 512x7x7 float32"))
    if record.landmarks is not None:
        fit = f"the landmarks fit a face with a worst residual of {record.residual:.3g} of 112 px"
        usual = "(0 to 10 is usual, more of a face turned away)"
        console.print(styled(f"{record.eye_distance:.4g} px between the eyes; {fit} {usual}"))
    if found.preview is not None:
        console.print(styled("Look at ", (str(found.preview), "bold"), ": this is the face that was read."))
    console.print(styled(("An identity is biometric data: store it as you would a photograph of the person.", "dim")))
    console.print(styled(_NEXT, f"mfs-edge compile --identity {out} --target onnx"))


def face_models(models: Models, *, json: bool) -> None:
    """The result of ``face-models``."""
    if json:
        _print_json(asdict(models))
        return
    how = "fetched" if models.fetched else "there already"
    _console().print(styled((str(models.detector.parent), "bold"), f": both models that find faces, {how}"))


def packed(made: Made, *, seconds: Mapping[str, float], notes: Sequence[str], json: bool) -> None:
    """The result of ``pack make``."""
    if json:
        told = {"out": str(made.out), "packs": [str(path) for path in made.packs], "kept": made.kept}
        _print_json({**told, "failed": made.failed, "notes": list(notes), "seconds": dict(seconds)})
        return
    console = _console()
    size = sum(path.stat().st_size for path in made.packs)
    kept = f", {made.kept} of them kept from before" if made.kept else ""
    console.print(styled(f"{made.out}: ", (f"{len(made.packs)} packs", "bold"), f", {size / 1e6:.2f} MB{kept}"))
    console.print(styled(("A pack is biometric data: store it as you would a photograph of the person.", "dim")))
    if made.packs:
        console.print(styled(_NEXT, f"mfs-edge pack apply BASE {made.packs[0]} -o FILE"))


def applied(artefact: Artefact, *, json: bool) -> None:
    """The result of ``pack apply``."""
    if json:
        _print_json({"out": str(artefact.path), "files": artefact.sha256s})
        return
    console = _console()
    beside = f", with {', '.join(artefact.companions)}" if artefact.companions else ""
    console.print(styled(f"{artefact.path}: ", (artefact.sha256[:12], "bold"), beside))


def swapped(result: Swapped, *, profile: bool, seconds: Mapping[str, float], notes: Sequence[str], json: bool) -> None:
    """The result of ``swap``: which faces were found and whose they got, or how many pictures came out how."""
    if json:
        _print_json({**result.as_json(), "notes": list(notes), "seconds": dict(seconds)})
        return
    console = _console(stderr=str(result.out) == "-")  # where frames go no table can
    if len(result.done) == 1:
        _file(console, result.done[0])
    else:
        counts = {status: len(result.of(status)) for status in ("swapped", "kept", "no face", "failed")}
        told = ", ".join(f"{count} {status}" for status, count in counts.items() if count)
        console.print(styled(f"{result.out}: {counted(len(result.done), 'picture')}, ", (told or "nothing", "bold")))
    if result.of("swapped"):
        console.print(styled(("Whoever shows this must say that faces in it were swapped.", "dim")))
    for path in result.report:
        console.print(styled("Look at ", (str(path), "bold")))
    if profile:
        console.print(_stages(result.stages))


def _file(console: Console, done: Done) -> None:
    rows = [
        (f"{face.x:g}, {face.y:g}", f"{face.eyes:g}", f"{face.score:.2f}", face.person or "-") for face in done.faces
    ]
    if rows:
        title = f"{done.source}: {counted(len(rows), 'face')} in {done.width}x{done.height}"
        console.print(_table(title, ("at", "px between the eyes", "score", "gets"), rows))
    if done.made is not None and not done.reason:
        frames = "" if done.faces else f" in {counted(done.frames, 'frame')}"  # of a photo the table tells the faces
        name = "standard output" if done.out == "-" else done.out
        console.print(styled((name, "bold"), f": {counted(done.swapped, 'face')} swapped{frames}"))


def _stages(stages: Stages) -> Any:
    total = sum(row.ms for row in stages.rows)
    rows = [(row.stage, f"{row.ms:.2f}", f"{100 * row.share:.0f} %") for row in stages.rows]
    rows.append(("total", f"{total:.2f}", "" if total == 0 else f"{1000 / total:.1f} frames/s"))
    return _table(
        f"where the time went: {counted(stages.frames, 'frame')}",
        ("stage", "ms per frame", "share"),
        rows,
        {"ms per frame", "share"},
    )


def inspected(inspection: Inspection, *, json: bool) -> None:
    """The result of ``inspect``."""
    if json:
        _print_json({"kind": inspection.kind, "path": str(inspection.path), **inspection.facts, **inspection.tables})
        return
    console = _console()
    facts = [(key, f"{value:,}" if isinstance(value, int) else value) for key, value in inspection.facts.items()]
    console.print(_table(f"{inspection.path}: {inspection.kind}", ("", ""), facts))
    for title, rows in inspection.tables.items():
        columns = list(rows[0]) if rows else []
        cells = ([f"{v:,}" if type(v) is int else v for v in row.values()] for row in rows)
        console.print(_table(title, columns, cells))


def demonstrated(result: DemoResult, *, seconds: Mapping[str, float], notes: Sequence[str], json: bool) -> None:
    """The result of ``demo``."""
    if json:
        _print_json({**result.as_json(), "notes": list(notes), "seconds": dict(seconds)})
        return
    console = _console()
    console.print(_artefact_table(result.manifest.artefacts))
    levels = ((f"{result.teacher_psnr:.1f} dB", "bold"), f" (copying the target: {result.copy_psnr:.1f} dB).")
    console.print(styled("Swaps agree with the teacher's answers at ", *levels))
    if result.film:
        console.print(_film(result.film))
    drawn = ". These weights were trained on drawn faces, not for photographs."
    console.print(styled("Look at ", (str(result.sheet), "bold"), drawn))
    if result.picture is not None:
        shown = f": a whole frame before and after; {result.picture.parent} holds the videos."
        console.print(styled("Look at ", (str(result.picture), "bold"), shown))
    console.print(styled(_NEXT, "mfs-edge compile --checkpoint YOUR.pdparams --identity id.npy --target all"))


def _film(film: Sequence[Screened]) -> Any:
    """A row for each artefact: frames per second, and milliseconds of each stage."""
    stages = [stage.stage for stage in next((one.stages for one in film if one.stages), ())]
    rows = []
    for one in film:
        if one.rate is None:
            rows.append((one.artefact, one.reason, *["-"] * (1 + len(stages))))
        else:
            rows.append((one.artefact, one.video, f"{one.rate:.1f}", *(f"{stage.ms:.2f}" for stage in one.stages)))
    frames = counted(max(one.frames for one in film), "frame")
    title = f"the drawn video, {frames}: ms per frame of each stage"
    return _table(title, ("artefact", "video", "frames/s", *stages), rows, {"frames/s", *stages})


def benched(report: Report, *, profile: bool = False) -> None:
    """The result of ``bench``, with ``profile`` each artefact's kernels, too.

    Causes and failures are on standard error, one line each but the last: that one is for the
    exception that ends the program.
    """
    from mfs_edge.measure import table

    console = _console()
    for _, columns, rows in table.tables(report):
        right = set(columns) - {"artefact", "against", "device", "verdict", "machine"}
        console.print(_table(None, columns, rows, right))
        if columns is table.COLUMNS:
            for line in (line for entry in report.entries for line in table.details(entry)):
                console.print(styled((line, "dim")))
    for entry in report.entries if profile else ():
        rows = table.profile(entry)
        title = f"{entry.facts.file} on {entry.device}" + ("" if rows else ": its runtime tells no kernels")
        console.print(_table(title, table.PROFILE, rows, {"ms", "share"}))
    for note in report.notes:
        console.print(styled(("note:", "yellow"), f" {note}"))
    for line in (*report.failures, *report.causes)[:-1]:
        sys.stderr.write(f"mfs-edge: {printable(line)}\n")


def diagnosed(diagnosis: Diagnosis, *, json: bool) -> None:
    """The result of ``doctor``."""
    if json:
        _print_json(asdict(diagnosis))
        return
    console = _console()
    console.print(styled(f"mfs-edge {diagnosis.version}, Python {diagnosis.python}, {diagnosis.platform}"))
    console.print(_table("compiler", ("module", "version"), diagnosis.compiler.items()))
    for problem in diagnosis.problems:
        console.print(styled(("!", "red"), f" {problem}"))
    rows = []
    for t in diagnosis.targets:
        offered = (", ".join(t.precisions), ", ".join(t.io_forms))
        rows.append((t.name, styled(_TICK[t.emits]), styled(_TICK[t.runs]), *offered, t.remedy))
    console.print(_table("targets", ("target", "emits", "runs", "precisions", "io", "remedy"), rows))
    options = [list(vars(option).values()) for t in diagnosis.targets for option in t.options]
    console.print(_table("target options, for compile --set", ("option", "type", "default", "what it is"), options))
    for name, found in diagnosis.devices.items():
        console.print(styled(f"{name}: ", _TICK[found.possible], f", {found.said}"))
