"""Weights that are compiled into the program: ``--set c.embed=true``."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest
from mfs_edge.targets.native import NativeOptions, NativeTarget, embed, engine, plan, read, schedule, weights

import mfs_edge
from mfs_edge import sample
from mfs_edge.base import files
from mfs_edge.base.errors import InputError
from mfs_edge.fold import FoldedIDN, fold
from mfs_edge.graph import build, passes
from mfs_edge.load.checkpoint import Checkpoint
from mfs_edge.load.identity import Identity
from mfs_edge.quantize import quantise
from mfs_edge.target import EmitOptions
from tests.targets.native.test_family import Builder

TARGET = NativeTarget()
EMBEDDED = NativeOptions(embed=True)


def graph(folded: FoldedIDN, size: int) -> ir.Model:
    return passes.optimise(build.build(folded.weights("identity-local"), size=size))


@pytest.fixture
def embedded(golden_folded: FoldedIDN, tmp_path: Path) -> Path:
    TARGET.emit(graph(golden_folded, 32), tmp_path / "a.idn", EmitOptions(own=EMBEDDED))
    return tmp_path / "a.idn"


@pytest.mark.parametrize(("size", "io"), [(64, "uint8"), (224, "float32")])
def test_it_computes_the_same_bits_without_a_file(golden_folded: FoldedIDN, tmp_path: Path, size: int, io: str) -> None:
    model, image = graph(golden_folded, size), np.random.default_rng(size).random((1, 3, size, size), np.float32)
    TARGET.emit(model, tmp_path / "file.idn", EmitOptions(io=io))
    TARGET.emit(model, tmp_path / "embedded.idn", EmitOptions(io=io, own=EMBEDDED))
    assert not (tmp_path / "embedded.idn/idn.weights").exists()
    one, other = (TARGET.load(tmp_path / f"{name}.idn", threads=1).run(image) for name in ("file", "embedded"))
    assert all((one[name] == value).all() for name, value in other.items())


@pytest.mark.parametrize("precision", ["fp16", "int8"])
def test_every_precision_is_embedded(tmp_path: Path, precision: str) -> None:
    """Halves and codes are words, too."""
    model = Builder(3, 64).model([16, 32, 48, 64, 20], [48, 14, 32, 16], [32, 24, 5, 8, 2], 8)
    if precision == "int8":
        rng = np.random.default_rng(0)
        model = quantise(model, [rng.random((1, 3, 64, 64), np.float32) for _ in range(4)], products=True).model
    for name, own in (("file", NativeOptions()), ("embedded", EMBEDDED)):
        TARGET.emit(model, tmp_path / f"{name}.idn", EmitOptions(precision, own=own))
    text, held = (tmp_path / "embedded.idn" / embed.FILE).read_bytes(), (tmp_path / "file.idn/idn.weights").read_bytes()
    assert embed.data(text) == held
    assert b"/* header: identity */" in text
    image = np.random.default_rng(1).random((1, 3, 64, 64), np.float32)
    one, other = (TARGET.load(tmp_path / f"{name}.idn", threads=1).run(image) for name in ("file", "embedded"))
    assert all((one[name] == value).all() for name, value in other.items())


def test_the_words_are_the_files(golden_folded: FoldedIDN, embedded: Path) -> None:
    packed = weights.pack(plan.make(schedule.read(graph(golden_folded, 32))))
    text = (embedded / embed.FILE).read_bytes()
    assert embed.data(text) == packed.dumps()
    assert embed.source(embed.data(text), packed) == text
    lines = text.decode().splitlines()
    assert [line.strip(" /*") for line in lines if line.startswith("  /*")].count("stem_kernel") == 1
    assert max(map(len, lines)) < 140
    assert len(text) < 3 * len(packed.dumps())


def test_another_identity_may_take_its_place(
    golden_iin: Checkpoint, demo_identities: list[Identity], embedded: Path
) -> None:
    other = fold(golden_iin, demo_identities[0])
    packed = weights.pack(plan.make(schedule.read(graph(other, 32))))
    made = engine.Engine(str(embedded), threads=1)
    made.feed({"image": np.full((1, 3, 32, 32), 0.25, np.float32)})
    made.infer()
    before = made.fetch()["swapped"]
    made.set_identity(packed.dumps()[-packed.identity_bytes :])
    made.infer()
    assert np.abs(made.fetch()["swapped"] - before).max() > 1e-3


def test_the_option_reaches_the_manifest(demo_iin: Checkpoint, demo_identities: list[Identity], tmp_path: Path) -> None:
    result = mfs_edge.compile(
        identity=demo_identities[0], checkpoint=demo_iin, size=32, target=("c", "onnx"), out=tmp_path / "build",
        set={"c.embed": "true"},
    )  # fmt: skip
    artefact = result.manifest.artefacts[0]
    assert artefact.options == {"embed": True}
    assert artefact.verification.status == "passed"
    assert embed.FILE in {Path(name).name for name in artefact.files} or (result.out / artefact.file).is_dir()


def resealed(folder: Path) -> Path:
    """With an index that vouches for what is there now."""
    index = json.loads((folder / read.INDEX).read_text())
    index["sha256"] = {name: files.sha256(folder / name) for name in index["sha256"]}
    (folder / read.INDEX).write_text(json.dumps(index))
    return folder


ATTACKS: dict[str, Callable[[str], str]] = {
    "a function behind": lambda text: text + "__attribute__((constructor)) static void a(void) { __builtin_trap(); }\n",
    "a function before": lambda text: text.replace("const uint32_t", "static void a(void) {}\nconst uint32_t", 1),
    "an include between": lambda text: text.replace("0x574e4449,", "0x574e4449,\n#include </etc/passwd>\n", 1),
    "an expression": lambda text: text.replace("0x574e4449,", "(0x574e4449),", 1),
    "a comment": lambda text: text.replace("/* header */", "/* head */", 1),
    "fewer words": lambda text: text.replace("0x00000000,", "", 1),
    "no words": lambda text: text.partition("{")[0],
    "not ASCII": lambda text: text.replace("/* header */", "/* h\xe9ader */", 1),
}


@pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS.keys())
def test_only_numbers_are_compiled(
    embedded: Path, attack: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = embedded / embed.FILE
    path.write_text(attack(path.read_text()), "latin-1")
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: pytest.fail("a compiler was called"))
    with pytest.raises(InputError, match=r"idn_weights\.c"):
        TARGET.load(embedded)  # by its hash
    with pytest.raises(InputError, match=r"idn_weights\.c.* may come from a stranger|idn\.json: is damaged"):
        TARGET.load(resealed(embedded))


def test_a_changed_number_is_found_by_the_checksum(embedded: Path) -> None:
    path = embedded / embed.FILE
    path.write_text(path.read_text().replace("0x3f800000", "0x3f800001", 1))
    with pytest.raises(InputError, match="damaged"):
        TARGET.load(resealed(embedded))


@pytest.mark.parametrize("claim", [True, False])
def test_weights_must_be_where_the_index_says(golden_folded: FoldedIDN, tmp_path: Path, claim: bool) -> None:
    TARGET.emit(graph(golden_folded, 32), tmp_path / "a.idn", EmitOptions(own=NativeOptions(embed=not claim)))
    path = tmp_path / "a.idn" / read.INDEX
    path.write_text(json.dumps({**json.loads(path.read_text()), "embedded": claim}))
    with pytest.raises(InputError, match=r"\.idn/"):
        TARGET.load(tmp_path / "a.idn")


@pytest.mark.skipif(shutil.which("cmake") is None, reason="needs cmake, as CI has")
@pytest.mark.parametrize("own", [NativeOptions(), EMBEDDED], ids=["file", "embedded"])
@pytest.mark.usefixtures("as_shipped")
def test_the_example_is_built_and_swaps(golden_folded: FoldedIDN, tmp_path: Path, own: NativeOptions) -> None:
    """By CMake, from a copy of the folder; the embedded one is run where there is nothing but a picture."""
    folder = tmp_path / "a.idn"
    TARGET.emit(graph(golden_folded, 224), folder, EmitOptions(io="uint8", own=own))
    crop = sample.target(0)
    expected = TARGET.load(folder).run(crop.transpose(2, 0, 1)[None].astype(np.float32) / 255)["swapped"]
    built = tmp_path / "built"
    for command in (["cmake", "-S", folder, "-B", built], ["cmake", "--build", built]):
        subprocess.run(command, check=True, capture_output=True)
    (tmp_path / "in.ppm").write_bytes(b"P6\n224 224\n255\n" + crop.tobytes())
    given = [] if own.embed else [folder / "idn.weights"]
    if own.embed:
        shutil.rmtree(folder)
    subprocess.run([built / "idn_example", *given, "in.ppm", "out.ppm"], cwd=tmp_path, check=True)
    found = np.frombuffer((tmp_path / "out.ppm").read_bytes()[len(b"P6\n224 224\n255\n") :], np.uint8)
    assert (found.reshape(crop.shape) == np.rint(expected[0].transpose(1, 2, 0) * 255)).all()
