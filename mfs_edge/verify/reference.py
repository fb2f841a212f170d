"""The torch reference that written artefacts are compared with.

It runs the authors' path in torch (IIN, modulation, IDN); it shares neither the
fold's arithmetic nor the graph builder with what it judges.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from mfs_edge.base import cpus
from mfs_edge.base.fidelity import Outputs
from mfs_edge.base.threads import one_thread
from mfs_edge.load.checkpoint import Checkpoint
from mfs_edge.load.identity import Identity

AT_ONCE = 8  # images; each takes some 100 MB in float64


def reference_of(checkpoint: Checkpoint, identity: Identity) -> Callable[[np.ndarray], Outputs]:
    """The torch IDN of one identity, in float64, as a function of an image [1, 3, S, S]."""
    import torch

    from mfs_edge.networks import iin, loading
    from mfs_edge.networks.idn import IDN

    network = loading.instantiate(iin.IIN, checkpoint.tensors)
    with one_thread():
        state = network(torch.from_numpy(identity.embedding)[None], torch.from_numpy(identity.feature_map)[None])
    idn = loading.instantiate(IDN, {k: v.numpy() for k, v in state.items()}, dtype=torch.float64)

    def run(image: np.ndarray) -> Outputs:
        with one_thread():
            swapped, mask = idn(torch.from_numpy(image).double())
        return {"swapped": swapped.numpy(), "mask": mask.numpy()}

    return run


def on_each(run: Callable[[np.ndarray], Outputs], images: Sequence[np.ndarray]) -> list[Outputs]:
    """The reference's outputs for every image [1, 3, S, S] in 0..1; each on one thread, several at a time."""
    at_once = min(cpus.usable(), AT_ONCE)
    with one_thread(), ThreadPoolExecutor(at_once) as pool:
        return list(pool.map(run, images))
