"""The demo's whole frames: a drawn film, with a tone, and the face in it swapped by each artefact that runs here.

What is drawn is in ``sample.film``; here it becomes a video file, and goes through ``mfs_edge.swap`` as a user's would.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection
from dataclasses import asdict, dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, Self

import numpy as np

from mfs_edge import target
from mfs_edge.base import extras, files, images
from mfs_edge.base.errors import MissingDependency
from mfs_edge.base.progress import Recorded, Steps
from mfs_edge.bundle.manifest import ArtefactRecord
from mfs_edge.face import models
from mfs_edge.pipeline.compile import Result
from mfs_edge.sample import film as drawing
from mfs_edge.swap import video
from mfs_edge.swap.run import swap
from mfs_edge.swap.stages import Stage
from mfs_edge.swap.video import colour, encoders, turn

FOLDER = "video"
DRAWN, POINTS, PICTURE = "drawn.mp4", "landmarks.json", "whole_frame.png"
SHOWN = 22  # the frame of the picture
_EXTRA = "video"
_NEEDS = ("av", "cv2", "c2pa", "cryptography", "platformdirs", "ai_edge_litert")  # what the extra brings
_CRF, _TICKS, _BLOCK = 14, 12_800, 1024  # of H.264; in a second; samples that AAC takes at once
_GAP = 8  # white pixels between before and after


@dataclass(frozen=True)
class Screened:
    """What one artefact made of the film."""

    target: str
    artefact: str  # its file's name
    video: str = ""  # within the demo's folder; none where it was not run
    reason: str = ""  # why it was not run
    frames: int = 0
    stages: tuple[Stage, ...] = ()

    @property
    def rate(self) -> float | None:
        """Frames per second, everything included; None where it was not run."""
        spent = sum(stage.ms for stage in self.stages)
        return 1000 / spent if spent else None

    def as_json(self) -> dict[str, Any]:
        return {**asdict(self), "frames_per_second": self.rate}


@dataclass(frozen=True)
class Screening:
    """How the film will be swapped."""

    given: bool  # its landmarks are, as no detector is there

    @classmethod
    def prepared(cls, note: Callable[[str], None]) -> Self | None:
        """Before any work: None, and a line, where videos cannot be swapped here.

        Raises:
            InputError: the folder in ``$MFS_EDGE_FACE_MODELS`` does not hold the detector's models.
        """
        try:
            for module in _NEEDS:
                extras.require(module, _EXTRA)
            encoders.chosen(Path(DRAWN))  # not every PyAV has what writes it
        except MissingDependency as error:
            note(f"the drawn video is left out: {error}")
            return None
        try:
            models.find()
        except MissingDependency:
            note(
                "the drawn video's face is not looked for, but given by its known landmarks: the models that find "
                f"faces are not there; fetch them with: {models.COMMAND}"
            )
            return cls(given=True)
        return cls(given=False)

    def show(self, beside: Path, compiled: Result, *, steps: Steps, known: Collection[str]) -> tuple[Screened, ...]:
        """Draw the film, swap it with every artefact of one identity, and put a frame before and after side by side.

        Args:
            beside: the demo's folder, or what stands for it until all is published; the film goes to ``video`` in it.
            compiled: the artefacts.
            steps: told of progress.
            known: notes that were told before.
        """
        folder = beside / FOLDER
        with steps.step("draw a video"), files.writing(folder):
            folder.mkdir(parents=True)
            draw(folder)
        told = set(known)
        screened = []
        for artefact in compiled.manifest.artefacts:
            screened.append(self._swapped(folder, compiled.out, artefact, steps, told))
        if videos := [one.video for one in screened if one.video]:
            images.write_rgb(folder / PICTURE, _before_and_after(folder / DRAWN, beside / videos[0]))
        return tuple(screened)

    def _swapped(self, folder: Path, out: Path, artefact: ArtefactRecord, steps: Steps, told: set[str]) -> Screened:
        """As a user would: ``mfs-edge swap drawn.mp4 drawn-TARGET.mp4 --artefact FILE``."""
        name = Path(artefact.file).name
        reason = target.get(artefact.target).unrunnable()
        if artefact.verification.status == "failed":
            reason = "not run: failed verification"
        if reason:
            return Screened(artefact.target, name, reason=reason)
        video = folder / f"{Path(DRAWN).stem}-{artefact.target}.mp4"
        points = folder / POINTS if self.given else None
        quiet = Recorded()
        with steps.step(f"swap the drawn video with {name}"):
            done = swap(folder / DRAWN, video, artefact=out / artefact.file, landmarks=points, steps=quiet)
        for line in quiet.notes:
            if not line.endswith(tuple(told)):  # each artefact says the same, behind its name
                steps.note(line)
                told.add(line)
        done.require_all()
        return Screened(artefact.target, name, f"{FOLDER}/{video.name}", "", done.stages.frames, done.stages.rows)


def draw(folder: Path) -> None:
    """The film as a file, and its landmarks as ``--landmarks`` takes them: for each frame its faces."""
    av = extras.require("av", _EXTRA)
    size, base = (drawing.WIDTH, drawing.HEIGHT), Fraction(1, _TICKS)
    look = encoders.Look(*size, base, Fraction(drawing.RATE), Fraction(1), colour.sized(*size), turn.Turn())
    points = []
    with av.open(str(folder / DRAWN), "w", options={"fflags": "+bitexact"}) as file:
        pictures = encoders.add(file, encoders.H264, look, {**encoders.H264.options, "crf": str(_CRF)})
        sound = file.add_stream("aac", rate=drawing.SOUND_RATE, layout="mono")
        for index, (pixels, five) in enumerate(drawing.frames()):
            frame = look.colour.frame(pixels, encoders.H264.layout(*size))
            frame.pts, frame.time_base = index * _TICKS // drawing.RATE, base
            file.mux(pictures.encode(frame))
            points.append([np.round(five, 2).tolist()])
        file.mux(pictures.encode(None))
        for frame in _heard(av):
            file.mux(sound.encode(frame))
        file.mux(sound.encode(None))
    (folder / POINTS).write_text(json.dumps(points), encoding="utf-8")


def _heard(av: Any) -> list[Any]:
    wave, blocks = drawing.tone(), []
    for start in range(0, wave.shape[1], _BLOCK):
        part = np.ascontiguousarray(wave[:, start : start + _BLOCK])
        block = av.AudioFrame.from_ndarray(part, format="fltp", layout="mono")
        block.sample_rate, block.pts, block.time_base = drawing.SOUND_RATE, start, Fraction(1, drawing.SOUND_RATE)
        blocks.append(block)
    return blocks


def _before_and_after(before: Path, after: Path) -> np.ndarray:
    """One frame of two videos side by side, as they are read from their files: uint8 [H, W, 3] RGB."""
    first, second = (_frame(path) for path in (before, after))
    return np.hstack([first, np.full((first.shape[0], _GAP, 3), 255, np.uint8), second])


def _frame(path: Path) -> np.ndarray:
    with video.open(path, note=lambda line: None) as source:
        return next(frame.pixels for frame in source if frame.index == SHOWN)
