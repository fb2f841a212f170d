"""A small base of two formats, packs for two people, and pictures with a known face in them."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pytest
import skimage.data

import mfs_edge
from mfs_edge.base import images
from mfs_edge.load.identity import Identity, save
from tests.face.scenes import Photo, drawn

SIZE = 224  # the demo's network sees no face in smaller crops
ASTRONAUT = np.array([(204.0, 101.0), (246.6, 103.4), (226.4, 126.0), (205.0, 141.0), (243.6, 142.4)])


@dataclass(frozen=True)
class Built:
    """What compile and pack make wrote."""

    folder: Path
    packs: dict[str, tuple[Path, ...]]  # by suffix, of each person

    def path(self, suffix: str) -> Path:
        """The artefact that is called so."""
        return self.folder / f"idn-{SIZE}-fp32.{suffix}"


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory, demo_identities: list[Identity]) -> Built:
    folder = tmp_path_factory.mktemp("swap")
    targets = ["onnx", "tflite", "openvino"]
    mfs_edge.compile(identities=demo_identities[:2], target=targets, size=SIZE, out=folder / "build", verify=False)
    (folder / "people").mkdir()
    for name, person in zip(("anna", "ben"), demo_identities[1:3], strict=True):
        save(person, folder / "people" / f"{name}.npy")
    mfs_edge.pack.make(base=folder / "build", identities=folder / "people", out=folder / "packs")
    made = {
        suffix: tuple(folder / "packs" / f"{name}-idn-{SIZE}-fp32.{suffix}.pack" for name in ("anna", "ben"))
        for suffix in ("onnx", "tflite", "xml")
    }
    return Built(folder / "build", made)


@functools.cache
def astronaut() -> np.ndarray:
    """A portrait, uint8 [512, 512, 3] RGB; its face is at ``ASTRONAUT``."""
    return np.ascontiguousarray(getattr(skimage.data, "astronaut")())  # noqa: B009  # it has no types


@functools.cache
def room() -> Photo:
    """A drawn face in a room."""
    return drawn(0, face=140)


def two() -> tuple[np.ndarray, list[np.ndarray]]:
    """Two drawn faces side by side, the right one larger; uint8 [H, W, 3] RGB, and landmarks [5, 2] of each."""
    left, right = drawn(0, face=110), drawn(1, face=150)
    height = max(left.image.shape[0], right.image.shape[0])
    padded = [
        cv2.copyMakeBorder(p.image, 0, height - p.image.shape[0], 0, 0, cv2.BORDER_REPLICATE) for p in (left, right)
    ]
    return np.hstack(padded), [left.landmarks, right.landmarks + np.array([left.image.shape[1], 0])]


def written(path: Path, image: np.ndarray) -> Path:
    """``image``, uint8 [H, W, 3] RGB, as a PNG."""
    images.write_rgb(path, image)
    return path


def points(path: Path, landmarks: np.ndarray) -> Path:
    """``landmarks`` [5, 2] as ten numbers in a file."""
    np.savetxt(path, landmarks)
    return path
