"""Slices of one DICOM series become one volume; voxels are indexed ``[i, j, k]`` = column, row, slice."""

import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from mrresponse.dicom.slices import SliceGeometry, slice_geometry, stack_order
from mrresponse.domain import Image, Series
from mrresponse.errors import DataError
from mrresponse.ingest.pixels import check_inflated_size, has_private_slope, intensities, opened

if TYPE_CHECKING:
    from pydicom.dataset import Dataset


@dataclass(frozen=True, slots=True, kw_only=True)
class _Slice:
    """One slice read: where it lies, its intensities, and whether Philips' own scale slope was taken out of them."""

    geometry: SliceGeometry
    intensities: npt.NDArray[np.float32]
    has_private_slope: bool


def read_volume(files: Sequence[Path], frames: Sequence[int] = ()) -> Image:
    """Read the slices of one series as intensities; parameters and errors are those of `read_scaled`."""
    return read_scaled(files, frames)[0]


def read_scaled(files: Sequence[Path], frames: Sequence[int] = ()) -> tuple[Image, bool]:
    """Read the slices of one series as intensities, and whether Philips' own scale slope was taken out of them.

    With the slope the intensities are those that the scanner reconstructed, without it those that it displays: the two
    differ by a factor that only the slope tells.

    Parameters
    ----------
    files
        File of each slice.
    frames
        Frame of each slice, where the files are multi-frame; empty where each file is one slice.

    Raises
    ------
    DataError
        The codes of `stack_order`; ``unreadable``, ``truncated``, ``bad_type``, ``too_large``, ``not_finite``;
        ``mixed_scale`` where some of the slices state Philips' own scale slope.
    """
    if frames:
        wanted: dict[Path, list[int]] = {}
        for file, frame in zip(files, frames, strict=True):
            wanted.setdefault(file, []).append(frame)
        slices = [item for file, members in wanted.items() for item in _read_frames(file, members)]
    else:
        slices = [_read_slice(file) for file in files]
    order, grid = stack_order([item.geometry for item in slices])
    with_slope = sum(item.has_private_slope for item in slices)
    if with_slope not in (0, len(slices)):
        raise DataError(
            f"{with_slope} of {len(slices)} slices state Philips' own scale slope (2005,100E), expected it in all "
            "or in none: their grey values differ in gain",
            code="mixed_scale",
        )
    voxels = np.empty(grid.shape, dtype=np.float32)
    for k, index in enumerate(order):
        voxels[:, :, k] = slices[index].intensities.T
    bad = int(voxels.size - np.isfinite(voxels).sum())
    if bad:
        raise DataError(
            f"{bad} of {voxels.size} voxels are NaN or infinite, expected finite numbers", code="not_finite"
        )
    return Image(voxels=voxels, grid=grid), with_slope > 0


def state_private_slope(series: Iterable[Series]) -> list[bool | None]:
    """Tell of each series whether its first slice states Philips' own scale slope.

    Headers only are read. ``None`` is what is no DICOM, or damaged: reading the volume says that better.
    """
    headers: dict[Path, Dataset | None] = {}
    stated = []
    for one in series:
        file = next(iter(one.files), None)
        if file is not None and file not in headers:
            headers[file] = _header(file)
        header = headers[file] if file is not None else None
        frame = next(iter(one.frames), None)
        stated.append(None if header is None else has_private_slope(header, frame))
    return stated


def _header(file: Path) -> "Dataset | None":
    from pydicom import dcmread

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            check_inflated_size(file)
            return dcmread(file, stop_before_pixels=True, force=True)
        # pydicom raises many kinds of errors on damaged files
        except Exception:
            return None


def _read_slice(file: Path) -> _Slice:
    with warnings.catch_warnings():
        # The warnings repeat values of the header.
        warnings.simplefilter("ignore")
        header = opened(file)
        geometry = slice_geometry(header)
        if geometry is None:
            raise DataError("a slice without position, orientation or spacing", code="no_geometry", path=file)
        return _slice(header, geometry, None, file)


def _read_frames(file: Path, frames: Sequence[int]) -> list[_Slice]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        header = opened(file)
        found = []
        for frame in frames:
            geometry = slice_geometry(header, frame=frame)
            if geometry is None:
                raise DataError(
                    f"frame {frame + 1} without position, orientation or spacing",
                    code="no_geometry",
                    path=file,
                )
            found.append(_slice(header, geometry, frame, file))
        return found


def _slice(header: "Dataset", geometry: SliceGeometry, frame: int | None, file: Path) -> _Slice:
    return _Slice(
        geometry=geometry,
        intensities=intensities(header, geometry.size, frame, file),
        has_private_slope=has_private_slope(header, frame),
    )
