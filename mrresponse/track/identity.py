"""Ids that stay: a lesion is called as the run before called it, so that a reader's edits still mean it."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from scipy.optimize import linear_sum_assignment

from mrresponse.domain import LesionTrack, Observation

# Two runs see one lesion at about the same place; corrected masks move its middle by no more than this.
_SAME_PLACE_MM = 8.0


def keep_ids(tracks: Sequence[LesionTrack], earlier: Sequence[LesionTrack]) -> tuple[LesionTrack, ...]:
    """Give tracks the ids of an earlier run's tracks at the same places; others get numbers never used before."""
    if not earlier or not tracks:
        return tuple(tracks)
    shared = np.array([[_shared_places(one, other) for other in earlier] for one in tracks])
    names = {}
    for row, column in zip(*linear_sum_assignment(-shared), strict=True):
        if shared[row, column] > 0.0:
            names[tracks[row].lesion_id] = earlier[column].lesion_id
    number = max(_number(one.lesion_id) for one in earlier)
    for one in tracks:
        if one.lesion_id not in names:
            number += 1
            names[one.lesion_id] = f"L{number:02d}"
    renamed = [
        replace(
            one,
            lesion_id=names[one.lesion_id],
            merged_into=None if one.merged_into is None else names[one.merged_into],
        )
        for one in tracks
    ]
    return tuple(sorted(renamed, key=lambda one: _number(one.lesion_id)))


def _shared_places(one: LesionTrack, other: LesionTrack) -> float:
    """Count the studies that show both at one place; the nearer, the more."""
    there = {seen.study_date: seen for seen in other.observations if seen.labels}
    return sum(
        _nearness(seen, there[seen.study_date])
        for seen in one.observations
        if seen.labels and seen.study_date in there
    )


def _nearness(one: Observation, other: Observation) -> float:
    if one.place_mm is None or other.place_mm is None:
        return 0.0
    distance = float(np.linalg.norm(np.subtract(one.place_mm, other.place_mm)))
    reach = max(_SAME_PLACE_MM, one.radius_mm or 0.0, other.radius_mm or 0.0)
    return max(0.0, 1.0 - distance / reach)


def _number(lesion_id: str) -> int:
    digits = "".join(character for character in lesion_id if character.isdecimal())
    return int(digits) if digits else 0
