"""Lengths and volumes of lesion masks, in millimetres and millilitres.

**Where an edge lies.** The end points of a diameter lie 0.3 pixel beyond the centres of the outermost
pixels. The longest of many distances is biased upwards by sampling and the tip of a slender body downwards,
so neither centres nor edges are right. On random ellipses (long axis 5 to 50 mm, 0.7 to 2 mm pixels, 300
each, a pixel belongs when its centre does) the longest diameter erred by, in pixels, mean (95 % range):

==================  =====================  =====================  =====================
ends                discs                  axis ratio 0.8 to 1    axis ratio 0.4 to 0.8
==================  =====================  =====================  =====================
pixel centres       -0.18 (-0.45, -0.03)   -0.38 (-0.80, -0.09)   -0.61 (-1.21, -0.17)
0.3 pixel beyond    +0.37 (+0.05, +0.54)   +0.16 (-0.28, +0.48)   -0.07 (-0.67, +0.35)
pixel edges         +0.75 (+0.39, +0.93)   +0.53 (+0.07, +0.87)   +0.29 (-0.30, +0.71)
==================  =====================  =====================  =====================

**Whole lesion.** The longest diameter is the largest distance between two points of one connected
(8-neighbour) region of one axial slice, found on the convex hull; RECIST 1.1 measures in one plane
[Eisenhauer 2009]. The perpendicular is the longest chord of that hull at a right angle to it (WHO, Miller
1981), so both may pass over a notch in the outline.

**Viable part.** mRECIST forbids a diameter across a major necrotic area and takes the largest single island
of several [Lencioni 2010]. Here a chord must begin and end on one connected viable region of a slice, and
the non-viable tissue it crosses may add up to at most `GapRule`: 2 mm or a tenth of the chord, whichever is
more. On a concentric rim this is within 0.5 % (or, below 20 mm, 2 mm**2 over the length) of the
chord that grazes the core. The perpendicular keeps the same rule.

Masks are boolean ``[i, j, k]`` in canonical orientation, and the in-plane axes are orthogonal; obliquity of
the grid does not matter because only distances within a slice are taken.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import numpy.typing as npt
from scipy import ndimage
from scipy.spatial import ConvexHull
from scipy.spatial.distance import pdist, squareform

from mrresponse.domain import BoolArray

Floats = npt.NDArray[np.float64]
Pixel = tuple[float, float]

IN_PLANE_NEIGHBOURS = np.zeros((3, 3, 3), dtype=bool)
IN_PLANE_NEIGHBOURS[:, :, 1] = True

# Ends of a diameter beyond the centres of its outermost pixels, in pixels (see above).
_EDGE = 0.3
# Points of a chord that are looked up; one sample is 1 % of its length, a tenth of what the gap rule allows.
_CHORD_SAMPLES = 96
_CHORDS_AT_ONCE = 4096
_POINTS_AT_ONCE = 256
# Above this number of end points a coarse choice of them is searched first and refined around its best: a chord that
# is nearly as long as the longest spares most of the others.
_END_POINTS = 240
_REFINED = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class Chord:
    """A distance within one slice; the ends are voxel coordinates ``(i, j)`` of the mask."""

    length_mm: float
    slice_index: int
    start: Pixel
    end: Pixel


@dataclass(frozen=True, slots=True, kw_only=True)
class Extent:
    """The longest diameter of a mask and the longest perpendicular in the same region of the same slice.

    ``solidity`` is the share of the region in its convex hull: 1 for a convex outline.
    """

    longest: Chord
    perpendicular: Chord
    solidity: float


@dataclass(frozen=True, slots=True, kw_only=True)
class GapRule:
    """How much non-viable tissue a viable diameter may cross: the larger of both limits."""

    length_mm: float = 2.0
    fraction: float = 0.1

    def allowed_mm(self, chord_mm: npt.NDArray[np.floating[Any]]) -> npt.NDArray[np.floating[Any]]:
        """Give the admissible non-viable length for chords of these lengths."""
        return np.asarray(np.maximum(self.length_mm, self.fraction * chord_mm))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Region:
    """One connected region of a slice with the place of its corner in the mask."""

    pixels: BoolArray
    corner: tuple[int, int]
    slice_index: int


def whole_extent(mask: BoolArray, spacing_mm: tuple[float, float, float]) -> Extent | None:
    """Measure the longest in-plane diameter and its perpendicular on the convex outline.

    Parameters
    ----------
    mask
        Boolean ``[i, j, k]``, slices along ``k``.
    spacing_mm
        Distance of voxel centres along ``(i, j, k)``.

    Returns
    -------
    Extent or None
        ``None`` for an empty mask. Of equal diameters the first in slice order is taken.
    """
    scale = np.asarray(spacing_mm[:2])
    best: tuple[float, _Region, Floats] | None = None
    for bound, region in _regions_by_size(mask, scale):
        if best is not None and bound <= best[0]:
            break
        hull = _hull(region.pixels, scale)
        longest = float(pdist(hull).max())
        if best is None or longest > best[0]:
            best = longest, region, hull
    if best is None:
        return None
    _, region, hull = best
    distances = squareform(pdist(hull))
    first, last = np.unravel_index(int(distances.argmax()), distances.shape)
    start, end = hull[first], hull[last]
    solidity = float(region.pixels.sum()) * float(scale.prod()) / _polygon_area(hull)
    return Extent(
        longest=_chord(region, start, end, scale),
        perpendicular=_chord(region, *_perpendicular_of_hull(hull, start, end), scale),
        solidity=min(solidity, 1.0),
    )


def longest_diameter(mask: BoolArray, spacing_mm: tuple[float, float, float]) -> Chord | None:
    """Measure the longest in-plane diameter of one connected region; ``None`` for an empty mask."""
    extent = whole_extent(mask, spacing_mm)
    return None if extent is None else extent.longest


def viable_extent(
    mask: BoolArray, spacing_mm: tuple[float, float, float], gap: GapRule | None = None
) -> Extent | None:
    """Measure the longest diameter of a viable part that spans no major gap, and its perpendicular.

    Parameters
    ----------
    mask
        Viable voxels, boolean ``[i, j, k]``.
    spacing_mm
        Distance of voxel centres along ``(i, j, k)``.
    gap
        Non-viable tissue that a chord may cross.

    Returns
    -------
    Extent or None
        ``None`` for an empty mask.
    """
    rule = gap or GapRule()
    scale = np.asarray(spacing_mm[:2])
    best: tuple[float, _Region, Floats] | None = None
    for bound, region in _regions_by_size(mask, scale):
        shortest = 0.0 if best is None else best[0]
        if bound <= shortest:
            break
        ends = _longest_chord_inside(region.pixels, scale, rule, shortest)
        if ends is not None:
            best = float(np.linalg.norm(ends[1] - ends[0])), region, ends
    if best is None:
        return None
    _, region, (start, end) = best
    hull = _hull(region.pixels, scale)
    solidity = float(region.pixels.sum()) * float(scale.prod()) / _polygon_area(hull)
    return Extent(
        longest=_chord(region, start, end, scale),
        perpendicular=_chord(region, *_perpendicular_inside(region.pixels, scale, rule, (start, end)), scale),
        solidity=min(solidity, 1.0),
    )


def volume_ml(mask: BoolArray, voxel_volume_ml: float) -> float:
    """Measure a volume as the number of voxels times the volume of one, not weighted by partial volume."""
    return int(np.count_nonzero(mask)) * voxel_volume_ml


def diameter_sd_mm(
    length_mm: float,
    spacing_mm: tuple[float, float, float],
    *,
    boundary_sd_mm: float,
    repeat_pixels: float,
) -> float:
    """Estimate the standard deviation of a diameter.

    Both ends are uncertain by the contour that a reader draws (`boundary_sd_mm`), and the same contour gives another
    length when the lesion is imaged again (`repeat_pixels`, in pixels). The widest section of a sphere lies up to half
    a slice ``t`` off the nearest slice, which shortens the diameter ``D`` by ``2 z**2 / D``, ``z`` uniform in 0 to
    ``t / 2``: a standard deviation of ``t**2 / (sqrt(45) D)``, here limited to half the diameter.
    """
    repeat = repeat_pixels * math.sqrt(spacing_mm[0] * spacing_mm[1])
    between_slices = min(spacing_mm[2] ** 2 / (math.sqrt(45.0) * length_mm), length_mm / 2.0)
    return math.sqrt(2.0 * boundary_sd_mm**2 + repeat**2 + between_slices**2)


def volume_sd_ml(
    volume: float, spacing_mm: tuple[float, float, float], *, boundary_sd_mm: float, repeat_pixels: float
) -> float:
    """Estimate the standard deviation of a volume as that of a sphere whose diameter is as uncertain.

    The contour's error is taken as common to the whole surface, so ``sd / V = 3 sd_D / D``, limited to 1. The
    slices sample the whole body and add no shortening.
    """
    diameter = (6000.0 * volume / math.pi) ** (1.0 / 3.0)
    sd = diameter_sd_mm(
        diameter,
        (spacing_mm[0], spacing_mm[1], 0.0),
        boundary_sd_mm=boundary_sd_mm,
        repeat_pixels=repeat_pixels,
    )
    return float(volume * min(3.0 * sd / diameter, 1.0))


def _regions_by_size(mask: BoolArray, scale: Floats) -> Iterator[tuple[float, _Region]]:
    """Yield the connected regions of all slices with a bound of their diameter, largest bound first."""
    labels, _ = ndimage.label(mask, structure=IN_PLANE_NEIGHBOURS)
    boxes = cast("list[tuple[slice, slice, slice]]", ndimage.find_objects(labels))
    if not boxes:
        return
    spans = np.array([[box[0].stop - box[0].start, box[1].stop - box[1].start] for box in boxes])
    bounds = np.hypot(*(spans * scale).T)
    slices = np.array([box[2].start for box in boxes])
    for index in np.lexsort((slices, -bounds)):
        box = boxes[index]
        yield (
            float(bounds[index]),
            _Region(
                pixels=labels[box][:, :, 0] == index + 1,
                corner=(box[0].start, box[1].start),
                slice_index=int(slices[index]),
            ),
        )


def _hull(pixels: BoolArray, scale: Floats) -> Floats:
    """Return the convex hull of a region in mm, counter-clockwise."""
    rows = np.flatnonzero(pixels.any(axis=1))
    columns = np.flatnonzero(pixels.any(axis=0))
    last_i, last_j = pixels.shape[0] - 1, pixels.shape[1] - 1
    points = np.concatenate(
        [
            np.column_stack([rows, pixels[rows].argmax(axis=1) - _EDGE]),
            np.column_stack([rows, last_j - pixels[rows, ::-1].argmax(axis=1) + _EDGE]),
            np.column_stack([pixels[:, columns].argmax(axis=0) - _EDGE, columns]),
            np.column_stack([last_i - pixels[::-1, columns].argmax(axis=0) + _EDGE, columns]),
        ]
    )
    points = points * scale
    return cast(Floats, points[ConvexHull(points).vertices])


def _polygon_area(polygon: Floats) -> float:
    x, y = polygon.T
    return 0.5 * abs(float(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1))))


def _perpendicular_of_hull(hull: Floats, start: Floats, end: Floats) -> tuple[Floats, Floats]:
    """Return the ends of the longest chord of a convex polygon at a right angle to ``start`` - ``end``.

    Along the diameter the chord's length is concave and changes its slope at the vertices only, so the
    longest passes through one.
    """
    along = (end - start) / np.linalg.norm(end - start)
    across = np.array([-along[1], along[0]])
    here, height = hull @ along, hull @ across
    following, following_height = np.roll(here, -1), np.roll(height, -1)
    offsets = here[:, None]
    run = np.where(following == here, 1.0, following - here)
    share = (offsets - here) / run
    crossed = (share >= -1e-9) & (share <= 1.0 + 1e-9) & (following != here)
    at = height + share * (following_height - height)
    low = np.where(crossed, at, np.inf).min(axis=1)
    high = np.where(crossed, at, -np.inf).max(axis=1)
    best = int((high - low).argmax())
    origin = here[best] * along
    return origin + low[best] * across, origin + high[best] * across


def _end_points(pixels: BoolArray, scale: Floats) -> Floats:
    """Return, in mm, the points towards every pixel edge between inside and outside."""
    padded = np.pad(pixels, 1)
    found = []
    for axis, step in ((0, 1), (0, -1), (1, 1), (1, -1)):
        edge = np.argwhere(padded & ~np.roll(padded, -step, axis=axis)) - 1.0
        edge[:, axis] += _EDGE * step
        found.append(edge)
    return np.concatenate(found) * scale


def _longest_chord_inside(pixels: BoolArray, scale: Floats, rule: GapRule, shortest: float) -> Floats | None:
    """Return the ends ``[2, 2]`` in mm of the longest admissible chord above ``shortest``, if any."""
    hull = _hull(pixels, scale)
    distances = squareform(pdist(hull))
    if distances.max() <= shortest:
        return None
    widest = hull[list(np.unravel_index(int(distances.argmax()), distances.shape))]
    if _is_inside(pixels, scale, rule, widest[:1], widest[1:])[0]:
        return widest
    points = _end_points(pixels, scale)
    best = None
    if len(points) > _END_POINTS:
        best = _long_chord(pixels, scale, rule, (points, shortest))
        shortest = shortest if best is None else float(np.linalg.norm(best[1] - best[0]))
    # what was found among some of them only spares most of the pairs: a longer chord may lie elsewhere
    found = _longest_admissible(pixels, scale, rule, (points, shortest))
    return found[0] if found else best


def _long_chord(
    pixels: BoolArray, scale: Floats, rule: GapRule, search: tuple[Floats, float]
) -> Floats | None:
    """Return a long admissible chord, seldom not the longest: that of a coarse choice of points, refined."""
    points, shortest = search
    cell = math.ceil(len(points) / _END_POINTS) * float(scale.max())
    _, coarse = np.unique(np.floor(points / cell).astype(np.intp), axis=0, return_index=True)
    best = None
    for ends in _longest_admissible(pixels, scale, rule, (points[coarse], shortest - 4.0 * cell)):
        near = np.min([np.hypot(*(points - end).T) for end in ends], axis=0) <= 1.5 * cell
        for refined in _longest_admissible(pixels, scale, rule, (points[near], shortest))[:1]:
            best, shortest = refined, float(np.linalg.norm(refined[1] - refined[0]))
    return best


def _longest_admissible(
    pixels: BoolArray, scale: Floats, rule: GapRule, search: tuple[Floats, float]
) -> list[Floats]:
    """Return the longest admissible chords between the given points that are longer than the given length."""
    points, shortest = search
    first, second = _pairs_longer_than(points, shortest)
    lengths = np.hypot(*(points[first] - points[second]).T)
    longer = _without_deep_gaps(pixels, scale, rule, (points, first, second, np.arange(len(lengths))))
    longer = longer[np.argsort(-lengths[longer], kind="stable")]
    for begin in range(0, len(longer), _CHORDS_AT_ONCE):
        batch = longer[begin : begin + _CHORDS_AT_ONCE]
        inside = _is_inside(pixels, scale, rule, points[first[batch]], points[second[batch]])
        if inside.any():
            return [points[[first[pair], second[pair]]] for pair in batch[inside][:_REFINED]]
    return []


def _pairs_longer_than(points: Floats, shortest: float) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """Return both ends of every pair of points further apart; by blocks, as a ragged mass has millions of pairs."""
    firsts, seconds = [], []
    for begin in range(0, len(points), _POINTS_AT_ONCE):
        block, rest = points[begin : begin + _POINTS_AT_ONCE], points[begin:]
        apart = np.hypot(*np.moveaxis(block[:, None] - rest[None], -1, 0))
        one, other = np.nonzero(np.triu(apart > shortest, k=1))
        firsts.append(one + begin)
        seconds.append(other + begin)
    return np.concatenate(firsts), np.concatenate(seconds)


def _without_deep_gaps(
    pixels: BoolArray,
    scale: Floats,
    rule: GapRule,
    pairs: tuple[Floats, npt.NDArray[np.intp], npt.NDArray[np.intp], npt.NDArray[np.intp]],
) -> npt.NDArray[np.intp]:
    """Drop chords that pass a point so far outside the region that the gap around it is too long.

    A point at the distance ``d`` from the region has a gap of at least ``2 d`` on every line through it.
    """
    points, first, second, index = pairs
    outside = ndimage.distance_transform_edt(~np.pad(pixels, 1), sampling=tuple(scale))
    outside = outside - np.hypot(*scale)
    for numerator in (8, 4, 12, 2, 6, 10, 14):
        share = numerator / 16.0
        at = (points[first] * (1.0 - share) + points[second] * share) / scale
        rows, columns = np.rint(at).astype(np.intp).T + 1
        chord = np.hypot(*(points[first] - points[second]).T)
        keep = 2.0 * outside[rows, columns] <= rule.allowed_mm(chord)
        first, second, index = first[keep], second[keep], index[keep]
    return index


def _is_inside(pixels: BoolArray, scale: Floats, rule: GapRule, starts: Floats, ends: Floats) -> BoolArray:
    """Tell which chords cross no more than the admissible length outside the region."""
    shares = (np.arange(_CHORD_SAMPLES) + 0.5) / _CHORD_SAMPLES
    at = starts[:, None, :] * (1.0 - shares)[:, None] + ends[:, None, :] * shares[:, None]
    rows, columns = np.moveaxis(np.rint(at / scale).astype(np.intp) + 1, -1, 0)
    outside = 1.0 - np.pad(pixels, 1)[rows, columns].mean(axis=1)
    lengths = np.hypot(*(ends - starts).T)
    return cast(BoolArray, outside * lengths <= rule.allowed_mm(lengths) + 1e-9)


def _perpendicular_inside(
    pixels: BoolArray, scale: Floats, rule: GapRule, longest: tuple[Floats, Floats] | Floats
) -> tuple[Floats, Floats]:
    """Return the ends of the longest admissible chord at a right angle to ``longest``.

    The region is scanned along parallel lines half a pixel apart on the linearly interpolated mask.
    """
    start, end = longest
    along = (end - start) / np.linalg.norm(end - start)
    across = np.array([-along[1], along[0]])
    edge = _end_points(pixels, scale)
    step = float(scale.min()) / 4.0
    offsets = np.arange((edge @ along).min() + step / 2.0, (edge @ along).max(), 2.0 * step)
    heights = np.arange((edge @ across).min() - step, (edge @ across).max() + 2.0 * step, step)
    at = offsets[:, None, None] * along + heights[None, :, None] * across
    padded = np.pad(pixels, 1).astype(np.float32)
    lines = ndimage.map_coordinates(padded, np.moveaxis(at / scale + 1.0, -1, 0), order=1) >= 0.5
    runs = np.diff(lines.astype(np.int8), axis=1, prepend=0).clip(0).sum(axis=1)
    spans = np.where(runs == 1, lines.sum(axis=1), 0)
    for index in np.flatnonzero(runs > 1):
        low, high = _longest_run(lines[index], step, rule)
        spans[index] = high - low
    best = int(spans.argmax())
    low, high = _longest_run(lines[best], step, rule)
    # The interpolated mask reaches to the pixel edge, the ends of a diameter do not.
    beyond = (0.5 - _EDGE) * float(np.max(scale * np.abs(across)))
    lowest = heights[0] + (low - 0.5) * step + beyond
    highest = heights[0] + (high - 0.5) * step - beyond
    # of a rounded part the steps of the scan may add a little to what is no longer than the longest diameter
    excess = max(0.0, (highest - lowest) - float(np.linalg.norm(end - start))) / 2.0
    origin = offsets[best] * along
    return origin + (lowest + excess) * across, origin + (highest - excess) * across


def _longest_run(line: BoolArray, step: float, rule: GapRule) -> tuple[int, int]:
    """Return the half-open range of the longest stretch whose gaps together are admissible."""
    changes = np.flatnonzero(np.diff(np.concatenate([[False], line, [False]]).astype(np.int8)))
    begins, ends = changes[::2], changes[1::2]
    if len(begins) == 0:
        return 0, 0
    filled = np.concatenate([[0], np.cumsum(ends - begins)])
    spans = (ends[None, :] - begins[:, None]) * step
    inside = (filled[None, 1:] - filled[:-1, None]) * step
    fits = (spans > 0.0) & (spans - inside <= rule.allowed_mm(spans) + 1e-9)
    low, high = np.unravel_index(int(np.where(fits, spans, 0.0).argmax()), spans.shape)
    return int(begins[low]), int(ends[high])


def _chord(region: _Region, start: Floats, end: Floats, scale: Floats) -> Chord:
    first = start / scale + region.corner
    last = end / scale + region.corner
    return Chord(
        length_mm=float(np.linalg.norm(end - start)),
        slice_index=region.slice_index,
        start=(float(first[0]), float(first[1])),
        end=(float(last[0]), float(last[1])),
    )
