"""The liver's vessels: a tree of tapered tubes drawn from an anatomy's seed."""

import numpy as np
import torch

from mrresponse.synthetic.anatomy import Anatomy
from mrresponse.synthetic.shapes import Vector
from mrresponse.synthetic.tissues import Tissue

Segment = tuple[Vector, Vector, float, float]
"""Start, end, radius at the start, radius at the end, in mm."""

_CHUNK = 4096


def vessel_tree(anatomy: Anatomy) -> dict[Tissue, list[Segment]]:
    """Return the liver's vessels as tapered segments in canonical space, smallest kind first."""
    rng = np.random.default_rng([anatomy.seed, 9])
    width, depth = anatomy.inner
    outlet = (24.0, anatomy.spine_y + 46.0, anatomy.right_dome - 24)
    hepatic: list[Segment] = []
    for target in [
        (0.82 * width, -0.25 * depth, 5.0),
        (0.48 * width, 0.45 * depth, -5.0),
        (-0.18 * width, 0.45 * depth, 22.0),
        (0.62 * width, -0.55 * depth, -30.0),
    ]:
        hepatic += _branch(rng, outlet, target, radius=5.5 * anatomy.vessel, levels=2)
    hilum = anatomy.hilum
    portal: list[Segment] = []
    right = (0.42 * width, anatomy.spine_y + 50.0, 0.0)
    portal.append((hilum, right, 7.0 * anatomy.vessel, 6.0 * anatomy.vessel))
    for target in [
        (0.78 * width, 0.30 * depth, 30.0),
        (0.80 * width, -0.45 * depth, 25.0),
        (0.76 * width, 0.15 * depth, -50.0),
        (0.70 * width, -0.40 * depth, -50.0),
    ]:
        portal += _branch(rng, right, target, radius=4.8 * anatomy.vessel, levels=2)
    umbilical = (10.0, 0.5 * depth, 8.0)
    portal.append((hilum, umbilical, 5.5 * anatomy.vessel, 4.5 * anatomy.vessel))
    for target in [(-0.25 * width, 0.50 * depth, 30.0), (0.16 * width, 0.75 * depth, 12.0)]:
        portal += _branch(rng, umbilical, target, radius=3.8 * anatomy.vessel, levels=2)
    shift = np.array([2.5, 4.0, 1.5])
    arteries = [
        (_vector(np.array(a) + shift), _vector(np.array(b) + shift), 0.35 * ra, 0.3 * rb)
        for a, b, ra, rb in portal
    ]
    ducts = [
        (_vector(np.array(a) - shift), _vector(np.array(b) - shift), 0.28 * ra, 0.2 * rb)
        for a, b, ra, rb in portal
    ]
    return {
        Tissue.BILE_DUCT: ducts,
        Tissue.HEPATIC_ARTERY: arteries,
        Tissue.HEPATIC_VEIN: hepatic,
        Tissue.PORTAL_BRANCH: portal,
    }


def _branch(
    rng: np.random.Generator, start: Vector, end: Vector, *, radius: float, levels: int
) -> list[Segment]:
    """Return a wavy tapered vessel from start to end with side branches."""
    origin, target = np.array(start), np.array(end) + rng.normal(0, 8, 3)
    axis = target - origin
    length = float(np.linalg.norm(axis))
    nodes = [origin]
    for fraction in (0.35, 0.7, 1.0):
        nodes.append(origin + fraction * axis + rng.normal(0, 0.05 * length, 3))
    radii = [radius, 0.78 * radius, 0.55 * radius, max(1.0, 0.3 * radius)]
    segments: list[Segment] = [
        (_vector(nodes[i]), _vector(nodes[i + 1]), radii[i], radii[i + 1]) for i in range(3)
    ]
    if levels > 0:
        for i in (1, 2):
            turn = rng.normal(0, 1, 3)
            turn -= turn @ axis * axis / length**2
            turn *= 0.5 * length / max(float(np.linalg.norm(turn)), 1e-6)
            tip = nodes[i] + 0.45 * axis * (1.2 - 0.3 * i) + turn * rng.uniform(0.4, 0.9)
            segments += _branch(
                rng, _vector(nodes[i]), _vector(tip), radius=0.7 * radii[i], levels=levels - 1
            )
    return segments


def _vector(values: np.ndarray) -> Vector:
    return (float(values[0]), float(values[1]), float(values[2]))


def inside_segments(points: torch.Tensor, segments: list[Segment]) -> torch.Tensor:
    """Return which points (3, N) lie in any tapered segment; chunks of neighbours meet only the segments near them."""
    table = torch.tensor(
        [[*start, *end, first, last] for start, end, first, last in segments], device=points.device
    )
    start, axis = table[:, :3], table[:, 3:6] - table[:, :3]
    reach = table[:, 6:].amax(1, keepdim=True)
    low = torch.minimum(start, start + axis) - reach
    high = torch.maximum(start, start + axis) + reach
    found = torch.zeros(points.shape[1], dtype=torch.bool, device=points.device)
    for begin in range(0, points.shape[1], _CHUNK):
        chunk = points[:, begin : begin + _CHUNK]
        near = ((low < chunk.amax(1)) & (high > chunk.amin(1))).all(1)
        if not bool(near.any()):
            continue
        a, d = start[near], axis[near]
        squared = (d * d).sum(1, keepdim=True)
        forward = d @ chunk - (a * d).sum(1, keepdim=True)
        along = (forward / squared).clamp(0.0, 1.0)
        gap = (chunk * chunk).sum(0) - 2 * (a @ chunk) + (a * a).sum(1, keepdim=True)
        gap = gap + along * (along * squared - 2 * forward)
        first, last = table[near, 6:7], table[near, 7:8]
        radius = first + (last - first) * along
        found[begin : begin + _CHUNK] = (gap < radius * radius).any(0)
    return found
