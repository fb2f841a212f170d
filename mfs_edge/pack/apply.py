"""Base + pack = the artefact of another identity. Needs no compiler, no runtime and no target."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath

from mfs_edge.base import files
from mfs_edge.base.artefact import Artefact
from mfs_edge.base.errors import InputError, OutputError, UsageError
from mfs_edge.pack import container
from mfs_edge.pack.container import Pack


def apply(
    base: str | Path, pack: str | Path, out: str | Path, *, overwrite: bool = False, key: str | Path | None = None
) -> Artefact:
    """Write the artefact ``base`` with the identity of ``pack`` in it.

    The result is, bit for bit, what compiling that identity against that base writes. Everything is checked
    before anything is written, and what is written has its final name only when all of it is on the disk.

    Args:
        base: the artefact that the pack was made for: the file or folder by which a runtime opens it.
        pack: from ``mfs-edge pack make``.
        out: file or folder to write, with the base's suffix; companions (OpenVINO's ``.bin``) get its stem.
        overwrite: replace what is there.
        key: the file with the secret key that opens an encrypted pack; by default that of ``$MFS_EDGE_KEY``.

    Raises:
        InputError: the pack is damaged, or was made for another base.
        UsageError: ``out`` cannot be the result's name.
        OutputError: ``out`` is there already, or cannot be written.
        MissingDependency: the pack is encrypted, and what decrypts is not installed.
    """
    base, pack, out = Path(base), Path(pack), Path(out)
    opened = container.read(pack, key)
    sources = {name: _beside(base, opened.artefact, name) for name in opened.files}
    fresh = result(opened, contents(opened, base, pack), pack)
    targets = {name: _beside(out, opened.artefact, name) for name in opened.files}
    _check_out(out, base)
    _check_targets(targets.values(), (*sources.values(), pack), overwrite=overwrite)
    with files.writing(out):
        _write(out, {targets[name]: data for name, data in fresh.items()})
    tops = dict.fromkeys(targets[name].relative_to(out.parent).parts[0] for name in opened.files)
    return Artefact(out, tuple(name for name in tops if name != out.name))


def filled(base: Path, pack: Path, key: str | Path | None = None) -> dict[str, bytes]:
    """The files of ``base`` with the identity of ``pack`` in them, by their names beside it; nothing is written.

    Raises:
        InputError, MissingDependency: as of :func:`apply`.
    """
    opened = container.read(pack, key)
    fresh = result(opened, contents(opened, base, pack), pack)
    places = {name: _beside(base, opened.artefact, name).relative_to(base.parent).as_posix() for name in fresh}
    return {places[name]: bytes(data) for name, data in fresh.items()}


def contents(pack: Pack, base: Path, source: Path) -> dict[str, bytearray]:
    """The base's files, which are those that ``pack`` (read from ``source``) was made for.

    Raises:
        InputError: they are not, or not there.
    """
    if not base.exists():
        raise InputError(f"{base}: no such file or folder; give the base that {source} was made for")
    if base.suffix != PurePosixPath(pack.artefact).suffix:
        raise InputError(
            f"{base}: is not the base that {source} was made for (that is the {pack.target} artefact {pack.artefact}); "
            "give that one"
        )
    found = {}
    for name, part in pack.files.items():
        path = _beside(base, pack.artefact, name)
        files.require_file(path, f"base, {pack.artefact}")
        held = _read(path, part.bytes)
        if _sha256(held) != part.sha256:
            raise InputError(
                f"{path}: is not the base that {source} was made for ({_why(held, part.result)}); "
                f"give the {pack.target} {pack.precision} artefact whose sha256 is {part.sha256[:12]}..."
            )
        found[name] = held
    return found


def result(pack: Pack, held: dict[str, bytearray], source: Path) -> dict[str, bytearray]:
    """The files with the identity in them: ``held`` itself, as copies would be half of the time that this takes.

    Raises:
        InputError: they are not what the pack says that comes out.
    """
    for patch in pack.patches:
        held[patch.file][patch.offset : patch.offset + len(patch.data)] = patch.data
    for name, part in pack.files.items():
        if _sha256(held[name]) != part.result:
            raise InputError(f"{source}: does not give the {name} that it says; copy it again, or make it again")
    return held


def _read(path: Path, size: int) -> bytearray:
    """The file's bytes; none if it is not of that size."""
    held = bytearray(size if path.stat().st_size == size else 0)
    with path.open("rb", buffering=0) as file:
        return held if file.readinto(held) == len(held) else bytearray()


def _why(held: bytearray, expected: str) -> str:
    if not held:
        return "its size is another"
    return "this identity is in it already" if _sha256(held) == expected else "its bytes are others"


def _sha256(data: bytearray) -> str:
    return hashlib.sha256(data).hexdigest()


def _beside(path: Path, artefact: str, name: str) -> Path:
    """Where the file that a pack calls ``name`` lies for an artefact that was renamed from ``artefact`` to ``path``."""
    first, *rest = PurePosixPath(name).parts
    stem = PurePosixPath(artefact).stem
    if first == artefact:
        return path.joinpath(*rest)
    renamed = path.stem + first.removeprefix(stem) if first.startswith(stem) else first
    return path.with_name(renamed).joinpath(*rest)


def _check_out(out: Path, base: Path) -> None:
    """Raises UsageError or OutputError if ``out`` cannot be the result."""
    if out.suffix != base.suffix:
        raise UsageError(f"-o {out}: a runtime goes by the suffix; give a name that ends in {base.suffix or base.name}")
    if not out.parent.is_dir():
        raise OutputError(f"{out}: there is no folder {out.parent}; make it, or choose another -o")
    if out.is_dir() and not base.is_dir():
        raise OutputError(f"{out}: is a folder; choose another -o")
    inner, outer = out.resolve(), base.resolve()
    if inner != outer and (inner.is_relative_to(outer) or outer.is_relative_to(inner)):
        raise OutputError(f"{out}: and the base {base} lie in each other; choose another -o")


def _check_targets(written: Iterable[Path], read: Sequence[Path], *, overwrite: bool) -> None:
    """Raises OutputError if what is ``written`` would replace what was ``read``, or, unasked, anything."""
    sources = {path.resolve() for path in read}
    for path in written:
        if path.resolve() in sources:
            raise OutputError(f"{path}: would replace what it is made from; choose another -o")
        if path.exists() and not overwrite:
            raise OutputError(f"{path}: exists already; choose another -o, or add --overwrite")


def _write(out: Path, fresh: dict[Path, bytearray]) -> None:
    """All files of an artefact: in a folder beside it first, then, complete, by their final names."""
    if list(fresh) == [out]:
        with files.atomic(out) as temporary:
            temporary.write_bytes(fresh[out])
        return
    stage = out.with_name(f".{out.name[:50]}.{secrets.token_hex(4)}.tmp")
    stage.mkdir()
    try:
        for path, data in fresh.items():
            inside = stage / path.relative_to(out.parent)
            inside.parent.mkdir(parents=True, exist_ok=True)
            inside.write_bytes(data)
            files.sync(inside)
        _publish(out, stage)
    finally:
        files.delete(stage)


def _publish(out: Path, stage: Path) -> None:
    """Nobody shall open one identity's network with another's weights: ``out`` goes first and comes last.

    Where something is refused on the way, all is put back.
    """
    fresh = sorted((path for path in stage.iterdir()), key=lambda path: path.name == out.name)
    old = stage / ".old"
    old.mkdir()
    done: list[Path] = []
    try:
        for path in (out, *(out.with_name(path.name) for path in fresh)):
            if path.exists():
                path.rename(old / path.name)
        for path in fresh:
            files.replace(path, out.with_name(path.name))
            done.append(out.with_name(path.name))
    except BaseException:
        for path in done:
            files.delete(path)
        for path in sorted(old.iterdir(), key=lambda path: path.name == out.name):
            path.rename(out.with_name(path.name))
        raise
    files.sync(out.parent)
