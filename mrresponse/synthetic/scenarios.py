"""Synthetic patients on disk: ``data`` is what a hospital would hand over, ``truth`` what is known of it."""

import os
import zlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from mrresponse.errors import ConfigError
from mrresponse.synthetic.catalogue import SCENARIOS as SCENARIOS
from mrresponse.synthetic.catalogue import find_scenario
from mrresponse.synthetic.placement import place_patient
from mrresponse.synthetic.plans import PatientPlan
from mrresponse.synthetic.render import render_study
from mrresponse.synthetic.study_geometry import SIZES
from mrresponse.synthetic.truth import describe_patient, write_study_truth, write_truth
from mrresponse.synthetic.writers import (
    ManifestRow,
    write_dicom_study,
    write_identities,
    write_manifest,
    write_nifti_study,
    write_tables,
)

ImageFormat = Literal["nifti", "dicom"]

# A study of the largest size takes about 1 GB while it is painted.
_MOST_STUDIES_AT_ONCE = 4


def generate(scenario: str, *, size: str, seed: int, image_format: ImageFormat, out: Path) -> tuple[str, ...]:
    """Write the patients of a scenario to ``out/data`` and ``out/truth``.

    Parameters
    ----------
    scenario
        A name of ``SCENARIOS``, or ``cohort-N``.
    size
        ``tiny``, ``standard``, ``clinical`` or ``fine``.
    seed
        Equal arguments give equal bytes.
    image_format
        ``nifti`` (with ``manifest.csv``) or ``dicom`` (with ``identities.csv``).

    Returns
    -------
    tuple of str
        The patients' pseudonyms.

    Raises
    ------
    ConfigError
        Unknown scenario, size or format, or ``out`` already holds a phantom.
    """
    _check(size=size, image_format=image_format, seed=seed, out=out)
    found = find_scenario(scenario, seed=seed)
    rows: list[ManifestRow] = []
    patients = []
    with _one_thread_per_operation():
        for plan in found.patients:
            entry, manifest = _write_patient(plan, size=size, seed=seed, image_format=image_format, out=out)
            patients.append(entry)
            rows += manifest
    data = out / "data"
    if image_format == "nifti":
        write_manifest(data, rows)
    else:
        write_identities(data, found.patients, seed=seed)
    write_tables(data, found.patients)
    header = {"scenario": found.name, "summary": found.summary, "seed": seed, "size": size}
    write_truth(out / "truth", header, patients, _expected(found.patients))
    return tuple(plan.patient_id for plan in found.patients)


def _check(*, size: str, image_format: str, seed: int, out: Path) -> None:
    if size not in SIZES:
        raise ConfigError(f"--size: found {size!r}, expected one of {', '.join(SIZES)}")
    if image_format not in ("nifti", "dicom"):
        raise ConfigError(f"--format: found {image_format!r}, expected nifti or dicom")
    if seed < 0:
        raise ConfigError(f"--seed: found {seed}, expected a number from 0 on")
    if (out / "data").exists() or (out / "truth").exists():
        raise ConfigError(f"--out: {out.name} already holds 'data' or 'truth', expected a new folder")


def _write_patient(
    plan: PatientPlan, *, size: str, seed: int, image_format: ImageFormat, out: Path
) -> tuple[dict[str, Any], list[ManifestRow]]:
    """Write one patient's images and masks; return the entry of ``truth.json`` and the manifest rows."""
    patient_seed = seed_of(plan.patient_id, seed)
    patient = place_patient(plan, seed=patient_seed)

    render = partial(render_study, patient, size=SIZES[size], seed=patient_seed)
    entries = []
    rows: list[ManifestRow] = []
    with ThreadPoolExecutor(max_workers=min(_MOST_STUDIES_AT_ONCE, os.cpu_count() or 1)) as pool:
        for number, study in enumerate(pool.map(render, range(len(plan.studies)))):
            if image_format == "nifti":
                rows += write_nifti_study(out / "data", plan.patient_id, study)
            else:
                write_dicom_study(out / "data", plan.patient_id, study, number=number, seed=seed)
            entries.append(write_study_truth(out / "truth", patient, study, seed=patient_seed + number))
    return describe_patient(patient, entries), rows


@contextmanager
def _one_thread_per_operation() -> Iterator[None]:
    """Keep torch from splitting an operation: sums in another order would give other bytes on another machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def seed_of(patient_id: str, seed: int) -> int:
    """Return a seed of its own for every patient, the same on every machine."""
    return int(np.random.SeedSequence([seed, zlib.crc32(patient_id.encode())]).generate_state(1)[0])


def _expected(patients: Sequence[PatientPlan]) -> list[Any]:
    return [row for plan in patients for row in plan.expected]
