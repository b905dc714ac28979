import numpy as np
import pytest
from scipy import ndimage

from mrresponse.domain import Grid, Image
from mrresponse.geometry import Displacement, WorldTransform, grid_of, resample_image, voxel_to_world
from mrresponse.matching import (
    Source,
    Spline,
    Target,
    averaged,
    find_shift,
    fit_rigid,
    fit_spline,
    moved,
    mutual_information,
)

OBLIQUE = np.array(
    [[2.9, -0.6, 0.0, -60.0], [0.6, 2.9, 0.0, -50.0], [0.0, 0.0, 4.0, -40.0], [0.0, 0.0, 0.0, 1.0]]
)
GRID = grid_of((44, 36, 24), OBLIQUE)


def texture(points: np.ndarray) -> np.ndarray:
    """Give smooth intensities at world points ``(n, 3)``: waves of 30 to 60 mm, nowhere the same twice."""
    x, y, z = points.T
    waves = np.sin(x / 6.1 + y / 14.0) + np.sin(y / 7.3 - z / 11.0) + np.sin(z / 6.7 + x / 17.0)
    return np.asarray(10.0 + waves + 0.02 * x + 0.01 * y)


def image_of(grid: Grid, values: np.ndarray) -> Image:
    return Image(voxels=values.reshape(grid.shape).astype(np.float32), grid=grid)


def everywhere(grid: Grid) -> np.ndarray:
    return np.asarray(voxel_to_world(grid, np.indices(grid.shape).reshape(3, -1).T))


def inner(grid: Grid, edge: int = 7) -> np.ndarray:
    counts = np.zeros(grid.shape, dtype=bool)
    counts[edge:-edge, edge:-edge, edge:-edge] = True
    return counts


FIXED = image_of(GRID, texture(everywhere(GRID)))


@pytest.mark.parametrize("robust", [True, False])
def test_a_rigid_move_of_an_image_of_other_contrast_is_found(robust: bool) -> None:
    angle = np.deg2rad(4.0)
    truth = np.eye(4)
    truth[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    truth[:3, 3] = (3.0, -2.0, 4.0)
    # an intensity v of the fixed image is 40 - 2 v in the moving one, which shows at truth(x) what the fixed shows at x
    back = moved(np.linalg.inv(truth), everywhere(GRID))
    moving = Source.of(image_of(GRID, 40.0 - 2.0 * texture(back)))
    target = Target.of(FIXED, inner(GRID), robust=robust)
    found = fit_rigid(target, moving, np.eye(4), np.eye(4), most=12)
    assert np.linalg.norm(moved(found, target.points) - moved(truth, target.points), axis=1).max() <= 0.3


def test_a_shift_far_beyond_the_reach_of_a_slope_is_found_before_a_start() -> None:
    start = np.eye(4)
    start[:3, 3] = (0.0, 30.0, 0.0)
    shift = np.array([-12.0, 9.0, 16.0])
    moving = Source.of(image_of(GRID, texture(everywhere(GRID) - shift - start[:3, 3])))
    found = find_shift(Target.of(FIXED, inner(GRID), robust=True), moving, start, 20.0)
    # half the diagonal of a voxel
    assert np.linalg.norm(found[:3, 3] - shift) <= 2.9


def test_a_smooth_displacement_is_found() -> None:
    def move(points: np.ndarray) -> np.ndarray:
        return np.asarray(points + 3.0 * np.sin(points[:, [1, 2, 0]] / 30.0))

    wide = grid_of(
        (70, 60, 40), GRID.affine @ np.array([[1, 0, 0, -13], [0, 1, 0, -12], [0, 0, 1, -8], [0, 0, 0, 1.0]])
    )
    there = everywhere(wide)
    back = there.copy()
    for _ in range(30):
        back += there - move(back)
    moving = Source.of(image_of(wide, texture(back)))
    target = Target.of(FIXED, inner(GRID, 3), robust=True)
    spline = fit_spline(target, moving, np.eye(4), Spline.still(GRID, 35.0), stiffness=0.01, most=8)
    vectors = spline.on(GRID)[:, *target.index.T].T
    errors = np.linalg.norm(target.points + vectors - move(target.points), axis=1)
    before = np.linalg.norm(move(target.points) - target.points, axis=1)
    assert np.median(before) > 3.0
    assert np.median(errors) <= 0.5


def test_a_source_is_interpolated_linearly_and_its_edge_goes_on() -> None:
    random = np.random.default_rng(3)
    voxels = random.normal(size=(6, 5, 4)).astype(np.float32)
    grid = grid_of((6, 5, 4), OBLIQUE)
    index = random.uniform(-2.0, 7.0, (200, 3))
    expected = ndimage.map_coordinates(voxels, index.T, order=1, mode="nearest")
    source = Source.of(Image(voxels=voxels, grid=grid))
    points = voxel_to_world(grid, index)
    np.testing.assert_allclose(source.values_at(points), expected, atol=1e-5)
    np.testing.assert_allclose(source.at(points)[0], expected, atol=1e-5)


def test_a_slope_is_per_millimetre_along_the_world_axes() -> None:
    points = everywhere(GRID)
    source = Source.of(image_of(GRID, points @ np.array([0.5, -0.25, 2.0])))
    _, slope = source.at(points[inner(GRID).ravel()])
    np.testing.assert_allclose(slope, np.tile([0.5, -0.25, 2.0], (len(slope), 1)), atol=1e-3)


def test_the_information_of_four_equal_classes_is_the_logarithm_of_four() -> None:
    classes = np.repeat([0.0, 1.0, 2.0, 3.0], 16)
    grid = grid_of((4, 4, 4), np.eye(4))
    target = Target.of(image_of(grid, classes), np.ones((4, 4, 4), dtype=bool), robust=True)
    assert mutual_information(target, (9.0 - classes).astype(np.float32)) == pytest.approx(np.log(4.0))
    assert mutual_information(target, np.tile([0.0, 1.0], 32).astype(np.float32)) == pytest.approx(
        0.0, abs=1e-9
    )


def test_what_is_averaged_stays_in_place() -> None:
    points = everywhere(GRID)
    small = averaged(image_of(GRID, points[:, 0]), 8.0)
    assert small.grid.shape == (14, 12, 12)
    np.testing.assert_allclose(small.voxels.ravel(), everywhere(small.grid)[:, 0], atol=1e-3)


@pytest.mark.parametrize("turned", [False, True])
def test_resampling_by_a_displacement_is_that_of_each_point_by_itself(turned: bool) -> None:
    random = np.random.default_rng(5)
    affine = OBLIQUE @ np.diag([3.0, 3.0, 2.0, 1.0]) if not turned else np.diag([9.0, 9.0, 8.0, 1.0])
    affine[:3, 3] += (4.0, 5.0, 3.0)
    vectors = random.normal(scale=3.0, size=(14, 12, 12, 3)).astype(np.float32)
    matrix = np.eye(4)
    matrix[:3, 3] = (1.0, -2.0, 0.5)
    transform = WorldTransform(
        matrix=matrix, displacement=Displacement(vectors_mm=vectors, grid=grid_of((14, 12, 12), affine))
    )
    index = (np.linalg.inv(GRID.affine) @ np.c_[transform(everywhere(GRID)), np.ones(GRID.shape).ravel()].T)[
        :3
    ]
    expected = ndimage.map_coordinates(FIXED.voxels, index, order=1, mode="grid-constant")
    found = resample_image(FIXED, GRID, transform=transform)
    np.testing.assert_allclose(found.voxels.ravel(), expected, atol=1e-3)
