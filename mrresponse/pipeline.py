"""The straight line: one patient from series on disk to assessed treatment phases, and a cohort of them.

This is the shell of the program: reading series and handing masks on to be kept are its only contacts with the disk.
"""

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache, partial
from pathlib import Path
from time import perf_counter

from mrresponse.config import Settings
from mrresponse.domain import (
    ContrastPhase,
    ExaminedStudy,
    Failure,
    Image,
    LabelMap,
    Outcome,
    Patient,
    PatientResult,
    Series,
    Study,
    StudyRecord,
)
from mrresponse.errors import DataError
from mrresponse.execute import run_in_pool, run_serially
from mrresponse.ingest import read_series
from mrresponse.lesions import find_lesions
from mrresponse.measure import find_viable, measure, take_snapshots
from mrresponse.prepare import prepare
from mrresponse.quality import check_quality, review_level
from mrresponse.respond import respond
from mrresponse.segment import Segmenter, SegmentSettings, make_segmenter
from mrresponse.track import track

_log = logging.getLogger(__name__)

KeepMasks = Callable[[ExaminedStudy, LabelMap | None], None]


@dataclass(slots=True)
class _Clock:
    """Seconds spent per step."""

    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def time(self, step: str) -> Iterator[None]:
        start = perf_counter()
        try:
            yield
        finally:
            self.seconds[step] = self.seconds.get(step, 0.0) + perf_counter() - start


def assess_cohort(
    patients: Iterable[Patient],
    settings: Settings,
    *,
    masks: Path | None = None,
    keep_masks: KeepMasks | None = None,
    workers: int = 1,
) -> Iterator[Outcome]:
    """Assess every patient and yield the outcomes as they finish.

    Parameters
    ----------
    masks
        Folder of given liver and lesion masks; the networks are not used then.
    keep_masks
        Called with every examined study and its viable voxels (``None`` where they could not be judged); must be
        picklable where ``workers`` is more than 1.
    workers
        Processes; each loads the networks once.

    Yields
    ------
    PatientResult or Failure
        A patient whose data cannot be used becomes a ``Failure`` and the others go on.
    """
    assess = partial(_assess_or_fail, settings=settings, masks=masks, keep_masks=keep_masks)
    if workers == 1:
        yield from run_serially(assess, patients)
    else:
        yield from run_in_pool(assess, patients, workers=workers)


def segment_cohort(
    patients: Iterable[Patient], settings: Settings, *, keep_masks: KeepMasks
) -> Iterator[Outcome]:
    """Find liver and lesions of every patient and hand the masks on; nothing is measured."""
    segmenter = make_segmenter(settings.segment)
    for patient in patients:
        clock = _Clock()
        try:
            for study in patient.studies:
                examined = _examine(study, segmenter, settings, clock)
                keep_masks(examined, find_viable(examined, settings.measure).labels)
        except DataError as error:
            yield failure_of(error, patient.patient_id)
        else:
            yield PatientResult(patient=patient, seconds=clock.seconds)


def assess_patient(
    patient: Patient,
    segmenter: Segmenter,
    settings: Settings,
    *,
    keep_masks: KeepMasks | None = None,
) -> PatientResult:
    """Follow one patient from series on disk to assessed treatment phases.

    Raises
    ------
    DataError
        A study cannot be read, or no liver is found in it.
    """
    clock = _Clock()
    studies = []
    viable_maps = []
    for study in patient.studies:
        examined = _examine(study, segmenter, settings, clock)
        with clock.time("viability"):
            viable_maps.append(find_viable(examined, settings.measure))
        if keep_masks is not None:
            with clock.time("masks"):
                keep_masks(examined, viable_maps[-1].labels)
        studies.append(examined)
    with clock.time("track"):
        tracks = track(studies, settings.track)
    with clock.time("measure"):
        measurements = measure(
            studies, tracks, settings.measure, reader=segmenter.name, viable_maps=viable_maps
        )
        snapshots = take_snapshots(studies, tracks, measurements, settings.measure, viable_maps=viable_maps)
    records = tuple(study_record(study, segmenter.name) for study in studies)
    with clock.time("respond"):
        response = respond(patient, records, measurements, settings.respond)
    return PatientResult(
        patient=patient,
        studies=records,
        tracks=tracks,
        measurements=measurements,
        snapshots=snapshots,
        response=response,
        flags=tuple(flag for study in studies for flag in study.flags),
        seconds=clock.seconds,
    )


def examine(study: Study, segmenter: Segmenter, settings: Settings) -> ExaminedStudy:
    """Read and prepare one study, find its lesions, and note what is doubtful.

    Raises
    ------
    DataError
        A series cannot be read, or no liver is found.
    """
    return _examine(study, segmenter, settings, _Clock())


def examine_images(
    study: Study, images: Mapping[ContrastPhase, Image], segmenter: Segmenter, settings: Settings
) -> ExaminedStudy:
    """Do the same with images that are already in memory, keyed by contrast phase."""
    return _examine_images(study, images, segmenter, settings, _Clock())


def study_record(examined: ExaminedStudy, model: str) -> StudyRecord:
    """Return the row of ``studies.csv`` that describes an examined study."""
    prepared = examined.prepared
    study = prepared.study
    reference = next(series for series in study.series if series.contrast_phase is prepared.reference)
    liver_voxels = int((prepared.liver.voxels > 0).sum())
    return StudyRecord(
        patient_id=study.patient_id,
        study_date=study.study_date,
        contrast_phases=tuple(series.contrast_phase for series in study.series),
        agent=prepared.agent,
        field_strength_t=reference.field_strength_t,
        slice_thickness_mm=round(prepared.grid.spacing_mm[2], 2),
        reference_phase=prepared.reference,
        model=model,
        review_level=review_level(examined.flags),
        liver_volume_ml=round(liver_voxels * prepared.grid.voxel_volume_ml, 3),
        lesions_assessable=examined.lesion_map.not_assessable is None,
        reason=examined.lesion_map.not_assessable or "",
    )


def _examine(study: Study, segmenter: Segmenter, settings: Settings, clock: _Clock) -> ExaminedStudy:
    with clock.time("read"):
        images = {
            series.contrast_phase: read_series(
                series, patient_id=study.patient_id, study_date=study.study_date
            )
            for series in study.series
        }
    return _examine_images(study, images, segmenter, settings, clock)


def _examine_images(
    study: Study,
    images: Mapping[ContrastPhase, Image],
    segmenter: Segmenter,
    settings: Settings,
    clock: _Clock,
) -> ExaminedStudy:
    with clock.time("prepare"):
        prepared = prepare(study, images, partial(_timed_liver, segmenter, study, clock), settings.prepare)
    with clock.time("segment lesions"):
        found = segmenter.lesions(prepared)
    with clock.time("lesions"):
        lesion_map = find_lesions(prepared, found, settings.lesions)
        flags = check_quality(prepared, lesion_map, settings.quality)
    return ExaminedStudy(prepared=prepared, lesion_map=lesion_map, flags=flags)


def _timed_liver(
    segmenter: Segmenter, study: Study, clock: _Clock, series: Series, image: Image
) -> Image | None:
    with clock.time("segment liver"):
        return segmenter.liver(study, series, image)


def _assess_or_fail(
    patient: Patient, *, settings: Settings, masks: Path | None, keep_masks: KeepMasks | None
) -> Outcome:
    segmenter = _segmenter_of_this_process(settings.segment, masks)
    try:
        return assess_patient(patient, segmenter, settings, keep_masks=keep_masks)
    except DataError as error:
        return failure_of(error, patient.patient_id)
    except Exception as error:
        # the one broad catch: an unforeseen fault of one patient must not cost the others their results
        _log.exception("%s: unexpected %s", patient.patient_id, type(error).__name__)
        return Failure(
            patient_id=patient.patient_id,
            code="internal",
            message=f"unexpected {type(error).__name__}; please report it (details in the log)",
        )


def failure_of(error: DataError, patient_id: str) -> Failure:
    """Return the row of ``failures.csv`` that a data error of one patient becomes."""
    return Failure(
        patient_id=error.patient_id or patient_id,
        study_date=error.study_date,
        series=error.series,
        code=error.code,
        message=error.message,
        path=error.path,
    )


@lru_cache(maxsize=1)
def _segmenter_of_this_process(settings: SegmentSettings, masks: Path | None) -> Segmenter:
    """Load the networks once per process."""
    return make_segmenter(settings, masks=masks)
