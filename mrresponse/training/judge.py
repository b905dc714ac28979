"""Judge the whole line with its networks on synthetic studies: livers, lesions, false alarms, and the flags."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from scipy import ndimage

from mrresponse.config import Settings
from mrresponse.domain import (
    BoolArray,
    ExaminedStudy,
    Image,
    LabelArray,
    LabelMap,
    PreparedStudy,
    Series,
    Study,
)
from mrresponse.errors import DataError
from mrresponse.evaluate import (
    LesionComparison,
    bootstrap_interval,
    compare_lesions,
    dice,
    summarise_lesions,
    surface_dice,
)
from mrresponse.geometry import canonical_grid, paste
from mrresponse.measure import MeasureSettings
from mrresponse.measure.perfusion import is_perfusion_like
from mrresponse.pipeline import examine_images
from mrresponse.quality import REVIEW_CODES, expected_liver_dice
from mrresponse.segment import Segmenter
from mrresponse.synthetic.judging import JudgingCase
from mrresponse.synthetic.render import RenderedStudy

LEAST_MM = 10.0
"""Lesions from this diameter count for the sensitivity; smaller ones are seldom followed."""

POOR_LIVER_DICE = 0.8
"""A liver below this is what the quality flags are to catch."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgedCase:
    """What the line made of one study."""

    case: str
    liver_dice: float
    liver_surface_dice_2mm: float
    lesion_dice: float | None
    """Overlap of all lesion voxels; ``None`` where there is no lesion and none was found."""
    lesions: LesionComparison
    flags: tuple[str, ...]
    expected_liver_dice: float
    """The Dice that may be expected of the outline; the flag ``liver_doubtful`` goes by it."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Found:
    """What the line found in one study, on the grid of the images; empty masks where it refused the study."""

    liver: BoolArray
    lesions: LabelArray
    flags: tuple[str, ...]
    expected_liver_dice: float


def summarise(cases: Sequence[JudgedCase]) -> dict[str, Any]:
    """Return the figures of a set; intervals are 95 % bootstrap intervals of a mean over cases.

    How well poor livers are told from the others: ``review_auroc`` by the number of flags that ask for a review,
    ``doubt_auroc`` by the Dice that the flag ``liver_doubtful`` goes by.
    """
    comparisons = [case.lesions for case in cases]
    livers = [case.liver_dice for case in cases]
    is_poor = [found < POOR_LIVER_DICE for found in livers]
    matches = [m for one in comparisons for m in one.matches if m.reference_diameter_mm >= LEAST_MM]
    missed = sum(mm >= LEAST_MM for one in comparisons for mm in one.missed_diameters_mm)
    false = [len(one.false_positive_diameters_mm) for one in comparisons]
    overlaps = [match.dice for match in matches]
    errors = [abs(match.diameter_error_mm) for match in matches]
    return {
        "cases": len(cases),
        "liver_dice_mean": float(np.mean(livers)),
        "liver_dice_interval": bootstrap_interval(livers),
        "liver_dice_worst": float(np.min(livers)),
        "lesions_of_10_mm": len(matches) + missed,
        "sensitivity_10_mm": len(matches) / (len(matches) + missed) if matches or missed else None,
        "false_positives_per_scan": float(np.mean(false)),
        "false_positives_interval": bootstrap_interval([float(number) for number in false]),
        "matched_lesion_dice_mean": float(np.mean(overlaps)) if overlaps else None,
        "diameter_error_median_mm": float(np.median(errors)) if errors else None,
        "diameter_error_p95_mm": float(np.percentile(errors, 95)) if errors else None,
        "by_size": asdict(summarise_lesions(comparisons))["sensitivity_by_size"],
        "review_share": float(np.mean([_hits(case) > 0 for case in cases])),
        "review_auroc": auroc([_hits(case) for case in cases], is_poor),
        "doubt_auroc": auroc([1.0 - case.expected_liver_dice for case in cases], is_poor),
        "livers_below_0.8": sum(is_poor),
    }


def auroc(scores: Sequence[float], positive: Sequence[bool]) -> float | None:
    """Return the chance that a positive case has the higher score (ties count half); ``None`` without both kinds."""
    yes = np.array([score for score, is_yes in zip(scores, positive, strict=True) if is_yes])
    no = np.array([score for score, is_yes in zip(scores, positive, strict=True) if not is_yes])
    if not yes.size or not no.size:
        return None
    above, equal = yes[:, None] > no[None], yes[:, None] == no[None]
    return float(above.mean() + 0.5 * equal.mean())


def _hits(case: JudgedCase) -> int:
    return sum(flag in REVIEW_CODES for flag in case.flags)


def judge_case(case: JudgingCase, segmenter: Segmenter, settings: Settings) -> JudgedCase:
    """Run the line on a case and compare what it found with the truth."""
    rendered = case.study
    truth = true_instances(rendered)
    found = found_in(rendered, segmenter, settings)
    spacing = rendered.grid.spacing_mm
    return JudgedCase(
        case=case.name,
        liver_dice=dice(found.liver, rendered.liver) or 0.0,
        liver_surface_dice_2mm=surface_dice(found.liver, rendered.liver, spacing, tolerance_mm=2.0) or 0.0,
        lesion_dice=dice(found.lesions > 0, truth > 0),
        lesions=compare_lesions(found.lesions, truth, spacing, voxel_volume_ml=rendered.grid.voxel_volume_ml),
        flags=found.flags,
        expected_liver_dice=found.expected_liver_dice,
    )


def examined_case(rendered: RenderedStudy, segmenter: Segmenter, settings: Settings) -> ExaminedStudy:
    """Run the line on the images of a rendered study.

    Raises
    ------
    DataError
        The line refuses the study, as where no liver is found.
    """
    images = {
        phase: Image(voxels=voxels.astype(np.float32), grid=rendered.grid)
        for phase, voxels in rendered.images.items()
    }
    series = tuple(
        Series(path=Path(phase.value), contrast_phase=phase, phase_reason="stated", agent=rendered.plan.agent)
        for phase in images
    )
    study = Study(patient_id="case", study_date=rendered.plan.study_date, series=series)
    return examine_images(study, images, segmenter, settings)


def found_in(rendered: RenderedStudy, segmenter: Segmenter, settings: Settings) -> Found:
    """Run the line on a study; where it refuses, as without any liver, nothing is found: the worst result."""
    try:
        examined = examined_case(rendered, segmenter, settings)
    except DataError as error:
        return Found(
            liver=np.zeros(rendered.grid.shape, dtype=np.bool_),
            lesions=np.zeros(rendered.grid.shape, dtype=np.uint16),
            flags=(error.code,),
            expected_liver_dice=0.0,
        )
    prepared = examined.prepared
    full = canonical_grid(prepared.native_grid)
    lesions = counted(prepared, examined.lesion_map.labels, settings.measure)
    return Found(
        liver=paste(prepared.liver, prepared.crop_start, full).voxels > 0,
        lesions=paste(lesions, prepared.crop_start, full).voxels,
        flags=tuple(flag.code for flag in examined.flags),
        expected_liver_dice=expected_liver_dice(prepared, settings.quality),
    )


def counted(prepared: PreparedStudy, found: LabelMap, settings: MeasureSettings) -> LabelMap:
    """Return what was found without what the line itself calls a change of perfusion, which is no lesion."""
    voxels = found.voxels.copy()
    for label, box in enumerate(ndimage.find_objects(found.voxels), start=1):
        if box is not None and is_perfusion_like(prepared, found.voxels, label, box, settings):
            voxels[found.voxels == label] = 0
    return replace(found, voxels=voxels)


def true_instances(rendered: RenderedStudy) -> LabelArray:
    """Return the true lesions as instance labels, counted from 1, on the grid of the images."""
    labels = np.zeros(rendered.grid.shape, dtype=np.uint16)
    for label, lesion in enumerate(rendered.lesions, start=1):
        labels[lesion.whole_mask] = label
    return labels
