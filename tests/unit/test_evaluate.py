"""Metrics against values worked by hand."""

from math import pi

import numpy as np
import numpy.typing as npt
import pytest

from mrresponse.evaluate import (
    bootstrap_interval,
    compare_lesions,
    dice,
    match_lesions,
    summarise_lesions,
    surface_dice,
)

Mask = npt.NDArray[np.bool_]


def box(start: int, size: int = 40, shape: tuple[int, int, int] = (60, 52, 52)) -> Mask:
    mask = np.zeros(shape, dtype=bool)
    mask[start : start + size, 6 : 6 + size, 6 : 6 + size] = True
    return mask


def sphere(radius_mm: float, spacing_mm: tuple[float, float, float]) -> Mask:
    axes = [np.arange(-24.0, 24.0 + 1e-9, step) for step in spacing_mm]
    x, y, z = np.meshgrid(*axes, indexing="ij")
    return np.asarray(x**2 + y**2 + z**2 <= radius_mm**2)


def test_dice_of_two_overlapping_boxes() -> None:
    # 30 of 40 layers overlap: 2 x 30 / 80.
    assert dice(box(5), box(15)) == pytest.approx(0.75)
    assert dice(box(5), np.zeros_like(box(5))) == 0.0


def test_metrics_of_two_empty_masks_are_unknown() -> None:
    empty = np.zeros((4, 4, 4), dtype=bool)
    assert dice(empty, empty) is None
    assert surface_dice(empty, empty, (1.0, 1.0, 1.0)) is None
    assert bootstrap_interval([]) is None


def test_surface_dice_of_equal_masks_is_one_and_with_an_empty_one_zero() -> None:
    assert surface_dice(box(5), box(5), (1.0, 1.0, 1.0)) == 1.0
    assert surface_dice(box(5), np.zeros_like(box(5)), (1.0, 1.0, 1.0)) == 0.0


def test_surface_dice_of_a_shifted_cube() -> None:
    # Shift 3 mm, tolerance 2 mm, faces of 40 x 40 mm. On either cube the trailing face (1600 mm2) and a strip of
    # 1 mm along the four side faces (160 mm2) are too far, and the leading face but for 2 mm along its edges.
    far = 1600 + 160 + 36 * 36
    measured = surface_dice(box(5), box(8), (1.0, 1.0, 1.0), tolerance_mm=2.0)
    assert measured == pytest.approx(1.0 - far / 9600.0, abs=0.015)


def test_surface_dice_sees_millimetres_and_not_voxels() -> None:
    shifted = surface_dice(box(5), box(6), (3.0, 1.0, 1.0), tolerance_mm=2.0)
    within = surface_dice(box(5), box(6), (1.9, 1.0, 1.0), tolerance_mm=2.0)
    assert shifted is not None
    assert shifted < 0.95
    assert within == pytest.approx(1.0, abs=1e-6)


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (1.2, 1.2, 3.0)])
def test_surface_dice_of_concentric_spheres(spacing: tuple[float, float, float]) -> None:
    inner, outer = sphere(18.0, spacing), sphere(19.0, spacing)
    far = sphere(23.5, spacing)
    near = surface_dice(inner, outer, spacing, tolerance_mm=2.0)
    apart = surface_dice(inner, far, spacing, tolerance_mm=2.0)
    assert near is not None
    assert apart is not None
    assert near > 0.95  # steps of a 3 mm slice near the poles exceed the tolerance
    assert apart < 0.05


def two_lesions() -> tuple[npt.NDArray[np.uint16], npt.NDArray[np.uint16]]:
    reference = np.zeros((40, 40, 6), dtype=np.uint16)
    reference[2:14, 2:14, 1:5] = 7
    reference[20:24, 20:24, 1:5] = 3
    predicted = np.zeros_like(reference)
    predicted[2:14, 2:11, 1:5] = 1
    predicted[30:36, 30:36, 1:5] = 2
    return predicted, reference


def test_lesions_are_paired_by_overlap_and_not_by_label() -> None:
    predicted, reference = two_lesions()
    assert match_lesions(predicted, reference) == ((1, 7, pytest.approx(0.75)),)


def test_pairs_are_one_to_one_and_the_sum_of_overlaps_is_largest() -> None:
    reference = np.zeros((10, 10, 1), dtype=np.uint16)
    reference[0:10, 0:5] = 1
    predicted = np.zeros_like(reference)
    predicted[0:6, 0:5] = 1
    predicted[6:10, 0:5] = 2
    assert match_lesions(predicted, reference) == ((1, 1, pytest.approx(0.6)),)


def test_an_overlap_below_the_limit_is_no_pair() -> None:
    reference = np.zeros((10, 10, 1), dtype=np.uint16)
    reference[:, :] = 1
    predicted = np.zeros_like(reference)
    predicted[0:3, 0:3] = 1
    assert match_lesions(predicted, reference) == ()
    assert len(match_lesions(predicted, reference, least_iou=0.09)) == 1


def test_detection_is_summarised_by_size() -> None:
    predicted, reference = two_lesions()
    compared = compare_lesions(predicted, reference, (1.5, 1.5, 4.0), voxel_volume_ml=0.009)
    empty = np.zeros_like(predicted)
    nothing = compare_lesions(empty, empty, (1.5, 1.5, 4.0), voxel_volume_ml=0.009)
    summary = summarise_lesions([compared, nothing])
    assert summary.scans == 2
    assert summary.reference_lesions == 2
    assert summary.sensitivity == 0.5
    assert summary.lesions_by_size == {"<10 mm": 1, "10-20 mm": 0, ">20 mm": 1}
    assert summary.sensitivity_by_size == {"<10 mm": 0.0, "10-20 mm": None, ">20 mm": 1.0}
    assert summary.false_positives_per_scan == 0.5
    assert summary.precision == 0.5
    assert summary.f1 == 0.5
    # 9 of 12 columns: 432 of 576 voxels of 0.009 mL; Dice 2 x 0.75 / 1.75.
    assert summary.volume_bias_ml == pytest.approx(-144 * 0.009)
    assert summary.mean_dice == pytest.approx(1.5 / 1.75)
    assert summary.diameter_error_median_mm == pytest.approx(
        1.5 * (np.hypot(11.6, 11.0) - np.hypot(11.6, 8.0)), abs=1e-6
    )


def test_without_lesions_there_is_no_share_of_them() -> None:
    empty = np.zeros((4, 4, 4), dtype=np.uint16)
    summary = summarise_lesions([compare_lesions(empty, empty, (1.0, 1.0, 1.0), voxel_volume_ml=0.001)])
    assert summary.sensitivity is None
    assert summary.f1 is None
    assert summary.false_positives_per_scan == 0.0
    assert summary.mean_dice is None


def test_bootstrap_interval_is_repeatable_and_near_the_normal_one() -> None:
    values = list(np.random.default_rng(5).normal(0.8, 0.1, 400))
    interval = bootstrap_interval(values)
    assert interval == bootstrap_interval(values)
    assert interval is not None
    mean, half = float(np.mean(values)), 1.96 * float(np.std(values)) / 20.0
    assert interval[0] == pytest.approx(mean - half, abs=0.002)
    assert interval[1] == pytest.approx(mean + half, abs=0.002)
    assert bootstrap_interval([0.5]) == (0.5, 0.5)


def test_surface_area_behind_the_weights_is_that_of_a_sphere() -> None:
    from mrresponse.evaluate import _surface_samples

    _, areas = _surface_samples(sphere(20.0, (0.8, 0.8, 0.8)), (0.8, 0.8, 0.8))
    # Triangles of a stepped surface overstate the area of a smooth one, evenly all around.
    assert float(areas.sum()) == pytest.approx(4.0 * pi * 400.0, rel=0.15)
