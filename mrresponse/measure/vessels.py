"""What enhances along the edge of a lesion and is a vessel that runs past it, not viable tumour.

An outline is a voxel or two too large now and then, and a vessel beside a dead tumour then lies within it. It enhances
in the arterial phase as viable tumour does. But in the portal venous phase, where most HCC has washed out, it is as
bright as blood, and it goes on outside the lesion. So a connected part of what enhances is left out where it lies along
the edge, is at most half of the lesion, and is for the most part a vessel or a vessel's blurred edge. Vessel is what is
bright in both phases and lies outside of all lesions for the most part. Its blurred edge is no darker than the liver
in the portal venous phase, save in a sliver: there it is mixed with the dead tumour beside it, also where the outline
is right.

Tumour that is as bright as blood in the portal venous phase, touches a vessel, and reaches no deeper into its lesion
than `_DEEPEST_MM` is not told apart from it: what the rule takes away is said in the reason, and a lesion of which it
leaves nothing viable has a flag.
"""

import numpy as np
from scipy import ndimage

from mrresponse.domain import BoolArray, FloatArray
from mrresponse.geometry import dilate

REACH_MM = 20.0
"""How far around a lesion a vessel is followed."""

# Blood is the brightest hundredth of the liver in the portal venous phase; where it is no brighter than the liver by
# this share, vessels cannot be told from it.
_BLOOD_PERCENTILE = 99.0
_LEAST_BLOOD = 1.1
# A vessel lies outside of lesions by this many times what lies inside.
_LEAST_OUTSIDE = 2.0
# What is left out is at most this share of its lesion, at least this share of it is vessel, and it reaches no deeper
# below the surface of the lesion: an outline is hardly ever off by more.
_LARGEST_PART = 0.5
_LEAST_VESSEL = 0.5
_DEEPEST_MM = 5.0
# So little beside a vessel is a sliver: a cube of 5 mm, the least that is measured at all.
_SLIVER_ML = 0.125
# The edge of a vessel that the voxels blur, or that breathing moved between two phases.
_EDGE_MM = 2.5


def vessel_signal(venous: FloatArray, liver: BoolArray, liver_median: float, *, level: float) -> float | None:
    """Return the portal venous signal from which a voxel is a vessel; ``None`` where blood does not stand out.

    Parameters
    ----------
    venous
        Portal venous image, ``[i, j, k]``.
    liver
        The liver without its lesions.
    level
        How far between the liver and blood, as a share.
    """
    blood = float(np.percentile(venous[liver], _BLOOD_PERCENTILE)) if liver.any() else 0.0
    if blood < _LEAST_BLOOD * liver_median:
        return None
    return liver_median + level * (blood - liver_median)


def without_vessels(
    viable: BoolArray,
    lesion: BoolArray,
    lesions: BoolArray,
    vessels: tuple[BoolArray, BoolArray],
    spacing_mm: tuple[float, float, float],
) -> BoolArray:
    """Return the viable part of a lesion without the vessels along its edge.

    All masks ``[i, j, k]`` are of one box, which reaches `REACH_MM` beyond the lesion.

    Parameters
    ----------
    lesions
        All lesions of the study.
    vessels
        What enhances in the arterial phase as viable tumour does and is as bright as blood in the portal venous phase;
        and what is at least as bright as the liver there, as a vessel's blurred edge is.
    """
    bright, edge = vessels
    bodies, count = ndimage.label(bright)
    within = np.bincount(bodies[lesions], minlength=count + 1)
    outside = np.bincount(bodies[~lesions], minlength=count + 1)
    is_vessel = outside >= _LEAST_OUTSIDE * within
    is_vessel[0] = False
    near = dilate(is_vessel[bodies], spacing_mm, _EDGE_MM)
    if not (near & viable).any():
        return viable
    depth = ndimage.distance_transform_edt(np.pad(lesion, 1), sampling=spacing_mm)[1:-1, 1:-1, 1:-1]
    parts, count = ndimage.label(viable)
    numbers = np.arange(count + 1)
    sizes = np.bincount(parts.ravel(), minlength=count + 1)
    is_sliver = sizes * np.prod(spacing_mm) / 1000.0 <= _SLIVER_ML
    shared = np.where(
        is_sliver,
        np.bincount(parts[near], minlength=count + 1),
        np.bincount(parts[near & edge], minlength=count + 1),
    )
    is_left_out = (
        (sizes <= _LARGEST_PART * lesion.sum())
        & (shared >= _LEAST_VESSEL * sizes)
        & (ndimage.maximum(depth, parts, index=numbers) <= _DEEPEST_MM)
    )
    is_left_out[0] = False
    kept: BoolArray = viable & ~is_left_out[parts]
    return kept
