"""Which bases suit identities that they have not seen."""

from __future__ import annotations

from mfs_edge.bundle.manifest import ArtefactRecord

ENOUGH = 8  # identities that a base in integers should have seen


def caution(record: ArtefactRecord) -> str:
    """What to know before other identities are put into the recorded artefact; empty if nothing is.

    Floating point has room for any identity; integers have it where the base's identities needed it.
    """
    if not record.precision.startswith("int8") or record.identities >= ENOUGH:
        return ""
    seen = "one identity" if record.identities == 1 else f"{record.identities} identities"
    return (
        f"{record.file} was compiled over {seen}: in {record.precision} others swap much worse with it; compile a base "
        f"over {ENOUGH} or more with --identities DIR"
    )
