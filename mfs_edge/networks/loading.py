"""From validated arrays to a torch module ready to run."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import TypeVar

import numpy as np
import torch
from torch import nn

Module = TypeVar("Module", bound=nn.Module)


def instantiate(kind: type[Module], tensors: Mapping[str, np.ndarray], *, dtype: torch.dtype = torch.float32) -> Module:
    """``kind()`` in inference mode with ``tensors`` (float, of any shape that it has) as its state, strictly matched.

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
