"""The one reader of text: whatever encoding the machine has, a file means the same everywhere.

Editors and shells of Windows put a byte order mark before UTF-8, and PowerShell's ``>`` writes UTF-16.
"""

from __future__ import annotations

import json
from pathlib import Path

from mfs_edge.base.errors import InputError

LIMIT = 256_000_000  # bytes; raw samples of hours are far below it


def read(path: Path, what: str) -> str:
    """The text in ``path``: UTF-8, UTF-16 or UTF-32, with or without a byte order mark; lines end in ``\\n``.

    Args:
        path: a file, or a pipe.
        what: the file is, for messages.

    Raises:
        InputError: it is missing, unreadable, no text, or longer than :data:`LIMIT`.
    """
    try:
        with path.open("rb") as file:
            content = file.read(LIMIT + 1)
    except (OSError, ValueError) as error:  # ValueError: a null character in the name
        reason = getattr(error, "strerror", None) or str(error)
        raise InputError(f"{path}: cannot be read ({reason}); give the path of the {what}") from error
    if len(content) > LIMIT:
        raise InputError(f"{path}: has more than {LIMIT / 1e6:.0f} MB, which is no {what}; give another file")
    return decode(content, path, what)


def decode(content: bytes, path: Path, what: str) -> str:
    """``content`` of ``path`` as text, as :func:`read`.

    Raises:
        InputError: it is no text.
    """
    encoding = json.detect_encoding(content)  # by the mark, or by where the zero bytes are
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise InputError(
            f"{path}: is not {encoding.removesuffix('-sig').upper()} text (line {line}: {error.reason}); "
            f"save the {what} as UTF-8"
        ) from error
    return text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
