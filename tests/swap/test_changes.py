"""The report: each figure against what was done to the frames, and a page that needs nothing but itself."""

from __future__ import annotations

import base64
import dataclasses
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from mfs_edge.base.errors import OutputError
from mfs_edge.face import align
from mfs_edge.face.found import Face
from mfs_edge.load.identity import Identity
from mfs_edge.swap import changes, running
from mfs_edge.swap.changes import Collector
from mfs_edge.swap.frame import Chosen
from mfs_edge.swap.provenance import Signer
from mfs_edge.swap.telling import Telling
from tests.swap.people import MADE, picture

HEIGHT, WIDTH = 120, 160
FIVE = (align.TEMPLATE - 56) * 0.5 + np.array([70.0, 60.0])  # a face of 56 px around (70, 60)


def face(*, shift: float = 0.0, track: int = 0) -> Face:
    return Face(FIVE + shift, track=track)


def swapped(before: np.ndarray, change: int, where: changes.Box) -> np.ndarray:
    """``change`` levels added in the middle of the box."""
    after = before.copy()
    middle = [slice(part.start + 10, part.stop - 10) for part in (where.rows, where.columns)]
    after[middle[0], middle[1]] += np.uint8(change)
    return after


def quiet(seed: int = 0) -> np.ndarray:
    """uint8 [H, W, 3] in 60 to 120: there is room to add."""
    return (picture(seed, HEIGHT, WIDTH) // 4 + 60).astype(np.uint8)


def test_the_box_is_where_the_crop_lies() -> None:
    found = changes.box(FIVE, HEIGHT, WIDTH)
    matrix = np.vstack([align.affine(FIVE, 224), [0, 0, 1]])
    corners = np.linalg.inv(matrix) @ np.array([[0, 0, 1], [224, 0, 1], [0, 224, 1], [224, 224, 1]]).T
    assert found.columns.start <= corners[0].min() < corners[0].max() <= found.columns.stop
    assert found.rows.start <= corners[1].min() < corners[1].max() <= found.rows.stop
    assert found.area <= 62 * 62


@pytest.mark.parametrize("shift", [-500.0, -60.0, 60.0, 500.0])
def test_a_box_over_the_border_is_clipped(shift: float) -> None:
    found = changes.box(FIVE + shift, HEIGHT, WIDTH)
    assert 0 <= found.rows.start <= found.rows.stop <= HEIGHT
    assert 0 <= found.columns.start <= found.columns.stop <= WIDTH
    assert (found.area == 0) == (abs(shift) == 500)
    collector = Collector()
    collector.add(0, 0.0, quiet(), quiet(), [face(shift=shift)])
    assert collector.figures(MADE)["outside"]["identical"]


def test_what_changed_inside_and_that_nothing_did_outside() -> None:
    collector, before = Collector(), quiet()
    box = changes.box(FIVE, HEIGHT, WIDTH)
    after = swapped(before, 20, box)
    collector.add(0, 0.0, before, after, [face()])
    told = collector.figures(MADE)
    assert told["outside"] == {"identical": True, "frames_changed": 0, "psnr": 200.0, "psnr_worst": 200.0}
    changed = (box.rows.stop - box.rows.start - 20) * (box.columns.stop - box.columns.start - 20)
    assert told["mask"]["pixels"]["mean"] == changed
    assert told["mask"]["share_of_box"]["mean"] == pytest.approx(changed / box.area)
    expected = -10 * np.log10(20**2 * changed / box.area / 255**2)
    assert told["inside"]["psnr"] == pytest.approx(expected)


def test_one_level_of_one_pixel_outside_shows() -> None:
    collector = Collector()
    for index in range(3):
        before = quiet(index)
        after = before.copy()
        if index == 1:
            after[0, 0, 2] += 1
        collector.add(index, index / 25, before, after, [face()])
    outside = collector.figures(MADE)["outside"]
    assert (outside["identical"], outside["frames_changed"]) == (False, 1)
    values = (HEIGHT * WIDTH - changes.box(FIVE, HEIGHT, WIDTH).area) * 3
    assert outside["psnr_worst"] == pytest.approx(10 * np.log10(255**2 * values))
    assert outside["psnr"] == pytest.approx(10 * np.log10(255**2 * 3 * values))


def test_a_frame_without_a_face_is_all_outside() -> None:
    collector = Collector()
    collector.add(0, 0.0, quiet(), quiet(1), [])
    told = collector.figures(MADE)
    assert (told["outside"]["frames_changed"], told["inside"]["psnr"], told["flicker"]["levels"]) == (1, None, None)


def test_flicker_is_what_the_output_moves_beyond_the_input() -> None:
    """The swap adds 10 and 14 levels in turns over the whole box: 4 levels from frame to frame."""
    collector, before = Collector(), quiet()
    box = changes.box(FIVE, HEIGHT, WIDTH)
    for index in range(6):
        after = before.copy()
        after[box.rows, box.columns] += np.uint8(10 + 4 * (index % 2))
        collector.add(index, index / 25, before, after, [face()])
    flicker = collector.figures(MADE)["flicker"]
    assert flicker["levels"] == {"mean": 4.0, "least": 4.0, "most": 4.0, "count": 5}
    assert (flicker["input"]["mean"], flicker["output"]["mean"]) == (0.0, 4.0)


def test_what_moves_in_the_input_is_no_flicker() -> None:
    collector = Collector()
    for index in range(5):
        before = quiet(index)
        collector.add(index, index / 25, before, before + np.uint8(30), [face()])
    assert collector.figures(MADE)["flicker"]["levels"]["mean"] == 0.0
    assert collector.figures(MADE)["flicker"]["input"]["mean"] > 3


def test_a_cut_a_gap_and_another_face_are_no_flicker() -> None:
    collector = Collector()
    for index, track in ((0, 0), (1, 1), (3, 1)):
        collector.add(index, index / 25, quiet(), quiet(index), [face(track=track)])
    assert collector.figures(MADE)["flicker"]["levels"] is None


def test_a_folder_of_photos_is_no_film() -> None:
    collector = Collector()
    for index in range(5):
        collector.add(index, 0.0, quiet(), quiet(index), [face(shift=float(index % 2))])
    told = collector.figures(MADE)
    assert (told["flicker"]["levels"], told["jitter"]["smoothed"], told["faces"]) == (None, None, 5)


def test_jitter_of_noise_of_a_face_that_moves_evenly_and_of_one_that_stands() -> None:
    random = np.random.default_rng(0)
    for speed in (0.0, 1.5):
        jitter = running.Jitter()
        for index in range(400):
            points = FIVE + speed * index + random.normal(0, 0.7, (5, 2))
            jitter.add(index, [Face(points)])
        told = jitter.as_json()
        assert told is not None
        assert told["px"] == pytest.approx(0.7 * np.sqrt(3), rel=0.06)
        assert told["share_of_eye_distance"] == pytest.approx(told["px"] / face().eyes, rel=0.02)


def test_an_even_movement_is_no_jitter_and_a_gap_ends_a_track() -> None:
    jitter = running.Jitter()
    for index in (0, 1, 2, 3, 7, 8):
        jitter.add(index, [Face(FIVE + 2.0 * index), Face(FIVE + 50, track=1 + index)])
    told = jitter.as_json()
    assert told is not None
    assert (told["px"], told["count"]) == (pytest.approx(0, abs=1e-9), 2)


def test_points_before_and_after_smoothing_are_told_apart() -> None:
    collector, random = Collector(), np.random.default_rng(1)
    for index in range(20):
        noisy = Face(FIVE + random.normal(0, 1, (5, 2)))
        collector.add(index, index / 25, quiet(), quiet(), [face()], raw=[noisy])
    jitter = collector.figures(MADE)["jitter"]
    assert jitter["smoothed"]["px"] == pytest.approx(0, abs=1e-9)
    assert jitter["raw"]["px"] > 1


def embed(crop: np.ndarray) -> Identity:
    """In the place of ArcFace: the mean colour."""
    assert (crop.shape, crop.dtype) == ((112, 112, 3), np.float32)
    embedding = np.zeros(512, np.float32)
    embedding[:3] = crop.mean(axis=(0, 1))
    return Identity(embedding, np.zeros((512, 7, 7), np.float32))


def test_likeness_to_who_was_put_in_and_to_who_was_there() -> None:
    red, blue = np.zeros((HEIGHT, WIDTH, 3), np.uint8), np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    red[..., 0], blue[..., 2] = 200, 200
    source = np.zeros(512, np.float32)
    source[[0, 2]] = 3, 4
    collector = Collector(arcface=embed, source=source)
    for index in range(100):
        collector.add(index, index / 25, red, blue, [face()])
    likeness = collector.figures(MADE)["likeness"]
    cosines = {name: spread["mean"] for name, spread in likeness.items()}
    assert cosines == pytest.approx({"to_source": 0.8, "to_target": 0.0, "target_to_source": 0.6})
    assert likeness["to_source"]["count"] == changes.JUDGED
    alone = Collector(arcface=embed)
    alone.add(0, 0.0, red, blue, [face()])
    assert alone.figures(MADE)["likeness"]["to_source"] is None


@pytest.mark.parametrize("count", [1, 7, 8, 15, 16, 100, 1000])
def test_what_is_kept_is_spread_over_all(count: int) -> None:
    thinned: running.Thinned[int] = running.Thinned(8)
    for number in range(count):
        thinned.add(lambda number=number: number)
    kept = thinned.kept
    assert len(kept) == min(8, count)
    assert kept[0] == 0
    gaps = np.diff(kept)
    assert count < 9 or (gaps.max() <= 2 * gaps.min() + 1 and kept[-1] >= 0.7 * count)


def test_memory_is_flat_over_three_thousand_frames() -> None:
    collector, before = Collector(arcface=embed), quiet()
    after = swapped(before, 20, changes.box(FIVE, HEIGHT, WIDTH))

    def run(first: int, last: int) -> int:
        for index in range(first, last):
            collector.add(index, index / 25, before, after, [face()], raw=[face()])
        return int(re.findall(r"VmRSS:\s+(\d+)", Path("/proc/self/status").read_text())[0]) * 1024

    frames = before.nbytes * 2500
    early, late = run(0, 500), run(500, 3000)
    assert late - early < frames / 10
    assert late - early < 14e6


class Page(HTMLParser):
    """What a page refers to."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.sources: list[str] = []
        self.alts: list[str] = []
        self.tags: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        held = dict(attrs)
        self.tags.append(tag)
        self.sources += [held[name] or "" for name in ("src", "href", "action", "data") if name in held]
        if tag == "img":
            self.alts.append(held.get("alt") or "")


@pytest.fixture
def collector() -> Collector:
    collector = Collector(arcface=embed)
    for index in range(30):
        before = quiet(index)
        after = swapped(before, 20, changes.box(FIVE, HEIGHT, WIDTH))
        collector.add(index, index / 25, before, after, [face()])
    return collector


def test_the_page_needs_nothing_but_itself(collector: Collector, tmp_path: Path) -> None:
    made = dataclasses.replace(MADE, warnings=("<script>alert(1)</script> & \u202e",))
    _, path = collector.write(tmp_path / "report", made)
    text = path.read_text()
    page = Page(text)
    assert len(page.sources) == 2 * changes.PICTURES
    assert all(source.startswith("data:image/jpeg;base64,") for source in page.sources)
    assert all(base64.b64decode(source.partition(",")[2]).startswith(b"\xff\xd8") for source in page.sources)
    assert "script" not in page.tags
    assert "link" not in page.tags
    assert not re.search(r"url\(|@import|https?:", text)
    assert "default-src 'none'" in text
    assert "prefers-color-scheme: dark" in text
    assert "\u202e" not in text
    assert len(set(page.alts)) == len(page.alts)
    assert all(re.fullmatch(r"frame \d+ at [\d.]+ s, (before|after) the swap", alt) for alt in page.alts)
    assert changes.NOTICE in text


def test_neither_holds_an_embedding_or_a_path(collector: Collector, tmp_path: Path) -> None:
    figures, page = collector.write(tmp_path / "report", MADE)
    told = json.loads(figures.read_text())
    assert told["made"]["artefact"] == "idn-224-int8.onnx"
    assert told["made"]["identity_sha256s"] == ["b" * 64, "d" * 64]
    assert all("private" not in path.read_text() for path in (figures, page))
    lists = re.findall(r"\[[^\[\]]*\]", figures.read_text())
    assert all(len(json.loads(each)) < 8 for each in lists)


def test_a_report_of_nothing_is_a_report(tmp_path: Path) -> None:
    figures, page = Collector().write(tmp_path / "report", MADE)
    assert json.loads(figures.read_text())["frames"] == 0
    assert "No face was swapped" in page.read_text()


@pytest.mark.parametrize("name", ["file/report", "n" * 300])
def test_a_place_that_cannot_be_written_is_told_before_any_work(tmp_path: Path, name: str) -> None:
    """Not after a video's; and what can be leaves nothing behind."""
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot be written"):
        Collector.require_free(tmp_path / name, overwrite=False)
    Collector.require_free(tmp_path / "some" / "where", overwrite=False)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_what_is_there_is_kept(collector: Collector, tmp_path: Path) -> None:
    folder = tmp_path / "report"
    collector.write(folder, MADE)
    with pytest.raises(OutputError, match=r"changes.json: exists already; .* --overwrite"):
        Collector.require_free(folder, overwrite=False)
    with pytest.raises(OutputError, match="exists already"):
        collector.write(folder, MADE)
    collector.write(folder, MADE, overwrite=True)
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="is a file"):
        Collector.require_free(tmp_path / "file", overwrite=True)


def test_the_caller_may_change_the_frame_afterwards() -> None:
    """The sink draws a label into it, say."""
    collector, before = Collector(), quiet()
    for index in range(4):
        after = before.copy()
        collector.add(index, index / 25, before, after, [face()])
        after[:] = 0
    assert collector.figures(MADE)["flicker"]["levels"]["most"] == 0.0


def test_the_tracker_s_points_before_smoothing_are_the_jitter_as_found() -> None:
    told = Telling(Signer.of(), print, collector=Collector())
    frame = np.zeros((80, 80, 3), np.uint8)
    still = np.array([(20.0, 20), (40, 20), (30, 30), (22, 40), (38, 40)])
    for index in range(9):
        face = Face(still, unsmoothed=still + index % 2)
        told.frame(frame, frame.copy(), [Chosen(face)], index, index / 25)
    assert told.collector is not None
    jitter = told.collector.figures(MADE)["jitter"]
    assert jitter["smoothed"]["px"] == 0
    assert jitter["raw"]["px"] > 0.5
