"""One kernel template, rendered for one instruction set, compiled, and called through ctypes."""

from __future__ import annotations

import ctypes
import platform
import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from mfs_edge.targets.native import engine, plan, schedule, text, tiles, weights

from mfs_edge.fold import FoldedIDN
from mfs_edge.graph import build, passes

# The portable section, which a processor of another kind would compile, runs anywhere.
PORTABLE = ("-ffreestanding", "-U__x86_64__", "-U__aarch64__")
NEEDS = {
    "x86_64": {"avx512": {"avx512f", "avx512bw", "avx512dq", "avx512vl"}, "avx2": {"avx2", "fma"}, "sse2": set[str]()},
    "aarch64": {"neon": set[str]()},
}
SLOPE = 0.1


def runnable() -> list[tiles.Isa]:
    """The instruction sets of this processor, and the portable one."""
    told = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    flags = {flag for line in told.splitlines() if line.startswith("flags") for flag in line.split()}
    needs = NEEDS.get(platform.machine().lower().replace("amd64", "x86_64").replace("arm64", "aarch64"), {})
    return [isa for isa in tiles.ISAS if isa.name == "any" or (isa.name in needs and needs[isa.name] <= flags)]


every_isa = pytest.mark.parametrize("isa", runnable(), ids=lambda isa: isa.name)


def prelude(folded: FoldedIDN) -> str:
    """What stands before the first section of every idn.c: types, and macros."""
    planned = plan.make(schedule.read(passes.optimise(build.build(folded.weights(), size=32))))
    packed = weights.pack(planned)
    made, mark, _ = text.source(planned, packed).partition("/* ---- Pictures")
    assert mark
    return text.header(planned, packed, "fp32", embedded=False) + made.replace('#include "idn.h"', "")


def compiled(folder: Path, isa: tiles.Isa, *, before: str, template: str, calls: str, **about: Any) -> ctypes.CDLL:
    """A library of ``calls``: ``CALL name(...) {...}`` for each, in terms of the kernels' macros."""
    made = text.environment()
    names = ["vector"] if template == "vector" else ["vector", template]
    rendered = [made.get_template(f"kernels/{name}.c.j2").render(isa=isa, **about) for name in names]
    source = folder / f"{template}_{isa.name}.c"
    source.write_text(
        "\n".join([before, *rendered, f"#define CALL __attribute__(({isa.attribute or 'noinline'})) void", calls])
    )
    command, _ = engine.compiler()
    kind = PORTABLE if isa.name == "any" else ()
    library = source.with_suffix(".so")
    subprocess.run([*command, *engine.FLAGS, "-w", *kind, source, "-o", library], check=True)
    return ctypes.CDLL(str(library))


def floats(array: np.ndarray) -> np.ndarray:
    """As float32 that begins at a cache line, as in an arena."""
    held = engine._aligned(np.ascontiguousarray(array, np.float32).tobytes())
    return held.view(np.float32).reshape(array.shape)


def at(array: np.ndarray) -> ctypes.c_void_p:
    assert array.flags["C_CONTIGUOUS"]
    return ctypes.c_void_p(array.ctypes.data)


def rows(*arrays: np.ndarray) -> Any:
    """A C array of pointers to them."""
    return (ctypes.c_void_p * len(arrays))(*(array.ctypes.data for array in arrays))


def widths(**blocks: tuple[int, ...]) -> SimpleNamespace:
    """A network of weights of these shapes, as templates look at it."""

    def block(name: str, shape: tuple[int, ...]) -> SimpleNamespace:
        return SimpleNamespace(name=name, weight=np.zeros(shape))

    made = {name: block(name, shape) for name, shape in blocks.items()}
    return SimpleNamespace(
        mask=[made["mask"]], mask_out=made["mask_out"], face=[made["face_0"], made["face_1"]], slope=SLOPE
    )
