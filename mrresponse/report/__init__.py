"""Tables and pages that people read; formats and rounds, decides nothing clinical."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from mrresponse.domain import Failure, Outcome, PatientResult
from mrresponse.report.html import PatientSummary, patient_page, summarise, write_index, write_report
from mrresponse.report.lesion_table import LesionTableRow, lesion_table, write_lesion_table
from mrresponse.report.response_table import response_table
from mrresponse.report.snapshots import read_snapshots, write_snapshot

__all__ = [
    "EXPORTERS",
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


def _export_csv(outcomes: Sequence[Outcome], folder: Path) -> None:
    """Write ``lesion_table.csv`` into a run folder."""
    rows = lesion_table(outcome for outcome in outcomes if isinstance(outcome, PatientResult))
    write_lesion_table(folder / "lesion_table.csv", rows)


def _export_html(outcomes: Sequence[Outcome], folder: Path) -> None:
    """Write the pages and their index into the ``report`` folder of a run folder."""
    results = [outcome for outcome in outcomes if isinstance(outcome, PatientResult)]
    failures = [outcome for outcome in outcomes if isinstance(outcome, Failure)]
    for result in results:
        write_report(result, folder / "report")
    write_index([summarise(result) for result in results], folder / "report", failures=failures)


EXPORTERS: Mapping[str, Callable[[Sequence[Outcome], Path], None]] = MappingProxyType(
    {"csv": _export_csv, "html": _export_html}
)
"""Formats by name; each takes the outcomes of a run and its folder."""
