"""Values of DICOM elements, read leniently: ``None`` or an empty text where one is absent or cannot be read."""

from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pydicom.dataset import Dataset
    from pydicom.tag import BaseTag

# Numbers that are not written as text.
_BINARY = frozenset(
    {
        "Rows", "Columns", "DiffusionBValue", "EffectiveEchoTime", "TemporalPositionIndex", "FrameAcquisitionNumber",
        "NominalCardiacTriggerDelayTime", "SamplesPerPixel",
    }
)  # fmt: skip


_ESCAPE = b"\x1b"
_SHORT_BYTES = 2


def value(dataset: "Dataset | None", name: str) -> Any:
    """Return the value of an element as pydicom converts it."""
    if dataset is None:
        return None
    try:
        return dataset[_tag(name)].value
    except (ValueError, TypeError, KeyError, NotImplementedError, OverflowError):
        return None


def decoded(dataset: "Dataset | None", name: str) -> str:
    """Return free text, in the character set of the file."""
    raw = None if dataset is None else dataset.get_item(_tag(name))
    plain = None if raw is None else raw.value
    # ASCII means itself in every character set but behind an escape sequence (PS3.5 6.1.2.5).
    if isinstance(plain, bytes) and plain.isascii() and _ESCAPE not in plain:
        return plain.decode("ascii").strip(" \0")
    found = value(dataset, name)
    return "" if found is None else str(found).strip().strip("\0")


def text(dataset: "Dataset | None", name: str) -> str:
    """Return the text of an element whose letters are ASCII in every character set.

    pydicom checks and converts each value when it is asked for, which takes longer than reading the file; these texts
    are taken as they are.
    """
    element = None if dataset is None else dataset.get_item(_tag(name))
    found = None if element is None else element.value
    if isinstance(found, bytes):
        return found.decode("ascii", "replace").strip(" \0")
    if isinstance(found, Sequence) and not isinstance(found, str):
        return "\\".join(map(str, found))
    return "" if found is None else str(found).strip()


def parts(dataset: "Dataset | None", name: str) -> tuple[str, ...]:
    """Return the parts of a text with several values."""
    found = text(dataset, name)
    return tuple(part.strip() for part in found.split("\\")) if found else ()


def number(dataset: "Dataset | None", name: str) -> float | None:
    """Return a number."""
    found = _binary(dataset, name) if name in _BINARY else text(dataset, name)
    try:
        return None if found in (None, "") else float(found)
    except (ValueError, TypeError):
        return None


def _binary(dataset: "Dataset | None", name: str) -> Any:
    """Return a number that is not written as text; the usual two bytes without pydicom's checks."""
    raw = None if dataset is None else dataset.get_item(_tag(name))
    plain = None if raw is None else raw.value
    if isinstance(plain, bytes) and len(plain) == _SHORT_BYTES and getattr(raw, "is_little_endian", False):
        return int.from_bytes(plain, "little")
    return value(dataset, name)


def whole(dataset: "Dataset | None", name: str) -> int | None:
    """Return a whole number."""
    found = number(dataset, name)
    try:
        return None if found is None else int(found)
    except (ValueError, OverflowError):
        return None


def numbers(dataset: "Dataset | None", name: str) -> tuple[float, ...] | None:
    """Return several numbers written as text, ``None`` where one of them is none."""
    try:
        return tuple(float(part) for part in parts(dataset, name)) or None
    except ValueError:
        return None


def frame_groups(header: "Dataset", frame: int) -> "tuple[Dataset, ...]":
    """Return the functional groups of one frame: its own, then those that all frames share."""
    own = header.get("PerFrameFunctionalGroupsSequence") or ()
    shared = header.get("SharedFunctionalGroupsSequence") or ()
    return tuple(groups[at] for groups, at in ((own, frame), (shared, 0)) if len(groups) > at)


def frame_item(groups: "Sequence[Dataset]", sequence: "str | tuple[int, int]") -> "Dataset | None":
    """Return what one functional group says of a frame, ``None`` where it is absent."""
    items = (group.get(sequence) for group in groups)
    return next((item[0] for item in items if item), None)


@lru_cache(maxsize=256)
def _tag(name: str) -> "BaseTag":
    from pydicom.tag import Tag

    return Tag(name)
