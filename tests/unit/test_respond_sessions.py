"""Repeated locoregional sessions: one treatment phase, and beside it each session against the scan before it."""

from collections.abc import Sequence
from dataclasses import replace

import pytest

from mrresponse.domain import (
    Assessment,
    Measurement,
    Patient,
    PatientResult,
    Response,
    ResponseResult,
    TreatmentKind,
)
from mrresponse.errors import DataError
from mrresponse.report.lesion_table import groups_of_phases
from mrresponse.report.page_parts import phase_parts
from mrresponse.report.timeline import numbered_phases
from mrresponse.respond import RespondSettings
from tests.readings import on, reading, respond_to, treatment

SETTINGS = RespondSettings(criteria=("RECIST 1.1",), session_baseline=True)
SIZES = {-5: 50.0, 30: 40.0, 55: 34.0, 90: 36.0, 115: 30.0, 150: 38.0, 195: 39.0}
TREATMENTS = (
    treatment("TACE", 0, TreatmentKind.LOCOREGIONAL),
    treatment("TACE", 60, TreatmentKind.LOCOREGIONAL),
    treatment("TACE", 120, TreatmentKind.LOCOREGIONAL),
    treatment("drug", 200),
)


def readings() -> Sequence[Measurement]:
    return [reading(day, "L01", size) for day, size in SIZES.items()]


def result(settings: RespondSettings = SETTINGS) -> ResponseResult:
    return respond_to(readings(), settings, treatments=TREATMENTS)


def rows_of(found: ResponseResult, phase: str) -> list[Assessment]:
    return [row for row in found.assessments if row.treatment_phase == phase]


def responses(found: ResponseResult, phase: str) -> dict[int, Response]:
    return {
        (row.study_date - on(0)).days: row.overall for row in rows_of(found, phase) if not row.is_baseline
    }


def test_each_session_is_seen_against_the_last_study_before_it() -> None:
    found = result()
    # from 50 mm: -20, -32, -28 (and +6 % from 34), -40 %; then 38 is 27 % and 8 mm above 30
    assert responses(found, "TACE") == {
        30: Response.SD,
        55: Response.PR,
        90: Response.SD,
        115: Response.PR,
        150: Response.PD,
        195: Response.PD,
    }
    # after the second session from 34 mm: +6 and -12 %; after the third from 30 mm: +27 and +30 %
    assert responses(found, "TACE session_baseline 2") == {90: Response.SD, 115: Response.SD}
    assert responses(found, "TACE session_baseline 3") == {150: Response.PD, 195: Response.PD}
    baselines = {
        phase: [(row.study_date - on(0)).days for row in rows_of(found, phase) if row.is_baseline]
        for phase in ("TACE", "TACE session_baseline 2", "TACE session_baseline 3")
    }
    assert list(baselines.values()) == [[-5], [55], [115]]


def test_the_view_changes_nothing_else() -> None:
    with_view, without = result(), result(replace(SETTINGS, session_baseline=False))
    assert {row.treatment_phase for row in without.assessments} == {"TACE", "drug", "course"}
    for phase in ("TACE", "drug", "course"):
        # the settings of a row are named in it
        mine = [replace(row, settings_id="") for row in rows_of(with_view, phase)]
        assert mine == [replace(row, settings_id="") for row in rows_of(without, phase)]
    assert [phase.name for phase in with_view.phases] == [
        "TACE",
        "drug",
        "TACE session_baseline 2",
        "TACE session_baseline 3",
        "course",
    ]


def test_a_view_takes_the_criteria_of_its_phase() -> None:
    settings = replace(SETTINGS, phase_criteria={"TACE": ("WHO",)})
    found = respond_to(
        [replace(m, perpendicular_diameter_mm=10.0) for m in readings()], settings, treatments=TREATMENTS
    )
    assert {row.criterion for row in rows_of(found, "TACE session_baseline 2")} == {"WHO"}
    assert {row.criterion for row in rows_of(found, "drug")} == {"RECIST 1.1"}


def test_drugs_and_single_sessions_have_no_view() -> None:
    drugs = (treatment("drug", 0), treatment("drug", 60))
    one = (treatment("TACE", 0, TreatmentKind.LOCOREGIONAL), treatment("drug", 60))
    for treatments in (drugs, one):
        found = respond_to(readings(), SETTINGS, treatments=treatments)
        assert not any("session_baseline" in row.treatment_phase for row in found.assessments)


def test_the_name_of_a_view_is_kept_for_it() -> None:
    for settings in (SETTINGS, replace(SETTINGS, session_baseline=False)):
        with pytest.raises(DataError, match="kept for the view of a session of 'TACE'") as caught:
            respond_to(readings(), settings, treatments=[treatment("TACE session_baseline 2", 0)])
        assert (caught.value.code, caught.value.patient_id) == ("reserved_name", "P")


def test_figures_and_marks_show_the_phase_and_not_its_views() -> None:
    found = PatientResult(patient=Patient(patient_id="P", treatments=TREATMENTS), response=result())
    assert [phase.name for phase in numbered_phases(found)] == ["TACE", "drug"]
    assert {group[0].treatment_phase for group in groups_of_phases(found)} == {"TACE", "drug"}
    said = {part.name: part.judged for part in phase_parts(found) if part.number is None}
    assert said["TACE session_baseline 2"].endswith("judged from the last study before it")
    assert said["Whole course"].startswith("judged from the first baseline")
