"""CDISC datasets of a run: SDTM (tabulation) and ADaM (analysis), each as CSV and as SAS transport files."""

from pathlib import Path

from mrresponse.report.cdisc.adam import adam_datasets
from mrresponse.report.cdisc.dataset import Dataset, Variable, write_dataset
from mrresponse.report.cdisc.sdtm import sdtm_datasets
from mrresponse.report.run import FinishedRun

__all__ = [
    "Dataset",
    "Variable",
    "adam_datasets",
    "export_adam",
    "export_sdtm",
    "sdtm_datasets",
    "write_dataset",
]


def export_sdtm(run: FinishedRun, folder: Path) -> None:
    """Write TU, TR, RS and SUPPTR."""
    for dataset in sdtm_datasets(run):
        write_dataset(dataset, folder)


def export_adam(run: FinishedRun, folder: Path) -> None:
    """Write ADRS, ADTR and ADTTE."""
    for dataset in adam_datasets(run):
        write_dataset(dataset, folder)
