"""Read and write volumes as NIfTI-1 files.

Files are parsed here from their bytes, with nibabel for the header only: its loader repairs a zero spacing silently,
and a volume is to be refused before memory is taken for it. World matrices are kept at the precision of the format
(float32), so a mask written for an image has exactly the image's grid.
"""

import gzip
import itertools
import math
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from mrresponse.domain import Grid, Image, LabelMap
from mrresponse.errors import DataError
from mrresponse.files import write_atomically

_GZIP_MAGIC = b"\x1f\x8b"
_GZIP_OS_BYTE = 9
_HEADER_BYTES = {1: 348, 2: 540}
_COMPRESSION = 4
# A torso at 0.7 mm isotropic has about 250 million voxels.
_MOST_VOXELS = 500_000_000
# The same as float32.
_MOST_BYTES = 4 * _MOST_VOXELS
# Extensions of a header (DICOM headers, histories) take kilobytes.
_MOST_HEADER_BYTES = 1 << 24
_MOST_BYTES_BEHIND = 1 << 24
# gzip packs noise by a third, an image with a black border by ten, and nothing but zeros by a thousand.
_BOMB_BYTES = 1 << 28
_BOMB_RATIO = 500
# Clinical MR of the liver has 0.5 to 10 mm; a value outside says that the unit is not the millimetre.
_SPACING_RANGE_MM = (0.05, 50.0)
_MOST_LABEL = 65535
# Matrices are float32 and some programs write spacings with three digits.
_SAME_SPACING = 0.01
# How far apart two matrices may place a corner of the volume; the rounding of quaternions makes 0.2 mm in 400.
_SAME_PLACE_MM = 1.0


@dataclass(frozen=True, slots=True)
class _Header:
    """What is needed of a NIfTI header."""

    grid: Grid
    dtype: np.dtype[Any]
    offset: int
    slope: float
    intercept: float


def read_grid(path: Path) -> Grid:
    """Read the shape and the world matrix of a NIfTI file, header only.

    Raises
    ------
    DataError
        ``unreadable``, ``not_3d``, ``too_large``, ``bad_type``, ``bad_spacing``, ``no_orientation``; ``not_finite`` for
        a scaling that is stated by half.
    """
    with _opened(path) as file:
        return _read_header(file, path).grid


def read_image(path: Path) -> Image:
    """Read a NIfTI file as intensities, in the order of the file.

    Raises
    ------
    DataError
        The codes of `read_grid`; ``truncated``; ``not_finite`` for NaN or infinite voxels.
    """
    header, voxels = _read_voxels(path, is_image=True)
    with np.errstate(over="ignore", invalid="ignore"):
        intensities = np.ascontiguousarray(voxels, dtype=np.float32)
        if (header.slope, header.intercept) != (1.0, 0.0):
            intensities = np.ascontiguousarray(voxels * header.slope + header.intercept, dtype=np.float32)
    bad = int(intensities.size - np.isfinite(intensities).sum())
    if bad:
        raise DataError(
            f"{bad} of {intensities.size} voxels are NaN or infinite, expected finite numbers",
            code="not_finite",
            path=path,
        )
    return Image(voxels=intensities, grid=header.grid)


def read_label_map(path: Path) -> LabelMap:
    """Read a NIfTI file as labels, in the order of the file.

    Raises
    ------
    DataError
        The codes of `read_grid`; ``truncated``; ``bad_label`` for a voxel that is not a whole number from 0 to 65535.
    """
    header, voxels = _read_voxels(path, is_image=False)
    with np.errstate(over="ignore", invalid="ignore"):
        is_plain = (header.slope, header.intercept) == (1.0, 0.0)
        scaled = voxels if is_plain else _unrounded(voxels * header.slope + header.intercept)
        labels = np.ascontiguousarray(scaled.astype(np.uint16))
    wrong = labels != scaled
    if wrong.any():
        found = float(scaled[wrong][0])
        raise DataError(
            f"label {found:g} in a mask, expected whole numbers from 0 to {_MOST_LABEL}",
            code="bad_label",
            path=path,
        )
    return LabelMap(voxels=labels, grid=header.grid)


def _unrounded(scaled: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return scaled labels whole where only the slope's own rounding to float32 parts them from it."""
    whole = np.rint(scaled)
    return np.where(np.isclose(scaled, whole, rtol=1e-6, atol=1e-6), whole, scaled)


def write_image(path: Path, image: Image) -> None:
    """Write intensities as float32 NIfTI; the same content gives the same bytes."""
    _write(path, np.asarray(image.voxels, dtype="<f4"), image.grid)


def write_label_map(path: Path, label_map: LabelMap) -> None:
    """Write labels as uint16 NIfTI; the same content gives the same bytes."""
    _write(path, np.asarray(label_map.voxels, dtype="<u2"), label_map.grid)


def grid_of(shape: tuple[int, int, int], affine: npt.NDArray[np.float64]) -> Grid:
    """Make a grid whose world matrix has the precision of a NIfTI file.

    Raises
    ------
    DataError
        ``bad_spacing``: spacing zero, absurd or not finite, or axes that do not span the space.
    """
    kept = affine[:3].astype(np.float32).astype(np.float64)
    spacing = np.linalg.norm(kept[:, :3], axis=0)
    smallest, largest = _SPACING_RANGE_MM
    if not np.isfinite(kept).all() or (spacing < smallest).any() or (spacing > largest).any():
        raise _bad_spacing(spacing)
    # The volume of the unit cube of directions: 1 where the axes are perpendicular.
    if abs(np.linalg.det(kept[:, :3] / spacing)) < 0.1:
        raise DataError("voxel axes are parallel, expected three directions", code="bad_spacing")
    rows = tuple(tuple(float(value) for value in row) for row in kept)
    return Grid(shape=shape, affine_rows=rows)


def check_shape(shape: tuple[int, ...]) -> tuple[int, int, int]:
    """Return a shape as that of a volume.

    Raises
    ------
    DataError
        ``not_3d`` or ``too_large``.
    """
    found = "x".join(str(size) for size in shape)
    if len(shape) < 3 or any(size != 1 for size in shape[3:]) or any(size < 2 for size in shape[:3]):
        raise DataError(f"image is {found} voxels, expected one volume of several slices", code="not_3d")
    if math.prod(shape) > _MOST_VOXELS:
        raise DataError(f"image is {found} voxels, expected at most {_MOST_VOXELS} in all", code="too_large")
    return int(shape[0]), int(shape[1]), int(shape[2])


def is_nifti(path: Path) -> bool:
    """Tell whether a file begins like NIfTI, whatever its name; an unreadable file does not."""
    try:
        with path.open("rb") as file:
            start = file.read(4)
            if start[:2] == _GZIP_MAGIC:
                file.seek(0)
                with gzip.open(file) as inner:
                    start = inner.read(4)
    except (OSError, EOFError, zlib.error):
        return path.name.endswith((".nii", ".nii.gz"))
    sizes = set(_HEADER_BYTES.values())
    return int.from_bytes(start, "little") in sizes or int.from_bytes(start, "big") in sizes


def _opened(path: Path) -> BinaryIO:
    try:
        with path.open("rb") as file:
            compressed = file.read(2) == _GZIP_MAGIC
        return gzip.open(path, "rb") if compressed else path.open("rb")  # type: ignore[return-value]
    except OSError as error:
        raise DataError(f"file cannot be opened ({error.strerror})", code="unreadable", path=path) from None


def _read_header(file: BinaryIO, path: Path) -> _Header:
    from nibabel.nifti1 import Nifti1Header
    from nibabel.nifti2 import Nifti2Header
    from nibabel.spatialimages import HeaderDataError

    try:
        start = _read_exactly(file, 4, path)
        size = int.from_bytes(start, "little")
        if size not in _HEADER_BYTES.values():
            size = int.from_bytes(start, "big")
        if size not in _HEADER_BYTES.values():
            raise DataError("file is not NIfTI, expected .nii or .nii.gz", code="unreadable", path=path)
        block = start + _read_exactly(file, size - 4, path)
        kind = Nifti1Header if size == _HEADER_BYTES[1] else Nifti2Header
        header = kind(block, check=False)
        if bytes(header["magic"].item())[1:2] != b"+":
            raise DataError(
                "header and voxels lie in two files, expected one .nii or .nii.gz",
                code="unreadable",
                path=path,
            )
        grid = _grid(header)
        dtype = _voxel_type(header)
        slope, intercept = _scaling(float(header["scl_slope"]), float(header["scl_inter"]))
        offset = _offset(int(header["vox_offset"]) or size + 4, size)
    except (HeaderDataError, ValueError, KeyError, OverflowError):
        raise DataError(
            "NIfTI header is damaged, expected a valid header", code="unreadable", path=path
        ) from None
    except DataError as error:
        error.path = path
        raise
    return _Header(grid, dtype, offset, slope, intercept)


def _scaling(slope: float, intercept: float) -> tuple[float, float]:
    """Return what stored values are multiplied by, and what is added then.

    A slope of 0 says that they are as they are, whatever the intercept (nifti1.h); so does, as for nibabel, a NaN. What
    states half of a scaling is refused: the numbers would be others than were meant.
    """
    if slope == 0.0 or (math.isnan(slope) and (math.isnan(intercept) or intercept == 0.0)):
        return 1.0, 0.0
    if not (math.isfinite(slope) and math.isfinite(intercept)):
        raise DataError(
            f"voxels are scaled by {slope:g} and moved by {intercept:g} (scl_slope and scl_inter), expected two "
            "finite numbers, or a slope of 0",
            code="not_finite",
        )
    return slope, intercept


def _offset(found: int, header_bytes: int) -> int:
    if not header_bytes <= found <= _MOST_HEADER_BYTES:
        raise DataError(
            f"voxels begin at byte {found}, expected {header_bytes} to {_MOST_HEADER_BYTES}",
            code="unreadable",
        )
    return found


def _grid(header: Any) -> Grid:
    dimensions = int(header["dim"][0])
    if not 1 <= dimensions <= 7:
        raise DataError(f"image has {dimensions} dimensions, expected 3", code="not_3d")
    shape = check_shape(tuple(int(size) for size in header["dim"][1 : dimensions + 1]))
    spacing = np.asarray(header["pixdim"][1:4], dtype=np.float64)
    if not np.isfinite(spacing).all() or (spacing <= 0).any():
        raise _bad_spacing(spacing)
    if int(header["sform_code"]) <= 0 and int(header["qform_code"]) <= 0:
        raise DataError("file states no orientation, expected a qform or sform matrix", code="no_orientation")
    grid = grid_of(shape, np.asarray(header.get_best_affine(), dtype=np.float64))
    _check_agreement(header, grid, spacing)
    return grid


def _check_agreement(header: Any, grid: Grid, spacing: npt.NDArray[np.float64]) -> None:
    """Refuse a file whose places are stated twice and differently: programs differ in which of them they believe.

    An sform may lead into an atlas, where nothing has its true size, or to another image; a mask that a reader draws in
    a program that believes the qform lies elsewhere then.
    """
    if not np.allclose(grid.spacing_mm, spacing, rtol=_SAME_SPACING):
        found = " and ".join(
            " x ".join(f"{step:.4g}" for step in steps) for steps in (grid.spacing_mm, spacing)
        )
        raise DataError(
            f"voxel spacing is {found} mm by the sform matrix and by pixdim, expected one", code="bad_spacing"
        )
    qform = header.get_qform(coded=True)[0]
    if qform is None:
        return
    corners = np.array([*itertools.product(*((0, size - 1) for size in grid.shape))]) * grid.spacing_mm
    turned = qform[:3, :3] / np.linalg.norm(qform[:3, :3], axis=0)
    apart_mm = min(
        float(
            np.linalg.norm(
                corners @ (directions - turned).T + grid.affine[:3, 3] - qform[:3, 3], axis=1
            ).max()
        )
        for directions in _as_rotations(grid.affine[:3, :3] / grid.spacing_mm)
    )
    # so that a NaN is refused too
    if not apart_mm <= _SAME_PLACE_MM:
        raise DataError(
            f"sform and qform matrices place a corner of the volume {apart_mm:.1f} mm apart, expected at most "
            f"{_SAME_PLACE_MM:g} mm; set the code of the wrong one to 0",
            code="no_orientation",
        )


def _as_rotations(directions: npt.NDArray[np.float64]) -> tuple[npt.NDArray[np.float64], ...]:
    """Return the directions that a qform may state for the axes of an sform.

    A qform cannot hold a shear, as of slices that are not stacked along their normal. Writers state the nearest
    perpendicular directions, as nibabel and nifti1_io.c do, or keep two axes and give the normal for the third.
    Without a shear all are the same.
    """
    left, _, right = np.linalg.svd(directions)
    found = [left @ right]
    side = np.sign(np.linalg.det(directions))
    for first, second, third in ((0, 1, 2), (1, 2, 0), (2, 0, 1)):
        normal = side * np.cross(directions[:, first], directions[:, second])
        kept = directions.copy()
        kept[:, third] = normal / np.linalg.norm(normal)
        found.append(kept)
    return tuple(found)


def _bad_spacing(spacing: npt.NDArray[np.float64]) -> DataError:
    found = " x ".join(f"{value:g}" for value in spacing)
    smallest, largest = _SPACING_RANGE_MM
    return DataError(
        f"voxel spacing is {found} mm, expected {smallest:g} to {largest:g} mm along each axis",
        code="bad_spacing",
    )


def _voxel_type(header: Any) -> np.dtype[Any]:
    dtype: np.dtype[Any] = header.get_data_dtype()
    if dtype.kind not in "iuf":
        raise DataError("voxels are complex, colour or bits, expected one real number each", code="bad_type")
    return dtype


def _read_voxels(path: Path, *, is_image: bool) -> tuple[_Header, npt.NDArray[Any]]:
    with _opened(path) as file:
        header = _read_header(file, path)
        wanted = math.prod(header.grid.shape) * header.dtype.itemsize
        _refuse_bomb(path, wanted, is_image=is_image and isinstance(file, gzip.GzipFile))
        file.seek(0)
        _read_exactly(file, header.offset, path)
        content = _read_exactly(file, wanted, path)
        if isinstance(file, gzip.GzipFile):
            _read_to_end(file, path)
    return header, np.frombuffer(content, dtype=header.dtype).reshape(header.grid.shape, order="F")


def _refuse_bomb(path: Path, wanted: int, *, is_image: bool) -> None:
    """Refuse what would take too much memory, and small files that unpack to something huge, before unpacking them.

    A mask may be nothing but zeros; an image of that size that packs so well is none.
    """
    if wanted > _MOST_BYTES:
        raise DataError(
            f"voxels take {wanted} bytes, expected at most {_MOST_BYTES}", code="too_large", path=path
        )
    packed = path.stat().st_size
    if is_image and wanted > _BOMB_BYTES and wanted > _BOMB_RATIO * packed:
        raise DataError(
            f"{packed} bytes unpack to {wanted}, expected at most {_BOMB_RATIO} times as many",
            code="too_large",
            path=path,
        )


def _read_exactly(file: BinaryIO, wanted: int, path: Path) -> bytes:
    """Read a number of bytes, or say how many there were."""
    found = bytearray()
    try:
        while len(found) < wanted:
            part = file.read(min(wanted - len(found), 1 << 24))
            if not part:
                break
            found += part
    except (EOFError, OSError, zlib.error):
        raise DataError(
            f"compressed file is cut off or damaged after {len(found)} of {wanted} bytes",
            code="truncated",
            path=path,
        ) from None
    if len(found) < wanted:
        raise DataError(f"file ends after {len(found)} of {wanted} bytes", code="truncated", path=path)
    return bytes(found)


def _read_to_end(file: BinaryIO, path: Path) -> None:
    """Read what follows the voxels, which checks the sum that closes a compressed file."""
    behind = 0
    try:
        while part := file.read(1 << 20):
            behind += len(part)
            if behind > _MOST_BYTES_BEHIND:
                raise DataError(
                    f"more than {_MOST_BYTES_BEHIND} bytes follow the voxels, expected the end",
                    code="too_large",
                    path=path,
                )
    except (EOFError, OSError, zlib.error):
        raise DataError(
            "compressed file is cut off or damaged at its end", code="truncated", path=path
        ) from None


def _write(path: Path, voxels: npt.NDArray[Any], grid: Grid) -> None:
    from nibabel.nifti1 import Nifti1Header

    if voxels.shape != grid.shape:
        raise ValueError(f"voxels are {voxels.shape}, their grid {grid.shape}")
    header = Nifti1Header(endianness="<")
    header.set_data_dtype(voxels.dtype)
    header.set_data_shape(voxels.shape)
    header.set_xyzt_units("mm")
    header.set_qform(grid.affine, code="scanner")
    header.set_sform(grid.affine, code="scanner")
    header["vox_offset"] = _HEADER_BYTES[1] + 4
    header["scl_slope"], header["scl_inter"] = 1.0, 0.0
    header["magic"] = b"n+1"
    content = header.binaryblock + b"\0\0\0\0" + voxels.tobytes(order="F")
    if path.name.endswith(".gz"):
        packed = bytearray(gzip.compress(content, compresslevel=_COMPRESSION, mtime=0))
        packed[_GZIP_OS_BYTE] = 255
        content = bytes(packed)
    write_atomically(path, content)
