"""Endless training examples for the lesion network: five contrast phases, a liver probability, the lesions.

A pool of lesion-free torsos around the liver is kept and refreshed; every example crops one, paints fresh lesions and
look-alikes, draws which contrast phases exist, renders each with its own residual motion and artefacts and normalises
them as inference does.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as functional

from mrresponse.domain import Agent, ContrastPhase
from mrresponse.segment.normalise import near_liver, window_lesion_input
from mrresponse.synthetic.acquisition import acquire, draw_scanner
from mrresponse.synthetic.anatomy import draw_anatomy, liver_box, tissue_map
from mrresponse.synthetic.contrast import (
    TissueSpread,
    draw_protocol,
    draw_state,
    monotone_curve,
    random_means,
    randomise_bowel,
    render,
    state_means,
    with_perfusion_of,
)
from mrresponse.synthetic.distractors import draw_distractors
from mrresponse.synthetic.examples import MEDIAN_DIAMETER_MM, draw_fluctuation, draw_lesions, texture
from mrresponse.synthetic.noise import centred_affine, grid_points, smooth_noise
from mrresponse.synthetic.pathology import paint_lesions
from mrresponse.synthetic.shapes import Vector, ellipsoid
from mrresponse.synthetic.tissues import Tissue, liver_mask

Shape = tuple[int, int, int]

CHANNELS = (
    ContrastPhase.PRECONTRAST,
    ContrastPhase.ARTERIAL,
    ContrastPhase.PORTAL_VENOUS,
    ContrastPhase.DELAYED,
    ContrastPhase.HEPATOBILIARY,
)
MARGIN_MM = 15.0
_ORDINARY = TissueSpread(t1=0.04, proton_density=0.04, concentration=(0.85, 1.2), phase_mixing=0.15)
_UNUSUAL = TissueSpread(t1=0.12, proton_density=0.08)


@dataclass(frozen=True, slots=True, kw_only=True)
class LesionExampleSettings:
    """Grid, pool and shares of the lesion examples."""

    spacing_mm: Vector = (2.0, 2.0, 3.0)
    patch_shapes: tuple[Shape, ...] = ((64, 64, 32),)
    pool_size: int = 12
    reuse: int = 12
    share_without_lesion: float = 0.4
    share_random: float = 0.05
    share_curved: float = 0.15
    share_unregistered: float = 0.08
    share_mistaken: float = 0.4
    """Of the livers, with pieces of neighbouring organs taken for liver and pieces of liver left out."""
    share_perfused: float = 0.85
    """Of the people whose perfusion anomalies are parenchyma but for its arterial supply."""
    share_ordinary: float = 0.5
    """Of the people whose tissues stray little from the table: a tumour bright in the arterial phase that differs as
    little from the liver in the others as most do."""
    median_mm: float = MEDIAN_DIAMETER_MM
    """Median diameter of the tumours drawn."""


@dataclass(frozen=True, slots=True, eq=False)
class _Block:
    """Tissue around one liver, lesion-free, and the world position of its voxels."""

    tissue: torch.Tensor
    points: torch.Tensor
    liver_voxels: torch.Tensor


def lesion_examples(
    settings: LesionExampleSettings, *, seed: int, batch: int = 2
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Yield batches of images (batch, 6, I, J, K) float32 and classes (batch, I, J, K) int64 without end.

    Classes: 0 outside, 1 liver, 2 focal lesion.
    """
    rng = np.random.default_rng([seed, 211])
    generator = torch.Generator().manual_seed(int(rng.integers(1 << 40)))
    pool: list[_Block] = []
    drawn = 0
    while True:
        if not pool or (len(pool) < settings.pool_size and drawn >= len(pool) * 2):
            pool.append(_new_block(rng, settings))
        elif drawn % settings.reuse == 0:
            pool[int(rng.integers(len(pool)))] = _new_block(rng, settings)
        patch = settings.patch_shapes[int(rng.integers(len(settings.patch_shapes)))]
        pairs = []
        for _ in range(batch):
            block = pool[int(rng.integers(len(pool)))]
            pairs.append(_example(_crop(block, patch, rng), settings, rng=rng, generator=generator))
            drawn += 1
        yield torch.stack([image for image, _ in pairs]), torch.stack([classes for _, classes in pairs])


def _new_block(rng: np.random.Generator, settings: LesionExampleSettings) -> _Block:
    anatomy = draw_anatomy(int(rng.integers(1 << 30)), cirrhotic=bool(rng.random() < 0.55))
    low, high = liver_box(anatomy)
    centre = tuple((a + b) / 2 for a, b in zip(low, high, strict=True))
    largest = [max(shape[axis] for shape in settings.patch_shapes) for axis in range(3)]
    shape = tuple(
        max(int((b - a + 2 * MARGIN_MM) / step) + 1, size)
        for a, b, step, size in zip(low, high, settings.spacing_mm, largest, strict=True)
    )
    size = (shape[0], shape[1], shape[2])
    points = grid_points(size, centred_affine(size, settings.spacing_mm, (centre[0], centre[1], centre[2])))
    tissue = tissue_map(anatomy, points)
    return _Block(tissue, points, liver_mask(tissue).nonzero())


def _crop(block: _Block, patch: Shape, rng: np.random.Generator) -> _Block:
    """Cut a patch around a random liver voxel."""
    centre = block.liver_voxels[int(rng.integers(len(block.liver_voxels)))].numpy()
    room = np.array(block.tissue.shape) - np.array(patch)
    jitter = rng.normal(0, 0.15, 3) * np.array(patch)
    start = np.clip((centre + jitter - np.array(patch) / 2).astype(int), 0, room)
    cut = tuple(slice(int(a), int(a) + n) for a, n in zip(start, patch, strict=True))
    tissue = block.tissue[cut]
    return _Block(tissue, block.points[(slice(None), *cut)], liver_mask(tissue).nonzero())


def _example(
    block: _Block, settings: LesionExampleSettings, *, rng: np.random.Generator, generator: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    tissue = draw_distractors(block.tissue, block.points, rng)
    instances = torch.zeros(tissue.shape, dtype=torch.int16)
    if rng.random() >= settings.share_without_lesion:
        count = int(rng.choice([1, 2, 3, 5, 7], p=[0.5, 0.2, 0.15, 0.1, 0.05]))
        lesions = draw_lesions(tissue, block.points, rng, count=count, median_mm=settings.median_mm)
        tissue, instances, _ = paint_lesions(tissue, block.points, lesions)
    liver = liver_mask(tissue)
    images = _render_phases(tissue, instances, settings=settings, rng=rng, generator=generator)
    seen = liver
    if rng.random() < settings.share_mistaken:
        seen = mistaken_liver(liver, tissue, block.points, rng)
    probability = imperfect_liver(seen, instances > 0, settings.spacing_mm, rng=rng, generator=generator)
    channels = torch.zeros((len(CHANNELS) + 1, *tissue.shape))
    near = torch.from_numpy(near_liver(probability.numpy(), settings.spacing_mm))
    for phase, image in images.items():
        windowed = window_lesion_input(image.numpy(), (probability > 0.5).numpy())
        channels[CHANNELS.index(phase)] = torch.from_numpy(windowed) * near
    channels[-1] = probability
    classes = liver.long()
    classes[instances > 0] = 2
    # nobody can find a lesion in what is hidden
    classes[~near] = 0
    for axis in (0, 1):
        if rng.random() < 0.5:
            channels, classes = channels.flip(axis + 1), classes.flip(axis)
    return channels.contiguous(), classes.contiguous()


def draw_phases(rng: np.random.Generator) -> tuple[Agent, list[ContrastPhase]]:
    """Draw agent and contrast phases at hand: all ECA 35 %, all gadoxetate 25 %, one phase 15 %, any subset 25 %."""
    kind = rng.random()
    if kind < 0.35:
        return Agent.EXTRACELLULAR, list(CHANNELS[:4])
    if kind < 0.60:
        return Agent.GADOXETATE, list(CHANNELS)
    agent = Agent.EXTRACELLULAR if rng.random() < 0.6 else Agent.GADOXETATE
    possible = CHANNELS[: 4 if agent is Agent.EXTRACELLULAR else 5]
    count = 1 if kind < 0.75 else int(rng.integers(2, len(possible) + 1))
    chosen = sorted(int(i) for i in rng.choice(len(possible), count, replace=False))
    return agent, [possible[i] for i in chosen]


def _render_phases(
    tissue: torch.Tensor,
    instances: torch.Tensor,
    *,
    settings: LesionExampleSettings,
    rng: np.random.Generator,
    generator: torch.Generator,
) -> dict[ContrastPhase, torch.Tensor]:
    agent, phases = draw_phases(rng)
    shape = (tissue.shape[0], tissue.shape[1], tissue.shape[2])
    cirrhotic = bool((tissue == int(Tissue.LIVER_CIRRHOTIC)).any())
    parenchyma = Tissue.LIVER_CIRRHOTIC if cirrhotic else Tissue.LIVER
    means = phase_means(agent, phases, settings, rng, parenchyma=parenchyma)
    roughness = draw_fluctuation(rng)[tissue.long()]
    shared = texture(shape, settings.spacing_mm[0], rng=rng, generator=generator)
    steps = torch.from_numpy(np.exp(rng.normal(0, 0.06, (int(instances.max()) + 1, len(phases))))).float()
    steps[0] = 1.0
    residual = rng.random() >= settings.share_unregistered
    thick = rng.random() < 0.2
    images = {}
    for index, phase in enumerate(phases):
        own = torch.randn(shape, generator=generator)
        signal = render(tissue, means[phase], roughness * (0.8 * shared + 0.3 * own))
        signal = (signal * steps[instances.long(), index]).clamp(min=0.0)
        # the first phase is the reference in whose space the truth is drawn
        if index > 0:
            signal = _move(signal, settings.spacing_mm, residual=residual, rng=rng, generator=generator)
        scanner = draw_scanner(rng, ghosted=0.08 if phase is ContrastPhase.ARTERIAL else 0.03)
        scanner = replace(scanner, block=(1, 1, 2 if thick else 1), surface=0.0)
        images[phase] = acquire(signal, scanner, spacing_mm=settings.spacing_mm, generator=generator)
    return images


def phase_means(
    agent: Agent,
    phases: list[ContrastPhase],
    settings: LesionExampleSettings,
    rng: np.random.Generator,
    *,
    parenchyma: Tissue,
) -> dict[ContrastPhase, torch.Tensor]:
    """Draw the tissue means of every phase of one study: table, table bent by a curve, or fully random."""
    kind = rng.random()
    if kind < settings.share_random:
        common = random_means(rng)
        return {phase: monotone_curve(0.5 * common + 0.5 * random_means(rng), rng) for phase in phases}
    protocol = draw_protocol(rng)
    spread = _ORDINARY if rng.random() < settings.share_ordinary else _UNUSUAL
    state = draw_state(agent, rng, spread)
    if rng.random() < settings.share_perfused:
        state = with_perfusion_of(state, parenchyma, rng)
    means = {phase: randomise_bowel(state_means(agent, phase, protocol, state), rng) for phase in phases}
    if kind < settings.share_random + settings.share_curved:
        return {phase: monotone_curve(values, rng) for phase, values in means.items()}
    return means


def _move(
    signal: torch.Tensor,
    spacing_mm: Vector,
    *,
    residual: bool,
    rng: np.random.Generator,
    generator: torch.Generator,
) -> torch.Tensor:
    """Displace a phase by what registration leaves, or by breathing where it failed."""
    shape = (signal.shape[0], signal.shape[1], signal.shape[2])
    sd = 1.5 if residual else 4.0
    shift = np.array([rng.normal(0, 0.2 * sd), rng.normal(0, 0.4 * sd), np.clip(rng.normal(0, sd), -12, 12)])
    smooth_sd = float(rng.uniform(0.4, 1.3) if residual else rng.uniform(1, 3))
    cells = (50.0 / spacing_mm[0], 50.0 / spacing_mm[1], 50.0 / spacing_mm[2])
    moved = smooth_noise(shape, cell_voxels=cells, generator=generator, channels=3) * smooth_sd
    moved = moved + torch.from_numpy(shift).float().view(3, 1, 1, 1)
    axes = [torch.arange(n, dtype=torch.float32) for n in shape]
    places = torch.stack(torch.meshgrid(*axes, indexing="ij"))
    places = places + moved / torch.tensor(spacing_mm).view(3, 1, 1, 1)
    sizes = torch.tensor(shape).view(3, 1, 1, 1)
    grid = (places * (2.0 / (sizes - 1)) - 1.0).flip(0).permute(1, 2, 3, 0)[None]
    return functional.grid_sample(signal[None, None], grid, padding_mode="border", align_corners=True)[0, 0]


def mistaken_liver(
    liver: torch.Tensor, tissue: torch.Tensor, points: torch.Tensor, rng: np.random.Generator
) -> torch.Tensor:
    """Return the liver as a network may mistake it: with pieces of its neighbours, without pieces of its edge.

    Without such examples a gallbladder or a loop of bowel that the liver network takes for liver looks like a lesion:
    it is dark inside a liver. Neighbours are drawn by kind, so that a small one is not met seldom.
    """
    around = functional.max_pool3d(liver.float()[None, None], 3, stride=1, padding=1)[0, 0] > 0
    beside = around & ~liver & (tissue != int(Tissue.AIR))
    kinds = tissue[beside].unique()
    mistaken = liver.clone()
    for _ in range(int(rng.integers(1, 4)) if len(kinds) else 0):
        kind = kinds[int(rng.integers(len(kinds)))]
        places = (beside & (tissue == kind)).nonzero()
        i, j, k = places[int(rng.integers(len(places)))].tolist()
        centre = (float(points[0, i, j, k]), float(points[1, i, j, k]), float(points[2, i, j, k]))
        axes = rng.uniform(6, 28) * rng.uniform(0.7, 1.3, 3)
        near = ellipsoid(points, centre, (float(axes[0]), float(axes[1]), float(axes[2]))) < 0
        if rng.random() < 0.25:
            mistaken = mistaken & ~near
        elif rng.random() < 0.6:
            mistaken = mistaken | (near & (tissue == kind))
        else:
            mistaken = mistaken | (near & (tissue != int(Tissue.AIR)))
    return mistaken


def imperfect_liver(
    liver: torch.Tensor,
    lesion: torch.Tensor,
    spacing_mm: Vector,
    *,
    rng: np.random.Generator,
    generator: torch.Generator,
) -> torch.Tensor:
    """Return a liver probability with the faults of a network's: blurred, moved edges, lesions partly missed."""
    mask = liver.float()
    if rng.random() < 0.4:
        mask = mask * (1.0 - float(rng.uniform(0.2, 1.0)) * lesion.float())
    shape = (mask.shape[0], mask.shape[1], mask.shape[2])
    for _ in range(2):
        width = int(rng.integers(1, 5)) * 2 + 1
        tall = 2 * round(width * spacing_mm[0] / spacing_mm[2] / 2) + 1
        mask = _box_blur(mask, (width, width, tall))
    cells = (25.0 / spacing_mm[0], 25.0 / spacing_mm[1], 25.0 / spacing_mm[2])
    wobble = smooth_noise(shape, cell_voxels=cells, generator=generator)[0] * float(rng.uniform(0, 0.2))
    return torch.sigmoid(float(rng.uniform(6, 20)) * (mask - 0.5 + wobble + float(rng.normal(0, 0.1))))


def _box_blur(image: torch.Tensor, widths: Shape) -> torch.Tensor:
    """Average over a box of odd widths, one axis after the other."""
    for axis, width in enumerate(widths):
        kernel, padding = [1, 1, 1], [0, 0, 0]
        kernel[axis], padding[axis] = width, width // 2
        image = functional.avg_pool3d(
            image[None, None], kernel, stride=1, padding=padding, count_include_pad=False
        )[0, 0]
    return image
