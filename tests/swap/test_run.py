"""From a photo or a folder to the same with faces swapped, by the call that the command line makes."""

from __future__ import annotations

import inspect
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

import mfs_edge
from mfs_edge import target
from mfs_edge.base import images
from mfs_edge.base.errors import CheckFailed, InputError, OutputError, UsageError
from mfs_edge.base.progress import Recorded
from mfs_edge.cli.swap import swap as command
from mfs_edge.face import align
from mfs_edge.swap import provenance
from mfs_edge.swap.made import Made
from mfs_edge.swap.results import Swapped
from mfs_edge.swap.run import Kind, kind_of
from mfs_edge.swap.session import Session
from tests.face.test_paste import composed
from tests.swap.conftest import ASTRONAUT, SIZE, Built, astronaut, points, room, two, written


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    return written(tmp_path / "in.png", astronaut())


@pytest.fixture
def landmarks(tmp_path: Path) -> Path:
    return points(tmp_path / "in.txt", ASTRONAUT)


def test_a_photo_is_the_composition_and_outside_of_the_box_itself(
    built: Built, photo: Path, landmarks: Path, tmp_path: Path
) -> None:
    path = built.path("onnx")
    result = mfs_edge.swap(photo, tmp_path / "out.png", artefact=path, landmarks=landmarks, threads=1)
    matrix = align.affine(ASTRONAUT, SIZE)
    crop = cv2.warpAffine(astronaut(), matrix, (SIZE, SIZE), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    answer = target.of_file(path).load(path).run(images.to_nchw(crop))
    expected = composed(astronaut(), answer["swapped"][0].transpose(1, 2, 0) * 255, answer["mask"][0, 0], matrix)
    found = images.read_rgb(tmp_path / "out.png")
    assert np.abs(found.astype(int) - expected).max() <= 1
    corners = np.array([(0, 0), (SIZE, 0), (0, SIZE), (SIZE, SIZE)]) - matrix[:, 2]
    x, y = (corners @ np.linalg.inv(matrix[:, :2]).T).T
    outside = np.ones(found.shape[:2], bool)
    outside[int(y.min()) : int(y.max()) + 2, int(x.min()) : int(x.max()) + 2] = False
    assert outside.sum() > 150_000
    assert (found[outside] == astronaut()[outside]).all()
    assert result.passed
    (done,) = result.done
    assert (done.status, done.swapped, done.width, done.height) == ("swapped", 1, 512, 512)
    assert done.faces[0].person == path.name
    assert abs(done.faces[0].x - 225) < 1
    assert {row.stage for row in result.stages.rows if row.ms} == {
        "decode", "detect", "align", "network", "paste", "encode",
    }  # fmt: skip


def test_it_is_turned_as_exif_says(built: Built, landmarks: Path, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 3
    Image.fromarray(astronaut()[::-1, ::-1]).save(tmp_path / "a.png", exif=exif)
    written(tmp_path / "b.png", astronaut())
    for name in "ab":
        mfs_edge.swap(
            tmp_path / f"{name}.png", tmp_path / f"{name}.out.png", artefact=built.path("tflite"), landmarks=landmarks
        )
    turned, upright = (images.read_rgb(tmp_path / f"{name}.out.png") for name in "ab")
    assert (turned == upright).all()
    assert Image.open(tmp_path / "a.out.png").getexif()[0x0112] == 1


def test_a_face_that_is_half_beyond_the_edge_is_swapped(built: Built, tmp_path: Path) -> None:
    whole = room()
    edge = int(whole.landmarks[2, 0]) - 3  # the left eye is not in the picture
    picture, five = np.ascontiguousarray(whole.image[:, edge:]), whole.landmarks - np.array([edge, 0])
    assert five[0, 0] < -0.3 * np.hypot(*(five[1] - five[0]))
    path = written(tmp_path / "half.png", picture)
    mfs_edge.swap(
        path, tmp_path / "out.png", artefact=built.path("tflite"), landmarks=points(tmp_path / "half.txt", five)
    )
    changed = (images.read_rgb(tmp_path / "out.png") != picture).any(axis=2)
    assert changed[:, 0].any()
    far = points(tmp_path / "far.txt", five - np.array([2 * np.hypot(*(five[1] - five[0])), 0]))
    with pytest.raises(InputError, match="lies outside"):
        mfs_edge.swap(path, tmp_path / "no.png", artefact=built.path("tflite"), landmarks=far)


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("text.jpg", b"a list of things\n" * 9, "text.jpg: is not a readable picture"),
        ("text.mp4", b"a list of things\n" * 9, "text.mp4: is no video that can be read"),
        ("none.mp4", b"", "none.mp4: is empty; download or write the photo or video again"),
        ("gone.mp4", None, "gone.mp4: no such file; give the path of the photo or video"),
    ],
)
def test_what_is_neither_is_told_by_what_it_is_called(
    built: Built, tmp_path: Path, name: str, content: bytes | None, told: str
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    before = sorted(tmp_path.iterdir())
    with pytest.raises(InputError, match=told):
        mfs_edge.swap(
            tmp_path / name,
            tmp_path / f"out{Path(name).suffix}",
            artefact=built.path("tflite"),
            finder=lambda image, seconds: [],
        )
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize("cheap", [True, False])
def test_two_people_for_two_faces_and_what_was_understood(
    built: Built, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cheap: bool
) -> None:
    """Whether a switch is found to be worth it, as the clock may have it, or not."""
    trial = Session._cheap
    monkeypatch.setattr(Session, "_cheap", lambda self, crops: (trial(self, crops), cheap)[1])
    picture, (left, right) = two()
    path = written(tmp_path / "two.png", picture)
    steps = Recorded()
    options: dict[str, Any] = {"artefact": built.folder, "finder": lambda image, seconds: [right, left], "steps": steps}
    result = mfs_edge.swap(path, tmp_path / "out.png", pack=built.packs["onnx"], face="all", **options)
    names = [pack.name for pack in built.packs["onnx"]]
    assert [face.person for face in result.done[0].faces] == names
    assert result.done[0].made is not None
    assert len(result.done[0].made.identity_sha256s) == 2
    found = images.read_rgb(tmp_path / "out.png")
    half = int(left[:, 0].max() + right[:, 0].min()) // 2
    for face, pack, side in ((left, 0, np.s_[:, :half]), (right, 1, np.s_[:, half:])):
        options["finder"] = lambda image, seconds, face=face: [face]
        alone = tmp_path / f"{pack}.png"
        mfs_edge.swap(path, alone, pack=built.packs["onnx"][pack], **options)
        assert (images.read_rgb(alone)[side] == found[side]).all()
    options["finder"] = lambda image, seconds: [left]
    mfs_edge.swap(path, tmp_path / "one.png", pack=built.packs["onnx"], face="all", **options)
    assert any("1 face for 2 packs" in note and names[1] in note for note in steps.notes)


def test_which_face(built: Built, tmp_path: Path) -> None:
    picture, (left, right) = two()
    path = written(tmp_path / "two.png", picture)
    for face, changed in (("largest", (False, True)), ("1", (True, False)), ("all", (True, True))):
        out = tmp_path / f"{face}.png"
        mfs_edge.swap(path, out, artefact=built.path("tflite"), face=face, finder=lambda image, seconds: [left, right])
        found = (images.read_rgb(out) != picture).any(axis=2)
        half = int(left[:, 0].max() + right[:, 0].min()) // 2
        assert (found[:, :half].any(), found[:, half:].any()) == changed
    result = mfs_edge.swap(
        path, tmp_path / "x.png", artefact=built.path("tflite"), face=3, finder=lambda image, seconds: [left, right]
    )
    assert "has 2 faces, so none that --face 3 means" in result.done[0].reason
    assert not (tmp_path / "x.png").exists()


def test_landmarks_of_no_face_are_told_as_such(built: Built, photo: Path, tmp_path: Path) -> None:
    """And not with the advice to give some."""
    (tmp_path / "none.json").write_text("[]")
    result = mfs_edge.swap(photo, tmp_path / "out.png", artefact=built.path("tflite"), landmarks=tmp_path / "none.json")
    assert result.done[0].reason.endswith("none.json has no face for it; nothing was written")


def test_a_pipe_is_not_resumed(built: Built, tmp_path: Path) -> None:
    (tmp_path / "in.mp4").write_bytes(b"looked at later")
    with pytest.raises(UsageError, match="what went into a pipe is gone"):
        mfs_edge.swap(tmp_path / "in.mp4", "-", artefact=built.path("tflite"), resume=True)


def test_no_face_writes_nothing_and_fails(built: Built, photo: Path, tmp_path: Path) -> None:
    result = mfs_edge.swap(photo, tmp_path / "out.png", artefact=built.path("tflite"), finder=lambda image, seconds: [])
    assert not result.passed
    with pytest.raises(CheckFailed, match=r"in\.png: no face found; nothing was written"):
        result.require_all()
    assert [path.name for path in tmp_path.iterdir()] == ["in.png"]


def test_a_finished_photo_is_told_what_it_is_before_it_gets_its_name(
    built: Built, photo: Path, landmarks: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[tuple[Made, Path | None, bool]] = []
    out = tmp_path / "out.png"

    def say(path: Path, made: Made, signer: object, *, source: Path | None) -> list[str]:
        told.append((made, source, out.exists()))
        path.write_bytes(path.read_bytes() + b"said")
        return ["a line"]

    monkeypatch.setattr(provenance, "say", say)
    steps = Recorded()
    mfs_edge.swap(photo, out, artefact=built.path("tflite"), landmarks=landmarks, steps=steps)
    ((made, source, existed),) = told
    assert (made.faces, made.frames, made.target, source, existed) == (1, 1, "tflite", photo, False)
    assert out.read_bytes().endswith(b"said")
    assert "a line" in steps.notes


@pytest.mark.parametrize("fails", ["say", "encode"])
def test_what_fails_leaves_nothing(
    built: Built, photo: Path, landmarks: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails: str
) -> None:
    def failing(*_: object, **__: object) -> list[str]:
        raise OutputError("full")

    where = {"say": "mfs_edge.swap.provenance.say", "encode": "mfs_edge.swap.photo.encode"}
    monkeypatch.setattr(where[fails], failing)
    with pytest.raises(OutputError, match="full"):
        mfs_edge.swap(photo, tmp_path / "out.png", artefact=built.path("tflite"), landmarks=landmarks)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.png", "in.txt"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two good photos, one of them in a subfolder, a damaged one, one without a face, and a text."""
    inside = tmp_path / "photos"
    (inside / "more").mkdir(parents=True)
    written(inside / "a.png", astronaut())
    written(inside / "more" / "b.png", astronaut())
    written(inside / "empty.png", np.zeros((64, 64, 3), np.uint8))
    (inside / "cut.png").write_bytes((inside / "a.png").read_bytes()[:9000])
    (inside / "notes.txt").write_text("hello")
    return inside


def finder(image: np.ndarray, seconds: float) -> list[np.ndarray]:
    """The astronaut's face, where she is."""
    return [ASTRONAUT] if image.shape[0] == 512 else []


def test_a_folder_goes_on_where_it_was(built: Built, folder: Path, tmp_path: Path) -> None:
    out, steps = tmp_path / "out", Recorded()

    def once(**options: Any) -> Swapped:
        result = mfs_edge.swap(folder, out, artefact=built.path("tflite"), finder=finder, steps=steps, **options)
        assert isinstance(result, Swapped)
        return result

    result = once()
    status = {Path(done.source).name: done.status for done in result.done}
    assert status == {"a.png": "swapped", "b.png": "swapped", "cut.png": "failed", "empty.png": "no face"}
    assert sorted(path.relative_to(out).as_posix() for path in out.rglob("*.*")) == ["a.png", "more/b.png"]
    with pytest.raises(CheckFailed, match=r"1 of 4 pictures failed \(the first: .*cut\.png"):
        result.require_all()
    assert any("notes.txt" in note for note in steps.notes)
    assert sum("cut.png" in note for note in steps.notes) == 1
    first = (out / "a.png").stat().st_mtime_ns
    (out / "more" / "b.png").unlink()
    assert {Path(done.source).name: done.status for done in once().done} == status | {"a.png": "kept"}
    assert (out / "a.png").stat().st_mtime_ns == first
    assert once(overwrite=True).of("kept") == []
    assert (out / "a.png").stat().st_mtime_ns > first


def test_a_folder_without_the_bad_one_passes(built: Built, folder: Path, tmp_path: Path) -> None:
    (folder / "cut.png").unlink()
    assert mfs_edge.swap(folder, tmp_path / "out", artefact=built.path("tflite"), finder=finder).passed
    shutil.rmtree(folder / "more")
    (folder / "a.png").unlink()
    result = mfs_edge.swap(folder, tmp_path / "none", artefact=built.path("tflite"), finder=finder)
    with pytest.raises(CheckFailed, match="no face"):
        result.require_all()


@pytest.mark.parametrize(("source", "out"), [("in", "in"), ("in", "in/out"), ("in/deep", "in")])
def test_folders_that_lie_in_each_other_are_refused(built: Built, tmp_path: Path, source: str, out: str) -> None:
    (tmp_path / "in/deep").mkdir(parents=True)
    written(tmp_path / "in/deep/a.png", astronaut())
    with pytest.raises(UsageError, match="lie in each other"):
        mfs_edge.swap(tmp_path / source, tmp_path / out, artefact=built.path("tflite"), finder=finder)


def test_what_cannot_be_written_is_told_before_any_work(built: Built, photo: Path, tmp_path: Path) -> None:
    def refused(out: Path, words: str, error: type[Exception] = OutputError, **options: Any) -> None:
        before = {path: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()}
        with pytest.raises(error, match=words):
            mfs_edge.swap(photo, out, artefact=tmp_path / "not even there", **options)
        assert before == {path: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()}

    written(tmp_path / "there.png", astronaut())
    refused(tmp_path / "there.png", "exists already.*--overwrite")
    refused(photo, "is what is read", UsageError)
    refused(photo, "is what is read", UsageError, overwrite=True)
    (tmp_path / "linked.png").symlink_to(photo)
    refused(tmp_path / "linked.png", "is what is read", UsageError, overwrite=True)
    refused(tmp_path / "no" / "out.png", "there is no folder")
    refused(tmp_path / "out.mp4", "end it in", UsageError)
    refused(tmp_path / "out.png", "only a video is continued", UsageError, resume=True)
    (tmp_path / "folder.png").mkdir()
    refused(tmp_path / "folder.png", "is a folder")


def test_overwrite_replaces(built: Built, photo: Path, landmarks: Path, tmp_path: Path) -> None:
    out = written(tmp_path / "out.png", np.zeros((2, 2, 3), np.uint8))
    mfs_edge.swap(photo, out, artefact=built.path("tflite"), landmarks=landmarks, overwrite=True)
    assert images.read_rgb(out).shape == astronaut().shape


def test_a_large_photo(built: Built, tmp_path: Path) -> None:
    """The face is found and pasted where it is; nothing of the picture's size is computed in floats."""
    picture = np.zeros((6000, 6000, 3), np.uint8)
    at = np.array([5000, 4000])
    height, width = room().image.shape[:2]
    picture[at[1] : at[1] + height, at[0] : at[0] + width] = room().image
    cv2.imwrite(str(tmp_path / "large.bmp"), picture[..., ::-1])
    landmarks = points(tmp_path / "a.txt", room().landmarks + at)
    result = mfs_edge.swap(
        tmp_path / "large.bmp", tmp_path / "o.bmp", artefact=built.path("tflite"), landmarks=landmarks
    )
    assert result.done[0].swapped == 1
    found = cv2.imread(str(tmp_path / "o.bmp"))[..., ::-1]
    changed = (found != picture).any(axis=2)
    rows, columns = np.nonzero(changed)
    assert rows.min() >= at[1]
    assert columns.min() >= at[0]
    assert changed.sum() > 1000


def test_one_pixel_has_no_face(built: Built, tmp_path: Path) -> None:
    path = written(tmp_path / "dot.png", np.zeros((1, 1, 3), np.uint8))
    result = mfs_edge.swap(path, tmp_path / "o.png", artefact=built.path("tflite"), finder=lambda image, seconds: [])
    assert result.done[0].status == "no face"
    landmarks = points(tmp_path / "a.txt", ASTRONAUT)
    with pytest.raises(InputError, match="outside the 1x1 picture"):
        mfs_edge.swap(path, tmp_path / "o.png", artefact=built.path("tflite"), landmarks=landmarks)


def test_what_a_source_is(photo: Path, tmp_path: Path) -> None:
    (tmp_path / "movie.png").write_bytes(b"\0\0\0\x18ftypmp42")
    shutil.copy(photo, tmp_path / "photo.mp4")
    assert kind_of(tmp_path / "movie.png") is Kind.VIDEO
    assert kind_of(tmp_path / "photo.mp4") is Kind.PHOTO
    assert kind_of(tmp_path) is Kind.FOLDER
    assert kind_of("-") is Kind.PIPE
    assert kind_of("camera:1") is Kind.CAMERA
    with pytest.raises(InputError, match="no such file"):
        kind_of(tmp_path / "nothing")


@pytest.mark.parametrize("option", ["pipe_size", "pipe_rate", "pipe_format"])
def test_what_is_told_of_a_pipe_is_not_for_a_photo(built: Built, photo: Path, tmp_path: Path, option: str) -> None:
    name = f"--{option.replace('_', '-')}"
    with pytest.raises(UsageError, match=rf"{name}: of frames in a pipe, and .*in\.png is a photo"):
        mfs_edge.swap(photo, tmp_path / "o.png", artefact=built.path("tflite"), finder=finder, **{option: "30"})


def test_arcface_belongs_to_a_reference(built: Built, photo: Path, tmp_path: Path) -> None:
    options: dict[str, Any] = {"artefact": built.path("tflite"), "finder": finder}
    with pytest.raises(UsageError, match="--face reference"):
        mfs_edge.swap(photo, tmp_path / "o.png", arcface=tmp_path / "a.pth", **options)
    with pytest.raises(UsageError, match="--arcface FILE"):
        mfs_edge.swap(photo, tmp_path / "o.png", face=f"reference:{photo}", **options)


def test_what_it_says_can_be_read_back_and_the_label_is_drawn(
    built: Built, photo: Path, landmarks: Path, tmp_path: Path
) -> None:
    from mfs_edge.about.inspection import inspect as told

    options: dict[str, Any] = {"artefact": built.path("tflite"), "landmarks": landmarks}
    mfs_edge.swap(photo, tmp_path / "plain.png", **options)
    mfs_edge.swap(photo, tmp_path / "marked.jpg", label=True, report=tmp_path / "report", **options)
    facts = told(tmp_path / "marked.jpg").facts
    assert "valid" in facts["manifest"]
    assert built.path("tflite").name in facts["artefact"]
    plain, marked = (images.read_rgb(tmp_path / name).astype(int) for name in ("plain.png", "marked.jpg"))
    assert np.abs(plain[-20:, -60:] - marked[-20:, -60:]).max() > 50
    assert np.abs(plain[:100, :100] - marked[:100, :100]).mean() < 5
    assert (tmp_path / "report" / "changes.json").exists()


def test_a_report_is_checked_before_any_work(built: Built, photo: Path, landmarks: Path, tmp_path: Path) -> None:
    options: dict[str, Any] = {"artefact": built.path("tflite"), "landmarks": landmarks}
    (tmp_path / "report").mkdir()
    (tmp_path / "report" / "changes.json").write_text("another's")
    with pytest.raises(OutputError, match="report"):
        mfs_edge.swap(photo, tmp_path / "o.png", report=tmp_path / "report", **options)
    with pytest.raises(UsageError, match="--identity is what --report"):
        mfs_edge.swap(photo, tmp_path / "o.png", identity=tmp_path / "id.npy", **options)
    with pytest.raises(UsageError, match="of one photo or video"):
        mfs_edge.swap(tmp_path, tmp_path.with_name("o"), report=tmp_path / "r", **options)
    assert not (tmp_path / "o.png").exists()


def test_the_python_api_and_the_command_line_have_the_same_names_and_defaults() -> None:
    parameters = inspect.signature(mfs_edge.swap).parameters
    options = {parameter.name for parameter in command.params} - {"json", "profile"}
    assert options == parameters.keys() - {"steps", "finder"}  # a callable has no way through a command line
    defaults = command.make_context("swap", ["a", "b", "--artefact", "x"]).params
    for name in options - {"source", "out", "artefact"}:
        assert defaults[name] == parameters[name].default, name


def test_swapping_needs_no_compiler(built: Built, photo: Path, landmarks: Path, tmp_path: Path) -> None:
    script = (
        "import sys, mfs_edge\n"
        f"mfs_edge.swap({str(photo)!r}, 'o.png', artefact={str(built.path('tflite'))!r}, "
        f"landmarks={str(landmarks)!r}, pack={str(built.packs['tflite'][0])!r})\n"
        "print('LOADED', [m for m in ('torch', 'onnx', 'onnx_ir', 'onnxruntime', 'coremltools') if m in sys.modules])"
    )
    told = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert "LOADED []" in told.stdout
    assert (tmp_path / "o.png").exists()
