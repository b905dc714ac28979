"""What is kept of the headers of one DICOM file.

Only `_TAGS` are read: no free text but the series description. UIDs and patient ids become hashes at once; the ids
themselves stay only in the private list of identities. Of sex, date of birth and name nothing stays but what shows that
they differ (`mrresponse.ingest.persons`). A multi-frame file gives one header per frame.
"""

import hashlib
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import date, datetime, time, timedelta
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from mrresponse.dicom.elements import decoded, frame_groups, frame_item, number, parts, text, whole
from mrresponse.dicom.slices import SliceGeometry, slice_geometry
from mrresponse.domain import Agent
from mrresponse.ingest.identity import DicomPatient
from mrresponse.ingest.patterns import SeriesFacts, agent_from_text, names_agent
from mrresponse.ingest.persons import Person, person_of
from mrresponse.ingest.pixels import check_inflated_size
from mrresponse.ingest.quick import quick_header
from mrresponse.tables import is_plausible

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

_GROUPS = ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence")
_TAGS = (
    "SpecificCharacterSet", "SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID", "PatientID",
    "IssuerOfPatientID", "StudyDate", "Modality", "SeriesNumber", "SeriesDescription", "InstanceNumber",
    "NumberOfFrames", "ImageType", "AcquisitionDate", "AcquisitionTime", "AcquisitionDateTime", "AcquisitionNumber",
    "SeriesDate", "SeriesTime", "TemporalPositionIdentifier", "TriggerTime", "EchoNumbers", "EchoTime",
    "RepetitionTime", "InversionTime", "ScanningSequence", "DiffusionBValue", "ContrastBolusAgent",
    "ContrastBolusStartTime", "ContrastBolusAgentSequence", "MagneticFieldStrength", "SliceThickness",
    "Rows", "Columns", "PixelSpacing", "ImageOrientationPatient", "ImagePositionPatient",
    "PatientName", "PatientBirthDate", "PatientSex", *_GROUPS,
)  # fmt: skip
_MAGIC = b"DICM"
_PREAMBLE_BYTES = 128
# DICOM without preamble begins with an element of group 0002 or 0008, little endian.
_BARE_STARTS = (b"\x02\x00", b"\x08\x00")
_ENHANCED_CLASSES = ("1.2.840.10008.5.1.4.1.1.4.1", "1.2.840.10008.5.1.4.1.1.4.4")
_MR_CLASSES = ("1.2.840.10008.5.1.4.1.1.4", *_ENHANCED_CLASSES)
_DIRECTORY_CLASS = "1.2.840.10008.1.3.10"
# A dynamic of 5 phases with 100 slices each, several echoes too, has a few thousand frames.
_MOST_FRAMES = 20_000


_UNKNOWN = Person()


@dataclass(frozen=True, slots=True, kw_only=True)
class SliceHeader:
    """What is kept of one slice; ``patient``, ``study``, ``series`` and ``instance`` are hashes.

    ``frame`` counts from 0 within a multi-frame file and is ``None`` for a file of one slice; ``multiframe`` tells of a
    file whose frames cannot be told apart.
    """

    path: Path
    frame: int | None = None
    patient: str
    person: Person = _UNKNOWN
    study: str
    series: str
    instance: str
    study_date: date | None
    modality: str
    multiframe: bool = False
    series_number: int | None
    instance_number: int
    temporal_position: int | None
    acquisition_number: int | None
    trigger_time_ms: float | None
    echo_number: int | None
    field_strength_t: float | None
    slice_thickness_mm: float | None
    geometry: SliceGeometry | None
    facts: SeriesFacts


@dataclass(frozen=True, slots=True, kw_only=True)
class FileHeaders:
    """What one file said: its slices and whose they are, or that it cannot be read; neither for a directory file."""

    slices: tuple[SliceHeader, ...] = ()
    patient: DicomPatient | None = None
    is_unreadable: bool = False


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


def read_headers(path: Path) -> FileHeaders:
    """Read what is kept of a DICOM file."""
    from pydicom import dcmread

    with warnings.catch_warnings():
        # The warnings repeat values of the header.
        warnings.simplefilter("ignore")
        try:
            quick = quick_header(path, _tags())
            if quick is not None and text(quick, "SOPClassUID") not in ("", *_ENHANCED_CLASSES):
                return _file_headers(path, quick)
            check_inflated_size(path)
            dataset = dcmread(path, stop_before_pixels=True, specific_tags=list(_TAGS), force=True)
            return _file_headers(path, dataset)
        # pydicom raises many kinds of errors on damaged files; all mean that this one cannot be used.
        except Exception:
            return FileHeaders(is_unreadable=True)


@lru_cache(maxsize=1)
def _tags() -> frozenset[int]:
    from pydicom.datadict import tag_for_keyword

    return frozenset(tag for name in _TAGS if (tag := tag_for_keyword(name)) is not None)


def _file_headers(path: Path, dataset: "Dataset") -> FileHeaders:
    sop_class = text(dataset, "SOPClassUID") or str(getattr(dataset.file_meta, "MediaStorageSOPClassUID", ""))
    if sop_class == _DIRECTORY_CLASS:
        return FileHeaders()
    patient = DicomPatient(
        identifier=decoded(dataset, "PatientID"), issuer=decoded(dataset, "IssuerOfPatientID")
    )
    slices = tuple(_slices(path, dataset, sop_class, _patient_key(dataset, patient)))
    return FileHeaders(slices=slices, patient=patient)


def _slices(path: Path, dataset: "Dataset", sop_class: str, patient: str) -> Iterator[SliceHeader]:
    series = text(dataset, "SeriesInstanceUID")
    if not series:
        raise ValueError("no series")
    header = SliceHeader(
        path=path,
        patient=patient,
        person=person_of(dataset, patient),
        study=_hash(text(dataset, "StudyInstanceUID")),
        series=_hash(series),
        # without a UID, as some anonymisers leave it, every file is an image of its own
        instance=_hash(text(dataset, "SOPInstanceUID") or str(path)),
        study_date=_date(text(dataset, "StudyDate")),
        # some anonymisers take the modality away; the class of an MR image says it too
        modality=text(dataset, "Modality").upper() or ("MR" if sop_class in _MR_CLASSES else ""),
        series_number=whole(dataset, "SeriesNumber"),
        instance_number=whole(dataset, "InstanceNumber") or 0,
        temporal_position=whole(dataset, "TemporalPositionIdentifier"),
        acquisition_number=whole(dataset, "AcquisitionNumber"),
        trigger_time_ms=number(dataset, "TriggerTime"),
        echo_number=whole(dataset, "EchoNumbers"),
        field_strength_t=_field_strength(number(dataset, "MagneticFieldStrength")),
        slice_thickness_mm=number(dataset, "SliceThickness"),
        geometry=slice_geometry(dataset),
        facts=_facts(dataset),
    )
    frames = whole(dataset, "NumberOfFrames") or 1
    per_frame = dataset.get(_GROUPS[1]) or ()
    if header.modality != "MR" or (frames == 1 and sop_class not in _ENHANCED_CLASSES):
        yield header
    elif len(per_frame) != frames or frames > _MOST_FRAMES:
        yield replace(header, multiframe=True)
    else:
        for frame in range(frames):
            yield _frame_header(header, dataset, frame)


def _frame_header(header: SliceHeader, dataset: "Dataset", frame: int) -> SliceHeader:
    """Return the header of one frame of an enhanced multi-frame file (PS3.3 C.7.6.16, C.8.13)."""
    groups = frame_groups(dataset, frame)
    content = frame_item(groups, "FrameContentSequence")
    timing = frame_item(groups, "MRTimingAndRelatedParametersSequence")
    kind = parts(frame_item(groups, "MRImageFrameTypeSequence"), "FrameType")
    facts = header.facts
    acquired_at = _stamp(text(content, "FrameAcquisitionDateTime")) or facts.acquired_at
    used = frame_item(groups, "ContrastBolusUsageSequence")
    administered = text(used, "ContrastBolusAgentAdministered").upper()
    echo_ms = number(frame_item(groups, "MREchoSequence"), "EffectiveEchoTime")
    return replace(
        header,
        frame=frame,
        instance=f"{header.instance}/{frame}",
        # a series may have a file for each phase, whose frames count from 1 anew
        instance_number=header.instance_number * _MOST_FRAMES + frame + 1,
        temporal_position=whole(content, "TemporalPositionIndex") or header.temporal_position,
        acquisition_number=whole(content, "FrameAcquisitionNumber") or header.acquisition_number,
        trigger_time_ms=number(
            frame_item(groups, "CardiacSynchronizationSequence"), "NominalCardiacTriggerDelayTime"
        ),
        geometry=slice_geometry(dataset, frame=frame),
        facts=replace(
            facts,
            image_type=kind or facts.image_type,
            echo_time_ms=facts.echo_time_ms if echo_ms is None else echo_ms,
            repetition_time_ms=number(timing, "RepetitionTime") or facts.repetition_time_ms,
            b_value=number(frame_item(groups, "MRDiffusionSequence"), "DiffusionBValue") or facts.b_value,
            has_agent=administered == "YES" if administered else facts.has_agent,
            acquired_at=acquired_at,
        ),
    )


def _patient_key(dataset: "Dataset", patient: DicomPatient) -> str:
    """Return what tells patients apart; without an id every study is somebody of its own."""
    if patient.identifier:
        return _hash(patient.identifier, patient.issuer)
    return _hash("", "", text(dataset, "StudyInstanceUID"))


def _facts(dataset: "Dataset") -> SeriesFacts:
    agents = [decoded(dataset, "ContrastBolusAgent"), *_coded_agents(dataset)]
    description = decoded(dataset, "SeriesDescription")
    acquired_at = _acquired_at(dataset)
    start = _time(text(dataset, "ContrastBolusStartTime"))
    return SeriesFacts(
        description=description,
        image_type=parts(dataset, "ImageType"),
        scanning_sequence=parts(dataset, "ScanningSequence"),
        echo_time_ms=number(dataset, "EchoTime"),
        repetition_time_ms=number(dataset, "RepetitionTime"),
        inversion_time_ms=number(dataset, "InversionTime"),
        b_value=number(dataset, "DiffusionBValue"),
        has_agent=any(map(names_agent, agents)),
        agent=_first_agent([*agents, description]),
        acquired_at=acquired_at,
        injected_at=_before_or_after(acquired_at, start),
    )


def _coded_agents(dataset: "Dataset") -> list[str]:
    """Return the meanings of coded agents: the only contrast attribute of an enhanced file."""
    return [decoded(item, "CodeMeaning") for item in dataset.get("ContrastBolusAgentSequence") or ()]


def _first_agent(texts: list[str]) -> Agent | None:
    return next((agent for agent in map(agent_from_text, texts) if agent is not None), None)


def _before_or_after(acquired_at: datetime | None, start: time | None) -> datetime | None:
    """Return the moment of an injection that has only a time: the one within half a day of the acquisition."""
    if acquired_at is None or start is None:
        return None
    injected_at = datetime.combine(acquired_at.date(), start)
    days = round((acquired_at - injected_at) / timedelta(days=1))
    return injected_at + timedelta(days=days)


def _hash(*texts: str) -> str:
    return hashlib.blake2b("\0".join(texts).encode(), digest_size=16).hexdigest()


# The hash of a study whose UID an anonymiser took away.
NO_STUDY = _hash("")


def _field_strength(value: float | None) -> float | None:
    """Return a field strength in tesla; some scanners write gauss."""
    return value if value is None or value < 100 else value / 10000.0


def _date(digits: str) -> date | None:
    """Return a date; 00010101 and 99991231, which some programs write where they have none, are none."""
    try:
        found = date(int(digits[:4]), int(digits[4:6]), int(digits[6:])) if len(digits) == 8 else None
    except ValueError:
        return None
    return found if found is not None and is_plausible(found) else None


def _time(digits: str) -> time | None:
    full = digits[:6].ljust(6, "0")
    try:
        return time(int(full[:2]), int(full[2:4]), int(full[4:])) if digits else None
    except ValueError:
        return None


def _stamp(digits: str) -> datetime | None:
    day, moment = _date(digits[:8]), _time(digits[8:14])
    return datetime.combine(day, moment) if day and moment else None


def _acquired_at(dataset: "Dataset") -> datetime | None:
    day = text(dataset, "StudyDate")
    return (
        _stamp(text(dataset, "AcquisitionDateTime"))
        or _stamp((text(dataset, "AcquisitionDate") or day) + text(dataset, "AcquisitionTime"))
        or _stamp((text(dataset, "SeriesDate") or day) + text(dataset, "SeriesTime"))
    )
