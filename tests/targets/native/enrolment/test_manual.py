"""The head of ``enrol.h``: what a stranger reads is what the header and the C hold. The example and its CMake build."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import numpy as np
from mfs_edge.targets.native import NativeTarget, engine

from tests.targets.native.enrolment import zoo
from tests.targets.native.enrolment.conftest import Written


def parts(folder: Path) -> tuple[str, str]:
    """The manual, and what follows."""
    manual, _, declarations = (folder / "enrol.h").read_text().partition("#ifndef ENROL_H")
    return manual, declarations


def test_every_error_is_told(written: Written) -> None:
    folder, _ = written("float")
    manual, declarations = parts(folder)
    declared = re.findall(r"^  (ENROL_E\w+) = -\d+", declarations, re.M)
    assert len(declared) == 15
    assert re.findall(r"^     (ENROL_E\w+) ", manual, re.M) == declared
    assert set(re.findall(r"\bENROL_E[A-Z]+\b", (folder / "enrol.c").read_text())) == set(declared)
    assert max(map(len, manual.splitlines())) <= 120


def test_its_numbers_are_the_macros(written: Written, tmp_path: Path) -> None:
    folder, _ = written("code")
    manual, _ = parts(folder)
    told = dict(re.findall(r"(ENROL_\w+)\s+(\d+)  ", manual))
    (tmp_path / "sizes.c").write_text("""
#include "enrol.h"
#include <stdio.h>
int main(void) {
  printf("%zu %zu %zu\\n", ENROL_WEIGHTS_BYTES, ENROL_ARENA_BYTES, ENROL_PAYLOAD_BYTES);
  printf("%zu %zu %zu\\n", enrol_weights_bytes(), enrol_arena_bytes(), enrol_payload_bytes());
  return enrol_size() != ENROL_SIZE || ENROL_ARENA_BYTES % ENROL_ALIGNMENT;
}
""")
    command, _ = engine.compiler()
    sources = [tmp_path / "sizes.c", folder / "enrol.c"]
    subprocess.run([*command, "-O1", f"-I{folder}", *sources, "-o", tmp_path / "sizes"], check=True)
    ran = subprocess.run([tmp_path / "sizes"], capture_output=True, text=True, check=True)
    wanted = [told[f"ENROL_{name}_BYTES"] for name in ("WEIGHTS", "ARENA", "PAYLOAD")]
    assert [line.split() for line in ran.stdout.splitlines()] == [wanted, wanted]
    assert int(wanted[0]) == (folder / "enrol.weights").stat().st_size


def test_what_it_tells_to_call_is_declared(written: Written) -> None:
    manual, declarations = parts(written("float")[0])
    called = set(re.findall(r"\b(enrol_\w+)\(", manual))
    assert {"enrol_open", "enrol_run", "enrol_identity", "enrol_error"} <= called
    assert called <= set(re.findall(r"\b(enrol_\w+)\(", declarations))


def test_the_header_is_c_and_c_plus_plus(written: Written) -> None:
    command, _ = engine.compiler()
    for language, standard in (("c", "c99"), ("c++", "c++11")):
        options = ["-x", language, f"-std={standard}", "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-fsyntax-only"]
        subprocess.run([*command, *options, written("float")[0] / "enrol_pool.h"], check=True)


def test_the_example_reads_a_picture(written: Written, tmp_path: Path) -> None:
    folder, _ = written("float")
    command, _ = engine.compiler()
    sources = [folder / "main.c", folder / "enrol.c"]
    subprocess.run([*command, "-O1", "-Wall", "-Wextra", "-Werror", *sources, "-o", tmp_path / "example"], check=True)
    pixels = np.random.default_rng(5).integers(0, 256, (zoo.SIZE, zoo.SIZE, 3), np.uint8)
    (tmp_path / "a.ppm").write_bytes(f"P6 {zoo.SIZE} {zoo.SIZE} 255\n".encode() + pixels.tobytes())
    given = [tmp_path / "example", folder / "enrol.weights"]
    subprocess.run([*given, tmp_path / "a.ppm", tmp_path / "payload"], check=True)
    crop = pixels.transpose(2, 0, 1)[None] * np.float32(1 / 255)
    wanted = NativeTarget().load(folder, threads=1).enrol(crop)
    np.testing.assert_allclose(np.fromfile(tmp_path / "payload", np.float32), wanted, rtol=1e-4, atol=1e-4)
    (tmp_path / "b.ppm").write_bytes(b"P6 4 4 255\n")
    assert (
        subprocess.run([*given, tmp_path / "b.ppm", tmp_path / "no"], capture_output=True, check=False).returncode == 2
    )
    assert not (tmp_path / "no").exists()
