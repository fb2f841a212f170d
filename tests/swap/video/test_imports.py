"""What a command line that does not touch a video must not pay for."""

from __future__ import annotations

import subprocess
import sys


def test_nothing_heavy_is_imported_before_it_is_used() -> None:
    code = (
        "import sys; from mfs_edge.swap import camera, pipe, stream, video;"
        "print(*{'av', 'cv2', 'torch', 'onnx', 'onnxruntime'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


def test_the_extra_is_named_where_it_is_missing() -> None:
    code = (
        "import sys; from pathlib import Path; sys.modules['av'] = None;"
        "from mfs_edge.base.errors import MissingDependency; from mfs_edge.swap import video\n"
        "try: video.open(Path(sys.executable), note=print)\n"
        "except MissingDependency as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "mfs-edge[video]" in done.stdout
