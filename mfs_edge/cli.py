"""The command line: click commands and what they print; no logic.

Nothing heavy is imported at module level: ``--help`` must start fast.
"""

from __future__ import annotations

import contextlib
import gc
import json as jsonlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mfs_edge import __version__
from mfs_edge.bench.command import bench
from mfs_edge.errors import CheckFailed, MfsEdgeError

if TYPE_CHECKING:
    from mfs_edge.steps import Recorded

INTERRUPTED = 130  # the shell's convention for Ctrl-C


class _OneLine(click.ClickException):
    """A failure as the user sees it: one line on standard error, and its exit code."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(" ".join(message.split()))
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
        yield
    except click.exceptions.NoArgsIsHelpError:
        raise
    except click.UsageError as error:
        raise _OneLine(f"{error.format_message()} (see mfs-edge --help)", 2) from error
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
        kind = type(error).__name__
        raise _OneLine(f"internal error: {kind}: {error}; run mfs-edge --debug for the traceback", 1) from error


@contextlib.contextmanager
def _json_errors(enabled: bool) -> Iterator[None]:
    """With ``--json`` a failure, too, is one object on standard output."""
    try:
        yield
    except MfsEdgeError as error:
        if enabled and not isinstance(error, CheckFailed):  # those come after the result was printed
            click.echo(jsonlib.dumps({"error": str(error), "exit_code": error.exit_code}))
        raise


def _steps(json: bool) -> Recorded:
    from mfs_edge import steps

    return steps.Recorded() if json else steps.Printed()


_json = click.option("--json", is_flag=True, help="Print one machine-readable object and nothing else.")
_PATH = click.Path(path_type=Path)


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="mfs-edge")
@click.option("--debug", is_flag=True, help="Show tracebacks.")
def cli(debug: bool) -> None:
    """Compile MobileFaceSwap to ONNX, TFLite, OpenVINO and Core ML, proven and measured."""


@cli.command()
@click.option("--identity", type=_PATH, required=True, help="id.npy (or .npz, or a picture with --arcface).")
@click.option(
    "--target", multiple=True, default=("onnx",), show_default=True, help='Repeats; "all" is every installed one.'
)
@click.option("--checkpoint", type=_PATH, help="MobileFaceSwap checkpoint: .pdparams, .pth or .safetensors.")
@click.option("--arcface", type=_PATH, help="ArcFace checkpoint, where the identity needs it.")
@click.option("--size", type=int, default=224, show_default=True, help="Image side in pixels, a multiple of 32.")
@click.option("--precision", type=click.Choice(["fp32", "fp16", "int8", "int8-mixed"]), help="Default: the target's.")
@click.option("--calibration", type=_PATH, help="Face crops (a folder or .npz) to quantise with.")
@click.option(
    "--io",
    type=click.Choice(["float32", "uint8", "image"]),
    help="What the file takes and gives. Default: the target's.",
)
@click.option("--optimize", type=click.IntRange(0, 1), default=1, show_default=True, help="1: all exact passes.")
@click.option("--out", type=_PATH, default=Path("build"), show_default=True, help="Output folder.")
@click.option("--overwrite", is_flag=True, help="Write into a folder that holds other files.")
@click.option("--min-psnr", type=float, help="Least PSNR in dB against the reference. Default: the precision's.")
@click.option(
    "--min-ios", type=int, help="Oldest iOS for Core ML. Default: 16; 17 for int8, whose activations need it."
)
@click.option("--verify/--no-verify", default=True, help="Run every written file against the reference.")
@_json
def compile(json: bool, **options: Any) -> None:
    """Fold an identity, emit it for each target, and prove every file."""
    import mfs_edge
    from mfs_edge import report

    steps = _steps(json)
    with _json_errors(json):
        result = mfs_edge.compile(**options, steps=steps)
        report.compiled(result, seconds=steps.seconds, notes=steps.notes, json=json)
        report.require_passed(result)


@cli.command()
@click.argument("photo", type=_PATH)
@click.option("--arcface", type=_PATH, required=True, help="ArcFace checkpoint.")
@click.option("--landmarks", type=_PATH, help="Five x,y points of the face in a whole photo.")
@click.option("-o", "--out", type=_PATH, default=Path("id.npy"), show_default=True, help="Where to write the identity.")
@click.option("--overwrite", is_flag=True, help="Replace an existing file.")
@_json
def identity(photo: Path, arcface: Path, landmarks: Path | None, out: Path, overwrite: bool, json: bool) -> None:
    """Read an identity from PHOTO: an aligned square face crop, or any photo with --landmarks."""
    from mfs_edge import pipeline, report

    steps = _steps(json)
    with _json_errors(json):
        found = pipeline.identify(
            photo, arcface=arcface, landmarks=landmarks, out=out, overwrite=overwrite, steps=steps
        )
        report.identified(found, out, seconds=steps.seconds, json=json)


@cli.command()
@click.argument("file", type=_PATH)
@click.option("--layers", is_flag=True, help="What each node of an ONNX artefact costs.")
@click.option("--quant", is_flag=True, help="The quantised tensors of an artefact, and what each costs.")
@_json
def inspect(file: Path, layers: bool, quant: bool, json: bool) -> None:
    """Show what FILE is: a checkpoint, an identity, an artefact or a manifest."""
    from mfs_edge import inspection, report

    with _json_errors(json):
        report.inspected(inspection.inspect(file, layers=layers, quant=quant, steps=_steps(json)), json=json)


@cli.command()
@click.argument("folder", metavar="[DIR]", type=_PATH, default=Path("demo"))
@click.option("--overwrite", is_flag=True, help="Write into a folder that holds other files.")
@_json
def demo(folder: Path, overwrite: bool, json: bool) -> None:
    """The main job on the embedded demo: drawn faces, to every installed target, into DIR."""
    from mfs_edge import report
    from mfs_edge.demo import run

    steps = _steps(json)
    with _json_errors(json):
        result = run.demo(folder, overwrite=overwrite, steps=steps)
        report.demonstrated(result, seconds=steps.seconds, notes=steps.notes, json=json)
        report.require_passed(result)


@cli.command()
@_json
def doctor(json: bool) -> None:
    """What is installed, and what each target can do here."""
    from mfs_edge import doctor as doctors
    from mfs_edge import report

    report.diagnosed(doctors.diagnose(), json=json)


cli.add_command(bench)


def main() -> None:
    """The console script."""
    # What converters import stays to the end; to look through it for garbage costs half a second on
    # the way, and as much again at the end.
    gc.set_threshold(50_000)
    try:
        with contextlib.suppress(BrokenPipeError):  # `mfs-edge inspect ... | head`
            cli(prog_name="mfs-edge")
    finally:
        gc.freeze()
    sys.exit(0)
