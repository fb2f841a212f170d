"""Videos in the containers that are read, by ``mfs_edge.swap.video``, and frames through a pipe."""

from __future__ import annotations

import io
import itertools
import tempfile
from collections.abc import Callable
from pathlib import Path

from mfs_edge.swap import pipe, video
from tests.fuzz.registry import Sample, reader
from tests.swap.video import films

SIDE = 32
FILMS = {
    "mp4": films.Film(4, SIDE, SIDE, rotation=90),
    "mkv": films.Film(4, SIDE, SIDE, base=1000, sounds=("flac",)),
    "webm": films.Film(4, SIDE, SIDE, base=1000, codec="libvpx-vp9", sounds=("libopus",), options={"crf": "40"}),
    "avi": films.Film(4, SIDE, SIDE, base=25, times=range(4), codec="mpeg4", sounds=("mp2",), options={}),
}


def _samples(kind: str) -> Callable[[], list[Sample]]:
    def made() -> list[Sample]:
        with tempfile.TemporaryDirectory() as folder:
            return [Sample(films.write(Path(folder) / f"film.{kind}", FILMS[kind]).read_bytes())]

    return made


def read_video(path: Path) -> None:
    """As ``swap`` does: every frame, and the rest of it into a new file."""
    with (
        video.open(path, note=str) as film,
        video.create(path.with_name("out.mkv"), like=film, note=str, overwrite=True) as sink,
    ):
        for frame in film:
            sink.write(frame)


for _kind in FILMS:
    reader(f"video-{_kind}", file=f"film.{_kind}", samples=_samples(_kind), share=0.25)(read_video)


def _y4m() -> list[Sample]:
    header = b"YUV4MPEG2 W4 H4 F30000:1001 Ip A1:1 C420jpeg XCOLORRANGE=LIMITED\n"
    return [Sample(header + (b"FRAME\n" + bytes(range(24))) * 3)]


@reader("pipe", file="frames.y4m", samples=_y4m, share=0.25)
def read_pipe(path: Path) -> None:
    with pipe.open(io.BytesIO(path.read_bytes()), note=str) as source:
        for _ in itertools.islice(source, 8):
            pass
