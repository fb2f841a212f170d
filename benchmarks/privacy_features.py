"""How much of the feature map do the kernels hold? A part of ``benchmarks/privacy.py``.

They depend on it through the 8,192 numbers that the predictor's first layer makes of its 25,088 only. Supposing that
an attacker had all of these, the likeliest map is the shortest that gives them; ArcFace's public head makes an
embedding of it, without a look at gains and demodulations.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from benchmarks.privacy_local import cosine
from mfs_edge.load.checkpoint import Checkpoint
from mfs_edge.load.embed import Embedder
from mfs_edge.load.identity import Identity

STEPS = 300  # of conjugate gradients, at most
SETTLED = 1e-16  # of the squared residual


def rows(title: str, checkpoint: Checkpoint, people: Sequence[Identity], embed: Embedder) -> Iterator[dict[str, Any]]:
    """The cosines of each one's map with what comes back of it, and of the embeddings."""
    maps, embeddings = [], []
    for person in people:
        found = shortest(checkpoint.tensors["predictor.first.weight"], person.feature_map)
        maps.append(cosine(found, person.feature_map))
        embeddings.append(cosine(embed.head(found.astype(np.float32)), person.embedding))
    for what, cosines in (("feature map", maps), ("embedding, by ArcFace's head", embeddings)):
        yield {"checkpoint": title, "of": what, "median": float(np.median(cosines)), "highest": max(cosines)}


def shortest(weight: np.ndarray, feature_map: np.ndarray) -> np.ndarray:
    """The map [512, 7, 7] of the least length that a conv of ``weight`` [512, 512, 4, 4] cannot tell from the true one.

    That is C' (C C')^-1 C x, by conjugate gradients.
    """
    conv = torch.from_numpy(weight).double()
    residual = F.conv2d(torch.from_numpy(feature_map).double()[None], conv)
    solution, direction = torch.zeros_like(residual), residual.clone()
    size = first = (residual**2).sum()
    for _ in range(STEPS):
        image = F.conv2d(F.conv_transpose2d(direction, conv), conv)
        step = size / (direction * image).sum()
        solution, residual = solution + step * direction, residual - step * image
        before, size = size, (residual**2).sum()
        if size < SETTLED * first:
            break
        direction = residual + size / before * direction
    return F.conv_transpose2d(solution, conv)[0].numpy()
