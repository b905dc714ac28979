"""What the course names, and what stands beside a lesion's pictures."""

import re
from dataclasses import replace
from datetime import date

import pytest

from mrresponse.domain import (
    Finding,
    FindingKind,
    FindingStatus,
    LesionTrack,
    Measurement,
    MeasurementSource,
    MeasurementState,
    NewLesionStatus,
    Observation,
    Patient,
    PatientResult,
    Response,
    TrackEvent,
    TreatmentPhase,
)
from mrresponse.report.charts import LETTER, Axis, from_zero, logarithmic, of_change
from mrresponse.report.events import event_panel
from mrresponse.report.page_lesions import lesion_parts
from mrresponse.report.page_parts import Chance, category, phase_names, phase_parts
from mrresponse.report.timeline import given, timeline
from mrresponse.respond import RespondSettings, respond
from tests.reference_course import PATIENT, PHASES, reference_course

AXIS = Axis(first=date(2020, 1, 1), last=date(2023, 12, 31), width=1000.0)


def test_new_lesions_and_new_findings_are_named_at_their_date_in_colour() -> None:
    drawn = str(event_panel(reference_course(), AXIS)[0])
    assert "new lesions in the liver: L02, L03" in drawn
    assert "new: extrahepatic lesion, left ilium" in drawn
    assert drawn.count("event-new") == 2
    # the thrombus was there from the start: named, not in colour
    assert "vein thrombus, portal vein, Vp3" in drawn
    assert drawn.count("event-present") == 1


def test_a_new_lesion_that_is_not_sure_says_so() -> None:
    course = reference_course()
    rows = tuple(
        replace(row, new_lesion_status=NewLesionStatus.CANDIDATE) if row.new_lesion_status else row
        for row in course.measurements
    )
    drawn = str(event_panel(replace(course, measurements=rows), AXIS)[0])
    assert "candidate new lesions in the liver: L02, L03" in drawn
    assert "s-new" in drawn.split("candidate")[0]
    assert drawn.count("event-new") == 1


def events_of(rows: list[Measurement]) -> str:
    """Draw the events of a patient from what was measured, as mRECIST judges it."""
    patient = Patient(patient_id="P")
    response = respond(patient, [], rows, RespondSettings(criteria=("mRECIST",)))
    result = PatientResult(patient=patient, measurements=tuple(rows), response=response)
    return str(event_panel(result, AXIS)[0])


@pytest.mark.parametrize(
    ("sizes", "words", "style"),
    [
        ((8.0, 8.0), "equivocal new lesion in the liver: L02", "s-present"),
        # established later, by its growth
        ((8.0, 20.0), "new lesion in the liver: L02", "s-new"),
    ],
)
def test_a_new_lesion_is_as_sure_as_the_rules_say(sizes: tuple[float, float], words: str, style: str) -> None:
    days = [date(2024, 1, 5), date(2024, 3, 5), date(2024, 5, 5)]
    rows = [
        Measurement(
            patient_id="P", lesion_id=name, study_date=day, state=MeasurementState.MEASURED, reader="A",
            longest_diameter_mm=size, viable_longest_diameter_mm=size, source=MeasurementSource.READER,
        )
        for name, found in (("L01", (30.0, 30.0, 30.0)), ("L02", (None, *sizes)))
        for day, size in zip(days, found, strict=True)
        if size is not None
    ]  # fmt: skip
    drawn = events_of(rows)
    assert f"2024-03-05: {words}" in drawn
    assert style in drawn


@pytest.mark.parametrize(
    ("last_mm", "other", "words"),
    [
        # the rules go by its growth, whatever the table says of it up to the end
        (20.0, False, "new lesion in the liver: L02"),
        (8.0, False, "equivocal new lesion in the liver: L02"),
        # a definite one beside it settles nothing
        (8.0, True, "equivocal new lesion in the liver: L02"),
    ],
)
def test_a_lesion_stated_equivocal_is_what_the_rules_make_of_it(
    last_mm: float, other: bool, words: str
) -> None:
    days = [date(2024, 1, 5), date(2024, 3, 5), date(2024, 5, 5)]
    rows = [
        Measurement(
            patient_id="P", lesion_id=name, study_date=day, state=MeasurementState.MEASURED, reader="masks",
            longest_diameter_mm=size, viable_longest_diameter_mm=size, source=MeasurementSource.MASK,
            new_lesion_status=status,
        )
        for name, found, status in (
            ("L01", (30.0, 30.0, 30.0), None),
            ("L02", (None, 8.0, last_mm), NewLesionStatus.EQUIVOCAL),
            ("L03", (None, None, 12.0 if other else None), NewLesionStatus.DEFINITE),
        )
        for day, size in zip(days, found, strict=True)
        if size is not None
    ]  # fmt: skip
    assert f"2024-03-05: {words}" in events_of(rows)


def test_a_finding_seen_several_times_is_one_line_with_a_mark_for_each_date() -> None:
    course = reference_course()
    rows = tuple(
        Finding(
            patient_id=PATIENT,
            date=date(2021, month, 1),
            kind=FindingKind.ASCITES,
            status=FindingStatus.PROGRESSING if month == 3 else FindingStatus.STABLE,
        )
        for month in (1, 2, 3)
    )
    result = PatientResult(patient=replace(course.patient, findings=rows))
    drawn = str(event_panel(result, AXIS)[0])
    assert drawn.count("<path") == 3
    assert drawn.count("<text") == 2
    assert ">progressing: ascites<" in drawn


def test_many_findings_are_counted_and_not_drawn() -> None:
    course = reference_course()
    rows = tuple(replace(course.patient.findings[0], site=f"site {number:02d}") for number in range(14))
    drawn = str(event_panel(PatientResult(patient=replace(course.patient, findings=rows)), AXIS)[0])
    assert "and 4 more in the tables below" in drawn


def test_each_thing_given_has_a_bar_to_its_end_or_to_that_of_its_phase() -> None:
    drawn = str(timeline(reference_course(), width=1000.0))
    assert "radiotherapy, from 2020-06-25, to 2020-07-07, 50 Gy / 25 fractions, liver tumour" in drawn
    assert "lenvatinib, from 2020-06-25, no end stated, 8 mg daily" in drawn
    assert drawn.count('class="given open"') == 4
    assert drawn.count('class="given"') == 2


def test_every_lesion_has_a_curve_of_its_change_with_its_sizes() -> None:
    drawn = str(timeline(reference_course(), width=1000.0))
    assert "2020-09-10, L01: 58.0 mm (−37.0 %)" in drawn
    assert "2021-12-20, L02: not found" in drawn
    assert "2022-06-24, L02: 0 (−100.0 %)" in drawn


def test_scales_span_their_values() -> None:
    assert from_zero(92.0).ticks == (0.0, 50.0, 100.0)
    assert logarithmic([3.0, 4200.0]).ticks == (1.0, 10.0, 100.0, 1000.0, 10000.0)
    assert of_change([-100.0, 30.0]).ticks == (-100.0, -50.0, 0.0, 50.0)
    assert of_change([900.0]).ticks == (-100.0, 0.0, 100.0, 200.0)
    # growth beyond the scale sits on its edge
    assert of_change([900.0]).y(900.0) == of_change([900.0]).y(200.0)


@pytest.mark.parametrize(
    ("share", "words"),
    [(0.0, "0 %"), (0.004, "< 1 %"), (0.37, "37 %"), (0.996, "> 99 %"), (1.0, "100 %")],
)
def test_a_probability_is_never_rounded_to_certainty(share: float, words: str) -> None:
    assert Chance(category=category(Response.PR), share=share).words == words


def test_probabilities_are_shown_where_they_are_known() -> None:
    course = reference_course()
    rows = tuple(
        replace(row, p_cr=0.0, p_pr=0.8, p_sd=0.2, p_pd=0.0) if row.liver_response is Response.PR else row
        for row in course.response.assessments
    )
    parts = phase_parts(replace(course, response=replace(course.response, assessments=rows)))
    baseline, follow_up = parts[0].criteria[0].visits
    assert baseline.probabilities == ()
    assert [one.words for one in follow_up.probabilities] == ["0 %", "80 %", "20 %", "0 %"]


def test_what_the_probabilities_leave_is_that_of_no_evaluation() -> None:
    course = reference_course()
    given = {Response.NE: (0.0, 0.0, 0.0, 0.3), Response.PR: (0.0, 0.6667, 0.3332, 0.0)}
    rows = tuple(
        replace(row, p_cr=shares[0], p_pr=shares[1], p_sd=shares[2], p_pd=shares[3])
        if (shares := given.get(row.overall)) and not row.is_baseline  # type: ignore[arg-type]
        else row
        for row in course.response.assessments
    )
    parts = phase_parts(replace(course, response=replace(course.response, assessments=rows)))
    visits = [visit for phase in parts for part in phase.criteria for visit in part.visits]
    unjudged = next(visit for visit in visits if visit.overall.word == "NE")
    assert [(one.category.word, one.words) for one in unjudged.probabilities][3:] == [
        ("PD", "30 %"),
        ("NE", "70 %"),
    ]
    # the four are stored to four digits: what rounding leaves is no probability
    judged = next(visit for visit in visits if visit.overall.word == "PR" and visit.probabilities)
    assert [one.category.word for one in judged.probabilities] == ["CR", "PR", "SD", "PD"]


def test_a_phase_with_a_bare_number_for_its_name_says_what_was_given() -> None:
    course = reference_course()
    assert given(course, PHASES[0][0]) == "radiotherapy"
    treatments = tuple(replace(row, treatment_phase="phase 1") for row in course.patient.treatments[:2])
    phases = (TreatmentPhase(patient_id=PATIENT, name="phase 1", start_date=date(2020, 6, 25)),)
    bare = replace(
        course,
        patient=replace(course.patient, treatments=treatments),
        response=replace(course.response, phases=phases),
    )
    assert given(bare, "phase 1") == "radiotherapy + lenvatinib"
    assert phase_names(bare)["phase 1"] == "phase 1"
    assert "1  radiotherapy + lenvatinib<" in str(timeline(bare, width=1000.0))


def test_the_study_before_a_new_lesion_is_shown_and_says_what_was_there() -> None:
    course = reference_course()
    snapshot = next(one for one in course.snapshots if one.lesion_id == "L02")
    before = replace(snapshot, study_date=date(2021, 3, 22), caliper=None, viable_caliper=None)
    track = LesionTrack(
        patient_id=PATIENT,
        lesion_id="L02",
        observations=(
            Observation(
                study_date=date(2021, 6, 22),
                event=TrackEvent.NEW,
                evidence="2021-03-22: no lesion there; looked again: like liver",
            ),
        ),
    )
    parts = lesion_parts(replace(course, snapshots=(*course.snapshots, before), tracks=(track,)))
    part = next(one for one in parts if one.lesion_id == "L02")
    assert part.history.startswith("Before: 2021-03-22: no lesion there; looked again: like liver. ")
    first, second = part.visits[:2]
    assert (first.day, first.placeholder, first.badge) == (date(2021, 3, 22), "before it was seen", "")
    assert len(first.pictures) == 2
    assert (second.day, second.badge) == (date(2021, 6, 22), "new")
    assert part.step_mm == pytest.approx(3.0)
    assert part.reach == 2


def test_dates_below_the_axis_stay_within_the_drawing() -> None:
    finding = reference_course().patient.findings[0]
    days = (date(2020, 1, 1), date(2020, 6, 1))
    patient = Patient(patient_id=PATIENT, findings=tuple(replace(finding, date=day) for day in days))
    for width in (340.0, 1000.0):
        drawn = str(timeline(PatientResult(patient=patient), width=width))
        dates = re.findall(r'<text x="([0-9.]+)"[^>]*class="tick"[^>]*>(\d{4}-\d\d)</text>', drawn)
        assert dates[-1][1] == "2020-06"
        assert all(float(x) + LETTER * len(text) / 2 <= width for x, text in dates)


@pytest.mark.parametrize(
    ("organ", "is_node", "words"),
    [
        ("lymph_node", True, "lymph node"),
        ("liver_hilum", True, "liver hilum, lymph node"),
        ("liver", False, "liver"),
    ],
)
def test_an_organ_is_named_once_and_in_words(organ: str, is_node: bool, words: str) -> None:
    course = reference_course()
    rows = tuple(replace(row, organ=organ, is_node=is_node) for row in course.measurements)
    assert lesion_parts(replace(course, measurements=rows))[0].where.startswith(f"{words}, first seen")
