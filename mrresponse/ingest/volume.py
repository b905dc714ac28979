"""Slices of one DICOM series become one volume on a regular grid, or an error that says why not.

Voxels are indexed ``[i, j, k]`` = column, row, slice; the slices run along the normal of the image plane, and the world
is RAS+ mm (DICOM's own is LPS+).
"""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from mrresponse.domain import Grid, Image
from mrresponse.errors import DataError
from mrresponse.nifti import check_shape, grid_of

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

# Scanners write positions and directions with 4 to 6 decimals.
_DIRECTION_TOLERANCE = 1e-3
_SAME_POSITION_MM = 0.01
# A gap this much above the smallest one is a slice that is not there; less than that is an uneven stack.
_MISSING_FACTOR = 1.5
_GAP_TOLERANCE = 0.05
_OFFSET_TOLERANCE_MM = 0.5
_LPS_TO_RAS = np.array([-1.0, -1.0, 1.0])

GEOMETRY_TAGS = ("Rows", "Columns", "PixelSpacing", "ImageOrientationPatient", "ImagePositionPatient")


@dataclass(frozen=True, slots=True, kw_only=True)
class SliceGeometry:
    """Where one slice lies: LPS+ mm as in the header."""

    rows: int
    columns: int
    spacing_mm: tuple[float, float]
    orientation: tuple[float, ...]
    position_mm: tuple[float, ...]

    @property
    def normal(self) -> npt.NDArray[np.float64]:
        """Direction across the slices."""
        return np.cross(self.orientation[:3], self.orientation[3:])

    @property
    def along_normal_mm(self) -> float:
        """Position of the slice across the stack."""
        return float(np.dot(self.normal, self.position_mm))


def slice_geometry(header: "Dataset") -> SliceGeometry | None:
    """Return where a slice lies, ``None`` where the header does not say it."""
    try:
        values = [header[name].value for name in GEOMETRY_TAGS]
        rows, columns = int(values[0]), int(values[1])
        spacing, orientation, position = (tuple(float(part) for part in value) for value in values[2:])
    except (KeyError, TypeError, ValueError, AttributeError, NotImplementedError):
        return None
    if (len(spacing), len(orientation), len(position)) != (2, 6, 3):
        return None
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
        ``uneven_slices``, ``bad_spacing``.
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


def read_volume(files: Sequence[Path]) -> Image:
    """Read the slices of one series as intensities.

    Raises
    ------
    DataError
        The codes of `stack_order`; ``unreadable``, ``truncated``, ``bad_type``, ``not_finite``.
    """
    headers = []
    planes = []
    for file in files:
        header, plane = _read_slice(file)
        headers.append(header)
        planes.append(plane)
    order, grid = stack_order(headers)
    voxels = np.empty(grid.shape, dtype=np.float32)
    for k, index in enumerate(order):
        voxels[:, :, k] = planes[index].T
    bad = int(voxels.size - np.isfinite(voxels).sum())
    if bad:
        raise DataError(
            f"{bad} of {voxels.size} voxels are NaN or infinite, expected finite numbers", code="not_finite"
        )
    return Image(voxels=voxels, grid=grid)


def _read_slice(file: Path) -> tuple[SliceGeometry, npt.NDArray[np.float32]]:
    from pydicom import dcmread

    with warnings.catch_warnings():
        # The warnings repeat values of the header.
        warnings.simplefilter("ignore")
        try:
            header = dcmread(file, force=True)
        except Exception as error:
            raise _damaged(error, file) from None
        geometry = slice_geometry(header)
        if geometry is None:
            raise DataError("a slice without position, orientation or spacing", code="no_geometry", path=file)
        if int(header.get("SamplesPerPixel", 1)) != 1:
            raise DataError(
                "slices are colour images, expected one number per pixel", code="bad_type", path=file
            )
        try:
            pixels: npt.NDArray[Any] = header.pixel_array
        # Decoders of compressed pixels raise errors of their own kinds; all mean that this slice cannot be used.
        except Exception as error:
            raise _damaged(error, file) from None
    if pixels.shape != (geometry.rows, geometry.columns):
        raise DataError(
            f"a slice holds {'x'.join(map(str, pixels.shape))} pixels, expected {geometry.rows}x{geometry.columns}",
            code="truncated",
            path=file,
        )
    slope = float(header.get("RescaleSlope", 1) or 1)
    intercept = float(header.get("RescaleIntercept", 0) or 0)
    return geometry, (pixels * slope + intercept).astype(np.float32)


def _damaged(error: Exception, file: Path) -> DataError:
    return DataError(
        f"pixels of a slice are cut off, damaged or in an unknown encoding ({type(error).__name__}), expected a "
        "complete DICOM image",
        code="truncated",
        path=file,
    )


def _check_alike(slices: Sequence[SliceGeometry]) -> None:
    first = slices[0]
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
