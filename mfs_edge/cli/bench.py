"""The ``bench`` command: options and exit codes; no logic. Nothing heavy is imported until it runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

_PATH = click.Path(path_type=Path)


@click.command()
@click.argument("artefacts", metavar="[ARTEFACT|DIR]...", nargs=-1, type=_PATH)
@click.option(
    "--device",
    multiple=True,
    default=("local",),
    show_default=True,
    metavar="DEVICE",
    help="local, ssh:USER@HOST[:PORT] (IPv6 before a port in brackets; ssh://... too), adb[:SERIAL], "
    "emulated:rpi5|rpi4, browser or macos[:cpu|gpu|ane|all]; repeats, and all run in parallel.",
)
@click.option(
    "--threads", type=int, help="Default: the device's CPUs, or its container's quota, at most 4; 1 for --against."
)
@click.option("--runs", type=int, default=50, show_default=True, help="Frames, and at least a second of them.")
@click.option("--warmup", type=int, default=10, show_default=True, help="Frames before, and at least half a second.")
@click.option(
    "--json", metavar="FILE", type=_PATH, help="Write everything, raw samples included; a baseline for later."
)
@click.option("--frame", metavar="WxH", help="Whole frames, as 1920x1080, instead of crops; on local and ssh.")
@click.option(
    "--stages",
    type=click.Choice(["swap", "all"]),
    default="swap",
    show_default=True,
    help="Of whole frames: swap is align, network, paste; all also has decode, detect and encode.",
)
@click.option(
    "--face-models",
    metavar="DIR",
    type=_PATH,
    help="For --stages all: where the models that find faces are.  [default: the cache]",
)
@click.option(
    "--pack", multiple=True, metavar="PACK", type=_PATH, help="Also time switching to its identity; one per artefact."
)
@click.option("--key", type=_PATH, help="Secret key, for sealed packs.  [default: the file in $MFS_EDGE_KEY]")
@click.option("--budget", metavar="FILE", type=_PATH, help="TOML limits on parameters, macs, bytes, p50_ms, ...")
@click.option("--baseline", metavar="FILE", type=_PATH, help="An earlier --json: the exact part must not get worse.")
@click.option("--against", metavar="ARTEFACT|DIR", type=_PATH, help="Compare with this, paired, on the same device.")
@click.option("--max-regression", metavar="PERCENT", default="10%", show_default=True, help="Of p50, with --against.")
@click.option("--strict", is_flag=True, help="Fail also where time cannot be judged.")
@click.option("--max-pairs", type=int, default=40, show_default=True, help="When an undecided comparison gives up.")
@click.option("--time/--no-time", default=True, help="--no-time compares what is exact, and measures no time.")
@click.option("--runner", metavar="PATH", type=_PATH, help="For adb: benchmark_model or onnxruntime_perf_test.")
@click.option("--python", metavar="PATH", help="For ssh: the interpreter there.  [default: python3]")
@click.option("--cpu-mask", metavar="HEX", help="CPUs to run on; f0 is CPUs 4 to 7.")
@click.option("--markdown", metavar="FILE", type=_PATH, help="For a pull request; $GITHUB_STEP_SUMMARY gets it anyway.")
@click.option("--html", metavar="FILE", type=_PATH, help="A page with distributions, layers and pictures.")
@click.option("--history", metavar="FILE", type=_PATH, help="Append one JSON line per artefact and device.")
@click.option("--profile", is_flag=True, help="Show the time of each kernel, or stage of the C; --json has it anyway.")
def bench(artefacts: tuple[Path, ...], profile: bool, **options: Any) -> None:
    """Measure artefacts on devices; hold them against budgets, a baseline or each other.

    Without a name it measures the folder build.
    """
    from mfs_edge.base.progress import Printed
    from mfs_edge.cli import show as report
    from mfs_edge.measure import run

    found = run.bench(*artefacts, **options, progress=Printed())
    report.benched(found, profile=profile)
    run.require_passed(found)
