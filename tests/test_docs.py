"""``docs/apps.md`` is run, on files that ``compile`` wrote; ``docs/options.md`` is what targets declare."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import mfs_edge
from mfs_edge import sample, target
from mfs_edge.base import images
from mfs_edge.load.checkpoint import Checkpoint
from mfs_edge.load.identity import Identity
from mfs_edge.verify.reference import reference_of

APPS = Path(__file__).parents[1] / "docs" / "apps.md"
OPTIONS = APPS.with_name("options.md")


def test_the_table_of_target_options_is_that_of_their_models() -> None:
    """Where this fails, paste what it wants into the file."""
    options = [option for kind in target.registered().values() for option in target.options_of(kind)]
    rows = [f"| `{o.name}` | {o.type} | {o.default or '-'} | {o.description} |" for o in options]
    wanted = "\n".join(["| option | values | default | what it is |", "|---|---|---|---|", *rows])
    assert wanted in OPTIONS.read_text(), wanted


def snippet(containing: str, language: str = "python") -> str:
    """The one block in ``language`` with these words."""
    blocks = re.findall(rf"```{language}\n(.*?)```", APPS.read_text(), re.S)
    (found,) = [block for block in blocks if containing in block]
    return found


@pytest.fixture(scope="module")
def build(demo_iin: Checkpoint, demo_identities: list[Identity], tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("docs")
    for name, io in (("onnx", "float32"), ("tflite", "uint8")):
        mfs_edge.compile(identity=demo_identities[0], checkpoint=demo_iin, target=name, io=io, out=out, verify=False)
    return out


@pytest.mark.parametrize("words", ["ai_edge_litert", "import onnxruntime"])
def test_a_frame_on_a_raspberry_pi(
    words: str,
    build: Path,
    demo_iin: Checkpoint,
    demo_identities: list[Identity],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(build)
    names: dict[str, Any] = {}
    exec(snippet(words), names)
    crop = sample.target(0)
    swapped, mask = names["frame"](crop)
    expected = reference_of(demo_iin, demo_identities[0])(images.to_nchw(crop))
    assert swapped.dtype == np.uint8
    assert np.abs(swapped - expected["swapped"][0].transpose(1, 2, 0) * 255).max() < 0.51
    scale = 255 if mask.dtype == np.uint8 else 1
    assert np.abs(mask.reshape(224, 224) / scale - expected["mask"][0, 0]).max() < 0.003


def test_paste_back() -> None:
    names: dict[str, Any] = {}
    exec(snippet("swap_into"), names)
    swap_into: Callable[..., np.ndarray] = names["swap_into"]
    landmarks = np.array(json.loads((sample.FACES / "landmarks.json").read_text())["target_00"])
    frame = sample.target(0)

    def paint(crop: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        mask = np.zeros((224, 224, 1), np.float32)
        mask[60:170, 60:170] = 1
        return np.full_like(crop, 200), mask

    result = swap_into(frame, landmarks, paint)
    assert result.shape == frame.shape
    x, y = landmarks[2].astype(int)  # the nose is inside the mask, the corner is not
    assert np.abs(result[y, x].astype(int) - 200).max() <= 1
    assert (result[0, 0] == frame[0, 0]).all()
