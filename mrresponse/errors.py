"""Errors a user can cause, and what they must say.

::

    MrresponseError
    ├── ConfigError    a setting, an option or a device that cannot be honoured: nothing is run
    ├── ModelError     a model folder that cannot be trusted or read: nothing is run
    └── DataError      one patient's data cannot be used: the patient fails, the batch goes on

A message says where (pseudonym, study date, series), what was found and what was expected.
Source paths may identify a person; they travel in ``DataError.path`` and are shown only on request.
Programming mistakes stay ``ValueError`` and ``TypeError``.
"""

from datetime import date
from pathlib import Path


class MrresponseError(Exception):
    """Any error whose cause lies in what the user handed over."""


class ConfigError(MrresponseError):
    """A setting that cannot be honoured; the message begins with its dotted key or option."""


class ModelError(MrresponseError):
    """A model folder that is incomplete, altered or of an unknown kind."""


class DataError(MrresponseError):
    """One patient's data cannot be used.

    Parameters
    ----------
    message
        What was found and what was expected; free of paths and identifiers.
    patient_id, study_date, series
        Where: pseudonym, date of the study, and the number or contrast phase of the series.
    code
        Stable short name of the kind of failure, for ``failures.csv``.
    path
        Source file, for ``--show-paths`` and ``private/`` only.
    """

    def __init__(
        self,
        message: str,
        *,
        code: str,
        patient_id: str | None = None,
        study_date: date | None = None,
        series: str | None = None,
        path: Path | None = None,
    ) -> None:
        self.message = message
        self.code = code
        self.patient_id = patient_id
        self.study_date = study_date
        self.series = series
        self.path = path
        super().__init__(message)

    def __str__(self) -> str:
        where = [
            self.patient_id or "",
            self.study_date.isoformat() if self.study_date else "",
            f"series {self.series}" if self.series else "",
        ]
        place = " ".join(part for part in where if part)
        return f"{place}: {self.message}" if place else self.message
