"""The appliers of ``docs/apps.md``, as they stand there: what they make is what ``pack apply`` makes."""

from __future__ import annotations

import importlib
import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mfs_edge.targets.native import engine

import mfs_edge
from mfs_edge import enrolment, target
from mfs_edge.base import frames
from mfs_edge.bundle import manifest
from mfs_edge.fold import fold
from mfs_edge.load.checkpoint import Checkpoint
from mfs_edge.load.identity import Identity
from mfs_edge.pack.apply import apply
from mfs_edge.pack.base import coding_of
from mfs_edge.pack.make import make
from tests.test_docs import snippet

SIZE = 64
C_MAIN = r"""
static unsigned char *all(const char *name, size_t *bytes) {
  FILE *file = fopen(name, "rb");
  unsigned char *data = malloc(1 << 24);
  if (!file || !data) exit(9);
  *bytes = fread(data, 1, 1 << 24, file);
  fclose(file);
  return data;
}
int main(int argc, char **argv) { /* pack name base out */
  size_t pack_bytes, bytes;
  unsigned char *pack = all(argv[1], &pack_bytes), *data = all(argv[3], &bytes), *held = malloc(bytes);
  if (argc != 5 || !held) return 9;
  memcpy(held, data, bytes);
  if (pack_apply(pack, pack_bytes, argv[2], data, bytes)) return memcmp(held, data, bytes) ? 8 : 1;
  FILE *file = fopen(argv[4], "wb");
  if (!file || fwrite(data, 1, bytes, file) != bytes || fclose(file)) return 9;
  free(pack), free(data), free(held);
  return 0;
}
"""
JAVASCRIPT_MAIN = """
import { readFileSync, writeFileSync } from "node:fs";
const [pack, name, base, out] = process.argv.slice(2);
try {
  writeFileSync(out, await applyPack(readFileSync(base), readFileSync(pack), name));
} catch (error) {
  process.exit(1);
}
"""
Applier = Callable[[Path, str, Path, Path], bool]  # pack, file, base, out -> whether it was applied


@pytest.fixture(scope="module")
def room(demo_iin: Checkpoint, demo_identities: list[Identity], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A base, an identity's packs, and what pack apply makes of them."""
    path = tmp_path_factory.mktemp("packs")
    for name, person in (("a", demo_identities[0]), ("b", demo_identities[1])):
        values = np.concatenate([person.embedding.ravel(), person.feature_map.ravel()])
        np.save(path / f"{name}.npy", values.astype(np.float32))
    mfs_edge.compile(
        identity=path / "a.npy", checkpoint=demo_iin, target=("onnx", "openvino", "tflite", "c"), precision="fp32",
        size=SIZE, out=path / "base", verify=False,
    )  # fmt: skip
    make(base=path / "base", out=path / "packs", identity=path / "b.npy")
    (path / "applied").mkdir()
    for suffix in (".onnx", ".xml", ".tflite", ".idn"):
        name = f"idn-{SIZE}-fp32{suffix}"
        apply(path / "base" / name, path / f"packs/b-{name}.pack", path / "applied" / name)
    return path


def in_python(pack: Path, file: str, base: Path, out: Path) -> bool:
    names: dict[str, Any] = {}
    exec(snippet("def apply_pack"), names)
    try:
        out.write_bytes(names["apply_pack"](base.read_bytes(), pack.read_bytes(), file))
    except (ValueError, KeyError, UnicodeDecodeError):
        return False
    return True


@pytest.fixture(scope="module")
def in_c(tmp_path_factory: pytest.TempPathFactory) -> Applier:
    folder = tmp_path_factory.mktemp("c")
    (folder / "apply.c").write_text(snippet("int pack_apply", "c") + C_MAIN)
    command, _ = engine.compiler()
    flags = ["-std=c99", "-O1", "-Wall", "-Wextra", "-Wpedantic", "-Werror"]
    subprocess.run([*command, *flags, str(folder / "apply.c"), "-o", str(folder / "apply")], check=True)
    return by(str(folder / "apply"))


@pytest.fixture(scope="module")
def in_javascript(tmp_path_factory: pytest.TempPathFactory) -> Applier:
    path = tmp_path_factory.mktemp("js") / "apply.mjs"
    path.write_text(snippet("applyPack", "javascript") + JAVASCRIPT_MAIN)
    return by("node", str(path))


def by(*command: str) -> Applier:
    def call(pack: Path, file: str, base: Path, out: Path) -> bool:
        done = subprocess.run([*command, str(pack), file, str(base), str(out)], check=False, timeout=60)
        assert done.returncode in (0, 1)
        return done.returncode == 0

    return call


@pytest.fixture(params=["python", "c", "javascript"])
def applier(request: pytest.FixtureRequest) -> Applier:
    found: Applier = in_python if request.param == "python" else request.getfixturevalue(f"in_{request.param}")
    return found


@pytest.mark.parametrize("artefact", [".onnx", ".tflite", ".xml", ".idn"])
def test_it_makes_what_pack_apply_makes(applier: Applier, artefact: str, room: Path, tmp_path: Path) -> None:
    """Of every file of the artefact."""
    name = f"idn-{SIZE}-fp32{artefact}"
    pack = room / f"packs/b-{name}.pack"
    (length,) = np.frombuffer(pack.read_bytes()[:8], "<u8")
    said = json.loads(pack.read_bytes()[8 : 8 + int(length)])["__metadata__"]
    names = [file for file, *_ in json.loads(said["files"])]
    changed = dict.fromkeys(names[number] for number, _, _ in json.loads(said["runs"]))
    assert changed
    for file in changed:
        assert applier(pack, file, room / "base" / file, tmp_path / "out")
        assert (tmp_path / "out").read_bytes() == (room / "applied" / file).read_bytes()
        assert (tmp_path / "out").read_bytes() != (room / "base" / file).read_bytes()


@pytest.mark.parametrize("kept", [0, 4, 8, 9, 500, -1, -30_000])
def test_a_cut_pack_is_refused(applier: Applier, kept: int, room: Path, tmp_path: Path) -> None:
    name = f"idn-{SIZE}-fp32.onnx"
    (tmp_path / "cut").write_bytes((room / f"packs/b-{name}.pack").read_bytes()[:kept])
    assert not applier(tmp_path / "cut", name, room / "base" / name, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_file_that_it_does_not_change_or_fit_is_refused(applier: Applier, room: Path, tmp_path: Path) -> None:
    """One that the pack does not name, and one that is shorter than what it fills."""
    name = f"idn-{SIZE}-fp32.onnx"
    pack, base = room / f"packs/b-{name}.pack", room / "base" / name
    (tmp_path / "short").write_bytes(base.read_bytes()[:1000])
    assert not applier(pack, "other.onnx", base, tmp_path / "out")
    assert not applier(pack, name, tmp_path / "short", tmp_path / "out")


@pytest.mark.parametrize("language", ["python", "javascript"])
def test_hashes_are_looked_at(language: str, room: Path, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """Another base, and a number of the pack that was changed."""
    call: Applier = in_python if language == "python" else request.getfixturevalue("in_javascript")
    name = f"idn-{SIZE}-fp32.onnx"
    pack, base = room / f"packs/b-{name}.pack", room / "base" / name
    assert not call(pack, name, room / "applied" / name, tmp_path / "out")
    edited = bytearray(pack.read_bytes())
    edited[-5] ^= 1
    (tmp_path / "edited").write_bytes(edited)
    assert not call(tmp_path / "edited", name, base, tmp_path / "out")
    assert not (tmp_path / "out").exists()


SWAPPER_MAIN = r"""
int main(int argc, char **argv) { /* the base's weights, a pack or nothing: the swapped picture */
  static unsigned char rgb[3 * IDN_SIZE * IDN_SIZE], mask[IDN_SIZE * IDN_SIZE], pack[1 << 20];
  swapper s;
  if (argc < 2 || swapper_open(&s, argv[1])) return 1;
  for (size_t i = 0; i < sizeof rgb; i++) rgb[i] = (unsigned char)(i * 37);
  if (argc > 2) {
    FILE *file = fopen(argv[2], "rb");
    const size_t bytes = file ? fread(pack, 1, sizeof pack, file) : 0;
    if (!file || fclose(file) || swapper_identity(&s, s.weights, pack, bytes)) return 2;
    if (swapper_identity(&s, s.weights, pack, bytes / 2) != IDN_EMAGIC) return 3;
  }
  if (swapper_frame(&s, rgb, mask)) return 4;
  fwrite(rgb, 1, sizeof rgb, stdout);
  swapper_close(&s);
  return 0;
}
"""


def test_a_running_swapper_takes_a_pack(room: Path, tmp_path: Path) -> None:
    """The page's C, all of it: the picture of an opened base with a pack is that of the pack's own artefact."""
    parts = [snippet(words, "c") for words in ("swapper_open", "int pack_apply", "int swapper_identity")]
    source = "".join(parts).replace("idn-224-", f"idn-{SIZE}-")
    (tmp_path / "app.c").write_text(source + SWAPPER_MAIN)
    folder, command = room / f"base/idn-{SIZE}-fp32.idn", engine.compiler()[0]
    sources = [str(tmp_path / "app.c"), str(folder / "idn.c")]
    subprocess.run([*command, "-O1", f"-I{folder}", *sources, "-o", str(tmp_path / "app")], check=True)

    def swapped(*given: Path) -> bytes:
        return subprocess.run([tmp_path / "app", *given], check=True, capture_output=True).stdout

    own = swapped(room / f"applied/idn-{SIZE}-fp32.idn/idn.weights")
    base = folder / "idn.weights"
    assert swapped(base, room / f"packs/b-idn-{SIZE}-fp32.idn.pack") == own
    assert len(own) == 3 * SIZE * SIZE


@pytest.mark.parametrize("language", ["python", "c", "javascript", "swift", "kotlin"])
def test_it_is_short(language: str) -> None:
    words = {"c": "int pack_apply", "python": "def apply_pack"}.get(language, "applyPack")
    lines = [line for line in snippet(words, language).splitlines() if line.strip()]
    assert 15 < len(lines) <= 40


def swapped(kind: target.Target, path: Path) -> np.ndarray:
    """What the runtime alone makes of a drawn picture; mfs-edge refuses files whose hashes do not fit."""
    runtime = importlib.import_module(kind.engine).Engine(str(path), 1, False)
    ((name, (shape, dtype)),) = runtime.inputs.items()
    picture = np.random.default_rng(0).random((1, 3, SIZE, SIZE), np.float32)
    runtime.feed({name: frames.as_taken(picture, shape, dtype)})
    runtime.infer()
    return frames.as_told(runtime.fetch())["swapped"]


@pytest.mark.parametrize("name", ["onnx", "openvino", "tflite"])
def test_a_payload_is_written_where_the_manifest_says(
    name: str, room: Path, demo_iin: Checkpoint, demo_identities: list[Identity], tmp_path: Path
) -> None:
    kind, base = target.get(name), room / "base"
    (record,) = [one for one in manifest.read(base / "manifest.json").artefacts if one.target == name]
    coding = coding_of(base, record)
    plan = enrolment.of_base(coding, record.runs, record.file)
    owned = coding.owned(fold(demo_iin, demo_identities[1]).weights("identity-local"))
    payload = np.concatenate([owned[run.key].transpose(run.axes).ravel() for run in plan.runs])
    names: dict[str, Any] = {}
    exec(snippet("def enrolled"), names)
    for file, data in names["enrolled"](str(base), record.file, payload).items():
        wanted = (room / "applied" / file).read_bytes()
        told = [run for run in record.runs if run.file == file and run.dtype in ("text", "derived")]
        places = {at for run in told for at in range(run.offset, run.end)}
        assert len(data) == len(wanted)
        assert {at for at, (a, b) in enumerate(zip(data, wanted, strict=True)) if a != b} <= places
        (tmp_path / file).write_bytes(data)
    found, expected = (swapped(kind, folder / record.file) for folder in (tmp_path, room / "applied"))
    np.testing.assert_array_equal(found, expected)
    with pytest.raises(ValueError, match="another artefact"):
        names["enrolled"](str(base), record.file, payload.astype(np.float64))
