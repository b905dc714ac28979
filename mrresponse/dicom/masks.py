"""Masks in DICOM form on the grid of an image: DICOM SEG of any kind, and RTSTRUCT contours.

What a segment or structure is follows from its type code, and where that says nothing, from its label; the words are in
`_ROLE_WORDS`. Segments that are neither liver nor lesion nor viable part are passed over; a part, viable or not, lies
in a lesion.
"""

import re
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from mrresponse.domain import BoolArray, Grid, LabelMap
from mrresponse.errors import DataError
from mrresponse.geometry import world_to_voxel

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

_LPS_TO_RAS = np.array([-1.0, -1.0, 1.0])
# How far a voxel of a segmentation may lie from one of the image, and a contour from a slice, in voxels.
_OFF_GRID = 0.1
_OFF_SLICE = 0.25
# Both are filled alike (PS3.3 C.8.8.6.3).
_CLOSED = ("CLOSED_PLANAR", "CLOSEDPLANAR_XOR")
# A study has tens of lesions; another program's whole-body segmentation about a hundred structures.
_MOST_SEGMENTS = 1000


class MaskRole(StrEnum):
    """What a segment is to us."""

    LIVER = "liver"
    LESION = "lesions"
    VIABLE = "viable"
    NON_VIABLE = "non-viable"


# SNOMED CT and the older SRT codes of the same things (PS3.16 CID 7159, annex L of part 16).
_ROLE_CODES: Mapping[str, MaskRole] = {
    "10200004": MaskRole.LIVER,
    "T-62000": MaskRole.LIVER,
    "52988006": MaskRole.LESION,
    "4147007": MaskRole.LESION,
    "108369006": MaskRole.LESION,
    "86049000": MaskRole.LESION,
    "14799000": MaskRole.LESION,
    "25370001": MaskRole.LESION,
    "M-01000": MaskRole.LESION,
    "M-03000": MaskRole.LESION,
    "M-80000": MaskRole.LESION,
    "M-80003": MaskRole.LESION,
    "M-80006": MaskRole.LESION,
}
_ROLE_WORDS: tuple[tuple[MaskRole, str], ...] = (
    (
        MaskRole.NON_VIABLE,
        r"\b(non|not|nicht|un)[ _-]*(viab|enhanc|vital)|\bavital|necrosis|nekrose|n[eé]crose",
    ),
    (MaskRole.VIABLE, r"viab|enhanc|vital"),
    (
        MaskRole.LESION,
        r"l[eéaä]si[oó]n|tum(?:ou?|eu)r|met[aá]st|(?<![a-z])mets?(?![a-z])|n[oó]dul|mass\b|hcc|neoplas|gtv|carcinom",
    ),
    (MaskRole.LIVER, r"\b(liver|leber|foie|h[ií]gado|fegato|lever)\b"),
)
# The rest of the liver: in names of structures a hyphen subtracts (AAPM TG-263, 2018).
_LIVER_WITHOUT = re.compile(
    r"(liver|leber|foie|h[ií]gado|fegato|lever)[ _]*(- ?[gcip]tv|(minus|without|ohne|sans|sin)(?![a-z]))"
)
# A part is what it is of, whatever its type code: only its label tells.
_PARTS = (MaskRole.VIABLE, MaskRole.NON_VIABLE)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Segment:
    """A segment; without a role, and then without voxels, where nothing says what it is."""

    role: MaskRole | None
    tracking: str
    mask: BoolArray


def is_mask_file(path: Path) -> bool:
    """Tell whether a file is DICOM by its first bytes."""
    try:
        with path.open("rb") as file:
            return file.read(132)[128:] == b"DICM"
    except OSError:
        return False


def read_masks(files: Sequence[Path], grid: Grid) -> Mapping[MaskRole, LabelMap]:
    """Read segmentations and contours as masks on a grid; lesions get a label each.

    A lone lesion segment keeps one label for all, and so means one class. Where lesions overlap, the later one wins.
    Structures without a voxel say nothing.
    The viable part has the label of the lesion of the same tracking UID, otherwise of the lesion it lies in.

    Raises
    ------
    DataError
        ``bad_mask``: no segmentation or structure set, damaged, or not known to show the lesions it is named for;
        ``grid_mismatch``: it lies on another grid.
    """
    by_file = {file: list(_segments(file, grid)) for file in files}
    segments = [segment for found in by_file.values() for segment in found]
    found: dict[MaskRole, LabelMap] = {}
    livers = [item.mask for item in segments if item.role is MaskRole.LIVER]
    lesions = [item for item in segments if item.role is MaskRole.LESION]
    viable = [item for item in segments if item.role is MaskRole.VIABLE]
    if livers:
        found[MaskRole.LIVER] = _label_map(np.logical_or.reduce(livers), grid)
    labels = np.zeros(grid.shape, dtype=np.uint16)
    for label, item in enumerate(lesions, start=1):
        labels[item.mask] = label
    _check_parts(segments, labels)
    # No lesion says that there is none only in a file that is named for the lesions: a structure that planning programs
    # keep for one may not have been drawn yet.
    own = [file for file in files if file.stem == MaskRole.LESION.value]
    if not labels.any():
        _check_known({file: by_file[file] for file in own})
    if labels.any() or own:
        found[MaskRole.LESION] = LabelMap(voxels=labels, grid=grid)
    is_drawn = any(item.mask.any() for item in viable)
    if viable and labels.any() and not is_drawn:
        raise DataError(
            f"{len(viable)} segments named as viable have no voxel, expected one that has, none of that name where the "
            "images are to tell what is viable, or viable.nii.gz where nothing is",
            code="bad_mask",
        )
    if is_drawn:
        found[MaskRole.VIABLE] = LabelMap(voxels=_viable_labels(viable, lesions, labels), grid=grid)
    return found


def _viable_labels(
    viable: Iterable[_Segment], lesions: Sequence[_Segment], labels: npt.NDArray[np.uint16]
) -> npt.NDArray[np.uint16]:
    by_tracking = {item.tracking: label for label, item in enumerate(lesions, start=1) if item.tracking}
    found = np.zeros_like(labels)
    for item in viable:
        own = by_tracking.get(item.tracking)
        found[item.mask] = labels[item.mask] if own is None else own
    return found


def _check_parts(segments: Iterable[_Segment], labels: npt.NDArray[np.uint16]) -> None:
    """Refuse a viable or other part outside every lesion: its lesion has no mask of its own, and would be lost."""
    for item in segments:
        if item.role in _PARTS and item.mask.any() and not labels[item.mask].any():
            raise DataError(
                f"a segment named as {item.role} lies in no lesion, expected segments of the whole lesions in DICOM "
                "form too, beside those of their parts",
                code="bad_mask",
            )


def _check_known(by_file: Mapping[Path, Sequence[_Segment]]) -> None:
    """Refuse a file without a lesion in which one may have another name: it does not say that there is none."""
    for file, segments in by_file.items():
        unknown = sum(item.role is None for item in segments)
        if unknown:
            raise DataError(
                f"{unknown} of {len(segments)} segments are named neither lesion nor liver nor viable, and no other "
                "is a lesion; expected a label such as 'lesion 1' or a type code such as Neoplasm for each lesion",
                code="bad_mask",
                path=file,
            )


def _label_map(mask: BoolArray, grid: Grid) -> LabelMap:
    return LabelMap(voxels=mask.astype(np.uint16), grid=grid)


def _segments(file: Path, grid: Grid) -> Iterator[_Segment]:
    from pydicom import dcmread

    with warnings.catch_warnings():
        # The warnings repeat values of the header.
        warnings.simplefilter("ignore")
        try:
            dataset = dcmread(file)
            modality = str(dataset.get("Modality", ""))
            if modality == "SEG":
                yield from _from_segmentation(dataset, grid)
            elif modality == "RTSTRUCT":
                yield from _from_contours(dataset, grid)
            else:
                raise _bad(f"modality {modality or 'not stated'}", file)
        except DataError as error:
            error.path = file
            raise
        # pydicom and highdicom raise many kinds of errors on damaged files; all mean that this one cannot be used.
        except Exception as error:
            raise _bad(f"a file that cannot be read ({type(error).__name__})", file) from None


def _bad(found: str, file: Path) -> DataError:
    return DataError(
        f"found {found}, expected a DICOM segmentation or structure set", code="bad_mask", path=file
    )


def _from_segmentation(dataset: "Dataset", grid: Grid) -> Iterator[_Segment]:
    from highdicom.seg import Segmentation

    segmentation = Segmentation.from_dataset(dataset, copy=False)
    numbers = [number for number in segmentation.segment_numbers if number > 0]
    if len(numbers) > _MOST_SEGMENTS:
        raise DataError(f"{len(numbers)} segments, expected at most {_MOST_SEGMENTS}", code="bad_mask")
    for number in numbers:
        described = segmentation.get_segment_description(number)
        role = _role(described.segmented_property_type.value, described.segment_label)
        if role is None:
            yield _unknown()
            continue
        volume = segmentation.get_volume(
            segment_numbers=[number], combine_segments=False, allow_missing_positions=True
        )
        # of a fractional segmentation, whose values are 0 to 1, what is there more likely than not
        mask = _on_grid(volume.array[..., 0] >= 0.5, np.asarray(volume.affine), grid)
        yield _Segment(role=role, tracking=str(described.tracking_uid or ""), mask=mask)


def _unknown() -> _Segment:
    return _Segment(role=None, tracking="", mask=np.zeros((0, 0, 0), dtype=np.bool_))


def _role(code: str, label: str) -> MaskRole | None:
    text = label.lower()
    if _LIVER_WITHOUT.search(text):
        return None
    for role, words in _ROLE_WORDS:
        if re.search(words, text) and (role in _PARTS or code not in _ROLE_CODES):
            return role
    return _ROLE_CODES.get(code)


def _on_grid(mask: BoolArray, affine: npt.NDArray[np.float64], grid: Grid) -> BoolArray:
    """Put the voxels of a mask, whose world is LPS+, at their places on a grid that has the same voxels."""
    full = np.zeros(grid.shape, dtype=np.bool_)
    index = np.argwhere(mask)
    corners = np.array([[0, 0, 0], np.array(mask.shape) - 1])
    places = np.concatenate([index, corners]) @ affine[:3, :3].T + affine[:3, 3]
    voxels = world_to_voxel(grid, places * _LPS_TO_RAS)
    whole = np.rint(voxels).astype(np.int64)
    steps = np.linalg.norm(affine[:3, :3], axis=0)
    off = float(np.abs(voxels - whole).max())
    if off > _OFF_GRID or not np.allclose(sorted(steps), sorted(grid.spacing_mm), rtol=1e-3):
        raise DataError(
            f"a segmentation with voxels of {' x '.join(f'{step:.3g}' for step in steps)} mm, up to {off:.2f} voxels "
            "off, expected the grid of the series",
            code="grid_mismatch",
        )
    inside = whole[: len(index)]
    if ((inside < 0) | (inside >= np.array(grid.shape))).any():
        raise DataError("a segmentation reaches outside the series, expected its grid", code="grid_mismatch")
    full[tuple(inside.T)] = True
    return full


def _from_contours(dataset: "Dataset", grid: Grid) -> Iterator[_Segment]:
    names = {int(item.ROINumber): str(item.get("ROIName", "")) for item in dataset.StructureSetROISequence}
    for item in dataset.get("ROIContourSequence") or ():
        role = _role("", names.get(int(item.ReferencedROINumber), ""))
        if role is None:
            yield _unknown()
            continue
        mask = np.zeros(grid.shape, dtype=np.bool_)
        contours = item.get("ContourSequence") or ()
        for contour in contours:
            if contour.get("ContourGeometricType", "") in _CLOSED:
                _fill(mask, np.array(contour.ContourData, dtype=np.float64).reshape(-1, 3), grid)
        if contours and not mask.any():
            raise DataError(
                f"a structure of {len(contours)} contours encloses no voxel, expected closed contours around voxels",
                code="bad_mask",
            )
        yield _Segment(role=role, tracking="", mask=mask)


def _fill(mask: BoolArray, points: npt.NDArray[np.float64], grid: Grid) -> None:
    """Fill one closed contour, given in LPS+ mm, in place; one inside another cuts a hole (PS3.3 C.8.8.6.3)."""
    from skimage.draw import polygon2mask

    voxels = world_to_voxel(grid, points * _LPS_TO_RAS)
    axis = int(np.ptp(voxels, axis=0).argmin())
    place = float(voxels[:, axis].mean())
    level = round(place)
    off = float(np.abs(voxels[:, axis] - level).max())
    if axis != 2 or off > _OFF_SLICE or not 0 <= level < grid.shape[2]:
        raise DataError(
            f"a contour lies {off:.2f} slices off a slice of the series, expected it in a slice",
            code="grid_mismatch",
        )
    shape: Any = grid.shape[:2]
    mask[:, :, level] ^= polygon2mask(shape, voxels[:, :2])
