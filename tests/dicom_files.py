"""Write small DICOM series for tests: ordinary MR slices whose headers can be altered at will."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

MR_CLASS = "1.2.840.10008.5.1.4.1.1.4"
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
    """Return the pixels of a slice, ``[row, column]``: every one different."""
    size = plan.rows * plan.columns
    return (np.arange(size, dtype=np.uint16) + index * size).reshape(plan.rows, plan.columns)


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
    row_mm, column_mm, slice_mm = plan.spacing
    normal = np.cross(plan.orientation[:3], plan.orientation[3:])
    instance = generate_uid(
        entropy_srcs=[plan.patient, plan.study, plan.uid, str(plan.number), str(index), str(plan.extra)]
    )
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = MR_CLASS
    meta.MediaStorageSOPInstanceUID = instance
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    path = folder / f"IM{plan.number:03d}{plan.slices - index:03d}"
    dataset = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    elements = {
        "SOPClassUID": MR_CLASS, "SOPInstanceUID": instance, "Modality": "MR",
        "StudyInstanceUID": generate_uid(entropy_srcs=[plan.patient, plan.study]),
        "SeriesInstanceUID": generate_uid(entropy_srcs=[plan.patient, plan.study, plan.uid or str(plan.number)]),
        "PatientName": SECRETS[0], "PatientBirthDate": SECRETS[1], "PatientID": plan.patient,
        "ReferringPhysicianName": SECRETS[3], "PatientComments": SECRETS[4], "StudyDate": plan.study_date,
        "AcquisitionDate": plan.study_date, "AcquisitionTime": plan.time, "SeriesNumber": plan.number,
        "SeriesDescription": plan.description, "InstanceNumber": index + 1, "ImageType": ["ORIGINAL", "PRIMARY", "M"],
        "ScanningSequence": "GR", "EchoTime": 1.4, "RepetitionTime": 4.0, "MagneticFieldStrength": 3.0,
        "SliceThickness": slice_mm, "ImageOrientationPatient": list(plan.orientation),
        "ImagePositionPatient": [float(part) for part in np.array([-20.0, 30.0, -50.0]) + index * slice_mm * normal],
        "PixelSpacing": [row_mm, column_mm], "Rows": plan.rows, "Columns": plan.columns, "SamplesPerPixel": 1,
        "PhotometricInterpretation": "MONOCHROME2", "BitsAllocated": 16, "BitsStored": 16, "HighBit": 15,
        "PixelRepresentation": 0, "PixelData": pixel_values(plan, index).tobytes(),
    }  # fmt: skip
    for name, value in (elements | plan.extra).items():
        setattr(dataset, name, value)
    dataset.save_as(path, enforce_file_format=True)
    return path
