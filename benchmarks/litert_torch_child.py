"""Converts the folded network with litert-torch; runs in that package's own environment.

Arguments: weights (.safetensors, the IDN's official keys), size, the file to write. Prints
the seconds taken as JSON on its last line.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path


def main() -> None:
    weights, size, path = sys.argv[1], int(sys.argv[2]), sys.argv[3]
    sys.path.insert(0, str(Path(__file__).parents[1]))
    start = time.perf_counter()
    import litert_torch  # type: ignore[import-not-found]
    import torch
    from safetensors.torch import load_file

    from mfs_edge.networks.idn import IDN

    network = IDN()
    missing, unexpected = network.load_state_dict(load_file(weights), strict=False)
    # Batch norms count batches in training; the count is in no checkpoint.
    if unexpected or any(not key.endswith("num_batches_tracked") for key in missing):
        raise SystemExit(f"weights do not fit the network: missing {missing}, unexpected {unexpected}")
    imported = time.perf_counter()
    with torch.no_grad():
        converted = litert_torch.convert(network.eval(), (torch.rand(1, 3, size, size),))
    converted.export(path)
    done = time.perf_counter()
    sys.stdout.write(json.dumps({"import_s": imported - start, "convert_s": done - imported}) + "\n")


if __name__ == "__main__":
    main()
