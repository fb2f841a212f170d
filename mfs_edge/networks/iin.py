"""IIN, the identity injection network: an identity in, all of the IDN's weights out.

Two parts (MobileFaceSwap, AAAI 2022, section 3.1): *weights prediction* reads the feature
map and gives every depthwise kernel; *weights modulation* reads the embedding and scales
shared pointwise weights, as in StyleGAN 2.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn

from mfs_edge.networks import spec
from mfs_edge.networks.idn import final_head, leaky, mask_head


class KernelBlock(nn.Module):
    """One step of a predicting branch: narrow [N, I, k, k] to [N, O, k, k], and read a kernel [N, O, k, k] off."""

    def __init__(self, inner: int, outer: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inner, outer, 3, padding=1)
        self.norm = nn.BatchNorm2d(outer)
        self.weight = nn.Conv2d(outer, outer, 3, padding=1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        x = leaky(self.norm(self.conv(x)))
        return x, self.weight(x)


def _branch(channels: tuple[int, ...]) -> nn.ModuleList:
    return nn.ModuleList(KernelBlock(i, o) for i, o in pairwise(channels))


def _kernels(branch: nn.ModuleList, x: Tensor) -> list[Tensor]:
    kernels = []
    for block in branch:
        x, kernel = block(x)
        kernels.append(kernel[0].unsqueeze(1))  # [1, C, k, k] -> a depthwise weight [C, 1, k, k]
    return kernels


class Predictor(nn.Module):
    """Weights prediction: the depthwise kernels."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(512, 512, 4)
        self.norm = nn.BatchNorm2d(512)
        self.first_decoder = nn.Conv2d(512, 512, 2)
        self.decoder_norm = nn.BatchNorm2d(512)
        self.encoder = _branch(spec.PREDICTOR_ENCODER)
        self.decoder = _branch(spec.PREDICTOR_DECODER)

    def forward(self, feature_map: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """Depthwise kernels of the encoder [C, 1, 4, 4] and decoder [C, 1, 3, 3], stage 0 first.

        Args:
            feature_map: [1, 512, 7, 7] of one identity.
        """
        z = leaky(self.norm(self.first(feature_map)))
        encoder = _kernels(self.encoder, z)[::-1]  # predicted from the deepest stage outwards
        z = leaky(self.decoder_norm(self.first_decoder(z)))
        return encoder, _kernels(self.decoder, z)


class Modulation(nn.Module):
    """Weights modulation of one pointwise conv."""

    def __init__(self, inner: int, outer: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(outer, inner, 1, 1))
        self.style = nn.Linear(spec.EMBEDDING, inner)

    def forward(self, embedding: Tensor) -> Tensor:
        """Modulated and demodulated weight [O, I, 1, 1] for an embedding [1, 512]."""
        weight: Tensor = self.weight * (1 + self.style(embedding))[0, None, :, None, None]
        demodulation = torch.rsqrt(weight.square().sum(dim=(1, 2, 3), keepdim=True) + spec.DEMODULATION_EPS)
        return weight * demodulation


class IIN(nn.Module):
    """The whole MobileFaceSwap checkpoint: 20.7 M parameters, and the IDN's static heads."""

    def __init__(self) -> None:
        super().__init__()
        encoder = pairwise(spec.ENCODER_CHANNELS)
        decoder = zip(spec.DECODER_IN, spec.DECODER_OUT, strict=True)
        self.predictor = Predictor()
        self.EncoderModulation = nn.ModuleList(Modulation(i, o) for i, o in encoder)
        self.DecoderModulation = nn.ModuleList(Modulation(i, o) for i, o in decoder)
        self.final = final_head()
        self.mask = mask_head()

    def forward(self, embedding: Tensor, feature_map: Tensor) -> dict[str, Tensor]:
        """The IDN's whole state dict for one identity.

        Args:
            embedding: [1, 512], L2-normalised.
            feature_map: [1, 512, 7, 7].
        """
        encoder, decoder = self.predictor(feature_map)
        state = {}
        for branch, kernels in (("Encoder", encoder), ("Decoder", decoder)):
            modulations = getattr(self, f"{branch}Modulation")
            for i, (kernel, modulation) in enumerate(zip(kernels, modulations, strict=True)):
                state[f"{branch}.{i}.0.weight"] = kernel
                state[f"{branch}.{i}.1.weight"] = modulation(embedding)
        heads = {k: v for k, v in self.state_dict().items() if k.startswith(("final.", "mask."))}
        return state | heads
