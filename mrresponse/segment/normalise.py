"""Intensity normalisation shared by training and inference."""

from collections.abc import Callable, Mapping
from types import MappingProxyType

import numpy as np
import numpy.typing as npt
from scipy import ndimage

FloatArray = npt.NDArray[np.float32]

BODY_FRACTION = 0.10
"""Voxels above this fraction of the 99.5th percentile count as body; air and void lie below."""

LESION_CLIP = (-1.0, 3.0)

LESION_WINDOW = (-0.75, 1.0)
"""Lesions differ from liver by -60 to +60 %; fat, gas and vessels beyond the window need not be told apart."""
WINDOW_SCALE = 2.0

LESION_REACH_MM = 9.0
"""What lies farther from the liver is hidden from the lesion network."""
NEAR_PROBABILITY = 0.3


def normalise_liver_input(voxels: npt.ArrayLike) -> FloatArray:
    """Return an image clipped to the body's percentiles .5-99.5 and scaled to zero mean, unit SD over the body.

    An image without contrast (all values equal) comes back as zeros.
    """
    image = np.nan_to_num(np.asarray(voxels, dtype=np.float32))
    sample = image.ravel()[:: max(1, image.size // 200_000)]
    body = sample[sample > BODY_FRACTION * np.percentile(sample, 99.5)]
    if body.size < 2:
        return np.zeros_like(image)
    low, high = np.percentile(body, [0.5, 99.5])
    body = np.clip(body, low, high)
    deviation = float(body.std())
    if deviation <= 0.0:
        return np.zeros_like(image)
    # air lies below the body's lowest percentile: the lower clip is zero, not `low`, so that it stays darker
    scaled = (np.clip(image, min(0.0, float(low)), high) - float(body.mean())) / deviation
    return scaled.astype(np.float32)


def normalise_lesion_input(voxels: npt.ArrayLike, liver: npt.ArrayLike) -> FloatArray:
    """Return ``(x - m) / m`` clipped to [-1, 3], with m the median of the image within the liver (bool mask).

    An empty liver or a median of zero or less gives zeros, the value of an absent contrast phase.
    """
    image = np.nan_to_num(np.asarray(voxels, dtype=np.float32))
    inside = image[np.asarray(liver, dtype=bool)]
    median = float(np.median(inside)) if inside.size else 0.0
    if median <= 0.0:
        return np.zeros_like(image)
    return np.clip((image - median) / median, *LESION_CLIP).astype(np.float32)


def window_lesion_input(voxels: npt.ArrayLike, liver: npt.ArrayLike) -> FloatArray:
    """Return ``2 (x - m) / m`` within the window of -75 to +100 %, with m the median within the liver (bool mask).

    An empty liver or a median of zero or less gives zeros, the value of an absent contrast phase.
    """
    relative = normalise_lesion_input(voxels, liver)
    return np.asarray(np.clip(relative, *LESION_WINDOW) * WINDOW_SCALE, dtype=np.float32)


def near_liver(probability: FloatArray, spacing_mm: tuple[float, float, float]) -> npt.NDArray[np.bool_]:
    """Return what lies within ``LESION_REACH_MM`` of the liver along every axis."""
    reach = [2 * round(LESION_REACH_MM / step) + 1 for step in spacing_mm]
    return np.asarray(ndimage.maximum_filter(probability, size=reach, mode="nearest") >= NEAR_PROBABILITY)


def bundle_liver_input(image: npt.ArrayLike) -> FloatArray:
    """Normalise ``[1, i, j, k]`` on the liver network's grid; named by the inference config of its MONAI bundle."""
    return normalise_liver_input(np.asarray(image)[0])[None]


def bundle_lesion_input(image: npt.ArrayLike, spacing_mm: tuple[float, float, float]) -> FloatArray:
    """Normalise ``[6, i, j, k]``, five contrast phases and the liver probability, on the lesion network's grid.

    An absent phase is an image of zeros. Named by the inference config of the MONAI bundle.
    """
    *phases, probability = np.asarray(image, dtype=np.float32)
    near = near_liver(probability, spacing_mm)
    channels = [window_lesion_input(phase, probability > 0.5) * near for phase in phases]
    return np.stack([*channels, probability]).astype(np.float32)


LESION_INPUTS: Mapping[str, Callable[[npt.ArrayLike, npt.ArrayLike], FloatArray]] = MappingProxyType(
    {"normalise_lesion_input": normalise_lesion_input, "window_lesion_input": window_lesion_input}
)
"""The normalisations a model of lesions may name; a windowed model also sees nothing far from the liver."""
