"""What readers corrected: the ``edits`` folder of a run folder. The program reads it and never writes it.

So far ``overrides.csv``: an assessment restated. Edits travel with their patient (`Patient.edits`), so that every
step finds what concerns it, and whatever they change is said in ``audit.csv``.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from pathlib import Path

from mrresponse.domain import Failure, Override, Patient, PatientEdits
from mrresponse.errors import DataError
from mrresponse.ingest.patient_tables import column_notes, read_checked

FOLDER = "edits"
OVERRIDES = "overrides.csv"
NEW_LESION_WORDS = ("none", "candidate", "equivocal", "definite", "not assessed")


@dataclass(frozen=True, slots=True, kw_only=True)
class Edits:
    """The edits of all patients, the rows that cannot be used, and notes."""

    overrides: tuple[Override, ...] = ()
    failures: tuple[Failure, ...] = ()
    notes: tuple[str, ...] = ()

    def of(self, patient_id: str) -> PatientEdits:
        """Return what concerns one patient."""
        return PatientEdits(overrides=tuple(row for row in self.overrides if row.patient_id == patient_id))


def read_edits(folder: Path) -> Edits:
    """Read the ``edits`` folder inside a run folder; none means no edits.

    A row that cannot be used fails its patient: a result without a correction that a reader made would be wrong
    without a sign of it.

    Raises
    ------
    DataError
        ``bad_table``: a file that is no table, or lacks a column it needs.
    """
    path = folder / FOLDER / OVERRIDES
    if not path.is_file():
        return Edits()
    changed = datetime.fromtimestamp(path.stat().st_mtime, tz=UTC).date()
    rows, failures = read_checked(path, Override, lambda row, place: _override(row, place, changed))
    return Edits(
        overrides=rows,
        failures=tuple(replace(one, step="response") for one in failures),
        notes=column_notes(path, Override),
    )


def with_edits(patients: Iterable[Patient], edits: Edits) -> tuple[tuple[Patient, ...], tuple[Failure, ...]]:
    """Give every patient the edits that concern it; a patient with an edit that cannot be used is left out.

    An edit of a patient that is not there is a failure of its own.
    """
    patients = tuple(patients)
    failed = {failure.patient_id for failure in edits.failures}
    kept = tuple(
        replace(one, edits=edits.of(one.patient_id)) for one in patients if one.patient_id not in failed
    )
    return kept, (*edits.failures, *_unknown(edits.overrides, {one.patient_id for one in patients}))


def _unknown(overrides: Sequence[Override], known: set[str]) -> list[Failure]:
    return [
        Failure(
            patient_id=name,
            code="unknown_patient",
            message=f"{FOLDER}/{OVERRIDES} names a patient that is not among the {len(known)} assessed",
            step="response",
        )
        for name in sorted({row.patient_id for row in overrides} - known)
    ]


def _override(row: Override, place: str, changed: date) -> Override:
    """Check a row; where it has no date of its own, it is dated by the file's last change (UTC)."""
    stated = (row.target, row.non_target, row.new_lesions, row.liver_response, row.overall)
    if all(value is None for value in stated):
        raise DataError(
            f"{place}: found nothing restated, expected at least one of target, non_target, new_lesions, "
            "liver_response, overall",
            code="bad_value",
            patient_id=row.patient_id,
            study_date=row.study_date,
        )
    if row.new_lesions is not None and row.new_lesions not in NEW_LESION_WORDS:
        raise DataError(
            f"{place} column new_lesions: found {row.new_lesions!r}, expected one of "
            f"{', '.join(NEW_LESION_WORDS)}",
            code="bad_value",
            patient_id=row.patient_id,
            study_date=row.study_date,
        )
    return replace(row, when=row.when or changed)
