"""Where a place of one image is in another: between contrast phases, and between studies.

Every optimisation runs with one thread on all voxels of a fixed mask, so equal input gives equal bytes; the speed
comes from few voxels (the liver at a few millimetres) and few steps, not from random samples or more threads.
"""

from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from mrresponse.domain import ContrastPhase, Grid, Image, LabelMap, PreparedStudy
from mrresponse.geometry import (
    Displacement,
    Matrix,
    Points,
    WorldTransform,
    crop,
    dilate,
    grid_of,
    grow_box,
    identity,
    margin_voxels,
    voxel_to_world,
    world_to_voxel,
)
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

# Between studies: the phases in which the vessels of the liver are seen best, and timing matters least, come first.
STUDY_PHASES = (
    ContrastPhase.PORTAL_VENOUS,
    ContrastPhase.HEPATOBILIARY,
    ContrastPhase.DELAYED,
    ContrastPhase.ARTERIAL,
    ContrastPhase.PRECONTRAST,
    ContrastPhase.OTHER,
)
# Which part of a surface the other volume shows is known only once the two livers lie on each other.
_FITS_IF_CUT = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class RegistrationSettings:
    """How images are brought together.

    Parameters
    ----------
    coarse_mm, fine_mm
        Voxel sizes at which the shift is searched and the rest begun, and at which rotation and deformation are
        finished and the similarity is read.
    liver_margin_mm
        What surrounds the liver and still counts: its border carries much of the information, but the body
        wall does not move with it.
    largest_shift_mm
        How far the moving image is looked at beyond the liver.
    knot_spacing_mm
        Distance of the B-spline knots between contrast phases; 0 stops after the rigid step.
    study_mm, study_knot_spacing_mm
        The same between studies: the finer voxel size, and the distance of the knots.
    stiffness
        Resistance of the knots against bending, relative to what the image says on average.
    iterations, deformable_iterations, study_deformable_iterations
        Most steps at each of the two voxel sizes: of a rigid move, of a deformation between contrast phases, and of
        one between studies, which moves farther.
    least_gain
        Least rise of the similarity for which a registration is accepted.
    least_move_mm
        A rigid move that is smaller and gains nothing means that the images were in register already.
    least_overlap
        Least Dice of two livers, once they are brought together, for a place in one to be known in the other. A
        liver of which half was resected still has 0.67 with the whole one.
    """

    coarse_mm: float = 6.0
    fine_mm: float = 4.0
    liver_margin_mm: float = 10.0
    largest_shift_mm: float = 25.0
    knot_spacing_mm: float = 35.0
    stiffness: float = 0.01
    study_mm: float = 4.0
    study_knot_spacing_mm: float = 35.0
    iterations: int = 8
    deformable_iterations: int = 4
    study_deformable_iterations: int = 8
    least_gain: float = 0.005
    least_move_mm: float = 2.0
    least_overlap: float = 0.5


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


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FixedLiver:
    """The liver that other images are brought to, at the two voxel sizes; made once and used for each of them."""

    coarse: Target
    fine: Target
    grid: Grid
    settings: RegistrationSettings

    @classmethod
    def of(
        cls, image: Image, liver: LabelMap, settings: RegistrationSettings, *, robust: bool = True
    ) -> "FixedLiver | None":
        """Take the liver, on the grid of ``image``, and what surrounds it; ``None`` where there is no liver.

        ``robust`` gives less to what fits far worse than the rest, as a motion ghost; between studies, where most
        does not fit before the livers are bent, it would only slow the fit down.
        """
        given = Image(voxels=(liver.voxels > 0).astype(np.float32), grid=liver.grid)
        fine, share = averaged(image, settings.fine_mm), averaged(given, settings.fine_mm)
        near = dilate(share.voxels >= 0.5, share.grid.spacing_mm, settings.liver_margin_mm)
        coarse = averaged(fine, settings.coarse_mm)
        share = averaged(Image(voxels=near.astype(np.float32), grid=fine.grid), settings.coarse_mm)
        is_near = share.voxels >= 0.5
        if not is_near.any():
            return None
        return cls(
            coarse=Target.of(coarse, is_near, robust=robust),
            fine=Target.of(fine, near, robust=robust),
            grid=image.grid,
            settings=settings,
        )

    def meets(self, moving: Image) -> "_Pair":
        """Prepare a moving image: what may come to lie on the liver, at the two voxel sizes."""
        cut = _cut_around(moving, self.fine.points, self.settings.largest_shift_mm)
        fine = averaged(cut, self.settings.fine_mm)
        coarse = averaged(fine, self.settings.coarse_mm)
        return _Pair(fixed=self, coarse=Source.of(coarse), fine=Source.of(fine))


def register_phases(moving: Image, fixed: FixedLiver | None) -> Registration:
    """Bring one contrast phase of a study into register with another by mutual information in the liver.

    Translation, then rigid, then a coarse B-spline; the last of them that raises the similarity is taken.
    """
    if fixed is None:
        return _refused(0.0, "no liver to register by")
    settings = fixed.settings
    pair = fixed.meets(moving)
    before = pair.similarity(identity())
    rigid = pair.fit_rigid(np.eye(4))
    candidates = [("rigid", WorldTransform(matrix=rigid))]
    if settings.knot_spacing_mm > 0:
        candidates.append(("deformable", pair.fit_deformation(rigid)))
    best, similarity, step = _best(pair, (identity(), before, "none"), candidates)
    if step == "none":
        points = fixed.coarse.points
        length = float(np.median(np.linalg.norm(moved(rigid, points) - points, axis=1)))
        if length <= settings.least_move_mm:
            return replace(_refused(before, "already in register"), accepted=True)
        reason = f"similarity in the liver did not rise above {before:.3f} by moving {length:.1f} mm"
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
    if by_masks.similarity_after < settings.least_overlap:
        # similar images of places that are not the same would say that a lesion is gone
        reason = f"{by_masks.reason}, expected {settings.least_overlap:g} or more"
        return replace(by_masks, accepted=False, reason=reason)
    phase = next((phase for phase in STUDY_PHASES if phase in moving.images and phase in fixed.images), None)
    if phase is None:
        return by_masks
    between = replace(
        settings,
        fine_mm=settings.study_mm,
        knot_spacing_mm=settings.study_knot_spacing_mm,
        deformable_iterations=settings.study_deformable_iterations,
    )
    liver = FixedLiver.of(fixed.images[phase], fixed.liver, between, robust=False)
    if liver is None:
        return by_masks
    pair = liver.meets(moving.images[phase])
    start = by_masks.transform.matrix
    before = pair.similarity(by_masks.transform)
    rigid = pair.fit_rigid(start)
    best = _best(pair, (by_masks.transform, before, "none"), [("rigid", WorldTransform(matrix=rigid))])
    if between.knot_spacing_mm > 0:
        best = _best(pair, best, [("deformable", pair.fit_deformation(best[0].matrix))])
    transform, similarity, step = best
    if step == "none":
        return by_masks
    found = f"{step} on {phase.value}: similarity in the liver {before:.3f} -> {similarity:.3f}"
    return replace(by_masks, transform=transform, accepted=True, reason=f"{by_masks.reason}; {found}")


def _register_livers(
    moving: PreparedStudy, fixed: PreparedStudy, settings: RegistrationSettings
) -> Registration:
    """Bring liver masks together; no matter which sequence or contrast agent each study has."""
    from scipy.optimize import least_squares

    surface, inside = _surface_points(fixed.liver), _inner_points(fixed.liver)
    target_inside = _inner_points(moving.liver)
    if not len(surface) or not len(target_inside):
        return _refused(0.0, "no liver to register by")
    depth = Source.of(_signed_depth(moving.liver))
    middle, target = inside.mean(axis=0), target_inside.mean(axis=0)

    def fitted(shift: npt.NDArray[np.float64]) -> Matrix:
        start = np.concatenate([shift, np.zeros(6)])
        for _ in range(_FITS_IF_CUT if _ends_cut(moving.liver).any() else 1):
            # where the other volume ends within its liver nothing says how far the surface is
            there = np.rint(world_to_voxel(moving.liver.grid, moved(_affine(start, middle), surface))).astype(
                int
            )
            known = surface[~_is_beyond(moving.liver, there)]
            if not len(known):
                break
            start = least_squares(
                partial(_residuals, depth, middle, known), start, loss="soft_l1", f_scale=4.0, max_nfev=15
            ).x
        return _affine(start, middle)

    before = _overlap(np.eye(4), (inside, target_inside), fixed.liver, moving.liver)
    best, best_overlap = np.eye(4), before
    starts = [target - middle, np.zeros(3)]
    cut = _ends_cut(fixed.liver) | _ends_cut(moving.liver)
    if cut.any():
        # the middle of what is seen of a liver says little: its ends that both studies show are brought together
        low, high = (
            target_inside.min(axis=0) - inside.min(axis=0),
            target_inside.max(axis=0) - inside.max(axis=0),
        )
        at_one_end = [cut[:, 1] & ~cut[:, 0], cut[:, 0] & ~cut[:, 1]]
        starts.append(np.select(at_one_end, [low, high], target - middle))
    for shift in starts:
        matrix = fitted(shift)
        overlap = _overlap(matrix, (inside, target_inside), fixed.liver, moving.liver)
        if overlap > best_overlap + settings.least_gain:
            best, best_overlap = matrix, overlap
    raised = best_overlap > before
    # counted at points, two livers that fill each other may seem to share more than all
    reason = f"Dice of the livers {min(before, 1.0):.2f} -> {min(best_overlap, 1.0):.2f}"
    return Registration(
        transform=WorldTransform(matrix=best),
        accepted=raised or before > 0.9,
        similarity_before=min(before, 1.0),
        similarity_after=min(best_overlap, 1.0),
        reason=reason if raised else f"{reason}: left in place",
    )


def _residuals(
    depth: Source, middle: npt.NDArray[np.float64], surface: Points, parameters: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Distances of a moved surface from that of the other liver in mm, and what holds rotation and scale."""
    distance = depth.values_at(moved(_affine(parameters, middle), surface))
    # a smooth liver says little about its rotation and scale, so those stay small unless it does
    held = np.concatenate([parameters[3:6] / 0.15, parameters[6:9] / 0.1]) * np.sqrt(len(surface)) * 0.5
    return np.concatenate([distance, held])


def _inner_points(liver: LabelMap, most: int = 6000) -> Points:
    index = np.argwhere(liver.voxels > 0)
    return voxel_to_world(liver.grid, index[:: max(1, len(index) // most)])


def _surface_points(liver: LabelMap, most: int = 800) -> Points:
    mask = liver.voxels > 0
    # where the volume ends within the liver there is no surface
    index = np.argwhere(mask & ~ndimage.binary_erosion(mask, border_value=1))
    return voxel_to_world(liver.grid, index[:: max(1, len(index) // most)])


def _signed_depth(liver: LabelMap) -> Image:
    """Distance to the liver's border in mm, negative inside, on a grid of about 4 mm with room around.

    Where the volume ends within the liver, the liver goes on: its end there is no border.
    """
    margin = margin_voxels(liver.grid.spacing_mm, 40.0)
    wide = np.pad((liver.voxels > 0).astype(np.float32), [(extra, extra) for extra in margin], mode="edge")
    shape = wide.shape
    move = np.eye(4)
    move[:3, 3] = -np.asarray(margin, dtype=np.float64)
    image = averaged(
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


def _overlap(matrix: Matrix, inside: tuple[Points, Points], fixed: LabelMap, moving: LabelMap) -> float:
    """Dice of the two livers after moving, from points inside the fixed and inside the moving one.

    What lies beyond an end of the other volume that cuts its liver is not known to be liver there or not, and left out.
    """
    there = np.rint(world_to_voxel(moving.grid, moved(matrix, inside[0]))).astype(int)
    back = np.rint(
        world_to_voxel(fixed.grid, moved(np.asarray(np.linalg.inv(matrix), dtype=np.float64), inside[1]))
    ).astype(int)
    valid = ((there >= 0) & (there < np.asarray(moving.grid.shape))).all(axis=1)
    shared = float((moving.voxels[tuple(there[valid].T)] > 0).sum()) / len(there)
    one = float((fixed.voxels > 0).sum()) * fixed.grid.voxel_volume_ml * float(np.linalg.det(matrix[:3, :3]))
    other = float((moving.voxels > 0).sum()) * moving.grid.voxel_volume_ml
    known = one * (1.0 - _share_beyond(moving, there)) + other * (1.0 - _share_beyond(fixed, back))
    return 2.0 * shared * one / max(known, 1e-9)


def _share_beyond(liver: LabelMap, index: npt.NDArray[np.intp]) -> float:
    """Give the part of the voxel indices ``(n, 3)`` that lies beyond an end of the volume that cuts the liver."""
    return float(_is_beyond(liver, index).mean())


def _is_beyond(liver: LabelMap, index: npt.NDArray[np.intp]) -> npt.NDArray[np.bool_]:
    """Tell which voxel indices ``(n, 3)`` lie beyond an end of the volume that cuts the liver: ``(n,)``."""
    low, high = _ends_cut(liver).T
    beyond = ((index < 0) & low) | ((index >= np.asarray(liver.grid.shape)) & high)
    return np.asarray(beyond.any(axis=1))


def _ends_cut(liver: LabelMap) -> npt.NDArray[np.bool_]:
    """Tell for each axis whether the volume ends within the liver at its lower and at its upper end: ``(3, 2)``."""
    layers = (np.moveaxis(liver.voxels > 0, axis, 0) for axis in range(3))
    return np.array([(axis[0].any(), axis[-1].any()) for axis in layers])


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Pair:
    """A fixed liver, and an image that is brought to it."""

    fixed: FixedLiver
    coarse: Source
    fine: Source

    def similarity(self, transform: WorldTransform) -> float:
        """Give the mutual information (nats) at the finer of the two voxel sizes."""
        return mutual_information(self.fixed.fine, self.fine.values_at(transform(self.fixed.fine.points)))

    def fit_rigid(self, start: Matrix) -> Matrix:
        """Search a shift, then a rigid move, before ``start``; give both together."""
        settings = self.fixed.settings
        rigid = find_shift(self.fixed.coarse, self.coarse, start, settings.largest_shift_mm)
        for target, source in self._levels():
            rigid = fit_rigid(target, source, start, rigid, most=settings.iterations)
        return np.asarray(start @ rigid)

    def fit_deformation(self, matrix: Matrix) -> WorldTransform:
        """Fit a cubic B-spline displacement before ``matrix``."""
        settings = self.fixed.settings
        spline = Spline.still(self.fixed.grid, settings.knot_spacing_mm)
        for target, source in self._levels():
            spline = fit_spline(
                target,
                source,
                matrix,
                spline,
                stiffness=settings.stiffness,
                most=settings.deformable_iterations,
            )
        grid = self.fixed.coarse.grid
        vectors = np.ascontiguousarray(np.moveaxis(spline.on(grid), 0, -1))
        return WorldTransform(matrix=matrix, displacement=Displacement(vectors_mm=vectors, grid=grid))

    def _levels(self) -> tuple[tuple[Target, Source], tuple[Target, Source]]:
        return (self.fixed.coarse, self.coarse), (self.fixed.fine, self.fine)


Candidate = tuple[WorldTransform, float, str]


def _best(pair: _Pair, start: Candidate, candidates: list[tuple[str, WorldTransform]]) -> Candidate:
    """Take the transform with the highest similarity, if it rises at all."""
    best = start
    for name, transform in candidates:
        similarity = pair.similarity(transform)
        if similarity > best[1] + pair.fixed.settings.least_gain:
            best = transform, similarity, name
    return best


def _refused(before: float, reason: str) -> Registration:
    return Registration(
        transform=identity(), accepted=False, similarity_before=before, similarity_after=before, reason=reason
    )


def _cut_around(image: Image, points: Points, margin_mm: float) -> Image:
    """Cut from an image what lies within ``margin_mm`` of the box of world points."""
    near, far = points.min(axis=0), points.max(axis=0)
    corners = np.array(
        [[x, y, z] for x in (near[0], far[0]) for y in (near[1], far[1]) for z in (near[2], far[2])]
    )
    index = world_to_voxel(image.grid, corners)
    last = np.asarray(image.grid.shape) - 1
    low = np.clip(np.floor(index.min(axis=0)).astype(int), 0, last)
    high = np.clip(np.ceil(index.max(axis=0)).astype(int), 0, last) + 1
    i, j, k = ((int(first), int(stop)) for first, stop in zip(low, high, strict=True))
    box = grow_box((i, j, k), image.grid.shape, margin_voxels(image.grid.spacing_mm, margin_mm))
    start, stop = np.asarray(box).T
    (a, b, c), (d, e, f) = start.tolist(), (stop - start).tolist()
    return crop(image, (a, b, c), (d, e, f))
