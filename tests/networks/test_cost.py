"""The torch networks' counts: the paper's rows, and agreement with the graph's own."""

from __future__ import annotations

from collections.abc import Callable

import onnx_ir as ir
import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from mfs_edge.fold import FoldedIDN
from mfs_edge.graph.build import build
from mfs_edge.graph.cost import count as count_graph
from mfs_edge.networks import spec
from mfs_edge.networks.arcface import ArcFace
from mfs_edge.networks.idn import IDN
from mfs_edge.networks.iin import IIN
from tests.graph.test_cost import BUDGETS, hold
from tests.networks import torch_cost as cost

PAPER = BUDGETS["paper"]


def test_id_network() -> None:
    found = cost.arcface()
    hold(PAPER["arcface"], params=found.parameters / 1e6, g=found.paper / 1e9)


@pytest.mark.parametrize("size", [224, 256])
def test_identity_side(size: int) -> None:
    identity, injection, frame = cost.arcface(), cost.iin(), cost.idn(size)
    total = identity.paper + injection.paper + frame.paper
    params = identity.parameters + injection.parameters
    hold(PAPER[f"identity-side-{size}"], params=params / 1e6, g=total / 1e9)


def test_published_growth_is_the_frames() -> None:
    """Both published sums grow by 0.11: the identity side's g contains a frame (each figure is rounded to 0.01)."""
    published = PAPER["identity-side-256"]["g"] - PAPER["identity-side-224"]["g"]
    assert published == pytest.approx(PAPER["idn-256"]["g"] - PAPER["idn-224"]["g"])
    assert (cost.idn(256).paper - cost.idn(224).paper) / 1e9 == pytest.approx(published, abs=0.01)


@pytest.mark.parametrize("size", [224, 256, 96])
def test_agrees_with_the_graph(plain_graph: Callable[[int], ir.Model], size: int) -> None:
    found, graph = cost.idn(size), count_graph(plain_graph(size))
    for name in ("parameters", "macs", "flops", "paper", "peak_bytes"):
        assert getattr(found, name) == getattr(graph, name), name
    constants = 4 * (4 + 1 + 1 + 1)  # the graph also stores the upsample's scales, 0.5, 1 and 2
    assert graph.weight_bytes - found.weight_bytes == constants


@pytest.mark.parametrize(
    ("kind", "shapes", "found"),
    [
        (ArcFace, [(1, 3, 112, 112)], cost.arcface),
        (IIN, [(1, spec.EMBEDDING), (1, *spec.FEATURE_MAP)], cost.iin),
        (IDN, [(1, 3, 224, 224)], lambda: cost.idn(224)),
    ],
)
def test_macs_agree_with_torchs_own_counter(
    kind: type[nn.Module], shapes: list[tuple[int, ...]], found: Callable[[], cost.Cost]
) -> None:
    with torch.device("meta"), FlopCounterMode(display=False) as counter:
        kind().eval()(*(torch.empty(shape) for shape in shapes))
    assert 2 * found().macs == counter.get_total_flops()


@pytest.mark.parametrize(("network", "found"), [("arcface", cost.arcface), ("iin", cost.iin)])
def test_parameters_are_the_checkpoints(network: str, found: Callable[[], cost.Cost]) -> None:
    shapes = spec.NETWORK_SHAPES[network]()
    sizes = {key: torch.Size(shape).numel() for key, shape in shapes.items()}
    assert found().weight_bytes == 4 * sum(sizes.values())
    assert found().parameters == sum(size for key, size in sizes.items() if "running_" not in key)


@pytest.fixture(scope="module")
def plain_graph(golden_folded: FoldedIDN) -> Callable[[int], ir.Model]:
    return lambda size: build(golden_folded.weights(), size=size)
