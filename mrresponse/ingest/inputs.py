"""What reading a data folder gives, and the rules about names that every kind of input keeps."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from mrresponse.domain import ContrastPhase, Failure, Patient, Series, Study
from mrresponse.errors import DataError

UNNAMED = "(unnamed)"
_SAFE_ID = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,63}")


@dataclass(frozen=True, slots=True, kw_only=True)
class IngestSettings:
    """How a data folder is understood.

    Parameters
    ----------
    phase_patterns
        A site's own rules, tried before the built-in ones: a regular expression searched in the series
        description (lower case, no accents, blanks for punctuation) and the contrast phase it means.
    left_out_patterns
        The same for series that are not to be read, with the reason that is shown.
    least_phase_confidence
        Below this a contrast phase is not taken but asked for, 0.5 to 1.
    """

    phase_patterns: tuple[tuple[str, ContrastPhase], ...] = ()
    left_out_patterns: tuple[tuple[str, str], ...] = ()
    least_phase_confidence: float = 0.9


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Which pseudonym a DICOM patient was given; private."""

    dicom_patient_id: str
    patient_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftOut:
    """A series that was found and is not used, and why; `undecided` where the user has to say what it is."""

    patient_id: str
    study_date: date | None
    series_number: int | None = None
    description: str = ""
    reason: str
    undecided: bool = False
    path: Path | None = None
    frame: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundSeries:
    """A series with the patient and the date it belongs to."""

    patient_id: str
    study_date: date
    series: Series


@dataclass(frozen=True, slots=True, kw_only=True)
class Collected:
    """What one kind of input gave; a patient with a failure is not assessed, but for `NOT_FATAL` codes."""

    series: tuple[FoundSeries, ...] = ()
    failures: tuple[Failure, ...] = ()
    left_out: tuple[LeftOut, ...] = ()
    notes: tuple[str, ...] = ()
    identities: tuple[Identity, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Ingested:
    """A data folder as patients.

    ``failures`` names every patient, study or table row that cannot be used; ``failed_studies`` are the readable
    studies of the patients that failed; ``identities`` is private.
    """

    patients: tuple[Patient, ...] = ()
    failures: tuple[Failure, ...] = ()
    notes: tuple[str, ...] = ()
    left_out: tuple[LeftOut, ...] = ()
    failed_studies: tuple[Study, ...] = ()
    identities: tuple[Identity, ...] = ()


# These failures concern something beside the patient's MR studies, which are assessed without it.
NOT_FATAL = frozenset({"modality", "unknown_patient"})


def failed_patients(failures: Iterable[Failure]) -> set[str]:
    """Return the patients that are not assessed because of these failures."""
    return {failure.patient_id for failure in failures if failure.code not in NOT_FATAL}


def joined(first: Collected, second: Collected) -> Collected:
    """Put two kinds of input together."""
    return Collected(
        series=first.series + second.series,
        failures=first.failures + second.failures,
        left_out=first.left_out + second.left_out,
        notes=first.notes + second.notes,
        identities=first.identities + second.identities,
    )


def as_failure(error: DataError, *, patient_id: str = UNNAMED) -> Failure:
    """Turn an error into a row of the failures table; `patient_id` is used where the error has none."""
    name = error.patient_id if error.patient_id and is_safe_id(error.patient_id) else patient_id
    return Failure(
        patient_id=name,
        study_date=error.study_date,
        series=error.series,
        code=error.code,
        message=error.message,
        path=error.path,
    )


def is_safe_id(text: str) -> bool:
    """Tell whether a text may name a patient: it becomes the name of a folder."""
    return _SAFE_ID.fullmatch(text) is not None


def check_id(text: str, place: str) -> str:
    """Return a patient id without blanks around it.

    Raises
    ------
    DataError
        ``bad_patient_id``; the message does not repeat the id, which may be a name.
    """
    if not is_safe_id(text.strip()):
        raise DataError(
            f"{place} column patient_id: found a text that cannot name a folder, expected 1 to 64 letters A-Z, "
            "digits or . _ -, not beginning with a dot",
            code="bad_patient_id",
        )
    return text.strip()


def located(error: DataError, *, patient_id: str, study_date: date, series: str | None = None) -> DataError:
    """Say in an error where it happened, as far as it does not yet."""
    return DataError(
        error.message,
        code=error.code,
        patient_id=error.patient_id or patient_id,
        study_date=error.study_date or study_date,
        series=error.series or series,
        path=error.path,
    )
