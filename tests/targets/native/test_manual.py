"""The head of ``idn.h``: what a stranger reads is what the header and the C hold."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
from mfs_edge.targets.native import NativeOptions, NativeTarget, engine

from mfs_edge.target import EmitOptions
from tests.targets.native.test_family import Builder


@pytest.fixture(scope="module", params=[False, True], ids=["file", "embedded"])
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("c") / "a.idn"
    own = NativeOptions(embed=request.param)
    NativeTarget().emit(Builder(4, 32).model([4] * 5, [4] * 4, [4, 4, 4, 4, 2], 4), path, EmitOptions(own=own))
    return path


def parts(folder: Path) -> tuple[str, str]:
    """The manual, and what follows."""
    manual, _, declarations = (folder / "idn.h").read_text().partition("#ifndef IDN_H")
    return manual, declarations


def test_every_error_is_told(folder: Path) -> None:
    manual, declarations = parts(folder)
    declared = re.findall(r"^  (IDN_E\w+) = -\d+", declarations, re.M)
    assert len(declared) == 20
    told = re.findall(r"^     (IDN_E\w+)(?:  .*)?$", manual, re.M)
    assert told == declared
    sources = "".join((folder / name).read_text() for name in ("idn.c", "idn_frame.c"))
    returned = set(re.findall(r"\bIDN_E[A-Z]+\b", sources))
    assert returned == set(declared)


def test_the_errors_of_frames_are_told_beside_them(folder: Path) -> None:
    manual, _, declarations = (folder / "idn_frame.h").read_text().partition("#ifndef IDN_FRAME_H")
    told = re.findall(r"^     (IDN_E\w+)  ", manual, re.M)
    assert told == ["IDN_EFRAME", "IDN_EFORMAT", "IDN_EARENA", "IDN_ELANDMARKS", "IDN_EMIRRORED", "IDN_EOUTSIDE"]
    called = set(re.findall(r"\b(idn_(?:swap|align|paste|affine)\w*)\b", manual))
    assert {"idn_swap_frame", "idn_affine", "idn_align", "idn_paste"} <= called
    assert called <= set(re.findall(r"\b(idn_\w+)\(", declarations))
    assert max(map(len, manual.splitlines())) <= 120


def test_its_numbers_are_the_macros(folder: Path, tmp_path: Path) -> None:
    """By a program that prints both the macros and what the functions of the same names return."""
    manual, _ = parts(folder)
    told = dict(re.findall(r"(IDN_\w+)(?:\(workers\))?\s+(\d+)", manual))
    (tmp_path / "sizes.c").write_text("""
#include "idn.h"
#include <stdio.h>
int main(void) {
  printf("%zu %zu ", (size_t)IDN_WEIGHTS_BYTES, (size_t)IDN_IDENTITY_BYTES);
  printf("%zu %zu\\n", IDN_EXPANDED_BYTES, IDN_ARENA_BYTES(1));
  printf("%zu %zu ", idn_weights_bytes(), idn_identity_bytes());
  printf("%zu %zu\\n", idn_expanded_bytes(), idn_arena_bytes(1));
  return idn_size() != IDN_SIZE || idn_arena_bytes(0) || idn_arena_bytes(IDN_MAX_WORKERS + 1) ||
         idn_arena_bytes(3) != IDN_ARENA_BYTES(3) ||
         IDN_ARENA_BYTES(5) % IDN_ALIGNMENT || IDN_EXPANDED_BYTES % IDN_ALIGNMENT;
}
""")
    command, _ = engine.compiler()
    sources = [tmp_path / "sizes.c", folder / "idn.c", *folder.glob("idn_weights.c")]
    subprocess.run([*command, "-O1", f"-I{folder}", *sources, "-o", tmp_path / "sizes"], check=True)
    ran = subprocess.run([tmp_path / "sizes"], capture_output=True, text=True, check=True)
    wanted = [told[f"IDN_{name}_BYTES"] for name in ("WEIGHTS", "IDENTITY", "EXPANDED", "ARENA")]
    assert [line.split() for line in ran.stdout.splitlines()] == [wanted, wanted]


def test_what_it_tells_to_call_is_declared(folder: Path) -> None:
    manual, declarations = parts(folder)
    called = set(re.findall(r"\b(idn_\w+)\(", manual)) | set(re.findall(r"\bidn_(?:set|run|open|error)\w*", manual))
    assert {"idn_open", "idn_run", "idn_run_parallel", "idn_set_identity", "idn_error"} <= called
    assert called <= set(re.findall(r"\b(idn_\w+)\(", declarations)) | set(re.findall(r"\b(idn_\w+);", declarations))
    assert max(map(len, manual.splitlines())) <= 120


def test_the_header_is_c_and_c_plus_plus(folder: Path, tmp_path: Path) -> None:
    command, _ = engine.compiler()
    for language, standard in (("c", "c99"), ("c++", "c++11")):
        options = ["-x", language, f"-std={standard}", "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-fsyntax-only"]
        for name in ("idn_pool.h", "idn_frame.h"):
            subprocess.run([*command, *options, folder / name], check=True)
