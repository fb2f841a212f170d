"""ArcFace (IR-SE-50): a face crop in, an identity out.

Keys are the official ones (``layer1.0.se.fc.0.weight``). Deng et al., "ArcFace", CVPR
2019; squeeze-and-excite from Hu et al., CVPR 2018.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mfs_edge.networks import spec


class SqueezeExcite(nn.Module):
    """Scale each channel of [N, C, H, W] by a gate in 0..1, computed from all channels' means."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        squeezed = channels // spec.ARCFACE_REDUCTION
        self.fc = nn.Sequential(nn.Linear(channels, squeezed), nn.PReLU(), nn.Linear(squeezed, channels), nn.Sigmoid())

    def forward(self, x: Tensor) -> Tensor:
        gate: Tensor = self.fc(x.mean(dim=(2, 3)))
        return x * gate[:, :, None, None]


class IRBlock(nn.Module):
    """Improved residual block, [N, I, H, W] -> [N, O, H / stride, W / stride]; one PReLU module serves twice."""

    def __init__(self, inner: int, outer: int, stride: int) -> None:
        super().__init__()
        self.bn0 = nn.BatchNorm2d(inner)
        self.conv1 = nn.Conv2d(inner, inner, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(inner)
        self.prelu = nn.PReLU()
        self.conv2 = nn.Conv2d(inner, outer, 3, stride=stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(outer)
        self.downsample: nn.Module = nn.Identity()
        if stride != 1 or inner != outer:
            self.downsample = nn.Sequential(
                nn.Conv2d(inner, outer, 1, stride=stride, bias=False), nn.BatchNorm2d(outer)
            )
        self.se = SqueezeExcite(outer)

    def forward(self, x: Tensor) -> Tensor:
        y = self.prelu(self.bn1(self.conv1(self.bn0(x))))
        y = self.se(self.bn2(self.conv2(y)))
        out: Tensor = self.prelu(y + self.downsample(x))
        return out


def _layer(blocks: int, inner: int, outer: int, stride: int) -> nn.Sequential:
    first = IRBlock(inner, outer, stride)
    return nn.Sequential(first, *(IRBlock(outer, outer, 1) for _ in range(blocks - 1)))


class ArcFace(nn.Module):
    """The identity network, 52.2 M parameters."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.prelu = nn.PReLU()
        inner = 64
        plan = zip(spec.ARCFACE_LAYERS, spec.ARCFACE_CHANNELS, spec.ARCFACE_STRIDES, strict=True)
        for number, (blocks, outer, stride) in enumerate(plan, start=1):
            setattr(self, f"layer{number}", _layer(blocks, inner, outer, stride))
            inner = outer
        self.bn2 = nn.BatchNorm2d(512)
        self.fc = nn.Linear(512 * 7 * 7, spec.EMBEDDING)
        self.bn3 = nn.BatchNorm1d(spec.EMBEDDING)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Identity of one or more faces.

        Args:
            image: [N, 3, 112, 112] aligned crops, RGB in 0..1.

        Returns:
            embedding [N, 512], L2-normalised, and feature map [N, 512, 7, 7].
        """
        mean, std = (
            torch.tensor(values, dtype=image.dtype)[:, None, None] for values in (spec.IMAGE_MEAN, spec.IMAGE_STD)
        )
        x = (image - mean) / std
        x = F.max_pool2d(self.prelu(self.bn1(self.conv1(x))), 2)
        for number in range(1, len(spec.ARCFACE_LAYERS) + 1):
            x = getattr(self, f"layer{number}")(x)
        feature_map = self.bn2(x)
        return self.head(feature_map), feature_map

    def head(self, feature_map: Tensor) -> Tensor:
        """Embedding [N, 512] of a feature map [N, 512, 7, 7]."""
        return F.normalize(self.bn3(self.fc(feature_map.flatten(1))))
