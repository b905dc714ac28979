"""Benign changes of the liver that a lesion network must not report; their voxels stay liver."""

import numpy as np
import torch

from mrresponse.synthetic.noise import noise_field
from mrresponse.synthetic.shapes import Vector, ellipsoid
from mrresponse.synthetic.tissues import Tissue, is_in

_PARENCHYMA = frozenset({Tissue.LIVER, Tissue.LIVER_CIRRHOTIC})


def paint_perfusion_wedge(
    tissue: torch.Tensor, points: torch.Tensor, *, apex_mm: Vector, direction: Vector, half_angle_deg: float
) -> torch.Tensor:
    """Return the map with a wedge of arterial hyperperfusion opening from ``apex_mm`` along ``direction``."""
    inside = _cone_mask(points, apex_mm, direction, half_angle_deg)
    return _replace_parenchyma(tissue, inside, Tissue.PERFUSION_ANOMALY)


def paint_nodules(
    tissue: torch.Tensor,
    points: torch.Tensor,
    *,
    cell_mm: float,
    threshold: float,
    seed: int,
    kind: Tissue = Tissue.REGENERATIVE_NODULE,
) -> torch.Tensor:
    """Return the map with a field of nodules of about ``cell_mm``, where smooth noise exceeds ``threshold``."""
    field = noise_field(torch.Generator().manual_seed(seed), cell_mm=cell_mm)
    return _replace_parenchyma(tissue, field.sample(points)[0] > threshold, kind)


def draw_distractors(tissue: torch.Tensor, points: torch.Tensor, rng: np.random.Generator) -> torch.Tensor:
    """Return the map with a random selection of benign changes."""
    places = points[:, is_in(tissue, _PARENCHYMA)]
    if places.shape[1] == 0:
        return tissue
    cirrhotic = bool((tissue == int(Tissue.LIVER_CIRRHOTIC)).any())

    def place() -> Vector:
        chosen = places[:, int(rng.integers(places.shape[1]))]
        return (float(chosen[0]), float(chosen[1]), float(chosen[2]))

    tissue = _draw_nodules(tissue, points, rng, cirrhotic=cirrhotic)
    # more often than in patients: half of the time a network learns to tell them from tumours by the other phases
    if rng.random() < 0.5:
        for _ in range(int(rng.integers(1, 4))):
            tissue = _draw_wedge(tissue, points, place(), rng)
    if rng.random() < 0.12:
        inside = _cone_mask(points, place(), _direction(rng), float(rng.uniform(8, 22)))
        tissue = _replace_parenchyma(tissue, inside, Tissue.FIBROSIS)
    spots = [
        (Tissue.SIDEROTIC_NODULE, 0.5 if cirrhotic else 0.0, 12, (1.5, 5.0)),
        (Tissue.FOCAL_FAT, 0.10, 2, (4.0, 14.0)),
        (Tissue.CLIP, 0.06, 4, (1.0, 2.5)),
        (Tissue.HEPATIC_VEIN, 0.15, 4, (1.5, 4.0)),
    ]
    for kind, probability, most, radii in spots:
        if rng.random() < probability:
            for _ in range(int(rng.integers(1, most + 1))):
                axes = rng.uniform(*radii) * rng.uniform(0.7, 1.4, 3)
                near = ellipsoid(points, place(), (float(axes[0]), float(axes[1]), float(axes[2])))
                tissue = _replace_parenchyma(tissue, near < 0, kind)
    return tissue


def _draw_nodules(
    tissue: torch.Tensor, points: torch.Tensor, rng: np.random.Generator, *, cirrhotic: bool
) -> torch.Tensor:
    # iron gathers in the larger nodules, of any shape and in any number: dark in every contrast phase, as some tumours
    fields = [
        (Tissue.REGENERATIVE_NODULE, 0.5 if cirrhotic else 0.05, (0.7, 1.8)),
        (Tissue.SIDEROTIC_NODULE, 0.4 if cirrhotic else 0.0, (1.4, 2.6)),
    ]
    for kind, probability, thresholds in fields:
        if rng.random() < probability:
            tissue = paint_nodules(
                tissue,
                points,
                cell_mm=float(rng.uniform(4, 9)),
                threshold=float(rng.uniform(*thresholds)),
                seed=int(rng.integers(1 << 30)),
                kind=kind,
            )
    return tissue


def _draw_wedge(
    tissue: torch.Tensor, points: torch.Tensor, apex: Vector, rng: np.random.Generator
) -> torch.Tensor:
    return paint_perfusion_wedge(
        tissue, points, apex_mm=apex, direction=_direction(rng), half_angle_deg=float(rng.uniform(8, 30))
    )


def _cone_mask(points: torch.Tensor, apex: Vector, direction: Vector, half_angle_deg: float) -> torch.Tensor:
    x, y, z = (points[axis] - apex[axis] for axis in range(3))
    along = x * direction[0] + y * direction[1] + z * direction[2]
    distance = torch.sqrt(x * x + y * y + z * z).clamp(min=1e-3)
    return along / distance > float(np.cos(np.deg2rad(half_angle_deg)))


def _direction(rng: np.random.Generator) -> Vector:
    values = rng.normal(0, 1, 3)
    values /= np.linalg.norm(values)
    return (float(values[0]), float(values[1]), float(values[2]))


def _replace_parenchyma(tissue: torch.Tensor, where: torch.Tensor, kind: Tissue) -> torch.Tensor:
    return torch.where(where & is_in(tissue, _PARENCHYMA), int(kind), tissue).to(torch.uint8)
