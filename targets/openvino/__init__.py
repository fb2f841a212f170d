"""OpenVINO IR (``.xml`` + ``.bin``), run by the OpenVINO CPU device."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, ClassVar

from mfs_edge.target import EmitOptions, Target

if TYPE_CHECKING:
    import onnx_ir as ir

    from mfs_edge.base.runs import Derived


class OpenvinoTarget(Target):
    """OpenVINO reads the ONNX graph itself; this adds I/O, metadata and checks."""

    name = "openvino"
    title = "OpenVINO IR"
    suffix = ".xml"
    extra = "openvino"
    engine = f"{__name__}.engine"
    emit_needs = ("onnx_ir", "onnx", "openvino")
    run_needs = ("openvino",)
    uses: ClassVar[dict[str, str]] = {"openvino": "from openvino import Core, opset13; Core().get_versions('CPU')"}
    precisions: tuple[str, ...] = ("fp32", "fp16", "int8", "int8-mixed")
    # Run by tests/targets/test_oldest.py, as all of them are.
    oldest: Mapping[str, str] = MappingProxyType(dict.fromkeys(precisions, "openvino 2023.1.0"))
    enrolment: tuple[str, ...] = ("fp32", "fp16", "int8")
    io_forms: tuple[str, ...] = ("float32", "uint8")
    packs = True
    default_precision = "fp32"
    default_io = "float32"
    companions: tuple[str, ...] = (".bin",)

    def emit(self, model: ir.Model, path: Path, options: EmitOptions) -> None:
        """Write ``path`` and the weights beside it, under the same name with ``.bin``.

        fp16 compresses the weights only; the runtime widens them when it loads the file.
        int8 and int8-mixed store int8 weights, and one FakeQuantize per activation: the CPU
        device computes its convolutions on integers, and upsamples in float.
        """
        from . import convert

        convert.write(model, path, options)

    def derived(self, path: Path, contents: Mapping[str, bytes]) -> tuple[Derived, ...]:
        """The weights' hash in the XML."""
        from . import derived

        return derived.derived(path.name, contents)
