"""The ``.mlpackage``: written reproducibly, and checked when it is read.

A package is a folder: ``Manifest.json`` names ``Data/com.apple.CoreML/model.mlmodel`` (a
protobuf ``Model``, coremltools' ``Model.proto``) and the ``weights`` folder beside it.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import struct
import tempfile
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from mfs_edge.base import files
from mfs_edge.base.errors import InputError, OutputError
from mfs_edge.base.version import __version__

from . import tools

SUFFIX = ".mlpackage"
MODEL = Path("Data/com.apple.CoreML/model.mlmodel")
WEIGHTS = Path("Data/com.apple.CoreML/weights/weight.bin")
MANIFEST = Path("Manifest.json")
WEIGHTS_SHA256 = "weights_sha256"
AGAIN = "compile it again"

# MIL's blob file, as in coremltools' mlmodel/src/MILBlob/Blob/StorageFormat.hpp: each blob is
# described by a record of 64 bytes that starts with a magic number, its type, size and offset.
_RECORD = struct.Struct("<IIQQ")
_RECORD_SIZE = 64
_MAGIC = 0xDEADBEEF

DESCRIPTIONS = {
    "image": "The target's face, aligned and cropped: RGB",
    "swapped": "The face with the new identity: RGB",
    "mask": "How much of each pixel to paste back, from 0 (none)",
}


def write(mil: Any, path: Path, *, precision: str, io: str, min_ios: int, metadata: Mapping[str, str]) -> None:
    """Write the package of a program; the same program makes the same bytes.

    Raises:
        OutputError: ``path`` is not named ``.mlpackage``, or cannot be written.
    """
    if path.suffix != SUFFIX:
        raise OutputError(f"{path}: Core ML reads only folders named {SUFFIX}; choose such a name")
    with files.writing(path), tempfile.TemporaryDirectory(prefix=f".{path.name}.", dir=path.parent) as folder:
        made = Path(folder) / path.name
        model = _convert(mil, made, io=io, min_ios=min_ios)
        own = {**metadata, "io": io, "precision": precision, "minimum iOS": str(min_ios)}
        _describe(model, {**own, WEIGHTS_SHA256: files.sha256(made / WEIGHTS)}, io=io)
        data = model.SerializeToString(deterministic=True)
        (made / MODEL).write_bytes(data)
        (made / MODEL).chmod(0o644)  # coremltools leaves both private
        (made / WEIGHTS).parent.chmod(0o755)
        _name_items(made / MANIFEST, data)
        if path.exists():
            shutil.rmtree(path)
        made.rename(path)


def _convert(mil: Any, path: Path, *, io: str, min_ios: int) -> Any:
    """Serialise the program to ``path``; returns its protobuf ``Model``."""
    from . import program  # which needs the compiler; reading needs none

    ct = tools.require()
    images = program.IMAGES[io]
    function = mil.functions["main"]
    inputs = [
        ct.ImageType(name=name, shape=variable.shape, color_layout=_colours(ct, variable.shape))
        if name in images
        else ct.TensorType(name=name, shape=variable.shape)
        for name, variable in function.inputs.items()
    ]
    function.set_output_types(
        [
            ct.ImageType(name=variable.name, color_layout=_colours(ct, variable.shape))
            if variable.name in images
            else ct.TensorType(name=variable.name)
            for variable in function.outputs
        ]
    )
    with tools.quiet():
        # No pass has anything to do: the lowering emits what it means, once, in its final
        # precision and without dead code. The default pipeline runs ~90 of them.
        converted = ct.convert(
            mil,
            convert_to="mlprogram",
            inputs=inputs,
            minimum_deployment_target=program.deployment_target(min_ios),
            pass_pipeline=ct.PassPipeline.EMPTY,
            package_dir=str(path),
            skip_model_load=True,
        )
        return converted.get_spec()


def _colours(ct: Any, shape: tuple[int, ...]) -> Any:
    return ct.colorlayout.RGB if shape[1] == 3 else ct.colorlayout.GRAYSCALE


def _describe(model: Any, entries: Mapping[str, str], *, io: str) -> None:
    """What Xcode shows, and our own entries; coremltools' date would make every file new."""
    from . import program

    ct = tools.require()
    about = model.description.metadata
    about.shortDescription = "MobileFaceSwap: swaps one identity onto a face crop"
    about.versionString = __version__
    about.author = f"mfs-edge {__version__}"
    about.userDefined.clear()
    about.userDefined.update({key: str(value) for key, value in entries.items()})
    about.userDefined["coremltools"] = ct.__version__
    for feature in (*model.description.input, *model.description.output):
        extent = "8 bits per channel" if feature.name in program.IMAGES[io] else "values 0 to 1, [1, C, H, W]"
        feature.shortDescription = f"{DESCRIPTIONS.get(feature.name, feature.name)}; {extent}"


def _name_items(manifest: Path, data: bytes) -> None:
    """Derive the package's item identifiers, random otherwise, from its content."""
    content = json.loads(manifest.read_text(encoding="utf-8"))
    digest = hashlib.sha256(data).hexdigest()
    new = {
        old: str(uuid.uuid5(uuid.NAMESPACE_OID, digest + item["path"]))
        for old, item in content["itemInfoEntries"].items()
    }
    content["itemInfoEntries"] = {new[old]: item for old, item in content["itemInfoEntries"].items()}
    content["rootModelIdentifier"] = new[content["rootModelIdentifier"]]
    manifest.write_text(json.dumps(content, indent=4, sort_keys=True) + "\n", encoding="utf-8")


def read(path: Path) -> Any:
    """The package's protobuf ``Model``, after checking that all of the package is there.

    Raises:
        InputError: not a package, or a part is missing, truncated or changed.
        MissingDependency: coremltools, which has the protobuf definitions, is not installed.
    """
    if not path.is_dir():
        raise InputError(
            f"{path}: {'is a file' if path.exists() else 'no such folder'}; give the {SUFFIX} folder itself"
        )
    _check_manifest(path)
    data = files.require_file(path / MODEL, "model in the package").read_bytes()
    tools.require()
    from coremltools.proto import Model_pb2
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped, unused-ignore]

    model = Model_pb2.Model()
    try:
        model.ParseFromString(data)
    except DecodeError as error:
        raise InputError(f"{path / MODEL}: is damaged ({error}); {AGAIN}") from error
    if model.WhichOneof("Type") != "mlProgram":
        raise InputError(
            f"{path}: holds no ML Program but {model.WhichOneof('Type')}; mfs-edge writes and reads only those"
        )
    if "main" not in model.mlProgram.functions:
        raise InputError(f"{path}: its ML Program has no function main; give a package that mfs-edge wrote")
    _check_weights(path, model)
    return model


def _check_manifest(path: Path) -> None:
    manifest = files.require_file(path / MANIFEST, "package's manifest")
    try:
        content = json.loads(manifest.read_text(encoding="utf-8"))
        root = content["itemInfoEntries"][content["rootModelIdentifier"]]["path"]
        if Path("Data") / root != MODEL:
            raise InputError(
                f"{manifest}: names {root} as the model, not {MODEL.name}; give a package that mfs-edge wrote"
            )
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{manifest}: is damaged ({error!r}); {AGAIN}") from error


def operations(model: Any) -> Iterator[Any]:
    """The operations of the program's main function."""
    function = model.mlProgram.functions["main"]
    yield from function.block_specializations[function.opset].operations


def _check_weights(path: Path, model: Any) -> None:
    """Every blob that the program names lies in the weight file, which is the one written."""
    weights = files.require_file(path / WEIGHTS, "package's weights")
    data = weights.read_bytes()
    stored = [(o, value) for o in operations(model) for value in o.attributes.values()]
    for operation, value in stored:
        if value.WhichOneof("value") != "blobFileValue":
            continue
        offset = value.blobFileValue.offset
        record = data[offset : offset + _RECORD_SIZE]
        magic, _, size, start = _RECORD.unpack_from(record) if len(record) == _RECORD_SIZE else (0, 0, 0, 0)
        if magic != _MAGIC or start + size > len(data):
            raise InputError(f"{weights}: is truncated or damaged at {operation.outputs[0].name}; {AGAIN}")
    expected = model.description.metadata.userDefined.get(WEIGHTS_SHA256)
    if expected is not None and hashlib.sha256(data).hexdigest() != expected:
        raise InputError(f"{weights}: is damaged, or belongs to another model; {AGAIN}")
