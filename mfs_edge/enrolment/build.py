"""From two checkpoints to the graph that reads an identity: crop in, the identity's tensors out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import onnx_ir as ir

from mfs_edge.enrolment import arcface, injection
from mfs_edge.enrolment.layers import Layers, Tensors
from mfs_edge.networks import spec
from mfs_edge.target import CROP

SIDE = 224  # pixels of the crop


@dataclass(frozen=True)
class Trunk:
    """A graph that still lacks its end: what becomes of the tensors.

    Attributes:
        net: its nodes.
        crop: its input, float32 [1, 3, 224, 224] RGB in 0..1.
        tensors: by official key, see ``spec.local_shapes``; depthwise kernels as [1, C, k, k].
    """

    net: Layers
    crop: ir.Value
    tensors: Mapping[str, ir.Value]


def trunk(arcface_tensors: Tensors, iin_tensors: Tensors) -> Trunk:
    """The nodes from an aligned face crop to the identity's 25,264 numbers.

    Args:
        arcface_tensors: of a validated ArcFace checkpoint.
        iin_tensors: of a validated MobileFaceSwap checkpoint.
    """
    net = Layers()
    crop = ir.val(CROP, dtype=ir.DataType.FLOAT, shape=[1, 3, SIDE, SIDE])
    embedding, feature_map = arcface.identity(net, arcface_tensors, crop)
    found = injection.local_tensors(net, iin_tensors, embedding, feature_map)
    return Trunk(net, crop, {key: found[key] for key in spec.local_shapes()})
