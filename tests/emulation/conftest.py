"""The artefacts that the other devices are tested with."""

from tests.measure.conftest import artefacts, python

__all__ = ["artefacts", "python"]
