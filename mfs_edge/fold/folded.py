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

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from mfs_edge.base import extras
from mfs_edge.base.errors import CheckpointError, UsageError
from mfs_edge.base.threads import one_thread
from mfs_edge.load.checkpoint import Checkpoint
from mfs_edge.load.identity import Identity
from mfs_edge.networks import spec

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


def fold(checkpoint: Checkpoint, identity: Identity) -> FoldedIDN:
    """Run the IIN once for ``identity`` (seconds of a frame's work, never needed again)."""
    kernels = _predict(checkpoint.tensors, identity.feature_map)
    embedding = identity.embedding.astype(np.float64)
    stages = {"Encoder": [], "Decoder": []}  # type: dict[str, list[Stage]]
    for branch, built in stages.items():
        for i, kernel in enumerate(kernels[branch]):
            name = f"{branch}Modulation.{i}"
            weight, style, bias = (
                checkpoint.tensors[f"{name}.{part}"].astype(np.float64)
                for part in ("weight", "style.weight", "style.bias")
            )
            built.append(Stage(kernel, weight[:, :, 0, 0], 1 + style @ embedding + bias))
    heads = {k: v for k, v in checkpoint.tensors.items() if k.startswith(("final.", "mask."))}
    return FoldedIDN(tuple(stages["Encoder"]), tuple(stages["Decoder"]), heads)


def _predict(tensors: Mapping[str, np.ndarray], feature_map: np.ndarray) -> dict[str, list[np.ndarray]]:
    """Weights prediction in torch: the depthwise kernels of each branch, float64."""
    torch = extras.require("torch", "compile")
    from mfs_edge.networks import iin, loading

    prefix = "predictor."
    predictor = loading.instantiate(
        iin.Predictor, {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
    )
    with one_thread():
        encoder, decoder = predictor(torch.from_numpy(feature_map)[None])
    return {"Encoder": [k.double().numpy() for k in encoder], "Decoder": [k.double().numpy() for k in decoder]}
