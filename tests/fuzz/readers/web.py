"""A WebAssembly module, looked at before a runtime sees it."""

from __future__ import annotations

from pathlib import Path

import wasmtime
from mfs_edge.targets.web import read

from tests.fuzz.registry import Sample, reader

TEXTS = (
    '(module (memory (export "memory") 40) (func (export "size") (result i32) i32.const 64))',
    '(module (import "host" "call" (func)) (memory 1) (func (export "run") call 0))',
    '(module (memory 65536) (func $begin) (start $begin) (data (i32.const 0) "idn"))',
)


@reader("web-module", file="idn.wasm", samples=lambda: [Sample(bytes(wasmtime.wat2wasm(text))) for text in TEXTS])
def check_module(path: Path) -> None:
    read.check(path)
