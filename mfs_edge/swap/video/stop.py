"""Ctrl-C and SIGTERM, taken between two frames: never while one is half in a file."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType
from typing import Any, Self


class Stop:
    """Raises KeyboardInterrupt at once, or, inside of :meth:`undisturbed`, behind it.

    The handlers of a program that has its own stay in place.
    """

    def __init__(self) -> None:
        self._before: dict[int, Any] = {}
        self._busy = self._asked = False

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            for number, default in ((signal.SIGINT, signal.default_int_handler), (signal.SIGTERM, signal.SIG_DFL)):
                if signal.getsignal(number) is default:
                    self._before[number] = signal.signal(number, self._told)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}

    def _told(self, number: int, frame: FrameType | None) -> None:
        if self._busy and not self._asked:
            self._asked = True
            return
        self._asked = False
        raise KeyboardInterrupt

    @contextlib.contextmanager
    def undisturbed(self) -> Iterator[None]:
        """A signal inside waits for its end; a second one does not."""
        self._busy = True
        try:
            yield
        finally:
            self._busy = False
        if self._asked:
            self._asked = False
            raise KeyboardInterrupt
