"""Volume in which the voxels along the border count only by the share of them that is lesion.

A voxel on the border of a lesion holds lesion and its surroundings. Where their signals are ``a`` and ``b`` and the
voxel's is ``s``, the share of lesion is ``(s - b) / (a - b)``: the two-tissue mixture that every partial-volume
correction starts from (Santago and Gage 1993, doi 10.1109/42.241880). Voxels one step inside and one step outside the
mask count by that share, so a contour drawn a little too wide or too tight matters less than when voxels are counted.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from mrresponse.domain import BoolArray, FloatArray

_Floats = npt.NDArray[np.float64]

# Signals inside and outside are averaged around each border voxel over this many voxels (SD of the weight).
_NEAR = 1.2
# A mean of less than this share of a full neighbourhood is too few voxels to be a tissue's signal.
_LEAST_WEIGHT = 0.02
# A share is limited symmetrically beyond 0 and 1: cut at 0 and 1, noise would add volume outside and take it inside.
_OVERSHOOT = 0.5
# Lesion and surroundings differ by this many SD of the signal within them, and for this share of the border.
_LEAST_CONTRAST = 3.0
_LEAST_BORDER = 0.75
_STEP = ndimage.generate_binary_structure(3, 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Border:
    """The voxels of a box by where they lie to a lesion's outline, all ``[i, j, k]``.

    ``inside`` and ``outside`` are one tissue each; ``band`` is one voxel to either side of the outline.
    """

    inside: BoolArray
    outside: BoolArray
    band: BoolArray


def border_of(mask: BoolArray, excluded: BoolArray) -> Border:
    """Find the border of a lesion in a box that leaves some voxels around it.

    Parameters
    ----------
    mask
        The lesion.
    excluded
        What is neither lesion nor surroundings, such as other lesions.
    """
    inside = ndimage.binary_erosion(mask, _STEP)
    reach = ndimage.binary_dilation(mask, _STEP)
    return Border(inside=inside, outside=~reach & ~excluded, band=(reach & ~inside) & (mask | ~excluded))


def weighted_volume_ml(
    mask: BoolArray,
    images: Mapping[str, FloatArray],
    voxel_volume_ml: float,
    *,
    excluded: BoolArray | None = None,
) -> float | None:
    """Measure a volume with its border weighted by partial volume.

    Parameters
    ----------
    mask
        The lesion in its box, boolean ``[i, j, k]``, with at least three voxels around it where the image goes on.
    images
        Signal in the same box by contrast phase. The one in which lesion and surroundings are furthest apart, in SD
        of the signal within them, is used.
    voxel_volume_ml
        Volume of a voxel.
    excluded
        Voxels that are neither lesion nor surroundings.

    Returns
    -------
    float or None
        ``None`` where the lesion has no voxel that is surely all lesion, or stands out in no image by three SD
        along three quarters of its border.
    """
    border = border_of(mask, np.zeros_like(mask) if excluded is None else excluded)
    if not border.inside.any() or not border.outside.any():
        return None
    best: tuple[float, float] | None = None
    for image in images.values():
        found = _border_voxels(image, border, mask)
        if found is not None and (best is None or found[0] > best[0]):
            best = found
    if best is None:
        return None
    return (int(np.count_nonzero(border.inside)) + best[1]) * voxel_volume_ml


def _border_voxels(image: FloatArray, border: Border, mask: BoolArray) -> tuple[float, float] | None:
    """Give how far lesion and surroundings are apart, and how many voxels of lesion the border holds."""
    signal = image.astype(np.float64)
    within, around = (_tissue_near(signal, part) for part in (border.inside, border.outside))
    difference = within.mean - around.mean
    spread = np.sqrt(within.variance + around.variance)
    with np.errstate(divide="ignore", invalid="ignore"):
        contrast = np.abs(difference) / spread
    clear = border.band & within.is_known & around.is_known & (contrast >= _LEAST_CONTRAST)
    if np.count_nonzero(clear) < _LEAST_BORDER * np.count_nonzero(border.band):
        return None
    share = (signal[clear] - around.mean[clear]) / difference[clear]
    weighted = float(np.clip(share, -_OVERSHOOT, 1.0 + _OVERSHOOT).sum())
    # Along the rest of the border voxels are counted, as in the volume that is not weighted.
    counted = int(np.count_nonzero(border.band & ~clear & mask))
    return float(np.median(contrast[clear])), weighted + counted


@dataclass(frozen=True, slots=True, kw_only=True)
class _Tissue:
    """Signal of one tissue around every voxel, ``[i, j, k]``."""

    mean: _Floats
    variance: _Floats
    is_known: BoolArray


def _tissue_near(signal: _Floats, part: BoolArray) -> _Tissue:
    weight, total, squares = (
        ndimage.gaussian_filter(np.where(part, values, 0.0), _NEAR, mode="constant", truncate=2.0)
        for values in (1.0, signal, signal**2)
    )
    weight_or_one = np.where(weight > 0.0, weight, 1.0)
    mean = total / weight_or_one
    return _Tissue(
        mean=mean,
        variance=np.maximum(squares / weight_or_one - mean**2, 0.0),
        is_known=weight > _LEAST_WEIGHT,
    )
