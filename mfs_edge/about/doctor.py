"""What works here, and what each target can therefore do.

A name that is found proves little: a library may be too old, or broken. So what is used is tried,
each module in a process of its own, which keeps this one light and survives whatever happens there.
"""

from __future__ import annotations

import contextlib
import platform
import subprocess
import sys
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib import metadata

from mfs_edge import target
from mfs_edge.base import extras
from mfs_edge.base.version import __version__
from mfs_edge.measure import devices
from mfs_edge.options import Option

MISSING = "missing"
PATIENCE = 120.0  # s, for one module
# What compiling needs to whatever target, as it is used. torch is big: that it is there must do, unless asked for.
COMPILER = {
    "torch": "",
    "onnx": "import onnx.checker, onnx.helper",
    "onnx_ir": "import onnx_ir.passes.common as passes; passes.ShapeInferencePass, passes.RemoveUnusedNodesPass",
    "onnxruntime": 'import onnxruntime as o; o.SessionOptions(); "CPUExecutionProvider" in o.get_available_providers()',
    "cv2": "import mfs_edge.base.images as images; images.self_test()",
    "safetensors": "from safetensors.numpy import load, save; load(save({}))",
}
OTHERS = {  # what only some commands need
    "platformdirs": "platformdirs.user_cache_dir",
    "joblib": "joblib.Parallel(2, backend='threading')(joblib.delayed(abs)(-n) for n in range(2))",
    "distributed": "distributed.LocalCluster",
    "cryptography": "from mfs_edge.swap import certificate; certificate.self_made()",
    "c2pa": "from mfs_edge.swap import provenance; provenance.Signer.of()",
    "jinja2": "jinja2.Environment(autoescape=True).from_string('{{ 1 }}').render()",
    "av": "av.Codec('libx264', 'w'), av.Codec('libvpx-vp9', 'w')",
    "pyrage": "k = pyrage.x25519.Identity.generate(); pyrage.decrypt(pyrage.encrypt(b'', [k.to_public()]), [k])",
}


@dataclass(frozen=True)
class TargetReport:
    """One target on this machine."""

    name: str
    title: str
    emits: bool
    runs: bool
    precisions: tuple[str, ...]
    io_forms: tuple[str, ...]
    options: tuple[Option, ...]  # of its own, for --set
    versions: dict[str, str]
    remedy: str  # empty if all is well


@dataclass(frozen=True)
class Diagnosis:
    """This machine.

    Attributes:
        compiler: module -> version, or "missing".
        problems: a line for each module that is installed and does not work, or not well, with the way out.
        devices: what ``bench --device`` calls them -> whether they can be had; only those that must be built first.
    """

    version: str
    python: str
    platform: str
    compiler: dict[str, str]
    compiles: bool
    targets: tuple[TargetReport, ...]
    devices: dict[str, devices.Availability]
    problems: tuple[str, ...]


def diagnose(*, thorough: bool = False) -> Diagnosis:
    """Try what is installed; nothing heavy is imported into this process.

    Args:
        thorough: torch, too.
    """
    kinds = target.registered().values()
    needs = {module: "" for kind in kinds for module in (*kind.emit_needs, *kind.run_needs)}
    known = needs | COMPILER | OTHERS
    uses = known | {module: code for kind in kinds for module, code in getattr(kind, "uses", {}).items()}
    broken = _broken({module: code for module, code in uses.items() if thorough or module != "torch"})
    compiler = {module: _version(module) for module in COMPILER}
    compiles = MISSING not in compiler.values() and broken.keys().isdisjoint(compiler)
    return Diagnosis(
        version=__version__,
        python=platform.python_version(),
        platform=f"{platform.system()} {platform.machine()}",
        compiler=compiler,
        compiles=compiles,
        targets=tuple(_report(kind, broken, compiles) for kind in kinds),
        devices=devices.availability(),
        problems=(*broken.values(), *(caution for kind in kinds for caution in kind.cautions())),
    )


def _broken(uses: Mapping[str, str]) -> dict[str, str]:
    """Of the modules that are installed, those that cannot be used, with what to say of them."""
    installed = [module for module in uses if extras.available(module)]
    with ThreadPoolExecutor() as pool:
        found = dict(zip(installed, pool.map(lambda module: _try(module, uses[module]), installed), strict=True))
    return {
        module: f"{module} {_version(module)} does not work here ({reason}); "
        f"pip install --upgrade {extras.distribution(module)}"
        for module, reason in found.items()
        if reason
    }


def _try(module: str, code: str) -> str:
    """Why ``code`` fails in a fresh process; empty if it does not."""
    # Converters import torch where they find it, and nothing of theirs that is used here needs it.
    hidden = "" if module == "torch" else "import sys; sys.modules['torch'] = None\n"
    command = [sys.executable, "-c", f"{hidden}import {module}\n{code}"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    if done.returncode == 0:
        return ""
    return (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1][:200]


def _report(kind: target.Target, broken: Mapping[str, str], compiles: bool) -> TargetReport:
    def lacks(needs: Iterable[str]) -> bool:
        return any(module in broken or not extras.available(module) for module in needs)

    reason = kind.unrunnable()
    emits, runs = compiles and not lacks(kind.emit_needs), not lacks(kind.run_needs) and reason is None
    remedies = [] if emits else [f"pip install 'mfs-edge[{kind.extra}]'"]
    if lacks(kind.run_needs):
        remedies.append(f"to run only: pip install {' '.join(map(extras.distribution, kind.run_needs))}")
    return TargetReport(
        name=kind.name,
        title=kind.title,
        emits=emits,
        runs=runs,
        precisions=tuple(kind.precisions),
        io_forms=tuple(kind.io_forms),
        options=target.options_of(kind),
        versions={module: _version(module) for module in dict.fromkeys((*kind.emit_needs, *kind.run_needs))},
        remedy="; ".join(remedies) or reason or "",
    )


def _version(module: str) -> str:
    if not extras.available(module):
        return MISSING
    for distribution in (extras.distribution(module), module, "opencv-python"):
        with contextlib.suppress(metadata.PackageNotFoundError):
            return metadata.version(distribution)
    return "installed"
