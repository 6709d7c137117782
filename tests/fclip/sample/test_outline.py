"""Outlines: splines pass through their points, corners stay corners, a fitted garment fills its frame."""

from __future__ import annotations

import numpy as np
import pytest

from fclip.sample.garments import Pose
from fclip.sample.outline import Garment, corners, curves, fill, fitted, line


def naive_spline(points: list[tuple[float, float]], steps: int = 6) -> np.ndarray:
    """A closed uniform Catmull-Rom spline, point by point, from the textbook formula."""
    p = np.array(points)
    out = []
    for k in range(len(p)):
        p0, p1, p2, p3 = (p[(k + j) % len(p)] for j in (-1, 0, 1, 2))
        for t in np.arange(steps) / steps:
            quadratic, cubic = 2 * p0 - 5 * p1 + 4 * p2 - p3, -p0 + 3 * p1 - 3 * p2 + p3
            out.append(0.5 * (2 * p1 + (p2 - p0) * t + quadratic * t**2 + cubic * t**3))
    return np.array(out)


def test_closed_curve_equals_the_reference_spline() -> None:
    points = [(0.0, 0.0), (1.0, 0.2), (0.8, 1.0), (-0.1, 0.7)]
    straight = line((0.0, 0.0), (1.0, 1.0))
    first, second, third = curves([fill(*points), straight, fill(*reversed(points))])
    np.testing.assert_allclose(first, naive_spline(points), atol=1e-12)
    np.testing.assert_allclose(second, [(0, 0), (1, 1)])
    np.testing.assert_allclose(third, naive_spline(points[::-1]), atol=1e-12)


def test_open_lines_start_and_end_at_their_points() -> None:
    (outline,) = curves([line((0.0, 0.0), (0.5, 0.3), (1.0, 0.0))])
    np.testing.assert_allclose(outline[[0, 6, -1]], [(0, 0), (0.5, 0.3), (1, 0)], atol=1e-12)


def test_corners_do_not_overshoot() -> None:
    (outline,) = curves([fill(*corners((-1, -1), (1, -1), (1, 1), (-1, 1)))])
    assert np.abs(outline).max() == pytest.approx(1.0)


def test_fitted_garment_is_centred_and_fills_its_frame() -> None:
    garment = Garment((fill((0, 0), (4, 0), (4, 2), (0, 2)),), neck=(2.0, 0.0), chest=(2.0, 1.0, 0.5))
    result = fitted(garment)
    points = np.array(result.parts[0].points)
    np.testing.assert_allclose([points.min(axis=0), points.max(axis=0)], [(-1, -0.5), (1, 0.5)])
    assert result.neck == (0.0, -0.5)
    assert result.chest == (0.0, 0.0, 0.25)


def test_pose_and_sheet_are_inverse() -> None:
    pose = Pose.of(side=100, scale=0.8, angle=30, aspect=0.9, x=0.4, y=0.6, flip=True)
    (x, y) = pose(np.array([[0.5, -0.25]]))[0]
    a, b, c, d, e, f = pose.sheet_coefficients()
    unit = 512 / 3  # sheet pixels a frame unit
    np.testing.assert_allclose([a * x + b * y + c, d * x + e * y + f], [256 + 0.5 * unit, 256 - 0.25 * unit])
