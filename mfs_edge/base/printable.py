"""Text for a person to read: what a stranger's file or a device says cannot steer the terminal.

Escapes of terminals, line breaks that would fake a line of ours, marks that turn the order of letters
around, and what no encoding can write are shown as Python writes them: ``\\x1b``.
"""

from __future__ import annotations

import unicodedata
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.text import Text

# Controls, invisible marks, surrogates (bytes of a name that are no UTF-8), private use, separators of lines.
_HIDDEN = {"Cc", "Cf", "Cs", "Co", "Zl", "Zp"}


def printable(text: object) -> str:
    """``text`` on one line, with everything that is not a visible sign or a blank escaped; twice is as once."""
    said = str(text)
    if said.isprintable():
        return said
    return "".join(_escaped(sign) if unicodedata.category(sign) in _HIDDEN else sign for sign in said)


def _escaped(sign: str) -> str:
    return sign.encode("unicode_escape").decode("ascii")


def counted(count: int, what: str) -> str:
    """``1 face``, ``2 faces``; of what takes an s."""
    return f"{count:,} {what}{'' if count == 1 else 's'}"


def styled(*parts: str | tuple[str, str]) -> Text:
    """A line for rich: each part as it is or with its style; brackets and escapes in them are only letters."""
    from rich.text import Text

    told = ((printable(part[0]), part[1]) if isinstance(part, tuple) else printable(part) for part in parts)
    return Text.assemble(*told)
