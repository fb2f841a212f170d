"""Packs of one identity or of thousands, for every artefact of a base.

Whatever is heavy (torch, the checkpoint, the base's bytes) is read once in each process that works
(:mod:`mfs_edge.pack.work`). joblib hands out the identities, to processes here or to a Dask cluster.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mfs_edge.base import extras, files
from mfs_edge.base.errors import CheckFailed, MfsEdgeError, OutputError, UsageError
from mfs_edge.base.progress import Count, Recorded, Steps
from mfs_edge.pack import container

if TYPE_CHECKING:
    from mfs_edge.pack.work import Done, Task

ABANDONED = 600.0  # seconds
WITNESSES = 3  # times that workers may be killed, before it is the work that kills them


@dataclass(frozen=True)
class Made:
    """What one run did."""

    out: Path
    packs: tuple[Path, ...]  # all that are there now, by identity and artefact
    kept: int  # of them, finished by an earlier run
    failed: dict[str, str]  # identity file -> what is wrong, in one line

    def require_all(self) -> None:
        """Raises CheckFailed if an identity failed."""
        if self.failed:
            first = next(iter(self.failed.values()))
            raise CheckFailed(
                f"{self.out}: {len(self.failed)} identities have no packs; the first: {first} (run the same command "
                "again when they are mended: what is finished is kept)"
            )


def make(
    *, base: str | Path, out: str | Path, identity: str | Path | None = None, identities: str | Path | None = None,
    checkpoint: str | Path | None = None, jobs: int = 1, dask: str | None = None, recipient: str | Sequence[str] = (),
    steps: Steps | None = None,
) -> Made:  # fmt: skip
    """Write a pack for each identity and each artefact of a base.

    What an earlier run has finished, for the same base and identity, is kept; sealed packs cannot be looked into
    without a key, and are made again, as are those that lie open where sealed ones are asked for.

    Args:
        base: the folder that ``compile`` wrote.
        out: a folder, for ``NAME-ARTEFACT.pack``, NAME being the identity file's; or, for one identity and a base
            of one artefact, a file that ends in ``.pack``.
        identity: ``id.npy``.
        identities: instead, a folder of them.
        checkpoint: the one that the base was compiled for; found as ``compile`` finds it.
        jobs: processes that work here; as joblib counts them, -1 is one for each CPU.
        dask: instead, the address of a Dask scheduler, ``tcp://HOST:PORT``. Its workers need this package, and the
            same paths as here.
        recipient: public keys, or files of them, that packs are sealed for; none leaves them readable.
        steps: told of progress, and of each identity that failed.

    Raises:
        MfsEdgeError: one line; nothing was written, or only whole packs. Of one identity also what is wrong with it.
    """
    base, out, steps = Path(base), Path(out), steps or Recorded()
    if (identity is None) == (identities is None):
        raise UsageError("give either --identity id.npy or --identities DIR")
    if dask is not None and jobs != 1:
        raise UsageError("give either --jobs N, for processes here, or --dask ADDRESS")
    if jobs == 0:
        raise UsageError("--jobs 0: nobody would work; give 1 or more, or -1 for one on each CPU")
    from mfs_edge.pack import work

    people = [_only(Path(identity))] if identity is not None else _listed(Path(str(identities)), steps)
    task = work.plan(base, out, checkpoint, [recipient] if isinstance(recipient, str) else recipient)
    if task.alone and len(people) > 1:
        raise UsageError(f"-o {out}: is one pack, of {len(people)} identities; give a folder")
    with files.writing(task.out):
        task.out.mkdir(parents=True, exist_ok=True)
    _sweep(task, people)
    for line in task.cautions:
        steps.note(line)
    title = f"packs of {people[0].name}" if len(people) == 1 else f"packs of {len(people)} identities"
    with steps.counted(title) as count:
        done = _all(task, people, jobs=jobs, dask=dask, steps=steps, count=count)
    _sweep(task, people)
    if identity is not None and (wrong := done[0].wrong):
        raise wrong
    failed = {str(one.identity): str(one.wrong) for one in done if one.wrong}
    paths = tuple(path for one in done for path in one.packs)
    return Made(out, paths, sum(one.kept for one in done), failed)


def _only(path: Path) -> Path:
    """``path``, if an identity is in it; before anything that takes seconds.

    Raises:
        IdentityError: it cannot be used.
    """
    from mfs_edge.load import identity

    identity.load(path)
    return path


def _listed(folder: Path, steps: Steps) -> list[Path]:
    """The identities in a folder.

    Raises:
        UsageError: two would give packs of the same name.
    """
    from mfs_edge.load import folder as folders

    found, others = folders.identities(folder)
    if others:
        steps.note(f"passed over in {folder}: {others}")
    names: dict[str, Path] = {}
    for path in found:
        if (other := names.setdefault(path.stem, path)) is not path:
            raise UsageError(f"{path}: and {other.name} would give packs of the same name; rename one of them")
    return found


def _sweep(task: Task, people: Sequence[Path]) -> None:
    """Remove what killed runs and workers have left half-written: of these packs, and whatever is old.

    Another run may be writing other packs there at this moment.
    """
    own = {files.known_as(task.pack_of(path, artefact)) for path in people for artefact in task.artefacts}
    for path in task.out.iterdir():
        with contextlib.suppress(OSError):  # another run's, which has just finished it
            begun = files.temporary_of(path.name)
            if begun in own or ((begun or "").endswith(container.SUFFIX) and _old(path)):
                path.unlink()


def _old(path: Path) -> bool:
    """Whether nobody can be writing ``path`` any more: a pack is written in milliseconds."""
    return time.time() - path.stat().st_mtime > ABANDONED


def _all(task: Task, people: list[Path], *, jobs: int, dask: str | None, steps: Steps, count: Count) -> list[Done]:
    """Every identity's, in the order of ``people``; what a killed worker had begun is begun again."""
    done: dict[Path, Done] = {}
    for left in reversed(range(WITNESSES)):
        waiting = [path for path in people if path not in done]
        try:
            for one in _worked(task, waiting, jobs=jobs, dask=dask):
                done[one.identity] = one
                count(len(done), len(people))
                for line in (*one.notes, *([str(one.wrong)] if one.wrong and len(people) > 1 else [])):
                    steps.note(line)
            break
        except Exception as error:
            if not _was_killed(error) or not left:
                raise _as_told(error, task, len(done), len(people)) from error
            steps.note(f"a worker was killed, with {len(done)} of {len(people)} identities done; going on")
    return [done[path] for path in people]


def _worked(task: Task, people: list[Path], *, jobs: int, dask: str | None) -> Iterator[Done]:
    """As they are finished."""
    from mfs_edge.pack import work

    joblib = extras.require("joblib", "compile")
    with _backend(joblib, dask):
        workers: dict[str, Any] = {} if dask else {"n_jobs": min(jobs, len(people)) if jobs > 0 else jobs}
        parallel = joblib.Parallel(**workers, return_as="generator_unordered", batch_size=1)
        yield from parallel(joblib.delayed(work.packed)(task, path) for path in people)


@contextlib.contextmanager
def _backend(joblib: Any, dask: str | None) -> Iterator[None]:
    """Processes here, or a cluster.

    Raises:
        OutputError: there is no scheduler at that address.
        MissingDependency: Dask is not installed.
    """
    if dask is None:
        with joblib.parallel_config("loky", inner_max_num_threads=1):
            yield
        return
    distributed = extras.require("distributed", "cluster")
    try:
        client = distributed.Client(dask, timeout="10s", set_as_default=False)
    except (OSError, ValueError, TypeError) as error:
        raise UsageError(f"--dask {dask}: no scheduler answers there ({error}); start one: dask scheduler") from error
    with client, joblib.parallel_config("dask", client=client, wait_for_workers_timeout=30):
        yield


def _was_killed(error: Exception) -> bool:
    """Whether a worker died, by the names that joblib's and Dask's exceptions have."""
    kinds = {kind.__name__ for kind in type(error).__mro__}
    return bool(kinds & {"TerminatedWorkerError", "BrokenProcessPool", "KilledWorker"})


def _as_told(error: Exception, task: Task, done: int, everyone: int) -> Exception:
    """``error``, or in one line what it means."""
    if isinstance(error, MfsEdgeError) or not _was_killed(error):
        return error
    return OutputError(
        f"{task.out}: workers were killed again and again, with {done} of {everyone} identities done (memory?); run "
        "the same command again with fewer --jobs: what is finished is kept"
    )
