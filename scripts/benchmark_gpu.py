"""Assess a cohort of `clinical` studies on one device, and the first of them on the CPU too: `benchmark.py gpu`.

Every patient is a copy of one phantom, just written: the files may still be in memory, so the disk is not what is
tried. One worker per core, up to 16: their networks take turns at the device.
"""

import os
import subprocess
import sys
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import mean

from mrresponse.evaluate import dice
from mrresponse.nifti import read_label_map
from mrresponse.synthetic.scenarios import generate

COMMAND = [sys.executable, "-c", "from mrresponse.cli import entry; entry()"]
MASKS = ("liver", "lesions")
MOST_WORKERS = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What a cohort took: studies per second while all workers were busy, and the Dice of each mask to the CPU's.

    ``busy`` is the mean share of time in which the card computed; ``None`` where NVML is not there to say it.
    """

    studies_per_s: float
    seconds: float
    busy: float | None
    agreement: dict[str, float | None]


@dataclass(slots=True)
class Watch:
    """Asks twice a second how busy the first card is, while it is open."""

    shares: list[float] = field(default_factory=list)
    _closed: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        """Ask until closed; NVML missing is no reason to measure nothing."""
        import torch

        while not self._closed.wait(0.5):
            try:
                self.shares.append(torch.cuda.utilization(0) / 100.0)
            except (ModuleNotFoundError, RuntimeError):
                return

    def close(self) -> None:
        """Ask no more."""
        self._closed.set()


def measure(out: Path, device: str, *, patients: int, size: str = "clinical") -> Measured:
    """Run a cohort on a device and compare the masks of its first patient with those of the CPU in float32."""
    workers = min(MOST_WORKERS, os.cpu_count() or 1, patients // 3)
    data = make_cohort(out, patients, size)
    watch = Watch()
    thread = threading.Thread(target=watch.run, daemon=True)
    thread.start()
    _run(data, out / "run", "--device", device, "--workers", str(workers))
    watch.close()
    thread.join()
    moments = sorted(file.stat().st_mtime for file in (out / "run" / "resume" / "patients").glob("*.json"))
    only = make_cohort(out, 1, size)
    config = out / "float32.yaml"
    config.write_text("segment: {precision: float32}\n", encoding="utf-8")
    _run(only, out / "cpu", "--device", "cpu", "--config", str(config))
    return Measured(
        studies_per_s=sustained(moments, workers),
        seconds=moments[-1] - moments[0],
        busy=mean(watch.shares) if watch.shares else None,
        agreement=agreement(out / "run" / "masks", out / "cpu" / "masks"),
    )


def make_cohort(out: Path, patients: int, size: str) -> Path:
    """Make one study of five phases as DICOM, copy it under other names, and return the data folder."""
    phantom = out / "phantom"
    if not phantom.is_dir():
        generate("N3", size=size, seed=1, image_format="dicom", out=phantom)
    data = out / f"data-{patients}"
    for number in range(patients):
        copy_patient(phantom / "data" / "DICOM", data / f"P{number:04d}")
    names = "".join(f"P{number:04d},P{number:04d}\n" for number in range(patients))
    (data / "identities.csv").write_text(f"dicom_patient_id,patient_id\n{names}", encoding="utf-8")
    return data


def copy_patient(source: Path, target: Path) -> None:
    """Copy the DICOM files of a patient as those of another, who is called by the folder's name."""
    from pydicom import dcmread
    from pydicom.uid import generate_uid

    for file in source.rglob("IM*"):
        slice_ = dcmread(file)
        slice_.PatientID = target.name
        for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "FrameOfReferenceUID"):
            own = generate_uid(entropy_srcs=[target.name, str(slice_[keyword].value)])
            setattr(slice_, keyword, own)
        slice_.file_meta.MediaStorageSOPInstanceUID = slice_.SOPInstanceUID
        copy = target / file.relative_to(source)
        copy.parent.mkdir(parents=True, exist_ok=True)
        slice_.save_as(copy)


def _run(data: Path, out: Path, *more: str) -> None:
    subprocess.run(
        [*COMMAND, "run", str(data), "--out", str(out), *more], check=True, stdout=subprocess.DEVNULL
    )


def sustained(moments: Sequence[float], workers: int) -> float:
    """Return how many finish in a second between the first and the last round, in which workers wait or are missing.

    ``moments`` are those at which each was finished, in order; at least three per worker.
    """
    counted = moments[workers - 1 : len(moments) - workers]
    return (len(counted) - 1) / (counted[-1] - counted[0])


def agreement(one: Path, other: Path) -> dict[str, float | None]:
    """Return the Dice of the masks of the only study in ``other`` with the same study's in ``one``."""
    (folder,) = (path.parent for path in other.glob("*/*/liver.nii.gz"))
    beside = one / folder.relative_to(other)
    return {
        name: dice(*(read_label_map(where / f"{name}.nii.gz").voxels > 0 for where in (beside, folder)))
        for name in MASKS
    }
