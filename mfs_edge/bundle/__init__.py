"""Artefacts on disk: atomic, recorded, never half-written."""

from mfs_edge.bundle.folder import MANIFEST, REJECTED, check_folder, foreign, publish, staging

__all__ = ["MANIFEST", "REJECTED", "check_folder", "foreign", "publish", "staging"]
