"""The C, as text: one section per instruction set, from the kernel templates."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from mfs_edge.base import extras
from mfs_edge.base.version import __version__

from .plan import Plan, Stage, rounded
from .schedule import Network
from .tiles import ISAS, MIXERS, Isa, split
from .weights import Weights

HERE = Path(__file__).parent
KERNELS = ("vector", "pointwise", "products", "depthwise", "planes", "stages")


def environment() -> Any:
    """Jinja with what the templates use.

    Raises:
        MissingDependency: jinja2 is not installed.
    """
    jinja2 = extras.require("jinja2", "native")
    found = jinja2.Environment(
        loader=jinja2.FileSystemLoader(HERE), trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    found.filters |= {"c": _identifier, "float32": _literal}
    return found


def source(plan: Plan, weights: Weights) -> str:
    """``idn.c``."""
    made = environment()
    isas = used(plan.network)
    sections = [(isa, section(made, isa, plan)) for isa in isas]
    about = {"net": plan.network, "plan": plan, "weights": weights, "rounded": rounded, "version": __version__}
    text: str = made.get_template("idn.c.j2").render(sections=sections, isas=isas, **about)
    return text + "\n"


def header(plan: Plan, weights: Weights, precision: str, *, embedded: bool) -> str:
    """``idn.h``."""
    about = {"net": plan.network, "plan": plan, "weights": weights, "version": __version__, "precision": precision}
    text: str = environment().get_template("idn.h.j2").render(embedded=embedded, **about)
    return text + "\n"


def frame(size: int) -> str:
    """``idn_frame.c``, for crops of ``size`` px."""
    border = [max(0, min(min(i, size - 1 - i) - 4, 11, size - 20)) for i in range(size)]
    lines = [", ".join(map(str, border[at : at + 32])) for at in range(0, size, 32)]
    sections = [*((isa.name, isa) for isa in MIXERS if isa.attribute), ("base", None)]
    about = {
        "isas": MIXERS,
        "sections": sections,
        "border": ",\n".join(f"  {line}" for line in lines),
        "version": __version__,
    }
    text: str = environment().get_template("idn_frame.c.j2").render(**about)
    return text + "\n"


def section(made: Any, isa: Isa, plan: Plan) -> str:
    """All functions for one instruction set."""
    counts = split(plan.network.size // isa.lanes, isa.row)

    def along(kernel: str, arguments: str) -> str:
        """Calls that cover a row."""
        x, lines = 0, []
        for count in sorted(set(counts), reverse=True):
            end = x + counts.count(count) * count * isa.lanes
            lines.append(f"for (int x = {x}; x < {end}; x += {count * isa.lanes}) F({kernel}_{count})({arguments});")
            x = end
        return "\n      ".join(lines)

    about = {
        "isa": isa, "plan": plan, "net": plan.network, "attribute": _attribute(isa, plan), "rounded": rounded,
        "along": along,
        "counts": sorted(set(counts)), "grouped": lambda pair: isa.by_lane and not pair.integer,
        "used": lambda q, outputs: _vectors_of_column(q, outputs, isa.lanes),
        "source": lambda stage: _at(isa, stage.source, _skip(stage)),
        "target": lambda stage: _at(isa, stage.target, stage.part.offset),
        "floats": _kinds(plan, integers=False) | {"up"},  # the mask's last but one is always of floats
        "bytes": _kinds(plan, integers=True),
    }  # fmt: skip
    tiles = {
        "pointwise": _tiles(plan, isa.pixels, isa.vectors, isa.columns, integers=False),
        "products": _tiles(plan, isa.dot_pixels, isa.dot_vectors, isa.dot_columns, integers=True),
    }
    kernels = [name for name in KERNELS if tiles.get(name, {"pixels": [0]})["pixels"]]
    return "\n".join(
        made.get_template(f"kernels/{name}.c.j2").render(**tiles.get(name, {}), **about) for name in kernels
    )


def used(network: Network) -> list[Isa]:
    """The instruction sets that such a network has sections for."""
    precision = "int8" if network.integers else "fp16" if network.half else "fp32"
    return [isa for isa in ISAS if precision in isa.precisions and (network.halves or not isa.half)]


def _tiles(plan: Plan, pixels: int, vectors: int, columns: int, *, integers: bool) -> dict[str, list[int]]:
    """Heights and widths of the tiles of one kind of products."""
    ragged = any(n % columns for n in _outputs(plan))
    return {
        "pixels": _pixels(plan, pixels, integers=integers),
        "vectors": sorted({vectors} | ({1} if ragged else set()), reverse=True),
    }


def _pixels(plan: Plan, most: int, *, integers: bool) -> list[int]:
    """The heights of the tiles that pointwise convs of one kind are cut into."""
    stages = _of_kind(plan, integers=integers)
    return sorted({m for stage in stages for total in _pixels_at_once(stage) for m in split(total, most)})


def _of_kind(plan: Plan, *, integers: bool) -> list[Stage]:
    return [stage for stage in plan.stages if stage.pair and (stage.pair.integer is not None) == integers]


def _kinds(plan: Plan, *, integers: bool) -> set[str]:
    """Which depthwise kernels stages of that kind call."""
    return {"down" if stage.kind in ("first", "down") else "up" for stage in _of_kind(plan, integers=integers)}


def _attribute(isa: Isa, plan: Plan) -> str:
    """What functions are compiled for; integers and halves need more of x86."""
    more = ("avx512vnni," if plan.network.integers else "", "f16c," if plan.network.half else "")
    return isa.attribute.replace('"avx512f', f'"{more[0]}avx512f').replace('"avx2', f'"{more[1]}avx2')


def _vectors_of_column(q: int, outputs: int, lanes: int) -> list[int]:
    """Which vectors of a kernel's [3][3][outputs] weights hold column ``q``'s."""
    return sorted({((row * 3 + q) * outputs + o) // lanes for row in range(3) for o in range(outputs)})


def _pixels_at_once(stage: Stage) -> set[int]:
    """How many pixels its pointwise conv is asked for at once, in any call."""
    if stage.kind == "first":
        return {stage.rows}
    if stage.kind == "down":
        return {rows * stage.rows for rows in range(1, stage.height + 1)}
    side = stage.source.side if stage.source else 0
    return {2 * stage.columns, 2 * (side % stage.columns)} - {0}


def _outputs(plan: Plan) -> set[int]:
    return {rounded(stage.pair.weight.shape[0]) for stage in plan.stages if stage.pair is not None}


def _skip(stage: Stage) -> int:
    """The encoder reads its own part of a map, behind the decoder's; the decoder reads all."""
    return stage.source.parts[-1].offset if stage.kind == "down" and stage.source else 0


def _at(isa: Isa, map_: Any, offset: int) -> str:
    """Where a map lies; one of halves in the first half of its place."""
    if isa.half:
        return f"({isa.real} *)(void *)(j->arena + {map_.offset}) + {offset}"
    return f"j->arena + {map_.offset + offset}"


def _identifier(name: str) -> str:
    return name.replace(".", "_")


def _literal(value: float) -> str:
    text = repr(float(np.float32(value)))
    return f"{np.float32(value)!s}f" if "e" in text or "." in text else f"{text}.0f"
