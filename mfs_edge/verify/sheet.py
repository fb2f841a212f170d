"""The contact sheet: what went in, what the reference says, what each artefact says."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mfs_edge.base import extras

CELL = 224
GAP = 8
HEADER = 30
GAIN = 20  # differences are shown this many times larger
_INK = (40, 40, 40)


def contact_sheet(columns: Sequence[str], rows: Sequence[Sequence[np.ndarray]], caption: str) -> np.ndarray:
    """Pictures in a labelled grid.

    Args:
        columns: one title for each picture of a row.
        rows: uint8 [224, 224, 3] RGB each.
        caption: one line below.

    Returns:
        uint8 [H, W, 3] RGB.
    """
    step = CELL + GAP
    sheet = np.full((HEADER + len(rows) * step + HEADER, GAP + len(columns) * step, 3), 255, np.uint8)
    for x, title in enumerate(columns):
        _text(sheet, title, GAP + x * step, HEADER - 10)
    for y, row in enumerate(rows):
        for x, picture in enumerate(row):
            top, left = HEADER + y * step, GAP + x * step
            sheet[top : top + CELL, left : left + CELL] = picture
    _text(sheet, caption, GAP, sheet.shape[0] - 10)
    return sheet


def difference(reference: np.ndarray, output: np.ndarray) -> np.ndarray:
    """|a - b| x20 as a grey-level picture; [1, 3, S, S] floats in, uint8 [S, S, 3] out."""
    shown = np.clip(np.abs(reference - output)[0].transpose(1, 2, 0) * GAIN, 0, 1)
    return np.rint(shown * 255).astype(np.uint8)


def _text(sheet: np.ndarray, text: str, x: int, y: int) -> None:
    cv2 = extras.require("cv2", "compile")
    cv2.putText(sheet, text, (x, y), cv2.FONT_HERSHEY_SIMPLEX, 0.5, _INK, 1, cv2.LINE_AA)
