"""The C of ``docs/apps.md`` that reads an identity and swaps with it, against the torch path."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import pytest
from mfs_edge.targets.native import engine

import mfs_edge
from mfs_edge import enrolment, target
from mfs_edge.base import fidelity, images
from mfs_edge.bundle import manifest
from mfs_edge.load.checkpoint import Checkpoint
from mfs_edge.load.embed import Embedder
from mfs_edge.load.identity import Identity
from mfs_edge.pack.base import coding_of
from mfs_edge.verify.reference import reference_of
from tests.enrolment.conftest import golden_crop
from tests.test_docs import snippet

__all__ = ["golden_crop"]

SIZE = 64
MAIN = r"""
static unsigned char *all(const char *name, size_t bytes) {
  FILE *file = fopen(name, "rb");
  unsigned char *held = aligned_alloc(64, (bytes + 63) / 64 * 64);
  if (!file || !held || fread(held, 1, bytes, file) != bytes) exit(9);
  fclose(file);
  return held;
}
int main(int argc, char **argv) { /* idn.weights enrol.weights crop picture: the swapped picture and its mask, twice */
  static unsigned char mask[IDN_SIZE * IDN_SIZE];
  swapper s;
  enrol_model reader;
  if (argc != 5 || swapper_open(&s, argv[1])) return 1;
  if (enrol_open(&reader, all(argv[2], ENROL_WEIGHTS_BYTES), ENROL_WEIGHTS_BYTES)) return 1;
  const unsigned char *crop = all(argv[3], 3 * ENROL_SIZE * ENROL_SIZE);
  for (int turn = 0; turn < 2; turn++) {
    unsigned char *rgb = all(argv[4], 3 * IDN_SIZE * IDN_SIZE);
    if (swapper_frame(&s, rgb, mask)) return 2;
    fwrite(rgb, 1, 3 * IDN_SIZE * IDN_SIZE, stdout);
    if (swapper_enrol(&s, &reader, crop)) return 3;
  }
  const enrol_model closed = {0};
  const char *said = swapper_enrol(&s, &closed, crop);
  return said && !strcmp(said, "a null pointer") ? 0 : 4;
}
"""


@pytest.fixture(scope="module")
def room(
    golden_iin: Checkpoint, golden_arcface: Checkpoint, demo_identities: list[Identity],
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:  # fmt: skip
    """A base of another person in C, and what reads the golden one, as the commands of the page write them."""
    path = tmp_path_factory.mktemp("enrol")
    mfs_edge.compile(
        identity=demo_identities[0], checkpoint=golden_iin, target="c", size=SIZE, out=path / "build", verify=False
    )
    mfs_edge.enrol(
        base=path / "build", arcface=golden_arcface, checkpoint=golden_iin, target="c", precision="fp16",
        out=path / "enrol", verify=False,
    )  # fmt: skip
    return path


def test_a_crop_becomes_who_is_swapped(
    room: Path, golden_crop: np.ndarray, golden: dict[str, np.ndarray], golden_iin: Checkpoint,
    golden_arcface: Checkpoint,
) -> None:  # fmt: skip
    base, reader = room / f"build/idn-{SIZE}-fp32.idn", room / "enrol/enrol-fp16.idn"
    source = snippet("swapper_open", "c") + snippet("swapper_enrol", "c") + MAIN
    (room / "app.c").write_text(source)
    pixels = np.rint(golden_crop[0].transpose(1, 2, 0) * 255).astype(np.uint8)
    picture = images.resize(golden["target224/image"], SIZE)
    (room / "crop").write_bytes(pixels.tobytes())
    (room / "picture").write_bytes(picture.tobytes())
    command, _ = engine.compiler()
    includes, files = [f"-I{base}", f"-I{reader}"], [base / "idn.c", reader / "enrol.c", room / "app.c"]
    flags = ["-O1", "-Wall", "-Wextra", "-Werror", *includes]
    subprocess.run([*command, *flags, *files, "-o", room / "app"], check=True)
    given = [base / "idn.weights", reader / "enrol.weights", room / "crop", room / "picture"]
    ran = subprocess.run([room / "app", *given], capture_output=True, check=True)
    before, after = np.frombuffer(ran.stdout, np.uint8).reshape(2, SIZE, SIZE, 3) / 255
    identity = Embedder(golden_arcface)(golden["identity/image"])
    wanted = reference_of(golden_iin, identity)(images.to_nchw(picture))["swapped"][0].transpose(1, 2, 0)
    assert fidelity.psnr(after - wanted) > 50
    assert fidelity.psnr(before - wanted) < 40


def test_the_manifest_tells_what_the_payload_is_for(room: Path, golden_crop: np.ndarray) -> None:
    (made,) = manifest.read(room / "enrol/manifest.json").artefacts
    (base,) = manifest.read(room / "build/manifest.json").artefacts
    assert (made.file, made.task, made.target) == ("enrol-fp16.idn", "enrol", "c")
    assert made.fits is not None
    assert made.fits.name == base.file
    assert list(made.files) == [made.file]
    assert sorted(file.name for file in (room / "enrol" / made.file).iterdir()) == [
        "CMakeLists.txt", "enrol.c", "enrol.h", "enrol.json", "enrol.weights", "enrol_pool.c", "enrol_pool.h", "main.c",
    ]  # fmt: skip
    plan = enrolment.of_base(coding_of(room / "build", base), base.runs, base.file)
    assert target.get("c").read(room / "enrol" / made.file).gives[0].shape == (plan.count,)
