"""Implicit shapes: negative inside, about millimetres near the surface."""

import math
from itertools import pairwise

import torch

Vector = tuple[float, float, float]


def rotation_matrix(degrees: Vector) -> torch.Tensor:
    """Return the rotation about x, then y, then z, by angles in degrees."""
    ax, ay, az = (math.radians(angle) for angle in degrees)
    rx = [[1.0, 0.0, 0.0], [0.0, math.cos(ax), -math.sin(ax)], [0.0, math.sin(ax), math.cos(ax)]]
    ry = [[math.cos(ay), 0.0, math.sin(ay)], [0.0, 1.0, 0.0], [-math.sin(ay), 0.0, math.cos(ay)]]
    rz = [[math.cos(az), -math.sin(az), 0.0], [math.sin(az), math.cos(az), 0.0], [0.0, 0.0, 1.0]]
    return torch.tensor(rz) @ torch.tensor(ry) @ torch.tensor(rx)


def length(vectors: torch.Tensor) -> torch.Tensor:
    """Return the Euclidean length along the first axis (many times faster than ``torch.linalg.vector_norm``)."""
    x, y, z = vectors
    return torch.sqrt(x * x + y * y + z * z)


def ellipsoid(
    points: torch.Tensor, centre: Vector, semi_axes: Vector, degrees: Vector = (0.0, 0.0, 0.0)
) -> torch.Tensor:
    """Return the approximate distance to an ellipsoid for points of shape (3, ...)."""
    shape = (3,) + (1,) * (points.dim() - 1)
    local = points - torch.tensor(centre, device=points.device).view(shape)
    if any(degrees):
        local = torch.tensordot(rotation_matrix(degrees).T.to(points.device), local, dims=1)
    radius = length(local / torch.tensor(semi_axes, device=points.device).view(shape))
    return (radius - 1.0) * min(semi_axes)


def cone(
    points: torch.Tensor, start: Vector, end: Vector, *, start_radius: float, end_radius: float
) -> torch.Tensor:
    """Return the approximate distance to a tapered tube with round ends."""
    shape = (3,) + (1,) * (points.dim() - 1)
    a = torch.tensor(start, device=points.device).view(shape)
    axis = torch.tensor(end, device=points.device).view(shape) - a
    local = points - a
    direction = axis / (axis * axis).sum()
    along = (local[0] * direction[0] + local[1] * direction[1] + local[2] * direction[2]).clamp(0.0, 1.0)
    radius = start_radius + (end_radius - start_radius) * along
    return length(local - along[None] * axis) - radius


_FAR_MM = 1e3
_REACH_MM = 25.0


def polyline(points: torch.Tensor, nodes: list[Vector], radius: float) -> torch.Tensor:
    """Return the distance to a tube of constant radius along ``nodes``; 1000 mm where it is more than 25 mm away."""
    margin = radius + _REACH_MM
    near = torch.ones(points.shape[1:], dtype=torch.bool, device=points.device)
    for axis in range(3):
        values = [node[axis] for node in nodes]
        near &= (points[axis] > min(values) - margin) & (points[axis] < max(values) + margin)
    local = points[:, near]
    pieces = [
        cone(local, start, end, start_radius=radius, end_radius=radius) for start, end in pairwise(nodes)
    ]
    found = torch.full(points.shape[1:], _FAR_MM, device=points.device)
    found[near] = torch.stack(pieces).amin(0)
    return found


def smooth_union(a: torch.Tensor, b: torch.Tensor, width_mm: float) -> torch.Tensor:
    """Return the union of two shapes with a fillet of about ``width_mm``."""
    overlap = (width_mm - (a - b).abs()).clamp(min=0.0) / width_mm
    return torch.minimum(a, b) - overlap * overlap * (width_mm / 4)


def smooth_intersection(a: torch.Tensor, b: torch.Tensor, width_mm: float) -> torch.Tensor:
    """Return the intersection of two shapes with edges rounded by about ``width_mm``."""
    return -smooth_union(-a, -b, width_mm)
