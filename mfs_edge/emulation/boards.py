"""The boards that can be emulated, and what their kernel would say of their CPU.

Runtimes choose their kernels by what they find here (onnxruntime's and XNNPACK's cpuinfo
library reads ``/proc/cpuinfo`` and ``/sys/devices/system/cpu``), so it must agree with the
CPU that QEMU is told to be: a Cortex-A72 that claims dot products dies of an illegal
instruction.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

CORES = 4
_NEWER = "atomics fphp asimdhp cpuid asimdrdm lrcpc dcpop asimddp"


@dataclass(frozen=True)
class Board:
    """One board.

    Attributes:
        cpus: QEMU's names of the CPU, best first; older versions of QEMU lack some.
        features: as its kernel lists them.
        part, variant, revision: of the CPU, as its kernel reports them.
    """

    name: str
    title: str
    cpus: tuple[str, ...]
    features: str
    part: str
    variant: str
    revision: int

    def cpuinfo(self) -> str:
        """``/proc/cpuinfo``."""
        return "".join(self._processor(number) for number in range(CORES))

    def _processor(self, number: int) -> str:
        return (
            f"processor\t: {number}\nBogoMIPS\t: 108.00\nFeatures\t: {self.features}\n"
            f"CPU implementer\t: 0x41\nCPU architecture: 8\nCPU variant\t: {self.variant}\n"
            f"CPU part\t: {self.part}\nCPU revision\t: {self.revision}\n\n"
        )

    def write(self, prefix: Path) -> None:
        """The kernel's files about the CPU, under ``prefix``."""
        described = dict.fromkeys(("possible", "present", "online"), f"0-{CORES - 1}") | {"kernel_max": "255"}
        files = {f"sys/devices/system/cpu/{name}": f"{text}\n" for name, text in described.items()}
        for name, text in (files | {"proc/cpuinfo": self.cpuinfo()}).items():
            path = prefix / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)


# The Neoverse N1 is the server version of the Cortex-A76, with the same instruction set.
BOARDS = {
    board.name: board
    for board in (
        Board(
            name="rpi5",
            title="Raspberry Pi 5",
            cpus=("cortex-a76", "neoverse-n1"),
            features=f"fp asimd evtstrm aes pmull sha1 sha2 crc32 {_NEWER}",
            part="0xd0b",
            variant="0x4",
            revision=1,
        ),
        Board(
            name="rpi4",
            title="Raspberry Pi 4",
            cpus=("cortex-a72",),
            features="fp asimd evtstrm crc32 cpuid",
            part="0xd08",
            variant="0x0",
            revision=3,
        ),
    )
}
