"""Tags in Matroska files: put in without touching a packet, and read from files that anyone may have written."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np

from mfs_edge.swap import matroska
from tests.swap import people

TOLD = {"DIGITAL_SOURCE_TYPE": "somewhere", "LONG": "x" * 1000}


def tags(path: Path) -> dict[str, str]:
    with av.open(str(path)) as container:
        return dict(container.metadata)


def test_players_find_them_beside_those_that_were_there(tmp_path: Path) -> None:
    path = people.video(tmp_path / "a.mkv")
    packets = people.packets(path)
    assert matroska.put_tags(path, TOLD)
    assert tags(path) == {**TOLD, "ENCODER": tags(path)["ENCODER"]}
    assert matroska.get_tags(path) == tags(path)
    assert people.packets(path) == packets


def test_again_and_again(tmp_path: Path) -> None:
    path = people.video(tmp_path / "a.mkv")
    for number in range(4):
        assert matroska.put_tags(path, {f"N{number}": str(number)})
    assert {f"N{number}" for number in range(4)} < tags(path).keys()
    assert len(people.packets(path)) > 10


def test_nothing_moves_from_the_first_cluster_on(tmp_path: Path) -> None:
    """So the index, by which players seek, is right as it was."""
    path = people.video(tmp_path / "a.mkv")
    before = path.read_bytes()
    matroska.put_tags(path, TOLD)
    cluster = before.find(bytes.fromhex("1f43b675"), 300)
    assert 0 < cluster < len(before) - 1000
    assert path.read_bytes()[cluster : len(before)] == before[cluster:]


def test_a_file_whose_length_was_not_known_to_its_writer(tmp_path: Path) -> None:
    path = people.video(tmp_path / "a.mkv", live="1")
    packets = people.packets(path)
    assert matroska.put_tags(path, TOLD)
    assert tags(path)["DIGITAL_SOURCE_TYPE"] == "somewhere"
    assert people.packets(path) == packets


def test_a_file_without_room_in_its_list_is_left_alone(tmp_path: Path) -> None:
    path = people.video(tmp_path / "a.mkv")
    data = bytearray(path.read_bytes())
    head = data.find(bytes.fromhex("114d9b74"))
    data[head : head + 4] = b"\xec\x81\0\xec"  # no list at all
    path.write_bytes(data)
    assert not matroska.put_tags(path, TOLD)
    assert path.read_bytes() == data


def test_a_damaged_file_breaks_nothing(tmp_path: Path) -> None:
    whole = people.video(tmp_path / "whole.mkv")
    matroska.put_tags(whole, TOLD)
    data, random, path = whole.read_bytes(), np.random.default_rng(5), tmp_path / "a.mkv"
    for _ in range(300):
        edited = bytearray(data[: random.integers(4, len(data))])
        for at in random.integers(0, min(len(edited), 600), 10):
            edited[at] = random.integers(0, 256)
        path.write_bytes(edited)
        matroska.get_tags(path)
        matroska.put_tags(path, TOLD)


def test_what_is_no_matroska_has_no_tags(tmp_path: Path) -> None:
    path = tmp_path / "a.mkv"
    path.write_bytes(b"\0" * 100)
    assert matroska.get_tags(path) == {}
    assert not matroska.put_tags(path, TOLD)
