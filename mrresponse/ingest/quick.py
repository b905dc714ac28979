"""The plain elements of a DICOM header, found several times faster than by pydicom.

A tree of 50,000 files takes pydicom more than a minute. Most files are alike: explicit VR, little endian, what is
wanted within the first kilobytes. Only those are read here; anything else gives ``None`` and pydicom reads it. Values
are handed on as pydicom's own raw elements, so what they mean is decided in one place.
"""

import struct
from collections.abc import Container
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

_START_BYTES = 24 * 1024
_PREAMBLE_BYTES = 128
_SYNTAX, _META_GROUP = 0x00020010, 0x0002
_IMPLICIT, _BIG_ENDIAN, _DEFLATED = (
    b"1.2.840.10008.1.2",
    b"1.2.840.10008.1.2.2",
    b"1.2.840.10008.1.2.1.99",
)
# These have a length of four bytes (PS3.5 table 7.1-1).
_LONG = frozenset((b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"))
_UNDEFINED = 0xFFFFFFFF
# The geometry of a slice is in group 0028; what stands behind it is not wanted of a file of one slice.
_LAST_GROUP = 0x0028
_HEAD = struct.Struct("<HH2sH")
_LENGTH = struct.Struct("<L")


def quick_header(path: Path, wanted: Container[int]) -> "Dataset | None":
    """Return the wanted elements up to group 0028, ``None`` where the file is not a plain one."""
    with path.open("rb") as file:
        start = file.read(_START_BYTES)
    if start[_PREAMBLE_BYTES : _PREAMBLE_BYTES + 4] != b"DICM":
        return None
    found: dict[int, tuple[str, bytes]] = {}
    at, end = _PREAMBLE_BYTES + 4, len(start)
    syntax = b""
    while at + 8 <= end:
        group, element, kind, length = _HEAD.unpack_from(start, at)
        at += 8
        if kind in _LONG:
            if at + 4 > end:
                return None
            (length,) = _LENGTH.unpack_from(start, at)
            at += 4
        if group > _LAST_GROUP:
            return _dataset(found)
        if length == _UNDEFINED or at + length > end or not kind.isalpha():
            return None
        tag = group << 16 | element
        if tag == _SYNTAX:
            syntax = start[at : at + length].rstrip(b" \0")
        if group != _META_GROUP and syntax in (b"", _IMPLICIT, _BIG_ENDIAN, _DEFLATED):
            return None
        if tag in wanted:
            found[tag] = kind.decode("ascii"), start[at : at + length]
        at += length
    return None


def _dataset(found: dict[int, tuple[str, bytes]]) -> "Dataset":
    from pydicom.dataelem import RawDataElement
    from pydicom.dataset import Dataset
    from pydicom.tag import BaseTag

    return Dataset(
        {
            BaseTag(tag): RawDataElement(BaseTag(tag), kind, len(content), content, 0, False, True)
            for tag, (kind, content) in found.items()
        }
    )
