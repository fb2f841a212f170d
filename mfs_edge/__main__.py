"""``python -m mfs_edge``."""

from mfs_edge.cli import main

main()
