"""``python -m mfs_edge``."""

from mfs_edge.cli.main import main

main()
