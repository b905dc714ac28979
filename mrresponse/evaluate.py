"""Judge masks against reference masks: overlap, surface distance, lesions found, sizes, and intervals.

Everything here is a pure function of boolean masks or label arrays ``[i, j, k]`` on one grid.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import numpy.typing as npt
from scipy.optimize import linear_sum_assignment
from scipy.spatial import cKDTree
from skimage.measure import marching_cubes

from mrresponse.domain import BoolArray, LabelArray
from mrresponse.measure import longest_diameter

Floats = npt.NDArray[np.float64]
Spacing = tuple[float, float, float]

SIZE_BINS_MM: Mapping[str, tuple[float, float]] = {
    "<10 mm": (0.0, 10.0),
    "10-20 mm": (10.0, 20.0 + 1e-9),
    ">20 mm": (20.0 + 1e-9, float("inf")),
}
# Surfaces are sampled at least this densely.
_SURFACE_STEP_MM = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class LesionMatch:
    """A predicted and a reference lesion taken for the same one."""

    predicted: int
    reference: int
    iou: float
    dice: float
    predicted_diameter_mm: float
    reference_diameter_mm: float
    predicted_volume_ml: float
    reference_volume_ml: float

    @property
    def diameter_error_mm(self) -> float:
        """Predicted less reference diameter."""
        return self.predicted_diameter_mm - self.reference_diameter_mm


@dataclass(frozen=True, slots=True, kw_only=True)
class LesionComparison:
    """The lesions of one scan: pairs, and the diameters of those without a partner."""

    matches: tuple[LesionMatch, ...]
    missed_diameters_mm: tuple[float, ...]
    false_positive_diameters_mm: tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class LesionSummary:
    """Detection and size over scans; ``None`` where there is nothing to take a share of."""

    scans: int
    reference_lesions: int
    sensitivity: float | None
    sensitivity_by_size: Mapping[str, float | None]
    lesions_by_size: Mapping[str, int]
    false_positives_per_scan: float | None
    precision: float | None
    f1: float | None
    mean_dice: float | None
    diameter_error_median_mm: float | None
    diameter_error_p95_mm: float | None
    diameter_bias_mm: float | None
    volume_bias_ml: float | None


def dice(predicted: BoolArray, reference: BoolArray) -> float | None:
    """Give twice the overlap over the sum of both volumes; ``None`` where both masks are empty."""
    total = int(np.count_nonzero(predicted)) + int(np.count_nonzero(reference))
    return 2.0 * int(np.count_nonzero(predicted & reference)) / total if total else None


def surface_dice(
    predicted: BoolArray, reference: BoolArray, spacing_mm: Spacing, *, tolerance_mm: float = 2.0
) -> float | None:
    """Give the share of both surfaces that lies within a tolerance of the other (Nikolov 2018, doi 10.2196/26151).

    Surfaces are the 0.5 level of the masks (marching cubes), cut into triangles of at most about 1 mm, and
    weighted by area; distances go from the middle of a triangle to the nearest sampled point of the other
    surface, so they are right to about half a millimetre beyond the tolerance and exact for equal surfaces.

    Returns
    -------
    float or None
        0 where one mask is empty, ``None`` where both are.
    """
    if not predicted.any() and not reference.any():
        return None
    if not predicted.any() or not reference.any():
        return 0.0
    cut = _box_of(predicted | reference)
    one, one_area = _surface_samples(predicted[cut], spacing_mm)
    other, other_area = _surface_samples(reference[cut], spacing_mm)
    near_one = _is_near(one, other, tolerance_mm)
    near_other = _is_near(other, one, tolerance_mm)
    agreed = float(one_area[near_one].sum() + other_area[near_other].sum())
    return agreed / float(one_area.sum() + other_area.sum())


def match_lesions(
    predicted: LabelArray, reference: LabelArray, *, least_iou: float = 0.1
) -> tuple[tuple[int, int, float], ...]:
    """Pair lesions one to one so that the sum of intersection over union is largest; pairs below a limit are none.

    Returns
    -------
    tuple of (predicted label, reference label, intersection over union)
        By reference label.
    """
    both = np.stack([predicted.ravel(), reference.ravel()])[
        :, (predicted.ravel() > 0) & (reference.ravel() > 0)
    ]
    if both.shape[1] == 0:
        return ()
    pairs, overlaps = np.unique(both, axis=1, return_counts=True)
    rows, row_of = np.unique(pairs[0], return_inverse=True)
    columns, column_of = np.unique(pairs[1], return_inverse=True)
    predicted_sizes = np.bincount(predicted.ravel())
    reference_sizes = np.bincount(reference.ravel())
    iou = np.zeros((len(rows), len(columns)))
    iou[row_of, column_of] = overlaps / (predicted_sizes[pairs[0]] + reference_sizes[pairs[1]] - overlaps)
    iou[iou < least_iou - 1e-12] = 0.0
    chosen = [(r, c) for r, c in zip(*linear_sum_assignment(-iou), strict=True) if iou[r, c] > 0.0]
    found = [(int(rows[r]), int(columns[c]), float(iou[r, c])) for r, c in chosen]
    return tuple(sorted(found, key=lambda pair: pair[1]))


def compare_lesions(
    predicted: LabelArray,
    reference: LabelArray,
    spacing_mm: Spacing,
    *,
    voxel_volume_ml: float,
    least_iou: float = 0.1,
) -> LesionComparison:
    """Match the lesions of one scan and measure both sides with the function that measures patients."""
    pairs = match_lesions(predicted, reference, least_iou=least_iou)
    in_predicted, in_reference = _diameters(predicted, spacing_mm), _diameters(reference, spacing_mm)
    predicted_sizes, reference_sizes = np.bincount(predicted.ravel()), np.bincount(reference.ravel())
    matches = tuple(
        LesionMatch(
            predicted=one,
            reference=other,
            iou=iou,
            dice=2.0 * iou / (1.0 + iou),
            predicted_diameter_mm=in_predicted[one],
            reference_diameter_mm=in_reference[other],
            predicted_volume_ml=int(predicted_sizes[one]) * voxel_volume_ml,
            reference_volume_ml=int(reference_sizes[other]) * voxel_volume_ml,
        )
        for one, other, iou in pairs
    )
    found, known = {match.predicted for match in matches}, {match.reference for match in matches}
    return LesionComparison(
        matches=matches,
        missed_diameters_mm=tuple(mm for label, mm in in_reference.items() if label not in known),
        false_positive_diameters_mm=tuple(mm for label, mm in in_predicted.items() if label not in found),
    )


def summarise_lesions(comparisons: Sequence[LesionComparison]) -> LesionSummary:
    """Summarise detection, sizes and volumes over scans; size bins go by the reference diameter."""
    matches = [match for comparison in comparisons for match in comparison.matches]
    missed = [mm for comparison in comparisons for mm in comparison.missed_diameters_mm]
    false = sum(len(comparison.false_positive_diameters_mm) for comparison in comparisons)
    known = len(matches) + len(missed)
    found_by_size, all_by_size = {}, {}
    for name, (low, high) in SIZE_BINS_MM.items():
        found_by_size[name] = sum(low <= match.reference_diameter_mm < high for match in matches)
        all_by_size[name] = found_by_size[name] + sum(low <= mm < high for mm in missed)
    errors = np.array([match.diameter_error_mm for match in matches])
    return LesionSummary(
        scans=len(comparisons),
        reference_lesions=known,
        sensitivity=_share(len(matches), known),
        sensitivity_by_size={name: _share(found_by_size[name], all_by_size[name]) for name in SIZE_BINS_MM},
        lesions_by_size=all_by_size,
        false_positives_per_scan=_share(false, len(comparisons)),
        precision=_share(len(matches), len(matches) + false),
        f1=_share(2 * len(matches), 2 * len(matches) + false + len(missed)),
        mean_dice=float(np.mean([match.dice for match in matches])) if matches else None,
        diameter_error_median_mm=float(np.median(np.abs(errors))) if matches else None,
        diameter_error_p95_mm=float(np.percentile(np.abs(errors), 95.0)) if matches else None,
        diameter_bias_mm=float(errors.mean()) if matches else None,
        volume_bias_ml=float(np.mean([m.predicted_volume_ml - m.reference_volume_ml for m in matches]))
        if matches
        else None,
    )


def bootstrap_interval(
    values: Sequence[float], *, seed: int = 0, resamples: int = 2000, level: float = 0.95
) -> tuple[float, float] | None:
    """Give the percentile bootstrap interval of the mean; the same values and seed give the same interval.

    Returns
    -------
    (low, high) or None
        ``None`` without values; with one value both ends are that value.
    """
    if not values:
        return None
    sample = np.asarray(values, dtype=np.float64)
    drawn = np.random.default_rng(seed).integers(0, len(sample), size=(resamples, len(sample)))
    tail = 50.0 * (1.0 - level)
    low, high = np.percentile(sample[drawn].mean(axis=1), [tail, 100.0 - tail])
    return float(low), float(high)


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def _diameters(labels: LabelArray, spacing_mm: Spacing) -> dict[int, float]:
    found = {}
    for label in np.unique(labels[labels > 0]):
        mask = np.asarray(labels == label)
        chord = longest_diameter(mask[_box_of(mask)], spacing_mm)
        if chord is not None:
            found[int(label)] = chord.length_mm
    return found


def _box_of(mask: BoolArray) -> tuple[slice, slice, slice]:
    i, j, k = (
        slice(int(inside[0]), int(inside[-1]) + 1)
        for axis in range(3)
        for inside in [np.flatnonzero(mask.any(axis=tuple({0, 1, 2} - {axis})))]
    )
    return i, j, k


def _surface_samples(mask: BoolArray, spacing_mm: Spacing) -> tuple[Floats, Floats]:
    """Return points on the surface of a mask in mm and the area each stands for."""
    # skimage's functions are not typed.
    surface = cast(Any, marching_cubes)(np.pad(mask, 1).astype(np.float32), 0.5, spacing=spacing_mm)
    corners = surface[0].astype(np.float64)[surface[1]]
    edges = np.roll(corners, -1, axis=1) - corners
    areas = 0.5 * np.linalg.norm(np.cross(edges[:, 0], -edges[:, 2]), axis=1)
    parts = np.ceil(np.linalg.norm(edges, axis=2).max(axis=1) / _SURFACE_STEP_MM).astype(np.intp).clip(1)
    points, weights = [], []
    for count in np.unique(parts):
        chosen = parts == count
        shares = _middles(int(count))
        points.append(np.einsum("sc,tcx->tsx", shares, corners[chosen]).reshape(-1, 3))
        weights.append(np.repeat(areas[chosen] / len(shares), len(shares)))
    return np.concatenate(points), np.concatenate(weights)


def _middles(count: int) -> Floats:
    """Return the barycentric middles of the ``count**2`` equal parts of a triangle."""
    i, j = (index.ravel() for index in np.meshgrid(np.arange(count), np.arange(count), indexing="ij"))
    upright, turned = i + j < count, i + j < count - 1
    first = np.concatenate([i[upright] + 1.0 / 3.0, i[turned] + 2.0 / 3.0]) / count
    second = np.concatenate([j[upright] + 1.0 / 3.0, j[turned] + 2.0 / 3.0]) / count
    return np.column_stack([first, second, 1.0 - first - second])


def _is_near(points: Floats, others: Floats, tolerance_mm: float) -> BoolArray:
    distances, _ = cKDTree(others).query(points, distance_upper_bound=tolerance_mm * (1.0 + 1e-6) + 1e-9)
    return np.asarray(np.isfinite(distances))
