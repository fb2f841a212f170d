"""``idn.weights``: what all identities share, then what is one identity's, each behind a header with its checksum."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from mfs_edge.base.errors import LoweringError

from .integers import Integer, saturates
from .plan import LINE, Map, Plan, rounded
from .schedule import Pair
from .tiles import PANEL

Put = Callable[..., None]  # name, array, what the graph calls the tensor that it comes from
VERSION = 1
ORDER = 0x01020304
HEADER = struct.Struct("<4sIIIQQQQ16x")
IDENTITY = ("Encoder.", "Decoder.")  # what the graph calls the tensors that an identity decides


@dataclass(frozen=True)
class Weights:
    """The file, and where each tensor lies in it."""

    network: int  # tells this layout from any other
    shared: bytes
    identity: bytes
    places: dict[str, tuple[str, int]]  # name -> block, floats from its first

    @property
    def shared_bytes(self) -> int:
        return len(self.shared)

    @property
    def identity_bytes(self) -> int:
        """With its header."""
        return HEADER.size + len(self.identity)

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


def pack(plan: Plan) -> Weights:
    """Every tensor of ``plan``'s network in the order and form that the kernels read: float32, or codes."""
    blocks = {"shared": bytearray(), "identity": bytearray()}
    places: dict[str, tuple[str, int]] = {}
    net = plan.network
    # Codes are balanced and rounded for one identity: nothing of them is shared.
    owned = ("",) if net.integers else IDENTITY

    def put(name: str, array: np.ndarray, tensor: str | None = None) -> None:
        block = "identity" if tensor is not None and tensor.startswith(owned) else "shared"
        places[name.replace(".", "_")] = (block, len(blocks[block]) // 4)
        stored = array if array.dtype in (np.int8, np.int32, np.float16) else array.astype("<f4")
        data = np.ascontiguousarray(stored, stored.dtype.newbyteorder("<")).tobytes()
        blocks[block].extend(data.ljust(rounded(len(data), 4 * LINE), b"\0"))

    for name, table in _tables(plan).items():
        put(name, table)
        if net.halves:
            wide = np.pad(table, ((0, 0), (0, 4))) if table.shape[1] == 12 else table  # whole vectors
            put(f"{name}_halves", wide.astype(np.float16))
    width = rounded(net.stem.weight.shape[0])
    put("stem_kernel", net.stem.kernel, net.stem.tensors[0])
    put("stem_weight", _wide(net.stem.weight.T, width), net.stem.tensors[1])
    put("stem_bias", _wide(net.stem.bias[None], width), net.stem.tensors[1])
    for stage in plan.stages:
        if stage.pair is not None:
            _put_pair(put, stage.pair, _read_by(plan, stage.pair), half=net.half)
    hidden = net.mask[-2]
    _put_pair(put, hidden, _places(plan.stages[-1].target), planes=True)
    squeeze = net.squeeze
    decoded = _wide(squeeze.weight[:, :, 0, 0], rounded(squeeze.weight.shape[1]))
    put("squeeze_weight", _eights(decoded), squeeze.tensor)
    put("squeeze_bias", _wide(squeeze.bias[None], rounded(squeeze.bias.size, 8)), squeeze.tensor)
    last = net.mask[-1]
    put("tail_mask_kernel", last.kernel, last.tensors[0])
    put("tail_mask_weight", last.weight.T, last.tensors[1])
    put("tail_mask_bias", last.bias, last.tensors[1])
    for name, dense in (("tail_face", net.face[0]), ("tail_blend", net.face[1]), ("tail_shade", net.mask_out)):
        put(f"{name}_weight", dense.weight.transpose(1, 2, 3, 0), dense.tensor)
        put(f"{name}_bias", dense.bias, dense.tensor)
    shared, identity = (bytes(blocks[name]) for name in ("shared", "identity"))
    kinds = (net.integers, net.half, net.halves, net.slope, net.centre)
    layout = repr((VERSION, net.size, sorted(places.items()), len(shared), len(identity), *kinds))
    network = int.from_bytes(hashlib.sha256(layout.encode()).digest()[:8], "little")
    return Weights(network, shared, identity, places)


def _put_pair(put: Put, pair: Pair, places: tuple[list[int], int], *, planes: bool = False, half: bool = False) -> None:
    where, width = places
    kernel = np.zeros((pair.kernel.shape[1] * pair.kernel.shape[2], width))
    kernel[:, where] = pair.kernel.reshape(pair.kernel.shape[0], -1).T
    if pair.integer is not None:
        if planes:
            raise LoweringError(f"{pair.name}: target c computes it on planes, in float; use fp32")
        _put_integers(put, pair, pair.integer, kernel, where)
        return
    weight = np.zeros((pair.weight.shape[0], width))
    weight[:, where] = pair.weight
    outputs = rounded(pair.bias.size, 8 if planes else PANEL)
    if half and not planes:
        weight = _halves(pair.name, weight)
    put(f"{pair.name}_kernel", kernel, pair.tensors[0])
    put(f"{pair.name}_weight", _eights(weight) if planes else _panels(weight), pair.tensors[1])
    put(f"{pair.name}_bias", _wide(pair.bias[None], outputs), pair.tensors[1])


def _halves(name: str, weight: np.ndarray) -> np.ndarray:
    """``weight`` [N, K] in float16."""
    with np.errstate(over="ignore"):
        half = weight.astype(np.float16)
    if not np.isfinite(half).all():
        raise LoweringError(f"{name}: a weight of {np.abs(weight).max():.3g} is beyond float16; compile with fp32")
    return half


def _put_integers(put: Put, pair: Pair, product: Integer, kernel: np.ndarray, where: list[int]) -> None:
    """The depthwise conv in steps of what it is rounded to; codes by fours of K; and what undoes both.

    Activations are bytes: code + 128, or the codes themselves where instructions want both signs.
    """
    width = kernel.shape[1]
    codes = np.zeros((rounded(pair.bias.size, PANEL), width), np.int8)
    codes[: pair.bias.size, where] = product.codes
    if saturates(codes):
        raise LoweringError(f"{pair.name}: its int8 weights do not lie in pairs of the graph's; use fp32")
    offset = np.zeros((1, width))
    offset[0, where] = pair.offset / product.step + product.zero + 128
    sums = codes.sum(axis=1, dtype=np.int64)
    bias = np.pad(product.bias.astype(np.int64), (0, len(codes) - pair.bias.size))
    put(f"{pair.name}_kernel", kernel / product.step, pair.tensors[0])
    put(f"{pair.name}_offset", offset, pair.tensors[0])
    fours = codes.reshape(-1, PANEL, width // 4, 4).transpose(0, 2, 1, 3)
    put(f"{pair.name}_weight", fours, pair.tensors[1])
    put(f"{pair.name}_bytes", (bias - (product.zero + 128) * sums).astype(np.int32), pair.tensors[1])
    put(f"{pair.name}_codes", (bias - product.zero * sums).astype(np.int32), pair.tensors[1])
    put(f"{pair.name}_scale", _wide(product.scale[None], len(codes)), pair.tensors[1])


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
