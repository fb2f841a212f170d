"""Measure one artefact in this process; the file that travels to a device, with a few more.

It stands alone on purpose: numpy, the target's ``engine.py``, ``frames.py``, ``cpus.py``,
``reasons.py``, ``machine.py``, ``whole.py`` and ``ends.py`` beside it are all it imports, and it runs under
Python 3.9. It is what ``--device local`` runs too, always as a fresh process, so that nothing of an
earlier measurement (heaps, thread pools, caches) is in the figures.

    python runner.py ARTEFACT --engine engine.py [--threads N] [--runs N] [--picture FILE.npz] [--frame WxH] ...

Every line it prints starts with ``@mfs-edge `` and holds one JSON object, told apart by
``event``: ``progress`` (``done`` in 0..1, ``left_s``), then ``result`` or ``error``. What a
runtime prints by itself has no such prefix. Times are wall-clock milliseconds per frame.

``--picture`` holds ``image``, float32 [1, 3, S, S] in 0..1, and ``places``, [N, 2] rows and columns. The
timed session runs that picture, and what comes out at those places is in the result: whoever asked
sees whether it is the picture that was proven. With ``--frame`` whole frames are timed, by ``whole.py`` beside it;
that picture is then run afterwards, in the same session. With ``--stages all`` they are
also decoded, their faces found, and encoded, by ``ends.py``.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import json
import os
import platform
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

PREFIX = "@mfs-edge "
TELL_EVERY = 0.2  # s between progress lines; they are printed between frames, never within one
PROFILED_FRAMES = 20
SWITCHES = 10  # to the other identity, and as many back
BETWEEN = 3  # frames, the first one included


class Failure(Exception):
    """What the caller should hear: a kind, "missing" (a module), "input" (the file) or "usage", and a message."""


def emit(event: str, **fields: Any) -> None:
    """One line for the caller."""
    sys.stdout.write(PREFIX + json.dumps(dict(fields, event=event)) + "\n")
    sys.stdout.flush()


def beside(name: str, path: str = "") -> Any:
    """A module from a file, by default one in this file's folder: no package is around it on a device."""
    where = path or str(Path(__file__).with_name(f"{name}.py"))
    spec = importlib.util.spec_from_file_location(name, where)
    if spec is None or spec.loader is None:
        raise Failure("internal", f"{where} is not there")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def engine(path: str) -> Any:
    """The target's engine, its runtime imported: an application does so once, and each model costs ``load_ms``."""
    kind = beside("engine", path).Engine  # "" is engine.py in this folder
    reasons = []
    for name in kind.MODULES:
        try:
            importlib.import_module(name)
            return kind
        except ImportError as error:
            reasons.append(_reason(error))
    how = f"install it with: pip install {kind.PACKAGE}"
    raise Failure("missing", f"{kind.MODULES[0]} cannot be imported ({reasons[0]}); {how}")


def load(kind: Any, options: argparse.Namespace, threads: int, profile: bool = False) -> Any:
    """The artefact in its engine."""
    chosen = {"units": options.units} if options.units else {}
    try:
        return kind(options.artefact, threads, profile, **chosen)
    except ImportError as error:
        raise Failure("missing", f"{kind.PACKAGE} cannot be used here: {_reason(error)}") from error
    except Exception as error:
        raise Failure("input", f"the runtime cannot load it ({_reason(error)})") from error


def first_frame(loaded: Any) -> None:
    """What loads may still not run."""
    try:
        loaded.infer()
    except Exception as error:
        raise Failure("input", f"the runtime cannot run it ({_reason(error)})") from error


def _reason(error: BaseException) -> str:
    return str(beside("reasons").reason_of(error))


def noise(shape: Sequence[Any], dtype: str) -> Any:
    """Any picture: uniform noise in the range that the input takes."""
    import numpy as np

    sizes = [size if isinstance(size, int) and size > 0 else 1 for size in shape]
    values = np.random.default_rng(0).random(sizes, dtype=np.float32)
    if np.issubdtype(np.dtype(dtype), np.floating):
        return values.astype(dtype)
    limits = np.iinfo(dtype)
    return (limits.min + values * (float(limits.max) - limits.min)).astype(dtype)


class Picture:
    """The picture that tells whether the timed session is the proven one."""

    def __init__(self, path: str) -> None:
        import numpy as np

        self.frames = beside("frames")
        with np.load(path) as stored:
            self.image, self.places = stored["image"], stored["places"]

    def feeds(self, engine: Any) -> dict[str, Any]:
        ((name, (shape, dtype)),) = engine.inputs.items()
        return {name: self.frames.as_taken(self.image, shape, dtype)}

    def seen(self, engine: Any) -> dict[str, Any]:
        """What the last frame gave at the places: "swapped" [N, 3] and "mask" [N, 1]."""
        rows, columns = self.places.T
        told = self.frames.as_told(engine.fetch())
        return {name: value[0, :, rows, columns].tolist() for name, value in told.items()}


def repeat(infer: Callable[[], None], runs: int, seconds: float, tell: Callable[[float, float], None]) -> list[float]:
    """Milliseconds of each frame: at least ``runs`` frames and ``seconds`` of them."""
    samples = []
    start = told = time.perf_counter()
    while True:
        before = time.perf_counter_ns()
        infer()
        samples.append((time.perf_counter_ns() - before) / 1e6)
        now = time.perf_counter()
        elapsed = now - start
        if len(samples) >= runs and elapsed >= seconds:
            return samples
        if now - told >= TELL_EVERY:
            told = now
            tell(elapsed, max(seconds, elapsed * runs / len(samples)))


def teller(base: float, rest: float) -> Callable[[float, float], None]:
    """Progress from ``base`` on, with ``rest`` seconds still to come after this part."""

    def tell(elapsed: float, expected: float) -> None:
        left = max(0.0, expected - elapsed)
        emit("progress", done=min(1.0, base + (1 - base) * elapsed / (expected + rest)), left_s=left + rest)

    return tell


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Load, first frame, warm-up, steady state, and the picture that the timed session gives."""
    machine, cpus = beside("machine"), beside("cpus")
    if options.cpus:
        bind({int(cpu) for cpu in options.cpus.split(",")}, cpus.available(), machine.first_of)
    threads = options.threads or min(4, cpus.usable())
    hot = machine.temperature()
    emit("progress", done=0.0, left_s=options.warmup_seconds + options.seconds)
    kind = engine(options.engine)
    load_ms, loaded = timed(lambda: load(kind, options, threads))
    picture = Picture(options.picture) if options.picture else None
    feeds = picture.feeds(loaded) if picture else {n: noise(*entry) for n, entry in loaded.inputs.items()}
    loaded.feed(feeds)
    first_ms, _ = timed(lambda: first_frame(loaded))
    frames = whole_frames(loaded, options, picture) if options.frame else None
    once = frames or loaded.infer
    warm = repeat(once, options.warmup, options.warmup_seconds, teller(0.0, options.seconds))
    samples = repeat(once, options.runs, options.seconds, teller(0.3, 0.0))
    if frames:
        loaded.feed(feeds)
        first_frame(loaded)
    return {
        "load_ms": load_ms,
        "first_ms": first_ms,
        "warmup_runs": len(warm),
        "samples_ms": frames.samples(len(samples)) if frames else samples,
        "frame": {"chosen": options.stages, **frames.found(len(samples))} if frames else None,
        "picture": picture.seen(loaded) if picture else None,
        "peak_rss_bytes": machine.peak_rss(),
        "coverage": loaded.coverage(),
        "switches": switches(loaded, options) if options.switched else None,
        "layers": layers(kind, options, threads, feeds) if options.profile else [],
        "temperature_c": [hot, machine.temperature()],
        "machine": {
            "cpu": machine.cpu_model(),
            "cores": os.cpu_count() or 1,
            "governor": machine.governor(),
            "os": machine.system(),
            "arch": platform.machine(),
            "python": platform.python_version(),
            "runtime": loaded.title,
            "runtime_version": loaded.version,
            "threads": getattr(loaded, "threads", threads),  # an engine may have its own number
            "cpus": cpus.available() if options.cpus else [],
            "quota": cpus.quota(),
        },
    }


def whole_frames(loaded: Any, options: argparse.Namespace, picture: Picture | None) -> Any:
    """What swaps the face in one whole frame, and times each stage."""
    if picture is None:
        raise Failure("input", "it takes no picture of a face, so that no frame can be made for it")
    whole, (width, height) = beside("whole"), map(int, options.frame.split("x"))
    try:
        source = film(whole, picture, width, height) if options.stages == "all" else None
        source = source or whole.Still(picture.image, width, height)
        frames = whole.Frames(whole.swapper(loaded, options.artefact), source)
        frames()
    except Failure:
        raise
    except whole.Missing as error:
        raise Failure("missing", str(error)) from error
    except Exception as error:
        raise Failure("input", f"no whole frame can be swapped with it ({_reason(error)})") from error
    return frames


def film(whole: Any, picture: Picture, width: int, height: int) -> Any:
    """A video of the picture, whose frames are decoded, searched for faces, and encoded."""
    litert = beside("litert").Engine
    return beside("ends").film(whole, picture.image, width, height, litert=litert, failure=Failure)


def bind(wanted: set[int], there: list[int], first_of: Callable[[list[int]], str]) -> None:
    """Run on these CPUs only; the kernel would leave out in silence what is not there."""
    if not hasattr(os, "sched_setaffinity"):
        raise Failure("usage", "CPUs cannot be chosen on this system; leave --cpu-mask out")
    missing = sorted(wanted - set(there))
    if missing:
        has = ", ".join(map(str, there)) if len(there) <= 16 else f"{len(there)} of {there[0]} to {there[-1]}"
        raise Failure("usage", f"--cpu-mask names CPU {first_of(missing)}; this process may use {has}")
    os.sched_setaffinity(0, wanted)


def timed(call: Callable[[], Any]) -> tuple[float, Any]:
    """Milliseconds, and what came of it."""
    before = time.perf_counter_ns()
    found = call()
    return (time.perf_counter_ns() - before) / 1e6, found


def switches(loaded: Any, options: argparse.Namespace) -> dict[str, list[float]] | None:
    """Milliseconds of each switch and of the first frame after it; None where the engine cannot.

    The last switch leads back: the picture must then be the one from before, to the bit.
    """
    import numpy as np

    if not hasattr(loaded, "switch"):
        return None
    with np.load(options.switched) as stored:
        other = {name: stored[name].tobytes() for name in stored.files}
    base = {name: Path(options.artefact).parent.joinpath(name).read_bytes() for name in other}
    before = loaded.fetch()
    found: dict[str, list[float]] = {"switch_ms": [], "first_ms": []}
    for turn in range(2 * SWITCHES):
        contents = base if turn % 2 else other
        try:
            found["switch_ms"].append(timed(lambda: loaded.switch(contents))[0])  # noqa: B023 (called at once)
        except Exception as error:
            raise Failure("input", f"the runtime cannot switch to the pack's identity ({_reason(error)})") from error
        found["first_ms"].append(timed(lambda: first_frame(loaded))[0])
        for _ in range(BETWEEN - 1):
            loaded.infer()
    if not all(np.array_equal(value, before[name]) for name, value in loaded.fetch().items()):
        raise Failure("input", "the runtime gives another picture after switching back to the artefact's own identity")
    return found


def layers(kind: Any, options: argparse.Namespace, threads: int, feeds: dict[str, Any]) -> list[dict[str, Any]]:
    """Milliseconds per frame of every kernel, by the runtime's own profiler, in a session of its own."""
    profiled = load(kind, options, threads, profile=True)
    profiled.feed(feeds)
    for _ in range(PROFILED_FRAMES + 1):
        profiled.infer()
    return list(profiled.layers())


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Measure one artefact.")
    parser.add_argument("artefact")
    parser.add_argument("--engine", required=True, help="the file of the target's Engine")
    parser.add_argument("--picture", default="", help="an .npz of image and places")
    parser.add_argument("--switched", default="", help="an .npz of the artefact's files with another identity")
    parser.add_argument("--frame", default="", help="time whole frames of WIDTHxHEIGHT pixels")
    parser.add_argument("--stages", choices=("swap", "all"), default="swap", help="which ones of whole frames")
    parser.add_argument("--threads", type=int, default=0, help="0: the CPUs there are, or a quota's, at most 4")
    parser.add_argument("--runs", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--warmup", type=int, default=10)
    parser.add_argument("--warmup-seconds", type=float, default=0.5)
    parser.add_argument("--cpus", default="", help="run on these CPUs only, e.g. 2,3")
    parser.add_argument("--units", default="", help="the engine's compute units, where it has a choice")
    parser.add_argument("--profile", action="store_true", help="also time each layer, in a session of its own")
    return parser.parse_args(arguments)


def answer(work: Callable[[], dict[str, Any]], otherwise: str = "internal") -> int:
    """0 and a ``result`` line, or 1 and an ``error`` line; ``otherwise`` is the kind of what is no Failure."""
    try:
        if importlib.util.find_spec("numpy") is None:
            raise Failure("missing", "numpy cannot be imported; install it with: pip install numpy")
        emit("result", **work())
    except Failure as error:
        emit("error", kind=error.args[0], message=error.args[1])
        return 1
    except Exception as error:
        emit("error", kind=otherwise, message=beside("reasons").named(error))
        return 1
    return 0


def main(arguments: Sequence[str] | None = None) -> int:
    """See :func:`answer`."""
    return answer(lambda: measure(parse(arguments)))


if __name__ == "__main__":
    sys.exit(main())
