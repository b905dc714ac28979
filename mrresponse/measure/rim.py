"""A thin smooth rim around a treated lesion is an effect of the treatment, not viable tumour.

After locoregional treatment a treated bed enhances along its edge: concentric, uniform, with a smooth inner margin,
at most 5 mm and most often 1 to 2 mm thick (benign periablational enhancement; Ahmed 2014, doi
10.1148/radiol.14132958). Viable is nodular, mass-like or thick irregular enhancement in or along the lesion (LI-RADS
treatment response v2018; Lencioni 2010 for mRECIST). So, in a lesion that was seen before a locoregional treatment
or radiotherapy, and only there, enhancement along the edge that is nowhere thicker than `treated_rim_mm` around a core
that does not enhance is left out; where a part is thicker, that part is viable and the thin rest is left out.
"""

from collections.abc import Sequence
from datetime import date

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from mrresponse.domain import BoolArray, LesionTrack, Treatment, TreatmentKind

_LOCAL = (TreatmentKind.LOCOREGIONAL, TreatmentKind.RADIOTHERAPY)
# A rim encloses a core: at least this share of the lesion does not enhance,
_LEAST_CORE = 0.4
# and at least this share of what enhances lies along the edge.
_LEAST_ALONG_EDGE = 0.8


def treated_labels(
    tracks: Sequence[LesionTrack], treatments: Sequence[Treatment]
) -> dict[date, frozenset[int]]:
    """Return, by study, the labels of lesions that were seen before a local treatment that began before the study."""
    starts = local_treatment_starts(treatments)
    found: dict[date, set[int]] = {}
    for track in tracks:
        seen = [one.study_date for one in track.observations if one.labels]
        for one in track.observations:
            if any(seen[0] <= start < one.study_date for start in starts if seen):
                found.setdefault(one.study_date, set()).update(one.labels)
    return {day: frozenset(labels) for day, labels in found.items()}


def local_treatment_starts(treatments: Sequence[Treatment]) -> list[date]:
    """Return when treatments began that leave a rim: all that this rule reads of a table of treatments."""
    return sorted(row.start_date for row in treatments if row.kind in _LOCAL)


def without_thin_rim(
    viable: BoolArray, lesion: BoolArray, spacing_mm: tuple[float, float, float], *, rim_mm: float
) -> BoolArray:
    """Return the viable part of a treated lesion without a thin smooth rim along its edge.

    Parameters
    ----------
    viable, lesion
        Masks ``[i, j, k]`` of one lesion.
    rim_mm
        Thickest rim in the slice plane that is an effect of treatment; 0 leaves everything.
    """
    if rim_mm <= 0.0 or not viable.any():
        return viable
    is_cored = float((lesion & ~viable).sum()) >= _LEAST_CORE * float(lesion.sum())
    depth = _depth_mm(lesion, spacing_mm)
    pixel = max(spacing_mm[:2])
    along_edge = float((depth[viable] <= rim_mm + pixel).mean())
    thick = ndimage.binary_opening(_padded(viable, 4), structure=_disc(rim_mm, spacing_mm))[4:-4, 4:-4]
    if not is_cored or (along_edge < _LEAST_ALONG_EDGE and not thick.any()):
        return viable
    reach = tuple(2 * int(np.ceil(rim_mm / 2.0 / step)) + 1 for step in spacing_mm[:2])
    near = ndimage.binary_dilation(thick, structure=np.ones((*reach, 1), dtype=bool))
    inner = viable & (depth > rim_mm + pixel)
    return np.asarray(viable & (near | inner))


def _depth_mm(lesion: BoolArray, spacing_mm: tuple[float, float, float]) -> npt.NDArray[np.float64]:
    """Return the in-plane distance of every voxel from the edge of the lesion."""
    padded = _padded(lesion, 1)
    # slices far apart: the distance stays in the plane
    distance = ndimage.distance_transform_edt(padded, sampling=(spacing_mm[0], spacing_mm[1], 1e6))
    return np.asarray(distance[1:-1, 1:-1], dtype=np.float64)


def _padded(mask: BoolArray, by: int) -> BoolArray:
    return np.pad(mask, [(by, by), (by, by), (0, 0)])


def _disc(rim_mm: float, spacing_mm: tuple[float, float, float]) -> BoolArray:
    """Return the smallest rectangle of pixels that is surely thicker than the rim."""
    i, j = (int((rim_mm + 0.5 * step) // step) + 1 for step in spacing_mm[:2])
    return np.ones((i, j, 1), dtype=bool)
