"""Whoever calls a function with arrays is told their shapes."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
ARRAYS = re.compile(r"np\.ndarray|NDArray|\bTensor\b|\bArrays\b|\bOutputs\b|\bPictures\b")
SHAPES = re.compile(r"\[[^\]]*\]|of any shape|scalar|of (its|their) own shape|of the shape that")
# Descriptions of tensors, without values.
DESCRIPTIONS = (
    "mfs_edge/about/",
    *(f"targets/{name}/read.py" for name in ("coreml", "native", "onnx", "openvino", "web")),
)


def functions(body: list[ast.stmt], name: str = "", outer: str = "") -> Iterator[tuple[str, ast.FunctionDef, str]]:
    """Public functions and methods: name, node, and the docstrings that speak of it."""
    for node in body:
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            yield from functions(node.body, f"{name}{node.name}.", ast.get_docstring(node) or "")
        if isinstance(node, ast.FunctionDef) and (not node.name.startswith("_") or node.name == "__call__"):
            yield f"{name}{node.name}", node, f"{ast.get_docstring(node) or ''}\n{outer}"


def signature(function: ast.FunctionDef) -> str:
    returns = ast.unparse(function.returns) if function.returns else ""
    return f"{ast.unparse(function.args)} -> {returns}"


def test_every_public_function_with_arrays_says_their_shapes() -> None:
    silent = []
    for path in sorted([*ROOT.glob("mfs_edge/**/*.py"), *ROOT.glob("targets/**/*.py")]):
        file = path.relative_to(ROOT).as_posix()
        for name, function, told in functions(ast.parse(path.read_text()).body):
            described = file.startswith(DESCRIPTIONS) and "ndarray" not in signature(function)
            if ARRAYS.search(signature(function)) and not described and not SHAPES.search(told):
                silent.append(f"{file}:{function.lineno} {name}")
    assert not silent, "say in the docstring which shapes, as [N, C, H, W], and ranges:\n" + "\n".join(silent)
