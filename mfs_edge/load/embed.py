"""ArcFace, made ready once: the identity in an aligned crop."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import numpy as np

from mfs_edge.base import extras
from mfs_edge.load.checkpoint import Checkpoint
from mfs_edge.load.identity import Identity
from mfs_edge.networks import spec

if TYPE_CHECKING:
    from mfs_edge.networks.arcface import ArcFace


class Embedder:
    """ArcFace made ready once, on first use, for any number of pictures."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        self.checkpoint = checkpoint

    @property
    def source(self) -> str:
        """The checkpoint's name, for messages."""
        return self.checkpoint.source

    @functools.cached_property
    def network(self) -> ArcFace:
        """In float64: 50 layers of float32 lose a digit that the folded weights are judged on, and,

        rounded to float32, an identity and its hash are the same on every machine.
        """
        torch = extras.require("torch", "compile")
        from mfs_edge.networks import arcface, loading

        return loading.instantiate(arcface.ArcFace, self.checkpoint.tensors, dtype=torch.float64)

    def __call__(self, image: np.ndarray) -> Identity:
        """Identity of a [112, 112, 3] RGB crop in 0..255, bytes or floats."""
        import torch

        tensor = torch.from_numpy(image.transpose(2, 0, 1)[None].astype(np.float64) / 255)
        embedding, feature_map = self.network(tensor)
        return Identity(embedding[0].float().numpy(), feature_map[0].float().numpy())

    def head(self, feature_map: np.ndarray) -> np.ndarray:
        """Embedding [512] of a feature map."""
        import torch

        tensor = torch.from_numpy(feature_map.reshape(1, *spec.FEATURE_MAP)).double()
        return self.network.head(tensor)[0].float().numpy()
