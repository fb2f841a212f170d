"""The line that says why; real exceptions are tried where they come from: tests/targets, tests/measure."""

from __future__ import annotations

import subprocess
import sys

import pytest

from mfs_edge.base.reasons import named, reason_in, reason_of

TOLD = {
    "no such operator": "no such operator",
    "": "RuntimeError",
    " \n\n": "RuntimeError",
    "Exception from src/a.cpp:1:\nCheck 'x' failed at src/b.cpp:2": "Check 'x' failed at src/b.cpp:2",
    # OpenVINO 2023.3
    "Exception from src/inference/src/core.cpp:85:\nException from src/frontends/ir/src/ir_deserializer.cpp:438:\n"
    "Invalid IR! mask name is not unique!\n\n": "Invalid IR! mask name is not unique!",
    # OpenVINO 2024.6
    "Exception from src/inference/src/cpp/core.cpp:97:\nCheck 'axis < rank' failed at src/core/src/op/concat.cpp:41:\n"
    "While validating node 'opset1::Concat swapped_in (opset1::Add a[0]:f32[1,3,64,64]) -> ()' with friendly_name "
    "'decoder/concat':\nConcatenation axis (9) is out of bounds.\n\n": (
        "Concatenation axis (9) is out of bounds, at node decoder/concat"
    ),
    # onnxruntime
    "[ONNXRuntimeError] : 1 : FAIL : Load model from a.onnx failed:/src/onnxruntime/core/graph/model.cc:146 "
    "onnxruntime::Model::Model(onnx::ModelProto&&, const onnxruntime::PathString&) Unsupported model IR version: 99, "
    "max supported IR version: 10": "Unsupported model IR version: 99, max supported IR version: 10",
    # LiteRT
    "Didn't find op for builtin opcode 'ADD' version '99'.\nRegistration failed.\n": (
        "Didn't find op for builtin opcode 'ADD' version '99'. Registration failed."
    ),
    # a library that quotes a traceback
    'Conversion failed.\nTraceback (most recent call last):\n  File "/a/b.py", line 3, in f\n    g()\n'
    "ValueError: rank 5 is not supported": "Conversion failed. ValueError: rank 5 is not supported",
}


@pytest.mark.parametrize("text", TOLD)
def test_exceptions(text: str) -> None:
    assert reason_of(RuntimeError(text)) == TOLD[text]


def test_a_long_reason_keeps_both_ends() -> None:
    found = reason_of(RuntimeError("at first " + "x" * 1000 + " because of this"))
    assert found.startswith("at first ")
    assert found.endswith(" because of this")
    assert len(found) == 300


def test_with_the_type() -> None:
    assert named(KeyError("a")) == "KeyError: 'a'"
    assert named(MemoryError()) == "MemoryError"


LOGS = {
    "": "it said nothing",
    "INFO: Loaded model a.tflite\nSegmentation fault\n": "Segmentation fault",
    "INFO: Loaded model a.tflite\nERROR: Didn't find op for builtin opcode 'ADD' version '99'.\n"
    "ERROR: Registration failed.\n\nERROR: Benchmarking failed.\n": (
        "Didn't find op for builtin opcode 'ADD' version '99'. Registration failed. Benchmarking failed."
    ),
    "I0000 00:00:1700000000.1 77 a.cc:3] STARTING!\nE0000 00:00:1700000000.2 77 b.cc:9] no such delegate\nbye\n": (
        "no such delegate"
    ),
    "2024-05-01 12:00:00.1 [W:onnxruntime:, graph.cc:1 f] unused\n2024-05-01 12:00:00.2 [E:onnxruntime:, "
    "inference_session.cc:2045 operator()] Exception during initialization: no kernel\nAborted\n": (
        "Exception during initialization: no kernel"
    ),
    "terminate called after throwing an instance of 'std::bad_alloc'\n  what():  std::bad_alloc\nAborted\n": (
        "std::bad_alloc"
    ),
}


@pytest.mark.parametrize("text", LOGS)
def test_what_programs_write(text: str) -> None:
    assert reason_in(text.splitlines()) == LOGS[text]


def test_what_python_writes() -> None:
    script = "import sys\nsys.stderr.write('a warning\\n')\ndef f():\n    raise OSError('first\\nsecond')\nf()"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert reason_in(done.stderr.splitlines()) == "OSError: first second"
