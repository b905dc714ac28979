"""Which lesion of a study is which track: an assignment with explicit nulls, mergers and fragments.

Tracks and lesions are compared as bodies in one world; nothing here knows of studies.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from scipy.optimize import linear_sum_assignment
from scipy.spatial import KDTree

from mrresponse.geometry import Points
from mrresponse.track.settings import TrackSettings

_INFEASIBLE = 1e6


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Body:
    """Voxel centres of one or several labels of a study in its world; ``fell_apart`` tells those of fragments."""

    points: Points
    volume_ml: float
    fell_apart: bool = False

    @property
    def middle(self) -> npt.NDArray[np.float64]:
        """Mean of its points."""
        return np.asarray(self.points.mean(axis=0), dtype=np.float64)

    @property
    def radius_mm(self) -> float:
        """Radius of the ball of the same volume."""
        return float((3000.0 * self.volume_ml / (4.0 * np.pi)) ** (1.0 / 3.0))


def assign(expected: Sequence[Body], bodies: Sequence[Body], settings: TrackSettings) -> dict[int, int]:
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


def _cost(one: Body, other: Body, settings: TrackSettings) -> float:
    distance = float(np.linalg.norm(one.middle - other.middle))
    # a lesion of which only a part was found has its middle elsewhere by as much as the radii differ
    off = max(0.0, distance - abs(one.radius_mm - other.radius_mm))
    if off > settings.gate_mm:
        return _INFEASIBLE
    apart = 1.0
    if distance < one.radius_mm + other.radius_mm + settings.tolerance_mm:
        smaller, larger = (one, other) if one.volume_ml <= other.volume_ml else (other, one)
        apart = 1.0 - _share_near(smaller, larger, 2.0)
    size = min(1.0, abs(float(np.log(one.volume_ml / other.volume_ml))) / float(np.log(8.0)))
    return off / settings.gate_mm + settings.overlap_weight * apart + settings.size_weight * size


def _share_near(body: Body, other: Body, tolerance_mm: float) -> float:
    """Part of a body within ``tolerance_mm`` of the voxels of another.

    A few hundred points stand for the body, but all voxels for the other: between fewer there would be gaps.
    """
    points = body.points[:: 1 + len(body.points) // 300]
    low, high = points.min(axis=0) - tolerance_mm, points.max(axis=0) + tolerance_mm
    about = other.points[((other.points >= low) & (other.points <= high)).all(axis=1)]
    # a tree as it comes takes half the time of a balanced one: 0.06 s for a lesion of 140 mm
    tree = KDTree(about, balanced_tree=False, compact_nodes=False)
    distance, _ = tree.query(points, distance_upper_bound=tolerance_mm)
    return float(np.isfinite(distance).mean())


def corrected(
    one: Body,
    row: int,
    expected: Sequence[Body],
    bodies: Sequence[Body],
    pairs: dict[int, int],
    settings: TrackSettings,
) -> Body:
    """Move an expected body as its matched neighbours were off, the near ones most."""
    weights, shifts = [0.5], [np.zeros(3)]  # half a neighbour that was where it should be
    for other, column in pairs.items():
        if other != row:
            distance = float(np.linalg.norm(expected[other].middle - one.middle))
            weights.append(float(np.exp(-0.5 * (distance / settings.neighbour_mm) ** 2)))
            shifts.append(bodies[column].middle - expected[other].middle)
    return replace(one, points=one.points + np.average(shifts, axis=0, weights=weights))


def of_one_extent(
    expected: Sequence[Body], bodies: Sequence[Body], pairs: dict[int, int], settings: TrackSettings
) -> dict[int, int]:
    """Give the pairs whose distance says how far registration is off.

    A part has its middle elsewhere than the whole by as much as the radii differ, so pairs whose radii differ by more
    than an outline may be off are left out, and so is what fell apart or took up another lesion.
    """
    split = find_fragments(expected, bodies, pairs, settings)
    taken_up = set(find_mergers(expected, bodies, pairs, settings).values())
    return {
        row: column
        for row, column in pairs.items()
        if row not in split
        and column not in taken_up
        and abs(expected[row].radius_mm - bodies[column].radius_mm) <= settings.tolerance_mm
    }


def find_mergers(
    expected: Sequence[Body], bodies: Sequence[Body], pairs: dict[int, int], settings: TrackSettings
) -> dict[int, int]:
    """Give the unmatched tracks whose place a matched lesion has taken up.

    It has where most of the track's body lies in the lesion: as it is, or after both parents together were moved onto
    the lesion that is as large as both, since one parent alone says little about where registration is off.
    """
    owner = {column: row for row, column in pairs.items()}
    found = {}
    for row, one in enumerate(expected):
        if row in pairs:
            continue
        shares = {}
        for column, parent in owner.items():
            lesion = bodies[column]
            shares[column] = _share_near(one, lesion, settings.tolerance_mm)
            both = [expected[parent], one]
            if lesion.volume_ml >= settings.least_union * _volume_ml(both):
                moved = _moved_onto(one, both, [lesion], settings)
                if moved is not None:
                    shares[column] = max(shares[column], _share_near(moved, lesion, settings.tolerance_mm))
        if shares:
            best = max(shares, key=lambda column: (shares[column], -column))
            if shares[best] >= settings.share:
                found[row] = best
    return found


def largest_parents(
    expected: Sequence[Body], pairs: dict[int, int], mergers: dict[int, int]
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


def find_fragments(
    expected: Sequence[Body], bodies: Sequence[Body], pairs: dict[int, int], settings: TrackSettings
) -> dict[int, list[int]]:
    """Give the unmatched lesions that lie where a matched track was.

    They do as the track is, or after it was moved onto both fragments together, where they are no larger than it; of
    one that had fallen apart before, its fragments may have grown.
    """
    found: dict[int, list[int]] = {}
    for column, body in enumerate(bodies):
        if column in pairs.values():
            continue
        shares = {}
        for row, paired in pairs.items():
            track = expected[row]
            shares[row] = _share_near(body, track, settings.tolerance_mm)
            both = [bodies[paired], body]
            if track.fell_apart or settings.least_union * _volume_ml(both) <= track.volume_ml:
                moved = _moved_onto(track, [track], both, settings)
                if moved is not None:
                    shares[row] = max(shares[row], _share_near(body, moved, settings.tolerance_mm))
        if shares:
            best = max(shares, key=lambda row: (shares[row], -row))
            if shares[best] >= settings.share and body.volume_ml <= expected[best].volume_ml:
                found.setdefault(best, []).append(column)
    return found


def find_returned(
    places: Mapping[int, Body], bodies: Sequence[Body], taken: Collection[int], settings: TrackSettings
) -> dict[int, list[int]]:
    """Give the lesions that are in no track yet and lie where one lay, as it is or was in any study before.

    ``places`` has for a track all that it ever took up. What comes back there is that lesion again, or a part of it.
    """
    found: dict[int, list[int]] = {}
    for column, body in enumerate(bodies):
        if column in taken or not places:
            continue
        shares = {row: _share_near(body, place, settings.tolerance_mm) for row, place in places.items()}
        best = max(shares, key=lambda row: (shares[row], -row))
        if shares[best] >= settings.share and body.volume_ml <= places[best].volume_ml:
            found.setdefault(best, []).append(column)
    return found


def left_of(place: Body, body: Body, tolerance_mm: float) -> Body | None:
    """Give the part of a place that is farther than ``tolerance_mm`` from the voxels of a body; ``None`` for nothing.

    It is what the body no longer takes up.
    """
    # all points of one cell are that near to each other; it spares most of them the search
    corner = np.minimum(place.points.min(axis=0), body.points.min(axis=0))
    cell = max(tolerance_mm / 2.0, 0.1)
    there, here = (
        np.floor((points - corner) / cell).astype(np.int64) for points in (place.points, body.points)
    )
    size = np.maximum(there.max(axis=0), here.max(axis=0)) + 1
    numbers, taken = (np.ravel_multi_index(tuple(cells.T), tuple(size)) for cells in (there, here))
    points = place.points[~np.isin(numbers, taken)]
    if len(points):
        tree = KDTree(body.points, balanced_tree=False, compact_nodes=False)
        points = points[np.isinf(tree.query(points, distance_upper_bound=tolerance_mm)[0])]
    if not len(points):
        return None
    return Body(points=points, volume_ml=place.volume_ml * len(points) / len(place.points))


def joined(parts: Sequence[Body]) -> Body:
    """Put bodies of one study together: their voxels are of one size, so their points weigh what they fill."""
    return Body(
        points=np.concatenate([part.points for part in parts]),
        volume_ml=_volume_ml(parts),
        fell_apart=len(parts) > 1,
    )


def middle_of(parts: Sequence[Body]) -> npt.NDArray[np.float64]:
    """Give the middle of several bodies, whose voxels may be of different sizes, weighted by their volumes."""
    middles = [part.middle for part in parts]
    weights = [part.volume_ml for part in parts]
    return np.asarray(np.average(middles, axis=0, weights=weights), dtype=np.float64)


def _volume_ml(parts: Sequence[Body]) -> float:
    return sum(part.volume_ml for part in parts)


def _moved_onto(
    body: Body, whole: Sequence[Body], others: Sequence[Body], settings: TrackSettings
) -> Body | None:
    """Move a body as ``whole`` would have to move onto others; ``None`` for farther than a match may lie."""
    shift = middle_of(others) - middle_of(whole)
    if float(np.linalg.norm(shift)) > settings.gate_mm:
        return None
    return replace(body, points=body.points + shift)
