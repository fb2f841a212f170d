"""ONNX operators -> MIL operators: one function each, registered by decorator.

MIL is the language of Core ML's ML Programs. A lowering creates exactly one MIL operator of
the node's own name, in the precision asked for, so that no later pass has to insert or
remove casts. Constants become named ``const`` operators, in the weight file when they have
ten values or more.

Where several MIL operators would do, the one that the Neural Engine runs is taken. Apple
publishes no list; the statements below are from coremltools itself and from published
measurements:

* Upsampling. ``upsample_bilinear(align_corners=True)`` and ``resize_bilinear`` with
  ``STRICT_ALIGN_CORNERS`` sample the same grid, i * (in - 1) / (out - 1) (their docstrings in
  coremltools' ``ops/defs/iOS15/image_resizing.py``), and according to ANEForge's operator
  catalogue (github.com/sbryngelson/ANEForge, docs/op-catalog.md) both run on the engine from
  the A14 / M2 families on, with a software fallback on the M1's. ``upsample_bilinear`` it is:
  coremltools' PyTorch converter emits it for ``align_corners=True``, so it is the form that
  shipped models exercise; Metal has it as a filter of its own with aligned corners
  (MPSCNNUpsamplingBilinear, integer factors; MPSNNResizeBilinear is no graph node); and its
  factor of two is exact, where ``resize_bilinear`` stores sizes. ``resize`` (iOS 17) would
  need a newer system and falls back in software on the M1 family (same catalogue);
  ``crop_resize`` and ``resample`` do not run on the M1 family's engine at all.
* Before iOS 14 / macOS 11 Core ML had no upsampling with aligned corners
  (apple/coremltools #774); the oldest system written here, iOS 16, is past that.
* ``conv`` with groups, ``leaky_relu``, ``sigmoid``, ``concat``, ``add``, ``sub``, ``mul`` and
  constant ``pad`` run on every family (same catalogue). ``pad`` in the modes reflect and
  replicate does not: those are refused.
* The engine computes in half precision only. Everything in float32, such as the product
  with 1/255 that coremltools itself puts before its cast (apple/coremltools #2213), falls
  off it: here the cast comes first.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from mfs_edge.base.errors import LoweringError
from mfs_edge.base.reasons import reason_of
from mfs_edge.graph.edit import constant

if TYPE_CHECKING:
    import onnx_ir as ir

STORED = ("const", "constexpr_affine_dequantize", "constexpr_cast")

Rule = Callable[["Lowering", "ir.Node"], Any]
_LOWERINGS: dict[str, Rule] = {}


def lowers(*op_types: str) -> Callable[[Rule], Rule]:
    """Register the lowering of ONNX operators."""

    def register(function: Rule) -> Rule:
        _LOWERINGS.update(dict.fromkeys(op_types, function))
        return function

    return register


def identifier(name: str) -> str:
    """``name`` as MIL allows it: letters, digits and underscores, no leading digit."""
    clean = re.sub(r"[^A-Za-z0-9_]", "_", name)
    return f"_{clean}" if clean[:1].isdigit() else clean


class _Unfit(Exception):
    """Why a node's input cannot be written; caught where the node is known."""


@dataclass
class Lowering:
    """The state of one graph's lowering.

    Attributes:
        dtype: np.float16 or np.float32, of every activation and float constant.
        values: the MIL variable of each ONNX value, by name.
        taken: MIL name -> the ONNX name that has it.
        renamed: ONNX names whose own name something after them takes.
    """

    dtype: type[np.floating[Any]]
    values: dict[str, Any] = field(default_factory=dict)
    taken: dict[str, str] = field(default_factory=dict)
    renamed: dict[str, str] = field(default_factory=dict)

    @property
    def mil(self) -> Any:
        """coremltools' MIL builder."""
        from coremltools.converters.mil import Builder

        return Builder

    def node(self, node: ir.Node) -> None:
        """Lower one node and remember its output.

        Raises:
            LoweringError: it has no counterpart in MIL.
        """
        lower = _LOWERINGS.get(node.op_type) if node.domain in ("", "ai.onnx") else None
        if lower is None:
            raise self.refuse(node, f"has no lowering; there are: {', '.join(sorted(_LOWERINGS))}")
        if len(node.outputs) != 1:
            raise self.refuse(node, "has several outputs")
        try:
            self.values[_name(node.outputs[0])] = lower(self, node)
        except _Unfit as error:
            raise self.refuse(node, f"cannot be written: {error}") from error
        except (ValueError, TypeError, AssertionError) as error:  # coremltools' own checks
            raise self.refuse(node, f"is not accepted by coremltools ({reason_of(error)})") from error

    def refuse(self, node: ir.Node, why: str) -> LoweringError:
        return LoweringError(f"node {node.name!r}: Core ML operator for ONNX {node.op_type} {why}")

    def name(self, node: ir.Node) -> str:
        """The MIL name of a node's output, unique in the program."""
        onnx_name = _name(node.outputs[0])
        return self.claim(self.renamed.get(onnx_name, onnx_name))

    def claim(self, onnx_name: str) -> str:
        """The MIL form of ``onnx_name``; numbered if another name already has that form."""
        base = name = identifier(onnx_name)
        count = 1
        while self.taken.setdefault(name, onnx_name) != onnx_name:
            count += 1
            name = f"{base}_{count}"
        return name

    def value(self, value: ir.Value | None) -> Any:
        """The MIL variable of a node's input; constants are created once, when first used."""
        if value is None:
            raise _Unfit("an input is missing")
        name = _name(value)
        if name not in self.values:
            array = constant(value)
            if array is None:
                raise _Unfit(f"its input {name!r} is computed nowhere")
            self.values[name] = self.mil.const(val=self.cast(array), name=self.claim(name))
        return self.values[name]

    def operand(self, value: ir.Value | None) -> Any:
        """Like :meth:`value`, for elementwise operators: one constant number stays a number."""
        array = constant(value)
        return self.cast(array.reshape(())) if array is not None and array.size == 1 else self.value(value)

    def cast(self, array: np.ndarray) -> Any:
        """Values of any shape, floats in the program's precision; a NumPy scalar if there is one value of rank 0."""
        with np.errstate(over="ignore"):
            typed = array.astype(self.dtype) if array.dtype.kind == "f" else array
        if not np.isfinite(typed).all():
            raise _Unfit("a constant does not fit half precision; balance the graph, or use --precision fp32")
        return typed[()] if typed.ndim == 0 else np.ascontiguousarray(typed)


def _name(value: ir.Value) -> str:
    if value.name is None:
        raise LoweringError("a value of the graph has no name; name all values before lowering")
    return value.name


def _attribute(node: ir.Node, name: str, default: Any) -> Any:
    attribute = node.attributes.get(name)
    return default if attribute is None else attribute.value


def _interleave(begins_then_ends: Any) -> list[int]:
    """ONNX pads [begin of each axis, end of each axis] -> MIL's [begin, end] of each axis."""
    pads = [int(p) for p in begins_then_ends]
    half = len(pads) // 2
    return [pad for axis in range(half) for pad in (pads[axis], pads[half + axis])]


@lowers("Conv")
def _conv(low: Lowering, node: ir.Node) -> Any:
    if _attribute(node, "auto_pad", "NOTSET") != "NOTSET":
        raise low.refuse(node, "needs explicit pads, not auto_pad")
    weight = low.value(node.inputs[1])
    if weight.op is None or weight.op.op_type not in STORED:
        raise low.refuse(node, "needs constant weights")
    spatial = weight.rank - 2
    pads = _interleave(_attribute(node, "pads", [0] * 2 * spatial))
    options: dict[str, Any] = {"pad_type": "custom", "pad": pads} if any(pads) else {"pad_type": "valid"}
    if len(node.inputs) > 2 and node.inputs[2] is not None:
        options["bias"] = low.value(node.inputs[2])
    return low.mil.conv(
        x=low.value(node.inputs[0]),
        weight=weight,
        strides=list(_attribute(node, "strides", [1] * spatial)),
        dilations=list(_attribute(node, "dilations", [1] * spatial)),
        groups=int(_attribute(node, "group", 1)),
        name=low.name(node),
        **options,
    )


@lowers("LeakyRelu")
def _leaky_relu(low: Lowering, node: ir.Node) -> Any:
    alpha = low.dtype(_attribute(node, "alpha", 0.01))
    return low.mil.leaky_relu(x=low.value(node.inputs[0]), alpha=alpha, name=low.name(node))


@lowers("Resize")
def _resize(low: Lowering, node: ir.Node) -> Any:
    """See the module's notes on upsampling."""
    scales = constant(node.inputs[2]) if len(node.inputs) > 2 else None
    mode = (_attribute(node, "mode", "nearest"), _attribute(node, "coordinate_transformation_mode", "half_pixel"))
    if mode != ("linear", "align_corners") or scales is None or scales.shape != (4,) or any(scales[:2] != 1):
        raise low.refuse(node, f"upsamples linearly with aligned corners by constant H and W factors only, not {mode}")
    return low.mil.upsample_bilinear(
        x=low.value(node.inputs[0]),
        scale_factor_height=np.float32(scales[2]),
        scale_factor_width=np.float32(scales[3]),
        align_corners=True,
        name=low.name(node),
    )


@lowers("Concat")
def _concat(low: Lowering, node: ir.Node) -> Any:
    return low.mil.concat(
        values=[low.value(value) for value in node.inputs],
        axis=int(_attribute(node, "axis", 0)),
        name=low.name(node),
    )


@lowers("Pad")
def _pad(low: Lowering, node: ir.Node) -> Any:
    pads = constant(node.inputs[1])
    if _attribute(node, "mode", "constant") != "constant" or pads is None or len(node.inputs) > 3:
        raise low.refuse(node, "pads all axes with a constant by constant amounts only")
    fill = constant(node.inputs[2]) if len(node.inputs) > 2 else None
    amounts = _interleave(pads)
    while len(amounts) > 4 and amounts[:2] == [0, 0]:  # leading axes that are not padded are left out
        amounts = amounts[2:]
    return low.mil.pad(
        x=low.value(node.inputs[0]),
        pad=amounts,
        mode="constant",
        constant_val=low.dtype(0 if fill is None else fill.item()),
        name=low.name(node),
    )


@lowers("BatchNormalization")
def _batch_norm(low: Lowering, node: ir.Node) -> Any:
    x, gamma, beta, mean, variance = (low.value(value) for value in node.inputs)
    epsilon = low.dtype(_attribute(node, "epsilon", 1e-5))
    return low.mil.batch_norm(
        x=x, mean=mean, variance=variance, gamma=gamma, beta=beta, epsilon=epsilon, name=low.name(node)
    )


@lowers("Relu", "Sigmoid", "Tanh")
def _function(low: Lowering, node: ir.Node) -> Any:
    return getattr(low.mil, node.op_type.lower())(x=low.value(node.inputs[0]), name=low.name(node))


@lowers("Add", "Sub", "Mul", "Div")
def _arithmetic(low: Lowering, node: ir.Node) -> Any:
    operator = getattr(low.mil, "real_div" if node.op_type == "Div" else node.op_type.lower())
    return operator(x=low.operand(node.inputs[0]), y=low.operand(node.inputs[1]), name=low.name(node))
