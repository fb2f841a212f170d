"""What the C needs of a network beside its weights: buffers, their places, and how rows and columns are cut."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from .schedule import Network, Pair

LINE = 16  # floats: channels and buffers are rounded to a cache line
MARGIN = 16  # floats left and right of a planar row, and behind a pixel's channels, against strides of 2^n
TILE = 64 * 1024  # bytes of depthwise results between two pointwise calls: the first-level caches' order
MOST = 28  # pixels of a tile of the encoder


def rounded(count: int, to: int = LINE) -> int:
    return -(-count // to) * to


@dataclass(frozen=True)
class Part:
    """Some channels of a map, as one stage writes them."""

    channels: int
    offset: int  # floats from the pixel's first

    @property
    def places(self) -> int:
        return rounded(self.channels)


@dataclass
class Map:
    """Activations between two stages: [side, side, stride] floats, channels innermost, padded with zeros."""

    name: str
    side: int
    parts: tuple[Part, ...]
    first: int = 0  # stage that writes it
    last: int = 0  # stage that reads it last
    offset: int = 0  # floats, in the arena

    @property
    def width(self) -> int:
        """Places for channels, the padding of parts included: the K of the pointwise conv that reads it."""
        return sum(part.places for part in self.parts)

    @property
    def stride(self) -> int:
        return self.width + MARGIN

    @property
    def floats(self) -> int:
        return self.side * self.side * self.stride

    def places(self) -> list[int]:
        """Where each channel lies in a pixel."""
        return [part.offset + c for part in self.parts for c in range(part.channels)]


@dataclass(frozen=True)
class Stage:
    """One call of the frame: computes ``rows`` rows, any stretch of which can be computed alone."""

    kind: str  # the kernel template that computes it
    name: str
    nodes: tuple[str, ...]
    rows: int
    step: int = 1  # rows that belong together
    pair: Pair | None = None
    source: Map | None = None
    target: Map | None = None
    part: Part | None = None  # of the target
    columns: int = 0  # source pixels of a tile ("up")
    height: int = 0  # rows of a tile ("down")
    scratch: dict[str, int] = field(default_factory=dict)  # name -> floats


@dataclass(frozen=True)
class Small:
    """A tensor of the tail, where the tail computes in float16: at which of its halves, how many."""

    at: int
    count: int


@dataclass(frozen=True)
class Plan:
    """Every stage in order, every map in its place."""

    network: Network
    stages: tuple[Stage, ...]
    maps: tuple[Map, ...]
    small: dict[str, Small]  # by name; what the tail keeps of the weights in halves, if anything computes so

    @property
    def arena(self) -> int:
        """Floats that all workers share."""
        return max((m.offset + rounded(m.floats) for m in self.maps), default=0)

    @property
    def scratch(self) -> int:
        """Floats of one worker."""
        return max(sum(map(rounded, stage.scratch.values())) for stage in self.stages)


def make(network: Network) -> Plan:
    """Stages and buffers for ``network``: the encoder, the decoder, the mask branch, and the tail that streams rows."""
    size = network.size
    widths = [pair.weight.shape[0] for pair in network.encoder]
    maps: list[Map] = []

    def new(name: str, side: int, *channels: int) -> Map:
        parts, offset = [], 0
        for count in channels:
            parts.append(Part(count, offset))
            offset += rounded(count)
        maps.append(Map(name, side, tuple(parts)))
        return maps[-1]

    # A decoder stage writes in front of the encoder stage that is concatenated behind it.
    depth = len(network.encoder)
    sides = [size >> (i + 2) for i in range(depth)]
    joined: dict[int, Map] = {}
    outs: list[Map] = []
    for pair, skip in zip(network.decoder[:-1], network.skips[:-1], strict=True):
        if skip is None:
            raise AssertionError("schedule reads a stage without skip as the last")
        joined[skip] = new(f"{pair.name}.concat", sides[skip], pair.weight.shape[0], widths[skip])
        outs.append(joined[skip])
    encoded = [joined.get(i) or new(f"{pair.name}.out", sides[i], widths[i]) for i, pair in enumerate(network.encoder)]
    stages = [_first(network, encoded[0])]
    for i, pair in enumerate(network.encoder[1:], 1):
        stages.append(_down(pair, encoded[i - 1], encoded[i]))
    value = encoded[-1]
    for pair, out in zip(network.decoder[:-1], outs, strict=True):
        stages.append(_up(pair, value, out))
        value = out
    shown = encoded[-1]
    for pair in network.mask[:-2]:
        out = new(f"{pair.name}.out", shown.side * 2, pair.weight.shape[0])
        stages.append(_up(pair, shown, out))
        shown = out
    stages.append(_tail(network, value, shown))
    _live(stages, maps, (value, shown))
    place(maps)
    return Plan(network, tuple(stages), tuple(maps), small(network, shown.width))


def small(network: Network, shown: int) -> dict[str, Small]:
    """The tail's weights, as :mod:`weights` puts them; ``shown`` places are read of the mask's map."""
    hidden, last, squeeze = network.mask[-2], network.mask[-1], network.squeeze
    sizes = {
        f"{hidden.name}_weight": rounded(hidden.bias.size, 8) * shown,
        f"{hidden.name}_bias": hidden.bias.size,
        "squeeze_weight": rounded(squeeze.bias.size, 8) * rounded(squeeze.weight.shape[1]),
        "squeeze_bias": squeeze.bias.size,
        "tail_mask_kernel": last.kernel.size,
        "tail_mask_weight": last.weight.size,
        "tail_mask_bias": last.bias.size,
    }
    for name, dense in (("face", network.face[0]), ("blend", network.face[1]), ("shade", network.mask_out)):
        sizes |= {f"tail_{name}_weight": dense.weight.size, f"tail_{name}_bias": dense.bias.size}
    found, at = {}, 0
    for name, count in sizes.items():
        found[name] = Small(at, rounded(count))
        at += rounded(count)
    return found


def _first(network: Network, target: Map) -> Stage:
    stem, pair, half = network.stem, network.encoder[0], network.size // 2
    width = rounded(stem.weight.shape[0])
    scratch = {
        "planes": 8 * 3 * 2 * (half + 2 * MARGIN),
        "bytes": 3 * network.size,
        "sums": 3 * half,
        "ring": 4 * half * width,
        "zeros": half * width,
        "tile": target.side * (width + MARGIN),
    }
    nodes = (*stem.nodes, *pair.nodes)
    return Stage("first", stem.name, nodes, target.side, 1, pair, None, target, target.parts[-1], scratch=scratch)


def _down(pair: Pair, source: Map, target: Map) -> Stage:
    part = source.parts[-1]
    height = max(1, min(target.side, MOST // target.side))
    scratch = {"zeros": source.side * source.stride, "tile": height * target.side * (part.places + MARGIN)}
    return Stage(
        "down", pair.name, pair.nodes, target.side, 1, pair, source, target, target.parts[-1], height=height,
        scratch=scratch,
    )  # fmt: skip


def _up(pair: Pair, source: Map, target: Map) -> Stage:
    columns = tile_columns(source)
    scratch = {"taps": 18 * source.width, "tile": 4 * columns * (source.width + MARGIN)}
    return Stage(
        "up", pair.name, pair.nodes, source.side, 1, pair, source, target, target.parts[0], columns=columns,
        scratch=scratch,
    )  # fmt: skip


def tile_columns(source: Map, *, even: bool = False) -> int:
    """Source pixels whose four times as many results are one tile: equal parts of a row, or nearly."""
    unit = 2 if even else 1
    most = max(unit, TILE // (16 * (source.width + MARGIN)))
    count = -(-source.side // most)
    return rounded(-(-source.side // count), unit)


def _tail(network: Network, value: Map, shown: Map) -> Stage:
    size, half = network.size, network.size // 2
    pair, mask = network.decoder[-1], network.mask[-2]
    drawn, hidden = rounded(network.squeeze.weight.shape[0], 8), rounded(mask.weight.shape[0], 8)
    outputs = (network.face[0].weight.shape[0], network.mask[-1].weight.shape[0])
    wide, narrow = size + 2 * MARGIN, half + 2 * MARGIN
    face, masked = tile_columns(value, even=True), tile_columns(shown, even=True)
    scratch = {
        "taps": 18 * max(value.width, shown.width),
        "tile": max(4 * face * (value.width + MARGIN), 4 * masked * (shown.width + MARGIN)),
        "decoded": 2 * face * rounded(pair.weight.shape[0]),
        "small": sum(held.count for held in small(network, shown.width).values()) // 2 if network.halves else 0,
        "squeezed": drawn * 4 * narrow,
        "hidden": hidden * 4 * narrow,
        "face_up": 4 * drawn * wide,
        "mask_up": 4 * hidden * wide,
        "face_1": 4 * outputs[0] * wide,
        "mask_1": 4 * outputs[1] * wide,
        "zeros": max(drawn, hidden, *outputs) * wide,  # rows outside of any ring that is wide
        "frame_in": 6 * size,
        "frame_out": 6 * size,
        "frame_mask": 2 * size,
    }
    nodes = (
        *pair.nodes, *network.squeeze.nodes, *mask.nodes, *network.mask[-1].nodes, *network.mask_out.nodes,
        *network.face[0].nodes, *network.face[1].nodes, *network.blend,
    )  # fmt: skip
    return Stage("tail", "tail", nodes, size, 2, pair, value, shown, None, columns=face, height=masked, scratch=scratch)


def _live(stages: Sequence[Stage], maps: Iterable[Map], until_end: Iterable[Map]) -> None:
    """From which stage to which each map holds something."""
    for map_ in maps:
        touched = [i for i, stage in enumerate(stages) if stage.source is map_ or stage.target is map_]
        map_.first, map_.last = min(touched), max(touched)
    for map_ in until_end:
        map_.last = len(stages) - 1


class Placed(Protocol):
    """What needs a place in the arena."""

    first: int  # stage that writes it
    last: int  # stage that reads it last
    offset: int  # floats

    @property
    def floats(self) -> int: ...


def place(maps: Iterable[Placed]) -> None:
    """Largest first, each at the lowest place that none alive at the same time covers."""
    placed: list[Placed] = []
    for map_ in sorted(maps, key=lambda m: -m.floats):
        others = sorted((o for o in placed if o.first <= map_.last and map_.first <= o.last), key=lambda o: o.offset)
        offset = 0
        for other in others:
            if other.offset - offset >= rounded(map_.floats):
                break
            offset = max(offset, other.offset + rounded(other.floats))
        map_.offset = offset
        placed.append(map_)
