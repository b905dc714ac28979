"""The same lesion through time: registered places, an assignment with explicit nulls, splits and merges.

Studies are taken in order and each is compared with earlier ones only, so a later study changes no earlier link.
Lesions are compared by places mapped between the worlds of two studies; masks are never resampled.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date

import numpy as np
import numpy.typing as npt
from scipy.optimize import linear_sum_assignment
from scipy.spatial import KDTree

from mrresponse.domain import (
    ExaminedStudy,
    Lesion,
    LesionTrack,
    MeasurementSource,
    Observation,
    Point,
    TrackEvent,
)
from mrresponse.geometry import Points, box_slices, canonical_grid, voxel_to_world, world_to_voxel
from mrresponse.registration import Registration, RegistrationSettings, register_studies

_INFEASIBLE = 1e6
_LEAST_VOXELS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class TrackSettings:
    """When two lesions of two studies are the same.

    Parameters
    ----------
    gate_mm
        Farthest distance between the registered place and the lesion found, beside the difference of radii:
        what remains after bringing two livers together.
    null_cost
        Cost of leaving one lesion unmatched; a pair costs up to 1.8.
    overlap_weight, size_weight
        Cost of no overlap, and of an eightfold difference in volume, beside 1 for a distance of ``gate_mm``.
    tolerance_mm
        How far from a lesion's registered outline a fragment of it, or a lesion that has taken it up, may lie.
    share
        Part of the smaller body that must lie there.
    neighbour_mm
        Reach of the correction by lesions matched already.
    liver_like
        Farthest that the median signal at the place of a new lesion may have been from that of the liver, as a
        fraction, in every contrast phase of an earlier study, for the place to count as liver then. Enhancing
        HCC is at 1.5 and its washout at 0.87 times the liver; noise of a median over a centimetre is below 0.05.
    """

    gate_mm: float = 20.0
    null_cost: float = 0.8
    overlap_weight: float = 0.5
    size_weight: float = 0.3
    tolerance_mm: float = 4.0
    share: float = 0.5
    neighbour_mm: float = 60.0
    liver_like: float = 0.12
    registration: RegistrationSettings = field(default_factory=RegistrationSettings)


def track(studies: Sequence[ExaminedStudy], settings: TrackSettings) -> tuple[LesionTrack, ...]:
    """Follow every lesion of one patient through its studies.

    Parameters
    ----------
    studies
        Studies of one patient, oldest first.

    Returns
    -------
    tuple of LesionTrack
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
    return tuple(
        LesionTrack(
            patient_id=studies[0].prepared.study.patient_id,
            lesion_id=thread.lesion_id,
            observations=tuple(thread.observations),
            merged_into=thread.merged_into,
            places_mm=_places(thread, worlds),
        )
        for thread in threads
    )


@dataclass(slots=True, kw_only=True)
class _Thread:
    """A track while it grows: where its lesion lies, or would lie, in the study looked at last.

    ``seen`` is the last study with labels.
    """

    lesion_id: str
    began: int
    seen: int
    at: int
    body: "_Body"
    observations: list[Observation] = field(default_factory=list)
    merged_into: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Body:
    """Voxel centres of one or several labels of a study in its world."""

    points: Points
    volume_ml: float

    @property
    def middle(self) -> npt.NDArray[np.float64]:
        return np.asarray(self.points.mean(axis=0), dtype=np.float64)

    @property
    def radius_mm(self) -> float:
        """Radius of the ball of the same volume."""
        return float((3000.0 * self.volume_ml / (4.0 * np.pi)) ** (1.0 / 3.0))


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

    def has_in_view(self, number: int, place: npt.NDArray[np.float64]) -> bool:
        """Tell whether a place lies inside the acquired volume of a study."""
        grid = canonical_grid(self.studies[number].prepared.native_grid)
        index = world_to_voxel(grid, place[None])[0]
        return bool(((index >= -0.5) & (index <= np.asarray(grid.shape) - 0.5)).all())

    def date_of(self, number: int) -> str:
        """Give the date of a study for a message."""
        return self.studies[number].study_date.isoformat()


def _follow(threads: list[_Thread], number: int, worlds: _Worlds, settings: TrackSettings) -> None:
    """Link the lesions of one study to the tracks so far, in place."""
    study = worlds.studies[number]
    lesions = study.lesion_map.lesions
    bodies = [_body(study, lesion, settings) for lesion in lesions]
    open_threads = [thread for thread in threads if thread.merged_into is None]
    closed = [thread for thread in threads if thread.merged_into is not None]
    expected = [_expected(thread, number, worlds) for thread in open_threads]

    pairs = _assign(expected, bodies, settings)
    shifted = [_corrected(one, row, expected, bodies, pairs, settings) for row, one in enumerate(expected)]
    pairs = _assign(shifted, bodies, settings)
    mergers = _mergers(shifted, bodies, pairs, settings)
    pairs, mergers = _largest_parents(shifted, pairs, mergers)
    fragments = _fragments(shifted, bodies, pairs, settings)

    for row, thread in enumerate(open_threads):
        columns = [] if row not in pairs else [pairs[row], *fragments.get(row, [])]
        merged = mergers.get(row)
        if merged is not None:
            owner = next(other for other, column in pairs.items() if column == merged)
            _note_merged(thread, open_threads[owner], number, shifted[row], worlds)
        elif columns:
            found = [(lesions[column], bodies[column]) for column in sorted(columns)]
            _note_found(thread, number, shifted[row], found, worlds)
        else:
            _note_missing(thread, number, shifted[row], worlds)
    for thread in closed:
        target = next(other for other in threads if other.lesion_id == thread.merged_into)
        _note_merged(thread, target, number, _expected(thread, number, worlds), worlds)
    taken = {*pairs.values(), *(column for columns in fragments.values() for column in columns)}
    for column, lesion in enumerate(lesions):
        if column not in taken:
            threads.append(_begin(len(threads) + 1, number, lesion, bodies[column], worlds))


def _body(study: ExaminedStudy, lesion: Lesion, settings: TrackSettings) -> _Body:
    cut = box_slices(lesion.bounding_box)
    index = np.argwhere(study.lesion_map.labels.voxels[cut] == lesion.label)
    corner = np.array([low for low, _ in lesion.bounding_box])
    points = voxel_to_world(study.prepared.grid, index[:: 1 + len(index) // 3000] + corner)
    return _Body(points=points, volume_ml=lesion.volume_ml)


def _expected(thread: _Thread, number: int, worlds: _Worlds) -> _Body:
    """Carry a track's body into a study."""
    points = worlds.map_forth(thread.body.points, thread.at, number)
    return _Body(points=points, volume_ml=thread.body.volume_ml)


def _assign(expected: Sequence[_Body], bodies: Sequence[_Body], settings: TrackSettings) -> dict[int, int]:
    """Give the cheapest pairs of track and lesion when every one of them may also stay alone."""
    rows, columns = len(expected), len(bodies)
    if not rows or not columns:
        return {}
    cost = np.full((rows + columns, rows + columns), _INFEASIBLE)
    for row, one in enumerate(expected):
        for column, other in enumerate(bodies):
            cost[row, column] = _cost(one, other, settings)
    cost[range(rows), range(columns, columns + rows)] = settings.null_cost
    cost[range(rows, rows + columns), range(columns)] = settings.null_cost
    cost[rows:, columns:] = 0.0
    chosen = zip(*linear_sum_assignment(cost), strict=True)
    return {int(row): int(column) for row, column in chosen if row < rows and column < columns}


def _cost(one: _Body, other: _Body, settings: TrackSettings) -> float:
    distance = float(np.linalg.norm(one.middle - other.middle))
    if distance > settings.gate_mm + abs(one.radius_mm - other.radius_mm):
        return _INFEASIBLE
    apart = 1.0
    if distance < one.radius_mm + other.radius_mm + settings.tolerance_mm:
        smaller, larger = (one, other) if one.volume_ml <= other.volume_ml else (other, one)
        apart = 1.0 - _share_near(smaller, larger, 2.0)
    size = min(1.0, abs(float(np.log(one.volume_ml / other.volume_ml))) / float(np.log(8.0)))
    return distance / settings.gate_mm + settings.overlap_weight * apart + settings.size_weight * size


def _share_near(body: _Body, other: _Body, tolerance_mm: float) -> float:
    """Part of a body within ``tolerance_mm`` of the voxels of another."""
    points = body.points[:: 1 + len(body.points) // 300]
    distance, _ = KDTree(other.points).query(points, distance_upper_bound=tolerance_mm)
    return float(np.isfinite(distance).mean())


def _corrected(
    one: _Body,
    row: int,
    expected: Sequence[_Body],
    bodies: Sequence[_Body],
    pairs: dict[int, int],
    settings: TrackSettings,
) -> _Body:
    """Move an expected body as its matched neighbours were off, the near ones most."""
    weights, shifts = [0.5], [np.zeros(3)]  # half a neighbour that was where it should be
    for other, column in pairs.items():
        if other != row:
            distance = float(np.linalg.norm(expected[other].middle - one.middle))
            weights.append(float(np.exp(-0.5 * (distance / settings.neighbour_mm) ** 2)))
            shifts.append(bodies[column].middle - expected[other].middle)
    return _Body(points=one.points + np.average(shifts, axis=0, weights=weights), volume_ml=one.volume_ml)


def _mergers(
    expected: Sequence[_Body], bodies: Sequence[_Body], pairs: dict[int, int], settings: TrackSettings
) -> dict[int, int]:
    """Give the unmatched tracks whose place a matched lesion has taken up."""
    found = {}
    for row, one in enumerate(expected):
        if row in pairs:
            continue
        shares = {
            column: _share_near(one, bodies[column], settings.tolerance_mm) for column in pairs.values()
        }
        if shares:
            best = max(shares, key=lambda column: (shares[column], -column))
            if shares[best] >= settings.share:
                found[row] = best
    return found


def _largest_parents(
    expected: Sequence[_Body], pairs: dict[int, int], mergers: dict[int, int]
) -> tuple[dict[int, int], dict[int, int]]:
    """Let the largest of those that became one lesion go on, and the others merge into it."""
    pairs, mergers = dict(pairs), dict(mergers)
    for column in sorted(set(mergers.values())):
        owner = next(row for row, paired in pairs.items() if paired == column)
        parents = [owner, *sorted(row for row, merged in mergers.items() if merged == column)]
        largest = max(parents, key=lambda row: (expected[row].volume_ml, -row))
        if largest != owner:
            del pairs[owner], mergers[largest]
            pairs[largest], mergers[owner] = column, column
    return pairs, mergers


def _fragments(
    expected: Sequence[_Body], bodies: Sequence[_Body], pairs: dict[int, int], settings: TrackSettings
) -> dict[int, list[int]]:
    """Give the unmatched lesions that lie where a matched track was."""
    found: dict[int, list[int]] = {}
    for column, body in enumerate(bodies):
        if column in pairs.values():
            continue
        shares = {row: _share_near(body, expected[row], settings.tolerance_mm) for row in pairs}
        if shares:
            best = max(shares, key=lambda row: (shares[row], -row))
            if shares[best] >= settings.share and body.volume_ml <= expected[best].volume_ml:
                found.setdefault(best, []).append(column)
    return found


def _begin(rank: int, number: int, lesion: Lesion, body: _Body, worlds: _Worlds) -> _Thread:
    earlier = [n for n in range(number) if worlds.studies[n].lesion_map.not_assessable is None]
    event = TrackEvent.NEW if earlier else TrackEvent.FIRST
    views = [_earlier_view(body, n, number, worlds) for n in earlier]
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
        observations=[observation],
    )


@dataclass(frozen=True, slots=True)
class _EarlierView:
    """What an earlier study shows at the place of a new lesion."""

    was_liver: bool | None
    words: str


def _earlier_view(body: _Body, earlier: int, number: int, worlds: _Worlds) -> _EarlierView:
    place = worlds.map_back(body.middle[None], number, earlier)[0]
    where = worlds.date_of(earlier)
    if not worlds.has_in_view(earlier, place):
        return _EarlierView(None, f"{where}: place was outside the field of view")
    # the middle of the lesion only: the map between two studies is a few millimetres off
    reach = max(0.6 * body.radius_mm, 4.0, 1.2 * max(worlds.studies[earlier].prepared.grid.spacing_mm))
    ratio = _farthest_ratio(worlds.studies[earlier], place, reach)
    if ratio is None:
        return _EarlierView(None, f"{where}: no lesion there; too little liver there to look again")
    was_liver = abs(ratio - 1.0) <= worlds.settings.liver_like * (1.0 + 1e-9)
    seen = "like liver" if was_liver else "not like liver"
    return _EarlierView(
        was_liver, f"{where}: no lesion there; looked again: {seen} (signal ratio {ratio:.2f})"
    )


def _farthest_ratio(study: ExaminedStudy, place: npt.NDArray[np.float64], reach_mm: float) -> float | None:
    """Give the median signal of a ball over that of the liver, in the contrast phase where it is farthest from 1."""
    prepared = study.prepared
    inside = prepared.liver.voxels > 0
    index = np.argwhere(inside)
    near = np.linalg.norm(voxel_to_world(prepared.grid, index) - place, axis=1) <= reach_mm
    if near.sum() < _LEAST_VOXELS:
        return None
    ball = tuple(index[near].T)
    healthy = inside & (study.lesion_map.labels.voxels == 0)
    ratios = [
        float(np.median(image.voxels[ball]) / max(float(np.median(image.voxels[healthy])), 1e-6))
        for image in prepared.images.values()
    ]
    return max(ratios, key=lambda ratio: abs(ratio - 1.0), default=None)


def _all_or_unknown(answers: Sequence[bool | None]) -> bool | None:
    if False in answers:
        return False
    return None if not answers or None in answers else True


def _note_found(
    thread: _Thread,
    number: int,
    expected: _Body,
    found: Sequence[tuple[Lesion, _Body]],
    worlds: _Worlds,
) -> None:
    parts = [body for _, body in found]
    body = _Body(
        points=np.concatenate([part.points for part in parts]),
        volume_ml=sum(part.volume_ml for part in parts),
    )
    distance = float(np.linalg.norm(expected.middle - body.middle))
    event = TrackEvent.MATCHED
    if len(found) > 1:
        event = TrackEvent.SPLIT
    elif thread.observations[-1].event in (TrackEvent.ABSENT, TrackEvent.NOT_FOUND) and _was_looked_for(
        thread, number, worlds
    ):
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
    thread.seen, thread.at, thread.body = number, number, body


def _was_looked_for(thread: _Thread, number: int, worlds: _Worlds) -> bool:
    """Tell whether any study since the track was last seen could have shown it."""
    between = worlds.studies[thread.seen + 1 : number]
    return any(study.lesion_map.not_assessable is None for study in between)


def _note_missing(thread: _Thread, number: int, expected: _Body, worlds: _Worlds) -> None:
    source = worlds.studies[number].lesion_map.source
    if not worlds.has_in_view(number, expected.middle):
        event, evidence = TrackEvent.OUTSIDE, "its place is outside the field of view"
    elif source is MeasurementSource.NETWORK:
        event, evidence = TrackEvent.NOT_FOUND, "the network found nothing at its place; absence is not shown"
    else:
        event, evidence = TrackEvent.ABSENT, "the given mask has nothing at its place"
    _note_empty(thread, number, expected, event, evidence, worlds)


def _note_merged(thread: _Thread, target: _Thread, number: int, expected: _Body, worlds: _Worlds) -> None:
    thread.merged_into = target.lesion_id
    evidence = f"became one lesion with {target.lesion_id}"
    _note_empty(thread, number, expected, TrackEvent.MERGED, evidence, worlds)


def _note_not_assessed(thread: _Thread, number: int, worlds: _Worlds) -> None:
    evidence = f"lesions not assessable: {worlds.studies[number].lesion_map.not_assessable}"
    expected = _expected(thread, number, worlds)
    _note_empty(thread, number, expected, TrackEvent.NOT_FOUND, evidence, worlds)


def _note_empty(
    thread: _Thread, number: int, expected: _Body, event: TrackEvent, evidence: str, worlds: _Worlds
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
