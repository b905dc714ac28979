"""Laws of measuring that hold for every mask."""

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from mrresponse.evaluate import dice, match_lesions
from mrresponse.measure.lesion import round_length, round_volume
from mrresponse.measure.size import viable_extent, volume_ml, whole_extent
from mrresponse.measure.viability import clean_viable

Mask = npt.NDArray[np.bool_]

masks = arrays(np.bool_, st.tuples(st.integers(1, 12), st.integers(1, 12), st.integers(1, 3))).filter(np.any)
spacings = st.tuples(st.floats(0.5, 2.5), st.floats(0.5, 2.5), st.floats(1.0, 8.0))


@settings(max_examples=40, deadline=None)
@given(mask=masks, spacing=spacings)
def test_flips_and_turns_keep_diameters(mask: Mask, spacing: tuple[float, float, float]) -> None:
    extent = whole_extent(mask, spacing)
    assert extent is not None
    flipped = whole_extent(mask[::-1, ::-1, ::-1], spacing)
    turned = whole_extent(mask.transpose(1, 0, 2), (spacing[1], spacing[0], spacing[2]))
    assert flipped is not None
    assert turned is not None
    assert flipped.longest.length_mm == pytest.approx(extent.longest.length_mm)
    assert turned.longest.length_mm == pytest.approx(extent.longest.length_mm)


@settings(max_examples=40, deadline=None)
@given(mask=masks, spacing=spacings, factor=st.floats(0.3, 4.0))
def test_a_rescaled_grid_rescales_lengths(
    mask: Mask, spacing: tuple[float, float, float], factor: float
) -> None:
    small = whole_extent(mask, spacing)
    large = whole_extent(mask, (spacing[0] * factor, spacing[1] * factor, spacing[2]))
    assert small is not None
    assert large is not None
    assert large.longest.length_mm == pytest.approx(factor * small.longest.length_mm)


@settings(max_examples=40, deadline=None)
@given(mask=masks, spacing=spacings)
def test_the_longest_is_the_largest_distance_of_brute_force(
    mask: Mask, spacing: tuple[float, float, float]
) -> None:
    filled = np.zeros_like(mask)
    filled[:, :, 0] = True
    filled[mask.shape[0] // 3 : mask.shape[0] // 2, : mask.shape[1] // 3, 0] = False
    if not filled.any():
        return
    steps = [(0.3, 0.0), (-0.3, 0.0), (0.0, 0.3), (0.0, -0.3)]
    places = np.concatenate([np.argwhere(filled[:, :, 0]) + step for step in steps]) * spacing[:2]
    brute = np.sqrt(((places[:, None] - places[None]) ** 2).sum(axis=-1)).max()
    extent = whole_extent(filled, spacing)
    assert extent is not None
    assert extent.longest.length_mm == pytest.approx(brute)


@settings(max_examples=40, deadline=None)
@given(mask=masks, spacing=spacings)
def test_viable_is_never_longer_than_whole_and_perpendicular_never_longer_than_longest(
    mask: Mask, spacing: tuple[float, float, float]
) -> None:
    whole, viable = whole_extent(mask, spacing), viable_extent(mask, spacing)
    assert whole is not None
    assert viable is not None
    assert 0.0 < viable.longest.length_mm <= whole.longest.length_mm * (1.0 + 1e-9)
    assert whole.perpendicular.length_mm <= whole.longest.length_mm * (1.0 + 1e-9)


@given(mask=masks, voxel=st.floats(1e-4, 0.1))
def test_volumes_of_two_halves_add_up(mask: Mask, voxel: float) -> None:
    one, other = mask.copy(), mask.copy()
    one[::2] = False
    other[1::2] = False
    assert volume_ml(one, voxel) + volume_ml(other, voxel) == pytest.approx(volume_ml(mask, voxel))


@settings(max_examples=40, deadline=None)
@given(mask=masks, spacing=spacings)
def test_clean_up_stays_within_the_lesion_and_is_quiet_without_a_limit(
    mask: Mask, spacing: tuple[float, float, float]
) -> None:
    lesion = np.ones_like(mask)
    assert np.array_equal(clean_viable(mask, lesion, spacing, thin_mm=0.0), mask)
    assert not (clean_viable(mask, mask, spacing, thin_mm=2.0) & ~mask).any()


@given(value=st.integers(0, 10**6))
def test_rounding_keeps_what_is_already_rounded(value: int) -> None:
    assert round_length(value / 10.0) == value / 10.0
    assert round_volume(value / 1000.0) == value / 1000.0


@given(mask=masks)
def test_every_mask_matches_itself(mask: Mask) -> None:
    labels = mask.astype(np.uint16)
    assert dice(mask, mask) == 1.0
    assert match_lesions(labels, labels) == ((1, 1, 1.0),)
