"""A folder of generated C: what is told of it, and whether it may be compiled."""

from __future__ import annotations

import functools
import tempfile
from pathlib import Path

from mfs_edge.targets.native import NativeOptions, NativeTarget, embed, emit, read

from mfs_edge.base import files
from mfs_edge.target import ENROL, EmitOptions
from tests.fuzz.readers.graphs import examined
from tests.fuzz.registry import Sample, reader
from tests.fuzz.structures import texts
from tests.targets.native.enrolment.test_refused import small
from tests.targets.native.test_family import Builder

FOLDER = "idn.idn"


@functools.cache
def emitted(embedded: bool) -> dict[str, bytes]:
    """The files of a small network's folder."""
    model = Builder(0, 32).model([3, 4, 5, 6, 7], [4, 5, 6, 7], [5, 4, 3, 3, 2], 3)
    with tempfile.TemporaryDirectory() as folder:
        NativeTarget().emit(model, Path(folder, FOLDER), EmitOptions(own=NativeOptions(embed=embedded)))
        return {str(path.relative_to(folder)): path.read_bytes() for path in files.under(Path(folder))}


def samples(name: str, *embedded: bool) -> list[Sample]:
    """With ``name`` to be edited."""
    held = [dict(emitted(each)) for each in embedded]
    return [Sample(one.pop(f"{FOLDER}/{name}"), one) for one in held]


@reader(
    "c-index", file=f"{FOLDER}/{read.INDEX}", samples=lambda: samples(read.INDEX, False, True),
    structures=[texts.as_json],
)  # fmt: skip
def read_index(path: Path) -> None:
    examined(path.parent)


@reader(
    "c-vouched", file=f"{FOLDER}/{read.INDEX}", samples=lambda: samples(read.INDEX, False), structures=[texts.as_json],
    share=0.5,
)  # fmt: skip
def vouch_for_index(path: Path) -> None:
    emit.vouch(path.parent)


@reader("c-constants", file=f"{FOLDER}/{embed.FILE}", samples=lambda: samples(embed.FILE, True), share=0.3)
def vouch_for_constants(path: Path) -> None:
    emit.vouch(path.parent)


@functools.cache
def enrolling() -> dict[str, bytes]:
    """The files of a small enrolment's folder."""
    with tempfile.TemporaryDirectory() as folder:
        NativeTarget().emit(small(), Path(folder, FOLDER), EmitOptions(task=ENROL))
        return {str(path.relative_to(folder)): path.read_bytes() for path in files.under(Path(folder))}


def enrolment_samples() -> list[Sample]:
    held = dict(enrolling())
    return [Sample(held.pop(f"{FOLDER}/{read.ENROLMENT}"), held)]


@reader(
    "c-enrolment", file=f"{FOLDER}/{read.ENROLMENT}", samples=enrolment_samples, structures=[texts.as_json], share=0.5
)
def vouch_for_enrolment(path: Path) -> None:
    examined(path.parent)
    emit.vouch(path.parent)
