"""A CDISC dataset as a value, written as CSV and as a SAS transport file, version 5.

Version 5 allows names of 8 characters, labels of 40 and text of 200 bytes, in ASCII; longer text is cut and letters
outside ASCII are written by their nearest letter there. The CSV file has the full text in UTF-8.
"""

import csv
import io
import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from functools import partial
from pathlib import Path
from typing import Any

from mrresponse.files import replace_atomically, write_atomically
from mrresponse.report.wording import plain

TEXT_BYTES = 200
LABEL_CHARACTERS = 40
_NAME = re.compile(r"[A-Z][A-Z0-9_]{0,7}")
# Day 0 of SAS dates.
_SAS_EPOCH = date(1960, 1, 1)
_ASCII = str.maketrans({"–": "-", "−": "-", "’": "'", "×": "x", "≥": ">=", "≤": "<=", "…": "...", "²": "2"})
# A cell that begins so is a formula, unless it is a negative number.
_FORMULA = re.compile(r"'*[=+@\t\r]|'*-(?!(\d+\.?\d*|\.\d+)(e[+-]?\d+)?\Z)")

Value = str | int | float | date | None
Row = Mapping[str, Value]


@dataclass(frozen=True, slots=True, kw_only=True)
class Variable:
    """A column: ``kind`` is ``str``, ``float`` for every number, or ``date`` for a numeric SAS date."""

    name: str
    label: str
    kind: type = str

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise ValueError(f"{self.name}: a variable name has 1 to 8 of A-Z, 0-9 and _")
        if not 0 < len(self.label) <= LABEL_CHARACTERS:
            raise ValueError(f"{self.name}: a label has 1 to {LABEL_CHARACTERS} characters")


@dataclass(frozen=True, slots=True, kw_only=True)
class Dataset:
    """Rows under the variables of a domain; a variable that a row does not have is missing there."""

    name: str
    label: str
    variables: tuple[Variable, ...]
    rows: tuple[Row, ...]

    def __post_init__(self) -> None:
        known = {variable.name for variable in self.variables}
        strange = {name for row in self.rows for name in row} - known
        if strange:
            raise ValueError(f"{self.name}: no variable {', '.join(sorted(strange))}")


def write_dataset(dataset: Dataset, folder: Path) -> None:
    """Write ``<name>.csv`` and ``<name>.xpt``, names in lower case as submissions have them."""
    write_atomically(folder / f"{dataset.name.lower()}.csv", _csv(dataset).encode("utf-8"))
    replace_atomically(folder / f"{dataset.name.lower()}.xpt", partial(_write_xpt, dataset))


def _csv(dataset: Dataset) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([variable.name for variable in dataset.variables])
    for row in dataset.rows:
        writer.writerow([_cell(row.get(variable.name)) for variable in dataset.variables])
    return text.getvalue()


def _cell(value: Value) -> str:
    if value is None:
        return ""
    if isinstance(value, date):
        return value.isoformat()
    if not isinstance(value, str):
        return number_text(value)
    text = value if value.isprintable() else plain(value)
    return f"'{text}" if _FORMULA.match(text) else text


def number_text(value: float) -> str:
    """Write a number in its shortest form that reads back exactly, without a needless decimal part."""
    text = repr(float(value))
    return text.removesuffix(".0")


def in_percent(fraction: float) -> float:
    """Give a fraction in per cent, without the noise of the multiplication: 0.29 is 29, not 28.999999999999996."""
    return float(f"{100.0 * fraction:.15g}")


def _write_xpt(dataset: Dataset, path: Path) -> None:
    import pandas
    from pyreadstat import write_xport

    columns: dict[str, Any] = {}
    for variable in dataset.variables:
        values = [row.get(variable.name) for row in dataset.rows]
        if variable.kind is str:
            columns[variable.name] = pandas.Series([_short(value) for value in values], dtype=object)
        else:
            columns[variable.name] = pandas.Series([_numeric(value) for value in values], dtype="float64")
    write_xport(
        pandas.DataFrame(columns),
        path,
        file_label=dataset.label,
        table_name=dataset.name,
        column_labels={variable.name: variable.label for variable in dataset.variables},
        variable_format={variable.name: "DATE9." for variable in dataset.variables if variable.kind is date},
        file_format_version=5,
    )


def _numeric(value: Value) -> float:
    if value is None:
        return float("nan")
    if isinstance(value, date):
        return float((value - _SAS_EPOCH).days)
    return float(value)


def _short(value: Value) -> str:
    return in_ascii("" if value is None else str(value))


def in_ascii(text: str) -> str:
    """Return a text as a transport file has it: in ASCII, cut to its greatest length."""
    if not (text.isascii() and text.isprintable()):
        text = "".join(_nearest(letter) for letter in plain(text).translate(_ASCII))
    return text if len(text) <= TEXT_BYTES else text[: TEXT_BYTES - 3] + "..."


def _nearest(letter: str) -> str:
    if letter.isascii():
        return letter
    return unicodedata.normalize("NFKD", letter).encode("ascii", "ignore").decode() or "?"
