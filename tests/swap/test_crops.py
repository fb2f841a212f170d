"""Bytes to what a file takes and back, in every form that files have."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mfs_edge.base import frames
from mfs_edge.base.errors import InputError
from mfs_edge.swap.crops import Crops

SIZE = 32
FORMS = {
    "planes of floats": ((1, 3, SIZE, SIZE), "float32"),
    "planes of halves": ((1, 3, SIZE, SIZE), "float16"),
    "interleaved floats": ((1, SIZE, SIZE, 3), "float32"),
    "interleaved bytes": ((1, SIZE, SIZE, 3), "uint8"),
    "planes of bytes": ((1, 3, SIZE, SIZE), "uint8"),
}


class Inverting:
    """An engine that turns a picture into its negative, and says of its left half that it is a face."""

    title, version = "inverting", "1"

    def __init__(self, shape: tuple[int, ...], dtype: str, names: tuple[str, str] = ("swapped", "mask")) -> None:
        self.inputs = {"image": (shape, dtype)}
        self.names, self.spoil = names, 0.0
        self.fed: dict[str, Any] = {}

    def feed(self, feeds: dict[str, Any]) -> None:
        self.fed = {name: value.copy() for name, value in feeds.items()}

    def infer(self) -> None:
        (self.image,) = self.fed.values()

    def fetch(self) -> dict[str, Any]:
        peak = 255 if self.image.dtype == np.uint8 else self.image.dtype.type(1)
        last = self.image.shape[3] == 3
        mask = np.zeros((1, SIZE, SIZE, 1) if last else (1, 1, SIZE, SIZE), self.image.dtype)
        (mask[:, :, : SIZE // 2] if last else mask[..., : SIZE // 2])[:] = peak
        swapped = peak - self.image
        if self.spoil:
            mask.flat[0] = self.spoil
        return dict(zip(self.names, (swapped, mask), strict=True))


def made(form: tuple[tuple[int, ...], str], **options: Any) -> tuple[Crops, Inverting]:
    engine = Inverting(*form, **options)
    return Crops(engine, Path("a.onnx")), engine  # type: ignore[arg-type]


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_bytes_go_in_and_come_out(form: tuple[tuple[int, ...], str]) -> None:
    crop = np.random.default_rng(1).integers(0, 256, (SIZE, SIZE, 3), np.uint8)
    crops, engine = made(form)
    crops.feed(crop)
    crops.infer()
    face, mask = crops.fetch()
    planes = np.float32(crop.transpose(2, 0, 1)[None]) / np.float32(255)
    assert (engine.fed["image"] == frames.as_taken(planes, *form)).all()
    assert face.dtype == (np.uint8 if form[1] == "uint8" else np.float32)
    assert np.abs(face - (255 - crop.astype(float))).max() <= (0.15 if form[1] == "float16" else 1e-4)
    assert mask.shape == (SIZE, SIZE)
    assert (mask[:, : SIZE // 2] > 0.99).all()
    assert not mask[:, SIZE // 2 :].any()


def test_outputs_are_told_by_their_channels_where_a_format_calls_them_otherwise() -> None:
    crops, _ = made(FORMS["planes of floats"], names=("Identity", "Identity_1"))
    crops.feed(np.zeros((SIZE, SIZE, 3), np.uint8))
    crops.infer()
    face, mask = crops.fetch()
    assert (face == 255).all()
    assert mask.max() == 1


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_values_that_are_not_finite_are_told_and_never_pasted(value: float) -> None:
    crops, engine = made(FORMS["planes of floats"])
    engine.spoil = value
    crops.feed(np.zeros((SIZE, SIZE, 3), np.uint8))
    crops.infer()
    with pytest.raises(InputError, match="not finite"):
        crops.fetch()


@pytest.mark.parametrize("shape", [(1, 3, 32, 64), (1, 1, 32, 32), (2, 3, 32, 32), (512,), (1, 3, 32)])
def test_what_takes_no_picture_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match=r"a\.onnx: takes .*not one picture"):
        made((shape, "float32"))
