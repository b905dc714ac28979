"""The judging sets are fixed, and their summary counts what it says."""

import numpy as np
import pytest

from mrresponse.evaluate import LesionComparison, LesionMatch
from mrresponse.synthetic.judging import JudgingSet, judging_cases
from mrresponse.training.judge import JudgedCase, auroc, summarise


def _match(reference_mm: float, predicted_mm: float, dice: float) -> LesionMatch:
    return LesionMatch(
        predicted=1,
        reference=1,
        iou=dice / (2 - dice),
        dice=dice,
        predicted_diameter_mm=predicted_mm,
        reference_diameter_mm=reference_mm,
        predicted_volume_ml=1.0,
        reference_volume_ml=1.0,
    )


def _case(liver: float, lesions: LesionComparison, *flags: str) -> JudgedCase:
    return JudgedCase(
        case="c",
        liver_dice=liver,
        liver_surface_dice_2mm=liver,
        lesion_dice=None,
        lesions=lesions,
        flags=flags,
    )


def test_the_summary_counts_lesions_of_ten_millimetres_and_every_false_alarm() -> None:
    first = LesionComparison(
        matches=(_match(20.0, 23.0, 0.8), _match(8.0, 8.0, 0.2)),
        missed_diameters_mm=(12.0, 9.0),
        false_positive_diameters_mm=(7.0, 15.0),
    )
    nothing = LesionComparison(matches=(), missed_diameters_mm=(), false_positive_diameters_mm=())
    summary = summarise(
        [_case(0.9, first), _case(0.5, nothing, "fragments"), _case(0.9, nothing, "missing_phases")]
    )
    assert summary["lesions_of_10_mm"] == 2
    assert summary["sensitivity_10_mm"] == 0.5
    assert summary["false_positives_per_scan"] == pytest.approx(2 / 3)
    assert summary["matched_lesion_dice_mean"] == pytest.approx(0.8)
    assert summary["diameter_error_median_mm"] == pytest.approx(3.0)
    assert summary["liver_dice_worst"] == 0.5
    # what is merely missing is no doubt about the liver
    assert summary["review_share"] == pytest.approx(1 / 3)
    assert summary["review_auroc"] == 1.0


def test_the_area_under_the_curve_counts_ties_half_and_needs_both_kinds() -> None:
    assert auroc([2, 1, 1, 0], [True, True, False, False]) == pytest.approx(3.5 / 4)
    assert auroc([1, 2], [True, True]) is None


@pytest.mark.slow
def test_a_judging_case_is_the_same_whatever_the_number_of_cases() -> None:
    (one,) = judging_cases(JudgingSet.UNSEEN, count=1)
    first, second = judging_cases(JudgingSet.UNSEEN, count=2)
    assert one.name == first.name != second.name
    for phase, voxels in one.study.images.items():
        np.testing.assert_array_equal(voxels, first.study.images[phase])
    assert not np.array_equal(one.study.liver, second.study.liver)
