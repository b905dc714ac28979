"""The tables of a run as one XLSX workbook: the lesion table for eyes, a sheet per table, and the settings.

Text stays text: a cell that a spreadsheet would take for a formula is marked as text and quoted, so that it is not
run when it is edited either. The program writes no formula.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any

from mrresponse.errors import ConfigError
from mrresponse.files import replace_atomically
from mrresponse.report.lesion_table import LesionTableRow, lesion_table, lesion_table_header
from mrresponse.report.run import FinishedRun
from mrresponse.report.tidy import tidy_tables
from mrresponse.report.wording import plain
from mrresponse.tables import Table, typed_columns

FILE = "results.xlsx"
SETTINGS = "settings"
LESION_TABLE = "lesion_table"
# Sheets for eyes come first.
FIRST = ("visits", "phases", "lesions", "measurements", "cohort", "flags", "failures")
WIDEST = 60
NARROWEST = 9
# What a cell can hold (Excel specifications and limits).
CELL_CHARACTERS = 32_767
SHEET_ROWS = 1_048_576
_NUMBER = re.compile(r"-?\d+(\.\d+)?")
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def export_workbook(run: FinishedRun, folder: Path) -> None:
    """Write ``results.xlsx``.

    Raises
    ------
    ConfigError
        A table has more rows than a sheet can hold.
    """
    from openpyxl import Workbook

    book = Workbook()
    book.remove(book.active)
    rows = lesion_table(run.results)
    _add_sheet(book, LESION_TABLE, lesion_table_header(rows), map(_lesion_cells, rows))
    for table in sorted(tidy_tables(run), key=_order):
        columns = typed_columns(table)
        _add_sheet(
            book,
            table.name,
            [column.name for column in columns],
            zip(*(column.values for column in columns), strict=True),
        )
    _add_sheet(book, SETTINGS, ["setting", "value"], _flat(run.record))
    replace_atomically(folder / FILE, book.save)


def _order(table: Table) -> int:
    return FIRST.index(table.name) if table.name in FIRST else len(FIRST)


def _add_sheet(book: Any, name: str, header: Sequence[str], rows: Iterable[tuple[Any, ...]]) -> None:
    from openpyxl.styles import Font
    from openpyxl.utils import get_column_letter

    sheet = book.create_sheet(name[:31])
    widths = [len(title) for title in header]
    for number, title in enumerate(header, start=1):
        sheet.cell(row=1, column=number, value=title).font = Font(bold=True)
    for at, row in enumerate(rows, start=2):
        if at > SHEET_ROWS:
            raise ConfigError(
                f"--to xlsx: table {name} has more rows than the {SHEET_ROWS - 1} of a sheet; csv and parquet hold them"
            )
        for number, value in enumerate(row, start=1):
            if value is None:
                continue
            _fill(sheet.cell(row=at, column=number), value)
            widths[number - 1] = max(widths[number - 1], len(str(value)))
    sheet.freeze_panes = "B2"
    sheet.auto_filter.ref = sheet.dimensions
    for number, width in enumerate(widths, start=1):
        letter = get_column_letter(number)
        sheet.column_dimensions[letter].width = min(max(width + 2, NARROWEST), WIDEST)


def _lesion_cells(row: LesionTableRow) -> tuple[Any, ...]:
    """Return the cells of a row of the lesion table, its numbers as numbers."""
    keys = (
        row.patient_id,
        row.treatment_phase,
        row.criterion,
        row.reader,
        row.row,
        row.lesion_id,
        row.role,
        row.unit,
    )
    return (*keys, *(float(cell) if _NUMBER.fullmatch(cell) else cell or None for cell in row.cells))


def _fill(cell: Any, value: Any) -> None:
    if not isinstance(value, str):
        cell.value = value
        if isinstance(value, date):
            cell.number_format = "yyyy-mm-dd"
        return
    text = plain(value)
    cell.value = text if len(text) <= CELL_CHARACTERS else text[: CELL_CHARACTERS - 1] + "…"
    cell.data_type = "s"
    cell.quotePrefix = text.startswith(_FORMULA)


def _flat(record: Mapping[str, Any], prefix: str = "") -> Iterable[tuple[str, Any]]:
    """Yield every setting by its dotted name; a list is written in one cell."""
    for key, value in record.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        elif isinstance(value, list | tuple):
            yield f"{prefix}{key}", ", ".join(str(one) for one in value)
        else:
            yield f"{prefix}{key}", value
