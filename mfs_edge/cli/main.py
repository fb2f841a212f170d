"""The command line: the group, and what every failure looks like.

Nothing heavy is imported at module level: ``--help`` must start fast.
"""

from __future__ import annotations

import contextlib
import gc
import sys
from collections.abc import Iterator
from typing import Any

import click

from mfs_edge.base.errors import MfsEdgeError, OutputError
from mfs_edge.base.printable import printable
from mfs_edge.base.version import __version__
from mfs_edge.cli import streams
from mfs_edge.cli.bench import bench
from mfs_edge.cli.common import system_errors
from mfs_edge.cli.compile import compile
from mfs_edge.cli.demo import demo
from mfs_edge.cli.doctor import doctor
from mfs_edge.cli.enrol import enrol
from mfs_edge.cli.face_models import face_models
from mfs_edge.cli.identity import identity
from mfs_edge.cli.inspect import inspect
from mfs_edge.cli.pack import pack
from mfs_edge.cli.swap import swap

COMMANDS = (compile, pack, enrol, swap, identity, inspect, demo, bench, doctor, face_models)
INTERRUPTED = 130  # the shell's convention for Ctrl-C


class _OneLine(click.ClickException):
    """A failure as the user sees it: one line on standard error, and its exit code."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(printable(message))
        self.exit_code = exit_code  # type: ignore[misc]  # click declares a class variable and reads the instance

    def show(self, file: Any = None) -> None:
        click.echo(f"mfs-edge: {self.message}", err=True)


class _Group(click.Group):
    """Maps every failure to one line and an exit code, unless ``--debug``."""

    def make_context(self, *args: Any, **kwargs: Any) -> click.Context:
        with _failures(debug=False):
            return super().make_context(*args, **kwargs)

    def invoke(self, ctx: click.Context) -> Any:
        with _failures(debug=ctx.params.get("debug", False)):
            return super().invoke(ctx)


@contextlib.contextmanager
def _failures(*, debug: bool) -> Iterator[None]:
    """Raises _OneLine for whatever goes wrong inside."""
    try:
        with system_errors():
            yield
    except click.exceptions.NoArgsIsHelpError:
        raise
    except click.UsageError as error:
        raise _OneLine(f"{' '.join(error.format_message().split())} (see mfs-edge --help)", 2) from error
    except (click.ClickException, click.exceptions.Exit, click.Abort):
        raise
    except KeyboardInterrupt as error:
        raise _OneLine("interrupted; nothing half-written was left", INTERRUPTED) from error
    except MfsEdgeError as error:
        if debug:
            raise
        raise _OneLine(str(error), error.exit_code) from error
    except Exception as error:
        if debug:
            raise
        kind, said = type(error).__name__, " ".join(str(error).split())
        raise _OneLine(f"internal error: {kind}: {said}; run mfs-edge --debug for the traceback", 1) from error


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="mfs-edge")
@click.option("--debug", is_flag=True, help="Show tracebacks.")
def cli(debug: bool) -> None:
    """Compile MobileFaceSwap to ONNX, TFLite, OpenVINO, Core ML and C, proven and measured."""


for command in COMMANDS:
    cli.add_command(command)


def main() -> None:
    """The console script."""
    # What converters import stays to the end; to look through it for garbage costs half a second on
    # the way, and as much again at the end.
    gc.set_threshold(50_000)
    streams.guard()
    try:
        cli(prog_name="mfs-edge")
    except SystemExit as ended:
        sys.exit(_flushed(ended.code))
    finally:
        gc.freeze()


def _flushed(code: int | str | None) -> int | str | None:
    """``code``, or what comes of writing the last of the output."""
    try:
        sys.stdout.flush()
    except OutputError as error:
        sys.stderr.write(f"mfs-edge: {error}\n")
        return code or error.exit_code
    except SystemExit as gone:
        return code or gone.code
    return code
