"""Manifest, logs and reports hold neither embedding nor feature map nor what was folded of them, in any form of print.

Every number of the identity here begins with the same digits, whatever its sign and power of ten, so that one
number out of 25,600 is found in a text without knowing how it was written.
"""

from __future__ import annotations

import base64
import itertools
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator

import numpy as np
import pytest

from mfs_edge import target
from mfs_edge.fold import fold
from mfs_edge.load.checkpoint import Checkpoint
from mfs_edge.load.identity import Identity, save
from mfs_edge.networks import spec

SIZE = 32
# Of the embedding, which has length 1, in full and to five places; and of the feature map.
DIGITS = ("44194", "4419", "73137")
SEEN = 8  # bytes of an array that must not be found as hex or base64
_HASH = re.compile(r"\b[0-9a-f]{40,}\b")
_NUMBER = re.compile(r"(?<![0-9.])[0-9]*\.?[0-9]+")


@pytest.fixture(scope="module")
def marked() -> Identity:
    """A person who is told by her digits."""
    random = np.random.default_rng(16)
    embedding = random.choice([-1, 1], spec.EMBEDDING) / np.sqrt(spec.EMBEDDING)  # 0.0441941...
    ends = random.uniform(0.731371, 0.731374, spec.FEATURE_MAP)
    return Identity(embedding.astype(np.float32), (random.choice([-1, 1], spec.FEATURE_MAP) * ends).astype(np.float32))


def numbers_of(text: str) -> Iterator[str]:
    """The first five digits that count, of each number that has them; a hash is none."""
    for found in _NUMBER.findall(_HASH.sub("", text)):
        digits = found.replace(".", "").lstrip("0")
        if len(digits) >= 5 or found.startswith("0.0"):
            yield digits[:5]


def told(text: str, arrays: dict[str, np.ndarray]) -> set[str]:
    """What of a person ``text`` gives away: a number of hers, or the bytes of an array as hex or base64."""
    found = {digits for digits in numbers_of(text) if digits in DIGITS}
    plain = re.sub(r"[\s:,]|\\x|0x", "", text).lower()
    packed = re.sub(r"\s", "", text)
    for name, array in arrays.items():
        if any(_hex(array, plain)) or any(form in packed for form in _base64(array)):
            found.add(name)
    return found


def _windows(array: np.ndarray) -> Iterator[bytes]:
    for kind in (array.dtype, array.dtype.newbyteorder(), np.float16, np.float64):
        data = array.astype(kind).tobytes()
        yield from (data[start : start + 3 * SEEN] for start in (0, len(data) // 16 * 8, len(data) - 3 * SEEN))


def _hex(array: np.ndarray, text: str) -> Iterator[bool]:
    return (window[:SEEN].hex() in text for window in _windows(array))


def _base64(array: np.ndarray) -> Iterator[str]:
    """At each of the three phases, in both alphabets, without the signs that depend on what is around."""
    for window, phase, encode in itertools.product(
        _windows(array), range(3), (base64.b64encode, base64.urlsafe_b64encode)
    ):
        yield encode(window[phase : phase + 12]).decode().rstrip("=")[:-1]


def of(person: Identity, checkpoint: Checkpoint) -> dict[str, np.ndarray]:
    """Embedding, feature map, and every folded tensor that is the identity's."""
    folded = fold(checkpoint, person)
    forms = {form: folded.weights(form) for form in ("plain", "identity-local")}
    kept = {f"{form} {name}": held for form, every in forms.items() for name, held in every.items() if _free(name)}
    local = {name: forms["identity-local"][name] for name in ("mask.0.1.weight", "final.1.weight")}
    return {"embedding": person.embedding, "feature map": person.feature_map, "id.npy": person.flat, **kept, **local}


def _free(name: str) -> bool:
    return re.fullmatch(r"(En|De)coder\.\d\.0\.weight", name) is not None


@pytest.fixture(scope="module")
def arrays(marked: Identity, demo_iin: Checkpoint) -> dict[str, np.ndarray]:
    return of(marked, demo_iin)


@pytest.fixture(scope="module")
def said(marked: Identity, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Everything that compiling, measuring and looking at it writes as text, by where it is."""
    folder = tmp_path_factory.mktemp("told")
    save(marked, folder / "id.npy")
    texts = {}
    for words in (
        ["compile", "--identity", "id.npy", "--size", str(SIZE), "--json"],
        ["--debug", "compile", "--identity", "id.npy", "--size", str(SIZE), "--overwrite"],
        ["bench", "build", "--no-time", "--json", "bench.json", "--html", "bench.html"],
        ["inspect", f"build/idn-{SIZE}-fp32.onnx", "--layers", "--json"],
        ["inspect", "id.npy"],
    ):
        command = [sys.executable, "-m", "mfs_edge", *words]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300, env=os.environ)
        texts[f"{words[0]} stdout {len(texts)}"], texts[f"{words[0]} stderr {len(texts)}"] = done.stdout, done.stderr
        assert done.returncode == 0 or words == ["inspect", "id.npy"], done.stderr
    for path in sorted(folder.rglob("*")):
        if path.suffix in {".json", ".html", ".md", ".txt", ".xml", ".log"}:
            texts[str(path.relative_to(folder))] = path.read_text()
    held = target.get("onnx").read(folder / "build" / f"idn-{SIZE}-fp32.onnx").metadata
    return texts | {"metadata of the file": json.dumps(held)}


def test_what_is_written_tells_nothing(said: dict[str, str], arrays: dict[str, np.ndarray]) -> None:
    assert {"build/manifest.json", "bench.json", "bench.html", "metadata of the file"} <= said.keys()
    assert sum(map(len, said.values())) > 10_000
    assert {where: found for where, text in said.items() if (found := told(text, arrays))} == {}


def test_but_the_hash_that_traces_consent(said: dict[str, str], marked: Identity) -> None:
    assert marked.sha256 in said["build/manifest.json"]
    assert marked.sha256 in said["metadata of the file"]


WAYS: dict[str, Callable[[np.ndarray], str]] = {
    "a list": lambda values: json.dumps(values.ravel()[:3].tolist()),
    "numpy": lambda values: repr(values),
    "five places": lambda values: f"{values.ravel()[7]:.5f}",
    "six digits": lambda values: f"norm={values.ravel()[7]:.6g};",
    "exponent": lambda values: f"{values.ravel()[7]:.6e}",
    "float64": lambda values: repr(float(values.ravel()[7])),
    "percent": lambda values: f"{values.ravel()[7]:.4%}",
    "a table": lambda values: " | ".join(f"{value:>12.7f}" for value in values.ravel()[:4]),
    "hex": lambda values: values.tobytes().hex(),
    "hex in capitals, spaced": lambda values: values.tobytes()[:40].hex(" ").upper(),
    "escaped": lambda values: "".join(f"\\x{byte:02x}" for byte in values.tobytes()[:64]),
    "half precision in hex": lambda values: values.astype(np.float16).tobytes().hex(),
    "base64": lambda values: base64.b64encode(values.tobytes()).decode(),
    "base64, one byte on": lambda values: base64.b64encode(b"x" + values.tobytes()).decode(),
    "base64 of lines": lambda values: base64.encodebytes(b"xy" + values.tobytes()).decode(),
}


@pytest.mark.parametrize("what", ["embedding", "feature map"])
@pytest.mark.parametrize("way", WAYS)
def test_the_search_finds_what_is_told(way: str, what: str, arrays: dict[str, np.ndarray]) -> None:
    assert told(f'{{"note": "{WAYS[way](arrays[what])}"}}', arrays)


@pytest.mark.parametrize("way", [way for way in WAYS if "base64" in way or "hex" in way])
def test_and_the_payload_of_a_pack(way: str, arrays: dict[str, np.ndarray]) -> None:
    payload = np.concatenate([values.ravel() for name, values in arrays.items() if name.startswith("identity-local")])
    assert told(WAYS[way](payload), arrays)


def test_the_search_is_no_false_alarm() -> None:
    assert told("psnr 147.31372 dB of 99.73137, v1.44.19, 44194.0; sha256 " + "7313744194" * 6, {}) == {"44194"}
    assert told("psnr 147.31372 dB of 99.73137, v1.44.19, 0.4419; sha256 " + "7313744194" * 6, {}) == set()
