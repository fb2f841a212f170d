"""What of a program runs inside XNNPACK, as the interpreter itself reports it.

TFLite replaces the operators that a delegate takes by DELEGATE nodes, one per partition, and
keeps the replaced ones in its list. A partition is what lies between its node's inputs and
outputs. What stays outside runs on TFLite's own kernels: slower, and an int8 convolution on an
old runtime is slower than float.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from .reader import Model

DELEGATE = "DELEGATE"
# What our files may hold and XNNPACK's delegate has no code for (delegates/xnnpack/README of
# LiteRT, and seen from the interpreter).
_UNKNOWN = "PADV2"


@dataclass(frozen=True)
class Outside:
    """An operator that the delegate left, and why."""

    operator: str
    tensor: str  # its result
    reason: str


@dataclass(frozen=True)
class Coverage:
    """What a runtime's delegate takes of one file."""

    runtime: str
    nodes: int
    delegated: int
    partitions: int
    outside: tuple[Outside, ...]

    def warning(self) -> str | None:
        """One line for a manifest, if the file falls out of the delegate."""
        if self.partitions == 1 and not self.outside:
            return None
        inside = str(self.delegated) if self.partitions else "none"
        reasons = Counter(left.reason for left in self.outside)
        why = "; ".join(f"{count} left out as {reason}" for reason, count in reasons.most_common()) or "it is split"
        return (
            f"{self.runtime} runs {inside} of the {self.nodes} operators inside XNNPACK "
            f"({self.partitions} partitions), so this file is slow on it: {why}"
        )

    def as_details(self) -> dict[str, Any]:
        """For ``Description.details`` and the manifest."""
        return {
            "runtime": self.runtime,
            "nodes": self.nodes,
            "delegated": self.delegated,
            "partitions": self.partitions,
            "outside": self._by_reason(),
        }

    def _by_reason(self) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        for left in self.outside:
            found.setdefault(left.reason, []).append(f"{left.operator} {left.tensor}")
        return found


def coverage(interpreter: Any, model: Model, *, runtime: str) -> Coverage:
    """Read off an interpreter whose tensors are allocated.

    Args:
        interpreter: LiteRT's or tflite_runtime's.
        model: the same file, for names and types.
        runtime: how to call the runtime in messages.
    """
    listed = interpreter._get_ops_details()  # in every version since 2.5; there is no public way
    nodes = [node for node in listed if node["op_name"] != DELEGATE]
    partitions = [node for node in listed if node["op_name"] == DELEGATE]
    inside: set[int] = set()
    for partition in partitions:
        inside |= _between(nodes, partition)
    left = [node for number, node in enumerate(nodes) if number not in inside]
    taken = set().union(*(_dtypes(nodes[number], model) for number in inside)) if inside else set()
    asked = set().union(*(_dtypes(node, model) for node in nodes))
    int8_refused = "int8" in asked - taken
    return Coverage(
        runtime=runtime,
        nodes=len(nodes),
        delegated=len(inside),
        partitions=len(partitions),
        outside=tuple(_explain(node, model, applied=bool(partitions), int8_refused=int8_refused) for node in left),
    )


def _between(nodes: Sequence[dict[str, Any]], partition: dict[str, Any]) -> set[int]:
    """The nodes that compute the partition's outputs from its inputs."""
    producer = {int(out): number for number, node in enumerate(nodes) for out in node["outputs"]}
    stop = {int(index) for index in partition["inputs"]}
    open_tensors = [int(index) for index in partition["outputs"]]
    found: set[int] = set()
    while open_tensors:
        tensor = open_tensors.pop()
        number = producer.get(tensor)
        if tensor in stop or number is None or number in found:
            continue
        found.add(number)
        open_tensors.extend(int(index) for index in nodes[number]["inputs"] if index >= 0)
    return found


def _dtypes(node: dict[str, Any], model: Model) -> set[str]:
    indices = [int(index) for index in (*node["inputs"], *node["outputs"]) if index >= 0]
    return {model.tensors[index].dtype for index in indices if index < len(model.tensors)}


def _explain(node: dict[str, Any], model: Model, *, applied: bool, int8_refused: bool) -> Outside:
    name, result = str(node["op_name"]), model.tensors[int(node["outputs"][0])].name
    dtypes = _dtypes(node, model)
    if int8_refused and ("int8" in dtypes or not applied):
        reason = "this runtime's XNNPACK takes no int8; use ai-edge-litert, or an fp32 file"
    elif not applied:
        reason = "this runtime was built without XNNPACK, or it could not start"
    elif name == _UNKNOWN:
        reason = "XNNPACK has no such operator"
    else:
        reason = "XNNPACK does not take it with these shapes, types or scales"
    return Outside(name, result, reason)
