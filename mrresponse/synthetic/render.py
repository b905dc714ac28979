"""One study of a planned patient: its images in every contrast phase and its true masks.

The torso is painted once per study on a grid of half the slice distance; each contrast phase looks it up at displaced
points, so that motion between phases costs no second painting. Lesions are added on the acquired grid by the share of
each voxel they fill: their partial volume is exact and their shape is not bent by the motion.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional

from mrresponse.domain import BoolArray, ContrastPhase, Grid, Point
from mrresponse.synthetic.acquisition import (
    STILL,
    Motion,
    Scanner,
    acquire,
    coil_sensitivity,
    draw_phase_motion,
)
from mrresponse.synthetic.body import Body, paint_body, texture_sd
from mrresponse.synthetic.contrast import Protocol, TissueSpread, draw_state, state_means, with_iron
from mrresponse.synthetic.ellipsoids import Ellipsoid, cover
from mrresponse.synthetic.pathology import LesionSubtype
from mrresponse.synthetic.placement import PlacedPatient, find_in_image
from mrresponse.synthetic.plans import BENIGN, Defect, StudyPlan
from mrresponse.synthetic.study_geometry import LocatedLesion, PhantomSize, locate_study
from mrresponse.synthetic.tissues import Tissue, liver_mask

Voxels = npt.NDArray[np.int16]

_BRIGHTEST = 4095
_LIVER_LEVEL = 300.0
_NOISE = 0.015
_LOW_SNR_NOISE = 0.10
_BIAS = 0.12
_GHOST = 0.6
_GHOST_COUNT = 4
_GAIN = 1.4
_UNSUPPRESSED_FAT = 0.80
_SHIFT_MM = 8.0
_LESION_TEXTURE_SD = 0.05
_SPREAD = TissueSpread(t1=0.03, proton_density=0.03, concentration=(0.9, 1.12), phase_mixing=0.1)
_TISSUE_OF = MappingProxyType(
    {
        LesionSubtype.HCC: Tissue.HCC,
        LesionSubtype.HCC_WEAK: Tissue.HCC_WEAK,
        LesionSubtype.HCC_UPTAKE: Tissue.HCC_UPTAKE,
        LesionSubtype.METASTASIS: Tissue.METASTASIS,
        LesionSubtype.CYST: Tissue.CYST,
        LesionSubtype.HAEMANGIOMA: Tissue.HAEMANGIOMA,
    }
)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RenderedStudy:
    """Images (int16 ``[i, j, k]``, RAS) and truth of one study, all on one grid."""

    plan: StudyPlan
    grid: Grid
    images: Mapping[ContrastPhase, Voxels]
    liver: BoolArray
    lesions: tuple[LocatedLesion, ...]


def render_study(patient: PlacedPatient, number: int, *, size: PhantomSize, seed: int) -> RenderedStudy:
    """Render study ``number`` of a placed patient; equal arguments give equal voxels."""
    geometry = locate_study(patient, number, size=size, seed=seed)
    plan, grid = geometry.plan, geometry.grid
    body = paint_body(
        patient.anatomy, geometry.motion, grid, background=patient.plan.background, seed=geometry.seed
    )
    liver = body.share_on(grid, liver_mask(body.tissue)).numpy() >= 0.5
    for lesion in geometry.lesions:
        liver |= lesion.whole_mask
    images = _contrast_phases(plan, body, grid, geometry.lesions, seed=geometry.seed)
    return RenderedStudy(plan=plan, grid=grid, images=images, liver=liver, lesions=geometry.lesions)


def _contrast_phases(
    plan: StudyPlan, body: Body, grid: Grid, lesions: tuple[LocatedLesion, ...], *, seed: int
) -> dict[ContrastPhase, Voxels]:
    rng = np.random.default_rng([seed, 71])
    protocol = _protocol(plan, rng)
    state = draw_state(plan.agent, rng, _SPREAD)
    coil = coil_sensitivity(
        grid.shape,
        Scanner(bias=_BIAS),
        spacing_mm=grid.spacing_mm,
        generator=torch.Generator().manual_seed(seed),
    )
    scale = _LIVER_LEVEL / float(
        state_means(plan.agent, ContrastPhase.PRECONTRAST, protocol, state)[Tissue.LIVER]
    )
    # after the scale: the receiver does not know how dark this liver is
    if plan.liver_t2_star_ms is not None:
        state = with_iron(state, plan.liver_t2_star_ms)
    images = {}
    for index, phase in enumerate(plan.contrast_phases):
        means = state_means(plan.agent, phase, protocol, state)
        motion = phase_motion(plan, phase, seed=seed + index)
        signal, texture = body.look_up(grid, motion, means, texture_sd())
        for lesion in lesions:
            _add_lesion(signal, texture, lesion, means, motion=motion, grid=grid)
        image = acquire(
            _blur_in_plane(signal) * coil,
            _scanner(plan, phase),
            spacing_mm=grid.spacing_mm,
            generator=torch.Generator().manual_seed(seed + 1000 + index),
        )
        images[phase] = (image * scale).round().clamp(0, _BRIGHTEST).to(torch.int16).numpy()
    return images


def _protocol(plan: StudyPlan, rng: np.random.Generator) -> Protocol:
    protocol = Protocol(
        tr_ms=float(rng.uniform(3.8, 4.6)),
        flip_deg=float(rng.uniform(10, 12)),
        te_ms=float(rng.uniform(1.3, 1.9)),
    )
    failed = plan.defect is Defect.NO_FAT_SUPPRESSION
    return replace(protocol, fat_density=_UNSUPPRESSED_FAT) if failed else protocol


def phase_motion(plan: StudyPlan, phase: ContrastPhase, *, seed: int) -> Motion:
    if phase is plan.reference:
        return STILL
    if plan.defect is Defect.SHIFTED_ARTERIAL:
        return Motion(translation_mm=(0.0, 0.0, _SHIFT_MM))
    return draw_phase_motion(seed)


def _scanner(plan: StudyPlan, phase: ContrastPhase) -> Scanner:
    scanner = Scanner(noise=_LOW_SNR_NOISE if plan.defect is Defect.NOISY else _NOISE)
    if phase is not ContrastPhase.ARTERIAL:
        return scanner
    if plan.defect is Defect.GHOSTED_ARTERIAL:
        return replace(scanner, ghost=_GHOST, ghost_count=_GHOST_COUNT)
    if plan.defect is Defect.ARTERIAL_GAIN:
        return replace(scanner, gain=_GAIN)
    return scanner


def _add_lesion(
    signal: torch.Tensor,
    texture: torch.Tensor,
    lesion: LocatedLesion,
    means: torch.Tensor,
    *,
    motion: Motion,
    grid: Grid,
) -> None:
    """Blend a lesion into the ideal signal in place, by the share of each voxel that it fills."""
    plan = lesion.placed.plan
    alive, rest = float(means[_TISSUE_OF[plan.subtype]]), float(means[plan.remnant])
    if plan.subtype in BENIGN:
        rest = alive
    moved = _moved(lesion.whole, lesion.whole.centre_mm, motion)
    coverage = cover(moved, grid)
    if coverage is None:
        return
    within = torch.from_numpy(coverage.share)
    box = coverage.box
    content = torch.full_like(within, rest)
    inner = (
        None if lesion.viable is None else cover(_moved(lesion.viable, lesion.whole.centre_mm, motion), grid)
    )
    if inner is not None:
        share = torch.zeros(grid.shape)
        share[inner.box] = torch.from_numpy(inner.share)
        filled = (share[box] / within.clamp(min=1e-3)).clamp(max=1.0)
        content = content + filled * (alive - rest)
    content = content * (1.0 + _LESION_TEXTURE_SD * texture[box])
    signal[box] = signal[box] * (1.0 - within) + content * within


def _moved(part: Ellipsoid, anchor_mm: Point, motion: Motion) -> Ellipsoid:
    """Move an ellipsoid with the lesion whose centre in the reference phase is ``anchor_mm``."""
    shift = np.subtract(find_in_image(anchor_mm, motion), anchor_mm)
    return replace(part, centre_mm=_point(np.asarray(part.centre_mm) + shift))


def _blur_in_plane(signal: torch.Tensor) -> torch.Tensor:
    """Apply the point spread of the acquisition in the slice plane (10, 80, 10 %)."""
    padded = functional.pad(signal[None, None], (0, 0, 1, 1, 1, 1), mode="replicate")[0, 0]
    rows = 0.8 * padded[1:-1] + 0.1 * (padded[:-2] + padded[2:])
    return 0.8 * rows[:, 1:-1] + 0.1 * (rows[:, :-2] + rows[:, 2:])


def _point(values: npt.NDArray[np.float64]) -> Point:
    return float(values[0]), float(values[1]), float(values[2])
