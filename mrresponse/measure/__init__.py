"""Measure tracked lesions: one measurement per lesion and study.

Here, and only here, lengths are rounded to 0.1 mm and volumes to 0.001 mL, halves up; what is stored is
what every later comparison uses. A number never stands for its absence: the state says why there is none.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from scipy import ndimage

from mrresponse.domain import (
    PERFUSION_LIKE,
    BoolArray,
    ExaminedStudy,
    FloatArray,
    LesionTrack,
    Measurement,
    MeasurementSource,
    MeasurementState,
    Observation,
    TrackEvent,
)
from mrresponse.geometry import fragments_of
from mrresponse.measure.lesion import Size, round_length, round_volume, size_of
from mrresponse.measure.new_lesion import merger_dates, with_new_lesion_status
from mrresponse.measure.partial_volume import weighted_volume_ml
from mrresponse.measure.perfusion import is_perfusion_like
from mrresponse.measure.phenotype import Judged, describe
from mrresponse.measure.rim import local_treatment_starts, treated_labels
from mrresponse.measure.settings import MeasureSettings
from mrresponse.measure.size import GapRule, longest_diameter, viable_extent, whole_extent
from mrresponse.measure.snapshot import take_snapshots
from mrresponse.measure.viability import Box, ViableMap, find_viable, phases_short_of
from mrresponse.typed import words_for_fragments

__all__ = [
    "MeasureSettings",
    "ViableMap",
    "find_viable",
    "local_treatment_starts",
    "longest_diameter",
    "measure",
    "measure_lesion",
    "take_snapshots",
    "treated_labels",
    "viable_extent",
    "whole_extent",
]

# Voxels kept around a lesion's box, for the shell of liver its border is compared with.
_MARGIN = 4

_NO_NUMBERS = {
    TrackEvent.NOT_FOUND: (MeasurementState.NOT_FOUND, "not found; its absence is not shown"),
    TrackEvent.OUTSIDE: (MeasurementState.NOT_ASSESSED, "outside the field of view"),
    TrackEvent.MERGED: (MeasurementState.MERGED, "merged with another lesion and counted there"),
}


def measure(
    studies: Sequence[ExaminedStudy],
    tracks: Sequence[LesionTrack],
    settings: MeasureSettings,
    *,
    reader: str | None = None,
    viable_maps: Sequence[ViableMap] | None = None,
) -> tuple[Measurement, ...]:
    """Measure every tracked lesion at every study from its first on.

    Parameters
    ----------
    studies
        All examined studies of a patient.
    tracks
        The lesions through time; fragments of one track are measured as one lesion.
    settings
        Thresholds and uncertainties.
    reader
        Name of who drew the lesions: the model, or by default the kind of source.
    viable_maps
        What `find_viable` gave for each study, where that is at hand already.

    Returns
    -------
    tuple of Measurement
        In the order of the tracks and their observations.
    """
    maps = viable_maps or [find_viable(study, settings) for study in studies]
    at_date = {study.study_date: (study, found) for study, found in zip(studies, maps, strict=True)}
    boxes = {day: _boxes(study) for day, (study, _) in at_date.items()}
    rows: list[Measurement] = []
    for track in tracks:
        measured = []
        for seen in track.observations:
            study, viable_map = at_date[seen.study_date]
            row = measure_lesion(study, viable_map, (track, seen), boxes[seen.study_date], settings)
            measured.append(row if reader is None else replace(row, reader=reader))
        merged_on = merger_dates(track.lesion_id, tracks)
        rows.extend(with_new_lesion_status(track, measured, settings, merged_on))
    return tuple(rows)


def measure_lesion(
    study: ExaminedStudy,
    viable_map: ViableMap,
    observed: tuple[LesionTrack, Observation],
    boxes: dict[int, Box],
    settings: MeasureSettings,
) -> Measurement:
    """Measure one lesion at one study.

    Parameters
    ----------
    observed
        The track and its observation at this study.
    boxes
        The part of the prepared grid around each label.
    """
    track, seen = observed
    source = study.lesion_map.source
    row = Measurement(
        patient_id=track.patient_id,
        lesion_id=track.lesion_id,
        study_date=seen.study_date,
        reader=source.value,
        state=MeasurementState.NOT_ASSESSED,
        slice_thickness_mm=round(study.prepared.grid.spacing_mm[2], 3),
        source=source,
    )
    if study.lesion_map.not_assessable is not None:
        return _not_assessed(row, study.lesion_map.not_assessable)
    if seen.event is TrackEvent.ABSENT:
        return _absent(row, seen.evidence)
    labels = [label for label in seen.labels if label in boxes]
    is_counted_elsewhere = seen.event is TrackEvent.MERGED and track.merged_into is not None
    if not labels or is_counted_elsewhere:
        event = seen.event if seen.event in _NO_NUMBERS else TrackEvent.NOT_FOUND
        state, reason = _NO_NUMBERS[event]
        if state is MeasurementState.MERGED and track.merged_into is not None:
            reason = f"merged into {track.merged_into} and counted there"
        if seen.evidence:
            # what was found when it was looked at again says both that it was not found and why that proves nothing
            reason = seen.evidence if seen.event is TrackEvent.NOT_FOUND else f"{reason}: {seen.evidence}"
        return replace(row, state=state, reason=reason)
    return _measured(row, study, viable_map, (seen, labels), (boxes, settings))


def _not_assessed(row: Measurement, reason: str) -> Measurement:
    return replace(row, reason=reason, viable_state=MeasurementState.NOT_ASSESSED, viable_reason=reason)


def _absent(row: Measurement, evidence: str) -> Measurement:
    return replace(
        row,
        state=MeasurementState.ABSENT,
        reason=evidence or "shown to be gone",
        longest_diameter_mm=0.0,
        perpendicular_diameter_mm=0.0,
        volume_ml=0.0,
        weighted_volume_ml=0.0,
        viable_state=MeasurementState.ABSENT,
        viable_reason="lesion shown to be gone",
        viable_longest_diameter_mm=0.0,
        viable_perpendicular_diameter_mm=0.0,
        viable_volume_ml=0.0,
        viable_weighted_volume_ml=0.0,
    )


def _measured(
    row: Measurement,
    study: ExaminedStudy,
    viable_map: ViableMap,
    seen: tuple[Observation, list[int]],
    where: tuple[dict[int, Box], MeasureSettings],
) -> Measurement:
    (observation, labels), (boxes, settings) = seen, where
    prepared = study.prepared
    voxels = study.lesion_map.labels.voxels
    fragments = [(boxes[label], np.asarray(voxels[boxes[label]] == label)) for label in labels]
    pieces = _pieces(study, fragments)
    whole = size_of(prepared, pieces, whole_extent, settings)
    assert whole is not None  # a label with a box has voxels
    state = whole.state(settings)
    if state is MeasurementState.MEASURED and observation.event is TrackEvent.MERGED:
        state = MeasurementState.MERGED
    elif state is MeasurementState.MEASURED and len(pieces) > 1:
        state = MeasurementState.SPLIT
    row = replace(
        row,
        state=state,
        reason=_reason(state, whole, len(pieces)),
        caliper=whole.caliper,
        perpendicular_caliper=whole.perpendicular_caliper,
        **({} if state is MeasurementState.TOO_SMALL else _numbers(whole, "")),
    )
    if state is not MeasurementState.TOO_SMALL:
        short = {phase for box, lesion in fragments for phase in phases_short_of(prepared, lesion, box)}
        images = {phase.value: one.voxels for phase, one in prepared.images.items() if phase not in short}
        row = replace(row, weighted_volume_ml=_weighted_volume(study, fragments, images))
    viable: list[tuple[Box, BoolArray]] | None = None
    if viable_map.labels is not None:
        marks = viable_map.labels.voxels
        viable = [(box, lesion & (marks[box] > 0)) for box, lesion in fragments]
    row, is_judged = _with_viable(row, study, viable_map, (viable, pieces, labels), settings)
    largest = max(range(len(fragments)), key=lambda index: int(fragments[index][1].sum()))
    box, lesion = fragments[largest]
    part = viable[largest][1] if viable is not None and is_judged else lesion
    judged = Judged(box=box, lesion=lesion, part=part if part.any() else lesion, solidity=whole.solidity)
    seen_as = describe(prepared, viable_map, judged, settings)
    # what a reader drew as a lesion is one
    if study.lesion_map.source is MeasurementSource.NETWORK and all(
        is_perfusion_like(prepared, voxels, label, boxes[label], settings) for label in labels
    ):
        seen_as = replace(seen_as, pattern=PERFUSION_LIKE)
    return replace(
        row,
        aphe=seen_as.aphe,
        washout=seen_as.washout,
        pattern=seen_as.pattern,
        well_delineated=seen_as.well_delineated,
    )


def _with_viable(
    row: Measurement,
    study: ExaminedStudy,
    viable_map: ViableMap,
    parts: tuple[list[tuple[Box, BoolArray]] | None, Sequence[tuple[Box, BoolArray]], list[int]],
    settings: MeasureSettings,
) -> tuple[Measurement, bool]:
    """Add the numbers of the viable part and tell whether it was measured.

    ``parts`` are the viable part of each label, the pieces of the whole lesion, and the labels.
    """
    viable, pieces, labels = parts
    reasons = [
        viable_map.reason,
        *(viable_map.evidence[label] for label in labels if label in viable_map.evidence),
    ]
    reason = "; ".join(reasons)
    unseen = [viable_map.not_assessed[label] for label in labels if label in viable_map.not_assessed]
    if viable is None or viable_map.labels is None or unseen:
        why = unseen[0] if unseen else reason
        return replace(row, viable_state=MeasurementState.NOT_ASSESSED, viable_reason=why), False
    gap = GapRule(length_mm=settings.gap_mm, fraction=settings.gap_fraction)
    marks = viable_map.labels.voxels
    islands = [(box, piece & (marks[box] > 0)) for box, piece in pieces]
    size = size_of(study.prepared, islands, partial(viable_extent, gap=gap), settings)
    if size is None:
        gone = replace(
            row,
            viable_state=MeasurementState.ABSENT,
            viable_reason=f"no viable part: {reason}",
            viable_longest_diameter_mm=0.0,
            viable_perpendicular_diameter_mm=0.0,
            viable_volume_ml=0.0,
            viable_weighted_volume_ml=0.0,
        )
        return gone, False
    state = size.state(settings)
    if state is MeasurementState.TOO_SMALL:
        reason = f"{_reason(state, size, 1)}; {reason}"
    row = replace(
        row,
        viable_state=state,
        viable_reason=reason,
        viable_caliper=size.caliper,
        viable_perpendicular_caliper=size.perpendicular_caliper,
        **({} if state is MeasurementState.TOO_SMALL else _numbers(size, "viable_")),
    )
    if state is MeasurementState.MEASURED and viable_map.enhancement is not None:
        images = {"enhancement": viable_map.enhancement.voxels}
        row = replace(row, viable_weighted_volume_ml=_weighted_volume(study, viable, images))
    return row, state is MeasurementState.MEASURED


def _weighted_volume(
    study: ExaminedStudy, fragments: Sequence[tuple[Box, BoolArray]], images: Mapping[str, FloatArray]
) -> float | None:
    """Add the volumes of the fragments weighted by partial volume; ``None`` where one of them has none."""
    labels, one_voxel = study.lesion_map.labels.voxels, study.prepared.grid.voxel_volume_ml
    total = 0.0
    for box, part in fragments:
        if not part.any():
            continue
        around = {name: image[box] for name, image in images.items()}
        own = labels[box][part][0]
        others = (labels[box] > 0) & (labels[box] != own)
        volume = weighted_volume_ml(part, around, one_voxel, excluded=others)
        if volume is None:
            return None
        total += volume
    return round_volume(total)


def _numbers(size: Size, prefix: str) -> dict[str, Any]:
    return {
        f"{prefix}longest_diameter_mm": round_length(size.longest_mm),
        f"{prefix}perpendicular_diameter_mm": round_length(size.perpendicular_mm),
        f"{prefix}volume_ml": round_volume(size.volume_ml),
        f"{prefix}longest_diameter_mm_sd": round_length(size.longest_sd_mm),
        f"{prefix}perpendicular_diameter_mm_sd": round_length(size.perpendicular_sd_mm),
        f"{prefix}volume_ml_sd": round_volume(size.volume_sd_ml),
    }


def _reason(state: MeasurementState, size: Size, fragments: int) -> str:
    match state:
        case MeasurementState.TOO_SMALL:
            count = f"{size.voxels} voxel{'s' * (size.voxels != 1)}"
            return f"{round_length(size.longest_mm):g} mm in {count}: too small to measure reliably"
        case MeasurementState.SPLIT:
            return words_for_fragments(fragments)
        case MeasurementState.MERGED:
            return "several lesions grown together: measured as one"
        case _:
            return ""


def _pieces(
    study: ExaminedStudy, fragments: Sequence[tuple[Box, BoolArray]]
) -> Sequence[tuple[Box, BoolArray]]:
    """Part the labels of a given mask that lie in pieces: whether or not each has a label, they are fragments."""
    if study.lesion_map.source is not MeasurementSource.MASK:
        return fragments
    voxel_ml = study.prepared.grid.voxel_volume_ml
    return [(box, piece) for box, lesion in fragments for piece in fragments_of(lesion, voxel_ml)]


def _boxes(study: ExaminedStudy) -> dict[int, Box]:
    """Give the part of the prepared grid around each label, with a margin."""
    voxels = study.lesion_map.labels.voxels
    found = ndimage.find_objects(voxels.astype(np.int32))
    return {
        label: (_widened(box[0]), _widened(box[1]), _widened(box[2]))
        for label, box in enumerate(found, start=1)
        if box is not None
    }


def _widened(part: slice) -> slice:
    return slice(max(part.start - _MARGIN, 0), part.stop + _MARGIN)
