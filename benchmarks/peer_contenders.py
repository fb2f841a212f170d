"""Who is compared: every usual way from the network to a device, and its file."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import peer_environments, peerlib
from mfs_edge import target
from mfs_edge.base.artefact import Artefact
from mfs_edge.base.errors import InputError, MfsEdgeError
from mfs_edge.measure import luggage

OURS = "mfs-edge"


@dataclass(frozen=True)
class Contender:
    """A converter (a key of peer_convert.CONVERTERS), the file that it writes, and what runs that."""

    by: str
    suffix: str
    runtime: str  # a target, by whose engine, or a key of peer_child.PEERS
    path: Path = Path()
    name: str = ""  # with its version
    seconds: float = 0.0  # that the conversion took

    @property
    def key(self) -> str:
        return f"{self.by} on {self.runtime}"

    @property
    def ours(self) -> bool:
        return self.by.startswith(OURS)

    @property
    def backend(self) -> target.Target | None:
        """Whose engine runs it, if one of ours does."""
        return target.registered().get(self.runtime)

    @property
    def unrunnable(self) -> str | None:
        """Why nothing runs it here; None if it can be run."""
        return self.backend.unrunnable() if self.backend else None

    @property
    def command(self) -> tuple[str, str]:
        """What peer_child runs it with, and in which interpreter."""
        if self.backend:
            return str(luggage.engine_file(self.backend)), peer_environments.python("")
        return self.runtime, peer_environments.python(self.by)


EXPORT = "torch.onnx.export"  # others convert its file, and its picture is what all are held against
CONTENDERS = (
    *(Contender(OURS, backend.suffix, name) for name, backend in target.registered().items()),
    Contender(EXPORT, ".onnx", "onnx"),
    Contender(EXPORT, ".onnx", "openvino"),
    Contender("ov.convert_model", ".xml", "openvino"),
    Contender("coremltools.convert", ".mlpackage", "coreml"),
    Contender("litert-torch", ".tflite", "tflite"),
    Contender("executorch", ".pte", "ExecuTorch"),
    Contender("MNN", ".mnn", "MNN"),
    Contender("ncnn", ".param", "ncnn"),
    Contender("IREE", ".vmfb", "IREE"),
    Contender("emx-onnx-cgen", ".so", "emx-onnx-cgen"),
)
INT8 = tuple(Contender(f"{OURS}-int8", target.get(name).suffix, name) for name in ("onnx", "tflite"))
NAMES = tuple(dict.fromkeys(name for one in CONTENDERS for name in (one.by, one.runtime)))


def select(only: Collection[str]) -> list[Contender]:
    """Those named by converter or runtime (all, if none is), with ours on the same runtimes, or all of ours."""
    chosen = [one for one in CONTENDERS if not only or {one.by, one.runtime} & {*only}]
    runtimes = {one.runtime for one in chosen}
    foreign = not runtimes <= target.registered().keys()
    return [one for one in CONTENDERS if one in chosen or (one.ours and (foreign or one.runtime in runtimes))]


def convert(wanted: Sequence[Contender], size: int, folder: Path) -> tuple[list[Contender], list[peerlib.Row]]:
    """The contenders with their files in ``folder``, and a row for every file, made or not."""
    from safetensors.numpy import save_file

    arrays = {name: np.ascontiguousarray(array) for name, array in peerlib.demo_weights().items()}
    save_file(arrays, folder / "idn.safetensors")
    np.save(folder / "images.npy", peerlib.frame(size))
    given = (folder / "idn.safetensors", folder / f"{EXPORT}.onnx", size)
    made: list[Contender] = []
    rows: list[peerlib.Row] = []
    for by, suffix in dict.fromkeys([(EXPORT, ".onnx"), *((one.by, one.suffix) for one in wanted)]):
        path = folder / (by + suffix)
        try:
            said = json.loads(peer_environments.run(by, "peer_convert.py", by, *given, path))
        except MfsEdgeError as error:
            rows.append({"converted by": by, "file": suffix, "px": size, "status": f"failed: {error}"[:200]})
            continue
        made += [replace(one, path=path, **said) for one in wanted if (one.by, one.suffix) == (by, suffix)]
        named = {"converted by": said["name"], "file": suffix, "px": size, "status": "ok"}
        rows.append({**named, "conversion s": said["seconds"], **costs(path)})
    return sorted(made, key=lambda one: not one.ours), rows


def costs(path: Path) -> dict[str, Any]:
    """What is known of a file without running it; only its size, if no target of ours writes such files."""
    try:
        kind = target.of_file(path)
        program = kind.read(path)
    except InputError:
        return {"MB": Artefact.at(path, (".bin",)).size / 1e6}
    kinds = Counter(step.kind for step in program.steps)
    found = {"MB": target.artefact(path).size / 1e6, "operators": kinds.total(), "transposes": kinds["Transpose"]}
    if kind.name == "coreml":  # float32 is off the Neural Engine
        wide = [s for s in program.steps if s.kind != "Cast" and program.values[s.outputs[0]].dtype == "float32"]
        found |= {"casts": kinds["Cast"], "in float32": len(wide)}
    return found
