"""How one image is matched with another: similarity, and Gauss-Newton steps for a rigid move and a coarse spline.

Only the voxels that count are ever visited. The fixed intensities are replaced by the mean of the moving ones that lie
on them (the correlation ratio of Roche 1998), so that a squared difference serves across contrast phases. Products over
many voxels are plain ``einsum``, and those of the spline are batches of small matrices: BLAS would start threads that
wait for each other, and equal input must give equal bytes.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

import numpy as np
import numpy.typing as npt

from mrresponse.domain import BoolArray, FloatArray, Grid, Image
from mrresponse.geometry import Matrix, Points, grid_of, voxel_to_world, world_to_voxel

Floats = npt.NDArray[np.floating]
Bases = tuple[FloatArray, FloatArray, FloatArray]
BINS = 32
_SHIFT_BINS = 16
_SHIFT_POINTS = 4000
_LONGEST_STEP_MM = 8.0
# 95 % of the efficiency of least squares where nothing is out of line (Holland 1977)
_CAUCHY = 2.385


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Target:
    """The voxels of a fixed image that count.

    Parameters
    ----------
    grid
        Grid of the fixed image at this size of voxels.
    index, points
        Voxel indices and world places of the voxels that count, ``(n, 3)``.
    values
        Their intensities, float32 ``(n,)``.
    bins, joint
        The bin of each on a scale of equal counts, for the mean of what lies on it; and on one of equal widths, for
        the mutual information.
    centres
        Middle intensity of each bin of equal counts.
    robust
        Whether what fits far worse than the rest counts for less.
    """

    grid: Grid
    index: npt.NDArray[np.intp]
    points: Points
    values: FloatArray
    bins: npt.NDArray[np.intp]
    centres: FloatArray
    joint: npt.NDArray[np.intp]
    robust: bool

    @classmethod
    def of(cls, image: Image, counts: BoolArray, *, robust: bool) -> "Target":
        """Take the voxels of an image where ``counts`` is true; there must be one."""
        index = np.argwhere(counts)
        values = image.voxels[counts]
        edges = np.unique(np.quantile(values, np.linspace(0.0, 1.0, 41)).astype(np.float32))
        bins = np.clip(np.searchsorted(edges, values, side="right") - 1, 0, max(len(edges) - 2, 0))
        centres = np.asarray((edges[:-1] + edges[1:]) / 2 if len(edges) > 1 else edges, dtype=np.float32)
        return cls(
            grid=image.grid,
            index=index,
            points=voxel_to_world(image.grid, index),
            values=values,
            bins=bins,
            centres=centres,
            joint=_equal_bins(values, BINS),
            robust=robust,
        )

    def expected(self, found: FloatArray) -> FloatArray:
        """Give for each voxel the mean of ``found`` where the fixed intensity is about the same."""
        count = np.maximum(np.bincount(self.bins, minlength=len(self.centres)), 1)
        mean = np.bincount(self.bins, weights=found, minlength=len(self.centres)) / count
        return np.interp(self.values, self.centres, mean).astype(np.float32)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Source:
    """A moving image that is sampled at any place; beyond its edge the edge goes on.

    Parameters
    ----------
    values, packed
        Intensity, float32 ``(i + 1, j + 1, k + 1, 1)``, and with it its slope per mm along the world axes,
        ``(…, 4)``: the last voxel of every axis stands twice, so that each place has a neighbour above.
    """

    grid: Grid
    values: FloatArray
    packed: FloatArray

    @classmethod
    def of(cls, image: Image) -> "Source":
        """Prepare an image for sampling."""
        padded = np.pad(image.voxels, ((0, 1),) * 3, mode="edge")
        to_index = np.linalg.inv(image.grid.affine)[:3, :3].astype(np.float32)
        slopes = np.stack([np.gradient(padded, axis=axis) for axis in range(3)], axis=-1)
        packed = np.empty((*padded.shape, 4), dtype=np.float32)
        packed[..., 0] = padded
        packed[..., 1:] = np.einsum("ijka,ab->ijkb", slopes, to_index)
        return cls(grid=image.grid, values=padded[..., None], packed=packed)

    def at(self, points: Points) -> tuple[FloatArray, FloatArray]:
        """Give intensity ``(n,)`` and slope per mm ``(n, 3)`` at world points ``(n, 3)``."""
        found = _between(self.packed, world_to_voxel(self.grid, points))
        return found[:, 0], found[:, 1:]

    def values_at(self, points: Points) -> FloatArray:
        """Give the intensity alone."""
        return _between(self.values, world_to_voxel(self.grid, points))[:, 0]


def _between(packed: FloatArray, index: Points) -> FloatArray:
    """Interpolate linearly; ``packed`` has one voxel more along each axis than may be reached."""
    shape = np.asarray(packed.shape[:3])
    place = np.clip(index, 0.0, shape - 2.0)
    low = place.astype(np.intp)
    part = (place - low).astype(np.float32)
    rows = packed.reshape(-1, packed.shape[3])
    steps = (int(shape[1] * shape[2]), int(shape[2]), 1)
    first = low[:, 0] * steps[0] + low[:, 1] * steps[1] + low[:, 2]
    i, j, k = part[:, 0:1], part[:, 1:2], part[:, 2:3]

    def along_k(start: npt.NDArray[np.intp]) -> FloatArray:
        one = rows.take(start, axis=0)
        other = rows.take(start + steps[2], axis=0)
        other -= one
        other *= k
        other += one
        return other

    def along_j(start: npt.NDArray[np.intp]) -> FloatArray:
        one, other = along_k(start), along_k(start + steps[1])
        other -= one
        other *= j
        other += one
        return other

    one, other = along_j(first), along_j(first + steps[0])
    other -= one
    other *= i
    other += one
    return other


def mutual_information(target: Target, found: FloatArray) -> float:
    """Give the mutual information (nats) of the fixed intensities and those found on them, 32 bins each."""
    joint = np.bincount(target.joint * BINS + _equal_bins(found, BINS), minlength=BINS * BINS)
    return float(_informations(joint.reshape(1, BINS, BINS))[0])


def _informations(counts: npt.NDArray[np.intp]) -> Floats:
    """Give the mutual information of each joint histogram ``(n, bins, bins)``."""
    joint = counts / counts.sum(axis=(1, 2), keepdims=True)
    apart = joint.sum(axis=1, keepdims=True) * joint.sum(axis=2, keepdims=True)
    ratio = np.divide(joint, apart, out=np.ones_like(joint), where=joint > 0)
    return np.asarray((joint * np.log(ratio)).sum(axis=(1, 2)))


def _equal_bins(values: Floats, bins: int) -> npt.NDArray[np.intp]:
    low, high = np.percentile(values, (0.5, 99.5))
    scaled = (values - low) * (bins / max(float(high - low), 1e-6))
    return np.asarray(np.clip(scaled.astype(np.intp), 0, bins - 1))


def find_shift(target: Target, source: Source, start: Matrix, largest_mm: float) -> Matrix:
    """Try every shift by whole voxels up to ``largest_mm`` before ``start``; give the one of most information."""
    reach = [int(largest_mm / step) for step in target.grid.spacing_mm]
    low = target.index.min(axis=0) - reach
    shape = target.index.max(axis=0) + reach + 1 - low
    lattice = np.indices(shape).reshape(3, -1).T + low
    around = source.values_at(moved(start, voxel_to_world(target.grid, lattice)))
    every = max(1, len(target.index) // _SHIFT_POINTS)
    strides = np.array([shape[1] * shape[2], shape[2], 1])
    here = ((target.index[::every] - low) * strides).sum(axis=1)
    low_value, high_value = np.percentile(around[here], (0.5, 99.5))
    scale = _SHIFT_BINS / max(float(high_value - low_value), 1e-6)
    moving = np.clip((around - low_value) * scale, 0, _SHIFT_BINS - 1).astype(np.intp)
    fixed = target.joint[::every] * _SHIFT_BINS // BINS * _SHIFT_BINS
    shifts = np.array(list(product(*(range(-one, one + 1) for one in reach))))
    counts = [
        np.bincount(fixed + moving[here + offset], minlength=_SHIFT_BINS**2)
        for offset in (shifts * strides).sum(axis=1).tolist()
    ]
    information = _informations(np.reshape(counts, (-1, _SHIFT_BINS, _SHIFT_BINS)))
    best = np.eye(4)
    best[:3, 3] = target.grid.affine[:3, :3] @ shifts[int(information.argmax())]
    return best


def fit_rigid(target: Target, source: Source, start: Matrix, rigid: Matrix, *, most: int) -> Matrix:
    """Improve the rigid move ``x -> rigid x`` before ``start`` by at most ``most`` Gauss-Newton steps."""
    from scipy.spatial.transform import Rotation

    centre = target.points.mean(axis=0)
    size_mm = float(np.sqrt(((target.points - centre) ** 2).sum(axis=1).mean()))
    for _ in range(most):
        there = moved(rigid, target.points)
        found, slope = source.at(moved(start, there))
        residual = target.expected(found) - found
        slope = np.einsum("na,ab->nb", slope, start[:3, :3].astype(np.float32))
        # a turn is counted in mm at the edge of the liver, so that one damping serves all six
        arm = ((there - rigid[:3, :3] @ centre - rigid[:3, 3]) / size_mm).astype(np.float32)
        lever = np.concatenate([slope, np.cross(arm, slope)], axis=1)
        if target.robust:
            weight = _trust(residual)
            lever *= weight[:, None]
            residual *= weight
        normal = np.einsum("na,nb->ab", lever, lever).astype(np.float64)
        pull = np.einsum("na,n->a", lever, residual).astype(np.float64)
        normal += np.eye(6) * (1e-3 * np.trace(normal) / 6.0 + 1e-12)
        step = np.linalg.solve(normal, pull)
        step *= min(1.0, _LONGEST_STEP_MM / max(float(np.linalg.norm(step)), 1e-9))
        middle = rigid[:3, :3] @ centre + rigid[:3, 3]
        move = np.eye(4)
        move[:3, :3] = Rotation.from_rotvec(step[3:] / size_mm).as_matrix()
        move[:3, 3] = middle + step[:3] - move[:3, :3] @ middle
        rigid = move @ rigid
        if float(np.linalg.norm(step)) < 0.05:
            break
    return rigid


def _trust(residual: FloatArray) -> FloatArray:
    """Give the root of Cauchy's weights: what fits far worse than the rest may be a ghost, or not the liver."""
    usual = float(np.median(np.abs(residual))) / 0.6745
    root = np.sqrt(1 + (residual / max(_CAUCHY * usual, 1e-6)) ** 2)
    return np.asarray(1 / root, dtype=np.float32)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Spline:
    """Cubic B-spline displacement in mm: ``knots`` are float32 ``(3, a, b, c)`` on the box of ``grid``."""

    grid: Grid
    spacing_mm: float
    knots: FloatArray

    @classmethod
    def still(cls, grid: Grid, spacing_mm: float) -> "Spline":
        """Give the spline that moves nothing."""
        counts = (basis.shape[1] for basis in _bases(grid, grid, spacing_mm))
        return cls(grid=grid, spacing_mm=spacing_mm, knots=np.zeros((3, *counts), dtype=np.float32))

    def on(self, grid: Grid) -> FloatArray:
        """Evaluate at every voxel of a grid that has the axes of the spline's: float32 ``(3, i, j, k)``."""
        return _spread(_bases(self.grid, grid, self.spacing_mm), self.knots)


def fit_spline(
    target: Target,
    source: Source,
    matrix: Matrix,
    spline: Spline,
    *,
    stiffness: float,
    most: int,
) -> Spline:
    """Improve a displacement before ``matrix`` by at most ``most`` Gauss-Newton steps."""
    bases = _bases(spline.grid, target.grid, spline.spacing_mm)
    blocks = _Blocks.of(target, spline.spacing_mm / 3.0)
    coarse_bases = _bases(spline.grid, blocks.grid, spline.spacing_mm)
    turn = matrix[:3, :3].astype(np.float32)
    where = tuple(target.index.T)
    knots = spline.knots
    for _ in range(most):
        shift = _spread(bases, knots)[:, *where].T
        found, slope = source.at(moved(matrix, target.points + shift))
        residual = target.expected(found) - found
        slope = np.einsum("na,ab->nb", slope, turn)
        if target.robust:
            weight = _trust(residual)
            slope *= weight[:, None]
            residual *= weight
        step = _newton_step(coarse_bases, knots, blocks.normal_terms(slope, residual), stiffness)
        knots = knots + step
        if float(np.abs(step).max()) < 0.2:
            break
    return Spline(grid=spline.grid, spacing_mm=spline.spacing_mm, knots=knots)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Blocks:
    """Blocks of voxels within which a spline hardly changes: what is summed over one is solved for at its middle."""

    grid: Grid
    order: npt.NDArray[np.intp]
    starts: npt.NDArray[np.intp]
    filled: npt.NDArray[np.intp]

    @classmethod
    def of(cls, target: Target, size_mm: float) -> "_Blocks":
        size = np.array([max(1, round(size_mm / step)) for step in target.grid.spacing_mm])
        shape = -(-np.asarray(target.grid.shape) // size)
        number = np.ravel_multi_index(tuple((target.index // size).T), tuple(shape.tolist()))
        order = np.argsort(number, kind="stable")
        filled, starts = np.unique(number[order], return_index=True)
        move = np.diag([*size.tolist(), 1.0])
        move[:3, 3] = (size - 1.0) / 2.0
        i, j, k = (int(count) for count in shape)
        grid = grid_of((i, j, k), target.grid.affine @ move)
        return cls(grid=grid, order=order, starts=starts, filled=filled)

    def normal_terms(self, slope: FloatArray, residual: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Sum the products of slopes ``(3, 3, …)``, and of slope and residual ``(3, …)``, over blocks."""
        slope, residual = slope[self.order], residual[self.order]
        products = np.zeros((3, 3, *self.grid.shape), dtype=np.float32)
        pull = np.zeros((3, *self.grid.shape), dtype=np.float32)
        for one in range(3):
            pull[one].flat[self.filled] = np.add.reduceat(slope[:, one] * residual, self.starts)
            for other in range(one + 1):
                total = np.add.reduceat(slope[:, one] * slope[:, other], self.starts)
                products[one, other].flat[self.filled] = total
                products[other, one].flat[self.filled] = total
        return products, pull


def _newton_step(
    bases: Bases, knots: FloatArray, terms: tuple[FloatArray, FloatArray], stiffness: float
) -> FloatArray:
    """Solve the normal equations of the knots roughly: the early stop keeps what is hardly seen still."""
    from scipy.sparse.linalg import LinearOperator, cg

    products, pull = terms
    bends = _bends(knots)
    hold = np.float32(stiffness * float(np.einsum("aaijk->", products)) / knots.size)

    def normal(flat: FloatArray) -> FloatArray:
        vectors = flat.reshape(knots.shape)
        along = (products * _spread(bases, vectors)).sum(axis=1)
        return (_gathered(bases, along) + hold * _bending(bends, vectors)).ravel()

    towards = _gathered(bases, pull) - hold * _bending(bends, knots)
    operator = LinearOperator((knots.size, knots.size), matvec=normal, dtype=np.float32)
    solution, _ = cg(operator, towards.ravel(), rtol=0.02, maxiter=20)
    return np.asarray(solution.reshape(knots.shape), dtype=np.float32)


def _bases(box: Grid, grid: Grid, spacing_mm: float) -> Bases:
    """Give the cubic B-spline weights ``(voxels, knots)`` along each axis of ``grid``; the knots span ``box``."""
    first = world_to_voxel(box, voxel_to_world(grid, [[0.0, 0.0, 0.0]]))[0]
    bases = []
    for axis in range(3):
        width = max(box.shape[axis] - 1, 1)
        intervals = max(1, round(width * box.spacing_mm[axis] / spacing_mm))
        voxels = first[axis] + np.arange(grid.shape[axis]) * grid.spacing_mm[axis] / box.spacing_mm[axis]
        away = np.abs((voxels / width * intervals)[:, None] - np.arange(-1, intervals + 2)[None, :])
        near = 2.0 / 3.0 - away**2 + away**3 / 2.0
        weights = np.where(away < 1.0, near, np.clip(2.0 - away, 0.0, None) ** 3 / 6.0)
        bases.append(weights.astype(np.float32))
    return bases[0], bases[1], bases[2]


def _spread(bases: Bases, knots: FloatArray) -> FloatArray:
    """Evaluate the spline ``(3, knots…)`` at every voxel."""
    i, j, k = bases
    along = np.matmul(i, knots.swapaxes(1, 2)).swapaxes(1, 2)
    return np.asarray(np.matmul(np.matmul(j, along), k.T))


def _gathered(bases: Bases, values: FloatArray) -> FloatArray:
    """Apply the transpose of :func:`_spread`."""
    i, j, k = bases
    along = np.matmul(j.T, np.matmul(values, k))
    return np.asarray(np.matmul(i.T, along.swapaxes(1, 2)).swapaxes(1, 2))


def _bends(knots: FloatArray) -> Bases:
    """Give for each axis the matrix of the gradient of half the squared second differences of the knots."""
    i, j, k = (np.diff(np.eye(count, dtype=np.float32), n=2, axis=0) for count in knots.shape[1:])
    return i.T @ i, j.T @ j, k.T @ k


def _bending(bends: Bases, knots: FloatArray) -> FloatArray:
    """Give the gradient of the bending along every axis, and a little of the size of the knots."""
    i, j, k = bends
    along_i = np.matmul(i, knots.swapaxes(1, 2)).swapaxes(1, 2)
    return np.asarray(np.float32(0.01) * knots + along_i + np.matmul(j, knots) + np.matmul(knots, k))


def averaged(image: Image, size_mm: float) -> Image:
    """Average whole blocks of voxels to about ``size_mm``; voxels left over at the far edge are dropped."""
    i, j, k = (
        min(max(1, round(size_mm / step)), count)
        for step, count in zip(image.grid.spacing_mm, image.grid.shape, strict=True)
    )
    voxels = image.voxels.astype(np.float32, copy=False)
    for axis, size in enumerate((i, j, k)):
        voxels = np.asarray(sum(_every(voxels, axis, size)), dtype=np.float32) / np.float32(size)
    move = np.diag([float(i), float(j), float(k), 1.0])
    move[:3, 3] = (np.array([i, j, k]) - 1.0) / 2.0
    shape = voxels.shape
    return Image(voxels=voxels, grid=grid_of((shape[0], shape[1], shape[2]), image.grid.affine @ move))


def _every(voxels: FloatArray, axis: int, size: int) -> Iterator[FloatArray]:
    """Give the first, second … voxel of every block along an axis."""
    stop = voxels.shape[axis] // size * size
    for first in range(size):
        yield voxels[(slice(None),) * axis + (slice(first, stop, size),)]


def moved(matrix: Matrix, points: Points) -> Points:
    """Map world points ``(n, 3)`` by a matrix ``(4, 4)``."""
    return np.asarray(np.einsum("na,ba->nb", points, matrix[:3, :3]) + matrix[:3, 3], dtype=np.float64)
