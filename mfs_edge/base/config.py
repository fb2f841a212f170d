"""Where the checkpoint comes from when the command line does not say."""

from __future__ import annotations

import os
import tomllib
from pathlib import Path

from mfs_edge.base import text
from mfs_edge.base.errors import InputError

CONFIG = Path("mfs-edge.toml")
VARIABLE = "MFS_EDGE_CHECKPOINT"
_KEYS = {"checkpoint"}


def checkpoint_path(given: str | Path | None) -> Path | None:
    """``given``, else ``$MFS_EDGE_CHECKPOINT``, else ``checkpoint`` in ``mfs-edge.toml``, else None.

    In the last two ``~`` and variables such as ``$HOME`` stand for what a shell would put there.

    Raises:
        InputError: ``mfs-edge.toml`` is not valid TOML, or has unknown keys; or a ``~`` that is nobody's.
    """
    if given is not None:
        return Path(given)
    if os.environ.get(VARIABLE):
        return expanded(os.environ[VARIABLE], VARIABLE)
    if not CONFIG.exists():
        return None
    try:
        config = tomllib.loads(text.read(CONFIG, "configuration"))
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise InputError(f"{CONFIG}: cannot be read ({error}); correct it or remove it") from error
    unknown = sorted(set(config) - _KEYS)
    if unknown or not isinstance(config.get("checkpoint", ""), str):
        wrong = f"unknown key {unknown[0]}" if unknown else "checkpoint is not a string"
        raise InputError(f'{CONFIG}: {wrong}; it may hold: checkpoint = "PATH"')
    return CONFIG.parent / expanded(config["checkpoint"], str(CONFIG)) if "checkpoint" in config else None


def expanded(path: str, source: str) -> Path:
    """As a shell reads it; a variable that is not set stays as it is written: ``$`` is legal in a name."""
    try:
        name = path.encode("utf-8", "surrogateescape")  # as it is on disk, whatever the locale
        return Path(os.path.expandvars(os.fsdecode(name))).expanduser()
    except RuntimeError as error:
        raise InputError(f"{source}: whose home is meant by {path} is not known; write the whole path") from error
