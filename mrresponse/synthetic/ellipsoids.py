"""Exact ellipsoids on a voxel grid: which share of every voxel they fill."""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mrresponse.domain import BoolArray, FloatArray, Grid, Point

Box = tuple[slice, slice, slice]

# Samples per voxel along (i, j, k); slices are thicker than pixels, so they get more.
_SAMPLES = (4, 4, 6)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ellipsoid:
    """An ellipsoid whose first two axes lie in the axial plane; ``angle_deg`` turns them about the third."""

    centre_mm: Point
    semi_axes_mm: Point
    angle_deg: float = 0.0

    @property
    def volume_ml(self) -> float:
        """Volume in millilitres."""
        return 4.0 / 3.0 * math.pi * math.prod(self.semi_axes_mm) / 1000.0

    def to_world(self, vector: Point) -> Point:
        """Turn a vector along the ellipsoid's axes into a world vector."""
        cosine, sine = _direction(self.angle_deg)
        x, y, z = vector
        return x * cosine - y * sine, x * sine + y * cosine, z


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Coverage:
    """Share of each voxel that lies inside, float32 0 to 1, on a box of the grid."""

    box: Box
    share: FloatArray

    @property
    def mask(self) -> BoolArray:
        """Voxels that lie inside for at least a half."""
        inside: BoolArray = self.share >= 0.5
        return inside


def cover(ellipsoid: Ellipsoid, grid: Grid) -> Coverage | None:
    """Return the coverage of an axis-aligned grid by an ellipsoid; ``None`` where it lies outside the grid."""
    reach = max(ellipsoid.semi_axes_mm[:2])
    box = _box(ellipsoid.centre_mm, (reach, reach, ellipsoid.semi_axes_mm[2]), grid)
    if any(part.start >= part.stop for part in box):
        return None
    x, y, z = (_samples(grid, axis, box[axis]) - ellipsoid.centre_mm[axis] for axis in range(3))
    cosine, sine = _direction(ellipsoid.angle_deg)
    along = (x[:, None] * cosine + y[None, :] * sine) / ellipsoid.semi_axes_mm[0]
    across = (y[None, :] * cosine - x[:, None] * sine) / ellipsoid.semi_axes_mm[1]
    room = 1.0 - (z / ellipsoid.semi_axes_mm[2]) ** 2
    inside = (along**2 + across**2)[:, :, None] <= room[None, None, :]
    sizes = [part.stop - part.start for part in box]
    blocks = inside.reshape(sizes[0], _SAMPLES[0], sizes[1], _SAMPLES[1], sizes[2], _SAMPLES[2])
    return Coverage(box=box, share=blocks.mean(axis=(1, 3, 5), dtype=np.float32))


def _direction(angle_deg: float) -> tuple[float, float]:
    return math.cos(math.radians(angle_deg)), math.sin(math.radians(angle_deg))


def _box(centre: Point, reach: Point, grid: Grid) -> Box:
    parts = []
    for axis in range(3):
        step, origin = grid.affine[axis, axis], grid.affine[axis, 3]
        low = math.floor((centre[axis] - reach[axis] - origin) / step - 0.5)
        high = math.ceil((centre[axis] + reach[axis] - origin) / step + 0.5)
        parts.append(slice(max(low, 0), min(high + 1, grid.shape[axis])))
    return parts[0], parts[1], parts[2]


def _samples(grid: Grid, axis: int, part: slice) -> npt.NDArray[np.float64]:
    step, origin = grid.affine[axis, axis], grid.affine[axis, 3]
    count = _SAMPLES[axis]
    within = (np.arange(count) + 0.5) / count - 0.5
    voxels = np.arange(part.start, part.stop)[:, None] + within
    return np.asarray(voxels.ravel() * step + origin)
