"""Which lesion of a study is which track: an assignment with explicit nulls, mergers and fragments.

Tracks and lesions are compared as bodies in one world; nothing here knows of studies.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.optimize import linear_sum_assignment
from scipy.spatial import KDTree

from mrresponse.geometry import Points
from mrresponse.track.settings import TrackSettings

_INFEASIBLE = 1e6


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Body:
    """Voxel centres of one or several labels of a study in its world."""

    points: Points
    volume_ml: float

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
    if distance > settings.gate_mm + abs(one.radius_mm - other.radius_mm):
        return _INFEASIBLE
    apart = 1.0
    if distance < one.radius_mm + other.radius_mm + settings.tolerance_mm:
        smaller, larger = (one, other) if one.volume_ml <= other.volume_ml else (other, one)
        apart = 1.0 - _share_near(smaller, larger, 2.0)
    size = min(1.0, abs(float(np.log(one.volume_ml / other.volume_ml))) / float(np.log(8.0)))
    return distance / settings.gate_mm + settings.overlap_weight * apart + settings.size_weight * size


def _share_near(body: Body, other: Body, tolerance_mm: float) -> float:
    """Part of a body within ``tolerance_mm`` of the voxels of another."""
    points = body.points[:: 1 + len(body.points) // 300]
    distance, _ = KDTree(other.points).query(points, distance_upper_bound=tolerance_mm)
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
    return Body(points=one.points + np.average(shifts, axis=0, weights=weights), volume_ml=one.volume_ml)


def find_mergers(
    expected: Sequence[Body], bodies: Sequence[Body], pairs: dict[int, int], settings: TrackSettings
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
