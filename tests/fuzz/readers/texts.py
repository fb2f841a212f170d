"""Manifests, results, baselines, budgets, ``mfs-edge.toml``: what mfs-edge reads of its own, and settings."""

from __future__ import annotations

import json
import os
from pathlib import Path

from mfs_edge.base import config
from mfs_edge.bundle import manifest
from mfs_edge.measure import facts, gate, page, results, summary, table
from mfs_edge.measure.devices import tools
from tests.fuzz.registry import Sample, reader
from tests.fuzz.structures import texts

_ROOT = Path(__file__).parents[3]
TRANSCRIPTS = _ROOT / "tests" / "measure" / "transcripts"
_ONNX = b"no model, but something with a hash"
_EDGE = {"name": "image", "dtype": "float32", "shape": [1, 3, 64, 64], "layout": "NCHW", "range": "0..1"}


def _record() -> dict[str, object]:
    source = {"name": "iin.pdparams", "sha256": "0" * 64}
    fidelity = {"max_abs": 1e-6, "psnr_mean": 120.0, "psnr_worst": 118.0}
    return {
        "file": "idn-64-fp32.onnx",
        "files": {"idn-64-fp32.onnx": "1" * 64},
        "bytes": 2_000_000,
        "target": "onnx",
        "precision": "fp32",
        "io": "float32",
        "size": 64,
        "optimize": 1,
        "checkpoint": source,
        "identity_sha256": "2" * 64,
        "inputs": [_EDGE],
        "outputs": [_EDGE],
        "operators": {"Conv": 20},
        "parameters": 500_000,
        "macs": 40_000_000,
        "verification": {"status": "passed", "verified": "runtime", "run": "onnxruntime", "swapped": fidelity},
    }


def manifests() -> list[Sample]:
    versions = {"mfs-edge": "0.1", "python": "3.11"}
    whole = {"schema_version": 1, "notice": "n", "versions": versions, "artefacts": [_record()], "warnings": []}
    return [Sample(json.dumps(whole).encode(), {"idn-64-fp32.onnx": _ONNX})]


@reader("manifest", file="manifest.json", samples=manifests, structures=[texts.as_json], share=2)
def read_manifest(path: Path) -> None:
    found = manifest.read(path)
    found.files()
    for artefact in found.artefacts:
        artefact.intact(path.parent)
        artefact.within(path.parent)
    facts.artefacts((path.parent,))


def _reports() -> list[Sample]:
    """The demo's own baseline, without most of its figures."""
    held = json.loads((_ROOT / "benchmarks" / "baselines" / "demo.json").read_text())
    held["entries"] = held["entries"][:2]
    for entry in held["entries"]:
        entry["observation"]["layers"] = entry["observation"].get("layers", [])[:2]
        entry["observation"]["picture"] = None
    return [Sample(json.dumps(held).encode())]


@reader("results", file="baseline.json", samples=_reports, structures=[texts.as_json], share=2)
def read_results(path: Path) -> None:
    """As a baseline, against itself; and shown in every form."""
    report = results.load(path)
    gate.check_baseline(report, path, report.entries)
    table.tables(report)
    summary.render(report)
    page.render(report, [])


def _configs() -> list[Sample]:
    return [Sample(b'checkpoint = "models/iin.pdparams"\n'), Sample('# ä\ncheckpoint = "~/iin.pth"\n'.encode())]


@reader("config", file="mfs-edge.toml", samples=_configs, structures=[texts.as_toml])
def read_config(path: Path) -> None:
    os.environ.pop(config.VARIABLE, None)
    os.chdir(path.parent)
    try:
        config.checkpoint_path(None)
    finally:
        os.chdir(_ROOT)


def _budgets() -> list[Sample]:
    return [Sample(b'[default]\nparameters = 600_000\n["*-int8.tflite"]\nbytes = 700_000\np50_ms = 12.5\n')]


@reader("budget", file="bench.toml", samples=_budgets, structures=[texts.as_toml])
def read_budget(path: Path) -> None:
    budget = gate.read_budget(path)
    gate.check_budget(budget, results.Report.model_validate_json(_reports()[0].data).entries)


def _transcripts() -> list[Sample]:
    return [Sample(path.read_bytes()) for path in sorted(TRANSCRIPTS.iterdir())]


@reader("device-log", file="log.txt", samples=_transcripts, structures=[texts.odd_text], share=0.5)
def read_log(path: Path) -> None:
    """What a phone's tool printed; None where it holds no figures."""
    lines = path.read_bytes().decode("utf-8", "replace").splitlines()
    for tool in (tools.BENCHMARK_MODEL, tools.PERF_TEST):
        tool.parse(lines)
