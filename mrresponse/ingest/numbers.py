"""The numbers half: tables of studies and measurements, written by a run or typed by people.

A typed ``measurements.csv`` needs only ``patient_id, lesion_id, study_date`` and the numbers that there are. Where it
has no ``state``, the state follows from the numbers: a bare number above 0 is measured, 0 or ``absent`` is absent,
``too small``, ``not done`` and ``not assessable`` mean themselves, and a row without any number is not assessed.
"""

import re
from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from mrresponse.domain import (
    LIVER,
    MISSING_STATES,
    VIABLE_SIZES,
    WHOLE_SIZES,
    Failure,
    Measurement,
    MeasurementState,
    Patient,
    Study,
    StudyRecord,
)
from mrresponse.ingest.inputs import failed_patients
from mrresponse.ingest.patient_tables import (
    after_death,
    column_notes,
    future_studies,
    misspelt_tables,
    read_checked,
    read_patient_tables,
    spare_patients,
    with_tables,
)
from mrresponse.typed import WORDS, parse_measurement

_LONGEST, _VIABLE = "longest_diameter_mm", "viable_longest_diameter_mm"
# A perpendicular diameter is at most the longest one, a viable part at most the whole lesion.
SIZE_BOUNDS = (WHOLE_SIZES[:2], VIABLE_SIZES[:2], (_LONGEST, _VIABLE), ("volume_ml", "viable_volume_ml"))
# What is too small to measure counts as 5 mm (RECIST 1.1, Eisenhauer 2009; contracts section 4).
_MOST_TOO_SMALL_MM = 5.0
_OPTIONAL = ("findings.csv", "markers.csv", "patients.csv", "treatments.csv")
# ``treatment_phases.csv``, which a run writes, is no misspelt ``treatments.csv``.
_NEARLY = 0.85
_REQUIRED = ("patient_id", "lesion_id", "study_date")
_NODE = re.compile(r"(?<![a-z])(lymph[ _-]?)?(nodes?|nodal)(?![a-z])")
# ``liver segment 8``, ``left lobe of liver``; tumour in a vein of the liver stays what it is
_IN_LIVER = re.compile(r"((left|right|caudate)_)?(lobe_(of_)?(the_)?)?liver(?![a-z])(?!.*(vein|thromb))")
_THERE = (MeasurementState.MEASURED, MeasurementState.TOO_SMALL)

Key = TypeVar("Key", bound=Hashable)
PatientNumbers = tuple[Patient, tuple[StudyRecord, ...], tuple[Measurement, ...]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Numbers:
    """Patients with their studies and measurements, the rows that could not be used, and notes."""

    patients: tuple[PatientNumbers, ...] = ()
    failures: tuple[Failure, ...] = ()
    notes: tuple[str, ...] = ()


def read_numbers(folder: Path) -> Numbers:
    """Read ``studies.csv``, ``measurements.csv`` and the tables about patients.

    A row that cannot be used fails its patient, who is left out; the others are returned.

    Raises
    ------
    DataError
        ``bad_table``: ``studies.csv`` or ``measurements.csv`` is absent, no table, or lacks a column it needs.
    """
    tables = read_patient_tables(folder)
    records, bad_records = read_checked(folder / "studies.csv", StudyRecord, lambda row, _: row)
    measurements, bad_measurements = read_measurements(folder / "measurements.csv")
    failures = [*tables.failures, *bad_records, *bad_measurements]
    failures += _twice(records, measurements) + _without_study(records, measurements)
    studies = {
        (row.patient_id, row.study_date): Study(patient_id=row.patient_id, study_date=row.study_date)
        for row in records
    }
    patients, unknown = with_tables(tuple(studies.values()), tables)
    failures += after_death(patients)
    failed = failed_patients(failures)
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
        notes=misspelt_tables(folder, _OPTIONAL, cutoff=_NEARLY)
        + tables.notes
        + spare_patients(tables, {patient.patient_id for patient in patients} | failed)
        + future_studies(studies.values())
        + column_notes(folder / "studies.csv", StudyRecord)
        + column_notes(folder / "measurements.csv", Measurement)
        + _viable_elsewhere(measurements),
    )


def read_measurements(path: Path) -> tuple[tuple[Measurement, ...], tuple[Failure, ...]]:
    """Read a table of measurements, states inferred where it has none; bad rows become failures.

    Raises
    ------
    DataError
        ``bad_table``: the file is absent, no table, or lacks a column it needs.
    """
    return read_checked(path, Measurement, lambda row, _place: row, complete=complete, required=_REQUIRED)


def complete(cells: dict[str, str]) -> dict[str, str]:
    """Return the cells of a measurement with reader, source and state filled in from what was typed.

    Raises
    ------
    ValueError
        A number that is not bare, a word that is not known, or parts that contradict each other; the message continues
        a sentence.
    """
    filled = {name: cell.strip() if name in _REQUIRED else cell for name, cell in cells.items()}
    filled["reader"] = cells.get("reader", "").strip() or "reader"
    filled["source"] = cells.get("source", "").strip() or "reader"
    filled |= _site(cells)
    if cells.get("state", "").strip():
        _check_stated(filled)
        if not cells.get("source", "").strip():
            # in the rows of a run, what readers changed may stand beside what they left
            _check_sizes(filled)
        return filled
    whole = _state(filled, WHOLE_SIZES)
    viable = _state(filled, VIABLE_SIZES)
    _check_sizes(filled)
    _check_parts(filled, whole, viable)
    if whole is MeasurementState.ABSENT:
        filled |= {_LONGEST: "0", _VIABLE: "0"}
        viable = MeasurementState.ABSENT
    elif viable is MeasurementState.ABSENT:
        filled[_VIABLE] = "0"
    if viable in _THERE or (whole is None and viable is MeasurementState.ABSENT):
        # A viable part was judged, so the lesion was there to be judged; its own size may not have been taken.
        whole = MeasurementState.MEASURED if whole in (None, MeasurementState.NOT_ASSESSED) else whole
    whole = whole or MeasurementState.NOT_ASSESSED
    filled["state"] = whole.value
    filled["viable_state"] = viable.value if viable is not None else ""
    if whole is MeasurementState.NOT_ASSESSED and not filled.get("reason", "").strip():
        filled["reason"] = _typed_word(cells, WHOLE_SIZES)
    if viable is MeasurementState.NOT_ASSESSED and not filled.get("viable_reason", "").strip():
        filled["viable_reason"] = _typed_word(cells, VIABLE_SIZES)
    return filled


def complete_edit(cells: dict[str, str]) -> dict[str, str]:
    """Return the cells of a reader's edit of one measurement with the states of what was typed filled in.

    Raises
    ------
    ValueError
        A number that is not bare, a word that is not known, parts that contradict each other, or nothing at all.
    """
    filled = {name: cell.strip() if name in _REQUIRED else cell for name, cell in cells.items()}
    whole = _state(filled, WHOLE_SIZES)
    viable = _state(filled, VIABLE_SIZES)
    _check_sizes(filled)
    _check_parts(filled, whole, viable)
    if whole is MeasurementState.NOT_ASSESSED and viable in _THERE:
        # what is left empty stays as it was measured, so a word says something of the lesion
        raise ValueError(
            f" column {_VIABLE}: found a viable part, expected none of a lesion that is not assessed; leave the sizes "
            "of the whole lesion empty"
        )
    filled["state"] = whole.value if whole is not None else ""
    filled["viable_state"] = viable.value if viable is not None else ""
    judged = any(filled.get(name, "").strip() for name in ("well_delineated", "previously_treated"))
    if whole is None and viable is None and not judged:
        raise ValueError(": found no number and no word, expected at least one")
    return filled


def _state(cells: dict[str, str], names: Sequence[str]) -> MeasurementState | None:
    """Return what the typed cells of a lesion or of its viable part mean, words taken out of `cells`.

    The first cell that says something decides; ``not done`` beside a number means that one quantity only.
    """
    parsed = {name: parse_measurement(cells.get(name)) for name in names}
    for name, value in parsed.items():
        if value.problem:
            unit = name.rsplit("_", 1)[1].replace("ml", "mL")
            expected = ", ".join((f"a bare number in {unit}", *WORDS))
            raise ValueError(f" column {name}: found {cells[name].strip()!r}, expected {expected}")
    said = {name: value.state for name, value in parsed.items() if value.state is not None}
    for name in said:
        if cells[name].strip().lower() in WORDS:
            cells[name] = ""
    judged = {name: state for name, state in said.items() if state is not MeasurementState.NOT_ASSESSED}
    if not judged:
        return MeasurementState.NOT_ASSESSED if said else None
    (first, state), *others = judged.items()
    for name, other in others:
        if (other is MeasurementState.ABSENT) is not (state is MeasurementState.ABSENT):
            raise ValueError(
                f" column {name}: found {other.value.replace('_', ' ')}, expected what fits {first}: "
                f"{state.value.replace('_', ' ')}"
            )
    return state


def _site(cells: Mapping[str, str]) -> dict[str, str]:
    """Return organ and node as the rules know them: any part of the liver is the liver, and any lymph node a node."""
    organ = cells.get("organ", "").strip().lower().replace(" ", "_")
    if not organ:
        return {}
    is_node = cells.get("is_node", "").strip() or ("true" if _NODE.search(organ) else "")
    is_liver = _IN_LIVER.match(organ) and is_node.lower() != "true"
    return {"organ": LIVER if is_liver else organ, "is_node": is_node}


def _check_sizes(cells: Mapping[str, str]) -> None:
    """Refuse a size above the one that bounds it: they were exchanged, or one is wrong."""
    for larger, smaller in SIZE_BOUNDS:
        most, found = (parse_measurement(cells.get(name)).value for name in (larger, smaller))
        if most is not None and found is not None and found > most:
            raise ValueError(
                f" column {smaller}: found {cells[smaller].strip()} above {larger} {cells[larger].strip()}, expected "
                "at most that"
            )


def _check_parts(
    cells: Mapping[str, str], whole: MeasurementState | None, viable: MeasurementState | None
) -> None:
    """Refuse a viable part that is larger than what was said of its lesion allows."""
    if whole is MeasurementState.ABSENT and viable in _THERE:
        raise ValueError(f" column {_VIABLE}: found a viable part, expected none of a lesion that is absent")
    if whole is not MeasurementState.TOO_SMALL:
        return
    for name in VIABLE_SIZES:
        number = parse_measurement(cells.get(name)).value
        if number is not None and _contradicts(whole, name, number):
            raise ValueError(
                f" column {name}: found {cells[name].strip()} in a lesion that is too small, expected at most "
                f"{_MOST_TOO_SMALL_MM:g}"
            )


def _check_stated(cells: Mapping[str, str]) -> None:
    """Refuse numbers that contradict the state beside them, and negative ones; what is no number is found later."""
    state = cells["state"].strip().lower()
    for names, stated in (
        (WHOLE_SIZES, state),
        (VIABLE_SIZES, cells.get("viable_state", "").strip().lower()),
    ):
        for name in names:
            cell = cells.get(name, "").strip()
            if cell.startswith("-"):
                raise ValueError(f" column {name}: found {cell}, expected 0 or more")
            number = parse_measurement(cell).value
            if number is not None and _contradicts(stated, name, number):
                raise ValueError(f" column {name}: found {cell} beside state {stated}, expected no number")
    if state == MeasurementState.MEASURED and parse_measurement(cells.get(_LONGEST)).value == 0.0:
        raise ValueError(f" column {_LONGEST}: found 0 beside state measured, expected more, or state absent")


def _contradicts(state: str, name: str, number: float) -> bool:
    if state == MeasurementState.TOO_SMALL:
        return name.endswith("_mm") and number > _MOST_TOO_SMALL_MM
    return state in MISSING_STATES or (state == MeasurementState.ABSENT and number > 0.0)


def _typed_word(cells: Mapping[str, str], names: Sequence[str]) -> str:
    return next((word for name in names if (word := cells.get(name, "").strip().lower())), "no number given")


def _viable_elsewhere(measurements: Sequence[Measurement]) -> tuple[str, ...]:
    """Return a note for every organ that is not known as the liver although viable tumour was measured in it."""
    organs = {
        m.organ
        for m in measurements
        if m.organ != LIVER and (m.viable_longest_diameter_mm or m.viable_volume_ml)
    }
    return tuple(
        f"measurements.csv: organ {organ!r} counts as outside the liver, where lesions are measured whole: "
        "its viable sizes are left out"
        for organ in sorted(organs)
    )


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
