"""``mfs-edge inspect`` as a whole: what a file is, what is in it, and how that is shown; a runtime may load it."""

from __future__ import annotations

import contextlib
import io
from pathlib import Path

from mfs_edge.about import inspection
from mfs_edge.base.errors import UsageError
from mfs_edge.cli import show
from tests.fuzz.readers import graphs, identities, texts
from tests.fuzz.registry import Sample, reader
from tests.fuzz.structures import binaries
from tests.fuzz.structures import texts as structures


def shown(path: Path) -> None:
    """For people and for machines, with layers and quantised tensors where there are some."""
    for extra in ({}, {"layers": True}, {"quant": True}):
        with contextlib.suppress(UsageError), contextlib.redirect_stdout(io.StringIO()):
            found = inspection.inspect(path, **extra)
            show.inspected(found, json=False)
            show.inspected(found, json=True)


@reader(
    "inspect-onnx",
    file="idn.onnx",
    samples=lambda: graphs.written("onnx", "idn.onnx"),
    structures=[binaries.as_protobuf],
)
def inspect_onnx(path: Path) -> None:
    shown(path)


@reader(
    "inspect-tflite",
    file="idn.tflite",
    samples=graphs.foreign_tflite,
    structures=[binaries.Signed(graphs.digest)],
)
def inspect_tflite(path: Path) -> None:
    shown(path)


@reader(
    "inspect-openvino",
    file="idn.xml",
    samples=lambda: graphs.written("openvino", "idn.xml"),
    structures=[structures.as_xml],
)
def inspect_openvino(path: Path) -> None:
    shown(path)


@reader(
    "inspect-manifest",
    file="manifest.json",
    samples=texts.manifests,
    structures=[structures.as_json],
)
def inspect_manifest(path: Path) -> None:
    shown(path.parent)


@reader("inspect-identity", file="id.npy", samples=lambda: [*identities.arrays(), Sample(b"what is this")], share=0.5)
def inspect_identity(path: Path) -> None:
    shown(path)
