"""What the images show at a place: whether a lesion that is not in the mask of a study is shown to be gone.

A network that finds nothing shows nothing. Absence is shown where the place looks like the liver beside it in every
contrast phase, what registration may be off around it does so in those in which the lesion stood out when it was last
seen, and nothing is wrong with the images. The same look, taken backwards, says whether a new lesion was there
before and missed.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
import numpy.typing as npt

from mrresponse.domain import BoolArray, ContrastPhase, ExaminedStudy
from mrresponse.geometry import Points, voxel_to_world, world_to_voxel

_LEAST_VOXELS = 5
# The liver beside a place is looked for from here to there beyond the ball that is looked at.
_BESIDE_MM = (4.0, 20.0)
_SEARCH_STEP_MM = 4.0
# With one of these flags a study cannot show that a lesion is gone.
_DISQUALIFYING = frozenset(
    {
        "registration_rejected",
        "inhomogeneous",
        "ghosting",
        "low_snr",
        "mistimed_arterial",
        "cross_phase_dice",
        "fragments",
        "liver_volume",
    }
)

# Images of other kinds, such as T2, say nothing of whether enhancing tumour is there.
_T1 = frozenset(ContrastPhase) - {ContrastPhase.OTHER}

Ratios = Mapping[ContrastPhase, float]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Look:
    """The signal at a place over that of the liver beside it, in every contrast phase."""

    ratios: Ratios

    def farthest(self) -> tuple[ContrastPhase, float]:
        """Return the contrast phase in which the place is least like liver, and its ratio there."""
        return max(self.ratios.items(), key=lambda item: abs(item[1] - 1.0))

    def is_like_liver(self, tolerance: float) -> bool:
        """Tell whether the place is like liver in every contrast phase."""
        return abs(self.farthest()[1] - 1.0) <= tolerance * (1.0 + 1e-9)

    def stands_out(self, tolerance: float) -> list[ContrastPhase]:
        """Return the contrast phases in which the place is not like liver."""
        return [phase for phase, ratio in self.ratios.items() if abs(ratio - 1.0) > tolerance]

    def words(self, phases: Sequence[ContrastPhase]) -> str:
        """Say how the place looks in some contrast phases."""
        return ", ".join(f"{self.ratios[phase]:.2f} in {phase.value}" for phase in phases)


def look_at_ball(study: ExaminedStudy, place: npt.NDArray[np.float64], reach_mm: float) -> Look | None:
    """Look at the liver in a ball; ``None`` where there is too little liver in it or beside it."""
    box, distance = _distances(study, place, reach_mm + _BESIDE_MM[1])
    liver = study.prepared.liver.voxels[box] > 0
    ball = distance <= reach_mm
    inside = ball & liver
    if inside.sum() < max(_LEAST_VOXELS, 0.5 * ball.sum()):
        return None
    beside = liver & (study.lesion_map.labels.voxels[box] == 0) & (distance > reach_mm + _BESIDE_MM[0])
    return _look(study, box, inside, beside & (distance <= reach_mm + _BESIDE_MM[1]))


def look_at_lesion(study: ExaminedStudy, labels: tuple[int, ...], points: Points) -> Look | None:
    """Look at the voxels of a lesion where it was found."""
    middle = points.mean(axis=0)
    reach = float(np.linalg.norm(points - middle, axis=1).max())
    box, distance = _distances(study, middle, reach + _BESIDE_MM[1])
    found = study.lesion_map.labels.voxels[box]
    beside = (study.prepared.liver.voxels[box] > 0) & (found == 0) & (distance <= reach + _BESIDE_MM[1])
    return _look(study, box, np.isin(found, labels), beside)


def show_absence(
    study: ExaminedStudy,
    places: Sequence[npt.NDArray[np.float64]],
    radius_mm: float,
    then: Look | None,
    *,
    search_mm: float,
    tolerance: float,
) -> tuple[bool, str]:
    """Tell whether a lesion that the network does not find at its registered place is shown to be gone, and why.

    Parameters
    ----------
    places
        Where it may lie: all of them have to show that it is gone.
    then
        How the lesion looked when it was last seen.
    search_mm
        How far from these places it may lie.
    tolerance
        Farthest ratio to the liver that is still like liver, as a fraction.
    """
    why_not = doubts_about(study) or missing_phases(study.prepared.images, then, tolerance)
    if then is None or why_not:
        return False, why_not
    telling = then.stands_out(tolerance)
    reach = reach_of(study, radius_mm)
    worst: tuple[float, str] = (0.0, "")
    for place, offset in product(places, _offsets(search_mm)):
        is_place = not offset.any()
        look = look_at_ball(study, place + offset, reach)
        if look is None:
            if is_place:
                return False, "too little liver at its place to look again"
            continue
        unseen = [phase.value for phase in telling if phase not in look.ratios]
        if unseen:
            return False, f"the place is not in the field of view of {', '.join(unseen)}"
        # what enhances otherwise than before treatment may stand out where it did not
        for phase in _T1.intersection(look.ratios) if is_place else telling:
            ratio = look.ratios[phase]
            worst = max(worst, (abs(ratio - 1.0), f"{ratio:.2f} in {phase.value}"))
    stood_out = then.words(telling)
    if worst[0] <= tolerance * (1.0 + 1e-9):
        return True, f"within {search_mm:g} mm of its place like liver ({worst[1]}), where it was {stood_out}"
    return False, f"its surroundings are not like liver ({worst[1]}; it was {stood_out})"


def doubts_about(study: ExaminedStudy) -> str:
    """Say why the images of a study cannot show whether a lesion is there; empty where they can."""
    doubts = sorted({flag.code for flag in study.flags} & _DISQUALIFYING)
    return f"the images cannot show it: {', '.join(doubts)}" if doubts else ""


def missing_phases(available: Collection[ContrastPhase], seen: Look | None, tolerance: float) -> str:
    """Say what images lack to show whether a lesion that looked as ``seen`` elsewhere is there; empty for nothing.

    It needs every contrast phase in which the lesion stood out: in the others it may be there and look like liver.
    """
    if seen is None:
        return "how it looked where it was seen is not known"
    needed = seen.stands_out(tolerance)
    missing = [phase for phase in needed if phase not in available]
    if missing:
        names = ", ".join(phase.value for phase in missing)
        return f"no image of {names}, where it stood out from the liver ({seen.words(missing)})"
    return "" if needed else "it did not stand out from the liver in any contrast phase"


def reach_of(study: ExaminedStudy, radius_mm: float) -> float:
    """Return the radius of the ball looked at: the middle of a lesion, and some voxels at least."""
    return max(0.6 * radius_mm, 4.0, 1.2 * max(study.prepared.grid.spacing_mm))


def _offsets(search_mm: float) -> npt.NDArray[np.float64]:
    """Return a lattice of offsets in mm within a ball, the middle first."""
    steps = int(search_mm // _SEARCH_STEP_MM)
    axis = np.arange(-steps, steps + 1) * _SEARCH_STEP_MM
    lattice = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), axis=-1).reshape(-1, 3)
    length = np.linalg.norm(lattice, axis=1)
    near = length <= search_mm
    return np.asarray(lattice[near][np.argsort(length[near], kind="stable")], dtype=np.float64)


def _distances(
    study: ExaminedStudy, place: npt.NDArray[np.float64], reach_mm: float
) -> tuple[tuple[slice, slice, slice], npt.NDArray[np.float64]]:
    """Return the part of the grid within reach of a place, and every voxel's distance from it in mm."""
    grid = study.prepared.grid
    middle = world_to_voxel(grid, place[None])[0]
    half = reach_mm / np.asarray(grid.spacing_mm) + 1.0
    last = np.asarray(grid.shape)
    low = np.clip(np.floor(middle - half).astype(int), 0, last)
    high = np.clip(np.ceil(middle + half).astype(int) + 1, low, last)
    i, j, k = (slice(int(first), int(stop)) for first, stop in zip(low, high, strict=True))
    index = np.moveaxis(np.indices(tuple(high - low)), 0, -1).reshape(-1, 3) + low
    distance = np.linalg.norm(voxel_to_world(grid, index) - place, axis=1)
    return (i, j, k), distance.reshape(tuple(high - low))


def _look(
    study: ExaminedStudy, box: tuple[slice, slice, slice], inside: BoolArray, beside: BoolArray
) -> Look | None:
    """Compare two parts of a box in every contrast phase whose field of view holds all of the first."""
    prepared = study.prepared
    if inside.sum() < _LEAST_VOXELS:
        return None
    ratios = {}
    for phase, image in prepared.images.items():
        seen = prepared.fields[phase][box] if phase in prepared.fields else np.ones_like(inside)
        around = beside & seen
        if seen[inside].all() and around.sum() >= _LEAST_VOXELS:
            voxels = image.voxels[box]
            ratios[phase] = float(np.median(voxels[inside])) / max(float(np.median(voxels[around])), 1e-6)
    return Look(ratios=ratios) if ratios else None
