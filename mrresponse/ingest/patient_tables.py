"""Tables about patients at the root of a data folder or a run folder: deaths, treatments, markers, findings.

Table rows that cannot be read become failures of their patient, because an answer from half of a patient's
history would be wrong without a sign of it.
"""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import date
from difflib import get_close_matches
from pathlib import Path
from typing import Protocol, TypeVar

from mrresponse.domain import (
    Failure,
    Finding,
    Marker,
    Patient,
    Study,
    Treatment,
    TreatmentKind,
)
from mrresponse.errors import DataError
from mrresponse.ingest.inputs import UNNAMED, as_failure, check_id
from mrresponse.tables import parse_rows, unknown_columns

# An anonymiser may have moved the dates of all patients.
_MOST_LISTED = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class PatientRow:
    """One row of ``patients.csv``."""

    patient_id: str
    death_date: date | None = None
    last_contact_date: date | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PatientTables:
    """The tables about patients, with the rows that could not be read."""

    patients: tuple[PatientRow, ...] = ()
    treatments: tuple[Treatment, ...] = ()
    markers: tuple[Marker, ...] = ()
    findings: tuple[Finding, ...] = ()
    failures: tuple[Failure, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class _TreatmentRow:
    """``treatments.csv`` as typed: a start that is missing has its own message."""

    patient_id: str
    treatment_phase: str
    name: str
    kind: TreatmentKind
    start_date: date | None
    end_date: date | None = None
    details: str = ""


class _Named(Protocol):
    @property
    def patient_id(self) -> str: ...


Row = TypeVar("Row", bound=_Named)
Made = TypeVar("Made", bound=_Named)


def read_patient_tables(folder: Path) -> PatientTables:
    """Read ``patients``, ``treatments``, ``markers`` and ``findings.csv``, each where it exists.

    Raises
    ------
    DataError
        ``bad_table``: a file that is no table, or lacks a column it needs.
    """
    failures: list[Failure] = []
    notes: list[str] = []

    def read(name: str, row_type: type[Row], make: Callable[[Row, str], Made]) -> tuple[Made, ...]:
        path = folder / name
        if not path.exists():
            return ()
        notes.extend(column_notes(path, row_type))
        rows, bad = read_checked(path, row_type, make)
        failures.extend(bad)
        return rows

    patients = read("patients.csv", PatientRow, _patient)
    failures.extend(_stated_twice(patients))
    return PatientTables(
        patients=patients,
        treatments=read("treatments.csv", _TreatmentRow, _treatment),
        markers=read("markers.csv", Marker, _marker),
        findings=read("findings.csv", Finding, _finding),
        failures=tuple(failures),
        notes=tuple(notes),
    )


def read_checked(
    path: Path,
    row_type: type[Row],
    make: Callable[[Row, str], Made],
    *,
    complete: Callable[[dict[str, str]], dict[str, str]] = dict,
    required: Sequence[str] | None = None,
) -> tuple[tuple[Made, ...], tuple[Failure, ...]]:
    """Read the rows of a table, each checked and completed by `make`; bad rows become failures.

    `complete` and `required` are those of `mrresponse.tables.parse_rows`.
    """
    rows: list[Made] = []
    failures: list[Failure] = []
    for number, row in parse_rows(path, row_type, complete=complete, required=required):
        place = f"{path.name} row {number}"
        if isinstance(row, DataError):
            failures.append(as_failure(row))
            continue
        try:
            patient_id = check_id(row.patient_id, place)
            rows.append(make(replace(row, patient_id=patient_id), place))  # type: ignore[type-var]
        except DataError as error:
            error.path = path
            failures.append(as_failure(error, patient_id=_safe(row.patient_id)))
    return tuple(rows), tuple(failures)


def column_notes(path: Path, row_type: type) -> tuple[str, ...]:
    """Return a note where a table has columns that are not used."""
    unknown = unknown_columns(path, row_type)
    return (f"{path.name}: unknown columns left out: {', '.join(unknown)}",) if unknown else ()


def misspelt_tables(folder: Path, tables: Sequence[str], *, cutoff: float = 0.8) -> tuple[str, ...]:
    """Return a note for each file of a folder whose name is nearly that of a table; others are not named."""
    notes = []
    for name in sorted(path.name for path in folder.iterdir()):
        meant = get_close_matches(name.lower(), tables, n=1, cutoff=cutoff)
        # where case does not matter, the file itself was read under the right name
        if meant and name not in tables and not (folder / meant[0]).exists():
            notes.append(f"{name} is not read; did you mean {meant[0]}?")
    return tuple(notes)


def spare_patients(tables: PatientTables, known: Collection[str]) -> tuple[str, ...]:
    """Return a note where ``patients.csv`` names patients without a study: their dates enter nothing."""
    spare = sorted({row.patient_id for row in tables.patients}.difference(known))
    return (f"patients.csv: without a study: {', '.join(spare)}",) if spare else ()


def future_studies(studies: Iterable[Study]) -> tuple[str, ...]:
    """Return a note where studies are dated after today: a date moved by an anonymiser, or one that is wrong."""
    today = date.today()
    future = sorted((one.patient_id, one.study_date) for one in studies if one.study_date > today)
    listed = ", ".join(f"{patient_id} {day}" for patient_id, day in future[:_MOST_LISTED])
    listed += f" and {len(future) - _MOST_LISTED} more" if len(future) > _MOST_LISTED else ""
    return (f"studies dated after today, {today}: {listed}; taken as they are",) if future else ()


def with_tables(
    studies: Sequence[Study], tables: PatientTables
) -> tuple[tuple[Patient, ...], tuple[Failure, ...]]:
    """Join studies and tables to patients; a treatment, marker or finding without a study is a failure."""
    by_patient: dict[str, list[Study]] = {}
    for study in studies:
        by_patient.setdefault(study.patient_id, []).append(study)
    patients = [_joined(name, by_patient[name], tables) for name in sorted(by_patient)]
    failures = [
        Failure(
            patient_id=name,
            code="unknown_patient",
            message=f"{table} names a patient without a study; expected a patient_id of the "
            f"{len(by_patient)} patients with studies (`mrresponse check` lists them)",
        )
        for table, rows in (
            ("treatments.csv", tables.treatments),
            ("markers.csv", tables.markers),
            ("findings.csv", tables.findings),
        )
        for name in _unknown(rows, by_patient)
    ]
    return tuple(patients), tuple(failures)


def after_death(patients: Iterable[Patient]) -> tuple[Failure, ...]:
    """Return a failure for each patient with a study, treatment, finding or marker after death.

    One of the two dates is wrong: survival may be, and can come out below 0 days.
    """
    failures = []
    for patient in patients:
        dated = [
            *(("a study", study.study_date) for study in patient.studies),
            *(("a treatment", treatment.start_date) for treatment in patient.treatments),
            *(("a finding", finding.date) for finding in patient.findings),
            *(("a marker", marker.date) for marker in patient.markers),
        ]
        what, last = max(dated, key=lambda one: one[1])
        if patient.death_date is not None and last > patient.death_date:
            message = f"death_date {patient.death_date} is before {what} of {last}, expected it on or after"
            failures.append(
                Failure(patient_id=patient.patient_id, code="bad_value", message=f"patients.csv: {message}")
            )
    return tuple(failures)


def _joined(name: str, studies: Sequence[Study], tables: PatientTables) -> Patient:
    row = next((row for row in tables.patients if row.patient_id == name), PatientRow(patient_id=name))
    return Patient(
        patient_id=name,
        studies=tuple(sorted(studies, key=lambda study: study.study_date)),
        treatments=tuple(sorted(_of(name, tables.treatments), key=lambda treatment: treatment.start_date)),
        markers=tuple(sorted(_of(name, tables.markers), key=lambda marker: marker.date)),
        findings=tuple(sorted(_of(name, tables.findings), key=lambda finding: finding.date)),
        death_date=row.death_date,
        last_contact_date=row.last_contact_date,
    )


def _of(name: str, rows: Sequence[Made]) -> list[Made]:
    return [row for row in rows if row.patient_id == name]


def _unknown(rows: Iterable[_Named], known: Iterable[str]) -> list[str]:
    return sorted({row.patient_id for row in rows} - set(known))


def _safe(patient_id: str) -> str:
    try:
        return check_id(patient_id, "")
    except DataError:
        return UNNAMED


def _patient(row: PatientRow, place: str) -> PatientRow:
    if row.death_date and row.last_contact_date and row.last_contact_date > row.death_date:
        raise DataError(
            f"{place}: last_contact_date {row.last_contact_date} is after death_date {row.death_date}, "
            "expected it on or before",
            code="bad_value",
        )
    return row


def _stated_twice(rows: Iterable[PatientRow]) -> list[Failure]:
    """Return a failure for each patient with several rows: one of them may hold the death that the other lacks."""
    counts = Counter(row.patient_id for row in rows)
    return [
        Failure(
            patient_id=name,
            code="bad_value",
            message=f"patients.csv: found {count} rows of this patient, expected one",
        )
        for name, count in sorted(counts.items())
        if count > 1
    ]


def _treatment(row: _TreatmentRow, place: str) -> Treatment:
    if row.start_date is None:
        raise DataError(
            f"{place} column start_date: found nothing, expected the date YYYY-MM-DD on which the treatment began",
            code="treatment_without_start",
        )
    if row.end_date and row.end_date < row.start_date:
        raise DataError(
            f"{place}: end_date {row.end_date} is before start_date {row.start_date}, expected it on or after",
            code="bad_value",
        )
    return Treatment(
        patient_id=row.patient_id,
        treatment_phase=_named(row.treatment_phase, place, "treatment_phase"),
        name=row.name.strip(),
        kind=row.kind,
        start_date=row.start_date,
        end_date=row.end_date,
        details=row.details,
    )


def _marker(row: Marker, place: str) -> Marker:
    if row.qualifier not in ("", "<", ">"):
        raise DataError(
            f"{place} column qualifier: found {row.qualifier!r}, expected <, > or nothing", code="bad_value"
        )
    if row.value < 0:
        # -1 stands for a missing value in some exports
        raise DataError(
            f"{place} column value: found {row.value:g}, expected 0 or more; leave a missing value out",
            code="bad_value",
        )
    return replace(row, name=_named(row.name, place, "name"), unit=row.unit.strip())


def _finding(row: Finding, place: str) -> Finding:
    if row.size_mm is not None and row.size_mm < 0:
        raise DataError(
            f"{place} column size_mm: found {row.size_mm:g}, expected a length in mm", code="bad_value"
        )
    return replace(row, site=row.site.strip())


def _named(text: str, place: str, column: str) -> str:
    """Return a name without blanks around it, which would make two of one."""
    if not text.strip():
        raise DataError(f"{place} column {column}: found blanks, expected a name", code="bad_value")
    return text.strip()
