"""Where the checkpoint comes from when the command line does not say."""

from __future__ import annotations

import os
import tomllib
from pathlib import Path

from mfs_edge.base.errors import InputError

CONFIG = Path("mfs-edge.toml")
VARIABLE = "MFS_EDGE_CHECKPOINT"
_KEYS = {"checkpoint"}


def checkpoint_path(given: str | Path | None) -> Path | None:
    """``given``, else ``$MFS_EDGE_CHECKPOINT``, else ``checkpoint`` in ``mfs-edge.toml``, else None.

    Raises:
        InputError: ``mfs-edge.toml`` is not valid TOML, or has unknown keys.
    """
    if given is not None:
        return Path(given)
    if os.environ.get(VARIABLE):
        return Path(os.environ[VARIABLE])
    if not CONFIG.exists():
        return None
    try:
        config = tomllib.loads(CONFIG.read_text())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        raise InputError(f"{CONFIG}: cannot be read ({error}); correct it or remove it") from error
    unknown = sorted(set(config) - _KEYS)
    if unknown or not isinstance(config.get("checkpoint", ""), str):
        wrong = f"unknown key {unknown[0]}" if unknown else "checkpoint is not a string"
        raise InputError(f'{CONFIG}: {wrong}; it may hold: checkpoint = "PATH"')
    return CONFIG.parent / config["checkpoint"] if "checkpoint" in config else None
