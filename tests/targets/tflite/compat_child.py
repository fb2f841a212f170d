"""Runs inside an environment with numpy, pydantic and tflite_runtime alone; see ``test_compat``.

Arguments: the repository, an artefact, an input (.npy), where to put the outputs (.npz).
"""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path

import numpy as np


def targets_package(repository: Path) -> None:
    """Make ``mfs_edge.targets`` importable as an installation would."""
    sys.path.insert(0, str(repository))
    folder = repository / "targets"
    spec = importlib.util.spec_from_file_location(
        "mfs_edge.targets", folder / "__init__.py", submodule_search_locations=[str(folder)]
    )
    if spec is None or spec.loader is None:
        raise SystemExit(f"{folder} is no package")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)


def main() -> None:
    repository, artefact, image, outputs = (Path(argument) for argument in sys.argv[1:])
    targets_package(repository)
    from mfs_edge.targets.tflite import TfliteTarget

    loaded = TfliteTarget().load(artefact, threads=1)
    np.savez(outputs, **loaded.run(np.load(image)))
    runtime = f"{loaded.engine.title} {loaded.engine.version}"
    said = {
        "runtime": runtime,
        "numpy": np.__version__,
        "coverage": loaded.engine.coverage(),
        "warnings": loaded.warnings(),
        "cautions": TfliteTarget().cautions(),
    }
    print(json.dumps(said))  # noqa: T201


if __name__ == "__main__":
    main()
