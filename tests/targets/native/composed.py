"""Whole frames as OpenCV composes them (DESIGN section 2), and the C's functions for them by ctypes."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from mfs_edge.targets.native import engine

from mfs_edge.face import align

RGB8, RGBA8, BGRA8, NV12, NV21, I420 = 1, 2, 3, 5, 6, 7
CHANNELS = {RGB8: 3, RGBA8: 4, BGRA8: 4}
SHARES = {0: (0.299, 0.114), 1: (0.2126, 0.0722), 2: (0.299, 0.114), 3: (0.2126, 0.0722)}  # of red and blue, by colour
GAP = 77  # what fills the bytes between rows
Run = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]


def landmarks(rng: np.random.Generator, width: int, height: int, size: float) -> np.ndarray:
    """Five points of a face whose middle is in the frame, turned by any angle; ``size``: px from eyes to chin."""
    angle = rng.uniform(-np.pi, np.pi)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    face = (align.TEMPLATE - align.TEMPLATE.mean(axis=0)) * size / 62
    middle = (rng.uniform(0, width - 1), rng.uniform(0, height - 1))
    found: np.ndarray = face @ turn.T + middle + rng.normal(0, size / 50, (5, 2))
    return found


def sizes(rng: np.random.Generator, least: float = 40, most: float = 1500) -> float:
    return float(np.exp(rng.uniform(np.log(least), np.log(most))))


def warp(frame: np.ndarray, matrix: np.ndarray, size: int) -> np.ndarray:
    crop: np.ndarray = cv2.warpAffine(frame, matrix, (size, size), borderMode=cv2.BORDER_REPLICATE)
    return crop


def softened(mask: np.ndarray) -> np.ndarray:
    kernel, size = np.ones((11, 11), np.uint8), len(mask)
    soft = cv2.erode(cv2.dilate((mask > 0.001).astype(np.float32), kernel), kernel, iterations=2)
    border = np.zeros((size, size), np.float32)
    border[10:-10, 10:-10] = 1
    made: np.ndarray = cv2.blur(soft, (7, 7)) * cv2.blur(border, (11, 11))
    return made


def paste(frame: np.ndarray, face: np.ndarray, mask: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """Of float or uint8 frames [H, W, 3]; in floats, not rounded."""
    back, where = cv2.invertAffineTransform(matrix), (frame.shape[1], frame.shape[0])
    alpha = cv2.warpAffine(softened(mask), back, where)[..., None]
    over = cv2.warpAffine(face, back, where, borderMode=cv2.BORDER_REPLICATE)
    composed: np.ndarray = frame + alpha * (over - frame.astype(np.float32))
    return composed


def swap(frame: np.ndarray, points: np.ndarray, size: int, run: Run) -> np.ndarray:
    matrix = align.affine(points, size)
    face, mask = run(warp(frame, matrix, size))
    composed: np.ndarray = np.rint(paste(frame, face, mask, matrix)).astype(np.uint8)
    return composed


def box(points: np.ndarray, size: int, shape: tuple[int, ...]) -> np.ndarray:
    """True within the crop's corners mapped back and a pixel beyond, bool [H, W]."""
    corners = np.array([(0, 0), (size - 1, 0), (0, size - 1), (size - 1, size - 1)], np.float64)
    matrix = align.affine(points, size)
    placed = (corners - matrix[:, 2]) @ np.linalg.inv(matrix[:, :2]).T
    rows, columns = np.mgrid[0 : shape[0], 0 : shape[1]]
    (left, top), (right, bottom) = placed.min(axis=0) - 1, placed.max(axis=0) + 1
    found: np.ndarray = (columns >= left) & (columns <= right) & (rows >= top) & (rows <= bottom)
    return found


def to_yuv(rgb: np.ndarray, colour: int) -> np.ndarray:
    """[H, W, 3] in floats, of the same range as bytes."""
    (red, blue), full = SHARES[colour], colour >= 2
    luma = rgb @ np.array([red, 1 - red - blue, blue])
    stretch = (1.0, 1.0) if full else (219 / 255, 224 / 255)
    u, v = (rgb[..., 2] - luma) / (2 - 2 * blue), (rgb[..., 0] - luma) / (2 - 2 * red)
    return np.stack([luma * stretch[0] + (0 if full else 16), u * stretch[1] + 128, v * stretch[1] + 128], axis=-1)


def to_rgb(yuv: np.ndarray, colour: int) -> np.ndarray:
    (red, blue), full = SHARES[colour], colour >= 2
    luma = yuv[..., 0] if full else (yuv[..., 0] - 16) * 255 / 219
    u, v = ((yuv[..., i] - 128) * (1.0 if full else 255 / 224) for i in (1, 2))
    r, b = luma + v * (2 - 2 * red), luma + u * (2 - 2 * blue)
    return np.clip(np.stack([r, (luma - red * r - blue * b) / (1 - red - blue), b], axis=-1), 0, 255)


def wide(chroma: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """A sample for each of its two by two pixels."""
    return chroma.repeat(2, axis=0).repeat(2, axis=1)[: shape[0], : shape[1]]


def halved(chroma: np.ndarray) -> np.ndarray:
    """The mean of two by two pixels, or of those that are there."""
    padded = np.pad(chroma, [(0, n % 2) for n in chroma.shape], mode="edge")
    made: np.ndarray = padded.reshape(padded.shape[0] // 2, 2, padded.shape[1] // 2, 2).mean(axis=(1, 3))
    return made


@dataclass
class Camera:
    """A frame in one of the formats, in memory that ends with its last sample."""

    format: int
    colour: int
    planes: list[np.ndarray]  # of bytes, [rows, stride] but for the end of the last row
    rows: list[tuple[int, int]]  # of each plane: how many, and the bytes of one
    held: Any  # as the C takes it

    @classmethod
    def of(cls, shown: list[np.ndarray], form: int, colour: int = 0, gap: int = 0) -> Camera:
        """``shown``: uint8 [rows, bytes], a plane each."""
        planes = []
        for plane in shown:
            rows, row = plane.shape
            memory = np.full(rows * (row + gap) - gap, GAP, np.uint8)
            np.lib.stride_tricks.as_strided(memory, (rows, row), (row + gap, 1))[:] = plane
            planes.append(memory)
        height = len(shown[0])
        width = shown[0].shape[1] // CHANNELS.get(form, 1)
        addresses = [plane.ctypes.data for plane in planes] + [None] * (3 - len(planes))
        strides = [plane.shape[1] + gap for plane in shown] + [0] * (3 - len(shown))
        held = engine._Frame(tuple(addresses), tuple(strides), width, height, form, colour)
        return cls(form, colour, planes, [(len(plane), plane.shape[1]) for plane in shown], held)

    def shown(self) -> list[np.ndarray]:
        """The samples, without gaps."""
        return [
            np.lib.stride_tricks.as_strided(memory, shape, (stride, 1)).copy()
            for memory, shape, stride in zip(self.planes, self.rows, self.held.stride, strict=False)
        ]

    def gaps(self) -> bool:
        """Whether all that lies between rows is as it was."""
        for memory, (rows, row), stride in zip(self.planes, self.rows, self.held.stride, strict=False):
            between = np.lib.stride_tricks.as_strided(memory[row:], (rows - 1, stride - row), (stride, 1))
            if (between != GAP).any():
                return False
        return True


class Library:
    """The functions of ``idn_frame.h``, of a folder of generated C."""

    def __init__(self, folder: Path, threads: int = 1) -> None:
        self.engine = engine.Engine(str(folder), threads)
        self.size = self.engine.about["size"]
        self.lib = self.engine.lib
        for name in ("idn_frame_bytes", "idn_paste_bytes"):
            getattr(self.lib, name).restype = ctypes.c_size_t

    def run(self, crop: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """A crop, uint8 [S, S, 3], through the network alone: the swapped one, alike, and the mask, float [S, S]."""
        self.engine.feed({"image": crop.transpose(2, 0, 1)[None].astype(np.float32) / 255})
        self.engine.infer()
        found = self.engine.fetch()
        return np.rint(found["swapped"][0].transpose(1, 2, 0) * 255).astype(np.uint8), found["mask"][0, 0]

    def swap(self, camera: Camera, points: np.ndarray, workers: int = 1) -> int:
        """``idn_swap_frame``'s status."""
        room = engine._aligned(bytes(self.lib.idn_frame_bytes(workers)))
        held = np.ascontiguousarray(points, np.float64)
        given = (ctypes.byref(self.engine.model), ctypes.byref(camera.held), engine._at(held), *engine._sized(room))
        if workers == 1:
            return int(self.lib.idn_swap_frame(*given))
        calls = ctypes.cast(self.lib.idn_pool_parallel, ctypes.c_void_p)
        pool = ctypes.c_void_p(self.engine.pool)
        return int(self.lib.idn_swap_frame_parallel(*given, ctypes.c_int(workers), calls, pool))

    def affine(self, camera: Camera, points: np.ndarray) -> tuple[int, np.ndarray]:
        matrix, held = np.full((2, 3), np.nan), np.ascontiguousarray(points, np.float64)
        status = self.lib.idn_affine(ctypes.byref(camera.held), engine._at(held), engine._at(matrix))
        return int(status), matrix

    def align(self, camera: Camera, matrix: np.ndarray, form: int = RGB8) -> np.ndarray:
        """The crop, uint8 [S, S, channels] of 9 where it was not written."""
        crop = np.full((self.size, self.size, CHANNELS[form]), 9, np.uint8)
        image = engine._Image(crop.ctypes.data, crop.strides[0], form)
        held = np.ascontiguousarray(matrix)
        given = (ctypes.byref(camera.held), engine._at(held), ctypes.byref(image))
        self.engine._check(self.lib.idn_align(ctypes.byref(self.engine.model), *given))
        return crop

    def paste(self, camera: Camera, face: np.ndarray, mask: np.ndarray, matrix: np.ndarray) -> None:
        """``face``: uint8 [S, S, 3], or float [3, S, S] in 0..1; ``mask``: float32 or uint8 [S, S]."""
        planes = face.dtype != np.uint8
        swapped = engine._Image(face.ctypes.data, face.strides[1 if planes else 0], engine.PLANES if planes else RGB8)
        shade = engine._Image(
            mask.ctypes.data, mask.strides[0], engine.GRAY8 if mask.dtype == np.uint8 else engine.PLANES
        )
        room, held = engine._aligned(bytes(self.lib.idn_paste_bytes())), np.ascontiguousarray(matrix)
        given = (ctypes.byref(camera.held), engine._at(held), ctypes.byref(swapped), ctypes.byref(shade))
        self.engine._check(self.lib.idn_paste(ctypes.byref(self.engine.model), *given, *engine._sized(room)))
