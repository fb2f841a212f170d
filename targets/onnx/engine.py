"""onnxruntime: the one place where its sessions are made.

It stands alone (numpy and onnxruntime, Python 3.9), so that it can travel to a device; see
``mfs_edge.target.Engine`` for what its methods promise.
"""

from __future__ import annotations

import errno
import json
import os
import tempfile
from pathlib import Path
from typing import Any

TYPES = {"tensor(float)": "float32", "tensor(float16)": "float16", "tensor(uint8)": "uint8", "tensor(int8)": "int8"}
ERRORS_ONLY = 3
PROVIDERS = ["CPUExecutionProvider"]


class Engine:
    """A CPU session with onnxruntime's own optimisations, and one thread pool.

    x86 without VNNI adds pairs of int8 products in saturating int16 (microsoft/onnxruntime#12088).
    The weights that ``mfs_edge.quantize`` writes are bounded so that no pair does: every CPU computes
    the same without an option for it.
    """

    PACKAGE = "onnxruntime"
    MODULES = ("onnxruntime",)
    title = "onnxruntime"

    def __init__(self, path: str, threads: int = 0, profile: bool = False) -> None:
        import onnxruntime as ort

        self.version, self.file = str(ort.__version__), Path(path).name
        self.options = options = ort.SessionOptions()
        options.log_severity_level = ERRORS_ONLY
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        if profile:
            self.folder = tempfile.TemporaryDirectory()
            options.enable_profiling = True
            options.profile_file_prefix = str(Path(self.folder.name, "ort"))
        self.session = ort.InferenceSession(path, options, providers=PROVIDERS)
        self.inputs = {i.name: (tuple(i.shape), TYPES.get(i.type, "float32")) for i in self.session.get_inputs()}
        self.names = [output.name for output in self.session.get_outputs()]
        self.feeds: dict[str, Any] = {}
        self.found: list[Any] = []
        self.frames = 0

    def switch(self, contents: dict[str, bytes]) -> None:
        """The artefact with other numbers in it; the session until then goes on until the new one is there.

        ``add_external_initializers`` is no faster: what a session costs is the graph's optimisation.
        """
        import onnxruntime as ort

        self.session = ort.InferenceSession(contents[self.file], self.options, providers=PROVIDERS)

    def feed(self, feeds: dict[str, Any]) -> None:
        self.feeds = feeds

    def infer(self) -> None:
        self.found = self.session.run(self.names, self.feeds)
        self.frames += 1

    def fetch(self) -> dict[str, Any]:
        return dict(zip(self.names, self.found))  # noqa: B905 (Python 3.9)

    def coverage(self) -> None:
        """One execution provider runs everything."""

    def layers(self) -> list[dict[str, Any]]:
        """By onnxruntime's own profiler; the first frame, which is not steady, is left out."""
        try:
            said = json.loads(Path(self.session.end_profiling()).read_text("utf-8"))
        except (OSError, ValueError) as error:  # onnxruntime does not tell that it could not write all of it
            reason = f"{os.strerror(errno.ENOSPC)}, onnxruntime's profile is cut off"
            raise OSError(errno.ENOSPC, reason, self.folder.name) from error
        events = [e for e in said if e.get("cat") == "Node" and e["name"].endswith("_kernel_time")]
        steady = events[len(events) // self.frames :]
        totals: dict[str, list[Any]] = {}
        for event in steady:
            name = event["name"][: -len("_kernel_time")]
            entry = totals.setdefault(name, [event["args"].get("op_name", "?"), 0.0])
            entry[1] += event["dur"] / 1000 / (self.frames - 1)
        return [{"name": name, "kind": kind, "ms": ms} for name, (kind, ms) in totals.items()]

    def execution(self) -> str:
        """By the kernels that ran."""
        kinds = [layer["kind"] for layer in self.layers()]
        integer = sum(kind in ("QLinearConv", "ConvInteger") for kind in kinds)
        total = integer + sum(kind in ("Conv", "FusedConv") for kind in kinds)
        return f"{integer} of {total} convolutions on int8, the others on float32"
