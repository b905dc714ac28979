"""Tables and pages that people read; formats and rounds, decides nothing clinical."""

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from mrresponse.report.cdisc import export_adam, export_sdtm
from mrresponse.report.html import patient_page, write_index, write_report
from mrresponse.report.lesion_table import LesionTableRow, lesion_table, write_lesion_table
from mrresponse.report.response_table import response_table
from mrresponse.report.run import Exporter, FinishedRun
from mrresponse.report.snapshots import read_snapshots, write_snapshot
from mrresponse.report.summary import PatientSummary, summarise
from mrresponse.report.tidy import export_csv, export_parquet
from mrresponse.report.workbook import export_workbook

__all__ = [
    "EXPORTERS",
    "IDENTIFYING",
    "NAMING_STUDY",
    "Exporter",
    "FinishedRun",
    "LesionTableRow",
    "PatientSummary",
    "lesion_table",
    "patient_page",
    "read_snapshots",
    "response_table",
    "summarise",
    "write_index",
    "write_lesion_table",
    "write_report",
    "write_snapshot",
]


def _export_html(run: FinishedRun, folder: Path) -> None:
    """Write the pages and their index."""
    for result in run.results:
        write_report(result, folder)
    lines = [summarise(result) for result in run.results]
    write_index(lines, folder, failures=run.failures, figures=run.figures)


def _export_dicom_seg(run: FinishedRun, folder: Path) -> None:
    """Write the masks as DICOM SEG beside their source images."""
    from mrresponse.report.dicom import export_segmentations

    export_segmentations(run, folder)


def _export_dicom_sr(run: FinishedRun, folder: Path) -> None:
    """Write measurements and responses as DICOM SR beside their source images."""
    from mrresponse.report.dicom import export_structured_reports

    export_structured_reports(run, folder)


EXPORTERS: Mapping[str, Exporter] = MappingProxyType(
    {
        "csv": export_csv,
        "parquet": export_parquet,
        "xlsx": export_workbook,
        "html": _export_html,
        "sdtm": export_sdtm,
        "adam": export_adam,
        "dicom-seg": _export_dicom_seg,
        "dicom-sr": _export_dicom_sr,
    }
)
"""Formats by name; each writes a finished run into a folder of its own. A new format is one more entry."""

IDENTIFYING = frozenset({"dicom-seg", "dicom-sr"})
"""Formats that carry the identity of the source images unless they are told not to."""

NAMING_STUDY = frozenset({"sdtm", "adam"})
"""Formats that carry the identifier of a study."""
