"""The shape that an operator's result must have: a delegate writes that much, whatever the tensor says."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from .reader import Damaged, Operator, Table, TensorEntry

Shape = tuple[int, ...]
Rule = Callable[[bytes, Operator, Sequence[TensorEntry], TensorEntry], Shape]

RULES: dict[str, Rule] = {}
_SAME = 0  # of the schema's Padding


def _rule(function: Rule) -> Rule:
    RULES[function.__name__] = function
    return function


def check(data: bytes, operator: Operator, name: str, rule: str, tensors: Sequence[TensorEntry]) -> None:
    """Raises Damaged if ``operator``'s result has not the shape that follows from its inputs."""
    read = [tensors[index] for index in operator.inputs if index != -1]
    result = tensors[operator.outputs[0]]
    try:
        expected = RULES[rule](data, operator, read, result)
    except (ValueError, IndexError) as error:
        raise Damaged(f"the {name} that computes {result.name!r} reads shapes that do not fit together") from error
    if expected != result.shape:
        raise Damaged(f"tensor {result.name!r} is {list(result.shape)} where its {name} computes {list(expected)}")


@_rule
def same(data: bytes, operator: Operator, read: Sequence[TensorEntry], result: TensorEntry) -> Shape:
    return read[0].shape


@_rule
def as_many(data: bytes, operator: Operator, read: Sequence[TensorEntry], result: TensorEntry) -> Shape:
    if math.prod(read[0].shape) != math.prod(result.shape):
        raise ValueError("another number of elements")
    return result.shape


@_rule
def reshaped(data: bytes, operator: Operator, read: Sequence[TensorEntry], result: TensorEntry) -> Shape:
    """An interpreter goes by the constant, or the options; one size may be left to it, as -1."""
    asked = [_integers(data, read[1])] if len(read) > 1 else []
    if operator.options is not None and (stored := operator.options.numbers(0, "int32")).size:
        asked.append(stored.tolist())
    for sizes in asked:
        if len(sizes) != len(result.shape) or any(
            size not in (-1, dim) for size, dim in zip(sizes, result.shape, strict=True)
        ):
            raise ValueError("another shape")
    return as_many(data, operator, read, result)


@_rule
def broadcast(data: bytes, operator: Operator, read: Sequence[TensorEntry], result: TensorEntry) -> Shape:
    return tuple(np.broadcast_shapes(*(tensor.shape for tensor in read)))


@_rule
def concatenated(data: bytes, operator: Operator, read: Sequence[TensorEntry], result: TensorEntry) -> Shape:
    axis = _options(operator).number(0, "i")
    first = read[0].shape
    if not -len(first) <= axis < len(first):
        raise ValueError("no such axis")
    shapes = {(*tensor.shape[:axis], -1, *tensor.shape[axis:][1:]) for tensor in read}
    if len(shapes) != 1:
        raise ValueError("the other axes differ")
    return (*first[:axis], sum(tensor.shape[axis] for tensor in read), *first[axis:][1:])


@_rule
def convolved(data: bytes, operator: Operator, read: Sequence[TensorEntry], result: TensorEntry) -> Shape:
    image, kernel, bias = (tensor.shape for tensor in read)
    outer, height, width, inner = kernel
    if inner != image[3] or bias != (outer,):
        raise ValueError("channels differ")
    return (*_slid(operator, image, (height, width), dilation=(5, 4)), outer)


@_rule
def depthwise(data: bytes, operator: Operator, read: Sequence[TensorEntry], result: TensorEntry) -> Shape:
    image, kernel, bias = (tensor.shape for tensor in read)
    one, height, width, outer = kernel
    if one != 1 or outer != image[3] * _options(operator).number(3, "i") or bias != (outer,):
        raise ValueError("channels differ")
    return (*_slid(operator, image, (height, width), dilation=(6, 5)), outer)


@_rule
def pooled(data: bytes, operator: Operator, read: Sequence[TensorEntry], result: TensorEntry) -> Shape:
    options, image = _options(operator), read[0].shape
    return (*_slid(operator, image, (options.number(4, "i"), options.number(3, "i"))), image[3])


@_rule
def averaged(data: bytes, operator: Operator, read: Sequence[TensorEntry], result: TensorEntry) -> Shape:
    """Over height and width, which stay as 1."""
    n, _, _, c = read[0].shape
    if not _options(operator).number(0, "b") or _integers(data, read[1]) != [1, 2]:
        raise ValueError("other axes")
    return n, 1, 1, c


@_rule
def resized(data: bytes, operator: Operator, read: Sequence[TensorEntry], result: TensorEntry) -> Shape:
    n, _, _, c = read[0].shape
    height, width = _integers(data, read[1])
    return n, height, width, c


@_rule
def padded(data: bytes, operator: Operator, read: Sequence[TensorEntry], result: TensorEntry) -> Shape:
    pairs = np.reshape(_integers(data, read[1]), (len(read[0].shape), 2))
    if (pairs < 0).any():
        raise ValueError("negative padding")
    return tuple(int(dim + before + after) for dim, (before, after) in zip(read[0].shape, pairs, strict=True))


@_rule
def unfolded(data: bytes, operator: Operator, read: Sequence[TensorEntry], result: TensorEntry) -> Shape:
    n, height, width, channels = read[0].shape
    block = _options(operator).number(0, "i")
    if channels % (block * block):
        raise ValueError("channels do not make whole blocks")
    return n, height * block, width * block, channels // (block * block)


def _slid(operator: Operator, image: Shape, kernel: Shape, *, dilation: tuple[int, ...] = ()) -> Shape:
    """N, H and W of a convolution or pool; ``dilation``: the options' slots for height and width."""
    options = _options(operator)
    n, height, width, _ = image
    if any(options.number(slot, "i", 1) != 1 for slot in dilation):
        raise ValueError("dilated")
    strides = options.number(2, "i"), options.number(1, "i")
    lost = (0, 0) if options.number(0, "b") == _SAME else (kernel[0] - 1, kernel[1] - 1)
    rows, columns = (-(-(size - less) // step) for size, less, step in zip((height, width), lost, strides, strict=True))
    return n, rows, columns


def _options(operator: Operator) -> Table:
    if operator.options is None:
        raise ValueError("no options")
    return operator.options


def _integers(data: bytes, tensor: TensorEntry) -> list[int]:
    """An int32 constant's values."""
    if tensor.dtype != "int32" or not tensor.is_constant:
        raise ValueError("not a constant of int32")
    start, size = tensor.content
    return [int(value) for value in np.frombuffer(data, "<i4", size // 4, start)]
