"""Lesions that are found only because they are known: faint bodies at the places of lesions that are missed."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from mrresponse.domain import FOUND_AGAIN, ExaminedStudy, Flag, Lesion, LesionMap, LesionTrack
from mrresponse.geometry import box_slices, voxel_to_world
from mrresponse.track.assign import Body, assign
from mrresponse.track.settings import TrackSettings

Found = tuple[Lesion, Body]


def find_again(
    lesion_map: LesionMap, missed: Mapping[int, Body], settings: TrackSettings
) -> tuple[LesionMap, dict[int, Found]]:
    """Make lesions of the faint bodies that lie where known lesions are missed.

    Parameters
    ----------
    missed
        The known lesions where they should be, under keys of the caller's.

    Returns
    -------
    tuple
        The lesion map with them, and what was found under the same keys.
    """
    faint = lesion_map.faint
    if faint is None or not faint.lesions or not missed:
        return lesion_map, {}
    bodies = [body_of(faint, lesion) for lesion in faint.lesions]
    # nearer than a lesion that is sure to be one may lie: within what registration leaves
    near = replace(settings, gate_mm=settings.search_mm)
    rows = list(missed)
    found = {}
    for row, column in assign([missed[row] for row in rows], bodies, near).items():
        lesion_map, lesion = _taken_up(lesion_map, faint, faint.lesions[column])
        found[rows[row]] = (lesion, bodies[column])
    return lesion_map, found


def with_flags(
    before: Sequence[ExaminedStudy], after: Sequence[ExaminedStudy], tracks: Sequence[LesionTrack]
) -> tuple[ExaminedStudy, ...]:
    """Flag the studies in which a lesion was found only because it was known: somebody should look."""
    flagged = []
    for plain, study in zip(before, after, strict=True):
        sure = {lesion.label for lesion in plain.lesion_map.lesions}
        more = {lesion.label: lesion for lesion in study.lesion_map.lesions if lesion.label not in sure}
        flags = [
            Flag(
                patient_id=track.patient_id,
                study_date=study.study_date,
                lesion_id=track.lesion_id,
                code=FOUND_AGAIN,
                message=f"found because it is known: mean probability {more[label].mean_probability:.2f}, too little "
                f"for a new lesion; {seen.evidence}",
            )
            for track in tracks
            for seen in track.observations
            if seen.study_date == study.study_date
            for label in seen.labels
            if label in more
        ]
        flagged.append(replace(study, flags=(*study.flags, *flags)) if flags else study)
    return tuple(flagged)


def body_of(lesion_map: LesionMap, lesion: Lesion) -> Body:
    """Return where the voxels of a lesion lie."""
    cut = box_slices(lesion.bounding_box)
    index = np.argwhere(lesion_map.labels.voxels[cut] == lesion.label)
    corner = np.array([low for low, _ in lesion.bounding_box])
    return Body(points=voxel_to_world(lesion_map.labels.grid, index + corner), volume_ml=lesion.volume_ml)


def _taken_up(lesion_map: LesionMap, faint: LesionMap, body: Lesion) -> tuple[LesionMap, Lesion]:
    """Add a faint body to the lesions, under a label of its own."""
    lesion = replace(body, label=int(lesion_map.labels.voxels.max()) + 1)
    voxels = lesion_map.labels.voxels.copy()
    voxels[faint.labels.voxels == body.label] = lesion.label
    lesions = sorted((*lesion_map.lesions, lesion), key=lambda one: (-one.volume_ml, one.centroid_mm))
    return replace(
        lesion_map, labels=replace(lesion_map.labels, voxels=voxels), lesions=tuple(lesions)
    ), lesion
