"""What an enrolment artefact reads from faces, against the torch path: judged by the pictures that come of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from mfs_edge import sample
from mfs_edge.base import fidelity, images
from mfs_edge.base.fidelity import Fidelity, Outputs
from mfs_edge.base.progress import Steps
from mfs_edge.bundle.manifest import ArtefactRecord, Verification
from mfs_edge.face import crop as crops
from mfs_edge.load.checkpoint import Checkpoint
from mfs_edge.load.embed import Embedder
from mfs_edge.networks import spec
from mfs_edge.target import PAYLOAD, Target
from mfs_edge.verify import judge
from mfs_edge.verify.reference import on_each, reference_of

MIN_PSNR = {"fp32": 70.0, "fp16": 50.0, "int8": 40.0}
FACES = (0, 8, 16, 24)  # of the drawn ones
TARGETS = (4, 20)  # pictures that each of them is swapped onto

Decode = Callable[[np.ndarray], Mapping[str, np.ndarray]]
Read = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Exam:
    """Faces, and what the torch path makes of pictures with each.

    Attributes:
        crops: float32 [1, 3, 224, 224] RGB in 0..1.
        expected: for each crop, the outputs for each of ``pictures``.
        pictures: float32 [1, 3, 224, 224] in 0..1.
        iin: the checkpoint, for what the identities share.
        decode: a payload [N] -> the identity's tensors.
    """

    crops: Sequence[np.ndarray]
    expected: Sequence[Sequence[Outputs]]
    pictures: Sequence[np.ndarray]
    iin: Checkpoint
    decode: Decode


def examined(
    arcface: Checkpoint, iin: Checkpoint, decode: Decode, *, faces: Sequence[np.ndarray] | None = None
) -> Exam:
    """The exam of two checkpoints.

    Args:
        arcface: reads the faces.
        iin: makes weights of what was read.
        decode: see ``Exam``.
        faces: uint8 [224, 224, 3] RGB each; None takes drawn ones.
    """
    shown = [sample.target(n) for n in FACES] if faces is None else faces
    pictures = [images.to_nchw(sample.target(n)) for n in TARGETS]
    embedder = Embedder(arcface)
    expected = []
    for face in shown:
        reference = reference_of(iin, embedder(crops.reduced(face)))
        expected.append(on_each(reference, pictures))
    return Exam([images.to_nchw(face) for face in shown], expected, pictures, iin, decode)


def swapped_with(iin: Checkpoint, local: Mapping[str, np.ndarray]) -> Callable[[np.ndarray], Outputs]:
    """The torch IDN in float64, as a function of an image [1, 3, S, S] in 0..1.

    Args:
        iin: the checkpoint, whose pointwise weights and heads all identities share.
        local: the identity's tensors, see ``spec.local_shapes``.
    """
    import torch

    from mfs_edge.base.threads import one_thread
    from mfs_edge.networks import loading
    from mfs_edge.networks.idn import IDN

    idn = loading.instantiate(IDN, {**shared(iin), **local}, dtype=torch.float64)

    def run(image: np.ndarray) -> Outputs:
        with one_thread():
            swapped, mask = idn(torch.from_numpy(image).double())
        return {"swapped": swapped.numpy(), "mask": mask.numpy()}

    return run


def shared(iin: Checkpoint) -> dict[str, np.ndarray]:
    """What all identities of a checkpoint share in the identity-local form, by the IDN's keys: [O, I, k, k] and [C]."""
    heads = {key: value for key, value in iin.tensors.items() if key in spec.head_shapes()}
    stages = {"Encoder": len(spec.ENCODER_CHANNELS) - 1, "Decoder": len(spec.DECODER_OUT)}
    pointwise = {
        f"{branch}.{i}.1.weight": iin.tensors[f"{branch}Modulation.{i}.weight"]
        for branch, count in stages.items()
        for i in range(count)
    }
    return heads | pointwise


def measured(read: Read, exam: Exam) -> dict[str, Fidelity]:
    """Fidelity of the pictures that come of what ``read`` makes of each crop."""
    pairs = []
    for crop, expected in zip(exam.crops, exam.expected, strict=True):
        run = swapped_with(exam.iin, exam.decode(read(crop)))
        pairs += list(zip(on_each(run, exam.pictures), expected, strict=True))
    return fidelity.between([found for found, _ in pairs], [wanted for _, wanted in pairs])


def prove(
    artefact: ArtefactRecord, target: Target, exam: Exam, stage: Path, *, min_psnr: float | None, steps: Steps
) -> ArtefactRecord:
    """``artefact`` with its verification; renamed in ``stage`` if it failed. See ``judge.prove``."""
    unrunnable = target.unrunnable()
    if unrunnable is not None:
        steps.note(f"{artefact.file}: {unrunnable}")
    with steps.step(f"verify {artefact.file}"):
        found = _found(target, stage / artefact.file, exam)
    if found is None:
        not_run = Verification(status="not verified", verified="no", run=str(unrunnable))
        return artefact.model_copy(update={"verification": not_run})
    measured, execution, warnings = found
    threshold = MIN_PSNR[artefact.precision] if min_psnr is None else min_psnr
    verification = Verification(
        status="passed" if fidelity.passes(measured, threshold) else "failed",
        verified="runtime" if unrunnable is None else "evaluator",
        run=unrunnable or " / ".join(target.run_needs),
        execution=execution,
        pictures=f"{len(exam.crops)} faces, each swapped onto {len(exam.pictures)} pictures",
        min_psnr=threshold,
        swapped=measured["swapped"],
        mask=measured["mask"],
    )
    proven = artefact.model_copy(update={"verification": verification, "warnings": (*artefact.warnings, *warnings)})
    return judge.reject(proven, stage) if verification.status == "failed" else proven


def _found(target: Target, path: Path, exam: Exam) -> tuple[dict[str, Fidelity], str, list[str]] | None:
    """What it reaches, what executed it, and what that runtime has to be told of; None where nothing can run it."""
    if target.unrunnable() is None:
        loaded = target.load(path)
        return measured(loaded.enrol, exam), f"{loaded.engine.title} {loaded.engine.version}", loaded.warnings()
    evaluator = target.evaluator(path)
    if evaluator is None:
        return None
    return measured(partial(_payload, evaluator.run), exam), evaluator.execution(), []


def _payload(run: Callable[[np.ndarray], Outputs], crop: np.ndarray) -> np.ndarray:
    return run(crop)[PAYLOAD].ravel()
