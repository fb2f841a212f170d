"""ONNX's "external data": weights in files of their own, which the model names (onnx/onnx.proto).

A TensorProto with data_location 14 == EXTERNAL holds pairs of key 1 and value 2 in external_data 13:
``location``, a path relative to the model, and perhaps ``offset`` and ``length`` in bytes.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from mfs_edge.base import files
from mfs_edge.base.errors import InputError
from mfs_edge.base.protobuf import Message

_DATA, _LOCATION, _EXTERNAL = 13, 14, 1
_GRAPH, _FUNCTIONS = 7, 25  # of ModelProto
_INITIALIZERS, _SPARSE_INITIALIZERS = 5, 15  # of GraphProto
_TENSORS, _SPARSE_TENSORS, _GRAPHS = (5, 10), (22, 23), (6, 11)  # of AttributeProto


def names(path: Path) -> tuple[str, ...]:
    """Every file that the model at ``path`` keeps weights in, relative to its folder, sorted.

    Raises:
        InputError: it is damaged, or such a file is missing or outside of its folder.
    """
    try:
        named = {location(tensor) for tensor in _tensors(Message(files.require_file(path, "artefact").read_bytes()))}
    except (IndexError, KeyError, ValueError) as error:
        raise InputError(f"{path}: is not a readable ONNX model, or damaged ({error}); write it again") from error
    found = sorted(name for name in named if name is not None)
    for name in found:
        if not files.confined(path.parent, name, source=path).is_file():
            raise InputError(f"{path}: keeps weights in {name!a}, which is not beside it; copy that file there, too")
    return tuple(found)


def location(tensor: Message) -> str | None:
    """The file that a TensorProto keeps its values in; None if they are in the model itself."""
    if tensor.number(_LOCATION) != _EXTERNAL:
        return None
    return PurePosixPath(entries(tensor).get("location", "")).as_posix()


def entries(tensor: Message) -> dict[str, str]:
    """What a TensorProto says of its external data."""
    return {entry.text(1): entry.text(2) for entry in tensor.messages(_DATA)}


def _tensors(model: Message) -> Iterator[Message]:
    """Every TensorProto of a ModelProto; those of subgraphs and functions, too."""
    graphs = model.messages(_GRAPH)
    nodes = [node for function in model.messages(_FUNCTIONS) for node in function.messages(7)]
    while graphs or nodes:
        if graphs:
            graph = graphs.pop()
            yield from graph.messages(_INITIALIZERS)
            yield from _dense(graph.messages(_SPARSE_INITIALIZERS))
            nodes += graph.messages(1)
            continue
        for attribute in nodes.pop().messages(5):
            for field in _TENSORS:
                yield from attribute.messages(field)
            for field in _SPARSE_TENSORS:
                yield from _dense(attribute.messages(field))
            graphs += [graph for field in _GRAPHS for graph in attribute.messages(field)]


def _dense(sparse: list[Message]) -> Iterator[Message]:
    """SparseTensorProto: values 1, indices 2."""
    for tensor in sparse:
        yield tensor.message(1)
        yield tensor.message(2)
