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
