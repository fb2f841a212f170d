"""Artefacts on disk: atomic, recorded, never half-written."""

from mfs_edge.bundle.folder import REJECTED, check_folder, foreign, named, publish, staging
from mfs_edge.bundle.publication import MANIFEST, beside

__all__ = ["MANIFEST", "REJECTED", "beside", "check_folder", "foreign", "named", "publish", "staging"]
