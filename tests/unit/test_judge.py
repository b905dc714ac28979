"""The judging sets are fixed, and their summary counts what it says."""

from dataclasses import replace
from datetime import date

import numpy as np
import pytest

from mrresponse.domain import ContrastPhase, Image, LabelMap
from mrresponse.evaluate import LesionComparison, LesionMatch
from mrresponse.measure import MeasureSettings
from mrresponse.synthetic import judging
from mrresponse.synthetic.anatomy import Lobe
from mrresponse.synthetic.judging import JudgingSet, judging_case, judging_cases
from mrresponse.synthetic.placement import PlacedPatient, place_patient
from mrresponse.synthetic.plans import LesionPlan, LesionSize, PatientPlan, StudyPlan
from mrresponse.synthetic.render import RenderedStudy, render_study
from mrresponse.synthetic.study_geometry import SIZES
from mrresponse.training.judge import JudgedCase, auroc, counted, summarise
from tests.phantoms import Ellipsoid, ball, grid_around, label_map, prepared_study


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


def _case(liver: float, lesions: LesionComparison, *flags: str, expected: float = 0.9) -> JudgedCase:
    return JudgedCase(
        case="c",
        liver_dice=liver,
        liver_surface_dice_2mm=liver,
        lesion_dice=None,
        lesions=lesions,
        flags=flags,
        expected_liver_dice=expected,
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


def test_a_poor_liver_is_told_by_the_dice_that_its_network_expects() -> None:
    nothing = LesionComparison(matches=(), missed_diameters_mm=(), false_positive_diameters_mm=())
    livers = ((0.9, 0.93), (0.7, 0.91), (0.75, 0.85), (0.85, 0.88))
    summary = summarise([_case(liver, nothing, expected=expected) for liver, expected in livers])
    # of the four pairs of a poor liver and another, one is the wrong way round
    assert summary["doubt_auroc"] == 0.75
    assert summary["review_auroc"] == 0.5


def test_the_area_under_the_curve_counts_ties_half_and_needs_both_kinds() -> None:
    assert auroc([2, 1, 1, 0], [True, True, False, False]) == pytest.approx(3.5 / 4)
    assert auroc([1, 2], [True, True]) is None


def test_what_is_called_a_change_of_perfusion_is_no_alarm_and_no_find() -> None:
    grid = grid_around(Ellipsoid(centre_mm=(0.0, 0.0, 0.0), semi_axes_mm=(50.0, 40.0, 30.0)), (2.0, 2.0, 4.0))
    places = (ball((-20.0, 0.0, 0.0), 16.0), ball((20.0, 0.0, 0.0), 16.0))
    found = label_map(places, grid)
    plain = prepared_study(grid=grid)
    flat = np.full(grid.shape, 100.0, dtype=np.float32)
    bright = {
        ContrastPhase.PRECONTRAST: {},
        ContrastPhase.ARTERIAL: {1: 1.4, 2: 1.4},
        ContrastPhase.PORTAL_VENOUS: {2: 0.85},
    }
    images = {
        phase: Image(voxels=flat * np.vectorize(lambda n, by=by: by.get(n, 1.0))(found.voxels), grid=grid)
        for phase, by in bright.items()
    }
    inside = LabelMap(voxels=np.ones(grid.shape, dtype=np.uint16), grid=grid)
    left = counted(replace(plain, images=images, liver=inside), found, MeasureSettings())
    np.testing.assert_array_equal(left.voxels, np.where(found.voxels == 2, 2, 0))


@pytest.mark.slow
def test_a_judging_case_is_the_same_whatever_the_number_of_cases() -> None:
    (one,) = judging_cases(JudgingSet.UNSEEN, count=1)
    first, second = judging_cases(JudgingSet.UNSEEN, count=2)
    assert one.name == first.name != second.name
    for phase, voxels in one.study.images.items():
        np.testing.assert_array_equal(voxels, first.study.images[phase])
    assert not np.array_equal(one.study.liver, second.study.liver)


@pytest.fixture(scope="module")
def placed() -> PlacedPatient:
    lesion = LesionPlan(identity="a", lobe=Lobe.RIGHT, sizes=(LesionSize(whole_mm=45.0, viable_mm=45.0),))
    plan = PatientPlan(patient_id="p", studies=(StudyPlan(study_date=date(2024, 1, 15)),), lesions=(lesion,))
    return place_patient(plan, seed=5)


def _rendered(placed: PlacedPatient, t2_star_ms: float | None) -> RenderedStudy:
    study = replace(placed.plan.studies[0], liver_t2_star_ms=t2_star_ms)
    return render_study(
        replace(placed, plan=replace(placed.plan, studies=(study,))), 0, size=SIZES["tiny"], seed=5
    )


def test_iron_darkens_the_liver_of_every_image_and_leaves_lesions_and_truth(placed: PlacedPatient) -> None:
    plain, iron = _rendered(placed, None), _rendered(placed, 1.5)
    np.testing.assert_array_equal(plain.liver, iron.liver)
    (lesion,) = iron.lesions
    np.testing.assert_array_equal(lesion.whole_mask, plain.lesions[0].whole_mask)
    inside = np.zeros_like(iron.liver)
    centre = np.argwhere(lesion.whole_mask).mean(0).round().astype(int)
    inside[tuple(slice(at - 2, at + 3) for at in centre)] = True
    # other phases are moved by up to 12 mm: the body of the liver, not its edge
    liver = iron.liver & ~lesion.whole_mask
    for phase in ContrastPhase:
        if phase in plain.images:
            before, after = (np.median(study.images[phase][liver]) for study in (plain, iron))
            # TE is drawn from 1.3 to 1.9 ms: exp(-1.9 (1/1.5 - 1/25)) to exp(-1.3 (1/1.5 - 1/25))
            assert 0.304 - 0.03 < after / before < 0.443 + 0.03
            then, now = (np.median(study.images[phase][inside]) for study in (plain, iron))
            assert now == pytest.approx(then, rel=0.03)
            assert now > 1.3 * after


def test_a_t2_star_that_no_liver_falls_below_changes_no_voxel(placed: PlacedPatient) -> None:
    # the longest T2* of the tissue table is 25 ms
    plain, same = _rendered(placed, None), _rendered(placed, 25.0)
    for phase, voxels in plain.images.items():
        np.testing.assert_array_equal(voxels, same.images[phase])


def test_seeds_of_the_sets_follow_their_order_so_a_new_one_comes_last() -> None:
    assert [str(which) for which in JudgingSet] == ["unseen", "benign", "stress", "tuning", "iron"]


def test_every_case_of_the_iron_set_has_iron_and_no_other_has(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(judging, "render_study", lambda patient, visit, **_: _Drawn(patient))
    case = judging_case(JudgingSet.IRON, 2)
    *_, again = judging_cases(JudgingSet.IRON, count=3)
    assert case.name == again.name == "iron-2"
    assert case.study.patient == again.study.patient
    (t2_star,) = (study.liver_t2_star_ms for study in case.study.patient.plan.studies)
    assert 1.2 <= t2_star <= 2.0
    (other,) = judging_cases(JudgingSet.TUNING, count=1)
    assert [study.liver_t2_star_ms for study in other.study.patient.plan.studies] == [None]


class _Drawn:
    """A patient in place of the images of a study."""

    lesions = ()

    def __init__(self, patient: PlacedPatient) -> None:
        self.patient = patient
