"""How much memory a patient takes and how much there is, from headers and control groups."""

from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

from mrresponse import memory
from mrresponse.domain import ContrastPhase, Patient, Series, Study
from mrresponse.memory import available_bytes, estimate_bytes

MIB = 1 << 20


def group(folder: Path, **files: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name.replace("__", ".")).write_text(content + "\n")


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine with 8000 MiB free and no control group yet; its groups are mounted at ``groups``."""
    (tmp_path / "meminfo").write_text(f"MemTotal: 1 kB\nMemAvailable: {8000 * 1024} kB\n")
    monkeypatch.setattr(memory, "_MEMINFO", tmp_path / "meminfo")
    monkeypatch.setattr(memory, "_CGROUP", tmp_path / "groups")
    monkeypatch.setattr(memory, "_OWN_CGROUPS", tmp_path / "own")
    (tmp_path / "own").write_text("0::/\n")
    return tmp_path


def test_without_a_limit_the_machine_counts(machine: Path) -> None:
    assert available_bytes() == 8000 * MIB
    group(machine / "groups", memory__max="max", memory__current="5", memory__stat="inactive_file 0")
    assert available_bytes() == 8000 * MIB


def test_files_that_were_read_leave_room(machine: Path) -> None:
    group(
        machine / "groups",
        memory__max=str(1000 * MIB),
        memory__current=str(900 * MIB),
        memory__stat=f"anon 5\ninactive_file {700 * MIB}\nactive_file {MIB}",
    )
    assert available_bytes() == 800 * MIB


def test_the_limit_of_a_job_is_that_of_its_own_group_or_of_one_above(machine: Path) -> None:
    (machine / "own").write_text("0::/slurm/job_7/step_0\n")
    job = machine / "groups" / "slurm" / "job_7"
    group(job / "step_0", memory__max="max", memory__current="0", memory__stat="")
    group(job, memory__max=str(600 * MIB), memory__current=str(100 * MIB), memory__stat="")
    group(job.parent / "job_8", memory__max=str(MIB), memory__current="0", memory__stat="")
    assert available_bytes() == 500 * MIB


def test_version_1_is_read_too(machine: Path) -> None:
    (machine / "own").write_text("11:cpu,cpuacct:/other\n5:memory:/job\n1:name=systemd:/x\n")
    top = machine / "groups" / "memory"
    group(
        top / "job",
        memory__limit_in_bytes=str(400 * MIB),
        memory__usage_in_bytes=str(390 * MIB),
        memory__stat=f"inactive_file 1\ntotal_inactive_file {40 * MIB}",
    )
    group(top, memory__limit_in_bytes="9223372036854771712", memory__usage_in_bytes="7", memory__stat="")
    group(top / "other", memory__limit_in_bytes="1", memory__usage_in_bytes="0", memory__stat="")
    assert available_bytes() == 50 * MIB


def test_a_group_that_is_over_its_limit_leaves_nothing(machine: Path) -> None:
    group(machine / "groups", memory__max="10", memory__current="30", memory__stat="")
    assert available_bytes() == 0


def header(path: Path, frames: int | None) -> Path:
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.4.1"
    dataset.file_meta.MediaStorageSOPInstanceUID = "1.2.3"
    dataset.Rows, dataset.Columns = 260, 320
    if frames is not None:
        dataset.NumberOfFrames = frames
    dataset.save_as(path, enforce_file_format=True)
    return path


def of_one(series: Series) -> Patient:
    day = date(2024, 1, 5)
    return Patient(patient_id="P1", studies=(Study(patient_id="P1", study_date=day, series=(series,)),))


def test_one_phase_of_a_file_of_many_frames_counts_its_own_frames(tmp_path: Path) -> None:
    """288 frames in one file, 72 of them of this phase, take what 72 files of one frame take."""
    many = header(tmp_path / "many", 288)
    single = header(tmp_path / "single", None)
    series = Series(
        path=many, contrast_phase=ContrastPhase.ARTERIAL, files=(many,) * 72, frames=tuple(range(72))
    )
    apart = replace(series, path=single, files=(single,) * 72, frames=())
    assert estimate_bytes(of_one(series)) == estimate_bytes(of_one(apart))
    whole = replace(series, files=(many,), frames=())
    assert estimate_bytes(of_one(whole)) > 3 * (estimate_bytes(of_one(apart)) - memory._PROGRAM_BYTES)
