"""The tables of a run for statistics: tidy CSV and Parquet, with the settings beside them.

``lesions`` has one row per lesion, visit and assessment with the value that the criterion read; ``visits`` one row per
assessment with its study day. The other tables are those of the run folder, under their names.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from datetime import date, datetime
from functools import partial
from pathlib import Path
from typing import Any

from mrresponse.domain import Assessment, Contribution, Patient
from mrresponse.files import replace_atomically, write_atomically
from mrresponse.report.run import FinishedRun
from mrresponse.tables import Table, format_rows, typed_columns


@dataclass(frozen=True, slots=True, kw_only=True)
class VisitRow(Assessment):
    """An assessment with its place in the patient's course."""

    visit: int
    study_day: int


def export_csv(run: FinishedRun, folder: Path) -> None:
    """Write every table as CSV, and ``provenance.json``."""
    for table in tidy_tables(run):
        content = format_rows(table.rows, table.row_type)
        write_atomically(folder / f"{table.name}.csv", content.encode("utf-8"))
    write_atomically(folder / "provenance.json", provenance(run))


def export_parquet(run: FinishedRun, folder: Path) -> None:
    """Write every table as Parquet with typed columns; the provenance is in each file's metadata too."""
    from pyarrow import parquet

    for table in tidy_tables(run):
        content = _arrow(table).replace_schema_metadata({"mrresponse": provenance(run)})
        replace_atomically(folder / f"{table.name}.parquet", partial(parquet.write_table, content))
    write_atomically(folder / "provenance.json", provenance(run))


def tidy_tables(run: FinishedRun) -> tuple[Table, ...]:
    """Return the tables of the run, and those that put lesions and assessments on one time axis."""
    lesions = Table(name="lesions", row_type=Contribution, rows=run.contributions)
    visits = Table(name="visits", row_type=VisitRow, rows=tuple(visit_rows(run)))
    return (lesions, visits, *run.tables)


def visit_rows(run: FinishedRun) -> Iterable[VisitRow]:
    """Yield the assessments of every patient with visit number and study day."""
    for result in run.results:
        number = visit_numbers(result.response.assessments)
        first = reference_date(result.patient, result.response.assessments)
        for row in result.response.assessments:
            values = {item.name: getattr(row, item.name) for item in fields(row)}
            yield VisitRow(
                **values,
                visit=number[row.study_date],
                study_day=study_day(row.study_date, first or row.study_date),
            )


def visit_numbers(assessments: Iterable[Assessment]) -> Mapping[date, int]:
    """Number the visits of a patient by date, over all treatment phases, from 1."""
    dates = sorted({row.study_date for row in assessments})
    return {day: number for number, day in enumerate(dates, start=1)}


def reference_date(patient: Patient, assessments: Iterable[Assessment]) -> date | None:
    """Return the day that study days count from: the first treatment, or the first visit where there is none."""
    starts = [treatment.start_date for treatment in patient.treatments]
    return min(starts or [row.study_date for row in assessments], default=None)


def study_day(day: date, reference: date) -> int:
    """Return the study day: 1 on the reference day, -1 on the day before; there is no day 0 (SDTMIG 3.4, 4.4.4)."""
    days = (day - reference).days
    return days + 1 if days >= 0 else days


def provenance(run: FinishedRun) -> bytes:
    """Return what produced the tables, as JSON."""
    return f"{json.dumps(dict(run.record), indent=2, sort_keys=True, ensure_ascii=False)}\n".encode()


def _arrow(table: Table) -> Any:
    import pyarrow

    types = {
        str: pyarrow.string(),
        float: pyarrow.float64(),
        int: pyarrow.int64(),
        bool: pyarrow.bool_(),
        date: pyarrow.date32(),
        datetime: pyarrow.timestamp("us"),
    }
    columns = typed_columns(table)
    return pyarrow.table(
        [pyarrow.array(column.values, type=types[column.kind]) for column in columns],
        names=[column.name for column in columns],
    )
