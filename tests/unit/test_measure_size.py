"""Diameters and volumes of bodies whose size is known by construction."""

from math import hypot, pi, sqrt
from pathlib import Path
from time import perf_counter

import numpy as np
import numpy.typing as npt
import pytest
from scipy import ndimage

from mrresponse.measure.size import (
    GapRule,
    diameter_sd_mm,
    longest_diameter,
    viable_extent,
    volume_ml,
    volume_sd_ml,
    whole_extent,
)

Mask = npt.NDArray[np.bool_]
REAL_MASKS = Path(__file__).parents[3] / "shared" / "data" / "lesion_masks" / "mullet_lesion_masks"


def sample_ellipsoid(
    semi_axes_mm: tuple[float, float, float],
    spacing_mm: tuple[float, float, float],
    *,
    angle: float = 0.0,
    offset: tuple[float, float, float] = (0.0, 0.0, 0.0),
) -> tuple[Mask, float]:
    """Sample an ellipsoid turned in its slices; give also its longest diameter on the sampled slices."""
    reach = max(semi_axes_mm[:2])
    counts = [
        int(reach / spacing_mm[0]) + 2,
        int(reach / spacing_mm[1]) + 2,
        int(semi_axes_mm[2] / spacing_mm[2]) + 2,
    ]
    x, y, z = (
        (np.arange(-count, count + 1) + shift) * step
        for count, shift, step in zip(counts, offset, spacing_mm, strict=True)
    )
    x, y, z = x[:, None, None], y[None, :, None], z[None, None, :]
    along, across = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
    a, b, c = semi_axes_mm
    mask = (along / a) ** 2 + (across / b) ** 2 + (z / c) ** 2 <= 1.0
    inside = np.clip(1.0 - (z.ravel() / c) ** 2, 0.0, None)
    return mask, float(2.0 * max(a, b) * np.sqrt(inside.max()))


def disc(radius_mm: float, spacing_mm: float, hole_mm: float = 0.0, offset: float = 0.0) -> Mask:
    """Sample a disc, or a ring, on one slice."""
    count = int(radius_mm / spacing_mm) + 3
    at = (np.arange(-count, count + 1) + offset) * spacing_mm
    distance = np.hypot(at[:, None], at[None, :])
    return ((distance <= radius_mm) & (distance > hole_mm - 1e-9 * (hole_mm == 0.0)))[:, :, None]


def test_an_empty_mask_has_no_diameter() -> None:
    empty = np.zeros((4, 4, 2), dtype=bool)
    assert longest_diameter(empty, (1.0, 1.0, 1.0)) is None
    assert viable_extent(empty, (1.0, 1.0, 1.0)) is None
    assert volume_ml(empty, 0.001) == 0.0


def test_ends_lie_three_tenths_of_a_pixel_beyond_the_outermost_centres() -> None:
    bar = np.zeros((12, 3, 1), dtype=bool)
    bar[1:11, 1, 0] = True
    chord = longest_diameter(bar, (1.5, 1.0, 4.0))
    assert chord is not None
    assert chord.length_mm == pytest.approx((9 + 0.6) * 1.5)
    assert sorted([chord.start[0], chord.end[0]]) == pytest.approx([0.7, 10.3])
    assert chord.start[1] == chord.end[1] == 1.0


def test_a_single_voxel_is_as_long_as_its_two_ends_are_apart() -> None:
    one = np.ones((1, 1, 1), dtype=bool)
    extent = whole_extent(one, (2.0, 1.0, 5.0))
    assert extent is not None
    assert extent.longest.length_mm == pytest.approx(0.6 * 2.0)
    assert extent.perpendicular.length_mm == pytest.approx(0.6 * 1.0)


def test_spacing_along_both_axes_counts() -> None:
    block = np.ones((5, 9, 1), dtype=bool)
    extent = whole_extent(block, (2.0, 0.5, 3.0))
    assert extent is not None
    # The corners are cut: an end goes beyond the centre along one axis only.
    assert extent.longest.length_mm == pytest.approx(hypot(8.0 + 1.2, 4.0))


def test_only_one_slice_is_measured() -> None:
    rod = np.zeros((3, 3, 30), dtype=bool)
    rod[1, 1, :] = True
    rod[0:3, 1, 17] = True
    chord = longest_diameter(rod, (1.0, 1.0, 5.0))
    assert chord is not None
    assert chord.slice_index == 17
    assert chord.length_mm == pytest.approx(2.6)


def test_parts_that_do_not_touch_in_the_slice_are_not_spanned() -> None:
    mask = np.zeros((30, 10, 2), dtype=bool)
    mask[2:8, 2:8, 0] = True
    mask[20:28, 2:8, 0] = True
    mask[2:28, 4, 1] = False
    chord = longest_diameter(mask, (1.0, 1.0, 3.0))
    assert chord is not None
    assert chord.length_mm == pytest.approx(hypot(7.6, 5.0))
    assert min(chord.start[0], chord.end[0]) > 19.0


def test_perpendicular_is_the_short_axis_of_an_ellipse() -> None:
    mask, _ = sample_ellipsoid((20.0, 11.0, 4.0), (0.8, 0.8, 3.0), angle=0.6)
    extent = whole_extent(mask, (0.8, 0.8, 3.0))
    assert extent is not None
    assert extent.longest.length_mm == pytest.approx(40.0, abs=0.8)
    assert extent.perpendicular.length_mm == pytest.approx(22.0, abs=0.8)
    longest = np.subtract(extent.longest.end, extent.longest.start)
    across = np.subtract(extent.perpendicular.end, extent.perpendicular.start)
    assert abs(float(longest @ across)) < 1e-6


def test_diameter_of_a_thousand_bodies_is_right_to_one_pixel_and_half_a_millimetre() -> None:
    random = np.random.default_rng(20)
    in_pixels = []
    for number in range(1000):
        pixel, thickness = random.uniform(0.7, 2.0), random.uniform(2.0, 8.0)
        a = random.uniform(5.0, 40.0)
        axes = (a, a * random.uniform(0.5, 1.0), max(a * random.uniform(0.5, 1.0), thickness))
        spacing = (pixel, pixel * random.uniform(0.85, 1.0), thickness)
        i, j, k = random.uniform(-0.5, 0.5, 3)
        mask, truth = sample_ellipsoid(axes, spacing, angle=random.uniform(0.0, pi), offset=(i, j, k))
        extents = [whole_extent(mask, spacing)]
        if number % 5 == 0:
            extents.append(viable_extent(mask, spacing))
        for extent in extents:
            assert extent is not None
            error = extent.longest.length_mm - truth
            assert abs(error) <= pixel + 0.5
            in_pixels.append(error / pixel)
    assert abs(float(np.mean(in_pixels))) < 0.25


@pytest.mark.parametrize(("radius", "core"), [(15.0, 9.0), (20.0, 16.0), (12.0, 5.0), (40.0, 30.0)])
def test_a_viable_rim_is_measured_along_the_chord_that_grazes_the_core(radius: float, core: float) -> None:
    pixel = 0.8
    extent = viable_extent(disc(radius, pixel, core, offset=0.3), (pixel, pixel, 3.0))
    assert extent is not None
    grazing = 2.0 * sqrt(radius**2 - core**2)
    # Moving the core by half a pixel moves the chord by (core / half chord) pixels.
    assert extent.longest.length_mm == pytest.approx(grazing, abs=pixel * (1.0 + core / (grazing / 2.0)))
    assert extent.longest.length_mm < 2.0 * radius - pixel


def test_a_minor_gap_is_spanned_and_a_major_one_is_not() -> None:
    bar = np.zeros((44, 7, 1), dtype=bool)
    bar[2:42, 2:5, 0] = True
    bar[20:22, 3:5, 0] = False
    whole = viable_extent(bar, (1.0, 1.0, 3.0), GapRule(length_mm=2.0, fraction=0.0))
    assert whole is not None
    assert whole.longest.length_mm > 39.0
    bar[17:25, 3:5, 0] = False
    bar[17:25, 2, 0] = [True, True, True, False, True, True, True, True]
    halves = viable_extent(bar, (1.0, 1.0, 3.0))
    assert halves is not None
    assert halves.longest.length_mm < 27.0


def test_of_several_viable_islands_the_longest_single_one_is_taken() -> None:
    mask = np.zeros((60, 20, 3), dtype=bool)
    mask[2:12, 5:15, 0] = True
    mask[30:55, 8:12, 0] = True
    mask[2:10, 2:10, 2] = True
    extent = viable_extent(mask, (1.0, 1.0, 4.0))
    assert extent is not None
    assert extent.longest.length_mm == pytest.approx(hypot(24.6, 3.0))
    assert extent.longest.slice_index == 0


def test_a_crescent_is_not_measured_from_tip_to_tip() -> None:
    at = np.arange(-30, 31) * 1.0
    x, y = at[:, None], at[None, :]
    crescent = ((np.hypot(x, y) <= 25.0) & (np.hypot(x - 12.0, y) > 22.0))[:, :, None]
    inside = viable_extent(crescent, (1.0, 1.0, 3.0))
    outline = whole_extent(crescent, (1.0, 1.0, 3.0))
    assert inside is not None
    assert outline is not None
    # The straight line that touches the inner circle at x = -10 meets the outer one at y = +-sqrt(25^2 - 10^2).
    assert inside.longest.length_mm == pytest.approx(2.0 * sqrt(25.0**2 - 10.0**2), abs=2.0)
    assert outline.longest.length_mm > inside.longest.length_mm


def ragged_rim(seed: int) -> Mask:
    """A rim of 58 mm with holes and spurs: many chords of nearly equal length, few of them admissible."""
    rng = np.random.default_rng(seed)
    at = np.arange(64) - 31.5
    radius = np.hypot(at[:, None], at[None, :])
    field = ndimage.gaussian_filter(rng.normal(size=(64, 64)), 3.0)
    field /= field.std()
    hole = 29.0 * rng.uniform(0.3, 0.8)
    return ((radius <= 29.0) & ((radius > hole) | (field > 1.0)) & (field > -1.2))[:, :, None]


def gap_along(inside: Mask, start: npt.NDArray[np.float64], end: npt.NDArray[np.float64]) -> float:
    """The length of a chord, in pixels of 1 mm, outside of a region."""
    shares = (np.arange(400) + 0.5) / 400
    rows, columns = np.rint(start + shares[:, None] * (end - start)).astype(int).T
    return float((~inside[rows, columns]).mean() * np.hypot(*(end - start)))


def longest_by_trying_all(mask: Mask) -> float:
    """The longest of all chords between centres of border pixels whose gaps are well within the rule."""
    regions, count = ndimage.label(mask[:, :, 0], structure=np.ones((3, 3)))
    best = 0.0
    for region in (regions == number for number in range(1, count + 1)):
        border = np.argwhere(region & ~ndimage.binary_erosion(region)).astype(np.float64)
        apart = np.hypot(*(border[:, None] - border[None]).transpose(2, 0, 1))
        for first in range(len(border)):
            for last in np.flatnonzero(apart[first] > best):
                length = float(apart[first, last])
                if gap_along(region, border[first], border[last]) <= 0.9 * max(2.0, 0.1 * length):
                    best = max(best, length)
    return best


@pytest.mark.parametrize("seed", [124, 226, 335, 379])
def test_no_admissible_chord_of_a_ragged_rim_is_longer_than_the_viable_diameter(seed: int) -> None:
    """It was up to 12 mm short: only chords near the best of a coarse choice were tried."""
    mask = ragged_rim(seed)
    extent = viable_extent(mask, (1.0, 1.0, 3.0))
    assert extent is not None
    found = extent.longest
    assert found.length_mm >= longest_by_trying_all(mask)
    # a sample of a chord is a hundredth of its length
    gap = gap_along(mask[:, :, 0], np.array(found.start), np.array(found.end))
    assert gap <= 0.1 * found.length_mm + 0.02 * found.length_mm


def test_a_whole_viable_lesion_has_equal_whole_and_viable_diameters() -> None:
    mask, _ = sample_ellipsoid((14.0, 10.0, 8.0), (1.2, 1.2, 3.0), angle=1.0, offset=(0.2, 0.4, 0.1))
    whole, viable = whole_extent(mask, (1.2, 1.2, 3.0)), viable_extent(mask, (1.2, 1.2, 3.0))
    assert whole is not None
    assert viable is not None
    assert viable.longest == whole.longest
    assert viable.perpendicular.length_mm == pytest.approx(whole.perpendicular.length_mm, abs=0.8)


def test_volume_of_a_ball_is_within_five_per_cent() -> None:
    spacing = (1.6, 1.6, 3.0)
    mask, _ = sample_ellipsoid((10.0, 10.0, 10.0), spacing, offset=(0.3, 0.1, 0.4))
    measured = volume_ml(mask, 1.6 * 1.6 * 3.0 / 1000.0)
    assert measured == pytest.approx(4.0 / 3.0 * pi, rel=0.05)


def test_solidity_is_one_for_a_disc_and_less_for_a_horseshoe() -> None:
    full = whole_extent(disc(15.0, 1.0), (1.0, 1.0, 3.0))
    horseshoe = disc(15.0, 1.0, 10.0)
    horseshoe[18:, 12:25] = False
    broken = whole_extent(horseshoe, (1.0, 1.0, 3.0))
    assert full is not None
    assert broken is not None
    assert full.solidity > 0.97
    assert broken.solidity < 0.65


def test_uncertainty_follows_its_formula() -> None:
    # Two ends with a contour of 1 mm, half a pixel of 1.2 mm; slices of 3 mm shorten 30 mm by 9 / (6.708 x 30) mm.
    expected = sqrt(2.0 + 0.6**2 + (9.0 / (sqrt(45.0) * 30.0)) ** 2)
    errors = {"boundary_sd_mm": 1.0, "repeat_pixels": 0.5}
    assert diameter_sd_mm(30.0, (1.2, 1.2, 3.0), **errors) == pytest.approx(expected)
    ball = pi * 30.0**3 / 6000.0
    relative = 3.0 * sqrt(2.0 + 0.6**2) / 30.0
    assert volume_sd_ml(ball, (1.2, 1.2, 3.0), **errors) == pytest.approx(ball * relative)


def test_thicker_slices_larger_pixels_and_a_looser_contour_are_less_certain() -> None:
    def sd(spacing: tuple[float, float, float], *, boundary: float = 1.0) -> float:
        return diameter_sd_mm(20.0, spacing, boundary_sd_mm=boundary, repeat_pixels=0.5)

    thin = sd((1.0, 1.0, 2.0))
    assert sd((1.0, 1.0, 8.0)) > thin
    assert sd((2.0, 2.0, 2.0)) > thin
    assert sd((1.0, 1.0, 2.0), boundary=2.0) > thin


@pytest.mark.skipif(not REAL_MASKS.is_dir(), reason="shared lesion masks are not beside the checkout")
def test_real_lesion_shapes_are_measured_quickly_and_never_longer_than_their_box() -> None:
    nibabel = pytest.importorskip("nibabel")
    files = sorted(REAL_MASKS.rglob("*.nii.gz"))[:3]
    if not files:
        pytest.skip("no NIfTI masks in the shared folder")
    for file in files:
        image = nibabel.load(file)
        mask = np.asarray(image.dataobj) > 0
        if not mask.any():
            continue
        i, j, k = (slice(int(part.min()), int(part.max()) + 1) for part in np.nonzero(mask))
        mask = mask[i, j, k]
        spacing = tuple(float(step) for step in image.header.get_zooms()[:3])
        began = perf_counter()
        whole, viable = whole_extent(mask, spacing), viable_extent(mask, spacing)
        assert perf_counter() - began < 5.0
        assert whole is not None
        assert viable is not None
        assert viable.longest.length_mm <= whole.longest.length_mm + 1e-9
        assert whole.longest.length_mm <= hypot(mask.shape[0] * spacing[0], mask.shape[1] * spacing[1])


@pytest.mark.parametrize(("radius_mm", "pixel_mm"), [(2.6, 2.6), (11.2, 2.0)])
def test_the_perpendicular_of_a_round_viable_part_is_no_longer_than_its_diameter(
    radius_mm: float, pixel_mm: float
) -> None:
    for shift in np.linspace(0.0, 0.5, 6):
        places = (np.arange(-8, 9) + shift) * pixel_mm
        disc = np.hypot(places[:, None], places[None, :])[:, :, None] <= radius_mm
        extent = viable_extent(disc, (pixel_mm, pixel_mm, 3.0))
        assert extent is not None
        assert extent.perpendicular.length_mm <= extent.longest.length_mm + 1e-9
