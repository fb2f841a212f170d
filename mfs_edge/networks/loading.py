"""From validated arrays to a torch module ready to run."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator, Mapping
from typing import TypeVar

import numpy as np
import torch
from torch import nn


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Run torch on one thread.

    Our tensors are small. On a busy machine (a shared CI runner) more threads mostly wait for
    each other, up to twenty times slower, and their number would show in the last digit.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


Module = TypeVar("Module", bound=nn.Module)


def instantiate(kind: type[Module], tensors: Mapping[str, np.ndarray], *, dtype: torch.dtype = torch.float32) -> Module:
    """``kind()`` in inference mode with ``tensors`` as its state, strictly matched.

    Built on the meta device and, in float32, given the arrays themselves: no
    initialisation is computed to be thrown away, and nothing is copied.
    """
    with torch.device("meta"):
        module = kind()
    with warnings.catch_warnings():
        # Mapped checkpoints are read-only arrays; nothing here writes to weights.
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        state = {key: torch.from_numpy(tensor).to(dtype) for key, tensor in tensors.items()}
    module.load_state_dict(state, strict=True, assign=True)
    return module.eval().requires_grad_(False)
