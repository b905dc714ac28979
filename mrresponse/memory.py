"""How much memory a patient will take, said from the headers before a voxel is read, and how much there is.

A patient that would not fit is refused by name. Otherwise the system would end the process, and whatever else was at
work in it, without a word.
"""

from collections.abc import Iterable
from math import prod
from pathlib import Path

from mrresponse.domain import Patient, Series, Study
from mrresponse.errors import DataError

# Bytes per voxel of the reference grid. An examined study keeps float32 images and probability, and two label maps;
# the crop around the liver makes it less. While it is worked on, each image is there as read, as float32 and on the
# common grid, and the search for the liver adds maps of its own.
_KEPT_PER_IMAGE = 4
_KEPT_BESIDE = 8
_WORKED_PER_IMAGE = 16
_WORKED_BESIDE = 40
# The program, its libraries and the networks with their windows.
_PROGRAM_BYTES = 1_200_000_000
_GIB = 1 << 30
_MEMINFO = Path("/proc/meminfo")
_CGROUP = Path("/sys/fs/cgroup")


def estimate_bytes(patient: Patient) -> int:
    """Return the most memory that assessing a patient will take; headers only.

    Raises
    ------
    DataError
        A header cannot be read.
    """
    sizes = [_voxels(patient, study) for study in patient.studies]
    kept = sum(max(each) * (_KEPT_PER_IMAGE * (len(each) + 1) + _KEPT_BESIDE) for each in sizes if each)
    worked = max(
        (_WORKED_PER_IMAGE * sum(each) + _WORKED_BESIDE * max(each) for each in sizes if each), default=0
    )
    return _PROGRAM_BYTES + kept + worked


def check_memory(patient: Patient, limit: int) -> None:
    """Refuse a patient that would not fit into `limit` bytes.

    Raises
    ------
    DataError
        ``too_large_for_memory``, or a header cannot be read.
    """
    wanted = estimate_bytes(patient)
    if wanted > limit:
        raise DataError(
            f"{len(patient.studies)} studies would take about {wanted / _GIB:.1f} GiB of memory, found "
            f"{limit / _GIB:.1f} GiB per worker; expected fewer --workers, a larger --memory or smaller images",
            code="too_large_for_memory",
            patient_id=patient.patient_id,
        )


def available_bytes() -> int:
    """Return how much memory this machine, or this job's share of it, can still give."""
    lines = _MEMINFO.read_text(encoding="ascii").splitlines()
    free = next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))
    return min([free, *_cgroup_rest(_CGROUP)])


def _cgroup_rest(folder: Path) -> Iterable[int]:
    """Yield what a control group (a container, a scheduler's job) leaves, where there is one."""
    try:
        limit = (folder / "memory.max").read_text(encoding="ascii").strip()
        if limit != "max":
            yield int(limit) - int((folder / "memory.current").read_text(encoding="ascii"))
    except (OSError, ValueError):
        return


def _voxels(patient: Patient, study: Study) -> list[int]:
    try:
        return [_series_voxels(series) for series in study.series]
    except DataError as error:
        error.patient_id, error.study_date = patient.patient_id, study.study_date
        raise


def _series_voxels(series: Series) -> int:
    if not series.files:
        from mrresponse.nifti import read_grid

        return prod(read_grid(series.path).shape)
    from pydicom import dcmread
    from pydicom.errors import InvalidDicomError

    try:
        header = dcmread(
            series.files[0], stop_before_pixels=True, specific_tags=["Rows", "Columns", "NumberOfFrames"]
        )
        frames = int(header.get("NumberOfFrames") or 1)
        return int(header.Rows) * int(header.Columns) * frames * len(series.files)
    except (OSError, AttributeError, ValueError, InvalidDicomError):
        raise DataError(
            "slices without a readable header, expected DICOM images", code="unreadable", path=series.files[0]
        ) from None
