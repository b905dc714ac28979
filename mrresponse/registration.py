"""Where a place of one image is in another: between contrast phases, and between studies.

Every optimisation runs with one thread on all voxels of a fixed mask, so equal input gives equal bytes; the speed
comes from small images (the liver box at a few millimetres), not from random samples or more threads.
"""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from mrresponse.domain import ContrastPhase, FloatArray, Grid, Image, LabelMap, PreparedStudy
from mrresponse.geometry import (
    Displacement,
    Matrix,
    Points,
    WorldTransform,
    bounding_box,
    box_slices,
    crop,
    dilate,
    grid_of,
    grow_box,
    identity,
    margin_voxels,
    matrix_from_sitk,
    point_to_sitk,
    to_sitk,
    transform_to_sitk,
    voxel_to_world,
    world_to_voxel,
)

if TYPE_CHECKING:
    import SimpleITK

# Between studies: the phase that is most often the reference, and so exactly where the masks are, comes first.
STUDY_PHASES = (
    ContrastPhase.ARTERIAL,
    ContrastPhase.PORTAL_VENOUS,
    ContrastPhase.DELAYED,
    ContrastPhase.HEPATOBILIARY,
    ContrastPhase.PRECONTRAST,
    ContrastPhase.OTHER,
)
Bases = tuple[npt.NDArray[np.float64], npt.NDArray[np.float64], npt.NDArray[np.float64]]


@dataclass(frozen=True, slots=True, kw_only=True)
class RegistrationSettings:
    """How images are brought together.

    Parameters
    ----------
    coarse_mm, fine_mm
        Voxel sizes at which the shift, and then the rotation and deformation, are searched.
    liver_margin_mm
        What surrounds the liver and still counts: its border carries much of the information, but the body
        wall does not move with it.
    largest_shift_mm
        How far the moving image is looked at beyond the liver.
    knot_spacing_mm
        Distance of the B-spline knots between contrast phases; 0 stops after the rigid step.
    study_mm, study_knot_spacing_mm
        The same between studies.
    stiffness
        Resistance of the knots against bending, relative to what the image says on average.
    least_gain
        Least rise of the similarity for which a registration is accepted.
    least_move_mm
        A rigid move that is smaller and gains nothing means that the images were in register already.
    """

    coarse_mm: float = 6.0
    fine_mm: float = 3.2
    deformable_mm: float = 4.0
    liver_margin_mm: float = 10.0
    largest_shift_mm: float = 25.0
    knot_spacing_mm: float = 35.0
    stiffness: float = 0.01
    study_mm: float = 5.0
    study_knot_spacing_mm: float = 50.0
    iterations: int = 60
    deformable_iterations: int = 8
    least_gain: float = 0.005
    least_move_mm: float = 2.0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Registration:
    """A map from the world of the fixed image to that of the moving image, and how far it can be trusted.

    ``similarity_before`` and ``similarity_after`` are the mutual information in the liver (nats) between contrast
    phases, and the Dice of the two livers between studies.
    """

    transform: WorldTransform
    accepted: bool
    similarity_before: float
    similarity_after: float
    reason: str

    def map_points(self, points: npt.ArrayLike) -> Points:
        """Map world points ``(n, 3)`` of the fixed image into the moving image."""
        return self.transform(np.asarray(points, dtype=np.float64))

    def map_points_back(self, points: npt.ArrayLike) -> Points:
        """Map world points ``(n, 3)`` of the moving image into the fixed image."""
        return self.transform.inverse_of(np.asarray(points, dtype=np.float64))


def register_phases(
    moving: Image, fixed: Image, liver: LabelMap, settings: RegistrationSettings
) -> Registration:
    """Bring one contrast phase of a study into register with another by mutual information in the liver.

    Translation, then rigid, then a coarse B-spline; the last of them that raises the similarity is taken.

    Parameters
    ----------
    liver
        Liver on the grid of ``fixed``.
    """
    pair = _liver_pair(moving, fixed, liver, settings)
    if pair is None:
        return _refused(0.0, "no liver to register by")
    before = _similarity(pair, identity(), settings)
    rigid = _fit_rigid(pair, np.eye(4), settings)
    candidates = [("rigid", WorldTransform(matrix=rigid))]
    if settings.knot_spacing_mm > 0:
        candidates.append(("deformable", _fit_deformation(pair, rigid, settings)))
    best, similarity, step = _best(pair, (identity(), before, "none"), candidates, settings)
    if step == "none":
        points = voxel_to_world(pair.fixed.grid, np.argwhere(pair.mask.voxels > 0)[::50])
        moved = float(np.median(np.linalg.norm(_mapped(rigid, points) - points, axis=1)))
        if moved <= settings.least_move_mm:
            return replace(_refused(before, "already in register"), accepted=True)
        reason = f"similarity in the liver did not rise above {before:.3f} by moving {moved:.1f} mm"
        return _refused(before, reason)
    return Registration(
        transform=best,
        accepted=True,
        similarity_before=before,
        similarity_after=similarity,
        reason=f"{step}: similarity in the liver {before:.3f} -> {similarity:.3f}",
    )


def register_studies(
    moving: PreparedStudy, fixed: PreparedStudy, settings: RegistrationSettings
) -> Registration:
    """Bring the liver of one study onto that of another.

    First the two liver masks: shift, rotation and a scale per axis. Then, where both studies have a contrast phase
    in common, its images: rigid and coarsely deformable, taken as far as the similarity in the liver rises. The
    result proposes where a lesion may be; nothing is measured on images resampled by it.
    """
    by_masks = _register_livers(moving, fixed, settings)
    phase = next((phase for phase in STUDY_PHASES if phase in moving.images and phase in fixed.images), None)
    pair = (
        None
        if phase is None
        else _liver_pair(moving.images[phase], fixed.images[phase], fixed.liver, settings)
    )
    if phase is None or pair is None:
        return by_masks
    start = by_masks.transform.matrix
    before = _similarity(pair, by_masks.transform, settings)
    rigid = _fit_rigid(pair, start, replace(settings, fine_mm=settings.study_mm))
    coarse = replace(
        settings, deformable_mm=settings.study_mm, knot_spacing_mm=settings.study_knot_spacing_mm
    )
    candidates = [("rigid", WorldTransform(matrix=rigid))]
    if coarse.knot_spacing_mm > 0:
        for matrix in (start, rigid):
            candidates.append(("deformable", _fit_deformation(pair, matrix, coarse)))
    best, similarity, step = _best(pair, (by_masks.transform, before, "none"), candidates, settings)
    if step == "none":
        return by_masks
    found = f"{step} on {phase.value}: similarity in the liver {before:.3f} -> {similarity:.3f}"
    return replace(by_masks, transform=best, accepted=True, reason=f"{by_masks.reason}; {found}")


def _register_livers(
    moving: PreparedStudy, fixed: PreparedStudy, settings: RegistrationSettings
) -> Registration:
    """Bring liver masks together; no matter which sequence or contrast agent each study has."""
    from scipy.optimize import least_squares

    surface, inside = _surface_points(fixed.liver), _inner_points(fixed.liver)
    target_inside = _inner_points(moving.liver)
    if not len(surface) or not len(target_inside):
        return _refused(0.0, "no liver to register by")
    depth = _signed_depth(moving.liver)
    middle, target = inside.mean(axis=0), target_inside.mean(axis=0)

    def residuals(parameters: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        moved = _mapped(_affine(parameters, middle), surface)
        distance = _interpolated(depth.voxels, world_to_voxel(depth.grid, moved).T)
        # a smooth liver says little about its rotation and scale, so those stay small unless it does
        held = np.concatenate([parameters[3:6] / 0.15, parameters[6:9] / 0.1]) * np.sqrt(len(surface)) * 0.5
        return np.concatenate([distance, held])

    before = _overlap(np.eye(4), inside, fixed.liver, moving.liver)
    best, best_overlap = np.eye(4), before
    for shift in (target - middle, np.zeros(3)):
        start = np.concatenate([shift, np.zeros(6)])
        fit = least_squares(residuals, start, loss="soft_l1", f_scale=4.0, max_nfev=15)
        matrix = _affine(fit.x, middle)
        overlap = _overlap(matrix, inside, fixed.liver, moving.liver)
        if overlap > best_overlap + settings.least_gain:
            best, best_overlap = matrix, overlap
    raised = best_overlap > before
    reason = f"Dice of the livers {before:.2f} -> {best_overlap:.2f}"
    return Registration(
        transform=WorldTransform(matrix=best),
        accepted=raised or before > 0.9,
        similarity_before=before,
        similarity_after=best_overlap,
        reason=reason if raised else f"{reason}: left in place",
    )


def _inner_points(liver: LabelMap, most: int = 6000) -> Points:
    index = np.argwhere(liver.voxels > 0)
    return voxel_to_world(liver.grid, index[:: max(1, len(index) // most)])


def _surface_points(liver: LabelMap, most: int = 800) -> Points:
    mask = liver.voxels > 0
    index = np.argwhere(mask & ~ndimage.binary_erosion(mask))
    return voxel_to_world(liver.grid, index[:: max(1, len(index) // most)])


def _signed_depth(liver: LabelMap) -> Image:
    """Distance to the liver's border in mm, negative inside, on a grid of about 4 mm with room around."""
    margin = margin_voxels(liver.grid.spacing_mm, 40.0)
    shape = tuple(count + 2 * extra for count, extra in zip(liver.grid.shape, margin, strict=True))
    wide = np.zeros(shape, dtype=np.float32)
    wide[
        tuple(slice(extra, extra + count) for extra, count in zip(margin, liver.grid.shape, strict=True))
    ] = liver.voxels > 0
    move = np.eye(4)
    move[:3, 3] = -np.asarray(margin, dtype=np.float64)
    image = _averaged(
        Image(voxels=wide, grid=grid_of((shape[0], shape[1], shape[2]), liver.grid.affine @ move)), 4.0
    )
    mask = image.voxels >= 0.5
    spacing_mm = image.grid.spacing_mm
    outside = ndimage.distance_transform_edt(~mask, sampling=spacing_mm)
    within = ndimage.distance_transform_edt(mask, sampling=spacing_mm)
    return Image(voxels=(outside - within).astype(np.float32), grid=image.grid)


def _affine(parameters: npt.NDArray[np.float64], middle: npt.NDArray[np.float64]) -> Matrix:
    """Give ``x -> R S (x - middle) + middle + shift`` from shift, rotation vector (rad) and log scales."""
    from scipy.spatial.transform import Rotation

    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_rotvec(parameters[3:6]).as_matrix() * np.exp(parameters[6:9])
    matrix[:3, 3] = middle + parameters[:3] - matrix[:3, :3] @ middle
    return matrix


def _overlap(matrix: Matrix, inside: Points, fixed: LabelMap, moving: LabelMap) -> float:
    """Dice of the two livers after moving, from points inside the fixed one."""
    there = np.rint(world_to_voxel(moving.grid, _mapped(matrix, inside))).astype(int)
    valid = ((there >= 0) & (there < np.asarray(moving.grid.shape))).all(axis=1)
    shared = float((moving.voxels[tuple(there[valid].T)] > 0).sum()) / len(inside)
    one = float((fixed.voxels > 0).sum()) * fixed.grid.voxel_volume_ml * float(np.linalg.det(matrix[:3, :3]))
    other = float((moving.voxels > 0).sum()) * moving.grid.voxel_volume_ml
    return 2.0 * shared * one / (one + other)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Pair:
    """Two images around the liver of the fixed one, and the mask of what counts on its grid."""

    fixed: Image
    moving: Image
    mask: Image

    def at(self, size_mm: float) -> "_Pair":
        """Average voxels to about ``size_mm``."""
        return _Pair(
            fixed=_averaged(self.fixed, size_mm),
            moving=_averaged(self.moving, size_mm),
            mask=_averaged(self.mask, size_mm),
        )


def _liver_pair(moving: Image, fixed: Image, liver: LabelMap, settings: RegistrationSettings) -> _Pair | None:
    near = dilate(liver.voxels > 0, liver.grid.spacing_mm, settings.liver_margin_mm)
    box = bounding_box(near)
    if box is None:
        return None
    i, j, k = box
    fixed = crop(fixed, (i[0], j[0], k[0]), (i[1] - i[0], j[1] - j[0], k[1] - k[0]))
    mask = Image(voxels=near[box_slices(box)].astype(np.float32), grid=fixed.grid)
    return _Pair(fixed=fixed, moving=_cut_around(moving, fixed.grid, settings.largest_shift_mm), mask=mask)


Candidate = tuple[WorldTransform, float, str]


def _best(
    pair: _Pair,
    start: Candidate,
    candidates: list[tuple[str, WorldTransform]],
    settings: RegistrationSettings,
) -> Candidate:
    """Take the transform with the highest similarity, if it rises at all."""
    best = start
    for name, transform in candidates:
        similarity = _similarity(pair, transform, settings)
        if similarity > best[1] + settings.least_gain:
            best = transform, similarity, name
    return best


def _refused(before: float, reason: str) -> Registration:
    return Registration(
        transform=identity(), accepted=False, similarity_before=before, similarity_after=before, reason=reason
    )


def _cut_around(image: Image, grid: Grid, margin_mm: float) -> Image:
    """Cut from an image what ``grid`` covers, and a margin."""
    far = np.asarray(grid.shape) - 1.0
    corners = np.array([[i, j, k] for i in (0.0, far[0]) for j in (0.0, far[1]) for k in (0.0, far[2])])
    index = world_to_voxel(image.grid, voxel_to_world(grid, corners))
    last = np.asarray(image.grid.shape) - 1
    low = np.clip(np.floor(index.min(axis=0)).astype(int), 0, last)
    high = np.clip(np.ceil(index.max(axis=0)).astype(int), 0, last) + 1
    i, j, k = ((int(first), int(stop)) for first, stop in zip(low, high, strict=True))
    box = grow_box((i, j, k), image.grid.shape, margin_voxels(image.grid.spacing_mm, margin_mm))
    start, stop = np.asarray(box).T
    (a, b, c), (d, e, f) = start.tolist(), (stop - start).tolist()
    return crop(image, (a, b, c), (d, e, f))


def _method(pair: _Pair) -> "SimpleITK.ImageRegistrationMethod":
    import SimpleITK

    method = SimpleITK.ImageRegistrationMethod()
    method.SetNumberOfThreads(1)
    method.SetNumberOfWorkUnits(1)
    method.SetMetricAsMattesMutualInformation(32)
    method.SetMetricFixedMask(SimpleITK.Cast(to_sitk(pair.mask) > 0.5, SimpleITK.sitkUInt8))
    method.SetInterpolator(SimpleITK.sitkLinear)
    return method


def _fit_rigid(pair: _Pair, start: Matrix, settings: RegistrationSettings) -> Matrix:
    """Search a shift, then a rigid move, before ``start``; give both together."""
    import SimpleITK

    if float(np.ptp(pair.fixed.voxels)) == 0.0 or float(np.ptp(pair.moving.voxels)) == 0.0:
        return start
    before = transform_to_sitk(start)
    coarse, fine = pair.at(settings.coarse_mm), pair.at(settings.fine_mm)
    shift = SimpleITK.TranslationTransform(3)
    method = _method(coarse)
    method.SetMovingInitialTransform(before)
    method.SetOptimizerAsRegularStepGradientDescent(4.0, 0.2, settings.iterations)
    method.SetInitialTransform(shift, inPlace=True)
    method.Execute(to_sitk(coarse.fixed), to_sitk(coarse.moving))

    centre = voxel_to_world(pair.fixed.grid, [np.argwhere(pair.mask.voxels > 0).mean(axis=0)])[0]
    rigid = SimpleITK.Euler3DTransform()
    rigid.SetCenter(point_to_sitk(centre))
    rigid.SetTranslation(shift.GetOffset())
    method = _method(fine)
    method.SetMovingInitialTransform(before)
    method.SetOptimizerAsRegularStepGradientDescent(1.0, 0.02, settings.iterations, 0.8)
    method.SetOptimizerScalesFromPhysicalShift()
    method.SetInitialTransform(rigid, inPlace=True)
    method.Execute(to_sitk(fine.fixed), to_sitk(fine.moving))
    return start @ matrix_from_sitk(rigid)


def _fit_deformation(pair: _Pair, matrix: Matrix, settings: RegistrationSettings) -> WorldTransform:
    """Fit a cubic B-spline displacement before ``matrix`` by Gauss-Newton steps, each solved by few gradients.

    The fixed intensities are first replaced by the mean of the moving ones that lie on them (the correlation
    ratio of Roche 1998), so that a squared difference serves across contrast phases. On a regular grid the spline
    is a product of three small matrices; Mattes mutual information over the same knots, voxel by voxel, took
    twenty times as long.
    """
    small = pair.at(settings.deformable_mm)
    fixed, moving, mask = small.fixed, small.moving, small.mask
    shape = fixed.grid.shape
    points = voxel_to_world(fixed.grid, np.indices(shape).reshape(3, -1).T)
    inside = mask.voxels > 0.5
    to_world = np.asarray(np.linalg.inv(fixed.grid.affine))[:3, :3]
    bases = _spline_bases(fixed.grid, settings.knot_spacing_mm)
    blocks = _block_sizes(fixed.grid, 2.0 * settings.deformable_mm)
    coarse_bases = _at_blocks(bases, blocks)
    knots = np.zeros((3, *(basis.shape[1] for basis in bases)))
    for _ in range(settings.deformable_iterations):
        moved = points + _spread(bases, knots).reshape(3, -1).T
        there = world_to_voxel(moving.grid, _mapped(matrix, moved)).T
        warped = _interpolated(moving.voxels, there).reshape(shape)
        residual = np.zeros(shape)
        residual[inside] = _expected(fixed.voxels[inside], warped[inside]) - warped[inside]
        slope = np.einsum("aijk,ab->bijk", np.stack(np.gradient(warped)), to_world) * inside
        step = _newton_step(coarse_bases, knots, _normal_terms(slope, residual, blocks), settings.stiffness)
        knots = knots + step
        if float(np.abs(step).max()) < 0.2:
            break
    coarse = _averaged(mask, 2.0 * settings.deformable_mm).grid
    index = world_to_voxel(fixed.grid, voxel_to_world(coarse, np.indices(coarse.shape).reshape(3, -1).T)).T
    field = [_interpolated(one.astype(np.float32), index) for one in _spread(bases, knots)]
    vectors = np.stack(field, axis=-1).reshape(*coarse.shape, 3).astype(np.float32)
    return WorldTransform(matrix=matrix, displacement=Displacement(vectors_mm=vectors, grid=coarse))


def _normal_terms(
    slope: npt.NDArray[np.float64], residual: npt.NDArray[np.float64], blocks: tuple[int, int, int]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Give the products of the slopes ``(3, 3, …)`` and of slope and residual ``(3, …)``, averaged over blocks.

    The spline hardly changes within a block, so nothing is lost and the solver has an eighth of the work.
    """
    products = np.stack([[_block_mean(one * other, blocks) for other in slope] for one in slope])
    return products, np.stack([_block_mean(one * residual, blocks) for one in slope])


def _newton_step(
    bases: Bases,
    knots: npt.NDArray[np.float64],
    terms: tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]],
    stiffness: float,
) -> npt.NDArray[np.float64]:
    """Solve the normal equations of the knots roughly: the early stop keeps what is hardly seen still."""
    from scipy.sparse.linalg import LinearOperator, cg

    products, pull = terms
    hold = stiffness * float(np.einsum("aaijk->", products)) / knots.size

    def normal(flat: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        vectors = flat.reshape(knots.shape)
        along = (products * _spread(bases, vectors)).sum(axis=1)
        return np.asarray((_gathered(bases, along) + hold * _bending(vectors)).ravel())

    towards = _gathered(bases, pull) - hold * _bending(knots)
    operator = LinearOperator((knots.size, knots.size), matvec=normal, dtype=np.float64)
    solution, _ = cg(operator, towards.ravel(), rtol=0.02, maxiter=20)
    return np.asarray(solution.reshape(knots.shape), dtype=np.float64)


def _spline_bases(grid: Grid, spacing_mm: float) -> Bases:
    """Give the cubic B-spline weights of the knots along each axis, ``(voxels, knots)``."""
    bases = []
    for count, step in zip(grid.shape, grid.spacing_mm, strict=True):
        intervals = max(1, round((count - 1) * step / spacing_mm))
        place = np.arange(count) / max(count - 1, 1) * intervals
        away = np.abs(place[:, None] - np.arange(-1, intervals + 2)[None, :])
        near = 2.0 / 3.0 - away**2 + away**3 / 2.0
        bases.append(np.where(away < 1.0, near, np.clip(2.0 - away, 0.0, None) ** 3 / 6.0))
    return bases[0], bases[1], bases[2]


def _at_blocks(bases: Bases, blocks: tuple[int, int, int]) -> Bases:
    """Average the weights over blocks of voxels."""
    i, j, k = (
        basis[: len(basis) // size * size].reshape(-1, size, basis.shape[1]).mean(axis=1)
        for basis, size in zip(bases, blocks, strict=True)
    )
    return i, j, k


def _spread(bases: Bases, knots: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Evaluate the spline ``(3, knots…)`` at every voxel.

    Plain ``einsum`` on purpose: these products are small, and BLAS would start threads that wait for each other.
    """
    i, j, k = bases
    along = np.einsum("dabc,ia->dibc", knots, i)
    along = np.einsum("dibc,jb->dijc", along, j)
    return np.asarray(np.einsum("dijc,kc->dijk", along, k), dtype=np.float64)


def _gathered(bases: Bases, values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Apply the transpose of :func:`_spread`."""
    i, j, k = bases
    along = np.einsum("dijk,kc->dijc", values, k)
    along = np.einsum("dijc,jb->dibc", along, j)
    return np.asarray(np.einsum("dibc,ia->dabc", along, i), dtype=np.float64)


def _bending(knots: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Give the gradient of half the squared second differences of the knots, and a little of their size."""
    total = 0.01 * knots
    for axis in (1, 2, 3):
        bend = np.moveaxis(np.diff(knots, n=2, axis=axis), axis, 0)
        target = np.moveaxis(total, axis, 0)
        target[:-2] += bend
        target[1:-1] -= 2.0 * bend
        target[2:] += bend
    return total


def _expected(one: FloatArray, other: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Give for each value of ``one`` the mean of ``other`` where ``one`` has about that value."""
    edges = np.unique(np.quantile(one, np.linspace(0.0, 1.0, 41)))
    bins = np.clip(np.searchsorted(edges, one, side="right") - 1, 0, len(edges) - 2)
    count = np.maximum(np.bincount(bins, minlength=len(edges) - 1), 1)
    mean = np.bincount(bins, weights=other, minlength=len(edges) - 1) / count
    centres = (edges[:-1] + edges[1:]) / 2.0
    return np.asarray(np.interp(one, centres, mean), dtype=np.float64)


def _similarity(pair: _Pair, transform: WorldTransform, settings: RegistrationSettings) -> float:
    """Mutual information (nats) of the voxels in the mask at ``deformable_mm``, 32 bins each."""
    small = pair.at(settings.deformable_mm)
    index = np.argwhere(small.mask.voxels > 0.5)
    there = world_to_voxel(small.moving.grid, transform(voxel_to_world(small.fixed.grid, index))).T
    return _mutual_information(small.fixed.voxels[tuple(index.T)], _interpolated(small.moving.voxels, there))


def _mutual_information(one: npt.NDArray[np.floating], other: npt.NDArray[np.floating]) -> float:
    bins = 32
    binned = []
    for values in (one, other):
        low, high = np.percentile(values, (0.5, 99.5))
        scaled = (values - low) / max(float(high - low), 1e-6) * bins
        binned.append(np.clip(scaled.astype(int), 0, bins - 1))
    joint = np.bincount(binned[0] * bins + binned[1], minlength=bins * bins).reshape(bins, bins) / one.size
    apart = joint.sum(axis=1, keepdims=True) * joint.sum(axis=0, keepdims=True)
    seen = joint > 0
    return float((joint[seen] * np.log(joint[seen] / apart[seen])).sum())


def _averaged(image: Image, size_mm: float) -> Image:
    """Average whole blocks of voxels to about ``size_mm``; voxels left over at the far edge are dropped."""
    blocks = _block_sizes(image.grid, size_mm)
    voxels = _block_mean(image.voxels, blocks).astype(np.float32)
    move = np.diag([*blocks, 1.0])
    move[:3, 3] = (np.asarray(blocks) - 1.0) / 2.0
    i, j, k = voxels.shape
    return Image(voxels=voxels, grid=grid_of((i, j, k), image.grid.affine @ move))


def _block_sizes(grid: Grid, size_mm: float) -> tuple[int, int, int]:
    i, j, k = (
        min(max(1, round(size_mm / step)), count)
        for step, count in zip(grid.spacing_mm, grid.shape, strict=True)
    )
    return i, j, k


def _block_mean(values: npt.NDArray[np.floating], blocks: tuple[int, int, int]) -> npt.NDArray[np.floating]:
    a, b, c = blocks
    i, j, k = (count // size for count, size in zip(values.shape, blocks, strict=True))
    cut = values[: i * a, : j * b, : k * c].reshape(i, a, j, b, k, c)
    return np.asarray(cut.mean(axis=(1, 3, 5)))


def _interpolated(values: FloatArray, index: Points) -> npt.NDArray[np.float64]:
    found = ndimage.map_coordinates(values, index, order=1, mode="nearest")
    return np.asarray(found, dtype=np.float64)


def _mapped(matrix: Matrix, points: Points) -> Points:
    return np.asarray(np.einsum("na,ba->nb", points, matrix[:3, :3]) + matrix[:3, 3], dtype=np.float64)
