"""What a stranger's file says cannot steer the terminal."""

from __future__ import annotations

import pytest
from rich.console import Console

from mfs_edge.base.errors import DeviceError, InputError
from mfs_edge.base.printable import counted, printable, styled


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("größe 額 μ…😀", "größe 額 μ…😀"),
        ("a\x1b[31mred\x1b]0;title\x07", r"a\x1b[31mred\x1b]0;title\x07"),
        ("\x9b2J", r"\x9b2J"),  # the C1 form of an escape
        ("one\ntwo\r\x0bthree\t", r"one\ntwo\r\x0bthree\t"),
        ("gnp.\u202egpj", r"gnp.\u202egpj"),  # reads as another suffix
        ("\u2066x\u2069\u200b\u200f\ufeff", r"\u2066x\u2069\u200b\u200f\ufeff"),
        ("line\u2028line\u2029\x85", r"line\u2028line\u2029\x85"),
        ("name\udcff", r"name\udcff"),  # a byte that is no UTF-8
        ("10\u202fPM \xa0", "10\u202fPM \xa0"),  # blanks, as macOS writes them
        ("[/b][red]", "[/b][red]"),
        ("back\\slash", "back\\slash"),
        ("\x7f\x00", r"\x7f\x00"),
    ],
)
def test_what_is_shown(text: str, shown: str) -> None:
    assert printable(text) == shown
    assert printable(shown) == shown  # twice is as once
    assert "\x1b" not in str(InputError(text)) + str(DeviceError(text))
    assert "\n" not in str(InputError(text))


@pytest.mark.parametrize("text", ["[/b]x", "[red]", "a\\", "[", "[bold", ":smile:", "[link=http://x]y[/link]", "\\[a]"])
def test_markup_is_letters(text: str) -> None:
    console = Console(force_terminal=True, width=200)
    with console.capture() as caught:
        console.print(styled(("Next: ", "dim"), text, (text, "bold")))
    assert caught.get().replace("\x1b[2m", "").replace("\x1b[1m", "").replace("\x1b[0m", "") == f"Next: {text}{text}\n"


def test_one_and_many() -> None:
    assert [counted(number, "frame") for number in (0, 1, 2, 3000)] == [
        "0 frames",
        "1 frame",
        "2 frames",
        "3,000 frames",
    ]
