"""A pytest fixture that fails a test when an artefact has become slower or larger.

Registered under the entry-point group ``pytest11``; it imports nothing until a test uses it::

    def test_latency(mfs_latency_gate):
        mfs_latency_gate("build/idn-224-int8.tflite", against="base/idn-224-int8.tflite")
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture(scope="session")
def mfs_latency_gate(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Any]:
    """A function with the arguments of ``mfs_edge.measure``.

    It fails the test with one line per cause, shows what could not be decided as a warning,
    and returns the report. The report is also written into pytest's temporary folder.
    """
    folder = tmp_path_factory.mktemp("mfs-latency-gate")

    def gate(*artefacts: str | Path, **options: Any) -> Any:
        import warnings

        from mfs_edge.base.printable import printable
        from mfs_edge.measure.run import bench

        number = len(list(folder.iterdir()))
        options.setdefault("json", folder / f"{number}.json")
        report = bench(*artefacts, **options)
        for note in report.notes:
            warnings.warn(printable(note), stacklevel=2)
        if not report.passed:
            pytest.fail("\n".join(map(printable, (*report.causes, *report.failures))), pytrace=False)
        return report

    return gate
