"""Growth of the targets, times and survival in the rows of a treatment phase."""

import math
from dataclasses import replace
from datetime import date, timedelta
from typing import Any

import pytest

from mrresponse.domain import (
    Finding,
    FindingKind,
    FindingStatus,
    Measurement,
    MeasurementSource,
    MeasurementState,
    NewLesionStatus,
    Patient,
    PhaseSummary,
    Response,
    StudyRecord,
    Treatment,
    TreatmentKind,
)
from mrresponse.respond import RespondSettings, respond, settings_id
from mrresponse.respond.endpoints import Survival, has_clinical_benefit, overall_survival
from mrresponse.respond.growth import doubling_time, growth_rate_percent_per_month, is_hyperprogression
from mrresponse.respond.settings import DayCount, ResponseEnd

START = date(2024, 1, 1)
MONTH = 30.4375


def day(number: int) -> date:
    return START + timedelta(days=number)


def lesion(when: int, size: float | None, name: str = "L01", **more: Any) -> Measurement:
    state = MeasurementState.NOT_ASSESSED if size is None else MeasurementState.MEASURED
    values: dict[str, Any] = {
        "state": MeasurementState.ABSENT if size == 0.0 else state,
        "longest_diameter_mm": size,
        "viable_longest_diameter_mm": size,
        "reader": "A",
        "source": MeasurementSource.MASK,
        **more,
    }
    return Measurement(patient_id="P", lesion_id=name, study_date=day(when), **values)


def summary(
    rows: list[Measurement],
    criterion: str = "RECIST 1.1",
    phase: str = "one",
    basis: str = "overall",
    **more: Any,
) -> PhaseSummary:
    starts = more.pop("starts", {"one": 0})
    settings = RespondSettings(criteria=(criterion,), **more.pop("settings", {}))
    studies = [
        StudyRecord(patient_id="P", study_date=when, lesions_assessable=True)
        for when in sorted({row.study_date for row in rows})
    ]
    treatments = tuple(
        Treatment(
            patient_id="P", treatment_phase=name, name="x", kind=TreatmentKind.SYSTEMIC, start_date=day(when)
        )
        for name, when in starts.items()
    )
    patient = Patient(patient_id="P", treatments=treatments, **more)
    (found,) = [
        row
        for row in respond(patient, studies, rows, settings).summaries
        if row.treatment_phase == phase and row.basis == basis
    ]
    return found


def rate(first: float, second: float, days: int, power: float = 3.0) -> float:
    """The rate of Ferte 2014, worked out the other way: by the factor per month."""
    return 100.0 * ((second / first) ** (power * MONTH / days) - 1.0)


def test_growth_is_that_of_the_same_targets_before_and_after_the_baseline() -> None:
    rows = [lesion(-90, 20.0), lesion(-60, 22.0), lesion(0, 30.0), lesion(60, 27.0), lesion(120, 60.0)]
    found = summary(rows)
    assert found.growth_rate_before_percent_per_month == pytest.approx(rate(22.0, 30.0, 60))
    assert found.growth_rate_percent_per_month == pytest.approx(rate(30.0, 27.0, 60))
    assert found.doubling_time_days is None


def test_the_doubling_time_is_that_of_the_volume() -> None:
    # a diameter that grows by 2^(1/3) in 60 days doubles the volume in 60 days
    found = summary([lesion(0, 30.0), lesion(60, 30.0 * 2 ** (1 / 3))])
    assert found.doubling_time_days == pytest.approx(60.0)
    assert doubling_time(0.0) is None
    assert doubling_time(None) is None
    assert doubling_time(100.0) == pytest.approx(MONTH)


def test_a_study_that_lacks_a_target_is_passed_over() -> None:
    rows = [lesion(-60, 20.0), lesion(-60, 20.0, "L02"), lesion(-30, 22.0), lesion(-30, None, "L02")]
    rows += [lesion(0, 24.0), lesion(0, 24.0, "L02"), lesion(30, 25.0), lesion(30, None, "L02")]
    rows += [lesion(90, 30.0), lesion(90, 30.0, "L02")]
    found = summary(rows)
    assert found.growth_rate_before_percent_per_month == pytest.approx(rate(40.0, 48.0, 60))
    assert found.growth_rate_percent_per_month == pytest.approx(rate(48.0, 60.0, 90))


def test_growth_by_volume_takes_the_volumes_as_they_are() -> None:
    rows = [lesion(0, 30.0, volume_ml=10.0), lesion(60, 32.0, volume_ml=15.0)]
    assert summary(rows, "vRECIST").growth_rate_percent_per_month == pytest.approx(rate(10.0, 15.0, 60, 1.0))
    assert summary(rows, "qEASL").growth_rate_percent_per_month is None  # no viable volume: no target


def test_growth_of_viable_criteria_is_that_of_the_whole_lesion() -> None:
    rows = [
        lesion(0, 30.0, viable_longest_diameter_mm=30.0),
        lesion(60, 33.0, viable_longest_diameter_mm=10.0),
    ]
    assert summary(rows, "mRECIST").growth_rate_percent_per_month == pytest.approx(rate(30.0, 33.0, 60))


def test_hyperprogression_is_progression_at_the_first_evaluation_with_growth_at_least_doubled() -> None:
    slow = [lesion(-60, 28.0), lesion(0, 30.0), lesion(60, 40.0)]
    assert summary(slow).hyperprogression is True
    late = [*slow[:2], lesion(60, 31.0), lesion(120, 45.0)]
    assert summary(late).hyperprogression is False
    assert summary(slow[1:]).hyperprogression is None
    assert summary([lesion(-60, 15.0), *slow[1:]]).hyperprogression is False


def test_hyperprogression_needs_growth_before_that_can_be_compared() -> None:
    settings = RespondSettings()
    assert is_hyperprogression("PD", 0.0, 20.0, settings) is None
    assert is_hyperprogression("PD", -5.0, 20.0, settings) is None
    assert is_hyperprogression("PD", 5.0, None, settings) is None
    assert is_hyperprogression("SD", None, None, settings) is False
    assert is_hyperprogression("iUPD", 5.0, 10.0, settings) is True


def test_a_rate_needs_two_sizes_and_time() -> None:
    assert growth_rate_percent_per_month(10.0, 0.0, 30.0) is None
    assert growth_rate_percent_per_month(10.0, 12.0, 0.0) is None
    assert growth_rate_percent_per_month(0.5, 1.0, MONTH, is_volume=True) == pytest.approx(100.0)
    assert growth_rate_percent_per_month(20.0, 10.0, 2 * MONTH) == pytest.approx(100 * (math.sqrt(1 / 8) - 1))


def test_depth_and_early_change_stand_in_the_row() -> None:
    rows = [lesion(0, 40.0), lesion(50, 30.0), lesion(100, 24.0), lesion(150, 36.0), lesion(200, 10.0)]
    found = summary(rows)
    assert (found.early_change, found.early_shrinkage) == (-0.25, True)
    # 36 from 24 is +50 %: progression on day 150; what follows does not count
    assert (found.progression_date, found.depth_of_response) == (day(150), -0.4)


def test_times_of_a_response_that_ends() -> None:
    rows = [lesion(0, 40.0), lesion(60, 24.0), lesion(120, 20.0), lesion(180, 30.0)]
    found = summary(rows)
    assert (found.best_overall_response, found.confirmed_best_overall_response) == (Response.PR, Response.PR)
    assert (found.response_date, found.duration_of_response_days) == (day(60), 120)
    assert (found.duration_of_response_event, found.progression_free_event) == (True, True)
    assert (found.time_to_progression_days, found.progression_free_days) == (180, 180)
    assert (found.stable_disease_days, found.clinical_benefit) == (None, True)
    inclusive = summary(rows, settings={"day_count": DayCount.INCLUSIVE})
    assert (inclusive.duration_of_response_days, inclusive.time_to_progression_days) == (121, 181)


def test_stable_disease_lasts_from_the_start_to_the_progression() -> None:
    found = summary([lesion(0, 40.0), lesion(60, 40.0), lesion(120, 50.0)])
    assert (found.best_overall_response, found.stable_disease_days) == (Response.SD, 120)
    assert (found.duration_of_response_days, found.duration_of_response_event) == (None, None)
    assert found.clinical_benefit is False


@pytest.mark.parametrize(
    ("best", "days", "expected"),
    [("CR", 10, True), ("iPR", 10, True), ("SD", 168, True), ("SD", 167, False), ("iSD", 168, True),
     ("NON-CR/NON-PD", 200, True), ("PD", 200, False), ("NE", 200, False), (None, 200, False)],
)  # fmt: skip
def test_clinical_benefit_is_a_response_or_stable_disease_of_24_weeks(
    best: str | None, days: int, expected: bool
) -> None:
    end = Survival(end=day(days), is_event=True, event="progression")
    assert has_clinical_benefit(best, end, START, RespondSettings()) is expected


def test_overall_survival_goes_on_through_the_next_therapy() -> None:
    rows = [lesion(0, 40.0), lesion(60, 40.0), lesion(120, 40.0)]
    starts = {"one": 0, "two": 100}
    dead = summary(rows, starts=starts, death_date=day(300))
    assert (dead.overall_survival_days, dead.overall_survival_event) == (300, True)
    assert (dead.progression_free_days, dead.progression_free_event) == (60, False)
    alive = summary(rows, starts=starts, last_contact_date=day(250))
    assert (alive.overall_survival_days, alive.overall_survival_event) == (250, False)
    unknown = summary(rows, starts=starts)
    assert (unknown.overall_survival_days, unknown.overall_survival_event) == (120, False)
    assert overall_survival(START, death=None, last_known_alive=None) is None
    assert overall_survival(START, death=None, last_known_alive=day(-1)) is None


def test_a_death_ends_a_response_where_the_settings_say_so() -> None:
    rows = [lesion(0, 40.0), lesion(60, 24.0), lesion(120, 24.0)]
    plain = summary(rows, death_date=day(200))
    assert (plain.duration_of_response_days, plain.duration_of_response_event) == (60, False)
    stated = summary(
        rows,
        death_date=day(200),
        settings={"duration_of_response_end": ResponseEnd.PROGRESSION_OR_DEATH},
    )
    assert (stated.duration_of_response_days, stated.duration_of_response_event) == (140, True)
    assert (stated.time_to_progression_days, stated.progression_date) == (120, None)


def test_a_lesion_established_after_the_progression_still_dates_it() -> None:
    doubtful = {"organ": "lung", "new_lesion_status": NewLesionStatus.EQUIVOCAL}
    rows = [lesion(0, 40.0), lesion(60, 40.0), lesion(120, 50.0), lesion(180, 52.0)]
    rows += [lesion(60, 8.0, "L02", **doubtful), lesion(120, 9.0, "L02", **doubtful)]
    rows.append(lesion(180, 20.0, "L02", organ="lung", new_lesion_status=NewLesionStatus.DEFINITE))
    found = summary(rows)
    assert found.progression_date == day(60)
    assert (found.time_to_progression_days, found.best_overall_response) == (60, Response.PD)


def test_a_death_ends_progression_free_survival_without_a_baseline_too() -> None:
    rows = [lesion(-200, 40.0), lesion(60, 40.0)]
    found = summary(rows, death_date=day(90))
    assert (found.progression_free_days, found.progression_free_event) == (90, True)
    assert found.event.startswith("death; time to progression unknown: no baseline, no evaluable study from ")
    assert (found.best_overall_response, found.overall_survival_days) == (Response.NE, 90)
    assert (found.time_to_progression_days, found.progression_date) == (None, None)
    counted = summary(rows, death_date=day(90), settings={"day_count": DayCount.INCLUSIVE})
    assert counted.progression_free_days == 91


@pytest.mark.parametrize(
    ("scans", "more"),
    [
        ((60,), {}),
        ((60,), {"death_date": day(150), "starts": {"one": 0, "two": 100}}),
        # two scans in a row that could not be evaluated before the death
        ((60, 80), {"death_date": day(90)}),
    ],
)
def test_without_a_baseline_nothing_but_a_death_ends_progression_free_survival(
    scans: tuple[int, ...], more: dict[str, Any]
) -> None:
    found = summary([lesion(-200, 40.0), *(lesion(when, 40.0) for when in scans)], **more)
    assert found.event.startswith("no baseline: ")
    assert (found.progression_free_days, found.progression_free_event) == (None, None)


def test_a_date_with_findings_alone_is_no_scan_that_was_missed_before_a_death() -> None:
    finding = Finding(
        patient_id="P", date=day(80), kind=FindingKind.ASCITES, status=FindingStatus.PRESENT, site="abdomen"
    )
    rows = [lesion(-200, 40.0), lesion(30, 40.0)]
    found = summary(rows, death_date=day(90), findings=(finding,))
    assert (found.progression_free_days, found.progression_free_event) == (90, True)


def test_every_column_of_a_phase_under_irecist() -> None:
    rows = [lesion(-60, 36.0), lesion(0, 40.0), lesion(56, 50.0), lesion(84, 56.0), lesion(140, 30.0)]
    settings = RespondSettings(criteria=("iRECIST",))
    # +25 % and 10 mm on day 56, 6 mm more on day 84: confirmed, and dated at the first
    month = MONTH / 60.0
    expected = PhaseSummary(
        patient_id="P",
        treatment_phase="one",
        criterion="iRECIST",
        basis="overall",
        reader="A",
        start_date=START,
        baseline_date=START,
        best_overall_response=Response.ICPD,
        confirmed_best_overall_response=Response.ICPD,
        progression_date=day(56),
        time_to_progression_days=56,
        progression_free_days=56,
        progression_free_event=True,
        event="progression",
        clinical_benefit=False,
        overall_survival_days=140,
        overall_survival_event=False,
        # what follows the progression does not count
        depth_of_response=0.25,
        early_change=0.25,
        early_shrinkage=False,
        growth_rate_before_percent_per_month=pytest.approx(100.0 * ((40.0 / 36.0) ** (3.0 * month) - 1.0)),  # type: ignore[arg-type]
        growth_rate_percent_per_month=pytest.approx(rate(40.0, 50.0, 56)),  # type: ignore[arg-type]
        doubling_time_days=pytest.approx(56.0 * math.log(2.0) / (3.0 * math.log(1.25))),  # type: ignore[arg-type]
        # 17.4 % a month before, 43.9 % on treatment
        hyperprogression=True,
        settings_id=settings_id(settings),
    )
    assert summary(rows, "iRECIST") == expected
    assert summary(rows, "iRECIST", basis="liver") == replace(expected, basis="liver")


def test_a_scan_too_early_to_confirm_is_none_of_the_times_under_irecist() -> None:
    # 25 mm on day 66 is ignored: no response on that day
    found = summary([lesion(0, 40.0), lesion(56, 50.0), lesion(66, 25.0), lesion(90, 38.0)], "iRECIST")
    assert (found.best_overall_response, found.response_date, found.progression_date) == (
        Response.ISD,
        None,
        None,
    )
    assert (found.stable_disease_days, found.time_to_progression_days) == (90, 90)
    assert found.event == "censored at last evaluable scan: no event"


def test_times_and_responses_under_irecist_until_progression() -> None:
    rows = [lesion(0, 40.0), lesion(60, 28.0), lesion(120, 20.0), lesion(180, 30.0), lesion(210, 36.0)]
    found = summary(rows, "iRECIST")
    assert (found.best_overall_response, found.confirmed_best_overall_response) == (
        Response.IPR,
        Response.IPR,
    )
    assert (found.response_date, found.progression_date) == (day(60), day(180))
    assert (found.duration_of_response_days, found.duration_of_response_event) == (120, True)
    assert (found.clinical_benefit, found.stable_disease_days, found.depth_of_response) == (True, None, -0.5)
    assert (found.early_change, found.early_shrinkage) == (pytest.approx(-0.3), True)


def test_the_liver_and_the_patient_have_times_of_their_own() -> None:
    lung = {"organ": "lung"}
    rows = [lesion(when, 40.0) for when in (0, 60, 120)]
    rows += [
        lesion(0, 20.0, "L02", **lung),
        lesion(60, 45.0, "L02", **lung),
        lesion(120, 45.0, "L02", **lung),
    ]
    overall, liver = summary(rows), summary(rows, basis="liver")
    # 60 to 85 mm is a progression; 40 to 40 mm is none
    assert (overall.best_overall_response, overall.progression_date) == (Response.PD, day(60))
    assert (liver.best_overall_response, liver.progression_date) == (Response.SD, None)
    assert (overall.depth_of_response, liver.depth_of_response) == (pytest.approx(25.0 / 60.0), 0.0)
    assert overall.growth_rate_percent_per_month == pytest.approx(rate(60.0, 85.0, 60))
    assert liver.growth_rate_percent_per_month == pytest.approx(0.0)
    assert (liver.stable_disease_days, overall.stable_disease_days) == (120, None)


def test_without_measurable_disease_there_are_no_sizes() -> None:
    found = summary([lesion(0, 9.0), lesion(60, 9.0)])
    assert found.best_overall_response is Response.NON_CR_NON_PD
    sizes = (found.depth_of_response, found.early_change, found.early_shrinkage, found.hyperprogression,
             found.growth_rate_percent_per_month)  # fmt: skip
    assert sizes == (None,) * 5
    assert found.stable_disease_days == 60


def test_a_visit_that_is_not_evaluable_is_no_first_evaluation() -> None:
    rows = [lesion(-60, 28.0), lesion(0, 30.0), lesion(30, None), lesion(60, 40.0)]
    assert summary(rows).hyperprogression is True
    assert summary(rows[:3]).hyperprogression is None
    assert summary(rows[:2]).hyperprogression is None


@pytest.mark.parametrize("best", ["iCR", "iPR", "CR", "PR"])
def test_a_response_is_a_benefit_however_short(best: str) -> None:
    end = Survival(end=START, is_event=True, event="progression")
    assert has_clinical_benefit(best, end, START, RespondSettings()) is True


@pytest.mark.parametrize("best", ["SD", "NON-CR/NON-PD", "iSD", "NON-iCR/NON-iUPD"])
def test_stable_disease_is_a_benefit_from_24_weeks(best: str) -> None:
    for days, expected in ((167, False), (168, True)):
        end = Survival(end=day(days), is_event=True, event="progression")
        assert has_clinical_benefit(best, end, START, RespondSettings()) is expected


def test_a_lesion_first_seen_at_the_progression_dates_it_no_earlier() -> None:
    doubtful = {"organ": "lung", "new_lesion_status": NewLesionStatus.EQUIVOCAL}
    rows = [lesion(0, 40.0), lesion(60, 40.0), lesion(120, 50.0), lesion(180, 52.0)]
    rows.append(lesion(120, 9.0, "L02", **doubtful))
    rows.append(lesion(180, 20.0, "L02", organ="lung", new_lesion_status=NewLesionStatus.DEFINITE))
    assert summary(rows).progression_date == day(120)
    assert summary(rows, basis="liver").progression_date == day(120)


def test_growth_passes_over_a_target_that_merged_into_another_lesion_that_is_none() -> None:
    merged = {"state": MeasurementState.MERGED, "viable_longest_diameter_mm": None}
    vague = {"well_delineated": False}
    rows = [
        lesion(0, 30.0), lesion(0, 20.0, "L02"), lesion(0, 40.0, "L03", **vague),
        lesion(60, 30.0), lesion(60, None, "L02", reason="merged into L03", **merged),
        lesion(60, 70.0, "L03", **vague),
    ]  # fmt: skip
    # L01 is as it was, and how large L02 is nobody knows
    assert summary(rows).growth_rate_percent_per_month is None
    # merged into a target it is measured with that one: 50 mm before and after
    rows[3:] = [lesion(60, 50.0), lesion(60, None, "L02", reason="merged into L01", **merged)]
    assert summary(rows).growth_rate_percent_per_month == 0.0


def test_growth_passes_over_images_that_could_not_be_used() -> None:
    rows = [lesion(0, 30.0), lesion(30, 20.0), lesion(60, 40.0)]
    studies = [
        StudyRecord(patient_id="P", study_date=day(when), lesions_assessable=when != 30)
        for when in (0, 30, 60)
    ]
    settings = RespondSettings(criteria=("RECIST 1.1",))
    found = respond(Patient(patient_id="P"), studies, rows, settings).summaries[0]
    expected = growth_rate_percent_per_month(30.0, 40.0, 60.0)
    assert found.growth_rate_percent_per_month == pytest.approx(expected)


def test_growth_up_to_a_later_study_says_nothing_of_a_progression_at_the_first_evaluation() -> None:
    # sums 42, 45, then 60 of L01 alone, which is a progression, and 75 mm
    rows = [
        *(lesion(when, size) for when, size in ((-60, 28.0), (0, 30.0), (30, 60.0), (60, 60.0))),
        *(lesion(when, size, "L02") for when, size in ((-60, 14.0), (0, 15.0), (30, None), (60, 15.0))),
    ]
    found = summary(rows)
    assert (found.best_overall_response, found.progression_date) == ("PD", day(30))
    assert found.hyperprogression is None
    rows[6] = lesion(30, 15.0, "L02")
    assert summary(rows).hyperprogression is True
