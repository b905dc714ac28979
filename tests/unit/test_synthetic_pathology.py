"""Painted lesions have the volume and the parts that geometry says."""

import math

import numpy as np
import pytest
import torch

from mrresponse.synthetic.distractors import (
    draw_distractors,
    paint_nodules,
    paint_perfusion_wedge,
)
from mrresponse.synthetic.noise import centred_affine, grid_points
from mrresponse.synthetic.pathology import (
    LesionShape,
    LesionSubtype,
    draw_benign,
    draw_lesion,
    paint_lesions,
)
from mrresponse.synthetic.tissues import Tissue, liver_mask

SHAPE = (48, 48, 48)
POINTS = grid_points(SHAPE, centred_affine(SHAPE, (1.0, 1.0, 1.0), (0.0, 0.0, 0.0)))
LIVER = torch.full(SHAPE, int(Tissue.LIVER), dtype=torch.uint8)


def test_without_noise_a_lesion_is_an_exact_ellipsoid() -> None:
    lesion = LesionShape(centre_mm=(0.0, 0.0, 0.0), semi_axes_mm=(14.0, 10.0, 8.0))
    _, instances, viable = paint_lesions(LIVER, POINTS, [lesion])
    assert int((instances == 1).sum()) == pytest.approx(4 / 3 * math.pi * 14 * 10 * 8, rel=0.015)
    assert torch.equal(viable, instances == 1)
    assert int((instances == 1).any(2).any(1).sum()) == 28


def test_a_rotated_lesion_keeps_its_volume() -> None:
    lesion = LesionShape(centre_mm=(0, 0, 0), semi_axes_mm=(14.0, 8.0, 8.0), rotation_deg=(0.0, 0.0, 45.0))
    _, instances, _ = paint_lesions(LIVER, POINTS, [lesion])
    assert int((instances > 0).sum()) == pytest.approx(4 / 3 * math.pi * 14 * 8 * 8, rel=0.02)


def test_a_necrotic_core_is_lesion_but_not_viable() -> None:
    lesion = LesionShape(
        centre_mm=(0, 0, 0),
        semi_axes_mm=(12.0, 12.0, 12.0),
        core_tissue=Tissue.NECROSIS,
        core_semi_axes_mm=(6.0, 6.0, 6.0),
    )
    tissue, instances, viable = paint_lesions(LIVER, POINTS, [lesion])
    core = tissue == int(Tissue.NECROSIS)
    assert int(core.sum()) == pytest.approx(4 / 3 * math.pi * 6**3, rel=0.03)
    assert bool((instances[core] == 1).all())
    assert not bool(viable[core].any())


def test_complete_necrosis_has_no_viable_part() -> None:
    lesion = LesionShape(centre_mm=(0, 0, 0), semi_axes_mm=(9.0, 9.0, 9.0), tissue=Tissue.NECROSIS)
    assert not bool(paint_lesions(LIVER, POINTS, [lesion])[2].any())


def test_lesions_stay_inside_the_liver_and_do_not_overwrite_each_other() -> None:
    half = LIVER.clone()
    half[:24] = int(Tissue.FAT)
    first = LesionShape(centre_mm=(2, 0, 0), semi_axes_mm=(8.0, 8.0, 8.0))
    second = LesionShape(centre_mm=(6, 0, 0), semi_axes_mm=(8.0, 8.0, 8.0), tissue=Tissue.CYST)
    tissue, instances, _ = paint_lesions(half, POINTS, [first, second])
    assert not bool((instances[:24] > 0).any())
    alone = paint_lesions(half, POINTS, [first])[1]
    assert torch.equal(instances == 1, alone == 1)
    assert bool((tissue[instances == 2] == int(Tissue.CYST)).all())


def test_edge_blur_leaves_the_truth_crisp() -> None:
    sharp = LesionShape(centre_mm=(0, 0, 0), semi_axes_mm=(10.0, 10.0, 10.0))
    blurred = LesionShape(centre_mm=(0, 0, 0), semi_axes_mm=(10.0, 10.0, 10.0), edge_blur_mm=1.0)
    assert torch.equal(paint_lesions(LIVER, POINTS, [sharp])[1], paint_lesions(LIVER, POINTS, [blurred])[1])


def test_drawn_lesions_repeat_with_the_seed_and_count_as_liver() -> None:
    draws = [draw_lesion((0.0, 0.0, 0.0), np.random.default_rng(5), diameter_mm=20.0) for _ in range(2)]
    assert draws[0] == draws[1]
    for seed in range(10):
        lesion = draw_lesion((0.0, 0.0, 0.0), np.random.default_rng(seed), diameter_mm=20.0)
        tissue, instances, _ = paint_lesions(LIVER, POINTS, [lesion])
        assert bool((instances > 0).any())
        assert bool(liver_mask(tissue).all())


def test_benign_lesions_are_never_viable() -> None:
    for subtype, tissue in (
        (LesionSubtype.CYST, Tissue.CYST),
        (LesionSubtype.HAEMANGIOMA, Tissue.HAEMANGIOMA),
    ):
        lesion = draw_benign((0.0, 0.0, 0.0), np.random.default_rng(1), subtype=subtype)
        painted, instances, viable = paint_lesions(LIVER, POINTS, [lesion])
        assert bool((painted[instances > 0] == int(tissue)).float().mean() > 0.5)
        assert not bool(viable.any())


def test_distractors_change_parenchyma_only_and_stay_liver() -> None:
    half = LIVER.clone()
    half[:24] = int(Tissue.SPLEEN)
    for seed in range(8):
        tissue = draw_distractors(half, POINTS, np.random.default_rng(seed))
        assert torch.equal(liver_mask(tissue), liver_mask(half))


def test_a_wedge_opens_from_its_apex() -> None:
    tissue = paint_perfusion_wedge(
        LIVER, POINTS, apex_mm=(0.0, 0.0, 0.0), direction=(1.0, 0.0, 0.0), half_angle_deg=20.0
    )
    wedge = POINTS[0][tissue == int(Tissue.PERFUSION_ANOMALY)]
    assert float(wedge.min()) >= 0.0
    assert bool((tissue == int(Tissue.PERFUSION_ANOMALY))[46, 23:25, 23:25].all())


def test_regenerative_nodules_grow_with_a_lower_threshold() -> None:
    few, many = (
        (paint_nodules(LIVER, POINTS, cell_mm=8.0, threshold=t, seed=3) != LIVER).sum() for t in (1.5, 0.5)
    )
    assert 0 < int(few) < int(many)
