"""A thin smooth rim around a treated lesion is an effect of the treatment, not viable tumour.

After locoregional treatment a treated bed enhances along its edge: concentric, uniform, with a smooth inner margin,
at most 5 mm and most often 1 to 2 mm thick (benign periablational enhancement; Ahmed 2014, doi
10.1148/radiol.14132958). Viable is nodular, mass-like or thick irregular enhancement in or along the lesion (LI-RADS
treatment response v2018; Lencioni 2010 for mRECIST). So, in a lesion that was seen before a locoregional treatment
or radiotherapy, and only there, enhancement along the edge that is nowhere thicker than `treated_rim_mm` around a core
that does not enhance is left out; where a part is thicker, that part is viable and the thin rest is left out.

Thickness is seen in the slice plane, but a slice that grazes a rounded lesion shows its thin rim as a solid disc. So
in a lesion that is enclosed by a rim a thick part also has to reach deeper below the surface than a rim does, in three
dimensions and as far as the slices can tell: the surface may lie anywhere between the outermost voxels of the lesion
and the next ones. What lies free inside the core in its slice is no grazed rim, however deep it is. Where the lesion
is too few slices tall to have such a depth, the slice plane alone decides, as it does in a lesion that no rim encloses.
A nodule at the very top or bottom of a lesion can take up a single slice, which grazes the rim as well; then the two
are not told apart, and it is left out. That was seen with 6 mm in slices of 3 mm and with 8 mm in slices of 5 mm.
"""

from collections.abc import Sequence
from datetime import date

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from mrresponse.domain import BoolArray, LesionTrack, Treatment, TreatmentKind
from mrresponse.measure.size import IN_PLANE_NEIGHBOURS

_LOCAL = (TreatmentKind.LOCOREGIONAL, TreatmentKind.RADIOTHERAPY)
# A rim encloses a core: at least this share of the lesion does not enhance,
_LEAST_CORE = 0.4
# and at least this share of what enhances lies along the edge.
_LEAST_ALONG_EDGE = 0.8
# What enhances along less than this share of the surface encloses nothing: a disc there is no grazed rim.
_LEAST_ENCLOSED = 0.5


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
    inside = _depth_mm(lesion, spacing_mm) > rim_mm + max(spacing_mm[:2])
    deep = _is_deep(viable, lesion, spacing_mm, rim_mm) | _islands(viable, inside)
    inner = inside & deep
    along_edge = float((~inner[viable]).mean())
    thick = _thick_parts(viable, deep, _disc(rim_mm, spacing_mm))
    if not is_cored or (along_edge < _LEAST_ALONG_EDGE and not thick.any()):
        return viable
    reach = tuple(2 * int(np.ceil(rim_mm / 2.0 / step)) + 1 for step in spacing_mm[:2])
    near = ndimage.binary_dilation(thick, structure=np.ones((*reach, 1), dtype=bool))
    kept = viable & (near | inner)
    # the shallow part of a nodule lies above or below its deep one
    over = ndimage.binary_dilation(kept, structure=_column(_rim_slices(rim_mm, spacing_mm)))
    return np.asarray(kept | (viable & ~deep & over))


def _is_deep(
    viable: BoolArray, lesion: BoolArray, spacing_mm: tuple[float, float, float], rim_mm: float
) -> BoolArray:
    """Tell which voxels lie surely deeper below the surface than a rim, or where that cannot be asked."""
    surface = lesion & ~ndimage.binary_erosion(lesion)
    # its outermost voxels hold little of a rim that is thinner than they are
    if float(ndimage.binary_dilation(viable)[surface].mean()) < _LEAST_ENCLOSED:
        return np.ones_like(lesion)
    # the surface is at or beyond the centres of the outermost voxels, so this is the least depth
    depth = ndimage.distance_transform_edt(~surface, sampling=spacing_mm)
    tall = ndimage.binary_opening(lesion, structure=_column(_rim_slices(rim_mm, spacing_mm)))
    return np.asarray((depth >= rim_mm * (1.0 - 1e-9)) | ~tall)


def _islands(viable: BoolArray, inside: BoolArray) -> BoolArray:
    """Return what lies free inside the core in its slice: a grazed rim reaches the edge of the lesion there."""
    labels, _ = ndimage.label(viable, structure=IN_PLANE_NEIGHBOURS)
    return np.asarray(viable & ~np.isin(labels, np.unique(labels[viable & ~inside])))


def _thick_parts(viable: BoolArray, deep: BoolArray, disc: BoolArray) -> BoolArray:
    """Return the union of the discs that fit into the viable part and hold a voxel that is deep."""
    padded = _padded(viable, 4)
    fits = ndimage.binary_erosion(padded, structure=disc)
    is_shallow = ndimage.binary_erosion(padded & ~_padded(deep, 4), structure=disc)
    return np.asarray(ndimage.binary_dilation(fits & ~is_shallow, structure=disc)[4:-4, 4:-4])


def _rim_slices(rim_mm: float, spacing_mm: tuple[float, float, float]) -> int:
    """Return how many slices a rim can take up between the surface and what is surely deeper."""
    return int(np.ceil(rim_mm / spacing_mm[2] - 1e-9))


def _column(slices: int) -> BoolArray:
    return np.ones((1, 1, 2 * slices + 1), dtype=bool)


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
