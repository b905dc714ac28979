"""The numbers half: tables of studies and measurements, written by a run or typed by people.

A typed ``measurements.csv`` needs only ``patient_id, lesion_id, study_date`` and the numbers that there are. Where it
has no ``state``, the state follows from the numbers: a bare number above 0 is measured, 0 or ``absent`` is absent,
``too small``, ``not done`` and ``not assessable`` mean themselves, and a row without any number is not assessed.
"""

import re
from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from mrresponse.domain import Failure, Measurement, MeasurementState, Patient, Study, StudyRecord
from mrresponse.errors import DataError
from mrresponse.ingest.inputs import NOT_FATAL, as_failure, check_id
from mrresponse.ingest.patient_tables import column_notes, read_checked, read_patient_tables, with_tables
from mrresponse.tables import parse_rows

_WORDS = {
    "too small": MeasurementState.TOO_SMALL,
    "not done": MeasurementState.NOT_ASSESSED,
    "not assessable": MeasurementState.NOT_ASSESSED,
    "absent": MeasurementState.ABSENT,
}
_BARE_NUMBER = re.compile(r"\d+(\.\d*)?|\.\d+")
_LONGEST, _VIABLE = "longest_diameter_mm", "viable_longest_diameter_mm"
_WHOLE_NUMBERS = (_LONGEST, "perpendicular_diameter_mm", "volume_ml")
_VIABLE_NUMBERS = (_VIABLE, "viable_perpendicular_diameter_mm", "viable_volume_ml")
_REQUIRED = ("patient_id", "lesion_id", "study_date")

Key = TypeVar("Key", bound=Hashable)
PatientNumbers = tuple[Patient, tuple[StudyRecord, ...], tuple[Measurement, ...]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Numbers:
    """Patients with their studies and measurements, the rows that could not be used, and notes."""

    patients: tuple[PatientNumbers, ...] = ()
    failures: tuple[Failure, ...] = ()
    notes: tuple[str, ...] = ()


def read_numbers(folder: Path, *, measured: str = "measurements.csv") -> Numbers:
    """Read ``studies.csv``, the table of measurements and the tables about patients.

    A row that cannot be used fails its patient, who is left out; the others are returned.

    Raises
    ------
    DataError
        ``bad_table``: ``studies.csv`` or ``measurements.csv`` is absent, no table, or lacks a column it needs.
    """
    tables = read_patient_tables(folder)
    records, bad_records = read_checked(folder / "studies.csv", StudyRecord, lambda row, _: row)
    measurements, bad_measurements = read_measurements(folder / measured)
    failures = [*tables.failures, *bad_records, *bad_measurements]
    failures += _twice(records, measurements) + _without_study(records, measurements)
    studies = {
        (row.patient_id, row.study_date): Study(patient_id=row.patient_id, study_date=row.study_date)
        for row in records
    }
    patients, unknown = with_tables(tuple(studies.values()), tables)
    failed = {failure.patient_id for failure in failures if failure.code not in NOT_FATAL}
    failures += [failure for failure in unknown if failure.patient_id not in failed]
    records_of: dict[str, list[StudyRecord]] = {}
    for record in sorted(records, key=lambda row: row.study_date):
        records_of.setdefault(record.patient_id, []).append(record)
    measurements_of: dict[str, list[Measurement]] = {}
    for row in measurements:
        measurements_of.setdefault(row.patient_id, []).append(row)
    return Numbers(
        patients=tuple(
            (patient, tuple(records_of[name]), tuple(measurements_of.get(name, ())))
            for patient in patients
            if (name := patient.patient_id) not in failed
        ),
        failures=tuple(failures),
        notes=tables.notes
        + column_notes(folder / "studies.csv", StudyRecord)
        + column_notes(folder / measured, Measurement),
    )


def read_measurements(path: Path) -> tuple[tuple[Measurement, ...], tuple[Failure, ...]]:
    """Read a table of measurements, states inferred where it has none; bad rows become failures.

    Raises
    ------
    DataError
        ``bad_table``: the file is absent, no table, or lacks a column it needs.
    """
    rows = []
    failures = []
    for number, row in parse_rows(path, Measurement, complete=complete, required=_REQUIRED):
        try:
            if isinstance(row, DataError):
                raise row
            check_id(row.patient_id, f"{path.name} row {number}")
        except DataError as error:
            failures.append(as_failure(error))
            continue
        rows.append(row)
    return tuple(rows), tuple(failures)


def complete(cells: dict[str, str]) -> dict[str, str]:
    """Return the cells of a measurement with reader, source and state filled in from what was typed.

    Raises
    ------
    ValueError
        A number that is not bare, or a word that is not known; the message continues a sentence.
    """
    filled = {name: cell.strip() if name in _REQUIRED else cell for name, cell in cells.items()}
    if cells.get("state", "").strip():
        return filled
    filled["reader"] = cells.get("reader", "").strip() or "reader"
    filled["source"] = cells.get("source", "").strip() or "reader"
    whole = _state(filled, _WHOLE_NUMBERS)
    viable = _state(filled, _VIABLE_NUMBERS)
    if whole is MeasurementState.ABSENT:
        filled |= {_LONGEST: "0", _VIABLE: "0"}
        viable = MeasurementState.ABSENT
    elif viable is MeasurementState.ABSENT:
        filled[_VIABLE] = "0"
    if whole is None:
        # A viable part was judged, so the lesion was there to be judged.
        seen = viable in (MeasurementState.MEASURED, MeasurementState.TOO_SMALL, MeasurementState.ABSENT)
        whole = MeasurementState.MEASURED if seen else MeasurementState.NOT_ASSESSED
    filled["state"] = whole.value
    filled["viable_state"] = viable.value if viable is not None else ""
    if whole is MeasurementState.NOT_ASSESSED and not filled.get("reason", "").strip():
        typed = cells.get(_LONGEST, "").strip().lower()
        filled["reason"] = typed or "no number given"
    if viable is MeasurementState.NOT_ASSESSED and not filled.get("viable_reason", "").strip():
        filled["viable_reason"] = cells.get(_VIABLE, "").strip().lower() or "no number given"
    return filled


def complete_edit(cells: dict[str, str]) -> dict[str, str]:
    """Return the cells of a reader's edit of one measurement with the states of what was typed filled in.

    Raises
    ------
    ValueError
        A number that is not bare, a word that is not known, or nothing at all.
    """
    filled = dict(cells)
    whole = _state(filled, _WHOLE_NUMBERS)
    viable = _state(filled, _VIABLE_NUMBERS)
    filled["state"] = whole.value if whole is not None else ""
    filled["viable_state"] = viable.value if viable is not None else ""
    judged = any(filled.get(name, "").strip() for name in ("well_delineated", "previously_treated"))
    if whole is None and viable is None and not judged:
        raise ValueError(": found no number and no word, expected at least one")
    return filled


def _state(cells: dict[str, str], names: Sequence[str]) -> MeasurementState | None:
    """Return what the typed cells of a lesion or of its viable part mean, words taken out of `cells`."""
    first, *others = names
    typed = cells.get(first, "").strip().lower()
    for name in others:
        _check_bare(name, cells.get(name, "").strip())
    if typed in _WORDS:
        cells[first] = ""
        return _WORDS[typed]
    _check_bare(first, typed, words=tuple(_WORDS))
    if typed and float(typed) == 0.0:
        return MeasurementState.ABSENT
    filled = [cells.get(name, "").strip() for name in names]
    return MeasurementState.MEASURED if any(filled) else None


def _check_bare(name: str, typed: str, words: Sequence[str] = ()) -> None:
    if typed and not _BARE_NUMBER.fullmatch(typed):
        unit = name.rsplit("_", 1)[1].replace("ml", "mL")
        expected = ", ".join(("a bare number in " + unit, *words))
        raise ValueError(f" column {name}: found {typed!r}, expected {expected}")


def _twice(records: Sequence[StudyRecord], measurements: Sequence[Measurement]) -> list[Failure]:
    """Return failures for studies and measurements that stand in two rows."""
    failures = []
    studies = [(row.patient_id, row.study_date) for row in records]
    for patient_id, study_date in sorted(_repeated(studies)):
        failures.append(
            Failure(
                patient_id=patient_id,
                study_date=study_date,
                code="two_studies",
                message="two studies on one date in studies.csv, expected one row",
            )
        )
    keys = [(row.patient_id, row.study_date, row.lesion_id, row.reader) for row in measurements]
    for patient_id, study_date, lesion_id, reader in sorted(_repeated(keys)):
        failures.append(
            Failure(
                patient_id=patient_id,
                study_date=study_date,
                code="two_measurements",
                message=f"two rows of measurements.csv for {lesion_id} by {reader}, expected one",
            )
        )
    return failures


def _repeated(keys: Sequence[Key]) -> list[Key]:
    return [key for key, count in Counter(keys).items() if count > 1]


def _without_study(records: Sequence[StudyRecord], measurements: Sequence[Measurement]) -> list[Failure]:
    """Return failures for measurements of a patient or a date that ``studies.csv`` does not have."""
    known = {row.patient_id for row in records}
    dates = {(row.patient_id, row.study_date) for row in records}
    failures = []
    for patient_id, study_date in sorted({(row.patient_id, row.study_date) for row in measurements} - dates):
        if patient_id in known:
            code, found = "unknown_study", "a date without a study"
        else:
            code, found = "unknown_patient", "a patient without a study"
        failures.append(
            Failure(
                patient_id=patient_id,
                study_date=study_date,
                code=code,
                message=f"measurements.csv names {found}, expected a row of studies.csv",
            )
        )
    return failures
