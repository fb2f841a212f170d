"""The C and the C++ of ``docs/apps.md``, built as the page says, against the authors' own output."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from mfs_edge import target
from mfs_edge.fold import FoldedIDN
from mfs_edge.graph import build, passes
from mfs_edge.target import EmitOptions
from tests.test_docs import APPS, snippet

SIZE = 224
C_MAIN = r"""
int main(void) {
  static unsigned char rgb[3 * IDN_SIZE * IDN_SIZE], mask[IDN_SIZE * IDN_SIZE];
  swapper s;
  if (swapper_open(&s, "missing.weights") != IDN_ESHORT) return 1;
  swapper_close(&s);
  const int status = swapper_open(&s, "idn.weights");
  if (status || fread(rgb, 1, sizeof rgb, stdin) != sizeof rgb || swapper_frame(&s, rgb, mask)) return 2;
  fwrite(rgb, 1, sizeof rgb, stdout);
  fwrite(mask, 1, sizeof mask, stdout);
  swapper_close(&s);
  return 0;
}
"""
CPP_MAIN = r"""
#include <cstdio>
#include <vector>
int main() {
    const std::size_t gap = 24, stride = 4 * IDN_SIZE + gap;
    std::vector<std::uint8_t> rgb(3 * IDN_SIZE * IDN_SIZE), bgra(stride * IDN_SIZE, 9);
    std::vector<float> mask(IDN_SIZE * IDN_SIZE);
    if (std::fread(rgb.data(), 1, rgb.size(), stdin) != rgb.size()) return 1;
    try { Swapper("missing.weights"); return 2; } catch (const std::runtime_error&) {}
    Swapper swapper;
    auto at = [&](int y, int x, int c) -> std::uint8_t& { return bgra[y * stride + 4 * x + 2 - c]; };
    for (int y = 0; y < IDN_SIZE; y++) for (int x = 0; x < IDN_SIZE; x++) for (int c = 0; c < 3; c++)
        at(y, x, c) = rgb[(y * IDN_SIZE + x) * 3 + c];
    swapper.swap(bgra.data(), stride, mask.data());
    for (int y = 0; y < IDN_SIZE; y++) for (int x = 0; x < IDN_SIZE; x++) for (int c = 0; c < 3; c++)
        rgb[(y * IDN_SIZE + x) * 3 + c] = at(y, x, c);
    std::fwrite(rgb.data(), 1, rgb.size(), stdout);
    for (float value : mask) std::putchar(static_cast<int>(value * 255 + 0.5f));
    return bgra[3] == 9 && bgra[4 * IDN_SIZE + 1] == 9 ? 0 : 3;
}
"""


CAMERA_MAIN = r"""
#include <stdio.h>
#include <string.h>
enum { WIDE = 320, HIGH = 240, GAP = 16 };
int main(void) {
  static unsigned char bgra[HIGH * (4 * WIDE + GAP)], y[HIGH * (WIDE + GAP)], uv[HIGH / 2 * (WIDE + GAP)];
  static const double at[10] = {130, 90, 190, 90, 160, 125, 138, 160, 184, 160};
  void *weights = aligned_alloc(IDN_ALIGNMENT, IDN_WEIGHTS_BYTES);
  FILE *file = fopen("idn.weights", "rb");
  camera_swapper s;
  if (!file || camera_open(&s, weights, fread(weights, 1, IDN_WEIGHTS_BYTES, file))) return 1;
  if (fread(bgra, 1, sizeof bgra, stdin) != sizeof bgra) return 2;
  memset(y, 120, sizeof y), memset(uv, 128, sizeof uv);
  if (camera_swap_ios(&s, bgra, 4 * WIDE + GAP, WIDE, HIGH, at)) return 3;
  if (camera_swap_android(&s, y, WIDE + GAP, uv + 1, uv, WIDE + GAP, WIDE, HIGH, at)) return 4;
  if (camera_swap_ios(&s, bgra, 4 * WIDE - 1, WIDE, HIGH, at) != IDN_ESTRIDE) return 5;
  int changed = 0;
  for (size_t i = 0; i < sizeof y; i++) changed += y[i] != 120;
  fwrite(bgra, 1, sizeof bgra, stdout);
  camera_close(&s), free(weights), fclose(file);
  return changed < 1000;
}
"""


@pytest.fixture(scope="module")
def folder(golden_folded: FoldedIDN, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What ``compile --target c`` writes, to be copied."""
    path = tmp_path_factory.mktemp("docs") / "idn.idn"
    model = passes.optimise(build.build(golden_folded.weights(), size=SIZE))
    target.get("c").emit(model, path, EmitOptions())
    return path


PROGRAMS = {
    "c": ("swapper_open", C_MAIN, "app.c"),
    "cpp": ("idn_pool.h", CPP_MAIN, "app.cpp"),
}


def compilers() -> list[tuple[str, str]]:
    """For C and C++: what is here (CI has both), or else the one from PyPI."""
    found = [pair for pair in (("gcc", "g++"), ("clang", "clang++")) if all(map(shutil.which, pair))]
    zig = f"{sys.executable} -m ziglang"
    return found or [(f"{zig} cc", f"{zig} c++")]


@pytest.mark.parametrize(("language", "pair"), [("c", compilers()[0]), ("cpp", compilers()[-1])], ids=["c", "cpp"])
def test_the_program_of_the_page_is_golden(
    language: str, pair: tuple[str, str], folder: Path, golden: Mapping[str, np.ndarray], tmp_path: Path
) -> None:
    words, main, name = PROGRAMS[language]
    room = Path(shutil.copytree(folder, tmp_path / "app"))
    (room / name).write_text(snippet(words, language) + main)
    (recipe,) = [line for line in APPS.read_text().splitlines() if f" {name} " in line]
    recipe = re.sub(r"\b(cc|c\+\+) ", lambda found: f"{pair[found[1] == 'c++']} ", recipe)
    subprocess.run(recipe.replace("-o app", "-Wall -Wextra -Werror -o app"), shell=True, cwd=room, check=True)
    image = golden[f"target{SIZE}/image"]
    ran = subprocess.run([room / "app"], input=image.tobytes(), capture_output=True, cwd=room, check=True)
    swapped, mask = np.split(np.frombuffer(ran.stdout, np.uint8), [image.size])
    tolerance = 0.5 / 255 + 5e-5
    expected = golden[f"target{SIZE}/output"].transpose(1, 2, 0)
    assert np.abs(swapped.reshape(image.shape) / 255 - expected).max() < tolerance
    assert np.abs(mask.reshape(SIZE, SIZE) / 255 - golden[f"target{SIZE}/mask"][0]).max() < tolerance


def test_the_camera_of_the_page_swaps_as_python_does(folder: Path, tmp_path: Path) -> None:
    """The same frame by the engine of the same folder."""
    room = Path(shutil.copytree(folder, tmp_path / "app"))
    (room / "camera.c").write_text(snippet("camera_swap_android", "c") + CAMERA_MAIN)
    (recipe,) = [line for line in APPS.read_text().splitlines() if " camera.c " in line]
    recipe = re.sub(r"\bcc ", f"{compilers()[0][0]} ", recipe)
    subprocess.run(recipe.replace("-o camera", "-Wall -Wextra -Werror -o camera"), shell=True, cwd=room, check=True)
    frame = np.random.default_rng(0).integers(0, 256, (240, 4 * 320 + 16), dtype=np.uint8)
    ran = subprocess.run([room / "camera"], input=frame.tobytes(), capture_output=True, cwd=room, check=True)
    found = np.frombuffer(ran.stdout, np.uint8).reshape(frame.shape)
    wanted = np.ascontiguousarray(frame[:, :1280].reshape(240, 320, 4)[..., 2::-1])
    points = np.array([(130, 90), (190, 90), (160, 125), (138, 160), (184, 160)], np.float64)
    target.get("c").load(folder).engine.swap_frame(wanted, points)  # type: ignore[attr-defined]
    assert np.abs(found[:, :1280].reshape(240, 320, 4)[..., 2::-1].astype(int) - wanted).max() <= 1
    assert (found[:, 1280:] == frame[:, 1280:]).all()
    assert (found != frame).any()


def test_the_other_languages_call_what_is_there(folder: Path) -> None:
    """Functions, and the structs that Rust writes down once more, are those of the header."""
    header = (folder / "idn.h").read_text()
    blocks = [snippet("idn_image(", "swift"), snippet("Java_com_example", "c"), snippet("extern", "rust")]
    blocks += [snippet("idn_frame()", "swift"), snippet("camera_swap_android", "c")]
    header += (folder / "idn_frame.h").read_text().partition("#ifndef IDN_FRAME_H")[2]
    called = {name for block in blocks for name in re.findall(r"\b(idn_\w+)\(", block)} - {
        "idn_model",
        "idn_image",
        "idn_frame",
    }
    assert {"idn_open", "idn_run", "idn_error", "idn_arena_bytes", "idn_run_parallel"} <= called
    declared = set(re.findall(r"\b(idn_\w+)\(", header.partition("#ifndef IDN_H")[2]))
    assert called <= declared
    rust = snippet("extern", "rust")
    for struct, fields in (("model", ["shared", "identity", "base", "cpu"]), ("image", ["data", "stride", "format"])):
        (body,) = re.findall(rf"typedef struct {{([^}}]*)}} idn_{struct};", header)
        order = sorted(fields, key=lambda field: re.search(rf"\b{field}\b", body).start())  # type: ignore[union-attr]
        assert order == fields
        (mirrored,) = re.findall(rf"struct {struct.capitalize()} {{([^}}]*)}}", rust)
        assert re.findall(r"(\w+):", mirrored) == fields
