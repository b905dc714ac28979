"""The numbers half of the line, from stored rows to responses and exports; no image is read, no network is loaded."""

import logging
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from mrresponse.corrections import (
    check_images_are_edited,
    contradicting_sizes,
    correct_measurements,
    is_of_images,
    joined_tracks,
)
from mrresponse.domain import (
    Assessment,
    Contribution,
    Failure,
    Finding,
    LesionRole,
    Marker,
    Measurement,
    Outcome,
    PatientResult,
    StudyRecord,
    Treatment,
)
from mrresponse.errors import ConfigError, DataError
from mrresponse.ingest.numbers import read_measurements
from mrresponse.journal import log_fault
from mrresponse.measure import MeasureSettings
from mrresponse.report import summarise
from mrresponse.report.run import FinishedRun
from mrresponse.respond import RespondSettings, contributions, respond, settings_id
from mrresponse.respond.contributions import stale
from mrresponse.respond.repeats import error_of_repeats
from mrresponse.run_rows import PatientRow, patient_row
from mrresponse.store import RunFolder, figures_of
from mrresponse.tables import Table

REPEATS = "repeats.csv"
# Sums are stored rounded to six places.
_SUM_ROUNDING = 1e-6

_log = logging.getLogger(__name__)


def respond_again(
    results: Iterable[PatientResult], settings: RespondSettings, measure: MeasureSettings | None = None
) -> Iterator[Outcome]:
    """Classify every visit of every patient again; a patient that cannot be assessed becomes a failure.

    Parameters
    ----------
    measure
        From which size on a new lesion is definite, where readers typed sizes; by default that of `MeasureSettings`.
    """
    for result in results:
        patient = result.patient
        try:
            check_images_are_edited(result)
            measurements, audit = correct_measurements(
                result.unedited or result.measurements, patient.edits, result.tracks, measure
            )
            response = respond(patient, result.studies, measurements, settings)
            doubts = contradicting_sizes(measurements, patient.edits)
        except DataError as error:
            yield Failure(
                patient_id=patient.patient_id,
                study_date=error.study_date,
                code=error.code,
                message=error.message,
                path=error.path,
                step="response",
            )
        except Exception as error:
            # an unforeseen fault of one patient must not cost the others their results
            log_fault(_log, f"{patient.patient_id}: unexpected {type(error).__name__}", error)
            yield Failure(
                patient_id=patient.patient_id,
                code="internal",
                message=f"unexpected {type(error).__name__}; please report it (details in the log)",
                step="response",
            )
        else:
            yield replace(
                result,
                measurements=measurements,
                unedited=result.unedited or result.measurements,
                response=replace(response, flags=(*response.flags, *doubts)),
                audit=(*filter(is_of_images, result.audit), *audit),
            )


def with_repeats(settings: RespondSettings, folder: Path) -> RespondSettings:
    """Take the error of one reading from ``repeats.csv``, where the folder has repeated readings.

    Raises
    ------
    DataError
        The table cannot be read, a row of it cannot be used, or it has too few repeated readings.
    """
    file = folder / REPEATS
    if not file.is_file():
        return settings
    rows, failures = read_measurements(file)
    if failures:
        raise DataError(
            failures[0].message, code=failures[0].code, patient_id=failures[0].patient_id, path=file
        )
    return replace(settings, measurement_error=error_of_repeats(rows, settings.measurement_error))


def finished_run(folder: RunFolder, *, study_id: str) -> FinishedRun:
    """Read a run folder back for exporting, with what every lesion gave to every assessment.

    Lesions that a reader says are one are one in the tracks of the results, as they are in the measurements.

    Raises
    ------
    ConfigError
        Nothing was assessed yet, or it was with other settings than those of ``run.json``.
    DataError
        A table is missing or holds a value that cannot be read, or the assessments rest on other tables.
    """
    settings = folder.info().settings.respond
    results, failures = folder.read()
    if not any(result.response.assessments for result in results):
        raise ConfigError(
            "DIR: no assessments in this folder, expected a run; `mrresponse respond DIR` makes them"
        )
    tables = folder.tables()
    return FinishedRun(
        results=tuple(replace(result, tracks=joined_tracks(result.tracks)) for result in results),
        failures=failures,
        contributions=tuple(row for result in results for row in _contributions(result, settings)),
        tables=(*_given_tables(results), *tables),
        figures=figures_of(
            [summarise(result) for result in results],
            level=settings.interval_level,
            day_count=settings.day_count,
        ),
        record=folder.record(),
        folder=folder.path,
        study_id=study_id,
    )


def _contributions(result: PatientResult, settings: RespondSettings) -> Sequence[Contribution]:
    expected = settings_id(settings)
    made_with = {row.settings_id for row in result.response.assessments} - {expected}
    if made_with:
        raise ConfigError(
            f"DIR: {result.patient.patient_id} was assessed with settings {made_with.pop()}, those of run.json are "
            f"{expected}; `mrresponse respond DIR` assesses again"
        )
    found = contributions(result.patient, result.studies, result.measurements, result.response, settings)
    _check_sums(result.response.assessments, found)
    return found


def _check_sums(assessments: Iterable[Assessment], found: Iterable[Contribution]) -> None:
    """Refuse sums that are not those of the targets as they are measured now.

    Raises
    ------
    DataError
        ``stale_assessments``: the measurements were changed after the assessment.
    """
    targets: dict[tuple[object, ...], list[float | None]] = {}
    for lesion in found:
        if lesion.role is LesionRole.TARGET:
            targets.setdefault(_visit_key(lesion), []).append(lesion.value)
    for row in assessments:
        values = targets.get(_visit_key(row), [])
        if row.current_burden is None:
            continue
        total = math.fsum(value for value in values if value is not None)
        if None in values or not math.isclose(total, row.current_burden, rel_tol=1e-9, abs_tol=_SUM_ROUNDING):
            raise stale(row)


def _visit_key(row: Assessment | Contribution) -> tuple[object, ...]:
    return row.treatment_phase, row.criterion, row.reader, row.study_date


def _given_tables(results: Sequence[PatientResult]) -> tuple[Table, ...]:
    """Return what was measured and given, as it was understood: typed tables may have left parts to be inferred."""
    patients = [result.patient for result in results]
    return (
        Table(
            name="measurements",
            row_type=Measurement,
            rows=tuple(row for result in results for row in result.measurements),
        ),
        Table(
            name="studies",
            row_type=StudyRecord,
            rows=tuple(row for result in results for row in result.studies),
        ),
        Table(
            name="treatments",
            row_type=Treatment,
            rows=tuple(row for one in patients for row in one.treatments),
        ),
        Table(name="findings", row_type=Finding, rows=tuple(row for one in patients for row in one.findings)),
        Table(name="markers", row_type=Marker, rows=tuple(row for one in patients for row in one.markers)),
        Table(name="patients", row_type=PatientRow, rows=tuple(map(patient_row, patients))),
    )
