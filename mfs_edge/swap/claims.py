"""C2PA, the only place where its library is configured and called: what is signed into a file, and read from one.

Nothing is fetched: no manifest that lies elsewhere, no revocation, no time stamp. No thumbnail is made: that of the
input would put the face that was replaced into the file that replaces it.
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from mfs_edge.base import extras
from mfs_edge.base.errors import InputError
from mfs_edge.base.printable import printable
from mfs_edge.base.reasons import reason_of
from mfs_edge.base.version import __version__
from mfs_edge.swap.certificate import EXTRA, USAGES, Credential

SOURCE_TYPE = "http://cv.iptc.org/newscodes/digitalsourcetype/compositeWithTrainedAlgorithmicMedia"
ASSERTION = "org.mfs-edge.swap"
TRUSTED, UNTRUSTED, INVALID, UNREADABLE = "valid, trusted", "valid, untrusted", "invalid", "unreadable"
_PARENT = "parent"
# So that a video fits a Pi: MB of it in memory before it goes by way of a temporary file, and kB hashed at once.
_MEMORY, _CHUNK = 32, 1024
_BYTES = "application/octet-stream"
_AGENT = {"name": "mfs-edge", "version": __version__}
_NOBODY = "signingCredential.untrusted"
_EXPIRED = "signingCredential.expired"


class Refused(Exception):
    """The library would not sign; never reaches a user as it is."""


@dataclass(frozen=True)
class Read:
    """What a manifest says, and what its validation found.

    Attributes:
        state: "valid, trusted", "valid, untrusted" (nobody who is trusted vouches for the signer), "invalid", or
            "unreadable".
        problems: why it is invalid or unreadable.
        signer: who signed, as the certificate has it.
        active: the manifest itself, as the library tells it; may be a stranger's.
    """

    state: str
    problems: tuple[str, ...] = ()
    signer: Mapping[str, Any] = field(default_factory=dict)
    active: Mapping[str, Any] = field(default_factory=dict)
    ingredients: tuple[Mapping[str, Any], ...] = ()

    @property
    def generator(self) -> str:
        """What wrote it, with its version."""
        told = [each for each in _listed(self.active.get("claim_generator_info")) if isinstance(each, Mapping)]
        named = " ".join(str(told[0][key]) for key in ("name", "version") if key in told[0]) if told else ""
        return named or str(self.active.get("claim_generator") or "")

    @property
    def actions(self) -> list[Mapping[str, Any]]:
        """What was done, in its order."""
        found: list[Mapping[str, Any]] = []
        for label, data in self._assertions():
            if label.startswith("c2pa.actions") and isinstance(data, Mapping):
                found += [each for each in _listed(data.get("actions")) if isinstance(each, Mapping)]
        return found

    @property
    def swap(self) -> Mapping[str, Any]:
        """Our own assertion; empty where there is none."""
        ours = (data for label, data in self._assertions() if label == ASSERTION and isinstance(data, Mapping))
        return next(ours, {})

    def _assertions(self) -> list[tuple[str, Any]]:
        held = (each for each in _listed(self.active.get("assertions")) if isinstance(each, Mapping))
        return [(str(each.get("label", "")), each.get("data")) for each in held]


def sign(
    credential: Credential,
    media_type: str,
    source: IO[bytes],
    to: IO[bytes],
    *,
    told: Mapping[str, Any],
    parent: tuple[str, str, Path] | None = None,
    chunked: bool = False,
) -> list[str]:
    """Copy ``source`` to ``to`` with a signed manifest in it.

    Args:
        credential: who signs.
        media_type: of the source.
        source: a whole file.
        to: open for writing and reading.
        told: of the swap, for our own assertion.
        parent: the file that was edited: its name, media type and path; its manifest, if it has one, is kept.
        chunked: hash it in small parts, so that readers need little memory; for MP4 without fragments.

    Returns:
        What is to be said of the parent.

    Raises:
        Refused: the library would not; ``to`` holds nothing of use.
        MissingDependency: it is not installed.
    """
    c2pa = extras.require("c2pa", EXTRA)
    context = _context(c2pa, chunked=chunked)
    try:
        builder, notes = _builder(c2pa, context, told, parent)
        with _signer(c2pa, credential) as signer:
            builder.sign(signer, media_type, source, to)
    except c2pa.C2paError as error:
        raise Refused(reason_of(error)) from error
    return notes


def read(path: Path, media_type: str, trust: str | None = None) -> Read | None:
    """What the file in ``path`` says of itself, validated; None where it has no manifest.

    Args:
        path: of a picture or video, which may be a stranger's.
        media_type: of it.
        trust: authorities that are trusted, as PEM.

    Raises:
        MissingDependency: the library is not installed.
        InputError: what is to be trusted cannot be used.
    """
    c2pa = extras.require("c2pa", EXTRA)
    try:
        context = _context(c2pa, trust)
    except c2pa.C2paError as error:
        raise InputError(f"the certificates to be trusted cannot be used ({reason_of(error)}); give others") from error
    with path.open("rb") as stream:
        try:
            with c2pa.Reader(media_type, stream, context=context) as reader:
                return _read(json.loads(reader.json()))
        except c2pa.C2paError.ManifestNotFound:
            return None
        except c2pa.C2paError as error:
            return Read(UNREADABLE, (reason_of(error),))
        except (ValueError, RecursionError) as error:  # of JSON
            return Read(UNREADABLE, (reason_of(error),))


def _context(c2pa: Any, trust: str | None = None, *, chunked: bool = False) -> Any:
    """The library's settings: it stays at home, and knows every usage of certificates that C2PA does."""
    settings = {
        "trust": {"trust_config": "\n".join(USAGES), **({"user_anchors": trust} if trust else {})},
        "verify": {
            "remote_manifest_fetch": False,
            "ocsp_fetch": False,
            "verify_after_sign": True,
        },
        "core": {
            "allowed_network_hosts": [],
            "backing_store_memory_threshold_in_mb": _MEMORY,
            "merkle_tree_chunk_size_in_kb": _CHUNK if chunked else None,
        },
        "builder": {"thumbnail": {"enabled": False}, "certificate_status_fetch": None},
    }
    return c2pa.Context.from_dict(settings)


def _signer(c2pa: Any, credential: Credential) -> Any:
    """Without an authority for time stamps, as it would be asked over the network."""
    parts = (credential.algorithm, credential.chain, credential.key)
    return c2pa.Signer.from_info(c2pa.C2paSignerInfo(*(part.encode() for part in parts), None))


def _manifest(told: Mapping[str, Any], *, edited: bool) -> dict[str, Any]:
    done = {"digitalSourceType": SOURCE_TYPE, "softwareAgent": _AGENT}
    if edited:
        opened = {"action": "c2pa.opened", "softwareAgent": _AGENT, "parameters": {"ingredientIds": [_PARENT]}}
        actions = [opened, {"action": "c2pa.edited", **done}]
    else:
        actions = [{"action": "c2pa.created", **done}]
    return {
        "claim_generator_info": [_AGENT],
        "assertions": [
            {"label": "c2pa.actions.v2", "data": {"actions": actions}, "created": True},
            {"label": ASSERTION, "data": dict(told), "created": True},
        ],
    }


def _builder(
    c2pa: Any, context: Any, told: Mapping[str, Any], parent: tuple[str, str, Path] | None
) -> tuple[Any, list[str]]:
    """What signs, and what is to be said: of a parent whose own manifest cannot be read there is only its name."""
    manifest = _manifest(told, edited=parent is not None)
    builder = c2pa.Builder(json.dumps(manifest), context=context)
    if parent is None:
        return builder, []
    name, media_type, path = parent
    described = {"title": printable(name), "relationship": "parentOf", "label": _PARENT}
    with path.open("rb") as stream:
        try:
            builder.add_ingredient(described, media_type, stream)
        except c2pa.C2paError as error:
            builder = c2pa.Builder(json.dumps(manifest), context=context)
            builder.add_ingredient(described, _BYTES, io.BytesIO(_BYTES.encode()))  # in which nothing is looked for
            return builder, [f"{path}: what it says of its own origin could not be kept ({reason_of(error)})"]
    return builder, []


def _read(store: Any) -> Read:
    """The library's report, of which every part may be a stranger's."""
    if not isinstance(store, Mapping):
        raise ValueError("the report is no object")
    manifests = store.get("manifests")
    label = store.get("active_manifest")
    active = manifests.get(label) if isinstance(manifests, Mapping) and isinstance(label, str) else None
    if not isinstance(active, Mapping):
        raise ValueError("it has no active manifest")
    signer = active.get("signature_info")
    failures = _failures(store)
    state = {"Trusted": TRUSTED, "Valid": UNTRUSTED}.get(str(store.get("validation_state")), INVALID)
    ingredients = tuple(each for each in _listed(active.get("ingredients")) if isinstance(each, Mapping))
    problems = tuple(dict.fromkeys(_told(failure) for failure in failures)) if state == INVALID else ()
    return Read(state, problems, signer if isinstance(signer, Mapping) else {}, active, ingredients)


def _failures(store: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    results = store.get("validation_results")
    active = results.get("activeManifest") if isinstance(results, Mapping) else None
    listed = _listed(active.get("failure")) if isinstance(active, Mapping) else []
    for delta in _listed(results.get("ingredientDeltas")) if isinstance(results, Mapping) else []:
        deltas = delta.get("validationDeltas") if isinstance(delta, Mapping) else None
        listed += _listed(deltas.get("failure")) if isinstance(deltas, Mapping) else []
    return [each for each in listed if isinstance(each, Mapping) and each.get("code") != _NOBODY]


def _told(failure: Mapping[str, Any]) -> str:
    code = str(failure.get("code"))
    if "Hash.mismatch" in code:
        return f"the file was changed after it was signed ({code})"
    if code == _EXPIRED:
        return f"the certificate has expired, and there is no time stamp ({code})"
    return f"{failure.get('explanation') or 'it was refused'} ({code})"


def _listed(value: Any) -> list[Any]:
    return list(value) if isinstance(value, Sequence) and not isinstance(value, str) else []
