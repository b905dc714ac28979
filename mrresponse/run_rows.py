"""What a run folder's tables hold: the types of their rows, and how a patient becomes rows and rows a patient.

Every row belongs to one patient. The order of the tables here is the order in which they are written.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from typing import Protocol, TypeVar

from mrresponse.domain import (
    AgreementVisit,
    Assessment,
    AuditRow,
    Failure,
    Finding,
    Flag,
    LesionTrack,
    Marker,
    MarkerSummary,
    Measurement,
    Observation,
    Patient,
    PatientResult,
    PhaseSummary,
    RegistrationRecord,
    RoleRecord,
    StudyRecord,
    TrackEvent,
    Treatment,
    TreatmentPhase,
)

UNEDITED = "measurements_before_edits.csv"


class _OfPatient(Protocol):
    @property
    def patient_id(self) -> str: ...


Row = TypeVar("Row", bound=_OfPatient)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrackRow:
    """One row of ``tracks.csv``: a lesion at one study."""

    patient_id: str
    lesion_id: str
    study_date: date
    event: TrackEvent
    labels: tuple[int, ...] = ()
    place_mm: tuple[float, float, float] | None = None
    radius_mm: float | None = None
    evidence: str = ""
    was_liver_before: bool | None = None
    merged_into: str | None = None
    same_as: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FailureRow:
    """One row of ``failures.csv``."""

    patient_id: str
    study_date: date | None = None
    series: str | None = None
    code: str
    message: str
    step: str = "images"


@dataclass(frozen=True, slots=True, kw_only=True)
class PatientRow:
    """One row of ``patients.csv``."""

    patient_id: str
    death_date: date | None = None
    last_contact_date: date | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PatientTable:
    """A table whose rows come from one patient after the other."""

    name: str
    row_type: type
    rows: Callable[[PatientResult], Iterable[object]]


def table_types() -> Mapping[str, type]:
    """Return the row type of every table with fixed columns, by file name; ``lesion_table.csv`` is for eyes only."""
    from mrresponse.respond import AgreementRow, CohortRow

    return {
        "assessments.csv": Assessment,
        "phases.csv": PhaseSummary,
        "roles.csv": RoleRecord,
        "treatment_phases.csv": TreatmentPhase,
        "marker_responses.csv": MarkerSummary,
        "cohort.csv": CohortRow,
        "agreement.csv": AgreementRow,
        "agreement_visits.csv": AgreementVisit,
        "tracks.csv": TrackRow,
        "registrations.csv": RegistrationRecord,
        UNEDITED: Measurement,
        "flags.csv": Flag,
        "failures.csv": FailureRow,
        "audit.csv": AuditRow,
    }


def patient_row(patient: Patient) -> PatientRow:
    """Return the row of ``patients.csv`` of a patient."""
    return PatientRow(
        patient_id=patient.patient_id,
        death_date=patient.death_date,
        last_contact_date=patient.last_contact_date,
    )


def failure_of_row(row: FailureRow) -> Failure:
    """Return the failure that a row tells of."""
    return Failure(
        patient_id=row.patient_id,
        study_date=row.study_date,
        series=row.series,
        code=row.code,
        message=row.message,
        step=row.step,
    )


def failure_row(failure: Failure) -> FailureRow:
    """Return the row of ``failures.csv`` of a failure."""
    return FailureRow(
        patient_id=failure.patient_id,
        study_date=failure.study_date,
        series=failure.series,
        code=failure.code,
        message=failure.message,
        step=failure.step,
    )


def flags_of(result: PatientResult) -> tuple[Flag, ...]:
    """Return the doubts about the images, then those about the responses."""
    return (*result.flags, *(replace(flag, step="response") for flag in result.response.flags))


def track_rows(result: PatientResult) -> list[TrackRow]:
    """Return the rows of ``tracks.csv`` of a patient."""
    return [
        TrackRow(
            patient_id=one.patient_id,
            lesion_id=one.lesion_id,
            study_date=seen.study_date,
            event=seen.event,
            labels=seen.labels,
            place_mm=seen.place_mm,
            radius_mm=seen.radius_mm,
            evidence=seen.evidence,
            was_liver_before=seen.was_liver_before,
            merged_into=one.merged_into,
            same_as=one.same_as,
        )
        for one in result.tracks
        for seen in one.observations
    ]


def _rows_before_edits(result: PatientResult) -> list[Measurement]:
    """Return the measurements that edits changed, as they were."""
    pairs = zip(result.unedited, result.measurements, strict=True) if result.unedited else ()
    return [before for before, after in pairs if before != after]


def without_edits(
    measurements: Sequence[Measurement], before: Sequence[Measurement]
) -> tuple[Measurement, ...]:
    """Return measurements as they were before edits changed some of them."""
    kept = {(row.lesion_id, row.study_date, row.reader): row for row in before}
    return tuple(kept.get((row.lesion_id, row.study_date, row.reader), row) for row in measurements)


def tracks_of(rows: Sequence[TrackRow]) -> tuple[LesionTrack, ...]:
    """Put one patient's rows of ``tracks.csv`` together again."""
    by_lesion: dict[str, list[TrackRow]] = defaultdict(list)
    for row in rows:
        by_lesion[row.lesion_id].append(row)
    return tuple(
        LesionTrack(
            patient_id=seen[0].patient_id,
            lesion_id=lesion_id,
            merged_into=seen[0].merged_into,
            same_as=seen[0].same_as,
            observations=tuple(
                Observation(
                    study_date=row.study_date,
                    event=row.event,
                    labels=row.labels,
                    place_mm=row.place_mm,
                    radius_mm=row.radius_mm,
                    evidence=row.evidence,
                    was_liver_before=row.was_liver_before,
                )
                for row in seen
            ),
        )
        for lesion_id, seen in by_lesion.items()
    )


def by_patient(rows: Iterable[Row]) -> dict[str, list[Row]]:
    """Group rows by their patient."""
    grouped: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        grouped[row.patient_id].append(row)
    return grouped


# In the order of the line. The given tables are kept too, so that the responses can be redone from this folder.
TABLES_OF_EDITED = (
    PatientTable(name="measurements.csv", row_type=Measurement, rows=lambda one: one.measurements),
    PatientTable(name=UNEDITED, row_type=Measurement, rows=_rows_before_edits),
)
TABLES_OF_IMAGES = (
    PatientTable(name="patients.csv", row_type=PatientRow, rows=lambda one: [patient_row(one.patient)]),
    PatientTable(name="treatments.csv", row_type=Treatment, rows=lambda one: one.patient.treatments),
    PatientTable(name="findings.csv", row_type=Finding, rows=lambda one: one.patient.findings),
    PatientTable(name="markers.csv", row_type=Marker, rows=lambda one: one.patient.markers),
    PatientTable(name="studies.csv", row_type=StudyRecord, rows=lambda one: one.studies),
    PatientTable(name="tracks.csv", row_type=TrackRow, rows=track_rows),
    PatientTable(name="registrations.csv", row_type=RegistrationRecord, rows=lambda one: one.registrations),
    *TABLES_OF_EDITED,
)


def _agreement_visits(result: PatientResult) -> tuple[AgreementVisit, ...]:
    from mrresponse.respond import agreement_visits

    return agreement_visits(result.response.assessments)


TABLES_OF_RESPONSES = (
    PatientTable(name="assessments.csv", row_type=Assessment, rows=lambda one: one.response.assessments),
    PatientTable(name="phases.csv", row_type=PhaseSummary, rows=lambda one: one.response.summaries),
    PatientTable(name="roles.csv", row_type=RoleRecord, rows=lambda one: one.response.roles),
    PatientTable(name="treatment_phases.csv", row_type=TreatmentPhase, rows=lambda one: one.response.phases),
    PatientTable(name="flags.csv", row_type=Flag, rows=flags_of),
    PatientTable(name="marker_responses.csv", row_type=MarkerSummary, rows=lambda one: one.response.markers),
    PatientTable(name="agreement_visits.csv", row_type=AgreementVisit, rows=_agreement_visits),
    PatientTable(name="audit.csv", row_type=AuditRow, rows=lambda one: (*one.audit, *one.response.audit)),
)
