"""What the project declares; ``tests/install`` tries it."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

from mfs_edge import target

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


def test_every_package_is_listed() -> None:
    """They are listed by name because ``targets/`` is mapped into ``mfs_edge``."""
    folders = {path.parent.relative_to(ROOT) for path in (ROOT / "mfs_edge").rglob("__init__.py")}
    names = {".".join(folder.parts) for folder in folders}
    backends = {path.parent.relative_to(ROOT) for path in (ROOT / "targets").rglob("__init__.py")}
    names |= {".".join(("mfs_edge", *folder.parts)) for folder in backends}
    assert set(PROJECT["tool"]["setuptools"]["packages"]) == names


def test_backends_are_reached_through_the_registry_only() -> None:
    """The contracts of `make lint` see targets/ where it lies, not under the name that it is installed by."""
    direct = re.compile(r"^\s*(from|import) mfs_edge\.targets|^\s*from mfs_edge import .*\btargets\b", re.M)
    assert [path for path in (ROOT / "mfs_edge").rglob("*.py") if direct.search(path.read_text())] == []


def test_torch_is_pinned_for_everyone_and_free_for_users() -> None:
    assert "torch==2.13.0" in (ROOT / "constraints.txt").read_text().split()
    assert "torch>=2.6" in PROJECT["project"]["optional-dependencies"]["compile"]


def test_a_target_needs_no_other_extra_than_its_own() -> None:
    """Each brings the compiler, and "all" is every one of them."""
    extras = PROJECT["project"]["optional-dependencies"]
    targets = target.registered()
    assert targets.keys() == PROJECT["project"]["entry-points"]["mfs_edge.targets"].keys()
    assert all("mfs-edge[compile]" in extras[kind.extra] for kind in targets.values())
    (everything,) = extras["all"]
    assert set(everything.removeprefix("mfs-edge[").removesuffix("]").split(",")) == extras.keys() - {
        *("all", "compile", "dev")
    }


def test_the_base_install_is_small() -> None:
    names = {requirement.split(">")[0] for requirement in PROJECT["project"]["dependencies"]}
    assert names == {"numpy", "click", "rich", "pydantic", "filelock"}


def test_repository_data_stay_small() -> None:
    data = [ROOT / "tests/golden", ROOT / "mfs_edge/sample/data", ROOT / "docs", ROOT / "benchmarks"]
    total = sum(path.stat().st_size for folder in data for path in folder.rglob("*") if path.is_file())
    assert total < 14e6
