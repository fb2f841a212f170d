"""Where the checkpoint comes from."""

from __future__ import annotations

from pathlib import Path

import pytest

from mfs_edge.base import config
from mfs_edge.base.errors import InputError


@pytest.fixture(autouse=True)
def _empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(config.VARIABLE, raising=False)


def test_order_of_precedence(monkeypatch: pytest.MonkeyPatch) -> None:
    assert config.checkpoint_path(None) is None
    config.CONFIG.write_text('checkpoint = "from-file.pth"')
    assert config.checkpoint_path(None) == Path("from-file.pth")
    monkeypatch.setenv(config.VARIABLE, "from-environment.pth")
    assert config.checkpoint_path(None) == Path("from-environment.pth")
    assert config.checkpoint_path("given.pth") == Path("given.pth")


@pytest.mark.parametrize("text", ["checkpoint = 3", "checkpiont = 'x'", "not toml at all", "\x00"])
def test_a_wrong_file_is_named(text: str) -> None:
    config.CONFIG.write_text(text)
    with pytest.raises(InputError, match=r"mfs-edge\.toml"):
        config.checkpoint_path(None)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
def test_whatever_editor_wrote_it(encoding: str) -> None:
    config.CONFIG.write_bytes('checkpoint = "größe.pth"\r\n'.encode(encoding))
    assert config.checkpoint_path(None) == Path("größe.pth")


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("~/w/iin.pth", "/home/me/w/iin.pth"),
        ("$HOME/iin.pth", "/home/me/iin.pth"),
        ("${HOME}/iin.pth", "/home/me/iin.pth"),
        ("/data/$RUN/iin.pth", "/data/7/iin.pth"),
        ("a~b.pth", "a~b.pth"),  # no home there
        ("cost$5.pth", "cost$5.pth"),  # not set, so it is the name
        ("/data/~/x.pth", "/data/~/x.pth"),
    ],
)
def test_what_a_shell_would_put_there(monkeypatch: pytest.MonkeyPatch, written: str, meant: str) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    monkeypatch.setenv("RUN", "7")
    config.CONFIG.write_text(f'checkpoint = "{written}"')
    assert config.checkpoint_path(None) == Path(meant)
    monkeypatch.setenv(config.VARIABLE, written)  # as in a service's or a container's file, where no shell reads it
    assert config.checkpoint_path(None) == Path(meant)


def test_a_home_that_is_nobodys() -> None:
    config.CONFIG.write_text('checkpoint = "~no-such-user/iin.pth"')
    with pytest.raises(InputError, match=r"mfs-edge\.toml: whose home.*~no-such-user"):
        config.checkpoint_path(None)
