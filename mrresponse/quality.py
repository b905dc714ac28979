"""Doubts about a study, as flags; they change no number.

Thresholds: quality rules of the model specification (liver volume, position, homogeneity, gain, arterial timing).
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from mrresponse.domain import (
    BoolArray,
    ContrastPhase,
    Flag,
    FloatArray,
    LesionMap,
    PreparedStudy,
)
from mrresponse.geometry import canonical_grid, dilate, world_to_voxel

# One of these asks for a review, two forbid unedited use. What is merely missing is said, but is no doubt about
# what is there.
REVIEW_CODES = frozenset(
    {
        "registration_rejected",
        "cross_phase_dice",
        "fragments",
        "liver_volume",
        "liver_at_edge",
        "inhomogeneous",
        "gain",
        "mistimed_arterial",
        "lesion_outside_liver",
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class QualitySettings:
    """From where a study is doubtful.

    Parameters
    ----------
    least_liver_ml, largest_liver_ml
        Plausible volume of a liver.
    largest_variation
        Standard deviation over mean of the liver without its lesions, in the reference phase.
    least_gain, largest_gain
        Plausible ratio of unenhanced tissue in a contrast phase and before contrast.
    least_arterial
        Enhancement of the brightest vessels in ART, in units of liver before contrast.
    """

    least_liver_ml: float = 600.0
    largest_liver_ml: float = 3500.0
    largest_variation: float = 0.25
    least_gain: float = 0.8
    largest_gain: float = 1.25
    least_arterial: float = 1.0
    liver_margin_mm: float = 5.0


def check_quality(
    prepared: PreparedStudy, lesion_map: LesionMap, settings: QualitySettings
) -> tuple[Flag, ...]:
    """Collect the doubts about one study, those of its preparation first."""
    flags = list(prepared.flags)
    found = [
        *_liver_doubts(prepared, lesion_map, settings),
        *_signal_doubts(prepared, settings),
        *_lesion_doubts(prepared, lesion_map, settings),
        *_missing(prepared),
    ]
    study = prepared.study
    flags += [
        Flag(patient_id=study.patient_id, study_date=study.study_date, code=code, message=message)
        for code, message in found
    ]
    return tuple(flags)


def review_level(flags: Iterable[Flag]) -> str:
    """Say how much care the result of a study needs: ``ok``, ``review`` or ``do not use unedited``."""
    hits = sum(flag.code in REVIEW_CODES for flag in flags)
    return ("ok", "review", "do not use unedited")[min(hits, 2)]


def _liver_doubts(
    prepared: PreparedStudy, lesion_map: LesionMap, settings: QualitySettings
) -> Iterator[tuple[str, str]]:
    liver = prepared.liver.voxels > 0
    volume_ml = float(liver.sum()) * prepared.grid.voxel_volume_ml
    if not settings.least_liver_ml <= volume_ml <= settings.largest_liver_ml:
        expected = f"expected {settings.least_liver_ml:.0f} to {settings.largest_liver_ml:.0f} mL"
        yield "liver_volume", f"liver volume {volume_ml:.0f} mL, {expected}"
    if _is_at_edge(prepared, liver):
        yield "liver_at_edge", "the liver reaches the edge of the volume and may be cut off"
    values = prepared.images[prepared.reference].voxels[liver & (lesion_map.labels.voxels == 0)]
    if values.size:
        variation = float(values.std()) / max(float(values.mean()), 1e-6)
        if variation > settings.largest_variation:
            found = f"SD / mean of the liver {variation:.2f} in {prepared.reference.value}"
            yield "inhomogeneous", f"{found}, expected at most {settings.largest_variation:.2f}"


def _is_at_edge(prepared: PreparedStudy, liver: BoolArray) -> bool:
    full = canonical_grid(prepared.native_grid).shape
    for axis, (start, count) in enumerate(zip(prepared.crop_start, full, strict=True)):
        layers = np.moveaxis(liver, axis, 0)
        if start == 0 and layers[0].any():
            return True
        if start + len(layers) == count and layers[-1].any():
            return True
    return False


def _signal_doubts(prepared: PreparedStudy, settings: QualitySettings) -> Iterator[tuple[str, str]]:
    before = prepared.images.get(ContrastPhase.PRECONTRAST)
    arterial = prepared.images.get(ContrastPhase.ARTERIAL)
    if before is None or arterial is None:
        return
    liver = prepared.liver.voxels > 0
    unit = float(np.median(before.voxels[liver])) if liver.any() else 0.0
    if unit <= 0:
        return
    gain = _unenhanced_ratio(prepared, arterial.voxels, before.voxels, unit)
    if gain is not None and not settings.least_gain <= gain <= settings.largest_gain:
        expected = f"expected {settings.least_gain:.2f} to {settings.largest_gain:.2f}"
        yield "gain", f"unenhanced tissue in ART is {gain:.2f} times that in PRE, {expected}"
    enhancement = np.percentile((arterial.voxels / (gain or 1.0) - before.voxels) / unit, 99.5)
    if enhancement < settings.least_arterial:
        found = f"brightest vessels enhance by {enhancement:.1f} times the liver in ART"
        yield "mistimed_arterial", f"{found}, expected at least {settings.least_arterial:.1f}"


def _unenhanced_ratio(
    prepared: PreparedStudy, arterial: FloatArray, before: FloatArray, unit: float
) -> float | None:
    """Estimate ART over PRE of tissue that does not enhance: the lower quartile outside the liver.

    Fat, muscle and bowel content make up most of what lies around the liver and hardly enhance in ART; vessels,
    spleen and kidneys lie in the upper part of the distribution.
    """
    around = ~dilate(prepared.liver.voxels > 0, prepared.grid.spacing_mm, 10.0)
    tissue = around & (before > 0.2 * unit) & (before < 1.5 * unit)
    if int(tissue.sum()) * prepared.grid.voxel_volume_ml < 20.0:
        return None
    return float(np.percentile(arterial[tissue] / before[tissue], 25.0))


def _lesion_doubts(
    prepared: PreparedStudy, lesion_map: LesionMap, settings: QualitySettings
) -> Iterator[tuple[str, str]]:
    if not lesion_map.lesions:
        return
    near = dilate(prepared.liver.voxels > 0, prepared.grid.spacing_mm, settings.liver_margin_mm)
    for lesion in lesion_map.lesions:
        place = np.rint(world_to_voxel(prepared.grid, [lesion.centroid_mm])[0]).astype(int)
        index = tuple(np.clip(place, 0, np.asarray(prepared.grid.shape) - 1))
        if not near[index]:
            where = ", ".join(f"{value:.0f}" for value in lesion.centroid_mm)
            yield "lesion_outside_liver", f"lesion at ({where}) mm lies outside the liver"


def _missing(prepared: PreparedStudy) -> Iterator[tuple[str, str]]:
    present = set(prepared.images)
    if present <= {ContrastPhase.OTHER}:
        yield "missing_phases", "no T1 contrast phase: lesions cannot be assessed"
        return
    lacking = [
        phase.value for phase in (ContrastPhase.PRECONTRAST, ContrastPhase.ARTERIAL) if phase not in present
    ]
    if not present & {ContrastPhase.PORTAL_VENOUS, ContrastPhase.DELAYED}:
        lacking.append("PVP or DEL")
    if lacking:
        yield "missing_phases", f"missing: {', '.join(lacking)}"
