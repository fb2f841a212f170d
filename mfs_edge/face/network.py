"""A model that finds faces, in the engine that runs our TFLite files."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mfs_edge.base import files, quiet
from mfs_edge.base.errors import MissingDependency
from mfs_edge.base.reasons import reason_of

if TYPE_CHECKING:  # it travels to devices, see mfs_edge/measure/ends.py
    from mfs_edge.target import Engine

TARGET = "tflite"  # whose files these are
THREADS = 1  # they take a millisecond, and a second thread gains little


class Network:
    """One of the two models: a square picture in, named arrays out."""

    def __init__(self, engine: Engine) -> None:
        """Take the engine that has loaded it."""
        self._engine = engine
        ((self._input, (shape, _)),) = engine.inputs.items()
        self.side = shape[1]

    def __call__(self, picture: np.ndarray) -> dict[str, np.ndarray]:
        """Its outputs, float32 of their own shapes, from a picture, float32 [S, S, 3] in the model's own range."""
        self._engine.feed({self._input: picture[None]})
        self._engine.infer()
        return self._engine.fetch()


def opened(path: Path) -> Network:
    """The model in a file.

    Raises:
        MissingDependency: LiteRT is not installed.
    """
    from mfs_edge import target  # devices have no registry: they open it by the engine that came along

    # Not by Target.load: that vouches for files which mfs-edge wrote; these are vouched for by their hashes.
    kind = importlib.import_module(target.get(TARGET).engine).Engine
    try:
        with quiet.without_info_lines():
            return Network(kind(str(files.require_text(path)), THREADS))
    except ImportError as error:
        raise MissingDependency(
            f"finding faces needs {kind.PACKAGE} ({reason_of(error)}); install it with: pip install "
            "'mfs-edge[swap]', or give --landmarks FILE"
        ) from error
