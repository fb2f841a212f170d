"""Programs of this machine: what they print, or why they failed on one line."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Sequence

from mfs_edge.base.errors import MissingDependency

_TIMEOUT = 600.0  # s, of one call
_FULL = "No space left on device"
_TELLING = re.compile(r"^(E:|dpkg|ERROR:)|error:")  # apt's, dpkg's, pip's and compilers' own words


def output(
    command: Sequence[str],
    what: str,
    remedy: str,
    *,
    codes: tuple[int, ...] = (0,),
    environment: dict[str, str] | None = None,
) -> str:
    """Standard output of ``command``, which may exit with one of ``codes``.

    Raises:
        MissingDependency: it failed or took too long; the message is ``what``, its own words and ``remedy``.
    """
    try:
        done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=_TIMEOUT, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise MissingDependency(f"emulated: {what} ({error}); {remedy}") from error
    if done.returncode in codes:
        return done.stdout
    lines = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
    said = next(filter(_TELLING.search, lines), lines[0]).removeprefix("ERROR: ")[:200]
    if _FULL in done.stderr:
        remedy = "free some space, or name another place in $XDG_CACHE_HOME"
    raise MissingDependency(f"emulated: {what} ({said}); {remedy}")
