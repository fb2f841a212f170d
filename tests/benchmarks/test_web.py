"""The race in a browser: what Python writes is what the page reads. No browser is needed."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from mfs_edge.targets.web import WebTarget
from mfs_edge.targets.web.read import MODULES

from benchmarks import npm, web
from benchmarks.web import Contender
from mfs_edge.base.errors import CheckFailed, MissingDependency

SCRIPT = (web.PAGE / "race.js").read_text()
ONE = Contender("C", "web", "fp32", "m", "p", (1, 3, 32, 32), [{"name": "mask", "count": 1}], {})


def test_the_page_knows_every_kind_and_reads_what_it_is_told() -> None:
    kinds = set(re.findall(r"^  async (\w+)\(", SCRIPT, re.MULTILINE))
    assert kinds == {WebTarget.name, "webgpu", *web.RIVALS}
    told = ONE.told()
    assert json.loads(json.dumps(told)).keys() == told.keys()
    assert "wanted" not in told
    read = {
        name for names in re.findall(r"\(\{ ([a-z, ]+) \}\) \{$", SCRIPT, re.MULTILINE) for name in names.split(", ")
    }
    read |= set(re.findall(r"contender\.(\w+)", SCRIPT))
    assert read - {"contenders", "turns", "warmup"} <= told.keys()
    assert {"picture", "kind", "name", "model"} <= read


def test_the_page_imports_what_is_installed() -> None:
    html = (web.PAGE / "index.html").read_text()
    (imports,) = re.findall(r'<script type="importmap">(.*?)</script>', html, re.DOTALL)
    known = json.loads(imports)["imports"]
    assert set(re.findall(r'import\("([^"/.][^"]*)"\)', SCRIPT)) <= known.keys()
    assert all(path.startswith("/node_modules/") for path in known.values())
    assert {path.split("/dist/")[0].removeprefix("/node_modules/") for path in known.values()} >= web.PACKAGES.keys()
    assert 'src="race.js"' in html


def test_both_modules_take_part() -> None:
    assert set(web.OURS.values()) == set(MODULES)


def test_what_the_page_posts_is_kept() -> None:
    heard = web.Heard()
    values = np.arange(3, dtype=np.float32)
    heard.receive("/outputs/1/mask", values.tobytes())
    heard.receive("/first/1", b'{"ms": 1.5, "bytes": 10}')
    assert not heard.done.is_set()
    heard.receive("/done", b'{"times": [[], [1.5]]}')
    assert heard.done.is_set()
    assert heard.told == {"times": [[], [1.5]]}
    assert heard.first == {1: {"ms": 1.5, "bytes": 10}}
    np.testing.assert_array_equal(heard.outputs[1]["mask"], values)


def test_what_npm_lacks_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MFS_EDGE_CACHE", str(tmp_path))
    monkeypatch.setattr(npm.shutil, "which", lambda name: None)
    with pytest.raises(MissingDependency, match="npm is not found"):
        npm.installed({"nothing": "1.0.0"})
    failing = tmp_path / "npm-that-fails"
    failing.write_text("#!/bin/sh\necho 'no such package' >&2\nexit 1\n")
    failing.chmod(0o755)
    monkeypatch.setattr(npm.shutil, "which", lambda name: str(failing))
    with pytest.raises(CheckFailed, match="no such package"):
        npm.installed({"nothing": "1.0.0"})
    assert not list((tmp_path / "npm").glob("*/node_modules"))
