"""``mfs-edge swap`` as a user calls it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from mfs_edge.base import images
from tests.swap.conftest import ASTRONAUT, Built, astronaut, built, points, written

__all__ = ["built"]  # the fixture
Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """``mfs-edge swap ARGS`` beside a photo and its landmarks, without the caller's settings."""
    written(tmp_path / "in.png", astronaut())
    points(tmp_path / "in.txt", ASTRONAUT)
    environment = {k: v for k, v in os.environ.items() if not k.startswith("MFS_EDGE")}

    def run(*arguments: str | Path, code: int = 0) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "mfs_edge", "swap", *map(str, arguments)]
        done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=environment, timeout=300)
        assert done.returncode == code, done.stderr
        assert "Traceback" not in done.stderr
        lines = [line for line in done.stderr.splitlines() if line.startswith("mfs-edge: ")]
        assert len(lines) == (code > 0)
        return done

    return run


def test_a_photo_and_where_its_time_went(run: Run, built: Built, tmp_path: Path) -> None:
    done = run("in.png", "out.png", "--artefact", built.path("tflite"), "--landmarks", "in.txt", "--profile")
    assert "in.png: 1 face in 512x512" in done.stdout
    assert "out.png: 1 face swapped\n" in done.stdout
    assert "must say that faces in it were swapped" in done.stdout
    for stage in ("decode", "detect", "align", "network", "paste", "encode", "total"):
        assert stage in done.stdout
    assert "drawn faces" in done.stderr, "the demo's weights are told loudly"
    assert (images.read_rgb(tmp_path / "out.png") != astronaut()).any()
    again = run("in.png", "out.png", "--artefact", built.path("tflite"), "--landmarks", "in.txt", code=2)
    assert again.stderr.startswith("mfs-edge: out.png: exists already; ")


def test_json_is_one_object_and_nothing_else(run: Run, built: Built, tmp_path: Path) -> None:
    pack = built.packs["tflite"][0]
    done = run("in.png", "o.jpg", "--artefact", built.folder, "--pack", pack, "--landmarks", "in.txt", "--json")
    assert done.stderr == ""
    told = json.loads(done.stdout)
    assert told["passed"]
    assert told["people"] == [pack.name]
    assert told["artefact"] == built.path("tflite").name
    (file,) = told["files"]
    assert file["made"]["artefact"] == built.path("tflite").name, "not where it lay"
    assert file["made"]["identity_sha256s"]
    assert [row["stage"] for row in told["stages"]] == ["decode", "detect", "align", "network", "paste", "encode"]
    refused = run("in.png", "o.jpg", "--artefact", built.folder, "--json", code=2)
    assert json.loads(refused.stdout)["exit_code"] == 2


def test_a_folder_with_a_bad_picture_ends_with_exit_1(run: Run, built: Built, tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "points").mkdir()
    for name in "ab":
        written(tmp_path / "photos" / f"{name}.png", astronaut())
        points(tmp_path / "points" / f"{name}.txt", ASTRONAUT)
    (tmp_path / "photos/cut.png").write_bytes((tmp_path / "in.png").read_bytes()[:5000])
    options = ("--artefact", built.path("tflite"), "--landmarks", "points")
    done = run("photos", "out", *options, code=1)
    assert "out: 3 pictures, 2 swapped, 1 failed" in done.stdout
    assert "1 of 3 pictures failed (the first: photos/cut.png: is a truncated" in done.stderr
    (tmp_path / "photos/cut.png").unlink()
    assert "out: 2 pictures, 2 kept" in run("photos", "out", *options).stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("nothing.png", "o.png"), "nothing.png: no such file"),
        (("in.png", "in.png"), "is what is read"),
        (("in.png", "o.xyz"), "end it in .png"),
        (("in.png", "o.png", "--face", "nose"), "--face nose"),
        (("in.png", "o.png", "--landmarks", "nothing.txt"), "nothing.txt: no such file"),
        (("in.png", "o.png", "--threads", "0"), "--threads 0"),
        (("in.png", "o.png", "--resume"), "only a video"),
    ],
)
def test_what_cannot_be_used_is_one_line_and_exit_2(run: Run, built: Built, arguments: list[str], words: str) -> None:
    assert words in run(*arguments, "--artefact", built.path("tflite"), code=2).stderr


def test_frames_through_a_pipe(built: Built, tmp_path: Path) -> None:
    """Raw frames in, raw frames out, and nothing else on standard output."""
    points(tmp_path / "a.txt", ASTRONAUT)
    command = [sys.executable, "-m", "mfs_edge", "swap", "-", "-", "--artefact", str(built.path("tflite"))]
    options = ["--landmarks", "a.txt", "--pipe-size", "512x512", "--profile"]
    frames = astronaut().tobytes() + (astronaut() // 2).tobytes()
    done = subprocess.run([*command, *options], input=frames, capture_output=True, cwd=tmp_path, timeout=300)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout) == len(frames)
    first = np.frombuffer(done.stdout, np.uint8)[: astronaut().size].reshape(astronaut().shape)
    assert (first != astronaut()).any(axis=2).sum() > 500
    assert (first[:60] == astronaut()[:60]).all()
    assert b"a pipe cannot carry what says" in done.stderr
    assert b"standard output: 2 faces swapped in 2 frames" in done.stderr
    refused = subprocess.run([*command, "--json"], input=frames, capture_output=True, cwd=tmp_path, timeout=300)
    assert refused.returncode == 2
    assert b"standard output carries the frames" in refused.stderr


def test_a_video_without_a_face_is_written_and_fails(run: Run, built: Built, tmp_path: Path) -> None:
    import av

    with av.open(str(tmp_path / "a.mp4"), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 512, 512, "yuv420p"
        for _ in range(5):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(astronaut(), format="rgb24")))
        container.mux(stream.encode())
    (tmp_path / "none.json").write_text("[[], [], [], [], []]")
    options = ("--artefact", built.path("tflite"), "--landmarks")
    done = run("a.mp4", "b.mp4", *options, "none.json", code=1)
    assert "no face was swapped in any of 5 frames" in done.stderr
    assert "5 faces swapped in 5 frames" in run("a.mp4", "c.mp4", *options, "in.txt").stdout


def test_help_imports_nothing_heavy() -> None:
    script = (
        "import sys\nfrom mfs_edge.cli import main as cli\n"
        "try: cli.cli(['swap', '--help'])\nexcept SystemExit: pass\n"
        "print('LOADED', [m for m in ('torch', 'onnx', 'numpy', 'pydantic', 'cv2', 'av') if m in sys.modules])"
    )
    assert "LOADED []" in subprocess.run([sys.executable, "-c", script], capture_output=True, text=True).stdout
