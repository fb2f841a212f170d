"""What a swapped picture or video was made with: what it says of itself, and what the reports say of it.

Of a person it holds the hash of an identity: nobody is read from it, but who has that identity can tell that it was
used. So consent can be traced, and a picture linked to a person.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Made:
    """How one picture or video came to be.

    Attributes:
        artefact: the file or folder that ran. Only its name is ever told, never where it lay.
        artefact_sha256: of that file, as ``files.sha256`` has it; with a pack the base's.
        identity_sha256s: whose faces were put in, in the order of their packs; of an artefact's own identity the one
            in its metadata. Empty: the artefact does not say.
        checkpoint_sha256: the weights that it was compiled from; empty where it does not say.
        precision: "fp32", "fp16", "int8" or "int8-mixed"; empty where the artefact does not say.
        target: the registry's name of its format, such as "onnx".
        versions: of mfs-edge and of the runtime, by their names.
        faces: swapped: of a picture how many, of a video the sum over its frames.
        frames: of a video; 1 for a picture.
        warnings: what was said to the user of this output.
    """

    artefact: Path
    artefact_sha256: str
    identity_sha256s: tuple[str, ...] = ()
    checkpoint_sha256: str = ""
    precision: str = ""
    target: str = ""
    versions: Mapping[str, str] = field(default_factory=dict)
    faces: int = 0
    frames: int = 1
    warnings: tuple[str, ...] = ()
