"""The straight line: one patient from series on disk to assessed treatment phases.

Reading series, and handing examined studies on to be kept, are its only contacts with the disk.
"""

import logging
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from threading import Lock
from time import perf_counter
from typing import Protocol

from mrresponse.config import Settings
from mrresponse.corrections import (
    check_masks,
    contradicting_sizes,
    correct_measurements,
    joined_tracks,
    mask_audit,
    state_identities,
)
from mrresponse.domain import (
    AuditRow,
    ContrastPhase,
    ExaminedStudy,
    Image,
    LabelMap,
    MaskEdit,
    Patient,
    PatientResult,
    Series,
    Study,
    StudyRecord,
)
from mrresponse.execute import PROGRESS, threads_of
from mrresponse.ingest import read_study
from mrresponse.lesions import find_lesions, with_viable
from mrresponse.measure import ViableMap, find_viable, measure, take_snapshots, treated_labels
from mrresponse.prepare import prepare
from mrresponse.quality import (
    check_quality,
    check_technique,
    review_level,
    with_lesions_in_pieces,
    with_new_beside_missing,
    with_nothing_found,
    with_only_vessels,
    with_unregistered,
)
from mrresponse.respond import respond
from mrresponse.segment import Segmenter, corrected_viable, with_corrected_masks
from mrresponse.track import track

_log = logging.getLogger(__name__)
# Steps as they begin, for whoever shows them while they run; no part of the log.
_progress = logging.getLogger(PROGRESS)
_CLOCK_LOCK = Lock()
# Contrast phases of one study that are brought into register side by side; each takes memory of its own.
_MOST_PHASES_AT_ONCE = 2


class Keep(Protocol):
    """Where examined studies and masks are kept, so that nobody examines a study twice."""

    def recall_study(self, study: Study) -> ExaminedStudy | None:
        """Return a study that was examined before, as it was."""

    def keep_study(self, examined: ExaminedStudy) -> None:
        """Keep an examined study."""

    def keep_masks(self, examined: ExaminedStudy, viable: LabelMap | None) -> None:
        """Write the masks of a study; ``viable`` is ``None`` where viability could not be judged."""


@dataclass(slots=True)
class _Clock:
    """Seconds spent per step."""

    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def time(self, step: str) -> Iterator[None]:
        _progress.debug("%s", step)
        start = perf_counter()
        try:
            yield
        finally:
            passed = perf_counter() - start
            with _CLOCK_LOCK:
                self.seconds[step] = self.seconds.get(step, 0.0) + passed


def assess_patient(
    patient: Patient,
    segmenter: Segmenter,
    settings: Settings,
    *,
    keep: Keep | None = None,
    studies_at_once: int = 1,
) -> PatientResult:
    """Follow one patient from series on disk to assessed treatment phases.

    Parameters and errors are those of `measure_patient`.
    """
    measured = measure_patient(patient, segmenter, settings, keep=keep, studies_at_once=studies_at_once)
    clock = _Clock(seconds=dict(measured.seconds))
    with clock.time("respond"):
        corrected, audit = correct_measurements(
            measured.unedited, patient.edits, measured.tracks, settings.measure
        )
        response = respond(patient, measured.studies, corrected, settings.respond)
        doubts = contradicting_sizes(corrected, patient.edits)
    return replace(
        measured,
        measurements=corrected,
        response=replace(response, flags=(*response.flags, *doubts)),
        audit=(*measured.audit, *audit),
        seconds=clock.seconds,
    )


def measure_patient(
    patient: Patient,
    segmenter: Segmenter,
    settings: Settings,
    *,
    keep: Keep | None = None,
    studies_at_once: int = 1,
) -> PatientResult:
    """Follow one patient from series on disk to measurements: the half of the line that sees voxels.

    Parameters
    ----------
    keep
        Where examined studies are kept.
    studies_at_once
        Studies examined at the same time; it makes no difference to the result.

    Raises
    ------
    DataError
        A study cannot be read, or no liver is found in it.
    """
    clock = _Clock()
    check_masks(patient)
    own = _examine_all(patient, segmenter, settings, keep, clock, studies_at_once)
    studies = with_nothing_found(
        [_with_corrected_masks(study, patient.edits.masks, segmenter, settings, clock) for study in own]
    )
    with clock.time("track"):
        followed = track(studies, settings.track, earlier=patient.edits.earlier_tracks)
        tracks, identities = state_identities(followed.tracks, patient.edits)
        lesions = joined_tracks(tracks)
    treated = treated_labels(lesions, patient.treatments)
    viable_maps = [
        _viable(study, settings, keep, clock, treated=treated.get(study.study_date, frozenset()))
        for study in studies
    ]
    studies = with_only_vessels(studies, [found.emptied for found in viable_maps], lesions)
    studies = with_lesions_in_pieces(studies, lesions)
    studies = with_unregistered(studies, lesions, followed.registrations)
    studies = with_new_beside_missing(studies, lesions, settings.quality)
    with clock.time("measure"):
        measurements = measure(
            studies, lesions, settings.measure, reader=segmenter.name, viable_maps=viable_maps
        )
        snapshots = take_snapshots(studies, lesions, measurements, settings.measure, viable_maps=viable_maps)
    audit = [
        row
        for before, after in zip(own, studies, strict=True)
        for row in _mask_audit(before, after, patient.edits.masks, settings)
    ]
    return PatientResult(
        patient=patient,
        studies=tuple(study_record(study, segmenter.name) for study in studies),
        tracks=tracks,
        measurements=measurements,
        unedited=measurements,
        snapshots=snapshots,
        flags=(
            *(flag for study in studies for flag in study.flags),
            *check_technique(studies, settings.quality),
        ),
        registrations=(
            *(row for study in studies for row in study.prepared.registrations),
            *followed.registrations,
        ),
        audit=(*audit, *identities),
        seconds=clock.seconds,
    )


def segment_patient(
    patient: Patient, segmenter: Segmenter, settings: Settings, *, keep: Keep
) -> PatientResult:
    """Find liver and lesions of every study and hand them on; nothing is measured.

    Raises
    ------
    DataError
        A study cannot be read, or no liver is found in it.
    """
    clock = _Clock()
    for study in _examine_all(patient, segmenter, settings, keep, clock, 1):
        _viable(study, settings, keep, clock)
    return PatientResult(patient=patient, seconds=clock.seconds)


def _examine_all(
    patient: Patient,
    segmenter: Segmenter,
    settings: Settings,
    keep: Keep | None,
    clock: _Clock,
    at_once: int,
) -> list[ExaminedStudy]:
    def examined(study: Study) -> ExaminedStudy:
        kept = None if keep is None else keep.recall_study(study)
        if kept is not None:
            _log.info("study of %s taken up again", study.study_date)
            return kept
        found = _examine(study, segmenter, settings, clock)
        if keep is not None:
            with clock.time("keep"):
                keep.keep_study(found)
        _log.info("study of %s examined", study.study_date)
        return found

    if at_once == 1:
        return list(map(examined, patient.studies))
    with ThreadPoolExecutor(max_workers=at_once) as threads:
        return list(threads.map(examined, patient.studies))


def _with_corrected_masks(
    study: ExaminedStudy,
    masks: Sequence[MaskEdit],
    segmenter: Segmenter,
    settings: Settings,
    clock: _Clock,
) -> ExaminedStudy:
    """Put readers' masks in place of those that were found; only a corrected liver asks for all of the study again."""
    mine = [row for row in masks if row.study_date == study.study_date]
    if not mine:
        return study
    corrected = with_corrected_masks(segmenter, mine)
    if any(row.mask == "liver" for row in mine):
        study = _examine(study.prepared.study, corrected, settings, clock)
    elif any(row.mask == "lesions" for row in mine):
        lesion_map = find_lesions(
            study.prepared, corrected.lesions(study.prepared), settings.lesions, suits=corrected.suits
        )
        flags = check_quality(study.prepared, lesion_map, settings.quality)
        study = replace(study, lesion_map=lesion_map, flags=flags)
    viable = corrected_viable(study.prepared, mine)
    if viable is None:
        return study
    lesion_map = with_viable(study.lesion_map, viable, study.prepared.study)
    return replace(
        study, lesion_map=lesion_map, flags=check_quality(study.prepared, lesion_map, settings.quality)
    )


def _mask_audit(
    before: ExaminedStudy, after: ExaminedStudy, masks: Sequence[MaskEdit], settings: Settings
) -> list[AuditRow]:
    mine = [row for row in masks if row.study_date == after.study_date]
    if not mine:
        return []
    is_viable = any(row.mask == "viable" for row in mine)
    found = find_viable(before, settings.measure).labels if is_viable else None
    return mask_audit(before, after, mine, found)


def _viable(
    study: ExaminedStudy,
    settings: Settings,
    keep: Keep | None,
    clock: _Clock,
    *,
    treated: frozenset[int] = frozenset(),
) -> ViableMap:
    with clock.time("viability"):
        viable = find_viable(study, settings.measure, treated=treated)
    if keep is not None:
        with clock.time("keep"):
            keep.keep_masks(study, viable.labels)
    return viable


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
    liver_voxels = int((prepared.liver.voxels > 0).sum())
    return StudyRecord(
        patient_id=study.patient_id,
        study_date=study.study_date,
        contrast_phases=tuple(series.contrast_phase for series in study.series),
        agent=prepared.agent,
        field_strength_t=prepared.reference_series.field_strength_t,
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
        images = read_study(study)
    return _examine_images(study, images, segmenter, settings, clock)


def _examine_images(
    study: Study,
    images: Mapping[ContrastPhase, Image],
    segmenter: Segmenter,
    settings: Settings,
    clock: _Clock,
) -> ExaminedStudy:
    with clock.time("prepare"):
        prepared = prepare(
            study,
            images,
            partial(_timed_liver, segmenter, study, clock),
            settings.prepare,
            phases_at_once=min(_MOST_PHASES_AT_ONCE, threads_of(settings.segment.threads)),
        )
    with clock.time("segment lesions"):
        found = segmenter.lesions(prepared)
    with clock.time("lesions"):
        lesion_map = find_lesions(prepared, found, settings.lesions, suits=segmenter.suits)
        flags = check_quality(prepared, lesion_map, settings.quality)
    return ExaminedStudy(prepared=prepared, lesion_map=lesion_map, flags=flags)


def _timed_liver(
    segmenter: Segmenter, study: Study, clock: _Clock, series: Series, image: Image
) -> Image | None:
    with clock.time("segment liver"):
        return segmenter.liver(study, series, image)
