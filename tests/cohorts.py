"""Cohorts of numbers, for pages and figures: no image is read; the responses are those of the response step."""

from datetime import date, timedelta

import numpy as np

from mrresponse.config import Settings
from mrresponse.domain import (
    Flag,
    Measurement,
    MeasurementSource,
    MeasurementState,
    Patient,
    PatientResult,
    StudyRecord,
    Treatment,
    TreatmentKind,
)
from mrresponse.respond import respond

_START = date(2021, 3, 1)


def cohort_of(count: int, *, visits: int = 5) -> list[PatientResult]:
    """Give patients of one trial arm with two lesions each, whose diameters follow a random walk."""
    return [_patient(number, visits, np.random.default_rng([7, number])) for number in range(count)]


def _patient(number: int, visits: int, rng: np.random.Generator) -> PatientResult:
    patient_id = f"T{number + 1:04d}"
    start = _START + timedelta(days=int(rng.integers(0, 400)))
    days = [start - timedelta(days=7)] + [start + timedelta(days=56 * (n + 1)) for n in range(visits - 1)]
    trend = float(rng.normal(-0.12, 0.2))
    measurements = []
    for lesion, first in enumerate(rng.uniform(15.0, 60.0, size=2), 1):
        size = float(first)
        for day in days:
            measurements.append(
                _measurement(patient_id, f"L{lesion:02d}", day, (0.6 * first + 0.6 * size, size))
            )
            size = max(2.0, size * float(np.exp(trend + rng.normal(0.0, 0.08))))
    has_died = bool(rng.random() < 0.4)
    end = days[-1] + timedelta(days=int(rng.integers(20, 500)))
    patient = Patient(
        patient_id=patient_id,
        treatments=(
            Treatment(
                patient_id=patient_id,
                treatment_phase="TACE + lenvatinib",
                name="lenvatinib",
                kind=TreatmentKind.SYSTEMIC,
                start_date=start,
            ),
        ),
        death_date=end if has_died else None,
        last_contact_date=end,
    )
    studies = tuple(_study(patient_id, day) for day in days)
    flags = tuple(
        Flag(
            patient_id=patient_id, study_date=day, code="alignment", message="arterial phase shifted by 9 mm"
        )
        for day in days
        if rng.random() < 0.1
    )
    return PatientResult(
        patient=patient,
        studies=studies,
        measurements=tuple(measurements),
        response=respond(patient, studies, tuple(measurements), Settings().respond),
        flags=flags,
    )


def _measurement(patient_id: str, lesion_id: str, day: date, sizes: tuple[float, float]) -> Measurement:
    whole, viable = (round(float(size), 1) for size in sizes)
    return Measurement(
        patient_id=patient_id,
        lesion_id=lesion_id,
        study_date=day,
        reader="radiologist 1",
        state=MeasurementState.MEASURED,
        longest_diameter_mm=whole,
        perpendicular_diameter_mm=round(0.8 * whole, 1),
        viable_longest_diameter_mm=viable,
        viable_perpendicular_diameter_mm=round(0.8 * viable, 1),
        viable_state=MeasurementState.MEASURED,
        aphe=True,
        well_delineated=True,
        source=MeasurementSource.READER,
    )


def _study(patient_id: str, day: date) -> StudyRecord:
    return StudyRecord(
        patient_id=patient_id,
        study_date=day,
        slice_thickness_mm=3.0,
        lesions_assessable=True,
        review_level="ok",
    )
