"""Endless training examples for the liver network: one image of any sequence, and where the liver is.

A pool of whole-torso tissue maps is kept and refreshed; every example takes a map, deforms and crops it, and draws
fresh contrast, texture and artefacts. Random streams are seeded, so one process gives the same examples again.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as functional
from scipy import ndimage

from mrresponse.domain import Agent, ContrastPhase
from mrresponse.segment.normalise import normalise_liver_input
from mrresponse.synthetic.acquisition import Scanner, acquire, draw_scanner
from mrresponse.synthetic.anatomy import draw_anatomy, tissue_map
from mrresponse.synthetic.contrast import (
    draw_protocol,
    monotone_curve,
    random_means,
    randomise_bowel,
    render,
    signal_means,
    t2_weighted_means,
)
from mrresponse.synthetic.noise import centred_affine, grid_points, smooth_noise
from mrresponse.synthetic.pathology import LesionShape, LesionSubtype, draw_benign, draw_lesion, paint_lesions
from mrresponse.synthetic.shapes import rotation_matrix
from mrresponse.synthetic.tissues import TISSUE_COUNT, Tissue, liver_mask

Shape = tuple[int, int, int]
MapSource = Callable[[np.random.Generator, Shape, float], torch.Tensor]
"""Draws a tissue map of a whole torso: random stream, shape in voxels, isotropic spacing in mm."""

MEDIAN_DIAMETER_MM = 22.0
"""Of tumours; section "Pathology" of the generator's specification."""
TORSO_EXTENT_MM = (416.0, 320.0, 300.0)
TORSO_CENTRE_MM = (0.0, 0.0, -20.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class LiverExampleSettings:
    """Shares of the kinds of image, the pool and the grid of liver examples."""

    spacing_mm: float = 4.0
    patch_shapes: tuple[Shape, ...] = ((96, 80, 48), (104, 72, 56), (88, 72, 64), (96, 72, 40))
    pool_size: int = 16
    reuse: int = 10
    share_t2: float = 0.40
    share_random: float = 0.28


@dataclass(frozen=True, slots=True, eq=False)
class _Torso:
    tissue: torch.Tensor
    depth_mm: torch.Tensor


def liver_examples(
    settings: LiverExampleSettings, *, seed: int, source: MapSource | None = None, batch: int = 2
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Yield batches of images (batch, 1, I, J, K) float32 and liver masks (batch, I, J, K) int64 without end."""
    rng = np.random.default_rng([seed, 101])
    generator = torch.Generator().manual_seed(int(rng.integers(1 << 40)))
    draw = source or procedural_map
    pool: list[_Torso] = []
    drawn = 0
    while True:
        if not pool or (len(pool) < settings.pool_size and drawn >= len(pool) * 2):
            pool.append(_new_torso(draw, rng, settings))
        elif drawn % settings.reuse == 0:
            pool[int(rng.integers(len(pool)))] = _new_torso(draw, rng, settings)
        patch = settings.patch_shapes[int(rng.integers(len(settings.patch_shapes)))]
        pairs = []
        for _ in range(batch):
            torso = pool[int(rng.integers(len(pool)))]
            pairs.append(_example(torso, patch, settings, rng=rng, generator=generator))
            drawn += 1
        yield torch.stack([image for image, _ in pairs])[:, None], torch.stack([liver for _, liver in pairs])


def procedural_map(rng: np.random.Generator, shape: Shape, spacing_mm: float) -> torch.Tensor:
    """Draw a torso of implicit shapes, with lesions in half of the draws and random distractor shapes."""
    seed = int(rng.integers(1 << 30))
    anatomy = draw_anatomy(seed, cirrhotic=bool(rng.random() < 0.35))
    points = grid_points(shape, centred_affine(shape, (spacing_mm,) * 3, TORSO_CENTRE_MM))
    tissue = tissue_map(anatomy, points)
    if rng.random() < 0.5:
        count = int(rng.choice([1, 2, 3, 6], p=[0.5, 0.22, 0.16, 0.12]))
        tissue, _, _ = paint_lesions(tissue, points, draw_lesions(tissue, points, rng, count=count))
    return add_distractors(tissue, points, rng)


def draw_lesions(
    tissue: torch.Tensor,
    points: torch.Tensor,
    rng: np.random.Generator,
    *,
    count: int,
    median_mm: float = MEDIAN_DIAMETER_MM,
) -> list[LesionShape]:
    """Draw lesions anywhere in the liver: tumours, or cysts and haemangiomas in a fifth of the people.

    ``median_mm`` is the median diameter of tumours.
    """
    inside = points[:, liver_mask(tissue)]
    if inside.shape[1] == 0:
        return []
    benign = rng.random() < 0.2
    lesions = []
    for index in rng.integers(0, inside.shape[1], count):
        place = inside[:, int(index)]
        site = (float(place[0]), float(place[1]), float(place[2]))
        if benign:
            kind = LesionSubtype.CYST if rng.random() < 0.67 else LesionSubtype.HAEMANGIOMA
            lesions.append(draw_benign(site, rng, subtype=kind))
        else:
            diameter = float(np.clip(np.exp(rng.normal(np.log(median_mm), 0.65)), 5, 140))
            lesions.append(draw_lesion(site, rng, diameter_mm=diameter))
    return lesions


def add_distractors(tissue: torch.Tensor, points: torch.Tensor, rng: np.random.Generator) -> torch.Tensor:
    """Put random blobs into fat and bowel, so that no organ but the liver is always where it is expected."""
    for kind in (Tissue.RANDOM_SHAPE_A, Tissue.RANDOM_SHAPE_B):
        for _ in range(int(rng.integers(0, 4))):
            blob = LesionShape(
                centre_mm=(
                    float(rng.uniform(-120, 120)),
                    float(rng.uniform(-70, 80)),
                    float(rng.uniform(-150, 60)),
                ),
                semi_axes_mm=tuple(float(v) for v in rng.uniform(8, 36, 3)),  # type: ignore[arg-type]
                noise_amplitude=0.2,
                noise_seed=int(rng.integers(1 << 30)),
            )
            tissue = _paint_blob(tissue, points, blob, kind)
    return tissue


def _paint_blob(tissue: torch.Tensor, points: torch.Tensor, blob: LesionShape, kind: Tissue) -> torch.Tensor:
    soft = (tissue == int(Tissue.FAT)) | (
        (tissue >= int(Tissue.BOWEL_WALL)) & (tissue <= int(Tissue.BOWEL_GAS))
    )
    as_liver = torch.where(soft, int(Tissue.LIVER), 0).to(torch.uint8)
    _, instances, _ = paint_lesions(as_liver, points, [blob])
    return torch.where(instances > 0, int(kind), tissue).to(torch.uint8)


def _new_torso(draw: MapSource, rng: np.random.Generator, settings: LiverExampleSettings) -> _Torso:
    shape = tuple(int(extent / settings.spacing_mm) // 8 * 8 for extent in TORSO_EXTENT_MM)
    tissue = draw(rng, (shape[0], shape[1], shape[2]), settings.spacing_mm)
    body = (tissue[::2, ::2, ::2] > 0).numpy()
    depth = ndimage.distance_transform_edt(body, sampling=2 * settings.spacing_mm).astype(np.float32)
    full = functional.interpolate(torch.from_numpy(depth)[None, None], size=tissue.shape, mode="trilinear")
    return _Torso(tissue, full[0, 0])


def _example(
    torso: _Torso,
    patch: Shape,
    settings: LiverExampleSettings,
    *,
    rng: np.random.Generator,
    generator: torch.Generator,
) -> tuple[torch.Tensor, torch.Tensor]:
    means, thick, fluctuation = draw_means(settings, rng)
    signal = render(torso.tissue, means)
    channels = torch.stack(
        [signal, liver_mask(torso.tissue).float(), torso.depth_mm, fluctuation[torso.tissue.long()]]
    )
    warped = crop_and_warp(channels, patch, settings.spacing_mm, rng=rng, generator=generator)
    ideal, liver, depth, sd = warped
    spacing = settings.spacing_mm
    ideal = ideal * (1.0 + sd * texture(patch, spacing, rng=rng, generator=generator)).clamp(min=0.0)
    scanner = with_thick_slices(draw_scanner(rng), thick, spacing)
    image = acquire(ideal, scanner, spacing_mm=(spacing,) * 3, generator=generator, depth_mm=depth)
    normalised = torch.from_numpy(normalise_liver_input(image.numpy()))
    return normalised, (liver > 0.5).long()


def draw_means(
    settings: LiverExampleSettings, rng: np.random.Generator
) -> tuple[torch.Tensor, float, torch.Tensor]:
    """Draw the mean signal of every tissue, the slice thickness in mm and the texture SD of every tissue."""
    kind = rng.random()
    thick = float(rng.uniform(2, 5))
    if kind < settings.share_t2:
        means = t2_weighted_means(rng)
        thick = float(rng.uniform(5, 9)) if rng.random() < 0.75 else thick
        if rng.random() < 0.3:
            means = monotone_curve(means, rng)
    elif kind < settings.share_t2 + settings.share_random:
        means = random_means(rng)
        thick = float(rng.uniform(2, 9))
    else:
        agent = Agent.EXTRACELLULAR if rng.random() < 0.6 else Agent.GADOXETATE
        phases = list(ContrastPhase)[: 4 if agent is Agent.EXTRACELLULAR else 5]
        phase = phases[int(rng.integers(len(phases)))]
        means = randomise_bowel(signal_means(agent, phase, draw_protocol(rng), rng), rng)
        if rng.random() < 0.25:
            means = monotone_curve(means, rng)
    return means, thick, draw_fluctuation(rng)


def draw_fluctuation(rng: np.random.Generator) -> torch.Tensor:
    """Draw how much the signal of every tissue fluctuates in place, as a fraction; bowel and moving blood most."""
    fluctuation = rng.uniform(0.01, 0.07, TISSUE_COUNT)
    coarse = [int(t) for t in Tissue if Tissue.BOWEL_WALL <= t <= Tissue.BOWEL_GAS]
    coarse += [int(Tissue.HEART_BLOOD), int(Tissue.LUNG), int(Tissue.AORTA), int(Tissue.MARROW)]
    fluctuation[coarse] = rng.uniform(0.08, 0.35, len(coarse))
    fluctuation[[int(Tissue.FAT), int(Tissue.SUBCUTANEOUS_FAT), int(Tissue.MUSCLE)]] = rng.uniform(
        0.03, 0.2, 3
    )
    tumour = [int(Tissue.HCC), int(Tissue.HCC_WEAK), int(Tissue.HCC_UPTAKE), int(Tissue.METASTASIS)]
    fluctuation[tumour] = rng.uniform(0.02, 0.14, 4)
    return torch.from_numpy(fluctuation).float()


def texture(
    patch: Shape, spacing_mm: float, *, rng: np.random.Generator, generator: torch.Generator
) -> torch.Tensor:
    """Draw unit-SD texture: smooth noise in two cell sizes plus a white part."""
    field = 0.5 * torch.randn(patch, generator=generator)
    for low, high in ((5.0, 12.0), (12.0, 32.0)):
        cell = max(1.2, float(rng.uniform(low, high)) / spacing_mm)
        field = field + 0.6 * smooth_noise(patch, cell_voxels=(cell,) * 3, generator=generator)[0]
    return field


def with_thick_slices(scanner: Scanner, thickness_mm: float, spacing_mm: float) -> Scanner:
    """Return the scanner with slices averaged over the number of grid planes nearest to a thickness."""
    return replace(scanner, block=(1, 1, max(1, round(thickness_mm / spacing_mm))))


def crop_and_warp(
    channels: torch.Tensor,
    patch: Shape,
    spacing_mm: float,
    *,
    rng: np.random.Generator,
    generator: torch.Generator,
) -> torch.Tensor:
    """Take a randomly placed, rotated, scaled and bent patch out of (C, I, J, K), linearly interpolated."""
    size = np.array(channels.shape[1:])
    zoom = rng.uniform(0.88, 1.14) * rng.uniform(0.95, 1.05, 3)
    angles = (float(rng.normal(0, 4)), float(rng.normal(0, 4)), float(rng.normal(0, 6)))
    room = np.maximum(size - np.array(patch), 0) / 2
    centre = (size - 1) / 2 + np.array(
        [
            rng.uniform(-0.6, 0.6) * room[0],
            rng.uniform(-0.6, 0.6) * room[1],
            rng.uniform(-1, 1) * (room[2] + 3),
        ]
    )
    affine = rotation_matrix(angles) * torch.from_numpy(1.0 / zoom).float()
    steps = [torch.arange(n, dtype=torch.float32) - (n - 1) / 2 for n in patch]
    mesh = torch.stack(torch.meshgrid(*steps, indexing="ij"))
    places = torch.tensordot(affine, mesh, dims=1) + torch.from_numpy(centre).float().view(3, 1, 1, 1)
    bend = smooth_noise(
        patch, cell_voxels=(float(rng.uniform(30, 60)) / spacing_mm,) * 3, generator=generator, channels=3
    )
    places = places + bend * float(rng.uniform(0, 4.0)) / spacing_mm
    unit = places * (2.0 / torch.from_numpy(size - 1).float().view(3, 1, 1, 1)) - 1.0
    grid = unit.flip(0).permute(1, 2, 3, 0)[None]
    return functional.grid_sample(channels[None], grid, padding_mode="border", align_corners=True)[0]
