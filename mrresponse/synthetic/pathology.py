"""Focal liver lesions and benign look-alikes painted into a tissue map."""

from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np
import torch

from mrresponse.synthetic.noise import noise_field
from mrresponse.synthetic.shapes import Vector, length, rotation_matrix
from mrresponse.synthetic.tissues import LIVER_TISSUES, VIABLE_TISSUES, Tissue, is_in


class LesionSubtype(StrEnum):
    """What a synthetic lesion is; kept in the truth tables."""

    HCC = "hcc"
    HCC_WEAK = "hcc_weak"
    HCC_UPTAKE = "hcc_uptake"
    METASTASIS = "metastasis"
    TREATED = "treated"
    CYST = "cyst"
    HAEMANGIOMA = "haemangioma"


@dataclass(frozen=True, slots=True, kw_only=True)
class LesionShape:
    """One focal lesion in world millimetres of the anatomy it belongs to.

    With ``noise_amplitude`` 0 the lesion and its core are exact ellipsoids. The core, if any, is an ellipsoid of
    ``core_semi_axes_mm`` at ``centre_mm + core_offset_mm`` with the lesion's rotation and its own radial noise; it is
    clipped to the lesion. The viable part is the lesion without core and capsule when ``tissue`` is a viable tumour
    tissue.
    """

    centre_mm: Vector
    semi_axes_mm: Vector
    tissue: Tissue = Tissue.HCC
    rotation_deg: Vector = (0.0, 0.0, 0.0)
    noise_amplitude: float = 0.0
    noise_seed: int = 0
    core_tissue: Tissue | None = None
    core_semi_axes_mm: Vector = (0.0, 0.0, 0.0)
    core_offset_mm: Vector = (0.0, 0.0, 0.0)
    core_noise_amplitude: float = 0.0
    capsule_mm: float = 0.0
    edge_blur_mm: float = 0.0
    subtype: LesionSubtype = LesionSubtype.HCC
    satellites: tuple[tuple[Vector, Vector], ...] = field(default=())
    """Further ellipsoids (centre, semi-axes) fused with the first into one lesion."""


def paint_lesions(
    tissue: torch.Tensor, points: torch.Tensor, lesions: tuple[LesionShape, ...] | list[LesionShape]
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Paint lesions where the tissue map shows liver.

    Returns
    -------
    tissue, instances, viable
        New tissue map (uint8), instance map (int16, 0 = none, lesion n has value n), viable mask (bool). A later lesion
        never overwrites an earlier one.
    """
    tissue = tissue.clone()
    instances = torch.zeros(tissue.shape, dtype=torch.int16, device=tissue.device)
    viable = torch.zeros(tissue.shape, dtype=torch.bool, device=tissue.device)
    liver = is_in(tissue, LIVER_TISSUES)
    for number, lesion in enumerate(lesions, start=1):
        near = _near(points, lesion) & liver & (instances == 0)
        if not bool(near.any()):
            continue
        distance, core = _parts(lesion, points[:, near])
        inside = distance < 0
        capsule = inside & (distance > -lesion.capsule_mm) & (lesion.capsule_mm > 0)
        tissue[near] = _painted(tissue[near], lesion, distance, core=core, capsule=capsule)
        instances[near] = torch.where(inside, number, instances[near]).to(torch.int16)
        if lesion.tissue in VIABLE_TISSUES:
            viable[near] |= inside & ~core & ~capsule
    return tissue, instances, viable


def _near(points: torch.Tensor, lesion: LesionShape) -> torch.Tensor:
    reach = 1.6 * max(lesion.semi_axes_mm) + 6.0 + 3.0 * lesion.edge_blur_mm
    for centre, axes in lesion.satellites:
        gap = np.linalg.norm(np.subtract(centre, lesion.centre_mm))
        reach = max(reach, float(gap) + 1.6 * max(axes) + 6.0)
    near = torch.ones(points.shape[1:], dtype=torch.bool, device=points.device)
    for axis in range(3):
        near &= (points[axis] - lesion.centre_mm[axis]).abs() < reach
    return near


def _parts(lesion: LesionShape, local: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the distance to the surface and the mask of the core for points of shape (3, N)."""
    distance = lesion_distance(lesion, local)
    if lesion.core_tissue is None:
        return distance, torch.zeros_like(distance, dtype=torch.bool)
    return distance, (distance < 0) & (_core_distance(lesion, local) < 0)


def _painted(
    values: torch.Tensor,
    lesion: LesionShape,
    distance: torch.Tensor,
    *,
    core: torch.Tensor,
    capsule: torch.Tensor,
) -> torch.Tensor:
    """Return tissue values with the lesion in them; blurring scatters the edge of what is seen, not the truth."""
    shown = distance < 0
    if lesion.edge_blur_mm > 0:
        generator = torch.Generator().manual_seed(lesion.noise_seed + 17)
        jitter = torch.randn(distance.shape, generator=generator).to(distance.device)
        shown = distance + lesion.edge_blur_mm * jitter < 0
    values = torch.where(shown, int(lesion.tissue), values)
    if lesion.core_tissue is not None:
        values = torch.where(core & shown, int(lesion.core_tissue), values)
    return torch.where(capsule & shown, int(Tissue.CAPSULE), values).to(torch.uint8)


def lesion_distance(lesion: LesionShape, points: torch.Tensor) -> torch.Tensor:
    """Return the approximate distance in mm to the lesion's surface for points of shape (3, N)."""
    ellipsoids = ((lesion.centre_mm, lesion.semi_axes_mm), *lesion.satellites)
    return torch.stack(
        [
            _ellipsoid_distance(
                points,
                centre,
                axes,
                rotation_deg=lesion.rotation_deg,
                amplitude=lesion.noise_amplitude,
                seed=lesion.noise_seed + index,
            )
            for index, (centre, axes) in enumerate(ellipsoids)
        ]
    ).amin(0)


def _core_distance(lesion: LesionShape, points: torch.Tensor) -> torch.Tensor:
    centre = (
        lesion.centre_mm[0] + lesion.core_offset_mm[0],
        lesion.centre_mm[1] + lesion.core_offset_mm[1],
        lesion.centre_mm[2] + lesion.core_offset_mm[2],
    )
    return _ellipsoid_distance(
        points,
        centre,
        lesion.core_semi_axes_mm,
        rotation_deg=lesion.rotation_deg,
        amplitude=lesion.core_noise_amplitude,
        seed=lesion.noise_seed + 1000,
    )


def _ellipsoid_distance(
    points: torch.Tensor,
    centre: Vector,
    semi_axes: Vector,
    *,
    rotation_deg: Vector,
    amplitude: float,
    seed: int,
) -> torch.Tensor:
    """Return (normalised radius - 1) times the mean semi-axis; the radius is perturbed by noise over the direction."""
    device = points.device
    local = points - torch.tensor(centre, device=device)[:, None]
    if any(rotation_deg):
        local = rotation_matrix(rotation_deg).T.to(device) @ local
    local = local / torch.tensor(semi_axes, device=device)[:, None].clamp(min=1e-3)
    radius = length(local)
    if amplitude > 0:
        generator = torch.Generator().manual_seed(seed)
        noise = noise_field(generator, cell_mm=0.8, half_extent_mm=(1.6, 1.6, 1.6))
        direction = local / radius.clamp(min=1e-6)
        radius = radius / (1.0 + amplitude * noise.sample(direction[:, :, None, None])[0, :, 0, 0]).clamp(
            min=0.4
        )
    return (radius - 1.0) * (sum(semi_axes) / 3)


def draw_lesion(centre_mm: Vector, rng: np.random.Generator, *, diameter_mm: float) -> LesionShape:
    """Draw a lesion of about ``diameter_mm`` at a place: type, shape, necrosis, capsule."""
    half = diameter_mm / 2
    axes = (half * rng.uniform(0.75, 1.25), half * rng.uniform(0.75, 1.25), half * rng.uniform(0.75, 1.25))
    subtype = LesionSubtype(
        rng.choice(
            ["hcc", "hcc_weak", "hcc_uptake", "metastasis", "treated"], p=[0.52, 0.14, 0.07, 0.15, 0.12]
        )
    )
    tissue, core, share = _composition(subtype, rng)
    satellites: tuple[tuple[Vector, Vector], ...] = ()
    if rng.random() < 0.12:
        satellites = _satellites(centre_mm, half, rng)
    return LesionShape(
        centre_mm=centre_mm,
        semi_axes_mm=(float(axes[0]), float(axes[1]), float(axes[2])),
        tissue=tissue,
        rotation_deg=(float(rng.uniform(0, 180)), float(rng.uniform(0, 180)), float(rng.uniform(0, 180))),
        noise_amplitude=float(rng.uniform(0.04, 0.15)),
        noise_seed=int(rng.integers(1 << 30)),
        core_tissue=core,
        core_semi_axes_mm=(float(axes[0] * share), float(axes[1] * share), float(axes[2] * share)),
        core_offset_mm=_vector(rng.normal(0, 0.25 * half * (1 - share) + 1e-3, 3)),
        core_noise_amplitude=float(rng.uniform(0.05, 0.3)),
        capsule_mm=float(rng.uniform(1.0, 2.5)) if rng.random() < 0.29 and diameter_mm > 14 else 0.0,
        edge_blur_mm=float(rng.uniform(0.5, 1.5)),
        subtype=subtype,
        satellites=satellites,
    )


def draw_benign(centre_mm: Vector, rng: np.random.Generator, *, subtype: LesionSubtype) -> LesionShape:
    """Draw a cyst or a haemangioma of 5-40 mm."""
    half = float(np.clip(np.exp(rng.normal(np.log(7.0), 0.5)), 2.5, 22))
    axes = _vector(half * rng.uniform(0.8, 1.2, 3))
    cyst = subtype is LesionSubtype.CYST
    return LesionShape(
        centre_mm=centre_mm,
        semi_axes_mm=axes,
        tissue=Tissue.CYST if cyst else Tissue.HAEMANGIOMA,
        rotation_deg=_vector(rng.uniform(0, 180, 3)),
        noise_amplitude=float(rng.uniform(0.0, 0.08 if cyst else 0.15)),
        noise_seed=int(rng.integers(1 << 30)),
        edge_blur_mm=0.3,
        subtype=subtype,
    )


def _composition(subtype: LesionSubtype, rng: np.random.Generator) -> tuple[Tissue, Tissue | None, float]:
    """Return viable tissue, core tissue and the core's share of the diameter."""
    dead = Tissue.HAEMORRHAGE if rng.random() < 0.25 else Tissue.NECROSIS
    if subtype is LesionSubtype.TREATED:
        return dead, None, 0.0
    if subtype is LesionSubtype.METASTASIS:
        if rng.random() < 0.5:
            return Tissue.METASTASIS, None, 0.0
        return Tissue.HCC_WEAK, Tissue.METASTASIS, float(rng.uniform(0.6, 0.9))
    tissue = {
        LesionSubtype.HCC: Tissue.HCC,
        LesionSubtype.HCC_WEAK: Tissue.HCC_WEAK,
        LesionSubtype.HCC_UPTAKE: Tissue.HCC_UPTAKE,
    }[subtype]
    if rng.random() < 0.32:
        return tissue, dead, float(rng.uniform(0.45, 0.93))
    return tissue, None, 0.0


def _satellites(centre: Vector, half: float, rng: np.random.Generator) -> tuple[tuple[Vector, Vector], ...]:
    pieces = []
    for _ in range(int(rng.integers(1, 4))):
        direction = rng.normal(0, 1, 3)
        direction *= half * rng.uniform(0.7, 1.1) / np.linalg.norm(direction)
        pieces.append((_vector(np.array(centre) + direction), _vector(half * rng.uniform(0.4, 0.8, 3))))
    return tuple(pieces)


def _vector(values: np.ndarray) -> Vector:
    return (float(values[0]), float(values[1]), float(values[2]))
