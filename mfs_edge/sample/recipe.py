"""The former name of ``seeded``, until benchmarks/quantize_cases.py uses the new one."""

from mfs_edge.sample.seeded import network_state, paddle_shapes, tensor

__all__ = ["network_state", "paddle_shapes", "tensor"]
