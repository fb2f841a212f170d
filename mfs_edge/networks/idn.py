"""IDN, the identity-aware dynamic network, once its weights are known: a static CNN.

Keys are the official ones: ``Encoder.i.0`` depthwise, ``Encoder.i.1`` pointwise, likewise
``Decoder``; ``final`` and ``mask`` are the identity-independent heads. MobileFaceSwap,
AAAI 2022, section 3.2.
"""

from __future__ import annotations

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mfs_edge.networks import spec


def leaky(x: Tensor) -> Tensor:
    """LeakyReLU of a tensor of any shape."""
    return F.leaky_relu(x, spec.LEAKY_SLOPE)


class Upsample(nn.Module):
    """[N, C, H, W] -> [N, C, 2 H, 2 W], bilinear with aligned corners."""

    def forward(self, x: Tensor) -> Tensor:
        return F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=True)


def _separable(inner: int, outer: int, kernel: int, stride: int) -> nn.Sequential:
    depthwise = nn.Conv2d(inner, inner, kernel, stride=stride, padding=1, groups=inner, bias=False)
    return nn.Sequential(depthwise, nn.Conv2d(inner, outer, 1, bias=False), nn.LeakyReLU(spec.LEAKY_SLOPE))


def final_head() -> nn.Sequential:
    """The tail: 32 channels at half size -> RGB in -1..1 at full size."""
    first, middle, last = spec.TAIL_CHANNELS
    return nn.Sequential(
        Upsample(),
        nn.Conv2d(first, middle, 1),
        nn.BatchNorm2d(middle),
        nn.LeakyReLU(spec.LEAKY_SLOPE),
        nn.Conv2d(middle, last, 3, padding=1),
        nn.BatchNorm2d(last),
        nn.LeakyReLU(spec.LEAKY_SLOPE),
        nn.Conv2d(last, 3, 3, padding=1),
        nn.Tanh(),
    )


def mask_head() -> nn.Sequential:
    """The mask branch: deepest encoder output -> one channel of logits at full size."""
    stages = [
        nn.Sequential(
            Upsample(),
            nn.Conv2d(inner, inner, 3, padding=1, groups=inner),
            nn.Conv2d(inner, outer, 1),
            nn.BatchNorm2d(outer),
            nn.LeakyReLU(spec.LEAKY_SLOPE),
        )
        for inner, outer in pairwise(spec.MASK_CHANNELS)
    ]
    return nn.Sequential(*stages, nn.Conv2d(spec.MASK_CHANNELS[-1], 1, 3, padding=1))


class IDN(nn.Module):
    """The per-frame network, 0.5 M parameters: image in, swapped image and mask out."""

    def __init__(self) -> None:
        super().__init__()
        encoder = pairwise(spec.ENCODER_CHANNELS)
        decoder = zip(spec.DECODER_IN, spec.DECODER_OUT, strict=True)
        self.Encoder = nn.ModuleList(_separable(i, o, spec.ENCODER_KERNEL, stride=2) for i, o in encoder)
        self.Decoder = nn.ModuleList(_separable(i, o, spec.DECODER_KERNEL, stride=1) for i, o in decoder)
        self.final = final_head()
        self.mask = mask_head()
        self.up = Upsample()

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Swap the folded identity onto ``image``.

        Args:
            image: [N, 3, S, S], RGB in 0..1, S a multiple of 32.

        Returns:
            swapped [N, 3, S, S] in 0..1, and the blending mask [N, 1, S, S] in 0..1.
        """
        x = (image - 0.5) / 0.5
        skips = []
        for stage in self.Encoder:
            x = stage(x)
            skips.append(x)
        mask = torch.sigmoid(self.mask(x))
        for stage, skip in zip(self.Decoder, spec.DECODER_SKIP, strict=True):
            x = stage(self.up(x))
            if skip is not None:
                x = torch.cat([x, skips[skip]], dim=1)
        face = (1 + self.final(x)) / 2
        return face * mask + (1 - mask) * image, mask
