"""Intensity normalisation shared by training and inference."""

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float32]

BODY_FRACTION = 0.10
"""Voxels above this fraction of the 99.5th percentile count as body; air and void lie below."""

LESION_CLIP = (-1.0, 3.0)


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
