"""Pixels of one slice, decoded and rescaled; nothing is decoded that states an absurd size."""

import struct
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from mrresponse.dicom.elements import frame_groups, frame_item, number, text, whole
from mrresponse.errors import DataError

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

_PREAMBLE_AND_MAGIC = 132
_DEFLATED = "1.2.840.10008.1.2.1.99"
# Headers and pixels of one deflated file; a whole enhanced examination is smaller.
_MOST_INFLATED = 512 * 1024**2
# One slice of liver MRI has at most 1024 x 1024 pixels.
_MOST_PIXELS = 8192 * 8192
# JPEG SOF0 to SOF15 without DHT, JPG and DAC (ISO 10918-1 B.1.1.3); SOF55 is JPEG-LS.
_FRAME_MARKERS = frozenset({*range(0xC0, 0xD0), 0xF7} - {0xC4, 0xC8, 0xCC})
_PHILIPS_CREATORS = ("Philips MR Imaging DD 001", "Philips MR Imaging DD 005", "PHILIPS MR IMAGING DD 001")
# Philips keeps what a classic slice says in private elements of a sequence of each frame.
_PHILIPS_FRAME = (0x2005, 0x140F)


def opened(file: Path) -> "Dataset":
    """Read a file whole; its pixels are not decoded yet."""
    from pydicom import dcmread

    try:
        check_inflated_size(file)
        header = dcmread(file, force=True)
    except Exception as error:
        raise damaged(error, file) from None
    rows, columns = whole(header, "Rows") or 0, whole(header, "Columns") or 0
    if rows * columns > _MOST_PIXELS:
        raise DataError(f"a slice of {rows}x{columns} pixels, expected an image", code="too_large", path=file)
    if (whole(header, "SamplesPerPixel") or 1) != 1:
        raise DataError("slices are colour images, expected one number per pixel", code="bad_type", path=file)
    shown = text(header, "PhotometricInterpretation")
    if shown not in ("", "MONOCHROME2"):
        # of a palette the numbers are indices, of MONOCHROME1 the bright is dark
        found = "inverted" if shown == "MONOCHROME1" else "colour"
        raise DataError(f"slices are {found} images, expected MONOCHROME2", code="bad_type", path=file)
    return header


def intensities(
    header: "Dataset", size: tuple[int, int], frame: int | None, file: Path
) -> npt.NDArray[np.float32]:
    """Decode the pixels of one slice or frame and rescale them."""
    try:
        if header.file_meta.TransferSyntaxUID.is_encapsulated:
            _check_code_stream(header, size, frame or 0)
        pixels: npt.NDArray[Any]
        if frame is None:
            pixels = header.pixel_array
        else:
            from pydicom.pixels import pixel_array

            pixels = pixel_array(header, index=frame)
    # Decoders of compressed pixels raise errors of their own kinds; all mean that this slice cannot be used.
    except Exception as error:
        raise damaged(error, file) from None
    if pixels.shape != size:
        found = "x".join(map(str, pixels.shape))
        raise DataError(
            f"a slice holds {found} pixels, expected {size[0]}x{size[1]}",
            code="truncated",
            path=file,
        )
    try:
        factor, offset = _scaling(header, frame)
    except DataError as error:
        error.path = file
        raise
    return (pixels * factor + offset).astype(np.float32)


def has_private_slope(header: "Dataset", frame: int | None) -> bool:
    """Tell whether a slice or frame states Philips' own scale slope."""
    return _philips_slope(header, () if frame is None else frame_groups(header, frame)) is not None


def _scaling(header: "Dataset", frame: int | None) -> tuple[float, float]:
    """Return factor and offset from stored values to intensities.

    Philips writes its own scale slope SS beside the rescale slope RS and intercept RI: display values RS x + RI differ
    in gain from series to series, (RS x + RI) / (RS SS) do not (Chenevert et al., Transl Oncol 2014;7:65).
    """
    groups = () if frame is None else frame_groups(header, frame)
    rescale = header if frame is None else frame_item(groups, "PixelValueTransformationSequence")
    slope = _stated(rescale, "RescaleSlope") or 1.0
    intercept = _stated(rescale, "RescaleIntercept") or 0.0
    private = _philips_slope(header, groups)
    if private is None:
        return slope, intercept
    return 1.0 / private, intercept / (slope * private)


def _stated(rescale: "Dataset | None", name: str) -> float | None:
    """Return a part of the scaling, ``None`` where it is absent; without it, series would differ in gain."""
    found = number(rescale, name)
    if found is None and text(rescale, name):
        raise DataError(
            f"{name} is {text(rescale, name)!r}, expected a number with a dot as decimal sign",
            code="bad_value",
        )
    return found


def _philips_slope(header: "Dataset", groups: "Sequence[Dataset]") -> float | None:
    """Return Philips' scale slope (2005,xx0E) of a slice or frame, where there is one."""
    nested = frame_item(groups, _PHILIPS_FRAME) if groups else None
    for place in (nested, header):
        if place is None:
            continue
        for creator in _PHILIPS_CREATORS:
            try:
                stored = place.private_block(0x2005, creator)[0x0E].value
                # archives that do not know a private element pass on its four bytes without their type
                found = float(struct.unpack("<f", stored)[0] if isinstance(stored, bytes) else stored)
            except (KeyError, ValueError, TypeError, AttributeError, struct.error):
                continue
            if np.isfinite(found) and found > 0:
                return found
    return None


def _check_code_stream(header: "Dataset", size: tuple[int, int], frame: int) -> None:
    """Refuse a compressed slice that states another size inside than its header does: decoders believe the inner one.

    Raises
    ------
    ValueError
        The sizes differ.
    """
    from pydicom.encaps import get_frame

    frames = whole(header, "NumberOfFrames") or 1
    stated = _code_stream_size(get_frame(header.PixelData, frame, number_of_frames=frames))
    if stated is not None and stated != size:
        raise ValueError(f"compressed image of {stated[0]}x{stated[1]} pixels")


def _code_stream_size(frame: bytes) -> tuple[int, int] | None:
    """Return rows and columns that a JPEG, JPEG-LS or JPEG 2000 image states, ``None`` where it is none of them."""
    if frame[:4] == b"\xff\x4f\xff\x51":
        # JPEG 2000 (ISO 15444-1 A.5.1): SIZ follows SOC; extent minus offset.
        right, bottom, left, top = (int.from_bytes(frame[at : at + 4], "big") for at in (8, 12, 16, 20))
        return bottom - top, right - left
    if frame[:2] != b"\xff\xd8":
        return None
    at = 2
    while at + 9 < len(frame) and frame[at] == 0xFF:
        kind, length = frame[at + 1], int.from_bytes(frame[at + 2 : at + 4], "big")
        if kind in _FRAME_MARKERS:
            return int.from_bytes(frame[at + 5 : at + 7], "big"), int.from_bytes(
                frame[at + 7 : at + 9], "big"
            )
        at += 2 + length
    return None


def damaged(error: Exception, file: Path) -> DataError:
    return DataError(
        f"pixels of a slice are cut off, damaged or in an unknown encoding ({type(error).__name__}), expected a "
        "complete DICOM image",
        code="truncated",
        path=file,
    )


def check_inflated_size(path: Path) -> None:
    """Refuse a deflated file that would fill the memory; pydicom inflates the whole of it.

    Raises
    ------
    ValueError
        The content is larger than any examination.
    """
    with path.open("rb") as file:
        start = file.read(1024)
        if _DEFLATED.encode() not in start:
            return
        from pydicom.filereader import read_file_meta_info

        # The length of the group says where it ends: preamble, magic, its own element of 12 bytes.
        file.seek(_PREAMBLE_AND_MAGIC + 12 + int(read_file_meta_info(path)[0x0002, 0x0000].value))
        inflate = zlib.decompressobj(-zlib.MAX_WBITS)
        size = 0
        while block := file.read(1024):
            size += len(inflate.decompress(block))
            if size > _MOST_INFLATED:
                raise ValueError("deflated file too large")
