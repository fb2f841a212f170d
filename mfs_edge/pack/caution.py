"""Which bases suit identities that they have not seen."""

from __future__ import annotations

from collections.abc import Mapping

from mfs_edge.bundle.manifest import ArtefactRecord

ENOUGH = 8  # identities that a base in integers should have seen
# Of 40 drawn faces in an int8 base over 16 others, the 4 above this share kept 27 to 37 dB, all others 41 to 47.
MOST_BEYOND = 0.005


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


def misfit(identity: str, beyond: Mapping[str, float]) -> tuple[str, ...]:
    """What to know of an identity's packs, in a line, once its numbers are known; nothing if they fit.

    Args:
        identity: its file's name.
        beyond: for each file that tells how a base stores an identity, the share of the identity's numbers that were
            cut off there, 0..1, as of ``Coding.beyond``.
    """
    found = {base: share for base, share in beyond.items() if share > MOST_BEYOND}
    if not found:
        return ()
    return (
        f"{identity}: {100 * max(found.values()):.1f} % of its numbers are larger than {' and '.join(found)} can hold, "
        "and were cut off: it swaps much worse than others of this base; compile a base with it among --identities DIR",
    )
