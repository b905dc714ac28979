from collections.abc import Sequence
from dataclasses import replace
from datetime import date, timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mrresponse.domain import (
    ContrastPhase,
    ExaminedStudy,
    Grid,
    LabelMap,
    LesionTrack,
    MeasurementSource,
)
from mrresponse.quality import (
    QualitySettings,
    review_level,
    with_new_beside_missing,
    with_unregistered,
)
from mrresponse.registration import RegistrationSettings
from mrresponse.track import TrackSettings
from mrresponse.track import track as follow
from mrresponse.track.assign import Body as VoxelBody
from mrresponse.track.assign import middle_of
from tests.phantoms import (
    LIVER,
    Body,
    Ellipsoid,
    ball,
    cut_above,
    examined_study,
    grid_around,
    lesion_map,
    mask_of,
    world_points,
)

GRID = grid_around(spacing_mm=(4.0, 4.0, 4.0), margin_mm=24.0)
FINE = grid_around(spacing_mm=(2.0, 2.0, 2.0), margin_mm=24.0)
SETTINGS = TrackSettings(registration=RegistrationSettings(study_mm=8.0, deformable_iterations=2))
# the middle and the semi-axis along x of a long lesion, and of the same without its end
LONG = ((0.0, 60.0), (-10.0, 50.0))
A, B, C = ball((-40.0, 0.0, 0.0), 24.0), ball((30.0, 0.0, 10.0), 20.0), ball((0.0, 25.0, -20.0), 16.0)


def track(studies: Sequence[ExaminedStudy], settings: TrackSettings) -> tuple[LesionTrack, ...]:
    return follow(studies, settings).tracks


def day(number: int) -> date:
    return date(2024, 1, 10) + timedelta(days=60 * number)


def history(*visits: Sequence[Ellipsoid], grid: Grid = GRID) -> list[ExaminedStudy]:
    """Give studies of one liver at rest, without images, so that only masks are registered."""
    body = Body()
    found = [examined_study(lesions, day(n), body=body, grid=grid) for n, lesions in enumerate(visits)]
    return [replace(study, prepared=replace(study.prepared, images={})) for study in found]


def events(tracks: Sequence[LesionTrack]) -> dict[str, list[str]]:
    return {one.lesion_id: [seen.event.value for seen in one.observations] for one in tracks}


def labels(tracks: Sequence[LesionTrack]) -> dict[str, list[tuple[int, ...]]]:
    return {one.lesion_id: [seen.labels for seen in one.observations] for one in tracks}


def by_network(study: ExaminedStudy) -> ExaminedStudy:
    return replace(study, lesion_map=replace(study.lesion_map, source=MeasurementSource.NETWORK))


def test_the_same_lesions_are_matched_and_named_by_size() -> None:
    found = track(history([B, A], [A, B]), SETTINGS)
    assert events(found) == {"L01": ["first", "matched"], "L02": ["first", "matched"]}
    assert labels(found) == {"L01": [(2,), (1,)], "L02": [(1,), (2,)]}
    np.testing.assert_allclose(found[0].observations[1].place_mm, A.centre_mm, atol=3.0)
    assert found[0].observations[0].radius_mm == pytest.approx(12.0, abs=0.7)


def test_a_new_lesion_comes_after_those_known_and_says_where_was_looked() -> None:
    found = track(history([A], [A], [A, B]), SETTINGS)
    assert events(found)["L02"] == ["new"]
    evidence = found[1].observations[0].evidence
    assert evidence.count("no lesion there") == 2
    assert "2024-01-10" in evidence
    assert "2024-03-10" in evidence


def test_the_place_where_a_lesion_was_first_seen_is_followed_through_all_studies() -> None:
    found = track(history([A], [A], [A, B], [A]), SETTINGS)
    for one, centre in zip(found, (A.centre_mm, B.centre_mm), strict=True):
        assert [day_seen for day_seen, _ in one.places_mm] == [day(0), day(1), day(2), day(3)]
        for _, place in one.places_mm:
            np.testing.assert_allclose(place, centre, atol=3.0)


def test_a_lesion_that_a_given_mask_no_longer_has_is_absent_and_may_reappear() -> None:
    found = track(history([A, B], [A], [A, B]), SETTINGS)
    assert events(found)["L02"] == ["first", "absent", "reappeared"]
    np.testing.assert_allclose(found[1].observations[1].place_mm, B.centre_mm, atol=3.0)


def test_a_lesion_that_the_network_does_not_find_is_not_absent() -> None:
    one, two = history([A, B], [A])
    assert events(track([one, by_network(two)], SETTINGS))["L02"] == ["first", "not_found"]


def test_a_place_outside_the_field_of_view_is_said_to_be_outside() -> None:
    far = ball((60.0, 0.0, 0.0), 16.0)
    one, two = history([A, far], [A])
    cut = replace(two.prepared.native_grid, shape=(36, *GRID.shape[1:]))  # right of x = 36 * 4 - 104 = 40 mm
    two = replace(two, prepared=replace(two.prepared, native_grid=cut))
    assert events(track([one, two], SETTINGS))["L02"] == ["first", "outside"]


def test_a_lesion_above_the_end_of_a_volume_that_cuts_the_liver_is_outside_not_absent() -> None:
    high = ball((20.0, 0.0, 28.0), 16.0)
    one, two = history([A, high], [A, high])
    found = track([one, cut_above(two, 16.0)], SETTINGS)
    assert events(found) == {"L01": ["first", "matched"], "L02": ["first", "outside"]}
    # where the first study is the one that is cut, it is new, and its place there was not seen
    found = track([cut_above(one, 16.0), two], SETTINGS)
    assert events(found) == {"L01": ["first", "matched"], "L02": ["new"]}
    assert "outside the field of view" in found[1].observations[0].evidence


def test_a_lesion_in_planes_of_zeros_at_the_end_of_a_volume_is_outside_not_absent() -> None:
    one, two = history([A, ball((0.0, 0.0, 40.0), 16.0)], [A])
    prepared = two.prepared
    shown = world_points(prepared.grid)[..., 2] < 24.0
    two = replace(two, prepared=replace(prepared, fields={prepared.reference: shown}))
    found = track([one, two], SETTINGS)
    assert events(found) == {"L01": ["first", "matched"], "L02": ["first", "outside"]}
    other = replace(two.prepared, fields={ContrastPhase.DELAYED: shown})
    found = track([one, replace(two, prepared=other)], SETTINGS)
    assert events(found)["L02"] == ["first", "absent"], "a given mask belongs to the reference phase"


def test_a_lesion_that_was_gone_reappears_though_a_study_between_did_not_show_its_place() -> None:
    far = ball((60.0, 0.0, 0.0), 16.0)
    one, two, three, four = history([A, far], [A], [A], [A, far])
    cut = replace(three.prepared.native_grid, shape=(36, *GRID.shape[1:]))
    three = replace(three, prepared=replace(three.prepared, native_grid=cut))
    found = track([one, two, three, four], SETTINGS)
    assert events(found)["L02"] == ["first", "absent", "outside", "reappeared"]
    # what was outside all the time was not gone
    assert events(track([one, three, four], SETTINGS))["L02"] == ["first", "outside", "matched"]


def test_a_lesion_that_falls_apart_keeps_its_fragments() -> None:
    large = Ellipsoid(centre_mm=(0.0, 0.0, 0.0), semi_axes_mm=(22.0, 12.0, 12.0))
    pieces = [ball((-13.0, 0.0, 0.0), 16.0), ball((13.0, 0.0, 0.0), 14.0)]
    found = track(history([large], pieces), SETTINGS)
    assert events(found) == {"L01": ["first", "split"]}
    assert set(found[0].observations[1].labels) == {1, 2}


FELL_APART = Ellipsoid(centre_mm=(0.0, 0.0, 0.0), semi_axes_mm=(26.0, 12.0, 12.0))
LEFT, RIGHT = ball((-17.0, 0.0, 0.0), 18.0), ball((17.0, 0.0, 0.0), 16.0)


@pytest.mark.parametrize(
    ("visits", "expected"),
    [
        # a fragment that was gone for one study, or for two
        ([[FELL_APART], [LEFT, RIGHT], [LEFT], [LEFT, RIGHT]], ["first", "split", "matched", "split"]),
        (
            [[FELL_APART], [LEFT, RIGHT], [LEFT], [LEFT], [LEFT, RIGHT]],
            ["first", "split", "matched", "matched", "split"],
        ),
        # an end of a lesion that was drawn in part for one study
        ([[FELL_APART], [LEFT], [LEFT, RIGHT]], ["first", "matched", "split"]),
        # one fragment is gone first, then the other one is there in its place
        (
            [[FELL_APART], [LEFT, RIGHT], [LEFT], [], [RIGHT]],
            ["first", "split", "matched", "absent", "reappeared"],
        ),
    ],
)
def test_a_place_where_a_lesion_lay_before_yields_no_new_one(
    visits: Sequence[Sequence[Ellipsoid]], expected: Sequence[str]
) -> None:
    assert events(track(history(*visits), SETTINGS)) == {"L01": expected}


def test_fragments_that_grow_stay_fragments_where_registration_is_off() -> None:
    grown = [ball((-13.0, 12.0, 0.0), 18.5), ball((13.0, 12.0, 0.0), 17.0)]
    small = [ball((-13.0, 0.0, 0.0), 16.0), ball((13.0, 0.0, 0.0), 14.0)]
    whole = Ellipsoid(centre_mm=(0.0, 0.0, 0.0), semi_axes_mm=(21.0, 11.0, 11.0))
    assert events(track(history([whole], small, grown), SETTINGS)) == {"L01": ["first", "split", "split"]}


def test_a_new_lesion_beside_one_of_two_fragments_is_new() -> None:
    whole = Ellipsoid(centre_mm=(0.0, 0.0, 0.0), semi_axes_mm=(21.0, 11.0, 11.0))
    small = [ball((-13.0, 0.0, 0.0), 16.0), ball((13.0, 0.0, 0.0), 14.0)]
    new = ball((38.0, 0.0, 0.0), 16.0)
    found = events(track(history([whole], small, [*small, new]), SETTINGS))
    assert found == {"L01": ["first", "split", "split"], "L02": ["new"]}


def test_the_place_of_a_lesion_that_merged_yields_no_new_one() -> None:
    union = Ellipsoid(centre_mm=(0.0, 0.0, 0.0), semi_axes_mm=(26.0, 12.0, 12.0))
    found = track(history([LEFT, RIGHT], [union], [LEFT], [LEFT, RIGHT]), SETTINGS)
    assert events(found) == {
        "L01": ["first", "matched", "matched", "split"],
        "L02": ["first", "merged", "merged", "merged"],
    }


def test_a_new_lesion_beside_the_place_of_one_that_shrank_is_new() -> None:
    large, small, new = ball((0.0, 0.0, 0.0), 40.0), ball((0.0, 0.0, 0.0), 14.0), ball((34.0, 0.0, 0.0), 16.0)
    assert events(track(history([large], [small], [small, new]), SETTINGS))["L02"] == ["new"]


def test_a_new_lesion_is_no_part_of_one_beside_it_that_registration_was_off_for() -> None:
    here, off, new = ball((0.0, 0.0, 0.0), 24.0), ball((14.0, 0.0, 0.0), 24.0), ball((-9.0, 0.0, 0.0), 12.0)
    assert events(track(history([here], [off], [off, new]), SETTINGS))["L02"] == ["new"]


def test_lesions_that_become_one_go_on_as_the_largest() -> None:
    small, big = ball((-11.0, 0.0, 0.0), 14.0), ball((9.0, 0.0, 0.0), 20.0)
    union = Ellipsoid(centre_mm=(1.0, 0.0, 0.0), semi_axes_mm=(21.0, 12.0, 12.0))
    found = track(history([small, big], [union], [union]), SETTINGS)
    assert events(found) == {"L01": ["first", "matched", "matched"], "L02": ["first", "merged", "merged"]}
    assert found[1].merged_into == "L01"
    assert found[0].merged_into is None


def test_what_a_merger_says_agrees_with_the_ids_of_an_earlier_run() -> None:
    small, big = ball((-11.0, 0.0, 0.0), 14.0), ball((9.0, 0.0, 0.0), 20.0)
    union = Ellipsoid(centre_mm=(1.0, 0.0, 0.0), semi_axes_mm=(21.0, 12.0, 12.0))
    studies = history([small, big], [union], [union])
    (one, two) = track(studies, SETTINGS)
    before = [replace(one, lesion_id="L02"), replace(two, lesion_id="L01", merged_into="L02")]
    merged = next(one for one in follow(studies, SETTINGS, earlier=before).tracks if one.merged_into)
    assert (merged.lesion_id, merged.merged_into) == ("L01", "L02")
    assert [seen.evidence for seen in merged.observations[1:]] == ["became one lesion with L02"] * 2


def test_where_lesions_were_not_looked_for_nothing_is_concluded() -> None:
    one, two, three = history([A], [], [A])
    empty = replace(two.lesion_map, not_assessable="no T1 contrast phase")
    found = track([one, replace(two, lesion_map=empty), three], SETTINGS)
    assert events(found) == {"L01": ["first", "not_found", "matched"]}
    assert found[0].observations[1].evidence == "lesions not assessable: no T1 contrast phase"


def test_lesions_after_an_unassessable_first_study_are_not_new() -> None:
    one, two = history([], [A])
    empty = replace(one.lesion_map, not_assessable="no T1 contrast phase")
    found = track([replace(one, lesion_map=empty), two], SETTINGS)
    assert events(found) == {"L01": ["first"]}


def test_growth_to_twice_the_diameter_is_the_same_lesion() -> None:
    grown = ball((-38.0, 2.0, 0.0), 44.0)
    assert events(track(history([A], [grown]), SETTINGS)) == {"L01": ["first", "matched"]}


def test_a_part_at_the_edge_of_a_lesion_is_that_lesion() -> None:
    part, whole = ball((22.0, 0.0, 0.0), 24.0), ball((0.0, 0.0, 0.0), 48.0)
    assert events(track(history([part], [whole]), SETTINGS)) == {"L01": ["first", "matched"]}
    assert events(track(history([whole], [part]), SETTINGS)) == {"L01": ["first", "matched"]}


def test_a_patient_without_lesions_has_no_track() -> None:
    assert track(history([], []), SETTINGS) == ()


def test_a_moved_and_shrunken_liver_keeps_identities() -> None:
    scale, shift = 0.97, np.array([14.0, -12.0, 10.0])

    def there(body: Ellipsoid) -> Ellipsoid:
        x, y, z = np.asarray(body.centre_mm) * scale + shift
        a, b, c = np.asarray(body.semi_axes_mm) * scale
        return Ellipsoid(centre_mm=(x, y, z), semi_axes_mm=(a, b, c))

    one = history([A, B, C])[0]
    two = examined_study([there(C), there(A), there(B)], day(1), body=Body(liver=there(LIVER)), grid=GRID)
    two = replace(two, prepared=replace(two.prepared, images={}))
    found = track([one, two], SETTINGS)
    assert labels(found) == {"L01": [(1,), (2,)], "L02": [(2,), (3,)], "L03": [(3,), (1,)]}


def far_off_with_a_wrong_liver() -> list[ExaminedStudy]:
    """Give the same two lesions twice: the second study lies 60 mm off, and its liver mask is something else."""
    shift = (60.0, 0.0, 0.0)
    wrong = Ellipsoid(centre_mm=(130.0, 0.0, 0.0), semi_axes_mm=(25.0, 60.0, 25.0))
    grid = grid_around(LIVER.moved(shift), spacing_mm=(4.0, 4.0, 4.0), margin_mm=60.0)
    two = examined_study([A.moved(shift), B.moved(shift)], day(1), body=Body(liver=wrong), grid=grid)
    return [*history([A, B]), replace(two, prepared=replace(two.prepared, images={}))]


def test_where_studies_were_not_registered_what_a_given_mask_lacks_asks_for_a_look() -> None:
    studies = far_off_with_a_wrong_liver()
    found = follow(studies, SETTINGS)
    assert [one.accepted for one in found.registrations] == [False]
    assert sorted(events(found.tracks).values()) == [["first", "absent"], ["first", "matched"], ["new"]]
    gone = next(one for one in found.tracks if one.observations[-1].event.value == "absent")
    assert "is not known: Dice of the livers" in gone.observations[-1].evidence
    before, after = with_unregistered(studies, found.tracks, found.registrations)
    assert before.flags == ()
    (flag,) = after.flags
    assert flag.code == "studies_not_registered"
    assert "1 lesion matched, 1 called absent and 1 called new" in flag.message
    assert review_level(after.flags) == "review"


def test_a_match_across_studies_that_were_not_registered_asks_for_a_look_once() -> None:
    """The lesion that the network found again is the other one."""
    one, two = far_off_with_a_wrong_liver()
    third = replace(two, prepared=replace(two.prepared, study=replace(two.prepared.study, study_date=day(2))))
    studies = [by_network(study) for study in (one, two, third)]
    found = follow(studies, SETTINGS)
    assert sorted(events(found.tracks).values()) == [
        ["first", "matched", "matched"],
        ["first", "not_found", "not_found"],
        ["new", "matched"],
    ]
    flagged = with_unregistered(studies, found.tracks, found.registrations)
    assert [[flag.code for flag in study.flags] for study in flagged] == [[], ["studies_not_registered"], []]
    assert "1 lesion matched across studies" in flagged[1].flags[0].message
    # what is not found, or new, says so itself
    alone = [
        one
        for one in found.tracks
        if one.observations[1:2] and one.observations[1].event.value == "not_found"
    ]
    assert with_unregistered(studies, alone, found.registrations) == studies


def test_a_match_of_given_masks_alone_asks_for_a_look_where_studies_were_not_registered() -> None:
    studies = far_off_with_a_wrong_liver()
    found = follow(studies, SETTINGS)
    matched = [one for one in found.tracks if one.observations[-1].event.value == "matched"]
    _, after = with_unregistered(studies, matched, found.registrations)
    assert [flag.code for flag in after.flags] == ["studies_not_registered"]


def test_studies_that_were_registered_ask_for_no_look() -> None:
    studies = history([A, B], [A, C])
    found = follow(studies, SETTINGS)
    assert sorted(events(found.tracks).values()) == [["first", "absent"], ["first", "matched"], ["new"]]
    assert with_unregistered(studies, found.tracks, found.registrations) == studies


@pytest.mark.parametrize(
    ("later", "distance"),
    [
        (ball((-40.0, 26.0, 0.0), 24.0), "26"),
        (ball((-40.0, 26.0, 0.0), 14.0), "26"),
        # too far, and too small
        (ball((-40.0, 34.0, 0.0), 24.0), None),
        (ball((-40.0, 26.0, 0.0), 9.0), None),
    ],
)
def test_a_new_lesion_near_to_where_one_is_missing_asks_for_a_look(
    later: Ellipsoid, distance: str | None
) -> None:
    """Were they the same, there would be neither a response nor a progression."""
    studies = history([A, B], [later, B])
    found = follow(studies, SETTINGS)
    assert sorted(events(found.tracks).values()) == [["first", "absent"], ["first", "matched"], ["new"]]
    before, after = with_new_beside_missing(studies, found.tracks, QualitySettings())
    assert before.flags == ()
    if distance is None:
        assert after.flags == ()
        return
    (flag,) = after.flags
    gone = next(one.lesion_id for one in found.tracks if one.observations[-1].event.value == "absent")
    new = next(one.lesion_id for one in found.tracks if len(one.observations) == 1)
    assert (flag.code, flag.lesion_id) == ("new_beside_missing", new)
    assert f"new {distance} mm from where {gone} is expected" in flag.message
    assert review_level(after.flags) == "review"


def test_a_later_study_is_asked_about_too_where_the_refused_registration_lies_between() -> None:
    one, two = far_off_with_a_wrong_liver()
    studies = [
        one,
        two,
        replace(two, prepared=replace(two.prepared, study=replace(two.prepared.study, study_date=day(2)))),
    ]
    found = follow(studies, SETTINGS)
    assert [one.accepted for one in found.registrations] == [False, True]
    flagged = with_unregistered(studies, found.tracks, found.registrations)
    assert [[flag.code for flag in one.flags] for one in flagged] == [
        [],
        ["studies_not_registered"],
        ["studies_not_registered"],
    ]


def test_a_later_study_changes_no_earlier_link() -> None:
    studies = history([A, B], [A], [A, B, C], [B, C])
    before = track(studies[:3], SETTINGS)
    after = track(studies, SETTINGS)
    assert [one.observations for one in before] == [
        one.observations[: len(old.observations)] for one, old in zip(after, before, strict=False)
    ]


@given(order=st.permutations([5, 11, 3]))
@settings(max_examples=6, deadline=None)
def test_label_values_do_not_matter(order: list[int]) -> None:
    plain = history([A, B, C], [A, B])
    values = np.array([0, *order], dtype=np.uint16)
    renamed = []
    for study in plain:
        drawn = study.lesion_map.labels
        renamed.append(
            replace(study, lesion_map=lesion_map(LabelMap(voxels=values[drawn.voxels], grid=drawn.grid)))
        )
    one, two = track(plain, SETTINGS), track(renamed, SETTINGS)
    assert events(one) == events(two)
    for before, after in zip(one, two, strict=True):
        for seen, again in zip(before.observations, after.observations, strict=True):
            assert tuple(int(values[label]) for label in seen.labels) == again.labels


def test_every_lesion_is_in_exactly_one_track() -> None:
    studies = history([A, B], [B, C], [A, C])
    found = track(studies, SETTINGS)
    for study in studies:
        taken = [
            label
            for one in found
            for seen in one.observations
            if seen.study_date == study.study_date
            for label in seen.labels
        ]
        assert sorted(taken) == sorted(lesion.label for lesion in study.lesion_map.lesions)
        assert all(len(one.observations) <= 3 for one in found)


def test_fragments_are_found_where_registration_is_off() -> None:
    """Nothing near says how far off, so both fragments together have to lie where the lesion was."""
    large = Ellipsoid(centre_mm=(0.0, 0.0, 0.0), semi_axes_mm=(22.0, 12.0, 12.0))
    pieces = [ball((-13.0, 10.0, 0.0), 18.0), ball((13.0, 10.0, 0.0), 16.0)]
    assert events(track(history([large], pieces), SETTINGS)) == {"L01": ["first", "split"]}


def test_a_merger_is_found_where_registration_is_off() -> None:
    small, big = ball((-11.0, 0.0, 0.0), 14.0), ball((9.0, 0.0, 0.0), 20.0)
    union = Ellipsoid(centre_mm=(1.0, 12.0, 0.0), semi_axes_mm=(21.0, 12.0, 12.0))
    found = track(history([small, big], [union]), SETTINGS)
    assert events(found) == {"L01": ["first", "matched"], "L02": ["first", "merged"]}


def test_a_new_lesion_beside_one_that_stayed_is_no_fragment() -> None:
    stays, new = ball((0.0, 0.0, 0.0), 20.0), ball((22.0, 0.0, 0.0), 16.0)
    assert events(track(history([stays], [stays, new]), SETTINGS))["L02"] == ["new"]


def test_pieces_inside_the_outline_of_a_giant_lesion_are_its_fragments() -> None:
    """They lie wholly inside it, wherever they are: nothing may depend on how densely a large body is sampled."""
    giant, rest = ball((0.0, 0.0, 0.0), 140.0), ball((-32.0, 0.0, 0.0), 60.0)
    middles = [(25.0, 7.0, 3.0), (48.0, -9.0, 5.0), (11.0, 41.0, -7.0), (9.0, -45.0, 10.0), (14.0, 5.0, 47.0)]
    middles += [(7.0, 12.0, -52.0), (33.0, 31.0, 19.0), (36.0, -27.0, -23.0)]
    pieces = [ball(middle, 12.0) for middle in middles]
    found = track(history([giant], [rest, *pieces], grid=FINE), SETTINGS)
    assert events(found) == {"L01": ["first", "split"]}
    assert len(found[0].observations[1].labels) == 9


def test_the_middle_of_fragments_is_weighted_by_their_volumes() -> None:
    large, small = ball((-30.0, 0.0, 0.0), 70.0), ball((44.0, 0.0, 0.0), 28.0)
    one, two, three = history([large, small], [large, small], [], grid=FINE)
    whole = replace(one.lesion_map.labels, voxels=np.minimum(one.lesion_map.labels.voxels, 1))
    found = track([replace(one, lesion_map=lesion_map(whole)), two, three], SETTINGS)
    assert events(found) == {"L01": ["first", "split", "absent"]}
    assert found[0].observations[1].evidence.startswith("2 fragments, together 0.0 mm from its place")
    # balls of 70 and 28 mm: 343 parts of the volume to 21.952
    x = (-30.0 * 343.0 + 44.0 * 21.952) / (343.0 + 21.952)
    np.testing.assert_allclose(found[0].observations[2].place_mm, (x, 0.0, 0.0), atol=0.3)


def test_bodies_are_weighted_by_volume_where_their_voxels_differ() -> None:
    """One was last seen on a coarse grid: its few voxels count for as much as they fill."""
    near, far = ball((-14.0, 0.0, 0.0), 26.0), ball((14.0, 0.0, 0.0), 22.0)
    volumes = near.volume_ml, far.volume_ml
    bodies = [
        VoxelBody(points=world_points(grid)[mask_of(one, grid)], volume_ml=volume)
        for one, grid, volume in ((near, GRID, volumes[0]), (far, FINE, volumes[1]))
    ]
    x = (-14.0 * volumes[0] + 14.0 * volumes[1]) / sum(volumes)
    np.testing.assert_allclose(middle_of(bodies), (x, 0.0, 0.0), atol=0.3)


@pytest.mark.parametrize("change", ["shrank at one side", "fell apart", "grew together"])
def test_a_lesion_that_changed_its_extent_says_nothing_of_where_its_neighbour_lies(change: str) -> None:
    beside = ball((0.0, 42.0, 0.0), 12.0)
    whole, part = [Ellipsoid(centre_mm=(x, 0.0, 0.0), semi_axes_mm=(a, 25.0, 25.0)) for x, a in LONG]
    end, half = ball((51.0, 0.0, 0.0), 16.0), ball((-30.0, 0.0, 0.0), 44.0)
    first, second = {
        "shrank at one side": ([whole, beside], [half, beside]),
        "fell apart": ([whole, beside], [part, end, beside]),
        "grew together": ([part, end, beside], [whole, beside]),
    }[change]
    found = track(history(first, second), SETTINGS)
    (place,) = (one.observations[1].place_mm for one in found if _is_beside(one, beside))
    np.testing.assert_allclose(place, beside.centre_mm, atol=2.0)  # outlines alone register that well


def _is_beside(one: LesionTrack, beside: Ellipsoid) -> bool:
    place = one.observations[0].place_mm
    return place is not None and float(np.linalg.norm(np.subtract(place, beside.centre_mm))) < 3.0
