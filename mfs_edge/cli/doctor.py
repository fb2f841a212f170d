"""``mfs-edge doctor``."""

from __future__ import annotations

import click

from mfs_edge.cli.common import json_option


@click.command()
@json_option
def doctor(json: bool) -> None:
    """What is installed, and what each target can do here."""
    from mfs_edge.about import doctor as doctors
    from mfs_edge.cli import show as report

    report.diagnosed(doctors.diagnose(), json=json)
