"""A finished run as an exporter gets it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

from mrresponse.cohort import CohortFigure
from mrresponse.domain import Contribution, Failure, PatientResult
from mrresponse.tables import Table


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FinishedRun:
    """What a run found, read back, and where its folder is.

    Parameters
    ----------
    results, failures
        The patients that were assessed, by pseudonym, and what could not be.
    contributions
        What every lesion gives to every assessment.
    tables
        The tables of the run folder as typed rows.
    figures
        What the figures of the cohort show.
    record
        ``run.json``: version, settings, models, libraries.
    folder
        The run folder, for formats that need more than numbers (masks, pictures).
    study_id
        Name of the study, for formats that carry one.
    deidentify
        Whether DICOM objects leave without the patient's identity.
    """

    results: tuple[PatientResult, ...]
    failures: tuple[Failure, ...] = ()
    contributions: tuple[Contribution, ...] = ()
    tables: tuple[Table, ...] = ()
    figures: tuple[CohortFigure, ...] = ()
    record: Mapping[str, Any] = field(default_factory=dict)
    folder: Path
    study_id: str = "MRRESPONSE"
    deidentify: bool = False


Exporter = Callable[[FinishedRun, Path], None]
"""Writes a run in one format into a folder of that format's own; the folder may not exist yet."""


def source_file(run: Path, patient_id: str, study_date: date) -> Path:
    """Return where a run keeps the places of the source images of a study's reference series."""
    return source_folder(run, patient_id) / f"{study_date.isoformat()}.json"


def source_folder(run: Path, patient_id: str) -> Path:
    """Return the folder of these files of a patient."""
    return run / "private" / "sources" / patient_id
