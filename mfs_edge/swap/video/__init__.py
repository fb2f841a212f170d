"""Video files, through PyAV: frames in and out, everything beside them kept.

with video.open(path, note=say) as source, video.create(out, like=source, note=say) as sink:
    for frame in source:
        swap(frame.pixels)
        sink.write(frame)
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mfs_edge.swap.stream import Source
from mfs_edge.swap.video.encoders import CONTAINERS
from mfs_edge.swap.video.reader import Note, Reader
from mfs_edge.swap.video.writer import Writer

__all__ = ["SUFFIXES", "Reader", "Writer", "create", "open"]

SUFFIXES = tuple(CONTAINERS)  # what can be written; what is read is told by its content


def open(path: Path, *, note: Note) -> Reader:
    """A video file's frames.

    Raises:
        InputError: it holds no video, is cut off or damaged, HDR, transparent, ...
        MissingDependency: the extra ``video`` is not installed.
    """
    return Reader(path, note=note)


def create(out: Path, *, like: Source, note: Note, **options: Any) -> Writer:
    """What takes the frames of ``like``: see :class:`~mfs_edge.swap.video.writer.Writer` for the options."""
    return Writer(out, like=like, note=note, **options)
