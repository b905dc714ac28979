"""A study's measurements and responses as one DICOM SR, TID 1500 Measurement Report (PS3.16).

A measurement group per lesion and reader (TID 1411 where the lesion has a segment, else TID 1501), its diameters with
their end points, and a group per assessment with burden and response.
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from highdicom import sr
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code

from mrresponse import __version__
from mrresponse.domain import Assessment, Caliper, Measurement, MeasurementSource, Response, RoleRecord
from mrresponse.report.dicom import codes as own
from mrresponse.report.dicom.segmentation import MAKER, Segment, lesion_uid
from mrresponse.report.dicom.source import SourceSeries, derived_uid

_SERIES_NUMBER = 9002
_RAS_TO_LPS = np.array([-1.0, -1.0, 1.0])


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class VisitNumbers:
    """The numbers of one visit, and where it stands in the course: ``order`` counts from 1, days from the first.

    ``unedited`` are the measurements as they were before readers typed some; empty where nobody did.
    """

    order: int
    days: int
    measurements: Sequence[Measurement]
    unedited: Sequence[Measurement]
    assessments: Sequence[Assessment]
    roles: Sequence[RoleRecord]


def measurement_report(
    source: SourceSeries,
    segments: Sequence[Segment],
    segmented: Dataset,
    visit: VisitNumbers,
    *,
    first_study: str,
) -> sr.Comprehensive3DSR:
    """Make the SR of a study; `segmented` is the SEG that it refers to."""
    numbers = {(item.lesion_id, item.is_viable): at for at, item in enumerate(segments, start=1)}
    groups = [
        group
        for row in visit.measurements
        for group in _lesion_groups(
            row, source, segmented, numbers.get((row.lesion_id, False)), visit, first_study
        )
    ]
    groups += [_response_group(row, source, visit) for row in visit.assessments]
    report = sr.MeasurementReport(
        observation_context=_observer(),
        procedure_reported=own.IMAGING,
        imaging_measurements=groups or None,
        title=codes.DCM.ImagingMeasurementReport,
        language_of_content_item_and_descendants=sr.LanguageOfContentItemAndDescendants(
            Code("en", "RFC5646", "English")
        ),
    )
    content = hashlib.blake2b("".join(item.to_json() for item in report).encode(), digest_size=16).hexdigest()
    made = sr.Comprehensive3DSR(
        evidence=[*source.headers, segmented],
        content=report,
        series_instance_uid=derived_uid("sr series", source.study, content),
        series_number=_SERIES_NUMBER,
        sop_instance_uid=derived_uid("sr", source.study, content),
        instance_number=1,
        manufacturer=MAKER,
        is_complete=True,
        is_final=False,
        is_verified=False,
        series_description="Liver lesions, measured",
        manufacturer_model_name=MAKER,
        software_versions=__version__,
        device_serial_number="1",
    )
    made.CodingSchemeIdentificationSequence = [own.describe_private_scheme()]
    return made


def _observer() -> sr.ObservationContext:
    device = sr.ObserverContext(
        observer_type=codes.DCM.Device,
        observer_identifying_attributes=sr.DeviceObserverIdentifyingAttributes(
            uid=derived_uid("device", MAKER, __version__), name=MAKER, model_name=f"{MAKER} {__version__}"
        ),
    )
    return sr.ObservationContext(observer_device_context=device)


def _time_point(visit: VisitNumbers) -> sr.TimePointContext:
    return sr.TimePointContext(
        time_point=f"visit {visit.order}",
        time_point_order=visit.order,
        subject_time_point_identifier=f"visit {visit.order}",
        protocol_time_point_identifier=f"visit {visit.order}",
        temporal_offset_from_event=sr.LongitudinalTemporalOffsetFromEvent(
            value=visit.days, unit=own.DAY, event_type=own.FIRST_STUDY
        ),
    )


def _lesion_groups(
    row: Measurement,
    source: SourceSeries,
    segmented: Dataset,
    segment: int | None,
    visit: VisitNumbers,
    first_study: str,
) -> Iterator[
    sr.MeasurementsAndQualitativeEvaluations | sr.VolumetricROIMeasurementsAndQualitativeEvaluations
]:
    """Yield a group for the segment and its volumes, and one for the diameters.

    TID 1411, which refers to a segment, has no place for coordinates of its measurements; both groups have the
    tracking identifier of the lesion.
    """
    shared = {
        "tracking_identifier": sr.TrackingIdentifier(
            uid=lesion_uid(source, row.lesion_id, first_study), identifier=row.lesion_id
        ),
        "time_point_context": _time_point(visit),
        "finding_type": own.LESION,
        "finding_sites": [sr.FindingSite(own.LIVER)] if row.organ == "liver" else None,
        "session": row.reader,
    }
    counted, typed = _volumes(row, visit.unedited)
    if segment is not None:
        yield sr.VolumetricROIMeasurementsAndQualitativeEvaluations(
            referenced_segment=sr.ReferencedSegment.from_segmentation(segmented, segment),
            measurements=counted or None,
            **shared,
        )
        counted = []
    yield sr.MeasurementsAndQualitativeEvaluations(
        measurements=[*_diameters(row, source), *counted, *typed] or None,
        qualitative_evaluations=list(_evaluations(row, visit)),
        **shared,
    )


def _evaluations(row: Measurement, visit: VisitNumbers) -> Iterator[sr.QualitativeEvaluation]:
    yield sr.QualitativeEvaluation(own.STATE, _word(row.state))
    if row.viable_state is not None:
        yield sr.QualitativeEvaluation(own.VIABLE_STATE, _word(row.viable_state))
    # another reader may have chosen otherwise
    phases = {one.treatment_phase for one in visit.assessments}
    roles = {
        f"{role.criterion}, {role.treatment_phase}": own.ROLES[role.role]
        for role in visit.roles
        if (role.lesion_id, role.reader) == (row.lesion_id, row.reader)
        and role.role in own.ROLES
        and role.treatment_phase in phases
    }
    same = set(roles.values())
    if len(same) == 1:
        yield sr.QualitativeEvaluation(own.LESION_ROLE, same.pop())
        return
    # a target of one treatment phase or criterion may be none of another
    for assessment, role_code in roles.items():
        yield sr.QualitativeEvaluation(own.role_name(assessment), role_code)


def _word(state: object) -> Code:
    text = str(state)
    return own.private(text.upper(), text.replace("_", " "))


def _diameters(row: Measurement, source: SourceSeries) -> Iterator[sr.Measurement]:
    lengths = (
        (own.LONG_AXIS, row.longest_diameter_mm, row.caliper),
        (own.SHORT_AXIS, row.perpendicular_diameter_mm, row.perpendicular_caliper),
        (own.VIABLE_LONG_AXIS, row.viable_longest_diameter_mm, row.viable_caliper),
        (own.VIABLE_SHORT_AXIS, row.viable_perpendicular_diameter_mm, row.viable_perpendicular_caliper),
    )
    for name, value, caliper in lengths:
        if value is not None:
            drawn = None if caliper is None else [_end_points(caliper, source)]
            yield sr.Measurement(name, value, own.MILLIMETRE, referenced_coordinates=drawn)


def _volumes(
    row: Measurement, unedited: Sequence[Measurement]
) -> tuple[list[sr.Measurement], list[sr.Measurement]]:
    """Return the volumes counted in the mask, and those a reader stated instead: no voxels were summed for these.

    A reader's own row, beside that of the masks, was stated as a whole.
    """
    key = (row.lesion_id, row.reader)
    before = next((one for one in unedited if (one.lesion_id, one.reader) == key), row)
    is_stated = before.source is MeasurementSource.READER
    counted, typed = [], []
    for name, value, was in (
        (own.VOLUME, row.volume_ml, before.volume_ml),
        (own.VIABLE_VOLUME, row.viable_volume_ml, before.viable_volume_ml),
    ):
        if value is not None and value == was and not is_stated:
            counted.append(sr.Measurement(name, value, own.MILLILITRE, method=own.VOXEL_SUM))
        elif value is not None:
            typed.append(sr.Measurement(name, value, own.MILLILITRE))
    return counted, typed


def _end_points(caliper: Caliper, source: SourceSeries) -> sr.CoordinatesForMeasurement3D:
    points = np.array([caliper.start_mm, caliper.end_mm]) * _RAS_TO_LPS
    return sr.CoordinatesForMeasurement3D(
        graphic_type=sr.GraphicTypeValues3D.POLYLINE,
        graphic_data=points,
        frame_of_reference_uid=source.frame_of_reference,
    )


def _response_group(
    row: Assessment, source: SourceSeries, visit: VisitNumbers
) -> sr.MeasurementsAndQualitativeEvaluations:
    name = f"{row.criterion}, {row.treatment_phase}, {row.reader}"
    unit = own.BURDEN_UNITS[row.burden_unit]
    burden = [] if row.current_burden is None else [sr.Measurement(own.BURDEN, row.current_burden, unit)]
    evaluations = [sr.QualitativeEvaluation(own.METHOD, own.method_code(row.criterion))]
    stated: tuple[tuple[Code, Response | None, object], ...] = (
        (own.CURRENT_RESPONSE, row.overall, {}),
        (own.LIVER_RESPONSE, row.liver_response, {}),
        (own.TARGET_RESPONSE, row.target, own.TARGET_RESPONSES),
        (own.NON_TARGET_RESPONSE, row.non_target, own.NON_TARGET_RESPONSES),
    )
    evaluations += [
        sr.QualitativeEvaluation(meaning, own.response_code(response, known))  # type: ignore[arg-type]
        for meaning, response, known in stated
        if response is not None
    ]
    if row.new_lesions is not None:
        evaluations.append(sr.QualitativeEvaluation(own.NEW_LESIONS, _word(row.new_lesions)))
    return sr.MeasurementsAndQualitativeEvaluations(
        tracking_identifier=sr.TrackingIdentifier(
            uid=derived_uid("response", source.study, name), identifier=name
        ),
        time_point_context=_time_point(visit),
        finding_type=own.RESPONSE,
        session=row.reader,
        measurements=burden or None,
        qualitative_evaluations=evaluations,
    )
