"""Files written once per session, from the golden network."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path

import pytest

from mfs_edge.fold import FoldedIDN
from tests.targets.tflite import graphs

Writer = Callable[..., Path]


@pytest.fixture(scope="session")
def written(golden_folded: FoldedIDN, tmp_path_factory: pytest.TempPathFactory) -> Writer:
    """``written(size=224, level=1, precision="fp32", io="float32")`` -> the file."""

    @functools.cache
    def write(*, size: int = 224, level: int = 1, precision: str = "fp32", io: str = "float32") -> Path:
        model = graphs.idn(golden_folded.weights(), size=size, level=level)
        return graphs.write(model, tmp_path_factory.mktemp("tflite"), precision=precision, io=io)

    return write
