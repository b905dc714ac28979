"""The procedural torso: a few numbers drawn from a seed, evaluated as implicit shapes at any point.

World coordinates are RAS+ mm: x to the patient's right, y anterior, z superior; the origin lies on the midline at
mid-liver height. Nothing is stored on a grid, so motion between phases or studies is evaluation at displaced points.
"""

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import torch

from mrresponse.synthetic.noise import NoiseField, centred_affine, grid_points, noise_field
from mrresponse.synthetic.shapes import Vector, rotation_matrix
from mrresponse.synthetic.tissues import Tissue, is_in, liver_mask

MINIMUM_LIVER_ML = 700.0
MAXIMUM_LIVER_ML = 2800.0


class Lobe(StrEnum):
    """Side of the liver with respect to the falciform plane."""

    RIGHT = "right"
    LEFT = "left"


@dataclass(frozen=True, slots=True, kw_only=True)
class Anatomy:
    """One person's torso: every shape follows from these numbers and the seed (lengths in mm)."""

    seed: int
    cirrhotic: bool
    scale: float
    tilt_deg: Vector
    half_width: float
    half_depth: float
    exponent: float
    fat: float
    wall: float
    right_dome: float
    left_dome_drop: float
    dome_height: float
    warp_sd: tuple[float, float]
    right_lobe: float
    left_lobe: float
    left_reach: float
    left_tip: float
    inferior_edge: float
    inferior_slope: float
    riedel: float
    notch: float
    caudate: float
    nodularity: float
    ascites: float
    resected: Lobe | None
    spleen: float
    kidney_drop: float
    gallbladder: float
    stomach: float
    bowel: float
    vessel: float

    @property
    def inner(self) -> tuple[float, float]:
        """Half width and half depth of the cavity inside fat and wall."""
        rim = self.fat + self.wall
        return self.half_width - rim, self.half_depth - rim

    @property
    def spine_y(self) -> float:
        """Middle of the vertebral bodies along y."""
        return -0.94 * self.half_depth + self.fat + self.wall + 44.0

    @property
    def hilum(self) -> Vector:
        """Where the portal vein enters the liver."""
        return (34.0, self.spine_y + 52.0, -10.0)


def draw_anatomy(seed: int, *, cirrhotic: bool = False) -> Anatomy:
    """Draw a torso whose liver measures 700-2800 mL; the same seed gives the same torso."""
    for attempt in range(20):
        anatomy = _propose(seed, attempt, cirrhotic)
        if MINIMUM_LIVER_ML <= liver_volume_ml(anatomy) <= MAXIMUM_LIVER_ML:
            return anatomy
    raise ValueError(
        f"seed {seed}: no liver between {MINIMUM_LIVER_ML} and {MAXIMUM_LIVER_ML} mL in 20 draws"
    )


def _propose(seed: int, attempt: int, cirrhotic: bool) -> Anatomy:
    rng = np.random.default_rng([seed, attempt, int(cirrhotic)])
    half_width = float(rng.uniform(135, 185))
    half_depth = float(np.clip(half_width * rng.uniform(0.60, 0.76), 88, 135))
    fat = float(np.clip((half_width - 130) * rng.uniform(0.1, 0.7) + rng.uniform(2, 8), 4, 35))
    return Anatomy(
        seed=seed,
        cirrhotic=cirrhotic,
        scale=float(rng.uniform(0.92, 1.08)),
        tilt_deg=(float(rng.normal(0, 4)), float(rng.normal(0, 4)), float(rng.normal(0, 6))),
        half_width=half_width,
        half_depth=half_depth,
        exponent=float(rng.uniform(2.0, 2.8)),
        fat=fat,
        wall=float(rng.uniform(6, 12)),
        right_dome=float(rng.normal(72, 12)),
        left_dome_drop=float(rng.uniform(2, 22)),
        dome_height=float(rng.uniform(55, 90)),
        warp_sd=(float(rng.uniform(3, 8)), float(rng.uniform(0.6, 2.2))),
        right_lobe=float(rng.uniform(0.86, 1.06)) * (0.80 if cirrhotic else 1.0),
        left_lobe=float(rng.uniform(0.75, 1.25)) * (1.12 if cirrhotic else 1.0),
        left_reach=float(np.clip(rng.normal(0.35, 0.22), -0.05, 0.85)),
        left_tip=float(rng.uniform(0.25, 0.75)),
        inferior_edge=float(rng.normal(-48, 16)),
        inferior_slope=float(rng.uniform(0.35, 1.0)),
        riedel=float(rng.uniform(20, 60)) if rng.random() < 0.12 else 0.0,
        notch=float(rng.uniform(0, 14)),
        caudate=float(rng.uniform(0.75, 1.15)) * (1.2 if cirrhotic else 1.0),
        nodularity=float(rng.uniform(2, 5)) if cirrhotic else 0.0,
        ascites=float(rng.uniform(4, 20)) if rng.random() < (0.25 if cirrhotic else 0.06) else 0.0,
        resected=(Lobe.RIGHT if rng.random() < 0.3 else Lobe.LEFT) if rng.random() < 0.05 else None,
        spleen=float(np.clip(np.exp(rng.normal(0.0, 0.17)), 0.72, 1.6)) * (1.18 if cirrhotic else 1.0),
        kidney_drop=float(rng.normal(0, 14)),
        gallbladder=float(rng.uniform(0.6, 1.35)) if rng.random() > 0.25 else 0.0,
        stomach=float(rng.uniform(0.6, 1.3)),
        bowel=float(rng.uniform(0.2, 0.8)),
        vessel=float(rng.uniform(0.75, 1.25)),
    )


def tissue_map(anatomy: Anatomy, points: torch.Tensor) -> torch.Tensor:
    """Return the tissue (uint8 values of :class:`Tissue`) at points of shape (3, I, J, K) in mm."""
    from mrresponse.synthetic.torso import paint_torso

    return paint_torso(anatomy, canonical_points(anatomy, points), points)


def canonical_points(anatomy: Anatomy, points: torch.Tensor) -> torch.Tensor:
    """Map world points to the space in which the person's organs are plain shapes."""
    large, small = _warp_fields(anatomy)
    moved = points + large.sample(points) + small.sample(points)
    rotation = rotation_matrix(anatomy.tilt_deg).to(points.device)
    return torch.tensordot(rotation, moved, dims=1) / anatomy.scale


def _warp_fields(anatomy: Anatomy) -> tuple[NoiseField, NoiseField]:
    generator = torch.Generator().manual_seed(anatomy.seed * 7919 + 11)
    large = noise_field(generator, cell_mm=50.0, sd=anatomy.warp_sd[0], channels=3)
    small = noise_field(generator, cell_mm=23.0, sd=anatomy.warp_sd[1], channels=3)
    return large, small


def liver_volume_ml(anatomy: Anatomy, *, spacing_mm: float = 8.0) -> float:
    """Return the liver volume in mL, counted on a coarse grid."""
    tissue, _ = _coarse_map(anatomy, spacing_mm)
    return float(liver_mask(tissue).sum()) * spacing_mm**3 / 1000.0


def liver_box(anatomy: Anatomy, *, spacing_mm: float = 8.0) -> tuple[Vector, Vector]:
    """Return the lower and upper corner (world mm) of the liver's bounding box."""
    tissue, points = _coarse_map(anatomy, spacing_mm)
    inside = points[:, liver_mask(tissue)]
    low, high = inside.amin(1) - spacing_mm / 2, inside.amax(1) + spacing_mm / 2
    return (float(low[0]), float(low[1]), float(low[2])), (float(high[0]), float(high[1]), float(high[2]))


def _coarse_map(anatomy: Anatomy, spacing_mm: float) -> tuple[torch.Tensor, torch.Tensor]:
    shape = (int(360 / spacing_mm), int(260 / spacing_mm), int(320 / spacing_mm))
    points = grid_points(shape, centred_affine(shape, (spacing_mm,) * 3, (10.0, 0.0, -20.0)))
    return tissue_map(anatomy, points), points


def lobe_mask(anatomy: Anatomy, points: torch.Tensor, lobe: Lobe) -> torch.Tensor:
    """Return which points lie on the given side of the falciform plane."""
    right = canonical_points(anatomy, points)[0] > FALCIFORM_X_MM
    return right if lobe is Lobe.RIGHT else ~right


FALCIFORM_X_MM = 18.0


def parenchyma_of(anatomy: Anatomy) -> Tissue:
    """Return the tissue of the liver's parenchyma."""
    return Tissue.LIVER_CIRRHOTIC if anatomy.cirrhotic else Tissue.LIVER


def is_parenchyma(tissue: torch.Tensor) -> torch.Tensor:
    """Return where a tissue map shows plain liver parenchyma."""
    return is_in(tissue, frozenset({Tissue.LIVER, Tissue.LIVER_CIRRHOTIC}))
