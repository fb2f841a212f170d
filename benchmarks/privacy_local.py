"""The embedding back from the identity-local form: what ``benchmarks/privacy.py`` tries on it.

A file or pack holds, of one identity, its nine depthwise kernels k g d' (predicted kernel, gains, the demodulations
of the stage before), the mask's first depthwise times the deepest encoder's demodulations, and the tail's first 1x1
times the last decoder's. The attacker has the whole checkpoint. Three things are used against it:

* A demodulation is 1 / d^2 = sum_c W_c^2 g_c^2: *linear* in the squares of the gains, with 512 equations for the 256
  gains of the deepest stage. So their magnitudes come out exactly, and g = 1 + S e + b is linear in the embedding e.
* The network that predicts the kernels reads the next one off the same tensor as this one. Kernel by kernel only
  one factor per channel is unknown, so 256 factors of the deepest encoder stage must explain the directions of all
  taps further out: 1,845 independent equations. Gauss-Newton finds them.
* With the kernels known, every stage gives its gains, from the outermost inwards: 483 linear equations, and the last
  decoder's 32 demodulations close what is missing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from benchmarks.privacy_held import DEPTH, Held, fitted
from mfs_edge.load.checkpoint import Checkpoint
from mfs_edge.networks import iin, loading, spec

# How far a gain is off after the rounding of a file, for the weights of equations against what embeddings are like.
NOISE = {"fp32": 1e-6, "fp16": 3e-4, "int8": 5e-3}
STEPS = 40  # at most
SETTLED = 0.999  # of the cost: a step that saves less is the last one
CUT = 1e-6  # singular values below this share are the rounding of float32
Array = np.ndarray
Linearised = Callable[[Array], tuple[Array, Array]]  # x -> residuals [R], their Jacobian [R, X]


@dataclass(frozen=True)
class Style:
    """What a stage's gains and demodulations are of an embedding: g = 1 + S e + b, 1 / d^2 = sum_c W_c^2 g_c^2."""

    shared: Array  # W [O, I]
    weight: Array  # S [I, 512]
    bias: Array  # b [I]

    def gains(self, embedding: Array) -> Array:
        found: Array = 1 + self.weight @ embedding + self.bias
        return found

    def demodulations(self, gains: Array) -> Array:
        found: Array = 1 / np.sqrt(((self.shared * gains) ** 2).sum(axis=1) + spec.DEMODULATION_EPS)
        return found

    def against(self, embedding: Array, demodulations: Array) -> tuple[Array, Array]:
        """How far the logarithms of energies are off [O], and their slopes in the embedding [O, 512]."""
        gains = self.gains(embedding)
        energy = ((self.shared * gains) ** 2).sum(axis=1)
        slopes = 2 * (self.shared**2 * gains) @ self.weight / energy[:, None]
        return np.log(energy) + 2 * np.log(demodulations), slopes


class Attack:
    """Whoever has the checkpoint, against :class:`Held`."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        def style(name: str) -> Style:
            parts = (checkpoint.tensors[f"{name}.{part}"] for part in ("weight", "style.weight", "style.bias"))
            shared, weight, bias = (part.astype(np.float64) for part in parts)
            return Style(shared[:, :, 0, 0], weight, bias)

        self.encoder = [style(f"EncoderModulation.{i}") for i in range(DEPTH)]
        self.last = style(f"DecoderModulation.{len(spec.DECODER_IN) - 1}")
        self._tensors = checkpoint.tensors

    def by_squares(self, found: Held) -> Array:
        """From the deepest demodulations alone, in closed form: the squares of 256 gains, then least squares."""
        style, magnitude = self.encoder[-1], self._magnitudes(found)
        embedding, signs = np.zeros(spec.EMBEDDING), np.ones(len(magnitude))
        for _ in range(STEPS):  # a gain below zero shows when the others say so
            known = signs * magnitude - 1 - style.bias
            embedding = np.linalg.lstsq(style.weight, known, rcond=max(CUT, NOISE[found.precision]))[0]
            before, signs = signs, np.where(style.gains(embedding) < 0, -1.0, 1.0)
            if (before == signs).all():
                break
        return embedding

    def by_steps(self, found: Held, start: Array) -> Array:
        """From all 544 demodulations by Levenberg-Marquardt, held to length 1."""

        def off(embedding: Array) -> tuple[Array, Array]:
            deep, tail = (
                style.against(embedding, demodulations)
                for style, demodulations in ((self.encoder[-1], found.deepest), (self.last, found.last))
            )
            length = np.array([embedding @ embedding - 1])
            return np.concatenate([deep[0], tail[0], length]), np.vstack([deep[1], tail[1], 2 * embedding])

        return levenberg(off, start)

    def by_kernels(self, found: Held) -> Array:
        """From the encoder's kernels and both demodulations.

        Only where the layer that gives the deepest kernels can be inverted, as a trained one can in general.
        """
        kernels = self._kernels(found)
        gains, before = [], np.ones(spec.ENCODER_CHANNELS[0])
        for style, kernel, stored in zip(self.encoder, kernels, found.encoder, strict=True):
            gains.append(fitted(stored, kernel, axis=(1, 2)) / before)
            before = style.demodulations(gains[-1])
        rows = np.vstack([style.weight for style in self.encoder])
        known = np.concatenate([gain - 1 - style.bias for gain, style in zip(gains, self.encoder, strict=True)])
        noise = NOISE[found.precision]

        def off(embedding: Array) -> tuple[Array, Array]:
            tail, slopes = self.last.against(embedding, found.last)
            likely = np.eye(spec.EMBEDDING) * np.sqrt(spec.EMBEDDING)  # of length 1, in any direction
            residuals = [(rows @ embedding - known) / noise, tail / noise, likely @ embedding]
            return np.concatenate(residuals), np.vstack([rows / noise, slopes / noise, likely])

        return levenberg(off, np.linalg.lstsq(rows, known, rcond=None)[0])

    def _magnitudes(self, found: Held) -> Array:
        """|g| [256] of the deepest stage."""
        style = self.encoder[-1]
        energy = 1 / found.deepest**2 - spec.DEMODULATION_EPS
        squares = np.linalg.lstsq(style.shared**2, energy, rcond=None)[0]
        return np.sqrt(np.maximum(squares, 0))

    def _kernels(self, found: Held) -> list[Array]:
        """The predicted kernels [C, 4, 4], stage 0 first: those on whose taps' directions the file and network agree.

        Every channel of the deepest one is the stored one times an unknown factor.
        """
        guess = self.encoder[-2].gains(self.by_squares(found))
        scale = 1 / (np.maximum(self._magnitudes(found), 1e-3) * self.encoder[-2].demodulations(guess))
        chain = Chain(self._predictor, self._inverse, found.encoder[::-1])

        def off(factors: Array) -> tuple[Array, Array]:
            residuals, slopes = chain.disagreement(factors * scale)
            return residuals, slopes * scale

        factors = levenberg(off, np.ones(len(scale)))
        return chain.kernels(factors * scale)[::-1]

    @cached_property
    def _predictor(self) -> Any:
        prefix = "predictor."
        held = {k.removeprefix(prefix): v for k, v in self._tensors.items() if k.startswith(prefix)}
        return loading.instantiate(iin.Predictor, held).double().requires_grad_(False).encoder

    @cached_property
    def _inverse(self) -> Any:
        """Of the layer that gives the deepest kernels, as LU factors of [4096, 4096]."""
        layer = self._predictor[0].weight
        channels, size = layer.weight.shape[0], spec.ENCODER_KERNEL
        every = torch.eye(channels * size * size, dtype=torch.float64).reshape(-1, channels, size, size)
        columns = [F.conv2d(some, layer.weight, padding=1).flatten(1) for some in torch.chunk(every, 16)]
        return torch.linalg.lu_factor(torch.cat(columns).T)


class Chain:
    """The encoder's predicting branch, from the factors u [C] of its first kernel, which is ``stored[0]`` u.

    Args:
        blocks: of the network, the deepest stage first.
        inverse: of the first one's last layer.
        stored: kernels [C, k, k] of a file, in the order of the blocks.
    """

    def __init__(self, blocks: Any, inverse: Any, stored: tuple[Array, ...]) -> None:
        self.blocks, self.stored = blocks, [torch.from_numpy(kernel.copy()) for kernel in stored]
        first = self.stored[0]
        channels, size = first.shape[:2]
        right = (torch.eye(channels, dtype=first.dtype)[:, None] * first.flatten(1)[..., None]).flatten(
            0, 1
        )  # [C k k, C]
        bias = blocks[0].weight.bias.repeat_interleave(size * size)[:, None]
        solved = torch.linalg.lu_solve(*inverse, torch.cat([right, -bias], dim=1)).T.reshape(-1, channels, size, size)
        self.slopes, self.offset = _narrowed(blocks[1], solved[:-1], 0), _narrowed(blocks[1], solved[-1:], 1)

    def kernels(self, factors: Array) -> list[Array]:
        """Every kernel [C, k, k], in the order of the blocks."""
        first = self.stored[0] * torch.from_numpy(factors)[:, None, None]
        return [first.numpy(), *(value[0].numpy() for value, _ in self._run(torch.from_numpy(factors)))]

    def disagreement(self, factors: Array) -> tuple[Array, Array]:
        """The part of every predicted kernel across the stored one's direction, by its length; with slopes."""
        residuals: list[torch.Tensor] = []
        slopes: list[torch.Tensor] = []
        for (value, slope), stored in zip(self._run(torch.from_numpy(factors)), self.stored[1:], strict=True):
            direction = stored.flatten(1) / stored.flatten(1).norm(dim=1, keepdim=True)
            length = value.flatten(2).norm(dim=2, keepdim=True)
            for part, into in ((value, residuals), (slope, slopes)):
                along = (part.flatten(2) * direction).sum(dim=2, keepdim=True)
                into.append(((part.flatten(2) - along * direction) / length).flatten(1))
        return torch.cat(residuals, 1)[0].numpy(), torch.cat(slopes, 1).T.numpy()

    def _run(self, factors: torch.Tensor) -> list[tuple[torch.Tensor, torch.Tensor]]:
        """Of each block after the first: its kernel [1, C, k, k], and the slopes in each factor [U, C, k, k]."""
        x, slopes, found = torch.einsum("u,uchw->chw", factors, self.slopes)[None] + self.offset, self.slopes, []
        for block, following in zip(self.blocks[1:], [*self.blocks[2:], None], strict=True):
            bend = torch.where(x > 0, 1.0, spec.LEAKY_SLOPE).to(x.dtype)
            x, slopes = x * bend, slopes * bend
            read = block.weight
            value = F.conv2d(x, read.weight, read.bias, padding=1)
            found.append((value, F.conv2d(slopes, read.weight, padding=1)))
            if following is not None:
                x, slopes = _narrowed(following, x, 1), _narrowed(following, slopes, 0)
        return found


def _narrowed(block: Any, x: torch.Tensor, constant: float) -> torch.Tensor:
    """A block's conv and batch norm on [N, C, k, k], their constant terms ``constant`` times: 0 for slopes."""
    norm, conv = block.norm, block.conv
    scale = norm.weight / torch.sqrt(norm.running_var + norm.eps)
    shift = (conv.bias - norm.running_mean) * scale + norm.bias
    return F.conv2d(x, conv.weight * scale[:, None, None, None], shift * constant, padding=1)


def levenberg(linearised: Linearised, start: Array) -> Array:
    """Least squares by Levenberg-Marquardt; a damping of 0 would be Gauss-Newton."""
    found, damping = start, 1e-6
    (residuals, slopes), identity = linearised(found), np.eye(len(start))
    for _ in range(STEPS):
        cost, normal = residuals @ residuals, slopes.T @ slopes
        damped = normal + damping * np.trace(normal) / len(found) * identity
        tried = found - np.linalg.solve(damped, slopes.T @ residuals)
        there = linearised(tried)
        after = there[0] @ there[0]
        if after < cost:
            found, (residuals, slopes), damping = tried, there, max(damping / 30, 1e-13)
        else:
            damping *= 30
        if cost * SETTLED < after <= cost or damping > 1e6:
            break
    return found


def cosine(one: Array, other: Array) -> float:
    """1 for the same direction; 0 for a vector of zeros."""
    lengths = np.linalg.norm(one) * np.linalg.norm(other)
    return float(one.ravel() @ other.ravel() / lengths) if lengths else 0.0


def summary(cosines: list[float]) -> Mapping[str, float]:
    """Median, and the worst for the persons: the highest one."""
    return {"median": float(np.median(cosines)), "highest": max(cosines)}
