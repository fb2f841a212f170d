"""One kernel template, rendered for one instruction set, compiled, and called through ctypes."""

from __future__ import annotations

import ctypes
import platform
import subprocess
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from mfs_edge.targets.native import engine, integers, plan, schedule, text, tiles, weights

from tests.targets.native.test_family import SLOPE, Builder

# The portable section, which a processor of another kind would compile, runs anywhere.
PORTABLE = ("-ffreestanding", "-U__x86_64__", "-U__aarch64__")
# Arm's sections are judged by whole frames, under an emulator (test_portability.py).
NEEDS = {
    "avx512": {"avx512f", "avx512bw", "avx512dq", "avx512vl"},
    "avxvnni": {"avx_vnni"},
    "avx2": {"avx2", "fma"},
    "sse2": set[str](),
}
MORE = {"integers": {"avx512": {"avx512_vnni"}}, "half": {"avx2": {"f16c"}}}
WIDTHS = ([5, 9, 17, 9, 20], [13, 31, 7, 19], [11, 3, 21, 6, 3], 7)  # the tail's planes: 7 and 6 in, 5 and 3 between


def runnable(kind: str = "float") -> list[tiles.Isa]:
    """The instruction sets of this processor, and the portable one."""
    told = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    flags = {flag for line in told.splitlines() if line.startswith("flags") for flag in line.split()}
    here = NEEDS if platform.machine().lower() in ("x86_64", "amd64") else {}
    needs = {name: needed | MORE.get(kind, {}).get(name, set()) for name, needed in here.items()}
    precision = {"float": "fp32", "half": "fp16", "integers": "int8"}[kind]
    isas = [isa for isa in tiles.ISAS if precision in isa.precisions]
    return [isa for isa in isas if isa.name == "any" or (isa.name in needs and needs[isa.name] <= flags)]


def every_isa(kind: str = "float") -> pytest.MarkDecorator:
    return pytest.mark.parametrize("isa", runnable(kind), ids=lambda isa: isa.name)


def planned(kind: str) -> plan.Plan:
    """Of a small network whose products are of floats, of halves or of integers."""
    net = schedule.read(Builder(0, 64).model(*WIDTHS))
    if kind == "half":
        net = replace(net, half=True)
    if kind == "integers":

        def rounded(pair: schedule.Pair) -> schedule.Pair:
            return replace(pair, integer=integers.none(*pair.weight.shape))

        encoder, decoder = (tuple(map(rounded, pairs)) for pairs in (net.encoder, net.decoder))
        mask = (*map(rounded, net.mask[:-2]), *net.mask[-2:])
        net = replace(net, encoder=encoder, decoder=decoder, mask=mask)
    return plan.make(net)


def context(isa: tiles.Isa, made: plan.Plan) -> dict[str, Any]:
    """What every template of a section is rendered with, but for its tiles."""
    seen: dict[str, Any] = {}

    def render(**given: Any) -> str:
        seen.update(given)
        return ""

    text.section(SimpleNamespace(get_template=lambda name: SimpleNamespace(render=render)), isa, made)
    return seen


def compiled(
    folder: Path, isa: tiles.Isa, *, template: str, calls: str, kind: str = "float", **about: Any
) -> ctypes.CDLL:
    """A library of ``calls``: ``CALL name(...) {...}`` for each, in terms of the kernels' macros."""
    made = planned(kind)
    packed = weights.pack(made)
    before, mark, _ = text.source(made, packed).partition("/* ---- Pictures")
    assert mark, "what precedes the first section is not where it was"
    header, given = text.header(made, packed, "fp32", embedded=False), context(isa, made) | about
    names = ["vector"] if template == "vector" else ["vector", template]
    rendered = [text.environment().get_template(f"kernels/{name}.c.j2").render(**given) for name in names]
    call = f"#define CALL __attribute__(({given['attribute'] or 'noinline'})) void"
    source = folder / f"{template}_{kind}_{isa.name}.c"
    source.write_text("\n".join([header, before.replace('#include "idn.h"', ""), *rendered, call, calls]))
    command, _ = engine.compiler()
    library = source.with_suffix(".so")
    options = PORTABLE if isa.name == "any" else ()
    subprocess.run([*command, *engine.FLAGS, "-w", *options, source, "-o", library], check=True)
    return ctypes.CDLL(str(library))


def libraries(folder: Path, kind: str = "float", **about: Any) -> dict[str, ctypes.CDLL]:
    """By instruction set."""
    return {isa.name: compiled(folder, isa, kind=kind, **about) for isa in runnable(kind)}


def aligned(array: np.ndarray) -> np.ndarray:
    """A copy that begins at a cache line, as in an arena."""
    held = engine._aligned(np.ascontiguousarray(array).tobytes())
    return held.view(array.dtype).reshape(array.shape)


def floats(array: np.ndarray) -> np.ndarray:
    return aligned(array.astype(np.float32))


def at(array: np.ndarray) -> ctypes.c_void_p:
    assert array.flags["C_CONTIGUOUS"]
    return ctypes.c_void_p(array.ctypes.data)


def rows(*arrays: np.ndarray) -> Any:
    """A C array of pointers to them."""
    return (ctypes.c_void_p * len(arrays))(*(array.ctypes.data for array in arrays))


__all__ = ["SLOPE"]
