"""Small artefacts of every form that targets write, told apart by whose they are; and what a folder holds."""

from __future__ import annotations

import json
from pathlib import Path

from mfs_edge import bundle
from mfs_edge.base import files
from mfs_edge.base.artefact import Artefact
from mfs_edge.bundle.manifest import ArtefactRecord, Manifest, Source, Verification

FORMS = ("onnx", "tflite", "openvino", "coreml", "external")
BYTES = 20_000


def field(number: int, content: bytes) -> bytes:
    """A field of a protobuf message, of bytes."""
    size, length = len(content), b""
    while size > 0x7F:
        length, size = length + bytes([size & 0x7F | 0x80]), size >> 7
    tag = number << 3 | 2
    head = bytes([tag & 0x7F | 0x80, tag >> 7]) if tag > 0x7F else bytes([tag])
    return head + length + bytes([size]) + content


def onnx_model(whose: str, *locations: str) -> bytes:
    """A model with a tensor in each of the files named; ``whose`` is its documentation."""
    tensors = [
        field(8, f"w{n}".encode()) + field(13, field(1, b"location") + field(2, name.encode())) + b"\x70\x01"
        for n, name in enumerate(locations)
    ]
    return field(6, whose.encode()) + field(7, b"".join(field(5, tensor) for tensor in tensors))


def contents(form: str, whose: str, name: str = "idn") -> dict[str, bytes]:
    """Every file of an artefact of ``form``, by its path; the one that opens it first."""
    weights = whose.encode() * (BYTES // len(whose))
    if form == "openvino":
        return {f"{name}.xml": f"<net whose='{whose}'/>".encode(), f"{name}.bin": weights}
    if form == "coreml":
        data = f"{name}.mlpackage/Data/com.apple.CoreML"
        return {
            f"{name}.mlpackage/Manifest.json": json.dumps(whose).encode(),
            f"{data}/model.mlmodel": whose.encode(),
            f"{data}/weights/weight.bin": weights,
        }
    if form == "external":
        return {f"{name}-external.onnx": onnx_model(whose, f"{name}.onnx.data"), f"{name}.onnx.data": weights}
    return {f"{name}.{form}": onnx_model(whose) if form == "onnx" else weights}


def write(folder: Path, form: str, whose: str, name: str = "idn") -> Artefact:
    """An artefact of ``form`` in ``folder``."""
    for path, content in contents(form, whose, name).items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(content)
    parts = list(dict.fromkeys(path.split("/")[0] for path in contents(form, whose, name)))
    return Artefact(folder / parts[0], tuple(parts[1:]))


def record(made: Artefact, form: str, whose: str, *, status: str = "passed") -> ArtefactRecord:
    return ArtefactRecord(
        file=made.path.name,
        files=made.sha256s,
        bytes=made.size,
        target="onnx" if form == "external" else form,
        precision="fp32",
        io="float32",
        size=224,
        optimize=1,
        checkpoint=Source(name="iin.pdparams", sha256="0" * 64),
        identity_sha256=whose,
        inputs=(),
        outputs=(),
        operators={},
        parameters=1,
        macs=1,
        verification=Verification(status=status, verified="runtime", run="a test"),
    )


def publish(folder: Path, whose: str, *forms: str, name: str = "idn") -> Manifest:
    with bundle.staging(folder) as stage:
        made = tuple(record(write(stage, form, whose, name), form, whose) for form in forms or FORMS)
        return bundle.publish(stage, folder, Manifest(versions={}, artefacts=made))


def holds(folder: Path) -> set[str]:
    """Whose artefacts the manifest of ``folder`` names; by plain hashing of what it names.

    Raises:
        AssertionError: some file is not what the manifest says, or not that person's.
    """
    path = folder / bundle.MANIFEST
    if not path.exists():
        return set()
    found = set()
    for entry in json.loads(path.read_text())["artefacts"]:
        for name, digest in entry["files"].items():
            assert (folder / name).exists(), f"{name} is missing"
            assert files.sha256(folder / name) == digest, f"{name} is not what the manifest says"
        found.add(entry["identity_sha256"])
    return found
