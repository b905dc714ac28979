"""Write the DICOM objects of a finished run: ``<patient>/<date>/lesions.dcm`` and ``measurements.dcm``."""

import io
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path

from pydicom.dataset import Dataset

from mrresponse.domain import PatientResult
from mrresponse.errors import ConfigError
from mrresponse.files import write_atomically
from mrresponse.report.dicom.measurement_report import VisitNumbers, measurement_report
from mrresponse.report.dicom.segmentation import Segment, read_segments, segmentation
from mrresponse.report.dicom.source import NO_DATE, NO_TIME, SourceSeries, derived_uid, read_source, uid_key
from mrresponse.report.run import FinishedRun

_DATES = ("ContentDate", "SeriesDate", "InstanceCreationDate")
_TIMES = ("ContentTime", "SeriesTime", "InstanceCreationTime")

_UTF_8 = "ISO_IR 192"

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Visit:
    """One study on its way to DICOM."""

    result: PatientResult
    source: SourceSeries
    first: SourceSeries
    segments: tuple[Segment, ...]
    segmented: Dataset


def export_segmentations(run: FinishedRun, folder: Path) -> None:
    """Write a DICOM SEG per study.

    Raises
    ------
    ConfigError
        No study was read from DICOM, or the run was interrupted.
    DataError
        The source images are not where the run read them, or a mask does not fit them.
    """
    with _silenced():
        for visit in _visits(run):
            _write(visit.segmented, _place(folder, run, visit) / "lesions.dcm", run)


def export_structured_reports(run: FinishedRun, folder: Path) -> None:
    """Write a DICOM SR per study, which refers to its SEG.

    Raises
    ------
    ConfigError, DataError
        As `export_segmentations`.
    """
    with _silenced():
        for visit in _visits(run):
            report = measurement_report(
                visit.source,
                visit.segments,
                visit.segmented,
                _numbers(visit),
                first_study=visit.first.study,
            )
            _write(report, _place(folder, run, visit) / "measurements.dcm", run)


@contextmanager
def _silenced() -> Iterator[None]:
    """Keep the libraries quiet: they repeat values of the source's headers, names and UIDs too."""
    library = logging.getLogger("highdicom")
    before = library.level
    library.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        library.setLevel(before)


def _visits(run: FinishedRun) -> Iterator[_Visit]:
    if not run.record.get("finished"):
        raise ConfigError(
            "--to: DICOM output needs a finished run: the masks of this one may be others than its tables rest on; run "
            "again to go on"
        )
    key = uid_key(run.folder) if run.deidentify else None
    algorithm = str(run.record.get("segmenter") or "")
    found = 0
    for result in run.results:
        first = None
        for record in result.studies:
            source = read_source(run.folder, record.patient_id, record.study_date, key=key)
            if source is None:
                _log.warning(
                    "%s %s: not read from DICOM, no DICOM output", record.patient_id, record.study_date
                )
                continue
            found += 1
            first = first or source
            masks = run.folder / "masks" / record.patient_id / record.study_date.isoformat()
            segments = read_segments(masks, source, result.tracks)
            segmented = segmentation(
                source,
                segments,
                first_study=first.study,
                algorithm=None if algorithm in ("", "mask") else algorithm,
                corrected=_corrected_masks(result, record.study_date),
            )
            yield _Visit(result=result, source=source, first=first, segments=segments, segmented=segmented)
    if not found:
        raise ConfigError(
            "--to: DICOM output needs DICOM input: its objects belong to the study of their source images, and this "
            "run read none from DICOM; the masks are there as NIfTI"
        )


def _corrected_masks(result: PatientResult, day: date) -> frozenset[str]:
    """Name the masks of a study that a reader corrected, as the audit says."""
    edits = (row.edit.partition("/") for row in result.audit if row.study_date == day)
    return frozenset(mask for place, _, mask in edits if place == "masks")


def _numbers(visit: _Visit) -> VisitNumbers:
    result, day = visit.result, visit.source.study_date
    dates = [record.study_date for record in result.studies]
    return VisitNumbers(
        order=dates.index(day) + 1,
        days=(day - dates[0]).days,
        measurements=[row for row in result.measurements if row.study_date == day],
        unedited=[row for row in result.unedited if row.study_date == day],
        assessments=[row for row in result.response.assessments if row.study_date == day],
        roles=result.response.roles,
    )


def _place(folder: Path, run: FinishedRun, visit: _Visit) -> Path:
    """Return the folder of a study; without the patient's identity it does not name the date either."""
    day = visit.source.study_date
    if run.deidentify:
        dates = [record.study_date for record in visit.result.studies]
        return folder / visit.source.patient_id / f"visit-{dates.index(day) + 1:02d}"
    return folder / visit.source.patient_id / day.isoformat()


def _write(made: Dataset, path: Path, run: FinishedRun) -> None:
    """Write an object with the time of the run, so that the same run gives the same bytes.

    Its text is UTF-8: names of readers, criteria and phases need more letters than the source images may have had.
    """
    made.SpecificCharacterSet = _UTF_8
    finished = datetime.fromisoformat(str(run.record["finished"]))
    day, moment = finished.strftime("%Y%m%d"), finished.strftime("%H%M%S")
    if run.deidentify:
        day, moment = NO_DATE, NO_TIME
    for element in made.iterall():
        if element.keyword in _DATES:
            element.value = day
        elif element.keyword in _TIMES:
            element.value = moment
        elif element.keyword == "ContributionDateTime":
            element.value = day + moment
        elif element.keyword == "DimensionOrganizationUID":
            element.value = derived_uid("dimensions", str(made.SOPInstanceUID))
    buffer = io.BytesIO()
    made.save_as(buffer, enforce_file_format=True)
    write_atomically(path, buffer.getvalue())
