"""``mfs-edge demo``."""

from __future__ import annotations

from pathlib import Path

import click

from mfs_edge.cli.common import PATH, json_errors, json_option, steps_for


@click.command()
@click.argument("folder", metavar="[DIR]", type=PATH, default=Path("demo"))
@click.option("--overwrite", is_flag=True, help="Write into a folder that holds other files.")
@click.option("--serve", is_flag=True, help="Then show the page on this machine; what DIR holds is not made again.")
@click.option("--port", type=click.IntRange(0, 65535), help="For --serve; by default any that is free.")
@click.option("--detector", type=PATH, help="A folder with LiteRT.js and two models, for the page to find faces with.")
@json_option
def demo(folder: Path, overwrite: bool, serve: bool, port: int | None, detector: Path | None, json: bool) -> None:
    """The main job on the embedded demo: drawn faces, to every installed target, and a page, into DIR.

    With the extra video it also draws a short video and swaps the face in it with each artefact that runs here.
    """
    from mfs_edge.base.errors import UsageError
    from mfs_edge.cli import show as report
    from mfs_edge.pipeline import demo as run

    steps = steps_for(json=json)
    with json_errors(json):
        if serve and json:
            raise UsageError("--serve goes on until it is stopped, and --json tells an end; leave one of them out")
        if port is not None and not serve:
            raise UsageError(f"--port {port}: is where the page is served; add --serve, or leave it out")
        if not (serve and not overwrite and detector is None and run.page_of(folder)):
            result = run.demo(folder, overwrite=overwrite, detector=detector, steps=steps)
            report.demonstrated(result, seconds=steps.seconds, notes=steps.notes, json=json)
            report.require_passed(result)
        if serve:
            _serve(run.require_page(folder), port or 0)


def _serve(page: Path, port: int) -> None:
    """Until Ctrl-C."""
    from mfs_edge.base.serving import Server

    with Server(page, port=port) as server:
        click.echo(f"Serving {page} at {server.url} to this machine only; Ctrl-C ends it.")
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            click.echo()
