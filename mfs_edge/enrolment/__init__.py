"""Enrolment on the device: an aligned face crop -> the identity's numbers, as one static graph.

ArcFace, the IIN and the fold's arithmetic, all written as the few operators that every target has.
"""

from mfs_edge.enrolment.build import Trunk, trunk
from mfs_edge.enrolment.coding import Plan, Run, coded, decoded, of_base, plain

__all__ = ["Plan", "Run", "Trunk", "coded", "decoded", "of_base", "plain", "trunk"]
