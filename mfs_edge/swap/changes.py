"""What a swap changed and what it did not, measured on the frames themselves before they are encoded.

A ``Collector`` is told of each frame as it was and as it is. It keeps figures, a few small pictures and the crops
that ArcFace is to look at: the same few however long the stream is.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mfs_edge.base import extras, fidelity, files, pages
from mfs_edge.base.errors import OutputError
from mfs_edge.face import align, crop
from mfs_edge.face.found import Face
from mfs_edge.swap import strip
from mfs_edge.swap.made import Made
from mfs_edge.swap.running import Jitter, Running, Thinned
from mfs_edge.swap.strip import Box, Shown, box

if TYPE_CHECKING:
    from mfs_edge.load.identity import Identity

EXTRA = "swap"
JSON, PAGE = "changes.json", "changes.html"
NOTICE = "this report shows pictures of people: keep it and delete it as you would the pictures themselves"
PICTURES = 8  # of the strip
JUDGED = 24  # frames that ArcFace looks at
_PEAK = 255.0

Embed = Callable[[np.ndarray], "Identity"]  # float32 [112, 112, 3] RGB in 0..255 -> the identity in it


@dataclass
class _Error:
    """Squared differences of pixels, summed up, and each frame's PSNR."""

    frames: Running = field(default_factory=Running)  # dB
    squares: float = 0.0
    values: int = 0

    def add(self, squares: float, values: int) -> None:
        self.squares += squares
        self.values += values
        self.frames.add(_psnr(squares, values))

    @property
    def psnr(self) -> float | None:
        return _psnr(self.squares, self.values) if self.values else None


class Collector:
    """Told of every frame, and at the end writes the report."""

    def __init__(self, *, arcface: Embed | None = None, source: np.ndarray | None = None) -> None:
        """Take what judges likeness, if anything does.

        Args:
            arcface: a ``load.embed.Embedder``; needs torch, and runs in ``write``.
            source: float [512], the embedding of whose face is put in; None: only the target's is compared with.
        """
        self._arcface, self._source = arcface, source
        self.frames = self.faces = self.changed_outside = 0
        self.outside, self.inside = _Error(), _Error()
        self.area, self.share = Running(), Running()
        self.flicker, self.moved, self.moving = Running(), Running(), Running()
        self.smoothed, self.raw = Jitter(), Jitter()
        self._strip: Thinned[Shown] = Thinned(PICTURES)
        self._crops: Thinned[tuple[np.ndarray, np.ndarray]] = Thinned(JUDGED)
        self._seconds = float("-inf")
        self._last: tuple[int, np.ndarray, np.ndarray, set[int]] | None = None

    @staticmethod
    def require_free(folder: Path, *, overwrite: bool) -> None:
        """Before any work.

        Raises:
            OutputError: a report is there already, or ``folder`` is a file or cannot be written.
            MissingDependency: what writes the page is not installed.
        """
        extras.require("jinja2", EXTRA)
        with files.writing(folder):
            _require_place(folder, overwrite=overwrite)

    def add(
        self,
        index: int,
        seconds: float,
        before: np.ndarray,
        after: np.ndarray,
        faces: Sequence[Face],
        raw: Sequence[Face] = (),
    ) -> None:
        """One frame.

        Args:
            index: of the frame, from 0.
            seconds: its presentation time.
            before: uint8 [H, W, 3] RGB as it came; it is kept until the next one, and must not change.
            after: the same size, as it will be encoded, but without a label; it is copied.
            faces: that were swapped.
            raw: the same as they were found, before smoothing, where that is known.
        """
        height, width = before.shape[:2]
        boxes = [box(face.landmarks, height, width) for face in faces]
        if seconds <= self._seconds:  # another picture, and no next one of the same
            self._last, self.smoothed.before, self.raw.before = None, {}, {}
        self._seconds = seconds
        self.frames += 1
        self.faces += len(faces)
        self._compare(before, after, boxes)
        self.smoothed.add(index, list(faces))
        self.raw.add(index, list(raw))
        self._follow(index, before, after, faces, boxes)
        if faces:
            self._strip.add(lambda: strip.shown(index, seconds, before, after, boxes[0]))
        if faces and self._arcface is not None:
            self._crops.add(lambda: (_crop(before, faces[0]), _crop(after, faces[0])))

    def write(self, folder: Path, made: Made, *, overwrite: bool = False) -> list[Path]:
        """Write the report; its figures as JSON, and a page that needs nothing else.

        Raises:
            OutputError: it is there already, or cannot be written.
            MissingDependency: jinja2, or torch for ArcFace, is not installed.
        """
        self.require_free(folder, overwrite=overwrite)
        figures = self.figures(made)
        page = pages.template(Path(__file__).with_name("changes.html.j2"), EXTRA)
        text = page.render(told=figures, strip=[shown.as_urls() for shown in self._strip.kept])
        with files.writing(folder):
            folder.mkdir(parents=True, exist_ok=True)
        files.write_text(folder / JSON, json.dumps(figures, indent=2, allow_nan=False) + "\n")
        files.write_text(folder / PAGE, text)
        return [folder / JSON, folder / PAGE]

    def figures(self, made: Made) -> dict[str, Any]:
        """All that was measured, ready for JSON; PSNR in dB (200 stands for equality), levels of 255."""
        smoothed, raw = self.smoothed.as_json(), self.raw.as_json()
        return {
            "schema_version": 1,
            "notice": NOTICE,
            "made": _made(made),
            "frames": self.frames,
            "faces": self.faces,
            "outside": {
                "identical": self.changed_outside == 0,
                "frames_changed": self.changed_outside,
                "psnr": self.outside.psnr,
                "psnr_worst": self.outside.frames.least if self.outside.values else None,
            },
            "inside": {"psnr": self.inside.psnr, "per_frame": self.inside.frames.as_json()},
            "mask": {"pixels": self.area.as_json(), "share_of_box": self.share.as_json()},
            "flicker": {
                "levels": self.flicker.as_json(),
                "input": self.moved.as_json(),
                "output": self.moving.as_json(),
            },
            "jitter": {"smoothed": smoothed, "raw": raw},
            "likeness": self._likeness(),
        }

    def _compare(self, before: np.ndarray, after: np.ndarray, boxes: Sequence[Box]) -> None:
        cv2 = extras.require("cv2", EXTRA)
        difference = cv2.absdiff(before, after)
        inside = np.zeros(before.shape[:2], bool)
        for each in boxes:
            inside[each.rows, each.columns] = True
            changed = int(np.count_nonzero(difference[each.rows, each.columns].any(axis=2)))
            self.area.add(changed)
            self.share.add(changed / max(each.area, 1))
        within = difference[inside]
        if within.size:
            self.inside.add(_squares(within), within.size)
        difference[inside] = 0
        if rest := difference.size - within.size:
            wrong = _squares(difference)
            self.outside.add(wrong, rest)
            self.changed_outside += wrong > 0

    def _follow(
        self, index: int, before: np.ndarray, after: np.ndarray, faces: Sequence[Face], boxes: Sequence[Box]
    ) -> None:
        """How much more the output changes from frame to frame than the input did, in each face's box."""
        cv2 = extras.require("cv2", EXTRA)
        last, self._last = self._last, (index, before, after.copy(), {face.track for face in faces})
        if last is None or last[0] != index - 1 or last[1].shape != before.shape:
            return
        for face, each in zip(faces, boxes, strict=True):
            if face.track in last[3] and each.area:
                place = (each.rows, each.columns)
                moved = float(cv2.absdiff(before[place], last[1][place]).mean())
                moving = float(cv2.absdiff(after[place], last[2][place]).mean())
                self.moved.add(moved)
                self.moving.add(moving)
                self.flicker.add(moving - moved)

    def _likeness(self) -> dict[str, Any] | None:
        """Cosines of ArcFace's embeddings; of each face only these numbers leave here."""
        if self._arcface is None:
            return None
        to_target, to_source, was = Running(), Running(), Running()
        for before, after in self._crops.kept:
            old, new = (_unit(self._arcface(each).embedding) for each in (before, after))
            to_target.add(float(old @ new))
            if self._source is not None:
                source = _unit(self._source)
                to_source.add(float(new @ source))
                was.add(float(old @ source))
        cosines = {"to_source": to_source, "to_target": to_target, "target_to_source": was}
        return {name: running.as_json() for name, running in cosines.items()}


def _made(made: Made) -> dict[str, Any]:
    return {
        "artefact": made.artefact.name,
        "artefact_sha256": made.artefact_sha256,
        "identity_sha256s": list(made.identity_sha256s),
        "checkpoint_sha256": made.checkpoint_sha256,
        "precision": made.precision,
        "target": made.target,
        "versions": dict(made.versions),
        "warnings": list(made.warnings),
    }


def _squares(difference: np.ndarray) -> float:
    """The sum of squares of bytes [N, 3] or [H, W, 3]."""
    cv2 = extras.require("cv2", EXTRA)
    return float(cv2.norm(difference, cv2.NORM_L2SQR))


def _psnr(squares: float, values: int) -> float:
    return fidelity.psnr(np.array(np.sqrt(squares / values) / _PEAK))


def _unit(embedding: np.ndarray) -> np.ndarray:
    values = np.asarray(embedding, np.float64)
    scaled: np.ndarray = values / max(float(np.linalg.norm(values)), 1e-12)
    return scaled


def _crop(image: np.ndarray, face: Face) -> np.ndarray:
    return crop.reduced(align.align(image, face.landmarks, align.CROP))


def _require_place(folder: Path, *, overwrite: bool) -> None:
    if folder.exists() and not folder.is_dir():
        raise OutputError(f"{folder}: is a file; give a folder for the report")
    for path in (folder / JSON, folder / PAGE):
        if path.exists() and not overwrite:
            raise OutputError(f"{path}: exists already; give another folder, or --overwrite")
    there = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    with tempfile.TemporaryDirectory(dir=there):
        pass  # a video is hours of work, and its report cannot be made afterwards
