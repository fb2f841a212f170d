"""``idn.weights``: what all identities share, then what is one identity's, each behind a header with its checksum.

What is shared lies as kernels read it; what is an identity's lies compact, see :mod:`identity`.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from mfs_edge.base.errors import LoweringError

from . import identity
from .identity import Block, Owned, Span
from .integers import Coded, Integer, saturates
from .plan import LINE, Map, Plan, rounded
from .schedule import Pair
from .tiles import PANEL

Put = Callable[[str, np.ndarray], int]  # name, array -> where it lies in what is shared, in floats
VERSION = 2
ORDER = 0x01020304
HEADER = struct.Struct("<4sIIIQQQQ16x")


@dataclass(frozen=True)
class Weights:
    """The file, and where each tensor lies in it."""

    network: int  # tells this layout from any other
    shared: bytes
    identity: bytes
    expanded: int  # floats that the identity becomes
    places: dict[str, tuple[str, int]]  # name -> what is shared or what is expanded, floats from its first
    owned: tuple[Owned, ...]
    scaled: bool  # whether each channel of them is multiplied by a number of what is shared

    @property
    def shared_bytes(self) -> int:
        return len(self.shared)

    @property
    def identity_bytes(self) -> int:
        """With its header."""
        return HEADER.size + len(self.identity)

    @property
    def expanded_bytes(self) -> int:
        return 4 * rounded(self.expanded)

    @property
    def total(self) -> int:
        return HEADER.size + self.shared_bytes + self.identity_bytes

    def dumps(self) -> bytes:
        base = checksum(self.shared)
        head = (VERSION, ORDER, HEADER.size, self.network)
        return b"".join([
            HEADER.pack(b"IDNW", *head, base, len(self.shared), base), self.shared,
            HEADER.pack(b"IDNI", *head, base, len(self.identity), checksum(self.identity)), self.identity,
        ])  # fmt: skip


def _lane(value: int, words: list[int]) -> int:
    """Plain integers are faster here than numpy, which cannot do the next word before this one."""
    for word in words:
        value = ((value ^ word) * 1099511628211) & 0xFFFFFFFFFFFFFFFF
        value ^= value >> 29
    return value


def checksum(data: bytes) -> int:
    """As ``idn_sum`` in the C: FNV-1a over 64-bit words, in four lanes, each mixed, of a multiple of 32 bytes."""
    words = np.frombuffer(data, "<u8").reshape(-1, 4)
    lanes = [_lane(14695981039346656037 + number, words[:, number].tolist()) for number in range(4)]
    total = 0
    for lane in lanes:
        total = (total * 31 + lane) % 2**64
    return total


class _Packer:
    """Collects the tensors of both blocks."""

    def __init__(self, *, half: bool, scaled: bool) -> None:
        self.half, self.scaled, self.shared, self.own = half, scaled, bytearray(), Block()
        self.places: dict[str, tuple[str, int]] = {}

    def put(self, name: str, array: np.ndarray) -> int:
        """Append what is shared: int8, int32 and float16 as they are, else float32. -> floats from the first."""
        at = len(self.shared) // 4
        self.places[name.replace(".", "_")] = ("shared", at)
        stored = array if array.dtype in (np.int8, np.int32, np.float16) else array.astype("<f4")
        data = np.ascontiguousarray(stored, stored.dtype.newbyteorder("<")).tobytes()
        self.shared.extend(data.ljust(rounded(len(data), 4 * LINE), b"\0"))
        return at

    def keep(
        self, name: str, array: np.ndarray, coded: Coded | None, spans: Sequence[Span], floats: int,
        step: float = 1.0,
    ) -> None:  # fmt: skip
        """Append an identity's ``array`` [channels, ...], or its codes, computed with in units of ``step``."""
        scale = coded.scale if coded is not None else np.ones(len(array))
        unit = self.put(f"{name}.unit", scale / step) if self.scaled else None
        rows = (array if coded is None else coded.codes).reshape(len(array), -1).T
        if coded is None:
            rows = _halves(name, rows) if self.half else rows.astype(np.float32)
        self.places[name.replace(".", "_")] = ("identity", self.own.floats)
        self.own.put(name, rows, spans, floats, unit)


def pack(plan: Plan) -> Weights:
    """Every tensor of ``plan``'s network: in the order and form that kernels read, but for what an identity owns.

    Raises:
        LoweringError: a weight is beyond the type that it is stored in; names it.
    """
    net = plan.network
    packer = _Packer(half=net.half, scaled=net.scaled)
    put, owned = packer.put, {id(block) for block in net.owned}
    for name, table in _tables(plan).items():
        put(name, table)
        if net.halves:
            wide = np.pad(table, ((0, 0), (0, 4))) if table.shape[1] == 12 else table  # whole vectors
            put(f"{name}_halves", wide.astype(np.float16))
    width, taps = rounded(net.stem.weight.shape[0]), net.stem.kernel[0].size
    planes = identity.planes(len(net.stem.kernel), taps)
    packer.keep("stem_kernel", net.stem.kernel, net.stem.coded, planes, net.stem.kernel.size)
    put("stem_weight", _wide(net.stem.weight.T, width))
    put("stem_bias", _wide(net.stem.bias[None], width))
    for stage in plan.stages:
        if stage.pair is not None:
            _put_pair(packer, stage.pair, _read_by(plan, stage.pair), owned=id(stage.pair) in owned)
    hidden = net.mask[-2]
    _put_pair(packer, hidden, _places(plan.stages[-1].target), owned=id(hidden) in owned, planes=True)
    squeeze = net.squeeze
    outputs, inputs = squeeze.weight.shape[:2]
    floats = rounded(outputs, 8) * rounded(inputs)
    panels = identity.panels(outputs, rounded(inputs))
    packer.keep("squeeze_weight", squeeze.weight, squeeze.coded, panels, floats)
    put("squeeze_bias", _wide(squeeze.bias[None], rounded(squeeze.bias.size, 8)))
    last = net.mask[-1]
    put("tail_mask_kernel", last.kernel)
    put("tail_mask_weight", last.weight.T)
    put("tail_mask_bias", last.bias)
    for name, dense in (("tail_face", net.face[0]), ("tail_blend", net.face[1]), ("tail_shade", net.mask_out)):
        put(f"{name}_weight", dense.weight.transpose(1, 2, 3, 0))
        put(f"{name}_bias", dense.bias)
    return _told(plan, packer)


def _told(plan: Plan, packer: _Packer) -> Weights:
    net, places, own = plan.network, packer.places, packer.own
    shared, stored = bytes(packer.shared), own.data()
    kinds = (net.integers, net.half, net.halves, net.slope, net.centre)
    layout = repr((VERSION, net.size, sorted(places.items()), len(shared), len(stored), own.owned, *kinds))
    network = int.from_bytes(hashlib.sha256(layout.encode()).digest()[:8], "little")
    return Weights(network, shared, stored, own.floats, places, tuple(own.owned), net.scaled)


def _put_pair(packer: _Packer, pair: Pair, places: tuple[list[int], int], *, owned: bool, planes: bool = False) -> None:
    where, width = places
    taps = pair.kernel[0].size
    if pair.integer is not None and planes:
        raise LoweringError(f"{pair.name}: target c computes it on planes, in float; use fp32")
    step = 1.0 if pair.integer is None else pair.integer.step
    name = f"{pair.name}_kernel"
    if owned:
        packer.keep(name, pair.kernel, pair.coded, identity.at(where, width), taps * width, step)
    else:
        kernel = np.zeros((taps, width))
        kernel[:, where] = pair.kernel.reshape(len(pair.kernel), -1).T
        packer.put(name, kernel / step)
    if pair.integer is not None:
        _put_integers(packer.put, pair, pair.integer, places)
        return
    weight = np.zeros((pair.weight.shape[0], width))
    weight[:, where] = pair.weight
    outputs = rounded(pair.bias.size, 8 if planes else PANEL)
    if packer.half and not planes:
        weight = _halves(pair.name, weight)
    packer.put(f"{pair.name}_weight", _eights(weight) if planes else _panels(weight))
    packer.put(f"{pair.name}_bias", _wide(pair.bias[None], outputs))


def _halves(name: str, weight: np.ndarray) -> np.ndarray:
    """``weight`` [N, K] in float16."""
    with np.errstate(over="ignore"):
        half = weight.astype(np.float16)
    if not np.isfinite(half).all():
        raise LoweringError(f"{name}: a weight of {np.abs(weight).max():.3g} is beyond float16; compile with fp32")
    return half


def _put_integers(put: Put, pair: Pair, product: Integer, places: tuple[list[int], int]) -> None:
    """Codes by fours of K, and what undoes their rounding and the depthwise conv's, which is in steps.

    Activations are bytes: code + 128, or the codes themselves where instructions want both signs.
    """
    where, width = places
    codes = np.zeros((rounded(pair.bias.size, PANEL), width), np.int8)
    codes[: pair.bias.size, where] = product.codes
    if saturates(codes):
        raise LoweringError(f"{pair.name}: its int8 weights do not lie in pairs of the graph's; use fp32")
    offset = np.zeros((1, width))
    offset[0, where] = pair.offset / product.step + product.zero + 128
    sums = codes.sum(axis=1, dtype=np.int64)
    bias = np.pad(product.bias.astype(np.int64), (0, len(codes) - pair.bias.size))
    put(f"{pair.name}_offset", offset)
    fours = codes.reshape(-1, PANEL, width // 4, 4).transpose(0, 2, 1, 3)
    put(f"{pair.name}_weight", fours)
    put(f"{pair.name}_bytes", (bias - (product.zero + 128) * sums).astype(np.int32))
    put(f"{pair.name}_codes", (bias - product.zero * sums).astype(np.int32))
    put(f"{pair.name}_scale", _wide(product.scale[None], len(codes)))


def _read_by(plan: Plan, pair: Pair) -> tuple[list[int], int]:
    """Where ``pair`` finds its channels, and how many places it reads."""
    net = plan.network
    if pair is net.encoder[0]:
        width = net.stem.weight.shape[0]
        return list(range(width)), rounded(width)
    stage = next(stage for stage in plan.stages if stage.pair is pair)
    if stage.kind == "down" and stage.source is not None:
        part = stage.source.parts[-1]
        return list(range(part.channels)), part.places
    return _places(stage.source)


def _places(source: Map | None) -> tuple[list[int], int]:
    if source is None:
        raise ValueError("a stage that reads planes has no places")
    return source.places(), source.width


def _wide(array: np.ndarray, width: int) -> np.ndarray:
    return np.pad(array, ((0, 0), (0, width - array.shape[1])))


def _panels(weight: np.ndarray, panel: int = PANEL) -> np.ndarray:
    """[N, K] -> [N / panel, K, panel], N filled up with zeros."""
    count = rounded(weight.shape[0], panel)
    full = np.pad(weight, ((0, count - weight.shape[0]), (0, 0)))
    return full.reshape(count // panel, panel, -1).transpose(0, 2, 1)


def _eights(weight: np.ndarray) -> np.ndarray:
    return _panels(weight, 8)


def _tables(plan: Plan) -> dict[str, np.ndarray]:
    """What depends on sizes only: how upsampled rows and columns weigh what they are made of."""
    half = plan.network.size // 2
    sides = sorted({half, *(stage.source.side for stage in plan.stages if stage.source)})
    picture = axis(half)
    return {f"axis_{side}": axis(side) for side in sides} | {"left": picture[:, [2, 8]], "right": picture[:, [3, 9]]}


def axis(side: int) -> np.ndarray:
    """How outputs 2j and 2j + 1 of an upsampled axis, seen through a 3-tap kernel, weigh the source: [side, 12].

    With align_corners, output u lies at u (side - 1) / (2 side - 1). Per j: for output 2j the taps -1, 0, 1 of
    the kernel see the source at (j-1, j), (j-1, j), (j, j+1); for output 2j + 1 at (j-1, j), (j, j+1), (j, j+1).
    """
    j, d = np.arange(side), 1 / (2 * side - 1)
    before, here, after, beyond = (side - j) * d, j * d, (side - 1 - j) * d, (j + 1) * d
    first, last = j == 0, j == side - 1  # the kernel reads zeros outside
    columns = [
        np.where(first, 0, 1 - before), np.where(first, 0, before), here, 1 - here, 1 - after, after,
        here, 1 - here, 1 - after, after, np.where(last, 0, beyond), np.where(last, 0, 1 - beyond),
    ]  # fmt: skip
    return np.stack(columns, axis=1)
