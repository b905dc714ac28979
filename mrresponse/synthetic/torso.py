"""Organs of the procedural torso as implicit shapes, painted from the outside in."""

from dataclasses import dataclass

import numpy as np
import torch

from mrresponse.synthetic.anatomy import FALCIFORM_X_MM, Anatomy, Lobe, parenchyma_of
from mrresponse.synthetic.noise import noise_field
from mrresponse.synthetic.shapes import (
    Vector,
    cone,
    ellipsoid,
    polyline,
    smooth_intersection,
    smooth_union,
)
from mrresponse.synthetic.tissues import Tissue
from mrresponse.synthetic.vessels import inside_segments, vessel_tree


@dataclass(frozen=True, slots=True, eq=False)
class _Space:
    """Points in the person's canonical space with the distances that several organs share."""

    points: torch.Tensor
    depth: torch.Tensor
    below_dome: torch.Tensor
    rough: torch.Tensor

    @property
    def x(self) -> torch.Tensor:
        return self.points[0]

    @property
    def y(self) -> torch.Tensor:
        return self.points[1]

    @property
    def z(self) -> torch.Tensor:
        return self.points[2]


def paint_torso(anatomy: Anatomy, points: torch.Tensor, world: torch.Tensor) -> torch.Tensor:
    """Paint all tissues at canonical ``points``; ``world`` are the same points in world millimetres."""
    generator = torch.Generator().manual_seed(anatomy.seed * 104729 + 5)
    rough = noise_field(generator, cell_mm=20.0, channels=4).sample(world)
    space = _Space(points, _depth(anatomy, points), _below_dome(anatomy, points), rough)
    labels = torch.zeros(points.shape[1:], dtype=torch.uint8, device=points.device)
    rng = np.random.default_rng([anatomy.seed, 3])
    _paint_shell(labels, anatomy, space)
    _paint_bowel(labels, anatomy, space, rng)
    _paint_spine(labels, anatomy, space)
    _paint_chest(labels, anatomy, space)
    _paint_pancreas(labels, anatomy, space)
    kidneys = _paint_kidneys(labels, anatomy, space)
    spleen = _paint_spleen(labels, anatomy, space)
    _paint_stomach(labels, anatomy, space, rng)
    cava = polyline(points, _vena_cava(anatomy), 10.5)
    liver = _liver(anatomy, space, kidneys, cava)
    _paint_ascites(labels, anatomy, space, torch.minimum(liver, spleen))
    labels[liver < 0] = int(parenchyma_of(anatomy))
    _paint_gallbladder(labels, anatomy, space)
    _paint_great_vessels(labels, anatomy, space, cava)
    _paint_liver_vessels(labels, anatomy, points, liver)
    return labels


def _depth(anatomy: Anatomy, points: torch.Tensor) -> torch.Tensor:
    """Return the depth below the skin in mm (negative outside)."""
    x, y, z = points
    taper = 1.0 - 0.0006 * (z - 20).abs() * (z < 20) - 0.0009 * (z - 60).clamp(min=0.0)
    width, height = anatomy.half_width * taper, anatomy.half_depth * taper
    n = anatomy.exponent
    # a flat back: the posterior half is squarer and shallower than the anterior one
    height = torch.where(y < 0, height * 0.94, height)
    radius = ((x / width).abs() ** n + (y / height).abs() ** n) ** (1.0 / n)
    return (1.0 - radius) * torch.sqrt(x * x + y * y) / radius.clamp(min=0.05)


def _below_dome(anatomy: Anatomy, points: torch.Tensor) -> torch.Tensor:
    """Return the height below the diaphragm in mm (negative above it)."""
    x, y, z = points
    width, depth = anatomy.inner
    fall = anatomy.dome_height
    back = ((y - 5) / (1.05 * depth)) ** 2
    right = anatomy.right_dome - fall * (((x - 0.46 * width) / (0.64 * width)) ** 2 + back)
    left_top = anatomy.right_dome - anatomy.left_dome_drop
    left = left_top - fall * (((x + 0.50 * width) / (0.58 * width)) ** 2 + back)
    centre = left_top - 12 - 0.8 * fall * back - 0.3 * fall * (x / (0.7 * width)) ** 2
    return -smooth_union(smooth_union(-right, -left, 15.0), -centre, 15.0) - z


def _paint_shell(labels: torch.Tensor, anatomy: Anatomy, space: _Space) -> None:
    angle_fat = anatomy.fat * (1.0 + 0.25 * space.rough[0]).clamp(0.3, 2.0)
    rim = anatomy.fat + anatomy.wall
    labels[space.depth > 0] = int(Tissue.SUBCUTANEOUS_FAT)
    labels[(space.depth > 0) & (space.depth < 2.0)] = int(Tissue.SKIN)
    wall = space.depth > torch.minimum(angle_fat, torch.full_like(angle_fat, rim - 4.0))
    labels[wall] = int(Tissue.MUSCLE)
    ribs_here = (space.z > anatomy.inferior_edge - 40) & (space.depth > rim - 8) & (space.depth < rim - 1)
    slanted = space.z + 0.35 * space.y
    rib = ribs_here & (torch.remainder(slanted, 27.0) < 10.0) & (space.x.abs() > 25)
    labels[rib] = int(Tissue.MARROW)
    labels[space.depth > rim] = int(Tissue.FAT)


def _paint_bowel(labels: torch.Tensor, anatomy: Anatomy, space: _Space, rng: np.random.Generator) -> None:
    width, depth = anatomy.inner
    cavity = (space.depth > anatomy.fat + anatomy.wall + 3) & (space.y > -0.35 * depth)
    region = cavity & (space.z < anatomy.inferior_edge + 5 + 25 * (space.x < -20))
    blobs = space.rough[1] + anatomy.bowel - 0.5
    contents = [Tissue.BOWEL_CONTENT_A, Tissue.BOWEL_CONTENT_B, Tissue.BOWEL_CONTENT_C, Tissue.BOWEL_GAS]
    labels[region & (blobs > -0.15)] = int(Tissue.BOWEL_WALL)
    labels[region & (blobs > 0.12)] = int(contents[int(rng.integers(0, 3))])
    labels[region & (blobs > 0.9)] = int(contents[int(rng.integers(0, 4))])
    low = anatomy.inferior_edge
    colon: list[tuple[list[Vector], float]] = [
        ([(0.66 * width, -0.1 * depth, low - 130), (0.64 * width, 0.1 * depth, low - 45)], 22.0),
        (
            [
                (0.62 * width, 0.25 * depth, low - 40),
                (0.1 * width, 0.62 * depth, low - float(rng.uniform(20, 60))),
                (-0.6 * width, 0.30 * depth, float(rng.uniform(-30, 15))),
            ],
            float(rng.uniform(14, 24)),
        ),
        ([(-0.66 * width, 0.0, float(rng.uniform(-20, 15))), (-0.68 * width, -0.2 * depth, low - 130)], 16.0),
    ]
    for nodes, radius in colon:
        surface = polyline(space.points, nodes, radius) + 2.5 * space.rough[2]
        inside = (surface < 0) & cavity
        labels[inside] = int(Tissue.BOWEL_WALL)
        labels[inside & (surface < -3)] = int(contents[int(rng.integers(0, 3))])
        gas_above = surface + 0.8 * radius - (space.y - nodes[0][1]) * 0.25
        if rng.random() < 0.5:
            labels[inside & (surface < -4) & (gas_above < 2)] = int(Tissue.BOWEL_GAS)


def _paint_spine(labels: torch.Tensor, anatomy: Anatomy, space: _Space) -> None:
    spine_y = anatomy.spine_y
    inside = space.depth > anatomy.fat
    for side in (-1.0, 1.0):
        flank = ((space.x - side * 36) / 30) ** 2 + ((space.y - spine_y + 34) / 21) ** 2
        labels[(flank < 1) & inside] = int(Tissue.MUSCLE)
        psoas_width = (14 - 0.12 * (space.z + 40)).clamp(0.1, 24)
        psoas = ((space.x - side * (22 + 0.55 * psoas_width)) / psoas_width) ** 2
        psoas = psoas + ((space.y - spine_y + 4) / (1.2 * psoas_width)) ** 2
        labels[(psoas < 1) & (space.z < 15)] = int(Tissue.MUSCLE)
    body = (space.x / 21) ** 2 + ((space.y - spine_y) / 17) ** 2
    disc = torch.remainder(space.z + 7.0 * (anatomy.seed % 5), 34.0) < 8.0
    labels[body < 1] = int(Tissue.CORTICAL_BONE)
    labels[(body < 0.86) & ~disc] = int(Tissue.MARROW)
    labels[(body < 0.95) & disc] = int(Tissue.DISC)
    arch = ((space.x / 17) ** 2 + ((space.y - spine_y + 28) / 15) ** 2) < 1
    spinous = (space.x.abs() < 4) & (space.y < spine_y - 28) & (space.y > spine_y - 58) & ~disc
    transverse = (space.x.abs() < 34) & ((space.y - spine_y + 22).abs() < 5) & ~disc
    labels[(arch | spinous | transverse) & inside] = int(Tissue.MARROW)
    canal = ((space.x / 10) ** 2 + ((space.y - spine_y + 26) / 8) ** 2) < 1
    labels[canal] = int(Tissue.SPINAL_CANAL)
    cord = ((space.x / 5) ** 2 + ((space.y - spine_y + 26) / 4.5) ** 2) < 1
    labels[cord & (space.z > -60)] = int(Tissue.DISC)


def _paint_chest(labels: torch.Tensor, anatomy: Anatomy, space: _Space) -> None:
    cavity = (space.depth > anatomy.fat + anatomy.wall) & (space.below_dome < 0)
    spine = (space.x.abs() < 24) & (space.y < anatomy.spine_y + 18)
    labels[cavity & ~spine] = int(Tissue.LUNG)
    width, depth = anatomy.inner
    top = anatomy.right_dome - anatomy.left_dome_drop
    heart = ellipsoid(
        space.points, (-0.16 * width, 0.38 * depth, top + 26), (0.46 * width, 0.50 * depth, 46), (0, 25, 20)
    )
    heart = heart + 2.0 * space.rough[3]
    outside = cavity & (heart < 0)
    labels[cavity & (heart < 7)] = int(Tissue.FAT)
    labels[outside] = int(Tissue.MYOCARDIUM)
    labels[outside & (heart < -9)] = int(Tissue.HEART_BLOOD)
    diaphragm = (space.below_dome.abs() < 2.0) & (space.depth > anatomy.fat + anatomy.wall)
    labels[diaphragm & ~spine] = int(Tissue.MUSCLE)


def _paint_pancreas(labels: torch.Tensor, anatomy: Anatomy, space: _Space) -> None:
    depth = anatomy.inner[1]
    front = anatomy.spine_y + 42
    nodes: list[Vector] = [
        (38, front, -48),
        (20, front + 8, -30),
        (-15, front + 10, -14),
        (-65, front - 0.25 * depth, 2),
    ]
    labels[polyline(space.points, nodes, 11.0) + 3.0 * space.rough[3] < 0] = int(Tissue.PANCREAS)
    duodenum = polyline(
        space.points, [(48, front + 8, -22), (54, front - 4, -58), (20, front - 6, -78)], 12.0
    )
    labels[duodenum < 0] = int(Tissue.BOWEL_WALL)
    labels[duodenum < -3.5] = int(Tissue.BOWEL_CONTENT_C if anatomy.seed % 2 else Tissue.BOWEL_CONTENT_A)


def _kidney_centres(anatomy: Anatomy) -> tuple[Vector, Vector]:
    width = anatomy.inner[0]
    y = anatomy.spine_y + 2.0
    z = -52.0 + anatomy.kidney_drop
    return (max(56.0, 0.42 * width), y, z), (-max(56.0, 0.44 * width), y + 2, z + 14)


def _paint_kidneys(labels: torch.Tensor, anatomy: Anatomy, space: _Space) -> torch.Tensor:
    union = torch.full_like(space.x, 1e3)
    size = 0.92 + 0.16 * ((anatomy.seed * 37) % 11) / 10
    for centre, side in zip(_kidney_centres(anatomy), (1.0, -1.0), strict=True):
        turn = (8.0, side * -12.0, side * 15.0)
        axes = (28 * size, 25 * size, 54 * size)
        surface = ellipsoid(space.points, centre, axes, turn) + 1.0 * space.rough[2]
        hilum = (centre[0] - side * 20 * size, centre[1] + 5, centre[2])
        sinus = ellipsoid(space.points, hilum, (17 * size, 11 * size, 24 * size), turn)
        around = (surface < 9) & (space.below_dome > 3) & (space.depth > anatomy.fat + anatomy.wall)
        labels[around & (labels != int(Tissue.MUSCLE))] = int(Tissue.FAT)
        labels[surface < 0] = int(Tissue.KIDNEY_CORTEX)
        labels[(surface < -7) & (space.rough[1] > -0.6)] = int(Tissue.KIDNEY_MEDULLA)
        labels[(surface < 1) & (sinus < 0)] = int(Tissue.FAT)
        labels[(surface < 1) & (sinus < -6)] = int(Tissue.GALLBLADDER if side > 0 else Tissue.FAT)
        union = torch.minimum(union, surface)
    return union


def _paint_spleen(labels: torch.Tensor, anatomy: Anatomy, space: _Space) -> torch.Tensor:
    width, depth = anatomy.inner
    size = anatomy.spleen
    centre = (-0.74 * width, -0.38 * depth, 10.0)
    surface = ellipsoid(space.points, centre, (30 * size, 44 * size, 55 * size), (-18.0, 10.0, -25.0))
    hollow = ellipsoid(space.points, (-0.38 * width, 0.12 * depth, 12), (34, 42, 50))
    surface = smooth_intersection(surface, -hollow, 10.0)
    surface = smooth_intersection(
        surface, anatomy.fat + anatomy.wall + 2 + anatomy.ascites - space.depth, 5.0
    )
    surface = smooth_intersection(surface, 3.0 + 0.5 * anatomy.ascites - space.below_dome, 6.0)
    kidney = ellipsoid(space.points, _kidney_centres(anatomy)[1], (33, 30, 58), (8.0, 12.0, -15.0))
    surface = smooth_intersection(surface, -kidney, 4.0)
    labels[surface < 0] = int(Tissue.SPLEEN)
    return surface


def _paint_stomach(labels: torch.Tensor, anatomy: Anatomy, space: _Space, rng: np.random.Generator) -> None:
    width, depth = anatomy.inner
    size = anatomy.stomach
    fundus = ellipsoid(
        space.points, (-0.44 * width, 0.10 * depth, 24), (32 * size, 36 * size, 42 * size), (0, 15, 10)
    )
    antrum = polyline(
        space.points,
        [(-0.36 * width, 0.35 * depth, 0), (-0.05 * width, 0.52 * depth, -42), (34, 0.3 * depth, -30)],
        15 * size,
    )
    surface = smooth_union(fundus, antrum, 18.0) + 2.0 * space.rough[2]
    surface = smooth_intersection(surface, 3.0 - space.below_dome, 6.0)
    surface = smooth_intersection(surface, anatomy.fat + anatomy.wall + 4 - space.depth, 6.0)
    inside = (surface < 0) & (labels != int(Tissue.SPLEEN))
    labels[inside] = int(Tissue.BOWEL_WALL)
    labels[inside & (surface < -4)] = int(Tissue.STOMACH_CONTENT)
    level = float(rng.uniform(-0.1, 0.7)) * depth
    if rng.random() < 0.7:
        labels[inside & (surface < -4) & (space.y > level)] = int(Tissue.BOWEL_GAS)


def _vena_cava(anatomy: Anatomy) -> list[Vector]:
    front = anatomy.spine_y + 30
    top = anatomy.right_dome - 14
    return [
        (24, front - 4, -200),
        (24, front - 2, -40),
        (30, front + 2, 10),
        (22, front + 14, top),
        (12, front + 22, top + 25),
    ]


def _liver(anatomy: Anatomy, space: _Space, kidneys: torch.Tensor, cava: torch.Tensor) -> torch.Tensor:
    """Return the signed distance to the liver's surface, vessels included."""
    width, depth = anatomy.inner
    size = anatomy.right_lobe
    right = ellipsoid(
        space.points, (0.50 * width, -0.08 * depth, 0), (0.56 * width * size, 0.96 * depth * size, 110)
    )
    left = _left_lobe(anatomy, space)
    caudate = ellipsoid(
        space.points,
        (14, anatomy.spine_y + 46, 8),
        (20 * anatomy.caudate, 17 * anatomy.caudate, 30 * anatomy.caudate),
    )
    edge = anatomy.inferior_edge + 20 - anatomy.inferior_slope * (space.x - 0.3 * width)
    edge = edge.clamp(anatomy.inferior_edge - 28 - anatomy.riedel, anatomy.inferior_edge + 62)
    edge = edge + 0.22 * (space.y - 10) * (space.x < 0.9 * width) + 3.0 * space.rough[2]
    right = smooth_intersection(right, edge - space.z, 16.0)
    concavity = ellipsoid(
        space.points, (0.30 * width, 0.10 * depth, anatomy.inferior_edge - 2), (40, 44, 40), (0, 30, 0)
    )
    right = smooth_intersection(right, -concavity, 14.0)
    liver = smooth_union(right, left, 16.0)
    liver = smooth_union(liver, caudate, 8.0)
    notch = ellipsoid(
        space.points, (FALCIFORM_X_MM, 0.80 * depth, -10), (5, anatomy.notch + 8, 34), (0, 0, -8)
    )
    liver = smooth_intersection(liver, -notch, 6.0)
    if anatomy.resected is Lobe.LEFT:
        liver = smooth_intersection(liver, 20 - space.x, 8.0)
    if anatomy.resected is Lobe.RIGHT:
        liver = smooth_intersection(liver, space.x - 0.45 * width, 8.0)
    fissure = torch.sqrt((space.x / 26) ** 2 + ((space.y - anatomy.spine_y) / 30) ** 2) - 1.0
    liver = smooth_intersection(liver, -fissure * 26, 6.0)
    liver = smooth_intersection(liver, 5.0 - kidneys, 8.0)
    liver = smooth_intersection(liver, 1.0 - cava, 3.0)
    liver = liver + 1.2 * space.rough[0]
    if anatomy.nodularity:
        bumps = noise_field(torch.Generator().manual_seed(anatomy.seed + 77), cell_mm=11.0)
        liver = liver + 0.5 * anatomy.nodularity * bumps.sample(space.points)[0]
    rim = anatomy.fat + anatomy.wall + 1.5 + anatomy.ascites
    liver = smooth_intersection(liver, rim - space.depth, 10.0)
    return smooth_intersection(liver, 2.5 + 0.5 * anatomy.ascites - space.below_dome, 8.0)


def _left_lobe(anatomy: Anatomy, space: _Space) -> torch.Tensor:
    """Return a wedge that thins towards the patient's left."""
    width, depth = anatomy.inner
    size = anatomy.left_lobe
    tip = -anatomy.left_reach * width
    root = 0.40 * width
    along = ((space.x - root) / (tip - root)).clamp(-0.2, 1.2)
    thin = 1.0 - (1.0 - anatomy.left_tip) * along.clamp(min=0.0) ** 1.3
    centre_y = 0.52 * depth - 0.10 * depth * along
    centre_z = 16.0 + 14.0 * along
    half_y = 0.40 * depth * size * thin
    half_z = 44.0 * size * thin
    middle = (root + tip) / 2
    half_x = (root - tip) / 2 + 14
    radius = torch.sqrt(
        ((space.x - middle) / half_x) ** 2
        + ((space.y - centre_y) / half_y) ** 2
        + ((space.z - centre_z) / half_z) ** 2
    )
    return (radius - 1.0) * 26.0 * size


def _paint_ascites(labels: torch.Tensor, anatomy: Anatomy, space: _Space, organs: torch.Tensor) -> None:
    if not anatomy.ascites:
        return
    cavity = (space.depth > anatomy.fat + anatomy.wall) & (space.below_dome > 1.5)
    near = organs < 1.3 * anatomy.ascites
    keep = (labels == int(Tissue.FAT)) | (labels == int(Tissue.LUNG))
    labels[cavity & near & keep & (space.y > -0.8 * anatomy.half_depth)] = int(Tissue.ASCITES)


def _paint_gallbladder(labels: torch.Tensor, anatomy: Anatomy, space: _Space) -> None:
    if not anatomy.gallbladder:
        return
    width, depth = anatomy.inner
    size = anatomy.gallbladder
    centre = (0.30 * width, 0.34 * depth, anatomy.inferior_edge + 22)
    surface = ellipsoid(space.points, centre, (13 * size, 15 * size, 30 * size), (-35.0, 15.0, 0.0))
    labels[surface < 1.5] = int(Tissue.BOWEL_WALL)
    labels[surface < 0] = int(Tissue.GALLBLADDER)


def _paint_great_vessels(labels: torch.Tensor, anatomy: Anatomy, space: _Space, cava: torch.Tensor) -> None:
    front = anatomy.spine_y + 28
    aorta = polyline(
        space.points, [(-8, front, -220), (-12, front + 2, -20), (-16, front - 6, 200)], 9.5 * anatomy.vessel
    )
    labels[aorta < 2.0] = int(Tissue.BOWEL_WALL)
    labels[aorta < 0] = int(Tissue.AORTA)
    coeliac = polyline(space.points, [(-10, front, -10), (-8, front + 22, -12), (18, front + 26, -12)], 3.5)
    labels[(coeliac < 0) & (labels != int(Tissue.AORTA))] = int(Tissue.AORTA)
    labels[cava < 0] = int(Tissue.VENA_CAVA)
    trunk = cone(
        space.points,
        (4, front + 14, -48),
        anatomy.hilum,
        start_radius=6.5 * anatomy.vessel,
        end_radius=7 * anatomy.vessel,
    )
    splenic = polyline(
        space.points, [(4, front + 14, -30), (-30, front + 10, -14), (-70, front - 20, 4)], 4.0
    )
    labels[torch.minimum(trunk, splenic) < 0] = int(Tissue.PORTAL_TRUNK)
    for kidney in _kidney_centres(anatomy):
        renal = polyline(
            space.points, [(8.0 if kidney[0] > 0 else -8.0, front - 2, kidney[2] + 8), kidney], 4.0
        )
        inside = (renal < 0) & (labels == int(Tissue.FAT))
        labels[inside] = int(Tissue.VENA_CAVA)


def _paint_liver_vessels(
    labels: torch.Tensor, anatomy: Anatomy, points: torch.Tensor, liver: torch.Tensor
) -> None:
    inside = (liver < -0.5) & (labels == int(parenchyma_of(anatomy)))
    if not bool(inside.any()):
        return
    local = points[:, inside]
    values = labels[inside]
    for tissue, segments in vessel_tree(anatomy).items():
        values[inside_segments(local, segments)] = int(tissue)
    labels[inside] = values
