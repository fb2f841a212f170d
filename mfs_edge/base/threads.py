"""How many threads torch takes."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Run torch on one thread.

    Our tensors are small. On a busy machine (a shared CI runner) more threads mostly wait for
    each other, up to twenty times slower, and their number would show in the last digit.
    """
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
