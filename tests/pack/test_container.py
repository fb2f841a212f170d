"""A pack file is a safetensors file, and whatever a stranger writes into one is refused in one line."""

from __future__ import annotations

import hashlib
import json
import struct
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from mfs_edge.base.errors import InputError
from mfs_edge.pack import container
from mfs_edge.pack.container import Pack, Part, Patch

OLD, NEW = "a" * 64, "b" * 64


def small(**changed: object) -> Pack:
    pack = Pack(
        "onnx", "fp32", 224, "idn.onnx", "1" * 64, "2" * 64, {"idn.onnx": Part(100, OLD, NEW)},
        (Patch("idn.onnx", 3, b"abcd"), Patch("idn.onnx", 50, b"efghij")),
    )  # fmt: skip
    return replace(pack, **changed)  # type: ignore[arg-type]


def opened(data: bytes) -> Pack:
    return container.loads(data, Path("some.pack"))


def rewritten(header: dict[str, object], payload: bytes) -> bytes:
    """With a hash that is right, so that only what was changed can be wrong."""
    metadata = header["__metadata__"]
    assert isinstance(metadata, dict)
    said = "".join(f"{key}\0{metadata[key]}\n" for key in sorted(metadata) if key != "sha256")
    metadata["sha256"] = hashlib.sha256(said.encode() + payload).hexdigest()
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + payload


def taken_apart(data: bytes) -> tuple[dict, bytes]:  # type: ignore[type-arg]
    (length,) = struct.unpack_from("<Q", data)
    return json.loads(data[8 : 8 + length]), data[8 + length :]


def test_what_was_written_is_read() -> None:
    assert opened(container.dumps(small())) == small()
    assert container.dumps(small()) == container.dumps(small())


def test_other_readers_of_safetensors_read_it(tmp_path: Path) -> None:
    path = tmp_path / "a.pack"
    path.write_bytes(container.dumps(small()))
    tensors = load_file(path)
    assert {name: array.tobytes() for name, array in tensors.items()} == {"run.0": b"abcd", "run.1": b"efghij"}
    assert all(array.dtype == np.uint8 for array in tensors.values())


def test_a_flipped_bit_is_refused_wherever_it_is() -> None:
    data = container.dumps(small())
    for at in range(len(data)):
        damaged = bytearray(data)
        damaged[at] ^= 1 << at % 8
        with pytest.raises(InputError):
            opened(bytes(damaged))


def test_a_truncated_or_longer_one_is_refused() -> None:
    data = container.dumps(small())
    for length in range(len(data)):
        with pytest.raises(InputError):
            opened(data[:length])
    with pytest.raises(InputError, match="longer than its tensors"):
        opened(data + b"\0")


FILES = [["idn.onnx", 100, OLD, NEW]]
FORGED = {
    "a path that leads out": {"files": [["../idn.onnx", 100, OLD, NEW]]},
    "an absolute path": {"files": [["/etc/passwd", 100, OLD, NEW]]},
    "a Windows path": {"files": [["a\\b", 100, OLD, NEW]]},
    "another spelling": {"files": [*FILES, ["./idn.onnx", 100, OLD, NEW]]},
    "a file twice": {"files": [*FILES, *FILES]},
    "a negative offset": {"runs": [[0, -1, 4], [0, 50, 6]]},
    "an offset behind the end": {"runs": [[0, 3, 4], [0, 95, 6]]},
    "an absurd offset": {"runs": [[0, 3, 4], [0, 10**30, 6]]},
    "a fractional offset": {"runs": [[0, 3.0, 4], [0, 50, 6]]},
    "a truth in the place of a number": {"runs": [[False, 3, 4], [0, 50, 6]]},
    "runs that overlap": {"runs": [[0, 3, 4], [0, 6, 6]]},
    "the same run twice": {"runs": [[0, 3, 4], [0, 3, 6]]},
    "a run of no file": {"runs": [[1, 3, 4], [0, 50, 6]]},
    "other lengths": {"runs": [[0, 3, 6], [0, 50, 4]]},
    "no runs": {"runs": []},
    "a file that changes without a run": {"files": [*FILES, ["other", 1, OLD, NEW]]},
    "no hash": {"files": [["idn.onnx", 100, "x" * 64, NEW]]},
    "a deep nest": {"runs": "[" * 100_000},
    "a key twice": {"files": '{"a": 1, "a": 2}'},
    "a number of endless digits": {"runs": f"[[0, {'9' * 10_000}, 4]]"},
}


@pytest.mark.parametrize("forged", FORGED)
def test_forgeries_are_refused(forged: str) -> None:
    header, payload = taken_apart(container.dumps(small()))
    for key, value in FORGED[forged].items():
        header["__metadata__"][key] = value if isinstance(value, str) else json.dumps(value)
    with pytest.raises(InputError, match=r"some\.pack: is not a sound pack \(.+\); make or copy it again") as caught:
        opened(rewritten(header, payload))
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize("key", ["format", "notice", "files", "runs", "size", "artefact", "identity_sha256"])
def test_metadata_that_lack_a_key_or_have_another_are_refused(key: str) -> None:
    header, payload = taken_apart(container.dumps(small()))
    del header["__metadata__"][key]
    with pytest.raises(InputError):
        opened(rewritten(header, payload))
    header, payload = taken_apart(container.dumps(small()))
    header["__metadata__"][f"{key}2"] = "1"
    with pytest.raises(InputError):
        opened(rewritten(header, payload))


@pytest.mark.parametrize("artefact", ["", ".", "..", "a/b", "a\\b", "/", "other.onnx", "C:", "a\0"])
def test_an_artefact_that_is_none_of_the_files_is_refused(artefact: str) -> None:
    with pytest.raises(InputError):
        opened(container.dumps(small(artefact=artefact)))


@pytest.mark.parametrize("tensor", [
    {"dtype": "I8", "shape": [4], "data_offsets": [0, 4]},
    {"dtype": "U8", "shape": [2, 2], "data_offsets": [0, 4]},
    {"dtype": "U8", "shape": [4], "data_offsets": [4, 8]},
    {"dtype": "U8", "shape": [4], "data_offsets": [0, 2**63]},
    {"dtype": "U8", "shape": [4]},
    [],
])  # fmt: skip
def test_tensors_that_lie_elsewhere_are_refused(tensor: object) -> None:
    header, payload = taken_apart(container.dumps(small()))
    header["run.0"] = tensor
    with pytest.raises(InputError):
        opened(rewritten(header, payload))


@pytest.mark.parametrize("length", [0, 7, 2**20 + 1, 2**40, 2**64 - 1])
def test_an_absurd_header_is_refused_before_it_is_read(length: int) -> None:
    with pytest.raises(InputError):
        opened(struct.pack("<Q", length) + b"{}" * 20)


def test_a_file_too_large_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "huge.pack"
    with path.open("wb") as file:
        file.truncate(container.LARGEST + 1)  # sparse
    with pytest.raises(InputError, match="too large for a pack"):
        container.read(path)


def test_every_message_hides_the_payload() -> None:
    assert "abcd" not in repr(small())
