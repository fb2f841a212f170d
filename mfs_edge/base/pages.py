"""HTML pages from templates: what a stranger's file says is only text in them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mfs_edge.base import extras
from mfs_edge.base.printable import printable


def template(path: Path, extra: str) -> Any:
    """The template in ``path``: everything is escaped, and a name that is not there is an error.

    Raises:
        MissingDependency: jinja2 is not installed; the message names ``extra``.
    """
    jinja2 = extras.require("jinja2", extra)
    options = {
        "autoescape": True,
        "finalize": _shown,
        "trim_blocks": True,
        "lstrip_blocks": True,
        "undefined": jinja2.StrictUndefined,
    }
    return jinja2.Environment(**options).from_string(path.read_text("utf-8"))


def _shown(value: Any) -> Any:
    """Without what would hide letters or turn them around; what is marked up already is the page's own."""
    return printable(value) if type(value) is str else value
