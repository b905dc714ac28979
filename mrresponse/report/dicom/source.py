"""The source images of a study, as headers: what a DICOM object needs to be filed with them."""

import copy
import hashlib
import json
import secrets
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.uid import UID

from mrresponse.dicom.slices import slice_geometry, stack_order
from mrresponse.domain import Grid
from mrresponse.errors import DataError
from mrresponse.files import write_atomically
from mrresponse.report.run import source_file

_KEY_BYTES = 32
# In place of every date and time that is taken away: a valid value that nobody takes for a real one.
NO_DATE, NO_TIME = "19000101", "000000"
# What a segmentation or a report takes from its source images, or needs to know of them.
_CARRIED = frozenset(
    {
        "SpecificCharacterSet", "SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID",
        "FrameOfReferenceUID", "Modality", "ImageType", "SeriesNumber", "InstanceNumber",
        "AccessionNumber", "ReferringPhysicianName", "PatientSex", "Rows",
        "Columns", "PixelSpacing", "SliceThickness", "SpacingBetweenSlices", "ImageOrientationPatient",
        "ImagePositionPatient", "SamplesPerPixel", "PhotometricInterpretation", "BitsAllocated", "BitsStored",
        "HighBit", "PixelRepresentation", "NumberOfFrames", "SharedFunctionalGroupsSequence",
        "PerFrameFunctionalGroupsSequence", "DimensionOrganizationSequence", "DimensionIndexSequence",
        "TransferSyntaxUID",
    }
)  # fmt: skip
# UIDs that DICOM itself defines: classes and transfer syntaxes.
_STANDARD_ROOT = "1.2.840.10008."


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SourceSeries:
    """The reference series of one study.

    Parameters
    ----------
    headers
        One header per file, slices from the first to the last position; one for a multi-frame file.
    frames
        Frame of each slice in a multi-frame file; otherwise empty.
    grid
        Grid of the slices in this order, on which the masks lie.
    """

    patient_id: str
    study_date: date
    headers: tuple[Dataset, ...]
    frames: tuple[int, ...]
    grid: Grid

    @property
    def frame_of_reference(self) -> str:
        """UID of the world that the slices lie in."""
        return str(self.headers[0].FrameOfReferenceUID)

    @property
    def study(self) -> str:
        """UID of the study."""
        return str(self.headers[0].StudyInstanceUID)


def read_source(
    run: Path, patient_id: str, study_date: date, *, key: bytes | None = None
) -> SourceSeries | None:
    """Read the headers of a study's reference series; ``None`` where it was not read from DICOM.

    Parameters
    ----------
    key
        Where given, the headers are de-identified with it, see `deidentified`.

    Raises
    ------
    DataError
        ``source_missing``: the files are not where the run read them; ``no_frame_of_reference``.
    """
    place = source_file(run, patient_id, study_date)
    if not place.is_file():
        return None
    stored: Mapping[str, Any] = json.loads(place.read_text(encoding="utf-8"))
    frames = tuple(int(frame) for frame in stored["frames"])
    files = dict.fromkeys(stored["files"]) if frames else stored["files"]
    try:
        with warnings.catch_warnings():
            # The warnings repeat values of the header.
            warnings.simplefilter("ignore")
            headers = tuple(dcmread(file, stop_before_pixels=True) for file in files)
    except Exception as error:
        raise DataError(
            f"source images cannot be read where the run read them ({type(error).__name__}), expected them there; put "
            "them back or run again",
            code="source_missing",
            patient_id=patient_id,
            study_date=study_date,
        ) from None
    if not headers[0].get("FrameOfReferenceUID"):
        raise DataError(
            "reference series without a frame of reference, expected one for DICOM output",
            code="no_frame_of_reference",
            patient_id=patient_id,
            study_date=study_date,
        )
    places = [slice_geometry(headers[0], frame=frame) for frame in frames] or [
        slice_geometry(header) for header in headers
    ]
    _, grid = stack_order([item for item in places if item is not None])
    if key is not None:
        headers = tuple(deidentified(header, patient_id, key) for header in headers)
    return SourceSeries(
        patient_id=patient_id, study_date=study_date, headers=headers, frames=frames, grid=grid
    )


def deidentified(header: Dataset, patient_id: str, key: bytes) -> Dataset:
    """Return a header by the Basic Application Level Confidentiality Profile (PS3.15 annex E), under a pseudonym.

    UIDs become keyed hashes, so that objects of one run still refer to each other and to images that are de-identified
    with the same key.
    """
    from dicomanonymizer import anonymize_dataset, keep

    made = Dataset()
    made.update(copy.deepcopy(header))
    made.file_meta = copy.deepcopy(header.file_meta)
    replacements = _uid_replacements(made, key)
    for element in made.iterall():
        if element.VR == "UI" and element.value:
            element.value = (
                replacements.get(str(element.value), element.value)
                if isinstance(element.value, str)
                else [replacements.get(str(value), value) for value in element.value]
            )
    # The library would draw random UIDs; these are hashes already.
    own_uids = {(element.tag.group, element.tag.element): keep for element in made if element.VR == "UI"}
    anonymize_dataset(made, own_uids, delete_private_tags=True)
    # The library's table is that of one edition of the standard; what no object needs is not carried on at all.
    for element in list(made):
        if element.keyword not in _CARRIED:
            del made[element.tag]
    made.PatientID, made.PatientName, made.PatientBirthDate = patient_id, f"{patient_id}^", ""
    made.StudyDate, made.StudyTime, made.StudyID = NO_DATE, NO_TIME, "1"
    made.PatientIdentityRemoved = "YES"
    made.DeidentificationMethod = "PS3.15 Basic Application Level Confidentiality Profile"
    return made


def _uid_replacements(header: Dataset, key: bytes) -> Mapping[str, str]:
    """Return a keyed hash for every UID that names something of this patient; those of the standard stay."""
    found = {}
    for element in header.iterall():
        if element.VR == "UI" and element.value:
            for value in [element.value] if isinstance(element.value, str) else element.value:
                if not str(value).startswith(_STANDARD_ROOT):
                    found[str(value)] = str(derived_uid("uid", str(value), key=key))
    return found


def derived_uid(*parts: str, key: bytes = b"") -> UID:
    """Return the UID that follows from texts: a UUID-derived one (PS3.5 B.2), 122 bits of a hash."""
    digest = hashlib.blake2b("\0".join(parts).encode(), key=key, digest_size=16).digest()
    number = int.from_bytes(digest, "big")
    # The bits that say "random UUID" (RFC 9562, section 5.4).
    number = (number & ~(0xF << 76) & ~(0x3 << 62)) | (0x4 << 76) | (0x2 << 62)
    return UID(f"2.25.{number}")


def uid_key(run: Path) -> bytes:
    """Return the key of a run's de-identified UIDs, made where absent; it stays under ``private``."""
    path = run / "private" / "uid.key"
    if not path.exists():
        write_atomically(path, secrets.token_bytes(_KEY_BYTES), mode=0o600)
    return path.read_bytes()
