"""Where voxels are: orientation, cropping, resampling, world and voxel coordinates, distances in mm.

World coordinates are RAS+ mm and arrays are ``[i, j, k]``.
"""

from dataclasses import dataclass
from itertools import permutations
from typing import TypeVar

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from mrresponse.domain import BoolArray, FloatArray, Grid, Image, LabelMap
from mrresponse.errors import DataError

Volume = TypeVar("Volume", Image, LabelMap)
Points = npt.NDArray[np.float64]
Matrix = npt.NDArray[np.float64]
Box = tuple[tuple[int, int], tuple[int, int], tuple[int, int]]
Triple = tuple[int, int, int]

# Affines of one acquisition written by different software differ in the last digits of float32.
SAME_PLACE_MM = 0.01
# So far beyond the edge of an image a resampled voxel has lost a twentieth of its signal, which is no more than noise.
_EDGE_VOXELS = 0.05
# Diameter of the ball of a volume below which a piece of a given label is a speck of the brush.
_SPECK_MM = 5.0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Displacement:
    """A smooth displacement in millimetres, float32 ``[i, j, k, 3]``; outside ``grid`` its edge goes on."""

    vectors_mm: FloatArray
    grid: Grid

    def at(self, points: Points) -> Points:
        """Interpolate the displacement linearly at world points ``(n, 3)``."""
        index = world_to_voxel(self.grid, points).T
        return np.stack(
            [
                ndimage.map_coordinates(self.vectors_mm[..., axis], index, order=1, mode="nearest")
                for axis in range(3)
            ],
            axis=1,
        ).astype(np.float64)

    def on(self, grid: Grid) -> FloatArray:
        """Interpolate at every voxel of a grid, float32 ``(3, i, j, k)``; fast where the axes agree."""
        index_map = _inverse(self.grid.affine) @ grid.affine
        scale = _exact_if_diagonal(index_map[:3, :3])
        if scale.ndim > 1:
            points = voxel_to_world(grid, np.indices(grid.shape).reshape(3, -1).T)
            return np.ascontiguousarray(self.at(points).T.reshape(3, *grid.shape), dtype=np.float32)
        found = np.moveaxis(self.vectors_mm, -1, 0)
        for axis in range(3):
            found = _stretched(
                found, axis + 1, index_map[axis, 3] + scale[axis] * np.arange(grid.shape[axis])
            )
        return found


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class WorldTransform:
    """World-to-world map ``x -> matrix (x + displacement(x))``, RAS+ mm."""

    matrix: npt.NDArray[np.float64]
    displacement: Displacement | None = None

    def __call__(self, points: Points) -> Points:
        """Map world points ``(n, 3)``."""
        moved = points if self.displacement is None else points + self.displacement.at(points)
        return _apply(self.matrix, moved)

    def inverse_of(self, points: Points) -> Points:
        """Find the points that are mapped to ``points``; exact without, to 0.1 mm with a displacement."""
        target = _apply(_inverse(self.matrix), points)
        found = target
        if self.displacement is not None:
            for _ in range(10):  # converges since the displacement is smooth: its slope is well below one
                found = target - self.displacement.at(found)
        return found


def identity() -> WorldTransform:
    """Give the transform that moves nothing."""
    return WorldTransform(matrix=np.eye(4))


def grid_of(shape: Triple, affine: npt.NDArray[np.float64]) -> Grid:
    """Give the grid of a shape and a 4 x 4 voxel-to-world matrix."""
    # + 0.0 turns -0.0 into 0.0, so that equal grids have equal text
    rows = tuple(tuple(float(value) + 0.0 for value in row) for row in affine[:3])
    return Grid(shape=shape, affine_rows=rows)


def canonical_grid(grid: Grid) -> Grid:
    """Reorder a grid so that ``i`` runs closest to right, ``j`` to anterior and ``k`` to superior."""
    axes, reorder = _reordering(grid)
    i, j, k = (grid.shape[axis] for axis in axes)
    return grid_of((i, j, k), grid.affine @ reorder)


def to_canonical(volume: Volume) -> Volume:
    """Bring a volume into canonical orientation by exact permutations and flips."""
    axes, reorder = _reordering(volume.grid)
    voxels = volume.voxels.transpose(axes)[_flips(reorder, axes)]
    return _volume_like(volume, voxels, canonical_grid(volume.grid))


def to_grid_order(volume: Volume, grid: Grid) -> Volume:
    """Bring a volume into the voxel order of ``grid`` by exact permutations and flips.

    Raises
    ------
    DataError
        ``grid_mismatch`` where the two grids are not the same voxels in another order.
    """
    ordered = to_canonical(volume)
    if not is_same_grid(ordered.grid, canonical_grid(grid)):
        raise DataError(
            f"found a volume of {describe(volume.grid)}, expected {describe(grid)}", code="grid_mismatch"
        )
    axes, reorder = _reordering(grid)
    back = np.argsort(axes)
    voxels = ordered.voxels[_flips(reorder, axes)].transpose(back)
    return _volume_like(volume, voxels, grid)


def is_same_grid(one: Grid, other: Grid) -> bool:
    """Tell whether two grids have their voxels at the same places in the same order."""
    if one.shape != other.shape:
        return False
    far = np.array([0.0, 0.0, 0.0]), np.array(one.shape, dtype=np.float64) - 1.0
    corners = np.array(np.meshgrid(*zip(*far, strict=True))).reshape(3, -1).T
    apart = voxel_to_world(one, corners) - voxel_to_world(other, corners)
    return bool(np.abs(apart).max() <= SAME_PLACE_MM)


def describe(grid: Grid) -> str:
    """Put a grid into words for a message: shape, spacing, axis directions and origin."""
    shape = " x ".join(str(count) for count in grid.shape)
    spacing = " x ".join(f"{step:.3g}" for step in grid.spacing_mm)
    origin = ", ".join(f"{value:.1f}" for value in grid.affine[:3, 3])
    axes, reorder = _reordering(grid)
    names = {axis: ("RAS", "LPI")[int(reorder[axis, place] < 0)][place] for place, axis in enumerate(axes)}
    return f"{shape} voxels of {spacing} mm, axes {names[0]}{names[1]}{names[2]}, origin ({origin}) mm"


def crop(volume: Volume, start: Triple, shape: Triple) -> Volume:
    """Cut a box out of a volume.

    Raises
    ------
    ValueError
        The box is empty or leaves the volume.
    """
    box = _box_slices(start, shape, volume.grid.shape)
    return _volume_like(volume, volume.voxels[box], crop_grid(volume.grid, start, shape))


def crop_grid(grid: Grid, start: Triple, shape: Triple) -> Grid:
    """Give the grid of the box that begins at voxel ``start`` of ``grid``."""
    affine = grid.affine.copy()
    affine[:3, 3] = voxel_to_world(grid, np.array([start], dtype=np.float64))[0]
    return grid_of(shape, affine)


def paste(volume: Volume, start: Triple, full_grid: Grid) -> Volume:
    """Put a cropped volume back to voxel ``start`` of ``full_grid``; everything else is 0."""
    voxels = np.zeros(full_grid.shape, dtype=volume.voxels.dtype)
    voxels[_box_slices(start, volume.grid.shape, full_grid.shape)] = volume.voxels
    return _volume_like(volume, voxels, full_grid)


def world_to_voxel(grid: Grid, points: npt.ArrayLike) -> Points:
    """Convert world points ``(n, 3)`` in mm to voxel indices, fractions included."""
    return _apply(_inverse(grid.affine), np.asarray(points, dtype=np.float64))


def voxel_to_world(grid: Grid, points: npt.ArrayLike) -> Points:
    """Convert voxel indices ``(n, 3)`` to world points in mm."""
    return _apply(grid.affine, np.asarray(points, dtype=np.float64))


def resample_image(image: Image, grid: Grid, *, transform: WorldTransform | None = None) -> Image:
    """Interpolate an image linearly on ``grid``; places outside it become 0.

    No smoothing is done before sampling on a coarser grid.

    Parameters
    ----------
    transform
        Maps world points of ``grid`` to world points of ``image``; ``None`` leaves them in place.
    """
    transform = transform or identity()
    to_source = _inverse(image.grid.affine) @ transform.matrix
    index_map = to_source @ grid.affine
    if transform.displacement is not None:
        index = _indices_moved(to_source, grid, transform.displacement)
        voxels = ndimage.map_coordinates(image.voxels, index, order=1, mode="grid-constant", cval=0)
    elif image.grid.shape == grid.shape and np.allclose(index_map, np.eye(4), atol=1e-6):
        voxels = image.voxels.copy()
    else:
        linear, offset = _exact_if_diagonal(index_map[:3, :3]), index_map[:3, 3]
        voxels = ndimage.affine_transform(
            image.voxels, linear, offset, grid.shape, order=1, mode="grid-constant", cval=0
        )
    return Image(voxels=voxels.astype(np.float32, copy=False), grid=grid)


def field_of_view(image: Image, grid: Grid, *, transform: WorldTransform | None = None) -> BoolArray:
    """Tell which voxels of ``grid`` an image shows: between the centres of its outermost planes that hold signal.

    Farther out `resample_image` fades to 0, and planes of zeros at the ends of a volume were not acquired.

    Parameters
    ----------
    transform
        As in `resample_image`.
    """
    box = bounding_box(image.voxels != 0)
    shown = np.full(grid.shape, box is not None)
    transform = transform or identity()
    index = _indices_moved(_inverse(image.grid.affine) @ transform.matrix, grid, transform.displacement)
    for place, (low, high) in zip(index, box or (), strict=False):
        shown &= (place >= low - _EDGE_VOXELS) & (place <= high - 1 + _EDGE_VOXELS)
    return shown


def bounding_box(mask: BoolArray) -> Box | None:
    """Give the half-open voxel range of a mask along each axis; ``None`` where the mask is empty."""
    ranges: list[tuple[int, int]] = []
    for axis in range(3):
        others = tuple(other for other in range(3) if other != axis)
        inside = np.flatnonzero(mask.any(axis=others))
        if inside.size == 0:
            return None
        ranges.append((int(inside[0]), int(inside[-1]) + 1))
    return ranges[0], ranges[1], ranges[2]


def grow_box(box: Box, shape: Triple, margin: Triple) -> Box:
    """Widen a box by ``margin`` voxels on every side, but not beyond ``shape``."""
    (i, j, k) = (
        (max(low - extra, 0), min(high + extra, count))
        for (low, high), count, extra in zip(box, shape, margin, strict=True)
    )
    return i, j, k


def margin_voxels(spacing_mm: tuple[float, float, float], margin_mm: float) -> Triple:
    """Give the voxels along each axis that cover ``margin_mm``."""
    i, j, k = (int(np.ceil(margin_mm / step - 1e-9)) for step in spacing_mm)
    return i, j, k


def box_slices(box: Box) -> tuple[slice, slice, slice]:
    """Turn a box into slices."""
    i, j, k = (slice(low, high) for low, high in box)
    return i, j, k


def ball_diameter_mm(volume_ml: float) -> float:
    """Return the diameter of the ball of a volume."""
    return float((6000.0 * volume_ml / np.pi) ** (1.0 / 3.0))


def pieces_of(body: BoolArray, voxel_volume_ml: float) -> int:
    """Count the pieces of one label that do not touch, without specks: balls of their volumes are below 5 mm."""
    return len(_large_pieces(body, body, voxel_volume_ml)[1])


def with_slice_left_out(body: BoolArray) -> BoolArray:
    """Return a mask with what lies one above the other joined where a single slice between was left out."""
    closed = body.copy()
    closed[:, :, 1:-1] |= body[:, :, :-2] & body[:, :, 2:]
    return closed


def fragments_of(body: BoolArray, voxel_volume_ml: float) -> list[BoolArray]:
    """Part one label into the pieces that lie apart, the largest first; together they have all its voxels.

    Pieces one above the other with a single slice between them, which whoever drew them left out, are one. Specks (see
    `pieces_of`) go with the largest.
    """
    pieces, large = _large_pieces(with_slice_left_out(body), body, voxel_volume_ml)
    if len(large) < 2:
        return [body]
    others = [body & (pieces == piece) for piece in large[1:]]
    return [body & ~np.isin(pieces, large[1:]), *others]


def _large_pieces(
    closed: BoolArray, body: BoolArray, voxel_volume_ml: float
) -> tuple[npt.NDArray[np.int32], list[int]]:
    """Number the pieces of a body, closed where they count as one, and name those above a speck, the largest first."""
    pieces, _ = ndimage.label(closed, structure=np.ones((3, 3, 3), dtype=bool))
    sizes = np.bincount(pieces[body], minlength=1)
    large = [
        int(piece)
        for piece in np.argsort(-sizes, kind="stable")
        if ball_diameter_mm(int(sizes[piece]) * voxel_volume_ml) >= _SPECK_MM
    ]
    return pieces, large


def largest_piece(mask: BoolArray, *, connectivity: int = 1) -> BoolArray:
    """Return the largest connected piece of a mask; nothing of an empty one.

    ``connectivity`` 1 joins voxels that share a face, 3 also those that share an edge or a corner.
    """
    pieces, count = ndimage.label(mask, structure=ndimage.generate_binary_structure(3, connectivity))
    if count < 2:
        return mask
    sizes = np.bincount(pieces.ravel())
    sizes[0] = 0
    return np.asarray(pieces == sizes.argmax())


def dilate(mask: BoolArray, spacing_mm: tuple[float, float, float], radius_mm: float) -> BoolArray:
    """Grow a mask by all voxels whose centre is within ``radius_mm`` of one of its voxel centres."""
    box = bounding_box(mask)
    if box is None:
        return mask.copy()
    cut = box_slices(grow_box(box, _shape(mask), margin_voxels(spacing_mm, radius_mm)))
    grown = np.zeros_like(mask)
    grown[cut] = ndimage.distance_transform_edt(~mask[cut], sampling=spacing_mm) <= radius_mm
    return grown


def erode(mask: BoolArray, spacing_mm: tuple[float, float, float], radius_mm: float) -> BoolArray:
    """Remove the voxels of a mask within ``radius_mm`` of one outside it; the volume's edge is no border."""
    box = bounding_box(mask)
    if box is None:
        return mask.copy()
    cut = box_slices(grow_box(box, _shape(mask), (1, 1, 1)))
    shrunk = np.zeros_like(mask)
    if mask[cut].all():
        return mask.copy()
    shrunk[cut] = ndimage.distance_transform_edt(mask[cut], sampling=spacing_mm) > radius_mm
    return shrunk


def _indices_moved(
    to_source: Matrix, target: Grid, displacement: Displacement | None
) -> npt.NDArray[np.float32]:
    """Give ``to_source (x + displacement(x))`` at every voxel of ``target``, ``(3, i, j, k)``."""
    index_map = to_source @ target.affine
    i, j, k = np.ogrid[tuple(slice(count) for count in target.shape)]
    if displacement is None:
        moved = np.zeros((3, *target.shape), dtype=np.float32)
    else:
        moved = np.einsum("ab,bijk->aijk", to_source[:3, :3].astype(np.float32), displacement.on(target))
    for axis in range(3):
        moved[axis] += (index_map[axis, 0] * i + index_map[axis, 3]).astype(np.float32)
        moved[axis] += (index_map[axis, 1] * j).astype(np.float32)
        moved[axis] += (index_map[axis, 2] * k).astype(np.float32)
    return np.asarray(moved, dtype=np.float32)


def _stretched(values: FloatArray, axis: int, index: npt.NDArray[np.float64]) -> FloatArray:
    """Interpolate linearly along one axis; beyond the edge the edge goes on."""
    place = np.clip(index, 0, values.shape[axis] - 1)
    low = place.astype(int)
    part = (place - low).astype(np.float32).reshape([-1 if one == axis else 1 for one in range(values.ndim)])
    one = values.take(low, axis=axis)
    other = values.take(np.minimum(low + 1, values.shape[axis] - 1), axis=axis)
    return np.asarray(one + (other - one) * part, dtype=np.float32)


def _exact_if_diagonal(linear: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    # scipy treats a vector of scales per axis much faster than a full matrix
    diagonal = np.diag(linear)
    return diagonal if np.allclose(linear, np.diag(diagonal), atol=1e-9) else linear


def _reordering(grid: Grid) -> tuple[Triple, npt.NDArray[np.float64]]:
    """Give the file axis behind each canonical axis, and the matrix from canonical to file voxels."""
    cosines = grid.affine[:3, :3] / np.asarray(grid.spacing_mm)
    axes = max(
        permutations(range(3)), key=lambda order: sum(abs(cosines[row, order[row]]) for row in range(3))
    )
    reorder = np.zeros((4, 4))
    reorder[3, 3] = 1.0
    for row, axis in enumerate(axes):
        if cosines[row, axis] >= 0:
            reorder[axis, row] = 1.0
        else:
            reorder[axis, row] = -1.0
            reorder[axis, 3] = grid.shape[axis] - 1.0
    return (axes[0], axes[1], axes[2]), reorder


def _flips(reorder: npt.NDArray[np.float64], axes: Triple) -> tuple[slice, slice, slice]:
    i, j, k = (
        slice(None, None, -1) if reorder[axis, row] < 0 else slice(None) for row, axis in enumerate(axes)
    )
    return i, j, k


def _volume_like(volume: Volume, voxels: npt.NDArray[np.generic], grid: Grid) -> Volume:
    return type(volume)(voxels=np.ascontiguousarray(voxels), grid=grid)


def _shape(voxels: npt.NDArray[np.generic]) -> Triple:
    i, j, k = voxels.shape
    return i, j, k


def _box_slices(start: Triple, shape: Triple, full: Triple) -> tuple[slice, slice, slice]:
    inside = (
        low >= 0 and size > 0 and low + size <= count
        for low, size, count in zip(start, shape, full, strict=True)
    )
    if not all(inside):
        raise ValueError(f"box of {shape} at {start} does not lie inside {full}")
    i, j, k = (slice(low, low + size) for low, size in zip(start, shape, strict=True))
    return i, j, k


def _apply(matrix: npt.NDArray[np.float64], points: Points) -> Points:
    # no BLAS for three columns: its threads cost more than the product
    return np.asarray(np.einsum("na,ba->nb", points, matrix[:3, :3]) + matrix[:3, 3], dtype=np.float64)


def _inverse(matrix: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return np.asarray(np.linalg.inv(matrix), dtype=np.float64)
