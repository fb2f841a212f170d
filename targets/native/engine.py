"""The C as a shared library: compiled once into a cache, called through ctypes.

It stands alone (numpy, Python 3.9), so that it can travel to a device; see ``mfs_edge.target.Engine``
for what its methods promise. A library that was built elsewhere is taken from ``lib/`` in the folder,
see ``library_name``; else a C compiler here makes one: ``$CC``, gcc, clang, or the one in ``ziglang``.
"""

from __future__ import annotations

import ctypes
import hashlib
import importlib.util
import json
import os
import platform
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

ALIGNMENT = 64
FLAGS: tuple[str, ...] = ("-O3", "-std=gnu11", "-fPIC", "-shared")
# zig cc checks for undefined behaviour unless told otherwise, and compiles for this very processor, where gcc and clang
# compile for any of its kind. What is compiled is kept in a cache that another machine may come to use, and the C
# chooses its kernels at run time.
ZIG_FLAGS = ("-fno-sanitize=all", "-mcpu=baseline")
SOURCES = ("{}.c", "{}_pool.c")
HEADERS = ("{}.h", "{}_pool.h")
FURTHER = ("{}_frame.c", "{}_weights.c"), ("{}_frame.h",)  # where they are there
CPUS = {
    0: {"x86_64": "SSE2", "aarch64": "NEON"},
    1: {"x86_64": "AVX2", "aarch64": "NEON with dot products"},
    2: {"x86_64": "AVX-512", "aarch64": "NEON in float16"},
    3: {"x86_64": "AVX2 with VNNI"},
}
PLANES, RGB8, GRAY8 = 0, 1, 4


class _Model(ctypes.Structure):
    _fields_ = [
        ("shared", ctypes.c_void_p), ("identity", ctypes.c_void_p), ("base", ctypes.c_uint64), ("cpu", ctypes.c_int)
    ]  # fmt: skip


class _Image(ctypes.Structure):
    _fields_ = [("data", ctypes.c_void_p), ("stride", ctypes.c_size_t), ("format", ctypes.c_int)]


class _Frame(ctypes.Structure):
    _fields_ = [
        ("data", ctypes.c_void_p * 3), ("stride", ctypes.c_size_t * 3),
        ("width", ctypes.c_int), ("height", ctypes.c_int), ("format", ctypes.c_int), ("colour", ctypes.c_int),
    ]  # fmt: skip


class _Reader(ctypes.Structure):
    _fields_ = [("weights", ctypes.c_void_p), ("cpu", ctypes.c_int)]


class _Compiled:
    """What engines of both kinds have: the library, its weights, threads and an arena."""

    PACKAGE = "ziglang"  # where the system has no C compiler
    MODULES = ("ctypes",)
    title = "generated C"
    own = "idn"  # what its files and functions are called by
    model: Any

    def _load(self, folder: Path, threads: int, profile: bool) -> None:
        self.about: dict[str, Any] = json.loads((folder / f"{self.own}.json").read_text("utf-8"))
        file, self.version = library(folder)
        self.lib = ctypes.CDLL(str(file))
        self._call("error").restype = ctypes.c_char_p
        self._call("pool_new").restype = ctypes.c_void_p
        self.pool = self._call("pool_new")(threads or os.cpu_count() or 1)
        self.workers = self._call("pool_size")(ctypes.c_void_p(self.pool))
        plan = self.about["arena"]
        self.arena = _aligned(bytes(plan["shared"] + self.workers * plan["worker"]))
        self.profile, self.times, self.frames = profile, {}, 0  # type: ignore[var-annotated]

    def _call(self, name: str) -> Any:
        return getattr(self.lib, f"{self.own}_{name}")

    def _forced(self) -> None:
        """Another instruction set, for tests."""
        if forced := os.environ.get("MFS_EDGE_IDN_CPU"):
            self._check(self._call("set_cpu")(ctypes.byref(self.model), int(forced)))

    def __del__(self) -> None:
        if getattr(self, "pool", None):
            self._call("pool_free")(ctypes.c_void_p(self.pool))

    def _pictures(self) -> tuple[Any, ...]:
        """The arguments of ``run``."""
        raise NotImplementedError

    def infer(self) -> None:
        if self.profile:
            return self._by_stage()
        return self._check(self._call("run_parallel")(*self._pictures(), *self._spread()))

    def _spread(self) -> tuple[Any, ...]:
        """The last arguments of whatever may run on several threads."""
        calls = ctypes.cast(self._call("pool_parallel"), ctypes.c_void_p)
        return ctypes.c_int(self.workers), calls, ctypes.c_void_p(self.pool)

    def coverage(self) -> None:
        """Everything is compiled."""

    def layers(self) -> list[dict[str, Any]]:
        """By running the stages one by one."""
        return [
            {"name": name, "kind": "stage", "ms": 1000 * seconds / self.frames} for name, seconds in self.times.items()
        ]

    def execution(self) -> str:
        """What the library was told to use."""
        machine = platform.machine().lower().replace("amd64", "x86_64").replace("arm64", "aarch64")
        name = CPUS[self.model.cpu].get(machine, "the compiler's own vectors")
        return f"{self.about['precision']} on {name}, compiled by {self.version}"

    def cpus(self) -> list[int]:
        """The instruction sets that it can be told to use, see ``CPUS``; the best stays in use."""
        told, best = ctypes.byref(self.model), self.model.cpu
        found = [code for code in sorted(CPUS) if not self._call("set_cpu")(told, ctypes.c_int(code))]
        self._check(self._call("set_cpu")(told, ctypes.c_int(best)))
        return found

    def _by_stage(self) -> None:
        given, name = self._pictures(), ctypes.c_char_p()
        for stage in range(self.about["stages"]):
            started = time.perf_counter()
            self._check(self._call("run_stage")(*given, ctypes.c_int(stage), ctypes.byref(name)))
            spent = time.perf_counter() - started
            if self.frames:  # the first frame is not steady
                key = (name.value or b"").decode()
                self.times[key] = self.times.get(key, 0.0) + spent
        self.frames += 1

    def _check(self, status: int) -> None:
        if status:
            raise RuntimeError(self._call("error")(status).decode())


class Engine(_Compiled):
    """One model, one arena; ``threads`` - 1 helpers wait beside the caller. Of what enrols, an ``Enroller`` is made."""

    def __new__(cls, path: str, threads: int = 0, profile: bool = False) -> Any:
        if (Path(path) / f"{Enroller.own}.json").exists():
            return Enroller(path, threads, profile)
        return super().__new__(cls)

    def __init__(self, path: str, threads: int = 0, profile: bool = False) -> None:
        folder = Path(path)
        self._load(folder, threads, profile)
        self.weights = self._weights(folder)
        self.model = _Model()
        for name in ("identity_bytes", "expanded_bytes"):
            self._call(name).restype = ctypes.c_size_t
        self.kept = self.lib.idn_identity_bytes()
        self.memory = _aligned(bytes(self.lib.idn_expanded_bytes()))
        self.room = _sized(self.memory)
        self._check(self.lib.idn_open(ctypes.byref(self.model), *_sized(self.weights), *self.room))
        self._forced()
        size, self.bytes = self.about["size"], self.about["io"] == "uint8"
        shape = (1, size, size, 3) if self.bytes else (1, 3, size, size)
        self.inputs = {"image": (shape, "uint8" if self.bytes else "float32")}
        kind = np.uint8 if self.bytes else np.float32
        self.image = np.zeros(shape, kind)
        self.swapped = np.zeros(shape, kind)
        self.mask = np.zeros((1, size, size, 1) if self.bytes else (1, 1, size, size), kind)
        self.rooms: Any = None  # of whole frames

    def _weights(self, folder: Path) -> Any:
        """The bytes of the file, or what was compiled into the library."""
        if not self.about["embedded"]:
            return _aligned((folder / "idn.weights").read_bytes())
        size = self.about["weights"]
        return np.ctypeslib.as_array((ctypes.c_uint8 * size).in_dll(self.lib, "idn_weights"))

    def feed(self, feeds: dict[str, Any]) -> None:
        (self.image,) = (np.ascontiguousarray(value, self.image.dtype) for value in feeds.values())

    def fetch(self) -> dict[str, Any]:
        return {"swapped": self.swapped.copy(), "mask": self.mask.copy()}

    def swap_frame(self, pixels: Any, landmarks: Any) -> dict[str, float]:
        """Swap the face at ``landmarks`` in a whole frame, in place, by the parts of ``idn_swap_frame``.

        What :meth:`feed` was given and :meth:`fetch` gives stay as they are.

        Args:
            pixels: uint8 [H, W, 3] RGB, of 2 to 32766 px a side; rows may have gaps between them.
            landmarks: float64 [5, 2], pixels x, y: both eyes, the nose, both mouth corners, left to right.

        Returns:
            Milliseconds of "align", "network" and "paste".

        Raises:
            ValueError: the arrays are no such thing.
            RuntimeError: no face can be there; nothing was written.
        """
        frame, points = _frame(pixels), np.ascontiguousarray(landmarks, np.float64)
        if points.shape != (5, 2):
            raise ValueError(f"landmarks are {list(points.shape)}, not [5, 2]")
        matrix, (room, crop, mask), at = (ctypes.c_double * 6)(), self._frame_room(), ctypes.byref
        self._check(self.lib.idn_affine(at(frame), _at(points), matrix))
        placed, given = (at(self.model), at(frame), matrix), self._spread()
        return {
            "align": self._timed(self.lib.idn_align_parallel, *placed, at(crop), *given),
            "network": self._timed(
                self.lib.idn_run_parallel, at(self.model), at(crop), at(crop), at(mask), *_sized(self.arena), *given
            ),
            "paste": self._timed(self.lib.idn_paste_parallel, *placed, at(crop), at(mask), *_sized(room), *given),
        }

    def _frame_room(self) -> tuple[Any, _Image, _Image]:
        """What a frame needs besides the arena, made once: of the paste, for the crop and for the mask."""
        if self.rooms is None:
            size = self.about["size"]
            self.lib.idn_paste_bytes.restype = ctypes.c_size_t
            arrays = [_aligned(bytes(n)) for n in (self.lib.idn_paste_bytes(), 3 * size * size, 4 * size * size)]
            crop = _Image(arrays[1].ctypes.data, 3 * size, RGB8)
            self.rooms = (arrays, (arrays[0], crop, _Image(arrays[2].ctypes.data, 4 * size, PLANES)))
        return self.rooms[1]

    def _timed(self, function: Any, *arguments: Any) -> float:
        started = time.perf_counter_ns()
        self._check(function(*arguments))
        return (time.perf_counter_ns() - started) / 1e6

    def switch(self, contents: dict[str, bytes]) -> None:
        """The artefact with another identity in its weights; ``contents`` are its files, by their names."""
        (weights,) = (data for name, data in contents.items() if name.endswith("idn.weights"))
        size = min(self.kept, len(weights))
        self._set_identity(ctypes.c_char_p(weights), len(weights) - size, size)

    def set_identity(self, data: bytes) -> None:
        """Another identity of the same base, between two frames; the library keeps nothing of ``data``."""
        self._set_identity(ctypes.c_char_p(data), 0, len(data))

    def _set_identity(self, held: ctypes.c_char_p, start: int, size: int) -> None:
        """``held`` is where bytes begin; a switch is so short that numpy's way to an address would be most of it."""
        at = ctypes.c_void_p((ctypes.cast(held, ctypes.c_void_p).value or 0) + start)
        told = self.lib.idn_set_identity(ctypes.byref(self.model), at, ctypes.c_size_t(size), *self.room)
        self._check(told)

    def _pictures(self) -> tuple[Any, ...]:
        size, wide = self.about["size"], 1 if self.bytes else 4
        rgb = (RGB8, size * 3) if self.bytes else (PLANES, size * 4)
        gray = (GRAY8, size * wide) if self.bytes else (PLANES, size * wide)
        self.held = tuple(
            _Image(array.ctypes.data, stride, form)
            for array, (form, stride) in ((self.image, rgb), (self.swapped, rgb), (self.mask, gray))
        )
        return (
            ctypes.byref(self.model), *map(ctypes.byref, self.held), _at(self.arena), ctypes.c_size_t(self.arena.size)
        )  # fmt: skip


class Enroller(_Compiled):
    """The same of what reads identities: ``crop`` [1, 3, S, S] in, ``payload`` [N] out. It holds none to switch."""

    own = "enrol"

    def __init__(self, path: str, threads: int = 0, profile: bool = False) -> None:
        folder = Path(path)
        self._load(folder, threads, profile)
        self.weights, self.model = _mapped(folder / "enrol.weights"), _Reader()
        self._check(self.lib.enrol_open(ctypes.byref(self.model), *_sized(self.weights)))
        self._forced()
        size, (gives,) = self.about["size"], self.about["gives"]
        self.inputs = {"crop": ((1, 3, size, size), "float32")}
        self.crop = np.zeros((1, 3, size, size), np.float32)
        self.payload = np.zeros(gives["shape"], gives["dtype"])

    def feed(self, feeds: dict[str, Any]) -> None:
        (self.crop,) = (np.ascontiguousarray(value, np.float32) for value in feeds.values())

    def fetch(self) -> dict[str, Any]:
        return {"payload": self.payload.copy()}

    def _pictures(self) -> tuple[Any, ...]:
        self.held = _Image(self.crop.ctypes.data, 4 * self.about["size"], PLANES)
        return ctypes.byref(self.model), ctypes.byref(self.held), *_sized(self.payload), *_sized(self.arena)


def library(folder: Path) -> tuple[Path, str]:
    """The shared library for ``folder``, and what compiled it.

    Raises:
        ImportError: there is none for this machine, and no compiler to make one.
        RuntimeError: the compiler refuses the source; with its words.
    """
    built = folder / "lib" / library_name()
    if built.exists():
        return built, "a compiler elsewhere"
    command, name = compiler()
    return compiled(folder, command, name, suffix=Path(library_name()).suffix), name


def compiled(folder: Path, command: list[str], name: str, *, suffix: str) -> Path:
    """The library that ``command``, of the version ``name``, makes of ``folder``, in the cache.

    Raises:
        RuntimeError: the compiler refuses the source, or cannot be started; with its words.
    """
    own = Enroller.own if (folder / f"{Enroller.own}.json").exists() else Engine.own
    sources, headers = (
        [name.format(own) for name in always]
        + [found for name in perhaps if (folder / (found := name.format(own))).exists()]
        for always, perhaps in zip((SOURCES, HEADERS), FURTHER)  # noqa: B905  # Python 3.9
    )
    source = [(folder / name).read_bytes() for name in (*sources, *headers)]
    key = hashlib.sha256(b"\0".join([*source, " ".join([*command, *FLAGS]).encode(), name.encode()])).hexdigest()[:24]
    place = cache() / f"{key}{suffix}"
    if not place.exists():
        place.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=place.parent) as room:
            made = Path(room, place.name)
            run_compiler([*command, *FLAGS, *(str(folder / name) for name in sources), "-o", str(made), "-lpthread"])
            made.replace(place)
    return place


def library_name(system: str = "", machine: str = "") -> str:
    """Such as ``idn-linux-x86_64.so``, for this machine or for another."""
    system = (system or platform.system()).lower()
    machine = (machine or platform.machine()).lower().replace("amd64", "x86_64").replace("arm64", "aarch64")
    return f"idn-{system}-{machine}{ {'darwin': '.dylib', 'windows': '.dll'}.get(system, '.so') }"


def compiler() -> tuple[list[str], str]:
    """The command of a C compiler, and its name and version.

    Raises:
        ImportError: there is none.
    """
    given = shlex.split(os.environ.get("CC", ""))
    for command in [given] if given else [["gcc"], ["clang"], ["cc"]]:
        if shutil.which(command[0]):
            return command, _first_line([*command, "--version"])
    if given:
        raise ImportError(f"$CC names {given[0]}, which is not found; name another, or unset it")
    if importlib.util.find_spec("ziglang"):
        command = [sys.executable, "-m", "ziglang", "cc"]
        return [*command, *ZIG_FLAGS], f"zig {_first_line([sys.executable, '-m', 'ziglang', 'version'])}"
    raise ImportError("no gcc, clang or cc is found, and ziglang is not installed")


def cache() -> Path:
    """Where libraries are kept: the user's cache, or ``$MFS_EDGE_CACHE``."""
    if given := os.environ.get("MFS_EDGE_CACHE"):
        return Path(given, "native")
    home = os.environ.get("LOCALAPPDATA") if os.name == "nt" else os.environ.get("XDG_CACHE_HOME")
    return Path(home or Path.home() / ".cache", "mfs-edge", "native")


def run_compiler(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    if done.returncode:
        words = [line for line in done.stderr.splitlines() if "error" in line] or done.stderr.splitlines()[-1:]
        raise RuntimeError(f"{command[0]}: {words[0] if words else 'no message'}")


def _first_line(command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    return (done.stdout or done.stderr).splitlines()[0] if done.returncode == 0 else "unknown"


def _aligned(data: bytes) -> Any:
    """``data`` in memory that begins at a multiple of ALIGNMENT."""
    room = np.zeros(len(data) + ALIGNMENT, np.uint8)
    start = -room.ctypes.data % ALIGNMENT
    room[start : start + len(data)] = np.frombuffer(data, np.uint8)
    return room[start : start + len(data)]


def _mapped(file: Path) -> Any:
    """The bytes of ``file``, read as they are needed; pages are aligned."""
    return np.memmap(file, np.uint8, "r")


def _at(array: Any) -> ctypes.c_void_p:
    return ctypes.c_void_p(array.ctypes.data)


def _frame(pixels: Any) -> _Frame:
    """How the C is told of it."""
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3 or pixels.strides[1:] != (3, 1):
        told = f"{pixels.dtype} {list(pixels.shape)} with strides {pixels.strides}"
        raise ValueError(f"a frame is uint8 [H, W, 3] RGB, each row in one piece, not {told}")
    if not pixels.flags.writeable or pixels.strides[0] < 0:
        raise ValueError("a frame is swapped in place, from its first row down; give a copy of it")
    height, width, _ = pixels.shape
    stride = pixels.strides[0] if height > 1 else 3 * width
    return _Frame((pixels.ctypes.data, None, None), (stride, 0, 0), width, height, RGB8, 0)


def _sized(array: Any) -> tuple[ctypes.c_void_p, ctypes.c_size_t]:
    return _at(array), ctypes.c_size_t(array.nbytes)
