"""The optimised graph, read as the few blocks that the C computes.

The graph must be one of the family: an encoder of depthwise 4x4 / pointwise stages, a decoder and a
mask branch of upsample / depthwise 3x3 / pointwise stages, and the tail that blends. Sizes and
widths are free. Whatever else stands in the graph is refused by its name.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

from mfs_edge.base.errors import LoweringError
from mfs_edge.graph import edit

from . import integers
from .integers import Coded, Integer

if TYPE_CHECKING:
    import onnx_ir as ir

MOST_PIXELS = 4096  # of a side
MOST_NUMBERS = 2**24  # of one tensor, in a description that a stranger may have written


MAX_CODE = 127


@dataclass(frozen=True)
class Pair:
    """A depthwise conv, the pointwise conv behind it and its LeakyReLU. All float64."""

    name: str
    nodes: tuple[str, ...]  # of the graph, in order
    kernel: np.ndarray  # [C, k, k]
    weight: np.ndarray  # [N, C]
    bias: np.ndarray  # [N]; with what the depthwise conv's own bias becomes behind the weight
    offset: np.ndarray  # [C]: the depthwise conv's own bias; read where what it computes is rounded
    integer: Integer | None = None  # where the product is one of integers
    coded: Coded | None = None  # the kernel [C, k, k], where the graph has codes for it


@dataclass(frozen=True)
class Dense:
    """A conv of full kernels, 1x1 or 3x3. All float64."""

    name: str
    nodes: tuple[str, ...]
    weight: np.ndarray  # [O, I, k, k]
    bias: np.ndarray  # [O]
    coded: Coded | None = None  # the weight, where the graph has codes for it


@dataclass(frozen=True)
class Network:
    """The whole of it, in the order in which a frame passes."""

    size: int  # pixels
    centre: float  # subtracted from the image
    slope: float  # of every LeakyReLU
    stem: Pair  # the first of the encoder: reads planes
    encoder: tuple[Pair, ...]  # the others
    decoder: tuple[Pair, ...]
    skips: tuple[int | None, ...]  # per decoder stage: the stage of ``encoder`` behind it
    squeeze: Dense  # the tail's 1x1, before its upsample
    face: tuple[Dense, Dense]
    mask: tuple[Pair, ...]  # the last one computes on planes
    mask_out: Dense
    blend: tuple[str, ...]  # nodes
    half: bool = False  # whether weights of pointwise convs and an identity's are stored in float16, which holds them
    halves: bool = False  # whether processors that compute in float16 do so

    @property
    def owned(self) -> tuple[Pair | Dense, ...]:
        """What one identity owns: the kernels of these, and of the last the weight; all else is shared by a base.

        In names of the folded weights: Encoder.*.0, Decoder.*.0, mask.0.1 and final.1.
        """
        return (self.stem, *self.encoder, *self.decoder, self.mask[0], self.squeeze)

    @property
    def integers(self) -> bool:
        """Whether any product is one of integers."""
        return any(pair.integer is not None for pair in (*self.encoder, *self.decoder, *self.mask))

    @property
    def scaled(self) -> bool:
        """Whether what an identity owns is stored in units: of codes, or of the steps that results are rounded to."""
        return self.integers or any(block.coded is not None for block in self.owned)


def for_precision(network: Network, precision: str) -> Network:
    """``network`` as it is written for ``precision``: float16 is computed in unless a weight is beyond it."""
    narrow = precision != "fp32" and _largest(network) <= float(np.finfo(np.float16).max)
    return replace(network, half=precision == "fp16", halves=narrow)


def _largest(network: Network) -> float:
    """The largest number that a kernel reads, as it reads it, or that a product of integers could give.

    Of what an identity owns, what its codes can hold counts, and not what one identity's are: all identities of a base
    run the same C. Halves fit by themselves.
    """
    found = [0.0]
    for pair in (network.stem, *network.encoder, *network.decoder, *network.mask):
        product = pair.integer
        step = product.step if product is not None else 1.0
        found += [_reach(pair, pair.kernel) / step, np.abs(pair.offset).max() / step]
        if product is None:
            found += [np.abs(pair.weight).max(), np.abs(pair.bias).max()]
        else:
            sums = 255.0 * np.abs(product.codes.astype(float)).sum(axis=1) + np.abs(product.bias.astype(float))
            found.append((sums * product.scale).max())
    for dense in (network.squeeze, *network.face, network.mask_out):
        found += [_reach(dense, dense.weight), np.abs(dense.bias).max()]
    return float(max(found))


def _reach(block: Pair | Dense, weight: np.ndarray) -> float:
    return float(np.abs(weight).max() if block.coded is None else MAX_CODE * block.coded.scale.max())


def describe(network: Network) -> dict[str, Any]:
    """All of ``network`` but its numbers, for JSON: what decides every line of the C."""
    held: dict[str, Any] = {"size": network.size, "centre": network.centre, "slope": network.slope}
    for field in ("stem", "squeeze", "mask_out"):
        held[field] = _described(getattr(network, field))
    for field in ("encoder", "decoder", "face", "mask"):
        held[field] = [_described(block) for block in getattr(network, field)]
    return {
        **held,
        "skips": list(network.skips),
        "blend": list(network.blend),
        "half": network.half,
        "halves": network.halves,
    }


def blank(held: dict[str, Any]) -> Network:
    """The network that was described, its weights zeros.

    Raises:
        ValueError, KeyError, TypeError: ``held`` is not a description.
    """
    one: dict[str, Any] = {field: _blank(held[field]) for field in ("stem", "squeeze", "mask_out")}
    many: dict[str, Any] = {field: tuple(map(_blank, held[field])) for field in ("encoder", "decoder", "face", "mask")}
    numbers: dict[str, Any] = {field: float(held[field]) for field in ("centre", "slope")}
    if not 32 <= held["size"] <= MOST_PIXELS or held["size"] % 32:
        raise ValueError(f"no network of this family takes {held['size']} px")
    skips = tuple(None if skip is None else int(skip) for skip in held["skips"])
    blend = tuple(map(str, held["blend"]))
    numbers |= {field: bool(held[field]) for field in ("half", "halves")}
    return Network(size=int(held["size"]), skips=skips, blend=blend, **numbers, **one, **many)


def _described(block: Pair | Dense) -> dict[str, Any]:
    """Arrays as their shapes, and of integers and codes that they are some."""
    held = {k: list(v.shape) if isinstance(v, np.ndarray) else v for k, v in vars(block).items()}
    return held | {key: held[key] is not None for key in ("integer", "coded") if key in held}


def _blank(held: dict[str, Any]) -> Any:
    names = ("kernel", "weight", "bias", "offset")
    arrays: dict[str, Any] = {k: np.zeros(_shape(held[k])) for k in names if k in held}
    named: dict[str, Any] = {"name": str(held["name"]), "nodes": tuple(map(str, held["nodes"]))}
    coded = integers.uncoded(*arrays["kernel" if "kernel" in held else "weight"].shape) if held["coded"] else None
    if "kernel" in held:
        integer = integers.none(*arrays["weight"].shape) if held["integer"] else None
        return Pair(**named, **arrays, integer=integer, coded=coded)
    return Dense(**named, **arrays, coded=coded)


def _shape(sizes: Sequence[int]) -> tuple[int, ...]:
    if len(sizes) > 4 or math.prod(sizes) > MOST_NUMBERS or min(sizes) < 1:
        raise ValueError(f"no tensor of this family is {list(sizes)}")
    return tuple(map(int, sizes))


def read(model: ir.Model) -> Network:
    """``model`` as blocks: its weights are float32 or float64, or dequantised codes (:mod:`integers`).

    Raises:
        LoweringError: it is not of the family; names the first node that does not fit.
    """
    plain, products, coded = integers.told_apart(model)
    return _Reader(plain.graph, products, coded).network()


class _Reader:
    def __init__(self, graph: ir.Graph, products: Mapping[str, Integer], coded: Mapping[str, Coded]) -> None:
        self.graph, self.seen = graph, dict[str, None]()
        self.products = products  # per pointwise conv
        self.coded = coded  # per conv
        self.slope: float | None = None

    def network(self) -> Network:
        (image,) = self.graph.inputs
        size = _side(image)
        centre, value = self.centre(image)
        stem, value = self.pair(value, 4)
        encoder: list[Pair] = []
        reached = {}
        while (conv := _one(value, lambda node: _is_depthwise(node, 4))) is not None:
            pair, value = self.pair(conv.inputs[0], 4)
            encoder.append(pair)
            reached[value] = len(encoder) - 1
        face, mask = self.branches(value)
        decoder, skips, squeeze, drawn = self.decoder(face, reached)
        masks, mask_out, shown = self.masks(mask)
        blend = self.blend(image, drawn[1], shown)
        for node in self.graph:
            if node.name not in self.seen:
                _refuse(node)
        return Network(
            size, centre, self.slope or 0.0, stem, tuple(encoder), tuple(decoder), tuple(skips), squeeze, drawn[0],
            tuple(masks), mask_out, blend,
        )  # fmt: skip

    def centre(self, image: ir.Value) -> tuple[float, ir.Value]:
        node = self.take(image, "Sub", lambda node: edit.constant(node.inputs[1]) is not None)
        return float(edit.weight(node, 1)), node.outputs[0]

    def pair(self, value: ir.Value | None, side: int) -> tuple[Pair, ir.Value]:
        before = len(self.seen)
        depthwise = self.take(value, "Conv", lambda node: _is_depthwise(node, side))
        pointwise = self.take(depthwise.outputs[0], "Conv", edit.is_pointwise)
        output = self.leaky(pointwise.outputs[0])
        kernel, weight = edit.weight(depthwise, 1)[:, 0], edit.weight(pointwise, 1)[:, :, 0, 0]
        bias = edit.conv_bias(pointwise) + weight @ edit.conv_bias(depthwise)  # nothing bends in between
        nodes = tuple(list(self.seen)[before:])
        name = ".".join(nodes[0].split(".")[:2])
        product, codes = self.products.get(str(pointwise.name)), self.coded.get(str(depthwise.name))
        coded = Coded(codes.codes[:, 0], codes.scale) if codes else None
        return Pair(name, nodes, kernel, weight, bias, edit.conv_bias(depthwise), product, coded), output

    def dense(self, value: ir.Value, side: int) -> tuple[Dense, ir.Value]:
        node = self.take(value, "Conv", lambda node: _is_dense(node, side))
        name = str(node.name)
        short, codes = ".".join(name.split(".")[:2]), self.coded.get(name) if side == 1 else None
        return Dense(short, (name,), edit.weight(node, 1), edit.conv_bias(node), codes), node.outputs[0]

    def leaky(self, value: ir.Value) -> ir.Value:
        node = self.take(value, "LeakyRelu")
        slope = node.attributes["alpha"].as_float() if "alpha" in node.attributes else 0.01
        if self.slope not in (None, slope) or not 0 <= slope <= 1:
            raise LoweringError(f"node {node.name}: a slope of {slope:g}; target c has one for all, in 0..1")
        self.slope = slope
        return node.outputs[0]

    def up(self, value: ir.Value) -> ir.Value:
        return self.take(value, "Resize", _is_doubling).outputs[0]

    def branches(self, deepest: ir.Value) -> tuple[ir.Value, ir.Value]:
        """The upsampled deepest map, as the decoder and the mask branch read it."""
        ups = [use.node for use in deepest.uses() if use.node.op_type == "Resize"]
        starts = [(up, use.node) for up in ups for use in up.outputs[0].uses() if use.node.op_type == "Conv"]
        if len(starts) != 2:
            raise LoweringError(f"tensor {deepest.name}: target c expects a decoder and a mask branch behind it")
        for up in ups:
            self.see(up)
        (one, two) = starts
        first = _reaches_concat(one[1])
        face, mask = (one, two) if first else (two, one)
        self.face_start, self.mask_start = face[1], mask[1]
        return face[0].outputs[0], mask[0].outputs[0]

    def decoder(
        self, value: ir.Value, reached: dict[ir.Value, int]
    ) -> tuple[list[Pair], list[int | None], Dense, tuple[tuple[Dense, Dense], ir.Value]]:
        pairs: list[Pair] = []
        skips: list[int | None] = []
        while True:
            pair, value = self.branch_pair(value, self.face_start if not pairs else None)
            pairs.append(pair)
            concat = _one(value, lambda node: node.op_type == "Concat")
            if concat is None:
                skips.append(None)
                break
            skip = concat.inputs[1]
            if concat.inputs[0] is not value or len(concat.inputs) != 2 or skip not in reached:
                _refuse(concat)
            self.see(concat)
            skips.append(reached[skip])
            value = self.up(concat.outputs[0])
        squeeze, value = self.dense(value, 1)
        value = self.leaky(self.up(value))
        one, value = self.dense(value, 3)
        two, value = self.dense(self.leaky(value), 3)
        sigmoid = self.take(value, "Sigmoid")
        return pairs, skips, squeeze, ((one, two), sigmoid.outputs[0])

    def masks(self, value: ir.Value) -> tuple[list[Pair], Dense, ir.Value]:
        pairs: list[Pair] = []
        while True:
            pair, value = self.branch_pair(value, self.mask_start if not pairs else None)
            pairs.append(replace(pair, coded=None) if pairs else pair)  # the others' are shared, and kept real
            if _one(value, lambda node: node.op_type == "Resize") is None:
                break
            value = self.up(value)
        out, value = self.dense(value, 3)
        return pairs, out, self.take(value, "Sigmoid").outputs[0]

    def branch_pair(self, value: ir.Value, start: ir.Node | None) -> tuple[Pair, ir.Value]:
        """The next pair; ``start`` tells which of two readers of the deepest map is meant."""
        if start is None:
            return self.pair(value, 3)
        self.only = start
        try:
            return self.pair(value, 3)
        finally:
            self.only = None

    only: ir.Node | None = None

    def blend(self, image: ir.Value, face: ir.Value, mask: ir.Value) -> tuple[str, ...]:
        """swapped = image + (face - image) * mask."""
        difference = self.take(face, "Sub", lambda node: node.inputs[1] is image)
        weighted = self.take(difference.outputs[0], "Mul", lambda node: mask in node.inputs)
        total = self.take(weighted.outputs[0], "Add", lambda node: image in node.inputs)
        if list(self.graph.outputs) != [total.outputs[0], mask]:
            raise LoweringError(f"node {total.name}: the graph's outputs must be what it computes, and the mask")
        return tuple(str(node.name) for node in (difference, weighted, total))

    def take(
        self, value: ir.Value | None, op_type: str, fits: Callable[[ir.Node], bool] = lambda node: True
    ) -> ir.Node:
        """The one reader of ``value`` that is an ``op_type`` and ``fits``."""
        readers = list(_readers(value))
        for node in readers:
            if self.only is not None and node is not self.only and node.op_type == "Conv" and _is_depthwise(node, 3):
                continue
            if node.op_type == op_type and node.name not in self.seen and fits(node):
                self.see(node)
                return node
        left = [node for node in readers if node.name not in self.seen]
        if left:
            _refuse(left[0])
        raise LoweringError(f"tensor {value.name if value else '?'}: target c expects a {op_type} behind it")

    def see(self, node: ir.Node) -> None:
        self.seen[str(node.name)] = None


def _readers(value: ir.Value | None) -> Iterator[ir.Node]:
    return iter([use.node for use in value.uses()] if value is not None else [])


def _one(value: ir.Value, fits: Callable[[ir.Node], bool]) -> ir.Node | None:
    return next(filter(fits, _readers(value)), None)


def _refuse(node: ir.Node) -> NoReturn:
    raise LoweringError(
        f"node {node.name} ({node.op_type}): target c has no place for it; it takes the optimised graph"
    )


def _side(image: ir.Value) -> int:
    shape = image.shape
    if shape is None or len(shape) != 4 or shape[1] != 3 or shape[2] != shape[3] or not isinstance(shape[2], int):
        raise LoweringError(f"input {image.name}: target c takes [1, 3, S, S], not {shape}")
    if shape[2] % 32 or shape[2] < 32:
        raise LoweringError(f"input {image.name}: target c takes multiples of 32 px, not {shape[2]}")
    return shape[2]


def _is_depthwise(node: ir.Node, side: int) -> bool:
    if node.op_type != "Conv" or not edit.is_depthwise(node) or edit.weight(node, 1).shape[2:] != (side, side):
        return False
    stride = 2 if side == 4 else 1
    same = edit.weight(node, 1).shape[0] == edit.group(node)
    return (
        same and set(edit.integers(node, "strides", (1,))) == {stride} and set(edit.integers(node, "pads", (0,))) == {1}
    )


def _is_dense(node: ir.Node, side: int) -> bool:
    if side == 1:
        return edit.is_pointwise(node)
    shape = edit.weight(node, 1).shape
    ones = set(edit.integers(node, "strides", (1,))) == {1} and set(edit.integers(node, "pads", (0,))) == {1}
    return edit.group(node) == 1 and shape[2:] == (side, side) and ones


def _is_doubling(node: ir.Node) -> bool:
    scales = edit.constant(node.inputs[2]) if len(node.inputs) > 2 else None
    text = {name: node.attributes[name].as_string() for name in ("mode", "coordinate_transformation_mode")}
    linear = text == {"mode": "linear", "coordinate_transformation_mode": "align_corners"}
    return linear and scales is not None and list(scales) == [1, 1, 2, 2]


def _reaches_concat(node: ir.Node) -> bool:
    """Whether the chain behind a depthwise conv meets a Concat before it is upsampled."""
    while True:
        following = list(_readers(node.outputs[0]))
        if len(following) != 1:
            return False
        node = following[0]
        if node.op_type in ("Concat", "Resize"):
            return node.op_type == "Concat"
