"""Torsos have livers of plausible size in the right place, and equal seeds give equal torsos."""

import pytest
import torch

from mrresponse.synthetic.anatomy import (
    Lobe,
    draw_anatomy,
    liver_box,
    liver_volume_ml,
    lobe_mask,
    parenchyma_of,
    tissue_map,
)
from mrresponse.synthetic.noise import centred_affine, grid_points
from mrresponse.synthetic.tissues import Tissue, liver_mask

SPACING_MM = 8.0
SHAPE = (46, 34, 40)
POINTS = grid_points(SHAPE, centred_affine(SHAPE, (SPACING_MM,) * 3, (0.0, 0.0, -10.0)))


@pytest.mark.parametrize("cirrhotic", [False, True])
def test_a_liver_measures_700_to_2800_ml(cirrhotic: bool) -> None:
    for seed in (1, 2, 3):
        assert 700 <= liver_volume_ml(draw_anatomy(seed, cirrhotic=cirrhotic)) <= 2800


def test_equal_seeds_give_equal_torsos() -> None:
    assert draw_anatomy(7) == draw_anatomy(7)
    assert torch.equal(tissue_map(draw_anatomy(7), POINTS), tissue_map(draw_anatomy(7), POINTS))


def test_the_liver_lies_on_the_right_and_the_spleen_on_the_left() -> None:
    tissue = tissue_map(draw_anatomy(5), POINTS)
    assert float(POINTS[0][liver_mask(tissue)].mean()) > 30
    assert float(POINTS[0][tissue == int(Tissue.SPLEEN)].mean()) < -30


def test_organs_are_all_there() -> None:
    tissue = tissue_map(draw_anatomy(5), POINTS)
    present = {Tissue(int(value)) for value in tissue.unique()}
    assert {
        Tissue.AIR,
        Tissue.SUBCUTANEOUS_FAT,
        Tissue.MUSCLE,
        Tissue.LUNG,
        Tissue.LIVER,
        Tissue.SPLEEN,
        Tissue.KIDNEY_CORTEX,
        Tissue.AORTA,
        Tissue.VENA_CAVA,
        Tissue.MARROW,
        Tissue.HEART_BLOOD,
    } <= present


def test_a_cirrhotic_liver_is_made_of_cirrhotic_parenchyma() -> None:
    anatomy = draw_anatomy(5, cirrhotic=True)
    tissue = tissue_map(anatomy, POINTS)
    assert parenchyma_of(anatomy) is Tissue.LIVER_CIRRHOTIC
    assert bool((tissue == int(Tissue.LIVER_CIRRHOTIC)).any())
    assert not bool((tissue == int(Tissue.LIVER)).any())


def test_the_liver_box_encloses_the_liver() -> None:
    anatomy = draw_anatomy(4)
    low, high = liver_box(anatomy)
    inside = POINTS[:, liver_mask(tissue_map(anatomy, POINTS))]
    for axis in range(3):
        assert float(inside[axis].min()) >= low[axis] - SPACING_MM
        assert float(inside[axis].max()) <= high[axis] + SPACING_MM


def test_lobes_divide_the_liver() -> None:
    anatomy = draw_anatomy(5)
    right, left = (lobe_mask(anatomy, POINTS, lobe) for lobe in (Lobe.RIGHT, Lobe.LEFT))
    assert bool((right ^ left).all())
