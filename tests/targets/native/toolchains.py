"""Compile a folder of generated C with a program of the tests, for this machine or another, and run it."""

from __future__ import annotations

import functools
import platform
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

HARNESS = Path(__file__).parent / "harness"
ZIG = (sys.executable, "-m", "ziglang", "cc", "-fno-sanitize=all")
FLAGS = ("-std=c11", "-O3")
QUICK = ("-std=c11", "-O1")  # takes half as long; for what is not about speed


def compile_c(
    folder: Path,
    program: str,
    into: Path,
    *,
    compiler: Sequence[str] = ZIG,
    flags: Sequence[str] = FLAGS,
    pool: bool = False,
    frame: Sequence[str] | None = None,
    own: str = "idn",
    more: Sequence[str] = (),
) -> Path:
    """``program`` of the harness with the C in ``folder``, linked as ``into``; warnings are errors.

    Args:
        pool: with ``idn_pool.c``, too.
        frame: with ``idn_frame.c``, too, which is compiled with these flags besides.
        own: what the files are called by.
        more: flags for the C alone.
    """
    command = (*compiler, *flags, "-Wall", "-Wextra", "-Werror", f"-I{folder}")
    parts = [str(_object((*command, *more), folder / f"{own}.c")), str(HARNESS / program)]
    if frame is not None:
        parts += [str(_object((*command, *frame), folder / "idn_frame.c"))]
    if pool:
        parts += [str(_object(command, folder / f"{own}_pool.c")), "-lpthread"]
    call([*command, *parts, "-lm", "-o", str(into)])
    return into


@functools.cache
def _object(command: tuple[str, ...], source: Path) -> Path:
    """``source`` compiled, once."""
    into = source.parent.with_name(f"{source.stem}-{abs(hash((command, source)))}.o")
    call([*command, "-c", str(source), "-o", str(into)])
    return into


def call(command: Sequence[str], *, code: int = 0, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run it; it must end with ``code``."""
    environment = {"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": str(Path.home()), **variables}
    done = subprocess.run(
        list(map(str, command)),
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
        env=environment,
        timeout=900,
    )
    assert done.returncode == code, (
        f"{command[:4]}: exit code {done.returncode}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
    )
    return done


def has_avx512() -> bool:
    flags = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    return all(f" {name} " in flags for name in ("avx512f", "avx512dq", "avx512bw", "avx512vl"))


def is_x86() -> bool:
    return platform.machine().lower() in ("x86_64", "amd64")


def outputs(path: Path, size: int) -> tuple[np.ndarray, np.ndarray]:
    """What ``frames`` wrote: swapped [3, S, S] and mask [1, S, S]."""
    planes = np.fromfile(path, np.float32).reshape(4, size, size)
    return planes[:3], planes[3:]


def wasm(module: Path, folder: Path, *arguments: str, deterministic: bool = False) -> str:
    """Run a WASI command in ``folder`` by wasmtime; what it printed.

    Raises:
        wasmtime.ExitTrap, wasmtime.Trap: it ended in another way than well.
    """
    import wasmtime

    config = wasmtime.Config()
    config.wasm_relaxed_simd = True
    config.wasm_relaxed_simd_deterministic = deterministic
    engine = wasmtime.Engine(config)
    store, wasi, linker = wasmtime.Store(engine), wasmtime.WasiConfig(), wasmtime.Linker(engine)
    wasi.argv = [module.name, *arguments]
    wasi.preopen_dir(str(folder), ".")
    wasi.stdout_file = str(folder / "stdout")
    wasi.stderr_file = str(folder / "stderr")
    store.set_wasi(wasi)
    linker.define_wasi()
    start = linker.instantiate(store, wasmtime.Module.from_file(engine, str(module))).exports(store)["_start"]
    try:
        start(store)
    except wasmtime.ExitTrap as ended:
        code = ended.code
    else:
        code = 0
    assert code == 0, (folder / "stderr").read_text()
    return (folder / "stdout").read_text()


def emulator(name: str) -> str:
    """QEMU's emulator of one processor."""
    found = shutil.which(f"qemu-{name}")
    assert found is not None, "setup_tools.sh has not installed qemu-user"
    return found


def own_headers() -> tuple[str, str]:
    """Flags for the compiler's own headers (stddef.h, arm_neon.h), which no system brings."""
    import ziglang

    return ("-isystem", str(Path(str(ziglang.__file__)).parent / "lib" / "include"))
