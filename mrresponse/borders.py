"""The border of a body that was found in large voxels, moved onto the border that the images show beside it.

Every voxel near the border goes to the side that it is more like: the body or its surroundings, as they look right
there (localised region statistics, Lankton and Tannenbaum, IEEE Trans Image Process 2008, doi
10.1109/TIP.2008.2004611). What was found holds where the images say nothing, and the farther from its border the more
must they say.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from mrresponse.domain import BoolArray, FloatArray

_TOUCHING = np.ones((3, 3, 3), dtype=bool)  # 26-connectivity
# Both sides need this share of a neighbourhood to be known there.
_LEAST_SHARE = 0.02
# After one pass the Dice of 156 outlines was 0.904, after three 0.921; three more add 0.002 at most.
_MOST_PASSES = 5

Floats = npt.NDArray[np.float64]


def along_borders(
    body: BoolArray,
    free: BoolArray,
    signals: Sequence[FloatArray],
    spacing_mm: tuple[float, float, float],
    *,
    reach_mm: float,
    least_contrast: float,
) -> BoolArray:
    """Move the border of a body onto the one that the images show within reach.

    Parameters
    ----------
    body
        Shape (i, j, k), with at least twice ``reach_mm`` around it.
    free
        Where it may lie. What is not free, as another lesion, is no part of its surroundings either.
    signals
        Images of the same shape, each in units of the signal of one tissue.
    reach_mm
        How far the border may move, and half the width of the neighbourhood in which both sides are looked at.
    least_contrast
        Standard deviation that is added to that of either side: far smaller contrasts say nothing.

    Returns
    -------
    BoolArray
        One piece without holes; ``body`` itself where nothing of it would remain.
    """
    allowed = free | body
    prior = _ramp(body, spacing_mm, reach_mm) - 0.5
    is_open = np.abs(prior) < 0.5
    look = _Neighbourhoods(signals, allowed, [max(1, round(reach_mm / step)) for step in spacing_mm])
    current = body
    for _ in range(_MOST_PASSES):
        # of two normal distributions with one variance, each as likely before: the probability of the one, less a half
        shown = 0.5 * np.tanh(look.likelihood(current, least_contrast) / 2.0)
        moved = _piece_on(np.where(is_open, prior + shown >= 0.0, current) & allowed, current)
        if not moved.any() or np.array_equal(moved, current):
            break
        current = moved
    return current


class _Neighbourhoods:
    """Means and variances of several images on both sides of a border, around every voxel."""

    def __init__(self, signals: Sequence[FloatArray], counted: BoolArray, reach: Sequence[int]) -> None:
        self._size = [2 * steps + 1 for steps in reach]
        self._signals = [signal.astype(np.float64) for signal in signals]
        self._share = self._mean(counted.astype(np.float64))
        self._sums = [self._mean(signal * counted) for signal in self._signals]
        self._squares = [self._mean(signal * signal * counted) for signal in self._signals]

    def _mean(self, voxels: Floats) -> Floats:
        averaged: Floats = ndimage.uniform_filter(voxels, size=self._size, mode="nearest")
        return averaged

    def likelihood(self, body: BoolArray, least_contrast: float) -> Floats:
        """Return the logarithm of how much likelier each voxel is as body than as surroundings; 0 is not known.

        Images count as independent of each other.
        """
        inside = self._mean(body.astype(np.float64))
        outside = self._share - inside
        is_known = (inside > _LEAST_SHARE) & (outside > _LEAST_SHARE)
        one, other = np.where(is_known, inside, 1.0), np.where(is_known, outside, 1.0)
        total = np.zeros(body.shape)
        for signal, whole, squares in zip(self._signals, self._sums, self._squares, strict=True):
            mine = self._mean(signal * body)
            first, second = mine / one, (whole - mine) / other
            # pooled within both sides
            variance = np.maximum(squares - one * first**2 - other * second**2, 0.0) / (one + other)
            total += (first - second) / (variance + least_contrast**2) * (signal - (first + second) / 2.0)
        return np.where(is_known, total, 0.0)


def _ramp(body: BoolArray, spacing_mm: tuple[float, float, float], reach_mm: float) -> Floats:
    """Return 1 within a body from ``reach_mm`` on, 0 as far outside, and a straight line between."""
    half_voxel = min(spacing_mm) / 2.0
    inside = ndimage.distance_transform_edt(body, sampling=spacing_mm) - half_voxel
    outside = ndimage.distance_transform_edt(~body, sampling=spacing_mm) - half_voxel
    ramp: Floats = np.clip(0.5 + np.where(body, inside, -outside) / (2.0 * reach_mm), 0.0, 1.0)
    return ramp


def _piece_on(mask: BoolArray, body: BoolArray) -> BoolArray:
    """Return the piece of a mask that has most of a body, without holes."""
    pieces, count = ndimage.label(mask, structure=_TOUCHING)
    shared = np.bincount(pieces[body], minlength=count + 1)
    shared[0] = 0
    if not shared.any():
        return np.zeros_like(mask)
    return np.asarray(ndimage.binary_fill_holes(pieces == shared.argmax()), dtype=np.bool_)
