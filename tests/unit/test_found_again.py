"""A network that is little sure of a lesion is believed where the lesion is known from before, and nowhere else."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import date, timedelta

import numpy as np
import pytest

from mrresponse.domain import FOUND_AGAIN, ContrastPhase, ExaminedStudy, Image, LesionMap, MeasurementSource
from mrresponse.lesions import LesionSettings, find_lesions
from mrresponse.quality import review_level
from mrresponse.registration import RegistrationSettings
from mrresponse.track import Followed, TrackSettings, track
from tests.phantoms import (
    Body,
    Ellipsoid,
    ball,
    examined_study,
    grid_around,
    label_map,
    lesion_map,
    mask_of,
    prepared_study,
)

GRID = grid_around(spacing_mm=(4.0, 4.0, 4.0), margin_mm=24.0)
FINE = grid_around(spacing_mm=(2.0, 2.0, 2.0), margin_mm=8.0)
PREPARED = prepared_study(grid=FINE, phases=(ContrastPhase.PORTAL_VENOUS,))
SETTINGS = TrackSettings(registration=RegistrationSettings(study_mm=8.0, deformable_iterations=2))
A, B = ball((-40.0, 0.0, 0.0), 24.0), ball((30.0, 0.0, 10.0), 20.0)
FAR = ball((0.0, 25.0, -20.0), 20.0)


def seen(number: int, sure: Sequence[Ellipsoid], faint: Sequence[Ellipsoid] = ()) -> ExaminedStudy:
    """Give a study in which a network is sure of some lesions and little sure of others."""
    day = date(2024, 1, 10) + timedelta(days=60 * number)
    study = examined_study(sure, day, body=Body(), grid=GRID, source=MeasurementSource.NETWORK)
    study = replace(study, prepared=replace(study.prepared, images={}))
    return replace(study, lesion_map=replace(study.lesion_map, faint=little_sure(faint)))


def little_sure(bodies: Sequence[Ellipsoid]) -> LesionMap:
    found = lesion_map(label_map(bodies, GRID), MeasurementSource.NETWORK)
    return replace(found, lesions=tuple(replace(one, mean_probability=0.25) for one in found.lesions))


def events(followed: Followed) -> dict[str, list[str]]:
    return {one.lesion_id: [at.event.value for at in one.observations] for one in followed.tracks}


def test_a_faint_body_at_the_place_of_a_known_lesion_is_that_lesion() -> None:
    followed = track([seen(0, [A, B]), seen(1, [A], [B])], SETTINGS)
    assert events(followed) == {"L01": ["first", "matched"], "L02": ["first", "matched"]}
    again = followed.studies[1].lesion_map
    (label,) = followed.tracks[1].observations[1].labels
    assert label == 2
    assert np.array_equal(again.labels.voxels == label, mask_of(B, GRID))
    assert [lesion.label for lesion in again.lesions] == [1, 2]


def test_somebody_is_asked_to_look() -> None:
    followed = track([seen(0, [A, B]), seen(1, [A], [B])], SETTINGS)
    before, (flag,) = (study.flags for study in followed.studies)
    assert before == ()
    assert (flag.code, flag.lesion_id) == (FOUND_AGAIN, "L02")
    assert "mean probability 0.25" in flag.message
    assert review_level([flag]) == "review"


def test_a_faint_body_elsewhere_is_nothing() -> None:
    followed = track([seen(0, [A, B]), seen(1, [A], [FAR])], SETTINGS)
    assert events(followed) == {"L01": ["first", "matched"], "L02": ["first", "not_found"]}
    assert [lesion.label for lesion in followed.studies[1].lesion_map.lesions] == [1]
    assert followed.studies[1].flags == ()


@pytest.mark.parametrize(("shift_mm", "event"), [(6.0, "matched"), (12.0, "not_found")])
def test_a_faint_body_lies_no_farther_than_registration_may_be_off(shift_mm: float, event: str) -> None:
    beside = B.moved((shift_mm, 0.0, 0.0))
    followed = track([seen(0, [A, B]), seen(1, [A], [beside])], SETTINGS)
    assert events(followed)["L02"] == ["first", event]


def test_what_is_sure_comes_before_what_is_faint() -> None:
    beside = B.moved((10.0, 0.0, 0.0))
    followed = track([seen(0, [A, B]), seen(1, [A, beside], [B.moved((-10.0, 0.0, 0.0))])], SETTINGS)
    assert followed.tracks[1].observations[1].labels == (2,)
    assert len(followed.studies[1].lesion_map.lesions) == 2


def test_a_lesion_that_was_shown_to_be_gone_is_not_found_again_by_a_faint_body() -> None:
    gone = replace(seen(1, [A]), lesion_map=lesion_map(label_map([A], GRID), MeasurementSource.MASK))
    followed = track([seen(0, [A, B]), gone, seen(2, [A], [B])], SETTINGS)
    assert events(followed)["L02"] == ["first", "absent", "not_found"]


def test_a_lesion_found_again_is_followed_further_and_changes_nothing_before() -> None:
    studies = [seen(0, [A, B]), seen(1, [A], [B]), seen(2, [A], [B]), seen(3, [A, B])]
    whole = track(studies, SETTINGS)
    assert events(whole)["L02"] == ["first", "matched", "matched", "matched"]
    for count in (1, 2, 3):
        part = track(studies[:count], SETTINGS)
        assert events(part) == {name: found[:count] for name, found in events(whole).items()}


def test_a_body_below_the_threshold_is_faint_and_no_lesion() -> None:
    inside, core = mask_of(A, FINE), mask_of(ball(A.centre_mm, 16.0), FINE)
    values = np.where(core, 0.35, np.where(inside, 0.15, 0.02)).astype(np.float32)
    found = find_lesions(PREPARED, Image(voxels=values, grid=FINE), LesionSettings(threshold=0.4))
    assert found.lesions == ()
    assert found.faint is not None
    # outlined where half of its 0.35 is reached
    assert np.array_equal(found.faint.labels.voxels == 1, core)
    (one,) = found.faint.lesions
    assert one.mean_probability == pytest.approx(0.35)


def test_the_border_of_a_lesion_is_no_faint_body() -> None:
    inside, core = mask_of(A, FINE), mask_of(ball(A.centre_mm, 16.0), FINE)
    values = np.where(core, 0.95, np.where(inside, 0.15, 0.02)).astype(np.float32)
    found = find_lesions(PREPARED, Image(voxels=values, grid=FINE), LesionSettings())
    assert len(found.lesions) == 1
    assert found.faint is not None
    assert found.faint.lesions == ()


def test_nothing_is_faint_that_is_not_below_the_threshold() -> None:
    values = np.where(mask_of(A, FINE), 0.9, 0.02).astype(np.float32)
    settings = LesionSettings(threshold=0.5, faint=0.5)
    assert find_lesions(PREPARED, Image(voxels=values, grid=FINE), settings).faint is None
