"""The ssh server that the other devices are tested with."""

from tests.measure.conftest import python, sshd

__all__ = ["python", "sshd"]
