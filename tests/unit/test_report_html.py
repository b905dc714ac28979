"""What the pages say, read from their text."""

import re
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from mrresponse.domain import (
    Failure,
    Marker,
    Measurement,
    MeasurementSource,
    MeasurementState,
    Override,
    Patient,
    PatientEdits,
    PatientResult,
    PhaseSummary,
    Response,
    StudyRecord,
)
from mrresponse.report import EXPORTERS, FinishedRun, patient_page, summarise, write_index, write_report
from mrresponse.report.charts import Axis
from mrresponse.report.timeline import numbered_phases, spread, timeline
from mrresponse.respond import RespondSettings, respond
from tests.readings import on, reading, treatments_from
from tests.reference_course import PATIENT, PHASES, READER, reference_course


@pytest.fixture(scope="module")
def page() -> str:
    return patient_page(reference_course())


def words(page: str) -> str:
    """Text of a page without its marks."""
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", page))


def test_page_is_one_file_that_points_nowhere(page: str) -> None:
    addresses = re.findall(r'(?:href|src)="([^"]*)"', page)
    assert addresses
    assert all(address.startswith(("data:", "#")) for address in addresses)
    assert page.count("<script") == 1
    assert "src=" not in page
    assert "@import" not in page
    assert "url(" not in page


def test_page_is_the_same_for_the_same_result(page: str) -> None:
    assert patient_page(reference_course()) == page


def test_page_of_the_reference_course_is_small(page: str) -> None:
    assert len(page.encode()) < 8_000_000


def test_every_category_has_its_sentence(page: str) -> None:
    for row in reference_course().response.assessments:
        assert row.reason in words(page)


def test_page_shows_liver_response_beside_overall(page: str) -> None:
    september = page[
        page.index("2020-09-10</th>") if "2020-09-10</th>" in page else page.index('class="n">2020-09-10') :
    ]
    assert re.search(r'data-label="Liver"><span class="r r-pr">PR', september)
    assert re.search(r'data-label="Overall"><span class="r r-pd">PD', september)


def test_page_states_research_use_reader_model_and_settings(page: str) -> None:
    text = words(page)
    assert "Research use only" in text
    assert READER in text
    assert "3f2a91c0" in text


def test_pictures_state_date_contrast_phase_and_which_caliper(page: str) -> None:
    assert (
        "Lesion L01 on 2020-06-07: whole 108.0 × 86.4 mm, viable 92.0 mm, volume 462 mL, viable 277 mL, arterial"
        in page
    )
    assert page.count("<svg viewBox") == 2 * 16 + 2
    assert "not found: the network found nothing at the registered place; absence is not shown" in words(page)


def test_a_number_that_a_reader_typed_is_not_written_beside_the_caliper_of_another() -> None:
    course = reference_course()
    day = date(2020, 6, 7)
    typed = tuple(
        replace(row, longest_diameter_mm=99.0, caliper=None, source=MeasurementSource.READER)
        if (row.lesion_id, row.study_date) == ("L01", day)
        else row
        for row in course.measurements
    )
    before = patient_page(course)
    after = patient_page(replace(course, measurements=typed))
    assert 'class="number whole">108.0 mm' in before
    assert "whole 99.0 × 86.4 mm" in words(after)
    assert 'class="number whole">99.0 mm' not in after
    assert after.count('class="number whole"') == before.count('class="number whole"') - 1
    assert after.count('class="number viable"') == before.count('class="number viable"')


def test_page_works_from_stored_rows_without_pictures() -> None:
    text = words(patient_page(replace(reference_course(), snapshots=(), tracks=())))
    assert "no picture stored" in text
    assert "whole 108.0 × 86.4 mm" in text


def test_page_of_a_patient_about_whom_nothing_is_known_can_be_written() -> None:
    text = words(patient_page(PatientResult(patient=Patient(patient_id="P1"))))
    assert "No follow-up has been assessed" in text
    assert "No lesion was found or given" in text


def test_study_whose_lesions_were_not_looked_for_is_listed_with_its_reason() -> None:
    study = StudyRecord(
        patient_id="P1", study_date=date(2024, 1, 1), lesions_assessable=False, reason="no T1 contrast phase"
    )
    text = words(patient_page(PatientResult(patient=Patient(patient_id="P1"), studies=(study,))))
    assert "all lesions 2024-01-01 no T1 contrast phase" in text


def measured(**more: Any) -> Measurement:
    """Return a lesion of 20 mm that reader A measured."""
    return Measurement(
        patient_id="P1",
        lesion_id="L01",
        study_date=date(2024, 1, 1),
        reader="A",
        state=MeasurementState.MEASURED,
        longest_diameter_mm=20.0,
        **more,
    )


def test_viable_part_that_was_not_assessed_says_why() -> None:
    row = measured(viable_state=MeasurementState.NOT_ASSESSED, viable_reason="no arterial phase")
    text = words(patient_page(PatientResult(patient=Patient(patient_id="P1"), measurements=(row,))))
    assert "viable not assessed: no arterial phase" in text
    assert "L01, viable part 2024-01-01 no arterial phase" in text


def test_of_several_readers_it_is_said_which_one_could_not_measure() -> None:
    row = measured()
    other = replace(
        row, reader="B", state=MeasurementState.NOT_ASSESSED, longest_diameter_mm=None, reason="not done"
    )
    text = words(patient_page(PatientResult(patient=Patient(patient_id="P1"), measurements=(row, other))))
    assert "L01, not assessed, read by B 2024-01-01 not done" in text


def test_second_readers_number_stands_beside_the_first() -> None:
    course = reference_course()
    row = Measurement(
        patient_id=PATIENT,
        lesion_id="L01",
        study_date=date(2020, 6, 7),
        reader="radiologist 1",
        state=MeasurementState.MEASURED,
        longest_diameter_mm=104.0,
        source=MeasurementSource.READER,
    )
    text = words(patient_page(replace(course, measurements=(row, *course.measurements))))
    assert "radiologist 1: whole 104.0 mm" in text


def test_best_response_and_its_dates_are_said_in_words() -> None:
    course = reference_course()
    summary = PhaseSummary(
        patient_id=PATIENT,
        treatment_phase=PHASES[0][0],
        criterion="mRECIST",
        basis="liver",
        reader=READER,
        best_overall_response=Response.PR,
        confirmed_best_overall_response=Response.SD,
        response_date=date(2020, 9, 10),
        progression_date=date(2021, 6, 22),
        duration_of_response_days=286,
        depth_of_response=-0.6,
    )
    text = words(patient_page(replace(course, response=replace(course.response, summaries=(summary,)))))
    assert (
        "liver: best response PR, confirmed SD, response on 2020-09-10, progression on 2021-06-22, "
        "duration of response 286 days, greatest change −60.0 %"
    ) in text


@pytest.mark.parametrize(
    "hostile", ["<script>alert(1)</script>", "\"><img src=x onerror='x'>", "\u202eabc", "😀" * 80, "W" * 300]
)
def test_hostile_text_is_only_ever_text(hostile: str) -> None:
    course = reference_course()
    rows = tuple(
        replace(
            row,
            treatment_phase=row.treatment_phase + hostile,
            criterion=hostile,
            reader=hostile,
            reason=hostile,
        )
        for row in course.response.assessments
    )
    measurements = tuple(replace(row, lesion_id=hostile, reason=hostile) for row in course.measurements)
    changed = replace(course, measurements=measurements, response=replace(course.response, assessments=rows))
    page = patient_page(replace(changed, patient=replace(course.patient, patient_id=hostile)))
    assert page.count("<script") == 1
    assert "<img" not in page
    assert ("&lt;script&gt;" in page) is ("<script>" in hostile)


def test_list_of_patients_puts_failures_first_and_doubts_before_the_rest(tmp_path: Path) -> None:
    course = reference_course()
    plain = PatientResult(patient=Patient(patient_id="A plain one"))
    failure = Failure(patient_id="P9", code="no_liver", message="no liver found")
    path = write_index([summarise(plain), summarise(course)], tmp_path, failures=[failure])
    text = words(path.read_text(encoding="utf-8"))
    assert path.name == "index.html"
    assert text.index("P9") < text.index(PATIENT) < text.index("A plain one")
    assert "3 flagged, 3 not assessable" in text
    assert "no arterial enhancement in any target or non-target" in text


def test_summary_is_the_latest_response_of_the_leading_criterion() -> None:
    summary = summarise(reference_course())
    assert (summary.criterion, summary.assessed_on) == ("mRECIST", date(2023, 6, 20))
    assert (summary.liver_response, summary.overall) == (Response.CR, Response.CR)
    assert summary.treatment_phase == "phase 4: lenalidomide + lenvatinib + camrelizumab"
    assert (summary.studies, summary.first_study) == (10, date(2020, 6, 7))


def two_phases(*overrides: Override) -> PatientResult:
    """Phase 1 by RECIST 1.1: 40, 24 mm (PR); phase 2 from day 61 by iRECIST: 24, 40 mm (iUPD)."""
    settings = RespondSettings(
        criteria=("RECIST 1.1",), phase_criteria={"from 61": ("iRECIST",)}, locoregional_early_days=0
    )
    measurements = tuple(reading(day, "L01", size) for day, size in ((0, 40.0), (60, 24.0), (120, 40.0)))
    patient = Patient(
        patient_id="P", treatments=treatments_from(1, 61), edits=PatientEdits(overrides=overrides)
    )
    studies = tuple(StudyRecord(patient_id="P", study_date=on(day)) for day in (0, 60, 120))
    return PatientResult(
        patient=patient,
        studies=studies,
        measurements=measurements,
        response=respond(patient, studies, measurements, settings),
    )


def test_the_latest_response_is_that_of_the_last_phase_also_by_another_criterion() -> None:
    result = two_phases()
    summary = summarise(result)
    assert (summary.criterion, summary.treatment_phase) == ("iRECIST", "phase 2: from 61")
    assert (summary.assessed_on, summary.overall) == (on(120), Response.IUPD)
    page = words(patient_page(result))
    assert "The marks show RECIST 1.1, read by A; iRECIST, read by A ." in page
    assert "Response, RECIST 1.1 / iRECIST" in page
    drawn = str(timeline(result, width=1000.0))
    assert f"{on(60)}, from 1: PR." in drawn
    assert f"{on(120)}, from 61: iUPD." in drawn


def test_the_latest_response_is_the_restated_one() -> None:
    restated = Override(
        patient_id="P", treatment_phase="from 61", criterion="iRECIST", study_date=on(120), reader="Dr C",
        reason="pseudoprogression", overall=Response.ISD,
    )  # fmt: skip
    result = two_phases(restated)
    summary = summarise(result)
    assert (summary.assessed_on, summary.overall) == (on(120), Response.ISD)
    assert summary.reason.startswith("iSD: restated by Dr C, pseudoprogression; A had iUPD")
    assert "The marks show RECIST 1.1, read by A; iRECIST, read by adjudicated ." in words(
        patient_page(result)
    )


def test_a_study_that_is_the_baseline_of_two_phases_names_both() -> None:
    measurements = (reading(0, "L01", 40.0), reading(60, "L01", 30.0))
    patient = Patient(patient_id="P", treatments=treatments_from(5, 10))
    studies = tuple(StudyRecord(patient_id="P", study_date=on(day)) for day in (0, 60))
    response = respond(patient, studies, measurements, RespondSettings(criteria=("RECIST 1.1",)))
    result = PatientResult(patient=patient, studies=studies, measurements=measurements, response=response)
    drawn = str(timeline(result, width=1000.0))
    assert f"{on(0)}: baseline of from 5, from 10" in drawn
    assert ">of 1, 2</text>" in drawn


def test_a_marker_keeps_all_of_its_digits() -> None:
    values = ((1234567.0, "", "1234567"), (2000000.5, ">", ">2000000.5"), (0.1 + 0.2, "<", "<0.3"))
    markers = tuple(
        Marker(patient_id="P", date=on(day), name="AFP", value=value, unit="ng/mL", qualifier=qualifier)
        for day, (value, qualifier, _) in enumerate(values)
    )
    result = PatientResult(patient=Patient(patient_id="P", markers=markers))
    page = words(patient_page(result))
    drawn = str(timeline(result, width=1000.0))
    for day, (_, _, shown) in enumerate(values):
        assert f"{on(day)} {shown.replace('<', '&lt;').replace('>', '&gt;')} ng/mL" in page
        assert f"AFP: {shown.replace('<', '&lt;').replace('>', '&gt;')} ng/mL" in drawn


def test_report_is_named_by_its_pseudonym_and_can_be_exported(tmp_path: Path) -> None:
    course = reference_course()
    assert write_report(course, tmp_path / "report") == tmp_path / "report" / "HCC-COURSE.html"
    failure = Failure(patient_id="P9", code="no_liver", message="no liver found")
    run = FinishedRun(results=(course,), failures=(failure,), folder=tmp_path)
    EXPORTERS["html"](run, tmp_path / "export")
    page = (tmp_path / "export" / "HCC-COURSE.html").read_bytes()
    assert page == (tmp_path / "report" / "HCC-COURSE.html").read_bytes()
    assert "no liver found" in (tmp_path / "export" / "index.html").read_text(encoding="utf-8")


def test_marks_keep_their_order_and_distance_and_stay_inside() -> None:
    assert spread([0.0, 1.0, 2.0, 95.0, 99.0], 10.0, (0.0, 100.0)) == [5.0, 15.0, 25.0, 85.0, 95.0]
    assert spread([50.0], 10.0, (0.0, 100.0)) == [50.0]


def test_axis_places_dates_in_proportion() -> None:
    axis = Axis(first=date(2024, 1, 1), last=date(2024, 1, 11), width=164.0)
    assert axis.x(date(2024, 1, 1)) == 50.0
    assert axis.x(date(2024, 1, 6)) == 100.0
    assert axis.x(date(2024, 1, 11)) == 150.0


def test_timeline_breaks_a_curve_where_the_sum_could_not_be_determined() -> None:
    drawn = str(timeline(reference_course(), width=1000.0))
    assert drawn.count('class="cross') == 3
    assert "2021-12-20, mRECIST, lenalidomide + lenvatinib + camrelizumab: not evaluable" in drawn
    assert "AFP, ng/mL (logarithmic)" in drawn


def test_phases_are_numbered_by_their_start_without_the_whole_course() -> None:
    assert [phase.name for phase in numbered_phases(reference_course())] == [name for name, *_ in PHASES]
