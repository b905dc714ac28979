"""Lesions keep the ids that an earlier run gave them, whatever order they are found in now."""

from datetime import date

from mrresponse.domain import LesionTrack, Observation, Point, TrackEvent
from mrresponse.track.identity import keep_ids

ONE, TWO = date(2024, 1, 10), date(2024, 4, 10)
HERE, THERE, ELSEWHERE = (0.0, 0.0, 0.0), (40.0, 0.0, 0.0), (0.0, 50.0, 10.0)


def track(name: str, place: Point, *days: date, merged_into: str | None = None) -> LesionTrack:
    seen = tuple(
        Observation(study_date=day, event=TrackEvent.MATCHED, labels=(1,), place_mm=place, radius_mm=6.0)
        for day in days
    )
    return LesionTrack(patient_id="P1", lesion_id=name, observations=seen, merged_into=merged_into)


def named(tracks: tuple[LesionTrack, ...]) -> dict[str, Point | None]:
    return {one.lesion_id: one.observations[0].place_mm for one in tracks}


def test_without_an_earlier_run_nothing_is_renamed() -> None:
    tracks = (track("L01", HERE, ONE), track("L02", THERE, ONE))
    assert keep_ids(tracks, ()) == tracks


def test_lesions_found_in_another_order_keep_their_ids() -> None:
    now = [track("L01", THERE, ONE, TWO), track("L02", HERE, ONE, TWO)]
    before = [track("L01", HERE, ONE, TWO), track("L02", THERE, ONE, TWO)]
    assert named(keep_ids(now, before)) == {"L01": HERE, "L02": THERE}


def test_a_lesion_not_known_before_gets_a_number_never_used() -> None:
    now = [track("L01", ELSEWHERE, ONE), track("L02", HERE, ONE, TWO)]
    before = [track("L01", HERE, ONE, TWO), track("L04", THERE, ONE)]
    assert named(keep_ids(now, before)) == {"L01": HERE, "L05": ELSEWHERE}


def test_a_corrected_outline_that_moves_the_middle_a_little_is_the_same_lesion() -> None:
    now = [track("L01", (5.0, 0.0, 0.0), ONE)]
    assert named(keep_ids(now, [track("L03", HERE, ONE)])) == {"L03": (5.0, 0.0, 0.0)}


def test_a_merged_lesion_points_to_the_new_name_of_the_other() -> None:
    now = [track("L01", THERE, ONE), track("L02", HERE, ONE, merged_into="L01")]
    before = [track("L01", HERE, ONE), track("L02", THERE, ONE)]
    found = {one.lesion_id: one.merged_into for one in keep_ids(now, before)}
    assert found == {"L01": "L02", "L02": None}
