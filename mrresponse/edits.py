"""What readers corrected: the ``edits`` folder of a run folder. The program reads it and never writes it.

``masks/`` holds corrected masks, ``measurements.csv`` numbers, ``lesions.csv`` roles, identities and decisions about
new lesions, ``overrides.csv`` restated assessments. Edits travel with their patient (`Patient.edits`), so that every
step finds what concerns it, and whatever they change is said in ``audit.csv``.
"""

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Protocol, TypeVar

from mrresponse.dicom.masks import is_mask_file
from mrresponse.domain import (
    Failure,
    LesionEdit,
    LesionRole,
    LesionTrack,
    MaskEdit,
    MeasurementEdit,
    Override,
    Patient,
    PatientEdits,
)
from mrresponse.errors import DataError
from mrresponse.ingest.inputs import UNNAMED, is_safe_id
from mrresponse.ingest.numbers import complete_edit
from mrresponse.ingest.patient_tables import column_notes, read_checked

FOLDER = "edits"
OVERRIDES = "overrides.csv"
MEASUREMENTS = "measurements.csv"
LESIONS = "lesions.csv"
MASKS = "masks"
MASK_READERS = "masks.csv"
MASK_NAMES = ("liver", "lesions", "viable")
_MASK_SUFFIX = ".nii.gz"
# What viewers save segmentations as; only `_MASK_SUFFIX` is read.
_IMAGE_SUFFIXES = (_MASK_SUFFIX, ".nii", ".dcm", ".nrrd", ".nhdr", ".mha", ".mhd")
# patient, study date, file
_MASK_DEPTH = 3
NEW_LESION_WORDS = ("none", "candidate", "equivocal", "definite", "not assessed")
STATED_ROLES = (LesionRole.TARGET, LesionRole.NON_TARGET, LesionRole.EXCLUDED)


class _Edit(Protocol):
    @property
    def patient_id(self) -> str: ...


Row = TypeVar("Row", bound=_Edit)


@dataclass(frozen=True, slots=True, kw_only=True)
class MaskReader:
    """One row of ``edits/masks.csv``: who corrected a mask, and why."""

    patient_id: str
    study_date: date
    mask: str
    reader: str
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Edits:
    """The edits of all patients, the rows that cannot be used, and notes."""

    overrides: tuple[Override, ...] = ()
    measurements: tuple[MeasurementEdit, ...] = ()
    lesions: tuple[LesionEdit, ...] = ()
    masks: tuple[MaskEdit, ...] = ()
    failures: tuple[Failure, ...] = ()
    notes: tuple[str, ...] = ()

    def of(self, patient_id: str, earlier_tracks: tuple[LesionTrack, ...] = ()) -> PatientEdits:
        """Return what concerns one patient."""
        return PatientEdits(
            overrides=_own(self.overrides, patient_id),
            measurements=_own(self.measurements, patient_id),
            lesions=_own(self.lesions, patient_id),
            masks=_own(self.masks, patient_id),
            earlier_tracks=_own(earlier_tracks, patient_id),
        )

    def named(self) -> dict[str, str]:
        """Return every patient that an edit names, and the first file that does."""
        files: dict[str, Sequence[_Edit]] = {
            OVERRIDES: self.overrides,
            MEASUREMENTS: self.measurements,
            LESIONS: self.lesions,
            MASKS: self.masks,
        }
        return {row.patient_id: name for name, rows in reversed(files.items()) for row in rows}


def read_edits(folder: Path) -> Edits:
    """Read the ``edits`` folder inside a run folder; none means no edits.

    A row that cannot be used fails its patient: a result without a correction that a reader made would be wrong
    without a sign of it.

    Raises
    ------
    DataError
        ``bad_table``: a file that is no table, or lacks a column it needs.
    """
    try:
        edits = _read(folder / FOLDER)
    except DataError as error:
        raise DataError(_placed(error.message), code=error.code, path=error.path) from None
    return replace(
        edits,
        failures=tuple(replace(one, message=_placed(one.message)) for one in edits.failures),
        notes=tuple(_placed(note) for note in edits.notes),
    )


def _placed(message: str) -> str:
    """Name the folder before the file: a run has a ``measurements.csv`` of its own."""
    return message if message.startswith(f"{FOLDER}/") else f"{FOLDER}/{message}"


def _read(place: Path) -> Edits:
    overrides, failures = _rows(place / OVERRIDES, Override, _override)
    lesions, bad_lesions = _rows(place / LESIONS, LesionEdit, _lesion)
    bad_lesions = (*bad_lesions, *_contradictions(lesions))
    measurements, bad_numbers = _numbers(place / MEASUREMENTS)
    readers, bad_readers = _rows(place / MASK_READERS, MaskReader, _mask_reader)
    bad_readers = (*bad_readers, *_mask_contradictions(readers))
    masks, bad_masks = _masks(place / MASKS, readers)
    bad_masks = (*bad_masks, *_without_mask(readers, masks))
    failures = (*failures, *bad_lesions, *bad_numbers)
    tables = {
        OVERRIDES: Override,
        LESIONS: LesionEdit,
        MEASUREMENTS: MeasurementEdit,
        MASK_READERS: MaskReader,
    }
    return Edits(
        overrides=overrides,
        measurements=measurements,
        lesions=lesions,
        masks=masks,
        failures=(
            *(replace(one, step="response") for one in failures),
            *bad_readers,
            *bad_masks,
        ),
        notes=(
            *(
                note
                for name, kind in tables.items()
                if (place / name).is_file()
                for note in column_notes(place / name, kind)
            ),
            *_unread(place, {MASKS, *tables}),
        ),
    )


def with_edits(
    patients: Iterable[Patient], edits: Edits, earlier_tracks: tuple[LesionTrack, ...] = ()
) -> tuple[tuple[Patient, ...], tuple[Failure, ...]]:
    """Give every patient the edits that concern it; a patient with an edit that cannot be used is left out.

    An edit of a patient that is not there is a failure of its own.

    Parameters
    ----------
    earlier_tracks
        The lesions through time of the run that the edits correct, so that lesions keep their ids.
    """
    patients = tuple(patients)
    failed = {failure.patient_id for failure in edits.failures}
    kept = tuple(
        replace(one, edits=edits.of(one.patient_id, earlier_tracks))
        for one in patients
        if one.patient_id not in failed
    )
    return kept, (*edits.failures, *_unknown(edits, {one.patient_id for one in patients}))


def _unread(place: Path, known: set[str]) -> list[str]:
    """Return a note for each entry of the folder that has none of the known names: it may be misspelt."""
    found = sorted(path.name for path in place.iterdir()) if place.is_dir() else []
    unread = [name for name in found if name not in known and not name.startswith((".", "~"))]
    expected = ", ".join(sorted(known))
    return [f"{FOLDER}/{name} is not read, expected one of {expected}" for name in unread]


def _own(rows: tuple[Row, ...], patient_id: str) -> tuple[Row, ...]:
    return tuple(row for row in rows if row.patient_id == patient_id)


def _rows(
    path: Path,
    kind: type[Row],
    check: Callable[[Row, str, date], Row],
    *,
    complete: Callable[[dict[str, str]], dict[str, str]] = dict,
) -> tuple[tuple[Row, ...], tuple[Failure, ...]]:
    """Read one table of edits; a row without a date of its own is dated by the file's last change (UTC)."""
    if not path.is_file():
        return (), ()
    changed = _changed(path)
    return read_checked(path, kind, lambda row, place: check(row, place, changed), complete=complete)


def _changed(path: Path) -> date:
    return datetime.fromtimestamp(path.stat().st_mtime, tz=UTC).date()


def _unknown(edits: Edits, known: set[str]) -> list[Failure]:
    return [
        Failure(
            patient_id=name,
            code="unknown_patient",
            message=f"{FOLDER}/{file} names a patient that is not among the {len(known)} assessed",
            step="response",
        )
        for name, file in sorted(edits.named().items())
        if name not in known
    ]


def _override(row: Override, place: str, changed: date) -> Override:
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


def _lesion(row: LesionEdit, place: str, changed: date) -> LesionEdit:
    if row.role is None and row.new_lesion_status is None and not row.same_as:
        problem = ": found no decision, expected at least one of role, new_lesion_status, same_as"
    elif row.role is not None and row.role not in STATED_ROLES:
        problem = f" column role: found {row.role}, expected one of {', '.join(STATED_ROLES)}"
    elif row.same_as == row.lesion_id:
        problem = f" column same_as: found {row.same_as}, expected another lesion"
    elif row.same_as and (row.role is not None or row.new_lesion_status is not None):
        problem = (
            f": found same_as {row.same_as} beside another decision, expected that in a row of {row.same_as}: "
            f"{row.lesion_id} is measured as that lesion"
        )
    else:
        return replace(row, when=row.when or changed)
    raise DataError(f"{place}{problem}", code="bad_value", patient_id=row.patient_id)


def _mask_reader(row: MaskReader, place: str, _changed: date) -> MaskReader:
    mask = row.mask.strip().lower()
    if mask not in MASK_NAMES:
        raise DataError(
            f"{place} column mask: found {row.mask!r}, expected one of {', '.join(MASK_NAMES)}",
            code="bad_value",
            patient_id=row.patient_id,
            study_date=row.study_date,
        )
    return replace(row, mask=mask)


def _contradictions(rows: Iterable[LesionEdit]) -> list[Failure]:
    """Return a failure where two rows decide differently about one lesion; a role may differ between phases."""
    said: dict[tuple[str, str, str, str], set[str]] = {}
    for row in rows:
        decisions = (
            ("role", row.treatment_phase, row.role),
            ("new_lesion_status", "", row.new_lesion_status),
            ("same_as", "", row.same_as),
        )
        for column, phase, word in decisions:
            if word:
                said.setdefault((row.patient_id, row.lesion_id, column, phase), set()).add(word)
    return [
        Failure(
            patient_id=patient_id,
            code="bad_value",
            message=f"{LESIONS} column {column}: found {' and '.join(sorted(words))} for {lesion_id}, expected one",
        )
        for (patient_id, lesion_id, column, _), words in sorted(said.items())
        if len(words) > 1
    ]


def _mask_contradictions(rows: Iterable[MaskReader]) -> list[Failure]:
    """Return a failure where two readers are named for one mask: only one of them would stand in the audit."""
    said: dict[tuple[str, date, str], set[str]] = {}
    for row in rows:
        said.setdefault((row.patient_id, row.study_date, row.mask), set()).add(row.reader.strip())
    return [
        Failure(
            patient_id=patient_id,
            study_date=study_date,
            code="bad_value",
            message=f"{MASK_READERS} column reader: found {' and '.join(sorted(readers))} for the mask {mask}, "
            "expected one",
        )
        for (patient_id, study_date, mask), readers in sorted(said.items())
        if len(readers) > 1
    ]


def _without_mask(readers: Iterable[MaskReader], masks: Iterable[MaskEdit]) -> list[Failure]:
    """Return a failure where a reader is named for a mask that is not there: it, or its reader, would be missing."""
    there = {(row.patient_id, row.study_date, row.mask) for row in masks}
    missing = {(row.patient_id, row.study_date, row.mask) for row in readers} - there
    return [
        Failure(
            patient_id=patient_id,
            study_date=study_date,
            code="bad_edit",
            message=f"{MASK_READERS}: found no mask {Path(MASKS, patient_id, str(study_date), mask)}{_MASK_SUFFIX}, "
            "expected it",
        )
        for patient_id, study_date, mask in sorted(missing)
    ]


def _numbers(path: Path) -> tuple[tuple[MeasurementEdit, ...], tuple[Failure, ...]]:
    """Read numbers as a reader types them: bare, or one of the words that stand for their absence."""
    seen: set[tuple[str, str, date, str]] = set()

    def number(row: MeasurementEdit, place: str, changed: date) -> MeasurementEdit:
        key = (row.patient_id, row.lesion_id, row.study_date, row.assessed_by)
        if key in seen:
            raise DataError(
                f"{place}: found {row.lesion_id} twice at one study, expected one row",
                code="bad_value",
                patient_id=row.patient_id,
                study_date=row.study_date,
            )
        seen.add(key)
        return replace(row, when=row.when or changed)

    return _rows(path, MeasurementEdit, number, complete=complete_edit)


def _masks(root: Path, readers: tuple[MaskReader, ...]) -> tuple[tuple[MaskEdit, ...], tuple[Failure, ...]]:
    """Find the corrected masks: ``<patient_id>/<study_date>/{liver,lesions,viable}.nii.gz``."""
    who = {(row.patient_id, row.study_date, row.mask): row for row in readers}
    found: list[MaskEdit] = []
    failures: list[Failure] = []
    # not rglob: it passes over folders that are links
    levels = ("/".join("*" * depth) for depth in range(1, _MASK_DEPTH + 2))
    for path in sorted(path for level in levels for path in root.glob(level) if _is_mask(path)):
        parts = path.relative_to(root).parts
        mask = path.name.removesuffix(_MASK_SUFFIX)
        study_date = _date(parts[1]) if len(parts) == _MASK_DEPTH else None
        if study_date is None or mask not in MASK_NAMES:
            patient_id = parts[0] if len(parts) > 1 and is_safe_id(parts[0]) else UNNAMED
            failures.append(_misplaced(path, patient_id, study_date))
            continue
        patient_id = parts[0]
        said = who.get((patient_id, study_date, mask))
        found.append(
            MaskEdit(
                patient_id=patient_id,
                study_date=study_date,
                mask=mask,
                reader="" if said is None else said.reader,
                reason="" if said is None else said.reason,
                root=root,
                when=_changed(path),
                sha256=_sha256(path),
            )
        )
    return tuple(found), tuple(failures)


def _sha256(path: Path) -> str:
    with path.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def _is_mask(path: Path) -> bool:
    """Tell whether a file is meant as a mask; what viewers save beside it is not."""
    name = path.name.lower()
    stem = name.split(".")[0]
    if not path.is_file() or not stem:
        return False
    return stem in MASK_NAMES or name.endswith(_IMAGE_SUFFIXES) or is_mask_file(path)


def _misplaced(path: Path, patient_id: str, study_date: date | None) -> Failure:
    names = ", ".join(f"{name}{_MASK_SUFFIX}" for name in MASK_NAMES)
    return Failure(
        patient_id=patient_id,
        study_date=study_date,
        code="bad_mask_name",
        message=f"{FOLDER}/{MASKS}: found '{path.name}' in the folder '{path.parent.name}', expected one of {names} in "
        "the folder PATIENT/STUDY-DATE",
        path=path,
    )


def _date(text: str) -> date | None:
    try:
        return date.fromisoformat(text)
    except ValueError:
        return None
