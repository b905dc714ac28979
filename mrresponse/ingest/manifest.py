"""Images named one by one: ``manifest.csv``, or the names of a BIDS-like tree.

A path in the manifest is relative to the manifest's folder and may not climb out of it with ``..``; an absolute path
is believed, because only the user can have written it.
"""

import csv
import io
import math
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path

from mrresponse.domain import Agent, ContrastPhase, Failure, Series
from mrresponse.errors import DataError
from mrresponse.ingest.inputs import (
    UNNAMED,
    Collected,
    FoundSeries,
    IngestSettings,
    LeftOut,
    as_failure,
    is_safe_id,
    located,
)
from mrresponse.ingest.patient_tables import column_notes, read_checked
from mrresponse.ingest.patterns import phase_from_text
from mrresponse.tables import is_plausible

MANIFEST = "manifest.csv"
# Suffixes of BIDS that say of an image that it is no T1-weighted one, and those of masks.
_NO_T1 = re.compile(
    r"t2\w*|pd\w*|flair|dwi|adc|bold|asl|swi|mra?|angio|[rt][12]\w*map|\w*fraction|mask|\w*seg"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ManifestRow:
    """One row of ``manifest.csv``: a file, or a folder with one DICOM series.

    ``frame``, counted from 1, tells which of several volumes in a multi-frame file is meant: ``file#frame``.
    """

    patient_id: str
    study_date: date
    contrast_phase: ContrastPhase
    path: Path
    series_description: str = ""
    agent: Agent | None = None
    place: str = ""
    frame: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _TypedRow:
    """``manifest.csv`` as typed: a contrast phase that is not one of the words has its own message."""

    patient_id: str
    study_date: date
    contrast_phase: str | None
    path: str
    series_description: str = ""
    agent: Agent | None = None


def read_manifest(data: Path) -> tuple[tuple[ManifestRow, ...], Collected]:
    """Read ``manifest.csv`` of a data folder, where there is one, with its bad rows and notes.

    Raises
    ------
    DataError
        ``bad_table``: the file is no table, or lacks a column it needs.
    """
    path = data / MANIFEST
    if not path.exists():
        return (), Collected()

    def make(row: _TypedRow, place: str) -> ManifestRow:
        return _checked(row, place, data)

    rows, failures = read_checked(path, _TypedRow, make)
    return rows, Collected(failures=failures, notes=column_notes(path, _TypedRow))


def each_file_once(rows: Sequence[ManifestRow]) -> tuple[tuple[ManifestRow, ...], Collected]:
    """Return the rows whose NIfTI file no other row of the patient names; the others are failures.

    One file is one contrast phase of one study: as two, it would show no enhancement, or no change.
    """
    by_file: dict[str, list[ManifestRow]] = {}
    for row in rows:
        by_file.setdefault(os.path.abspath(row.path), []).append(row)
    once = []
    failures = []
    for row in rows:
        named = by_file[os.path.abspath(row.path)]
        others = [one for one in named if one is not row and one.patient_id == row.patient_id]
        if others:
            failures.append(manifest_mismatch(row, f"{others[0].place} names this file too, expected one"))
        else:
            once.append(row)
    shared = [named for named in by_file.values() if len({row.patient_id for row in named}) > 1]
    note = f"{MANIFEST}: files named for more than one patient: {len(shared)}"
    return tuple(once), Collected(failures=tuple(failures), notes=(note,) if shared else ())


def nifti_series(row: ManifestRow) -> FoundSeries:
    """Return the NIfTI file that a manifest row names as a series, its header checked.

    Raises
    ------
    DataError
        ``manifest_mismatch`` where the row names a frame, which only a DICOM file has; the codes of
        `mrresponse.nifti.read_grid`.
    """
    if row.frame is not None:
        raise DataError(
            f"{row.place} column path: found frame {row.frame} of a NIfTI file, expected the file alone: one volume "
            "is one contrast phase, only multi-frame DICOM has frames",
            code="manifest_mismatch",
            path=row.path,
        )
    series = Series(
        path=row.path,
        contrast_phase=row.contrast_phase,
        phase_reason="stated in the manifest",
        description=row.series_description,
        agent=row.agent,
    )
    return _with_header(row.patient_id, row.study_date, series)


def read_bids(data: Path, settings: IngestSettings) -> Collected:
    """Read a BIDS-like tree: ``sub-*/[ses-*/]**/*.nii[.gz]`` with the contrast phase in ``ce-`` or ``acq-``.

    The date of a session is the ``acq_time`` of its ``scans.tsv`` or of ``sessions.tsv``, or its label
    ``ses-YYYYMMDD``.
    """
    collected = []
    failures = []
    left_out = []
    for path in sorted(data.glob("sub-*/**/*.nii*")):
        parts = path.relative_to(data).parts
        patient_id = parts[0].removeprefix("sub-")
        try:
            found = _bids_series(data, path, settings)
        except DataError as error:
            failures.append(as_failure(error, patient_id=patient_id if is_safe_id(patient_id) else UNNAMED))
            continue
        if isinstance(found, LeftOut):
            left_out.append(found)
        else:
            collected.append(found)
    return Collected(series=tuple(collected), failures=tuple(failures), left_out=tuple(left_out))


def unnamed_bids(data: Path, rows: Sequence[ManifestRow]) -> tuple[str, ...]:
    """Return a note where a manifest names some of the files of a BIDS-like tree only: the names then say nothing."""
    named = {os.path.abspath(row.path) for row in rows}
    count = sum(os.path.abspath(path) not in named for path in data.glob("sub-*/**/*.nii*"))
    note = f"{MANIFEST} names NIfTI files, so the others of the BIDS-like tree are not read: {count}"
    return (note,) if count else ()


def is_bids(data: Path) -> bool:
    """Tell whether a folder has NIfTI files below folders named ``sub-…``."""
    return next(data.glob("sub-*/**/*.nii*"), None) is not None


def _checked(row: _TypedRow, place: str, data: Path) -> ManifestRow:
    try:
        phase = ContrastPhase((row.contrast_phase or "").strip().upper())
    except ValueError:
        found = repr(row.contrast_phase) if row.contrast_phase else "nothing"
        words = ", ".join(word.value for word in ContrastPhase)
        raise DataError(
            f"{place} column contrast_phase: found {found}, expected one of {words}",
            code="unknown_contrast_phase",
            study_date=row.study_date,
        ) from None
    path, frame = _without_frame(row.path)
    if not path.is_absolute():
        if Path(os.path.normpath(path)).parts[:1] == ("..",):
            raise DataError(
                f"{place} column path: found a path that leaves the data folder, expected one inside it or an "
                "absolute path",
                code="path_outside",
                study_date=row.study_date,
            )
        path = data / path
    # not Path.exists: it raises where a name is too long for the file system
    if not os.path.exists(path):
        raise DataError(
            f"{place} column path: found no such file, expected a NIfTI file or a DICOM file or folder",
            code="unreadable",
            study_date=row.study_date,
            path=path,
        )
    return ManifestRow(
        patient_id=row.patient_id,
        study_date=row.study_date,
        contrast_phase=phase,
        path=path,
        series_description=row.series_description,
        agent=row.agent,
        place=place,
        frame=frame,
    )


def _without_frame(text: str) -> tuple[Path, int | None]:
    """Part ``file#frame`` into both."""
    name, mark, number = text.rpartition("#")
    return (Path(name), int(number)) if mark and number.isdecimal() else (Path(text), None)


def _with_header(patient_id: str, study_date: date, series: Series) -> FoundSeries:
    from mrresponse.nifti import read_grid

    try:
        grid = read_grid(series.path)
    except DataError as error:
        raise located(error, patient_id=patient_id, study_date=study_date, series=series.name) from None
    thickness = _slice_spacing(grid.affine[:3, :3].T.tolist())
    return FoundSeries(
        patient_id=patient_id,
        study_date=study_date,
        series=replace(series, slice_thickness_mm=thickness),
    )


def _slice_spacing(axes: list[list[float]]) -> float:
    """Return the spacing of the voxel axis closest to cranio-caudal, rounded to 0.01 mm."""
    lengths = [math.hypot(*axis) for axis in axes]
    index = max(range(3), key=lambda axis: abs(axes[axis][2]) / lengths[axis])
    return round(lengths[index], 2)


def _bids_series(data: Path, path: Path, settings: IngestSettings) -> FoundSeries | LeftOut:
    parts = path.relative_to(data).parts
    patient_id = parts[0].removeprefix("sub-")
    if not is_safe_id(patient_id):
        raise DataError(
            "folder sub-…: found a label that cannot name a patient", code="bad_patient_id", path=path
        )
    study_date = _session_date(data, path)
    entities = dict(part.split("-", 1) for part in path.name.split(".")[0].split("_") if "-" in part)
    suffix = path.name.split(".")[0].split("_")[-1]
    no_t1 = _NO_T1.fullmatch(suffix.lower()) is not None
    stated = [f"{key}-{entities[key]}" for key in ("ce", "acq") if key in entities]
    for text in stated:
        phase = _stated_phase(text.split("-", 1)[1]) or phase_from_text(text.split("-", 1)[1], None, settings)
        if phase is not None and no_t1 and phase is not ContrastPhase.OTHER:
            return LeftOut(
                patient_id=patient_id,
                study_date=study_date,
                description=suffix,
                reason=f"file name: {text}, but {suffix} is not T1-weighted",
            )
        if phase is not None:
            series = Series(
                path=path, contrast_phase=phase, phase_reason=f"file name: {text}", description=suffix
            )
            return _with_header(patient_id, study_date, series)
    if not suffix.lower().startswith("t1") and not stated:
        return LeftOut(
            patient_id=patient_id,
            study_date=study_date,
            description=suffix,
            reason=f"file name states no contrast phase and {suffix} is not T1-weighted",
        )
    raise DataError(
        f"contrast phase unknown: file name has {' and '.join(stated) or 'neither ce- nor acq-'}, expected "
        "for example ce-ART, or a manifest.csv that names every file",
        code="unknown_contrast_phase",
        patient_id=patient_id,
        study_date=study_date,
        path=path,
    )


def _stated_phase(text: str) -> ContrastPhase | None:
    try:
        return ContrastPhase(text.upper())
    except ValueError:
        return None


def _session_date(data: Path, path: Path) -> date:
    parts = path.relative_to(data).parts
    subject = parts[0]
    session = next((part for part in parts[1:-1] if part.startswith("ses-")), None)
    home = data / subject / session if session else data / subject
    stem = f"{subject}_{session}" if session else subject
    name = path.relative_to(home).as_posix()
    found = _tsv_date(home / f"{stem}_scans.tsv", "filename", name)
    if found is None and session:
        found = _tsv_date(data / subject / f"{subject}_sessions.tsv", "session_id", session)
        label = re.fullmatch(r"ses-(\d{4})(\d{2})(\d{2})", session)
        if found is None and label:
            found = "-".join(label.groups())
    try:
        day = date.fromisoformat((found or "")[:10])
        if not is_plausible(day):
            raise ValueError
        return day
    except ValueError:
        shown = session or "no session folder"
        raise DataError(
            f"date unknown: found {shown} and no acq_time in scans.tsv or sessions.tsv, expected one of these or "
            "a folder ses-YYYYMMDD",
            code="no_study_date",
            patient_id=subject.removeprefix("sub-"),
            path=path,
        ) from None


def _tsv_date(path: Path, key: str, wanted: str) -> str | None:
    for row in _tsv_rows(path):
        if row.get(key) == wanted and row.get("acq_time") not in (None, "", "n/a"):
            return row["acq_time"]
    return None


def _tsv_rows(path: Path) -> list[dict[str, str]]:
    """Read a table of BIDS; names and dates are ASCII, whatever the rest of it is written in."""
    if not path.exists():
        return []
    try:
        text = path.read_bytes().decode("utf-8-sig", "replace")
        return list(csv.DictReader(io.StringIO(text, newline=""), delimiter="\t"))
    except (OSError, csv.Error) as error:
        raise DataError(
            f"{path.name}: cannot be read ({type(error).__name__}), expected tab-separated values",
            code="bad_table",
            path=path,
        ) from None


def manifest_failure(row: ManifestRow, error: DataError) -> Failure:
    """Return the failure of a manifest row, its place named."""
    return as_failure(located(error, patient_id=row.patient_id, study_date=row.study_date))


def manifest_mismatch(row: ManifestRow, reason: str) -> Failure:
    """Return the failure of a manifest row that contradicts a file or another row."""
    return Failure(
        patient_id=row.patient_id,
        study_date=row.study_date,
        code="manifest_mismatch",
        message=f"{row.place}: {reason}",
        path=row.path,
    )
