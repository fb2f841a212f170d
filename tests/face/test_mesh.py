"""From Face Mesh's points to ours."""

from __future__ import annotations

import numpy as np

from mfs_edge.face import align, mesh
from mfs_edge.face.mesh import Region


def test_a_region_is_a_turned_square() -> None:
    region = Region(np.array([50.0, 30.0]), 20.0, np.pi / 2)
    matrix = region.matrix(192)
    at = np.array([(50, 30), (50, 40), (40, 30)]) @ matrix[:, :2].T + matrix[:, 2]
    np.testing.assert_allclose(at, [(95.5, 95.5), (191.5, 95.5), (95.5, 191.5)], atol=1e-9)


def test_the_region_of_points_turns_with_the_eyes() -> None:
    points = np.array([(0.0, 0), (10, 0), (0, 20), (10, 20)])
    level = mesh.region_of(points, points[:2])
    np.testing.assert_allclose(level.centre, (5, 10))
    assert (level.side, level.angle) == (30, 0)
    for angle in (-0.5, 0.7, 3.0):
        turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
        turned = mesh.region_of(points @ turn, points[:2] @ turn)
        np.testing.assert_allclose(turned.centre, np.array([5, 10]) @ turn, atol=1e-9)
        np.testing.assert_allclose((turned.side, turned.angle), (30, angle))


def test_offsets_turn_and_grow_with_the_face() -> None:
    """On the template itself they are what they say; on a turned and enlarged one they are turned and enlarged."""
    np.testing.assert_allclose(mesh.fitted(align.TEMPLATE) - align.TEMPLATE, mesh.OFFSETS, atol=1e-9)
    factor = 3 * np.exp(0.4j)
    turned = align.TEMPLATE @ [1, 1j] * factor + (20 + 5j)
    moved = np.array(mesh.OFFSETS) @ [1, 1j] * factor
    points = np.column_stack([turned.real, turned.imag])
    np.testing.assert_allclose(mesh.fitted(points) - points, np.column_stack([moved.real, moved.imag]), atol=1e-9)


def test_points_at_one_place_stay_there() -> None:
    np.testing.assert_array_equal(mesh.fitted(np.ones((5, 2))), np.ones((5, 2)))
