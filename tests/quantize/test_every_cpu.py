"""Int8 on a CPU that saturates: AVX2 without VNNI, emulated or pretended, beside whatever this one is.

Everything holds on any CPU: where this one has no x86 instructions, or no VNNI either, the other
runs are the same as its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

from mfs_edge import sample, target
from mfs_edge.base import images
from mfs_edge.base.fidelity import psnr
from mfs_edge.fold import FoldedIDN
from mfs_edge.graph import build, passes
from mfs_edge.quantize import execute, neighbours, quantise
from mfs_edge.quantize.calibration import load
from mfs_edge.target import EmitOptions
from tests.quantize import cpus, saturating

FORMATS = ("onnx", "openvino", "tflite")
LOST_DB = 0.3  # a runtime may be this much worse than the graph in float


def written(model: ir.Model, names: tuple[str, ...], folder: Path) -> list[Path]:
    paths = []
    for name in names:
        backend = target.get(name)
        paths.append(folder / f"idn-int8{backend.suffix}")
        backend.emit(model, paths[-1], EmitOptions(precision="int8"))
    return paths


@pytest.fixture(scope="module")
def quantised(small: ir.Model, calibrating: list[np.ndarray]) -> ir.Model:
    return quantise(small, calibrating).model


@pytest.fixture(scope="module")
def paths(quantised: ir.Model, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return written(quantised, FORMATS, tmp_path_factory.mktemp("cpus"))


@pytest.fixture(scope="module")
def native(paths: list[Path], judging: list[np.ndarray]) -> Mapping[str, np.ndarray]:
    return cpus.run(paths, judging)


@pytest.fixture(scope="module")
def haswell() -> list[str]:
    return cpus.haswell()


def test_onnxruntime_needs_no_option(native: Mapping[str, np.ndarray]) -> None:
    """Bit for bit what it gives when it is told to widen; says something on a CPU without VNNI, see below."""
    for name in ("swapped", "mask"):
        assert np.array_equal(native[f"onnx {name}"], native[f"widened {name}"])


@pytest.mark.emulated
def test_a_haswell_gives_the_same_bits(
    paths: list[Path], judging: list[np.ndarray], native: Mapping[str, np.ndarray], haswell: list[str]
) -> None:
    """All three runtimes, and onnxruntime with and without its option; OpenVINO also where it is only told."""
    found = cpus.run(paths, judging, under=haswell)
    told = cpus.run(paths, judging, environment=cpus.AVX2)
    assert found.keys() == native.keys()
    for name, value in native.items():
        assert np.array_equal(found[name], value), name
        assert np.array_equal(told[name], value), name
    for name in ("swapped", "mask"):
        assert np.array_equal(found[f"onnx {name}"], found[f"widened {name}"])


@pytest.mark.parametrize("environment", [{}, cpus.AVX2], ids=["as it is", "without VNNI"])
def test_every_runtime_is_as_good_as_the_graph(
    demo_folded: FoldedIDN, tmp_path: Path, environment: Mapping[str, str]
) -> None:
    """The demo at its own size. OpenVINO is the one that the environment is for; the Haswell is for the others."""
    real = passes.optimise(build.build(demo_folded.weights(), size=224))
    pictures = [images.to_nchw(sample.target(i)) for i in range(0, 32, 3)]
    model = quantise(real, load(None, 224, limit=16)).model
    found = cpus.run(written(model, FORMATS, tmp_path), pictures, environment=environment)
    wanted, exact = execute.outputs(real, pictures), execute.outputs(model, pictures, as_written=True)
    for key, values in found.items():
        name = key.split()[1]
        ours, graphs = (
            np.mean([psnr(one - reference[name]) for one, reference in zip(some, wanted, strict=True)])
            for some in (values, [outputs[name] for outputs in exact])
        )
        assert ours > graphs - LOST_DB, key


@pytest.mark.emulated
@pytest.mark.parametrize(("channels", "extent"), [(8, 1), (7, 1), (3, 1), (2, 3), (3, 3), (6, 3)])
def test_kernels_pair_what_we_bound(channels: int, extent: int, haswell: list[str], tmp_path: Path) -> None:
    """Of all couples of codes, those that saturate anywhere are neighbours; and between them they are all."""
    couples = saturating.couples(channels * extent**2)
    paths = written(saturating.graph(channels, extent, couples), ("onnx", "openvino"), tmp_path)
    on_avx2 = cpus.run(paths[1:], [saturating.WHITE], environment=cpus.AVX2)["xml swapped"][0]
    on_haswell = cpus.run(paths[:1], [saturating.WHITE], under=haswell)["onnx swapped"][0]
    wrong = saturating.wrong(on_avx2, couples) | saturating.wrong(on_haswell, couples)
    bound = {(int(one), int(other)) for one, other in np.sort(neighbours.pairs(channels, extent, extent), axis=0).T}
    assert wrong == (bound if cpus.X86 else set())


@pytest.mark.emulated
def test_depthwise_kernels_and_xnnpack_pair_nothing(haswell: list[str], tmp_path: Path) -> None:
    couples = saturating.couples(9)[:16]
    model = saturating.graph(16, 3, couples, depthwise=True)
    paths = written(model, ("onnx", "openvino"), tmp_path)
    assert not saturating.wrong(cpus.run(paths[:1], [saturating.WHITE], under=haswell)["onnx swapped"][0], couples)
    assert not saturating.wrong(
        cpus.run(paths[1:], [saturating.WHITE], environment=cpus.AVX2)["xml swapped"][0], couples
    )
    for channels, extent, three in ((4, 1, [(0, 1), (1, 2), (2, 3)]), (2, 3, [(0, 9), (4, 13), (0, 1)])):
        (path,) = written(saturating.graph(channels, extent, three), ("tflite",), tmp_path)
        found = cpus.run([path], [saturating.WHITE], under=haswell)["tflite swapped"][0]
        assert not saturating.wrong(found, three)
