"""Identities that are switched between two frames, in each runtime: no frame is lost, none is another's."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import pytest

import mfs_edge
from mfs_edge import target
from mfs_edge.base import frames
from mfs_edge.load.checkpoint import Checkpoint
from mfs_edge.load.identity import Identity
from mfs_edge.pack.apply import apply, filled
from mfs_edge.pack.make import make

SIZE = 64
FRAMES = 300
EVERY = 3
PICTURES = 7  # different ones; no multiple of what a turn takes
CASES = {"fp32": ("onnx", "tflite", "openvino", "c", "web"), "fp16": ("tflite", "c"), "int8": ("c", "web")}


@dataclass(frozen=True)
class Base:
    """One artefact, a pack for each of two people, and what each pack makes of it."""

    path: Path
    packs: tuple[Path, ...]
    contents: tuple[dict[str, bytes], ...]


@pytest.fixture(scope="module")
def bases(
    demo_iin: Checkpoint, demo_identities: list[Identity], tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str, str], Base]:
    """A base by target and precision."""
    people = []
    for number, person in enumerate(demo_identities[:2]):
        path = tmp_path_factory.mktemp("people") / f"{'ab'[number]}.npy"
        np.save(path, np.concatenate([person.embedding.ravel(), person.feature_map.ravel()]).astype(np.float32))
        people.append(path)

    @cache
    def compiled(precision: str) -> Path:
        out = tmp_path_factory.mktemp("base")
        mfs_edge.compile(
            identity=people[0], target=CASES[precision], precision=precision, size=SIZE, out=out, verify=False
        )
        return out

    @cache
    def base(name: str, precision: str) -> Base:
        folder, packs = compiled(precision), tmp_path_factory.mktemp("packs")
        file = f"idn-{SIZE}-{precision}{target.get(name).suffix}"
        for person in people:
            make(base=folder, out=packs, identity=person)
        found = tuple(next(p for p in packs.glob(f"{person.stem}-*") if file in p.name) for person in people)
        return Base(folder / file, found, tuple(filled(folder / file, path) for path in found))

    return base


@pytest.mark.parametrize(("name", "precision"), [(name, p) for p, names in CASES.items() for name in names])
def test_every_frame_shows_who_was_set(
    bases: Callable[[str, str], Base], name: str, precision: str, tmp_path: Path
) -> None:
    """300 frames, another identity every third; each picture is that of the identity's own file, to the bit."""
    base, kind = bases(name, precision), target.get(name)
    rng = np.random.default_rng(1)
    images = [rng.random((1, 3, SIZE, SIZE), np.float32) for _ in range(PICTURES)]
    expected = []
    for number, pack in enumerate(base.packs):
        alone = tmp_path / f"{number}{kind.suffix}"
        apply(base.path, pack, alone)
        own = kind.load(alone, threads=1)
        expected.append([own.run(image) for image in images])
    assert not np.array_equal(expected[0][0]["swapped"], expected[1][0]["swapped"])
    engine = kind.load(base.path, threads=1).engine
    ((given, (shape, dtype)),) = engine.inputs.items()
    for frame in range(FRAMES):
        person = frame // EVERY % 2
        if frame % EVERY == 0:
            engine.switch(base.contents[person])
        image = images[frame % PICTURES]
        engine.feed({given: frames.as_taken(image, shape, dtype)})
        engine.infer()
        found = frames.as_told(engine.fetch())
        for output, value in expected[person][frame % PICTURES].items():
            assert np.array_equal(found[output], value), (frame, output)


@pytest.mark.parametrize("name", CASES["fp32"])
def test_what_was_fed_stays_fed(bases: Callable[[str, str], Base], name: str) -> None:
    """A switch between feeding a frame and computing it; and back, which gives the first picture again."""
    base = bases(name, "fp32")
    engine = target.get(name).load(base.path, threads=1).engine
    ((given, (shape, dtype)),) = engine.inputs.items()
    image = np.random.default_rng(2).random((1, 3, SIZE, SIZE), np.float32)
    engine.feed({given: frames.as_taken(image, shape, dtype)})
    seen = []
    for person in (0, 1, 0):
        engine.switch(base.contents[person])
        engine.infer()
        seen.append(engine.fetch()["swapped"])
    assert np.array_equal(seen[0], seen[2])
    assert not np.array_equal(seen[0], seen[1])


@pytest.mark.parametrize("name", CASES["fp32"])
def test_what_is_no_artefact_leaves_the_old_one_at_work(bases: Callable[[str, str], Base], name: str) -> None:
    base = bases(name, "fp32")
    loaded = target.get(name).load(base.path, threads=1)
    image = np.random.default_rng(3).random((1, 3, SIZE, SIZE), np.float32)
    before = loaded.run(image)
    for wrong in ({n: d[: len(d) // 2] for n, d in base.contents[1].items()}, {}):
        with pytest.raises(Exception):  # noqa: B017, PT011 (the runtimes' exceptions share no base)
            loaded.engine.switch(wrong)
        assert np.array_equal(loaded.run(image)["swapped"], before["swapped"])
