"""``mfs-edge demo``: the main job, start to finish, on the embedded faces."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mfs_edge import bundle, sample, target
from mfs_edge.base import fidelity, files, images
from mfs_edge.base.errors import MissingDependency
from mfs_edge.base.progress import Steps
from mfs_edge.base.version import __version__
from mfs_edge.bundle import manifest as records
from mfs_edge.face.crop import arcface_input
from mfs_edge.load import identity as identities
from mfs_edge.load.checkpoint import Checkpoint
from mfs_edge.load.embed import Embedder
from mfs_edge.load.identity import Identity
from mfs_edge.pipeline import compile as pipeline
from mfs_edge.pipeline import film, site
from mfs_edge.pipeline.film import Screened, Screening
from mfs_edge.sample import weights
from mfs_edge.verify import judge, sheet
from mfs_edge.verify.reference import on_each, reference_of

SHOWN = ((0, 0), (3, 12), (6, 24))  # (identity, target) pairs on the sheet, whose answers are known
FILMED = 2  # of these: whose face the person in the drawn video gets
SHEET = "contact_sheet.png"
IDENTITIES = "identities"
FOLDERS = tuple(f"identity-{number}" for number, _ in SHOWN)
OURS = (SHEET, IDENTITIES, film.FOLDER, *FOLDERS, site.FOLDER)


@dataclass(frozen=True)
class DemoResult:
    """What the demo wrote and found."""

    out: Path
    manifest: records.Manifest  # of all identities; file names relative to ``out``
    sheet: Path
    teacher_psnr: float  # dB, reference swaps against the teacher's answers, all eight identities
    copy_psnr: float  # dB, of copying the target instead
    film: tuple[Screened, ...] = ()  # the drawn video; none where videos cannot be swapped here

    @property
    def picture(self) -> Path | None:
        """A frame of it before and after."""
        return self.out / film.FOLDER / film.PICTURE if any(one.video for one in self.film) else None

    def as_json(self) -> dict[str, Any]:
        shown = {"out": str(self.out), "sheet": str(self.sheet), "video": [one.as_json() for one in self.film]}
        levels = {"teacher_psnr": self.teacher_psnr, "copy_psnr": self.copy_psnr}
        return {**shown, **levels, "manifest": self.manifest.model_dump(mode="json")}


def demo(out: Path, *, overwrite: bool, detector: Path | None = None, steps: Steps) -> DemoResult:
    """Rebuild the checkpoints, read identities from pictures, compile, verify, draw, swap a drawn video.

    Args:
        out: the folder; ``overwrite`` allows one that holds other files.
        detector: what the page finds faces with, as of :func:`mfs_edge.pipeline.site.make`.
        steps: told of progress.

    Raises:
        MfsEdgeError: one line saying what is wrong.
    """
    check(out, overwrite=overwrite)
    if detector is not None:
        site.detecting(detector)  # what is missing is told before minutes of work
    warnings = [sample.WARNING]
    steps.note(sample.WARNING)
    screening = Screening.prepared(warnings.append)
    for line in warnings[1:]:
        steps.note(line)
    with steps.step("rebuild the demo checkpoints"):
        arcface, iin = weights.checkpoint("arcface"), weights.checkpoint("iin")
    with steps.step(f"read {sample.IDENTITIES} identities from pictures"):
        embed = Embedder(arcface)
        crops = [arcface_input(sample.identity_picture(i), f"identity {i}") for i in range(sample.IDENTITIES)]
        people = [embed(crop) for crop in crops]
    with steps.step("swap all faces and compare with the teacher"):
        references = {i: reference_of(iin, person) for i, person in enumerate(people)}
        teacher, copied = _against_teacher(references)
    with bundle.staging(out, steps.note) as stage:
        results = []
        for number, _ in SHOWN:
            steps.note(f"identity {number}")
            results.append(_compile(iin, people[number], stage, number, steps=steps))
        made = [(result.out, result.manifest) for result in results]
        made += _page(iin, people, stage, detector, steps=steps)
        with steps.step("draw the contact sheet"):
            images.write_rgb(bundle.beside(stage) / SHEET, _sheet(results, references))
        beside, compiled = bundle.beside(stage), results[FILMED]
        screened = screening.show(beside, compiled, steps=steps, known=warnings) if screening else ()
        manifest = publish(stage, out, made, warnings)
    return DemoResult(out, manifest, out / SHEET, teacher, copied, screened)


def page_of(out: Path) -> Path | None:
    """The page of the demo that this version has made in ``out``; None if there is none."""
    page, manifest = out / site.FOLDER, out / bundle.MANIFEST
    if not (page / site.START).exists() or not manifest.exists():
        return None
    return page if records.read(manifest).versions.get("mfs-edge") == __version__ else None


def require_page(out: Path) -> Path:
    """The same.

    Raises:
        MissingDependency: the demo was made without it.
    """
    if page := page_of(out):
        return page
    how = f"pip install 'mfs-edge[{target.get(site.TARGET).extra}]'"
    raise MissingDependency(
        f"{out}: holds no page, as {', '.join(site.missing())} was not installed; {how}, and run it again"
    )


def check(out: Path, *, overwrite: bool) -> None:
    """Raises OutputError if the demo cannot write to ``out`` and its folders, as ``bundle.check_folder`` says."""
    bundle.check_folder(out, overwrite=overwrite, ours=OURS)
    if not (out / bundle.MANIFEST).exists():  # no demo has ended here, and a folder of that name is somebody else's
        bundle.check_folder(out, overwrite=overwrite)
    named = bundle.named(out)
    for folder in (*FOLDERS, site.FOLDER):
        ours = {name.parts[1] for name in named if len(name.parts) > 1 and name.parts[0] == folder}
        ours |= set(site.OURS) if folder == site.FOLDER else set()
        bundle.check_folder(out / folder, overwrite=overwrite, ours=ours)


def publish(
    stage: Path,
    out: Path,
    made: Sequence[tuple[Path, records.Manifest]],
    warnings: Sequence[str] = (sample.WARNING,),
) -> records.Manifest:
    """All that was made, in one step.

    Args:
        stage: in ``out``; its folder ``beside`` holds the sheet, the identities and the videos.
        made: folders in ``stage`` with the manifests of what they hold; each keeps its own, too.
        warnings: what the manifest of all says.

    Returns:
        The manifest of all, with paths relative to ``out``.
    """
    manifest = _merge(made, stage).model_copy(update={"warnings": tuple(warnings)})
    with files.writing(out):
        for folder, _ in made:
            own = bundle.beside(stage) / folder.relative_to(stage) / bundle.MANIFEST
            own.parent.mkdir(parents=True, exist_ok=True)
            files.replace(folder / bundle.MANIFEST, own)
    return bundle.publish(stage, out, manifest)


def _compile(iin: Checkpoint, person: Identity, stage: Path, number: int, *, steps: Steps) -> pipeline.Result:
    """As a user would: the identity through its file, then ``mfs-edge compile --target all``."""
    saved = bundle.beside(stage) / IDENTITIES / f"identity-{number}.npy"
    with files.writing(saved):
        saved.parent.mkdir(parents=True, exist_ok=True)
    identities.save(person, saved)
    folder = stage / f"identity-{number}"
    return pipeline.compile(identity=saved, checkpoint=iin, target="all", out=folder, steps=steps)


def _page(
    iin: Checkpoint, people: Sequence[Identity], stage: Path, detector: Path | None, *, steps: Steps
) -> list[tuple[Path, records.Manifest]]:
    """The page with all people, or a line that says why there is none."""
    if lacking := site.missing():
        how = f"pip install 'mfs-edge[{target.get(site.TARGET).extra}]'"
        steps.note(f"skipped the page: {', '.join(lacking)} not installed ({how})")
        return []
    steps.note("the page")
    beside = bundle.beside(stage) / site.FOLDER
    made = site.make(people, iin, stage / site.FOLDER, beside, detector=detector, steps=steps)
    return [(made.out, made.manifest)]


def _against_teacher(references: dict[int, Any]) -> tuple[float, float]:
    """Mean PSNR of swapping, and of copying the target, over every known answer."""
    levels = []
    for number, reference in references.items():
        shown = [face for identity, face in sample.answers() if identity == number]
        targets = [images.to_nchw(sample.target(face)) for face in shown]
        for face, image, found in zip(shown, targets, on_each(reference, targets), strict=True):
            answer = images.to_nchw(sample.answer(number, face))
            levels.append((fidelity.psnr(found["swapped"] - answer), fidelity.psnr(image - answer)))
    teacher, copied = np.mean(levels, axis=0)
    return float(teacher), float(copied)


def _sheet(results: list[pipeline.Result], references: dict[int, Any]) -> np.ndarray:
    """A row per identity: identity, target, reference, then each artefact and its difference."""
    columns = ["identity", "target", "reference"]
    rows: list[list[np.ndarray]] = []
    for (number, shown), result in zip(SHOWN, results, strict=True):
        image = images.to_nchw(sample.target(shown))
        expected = references[number](image)["swapped"]
        row = [sample.identity_picture(number), sample.target(shown), images.to_bytes(expected)]
        for artefact in result.manifest.artefacts:
            runner = judge.opened(target.get(artefact.target), result.out / artefact.file)
            if runner is None:
                continue
            output = runner.run(image)["swapped"]
            row += [images.to_bytes(output), sheet.difference(expected, output)]
            if not rows:
                columns += [f"{artefact.target} {artefact.precision}", f"difference x{sheet.GAIN}"]
        rows.append(row)
    return sheet.contact_sheet(columns, rows, "mfs-edge demo: weights trained on drawn faces, not for photographs")


def _merge(made: Sequence[tuple[Path, records.Manifest]], stage: Path) -> records.Manifest:
    """One manifest for the whole folder, with paths relative to it."""
    artefacts = []
    for path, manifest in made:
        folder = path.relative_to(stage).as_posix()
        for artefact in manifest.artefacts:
            renamed = {f"{folder}/{name}": digest for name, digest in artefact.files.items()}
            artefacts.append(artefact.model_copy(update={"file": f"{folder}/{artefact.file}", "files": renamed}))
    return made[0][1].model_copy(update={"artefacts": tuple(artefacts)})
