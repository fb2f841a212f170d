"""The measurements of one ``bench``: every artefact on every device, and what has come of them."""

from __future__ import annotations

import contextlib
import platform
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from pathlib import Path

from mfs_edge.base.errors import CheckFailed, MfsEdgeError, UsageError
from mfs_edge.base.progress import Jobs
from mfs_edge.base.version import __version__
from mfs_edge.bundle import proof
from mfs_edge.measure import facts, gate, paired, picture, pinning
from mfs_edge.measure.devices import Cancelled, Device, Request, Watch
from mfs_edge.measure.observed import Observation
from mfs_edge.measure.results import Comparison, Entry, Report


@dataclass
class Task:
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
    examined: dict[Path, facts.Examined] = field(default_factory=dict)
    causes: list[str] = field(default_factory=list)  # pictures that are not the proven ones; files replaced meanwhile

    @property
    def folders(self) -> list[Path]:
        """Where the artefacts lie; a bundle's pictures are beside them."""
        return list(dict.fromkeys(path.parent for path in self.artefacts))

    def run(self, progress: Jobs) -> None:
        """Every device at once; those of one host one after the other.

        Raises:
            KeyboardInterrupt: after every device has been stopped and left clean.
        """
        self.examined = {path: facts.examine(path) for path in dict.fromkeys((*self.artefacts, *self.bases.values()))}
        doubts = ((path, found.proof.doubt) for path, found in self.examined.items())
        self.notes += [f"{path.name}: {doubt}" for path, doubt in doubts if doubt]
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

    def _host(self, indices: Sequence[int], watch: Watch, progress: Jobs) -> None:
        for index in indices:
            try:
                with progress.job(f"connecting to {self.devices[index].name}"):
                    self.devices[index].check()
                for number, path in enumerate(self.artefacts):
                    try:
                        self._one(index, number, path, watch, progress)
                    except CheckFailed as error:
                        self.causes.append(str(error))
            except Cancelled:
                return
            except MfsEdgeError as error:
                self.failures[index] = error

    def _one(self, index: int, number: int, path: Path, watch: Watch, progress: Jobs) -> None:
        device, key = self.devices[index], (index, number)
        reason = device.refuses(path)
        if reason is not None:
            self.notes.append(f"{path.name} was not measured on {device.name}: {reason}")
            return

        def measured(file: Path) -> Observation:
            with progress.job(f"{file.name} on {device.name}") as tell, self._unchanged(file):
                return device.measure(file, self.request, Watch(tell, watch.cancelled))

        self.entries[key] = self._entry(device, path, self._judged(path, measured(path), device))
        base = self.bases.get(path)
        if base is None:
            return
        if not self.timed:
            self.base_entries[key] = self._entry(device, base, measured(base))
            return
        with (
            progress.job(f"{path.name} against {base.name} on {device.name}") as tell,
            self._unchanged(path),
            self._unchanged(base),
        ):
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

    @contextlib.contextmanager
    def _unchanged(self, path: Path) -> Iterator[None]:
        """Raises CheckFailed if ``path`` is no longer what was examined: nothing that was found is about that."""
        failed: Exception | None = None
        try:
            yield
        except (OSError, MfsEdgeError) as error:
            failed = error
        if proof.stamp(path) != self.examined[path].stamp:
            raise CheckFailed(
                f"{path}: was replaced while it was measured; nothing was recorded, try again when the run that "
                "writes there has ended"
            ) from failed
        if failed is not None:
            raise failed

    def _judged(self, path: Path, seen: Observation, device: Device) -> Observation:
        """With a line on its picture, and on its times; a wrong picture is a cause."""
        if path in self.request.switched and seen.switches is None:
            self.notes.append(f"{path.name} on {device.name}: switching identities cannot be measured there")
        for remark in remarks(seen):
            self.notes.append(f"{path.name} on {device.name}: {remark}")
        try:
            line = picture.judge(path, self.examined[path].proof.record, seen, device=device.name)
        except CheckFailed as error:
            self.causes.append(line := str(error))
        return seen.model_copy(update={"notes": (*seen.notes, line)})

    def _entry(self, device: Device, path: Path, observation: Observation) -> Entry:
        if not self.timed:
            untold = {"latency": None, "frame": None, "switches": None, "temperature_c": (None, None)}
            observation = observation.model_copy(update=untold)
        return Entry(
            device=device.name,
            facts=self.examined[path].facts,
            observation=observation,
            machine_key=observation.machine.key,
        )

    def deterministic(self) -> gate.Found:
        """Each artefact against the one it is compared with; what it costs, not how long it takes."""
        pairs = ((self.entries[key], base) for key, base in sorted(self.base_entries.items()))
        return sum((gate.compare(entry, base, snapshot=False) for entry, base in pairs), gate.Found())

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
        if not self.entries and not self.causes:
            raise UsageError(f"nothing was measured: {'; '.join(self.notes)}")


def remarks(seen: Observation) -> list[str]:
    """What a user must know of a measurement beside its figures."""
    machine, found = seen.machine, []
    if machine.quota is not None and machine.threads > machine.quota:
        found.append(
            f"--threads {machine.threads} under a container's CPU quota of {machine.quota:g} is throttled, and that is "
            "in these times; raise the quota (docker --cpus), or take fewer threads"
        )
    if seen.latency is not None and seen.latency.remark:
        found.append(seen.latency.remark)
    if seen.frame is not None and seen.frame.remark:
        found.append(seen.frame.remark)
    if seen.coverage is not None and seen.coverage.warning:
        found.append(f"{machine.runtime} {machine.runtime_version} {seen.coverage.warning}")
    return found


def _wait(futures: Sequence[Future[None]]) -> None:
    """For all; in short steps, so that Ctrl-C is heard."""
    pending = set(futures)
    while pending:
        done, pending = wait(pending, timeout=0.2)
        for future in done:
            future.result()
