"""The same lesion through time: registered places, an assignment with explicit nulls, splits and merges.

Studies are taken in order and each is compared with earlier ones only, so a later study changes no earlier link.
Lesions are compared by places mapped between the worlds of two studies; masks are never resampled.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import date

import numpy as np
import numpy.typing as npt

from mrresponse.domain import (
    ExaminedStudy,
    Grid,
    Lesion,
    LesionTrack,
    MeasurementSource,
    Observation,
    Point,
    RegistrationRecord,
    TrackEvent,
)
from mrresponse.geometry import Points, box_slices, canonical_grid, voxel_to_world, world_to_voxel
from mrresponse.registration import Registration, register_studies
from mrresponse.track.assign import (
    Body,
    assign,
    corrected,
    find_fragments,
    find_mergers,
    find_returned,
    joined,
    largest_parents,
    left_of,
    of_one_extent,
)
from mrresponse.track.identity import keep_ids
from mrresponse.track.look_again import (
    Look,
    doubts_about,
    look_at_ball,
    look_at_lesion,
    missing_phases,
    reach_of,
    show_absence,
)
from mrresponse.track.settings import TrackSettings

__all__ = ["Followed", "TrackSettings", "track"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Followed:
    """The lesions of one patient through time, and how the studies were brought together for it."""

    tracks: tuple[LesionTrack, ...]
    registrations: tuple[RegistrationRecord, ...] = ()


def track(
    studies: Sequence[ExaminedStudy], settings: TrackSettings, *, earlier: Sequence[LesionTrack] = ()
) -> Followed:
    """Follow every lesion of one patient through its studies.

    Parameters
    ----------
    studies
        Studies of one patient, oldest first.
    earlier
        Tracks of an earlier run over these studies; a lesion at the same places keeps its id.

    Returns
    -------
    Followed
        Every lesion of every study is in exactly one track, one that took up others in its largest parent's.
        Ids follow first appearance, then volume.
    """
    threads: list[_Thread] = []
    worlds = _Worlds(studies=studies, settings=settings)
    for number, study in enumerate(studies):
        if study.lesion_map.not_assessable is not None:
            for thread in threads:
                _note_not_assessed(thread, number, worlds)
        else:
            _follow(threads, number, worlds, settings)
    tracks = [
        LesionTrack(
            patient_id=studies[0].prepared.study.patient_id,
            lesion_id=thread.lesion_id,
            observations=tuple(thread.observations),
            merged_into=thread.merged_into,
            places_mm=_places(thread, worlds),
        )
        for thread in threads
    ]
    named = tuple(_with_merger_named(one) for one in keep_ids(tracks, earlier))
    return Followed(tracks=named, registrations=worlds.records())


@dataclass(slots=True, kw_only=True)
class _Thread:
    """A track while it grows: where its lesion lies, or would lie, in the study looked at last.

    ``seen`` is the last study with labels, ``middle`` where the lesion lay there, and ``look`` how it looked.
    ``former`` is what it, or one that merged into it, took up in any study before and no longer does.
    """

    lesion_id: str
    began: int
    seen: int
    at: int
    body: Body
    middle: npt.NDArray[np.float64]
    former: Body | None = None
    look: Look | None = None
    observations: list[Observation] = field(default_factory=list)
    merged_into: str | None = None


@dataclass(slots=True, kw_only=True, eq=False)
class _Worlds:
    """The studies, and the maps between their worlds as far as they were needed."""

    studies: Sequence[ExaminedStudy]
    settings: TrackSettings
    maps: dict[int, Registration] = field(default_factory=dict)

    def map_onward(self, number: int) -> Registration:
        """Give the map from the world of a study to that of the next one."""
        if number not in self.maps:
            self.maps[number] = register_studies(
                moving=self.studies[number + 1].prepared,
                fixed=self.studies[number].prepared,
                settings=self.settings.registration,
            )
        return self.maps[number]

    def records(self) -> tuple[RegistrationRecord, ...]:
        """Describe the maps that were made."""
        return tuple(
            RegistrationRecord(
                patient_id=self.studies[number].prepared.study.patient_id,
                study_date=self.studies[number + 1].study_date,
                moving=self.date_of(number + 1),
                fixed=self.date_of(number),
                accepted=one.accepted,
                measure="Dice of the livers",
                similarity_before=round(one.similarity_before, 4),
                similarity_after=round(one.similarity_after, 4),
                reason=one.reason,
            )
            for number, one in sorted(self.maps.items())
        )

    def map_forth(self, points: Points, earlier: int, later: int) -> Points:
        """Carry points from an earlier study through those between to a later one."""
        for number in range(earlier, later):
            points = self.map_onward(number).map_points(points)
        return points

    def map_back(self, points: Points, later: int, earlier: int) -> Points:
        """Carry points from a later study back to an earlier one."""
        for number in reversed(range(earlier, later)):
            points = self.map_onward(number).map_points_back(points)
        return points

    def refusal(self, earlier: int, later: int) -> str:
        """Say why places of one study are not known in another; empty where every map between was accepted."""
        between = [self.map_onward(number) for number in range(earlier, later)]
        return next((one.reason for one in between if not one.accepted), "")

    def has_in_view(self, number: int, place: npt.NDArray[np.float64]) -> bool:
        """Tell whether a place lies inside the acquired volume of a study; planes of zeros at its ends are not."""
        prepared = self.studies[number].prepared
        if not _is_on(canonical_grid(prepared.native_grid), place):
            return False
        shown = prepared.fields.get(prepared.reference)
        if shown is None or not _is_on(prepared.grid, place):
            return True
        nearest = np.rint(world_to_voxel(prepared.grid, place[None])[0]).astype(int)
        return bool(shown[tuple(np.clip(nearest, 0, np.asarray(prepared.grid.shape) - 1))])

    def date_of(self, number: int) -> str:
        """Give the date of a study for a message."""
        return self.studies[number].study_date.isoformat()


def _is_on(grid: Grid, place: npt.NDArray[np.float64]) -> bool:
    """Tell whether a place lies in a voxel of a grid."""
    index = world_to_voxel(grid, place[None])[0]
    return bool(((index >= -0.5) & (index <= np.asarray(grid.shape) - 0.5)).all())


def _follow(threads: list[_Thread], number: int, worlds: _Worlds, settings: TrackSettings) -> None:
    """Link the lesions of one study to the tracks so far, in place."""
    study = worlds.studies[number]
    lesions = study.lesion_map.lesions
    bodies = [_body(study, lesion) for lesion in lesions]
    open_threads = [thread for thread in threads if thread.merged_into is None]
    closed = [thread for thread in threads if thread.merged_into is not None]
    expected = [_expected(thread, number, worlds) for thread in open_threads]

    pairs = assign(expected, bodies, settings)
    telling = of_one_extent(expected, bodies, pairs, settings)
    shifted = [corrected(one, row, expected, bodies, telling, settings) for row, one in enumerate(expected)]
    pairs = assign(shifted, bodies, settings)
    mergers = find_mergers(shifted, bodies, pairs, settings)
    pairs, mergers = largest_parents(shifted, pairs, mergers)
    fragments = find_fragments(shifted, bodies, pairs, settings)
    owners = {row: next(one for one, column in pairs.items() if column == mergers[row]) for row in mergers}
    places = {}
    for row, thread in enumerate(open_threads):
        is_alone = row in pairs and row not in fragments and row not in owners.values()
        match = bodies[pairs[row]] if is_alone else None
        former = _former(thread, number, worlds)
        places[row] = _place_of((expected[row], shifted[row], former), match, settings)
    for row, owner in owners.items():
        places[owner] = joined([places[owner], places.pop(row)])
    known = {*pairs.values(), *(column for columns in fragments.values() for column in columns)}
    returned = find_returned(places, bodies, known, settings)

    for row, thread in enumerate(open_threads):
        if row in owners:
            _note_merged(thread, open_threads[owners[row]], number, shifted[row], worlds)
            continue
        columns = [*([pairs[row]] if row in pairs else []), *fragments.get(row, []), *returned.get(row, [])]
        if columns:
            found = [(lesions[column], bodies[column]) for column in sorted(columns)]
            _note_found(thread, number, shifted[row], found, worlds)
        else:
            _note_missing(thread, number, shifted[row], worlds)
        thread.former = left_of(places[row], thread.body, settings.tolerance_mm)
    for thread in closed:
        target = next(other for other in threads if other.lesion_id == thread.merged_into)
        _note_merged(thread, target, number, _expected(thread, number, worlds), worlds)
    known |= {column for columns in returned.values() for column in columns}
    for column, lesion in enumerate(lesions):
        if column not in known:
            threads.append(_begin(len(threads) + 1, number, lesion, bodies[column], worlds))


def _body(study: ExaminedStudy, lesion: Lesion) -> Body:
    cut = box_slices(lesion.bounding_box)
    index = np.argwhere(study.lesion_map.labels.voxels[cut] == lesion.label)
    corner = np.array([low for low, _ in lesion.bounding_box])
    points = voxel_to_world(study.prepared.grid, index + corner)
    return Body(points=points, volume_ml=lesion.volume_ml)


def _expected(thread: _Thread, number: int, worlds: _Worlds) -> Body:
    """Carry a track's body into a study."""
    points = worlds.map_forth(thread.body.points, thread.at, number)
    return replace(thread.body, points=points)


def _former(thread: _Thread, number: int, worlds: _Worlds) -> Body | None:
    """Carry what a track took up once into a study."""
    if thread.former is None:
        return None
    points = worlds.map_forth(thread.former.points, thread.at, number)
    return Body(points=points, volume_ml=thread.former.volume_ml)


def _place_of(
    carried: tuple[Body, Body, Body | None],
    match: Body | None,
    settings: TrackSettings,
) -> Body:
    """Give all that a track ever took up, as a study shows it.

    ``carried`` are its body as registered and as corrected by its neighbours, and what it took up before. Where it is
    one body as large as before, ``match`` says best where it lies: registration that is off leaves no place behind.
    """
    expected, body, former = carried
    shift = body.points[0] - expected.points[0]
    if match is not None and not body.fell_apart:
        smaller, larger = sorted((match.volume_ml, body.volume_ml))
        if smaller >= settings.least_union * larger:
            shift = shift + match.middle - body.middle
    parts = [expected] if former is None else [expected, former]
    place = joined(parts)
    return replace(place, points=place.points + shift)


def _begin(rank: int, number: int, lesion: Lesion, body: Body, worlds: _Worlds) -> _Thread:
    earlier = [n for n in range(number) if worlds.studies[n].lesion_map.not_assessable is None]
    event = TrackEvent.NEW if earlier else TrackEvent.FIRST
    look = look_at_lesion(worlds.studies[number], (lesion.label,), body.points)
    views = [_earlier_view(body, look, n, number, worlds) for n in earlier]
    evidence = "; ".join(view.words for view in views)
    if number and not earlier:
        evidence = "no earlier study in which lesions could be assessed"
    observation = Observation(
        study_date=worlds.studies[number].study_date,
        event=event,
        labels=(lesion.label,),
        place_mm=_point(body.middle),
        radius_mm=body.radius_mm,
        evidence=evidence,
        was_liver_before=_all_or_unknown([view.was_liver for view in views]),
    )
    return _Thread(
        lesion_id=f"L{rank:02d}",
        began=number,
        seen=number,
        at=number,
        body=body,
        middle=body.middle,
        look=look,
        observations=[observation],
    )


@dataclass(frozen=True, slots=True)
class _EarlierView:
    """What an earlier study shows at the place of a new lesion."""

    was_liver: bool | None
    words: str


def _earlier_view(body: Body, look: Look | None, earlier: int, number: int, worlds: _Worlds) -> _EarlierView:
    """Look at the place of a new lesion in an earlier study; ``look`` is how it looks where it was found."""
    study, where = worlds.studies[earlier], worlds.date_of(earlier)
    refusal = worlds.refusal(earlier, number)
    if refusal:
        return _EarlierView(None, f"{where}: its place is not known: {refusal}")
    place = worlds.map_back(body.middle[None], number, earlier)[0]
    if not worlds.has_in_view(earlier, place):
        return _EarlierView(None, f"{where}: place was outside the field of view")
    doubts = doubts_about(study)
    if doubts:
        return _EarlierView(None, f"{where}: no lesion there; {doubts}")
    # the middle of the lesion only: the map between two studies is a few millimetres off
    before = look_at_ball(study, place, reach_of(study, body.radius_mm))
    if before is None:
        return _EarlierView(None, f"{where}: no lesion there; too little liver there to look again")
    phase, ratio = before.farthest()
    signal = f"signal ratio {ratio:.2f} in {phase.value}"
    if not before.is_like_liver(worlds.settings.liver_like):
        return _EarlierView(False, f"{where}: no lesion there; looked again: not like liver ({signal})")
    missing = missing_phases(before.ratios, look, worlds.settings.liver_like)
    words = f"{where}: no lesion there; looked again: like liver ({signal})"
    return _EarlierView(None, f"{words}, but {missing}") if missing else _EarlierView(True, words)


def _all_or_unknown(answers: Sequence[bool | None]) -> bool | None:
    if False in answers:
        return False
    return None if not answers or None in answers else True


def _note_found(
    thread: _Thread,
    number: int,
    expected: Body,
    found: Sequence[tuple[Lesion, Body]],
    worlds: _Worlds,
) -> None:
    body = joined([part for _, part in found])
    distance = float(np.linalg.norm(expected.middle - body.middle))
    event = TrackEvent.MATCHED
    if len(found) > 1:
        event = TrackEvent.SPLIT
    elif _was_missed(thread, number, worlds):
        event = TrackEvent.REAPPEARED
    evidence = f"{distance:.1f} mm from its place registered from {worlds.date_of(thread.seen)}"
    thread.observations.append(
        Observation(
            study_date=worlds.studies[number].study_date,
            event=event,
            labels=tuple(lesion.label for lesion, _ in found),
            place_mm=_point(expected.middle),
            radius_mm=body.radius_mm,
            evidence=evidence if len(found) == 1 else f"{len(found)} fragments, together {evidence}",
        )
    )
    thread.seen, thread.at, thread.body, thread.middle = number, number, body, body.middle
    thread.look = look_at_lesion(worlds.studies[number], thread.observations[-1].labels, body.points)


def _was_missed(thread: _Thread, number: int, worlds: _Worlds) -> bool:
    """Tell whether a study since the track was last seen looked for it in vain."""
    since = zip(
        worlds.studies[thread.seen + 1 : number],
        thread.observations[thread.seen + 1 - thread.began :],
        strict=True,
    )
    return any(
        study.lesion_map.not_assessable is None and one.event in (TrackEvent.ABSENT, TrackEvent.NOT_FOUND)
        for study, one in since
    )


def _note_missing(thread: _Thread, number: int, expected: Body, worlds: _Worlds) -> None:
    source = worlds.studies[number].lesion_map.source
    if not worlds.has_in_view(number, expected.middle):
        event, evidence = TrackEvent.OUTSIDE, "its place is outside the field of view"
    elif source is MeasurementSource.NETWORK:
        event, evidence = _looked_again(thread, number, expected, worlds)
    else:
        event, evidence = TrackEvent.ABSENT, "the given mask has nothing at its place"
        refusal = worlds.refusal(thread.seen, number)
        if refusal:
            evidence += f", which is not known: {refusal}"
    _note_empty(thread, number, expected, event, evidence, worlds)


def _looked_again(thread: _Thread, number: int, expected: Body, worlds: _Worlds) -> tuple[TrackEvent, str]:
    """Look for a lesion that the network did not find: at its registered place, and where neighbours moved it to."""
    refusal = worlds.refusal(thread.seen, number)
    if refusal:
        is_shown, why = False, f"its place is not known: {refusal}"
    else:
        registered = worlds.map_forth(thread.middle[None], thread.seen, number)[0]
        is_shown, why = show_absence(
            worlds.studies[number],
            (registered, expected.middle),
            thread.body.radius_mm,
            thread.look,
            search_mm=worlds.settings.search_mm,
            tolerance=worlds.settings.liver_like,
        )
    if is_shown:
        return (
            TrackEvent.ABSENT,
            f"the network found nothing, and looked at again its place shows that it is gone: {why}",
        )
    return TrackEvent.NOT_FOUND, f"the network found nothing; absence is not shown: {why}"


def _note_merged(thread: _Thread, target: _Thread, number: int, expected: Body, worlds: _Worlds) -> None:
    thread.merged_into, thread.former = target.lesion_id, None  # its place is the other's now
    _note_empty(thread, number, expected, TrackEvent.MERGED, "", worlds)


def _with_merger_named(track: LesionTrack) -> LesionTrack:
    """Say with which lesion one became one, by the id that this has at last."""
    words = f"became one lesion with {track.merged_into}"
    observations = tuple(
        replace(seen, evidence=words) if seen.event is TrackEvent.MERGED else seen
        for seen in track.observations
    )
    return replace(track, observations=observations)


def _note_not_assessed(thread: _Thread, number: int, worlds: _Worlds) -> None:
    evidence = f"lesions not assessable: {worlds.studies[number].lesion_map.not_assessable}"
    expected = _expected(thread, number, worlds)
    thread.former = _former(thread, number, worlds)
    _note_empty(thread, number, expected, TrackEvent.NOT_FOUND, evidence, worlds)


def _note_empty(
    thread: _Thread, number: int, expected: Body, event: TrackEvent, evidence: str, worlds: _Worlds
) -> None:
    thread.observations.append(
        Observation(
            study_date=worlds.studies[number].study_date,
            event=event,
            place_mm=_point(expected.middle),
            radius_mm=thread.body.radius_mm,
            evidence=evidence,
        )
    )
    thread.at, thread.body = number, expected


def _places(thread: _Thread, worlds: _Worlds) -> tuple[tuple[date, Point], ...]:
    """Follow the middle of a lesion where it was first seen through all studies that could show it."""
    first = np.asarray([thread.observations[0].place_mm], dtype=np.float64)
    found: list[tuple[date, Point]] = []
    for number, study in enumerate(worlds.studies):
        if study.lesion_map.not_assessable is not None:
            continue
        if number < thread.began:
            place = worlds.map_back(first, thread.began, number)[0]
        else:
            place = worlds.map_forth(first, thread.began, number)[0]
        if worlds.has_in_view(number, place):
            found.append((study.study_date, _point(place)))
    return tuple(found)


def _point(place: npt.NDArray[np.float64]) -> Point:
    x, y, z = (float(value) for value in place)
    return x, y, z
