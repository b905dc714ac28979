"""A small finished run over DICOM series, without running the line: known masks, lesions and numbers."""

from collections.abc import Sequence
from datetime import date
from pathlib import Path

import numpy as np

from mrresponse.domain import (
    Assessment,
    Caliper,
    ContrastPhase,
    ExaminedStudy,
    Image,
    LabelMap,
    Lesion,
    LesionMap,
    LesionRole,
    LesionTrack,
    Measurement,
    MeasurementSource,
    MeasurementState,
    Observation,
    Patient,
    PatientResult,
    PreparedStudy,
    Response,
    ResponseResult,
    RoleRecord,
    Study,
    StudyRecord,
    TrackEvent,
)
from mrresponse.geometry import to_canonical
from mrresponse.ingest import IngestSettings, ingest, read_series
from mrresponse.report.run import FinishedRun
from mrresponse.store import RunFolder

FINISHED = "2025-03-04T05:06:07+00:00"
CALIPER = Caliper(slice_index=2, start_mm=(15.0, -32.0, -44.0), end_mm=(11.0, -36.0, -44.0))


def finished_run(data: Path, folder: Path) -> FinishedRun:
    """Give every study of the one patient in a data folder a liver and two lesions, and return the run."""
    (patient,) = ingest(data, IngestSettings()).patients
    run = RunFolder.create(folder)
    for number, study in enumerate(patient.studies):
        run.keep_masks(*examined(study, swapped=bool(number % 2)))
    result = PatientResult(
        patient=Patient(patient_id=patient.patient_id, studies=patient.studies),
        studies=tuple(_record(study) for study in patient.studies),
        tracks=_tracks(patient.patient_id, [study.study_date for study in patient.studies]),
        measurements=tuple(_measurement(study, name) for study in patient.studies for name in ("L01", "L02")),
        response=ResponseResult(
            roles=(
                RoleRecord(
                    patient_id=patient.patient_id, treatment_phase="course", criterion="mRECIST", reader="mask",
                    lesion_id="L01", role=LesionRole.TARGET, reason="largest",
                ),
            ),
            assessments=tuple(_assessment(study, number) for number, study in enumerate(patient.studies)),
        ),
    )  # fmt: skip
    record = {"segmenter": "mask", "finished": FINISHED}
    return FinishedRun(results=(result,), record=record, folder=folder)


def examined(study: Study, *, swapped: bool) -> tuple[ExaminedStudy, LabelMap]:
    series = next(item for item in study.series if item.contrast_phase is ContrastPhase.ARTERIAL)
    native = read_series(series, patient_id=study.patient_id, study_date=study.study_date)
    image = to_canonical(native)
    i, j, k = (np.arange(size) for size in image.grid.shape)
    liver = (i[:, None, None] > 0) & (j[None, :, None] > 0) & (k[None, None, :] >= 0)
    lesions = np.zeros(image.grid.shape, dtype=np.uint16)
    one, other = (2, 1) if swapped else (1, 2)
    lesions[2:4, 2:4, 1:3] = one
    lesions[1:2, 1:4, 0:2] = other
    viable = np.where(lesions == one, lesions, 0).astype(np.uint16)
    viable[2] = 0
    prepared = PreparedStudy(
        study=study,
        grid=image.grid,
        native_grid=native.grid,
        crop_start=(0, 0, 0),
        images={ContrastPhase.ARTERIAL: image},
        reference=ContrastPhase.ARTERIAL,
        liver=LabelMap(voxels=liver.astype(np.uint16), grid=image.grid),
        liver_probability=Image(voxels=liver.astype(np.float32), grid=image.grid),
    )
    found = tuple(
        Lesion(label=label, centroid_mm=(0.0, 0.0, 0.0), volume_ml=1.0, bounding_box=((0, 1), (0, 1), (0, 1)))
        for label in (1, 2)
    )
    lesion_map = LesionMap(
        labels=LabelMap(voxels=lesions, grid=image.grid), lesions=found, source=MeasurementSource.MASK
    )
    examined = ExaminedStudy(prepared=prepared, lesion_map=lesion_map)
    return examined, LabelMap(voxels=viable, grid=image.grid)


def _tracks(patient_id: str, dates: Sequence[date]) -> tuple[LesionTrack, ...]:
    return tuple(
        LesionTrack(
            patient_id=patient_id,
            lesion_id=f"L{lesion:02d}",
            observations=tuple(
                Observation(
                    study_date=day,
                    event=TrackEvent.MATCHED if number else TrackEvent.FIRST,
                    # The labels of a study mean nothing to another: here they change places.
                    labels=(3 - lesion if number % 2 else lesion,),
                )
                for number, day in enumerate(dates)
            ),
        )
        for lesion in (1, 2)
    )


def _measurement(study: Study, lesion_id: str) -> Measurement:
    return Measurement(
        patient_id=study.patient_id,
        lesion_id=lesion_id,
        study_date=study.study_date,
        reader="mask",
        state=MeasurementState.MEASURED,
        longest_diameter_mm=12.3,
        perpendicular_diameter_mm=8.1,
        volume_ml=1.234,
        viable_state=MeasurementState.ABSENT,
        viable_longest_diameter_mm=0.0,
        caliper=CALIPER,
    )


def _record(study: Study) -> StudyRecord:
    return StudyRecord(
        patient_id=study.patient_id, study_date=study.study_date, reference_phase=ContrastPhase.ARTERIAL
    )


def _assessment(study: Study, number: int) -> Assessment:
    criterion = ("RECIST 1.1", "mRECIST")[number % 2]
    return Assessment(
        patient_id=study.patient_id,
        treatment_phase="course",
        criterion=criterion,
        study_date=study.study_date,
        reader="mask",
        current_burden=12.3,
        target=Response.PR,
        non_target=Response.NON_CR_NON_PD,
        overall=Response.PR,
    )
