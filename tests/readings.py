"""Readings of one patient by one reader, as people type them: what tests of the response engine start from."""

from collections.abc import Sequence
from datetime import date, timedelta
from typing import Any

from mrresponse.domain import (
    Measurement,
    MeasurementSource,
    MeasurementState,
    Patient,
    ResponseResult,
    StudyRecord,
    Treatment,
    TreatmentKind,
)
from mrresponse.respond import RespondSettings, respond

DAY = date(2024, 1, 1)


def on(number: int) -> date:
    """Return the date so many days after the first."""
    return DAY + timedelta(days=number)


def reading(number: int, name: str, size: float | None, **more: Any) -> Measurement:
    """Return a lesion measured by reader A; `more` adds columns or replaces them."""
    values: dict[str, Any] = {
        "reader": "A",
        "state": MeasurementState.MEASURED,
        "longest_diameter_mm": size,
        "source": MeasurementSource.MASK,
        **more,
    }
    return Measurement(patient_id="P", lesion_id=name, study_date=on(number), **values)


def treatment(
    phase: str, start: int, kind: TreatmentKind = TreatmentKind.SYSTEMIC, end: int | None = None
) -> Treatment:
    """Return a treatment of one row."""
    return Treatment(
        patient_id="P",
        treatment_phase=phase,
        name="x",
        kind=kind,
        start_date=on(start),
        end_date=None if end is None else on(end),
    )


def treatments_from(*starts: int) -> tuple[Treatment, ...]:
    """Return one treatment phase for each start, named by it."""
    return tuple(treatment(f"from {day}", day) for day in starts)


def respond_to(measurements: Sequence[Measurement], settings: RespondSettings, **more: Any) -> ResponseResult:
    """Respond to the readings, with a study on every day that has one; `more` belongs to the patient."""
    days = sorted({m.study_date for m in measurements})
    studies = more.pop("studies", [StudyRecord(patient_id="P", study_date=day) for day in days])
    return respond(Patient(patient_id="P", **more), studies, measurements, settings)
