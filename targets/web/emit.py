"""The graph as a folder of WebAssembly: the C of target c, compiled twice, and the page."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from mfs_edge.base.errors import LoweringError, MissingDependency
from mfs_edge.target import EmitOptions

from ..native import emit as native
from ..native import read, text
from . import page
from .read import MODULES

if TYPE_CHECKING:
    import onnx_ir as ir

SHIM = Path(__file__).with_name("module.c")
# No C library and no start function; nothing of where it was compiled is left in it.
FLAGS: tuple[str, ...] = (
    "-std=c11", "-O3", "-s", "-fno-sanitize=all", "-target", "wasm32-freestanding", "-nostdlib", "-Wl,--no-entry",
    "-mbulk-memory", "-msimd128",
)  # fmt: skip
SIMD: dict[str, tuple[str, ...]] = dict(zip(MODULES, ((), ("-mrelaxed-simd",)), strict=True))


def write(model: ir.Model, path: Path, options: EmitOptions) -> None:
    """Write ``model`` as the folder ``path``.

    Raises:
        LoweringError: a node has no place in the C, or the compiler refuses it.
        MissingDependency: jinja2 or ziglang is not installed.
    """
    planned, packed = native.prepared(model, options.precision)
    code = {
        "idn.h": text.header(planned, packed, options.precision, embedded=False).encode(),
        "idn.c": text.source(planned, packed).encode(),
        SHIM.name: SHIM.read_bytes(),
    }
    made = {**page.files(), **modules(code, options.precision), native.WEIGHTS: packed.dumps()}
    made[read.INDEX] = native.index(model, planned, packed, options, made, embedded=False)
    path.mkdir()
    for name, content in made.items():
        (path / name).parent.mkdir(exist_ok=True)
        (path / name).write_bytes(content)


def modules(code: dict[str, bytes], precision: str) -> dict[str, bytes]:
    """Each module, from the C.

    Raises:
        LoweringError: the compiler refuses it; with its words.
        MissingDependency: ziglang is not installed.
    """
    if importlib.util.find_spec("ziglang") is None:
        raise MissingDependency("target web needs ziglang; install it with: pip install 'mfs-edge[web]'")
    with tempfile.TemporaryDirectory() as room:
        for name, content in code.items():
            Path(room, name).write_bytes(content)
        sources = [name for name in code if name.endswith(".c")]
        told = f'-DPRECISION="{precision}"'
        with ThreadPoolExecutor(len(SIMD)) as pool:
            running = [
                pool.submit(_compile, [*FLAGS, told, *flags, *sources, "-o", name], room)
                for name, flags in SIMD.items()
            ]
            for each in running:
                each.result()
        return {module: Path(room, module).read_bytes() for module in SIMD}


def _compile(arguments: list[str], room: str) -> None:
    command = [sys.executable, "-m", "ziglang", "cc", *arguments]
    done = subprocess.run(command, cwd=room, capture_output=True, text=True, errors="replace", check=False)
    if done.returncode:
        words = [line for line in done.stderr.splitlines() if "error" in line] or done.stderr.splitlines()[-1:]
        raise LoweringError(f"target web: its C does not compile ({words[0] if words else 'no message'})")
