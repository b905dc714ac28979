"""Synthetic patients as a hospital would hand them over: NIfTI with a manifest, or a DICOM export, and the tables.

Names and numbers that identify the fictitious person are invented from the seed. Equal input gives equal bytes; no
file carries the clock or the machine.
"""

import hashlib
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path

import numpy as np
from pydicom import dcmwrite
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage, generate_uid

from mrresponse.domain import Agent, ContrastPhase, Finding, Image, Marker, Treatment
from mrresponse.files import write_atomically
from mrresponse.nifti import write_image
from mrresponse.synthetic.plans import PatientPlan
from mrresponse.synthetic.render import RenderedStudy, Voxels
from mrresponse.tables import write_rows

_IMPLEMENTATION_UID = generate_uid(entropy_srcs=["mrresponse phantom"])
_DESCRIPTIONS = {
    ContrastPhase.PRECONTRAST: "t1_vibe_fs_tra_pre",
    ContrastPhase.ARTERIAL: "t1_vibe_fs_tra_art",
    ContrastPhase.PORTAL_VENOUS: "t1_vibe_fs_tra_pv",
    ContrastPhase.DELAYED: "t1_vibe_fs_tra_late 3min",
    ContrastPhase.HEPATOBILIARY: "t1_vibe_fs_tra_hbp 20min",
}
_AGENTS = {Agent.EXTRACELLULAR: "Gadovist", Agent.GADOXETATE: "Primovist"}
# Seconds from the injection to the acquisition; the precontrast series is acquired before it.
_DELAYS_S = {
    ContrastPhase.PRECONTRAST: -240,
    ContrastPhase.ARTERIAL: 25,
    ContrastPhase.PORTAL_VENOUS: 70,
    ContrastPhase.DELAYED: 180,
    ContrastPhase.HEPATOBILIARY: 1200,
}
_INJECTION_AFTER_START = timedelta(minutes=6)


@dataclass(frozen=True, slots=True, kw_only=True)
class ManifestRow:
    """One row of ``manifest.csv``."""

    patient_id: str
    study_date: date
    contrast_phase: ContrastPhase
    path: str
    series_description: str
    agent: Agent


@dataclass(frozen=True, slots=True, kw_only=True)
class IdentityRow:
    """One row of ``identities.csv``."""

    dicom_patient_id: str
    patient_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FollowUpRow:
    """One row of ``patients.csv``."""

    patient_id: str
    death_date: date | None = None
    last_contact_date: date | None = None


def write_tables(folder: Path, patients: Sequence[PatientPlan]) -> None:
    """Write ``treatments.csv``, ``findings.csv``, ``markers.csv`` and ``patients.csv`` where there are such rows."""
    _write_if_any(folder / "treatments.csv", [row for plan in patients for row in plan.treatments], Treatment)
    _write_if_any(folder / "findings.csv", [row for plan in patients for row in plan.findings], Finding)
    _write_if_any(folder / "markers.csv", [row for plan in patients for row in plan.markers], Marker)
    contacts = [
        FollowUpRow(patient_id=plan.patient_id, last_contact_date=plan.last_contact_date)
        for plan in patients
        if plan.last_contact_date is not None
    ]
    _write_if_any(folder / "patients.csv", contacts, FollowUpRow)


def write_manifest(folder: Path, rows: Iterable[ManifestRow]) -> None:
    """Write ``manifest.csv``."""
    write_rows(folder / "manifest.csv", rows, ManifestRow)


def write_identities(folder: Path, patients: Sequence[PatientPlan], *, seed: int) -> None:
    """Write ``identities.csv``, which joins the DICOM patients to the tables."""
    rows = [
        IdentityRow(
            dicom_patient_id=_medical_record_number(plan.patient_id, seed), patient_id=plan.patient_id
        )
        for plan in patients
    ]
    write_rows(folder / "identities.csv", rows, IdentityRow)


def write_nifti_study(folder: Path, patient_id: str, study: RenderedStudy) -> list[ManifestRow]:
    """Write one NIfTI file per contrast phase below ``folder`` and return the manifest rows."""
    rows = []
    for phase, voxels in study.images.items():
        path = (
            Path("images") / patient_id / study.plan.study_date.isoformat() / f"{phase.value.lower()}.nii.gz"
        )
        write_image(folder / path, Image(voxels=voxels.astype(np.float32), grid=study.grid))
        rows.append(
            ManifestRow(
                patient_id=patient_id,
                study_date=study.plan.study_date,
                contrast_phase=phase,
                path=path.as_posix(),
                series_description=_DESCRIPTIONS[phase],
                agent=study.plan.agent,
            )
        )
    return rows


def write_dicom_study(folder: Path, patient_id: str, study: RenderedStudy, *, number: int, seed: int) -> None:
    """Write one study as single-slice MR files; every third study has another folder layout and naming."""
    for series_number, (phase, voxels) in enumerate(study.images.items(), start=3):
        header = _series_header(patient_id, study, phase, series_number=series_number, seed=seed)
        for index in range(voxels.shape[2]):
            instance = _instance(header, study, voxels, index=index)
            path = folder / _file_name(instance, layout=number % 3)
            write_atomically(path, _encoded(instance))


def _write_if_any(path: Path, rows: Sequence[object], row_type: type) -> None:
    if rows:
        write_rows(path, rows, row_type)


def _series_header(
    patient_id: str, study: RenderedStudy, phase: ContrastPhase, *, series_number: int, seed: int
) -> Dataset:
    """Return what all slices of a series share."""
    day = study.plan.study_date
    sources = [str(seed), patient_id, day.isoformat()]
    started = datetime(day.year, day.month, day.day, 8 + day.day % 8, (7 * day.month) % 60)
    injected = started + _INJECTION_AFTER_START
    acquired = injected + timedelta(seconds=_DELAYS_S[phase])
    spacing = study.grid.spacing_mm
    header = Dataset()
    header.SpecificCharacterSet = "ISO_IR 100"
    header.ImageType = ["ORIGINAL", "PRIMARY", "M", "ND"]
    header.SOPClassUID = MRImageStorage
    header.StudyDate = header.SeriesDate = header.AcquisitionDate = header.ContentDate = day.strftime(
        "%Y%m%d"
    )
    header.StudyTime = started.strftime("%H%M%S")
    header.SeriesTime = header.AcquisitionTime = header.ContentTime = acquired.strftime("%H%M%S")
    header.AccessionNumber = _digits([*sources, "accession"], 9)
    header.Modality = "MR"
    header.Manufacturer = "PHANTOM"
    header.InstitutionName = "PHANTOM GENERAL HOSPITAL"
    header.ReferringPhysicianName = "REFERRER^PHANTOM"
    header.StudyDescription = "MR liver dynamic"
    header.SeriesDescription = _DESCRIPTIONS[phase]
    header.PatientName = "PHANTOM^HCC"
    header.PatientID = _medical_record_number(patient_id, seed)
    header.PatientBirthDate = "19660101"
    header.PatientSex = "M"
    header.BodyPartExamined = "ABDOMEN"
    header.ScanningSequence = "GR"
    header.SequenceVariant = ["SP", "OSP"]
    header.ScanOptions = "FS"
    header.MRAcquisitionType = "3D"
    header.SliceThickness = header.SpacingBetweenSlices = _decimal(spacing[2])
    header.RepetitionTime, header.EchoTime, header.FlipAngle = "4.2", "1.6", "11"
    header.EchoTrainLength = "1"
    header.MagneticFieldStrength = "3"
    if phase is not ContrastPhase.PRECONTRAST:
        header.ContrastBolusAgent = _AGENTS[study.plan.agent]
        header.ContrastBolusStartTime = injected.strftime("%H%M%S")
    header.PatientPosition = "HFS"
    header.StudyInstanceUID = generate_uid(entropy_srcs=[*sources, "study"])
    header.SeriesInstanceUID = generate_uid(entropy_srcs=[*sources, phase.value])
    header.FrameOfReferenceUID = generate_uid(entropy_srcs=[*sources, "frame"])
    header.PositionReferenceIndicator = ""
    header.StudyID = "1"
    header.SeriesNumber = series_number
    # image columns run to the patient's left, rows to the back: LPS
    header.ImageOrientationPatient = ["1", "0", "0", "0", "1", "0"]
    header.PixelSpacing = [_decimal(spacing[1]), _decimal(spacing[0])]
    header.SamplesPerPixel = 1
    header.PhotometricInterpretation = "MONOCHROME2"
    header.Rows, header.Columns = study.grid.shape[1], study.grid.shape[0]
    header.BitsAllocated, header.BitsStored, header.HighBit = 16, 12, 11
    header.PixelRepresentation = 0
    return header


def _instance(header: Dataset, study: RenderedStudy, voxels: Voxels, *, index: int) -> Dataset:
    """Return one slice; instances are numbered from head to feet."""
    origin, step = study.grid.affine[:3, 3], study.grid.spacing_mm
    slices = voxels.shape[2]
    instance = Dataset(header)
    number = slices - index
    instance.SOPInstanceUID = generate_uid(entropy_srcs=[header.SeriesInstanceUID, str(number)])
    instance.InstanceNumber = number
    corner = (
        -(origin[0] + (voxels.shape[0] - 1) * step[0]),
        -(origin[1] + (voxels.shape[1] - 1) * step[1]),
        origin[2] + index * step[2],
    )
    instance.ImagePositionPatient = [_decimal(value) for value in corner]
    instance.SliceLocation = _decimal(corner[2])
    # [i, j] with i to the right and j to the front become rows from front to back, columns from right to left
    instance.PixelData = np.ascontiguousarray(voxels[::-1, ::-1, index].T, dtype="<u2").tobytes()
    return instance


def _encoded(instance: Dataset) -> bytes:
    meta = FileMetaDataset()
    meta.FileMetaInformationVersion = b"\x00\x01"
    meta.MediaStorageSOPClassUID = MRImageStorage
    meta.MediaStorageSOPInstanceUID = instance.SOPInstanceUID
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.ImplementationClassUID = _IMPLEMENTATION_UID
    meta.ImplementationVersionName = "PHANTOM"
    instance.file_meta = meta
    buffer = io.BytesIO()
    dcmwrite(buffer, instance, enforce_file_format=True)
    return buffer.getvalue()


def _file_name(instance: Dataset, *, layout: int) -> Path:
    """Return where an export puts a file: archive folders, folders per series, or one folder for everything."""
    uid = str(instance.SOPInstanceUID)
    if layout == 0:
        folders = [
            _hex(str(value))
            for value in (instance.PatientID, instance.StudyInstanceUID, instance.SeriesInstanceUID)
        ]
        return Path("DICOM", *folders, f"IM{instance.InstanceNumber:06d}")
    if layout == 1:
        description = str(instance.SeriesDescription).replace(" ", "_")
        series = f"{instance.SeriesNumber:03d}_{description}"
        return Path(
            f"export_{instance.StudyDate}_{_hex(str(instance.PatientID))}", "MR_liver", series, f"{uid}.dcm"
        )
    return Path("unsorted", f"{_hex(uid)}.IMA")


def _medical_record_number(patient_id: str, seed: int) -> str:
    return f"MRN{_digits([str(seed), patient_id, 'patient'], 7)}"


def _digits(sources: list[str], count: int) -> str:
    digest = hashlib.sha256("/".join(sources).encode()).hexdigest()
    return str(int(digest, 16))[:count]


def _hex(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12].upper()


def _decimal(value: float) -> str:
    """Return a DICOM decimal string of at most 16 characters."""
    return f"{value:.6f}".rstrip("0").rstrip(".")
