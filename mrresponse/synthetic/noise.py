"""Smooth random fields: on a grid, or at arbitrary points of the world."""

from dataclasses import dataclass

import torch
import torch.nn.functional as functional


def smooth_noise(
    shape: tuple[int, int, int],
    *,
    cell_voxels: tuple[float, float, float],
    generator: torch.Generator,
    channels: int = 1,
) -> torch.Tensor:
    """Draw smooth noise of zero mean and unit SD with the given cell size, shape (channels, I, J, K)."""
    device = generator.device
    coarse = [max(2, round(size / cell) + 1) for size, cell in zip(shape, cell_voxels, strict=True)]
    values = torch.randn((1, channels, *coarse), generator=generator, device=device)
    field = functional.interpolate(values, size=shape, mode="trilinear", align_corners=True)[0]
    # trilinear interpolation shrinks the SD between nodes; few nodes make a noisy estimate, hence the fixed factor
    return field / 0.6


@dataclass(frozen=True, slots=True, eq=False)
class NoiseField:
    """A smooth random field over a box of the world, sampled by trilinear interpolation.

    ``values`` has shape (channels, I, J, K); node (0, 0, 0) lies at ``origin_mm``; outside the box the edge value
    holds.
    """

    values: torch.Tensor
    origin_mm: tuple[float, float, float]
    cell_mm: float

    def sample(self, points: torch.Tensor) -> torch.Tensor:
        """Return the field at points of shape (3, I, J, K), shape (channels, I, J, K)."""
        device = points.device
        origin = torch.tensor(self.origin_mm, device=device).view(3, 1, 1, 1)
        sizes = torch.tensor(self.values.shape[1:], device=device).view(3, 1, 1, 1)
        unit = (points - origin) * (2.0 / self.cell_mm) / (sizes - 1) - 1
        # grid_sample wants the last axis in (k, j, i) order
        grid = unit.flip(0).permute(1, 2, 3, 0)[None]
        return functional.grid_sample(
            self.values.to(device)[None], grid, mode="bilinear", padding_mode="border", align_corners=True
        )[0]


def noise_field(
    generator: torch.Generator,
    *,
    cell_mm: float,
    sd: float = 1.0,
    channels: int = 1,
    half_extent_mm: tuple[float, float, float] = (240.0, 180.0, 280.0),
) -> NoiseField:
    """Draw a :class:`NoiseField` centred on the world origin with the given standard deviation."""
    nodes = [int(2 * half / cell_mm) + 2 for half in half_extent_mm]
    values = torch.randn((channels, *nodes), generator=generator) * (sd / 0.6)
    return NoiseField(values, (-half_extent_mm[0], -half_extent_mm[1], -half_extent_mm[2]), cell_mm)


def grid_points(
    shape: tuple[int, int, int],
    affine: torch.Tensor,
) -> torch.Tensor:
    """Return the world coordinates (RAS+ mm) of all voxel centres, shape (3, I, J, K)."""
    axes = [torch.arange(size, dtype=torch.float32, device=affine.device) for size in shape]
    mesh = torch.stack(torch.meshgrid(*axes, indexing="ij"))
    linear = affine[:3, :3].to(torch.float32)
    return torch.einsum("ab,bijk->aijk", linear, mesh) + affine[:3, 3].to(torch.float32).view(3, 1, 1, 1)


def centred_affine(
    shape: tuple[int, int, int],
    spacing_mm: tuple[float, ...],
    centre_mm: tuple[float, float, float],
) -> torch.Tensor:
    """Return the affine of an axis-aligned grid whose middle lies at ``centre_mm``."""
    affine = torch.eye(4, dtype=torch.float64)
    for axis in range(3):
        affine[axis, axis] = spacing_mm[axis]
        affine[axis, 3] = centre_mm[axis] - (shape[axis] - 1) / 2 * spacing_mm[axis]
    return affine
