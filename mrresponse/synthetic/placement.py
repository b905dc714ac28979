"""Where the lesions of a planned patient lie in a torso, and where they are found in each image.

A lesion keeps its exact shape: motion between studies and contrast phases moves its centre only, so that the planned
diameters hold in every image.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch
from scipy import ndimage

from mrresponse.domain import Point
from mrresponse.synthetic.acquisition import Motion
from mrresponse.synthetic.anatomy import (
    Anatomy,
    draw_anatomy,
    liver_box,
    lobe_mask,
    tissue_map,
)
from mrresponse.synthetic.noise import grid_points
from mrresponse.synthetic.plans import LesionPlan, PatientPlan
from mrresponse.synthetic.tissues import liver_mask

_SEARCH_SPACING_MM = 5.0
_EDGE_CLEARANCE_MM = 2.5
_LESION_GAP_MM = 12.0
_ATTEMPTS = 60
# The shortest field of view of the phantom sizes, 160 mm, holds the liver of every planned patient.
_TALLEST_LIVER_MM = 160.0


@dataclass(frozen=True, slots=True, kw_only=True)
class PlacedLesion:
    """A planned lesion with its place in the anatomy; angles in degrees in the axial plane.

    ``angle_deg`` turns the longest axis; the viable part lies off centre towards ``viable_side`` (a unit vector).
    """

    plan: LesionPlan
    centre_mm: Point
    angle_deg: float
    viable_side: Point


@dataclass(frozen=True, slots=True, kw_only=True)
class PlacedPatient:
    """A torso and the places of all lesions in it."""

    plan: PatientPlan
    anatomy: Anatomy
    liver_box_mm: tuple[Point, Point]
    lesions: tuple[PlacedLesion, ...]


def place_patient(plan: PatientPlan, *, seed: int) -> PlacedPatient:
    """Draw torsos until one holds every planned lesion inside its liver.

    Raises
    ------
    ValueError
        No torso of the attempts has the room; the plan asks for too much.
    """
    for attempt in range(_ATTEMPTS):
        anatomy = _draw_torso(
            plan, seed=int(np.random.SeedSequence([seed, attempt]).generate_state(1)[0]) % 100_000
        )
        box = liver_box(anatomy)
        if box[1][2] - box[0][2] > _TALLEST_LIVER_MM:
            continue
        rng = np.random.default_rng([seed, attempt, 61])
        lesions = _place_lesions(anatomy, box, plan.lesions, rng)
        if lesions is not None:
            return PlacedPatient(plan=plan, anatomy=anatomy, liver_box_mm=box, lesions=lesions)
    raise ValueError(f"{plan.patient_id}: no torso in {_ATTEMPTS} draws has room for every lesion")


def find_in_image(centre_mm: Point, motion: Motion) -> Point:
    """Return the image point that ``motion`` maps to an anatomical point (fixed-point iteration)."""
    wanted = torch.tensor(centre_mm, dtype=torch.float64)
    point = wanted.clone()
    for _ in range(40):
        moved = motion.apply(point.to(torch.float32).view(3, 1, 1, 1)).view(3).to(torch.float64)
        point = point + (wanted - moved)
    return float(point[0]), float(point[1]), float(point[2])


def _draw_torso(plan: PatientPlan, *, seed: int) -> Anatomy:
    anatomy = replace(draw_anatomy(seed, cirrhotic=plan.cirrhotic), resected=None, ascites=0.0, riedel=0.0)
    if plan.large_left_lobe:
        anatomy = replace(
            anatomy, left_lobe=max(anatomy.left_lobe, 1.35), left_tip=0.8, left_reach=0.5, notch=2.0
        )
    return anatomy


def _place_lesions(
    anatomy: Anatomy, box: tuple[Point, Point], plans: Iterable[LesionPlan], rng: np.random.Generator
) -> tuple[PlacedLesion, ...] | None:
    """Return the placed lesions in the order of the plans, or ``None`` where one finds no room."""
    points, depth = _liver_depth(anatomy, box)
    placed: dict[str, PlacedLesion] = {}
    ordered = tuple(plans)
    for plan in sorted(ordered, key=lambda lesion: -lesion.largest_mm):
        radius = plan.largest_mm / 2
        room = (depth >= radius + _EDGE_CLEARANCE_MM) & lobe_mask(anatomy, points, plan.lobe).numpy()
        candidates = points.numpy()[:, room].T
        for other in placed.values():
            gap = np.linalg.norm(candidates - np.asarray(other.centre_mm), axis=1)
            candidates = candidates[gap >= radius + other.plan.largest_mm / 2 + _LESION_GAP_MM]
        if len(candidates) == 0:
            return None
        place = candidates[int(rng.integers(len(candidates)))]
        side = rng.normal(0, 1, 3) * np.array([1.0, 1.0, 0.4])
        placed[plan.identity] = PlacedLesion(
            plan=plan,
            centre_mm=_point(place),
            angle_deg=float(rng.uniform(0, 180)),
            viable_side=_point(side / np.linalg.norm(side)),
        )
    return tuple(placed[plan.identity] for plan in ordered)


def _liver_depth(anatomy: Anatomy, box: tuple[Point, Point]) -> tuple[torch.Tensor, npt.NDArray[np.float64]]:
    """Return grid points around the liver, (3, I, J, K), and their distance in mm from the liver's edge."""
    low, high = (np.asarray(corner) for corner in box)
    shape = tuple(int(size) for size in np.ceil((high - low) / _SEARCH_SPACING_MM) + 3)
    affine = torch.diag(torch.tensor([_SEARCH_SPACING_MM] * 3 + [1.0], dtype=torch.float64))
    affine[:3, 3] = torch.from_numpy(low - _SEARCH_SPACING_MM)
    points = grid_points((shape[0], shape[1], shape[2]), affine)
    liver = liver_mask(tissue_map(anatomy, points)).numpy()
    return points, ndimage.distance_transform_edt(liver, sampling=_SEARCH_SPACING_MM)


def _point(values: npt.NDArray[np.float64]) -> Point:
    return float(values[0]), float(values[1]), float(values[2])
