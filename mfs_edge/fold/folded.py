"""IIN x identity -> the static IDN's weights.

Folding keeps each pointwise conv's shared weight W, its gain (1 + s) and its demodulation
apart until asked, so that the same result can be written in two forms that compute the
same function:

* ``plain``: W (1 + s) d in the pointwise conv, as the authors do;
* ``identity-local``: W as in the checkpoint; gains and demodulations moved into the
  depthwise kernels. LeakyReLU is positively homogeneous and bilinear upsampling linear, so
  this is exact, for negative, tiny and zero gains too. Whatever depends on the identity is
  then ~25 k numbers (DESIGN 4.4).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mfs_edge.base import extras
from mfs_edge.base.errors import CheckpointError, UsageError
from mfs_edge.base.threads import one_thread
from mfs_edge.load.checkpoint import Checkpoint
from mfs_edge.load.identity import Identity
from mfs_edge.networks import spec

if TYPE_CHECKING:
    from torch import Tensor

FORMS = ("plain", "identity-local")


@dataclass(frozen=True)
class Stage:
    """A depthwise and a modulated pointwise conv, still apart. All float64."""

    kernel: np.ndarray  # depthwise [I, 1, k, k], predicted
    weight: np.ndarray  # pointwise W [O, I], shared by all identities
    gain: np.ndarray  # 1 + s, [I]

    @property
    def demodulation(self) -> np.ndarray:
        """[O]; finite even where every gain is zero."""
        energy: np.ndarray = ((self.weight * self.gain) ** 2).sum(axis=1)
        return 1 / np.sqrt(energy + spec.DEMODULATION_EPS)


@dataclass(frozen=True)
class FoldedIDN:
    """The static IDN of one identity."""

    encoder: tuple[Stage, ...]
    decoder: tuple[Stage, ...]
    heads: Mapping[str, np.ndarray]  # final.* and mask.*, float32, as in the checkpoint

    def weights(self, form: str = "plain") -> dict[str, np.ndarray]:
        """float32 under the IDN's official keys (``Encoder.i.0.weight`` ...): [I, 1, k, k], [O, I, 1, 1], vectors [C].

        Raises:
            UsageError: an unknown form.
            CheckpointError: a weight is not finite.
        """
        with np.errstate(over="ignore"):
            rounded = {key: np.ascontiguousarray(value, np.float32) for key, value in self.exact(form).items()}
        for key, value in rounded.items():
            if not np.isfinite(value).all():
                raise CheckpointError(
                    f"folded weight {key} overflows float32; the checkpoint or identity is not usable"
                )
        return rounded

    def exact(self, form: str = "plain") -> dict[str, np.ndarray]:
        """:meth:`weights`, [I, 1, k, k] and so on, before rounding: whatever was computed here is still float64.

        Raises:
            UsageError: an unknown form.
        """
        if form not in FORMS:
            raise UsageError(f"form {form!r} is unknown; use one of {', '.join(FORMS)}")
        return self._plain() if form == "plain" else self._identity_local()

    def _plain(self) -> dict[str, np.ndarray]:
        weights = dict(self.heads)
        for name, stage in self._stages():
            weights[f"{name}.0.weight"] = stage.kernel
            modulated = stage.weight * stage.gain * stage.demodulation[:, None]
            weights[f"{name}.1.weight"] = modulated[:, :, None, None]
        return weights

    def _identity_local(self) -> dict[str, np.ndarray]:
        weights = dict(self.heads)
        for (name, stage), scale in zip(self._stages(), self._input_scales(), strict=True):
            weights[f"{name}.0.weight"] = stage.kernel * (stage.gain * scale)[:, None, None, None]
            weights[f"{name}.1.weight"] = stage.weight[:, :, None, None]
        deepest, last = self.encoder[-1].demodulation, self.decoder[-1].demodulation
        weights["mask.0.1.weight"] = self.heads["mask.0.1.weight"] * deepest[:, None, None, None]
        weights["final.1.weight"] = self.heads["final.1.weight"] * last[None, :, None, None]
        return weights

    def _stages(self) -> list[tuple[str, Stage]]:
        named = [(f"Encoder.{i}", stage) for i, stage in enumerate(self.encoder)]
        return named + [(f"Decoder.{i}", stage) for i, stage in enumerate(self.decoder)]

    def _input_scales(self) -> list[np.ndarray]:
        """Per stage, what the demodulations left out upstream scale its input channels by."""
        encoded = [stage.demodulation for stage in self.encoder]
        scales = [np.ones(spec.ENCODER_CHANNELS[0]), *encoded[:-1]]
        incoming = encoded[-1]
        for stage, skip in zip(self.decoder, spec.DECODER_SKIP, strict=True):
            scales.append(incoming)
            incoming = stage.demodulation
            if skip is not None:
                incoming = np.concatenate([incoming, encoded[skip]])
        return scales


class Folder:
    """A checkpoint, ready to fold many identities: its networks are made once. Not for several threads at a time."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        tensors = checkpoint.tensors
        self._predictor = _predictor(tensors)
        self._branches = {
            branch: [_modulation(tensors, f"{branch}Modulation.{i}") for i in range(count)]
            for branch, count in (("Encoder", len(spec.ENCODER_CHANNELS) - 1), ("Decoder", len(spec.DECODER_IN)))
        }
        self._heads = {k: v for k, v in tensors.items() if k.startswith(("final.", "mask."))}

    def fold(self, identity: Identity) -> FoldedIDN:
        """Run the IIN once for ``identity``."""
        kernels = self._kernels(identity.feature_map)
        embedding = identity.embedding.astype(np.float64)
        stages = {
            branch: tuple(
                Stage(kernel, weight, 1 + style @ embedding + bias)
                for kernel, (weight, style, bias) in zip(kernels[branch], modulations, strict=True)
            )
            for branch, modulations in self._branches.items()
        }
        return FoldedIDN(stages["Encoder"], stages["Decoder"], self._heads)

    def _kernels(self, feature_map: np.ndarray) -> dict[str, list[np.ndarray]]:
        """Weights prediction in torch: the depthwise kernels of each branch, float64."""
        import torch

        with one_thread():
            encoder, decoder = self._predictor(torch.from_numpy(feature_map)[None])
        return {"Encoder": [k.double().numpy() for k in encoder], "Decoder": [k.double().numpy() for k in decoder]}


def fold(checkpoint: Checkpoint, identity: Identity) -> FoldedIDN:
    """Run the IIN once for ``identity`` (seconds of a frame's work, never needed again)."""
    return Folder(checkpoint).fold(identity)


def _modulation(tensors: Mapping[str, np.ndarray], name: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A pointwise conv's shared weight [O, I], and the style [I, 512] and bias [I] of its gain; float64."""
    weight, style, bias = (
        tensors[f"{name}.{part}"].astype(np.float64) for part in ("weight", "style.weight", "style.bias")
    )
    return weight[:, :, 0, 0], style, bias


def _predictor(tensors: Mapping[str, np.ndarray]) -> Callable[[Tensor], tuple[list[Tensor], list[Tensor]]]:
    """The network of weights prediction."""
    extras.require("torch", "compile")
    from mfs_edge.networks import iin, loading

    prefix = "predictor."
    own = {key.removeprefix(prefix): tensor for key, tensor in tensors.items() if key.startswith(prefix)}
    return loading.instantiate(iin.Predictor, own)
