"""Artefacts on disk: atomic, recorded, never half-written."""

from mfs_edge.bundle.folder import REJECTED, check_folder, foreign, publish, staging
from mfs_edge.bundle.publication import MANIFEST

__all__ = ["MANIFEST", "REJECTED", "check_folder", "foreign", "publish", "staging"]
