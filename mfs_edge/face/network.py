"""A model that finds faces, in the engine that runs our TFLite files."""

from __future__ import annotations

import importlib
from pathlib import Path

import numpy as np

from mfs_edge import target
from mfs_edge.base import files, quiet
from mfs_edge.base.errors import MissingDependency
from mfs_edge.base.reasons import reason_of

_ENGINE = "tflite"  # the target whose files these are
_THREADS = 1  # they take a millisecond, and a second thread gains little


class Network:
    """One of the two models: a square picture in, named arrays out."""

    def __init__(self, path: Path) -> None:
        """Load it.

        Raises:
            MissingDependency: LiteRT is not installed.
        """
        # Not by Target.load: that vouches for files which mfs-edge wrote; these are vouched for by their hashes.
        kind = importlib.import_module(target.get(_ENGINE).engine).Engine
        try:
            with quiet.without_info_lines():
                self._engine: target.Engine = kind(str(files.require_text(path)), _THREADS)
        except ImportError as error:
            raise MissingDependency(
                f"finding faces needs {kind.PACKAGE} ({reason_of(error)}); install it with: pip install "
                "'mfs-edge[swap]', or give --landmarks FILE"
            ) from error
        ((self._input, (shape, _)),) = self._engine.inputs.items()
        self.side = shape[1]

    def __call__(self, picture: np.ndarray) -> dict[str, np.ndarray]:
        """Its outputs, float32 of their own shapes, from a picture, float32 [S, S, 3] in the model's own range."""
        self._engine.feed({self._input: picture[None]})
        self._engine.infer()
        return self._engine.fetch()
