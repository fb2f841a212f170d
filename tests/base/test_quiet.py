"""What libraries say on standard error, caught at the descriptor."""

from __future__ import annotations

import os
import subprocess
import sys
import threading

import pytest

from mfs_edge.base import quiet


def test_it_is_caught_and_standard_error_comes_back(capfd: pytest.CaptureFixture[str]) -> None:
    with quiet.caught() as file:
        os.write(2, b"from C\n")
        file.seek(0)
        assert file.read() == b"from C\n"
    os.write(2, b"afterwards\n")
    assert capfd.readouterr().err == "afterwards\n"


def test_info_lines_are_dropped_and_others_passed_on(capfd: pytest.CaptureFixture[str]) -> None:
    def speak_and_fail() -> None:
        with quiet.without_info_lines():
            os.write(2, b"INFO: created\nERROR: broken\n")
            raise ValueError("stop")

    with pytest.raises(ValueError, match="stop"):
        speak_and_fail()
    assert capfd.readouterr().err == "ERROR: broken\n"


def test_threads_take_turns(capfd: pytest.CaptureFixture[str]) -> None:
    wrong: list[bytes] = []

    def speak(word: bytes) -> None:
        for _ in range(50):
            with quiet.caught() as file:
                os.write(2, word)
                file.seek(0)
                said = file.read()
            wrong.extend([said] if said != word else [])

    threads = [threading.Thread(target=speak, args=(word,)) for word in (b"one", b"two", b"three")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert capfd.readouterr().err == ""


def test_without_a_standard_error() -> None:
    code = (
        "import os\nfrom mfs_edge.base import quiet\nos.close(2)\n"
        "with quiet.caught() as file:\n    os.write(2, b'x')\n    file.seek(0)\n    print(file.read())\n"
        "with quiet.without_info_lines():\n    os.write(2, b'y')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "b'x'\n")
