"""``mfs-edge doctor``."""

from __future__ import annotations

import click

from mfs_edge.cli.common import json_option


@click.command()
@click.option("--thorough", is_flag=True, help="Try torch, too.")
@json_option
def doctor(thorough: bool, json: bool) -> None:
    """What works here, and what each target can therefore do."""
    from mfs_edge.about import doctor as doctors
    from mfs_edge.cli import show as report

    report.diagnosed(doctors.diagnose(thorough=thorough), json=json)
