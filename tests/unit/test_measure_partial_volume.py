"""The volume weighted by partial volume against bodies whose true volume and true share of every voxel are known."""

import math

import numpy as np
import numpy.typing as npt
import pytest
from scipy import ndimage

from mrresponse.domain import BoolArray
from mrresponse.measure.partial_volume import weighted_volume_ml

SPACING = (1.2, 1.2, 3.0)
VOXEL_ML = math.prod(SPACING) / 1000.0
FINE = 6
IN_PLANE = ndimage.generate_binary_structure(2, 1)[:, :, None]


def shares(semi_axes_mm: tuple[float, float, float], off_mm: float = 0.0) -> npt.NDArray[np.float64]:
    """Give the share of every voxel that lies within an ellipsoid, from 6 x 6 x 6 points of it."""
    counts = [2 * math.ceil(axis / step) + 12 for axis, step in zip(semi_axes_mm, SPACING, strict=True)]
    at = [
        ((np.arange(n * FINE) + 0.5) / FINE - n / 2) * step + off_mm
        for n, step in zip(counts, SPACING, strict=True)
    ]
    x, y, z = np.meshgrid(*at, indexing="ij", sparse=True)
    inside = (x / semi_axes_mm[0]) ** 2 + (y / semi_axes_mm[1]) ** 2 + (z / semi_axes_mm[2]) ** 2 <= 1.0
    i, j, k = counts
    return inside.reshape(i, FINE, j, FINE, k, FINE).mean(axis=(1, 3, 5))


def image_of(
    share: npt.NDArray[np.float64], *, contrast: float, noise: float = 5.0
) -> npt.NDArray[np.float32]:
    noisy = 100.0 + contrast * share + np.random.default_rng(1).normal(0.0, noise, share.shape)
    return noisy.astype(np.float32)


def true_ml(semi_axes_mm: tuple[float, float, float]) -> float:
    return 4.0 / 3.0 * math.pi * math.prod(semi_axes_mm) / 1000.0


@pytest.mark.parametrize("axes", [(9.0, 9.0, 12.0), (15.0, 11.0, 14.0), (20.0, 8.0, 16.0)])
@pytest.mark.parametrize("contrast", [60.0, -60.0])
@pytest.mark.parametrize("drawn", ["too wide", "right", "too tight"])
def test_a_contour_off_by_a_voxel_hardly_changes_the_weighted_volume(
    axes: tuple[float, float, float], contrast: float, drawn: str
) -> None:
    share = shares(axes, off_mm=0.4)
    mask: BoolArray = share >= 0.5
    if drawn == "too wide":
        mask = ndimage.binary_dilation(mask, IN_PLANE)
    elif drawn == "too tight":
        mask = ndimage.binary_erosion(mask, IN_PLANE)
    counted = float(mask.sum()) * VOXEL_ML / true_ml(axes) - 1.0
    weighted = weighted_volume_ml(mask, {"ART": image_of(share, contrast=contrast)}, VOXEL_ML)
    assert weighted is not None
    assert abs(weighted / true_ml(axes) - 1.0) < 0.07
    if drawn != "right":
        assert abs(counted) > 0.12


def test_without_noise_the_right_contour_gives_the_true_volume_to_one_percent() -> None:
    axes = (14.0, 12.0, 15.0)
    share = shares(axes)
    weighted = weighted_volume_ml(share >= 0.5, {"ART": image_of(share, contrast=50.0, noise=0.0)}, VOXEL_ML)
    assert weighted == pytest.approx(true_ml(axes), rel=0.01)


def test_the_image_in_which_the_lesion_stands_out_most_is_used() -> None:
    axes = (14.0, 12.0, 15.0)
    share = shares(axes)
    clear, faint = image_of(share, contrast=90.0), image_of(share[::-1] * 0.0, contrast=1.0)
    alone = weighted_volume_ml(share >= 0.5, {"ART": clear}, VOXEL_ML)
    assert weighted_volume_ml(share >= 0.5, {"PRE": faint, "ART": clear}, VOXEL_ML) == alone
    assert weighted_volume_ml(share >= 0.5, {"PRE": faint}, VOXEL_ML) is None


def test_a_lesion_without_a_voxel_that_is_surely_lesion_has_no_weighted_volume() -> None:
    mask = np.zeros((12, 12, 9), dtype=bool)
    mask[5:8, 5:8, 4] = True
    image = np.where(mask, 200.0, 100.0).astype(np.float32)
    assert weighted_volume_ml(mask, {"ART": image}, VOXEL_ML) is None


def test_a_neighbour_of_the_same_brightness_is_not_taken_for_surroundings() -> None:
    axes = (10.0, 10.0, 12.0)
    share = shares(axes)
    neighbour = np.zeros(share.shape, dtype=bool)
    neighbour[-5:] = True
    image = image_of(np.maximum(share, neighbour), contrast=60.0)
    mask = share >= 0.5
    kept_apart = weighted_volume_ml(mask, {"ART": image}, VOXEL_ML, excluded=neighbour & ~mask)
    assert kept_apart == pytest.approx(true_ml(axes), rel=0.05)


def test_the_core_of_a_shell_is_not_in_its_volume() -> None:
    outer, inner = (22.0, 22.0, 24.0), (10.0, 10.0, 12.0)
    core = shares(inner)
    edges = [(a - b) // 2 for a, b in zip(shares(outer).shape, core.shape, strict=True)]
    share = shares(outer) - np.pad(core, [(edge, edge) for edge in edges])
    weighted = weighted_volume_ml(share >= 0.5, {"enhancement": image_of(share, contrast=60.0)}, VOXEL_ML)
    assert weighted == pytest.approx(true_ml(outer) - true_ml(inner), rel=0.03)
