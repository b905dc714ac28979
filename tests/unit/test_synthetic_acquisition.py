"""Acquisition is repeatable, ideal when nothing is switched on, and each fault does what it says."""

import numpy as np
import pytest
import torch

from mrresponse.synthetic.acquisition import (
    IDEAL_SCANNER,
    Motion,
    Scanner,
    acquire,
    average_blocks,
    draw_phase_motion,
    draw_scanner,
    draw_study_motion,
)
from mrresponse.synthetic.noise import centred_affine, grid_points, noise_field, smooth_noise

SPACING = (2.0, 2.0, 3.0)


def _signal() -> torch.Tensor:
    signal = torch.zeros((32, 32, 12))
    signal[8:24, 8:24] = 1.0
    return signal


def _generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_an_ideal_scanner_returns_the_signal() -> None:
    assert torch.equal(
        acquire(_signal(), IDEAL_SCANNER, spacing_mm=SPACING, generator=_generator()), _signal()
    )


def test_equal_seeds_give_equal_bytes() -> None:
    scanner = Scanner(noise=0.03, bias=0.2, gibbs=0.2, ghost=0.2, spike=0.5, slice_gain=0.05, block=(1, 1, 2))
    images = [acquire(_signal(), scanner, spacing_mm=SPACING, generator=_generator(s)) for s in (1, 1, 2)]
    assert images[0].numpy().tobytes() == images[1].numpy().tobytes()
    assert not torch.equal(images[0], images[2])


def test_noise_has_the_stated_level_in_the_object_and_a_rician_floor_outside() -> None:
    image = acquire(_signal(), Scanner(noise=0.05), spacing_mm=SPACING, generator=_generator())
    assert float(image[10:22, 10:22].std()) == pytest.approx(0.05, rel=0.1)
    # mean of a Rayleigh distribution: sqrt(pi/2) sigma
    assert float(image[:6].mean()) == pytest.approx(0.05 * (np.pi / 2) ** 0.5, rel=0.1)


def test_gain_multiplies_the_whole_image() -> None:
    image = acquire(_signal(), Scanner(gain=1.25), spacing_mm=SPACING, generator=_generator())
    assert torch.allclose(image, 1.25 * _signal())


def test_thick_slices_mix_their_neighbours() -> None:
    ramp = torch.arange(6.0).expand(2, 2, 6).contiguous()
    assert average_blocks(ramp, (1, 1, 2))[0, 0].tolist() == [0.5, 2.5, 4.5]


def test_ghosts_appear_outside_the_object_along_y() -> None:
    image = acquire(_signal(), Scanner(ghost=0.4, ghost_count=2), spacing_mm=SPACING, generator=_generator())
    assert float(image[16, 0].mean()) > 0.05
    assert float(image[1, 16].mean()) < 0.02


def test_motion_displaces_points_by_its_translation() -> None:
    shape = (4, 4, 4)
    points = grid_points(shape, centred_affine(shape, (2.0, 2.0, 2.0), (0.0, 0.0, 0.0)))
    moved = Motion(translation_mm=(1.0, 2.0, 3.0)).apply(points)
    assert torch.allclose(points - moved, torch.tensor([1.0, 2.0, 3.0]).view(3, 1, 1, 1).expand_as(points))


def test_drawn_motion_is_repeatable_and_bounded() -> None:
    assert draw_phase_motion(3).translation_mm == draw_phase_motion(3).translation_mm
    assert all(abs(draw_phase_motion(seed).translation_mm[2]) <= 12 for seed in range(30))
    assert all(abs(value) <= 15 for seed in range(10) for value in draw_study_motion(seed).translation_mm)


def test_drawn_scanners_stay_in_range() -> None:
    scanners = [draw_scanner(np.random.default_rng(seed)) for seed in range(30)]
    assert all(0.008 <= scanner.noise <= 0.06 for scanner in scanners)


def test_smooth_noise_has_about_unit_sd_and_its_cell_size() -> None:
    field = smooth_noise((48, 48, 48), cell_voxels=(6.0, 6.0, 6.0), generator=_generator())[0]
    assert 0.6 < float(field.std()) < 1.4
    step = (field[1:] - field[:-1]).std() / field.std()
    assert float(step) < 0.4


def test_a_noise_field_gives_its_nodes_back() -> None:
    field = noise_field(_generator(), cell_mm=10.0, half_extent_mm=(20.0, 20.0, 20.0))
    nodes = torch.tensor([-20.0, -10.0, 0.0]).view(1, 3, 1, 1).expand(3, 3, 1, 1)
    values = field.sample(nodes)[0, :, 0, 0]
    assert torch.allclose(values, torch.stack([field.values[0, i, i, i] for i in range(3)]), atol=1e-4)
