"""Where things are in the images of one study: the field of view, and every lesion with its true masks.

All of it follows from the plan and the seed; nothing is painted here.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

from mrresponse.domain import BoolArray, Grid, Point
from mrresponse.synthetic.acquisition import Motion, draw_study_motion
from mrresponse.synthetic.ellipsoids import Coverage, Ellipsoid, cover
from mrresponse.synthetic.placement import PlacedLesion, PlacedPatient, find_in_image
from mrresponse.synthetic.plans import BENIGN, Defect, LesionSize, StudyPlan

_SHARE_CUT = 0.3
_CUT_CLEARANCE_MM = 10.0
_OFF_CENTRE = 0.75


@dataclass(frozen=True, slots=True, kw_only=True)
class PhantomSize:
    """Voxels and voxel spacing of the images."""

    shape: tuple[int, int, int]
    spacing_mm: tuple[float, float, float]


SIZES: Mapping[str, PhantomSize] = MappingProxyType(
    {
        "tiny": PhantomSize(shape=(96, 80, 40), spacing_mm=(4.0, 4.0, 4.0)),
        "standard": PhantomSize(shape=(224, 176, 64), spacing_mm=(1.6, 1.6, 3.0)),
        "clinical": PhantomSize(shape=(320, 260, 72), spacing_mm=(1.2, 1.2, 3.0)),
        "fine": PhantomSize(shape=(320, 256, 96), spacing_mm=(1.2, 1.2, 2.0)),
    }
)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LocatedLesion:
    """One lesion in the image of the reference phase; ``viable`` is ``None`` for complete necrosis."""

    placed: PlacedLesion
    size: LesionSize
    whole: Ellipsoid
    viable: Ellipsoid | None
    whole_mask: BoolArray
    viable_mask: BoolArray


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class StudyGeometry:
    """One study before it is painted: how the body moved, the grid of the images, and the lesions in it."""

    plan: StudyPlan
    seed: int
    motion: Motion
    grid: Grid
    lesions: tuple[LocatedLesion, ...]


def locate_study(patient: PlacedPatient, number: int, *, size: PhantomSize, seed: int) -> StudyGeometry:
    """Move the body for study ``number``, lay the field of view, and find the lesions in it."""
    plan = patient.plan.studies[number]
    study_seed = int(np.random.SeedSequence([seed, number]).generate_state(1)[0])
    motion = draw_study_motion(study_seed)
    shown = [(lesion, lesion.plan.sizes[number]) for lesion in patient.lesions]
    present = [(lesion, lesion_size) for lesion, lesion_size in shown if lesion_size is not None]
    centres = [find_in_image(lesion.centre_mm, motion) for lesion, _ in present]
    grid = _study_grid(patient, plan, motion, size=size, lesion_centres=centres)
    lesions = tuple(
        _lesion_at(lesion, lesion_size, centre, grid, snapped=patient.plan.snapped)
        for (lesion, lesion_size), centre in zip(present, centres, strict=True)
    )
    return StudyGeometry(plan=plan, seed=study_seed, motion=motion, grid=grid, lesions=lesions)


def _study_grid(
    patient: PlacedPatient,
    plan: StudyPlan,
    motion: Motion,
    *,
    size: PhantomSize,
    lesion_centres: list[Point],
) -> Grid:
    """Centre the field of view on the body and on mid-liver height; tenths of a millimetre."""
    low, high = (corner[2] for corner in patient.liver_box_mm)
    x, y, z = find_in_image((0.0, 0.0, (low + high) / 2), motion)
    if plan.defect is Defect.LIVER_CUT:
        lesion = lesion_centres[0][2]
        reach = patient.lesions[0].plan.largest_mm / 2 + _CUT_CLEARANCE_MM
        half_view = size.shape[2] * size.spacing_mm[2] / 2
        cut = _SHARE_CUT * (high - low)
        if lesion > z:
            z = min(z - (high - low) / 2 + cut, lesion - reach) + half_view
        else:
            z = max(z + (high - low) / 2 - cut, lesion + reach) - half_view
    rows = []
    for axis, middle in enumerate((x, y, z)):
        step = size.spacing_mm[axis]
        row = [0.0, 0.0, 0.0, round(middle - (size.shape[axis] - 1) / 2 * step, 1)]
        row[axis] = step
        rows.append(tuple(row))
    return Grid(shape=size.shape, affine_rows=tuple(rows))


def _lesion_at(
    placed: PlacedLesion, size: LesionSize, centre: Point, grid: Grid, *, snapped: bool
) -> LocatedLesion:
    step = np.asarray(grid.spacing_mm)
    origin = grid.affine[:3, 3]
    at = np.asarray(centre)
    if snapped:
        at = origin + np.round((at - origin) / step) * step
    half = size.whole_mm / 2
    axes = (half, half * placed.plan.aspect[0], half * placed.plan.aspect[1])
    whole = Ellipsoid(centre_mm=_point(at), semi_axes_mm=axes, angle_deg=placed.angle_deg)
    viable = _viable_part(whole, placed, size, step if snapped else None)
    whole_mask = _mask(cover(whole, grid), grid)
    viable_mask = np.zeros_like(whole_mask)
    if viable is not None and placed.plan.subtype not in BENIGN:
        viable_mask = _mask(cover(viable, grid), grid) & whole_mask
    return LocatedLesion(
        placed=placed, size=size, whole=whole, viable=viable, whole_mask=whole_mask, viable_mask=viable_mask
    )


def _viable_part(
    whole: Ellipsoid, placed: PlacedLesion, size: LesionSize, step: npt.NDArray[np.float64] | None
) -> Ellipsoid | None:
    """Return an ellipsoid of the lesion's shape inside it, off centre where there is room."""
    if size.viable_mm <= 0:
        return None
    share = size.viable_mm / size.whole_mm
    axes = np.asarray(whole.semi_axes_mm)
    room = 1.0 - share
    offset = np.asarray(whole.to_world(_point(np.asarray(placed.viable_side) * axes * _OFF_CENTRE * room)))
    if step is not None:
        offset = np.round(offset / step) * step
        back = replace(whole, angle_deg=-whole.angle_deg)
        if np.linalg.norm(np.asarray(back.to_world(_point(offset))) / axes) > room:
            offset = np.zeros(3)
    return replace(
        whole, centre_mm=_point(np.asarray(whole.centre_mm) + offset), semi_axes_mm=_point(axes * share)
    )


def _mask(coverage: Coverage | None, grid: Grid) -> BoolArray:
    mask = np.zeros(grid.shape, dtype=np.bool_)
    if coverage is not None:
        mask[coverage.box] = coverage.mask
    return mask


def _point(values: npt.NDArray[np.float64]) -> Point:
    return float(values[0]), float(values[1]), float(values[2])
