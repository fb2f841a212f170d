"""The ``.mlpackage``, written reproducibly; ``read`` checks one.

A package is a folder: ``Manifest.json`` names ``Data/com.apple.CoreML/model.mlmodel`` (a
protobuf ``Model``, coremltools' ``Model.proto``) and the ``weights`` folder beside it.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from mfs_edge.base import files
from mfs_edge.base.errors import OutputError
from mfs_edge.base.version import __version__
from mfs_edge.target import CROP, ENROL, PAYLOAD, SWAP

from . import program, tools
from .read import MANIFEST, MODEL, SUFFIX, WEIGHTS, WEIGHTS_SHA256

_PROGRAM = 1 << 20  # bytes, several times what one of ours has
ABOUT = {
    SWAP: "MobileFaceSwap: swaps one identity onto a face crop",
    ENROL: "MobileFaceSwap: reads an identity from a face crop",
}
DESCRIPTIONS = {
    CROP: "The face to be read, aligned and cropped: RGB",
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
    with (
        files.writing(path),
        tempfile.TemporaryDirectory(prefix=f".{path.name}.", dir=path.parent) as folder,
        files.converting(path, size=_size(mil)),  # which writes the weights among the temporary files first
    ):
        made = Path(folder) / path.name
        model = _convert(mil, made, io=io, min_ios=min_ios)
        own = {**metadata, "io": io, "precision": precision, "minimum iOS": str(min_ios)}
        _describe(model, {**own, WEIGHTS_SHA256: files.sha256(made / WEIGHTS)}, io=io)
        data = model.SerializeToString(deterministic=True)
        (made / MODEL).write_bytes(data)
        (made / MANIFEST).write_bytes(named((made / MANIFEST).read_bytes(), data))
        fresh = Path(folder) / "fresh"
        # coremltools makes files and folders private; new ones get the permissions that the umask leaves.
        files.twin(made, fresh, link=False)
        files.delete(path)
        fresh.rename(path)


def _size(mil: Any) -> int:
    """Bytes of the package, at most: constants, and the description of what computes with them."""
    constants = (op.outputs[0].val for op in mil.functions["main"].operations if op.op_type == "const")
    return sum(np.asarray(value).nbytes for value in constants) + _PROGRAM


def _convert(mil: Any, path: Path, *, io: str, min_ios: int) -> Any:
    """Serialise the program to ``path``; returns its protobuf ``Model``."""
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
    ct = tools.require()
    about = model.description.metadata
    about.shortDescription = ABOUT[entries.get("task", SWAP)]
    about.versionString = __version__
    about.author = f"mfs-edge {__version__}"
    about.userDefined.clear()
    about.userDefined.update({key: str(value) for key, value in entries.items()})
    about.userDefined["coremltools"] = ct.__version__
    for feature in (*model.description.input, *model.description.output):
        extent = "8 bits per channel" if feature.name in program.IMAGES[io] else "values 0 to 1, [1, C, H, W]"
        if feature.name == PAYLOAD:
            feature.shortDescription = "The identity's numbers, as its pack holds them: biometric data"
            continue
        feature.shortDescription = f"{DESCRIPTIONS.get(feature.name, feature.name)}; {extent}"


def named(manifest: bytes, model: bytes) -> bytes:
    """The package's manifest with item identifiers, random otherwise, that are derived from the model's bytes.

    The items are ordered by their paths: another identity's manifest differs in the identifiers alone.
    """
    content = json.loads(manifest)
    digest = hashlib.sha256(model).hexdigest()
    items = sorted(content["itemInfoEntries"].items(), key=lambda entry: entry[1]["path"])
    new = {old: str(uuid.uuid5(uuid.NAMESPACE_OID, digest + item["path"])) for old, item in items}
    content["itemInfoEntries"] = {new[old]: dict(sorted(item.items())) for old, item in items}
    content["rootModelIdentifier"] = new[content["rootModelIdentifier"]]
    return (json.dumps(dict(sorted(content.items())), indent=4) + "\n").encode()
