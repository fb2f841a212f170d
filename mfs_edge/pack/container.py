"""The pack file: one identity, as the bytes that it fills in one artefact of a base.

It is a safetensors file (8 bytes of length, a JSON header, the tensors): one tensor of bytes per run, and
metadata that say where each belongs, which base it fits and what comes out. A pack may come from a
stranger: whatever it says of itself is bounded before it is believed. Needs the standard library only.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path, PurePosixPath
from typing import Any

from mfs_edge.base import files
from mfs_edge.base.errors import InputError
from mfs_edge.pack import sealed

FORMAT = "mfs-edge-pack/1"
SUFFIX = ".pack"
NOTICE = "this pack is biometric data of a person: keep it as you would a photograph, delete it when consent ends"
LARGEST = 16 << 20  # bytes of a pack; one holds 25 to 104 kB for each identity
LARGEST_HEADER = 1 << 20
MOST_RUNS = 4096
MOST_BYTES = 1 << 40  # of a file that a pack speaks of
_LENGTH = struct.Struct("<Q")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_NUMBER = re.compile(r"[1-9][0-9]{0,5}")
_TEXTS = ("artefact", "checkpoint_sha256", "format", "identity_sha256", "notice", "precision", "size", "target")
_KEYS = {*_TEXTS, "files", "runs", "sha256"}


@dataclass(frozen=True)
class Part:
    """One file of the artefact."""

    bytes: int
    sha256: str  # of the base's
    result: str  # of what comes out; the same where the identity does not show


@dataclass(frozen=True)
class Patch:
    """Bytes to write into one file of the artefact."""

    file: str
    offset: int
    data: bytes = field(repr=False)  # never in a log


@dataclass(frozen=True)
class Pack:
    """What a pack file says."""

    target: str
    precision: str
    size: int  # pixels
    artefact: str  # the name by which a runtime opens it; a file or a folder
    identity_sha256: str
    checkpoint_sha256: str
    files: Mapping[str, Part]  # every file of the artefact by name, relative to the folder in which it lies
    patches: tuple[Patch, ...]

    @property
    def base(self) -> tuple[object, ...]:
        """Which identity it puts into which base; two packs with the same say the same."""
        parts = sorted((name, part.bytes, part.sha256) for name, part in self.files.items())
        hashes = (self.identity_sha256, self.checkpoint_sha256)
        return self.target, self.precision, self.size, self.artefact, *hashes, *parts


def patched(contents: Mapping[str, bytes], patches: Sequence[Patch]) -> dict[str, bytes]:
    """``contents`` (file -> bytes) with ``patches`` written into them; files without one are the same objects."""
    fresh = dict(contents)
    for name in {patch.file for patch in patches}:
        pieces: list[bytes | memoryview] = []
        held, at = memoryview(contents[name]), 0
        for patch in sorted((patch for patch in patches if patch.file == name), key=lambda patch: patch.offset):
            pieces += [held[at : patch.offset], patch.data]
            at = patch.offset + len(patch.data)
        fresh[name] = b"".join([*pieces, held[at:]])  # each byte is copied once
    return fresh


def dumps(pack: Pack) -> bytes:
    """``pack`` as a file; the same pack gives the same bytes."""
    payload = b"".join(patch.data for patch in pack.patches)
    metadata = _metadata(pack)
    header: dict[str, Any] = {"__metadata__": metadata | {"sha256": _digest(metadata, payload)}}
    at = 0
    for number, patch in enumerate(pack.patches):
        end = at + len(patch.data)
        header[f"run.{number}"] = {"dtype": "U8", "shape": [end - at], "data_offsets": [at, end]}
        at = end
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % _LENGTH.size)
    return _LENGTH.pack(len(text)) + text + payload


def _metadata(pack: Pack) -> dict[str, str]:
    parts = [[name, *_said(part)] for name, part in pack.files.items()]
    numbers = {name: number for number, name in enumerate(pack.files)}
    runs = [[numbers[patch.file], patch.offset, len(patch.data)] for patch in pack.patches]
    told = {name: str(getattr(pack, name)) for name in _TEXTS if name not in ("format", "notice")}
    return told | {
        "format": FORMAT,
        "notice": NOTICE,
        "files": json.dumps(parts, separators=(",", ":")),
        "runs": json.dumps(runs, separators=(",", ":")),
    }


def _said(part: Part) -> list[int | str]:
    """Bytes and hash; and the result's, where that is another."""
    return [part.bytes, part.sha256, *([part.result] if part.result != part.sha256 else [])]


def _digest(metadata: Mapping[str, str], payload: bytes) -> str:
    """Of all that a pack says and holds, but itself."""
    said = "".join(f"{key}\0{metadata[key]}\n" for key in sorted(metadata) if key != "sha256")
    return hashlib.sha256(said.encode("utf-8", "surrogatepass") + payload).hexdigest()


def read(path: Path, key: str | Path | None = None) -> Pack:
    """The pack in ``path``; ``key`` is the file that opens an encrypted one, by default that of ``$MFS_EDGE_KEY``.

    Raises:
        InputError: it is no pack, damaged, edited, or no key opens it.
        MissingDependency: it is encrypted, and what decrypts is not installed.
    """
    path = files.require_file(path, "pack")
    if path.stat().st_size > LARGEST:
        raise InputError(f"{path}: is too large for a pack ({path.stat().st_size:,} bytes); give one of pack make's")
    data = path.read_bytes()
    if sealed.is_sealed(data):
        phrase = os.environ.get(sealed.PASSPHRASE)
        data = sealed.open_(data, sealed.keys(key, passphrase=phrase), passphrase=phrase, source=path)
    return loads(data, path)


def loads(data: bytes, source: Path) -> Pack:
    """The pack in ``data``, which came from ``source``.

    Raises:
        InputError: it is no pack, damaged, edited, or of another version.
    """
    try:
        return _loads(data)
    except (ValueError, RecursionError) as error:  # of JSON and of UTF-8, too
        reason = " ".join(str(error).split())[:200]
        raise InputError(f"{source}: is not a sound pack ({reason}); make or copy it again") from error


def _loads(data: bytes) -> Pack:
    header, payload = _split(data)
    metadata = header.pop("__metadata__", None)
    _check(isinstance(metadata, dict), "it has no metadata")
    _check(all(isinstance(value, str) for value in metadata.values()), "its metadata are no texts")
    _check(metadata.get("format") == FORMAT, f"its format is not {FORMAT}")
    _check(set(metadata) == _KEYS, "its metadata are not those of a pack")
    runs = _runs(metadata["runs"])
    tensors = _tensors(header, [run[2] for run in runs], len(payload))
    parts = _parts(metadata["files"])
    names = list(parts)
    _check(all(run[0] < len(names) for run in runs), "a run lies in no file of the artefact")
    patches = tuple(Patch(names[run[0]], run[1], payload[a:b]) for run, (a, b) in zip(runs, tensors, strict=True))
    _placed(patches, parts)
    _check(_NUMBER.fullmatch(metadata["size"]), "its size is no number of pixels")
    hashes = ("identity_sha256", "checkpoint_sha256")
    _check(all(_SHA256.fullmatch(metadata[name]) for name in hashes), "it names no hashes")
    named = {name: metadata[name] for name in ("target", "precision", "artefact", *hashes)}
    _named(named["artefact"], parts)
    _check(_digest(metadata, payload) == metadata["sha256"], "it was edited or damaged: its hash is another")
    return Pack(size=int(metadata["size"]), files=parts, patches=patches, **named)


def _split(data: bytes) -> tuple[dict[str, Any], bytes]:
    """The header, and the bytes of the tensors."""
    _check(len(data) > _LENGTH.size, "it is cut short")
    (length,) = _LENGTH.unpack_from(data)
    _check(length <= LARGEST_HEADER, "its header is absurdly long")
    _check(_LENGTH.size + length <= len(data), "it is cut short")
    header = _json(data[_LENGTH.size : _LENGTH.size + length].decode("utf-8"))
    _check(isinstance(header, dict), "its header is no object")
    return header, data[_LENGTH.size + length :]


def _json(text: str) -> Any:
    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        _check(len({key for key, _ in pairs}) == len(pairs), "a key is there twice")
        return dict(pairs)

    return json.loads(text, object_pairs_hook=once)


def _runs(text: str) -> list[tuple[int, int, int]]:
    """Number of the file, first byte, and how many; of each."""
    listed = _json(text)
    _check(isinstance(listed, list) and 0 < len(listed) <= MOST_RUNS, "it has no runs, or too many")
    for run in listed:
        _check(isinstance(run, list) and len(run) == 3, "a run is described otherwise")
        file, at, length = run
        placed = _whole(file, 0, MOST_RUNS) and _whole(at, 0, MOST_BYTES) and _whole(length, 1, LARGEST)
        _check(placed, "a run lies nowhere")
    return [(file, at, length) for file, at, length in listed]


def _tensors(header: dict[str, Any], lengths: list[int], held: int) -> list[tuple[int, int]]:
    """Where each run's bytes lie: one behind the other, and nothing besides."""
    _check(set(header) == {f"run.{number}" for number in range(len(lengths))}, "its tensors are not its runs")
    at, places = 0, []
    for number, length in enumerate(lengths):
        expected = {"dtype": "U8", "shape": [length], "data_offsets": [at, at + length]}
        _check(header[f"run.{number}"] == expected, f"tensor run.{number} does not lie where it should")
        places.append((at, at + length))
        at += length
    _check(at == held, "it is cut short, or longer than its tensors")
    return places


def _parts(text: str) -> dict[str, Part]:
    listed = _json(text)
    _check(isinstance(listed, list) and 0 < len(listed) <= MOST_RUNS, "it names no files, or too many")
    found: dict[str, Part] = {}
    for entry in listed:
        _check(isinstance(entry, list) and len(entry) in (3, 4), "a file is described otherwise")
        name, size, *hashes = entry
        inside = isinstance(name, str) and _inside(name) and name not in found
        _check(inside, f"it names {str(name)[:80]!a} twice, or as what is not inside of the artefact")
        _check(_whole(size, 0, MOST_BYTES), "a file has no size")
        _check(all(map(_is_hash, hashes)) and len({*hashes}) == len(hashes), "a file has no hashes")
        found[name] = Part(size, hashes[0], hashes[-1])
    return found


def _placed(patches: Sequence[Patch], parts: Mapping[str, Part]) -> None:
    """Every run lies inside of its file, and in no other; each file that changes is changed by one."""
    for patch in patches:
        _check(patch.offset + len(patch.data) <= parts[patch.file].bytes, f"a run lies behind {patch.file[:80]!a}")
    for first, second in pairwise(sorted(patches, key=lambda patch: (patch.file, patch.offset))):
        apart = first.file != second.file or first.offset + len(first.data) <= second.offset
        _check(apart, f"two runs of {first.file[:80]!a} overlap")
    changed = {patch.file for patch in patches}
    still = [name for name, part in parts.items() if part.sha256 != part.result and name not in changed]
    _check(not still, "a file changes without a run")


def _named(artefact: str, parts: Mapping[str, Part]) -> None:
    """The artefact is one of the files, or a folder that holds all of them."""
    _check(_inside(artefact) and "/" not in artefact, "its artefact's name is no name")
    inside = all(name.startswith(f"{artefact}/") for name in parts)
    _check(artefact in parts or inside, "its artefact is none of its files")


def _inside(name: str) -> bool:
    """Whether it is a plain name in its only spelling."""
    return files.plain(name) and "\\" not in name and PurePosixPath(name).as_posix() == name


def _whole(value: object, least: int, most: int) -> bool:
    return type(value) is int and least <= value <= most


def _is_hash(value: object) -> bool:
    return isinstance(value, str) and _SHA256.fullmatch(value) is not None


def _check(sound: object, problem: str) -> None:
    if not sound:
        raise ValueError(problem)
