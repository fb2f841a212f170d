"""One reader of text: what an editor or a shell of any system writes means the same."""

from __future__ import annotations

import codecs
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from mfs_edge.base import text
from mfs_edge.base.errors import InputError
from mfs_edge.measure import gate

SAID = '# größer als 3 µm, 額\n[default]\nbytes = 700_000\n["idn-größe*"]\nmacs = 3\n'
ENCODINGS = ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-32-be"]


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_whatever_wrote_it(tmp_path: Path, encoding: str, end: str) -> None:
    path = tmp_path / "budget.toml"
    path.write_bytes(SAID.replace("\n", end).encode(encoding))
    assert text.read(path, "budget") == SAID
    assert gate.read_budget(path).limits == {"default": {"bytes": 700_000}, "idn-größe*": {"macs": 3}}


@pytest.mark.parametrize("mark", [codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE])
def test_utf_16_with_its_mark(tmp_path: Path, mark: bytes) -> None:
    path = tmp_path / "a.toml"
    path.write_bytes(mark + SAID.encode("utf-16-le" if mark == codecs.BOM_UTF16_LE else "utf-16-be"))
    assert text.read(path, "budget") == SAID


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"x = 1\n# gr\xf6\xdfer\n", r"a\.toml: is not UTF-8 text \(line 2: .*save the budget as UTF-8"),
        (b"\xff\xfex", "is not UTF-16 text"),  # half a character
        (b"\xff\xd8\xff\xe0\x00\x10JFIF", r"is not UTF-8 text \(line 1"),
        (b"\xff\xfe\x01\xd8x\x00", "is not UTF-16 text"),  # a lone surrogate
    ],
)
def test_what_is_no_text_is_named(tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "a.toml"
    path.write_bytes(content)
    with pytest.raises(InputError, match=said):
        text.read(path, "budget")


def test_empty_is_text(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"")
    assert text.read(tmp_path / "a", "note") == ""


def test_a_pipe_is_read_and_what_never_ends_is_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.mkfifo(tmp_path / "pipe")
    writer = threading.Thread(target=(tmp_path / "pipe").write_bytes, args=(SAID.encode(),))
    writer.start()
    assert text.read(tmp_path / "pipe", "budget") == SAID
    writer.join()
    monkeypatch.setattr(text, "LIMIT", 1000)
    with pytest.raises(InputError, match="/dev/zero: has more than"):
        text.read(Path("/dev/zero"), "budget")


@pytest.mark.parametrize("name", ["gone", "x" * 300, "file/inside"])
def test_what_cannot_be_opened_is_named(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(InputError, match=r"cannot be read \(.*give the path of the budget"):
        text.read(tmp_path / name, "budget")


def test_utf_8_under_an_ascii_locale(tmp_path: Path) -> None:
    """The machine's encoding has no say."""
    (tmp_path / "mfs-edge.toml").write_text('checkpoint = "модель/größe.pth"', encoding="utf-8")
    (tmp_path / "модель").mkdir()
    (tmp_path / "модель/größe.pth").write_bytes(b"the one")
    script = (
        "import locale; assert locale.getpreferredencoding().upper() in ('ANSI_X3.4-1968', 'US-ASCII')\n"
        "from mfs_edge.base.config import checkpoint_path; print(checkpoint_path(None).read_bytes())"
    )
    plain = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "PATH": os.environ["PATH"]}
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, env=plain, capture_output=True, text=True)
    assert done.stdout.strip() == "b'the one'", done.stderr
