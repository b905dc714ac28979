import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from mrresponse import geometry
from mrresponse.domain import Grid, Image, LabelMap

orders = st.permutations(range(3))
signs = st.tuples(*[st.sampled_from((-1.0, 1.0))] * 3)
spacings = st.tuples(*[st.floats(0.5, 8.0)] * 3)
shapes = st.tuples(*[st.integers(1, 6)] * 3)
tilts = st.floats(-0.5, 0.5)


@st.composite
def grids(draw: st.DrawFn) -> Grid:
    """Give grids of any axis order and direction, spacing and tilt below 30 degrees."""
    tilt = draw(tilts)
    turn = np.array([[np.cos(tilt), -np.sin(tilt), 0], [np.sin(tilt), np.cos(tilt), 0], [0, 0, 1]])
    axes = np.eye(3)[:, draw(orders)] * draw(signs)
    affine = np.column_stack([turn @ axes * draw(spacings), draw(st.tuples(*[st.floats(-200, 200)] * 3))])
    return Grid(shape=draw(shapes), affine_rows=tuple(tuple(float(v) for v in row) for row in affine))


@given(grid=grids())
@settings(max_examples=60, deadline=None)
def test_reordering_is_exact_and_reversible(grid: Grid) -> None:
    count = int(np.prod(grid.shape))
    image = Image(voxels=np.arange(count, dtype=np.float32).reshape(grid.shape), grid=grid)
    ordered = geometry.to_canonical(image)
    back = geometry.to_grid_order(ordered, grid)
    np.testing.assert_array_equal(back.voxels, image.voxels)
    assert geometry.is_same_grid(geometry.canonical_grid(ordered.grid), ordered.grid)
    np.testing.assert_allclose(ordered.grid.voxel_volume_ml, grid.voxel_volume_ml)


@given(grid=grids(), point=st.tuples(*[st.floats(-300, 300)] * 3))
@settings(max_examples=60, deadline=None)
def test_world_and_voxel_are_inverse(grid: Grid, point: tuple[float, float, float]) -> None:
    back = geometry.voxel_to_world(grid, geometry.world_to_voxel(grid, [point]))
    np.testing.assert_allclose(back[0], point, atol=1e-6)


@given(grid=grids(), seed=st.integers(0, 1000))
@settings(max_examples=40, deadline=None)
def test_flips_and_rotations_keep_the_volume_of_a_mask(grid: Grid, seed: int) -> None:
    mask = np.random.default_rng(seed).integers(0, 2, grid.shape).astype(np.uint16)
    ordered = geometry.to_canonical(LabelMap(voxels=mask, grid=grid))
    assert int(ordered.voxels.sum()) == int(mask.sum())
