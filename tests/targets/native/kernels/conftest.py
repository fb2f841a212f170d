"""The head of every generated source, once."""

from __future__ import annotations

import pytest

from mfs_edge.fold import FoldedIDN
from tests.targets.native.kernels import shim


@pytest.fixture(scope="session")
def before(golden_folded: FoldedIDN) -> str:
    return shim.prelude(golden_folded)
