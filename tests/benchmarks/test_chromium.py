"""The race in a browser: what Python writes is what the page reads, and the module computes. No browser is needed."""

from __future__ import annotations

import json
import re
import urllib.request
from pathlib import Path
from threading import Thread

import numpy as np
import pytest
import wasmtime

from benchmarks import browser, chromium
from benchmarks.chromium import Contender
from mfs_edge import target
from mfs_edge.base.errors import CheckFailed, MissingDependency
from mfs_edge.fold import FoldedIDN
from mfs_edge.graph import build, passes
from mfs_edge.quantize import execute
from mfs_edge.target import EmitOptions

SIZE = 32
SCRIPT = (chromium.PAGE / "race.js").read_text()
ONE = Contender("C", "c", "fp32", "m", "w", "p", (1, 3, SIZE, SIZE), [{"name": "mask", "count": 1}], 0.5, {})


def test_the_page_knows_every_kind_and_reads_what_it_is_told() -> None:
    kinds = re.findall(r"^  async (\w+)\(\{ (.+) \}\) \{$", SCRIPT, re.MULTILINE)
    assert {kind for kind, _ in kinds} == {"c", *chromium.RIVALS}
    told = ONE.told()
    assert json.loads(json.dumps(told)).keys() == told.keys()
    assert "wanted" not in told
    read = {name for _, names in kinds for name in names.split(", ")} | set(re.findall(r"contender\.(\w+)", SCRIPT))
    assert read <= told.keys()
    assert {"picture", "kind", "name", "weights"} <= read


def test_the_page_imports_what_is_installed() -> None:
    html = (chromium.PAGE / "index.html").read_text()
    (imports,) = re.findall(r'<script type="importmap">(.*?)</script>', html, re.DOTALL)
    known = json.loads(imports)["imports"]
    assert set(re.findall(r'from "([^"]+)"', SCRIPT)) == set(chromium.PACKAGES)
    assert set(chromium.PACKAGES) <= known.keys()
    assert all(path.startswith(f"/node_modules/{name}/") for name, path in known.items())
    assert 'src="race.js"' in html


@pytest.mark.parametrize("simd", chromium.SIMD)
def test_the_module_imports_nothing_and_computes_the_frame(demo_folded: FoldedIDN, simd: str, tmp_path: Path) -> None:
    backend = target.get("c")
    graph = passes.optimise(build.build(demo_folded.weights(), size=SIZE))
    backend.emit(graph, tmp_path / "idn.idn", EmitOptions())
    path = chromium.compiled(tmp_path / "idn.idn", tmp_path / "idn.wasm", chromium.SIMD[simd], level="-O1")
    store = wasmtime.Store()
    module = wasmtime.Module.from_file(store.engine, str(path))
    assert not module.imports
    exports = wasmtime.Instance(store, module, []).exports(store)
    assert set(re.findall(r"exports\.(\w+)", SCRIPT)) <= {export.name for export in module.exports}
    exports["_initialize"](store)
    image = np.random.default_rng(0).random((1, 3, SIZE, SIZE), np.float32)
    memory = exports["memory"]
    memory.write(store, (tmp_path / "idn.idn" / "idn.weights").read_bytes(), exports["weights"](store))
    assert exports["open"](store) == 0
    memory.write(store, image.tobytes(), exports["input"](store))
    assert exports["run"](store) == 0
    (expected,) = execute.outputs(graph, [image])
    for name, place in {"swapped": "output", "mask": "alpha"}.items():
        begin = exports[place](store)
        found = np.frombuffer(memory.read(store, begin, begin + expected[name].nbytes), np.float32)
        assert np.abs(found - expected[name].ravel()).max() < 5e-5


def test_the_server_keeps_what_the_page_sends(tmp_path: Path) -> None:
    (tmp_path / "race.json").write_text("{}")
    values = np.arange(3, dtype=np.float32)
    with browser.Server(tmp_path) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        home = f"http://localhost:{server.server_port}"
        with urllib.request.urlopen(f"{home}/race.json") as answer:
            assert answer.headers["Cross-Origin-Embedder-Policy"] == "require-corp"
        for path, body in {"outputs/1/mask": values.tobytes(), "done": b'{"times": [[1.5]]}'}.items():
            urllib.request.urlopen(f"{home}/{path}", data=body).close()
        server.shutdown()
    assert server.done.is_set()
    assert server.told == {"times": [[1.5]]}
    np.testing.assert_array_equal(server.outputs[1]["mask"], values)


def test_what_is_missing_or_ends_is_said(tmp_path: Path) -> None:
    with pytest.raises(MissingDependency, match="no-such-browser is not found"):
        browser.opened(tmp_path, [], turns=1, chromium="no-such-browser")
    with pytest.raises(CheckFailed, match="true ended with code 0 before its page was done"):
        browser.opened(tmp_path, [], turns=1, chromium="true")
