"""Where DICOM slices lie, and the regular grid that those of one series make, or an error that says why not.

Voxels are indexed ``[i, j, k]`` = column, row, slice; the slices run along the normal of the image plane, and the world
is RAS+ mm (DICOM's own is LPS+).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from mrresponse.dicom.elements import frame_groups, frame_item, numbers, whole
from mrresponse.domain import Grid
from mrresponse.errors import DataError
from mrresponse.nifti import check_shape, grid_of

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

# Scanners write positions and directions with 4 to 6 decimals.
_DIRECTION_TOLERANCE = 1e-3
# Some write directions with two decimals.
_UNIT_TOLERANCE = 0.03
_SAME_POSITION_MM = 0.01
# A gap this much above the smallest one is a slice that is not there; less than that is an uneven stack.
_MISSING_FACTOR = 1.5
_GAP_TOLERANCE = 0.05
_OFFSET_TOLERANCE_MM = 0.5
_LPS_TO_RAS = np.array([-1.0, -1.0, 1.0])

# Where each of spacing, orientation and position stands in a multi-frame file (PS3.3 C.7.6.16.2).
_PLACE_TAGS = (
    ("PixelMeasuresSequence", "PixelSpacing", 2),
    ("PlaneOrientationSequence", "ImageOrientationPatient", 6),
    ("PlanePositionSequence", "ImagePositionPatient", 3),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class SliceGeometry:
    """Where one slice lies: LPS+ mm as in the header."""

    rows: int
    columns: int
    spacing_mm: tuple[float, float]
    orientation: tuple[float, ...]
    position_mm: tuple[float, ...]

    @property
    def size(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.rows, self.columns

    @property
    def normal(self) -> npt.NDArray[np.float64]:
        """Direction across the slices."""
        return np.cross(self.orientation[:3], self.orientation[3:])

    @property
    def along_normal_mm(self) -> float:
        """Position of the slice across the stack."""
        return float(np.dot(self.normal, self.position_mm))


def slice_geometry(header: "Dataset", *, frame: int | None = None) -> SliceGeometry | None:
    """Return where a slice, or a frame of a multi-frame file, lies; ``None`` where the header does not say it."""
    rows, columns = whole(header, "Rows"), whole(header, "Columns")
    groups = None if frame is None else frame_groups(header, frame)
    found: list[tuple[float, ...]] = []
    for sequence, name, count in _PLACE_TAGS:
        values = numbers(header if groups is None else frame_item(groups, sequence), name)
        if values is None or len(values) != count or not np.isfinite(values).all():
            return None
        found.append(values)
    if rows is None or columns is None:
        return None
    spacing, orientation, position = found
    return SliceGeometry(
        rows=rows,
        columns=columns,
        spacing_mm=(spacing[0], spacing[1]),
        orientation=orientation,
        position_mm=position,
    )


def stack_order(slices: Sequence[SliceGeometry]) -> tuple[tuple[int, ...], Grid]:
    """Return the order of slices along their normal and the grid of the volume they make.

    Raises
    ------
    DataError
        ``mixed_orientation``, ``mixed_size``, ``not_3d``, ``duplicate_slices``, ``missing_slice``,
        ``uneven_slices``, ``bad_spacing``, ``no_orientation``.
    """
    _check_alike(slices)
    check_shape((slices[0].columns, slices[0].rows, len(slices)))
    order = tuple(sorted(range(len(slices)), key=lambda index: slices[index].along_normal_mm))
    ordered = [slices[index] for index in order]
    _check_gaps(np.diff([item.along_normal_mm for item in ordered]))
    positions = np.array([item.position_mm for item in ordered])
    step = (positions[-1] - positions[0]) / (len(ordered) - 1)
    offsets = positions - positions[0] - np.arange(len(ordered))[:, None] * step
    if np.abs(offsets).max() > _OFFSET_TOLERANCE_MM:
        raise DataError(
            f"a slice lies {np.abs(offsets).max():.1f} mm off the line through the stack, expected at most "
            f"{_OFFSET_TOLERANCE_MM:g} mm",
            code="uneven_slices",
        )
    first = ordered[0]
    affine = np.eye(4)
    affine[:3, 0] = np.multiply(first.orientation[:3], first.spacing_mm[1]) * _LPS_TO_RAS
    affine[:3, 1] = np.multiply(first.orientation[3:], first.spacing_mm[0]) * _LPS_TO_RAS
    affine[:3, 2] = step * _LPS_TO_RAS
    affine[:3, 3] = positions[0] * _LPS_TO_RAS
    return order, grid_of((first.columns, first.rows, len(ordered)), affine)


def _check_directions(first: SliceGeometry) -> None:
    """Refuse what would make every size wrong: a spacing that is not above 0, or axes that are no directions."""
    if min(first.spacing_mm) <= 0:
        raise DataError(
            f"pixel spacing is {first.spacing_mm[0]:g} x {first.spacing_mm[1]:g} mm, expected 0.05 to 50 mm",
            code="bad_spacing",
        )
    row, column = np.array(first.orientation[:3]), np.array(first.orientation[3:])
    products = np.array([row @ row, column @ column, row @ column])
    if not np.allclose(products, [1.0, 1.0, 0.0], rtol=0, atol=_UNIT_TOLERANCE):
        raise DataError(
            "directions of rows and columns are not two perpendicular ones of length 1, expected those of the image",
            code="no_orientation",
        )


def _check_alike(slices: Sequence[SliceGeometry]) -> None:
    first = slices[0]
    _check_directions(first)
    count = len(slices)
    turned = sum(
        not np.allclose(item.orientation, first.orientation, rtol=0, atol=_DIRECTION_TOLERANCE)
        for item in slices
    )
    if turned:
        raise DataError(
            f"mixed orientations: {turned} of {count} slices lie otherwise than the first, expected one orientation",
            code="mixed_orientation",
        )
    sizes = sorted({f"{item.rows}x{item.columns}" for item in slices})
    spacings = sorted({item.spacing_mm for item in slices})
    if len(sizes) > 1:
        raise DataError(f"slices of {' and '.join(sizes)} pixels, expected one size", code="mixed_size")
    if not np.allclose(spacings, spacings[0], rtol=1e-3):
        raise DataError(
            f"pixel spacings from {spacings[0]} to {spacings[-1]} mm, expected one spacing", code="mixed_size"
        )


def _check_gaps(gaps: npt.NDArray[np.float64]) -> None:
    twice = int((gaps < _SAME_POSITION_MM).sum())
    if twice:
        raise DataError(
            f"{twice} slices lie where another one lies, expected each once", code="duplicate_slices"
        )
    expected = float(gaps.min())
    wide = np.flatnonzero(gaps > _MISSING_FACTOR * expected)
    if wide.size:
        raise DataError(
            f"slice missing: gap of {gaps[wide[0]]:.2f} mm after slice {wide[0] + 1} of {gaps.size + 1}, expected "
            f"{expected:.2f} mm",
            code="missing_slice",
        )
    if float(gaps.max()) > expected * (1 + _GAP_TOLERANCE) + _SAME_POSITION_MM:
        raise DataError(
            f"uneven slices: gaps from {expected:.2f} to {gaps.max():.2f} mm, expected one",
            code="uneven_slices",
        )
