"""What `mrresponse check` shows: each series and what it was taken for, what is missing, what cannot be used.

Series descriptions may carry names; they are for the terminal and for the user's own manifest, not for a run folder.
"""

import math
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path

from mrresponse.domain import Agent, ContrastPhase, Failure, Patient, Series, Study
from mrresponse.errors import DataError
from mrresponse.files import write_atomically
from mrresponse.ingest import check_scale
from mrresponse.ingest.inputs import Identity, Ingested, as_failure
from mrresponse.tables import format_rows

TAKEN, MISSING, LEFT_OUT, UNDECIDED, FAILED = "taken", "missing", "left out", "undecided", "failed"
_PRIVATE_MODE = 0o600
# Slice spacings are rounded to 0.01 mm.
_SAME_STEP = 0.01


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckRow:
    """One line of the report: a series taken or left out, something missing, or a failure."""

    patient_id: str
    study_date: date | None
    status: str
    series: str = ""
    contrast_phase: ContrastPhase | None = None
    agent: Agent | None = None
    why: str
    description: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class _ManifestLine:
    """One line of the inferred manifest."""

    patient_id: str
    study_date: date
    contrast_phase: ContrastPhase | None
    path: str
    series_description: str = ""
    agent: Agent | None = None


def with_refused_scales(ingested: Ingested) -> Ingested:
    """Add the failures of studies whose grey values `run` will refuse, as far as their headers tell.

    Their patients stay, so that the inferred manifest has their series: there one may be stated as ``OTHER``.
    """
    return replace(
        ingested, failures=(*ingested.failures, *(one for one in map(_scale, _studies(ingested)) if one))
    )


def check_report(ingested: Ingested) -> tuple[CheckRow, ...]:
    """Return the report, by patient and study: series first, then what is missing, left out and failed."""
    rows = [*_study_rows(_studies(ingested))]
    rows += [_untreated_row(patient) for patient in ingested.patients if not patient.treatments]
    rows += [
        CheckRow(
            patient_id=item.patient_id,
            study_date=item.study_date,
            status=UNDECIDED if item.undecided else LEFT_OUT,
            series="" if item.series_number is None else str(item.series_number),
            why=item.reason,
            description=item.description,
        )
        for item in ingested.left_out
    ]
    rows += [
        CheckRow(
            patient_id=failure.patient_id,
            study_date=failure.study_date,
            status=FAILED,
            series=failure.series or "",
            why=f"{failure.message} [{failure.code}]",
        )
        for failure in ingested.failures
    ]
    order = (TAKEN, MISSING, LEFT_OUT, UNDECIDED, FAILED)
    return tuple(
        sorted(
            rows,
            key=lambda row: (row.patient_id, row.study_date or date.max, order.index(row.status)),
        )
    )


def write_manifest(path: Path, ingested: Ingested) -> None:
    """Write what was inferred as ``manifest.csv`` for editing.

    Paths are relative to the manifest's folder where they can be. A series whose contrast phase is not known is
    written without one, to be filled in.
    """
    write_atomically(path, _manifest(path.parent, ingested))


def write_identities(path: Path, ingested: Ingested) -> None:
    """Write which pseudonym each DICOM patient has, readable by the owner only.

    An id that several issuers gave to different patients is left out: the list has no place for the issuer.
    """
    write_atomically(path, _identities(ingested), mode=_PRIVATE_MODE)


def tables_in_the_way(folder: Path, ingested: Ingested) -> tuple[str, ...]:
    """Return which of the two tables a folder has, and not as they would be written there: they may be edited."""
    tables = {"manifest.csv": _manifest(folder, ingested), "identities.csv": _identities(ingested)}
    return tuple(
        name
        for name, content in tables.items()
        if (folder / name).exists() and (folder / name).read_bytes() != content
    )


def _manifest(folder: Path, ingested: Ingested) -> bytes:
    lines = [
        _ManifestLine(
            patient_id=study.patient_id,
            study_date=study.study_date,
            contrast_phase=series.contrast_phase,
            path=_manifest_path(
                series.files[0] if series.files else series.path, folder, next(iter(series.frames), None)
            ),
            series_description=series.description,
            agent=series.agent,
        )
        for study in _studies(ingested)
        for series in study.series
    ]
    lines += [
        _ManifestLine(
            patient_id=item.patient_id,
            study_date=item.study_date,
            contrast_phase=None,
            path=_manifest_path(item.path, folder, item.frame),
            series_description=item.description,
        )
        for item in ingested.left_out
        if item.undecided and item.path is not None and item.study_date is not None
    ]
    lines.sort(key=lambda line: (line.patient_id, line.study_date))
    return format_rows(lines, _ManifestLine).encode("utf-8")


def _identities(ingested: Ingested) -> bytes:
    names: dict[str, set[str]] = {}
    for row in ingested.identities:
        names.setdefault(row.dicom_patient_id, set()).add(row.patient_id)
    rows = [row for row in ingested.identities if len(names[row.dicom_patient_id]) == 1]
    return format_rows(rows, Identity).encode("utf-8")


def missing_parts(study: Study) -> tuple[str, ...]:
    """Return what a study lacks and what follows from it."""
    phases = {series.contrast_phase for series in study.series}
    if phases <= {ContrastPhase.OTHER}:
        return ("no T1 contrast phase: lesions and viability cannot be assessed",)
    found = []
    if ContrastPhase.ARTERIAL not in phases:
        found.append("no arterial series: viability cannot be assessed")
    if ContrastPhase.PRECONTRAST not in phases:
        found.append(
            "no precontrast series: viability cannot be assessed, unless measure.without_precontrast says 'arterial'"
        )
    if not phases & {ContrastPhase.PORTAL_VENOUS, ContrastPhase.DELAYED}:
        found.append("no portal venous or delayed series: washout cannot be judged")
    if all(series.agent is None for series in study.series):
        found.append("contrast agent not known")
    found += _short_series(study)
    return tuple(found)


def _short_series(study: Study) -> Iterator[str]:
    """Name the contrast phases with fewer slices than others as far apart: slices lost at an end leave no gap.

    And those that cover the same stack with every second slice, or third, which leaves the same gap everywhere.
    """
    most: dict[float | None, int] = {}
    dynamic = [one for one in study.series if one.files and one.contrast_phase is not ContrastPhase.OTHER]
    for series in dynamic:
        spacing = series.slice_thickness_mm
        most[spacing] = max(most.get(spacing, 0), len(series.files))
    for series in dynamic:
        count, expected = len(series.files), most[series.slice_thickness_mm]
        if count < expected:
            yield (
                f"{count} slices in {series.contrast_phase}, {expected} in others of this spacing: slices may be "
                "missing at its ends"
            )
        elif finer := next((one for one in dynamic if _is_thinned(series, one)), None):
            yield (
                f"{count} slices {series.slice_thickness_mm:g} mm apart in {series.contrast_phase}, "
                f"{len(finer.files)} slices {finer.slice_thickness_mm:g} mm apart in {finer.contrast_phase}: slices "
                "may be missing between others"
            )


def _is_thinned(series: Series, other: Series) -> bool:
    """Tell whether a series has the slices of another one but for every second, or so."""
    apart = (series.slice_thickness_mm or 0.0) / (other.slice_thickness_mm or math.inf)
    step = round(apart)
    return (
        step > 1
        and math.isclose(apart, step, rel_tol=_SAME_STEP)
        and abs(step * len(series.files) - len(other.files)) < step
    )


def _scale(study: Study) -> Failure | None:
    try:
        check_scale(study)
    except DataError as error:
        return as_failure(error)
    return None


def _study_rows(studies: Iterable[Study]) -> Iterator[CheckRow]:
    for study in studies:
        for series in study.series:
            yield CheckRow(
                patient_id=study.patient_id,
                study_date=study.study_date,
                status=TAKEN,
                series="" if series.series_number is None else str(series.series_number),
                contrast_phase=series.contrast_phase,
                agent=series.agent,
                why=series.phase_reason,
                description=series.description,
            )
        for text in missing_parts(study):
            yield CheckRow(patient_id=study.patient_id, study_date=study.study_date, status=MISSING, why=text)


def _untreated_row(patient: Patient) -> CheckRow:
    return CheckRow(
        patient_id=patient.patient_id,
        study_date=None,
        status=MISSING,
        why="no treatment in treatments.csv: one treatment phase 'course' with the first study as baseline",
    )


def _studies(ingested: Ingested) -> tuple[Study, ...]:
    """Return all studies that can be read, those of failed patients too."""
    return (
        tuple(study for patient in ingested.patients for study in patient.studies) + ingested.failed_studies
    )


def _manifest_path(path: Path, folder: Path, frame: int | None) -> str:
    """Return a path relative to the manifest where it can be; of a multi-frame file with the first frame meant."""
    mark = "" if frame is None else f"#{frame + 1}"
    target = Path(os.path.abspath(path))
    home = Path(os.path.abspath(folder))
    place = target.relative_to(home) if target.is_relative_to(home) else target
    return f"{place.as_posix()}{mark}"
