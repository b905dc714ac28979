import numpy as np
import pytest

from mrresponse import geometry
from mrresponse.domain import Grid, Image, LabelMap
from mrresponse.errors import DataError

# file axes: i -> inferior (1.5 mm), j -> right (1.2 mm), k -> posterior (3 mm)
FILE_GRID = Grid(shape=(4, 5, 6), affine_rows=((0, 1.2, 0, 5), (0, 0, -3, 7), (-1.5, 0, 0, 9)))


def numbered(grid: Grid) -> Image:
    """Give an image whose voxels are all different."""
    count = int(np.prod(grid.shape))
    return Image(voxels=np.arange(count, dtype=np.float32).reshape(grid.shape), grid=grid)


def test_canonical_grid_runs_right_anterior_superior() -> None:
    grid = geometry.canonical_grid(FILE_GRID)
    assert grid.shape == (5, 6, 4)
    np.testing.assert_allclose(grid.affine[:3, :3], np.diag([1.2, 3.0, 1.5]))
    # y of the last k is 7 - 5 * 3, z of the last i is 9 - 3 * 1.5
    np.testing.assert_allclose(grid.affine[:3, 3], [5.0, -8.0, 4.5])


def test_reordering_keeps_every_voxel_at_its_place() -> None:
    image = numbered(FILE_GRID)
    ordered = geometry.to_canonical(image)
    place = geometry.voxel_to_world(FILE_GRID, [(1, 3, 2)])
    index = tuple(np.rint(geometry.world_to_voxel(ordered.grid, place)[0]).astype(int))
    assert ordered.voxels[index] == image.voxels[1, 3, 2]


def test_an_oblique_grid_is_reordered_but_not_resampled() -> None:
    angle = np.radians(20.0)
    rows = ((np.cos(angle), -np.sin(angle), 0, 0), (np.sin(angle), np.cos(angle), 0, 0), (0, 0, -2, 0))
    grid = Grid(shape=(3, 4, 5), affine_rows=rows)
    ordered = geometry.to_canonical(numbered(grid))
    np.testing.assert_array_equal(ordered.voxels, numbered(grid).voxels[:, :, ::-1])


def test_masks_return_to_the_order_of_their_file() -> None:
    labels = LabelMap(voxels=numbered(FILE_GRID).voxels.astype(np.uint16), grid=FILE_GRID)
    back = geometry.to_grid_order(geometry.to_canonical(labels), FILE_GRID)
    np.testing.assert_array_equal(back.voxels, labels.voxels)


def test_another_grid_is_an_error_that_describes_both() -> None:
    shifted = Grid(shape=(4, 5, 6), affine_rows=((0, 1.2, 0, 6), (0, 0, -3, 7), (-1.5, 0, 0, 9)))
    with pytest.raises(DataError, match=r"origin \(5\.0.*origin \(6\.0") as caught:
        geometry.to_grid_order(numbered(FILE_GRID), shifted)
    assert caught.value.code == "grid_mismatch"


def test_a_crop_pasted_back_lies_where_it_was() -> None:
    image = numbered(FILE_GRID)
    cut = geometry.crop(image, (1, 2, 3), (2, 2, 2))
    place = geometry.voxel_to_world(cut.grid, [(0, 0, 0)])
    np.testing.assert_allclose(place, geometry.voxel_to_world(FILE_GRID, [(1, 2, 3)]))
    pasted = geometry.paste(cut, (1, 2, 3), FILE_GRID)
    np.testing.assert_array_equal(pasted.voxels[1:3, 2:4, 3:5], image.voxels[1:3, 2:4, 3:5])
    assert np.count_nonzero(pasted.voxels) == 8


def test_a_crop_beyond_the_volume_is_refused() -> None:
    with pytest.raises(ValueError, match="does not lie inside"):
        geometry.crop(numbered(FILE_GRID), (3, 0, 0), (2, 2, 2))


def test_linear_resampling_reproduces_a_ramp() -> None:
    coarse = Grid(shape=(11, 11, 11), affine_rows=((2, 0, 0, 0), (0, 2, 0, 0), (0, 0, 2, 0)))
    ramp = Image(voxels=np.indices(coarse.shape)[0].astype(np.float32) * 2, grid=coarse)
    fine = Grid(shape=(5, 5, 5), affine_rows=((1, 0, 0, 4), (0, 1, 0, 4), (0, 0, 1, 4)))
    found = geometry.resample_image(ramp, fine)
    np.testing.assert_allclose(found.voxels[:, 2, 2], [4, 5, 6, 7, 8], rtol=1e-6)
    shift = np.eye(4)
    shift[0, 3] = 3.0
    moved = geometry.resample_image(ramp, fine, transform=geometry.WorldTransform(matrix=shift))
    np.testing.assert_allclose(moved.voxels[:, 2, 2], [7, 8, 9, 10, 11], rtol=1e-6)


def test_the_field_of_view_ends_at_the_outermost_planes_that_hold_signal() -> None:
    # slices of 2 mm at 0, 2, … 10 mm, of which the first and the last two are empty: signal from 2 to 6 mm
    grid = geometry.grid_of((3, 3, 6), np.diag([1.0, 1.0, 2.0, 1.0]))
    voxels = np.ones(grid.shape, dtype=np.float32)
    voxels[:, :, [0, 4, 5]] = 0.0
    image = Image(voxels=voxels, grid=grid)
    # slices of 1 mm at -1, 0, … 8 mm, and the columns of the image with one more on the right
    target = geometry.crop_grid(geometry.grid_of((4, 3, 10), np.eye(4)), (0, 0, -1), (4, 3, 10))
    seen = geometry.field_of_view(image, target)
    expected = np.zeros(target.shape, dtype=bool)
    expected[:3, :, 3:8] = True
    np.testing.assert_array_equal(seen, expected)
    # the image lies 1.5 mm higher than the place that it shows: 0.5 to 4.5 mm
    shift = np.eye(4)
    shift[2, 3] = 1.5
    moved = geometry.field_of_view(image, target, transform=geometry.WorldTransform(matrix=shift))
    np.testing.assert_array_equal(np.flatnonzero(moved.any(axis=(0, 1))), [2, 3, 4, 5])
    bent = geometry.WorldTransform(
        matrix=np.eye(4),
        displacement=geometry.Displacement(
            vectors_mm=np.full((2, 2, 2, 3), (0.0, 0.0, 1.5), dtype=np.float32), grid=target
        ),
    )
    np.testing.assert_array_equal(geometry.field_of_view(image, target, transform=bent), moved)
    empty = Image(voxels=np.zeros(grid.shape, dtype=np.float32), grid=grid)
    assert not geometry.field_of_view(empty, target).any()


def test_a_displacement_moves_points_and_is_inverted() -> None:
    grid = Grid(shape=(2, 2, 2), affine_rows=((20, 0, 0, 0), (0, 20, 0, 0), (0, 0, 20, 0)))
    vectors = np.zeros((2, 2, 2, 3), dtype=np.float32)
    vectors[1, :, :, 1] = 4.0  # rises from 0 to 4 mm over 20 mm
    transform = geometry.WorldTransform(
        matrix=np.eye(4), displacement=geometry.Displacement(vectors_mm=vectors, grid=grid)
    )
    np.testing.assert_allclose(transform(np.array([[10.0, 5.0, 5.0]])), [[10.0, 7.0, 5.0]])
    np.testing.assert_allclose(transform.inverse_of(np.array([[10.0, 7.0, 5.0]])), [[10.0, 5.0, 5.0]])
    np.testing.assert_allclose(transform(np.array([[60.0, 5.0, 5.0]])), [[60.0, 9.0, 5.0]])


def test_dilation_and_erosion_count_millimetres() -> None:
    mask = np.zeros((9, 9, 9), dtype=bool)
    mask[4, 4, 4] = True
    grown = geometry.dilate(mask, (1.0, 1.0, 3.0), 3.0)
    assert grown[1, 4, 4]
    assert not grown[0, 4, 4]
    assert grown[4, 4, 5]
    assert not grown[4, 4, 6]
    np.testing.assert_array_equal(geometry.erode(grown, (1.0, 1.0, 3.0), 2.0)[4, 4, 4], True)
    assert not geometry.erode(mask, (1.0, 1.0, 3.0), 1.0).any()


def test_an_empty_mask_has_no_box() -> None:
    assert geometry.bounding_box(np.zeros((3, 3, 3), dtype=bool)) is None
