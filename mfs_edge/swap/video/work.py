"""The folder in which a video grows: finished pieces, and what is needed to go on after any end.

A piece counts once its record is there, and that is written behind it; both take their names by a rename. So a
run that is killed leaves pieces that play, and the next one does only what is missing. ``play.ffconcat`` lists
them for players (mpv, ffplay).
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mfs_edge.base import files
from mfs_edge.base.errors import OutputError
from mfs_edge.bundle import lock

if TYPE_CHECKING:
    from filelock import BaseFileLock

_RUN, _LOCK, _LIST, _PARTIAL = "run.json", "lock", "play.ffconcat", "partial"
_ORDER = {_LIST: -1, _RUN: 1}  # of going: what leads to the others first, what says whose they were last
_RESULT = "result"  # in run.json: the hash of what is about to get its name


@dataclass(frozen=True)
class Record:
    """A finished piece."""

    times: list[int]  # of its frames, in the video's time base
    durations: list[int]
    sha256: str
    state: dict[str, Any] | None  # of what remembers from frame to frame, behind the last of them
    last: bool  # no frame follows


class Work:
    """The folder beside ``out``; whoever has it open is the only one."""

    def __init__(self, out: Path) -> None:
        self.out = out
        self.folder = out.with_name(f".{out.name}.mfs-edge")
        self.unfinished = self.folder / f"unfinished{out.suffix}"
        self.partial = out.with_name(f"{out.stem}.partial{out.suffix}")
        self.records: list[Record] = []
        self.published = False  # by a run that was killed right behind the last rename
        self._lock: BaseFileLock | None = None

    def open(self, key: Mapping[str, Any], *, resume: bool, overwrite: bool) -> None:
        """Take the folder, and find what an earlier run finished in it.

        Args:
            key: what decides about the result, JSON; a run is only continued under the same.
            resume: continue what is there, where something is.
            overwrite: ``out`` may be replaced, and an earlier run's folder thrown away.

        Raises:
            OutputError: somebody else has it, it must not be replaced, or was begun under another key.
        """
        if not self.out.parent.is_dir():
            raise OutputError(f"{self.out}: there is no folder {self.out.parent}; make it, or choose another name")
        with files.writing(self.folder):
            self.folder.mkdir(exist_ok=True)
            self._take()
            self._require_ours()
            try:
                self._begin(json.loads(json.dumps(key)), resume=resume, overwrite=overwrite)
            except BaseException:
                self.leave()
                raise

    def _take(self) -> None:
        import filelock

        soft = lock.soft(self.folder)
        try:
            self._lock = lock.taken(self.folder / _LOCK, soft=soft)
        except filelock.Timeout as error:
            hint = f", or delete {self.folder / _LOCK} if there is no such run" if soft else ""
            raise OutputError(
                f"{self.out}: another run is writing it; wait for it{hint}, or choose another name"
            ) from error

    def _require_ours(self) -> None:
        strangers = {path.name for path in self.folder.iterdir()} - {_LOCK}
        if strangers and not (self.folder / _RUN).exists() and not all(map(files.temporary_of, strangers)):
            self.leave()
            raise OutputError(f"{self.folder}: was not made by mfs-edge, and its name is needed; move it away")

    def _begin(self, key: dict[str, Any], *, resume: bool, overwrite: bool) -> None:
        before = self._key()
        self.records = self._found() if before is not None else []
        self.published = before is not None and resume and self._is_published()
        if before is not None and resume and (self.records or self.published):
            self._require_same(before, key)
        if not overwrite and not self.published:
            self._require_free(self.out)
            if not self._is_partial_ours():
                self._require_free(self.partial)
        if self.records and not resume and not overwrite:
            raise OutputError(
                f"{self.out}: {self.frames} frames of it are finished in {self.folder}; continue with --resume "
                "(a video file), play them there, or begin again with --overwrite"
            )
        if not self.published and not (self.records and resume):
            self._clear()
            files.write_text(self.folder / _RUN, json.dumps(key, indent=1))

    @property
    def is_open(self) -> bool:
        return self._lock is not None

    @property
    def frames(self) -> int:
        return sum(len(record.times) for record in self.records)

    def _require_free(self, path: Path) -> None:
        if path.exists():
            raise OutputError(f"{path}: exists; choose another name, or replace it with --overwrite")

    def _require_same(self, before: dict[str, Any], key: dict[str, Any]) -> None:
        other = [name for name in {**before, **key} if before.get(name) != key.get(name) and name != _RESULT]
        if other:
            raise OutputError(
                f"{self.out}: was begun with another {' and another '.join(other)}; continue with the same, "
                "or begin again with --overwrite"
            )

    def _key(self) -> dict[str, Any] | None:
        """Under what an earlier run began; None where none did, or it was killed before."""
        try:
            told = json.loads((self.folder / _RUN).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        return told if isinstance(told, dict) else None

    def _found(self) -> list[Record]:
        """Records up to the first that is missing, or whose piece is not what was written."""
        found: list[Record] = []
        while (record := self._read(len(found))) is not None:
            found.append(record)
        return found

    def _read(self, number: int) -> Record | None:
        path = self.folder / f"{number:06d}.json"
        try:
            record = Record(**json.loads(path.read_text(encoding="utf-8")))
            whole = files.sha256(self.piece(number)) == record.sha256
        except (OSError, ValueError, TypeError):
            return None
        return record if whole else None

    def piece(self, number: int) -> Path:
        """The file of a piece, from 0."""
        return self.folder / f"{number:06d}.mp4"

    def keep(self, piece: bytes, record: Record) -> None:
        """A piece is finished.

        Raises:
            OutputError: the disk is full, ...
        """
        number = len(self.records)
        with files.atomic(self.piece(number)) as temporary:
            temporary.write_bytes(piece)
        files.write_text(self.folder / f"{number:06d}.json", json.dumps(asdict(record)))
        self.records.append(record)
        named = (f"file {self.piece(each).name}\n" for each in range(len(self.records)))
        files.write_text(self.folder / _LIST, "ffconcat version 1.0\n" + "".join(named))

    def aside(self, piece: bytes) -> Path:
        """Write a piece that does not count: the run that continues makes it again, whole."""
        path = self.folder / f"last{self.piece(0).suffix}"
        with files.atomic(path) as temporary:
            temporary.write_bytes(piece)
        return path

    def place_partial(self) -> None:
        """What is unfinished gets the name that says so."""
        files.write_text(self.folder / _PARTIAL, "")
        files.sync(self.unfinished)
        files.replace(self.unfinished, self.partial)

    def _is_partial_ours(self) -> bool:
        return (self.folder / _PARTIAL).exists()

    def publish(self, *, overwrite: bool) -> None:
        """What is unfinished is finished: it gets its name, and the folder goes.

        Raises:
            OutputError: somebody has put something in its place meanwhile; the folder stays.
        """
        with files.writing(self.out):
            if not overwrite:
                self._require_free(self.out)
            files.sync(self.unfinished)
            files.write_text(
                self.folder / _RUN,
                json.dumps({**(self._key() or {}), _RESULT: files.sha256(self.unfinished)}, indent=1),
            )
            files.replace(self.unfinished, self.out)
            self.discard()

    def _is_published(self) -> bool:
        """Whether an earlier run was killed between the last rename and the end."""
        with contextlib.suppress(OSError):
            return (self._key() or {}).get(_RESULT) == files.sha256(self.out)
        return False

    def discard(self, *, keep_partial: bool = False) -> None:
        """The folder and everything in it is no longer needed."""
        if keep_partial:
            (self.folder / _PARTIAL).unlink(missing_ok=True)
        self._clear()
        self.leave()

    def _clear(self) -> None:
        if self._is_partial_ours():
            self.partial.unlink(missing_ok=True)
        self.records = []
        inside = [path for path in self.folder.iterdir() if path.name != _LOCK]
        for path in sorted(inside, key=lambda path: _ORDER.get(path.name, 0)):
            files.delete(path)

    def leave(self) -> None:
        """Let others have the folder; it goes, if nothing is in it."""
        if self._lock is None:
            return
        inside = {path.name for path in self.folder.iterdir()} - {_LOCK}
        with contextlib.suppress(OSError):  # while it is held, so that nobody waits for a file that is gone
            if not inside:
                (self.folder / _LOCK).unlink()
        self._lock.release()
        self._lock = None
        with contextlib.suppress(OSError):
            self.folder.rmdir()


def record_of(
    piece: bytes, times: list[int], durations: list[int], *, state: dict[str, Any] | None, last: bool
) -> Record:
    """What is remembered of a piece."""
    return Record(times, durations, hashlib.sha256(piece).hexdigest(), state, last)
