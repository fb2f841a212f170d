"""The shapes of the three networks, without torch.

``inspect`` and checkpoint validation must not pay for torch, so the channel plan and
the list of checkpoint keys live here, and the torch modules, the graph builder and the
validator all read them. Keys and shapes follow torch's conventions (Linear weights are
``[out, in]``, batch-norm statistics ``running_mean`` / ``running_var``); see
``mfs_edge.load.checkpoint`` for the Paddle ones. A test holds these lists to the torch
modules and to the official checkpoints' shapes.

Source: Xu et al., "MobileFaceSwap", AAAI 2022, section 3; the public Paddle code.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from itertools import pairwise

from mfs_edge.base.errors import UsageError

Shapes = dict[str, tuple[int, ...]]
Entries = Iterator[tuple[str, tuple[int, ...]]]

EMBEDDING = 512
FEATURE_MAP = (512, 7, 7)
LEAKY_SLOPE = 0.1
BATCH_NORM_EPS = 1e-5
DEMODULATION_EPS = 1e-16

# IDN: channels at the stage boundaries, outermost first.
ENCODER_CHANNELS = (3, 32, 64, 128, 256, 512)
DECODER_IN = (512, 512, 256, 128)
DECODER_OUT = (256, 128, 64, 32)
DECODER_SKIP = (3, 2, 1, None)  # the encoder stage concatenated after each decoder stage
MASK_CHANNELS = (512, 128, 64, 32, 8, 2)
TAIL_CHANNELS = (32, 8, 3)
ENCODER_KERNEL = 4
DECODER_KERNEL = 3
# What depends on the identity in the identity-local form, by official key, in the order in which data flows.
OWNED = (
    *(f"Encoder.{i}.0.weight" for i in range(len(ENCODER_CHANNELS) - 1)),
    "mask.0.1.weight",
    *(f"Decoder.{i}.0.weight" for i in range(len(DECODER_IN))),
    "final.1.weight",
)

# IIN: the kernel-predicting branches, from the feature map outwards.
PREDICTOR_ENCODER = (512, 256, 128, 64, 32, 3)
PREDICTOR_DECODER = (512, 512, 512, 256, 128)

# ArcFace, IR-SE-50.
ARCFACE_LAYERS = (3, 4, 23, 3)
ARCFACE_CHANNELS = (64, 128, 256, 512)
ARCFACE_STRIDES = (1, 2, 2, 2)
ARCFACE_REDUCTION = 16
IMAGE_MEAN = (0.485, 0.456, 0.406)  # of ImageNet, RGB in 0..1
IMAGE_STD = (0.229, 0.224, 0.225)
ARCFACE_INPUT = 112

SIZE_MULTIPLE = 32  # five stride-2 stages
MAX_SIZE = 4096


def check_size(size: int) -> int:
    """``size`` if the network can run at it.

    Raises:
        UsageError: it is not a multiple of 32 in 32..4096.
    """
    if size % SIZE_MULTIPLE or not SIZE_MULTIPLE <= size <= MAX_SIZE:
        below = max(SIZE_MULTIPLE, min(size, MAX_SIZE) // SIZE_MULTIPLE * SIZE_MULTIPLE)
        nearest = min(below, MAX_SIZE)
        raise UsageError(
            f"size {size} does not work: the encoder halves the image five times, so it must be a multiple of "
            f"{SIZE_MULTIPLE} from {SIZE_MULTIPLE} to {MAX_SIZE}; try {nearest} "
            "(models are trained at 224 or 256)"
        )
    return size


def _listed(entries: Callable[[], Entries]) -> Callable[[], Shapes]:
    return functools.wraps(entries)(lambda: dict(entries()))


def _batch_norm(name: str, channels: int) -> Entries:
    for part in ("weight", "bias", "running_mean", "running_var"):
        yield f"{name}.{part}", (channels,)


def _conv(name: str, *shape: int) -> Entries:
    yield f"{name}.weight", shape
    yield f"{name}.bias", shape[:1]


def _ir_block(name: str, inner: int, outer: int, downsample: bool) -> Entries:
    squeezed = outer // ARCFACE_REDUCTION
    yield from _batch_norm(f"{name}.bn0", inner)
    yield f"{name}.conv1.weight", (inner, inner, 3, 3)
    yield from _batch_norm(f"{name}.bn1", inner)
    yield f"{name}.prelu.weight", (1,)
    yield f"{name}.conv2.weight", (outer, inner, 3, 3)
    yield from _batch_norm(f"{name}.bn2", outer)
    if downsample:
        yield f"{name}.downsample.0.weight", (outer, inner, 1, 1)
        yield from _batch_norm(f"{name}.downsample.1", outer)
    yield from _conv(f"{name}.se.fc.0", squeezed, outer)
    yield f"{name}.se.fc.1.weight", (1,)
    yield from _conv(f"{name}.se.fc.2", outer, squeezed)


@_listed
def arcface_shapes() -> Entries:
    """Every tensor of an ArcFace checkpoint: 52.2 M values."""
    yield "conv1.weight", (64, 3, 3, 3)
    yield from _batch_norm("bn1", 64)
    yield "prelu.weight", (1,)
    inner = 64
    for layer, (blocks, outer, stride) in enumerate(
        zip(ARCFACE_LAYERS, ARCFACE_CHANNELS, ARCFACE_STRIDES, strict=True), start=1
    ):
        for block in range(blocks):
            downsample = block == 0 and (stride != 1 or inner != outer)
            yield from _ir_block(f"layer{layer}.{block}", inner, outer, downsample)
            inner = outer
    yield from _batch_norm("bn2", 512)
    yield from _conv("fc", EMBEDDING, 512 * 7 * 7)
    yield from _batch_norm("bn3", EMBEDDING)


def _modulation_shapes(name: str, inner: int, outer: int) -> Entries:
    yield f"{name}.weight", (outer, inner, 1, 1)
    yield from _conv(f"{name}.style", inner, EMBEDDING)


def _predictor_shapes(name: str, channels: tuple[int, ...]) -> Entries:
    for i, (inner, outer) in enumerate(pairwise(channels)):
        yield from _conv(f"{name}.{i}.conv", outer, inner, 3, 3)
        yield from _batch_norm(f"{name}.{i}.norm", outer)
        yield from _conv(f"{name}.{i}.weight", outer, outer, 3, 3)


@_listed
def head_shapes() -> Entries:
    """The IDN's static heads, ``final.*`` and ``mask.*``: the same for every identity."""
    first, middle, last = TAIL_CHANNELS
    yield from _conv("final.1", middle, first, 1, 1)
    yield from _batch_norm("final.2", middle)
    yield from _conv("final.4", last, middle, 3, 3)
    yield from _batch_norm("final.5", last)
    yield from _conv("final.7", 3, last, 3, 3)
    for i, (inner, outer) in enumerate(pairwise(MASK_CHANNELS)):
        yield from _conv(f"mask.{i}.1", inner, 1, 3, 3)
        yield from _conv(f"mask.{i}.2", outer, inner, 1, 1)
        yield from _batch_norm(f"mask.{i}.3", outer)
    yield from _conv("mask.5", 1, MASK_CHANNELS[-1], 3, 3)


@_listed
def iin_shapes() -> Entries:
    """Every tensor of a MobileFaceSwap checkpoint: the IIN (20.7 M) and the IDN's heads."""
    for i, (inner, outer) in enumerate(pairwise(ENCODER_CHANNELS)):
        yield from _modulation_shapes(f"EncoderModulation.{i}", inner, outer)
    for i, (inner, outer) in enumerate(zip(DECODER_IN, DECODER_OUT, strict=True)):
        yield from _modulation_shapes(f"DecoderModulation.{i}", inner, outer)
    yield from _conv("predictor.first", 512, 512, 4, 4)
    yield from _conv("predictor.first_decoder", 512, 512, 2, 2)
    yield from _batch_norm("predictor.decoder_norm", 512)
    yield from _batch_norm("predictor.norm", 512)
    yield from _predictor_shapes("predictor.encoder", PREDICTOR_ENCODER)
    yield from _predictor_shapes("predictor.decoder", PREDICTOR_DECODER)
    yield from head_shapes().items()


NETWORK_SHAPES = {"arcface": arcface_shapes, "iin": iin_shapes}


@_listed
def local_shapes() -> Entries:
    """The tensors of a folded IDN that belong to one identity in the identity-local form: 25,264 values."""
    for i, channels in enumerate(ENCODER_CHANNELS[:-1]):
        yield f"Encoder.{i}.0.weight", (channels, 1, ENCODER_KERNEL, ENCODER_KERNEL)
    for i, channels in enumerate(DECODER_IN):
        yield f"Decoder.{i}.0.weight", (channels, 1, DECODER_KERNEL, DECODER_KERNEL)
    yield "mask.0.1.weight", (MASK_CHANNELS[0], 1, 3, 3)
    yield "final.1.weight", (TAIL_CHANNELS[1], TAIL_CHANNELS[0], 1, 1)
