"""The page in a real browser: what people do with it, and that it does nothing else."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from mfs_edge.base import images
from mfs_edge.face import align
from mfs_edge.load.checkpoint import Checkpoint
from mfs_edge.load.identity import Identity
from mfs_edge.verify.reference import reference_of
from tests.face import scenes

from .conftest import SCENARIOS, picture

NAMES = re.findall(r"^  async (\w+)\(page\) \{$", SCENARIOS.read_text(), re.MULTILINE)
Told = Mapping[str, Any]
# Eyes, nose and mouth of scikit-image's astronaut, as one sees them.
ASTRONAUT = np.array([(204, 100), (247, 102), (223, 124), (201, 140), (245, 142)])


@pytest.mark.parametrize("name", NAMES)
def test_nothing_goes_wrong_and_nothing_is_asked_of_others(told: Told, name: str) -> None:
    assert told.keys() == set(NAMES)
    seen = told[name]
    assert seen["error"] is None
    assert seen["watched"]["foreign"] == []
    expected = {"module": r"404", "nothing_beside": r"404"}.get(name)  # where a test asks for what is not there
    assert [line for line in seen["watched"]["console"] if expected is None or not re.search(expected, line)] == []


def test_the_swapped_crop_is_the_references(told: Told, demo_iin: Checkpoint, demo_identities: list[Identity]) -> None:
    found = told["photo"]["found"]
    crop, swapped, mask = (picture(found[name])[..., :3] for name in ("crop", "swapped", "mask"))
    expected = reference_of(demo_iin, demo_identities[0])(images.to_nchw(crop))
    assert apart(swapped, images.to_bytes(expected["swapped"])) <= 1
    assert np.abs(mask[..., 0] - 255 * expected["mask"][0, 0]).max() <= 1
    assert apart(swapped, crop) > 60  # it was swapped


def test_the_whole_photo_is_aligned_and_pasted_by_the_rules(told: Told, photo: scenes.Photo) -> None:
    found = told["photo"]["found"]
    before, after, crop, swapped = (picture(found[name])[..., :3] for name in ("before", "after", "crop", "swapped"))
    assert np.array_equal(before, photo.image)
    landmarks = np.array([[int(n) for n in re.findall(r"\d+", label)] for label in found["marks"]], np.float64)
    assert np.abs(landmarks - photo.landmarks).max() < 2  # as well as a mouse can click
    # The very marks are not told to the pixel's fraction; the crop shows where they were.
    matrix = align.affine(landmarks, 224)
    assert np.abs(cut(photo.image, matrix).astype(int) - crop).mean() < 4
    outside = cv2.warpAffine(np.ones((224, 224), np.uint8), cv2.invertAffineTransform(matrix), before.shape[1::-1])
    assert np.array_equal(after[outside == 0], before[outside == 0])
    assert apart(after, before) > 60
    assert apart(swapped, crop) > 60


def cut(image: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    return cv2.warpAffine(image, matrix, (224, 224), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


def apart(one: np.ndarray, other: np.ndarray) -> int:
    return int(np.abs(one.astype(int) - other).max())


def test_identities_are_switched_there_and_back(
    told: Told, demo_iin: Checkpoint, demo_identities: list[Identity]
) -> None:
    found = {
        turn: {name: picture(canvas) for name, canvas in seen.items()}
        for turn, seen in told["identities"]["found"].items()
    }
    image = images.to_nchw(found["first"]["crop"][..., :3])
    for turn, person in (("first", 0), ("second", 1), ("third", 2)):
        expected = images.to_bytes(reference_of(demo_iin, demo_identities[person])(image)["swapped"])
        assert apart(found[turn]["swapped"][..., :3], expected) <= 1
    assert np.array_equal(found["back"]["after"], found["first"]["after"])
    assert not np.array_equal(found["second"]["after"], found["first"]["after"])


def test_packs_that_do_not_fit_are_refused_and_change_nothing(told: Told) -> None:
    found = told["strange_packs"]["found"]
    said = {name: one["failure"] for name, one in found["told"].items()}
    assert "a damaged pack" in said["cut"]
    assert "this is no pack" in said["none"]
    assert "a sealed pack" in said["sealed"]
    assert "a pack of another base" in said["other"]
    assert all(one["chosen"].endswith("Person 1") for one in found["told"].values())
    assert found["status"] == "The face becomes: person-2."
    assert found["failure"] == ""


def test_a_video_plays_and_pauses(told: Told) -> None:
    found = told["video"]["found"]
    assert found["playing"] >= 3
    assert found["paused"] == 0
    assert found["size"] == [320, 320]


def test_the_camera_runs_and_ends(told: Told) -> None:
    found = told["camera"]["found"]
    assert found["running"] >= 3
    assert found["rows"] == [
        "Read the picture",
        "Cut the face out",
        "Network",
        "Paste it back",
        "Show it",
        "Pictures per second",
    ]
    assert "this is no pack" in found["told"]
    assert found["after"] == 0
    assert found["size"] == 224


def test_the_keyboard_does_it_all(told: Told) -> None:
    found = told["keyboard"]["found"]

    def place(label: str) -> tuple[int, ...]:
        return tuple(int(number) for number in re.findall(r"\d+", label))

    assert found["before"].startswith("eye on the left, at ")
    (x, y), (to_x, to_y) = place(found["before"]), place(found["after"])
    assert (to_x - x, to_y - y) == (1, 10)
    assert found["next"].startswith("eye on the right, at ")


def test_a_saved_picture_says_that_it_is_synthetic(told: Told, photo: scenes.Photo) -> None:
    found = told["keyboard"]["found"]
    data = Path(found["file"]).read_bytes()
    saved = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    assert found["name"] == "swapped.png"
    assert saved.shape[1] == photo.image.shape[1]
    band = saved[photo.image.shape[0] :]
    assert len(band) >= 28
    assert band.min() < 40
    assert band.max() > 200  # letters
    assert data[37:41] == b"iTXt"
    assert b"digitalsourcetype/compositeWithTrainedAlgorithmicMedia" in data


def test_axe_finds_nothing_and_nothing_is_too_wide(told: Told) -> None:
    for seen in told["accessible"]["found"].values():
        assert seen["violations"] == []
        assert seen["overflow"] <= 0


def test_without_simd_the_page_says_so(told: Told) -> None:
    assert "no WebAssembly SIMD" in told["no_simd"]["found"]["failure"]


def test_without_relaxed_simd_the_other_module_does_it(told: Told) -> None:
    found = told["plain_simd"]["found"]
    assert ", SIMD, " in found["about"]
    assert set(found["fetched"]) == {"idn.wasm"}
    relaxed = told["photo"]["found"]
    assert apart(picture(found["swapped"]), picture(relaxed["swapped"])) <= 1


def test_it_opens_again_without_a_network(told: Told) -> None:
    found = told["offline"]["found"]
    assert found["failure"] == ""
    assert np.array_equal(picture(found["crop"]), picture(told["photo"]["found"]["swapped"]))


def test_the_detector_marks_a_face_and_sees_when_there_is_none(told: Told) -> None:
    found = told["detector"]["found"]
    marks = np.array([[int(n) for n in re.findall(r"\d+", label)] for label in found["marks"]])
    assert np.abs(marks - ASTRONAUT).max() <= 4
    assert found["failure"] == ""
    assert not found["badge"]  # nothing is swapped, and nothing says that it is


def test_what_is_missing_is_said(told: Told) -> None:
    found = told["no_detector"]["found"]
    assert "No detector lies beside this page" in found["failure"]
    assert len(found["people"]) == 1
    beside = told["nothing_beside"]["found"]
    assert "no-site.json cannot be fetched (404)" in beside["told"]
    assert beside["people"] == found["people"]
    strange = told["not_a_picture"]["found"]
    assert "no picture that this browser reads" in strange["failure"]
    assert strange["sound"].startswith("Sound.webm is no video that this browser plays")
    assert not strange["filled"]


def test_what_is_too_large_is_made_smaller_and_told(told: Told) -> None:
    """However long: a strip keeps one pixel."""
    found = told["strip"]["found"]
    assert (found["width"], found["height"]) == (4096, 1)
    assert found["failure"] == ""
    assert found["saved"].endswith("It has 4096 x 1024 pixels, of 5000 x 1250.")


def test_the_module_does_what_its_types_say(told: Told, demo_identities: list[Identity]) -> None:
    from mfs_edge.base.version import __version__

    found = told["module"]["found"]
    assert (found["version"], found["size"], found["precision"]) == (__version__, 224, "fp32")
    assert found["module"] == "relaxed SIMD"
    assert found["given"] == 0
    assert found["opaque"]
    assert found["mask"] == [224 * 224, True, True]
    assert found["identity"] == demo_identities[1].sha256
    assert found["before"]
    assert found["unchanged"]
    assert found["other"]
    assert found["back"]
    codes = {name: code for name, (ours, code) in found["refused"].items() if ours}
    assert codes == {
        "size": "size", "landmarks": "landmarks", "few": "landmarks", "pack": "pack", "cut": "pack", "kind": "pack",
        "folder": "fetch",
    }  # fmt: skip
    assert found["closed"] == [True, "closed"]
