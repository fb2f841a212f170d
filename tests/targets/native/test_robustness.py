"""Wrong calls, every format and many threads, under sanitisers and valgrind."""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
from mfs_edge.targets.native import NativeTarget, weights

from mfs_edge.fold import FoldedIDN
from mfs_edge.graph import build, passes
from mfs_edge.target import EmitOptions
from tests.targets.native import toolchains
from tests.targets.native.test_portability import judge

pytestmark = pytest.mark.usefixtures("tools")
Made = Callable[[int], Path]
SIZE = 32
DEBUG = ("-std=c11", "-O1", "-g")
BAD_MEMORY = (*DEBUG, "-fsanitize=address,undefined", "-fno-sanitize-recover=all")
RACES = (*DEBUG, "-fsanitize=thread")
COMPILERS = ("gcc", "clang")
VALGRIND = ("valgrind", "--quiet", "--error-exitcode=99", "--leak-check=full", "--errors-for-leak-kinds=all")


@pytest.fixture(scope="session")
def other(demo_folded: FoldedIDN, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights of another base: the same network, trained otherwise."""
    path = tmp_path_factory.mktemp("other") / "other.idn"
    graph = passes.optimise(build.build(demo_folded.weights(), size=SIZE), level=1)
    NativeTarget().emit(graph, path, EmitOptions())
    return path / "idn.weights"


@pytest.mark.parametrize("compiler", COMPILERS)
def test_every_wrong_call_has_its_own_error_and_touches_nothing(
    made: Made, other: Path, compiler: str, tmp_path: Path
) -> None:
    program = toolchains.compile_c(
        made(SIZE), "wrong_calls.c", tmp_path / "wrong", compiler=(compiler,), flags=BAD_MEMORY
    )
    said = toolchains.call([program, made(SIZE) / "idn.weights", other])
    assert said.stdout.endswith(" cases, 0 failures\n")
    assert int(said.stdout.split()[0]) >= 200


@pytest.mark.parametrize("compiler", COMPILERS)
def test_every_pair_of_formats(made: Made, compiler: str, tmp_path: Path) -> None:
    program = toolchains.compile_c(
        made(SIZE), "formats.c", tmp_path / "formats", compiler=(compiler,), flags=BAD_MEMORY
    )
    toolchains.call([program, made(SIZE) / "idn.weights"])


@pytest.mark.parametrize("compiler", COMPILERS)
def test_golden_under_the_sanitisers(
    made: Made, raw: Made, golden: Mapping[str, np.ndarray], compiler: str, tmp_path: Path
) -> None:
    program = toolchains.compile_c(made(224), "frames.c", tmp_path / "frames", compiler=(compiler,), flags=BAD_MEMORY)
    for cpu in ("0", "1"):
        toolchains.call([program, made(224) / "idn.weights", raw(224), tmp_path / "out.raw", cpu])
        judge(tmp_path / "out.raw", golden, 224)


@pytest.mark.parametrize("flags", [RACES, BAD_MEMORY], ids=["races", "memory"])
@pytest.mark.parametrize("compiler", COMPILERS)
def test_many_threads(made: Made, flags: tuple[str, ...], compiler: str, tmp_path: Path) -> None:
    program = toolchains.compile_c(
        made(SIZE), "threads.c", tmp_path / "threads", compiler=(compiler,), flags=flags, pool=True
    )
    toolchains.call([program, made(SIZE) / "idn.weights"])


@pytest.mark.parametrize("compiler", COMPILERS)
def test_whole_frames_of_any_kind(made: Made, compiler: str, tmp_path: Path) -> None:
    """Any size, format, stride and place of a face; every wrong call has its own error, and touches nothing."""
    strict = ("-Wpedantic", "-Wshadow", "-fsanitize=float-cast-overflow")
    program = toolchains.compile_c(
        made(SIZE), "whole_frames.c", tmp_path / "whole", compiler=(compiler,), flags=BAD_MEMORY, frame=strict
    )
    said = toolchains.call([program, made(SIZE) / "idn.weights"])
    assert said.stdout.endswith(" cases, 0 failures\n")
    assert int(said.stdout.split()[0]) >= 590


def test_many_threads_on_one_frame(made: Made, tmp_path: Path) -> None:
    program = toolchains.compile_c(
        made(SIZE), "frame_threads.c", tmp_path / "threads", compiler=("clang",), flags=RACES, pool=True, frame=()
    )
    toolchains.call([program, made(SIZE) / "idn.weights"])


@pytest.mark.parametrize("name", ["wrong_calls", "formats", "threads", "frames", "whole_frames"])
def test_valgrind_is_silent(made: Made, raw: Made, other: Path, name: str, tmp_path: Path) -> None:
    """It knows no AVX-512, and the C finds none under it: AVX2 and SSE2 are what is seen here."""
    program = toolchains.compile_c(
        made(SIZE), f"{name}.c", tmp_path / name, compiler=("gcc",), flags=DEBUG, pool=name == "threads",
        frame=() if name == "whole_frames" else None,
    )  # fmt: skip
    more = {"wrong_calls": (other,), "frames": (raw(SIZE), tmp_path / "out.raw"), "whole_frames": (60,)}.get(name, ())
    said = toolchains.call([*VALGRIND, program, made(SIZE) / "idn.weights", *more])
    assert "==" not in said.stderr


def test_weights_that_are_sound_but_wild_do_not_crash(made: Made, raw: Made, tmp_path: Path) -> None:
    """NaN, infinity and denormals behind right checksums: a frame is computed, and nothing outside of it touched."""
    program = toolchains.compile_c(made(SIZE), "frames.c", tmp_path / "frames", compiler=("gcc",), flags=BAD_MEMORY)
    for value in (np.nan, np.inf, -np.inf, 1e-42, 3.4e38):
        (tmp_path / "wild").write_bytes(filled((made(SIZE) / "idn.weights").read_bytes(), value))
        toolchains.call([program, tmp_path / "wild", raw(SIZE), tmp_path / "out.raw"])


def filled(data: bytes, value: float) -> bytes:
    """Weights whose numbers are all ``value``, with checksums that are right."""
    size = weights.HEADER.size
    blocks, at, base = [], 0, None
    for _ in range(2):
        *head, _, count, _ = weights.HEADER.unpack_from(data, at)
        body = struct.pack("<f", value) * (count // 4)
        base = base or weights.checksum(body)
        blocks += [weights.HEADER.pack(*head, base, count, weights.checksum(body)), body]
        at += size + count
    return b"".join(blocks)
