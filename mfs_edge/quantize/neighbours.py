"""Weights with which int8 sums are the same integers on every CPU.

x86 without VNNI multiplies u8 activations by s8 weights with ``vpmaddubsw``, which adds the
products of two neighbours in int16 and saturates. It cannot, whatever the activations are, if
neighbours of one sign sum to at most ``LIMIT``; of two signs they never do (255 * 127 < 2^15).

Which weights are neighbours, found by convolutions of two codes at every pair of places, under
qemu-x86_64 -cpu Haswell and ONEDNN_MAX_CPU_ISA=AVX2 (tests/quantize/test_every_cpu.py):

* oneDNN (OpenVINO 2026.4): input channels 2i and 2i + 1 under one tap; an odd last one has none.
  Signed activations are shifted to u8 and do the same.
* MLAS (onnxruntime 1.31): 2i and 2i + 1 of taps and channels in one row, channels innermost: with
  an odd number of channels the last of one tap meets the first of the next. (It can be told to
  widen instead, microsoft/onnxruntime#12088, and with these weights need not be.)
* XNNPACK (LiteRT 2.3) widens to int16 and adds in int32: none.
* Depthwise convs: none in any of them.

Products of s8 and s8, as on Arm, fit a pair in int16 as long as no weight is -128.
"""

from __future__ import annotations

import functools
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import onnx_ir as ir

from mfs_edge.base.errors import PassError
from mfs_edge.graph import edit

if TYPE_CHECKING:
    from mfs_edge.quantize.draft import Draft

LIMIT = np.iinfo(np.int16).max // np.iinfo(np.uint8).max  # 128


@functools.cache
def pairs(inputs: int, rows: int, columns: int) -> np.ndarray:
    """Neighbours among the weights of one output: int [2, P], places in a flattened [I, kh, kw]."""
    places = np.arange(inputs * rows * columns).reshape(inputs, -1).T  # [taps, I]
    under_one_tap = places[:, : inputs // 2 * 2].reshape(-1, 2)
    in_one_row = places.ravel()[: places.size // 2 * 2].reshape(-1, 2)
    found: np.ndarray = np.unique(np.concatenate([under_one_tap, in_one_row]), axis=0).T
    return found


def sums(weight: np.ndarray) -> np.ndarray:
    """What neighbours sum to, those of one sign (of two signs: the larger); [O, P], positive.

    Args:
        weight: codes or real numbers of a dense Conv, [O, I / groups, kh, kw].
    """
    flat = weight.reshape(len(weight), -1).astype(np.float64)
    one, other = (flat[:, places] for places in pairs(*weight.shape[1:]))
    found: np.ndarray = np.where(one * other > 0, np.abs(one + other), np.maximum(np.abs(one), np.abs(other)))
    return found


def largest(weight: np.ndarray) -> np.ndarray:
    """The largest of ``sums`` per output: [O]."""
    return sums(weight).max(axis=1, initial=0.0)


def settled(codes: np.ndarray, exact: np.ndarray) -> np.ndarray:
    """``codes`` with neighbours beyond ``LIMIT`` brought back, each time by the one that rounding raised most.

    Args:
        codes: integers [O, I / groups, kh, kw].
        exact: what they were rounded from, of the same shape.
    """
    found = codes.copy()
    flat, wanted = found.reshape(len(codes), -1), exact.reshape(len(codes), -1)
    neighbours = pairs(*codes.shape[1:])
    while (beyond := sums(found) > LIMIT).any():
        rows = np.flatnonzero(beyond.any(axis=1))
        places = neighbours[:, beyond[rows].argmax(axis=1)]  # of the first such pair in each row: [2, rows]
        raised = np.abs(flat[rows, places]) - np.abs(wanted[rows, places])
        place = places[raised.argmax(axis=0), np.arange(len(rows))]
        flat[rows, place] -= np.sign(flat[rows, place])
    return found


def step(draft: Draft) -> Draft:
    """With the proof that what was written cannot saturate."""
    return replace(draft, neighbours=require(draft.model))


def require(model: ir.Model) -> int:
    """The largest sum of neighbours among the integer weights of a QDQ graph.

    Raises:
        PassError: one is beyond ``LIMIT``.
    """
    found = 0
    for conv in edit.of_type(model.graph, "Conv"):
        source = edit.producer(conv.inputs[1], "DequantizeLinear")
        codes = edit.constant(source.inputs[0]) if source is not None else None
        if codes is None or edit.group(conv) == len(codes) > 1 == codes.shape[1]:
            continue
        most = int(largest(codes).max())
        if most > LIMIT:
            raise PassError(
                f"Conv {conv.name}: neighbouring int8 weights sum to {most}, and x86 without VNNI saturates beyond "
                f"{LIMIT}; this is a defect in mfs-edge, compile to fp32 or fp16 until it is fixed"
            )
        found = max(found, most)
    return found
