"""What a picture or video says of its origin, and whether that is so.

It may come from a stranger: what it says is shortened, told as text, and believed by nobody here.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mfs_edge.base import config, files, picture_formats
from mfs_edge.swap import carriers, certificate, claims, matroska, xmp
from mfs_edge.swap.carriers import Carrier
from mfs_edge.swap.claims import Read

TRUST = "MFS_EDGE_TRUST"  # the path of a PEM file
MEANS = {
    claims.TRUSTED: "unchanged since it was signed, by somebody whom you trust",
    claims.UNTRUSTED: "unchanged since it was signed; nobody whom you trust vouches for who signed (--trust CERT.pem)",
    claims.INVALID: "not to be believed",
    claims.UNREADABLE: "there is one, damaged or not here",
    "none": "it says nothing of its origin by C2PA, which proves nothing: metadata can be removed",
    "impossible": "its format has no place for one",
}
_SHOWN = 300  # signs of what a stranger wrote
_HEADER = 1 << 20  # bytes in which a picture tells its size


def facts(path: Path, carrier: Carrier, trust: Path | None) -> tuple[dict[str, Any], dict[str, list[dict[str, Any]]]]:
    """Facts in reading order, and tables, of the picture or video ``path``.

    Args:
        path: of the file.
        carrier: what it is.
        trust: PEM certificates of who is trusted; by default those of ``$MFS_EDGE_TRUST``.

    Raises:
        InputError: the file with the certificates cannot be read.
        MissingDependency: what reads C2PA is not installed.
    """
    if trust is None and os.environ.get(TRUST):
        trust = config.expanded(os.environ[TRUST], TRUST)
    anchors = certificate.anchors(trust) if trust is not None else None
    found = claims.read(path, carrier.media_type, anchors) if carrier.media_type else None
    told = {
        "format": carrier.name + _size(path, carrier),
        "bytes": path.stat().st_size,
        "sha256": files.sha256(path),
        **_verdict(found, carrier),
        "IPTC source type": _short(_iptc(path, carrier)) or "none",
    }
    if found is None:
        return {**told, **_tagged(path, carrier)}, {}
    return {**told, **_swap(found.swap)}, _tables(found)


def _size(path: Path, carrier: Carrier) -> str:
    if carrier.video:
        return ""
    with path.open("rb") as file:
        size = picture_formats.pixels(file.read(_HEADER), carrier.name) if _known(carrier) else None
    return f", {size[0]}x{size[1]}" if size else ", of no size that can be read"


def _known(carrier: Carrier) -> bool:
    return carrier.name in picture_formats.SIZED


def _verdict(found: Read | None, carrier: Carrier) -> dict[str, Any]:
    state = found.state if found else "none" if carrier.media_type else "impossible"
    told: dict[str, Any] = {"manifest": state, "which means": MEANS[state]}
    if found is None:
        return told
    if found.problems:
        told["because"] = _short("; ".join(found.problems))
    names = (found.signer.get(key) for key in ("common_name", "issuer"))
    signer = ", ".join(dict.fromkeys(_short(name) for name in names if name))
    return told | {
        "signed by": signer or "unknown",
        "signed with": _short(found.signer.get("alg")) or "unknown",
        "signed at": _short(found.signer.get("time")) or "unknown: it has no time stamp",
        "written by": _short(found.generator) or "unknown",
        "source type": "; ".join(dict.fromkeys(_source_types(found))) or "none",
    }


def _source_types(found: Read) -> list[str]:
    return [_short(action["digitalSourceType"]) for action in found.actions if action.get("digitalSourceType")]


def _swap(told: Mapping[str, Any]) -> dict[str, str]:
    """Our own assertion, whose every part may be anything."""
    lines = {
        "artefact": _hashed(told.get("artefact")),
        "identities": "; ".join(_hashed(each) for each in _several(told.get("identities"))),
        "checkpoint": _hashed(told.get("checkpoint")),
        "precision": _short(told.get("precision")),
        "target": _short(told.get("target")),
        "made with": _versions(told.get("versions")),
        "faces swapped": _short(told.get("faces")),
        "frames": _short(told.get("frames")),
        "certificate": _short(told.get("certificate")),
    }
    return {key: line for key, line in lines.items() if line}


def _hashed(value: Any) -> str:
    if not isinstance(value, Mapping):
        return _short(value)
    return " ".join(filter(None, (_short(value.get("name")), _short(value.get("sha256")))))


def _versions(value: Any) -> str:
    pairs = value.items() if isinstance(value, Mapping) else ()
    return _short(", ".join(f"{_short(name)} {_short(version)}" for name, version in pairs))


def _several(value: Any) -> list[Any]:
    return value[:16] if isinstance(value, list) else [value]


def _tables(found: Read) -> dict[str, list[dict[str, Any]]]:
    actions = [
        {
            "action": _short(action.get("action")),
            "by": _agent(action.get("softwareAgent")),
            "source type": _short(action.get("digitalSourceType")).rpartition("/")[2],
        }
        for action in found.actions[:32]
    ]
    ingredients = [
        {
            "made from": _short(ingredient.get("title")),
            "relation": _short(ingredient.get("relationship")),
            "format": _short(ingredient.get("format")),
            "its own manifest": _own(ingredient),
        }
        for ingredient in found.ingredients[:32]
    ]
    return {name: rows for name, rows in (("actions", actions), ("ingredients", ingredients)) if rows}


def _own(ingredient: Mapping[str, Any]) -> str:
    """What was found of an ingredient's manifest when this file was made from it."""
    if not ingredient.get("active_manifest"):
        return "none"
    results = ingredient.get("validation_results")
    active = results.get("activeManifest") if isinstance(results, Mapping) else None
    failures = active.get("failure") if isinstance(active, Mapping) else None
    codes = [_short(each.get("code")) for each in failures or () if isinstance(each, Mapping)]
    return "kept" + (f" ({', '.join(dict.fromkeys(codes))})" if codes else "")


def _agent(value: Any) -> str:
    if isinstance(value, Mapping):
        return " ".join(filter(None, (_short(value.get("name")), _short(value.get("version")))))
    return _short(value)


def _iptc(path: Path, carrier: Carrier) -> str:
    if carrier in (carriers.MP4, carriers.MOV):
        return xmp.source_type(xmp.get_box(path))
    return xmp.source_type(xmp.get(path.read_bytes(), carrier.name)) if carrier.xmp else ""


def _tagged(path: Path, carrier: Carrier) -> dict[str, str]:
    if carrier not in (carriers.MATROSKA, carriers.WEBM):
        return {}
    return {f"tag {_short(name)}": _short(text) for name, text in list(matroska.get_tags(path).items())[:32]}


def _short(value: Any) -> str:
    text = "" if value is None else str(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
