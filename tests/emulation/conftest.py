"""The artefacts that the other devices are tested with."""

from tests.measure.conftest import artefacts, python, sshd

__all__ = ["artefacts", "python", "sshd"]
