"""Backends: one module or folder each, reached only through the registry in ``mfs_edge.target``."""
