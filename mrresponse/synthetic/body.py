"""The torso of one study on a fine grid, looked up by every contrast phase at displaced points."""

from dataclasses import dataclass

import torch
from torch.nn import functional

from mrresponse.domain import Grid
from mrresponse.synthetic.acquisition import STILL, Motion
from mrresponse.synthetic.anatomy import Anatomy, is_parenchyma, tissue_map
from mrresponse.synthetic.noise import smooth_noise
from mrresponse.synthetic.plans import Background
from mrresponse.synthetic.shapes import length
from mrresponse.synthetic.tissues import PARENCHYMA, TISSUE_COUNT, Tissue

Vector = tuple[float, float, float]

# Half a slice: the slice profile is the mean of two samples.
_PER_SLICE = 2
# Room above and below the images for motion between phases (shift up to 12 mm plus a smooth part).
_MARGIN_MM = 20.0
_LATTICE_MM = 12.0
_COARSE_TEXTURE_MM = 16.0
_FINE_TEXTURE_MM = 6.0
_NODULE_MM = 7.0


@dataclass(frozen=True, slots=True, eq=False)
class Body:
    """Tissue (uint8) and texture (zero mean, unit SD) on a fine axis-aligned grid (origin and spacing in mm)."""

    tissue: torch.Tensor
    texture: torch.Tensor
    origin_mm: Vector
    spacing_mm: Vector

    def look_up(
        self, grid: Grid, motion: Motion, means: torch.Tensor, sd: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the ideal signal and the texture on the acquired grid, seen through ``motion``."""
        first = self._first_samples(grid, motion)
        signal = torch.zeros(grid.shape)
        texture = torch.zeros(grid.shape)
        for step in range(_PER_SLICE):
            tissue = self.tissue.view(-1)[first + step].int()
            sample = self.texture.view(-1)[first + step]
            signal += means[tissue] * (1.0 + sd[tissue] * sample) / _PER_SLICE
            texture += sample / _PER_SLICE
        return signal, texture

    def share_on(self, grid: Grid, mask: torch.Tensor) -> torch.Tensor:
        """Return the share of each voxel of the acquired grid that a mask of the body fills."""
        first = self._first_samples(grid, STILL)
        samples = [mask.view(-1)[first + step].float() for step in range(_PER_SLICE)]
        return torch.stack(samples).mean(0)

    def _first_samples(self, grid: Grid, motion: Motion) -> torch.Tensor:
        """Return, for every acquired voxel, the flat index of the lowest of its body samples.

        The samples of a slice follow each other along the last axis.
        """
        axes = [axis.clone() for axis in _fine_axes(grid)]
        axes[2] = axes[2][::_PER_SLICE]
        shift = None if motion is STILL else _displacement(axes, motion, grid.shape)
        flat = torch.zeros(1, 1, 1, dtype=torch.int64)
        for axis in range(3):
            view = [1, 1, 1]
            view[axis] = -1
            position = axes[axis].view(view)
            if shift is not None:
                position = position + shift[axis]
            size = self.tissue.shape[axis]
            last = size - _PER_SLICE if axis == 2 else size - 1
            index = ((position - self.origin_mm[axis]) / self.spacing_mm[axis]).round_().clamp_(0, last)
            flat = flat * size + index.long()
        return flat


def paint_body(anatomy: Anatomy, motion: Motion, grid: Grid, *, background: Background, seed: int) -> Body:
    """Paint the torso as a study sees it, with room for the motion between its contrast phases."""
    spacing = (grid.spacing_mm[0], grid.spacing_mm[1], grid.spacing_mm[2] / _PER_SLICE)
    margin = int(_MARGIN_MM / spacing[2])
    axes = list(_fine_axes(grid))
    below = axes[2][0] - spacing[2] * torch.arange(margin, 0, -1)
    above = axes[2][-1] + spacing[2] * torch.arange(1, margin + 1)
    axes[2] = torch.cat([below, axes[2], above])
    tissue = _paint(anatomy, motion, axes)
    generator = torch.Generator().manual_seed(seed + 5)
    if background is Background.NODULES:
        _add_nodules(tissue, spacing, generator)
    if background is Background.PERFUSION_WEDGES:
        _add_wedges(tissue, axes, generator)
    shape = (tissue.shape[0], tissue.shape[1], tissue.shape[2])
    texture = (
        0.7 * smooth_noise(shape, cell_voxels=_cells(_COARSE_TEXTURE_MM, spacing), generator=generator)[0]
    )
    texture += (
        0.7 * smooth_noise(shape, cell_voxels=_cells(_FINE_TEXTURE_MM, spacing), generator=generator)[0]
    )
    origin = (float(axes[0][0]), float(axes[1][0]), float(axes[2][0]))
    return Body(tissue, texture, origin, spacing)


def texture_sd() -> torch.Tensor:
    """Return the relative SD of the texture of every tissue.

    Liver parenchyma 4 % and 7 % in cirrhosis: doi 10.3349/ymj.2014.55.3.651 (hepatobiliary phase, .041 and .071).
    """
    sd = torch.full((TISSUE_COUNT,), 0.05)
    sd[Tissue.LIVER], sd[Tissue.LIVER_CIRRHOTIC] = 0.035, 0.06
    for content in (
        Tissue.BOWEL_CONTENT_A,
        Tissue.BOWEL_CONTENT_B,
        Tissue.BOWEL_CONTENT_C,
        Tissue.STOMACH_CONTENT,
    ):
        sd[content] = 0.2
    sd[Tissue.LUNG] = 0.3
    return sd


def _fine_axes(grid: Grid) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return the sample positions along x, y, z: voxel centres in plane, ``_PER_SLICE`` per slice."""
    i, j, k = (torch.arange(size, dtype=torch.float32) for size in grid.shape)
    origin, step = grid.affine[:3, 3], grid.spacing_mm
    within = (torch.arange(_PER_SLICE) + 0.5) / _PER_SLICE - 0.5
    slices = (k[:, None] + within).flatten()
    return i * step[0] + origin[0], j * step[1] + origin[1], slices * step[2] + origin[2]


def _displacement(axes: list[torch.Tensor], motion: Motion, shape: tuple[int, int, int]) -> torch.Tensor:
    """Return the displacement (3, I, J, K) of a smooth motion, computed on a lattice and interpolated."""
    nodes = [torch.linspace(float(axis[0]), float(axis[-1]), _node_count(axis)) for axis in axes]
    points = torch.stack(torch.meshgrid(*nodes, indexing="ij"))
    shift = motion.apply(points) - points
    return functional.interpolate(shift[None], size=shape, mode="trilinear", align_corners=True)[0]


def _node_count(axis: torch.Tensor) -> int:
    return max(2, round(float(axis[-1] - axis[0]) / _LATTICE_MM) + 1)


def _paint(anatomy: Anatomy, motion: Motion, axes: list[torch.Tensor]) -> torch.Tensor:
    """Paint the tissue map from coarse to fine; only what is not uniform, and the liver, is painted finely."""
    tissue = torch.zeros([len(axis[1::4]) for axis in axes], dtype=torch.uint8)
    doubtful = torch.ones(tissue.shape, dtype=torch.bool)
    _fill(tissue, doubtful, anatomy, motion, [axis[1::4] for axis in axes])
    for step, keeps in ((2, (Tissue.AIR,)), (1, tuple(set(Tissue) - PARENCHYMA))):
        finer = [axis[step // 2 :: step] for axis in axes]
        settled = _is_uniform(tissue)
        kept = torch.zeros(256, dtype=torch.bool)
        kept[[int(member) for member in keeps]] = True
        settled &= kept[tissue.long()]
        doubtful = _enlarge(~settled, finer)
        tissue = _enlarge(tissue, finer)
        _fill(tissue, doubtful, anatomy, motion, finer)
    return tissue


def _fill(
    tissue: torch.Tensor, where: torch.Tensor, anatomy: Anatomy, motion: Motion, axes: list[torch.Tensor]
) -> None:
    i, j, k = torch.nonzero(where, as_tuple=True)
    points = torch.stack([axes[0][i], axes[1][j], axes[2][k]]).view(3, -1, 1, 1)
    tissue[i, j, k] = tissue_map(anatomy, motion.apply(points)).view(-1)


def _is_uniform(tissue: torch.Tensor) -> torch.Tensor:
    values = tissue.float()[None, None]
    high = functional.max_pool3d(values, 3, stride=1, padding=1)
    low = -functional.max_pool3d(-values, 3, stride=1, padding=1)
    return (high == low)[0, 0]


def _enlarge(coarse: torch.Tensor, finer: list[torch.Tensor]) -> torch.Tensor:
    """Double every axis by repetition and fit it to the finer axes."""
    for dim, axis in enumerate(finer):
        index = (torch.arange(len(axis)) // 2).clamp(max=coarse.shape[dim] - 1)
        coarse = coarse.index_select(dim, index)
    return coarse


def _add_nodules(tissue: torch.Tensor, spacing: Vector, generator: torch.Generator) -> None:
    """Turn islands of parenchyma of about 3 to 10 mm into regenerative and siderotic nodules."""
    shape = (tissue.shape[0], tissue.shape[1], tissue.shape[2])
    field = smooth_noise(shape, cell_voxels=_cells(_NODULE_MM, spacing), generator=generator)[0]
    parenchyma = is_parenchyma(tissue)
    tissue[parenchyma & (field > 1.0)] = int(Tissue.REGENERATIVE_NODULE)
    tissue[parenchyma & (field < -1.7)] = int(Tissue.SIDEROTIC_NODULE)


def _add_wedges(tissue: torch.Tensor, axes: list[torch.Tensor], generator: torch.Generator) -> None:
    """Mark three cones of parenchyma that open from inside the liver towards its surface."""
    parenchyma = is_parenchyma(tissue)
    i, j, k = torch.nonzero(parenchyma, as_tuple=True)
    points = torch.stack([axes[0][i], axes[1][j], axes[2][k]])
    middle = points.mean(1)
    values = tissue[i, j, k]
    for _ in range(3):
        direction = torch.randn(3, generator=generator)
        direction = direction / direction.norm()
        local = points - (middle + 15.0 * direction)[:, None]
        along = (local * direction[:, None]).sum(0)
        values[along > 0.93 * length(local)] = int(Tissue.PERFUSION_ANOMALY)
    tissue[i, j, k] = values


def _cells(cell_mm: float, spacing: Vector) -> Vector:
    return cell_mm / spacing[0], cell_mm / spacing[1], cell_mm / spacing[2]
