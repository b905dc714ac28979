"""A thin smooth rim of a treated lesion is not viable; a thick or nodular part of it is."""

from datetime import date

import numpy as np
import numpy.typing as npt
import pytest

from mrresponse.domain import LesionTrack, Observation, TrackEvent, Treatment, TreatmentKind
from mrresponse.measure import treated_labels
from mrresponse.measure.rim import without_thin_rim

Mask = npt.NDArray[np.bool_]
SPACING = (1.0, 1.0, 3.0)
BEFORE, START, AFTER = date(2024, 1, 1), date(2024, 2, 1), date(2024, 4, 1)


def disc(radius_mm: float, centre: tuple[float, float] = (30.0, 30.0)) -> Mask:
    i, j, _ = np.indices((61, 61, 3))
    return np.asarray(np.hypot(i - centre[0], j - centre[1]) <= radius_mm)


LESION = disc(20.0)


def test_a_rim_of_two_millimetres_is_left_out() -> None:
    rim = LESION & ~disc(18.0)
    assert not without_thin_rim(rim, LESION, SPACING, rim_mm=3.0).any()


def test_a_rim_of_six_millimetres_is_viable() -> None:
    rim = LESION & ~disc(14.0)
    np.testing.assert_array_equal(without_thin_rim(rim, LESION, SPACING, rim_mm=3.0), rim)


def test_of_a_rim_with_a_nodule_the_nodule_stays() -> None:
    nodule = disc(6.0, (30.0, 43.0)) & LESION
    found = without_thin_rim((LESION & ~disc(18.0)) | nodule, LESION, SPACING, rim_mm=3.0)
    assert found[nodule].mean() > 0.95
    assert found.sum() < 1.4 * nodule.sum()


def test_a_thin_band_through_the_middle_is_no_rim() -> None:
    band = LESION & (np.abs(np.indices(LESION.shape)[0] - 30) <= 1)
    np.testing.assert_array_equal(without_thin_rim(band, LESION, SPACING, rim_mm=3.0), band)


def test_a_small_lesion_that_enhances_throughout_is_viable() -> None:
    small = disc(2.5)
    np.testing.assert_array_equal(without_thin_rim(small, small, SPACING, rim_mm=3.0), small)


def test_nothing_is_left_out_where_the_rule_is_switched_off() -> None:
    rim = LESION & ~disc(18.0)
    np.testing.assert_array_equal(without_thin_rim(rim, LESION, SPACING, rim_mm=0.0), rim)


def history(*days: tuple[date, tuple[int, ...]]) -> LesionTrack:
    seen = tuple(Observation(study_date=day, event=TrackEvent.MATCHED, labels=labels) for day, labels in days)
    return LesionTrack(patient_id="P1", lesion_id="L01", observations=seen)


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        (TreatmentKind.LOCOREGIONAL, {AFTER: {4}}),
        (TreatmentKind.RADIOTHERAPY, {AFTER: {4}}),
        (TreatmentKind.SYSTEMIC, {}),
    ],
)
def test_a_lesion_seen_before_a_local_treatment_is_a_treated_one_afterwards(
    kind: TreatmentKind, expected: dict[date, set[int]]
) -> None:
    treatment = Treatment(patient_id="P1", treatment_phase="1", name="x", kind=kind, start_date=START)
    found = treated_labels([history((BEFORE, (2,)), (AFTER, (4,)))], [treatment])
    assert found == expected


def test_a_lesion_first_seen_after_the_treatment_was_not_treated() -> None:
    treatment = Treatment(
        patient_id="P1", treatment_phase="1", name="TACE", kind=TreatmentKind.LOCOREGIONAL, start_date=START
    )
    assert treated_labels([history((AFTER, (4,)))], [treatment]) == {}
