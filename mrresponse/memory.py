"""How much memory a patient will take, said from the headers before a voxel is read, and how much there is.

A patient that would not fit is refused by name. Otherwise the system would end the process, and whatever else was at
work in it, without a word.
"""

from collections.abc import Iterator
from dataclasses import dataclass
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
_OWN_CGROUPS = Path("/proc/self/cgroup")
# Version 1 says that there is no limit by one that no machine reaches.
_NO_LIMIT = 1 << 60


@dataclass(frozen=True, slots=True, kw_only=True)
class _Names:
    """Files of a control group, and the line of ``memory.stat`` that counts what would be given up first."""

    limit: str
    used: str
    given_up: str


_VERSION_2 = _Names(limit="memory.max", used="memory.current", given_up="inactive_file")
_VERSION_1 = _Names(
    limit="memory.limit_in_bytes", used="memory.usage_in_bytes", given_up="total_inactive_file"
)


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
    try:
        own = _OWN_CGROUPS.read_text(encoding="utf-8")
    except OSError:
        own = ""
    return min([free, *_cgroup_rests(_CGROUP, own)])


def _cgroup_rests(root: Path, own: str) -> Iterator[int]:
    """Yield what the control groups (a container, a scheduler's job) of this process leave, its own and those above.

    Parameters
    ----------
    root
        Where the control groups are mounted.
    own
        Content of ``/proc/self/cgroup``: ``number:controllers:path`` per line; version 2 names no controllers.
    """
    # a container sees its own group as the root, whatever the path says
    groups = {(root, _VERSION_2), (root / "memory", _VERSION_1)}
    for line in own.splitlines():
        _, controllers, path = line.split(":", 2)
        if ".." in path or (controllers and "memory" not in controllers.split(",")):
            continue
        top, names = (root / "memory", _VERSION_1) if controllers else (root, _VERSION_2)
        group = top / path.lstrip("/")
        groups |= {(one, names) for one in (group, *group.parents) if one.is_relative_to(top)}
    for folder, names in groups:
        rest = _rest(folder, names)
        if rest is not None:
            yield rest


def _rest(folder: Path, names: _Names) -> int | None:
    """Return what one control group leaves; ``None`` where it is not there or has no limit."""
    try:
        limit = (folder / names.limit).read_text(encoding="ascii").strip()
        if limit == "max" or int(limit) >= _NO_LIMIT:
            return None
        used = int((folder / names.used).read_text(encoding="ascii"))
        # files that were read stay in memory while nobody needs the room
        return max(0, int(limit) - used + _given_up(folder / "memory.stat", names.given_up))
    except (OSError, ValueError):
        return None


def _given_up(file: Path, name: str) -> int:
    if not file.is_file():
        return 0
    lines = (line.split() for line in file.read_text(encoding="ascii").splitlines())
    return sum(int(words[1]) for words in lines if words[:1] == [name])


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
        # a file of several frames is named once for each of them that belongs to the series
        frames = 1 if series.frames else int(header.get("NumberOfFrames") or 1)
        return int(header.Rows) * int(header.Columns) * frames * len(series.files)
    except (OSError, AttributeError, ValueError, InvalidDicomError):
        raise DataError(
            "slices without a readable header, expected DICOM images", code="unreadable", path=series.files[0]
        ) from None
