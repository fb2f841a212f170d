"""Descriptions that a stranger wrote, with the very C that this version makes of them: none is compiled."""

from __future__ import annotations

import copy
import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from mfs_edge.targets.native import NativeTarget, described, emit, plan, read, schedule, weights

from mfs_edge.base import files
from mfs_edge.base.errors import InputError, LoweringError
from mfs_edge.target import EmitOptions
from tests.targets.native.test_family import Builder

TARGET = NativeTarget()
WIDTHS = ([9, 8, 7, 6, 5], [8, 7, 6, 5], [7, 6, 5, 4, 2], 4)
ATTACK = "*/ __attribute__((constructor)) static void attack(void) { __builtin_trap(); } /*"
Edit = Callable[[dict[str, Any]], None]


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("c") / "a.idn"
    TARGET.emit(Builder(1, 64).model(*WIDTHS), path, EmitOptions())
    return path


def edited(folder: Path, edit: Edit) -> None:
    """Whatever ``edit`` does to the index; the C is made anew where that is possible, the hashes are right."""
    index = json.loads((folder / read.INDEX).read_text())
    edit(index)
    try:
        planned = plan.make(schedule.blank(index["network"]))
        made = emit.sources(planned, weights.pack(planned), index["precision"], embedded=False)
    except (*emit.DAMAGE, LoweringError):
        made = {}
    for name, content in made.items():
        (folder / name).write_bytes(content)
    index["sha256"] = {name: files.sha256(folder / name) for name in index["sha256"]}
    (folder / read.INDEX).write_text(json.dumps(index))


def network(edit: Edit) -> Edit:
    return lambda index: edit(index["network"])


def shape(block: str, number: int | None, key: str, *sizes: int) -> Edit:
    def edit(held: dict[str, Any]) -> None:
        found = held[block] if number is None else held[block][number]
        found[key] = list(sizes)

    return network(edit)


def wider(index: dict[str, Any]) -> None:
    """A concatenation with another stage's map."""
    index["network"]["skips"][:2] = index["network"]["skips"][1::-1]


def twice(index: dict[str, Any]) -> None:
    """Two blocks under one name, so that the weights of one are taken for the other's."""
    index["network"]["mask"][1]["name"] = index["network"]["mask"][0]["name"]


EDITS: dict[str, Edit] = {
    "code in the precision": lambda index: index.update(precision=f"fp32 {ATTACK}"),
    "code in a node's name": network(lambda held: held["stem"]["nodes"].append(ATTACK)),
    "code in the blend": network(lambda held: held["blend"].append(ATTACK)),
    "code in a block's name": network(lambda held: held["mask"][0].update(name=f"a{ATTACK}")),
    "a string that ends": network(lambda held: held["encoder"][1].update(name='x"; __builtin_trap(); //')),
    "a new line": network(lambda held: held["stem"]["nodes"].append("a\n#include </etc/passwd>\n")),
    "a backslash": network(lambda held: held["stem"]["nodes"].append("a\\")),
    "a macro's name": network(lambda held: held["decoder"][0].update(name="tail_face")),
    "a kernel too small": shape("encoder", 0, "kernel", 9, 1, 1),
    "a kernel of one channel": shape("encoder", 0, "kernel", 1, 4, 4),
    "weights too few": shape("decoder", 1, "weight", 7, 1),
    "a bias of one": shape("decoder", 1, "bias", 1),
    "a dense kernel too small": shape("face", 0, "weight", 5, 4, 1, 1),
    "another width": shape("mask_out", None, "weight", 1, 1, 3, 3),
    "no width": shape("squeeze", None, "weight", 0, 12, 1, 1),
    "another skip": wider,
    "one name twice": twice,
    "too deep": network(lambda held: held["encoder"].extend(held["encoder"])),
    "too shallow": network(lambda held: held["mask"].pop(1)),
    "too large": shape("face", 0, "weight", 2**20, 4, 3, 3),
    "an infinite slope": network(lambda held: held.update(slope=float("inf"))),
    "an offset of one": shape("decoder", 2, "offset", 1),
    "integers where planes are made": network(lambda held: held["mask"][-2].update(integer=True)),
    "integers of the picture": network(lambda held: held["stem"].update(integer=True)),
    "a kind that is text": network(lambda held: held["encoder"][0].update(integer="yes")),
    "two kinds": network(lambda held: [held.update(half=True), held["encoder"][0].update(integer=True)]),
    "another size": network(lambda held: held.update(size=48)),
}


@pytest.mark.parametrize("edit", EDITS.values(), ids=EDITS.keys())
def test_it_is_refused_before_any_compiler(
    written: Path, tmp_path: Path, edit: Edit, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = Path(shutil.copytree(written, tmp_path / "a.idn"))
    edited(folder, edit)
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: pytest.fail("a compiler was called"))
    with pytest.raises(InputError, match=r"idn\.json: is damaged"):
        TARGET.load(folder)


@pytest.mark.parametrize("precision", described.PRECISIONS)
def test_every_precision_may_be_described(written: Path, precision: str) -> None:
    described.check(json.loads((written / read.INDEX).read_text())["network"], precision)


@pytest.mark.parametrize(
    ("size", "widths"),
    [
        (32, WIDTHS),
        (64, ([2, 2, 2, 2, 2], [2, 2, 2, 2], [2, 2, 2, 2, 2], 2)),
        (96, ([70, 3, 70, 3, 5], [33, 2, 33, 2], [2, 40, 2, 40, 9], 30)),
    ],
)
def test_every_width_and_size_may_be_described(size: int, widths: Any, tmp_path: Path) -> None:
    TARGET.emit(Builder(2, size).model(*widths), tmp_path / "a.idn", EmitOptions())
    emit.vouch(tmp_path / "a.idn")


def test_what_could_not_be_vouched_for_is_not_written(tmp_path: Path) -> None:
    model = Builder(1, 64).model(*copy.deepcopy(WIDTHS))
    node = next(node for node in model.graph if node.name == "encoder.1.leaky")
    node.name = f"encoder.1 {ATTACK}"
    with pytest.raises(LoweringError, match="no node is called"):
        TARGET.emit(model, tmp_path / "a.idn", EmitOptions())
    assert not (tmp_path / "a.idn").exists()
