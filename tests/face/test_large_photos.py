"""Photographs as large as cameras make them are read, not refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mfs_edge import sample
from mfs_edge.base import images
from mfs_edge.face import crop

WIDTH, HEIGHT = 11_648, 8_736  # 101.8 megapixels, of a medium-format camera


@pytest.mark.parametrize("suffix", [".jpg", ".png"])
def test_a_hundred_megapixels(tmp_path: Path, suffix: str) -> None:
    import cv2

    face = images.resize(sample.target(0), 900)
    photo = np.full((HEIGHT, WIDTH, 3), 90, np.uint8)
    photo[4000:4900, 6000:6900] = face
    path = tmp_path / f"photo{suffix}"
    cv2.imwrite(str(path), photo[..., ::-1], [cv2.IMWRITE_PNG_COMPRESSION, 1, cv2.IMWRITE_JPEG_QUALITY, 95])
    read = images.read_rgb(path)
    assert read.shape == (HEIGHT, WIDTH, 3)
    five = np.array([[83.2, 96.4], [140.9, 95.8], [112.3, 129.1], [88.6, 162.9], [136.0, 162.5]])
    large = crop.arcface_input(read, path.name, five * 900 / 224 + [6000, 4000])
    small = crop.arcface_input(sample.target(0), "small", five)
    assert np.abs(large - small).mean() < 4  # the same face, of 255
