"""Worked patients: numbers in, the responses worked by hand out; one YAML file per patient with its citation."""

from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Any

import pytest
import yaml

from mrresponse.domain import (
    Affects,
    Assessment,
    Cytology,
    Finding,
    FindingKind,
    FindingStatus,
    Measurement,
    MeasurementSource,
    MeasurementState,
    NewLesionStatus,
    Patient,
    ResponseResult,
    StudyRecord,
    Treatment,
    TreatmentKind,
)
from mrresponse.respond import RespondSettings, respond

FILES = sorted(Path(__file__).parent.glob("*.yaml"))
COLUMNS = {
    "longest": "longest_diameter_mm",
    "perpendicular": "perpendicular_diameter_mm",
    "viable": "viable_longest_diameter_mm",
    "viable_perpendicular": "viable_perpendicular_diameter_mm",
    "volume": "volume_ml",
    "viable_volume": "viable_volume_ml",
}
ENUMS = {
    "state": MeasurementState,
    "viable_state": MeasurementState,
    "new_lesion_status": NewLesionStatus,
    "source": MeasurementSource,
}


def read_patient(case: Mapping[str, Any]) -> ResponseResult:
    """Return the result of one worked patient."""
    measurements = [
        _measurement(lesion_id, day, dict(entry))
        for lesion_id, days in case["measurements"].items()
        for day, entry in days.items()
    ]
    dates = sorted({m.study_date for m in measurements} | set(case.get("studies", ())))
    notes = case.get("not_assessable", {})
    studies = [
        StudyRecord(
            patient_id="P01", study_date=day, lesions_assessable=day not in notes, reason=notes.get(day, "")
        )
        for day in dates
    ]
    patient = Patient(
        patient_id="P01",
        treatments=tuple(_treatment(row) for row in case.get("treatments", ())),
        findings=tuple(_finding(row) for row in case.get("findings", ())),
        death_date=case.get("death_date"),
    )
    return respond(patient, studies, measurements, RespondSettings(**_settings(case.get("settings", {}))))


def _settings(given: Mapping[str, Any]) -> dict[str, Any]:
    return {key: tuple(value) if isinstance(value, list) else value for key, value in given.items()}


def _measurement(lesion_id: str, day: date, entry: dict[str, Any]) -> Measurement:
    values = {COLUMNS.get(key, key): value for key, value in entry.items()}
    for key, kind in ENUMS.items():
        if key in values:
            values[key] = kind(values[key])
    values.setdefault("state", MeasurementState.MEASURED)
    values.setdefault("source", MeasurementSource.MASK)
    return Measurement(patient_id="P01", lesion_id=lesion_id, study_date=day, reader="A", **values)


def _treatment(row: Mapping[str, Any]) -> Treatment:
    return Treatment(patient_id="P01", **{**row, "kind": TreatmentKind(row["kind"])})


def _finding(row: Mapping[str, Any]) -> Finding:
    kinds = {"kind": FindingKind, "status": FindingStatus, "affects": Affects, "cytology": Cytology}
    values = {key: kinds[key](value) if key in kinds else value for key, value in row.items()}
    return Finding(patient_id="P01", **values)


@pytest.fixture(params=FILES, ids=lambda path: path.stem)
def worked(request: pytest.FixtureRequest) -> tuple[dict[str, Any], ResponseResult]:
    case = yaml.safe_load(request.param.read_text())
    return case, read_patient(case)


def _row(result: ResponseResult, phase: str, criterion: str, day: date) -> Assessment:
    found = [
        row
        for row in result.assessments
        if (row.treatment_phase, row.criterion, row.study_date, row.is_baseline)
        == (phase, criterion, day, False)
    ]
    assert len(found) == 1, (phase, criterion, day)
    return found[0]


def test_every_visit_has_the_responses_worked_by_hand(worked: tuple[dict[str, Any], ResponseResult]) -> None:
    case, result = worked
    for phase, criterion, day, target, new, liver, overall, after in case["expected"]:
        row = _row(result, phase, criterion, day)
        found = [row.target, row.new_lesions, row.liver_response, row.overall, row.after_progression]
        assert found == [target, new, liver, overall, after], (phase, criterion, day, row.reason)


def test_numbers_roles_and_flags_are_as_worked(worked: tuple[dict[str, Any], ResponseResult]) -> None:
    case, result = worked
    for phase, criterion, day, numbers in case.get("expected_numbers", ()):
        row = _row(result, phase, criterion, day)
        for name, value in numbers.items():
            expected = None if value is None else pytest.approx(value, abs=1e-6)
            assert getattr(row, name) == expected, (phase, criterion, day, name)
    roles = {(r.treatment_phase, r.criterion, r.lesion_id): r for r in result.roles}
    for phase, criterion, lesion_id, role in case.get("expected_roles", ()):
        assert roles[phase, criterion, lesion_id].role == role, roles[phase, criterion, lesion_id].reason
        assert roles[phase, criterion, lesion_id].reason
    for phase, criterion, day, flag in case.get("expected_flags", ()):
        assert flag in _row(result, phase, criterion, day).flags


def test_phase_summaries_are_as_worked(worked: tuple[dict[str, Any], ResponseResult]) -> None:
    case, result = worked
    summaries = {(s.treatment_phase, s.criterion, s.basis): s for s in result.summaries}
    for expected in case.get("expected_summaries", ()):
        summary = summaries[expected["treatment_phase"], expected["criterion"], expected["basis"]]
        for name, value in expected.items():
            assert getattr(summary, name) == value, (name, summary)
