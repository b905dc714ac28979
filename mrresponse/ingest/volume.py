"""Slices of one DICOM series become one volume; voxels are indexed ``[i, j, k]`` = column, row, slice."""

import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from mrresponse.dicom.slices import SliceGeometry, slice_geometry, stack_order
from mrresponse.domain import Image
from mrresponse.errors import DataError
from mrresponse.ingest.pixels import intensities, opened


def read_volume(files: Sequence[Path], frames: Sequence[int] = ()) -> Image:
    """Read the slices of one series as intensities.

    Parameters
    ----------
    files
        File of each slice.
    frames
        Frame of each slice, where the files are multi-frame; empty where each file is one slice.

    Raises
    ------
    DataError
        The codes of `stack_order`; ``unreadable``, ``truncated``, ``bad_type``, ``too_large``, ``not_finite``.
    """
    if frames:
        wanted: dict[Path, list[int]] = {}
        for file, frame in zip(files, frames, strict=True):
            wanted.setdefault(file, []).append(frame)
        slices = [item for file, members in wanted.items() for item in _read_frames(file, members)]
    else:
        slices = [_read_slice(file) for file in files]
    order, grid = stack_order([geometry for geometry, _ in slices])
    voxels = np.empty(grid.shape, dtype=np.float32)
    for k, index in enumerate(order):
        voxels[:, :, k] = slices[index][1].T
    bad = int(voxels.size - np.isfinite(voxels).sum())
    if bad:
        raise DataError(
            f"{bad} of {voxels.size} voxels are NaN or infinite, expected finite numbers", code="not_finite"
        )
    return Image(voxels=voxels, grid=grid)


def _read_slice(file: Path) -> tuple[SliceGeometry, npt.NDArray[np.float32]]:
    with warnings.catch_warnings():
        # The warnings repeat values of the header.
        warnings.simplefilter("ignore")
        header = opened(file)
        geometry = slice_geometry(header)
        if geometry is None:
            raise DataError("a slice without position, orientation or spacing", code="no_geometry", path=file)
        return geometry, intensities(header, geometry.size, None, file)


def _read_frames(file: Path, frames: Sequence[int]) -> list[tuple[SliceGeometry, npt.NDArray[np.float32]]]:
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
            found.append((geometry, intensities(header, geometry.size, frame, file)))
        return found
