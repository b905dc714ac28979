"""A border moved onto the one that images show: on shapes whose border is known."""

import numpy as np
import pytest

from mrresponse.borders import along_borders
from mrresponse.domain import BoolArray, FloatArray

SPACING = (1.5, 1.5, 3.0)
SHAPE = (40, 40, 20)
EVERYWHERE = np.ones(SHAPE, dtype=np.bool_)


def ball(diameter_mm: float, shift_mm: tuple[float, float, float] = (0.0, 0.0, 0.0)) -> BoolArray:
    index = np.moveaxis(np.indices(SHAPE), 0, -1) - np.array(SHAPE) // 2
    distance = np.linalg.norm(index * SPACING - np.array(shift_mm), axis=-1)
    return np.asarray(distance <= diameter_mm / 2.0, dtype=np.bool_)


def image(body: BoolArray, contrast: float, noise: float = 0.0, seed: int = 0) -> FloatArray:
    voxels = np.where(body, contrast, 0.0) + np.random.default_rng(seed).normal(scale=noise, size=SHAPE)
    return voxels.astype(np.float32)


def moved(found: BoolArray, *signals: FloatArray, free: BoolArray = EVERYWHERE) -> BoolArray:
    return along_borders(found, free, signals, SPACING, reach_mm=3.0, least_contrast=0.05)


def dice(one: BoolArray, other: BoolArray) -> float:
    return 2.0 * float((one & other).sum()) / float(one.sum() + other.sum())


@pytest.mark.parametrize(("contrast", "least"), [(-0.3, 0.97), (0.4, 0.98), (-0.15, 0.82)])
@pytest.mark.parametrize(
    "found",
    [ball(24.0), ball(16.0), ball(20.0, (2.5, -1.5, 0.0)), ball(20.0, (0.0, 0.0, 3.0))],
    ids=["too large", "too small", "beside it", "a slice off"],
)
def test_a_border_moves_onto_the_one_that_the_image_shows(
    found: BoolArray, contrast: float, least: float
) -> None:
    """A faint one, of three times the least contrast, only part of the way."""
    true = ball(20.0)
    assert dice(found, true) < 0.8
    assert dice(moved(found, image(true, contrast)), true) > least


@pytest.mark.parametrize("diameter_mm", [8.0, 10.0, 14.0])
def test_a_small_body_neither_vanishes_nor_grows(diameter_mm: float) -> None:
    true = ball(diameter_mm)
    for off_mm in (-2.0, 2.0):
        assert dice(moved(ball(diameter_mm + off_mm), image(true, -0.3)), true) > 0.98


def test_noise_as_strong_as_a_third_of_the_contrast_moves_it_little() -> None:
    true = ball(20.0)
    assert dice(moved(ball(23.0), image(true, 0.3, noise=0.1)), true) > 0.93


def test_the_image_that_shows_the_border_counts_whatever_the_others_show() -> None:
    """The second is flat, the third has noise alone."""
    true = ball(20.0)
    signals = image(true, -0.3), image(true, 0.0), image(true, 0.0, noise=0.1, seed=1)
    assert dice(moved(ball(23.0), *signals), true) > 0.97


@pytest.mark.parametrize("diameter_mm", [8.0, 12.0, 24.0])
def test_where_the_images_show_nothing_a_border_stays(diameter_mm: float) -> None:
    found = ball(diameter_mm)
    np.testing.assert_array_equal(moved(found, image(found, 0.0), image(found, 0.0)), found)


def test_a_border_farther_away_than_reach_is_left_alone() -> None:
    """A bright organ 6 mm beside a body that the image does not show."""
    found, beside = ball(14.0), np.zeros(SHAPE, dtype=np.bool_)
    beside[SHAPE[0] // 2 + 9 :] = True
    np.testing.assert_array_equal(moved(found, image(beside, 1.0)), found)


def test_a_border_moves_by_reach_at_most() -> None:
    grown = moved(ball(14.0), image(ball(30.0), 0.5))
    assert not (grown & ~ball(14.0 + 2.0 * (3.0 + 1.5))).any()


def test_what_is_not_free_is_neither_taken_nor_surroundings() -> None:
    """Another lesion touches, as bright: left out of the surroundings it does not make the body look like them."""
    true, other = ball(16.0), ball(16.0, (16.5, 0.0, 0.0))
    both = image(true | other, 0.5)
    drawn = moved(ball(19.0) & ~other, both, free=~other)
    assert not (drawn & other).any()
    assert dice(drawn, true & ~other) > 0.97


def test_the_largest_piece_stays_without_holes() -> None:
    """A cyst in the middle and a bright spot near by."""
    true = ball(24.0)
    signal = image(true, -0.3)
    signal[ball(5.0)] = 0.0
    drawn = moved(ball(26.0), signal)
    assert dice(drawn, true) > 0.98
    assert drawn[ball(5.0)].all()
