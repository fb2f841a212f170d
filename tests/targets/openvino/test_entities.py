"""An ``.xml`` is a stranger's: what it declares is neither fetched, opened nor unfolded."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from mfs_edge import target
from mfs_edge.base.errors import InputError

SECRET = "the contents of another file"
DOCTYPES = {
    "a file": '<!DOCTYPE net [<!ENTITY x SYSTEM "file://{secret}">]>',
    "a parameter": '<!DOCTYPE net [<!ENTITY % p SYSTEM "file://{secret}"> %p;]>',
    "a host": '<!DOCTYPE net [<!ENTITY x SYSTEM "http://127.0.0.1:9/x">]>',
    "a grammar": '<!DOCTYPE net SYSTEM "file://{secret}">',
    "laughs": "<!DOCTYPE net [<!ENTITY a 'ha'>"
    + "".join(f"<!ENTITY {chr(98 + i)} '{f'&{chr(97 + i)};' * 10}'>" for i in range(12))
    + "<!ENTITY x '&m;'>]>",
}


@pytest.mark.parametrize("name", DOCTYPES)
def test_declarations_are_not_followed(name: str, artefacts: Path, tmp_path: Path) -> None:
    secret = tmp_path / "secret.txt"
    secret.write_text(SECRET)
    shutil.copy(artefacts / "idn.bin", tmp_path)
    body = (artefacts / "idn.xml").read_text().partition("?>")[2]
    uses = "" if name in ("a parameter", "a grammar") else "&x;"
    path = tmp_path / "idn.xml"
    path.write_text(DOCTYPES[name].format(secret=secret) + body.replace("<edges>", f"<edges>{uses}"))
    try:
        told = repr(target.get("openvino").read(path))
    except InputError as error:
        told = str(error)
        assert told.isprintable()
        assert "idn.xml" in told
    assert SECRET not in told
