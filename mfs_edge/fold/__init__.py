"""Checkpoint x identity -> the static IDN's weights."""

from mfs_edge.fold.folded import FORMS, FoldedIDN, Folder, Stage, fold

__all__ = ["FORMS", "FoldedIDN", "Folder", "Stage", "fold"]
