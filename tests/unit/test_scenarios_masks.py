"""Exact ellipsoids on voxels, and the independent measurement of the truth."""

import math

import numpy as np
import pytest

from mrresponse.domain import Grid
from mrresponse.synthetic.ellipsoids import Ellipsoid, cover
from mrresponse.synthetic.truth import mask_extents

GRID = Grid(
    shape=(40, 40, 20), affine_rows=((1.6, 0.0, 0.0, -32.0), (0.0, 1.6, 0.0, -32.0), (0.0, 0.0, 3.0, -30.0))
)


def test_shares_add_up_to_the_volume_of_the_ellipsoid() -> None:
    ellipsoid = Ellipsoid(centre_mm=(0.7, -1.1, 0.4), semi_axes_mm=(15.0, 11.0, 12.0), angle_deg=25.0)
    coverage = cover(ellipsoid, GRID)
    assert coverage is not None
    expected = 4 / 3 * math.pi * 15 * 11 * 12 / 1000
    assert ellipsoid.volume_ml == pytest.approx(expected)
    assert coverage.share.sum() * GRID.voxel_volume_ml == pytest.approx(expected, rel=0.005)


def test_the_longest_axis_lies_at_the_stated_angle() -> None:
    coverage = cover(Ellipsoid(centre_mm=(0, 0, 0), semi_axes_mm=(20.0, 5.0, 5.0), angle_deg=90.0), GRID)
    assert coverage is not None
    extent = [part.stop - part.start for part in coverage.box]
    span = np.argwhere(coverage.mask).max(axis=0) - np.argwhere(coverage.mask).min(axis=0)
    assert span[1] > 3 * span[0]
    assert len(extent) == 3


def test_an_ellipsoid_outside_the_grid_covers_nothing() -> None:
    assert cover(Ellipsoid(centre_mm=(300, 0, 0), semi_axes_mm=(5.0, 5.0, 5.0)), GRID) is None


def test_extents_of_a_drawn_rectangle_are_between_voxel_centres() -> None:
    mask = np.zeros((9, 9, 3), dtype=bool)
    mask[2:6, 3, 1] = True
    extents = mask_extents(mask, (2.0, 1.0, 5.0))
    assert extents is not None
    assert extents.longest_mm == pytest.approx(6.0)
    assert extents.perpendicular_mm == pytest.approx(0.0)


def test_the_longest_diameter_stays_in_one_slice() -> None:
    mask = np.zeros((9, 9, 9), dtype=bool)
    mask[4, 4, :] = True
    mask[3:6, 4, 2] = True
    extents = mask_extents(mask, (1.0, 1.0, 1.0))
    assert extents is not None
    assert extents.longest_mm == pytest.approx(2.0)


def test_an_empty_mask_has_no_extents() -> None:
    assert mask_extents(np.zeros((3, 3, 3), dtype=bool), (1.0, 1.0, 1.0)) is None
