"""Headers of the DICOM files below a folder, whatever the names of files and folders.

Only `_TAGS` are read: no name, birth date or free text but the series description. UIDs and patient ids become
hashes at once; the ids themselves stay only in the private list of identities.
"""

import hashlib
import os
import warnings
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime, time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mrresponse.ingest.identity import DicomPatient
from mrresponse.ingest.phases import SeriesFacts, agent_from_text, names_agent
from mrresponse.ingest.volume import GEOMETRY_TAGS, SliceGeometry, slice_geometry

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

_TAGS = (
    "SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID", "PatientID", "IssuerOfPatientID",
    "StudyDate", "Modality", "SeriesNumber", "SeriesDescription", "InstanceNumber", "NumberOfFrames", "ImageType",
    "AcquisitionDate", "AcquisitionTime", "AcquisitionDateTime", "AcquisitionNumber", "SeriesDate", "SeriesTime",
    "TemporalPositionIdentifier", "EchoNumbers", "EchoTime", "RepetitionTime", "InversionTime", "ScanningSequence",
    "DiffusionBValue", "ContrastBolusAgent", "ContrastBolusStartTime", "MagneticFieldStrength", "SliceThickness",
    *GEOMETRY_TAGS,
)  # fmt: skip
# Tables and the key of the pseudonyms belong to the folder.
_OWN_SUFFIXES = (".csv", ".tsv", ".key")
_MAGIC = b"DICM"
_PREAMBLE_BYTES = 128
# DICOM without preamble begins with an element of group 0002 or 0008, little endian.
_BARE_STARTS = (b"\x02\x00", b"\x08\x00")
_ENHANCED_CLASSES = ("1.2.840.10008.5.1.4.1.1.4.1", "1.2.840.10008.5.1.4.1.1.4.4")
_DIRECTORY_CLASS = "1.2.840.10008.1.3.10"


@dataclass(frozen=True, slots=True, kw_only=True)
class SliceHeader:
    """What is kept of one DICOM file; ``patient``, ``study``, ``series`` and ``instance`` are hashes."""

    path: Path
    patient: str
    study: str
    series: str
    instance: str
    study_date: date | None
    modality: str
    enhanced: bool
    frames: int
    series_number: int | None
    instance_number: int
    temporal_position: int | None
    acquisition_number: int | None
    echo_number: int | None
    field_strength_t: float | None
    slice_thickness_mm: float | None
    geometry: SliceGeometry | None
    facts: SeriesFacts


def is_dicom(path: Path) -> bool:
    """Tell whether a file begins like DICOM, whatever its name."""
    try:
        with path.open("rb") as file:
            start = file.read(_PREAMBLE_BYTES + len(_MAGIC))
    except OSError:
        return False
    return start[_PREAMBLE_BYTES:] == _MAGIC or (
        len(start) > 8 and start[:2] in _BARE_STARTS and start[4:6].isalpha()
    )


def scan(
    roots: Iterable[Path],
) -> tuple[tuple[SliceHeader, ...], Mapping[str, DicomPatient], tuple[Path, ...], int]:
    """Read all headers: slices, DICOM patients by hash, DICOM files that cannot be read, count of other files."""
    from pydicom import dcmread

    headers: dict[Path, SliceHeader] = {}
    patients: dict[str, DicomPatient] = {}
    unreadable = []
    others = 0
    with warnings.catch_warnings():
        # The warnings repeat values of the header.
        warnings.simplefilter("ignore")
        for path in _files(roots):
            if path in headers:
                continue
            if not is_dicom(path):
                others += path.suffix not in _OWN_SUFFIXES
                continue
            try:
                dataset = dcmread(path, stop_before_pixels=True, specific_tags=list(_TAGS), force=True)
                patient = DicomPatient(
                    identifier=_text(dataset, "PatientID"), issuer=_text(dataset, "IssuerOfPatientID")
                )
                header = _slice_header(path, dataset, _patient_key(dataset, patient))
            # pydicom raises many kinds of errors on damaged files; all mean that this one cannot be used.
            except Exception:
                unreadable.append(path)
                continue
            if header is None:
                continue
            headers[path] = header
            patients[header.patient] = patient
    return tuple(headers.values()), patients, tuple(unreadable), others


def _files(roots: Iterable[Path]) -> Iterator[Path]:
    """Yield the files below folders in a fixed order; links to folders are followed once."""
    seen: set[str] = set()
    for root in roots:
        for folder, subfolders, names in os.walk(root, followlinks=True):
            real = os.path.realpath(folder)
            if real in seen:
                subfolders.clear()
                continue
            seen.add(real)
            subfolders.sort()
            for name in sorted(names):
                yield Path(folder, name)


def _slice_header(path: Path, dataset: "Dataset", patient: str) -> SliceHeader | None:
    """Return what is kept of a header, ``None`` for a directory file."""
    sop_class = _text(dataset, "SOPClassUID") or str(
        getattr(dataset.file_meta, "MediaStorageSOPClassUID", "")
    )
    if sop_class == _DIRECTORY_CLASS:
        return None
    series = _text(dataset, "SeriesInstanceUID")
    if not series:
        raise ValueError("no series")
    return SliceHeader(
        path=path,
        patient=patient,
        study=_hash(_text(dataset, "StudyInstanceUID")),
        series=_hash(series),
        instance=_hash(_text(dataset, "SOPInstanceUID")),
        study_date=_date(_text(dataset, "StudyDate")),
        modality=_text(dataset, "Modality").upper(),
        enhanced=sop_class in _ENHANCED_CLASSES,
        frames=_whole(dataset, "NumberOfFrames") or 1,
        series_number=_whole(dataset, "SeriesNumber"),
        instance_number=_whole(dataset, "InstanceNumber") or 0,
        temporal_position=_whole(dataset, "TemporalPositionIdentifier"),
        acquisition_number=_whole(dataset, "AcquisitionNumber"),
        echo_number=_whole(dataset, "EchoNumbers"),
        field_strength_t=_field_strength(_number(dataset, "MagneticFieldStrength")),
        slice_thickness_mm=_number(dataset, "SliceThickness"),
        geometry=slice_geometry(dataset),
        facts=_facts(dataset),
    )


def _patient_key(dataset: "Dataset", patient: DicomPatient) -> str:
    """Return what tells patients apart; without an id every study is somebody of its own."""
    if patient.identifier:
        return _hash(patient.identifier, patient.issuer)
    return _hash("", "", _text(dataset, "StudyInstanceUID"))


def _facts(dataset: "Dataset") -> SeriesFacts:
    agent_name = _text(dataset, "ContrastBolusAgent")
    description = _text(dataset, "SeriesDescription")
    acquired_at = _acquired_at(dataset)
    start = _time(_text(dataset, "ContrastBolusStartTime"))
    return SeriesFacts(
        description=description,
        image_type=_parts(dataset, "ImageType"),
        scanning_sequence=_parts(dataset, "ScanningSequence"),
        echo_time_ms=_number(dataset, "EchoTime"),
        repetition_time_ms=_number(dataset, "RepetitionTime"),
        inversion_time_ms=_number(dataset, "InversionTime"),
        b_value=_number(dataset, "DiffusionBValue"),
        has_agent=names_agent(agent_name),
        agent=agent_from_text(agent_name) or agent_from_text(description),
        acquired_at=acquired_at,
        injected_at=datetime.combine(acquired_at.date(), start) if acquired_at and start else None,
    )


def _hash(*texts: str) -> str:
    return hashlib.blake2b("\0".join(texts).encode(), digest_size=16).hexdigest()


def _value(dataset: "Dataset", name: str) -> Any:
    """Return the value of an element, ``None`` where it is absent or cannot be read."""
    try:
        return dataset[name].value if name in dataset else None
    except (ValueError, TypeError, KeyError, NotImplementedError, OverflowError):
        return None


def _text(dataset: "Dataset", name: str) -> str:
    value = _value(dataset, name)
    return "" if value is None else str(value).strip().strip("\0")


def _parts(dataset: "Dataset", name: str) -> tuple[str, ...]:
    value = _value(dataset, name)
    if value is None:
        return ()
    return (value,) if isinstance(value, str) else tuple(str(part) for part in value)


def _number(dataset: "Dataset", name: str) -> float | None:
    value = _value(dataset, name)
    try:
        return None if value in (None, "") else float(value)
    except (ValueError, TypeError):
        return None


def _whole(dataset: "Dataset", name: str) -> int | None:
    value = _number(dataset, name)
    return None if value is None else int(value)


def _field_strength(value: float | None) -> float | None:
    """Return a field strength in tesla; some scanners write gauss."""
    return value if value is None or value < 100 else value / 10000.0


def _date(text: str) -> date | None:
    try:
        return datetime.strptime(text, "%Y%m%d").date()
    except ValueError:
        return None


def _time(text: str) -> time | None:
    try:
        return datetime.strptime(text[:6].ljust(6, "0"), "%H%M%S").time() if text else None
    except ValueError:
        return None


def _acquired_at(dataset: "Dataset") -> datetime | None:
    stamp = _text(dataset, "AcquisitionDateTime")
    tries: tuple[tuple[str, str], ...] = (
        (stamp[:8], stamp[8:14]),
        (_text(dataset, "AcquisitionDate") or _text(dataset, "StudyDate"), _text(dataset, "AcquisitionTime")),
        (_text(dataset, "SeriesDate") or _text(dataset, "StudyDate"), _text(dataset, "SeriesTime")),
    )
    for day, moment in tries:
        found_day, found_time = _date(day), _time(moment)
        if found_day and found_time:
            return datetime.combine(found_day, found_time)
    return None
