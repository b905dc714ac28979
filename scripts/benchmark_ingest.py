"""Measure how fast DICOM is read: the voxels of one study, and the headers of a large tree.

The study has five contrast phases of 320x260x72, 360 slices in all. The tree has 50,000 files with headers as long as
those of a scanner (private elements included); they are links to the same 360, so that making them takes no time.
"""

import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median

import numpy as np
from pydicom import dcmread

from mrresponse.domain import ContrastPhase, Grid
from mrresponse.ingest import IngestSettings, ingest, read_series
from mrresponse.ingest.tree import scan
from mrresponse.synthetic.catalogue import find_scenario
from mrresponse.synthetic.render import RenderedStudy
from mrresponse.synthetic.writers import write_dicom_study

SHAPE = (320, 260, 72)
FILES = 50_000
REPEATS = 3
_PRIVATE_ELEMENTS, _PRIVATE_BYTES = 60, 8_000


def measure() -> dict[str, float]:
    """Return seconds by name."""
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        _write_study(home / "study")
        read = median(_read_study(home / "study") for _ in range(REPEATS))
        _write_tree(home / "study", home / "tree")
        return {"read_study": read, **_scan(home)}


def _read_study(data: Path) -> float:
    """Read headers and voxels of a study as a run does; files cached."""
    start = time.perf_counter()
    (patient,) = ingest(data, IngestSettings()).patients
    (study,) = patient.studies
    for series in study.series:
        read_series(series, patient_id=patient.patient_id, study_date=study.study_date)
    return time.perf_counter() - start


def _scan(home: Path) -> dict[str, float]:
    """Scan a tree that nobody has scanned, the same again, and one that was broken off half-way."""
    with _timed() as first:
        found = scan([home / "tree"], home / "cache")
    assert len(found.headers) == FILES
    with _timed() as again:
        scan([home / "tree"], home / "cache")
    index = home / "cache" / "scan.jsonl"
    lines = index.read_bytes().splitlines(keepends=True)
    index.write_bytes(b"".join(lines[: len(lines) // 2]))
    with _timed() as resumed:
        scan([home / "tree"], home / "cache")
    return {"scan": first[0], "scan_again": again[0], "scan_resumed": resumed[0]}


@contextmanager
def _timed() -> Iterator[list[float]]:
    seconds: list[float] = []
    start = time.perf_counter()
    yield seconds
    seconds.append(time.perf_counter() - start)


def _write_study(folder: Path) -> None:
    rng = np.random.default_rng(1)
    rows = ((1.2, 0.0, 0.0, 0.0), (0.0, 1.2, 0.0, 0.0), (0.0, 0.0, 3.0, 0.0))
    phases = [phase for phase in ContrastPhase if phase is not ContrastPhase.OTHER]
    study = RenderedStudy(
        plan=find_scenario("M4", seed=1).patients[0].studies[0],
        grid=Grid(shape=SHAPE, affine_rows=rows),
        images={phase: rng.integers(0, 4095, SHAPE, dtype=np.int16) for phase in phases},
        liver=np.zeros(SHAPE, dtype=np.bool_),
        lesions=(),
    )
    write_dicom_study(folder, "P1", study, number=0, seed=1)
    for file in sorted(folder.rglob("IM*")):
        dataset = dcmread(file)
        block = dataset.private_block(0x0029, "SCANNER HEADER", create=True)
        for number in range(_PRIVATE_ELEMENTS):
            block.add_new(number, "LO", f"value {number}")
        block.add_new(0xF0, "OB", bytes(_PRIVATE_BYTES))
        dataset.save_as(file)


def _write_tree(study: Path, tree: Path) -> None:
    files = sorted(study.rglob("IM*"))
    for number in range(FILES):
        folder = tree / f"{number // len(files):04d}"
        folder.mkdir(parents=True, exist_ok=True)
        os.link(files[number % len(files)], folder / f"{number:06d}")
