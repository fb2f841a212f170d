"""Frames to a video file: encoded in pieces, joined with the original's sound at the end, and published whole."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from mfs_edge.base import files
from mfs_edge.base.errors import CheckFailed, UsageError
from mfs_edge.base.extras import require
from mfs_edge.base.version import __version__
from mfs_edge.swap.stream import Frame, Memory, Source
from mfs_edge.swap.video import colour, encoders, join, proof
from mfs_edge.swap.video.encoders import PIECE, Look, Piece
from mfs_edge.swap.video.join import Plan, Stretch
from mfs_edge.swap.video.reader import Note, Reader
from mfs_edge.swap.video.stop import Stop
from mfs_edge.swap.video.work import Record, Work, record_of

_USUAL = Fraction(30)  # frames per second, where a source does not know


class Writer:
    """A :class:`~mfs_edge.swap.stream.Sink`; a context manager.

    Left without an exception, the file gets its name. Left by Ctrl-C or SIGTERM, what there is gets the name
    ``OUT.partial.SUFFIX`` and plays, with its sound; a live source's recording gets its own name, as that is how
    it ends. Left in any way, the next run can go on.
    """

    def __init__(
        self,
        out: Path,
        *,
        like: Source,
        note: Note,
        overwrite: bool = False,
        resume: bool = False,
        key: Mapping[str, Any] | None = None,
        memory: Memory | None = None,
        finish: Callable[[Path], None] | None = None,
        crf: int | None = None,
        piece: int = PIECE,
    ) -> None:
        """Make sure of everything that can be made sure of before any work.

        Args:
            out: MP4, QuickTime, Matroska or WebM, by its suffix.
            like: where the frames come from: their size and time base, and, of a file, colours, turn and sound. A
                file that is continued gives its frames from the first that is missing.
            note: is told what the user must see.
            overwrite: replace ``out``, or throw away what an earlier run has finished of it.
            resume: continue what an earlier run has finished.
            key: what else decides about the frames, JSON: hashes of artefact and pack, options. A run is only
                continued under the same.
            memory: what remembers from frame to frame. It is asked right behind the last frame of a piece, and
                told when a run goes on; so each frame is to be written before the next one is looked at.
            finish: is given the finished file before it gets its name, and may change it in place.
            crf: quality, 0 (best) to 51; the encoder's own by default.
            piece: frames that are encoded together.

        Raises:
            UsageError: an option cannot be used as given.
            OutputError: ``out`` exists, cannot be written, cannot hold the sound or pictures of that size, or was
                begun under another key.
        """
        self._require_options(out, like, crf, piece, resume)
        self._source, self._note, self._memory, self._finish = like, note, memory, finish
        self._overwrite, self._length = overwrite, piece
        container, self._encoder = encoders.chosen(files.require_text(out))
        self._crf = self._encoder.crf if crf is None else crf
        self._look = _look(like)
        self._shape = (like.height, like.width, 3)
        encoders.require_possible(out, self._encoder, self._look, crf=self._crf)
        path = like.path if isinstance(like, Reader) else None
        found = join.kept(out, container, self._encoder, self._look, path, note) if path is not None else ()
        self._plan = Plan(container, self._look, path, found)
        self._work = Work(out)
        self._work.open({**self._key(path), **(key or {})}, resume=resume, overwrite=overwrite)
        self._piece: Piece | None = None
        self._closed = False
        self._resumable = isinstance(like, Reader)  # a camera and a pipe are gone
        self._stop = Stop()
        try:
            self._go_on()
        except BaseException:
            self._work.leave()
            raise

    @staticmethod
    def _require_options(out: Path, like: Source, crf: int | None, piece: int, resume: bool) -> None:
        low, high = encoders.CRF
        if crf is not None and not low <= crf <= high:
            raise UsageError(f"{out}: a quality of {crf} is not between {low} (best) and {high}; {low} to 30 is usual")
        if piece < 1:
            raise UsageError(f"{out}: pieces of {piece} frames cannot be; give 1 or more")
        if resume and not isinstance(like, Reader):
            raise UsageError(f"{out}: only a video file can be continued with --resume; a camera or a pipe is gone")
        if isinstance(like, Reader) and out.exists() and out.samefile(like.path):
            raise UsageError(f"{out}: is the video itself; choose another name for the result")

    def _key(self, path: Path | None) -> dict[str, Any]:
        av = require("av", colour.EXTRA)
        libraries = {name: ".".join(map(str, version)) for name, version in av.library_versions.items()}
        return {
            "input": files.sha256(path) if path is not None else None,
            "encoder": [self._encoder.name, dict(self._encoder.options), self._crf, encoders.THREADS],
            "length of pieces": self._length,
            "version": {"mfs-edge": __version__, "av": av.__version__, **libraries},
        }

    def _go_on(self) -> None:
        """Behind the last frame that an earlier run has finished."""
        records = self._work.records
        self.first = self._expected = self._work.frames
        if not isinstance(self._source, Reader):
            return
        self._source.first = self.first
        if self._work.published or (records and records[-1].last):
            self._source.done = True
        elif records and self._memory is not None and records[-1].state is not None:
            self._memory.restore(records[-1].state)

    @property
    def encoded_as(self) -> str:
        """The codec, the encoder and its quality, for people."""
        return f"{self._encoder.codec} ({self._encoder.name}, CRF {self._crf})"

    def __enter__(self) -> Self:
        self._stop.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        try:
            if kind is None:
                self._close_or_say()
                return False
            if issubclass(kind, KeyboardInterrupt):
                return self._interrupted()
            self._failed()
            return False
        finally:
            self._work.leave()
            self._stop.__exit__()

    def _close_or_say(self) -> None:
        try:
            self.close()
        except BaseException:
            if not self._closed:
                self._tell_kept()
            raise

    def _tell_kept(self) -> None:
        """Of a run that failed: where its pieces are, if it has any."""
        if not self._work.records:
            self.abandon()
        elif self._resumable:
            self._note(f"{self._work.out}: {self._work.frames} frames are kept; continue with --resume")
        else:
            self._note(f"{self._work.out}: {self._work.frames} frames are kept, in pieces, in {self._work.folder}")

    def abandon(self) -> None:
        """Write nothing: what an earlier run has finished stays, and nothing of this one."""
        if self._work.is_open and not self._work.records and not self._closed:
            self._work.discard()
        self._work.leave()

    def write(self, frame: Frame) -> None:
        """Take the next frame.

        Raises:
            OutputError: the disk is full, ...
            KeyboardInterrupt: Ctrl-C or SIGTERM, behind the frame.
        """
        if frame.index != self._expected or frame.pixels.shape != self._shape:
            raise ValueError(f"frame {frame.index} of {frame.pixels.shape} came, not {self._expected} of {self._shape}")
        pts = frame.pts if frame.pts is not None else round(Fraction(frame.seconds) / self._look.time_base)
        with self._stop.undisturbed(), encoders.encoding(self._work.out):
            if self._piece is None:
                self._piece = Piece(self._encoder, self._look, length=self._length, crf=self._crf)
            self._piece.write(frame, pts)
            self._expected += 1
            if len(self._piece) == self._length:
                self._keep(last=False)

    def _keep(self, *, last: bool) -> None:
        if self._piece is None:
            return
        piece, self._piece = self._piece, None
        made = piece.finished()
        state = self._memory.state() if self._memory is not None else None
        self._work.keep(made, record_of(made, piece.times, piece.durations, state=state, last=last))

    def close(self) -> None:
        """Everything is written: join it, compare it with the original, and give it its name.

        Raises:
            CheckFailed: the file that was made does not hold what was given.
            OutputError: it cannot be written, or something has taken its place.
        """
        if self._closed:
            return
        if not self._work.published:
            self._require_all()
            with self._stop.undisturbed(), encoders.encoding(self._work.out):
                self._keep(last=True)
            self._join(self._stretches())
            proof.require_same(
                self._work.unfinished,
                self._plan,
                [pts for record in self._work.records for pts in record.times],
                self._note,
            )
            if self._finish is not None:
                self._finish(self._work.unfinished)
        with self._stop.undisturbed():
            if self._work.published:
                self._work.discard()
            else:
                self._work.publish(overwrite=self._overwrite)
            self._closed = True

    def _require_all(self) -> None:
        source = self._source
        if isinstance(source, Reader) and not (source.ended and source.read == self._expected):
            raise CheckFailed(
                f"{self._work.out}: {self._expected} frames were written of a video that has more; "
                "what was written is kept, continue with --resume"
            )
        if not self._expected:
            raise CheckFailed(f"{self._work.out}: no frame came, so there is nothing to write")

    def _join(self, stretches: list[Stretch], until: Fraction | None = None) -> None:
        with files.writing(self._work.unfinished):
            join.write(self._work.unfinished, self._plan, stretches, until=until)

    def _stretches(self) -> list[Stretch]:
        return [_stretch(self._work.piece(number), each) for number, each in enumerate(self._work.records)]

    def _interrupted(self) -> bool:
        """Whether that was how it ends."""
        if self._source.live and self._expected:
            self._close_or_say()
            return True
        self._leave_partial()
        return False

    def _failed(self) -> None:
        if self._resumable:
            self._tell_kept()
        else:
            self._leave_partial()

    def _leave_partial(self) -> None:
        """What there is, as a file that plays under a name that says so."""
        if not self._expected or self._closed:
            self.abandon()
            return
        stretches = self._stretches()
        if self._piece is not None:
            made = self._piece.finished()
            stretches.append(Stretch(self._work.aside(made), self._piece.times, self._piece.durations))
            self._piece = None
        end = stretches[-1]
        shown = join.durations(end.times, end.durations, None, gaps=self._look.gaps)[-1]
        self._join(stretches, until=(end.times[-1] + shown) * self._look.time_base)
        if self._finish is not None:
            self._finish(self._work.unfinished)
        self._work.place_partial()
        told = f"{self._work.partial}: plays, with {self._expected} frames"
        self._note(f"{told}; continue with --resume" if self._resumable else told)
        if not self._resumable:
            self._work.discard(keep_partial=True)


def _stretch(path: Path, record: Record) -> Stretch:
    return Stretch(path, record.times, record.durations)


def _look(like: Source) -> Look:
    rate = like.rate or _USUAL
    if isinstance(like, Reader):
        return encoders.alike(like.facts, rate)
    return encoders.plain(like.width, like.height, like.time_base, rate)
