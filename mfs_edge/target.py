"""What a backend is, and the registry that finds them.

A backend is a subclass of :class:`Target` registered under the entry-point group
``mfs_edge.targets``; a third party can ship one more, and it is compiled, verified, inspected and
benched like ours. Importing its module must be cheap: runtimes and converters are imported inside
methods, readers and engines stand in files of their own.
"""

from __future__ import annotations

import abc
import importlib
import importlib.metadata
import platform
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Protocol

from mfs_edge.base import cpus, damage, extras, files, frames, quiet, runs
from mfs_edge.base.artefact import Artefact
from mfs_edge.base.errors import InputError, MissingDependency, UsageError, nearest
from mfs_edge.base.fidelity import Outputs, Swapper
from mfs_edge.base.reasons import reason_of
from mfs_edge.base.runs import Derived, Run
from mfs_edge.options import Option, TargetOptions
from mfs_edge.program import IntegerTensor, Program, sound

if TYPE_CHECKING:
    import numpy as np
    import onnx_ir as ir

GROUP = "mfs_edge.targets"
PRECISIONS = ("fp32", "fp16", "int8", "int8-mixed")
NICKNAMES = {"Darwin": "macOS"}


SWAP, ENROL = "swap", "enrol"
CROP, PAYLOAD = "crop", "payload"  # what an enrolment takes and gives


@dataclass(frozen=True)
class EmitOptions:
    """What a backend is asked for.

    A graph that swaps computes in ``precision``, as far as the target does; one that enrols keeps
    only its weights in it, and computes in float32.
    """

    precision: str = "fp32"
    io: str = "float32"
    metadata: Mapping[str, str] = field(default_factory=dict)  # written into the file
    own: TargetOptions | None = None  # of the target's ``options``, resolved; None takes its defaults
    task: str = SWAP  # or ENROL


@dataclass(frozen=True)
class Machine:
    """What another machine is, as its Python says."""

    system: str  # as platform.system() calls it
    machine: str  # as platform.machine() does
    bits: int = 64  # of an address
    libc: str = "glibc"  # as platform.libc_ver() calls it; empty for any other


class Engine(Protocol):
    """A target's runtime: the one place where it is imported, configured and called.

    A class called ``Engine`` in a file that stands alone (numpy and the runtime, Python 3.9), so
    that it can travel to a device. What verifies, measures or swaps uses this same class, so that no
    speed is quoted for arithmetic that nobody checked. Its constructor raises ImportError where
    the runtime is missing, and anything else where the file cannot be loaded.
    """

    PACKAGE: str  # what pip calls the runtime
    MODULES: tuple[str, ...]  # any one of them will do
    title: str  # the runtime, for people
    version: str
    inputs: Mapping[str, tuple[tuple[int, ...], str]]  # name -> shape, numpy's name of the type

    def __init__(self, path: str, threads: int = 0, profile: bool = False) -> None:
        """Load the file; 0 threads is the runtime's own choice, a profiled session may be slower."""

    def feed(self, feeds: dict[str, np.ndarray]) -> None:
        """Set the inputs of the next frames, of the shapes and types in ``inputs``: [1, 3, S, S] or [1, S, S, 3]."""
        ...

    def infer(self) -> None:
        """One frame."""
        ...

    def fetch(self) -> dict[str, np.ndarray]:
        """The last frame's outputs as the file has them, [1, C, S, S] or [1, S, S, C]; arrays that stay as they are."""
        ...

    def switch(self, contents: dict[str, bytes]) -> None:
        """Another identity of the same base, between two frames; what was fed stays fed.

        An engine that cannot has no such method: whoever needs it asks, and says so.

        Args:
            contents: the artefact's files with that identity in them, by their names in its folder, as of
                :meth:`Target.contents`; a runtime may keep them.
        """
        ...

    def swap_frame(self, pixels: np.ndarray, landmarks: np.ndarray) -> dict[str, float]:
        """Swap the face at ``landmarks`` in a whole frame, in place; what was fed and fetched stays.

        An engine that takes aligned crops only has no such method: whoever needs it cuts and pastes by itself.

        Args:
            pixels: uint8 [H, W, 3] RGB, its rows in one piece each.
            landmarks: float64 [5, 2], pixels x, y: both eyes, the nose, both mouth corners, left to right.

        Returns:
            Milliseconds of "align", "network" and "paste".

        Raises:
            RuntimeError: no face can be there; says why, and nothing was written.
        """
        ...

    def coverage(self) -> dict[str, Any] | None:
        """What a delegate took (see ``measure.observed.Coverage``); None where there is none."""
        ...

    def layers(self) -> list[dict[str, Any]]:
        """``name``, ``kind`` and ``ms`` per frame of every kernel, of a profiled session; or nothing."""
        ...

    def execution(self) -> str:
        """What computes on which type, in one line; of a profiled session that has run a frame."""
        ...


class Runner(Swapper, Protocol):
    """Something that runs an artefact."""

    def execution(self) -> str:
        """What it makes of it, in one line: what computes on which type."""
        ...


class Target(abc.ABC):
    """One backend. A subclass says what it is, and how its files are written and read.

    Its ``engine`` is the name of the module that runs them, see :class:`Engine`.
    """

    name: str  # as in --target
    title: str
    suffix: str  # of its artefact, with the dot
    extra: str  # the pip extra that brings what it needs
    engine: str
    emit_needs: tuple[str, ...]  # modules
    run_needs: tuple[str, ...]
    precisions: tuple[str, ...]
    io_forms: tuple[str, ...]
    default_precision: str
    default_io: str
    systems: tuple[str, ...] = ()  # where its runtime exists, as platform.system() calls them; all if empty
    oldest: Mapping[str, str] = MappingProxyType({})  # precision -> the oldest runtime that has run its files
    products: bool = False  # whether its int8 rounds only what products of matrices read, and no result
    companions: tuple[str, ...] = ()  # suffixes of what lies beside an artefact, where it is several files
    options: type[TargetOptions] = TargetOptions
    packs: bool = False  # whether another identity can be put into its files, see ``runs`` and ``derived``
    enrolment: tuple[str, ...] = ()  # precisions of the graphs that read an identity, see mfs_edge.enrolment
    script: str = ""  # where browsers run it: a module in its folder that measures, see measure/devices/browser.js
    compiled: bool = False  # a machine needs what ``built`` makes for it, and no package of the engine's

    def check(self, options: EmitOptions) -> None:
        """Raises UsageError if it cannot emit what ``options`` ask for."""
        asked = {"precision": (options.precision, self.precisions), "io": (options.io, self.io_forms)}
        for option, (value, offered) in asked.items():
            if value not in offered:
                raise UsageError(f"target {self.name} has no --{option} {value}; it offers {', '.join(offered)}")

    def unrunnable(self) -> str | None:
        """Why no artefact of this kind can run on this machine; None if it can."""
        if not self.systems or platform.system() in self.systems:
            return None
        return f"not run: needs {' or '.join(NICKNAMES.get(name, name) for name in self.systems)}"

    def oldest_runtime(self, options: EmitOptions) -> str:
        """The oldest runtime that has run files written with ``options``, by name and version; empty if unknown."""
        return self.oldest.get(options.precision, "")

    @abc.abstractmethod
    def emit(self, model: ir.Model, path: Path, options: EmitOptions) -> None:
        """Write ``model`` to ``path`` (its companions beside it).

        Raises:
            LoweringError: a node cannot be expressed in this format.
        """

    def read(self, path: Path) -> Program:
        """What the file holds, by ``read(path)`` of the module ``read`` beside the engine, on the base install.

        Its steps are in an order in which they can run, and refer to nothing that is not there.

        Raises:
            InputError: the file is damaged or foreign; also later, from the program's ``quantised``.
        """
        module = importlib.import_module(f"{self.engine.rpartition('.')[0]}.read")
        with damage.told_of(path, self.title):
            found: Program = module.read(path)
            found = sound(replace(found, file=path))

        def quantised() -> list[IntegerTensor]:
            with damage.told_of(path, self.title):
                return list(found.quantised())

        return replace(found, quantised=quantised)

    def beside(self, path: Path) -> tuple[str, ...]:
        """What else belongs to the artefact at ``path``: paths relative to its folder, with forward slashes.

        Raises:
            InputError: the file names something that is missing.
        """
        return Artefact.at(path, self.companions).companions

    def vouch(self, path: Path) -> Program:
        """What the file holds; asked before it is handed to its engine, here or on a device.

        A runtime interprets what it is given, so that reading it is enough. A target whose engine compiles or
        calls what came with the file makes sure of that, too.

        Raises:
            InputError: as of :meth:`read`, or running the file would run a stranger's code.
        """
        return self.read(path)

    def built(self, path: Path, machine: Machine) -> dict[str, bytes]:
        """Files that another machine needs beside the artefact, made here: path in the artefact's folder -> content.

        Raises:
            InputError: making them would run code that came with the file.
            MissingDependency: what makes them is not installed, or cannot make them for such a machine.
        """
        return {}

    def runs(self, path: Path, owned: Mapping[str, np.ndarray]) -> tuple[Run, ...]:
        """Where the arrays of an identity stand in the artefact at ``path``; nothing for a form that takes no packs.

        Args:
            path: of what was emitted for that identity.
            owned: name -> float32, float16 or int8 array, in ONNX's layout: [C, 1, k, k] or [O, I, 1, 1].

        Raises:
            LoweringError: one is not found, or at several places.
        """
        return runs.search(self.contents(path), owned)

    def derived(self, path: Path, contents: Mapping[str, bytes]) -> tuple[Derived, ...]:
        """What follows from an artefact's other bytes and is stored in it, such as checksums; for ``packs``.

        Args:
            path: the artefact, for its name.
            contents: its files, as of :meth:`contents`; these bytes count, not what is on the disk.

        Returns:
            The right values, always at the same places.
        """
        return ()

    def contents(self, path: Path) -> dict[str, bytes]:
        """Every file of the artefact: its name in the artefact's folder, with forward slashes -> its bytes."""
        members = artefact_of(self, path).members
        return {file.relative_to(path.parent).as_posix(): file.read_bytes() for file in members}

    def remarks(self, program: Program) -> list[str]:
        """What a user must be told of a file that was written; for its manifest."""
        return []

    def cautions(self) -> list[str]:
        """What a user must be told of the runtime that is installed here, with the way out; for ``doctor``."""
        return []

    def evaluator(self, path: Path) -> Runner | None:
        """Executes the file without its runtime, where that cannot run here; None if there is no such thing.

        Raises:
            InputError: the file contradicts itself or its format's specification.
        """
        return None

    def load(self, path: Path, *, threads: int | None = None) -> Loaded:
        """The artefact in its engine.

        Raises:
            InputError: the file is damaged or foreign, or its runtime refuses it.
            MissingDependency: no runtime is installed, or none can run here.
        """
        return Loaded(self, path, threads=threads or cpus.limit())


class Loaded:
    """An artefact in its engine, fed with pictures."""

    def __init__(self, target: Target, path: Path, *, threads: int = 0) -> None:
        self.target, self.path = target, files.require_text(path)
        self.program = target.vouch(path)  # before any runtime sees the file
        if reason := target.unrunnable():
            raise MissingDependency(f"{path}: {reason}; copy it to such a machine and run the same command there")
        self.engine = self._engine(threads)
        (self.input,) = self.engine.inputs.items()

    def _engine(self, threads: int, *, profile: bool = False) -> Engine:
        kind: type[Engine] = importlib.import_module(self.target.engine).Engine
        try:
            with quiet.without_info_lines():
                return kind(str(self.path), threads, profile)
        except ImportError as error:
            how = f"pip install 'mfs-edge[{self.target.extra}]'"
            raise MissingDependency(
                f"running a {self.target.suffix} needs {kind.PACKAGE} ({reason_of(error)}); install it with: {how}"
            ) from error
        except Exception as error:  # the runtimes' exceptions share no base
            if refused := files.temporary_refused(error):
                raise refused from error
            raise InputError(
                f"{self.path}: {kind.title} cannot load it ({reason_of(error)}); compile it again, or update it"
            ) from error

    def run(self, image: np.ndarray) -> Outputs:
        """One frame, float32 [1, 3, S, S] in 0..1; see ``Swapper``."""
        name, (shape, dtype) = self.input
        try:
            self.engine.feed({name: frames.as_taken(image, shape, dtype)})
        except ValueError as error:
            raise InputError(str(error)) from error
        self._infer(self.engine)
        return frames.as_told(self.engine.fetch())

    def enrol(self, crop: np.ndarray) -> np.ndarray:
        """A pack's payload [N], of what the file gives, from an aligned crop, float32 [1, 3, 224, 224] in 0..1.

        Raises:
            InputError: the file takes another picture, or gives something else.
        """
        name, (shape, dtype) = self.input
        try:
            self.engine.feed({name: frames.as_taken(crop, shape, dtype)})
        except ValueError as error:
            raise InputError(f"{self.path}: {error}") from error
        self._infer(self.engine)
        given = self.engine.fetch()
        if given.keys() != {PAYLOAD}:
            raise InputError(f"{self.path}: gives {', '.join(given)}, not a {PAYLOAD}; give a file of mfs-edge enrol")
        return given[PAYLOAD].ravel()

    def _infer(self, engine: Engine) -> None:
        try:
            engine.infer()
        except Exception as error:  # as above
            raise InputError(
                f"{self.path}: {engine.title} cannot run it ({reason_of(error)}); compile it again, or update it"
            ) from error

    def execution(self) -> str:
        """From a session of its own, as runtimes tell it of profiled ones only."""
        import numpy as np

        profiled = self._engine(1, profile=True)
        name, (shape, dtype) = self.input
        profiled.feed({name: np.zeros(shape, dtype)})
        for _ in range(2):
            self._infer(profiled)
        try:
            return f"{profiled.title} {profiled.version}: {profiled.execution()}"
        except OSError as error:
            raise files.temporary_refused(error) or error from error

    def warnings(self) -> list[str]:
        """What belongs into a manifest: that much of the file falls out of the delegate."""
        warning = (self.engine.coverage() or {}).get("warning")
        return [f"{self.engine.title} {self.engine.version} {warning}"] if warning else []


def registered() -> dict[str, Target]:
    """Every registered backend by name, in alphabetical order; installed or not."""
    points = sorted(importlib.metadata.entry_points(group=GROUP), key=lambda point: point.name)
    return {point.name: point.load()() for point in points}


def missing(target: Target, *, running: bool = False) -> list[str]:
    """The modules that ``target`` needs to emit and run (or only to run), and this environment lacks."""
    needs = dict.fromkeys((*(() if running else target.emit_needs), *target.run_needs))
    return [module for module in needs if not extras.available(module)]


def get(name: str) -> Target:
    """The backend called ``name``.

    Raises:
        UsageError: there is none; the message gives the nearest name.
    """
    targets = registered()
    if name in targets:
        return targets[name]
    raise UsageError(f"target {name!r} is unknown; {nearest(name, targets)}there are: {', '.join(targets)}, all")


def select(names: tuple[str, ...]) -> tuple[list[Target], list[str]]:
    """The backends asked for, and a line for each that "all" leaves out.

    Raises:
        UsageError: an unknown name, or "all" with nothing installed.
        MissingDependency: a backend named outright lacks its pip extra.
    """
    chosen: dict[str, Target] = {}
    skipped: list[str] = []
    for name in names:
        for target in registered().values() if name == "all" else [get(name)]:
            lacking = missing(target)
            if not lacking:
                chosen[target.name] = target
                continue
            how = f"pip install 'mfs-edge[{target.extra}]'"
            if name != "all":
                raise MissingDependency(f"target {name} needs {', '.join(lacking)}; install it with: {how}")
            skipped.append(f"skipped {target.name}: {', '.join(lacking)} not installed ({how})")
    if not chosen:
        raise MissingDependency("no target is installed; install one with: pip install 'mfs-edge[onnx]'")
    return list(chosen.values()), skipped


def of_file(path: Path) -> Target:
    """The backend that writes files named like ``path``.

    Raises:
        InputError: none does.
    """
    targets = registered()
    for target in targets.values():
        if path.suffix == target.suffix:
            return target
    known = ", ".join(target.suffix for target in targets.values())
    raise InputError(f"{path}: is not an artefact; its name must end in one of {known}")


def options_of(target: Target) -> tuple[Option, ...]:
    """What ``--set`` takes for ``target``, under the full names."""
    return tuple(replace(option, name=f"{target.name}.{option.name}") for option in target.options.offered())


def artefact(path: Path) -> Artefact:
    """The artefact at ``path`` with what lies beside it and belongs to it.

    Raises:
        InputError: no backend writes files of this name, or a part is missing or not in its folder.
    """
    return artefact_of(of_file(path), path)


def artefact_of(kind: Target, path: Path) -> Artefact:
    """As :func:`artefact`, where the name does not tell what wrote the file."""
    names = kind.beside(path)
    for name in names:
        files.confined(path.parent, name, source=path)
    return Artefact(path, names)
