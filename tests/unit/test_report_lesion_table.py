"""The table a radiologist signs."""

import csv
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from mrresponse.domain import (
    Measurement,
    MeasurementSource,
    MeasurementState,
    Override,
    Patient,
    PatientEdits,
    PatientResult,
    Response,
    StudyRecord,
)
from mrresponse.report import lesion_table, response_table, write_lesion_table
from mrresponse.report.charts import Axis
from mrresponse.report.curves import lesion_panels
from mrresponse.report.lesion_table import lesion_quantities, liver_quantity
from mrresponse.report.wording import percent, quantity_of, signed_percent, size_cell, size_read
from mrresponse.respond import MRECIST, RespondSettings, respond
from mrresponse.respond.criteria import CRITERIA
from mrresponse.respond.values import lesion_value
from tests.reference_course import PHASES, reference_course


def group(result: PatientResult, phase: str, criterion: str) -> dict[tuple[str, str], tuple[str, ...]]:
    rows = lesion_table([result])
    return {
        (row.lesion_id, row.row): row.cells
        for row in rows
        if (row.treatment_phase, row.criterion) == (phase, criterion)
    }


def test_lesion_rows_carry_the_number_that_the_criterion_reads() -> None:
    course = reference_course()
    viable = group(course, PHASES[0][0], "mRECIST")
    whole = group(course, PHASES[0][0], "RECIST 1.1")
    assert viable["L01", "longest viable diameter"] == ("92.0", "58.0")
    assert whole["L01", "longest diameter"] == ("108.0", "84.0")


def test_each_group_says_its_dates_and_which_is_the_baseline() -> None:
    rows = group(reference_course(), PHASES[2][0], "mRECIST")
    assert rows["", "study date"] == ("2021-03-12", "2021-03-22", "2021-06-22")
    assert rows["", "timepoint"] == ("baseline", "follow-up", "follow-up")
    assert rows["", "liver response"] == ("", "PR", "PD")
    assert rows["", "sum of targets"] == ("55.0", "36.0", "61.0")
    assert rows["", "change from nadir"] == ("", "-34.5", "69.4")


def test_what_was_not_found_is_a_word_and_what_is_absent_is_zero() -> None:
    rows = group(reference_course(), PHASES[3][0], "mRECIST")
    assert rows["L02", "longest viable diameter"] == ("22.0", "14.0", "9.0", "not found", "0", "0")
    assert rows["", "sum of targets"] == ("83.0", "52.0", "31.0", "", "0.0", "0.0")


def test_targets_stand_before_other_lesions_and_a_lesion_before_it_appeared_is_not_yet_seen() -> None:
    rows = lesion_table([reference_course()])
    phase = [
        row for row in rows if row.treatment_phase == PHASES[2][0] and row.criterion == "mRECIST" and row.role
    ]
    assert [(row.lesion_id, row.role) for row in phase] == [("L01", "target"), ("L02", "new"), ("L03", "new")]
    assert phase[1].cells == ("not yet seen", "not yet seen", "22.0")


def test_lesion_without_a_role_stays_visible() -> None:
    course = reference_course()
    roles = tuple(role for role in course.response.roles if role.lesion_id != "L03")
    rows = lesion_table([replace(course, response=replace(course.response, roles=roles))])
    assert {row.role for row in rows if row.lesion_id == "L03"} == {"no role"}


@pytest.mark.parametrize(
    ("state", "viable_state", "whole", "viable", "expected_whole", "expected_viable"),
    [
        (MeasurementState.MEASURED, MeasurementState.MEASURED, 30.04, 12.0, "30.0", "12.0"),
        (MeasurementState.MEASURED, MeasurementState.ABSENT, 30.0, 0.0, "30.0", "0"),
        (MeasurementState.MEASURED, MeasurementState.NOT_ASSESSED, 30.0, None, "30.0", "not assessed"),
        (MeasurementState.MEASURED, MeasurementState.TOO_SMALL, 30.0, 5.0, "30.0", "too small (5.0)"),
        (MeasurementState.TOO_SMALL, None, None, None, "too small", "too small"),
        (MeasurementState.TOO_SMALL, MeasurementState.ABSENT, None, 0.0, "too small", "0"),
        (MeasurementState.TOO_SMALL, MeasurementState.ABSENT, None, None, "too small", "0"),
        (MeasurementState.TOO_SMALL, MeasurementState.NOT_ASSESSED, None, None, "too small", "not assessed"),
        (MeasurementState.TOO_SMALL, MeasurementState.TOO_SMALL, None, None, "too small", "too small"),
        (MeasurementState.ABSENT, None, None, None, "0", "0"),
        (MeasurementState.NOT_FOUND, None, None, None, "not found", "not found"),
        (MeasurementState.MERGED, None, None, None, "merged", "merged"),
        (MeasurementState.SPLIT, None, 41.0, 20.0, "41.0", "20.0"),
    ],
)
def test_cell_is_a_number_or_the_word_for_why_there_is_none(
    state: MeasurementState,
    viable_state: MeasurementState | None,
    whole: float | None,
    viable: float | None,
    expected_whole: str,
    expected_viable: str,
) -> None:
    row = Measurement(
        patient_id="P1",
        lesion_id="L01",
        study_date=date(2024, 1, 1),
        reader="A",
        state=state,
        viable_state=viable_state,
        longest_diameter_mm=whole,
        viable_longest_diameter_mm=viable,
    )
    assert size_cell(row, quantity_of("RECIST 1.1", row)) == expected_whole
    assert size_cell(row, quantity_of("mRECIST", row)) == expected_viable


def test_a_lesion_without_hyperenhancement_has_0_mm_of_viable_tumour_in_table_and_curve() -> None:
    settings = RespondSettings(criteria=("mRECIST",))
    result = assessed(settings)
    last = replace(
        result.measurements[-2],
        lesion_id="L01",
        viable_longest_diameter_mm=None,
        viable_state=None,
        aphe=False,
    )
    assert (last.study_date, last.state) == (date(2024, 3, 1), MeasurementState.MEASURED)
    measurements = (*result.measurements[:-2], last, result.measurements[-1])
    response = respond(result.patient, result.studies, measurements, settings)
    result = replace(result, measurements=measurements, response=response)
    rows = group(result, "course", "mRECIST")
    assert rows["L01", "longest viable diameter"] == ("20.0", "0")
    assert rows["", "sum of targets"] == ("40.0", "15.0")
    ((panel, _),) = lesion_panels(result, Axis(first=date(2024, 1, 1), last=date(2024, 3, 1), width=900.0))
    assert "2024-03-01, L01: 0 mm (−100.0 %)" in panel


def test_node_is_read_by_its_short_axis_and_another_organ_whole() -> None:
    node = Measurement(
        patient_id="P1",
        lesion_id="N1",
        study_date=date(2024, 1, 1),
        reader="A",
        state=MeasurementState.MEASURED,
        organ="node",
        is_node=True,
        longest_diameter_mm=30.0,
        perpendicular_diameter_mm=18.0,
    )
    assert size_cell(node, quantity_of("mRECIST", node)) == "18.0"
    lung = replace(node, is_node=False, organ="lung")
    assert size_cell(lung, quantity_of("mRECIST", lung)) == "30.0"


def test_change_just_short_of_a_threshold_is_not_shown_as_the_threshold() -> None:
    assert percent(-0.3) == "-30.0"
    assert percent(-0.2996) == "-29.96"
    assert percent(0.19999) == "19.999"
    assert percent(-0.36957) == "-37.0"
    assert percent(0.0) == "0.0"
    assert percent(None) == ""
    assert signed_percent(-0.5) == "−50.0 %"
    assert signed_percent(0.21) == "+21.0 %"


def test_written_table_opens_with_one_column_per_visit_of_the_longest_group(tmp_path: Path) -> None:
    path = tmp_path / "lesion_table.csv"
    write_lesion_table(path, lesion_table([reference_course()]))
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file))
    assert rows[0][:8] == [
        "patient_id",
        "treatment_phase",
        "criterion",
        "reader",
        "row",
        "lesion_id",
        "role",
        "unit",
    ]
    assert rows[0][8:] == [f"visit_{number}" for number in range(1, 7)]
    assert {len(row) for row in rows} == {14}


def test_text_that_a_spreadsheet_would_run_is_quoted_and_numbers_are_not(tmp_path: Path) -> None:
    course = reference_course()
    rows = tuple(
        replace(row, reason="=HYPERLINK(1)", change_from_baseline=-0.37)
        for row in course.response.assessments
    )
    path = tmp_path / "lesion_table.csv"
    write_lesion_table(
        path, lesion_table([replace(course, response=replace(course.response, assessments=rows))])
    )
    text = path.read_text(encoding="utf-8")
    assert "'=HYPERLINK(1)" in text
    assert ",-37.0," in text
    assert "'-37.0" not in text


def test_patient_without_assessments_gives_a_table_with_its_header_only(tmp_path: Path) -> None:
    path = tmp_path / "lesion_table.csv"
    write_lesion_table(path, lesion_table([PatientResult(patient=reference_course().patient)]))
    assert (
        path.read_text(encoding="utf-8")
        == "patient_id,treatment_phase,criterion,reader,row,lesion_id,role,unit\n"
    )


def test_terminal_table_gives_every_category_its_sentence() -> None:
    headers, rows = response_table(reference_course())
    assert headers[-1] == "reason"
    assert len(rows) == 26
    september = next(row for row in rows if row[2] == "2020-09-10" and row[1] == "mRECIST")
    assert september[3:8] == ("58.0 mm", "−37.0 %", "−37.0 %", "PR", "PD")
    assert "left ilium" in september[8]


def test_terminal_table_names_the_reader_only_where_there_are_several() -> None:
    course = reference_course()
    second = tuple(replace(row, reader="radiologist 1") for row in course.response.assessments)
    both = replace(course.response, assessments=(*course.response.assessments, *second))
    headers, rows = response_table(replace(course, response=both))
    assert headers[2] == "reader"
    assert {row[2] for row in rows} == {"liver-mr 0.1 + lesions-mr 0.1", "radiologist 1"}


# --- what the rules read, whatever a criterion is called ------------------------------------------------------------


def measured(day: date, lesion_id: str, **more: Any) -> Measurement:
    return Measurement(
        patient_id="P", lesion_id=lesion_id, study_date=day, reader="A", state=MeasurementState.MEASURED,
        source=MeasurementSource.READER, **more,
    )  # fmt: skip


def assessed(settings: RespondSettings, *overrides: Override) -> PatientResult:
    days = (date(2024, 1, 1), date(2024, 3, 1))
    studies = tuple(StudyRecord(patient_id="P", study_date=day) for day in days)
    measurements = tuple(
        row
        for day, size in zip(days, (40.0, 30.0), strict=True)
        for row in (
            measured(
                day, "L01", longest_diameter_mm=size, perpendicular_diameter_mm=30.0,
                viable_longest_diameter_mm=size / 2, viable_perpendicular_diameter_mm=10.0,
            ),
            measured(
                day, "L02", organ="lymph_node", is_node=True, longest_diameter_mm=25.0,
                perpendicular_diameter_mm=size / 2,
            ),
        )
    )  # fmt: skip
    patient = Patient(patient_id="P", edits=PatientEdits(overrides=overrides))
    response = respond(patient, studies, measurements, settings)
    return PatientResult(patient=patient, studies=studies, measurements=measurements, response=response)


def test_a_criterion_of_ones_own_shows_what_it_sums_whatever_its_name() -> None:
    own = replace(MRECIST, name="site standard")
    rows = group(
        assessed(RespondSettings(criteria=("site standard",), variants=(own,))), "course", "site standard"
    )
    assert rows["L01", "longest viable diameter"] == ("20.0", "15.0")
    assert rows["L02", "short axis"] == ("20.0", "15.0")
    assert rows["", "sum of targets"] == ("40.0", "30.0")


def test_curves_and_headings_show_what_a_criterion_of_ones_own_reads() -> None:
    own = replace(MRECIST, name="site standard")
    result = assessed(RespondSettings(criteria=("site standard",), variants=(own,)))
    ((panel, _),) = lesion_panels(result, Axis(first=date(2024, 1, 1), last=date(2024, 3, 1), width=900.0))
    assert "2024-03-01, L01: 15.0 mm (−25.0 %)" in panel
    assert "2024-03-01, L02: 15.0 mm (−25.0 %)" in panel
    lead = result.response.assessments[0]
    assert liver_quantity(result, lead).name == "longest viable diameter"


def test_a_lesion_without_a_role_is_read_as_the_liver_lesions_that_have_one() -> None:
    own = replace(MRECIST, name="site standard")
    result = assessed(RespondSettings(criteria=("site standard",), variants=(own,)))
    spare = measured(date(2024, 3, 1), "L03", longest_diameter_mm=12.0, viable_longest_diameter_mm=7.0)
    result = replace(result, measurements=(*result.measurements, spare))
    assert lesion_quantities(result, result.response.assessments[0])["L03"].value(spare) == 7.0
    assert lesion_quantities(result, None)["L03"].value(spare) == 12.0


def test_a_node_is_measured_whole_under_a_criterion_of_viable_area() -> None:
    rows = group(assessed(RespondSettings(criteria=("EASL",))), "course", "EASL")
    assert rows["L01", "viable longest x perpendicular diameter"] == ("200", "150")
    assert rows["L02", "longest x perpendicular diameter"] == ("500", "375")
    assert rows["", "sum of targets"] == ("700", "525")


def test_a_restated_read_shows_the_numbers_of_the_reader_that_was_restated() -> None:
    override = Override(
        patient_id="P", treatment_phase="course", criterion="RECIST 1.1", study_date=date(2024, 3, 1),
        reader="Dr C", reason="see the late phase", overall=Response.PR,
    )  # fmt: skip
    rows = lesion_table([assessed(RespondSettings(criteria=("RECIST 1.1",)), override)])
    cells = {(row.reader, row.lesion_id): row.cells for row in rows if row.lesion_id}
    assert cells["adjudicated", "L01"] == cells["A", "L01"] == ("40.0", "30.0")
    overall = {row.reader: row.cells for row in rows if row.row == "overall response"}
    assert overall == {"A": ("", "SD"), "adjudicated": ("", "PR")}


@pytest.mark.parametrize("criterion", ["RECIST 1.1", "mRECIST"])
@pytest.mark.parametrize("aphe", [None, True, False])
@pytest.mark.parametrize("viable", [None, *MeasurementState])
@pytest.mark.parametrize("state", [one for one in MeasurementState if one is not MeasurementState.MERGED])
def test_pages_read_of_a_lesion_what_the_rules_read(
    state: MeasurementState, viable: MeasurementState | None, aphe: bool | None, criterion: str
) -> None:
    """Pages may not import the rules; a merged lesion counts 0 there beside its parent, which a page does not write."""
    row = Measurement(
        patient_id="P1",
        study_date=date(2024, 1, 1),
        lesion_id="L01",
        state=state,
        longest_diameter_mm=20.0 if state is MeasurementState.MEASURED else None,
        viable_state=viable,
        viable_longest_diameter_mm=12.0 if viable is MeasurementState.MEASURED else None,
        aphe=aphe,
        organ="liver",
        reader="Dr A",
        source=MeasurementSource.READER,
    )
    read = lesion_value(row, CRITERIA[criterion], node_normal_mm=10.0)
    # what is too small has no number of its own: the rules put their default there, a page the word
    expected = None if "too small" in read.note else read.value
    assert size_read(row, quantity_of(criterion, row)) == expected
