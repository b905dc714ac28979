"""Write small DICOM series for tests: ordinary MR slices whose headers can be altered at will."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

MR_CLASS = "1.2.840.10008.5.1.4.1.1.4"
ENHANCED_CLASS = "1.2.840.10008.5.1.4.1.1.4.1"
# What an enhanced file says for each frame instead.
_FRAME_ELEMENTS = (
    "SliceThickness", "ImageOrientationPatient", "ImagePositionPatient", "PixelSpacing", "EchoTime", "RepetitionTime",
    "AcquisitionTime", "AcquisitionDate", "ScanningSequence",
)  # fmt: skip
AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
CORONAL = (1.0, 0.0, 0.0, 0.0, 0.0, -1.0)
# What must never come out of a file: names of people, dates of birth, hospital numbers.
SECRETS = ("Doe^Jane", "19500203", "HOSP-4711", "Dr^Referring", "secret remark")


@dataclass(frozen=True, kw_only=True)
class SeriesPlan:
    """One series of a test: where, what, and any header elements beside the usual ones."""

    patient: str = "HOSP-4711"
    study: str = "study"
    study_date: str = "20240105"
    number: int = 5
    description: str = "t1_vibe_fs_tra_art"
    time: str = "101500"
    slices: int = 4
    rows: int = 5
    columns: int = 6
    spacing: tuple[float, float, float] = (1.5, 1.25, 3.0)
    orientation: Sequence[float] = AXIAL
    uid: str = ""
    extra: dict[str, Any] = field(default_factory=dict)


def write_series(folder: Path, plan: SeriesPlan) -> list[Path]:
    """Write a series, slices from the lowest position on; returns the files in that order."""
    folder.mkdir(parents=True, exist_ok=True)
    return [_write_slice(folder, plan, index) for index in range(plan.slices)]


def write_dynamic(folder: Path, **changes: Any) -> dict[str, list[Path]]:
    """Write precontrast, arterial, portal venous and delayed series of one study."""
    plans = (
        ("PRE", "pre", "100000"),
        ("ART", "art", "101000"),
        ("PVP", "portal", "101045"),
        ("DEL", "delayed", "101300"),
    )
    files = {}
    for number, (phase, word, time) in enumerate(plans, start=3):
        plan = SeriesPlan(
            **{"description": f"t1_vibe_fs_tra_{word}", "number": number, "time": time} | changes
        )
        files[phase] = write_series(folder / f"{number:04d}", plan)
    return files


def pixel_values(plan: SeriesPlan, index: int) -> npt.NDArray[np.uint16]:
    """Return the pixels of a slice, ``[row, column]``: every one different, up to the size of the type."""
    size = plan.rows * plan.columns
    values = (np.arange(size) + index * size) % 65536
    return values.astype(np.uint16).reshape(plan.rows, plan.columns)


def alter(path: Path, **elements: Any) -> None:
    """Change elements of a written file; ``None`` takes one away."""
    from pydicom import dcmread

    dataset = dcmread(path)
    for name, value in elements.items():
        if value is None:
            delattr(dataset, name)
        else:
            setattr(dataset, name, value)
    dataset.save_as(path)


def _write_slice(folder: Path, plan: SeriesPlan, index: int) -> Path:
    instance = generate_uid(
        entropy_srcs=[plan.patient, plan.study, plan.uid, str(plan.number), str(index), str(plan.extra)]
    )
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = MR_CLASS
    meta.MediaStorageSOPInstanceUID = instance
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    path = folder / f"IM{plan.number:03d}{plan.slices - index:03d}"
    dataset = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    for name, value in (_elements(plan, index, instance) | plan.extra).items():
        setattr(dataset, name, value)
    dataset.save_as(path, enforce_file_format=True)
    return path


def _elements(plan: SeriesPlan, index: int, instance: str) -> dict[str, Any]:
    row_mm, column_mm, slice_mm = plan.spacing
    return {
        "SOPClassUID": MR_CLASS, "SOPInstanceUID": instance, "Modality": "MR",
        "StudyInstanceUID": generate_uid(entropy_srcs=[plan.patient, plan.study]),
        "SeriesInstanceUID": generate_uid(entropy_srcs=[plan.patient, plan.study, plan.uid or str(plan.number)]),
        "FrameOfReferenceUID": generate_uid(entropy_srcs=[plan.patient, plan.study, "frame"]),
        "PatientName": SECRETS[0], "PatientBirthDate": SECRETS[1], "PatientID": plan.patient, "PatientSex": "F",
        "ReferringPhysicianName": SECRETS[3], "PatientComments": SECRETS[4], "StudyDate": plan.study_date,
        "StudyTime": "095500", "StudyID": "1", "AccessionNumber": "A1", "Manufacturer": "SCANNERS INC",
        "AcquisitionDate": plan.study_date, "AcquisitionTime": plan.time, "SeriesNumber": plan.number,
        "SeriesDescription": plan.description, "InstanceNumber": index + 1, "ImageType": ["ORIGINAL", "PRIMARY", "M"],
        "ScanningSequence": "GR", "EchoTime": 1.4, "RepetitionTime": 4.0, "MagneticFieldStrength": 3.0,
        "SliceThickness": slice_mm, "ImageOrientationPatient": list(plan.orientation),
        "ImagePositionPatient": _position(plan, index), "PixelSpacing": [row_mm, column_mm], "Rows": plan.rows,
        "Columns": plan.columns, "SamplesPerPixel": 1, "PhotometricInterpretation": "MONOCHROME2",
        "BitsAllocated": 16, "BitsStored": 16, "HighBit": 15, "PixelRepresentation": 0,
        "PixelData": pixel_values(plan, index).tobytes(),
    }  # fmt: skip


def _position(plan: SeriesPlan, index: int) -> list[float]:
    normal = np.cross(plan.orientation[:3], plan.orientation[3:])
    return [float(part) for part in np.array([-20.0, 30.0, -50.0]) + index * plan.spacing[2] * normal]


def write_enhanced(path: Path, plans: Sequence[SeriesPlan], *, private_slope: float | None = None) -> Path:
    """Write the volumes of `plans` as one enhanced multi-frame file, a temporal position for each plan."""
    first = plans[0]
    path.parent.mkdir(parents=True, exist_ok=True)
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = ENHANCED_CLASS
    meta.MediaStorageSOPInstanceUID = generate_uid(
        entropy_srcs=[first.patient, first.study, first.uid, "enhanced"]
    )
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    classic = _elements(first, 0, str(meta.MediaStorageSOPInstanceUID))
    for name in _FRAME_ELEMENTS:
        classic.pop(name, None)
    for name, value in classic.items():
        setattr(dataset, name, value)
    dataset.SOPClassUID = ENHANCED_CLASS
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "T1", "NONE"]
    dataset.NumberOfFrames = sum(plan.slices for plan in plans)
    dataset.SharedFunctionalGroupsSequence = [_shared_groups(first)]
    dataset.PerFrameFunctionalGroupsSequence = [
        _frame_group(plan, position, index, private_slope)
        for position, plan in enumerate(plans, start=1)
        for index in range(plan.slices)
    ]
    pixels = [pixel_values(plan, index) for plan in plans for index in range(plan.slices)]
    dataset.PixelData = np.stack(pixels).tobytes()
    dataset.save_as(path, enforce_file_format=True)
    return path


def _shared_groups(plan: SeriesPlan) -> Dataset:
    row_mm, column_mm, slice_mm = plan.spacing
    return _nested(
        PixelMeasuresSequence=_nested(PixelSpacing=[row_mm, column_mm], SliceThickness=slice_mm),
        PlaneOrientationSequence=_nested(ImageOrientationPatient=list(plan.orientation)),
        MRTimingAndRelatedParametersSequence=_nested(RepetitionTime=4.0, FlipAngle=10.0),
        MREchoSequence=_nested(EffectiveEchoTime=1.4),
    )


def _frame_group(plan: SeriesPlan, position: int, index: int, private_slope: float | None) -> Dataset:
    stamp = plan.study_date + plan.time
    group = _nested(
        FrameContentSequence=_nested(
            FrameAcquisitionDateTime=stamp, TemporalPositionIndex=position, InStackPositionNumber=index + 1
        ),
        PlanePositionSequence=_nested(ImagePositionPatient=_position(plan, index)),
        PixelValueTransformationSequence=_nested(RescaleSlope=2.0, RescaleIntercept=0.0, RescaleType="US"),
        MRImageFrameTypeSequence=_nested(FrameType=["ORIGINAL", "PRIMARY", "T1", "NONE"]),
    )
    if private_slope is not None:
        inner = Dataset()
        inner.private_block(0x2005, "Philips MR Imaging DD 001", create=True).add_new(
            0x0E, "FL", private_slope
        )
        group.add_new(0x20050014, "LO", "Philips MR Imaging DD 005")
        group.add_new(0x2005140F, "SQ", [inner])
    return group


def _nested(**elements: Any) -> Dataset:
    """Make a dataset; a dataset as value becomes a sequence of one."""
    made = Dataset()
    for name, value in elements.items():
        setattr(made, name, [value] if isinstance(value, Dataset) else value)
    return made
