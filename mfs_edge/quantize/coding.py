"""From what an identity folds to, to what its weights are in the files of one base.

A base decides everything that identities share. What is left of an identity are the weights of twelve
convolutions (``spec.OWNED``), and each is a closed function of what was folded: constant factors, one
scalar per stage that brings the identity's activations onto the base's ranges, and a rounding. So a
new identity needs no graph, no picture and no converter; and a network can compute it, too.

LeakyReLU is positively homogeneous and upsampling linear: a depthwise conv can be multiplied by any
positive number, if those that read its stage are divided by it. The number is chosen so that the
stage's expected energy is the base's. Where the base keeps other moments of what a conv reads, rounding
looks at them (:mod:`mfs_edge.quantize.rounding`).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mfs_edge.base import files
from mfs_edge.base.errors import CheckpointError, InputError
from mfs_edge.load.arrays import open_arrays
from mfs_edge.networks import spec
from mfs_edge.quantize import neighbours, rounding

FORMAT = "mfs-edge-base/1"
STORED = ("float32", "float16", "int8")
LARGEST = {"float32": float(np.finfo(np.float32).max), "float16": float(np.finfo(np.float16).max), "int8": 127.0}
# Energies below this are of stages that do nothing: they keep their scale.
LEAST_ENERGY = 1e-30
LARGEST_FILE = 64 << 20  # bytes in memory; a base has one or two million


@dataclass(frozen=True)
class Energy:
    """What a depthwise conv's outputs are expected to hold, as its pointwise conv weighs them."""

    moments: np.ndarray  # float32 [C, K, K]: mean products of the taps that each channel's kernel sees
    shares: np.ndarray  # float32 [C]: sum of squares of the weights that read the channel
    wanted: float  # the base's
    powers: bool  # whether the scalar is a power of two

    def of(self, weight: np.ndarray) -> float:
        """The energy of a kernel [C, 1, k, k]."""
        taps = weight.reshape(len(weight), -1)
        return float(np.einsum("c,ck,ckl,cl->", self.shares, taps, self.moments, taps, optimize=True))

    def scalar(self, weight: np.ndarray) -> float:
        """What to multiply the kernel [C, 1, k, k] by."""
        energy = self.of(weight)
        if not (np.isfinite(energy) and energy > LEAST_ENERGY):
            return 1.0
        found = float(np.sqrt(self.wanted / energy))
        return float(np.exp2(np.rint(np.log2(found)))) if self.powers else found


@dataclass(frozen=True)
class Part:
    """One of the owned weights: what becomes of it between the fold and the file."""

    name: str  # official key, as of ``FoldedIDN.weights``
    sources: tuple[tuple[str, int], ...]  # whose stages its input channels come from, and how many; "" is the image
    passes: np.ndarray  # float64, broadcast over the weight: what the passes multiply it by
    factors: np.ndarray  # float64, likewise: what balancing or equalisation does
    stored: str  # one of ``STORED``
    energy: Energy | None = None
    moments: np.ndarray | None = None  # float32 [groups, K, K]: round so that outputs on them change least
    scale: np.ndarray | None = None  # float32 [O]: int8's
    dense: bool = False  # whether neighbouring int8 weights must not saturate together

    def real(self, weight: np.ndarray, scalars: dict[str, float]) -> np.ndarray:
        """The weight in the base's units, float64; the stage's own scalar is added to ``scalars``."""
        moved = weight.astype(np.float64) * self.passes
        incoming = np.concatenate([np.full(count, scalars.get(name, 1.0)) for name, count in self.sources])
        moved = moved / (incoming[:, None, None, None] if moved.shape[1] == 1 else incoming[None, :, None, None])
        if self.energy is not None:
            scalars[self.name] = self.energy.scalar(moved)
            moved = moved * scalars[self.name]
        return np.asarray(moved * self.factors)

    def units(self, real: np.ndarray) -> np.ndarray:
        """``real``, [O, I, k, k], in steps of what it is stored in."""
        return real if self.scale is None else real / self.scale.astype(np.float64)[:, None, None, None]

    def coded(self, real: np.ndarray) -> np.ndarray:
        """``real``, [O, I, k, k], as it is stored."""
        exact = self.units(real)
        if self.stored == "float32":
            return exact.astype(np.float32)
        nearest = rounding.codes if self.stored == "int8" else rounding.halves
        moments = self._rounded_on
        if moments is None:
            found = nearest(exact)
        else:
            rows = exact.reshape(len(moments), len(exact) // len(moments), -1)
            found = rounding.compensated(rows, moments.astype(np.float64), nearest).reshape(exact.shape)
        if self.dense and self.stored == "int8":
            found = neighbours.settled(found, exact)
        return found.astype(self.stored)

    @property
    def _rounded_on(self) -> np.ndarray | None:
        """Halves are rounded on what energies are expected of, too; a channel's factor changes nothing there."""
        if self.moments is None and self.energy is not None and self.stored == "float16":
            return self.energy.moments
        return self.moments

    def stands_for(self, real: np.ndarray) -> np.ndarray:
        """What ``real``, [O, I, k, k], is once it was stored, float64."""
        found = self.coded(real).astype(np.float64)
        return found if self.scale is None else found * self.scale.astype(np.float64)[:, None, None, None]


@dataclass(frozen=True)
class Coding:
    """How a base stores what is an identity's; computed from numpy arrays alone."""

    parts: tuple[Part, ...]  # in the order in which data flows

    @classmethod
    def ordered(cls, parts: Iterable[Part]) -> Coding:
        """Of ``parts`` in any order."""
        return cls(tuple(sorted(parts, key=lambda part: spec.OWNED.index(part.name))))

    def real(self, weights: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """The owned weights in the base's units, float64, before rounding, [O, I, k, k] each; see :meth:`owned`."""
        scalars: dict[str, float] = {}
        return {part.name: part.real(weights[part.name], scalars) for part in self.parts}

    def owned(self, weights: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """What stands in the files for an identity.

        Args:
            weights: of ``FoldedIDN.weights("identity-local")``, float32, [C, 1, k, k] and [O, I, 1, 1].

        Returns:
            Per name of ``spec.OWNED`` an array of the weight's shape: float32, float16 or int8.

        Raises:
            CheckpointError: a weight is not finite.
        """
        real = self.real(weights)
        for name, array in real.items():
            if not np.isfinite(array).all():
                raise CheckpointError(f"folded weight {name} is not finite; the checkpoint or identity is not usable")
        return {part.name: part.coded(real[part.name]) for part in self.parts}

    def beyond(self, weights: Mapping[str, np.ndarray]) -> float:
        """The share of an identity's weights [O, I, k, k] that the base's steps cannot hold and cut off, 0..1."""
        real = self.real(weights)
        limits = {part.name: LARGEST[part.stored] for part in self.parts}
        outside = [np.abs(part.units(real[part.name])) > limits[part.name] + 0.5 for part in self.parts]
        return float(np.mean(np.concatenate([found.ravel() for found in outside])))

    def save(self, path: Path) -> None:
        """Write an ``.npz`` that :meth:`load` reads; the same bytes every time."""
        arrays: dict[str, np.ndarray] = {}
        about = []
        for number, part in enumerate(self.parts):
            found = {"passes": part.passes, "factors": part.factors, "scale": part.scale, "rounding": part.moments}
            if part.energy is not None:
                found |= {"moments": part.energy.moments, "shares": part.energy.shares}
            arrays |= {f"{number}.{key}": array for key, array in found.items() if array is not None}
            scalar = None if part.energy is None else {"wanted": part.energy.wanted, "powers": part.energy.powers}
            entry = {"name": part.name, "sources": part.sources, "stored": part.stored, "dense": part.dense}
            about.append({**entry, "energy": scalar})
        text = json.dumps({"format": FORMAT, "parts": about})
        arrays["about"] = np.frombuffer(text.encode(), np.uint8)
        with files.atomic(path) as temporary, temporary.open("wb") as opened:
            np.savez(opened, allow_pickle=False, **arrays)

    @classmethod
    def load(cls, path: Path) -> Coding:
        """The coding that was saved.

        Raises:
            InputError: the file is damaged, or none of this version.
        """
        try:
            stored = open_arrays(path)
            if sum(array.bytes for array in stored.values()) > LARGEST_FILE:
                raise ValueError("its arrays are too large")
            arrays = {name: array.read() for name, array in stored.items()}
            about = json.loads(arrays["about"].tobytes())
            if about["format"] != FORMAT:
                raise ValueError(f"its format is {about['format']!r}")
            return cls(tuple(_part(number, entry, arrays) for number, entry in enumerate(about["parts"])))
        except Exception as error:  # zipfile, zlib, numpy and json share no base
            raise InputError(f"{path}: is not the base of identities ({error}); compile it again") from error


def _part(number: int, entry: Mapping[str, object], arrays: Mapping[str, np.ndarray]) -> Part:
    def array(key: str) -> np.ndarray | None:
        return arrays.get(f"{number}.{key}")

    about = entry["energy"]
    energy = None
    if isinstance(about, dict):
        energy = Energy(arrays[f"{number}.moments"], arrays[f"{number}.shares"], about["wanted"], about["powers"])
    if entry["stored"] not in STORED:
        raise ValueError(f"weights stored as {entry['stored']!r}")
    sources = tuple((str(name), int(count)) for name, count in entry["sources"])  # type: ignore[attr-defined]
    passes, factors = arrays[f"{number}.passes"], arrays[f"{number}.factors"]
    return Part(
        str(entry["name"]), sources, passes, factors, str(entry["stored"]), energy, array("rounding"), array("scale"),
        bool(entry["dense"]),
    )  # fmt: skip
