"""``bench``: what to measure, on which devices, and what to hold it against."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field, replace
from pathlib import Path

from mfs_edge.base.errors import CheckFailed, DeviceError, MfsEdgeError, UsageError
from mfs_edge.base.version import __version__
from mfs_edge.bundle import manifest
from mfs_edge.measure import facts, gate, history, page, paired, picture, pinning, results, summary
from mfs_edge.measure.devices import Cancelled, Device, Options, Request, Watch, open_device
from mfs_edge.measure.progress import Progress, Silent
from mfs_edge.measure.results import Comparison, Entry, Facts, Observation, Report

PathLike = str | Path
LEAST_RUNS = 50
LEAST_WARMUP = 10


def bench(
    *artefacts: PathLike,
    device: str | Sequence[str] = "local",
    threads: int | None = None,
    runs: int = LEAST_RUNS,
    warmup: int = LEAST_WARMUP,
    json: PathLike | None = None,
    budget: PathLike | None = None,
    baseline: PathLike | None = None,
    against: PathLike | None = None,
    max_regression: str | float = "10%",
    strict: bool = False,
    runner: PathLike | None = None,
    python: str | None = None,
    cpu_mask: str | None = None,
    max_pairs: int = paired.Plan.max_pairs,
    time: bool = True,
    markdown: PathLike | None = None,
    html: PathLike | None = None,
    history: PathLike | None = None,
    progress: Progress | None = None,
) -> Report:
    """Measure artefacts on devices, and hold them against budgets, a baseline or another artefact.

    Args:
        artefacts: files, or bundle folders; none means ``build``.
        device: "local", "ssh:USER@HOST[:PORT]", "adb[:SERIAL]", "emulated:rpi5|rpi4",
            "macos[:cpu|gpu|ane|all]"; several run in parallel.
        threads: None takes the CPUs of each device, at most 4; paired comparisons then take 1,
            which is what a busy machine disturbs least.
        runs: frames of the steady state, and at least one second of them.
        warmup: frames before it, and at least half a second of them.
        json: where to write the report.
        budget: a TOML file, see :func:`mfs_edge.measure.gate.read_budget`.
        baseline: a report of an earlier run; the deterministic part decides, timings are a trend.
        against: an artefact (or a folder of the same names) to be compared with, paired.
        max_regression: per cent of p50 that is still accepted, "10%" or 10.
        strict: a comparison that cannot decide fails, too.
        runner: a benchmark tool for adb: ``benchmark_model`` or ``onnxruntime_perf_test``.
        python: the interpreter on ssh devices.
        cpu_mask: hexadecimal, the CPUs to run on.
        max_pairs: when an undecided comparison gives up.
        time: False compares the deterministic part alone; artefacts still run, briefly.
        markdown, html: where to write reports for people.
        history: a JSON-lines file that gets one line per artefact and device.
        progress: told of progress.

    Returns:
        The report; ``report.passed`` tells whether a check failed.

    Raises:
        UsageError, InputError: an option or file cannot be used; nothing was measured.
        DeviceError, MissingDependency: no device could be used. If some could, their results
            are in the report, and ``failures`` names the others.
        KeyboardInterrupt: interrupted; ``json`` holds what there was, marked partial.
    """
    task = _plan(
        artefacts,
        device=device,
        request=_request(threads=threads, runs=runs, warmup=warmup, cpu_mask=cpu_mask, time=time),
        options=Options(python=python, runner=Path(runner) if runner else None),
        against=Path(against) if against else None,
        plan=paired.Plan(max_regression=gate.percentage(max_regression), max_pairs=_pairs(max_pairs)),
        timed=time,
    )
    limits = gate.read_budget(Path(budget)) if budget else None
    stored = results.load(Path(baseline)) if baseline else None
    outputs = _Outputs(*(Path(p) if p else None for p in (json, markdown, html, history)))
    outputs.check()
    try:
        task.run(progress or Silent())
    except KeyboardInterrupt:
        outputs.write(task.report(partial=True), task.folders)
        raise
    report = task.report(partial=bool(task.failures))
    found = task.deterministic()
    if limits:
        found += gate.check_budget(limits, report.entries)
    if stored:
        more, trends = gate.check_baseline(stored, Path(str(baseline)), report.entries)
        found += more
        report = report.model_copy(update={"trends": trends})
    report = _judge(report, found, strict=strict)
    outputs.write(report, task.folders)
    task.raise_if_nothing()
    return report


def _request(*, threads: int | None, runs: int, warmup: int, cpu_mask: str | None, time: bool) -> Request:
    if threads is not None and threads < 1:
        raise UsageError(f"--threads {threads}: must be at least 1")
    if runs < LEAST_RUNS or warmup < LEAST_WARMUP:
        raise UsageError(
            f"--runs {runs} --warmup {warmup}: too few to mean anything; "
            f"at least {LEAST_RUNS} runs after {LEAST_WARMUP} of warm-up are needed"
        )
    request = Request(threads=threads, runs=runs, warmup=warmup, cpus=pinning.from_mask(cpu_mask))
    return request if time else replace(request.quick(), runs=3, warmup=1, seconds=0.0, warmup_seconds=0.0)


def _pairs(maximum: int) -> int:
    if maximum < paired.Plan.min_pairs:
        raise UsageError(f"--max-pairs {maximum}: at least {paired.Plan.min_pairs} pairs are needed to decide")
    return maximum


@dataclass(frozen=True)
class _Outputs:
    """Where results go; the JSON first, as it is the record."""

    json: Path | None
    markdown: Path | None
    html: Path | None
    history: Path | None

    def check(self) -> None:
        """Before minutes of measuring: can they be written?"""
        for path in (self.json, self.markdown, self.html, self.history):
            if path is not None and (path.is_dir() or not path.absolute().parent.is_dir()):
                what = "is a folder" if path.is_dir() else "its folder does not exist"
                raise UsageError(f"{path}: cannot be written ({what}); name a file in an existing folder")
        if self.html:
            page.template()

    def write(self, report: Report, folders: Sequence[Path]) -> None:
        if self.json:
            report.save(self.json)
        if self.markdown:
            summary.save(report, self.markdown)
        summary.to_github(report)
        if self.html:
            page.save(report, self.html, folders)
        if self.history and not report.partial:
            history.append(report, self.history)


@dataclass
class _Task:
    """The measurements to make, and what has come of them."""

    devices: list[Device]
    artefacts: list[Path]
    bases: dict[Path, Path]
    request: Request
    plan: paired.Plan
    timed: bool
    notes: list[str] = field(default_factory=list)
    entries: dict[tuple[int, int], Entry] = field(default_factory=dict)
    base_entries: dict[tuple[int, int], Entry] = field(default_factory=dict)
    comparisons: dict[tuple[int, int], Comparison] = field(default_factory=dict)
    failures: dict[int, MfsEdgeError] = field(default_factory=dict)
    facts: dict[Path, Facts] = field(default_factory=dict)
    recorded: dict[Path, manifest.ArtefactRecord | None] = field(default_factory=dict)
    causes: list[str] = field(default_factory=list)  # pictures that are not the proven ones

    @property
    def folders(self) -> list[Path]:
        """Where the artefacts lie; a bundle's pictures are beside them."""
        return list(dict.fromkeys(path.parent for path in self.artefacts))

    def run(self, progress: Progress) -> None:
        """Every device at once; those of one host one after the other.

        Raises:
            KeyboardInterrupt: after every device has been stopped and left clean.
        """
        self.facts = {path: facts.of(path) for path in (*self.artefacts, *self.bases.values())}
        self.recorded = {path: facts.recorded(path) for path in self.artefacts}
        hosts: dict[str, list[int]] = {}
        for index, device in enumerate(self.devices):
            hosts.setdefault(device.host, []).append(index)
        watch = Watch()
        with ThreadPoolExecutor(max_workers=len(hosts)) as pool:
            futures = [pool.submit(self._host, indices, watch, progress) for indices in hosts.values()]
            try:
                _wait(futures)
            except BaseException:
                watch.cancelled.set()
                raise

    def _host(self, indices: Sequence[int], watch: Watch, progress: Progress) -> None:
        for index in indices:
            try:
                with progress.job(f"connecting to {self.devices[index].name}"):
                    self.devices[index].check()
                for number, path in enumerate(self.artefacts):
                    self._one(index, number, path, watch, progress)
            except Cancelled:
                return
            except MfsEdgeError as error:
                self.failures[index] = error

    def _one(self, index: int, number: int, path: Path, watch: Watch, progress: Progress) -> None:
        device, key = self.devices[index], (index, number)
        reason = device.refuses(path)
        if reason is not None:
            self.notes.append(f"{path.name} was not measured on {device.name}: {reason}")
            return
        with progress.job(f"{path.name} on {device.name}") as tell:
            observation = device.measure(path, self.request, Watch(tell, watch.cancelled))
        observation = self._judged(path, observation, device)
        self.entries[key] = self._entry(device, path, observation)
        base = self.bases.get(path)
        if base is None:
            return
        if not self.timed:
            with progress.job(f"{base.name} on {device.name}") as tell:
                observation = device.measure(base, self.request, Watch(tell, watch.cancelled))
            self.base_entries[key] = self._entry(device, base, observation)
            return
        with progress.job(f"{path.name} against {base.name} on {device.name}") as tell:
            outcome = paired.compare(
                device,
                head=path,
                base=base,
                request=pinning.pinned(self.request, device),
                plan=self.plan,
                watch=Watch(tell, watch.cancelled),
            )
        self.base_entries[key] = self._entry(device, base, outcome.base)
        self.comparisons[key] = outcome.comparison

    def _judged(self, path: Path, seen: Observation, device: Device) -> Observation:
        """With a line on its picture; a wrong one is a cause."""
        try:
            line = picture.judge(path, self.recorded[path], seen, device=device.name)
        except CheckFailed as error:
            self.causes.append(line := str(error))
        return seen.model_copy(update={"notes": (*seen.notes, line)})

    def _entry(self, device: Device, path: Path, observation: Observation) -> Entry:
        if not self.timed:
            observation = observation.model_copy(update={"latency": None, "temperature_c": (None, None)})
        return Entry(
            device=device.name, facts=self.facts[path], observation=observation, machine_key=observation.machine.key
        )

    def deterministic(self) -> gate.Found:
        """Each artefact against the one it is compared with; what it costs, not how long it takes."""
        return gate.together(
            gate.compare(self.entries[key], base, snapshot=False) for key, base in sorted(self.base_entries.items())
        )

    def report(self, *, partial: bool) -> Report:
        comparisons = [self.comparisons[key] for key in sorted(self.comparisons)]
        return Report(
            partial=partial,
            versions={"mfs-edge": __version__, "python": platform.python_version()},
            entries=tuple(self.entries[key] for key in sorted(self.entries)),
            comparisons=tuple(comparisons),
            failures=tuple(str(self.failures[index]) for index in sorted(self.failures)),
            causes=tuple(self.causes),
            notes=tuple(self.notes),
        )

    def raise_if_nothing(self) -> None:
        """A failure with nothing measured is that failure; artefacts that no device takes are a mistake."""
        if self.failures and not self.entries:
            raise self.failures[min(self.failures)]
        if not self.entries:
            raise UsageError(f"nothing was measured: {'; '.join(self.notes)}")


def _wait(futures: Sequence[Future[None]]) -> None:
    """For all; in short steps, so that Ctrl-C is heard."""
    pending = set(futures)
    while pending:
        done, pending = wait(pending, timeout=0.2)
        for future in done:
            future.result()


def _plan(
    given: Sequence[PathLike],
    *,
    device: str | Sequence[str],
    request: Request,
    options: Options,
    against: Path | None,
    plan: paired.Plan,
    timed: bool,
) -> _Task:
    specs = (device,) if isinstance(device, str) else tuple(device)
    if len(set(specs)) != len(specs) or not specs:
        raise UsageError("--device: name each device once")
    paths = facts.artefacts(tuple(Path(path) for path in given or ("build",)))
    return _Task(
        devices=[open_device(spec, options) for spec in specs],
        artefacts=paths,
        bases=_bases(paths, against) if against else {},
        request=request,
        plan=plan,
        timed=timed,
    )


def _bases(heads: Sequence[Path], against: Path) -> dict[Path, Path]:
    """What each artefact is compared with: the one file named, or the folder's file of the same name."""
    bases = facts.artefacts((against,))
    if against.suffix in facts.suffixes():
        if len(heads) != 1:
            raise UsageError(
                f"--against {against}: is one artefact, but {len(heads)} were given; name a folder instead"
            )
        return {heads[0]: bases[0]}
    named = {base.name: base for base in bases}
    missing = [head.name for head in heads if head.name not in named]
    if missing:
        raise UsageError(f"--against {against}: has no {missing[0]}; compile the same targets for both")
    return {head: named[head.name] for head in heads}


def _judge(report: Report, found: gate.Found, *, strict: bool) -> Report:
    """All causes and notes together."""
    causes = [*report.causes, *found.causes, *(cause for c in report.comparisons for cause in c.causes)]
    notes = [*report.notes, *found.notes]
    for comparison in report.comparisons:
        undecided = comparison.verdict in ("inconclusive", "too noisy")
        (causes if undecided and strict else notes).extend(comparison.notes)
    return report.model_copy(update={"causes": tuple(causes), "notes": tuple(notes)})


def require_passed(report: Report) -> None:
    """Raises for a report with causes or failures; all lines but the last are the caller's to show.

    Raises:
        CheckFailed: a check said no.
        DeviceError: the checks passed, but a device could not be used.
    """
    if report.causes:
        raise CheckFailed(report.causes[-1])
    if report.failures:
        raise DeviceError(report.failures[-1])
