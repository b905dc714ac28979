"""Rows of dataclasses to and from CSV.

A column is named like its field. A nested dataclass becomes one column per part (``caliper_slice_index``), a point
three (``caliper_start_x_mm``, ``_y_``, ``_z_``, RAS+). ``None`` is an empty cell; an empty cell of a field that
cannot be ``None`` is the field's default. Dates are ISO, enums their value, booleans ``true`` and ``false``, tuples
their parts joined by ``;``. Numbers are written in their shortest form that reads back exactly.

Text that a spreadsheet would take for a formula (it begins with ``= + - @``, a tab or a return) is written behind an
apostrophe, which reading takes off again. Rows are counted as a spreadsheet counts them: the header is row 1.
"""

import csv
import io
import logging
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import MISSING, dataclass, fields, is_dataclass
from datetime import date, datetime
from enum import Enum
from functools import cache
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from mrresponse.errors import DataError
from mrresponse.files import write_atomically

logger = logging.getLogger(__name__)

T = TypeVar("T")
_FORMULA = re.compile(r"'*[=+\-@\t\r]")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
_WHOLE = re.compile(r"[+-]?\d+")
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")
_YEARS = (1900, 2999)
_AXES = ("x", "y", "z")
_EMPTY_PART = r"\-"
_SHOWN_CHARACTERS = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Rows of one type under the name of their file, without its ending."""

    name: str
    row_type: type
    rows: tuple[object, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class TypedColumn:
    """One column for formats with types; ``kind`` is that of its values, ``None`` among them is missing."""

    name: str
    kind: type
    values: tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class _Codec:
    """How one kind of value is written, read, and described in a message; ``kind`` is what typed formats hold."""

    write: Callable[[Any], str]
    read: Callable[[str], Any]
    expected: str
    kind: type = str


@dataclass(frozen=True, slots=True)
class _Column:
    """One column: where its value sits in a row, and how it is coded."""

    name: str
    field: str
    part: tuple[str | int, ...]
    codec: _Codec


@dataclass(frozen=True, slots=True)
class _RowField:
    """One field of a row type with the columns that hold it."""

    name: str
    kind: Any
    optional: bool
    has_default: bool
    columns: tuple[_Column, ...]


def column_names(row_type: type) -> tuple[str, ...]:
    """Return the columns of a table of `row_type`, in order."""
    return tuple(column.name for column in _columns(row_type))


def required_columns(row_type: type) -> tuple[str, ...]:
    """Return the columns that a table of `row_type` must have: fields without a default."""
    needed = (item for item in _row_fields(row_type) if not item.has_default)
    return tuple(column.name for item in needed for column in item.columns)


def unknown_columns(path: Path, row_type: type) -> tuple[str, ...]:
    """Return the columns of a file that a table of `row_type` does not have; they are left out on reading."""
    header = next(_cells(path), (0, []))[1]
    known = set(column_names(row_type))
    return tuple(name for name in header if name not in known)


def write_rows(path: Path, rows: Iterable[object], row_type: type) -> None:
    """Write dataclass rows as a CSV file, whole or not at all."""
    write_atomically(path, format_rows(rows, row_type).encode("utf-8"))


def format_rows(rows: Iterable[object], row_type: type, *, header: bool = True) -> str:
    """Return dataclass rows as CSV text, by default with a header."""
    columns = _columns(row_type)
    lines = [_line([column.name for column in columns])] if header else []
    lines += [_line([_written(row, column) for column in columns]) for row in rows]
    return "".join(lines)


def typed_columns(table: Table) -> tuple[TypedColumn, ...]:
    """Return a table by column: numbers, dates and booleans as they are, everything else as its text in a CSV file.

    Text is not guarded against spreadsheets here: that is for the format that is written.
    """
    return tuple(
        TypedColumn(
            name=column.name,
            kind=column.codec.kind,
            values=tuple(_typed(_value(row, column), column.codec) for row in table.rows),
        )
        for column in _columns(table.row_type)
    )


def read_rows(path: Path, row_type: type[T]) -> tuple[T, ...]:
    """Read a CSV file; the first bad cell is an error.

    Raises
    ------
    DataError
        File name, row, column, what was found and what was expected; code ``bad_table`` for the file as a whole,
        ``bad_value`` for a cell.
    """
    unknown = unknown_columns(path, row_type)
    if unknown:
        logger.warning("%s: unknown columns left out: %s", path.name, ", ".join(unknown))
    rows = []
    for _, row in parse_rows(path, row_type):
        if isinstance(row, DataError):
            raise row
        rows.append(row)
    return tuple(rows)


def lines_of(path: Path, row_type: type, wanted: Callable[[str], bool]) -> str:
    """Return the lines of the patients that are wanted, without a header, in the columns of a type of row.

    Cells stand as they do in the file, also those that cannot be read. ``wanted`` is asked by ``patient_id``.

    Raises
    ------
    DataError
        ``bad_table``: not UTF-8 or not separated by commas.
    """
    cells = _cells(path)
    _, header = next(cells, (1, []))
    names = column_names(row_type)
    lines = []
    for _, row in cells:
        named = dict(zip(header, row, strict=False))
        if any(cell.strip() for cell in row) and wanted(_unguarded(named.get("patient_id", "").strip())):
            lines.append(_line([named.get(name, "") for name in names]))
    return "".join(lines)


def parse_rows(
    path: Path,
    row_type: type[T],
    *,
    complete: Callable[[dict[str, str]], dict[str, str]] = dict,
    required: Sequence[str] | None = None,
) -> Iterator[tuple[int, T | DataError]]:
    """Yield the row number and the row, or the error of that row, so that the others can be kept.

    The error carries the cells of the columns ``patient_id``, ``study_date`` and ``lesion_id`` where there are any.
    Rows without any content are passed over.

    Parameters
    ----------
    complete
        Gives the cells of a row, by column name, their final text, for tables that people type in a shorter form;
        a ``ValueError`` it raises is the row's error.
    required
        Columns the file must have; the fields without a default where not given.

    Raises
    ------
    DataError
        ``bad_table``: not UTF-8, not separated by commas, a required column missing, a column twice.
    """
    cells = _cells(path)
    _, header = next(cells, (1, []))
    _check_header(path, header, row_type, required_columns(row_type) if required is None else required)
    for number, row in cells:
        if not any(cell.strip() for cell in row):
            continue
        named = dict(zip(header, row, strict=False))
        try:
            if len(row) != len(header):
                raise ValueError(f": found {len(row)} cells, expected {len(header)} as in the header")
            yield number, _parsed(complete(named), row_type)
        except ValueError as error:
            yield (
                number,
                DataError(
                    f"{path.name} row {number}{_lesion_of(named)}{error}",
                    code="bad_value",
                    patient_id=named.get("patient_id", "").strip() or None,
                    study_date=_study_of(named),
                    path=path,
                ),
            )


def _lesion_of(cells: Mapping[str, str]) -> str:
    lesion_id = cells.get("lesion_id", "").strip()
    return f" (lesion {lesion_id[:_SHOWN_CHARACTERS]})" if lesion_id else ""


def _study_of(cells: Mapping[str, str]) -> date | None:
    try:
        return _read_date(cells.get("study_date", ""))
    except ValueError:
        return None


def _cells(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Yield row numbers and cells; the first is the header, its names without blanks around them."""
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise DataError(
            f"{path.name}: cannot be read ({error.strerror})", code="bad_table", path=path
        ) from None
    except UnicodeDecodeError:
        raise DataError(f"{path.name}: not UTF-8, expected UTF-8 text", code="bad_table", path=path) from None
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        for number, row in enumerate(reader, start=1):
            yield number, [cell.strip() for cell in row] if number == 1 else row
    except csv.Error as error:
        raise DataError(
            f"{path.name} line {reader.line_num}: {error}, expected comma-separated values",
            code="bad_table",
            path=path,
        ) from None


def _check_header(path: Path, header: Sequence[str], row_type: type, required: Sequence[str]) -> None:
    missing = [name for name in required if name not in header]
    twice = sorted({name for name in header if name and header.count(name) > 1})
    if twice:
        raise DataError(f"{path.name}: column {twice[0]} stands twice", code="bad_table", path=path)
    if not missing:
        return
    if len(header) == 1 and ";" in header[0]:
        raise DataError(f"{path.name}: separated by ';', expected ','", code="bad_table", path=path)
    found = ", ".join(header) if any(header) else "nothing"
    raise DataError(
        f"{path.name}: no column {', '.join(missing)}; found {found}, expected {', '.join(column_names(row_type))}",
        code="bad_table",
        path=path,
    )


def _parsed(cells: Mapping[str, str], row_type: type[T]) -> T:
    """Build one row from its cells by column name; a ``ValueError`` names the column and continues a sentence."""
    values = {}
    for item in _row_fields(cast("type", row_type)):
        parts = {column.part: _read_cell(cells.get(column.name, ""), column) for column in item.columns}
        value = _assembled(parts, item.kind, item.name)
        if value is not None or (item.optional and any(column.name in cells for column in item.columns)):
            values[item.name] = value
        elif not item.has_default:
            raise ValueError(f" column {item.name}: found nothing, expected {item.columns[0].codec.expected}")
    return row_type(**values)


def _read_cell(cell: str, column: _Column) -> Any:
    text = _unguarded(cell)
    if not text or not (text.strip() or column.codec is _TEXT):
        return None
    try:
        return column.codec.read(text)
    except ValueError:
        shown = text if len(text) <= _SHOWN_CHARACTERS else text[:_SHOWN_CHARACTERS] + "…"
        raise ValueError(
            f" column {column.name}: found {shown!r}, expected {column.codec.expected}"
        ) from None


def _assembled(parts: Mapping[tuple[str | int, ...], Any], kind: Any, name: str) -> Any:
    """Put the parts of a field together: itself, a point, or a nested dataclass; ``None`` where all are empty."""
    if () in parts:
        return parts[()]
    if all(value is None for value in parts.values()):
        return None
    if any(value is None for value in parts.values()):
        raise ValueError(f" columns {name}_…: found some of them empty, expected all or none")
    if not is_dataclass(kind):
        return tuple(parts[(axis,)] for axis in range(len(_AXES)))
    values = {}
    for item in _row_fields(cast("type", kind)):
        inner = {part[1:]: value for part, value in parts.items() if part[0] == item.name}
        values[item.name] = _assembled(inner, item.kind, name)
    return cast("Any", kind)(**values)


def _written(row: object, column: _Column) -> str:
    value = _value(row, column)
    return "" if value is None else column.codec.write(value)


def _typed(value: Any, codec: _Codec) -> Any:
    if value is None or codec.kind is not str:
        return value
    return _unguarded(codec.write(value)) or None


def _value(row: object, column: _Column) -> Any:
    value: Any = getattr(row, column.field)
    for part in column.part:
        if value is None:
            break
        value = value[part] if isinstance(part, int) else getattr(value, part)
    return value


def _line(cells: Sequence[str]) -> str:
    """Return one CSV line; the standard writer leaves a bare return unquoted, which breaks the row on reading."""
    quoted = ['"' + cell.replace('"', '""') + '"' if re.search('[",\r\n]', cell) else cell for cell in cells]
    return ",".join(quoted) + "\n"


def _guarded(text: str) -> str:
    return f"'{text}" if _FORMULA.match(text) else text


def _unguarded(cell: str) -> str:
    return cell[1:] if cell.startswith("'") and _FORMULA.match(cell) else cell


@cache
def _row_fields(row_type: type) -> tuple[_RowField, ...]:
    """Return the fields of a dataclass with their columns, nested dataclasses flattened."""
    found = []
    for item in fields(cast("Any", row_type)):
        kind = _plain_type(row_type, item.name)
        optional = NoneType in get_args(_hints(row_type)[item.name])
        has_default = item.default is not MISSING or item.default_factory is not MISSING
        columns = tuple(
            _Column(name, item.name, part, codec) for name, part, codec in _flattened(item.name, kind)
        )
        found.append(_RowField(item.name, kind, optional, has_default, columns))
    return tuple(found)


def _columns(row_type: type) -> tuple[_Column, ...]:
    return tuple(column for item in _row_fields(row_type) for column in item.columns)


def _flattened(name: str, kind: Any) -> Iterator[tuple[str, tuple[str | int, ...], _Codec]]:
    if isinstance(kind, type) and is_dataclass(kind):
        for item in fields(kind):
            for inner, part, codec in _flattened(f"{name}_{item.name}", _plain_type(kind, item.name)):
                yield inner, (item.name, *part), codec
    elif get_args(kind) == (float, float, float):
        stem, unit = (name[: -len("_mm")], "_mm") if name.endswith("_mm") else (name, "")
        for index, axis in enumerate(_AXES):
            yield f"{stem}_{axis}{unit}", (index,), _FLOAT
    else:
        yield name, (), _codec(kind)


@cache
def _hints(row_type: type) -> dict[str, Any]:
    return get_type_hints(row_type)


def _plain_type(row_type: type, name: str) -> Any:
    """Return the type of a field without ``None``."""
    kind = _hints(row_type)[name]
    if get_origin(kind) in (Union, UnionType):
        others = [part for part in get_args(kind) if part is not NoneType]
        return others[0] if len(others) == 1 else kind
    return kind


def _codec(kind: Any) -> _Codec:
    if kind in _CODECS:
        return _CODECS[kind]
    if isinstance(kind, type) and issubclass(kind, Enum):
        return _enum_codec(kind)
    arguments = get_args(kind)
    if get_origin(kind) is tuple and len(arguments) == 2 and arguments[1] is Ellipsis:
        return _tuple_codec(_PART if arguments[0] is str else _codec(arguments[0]))
    raise TypeError(f"a table cannot hold {kind}")


def _enum_codec(kind: type[Enum]) -> _Codec:
    by_value = {str(member.value).casefold(): member for member in kind}

    def read(cell: str) -> Enum:
        try:
            return by_value[cell.strip().casefold()]
        except KeyError:
            raise ValueError from None

    words = ", ".join(str(member.value) for member in kind)
    return _Codec(lambda member: str(member.value), read, f"one of {words}")


def _tuple_codec(inner: _Codec) -> _Codec:
    def write(values: tuple[Any, ...]) -> str:
        parts = (re.sub(r"([\\;])", r"\\\1", inner.write(value)) or _EMPTY_PART for value in values)
        return _guarded(";".join(parts))

    def read(cell: str) -> tuple[Any, ...]:
        parts = re.findall(r"(?:[^\\;]|\\.)+", cell, flags=re.DOTALL)
        return tuple(
            inner.read("" if part == _EMPTY_PART else re.sub(r"\\(.)", r"\1", part)) for part in parts
        )

    return _Codec(write, read, f"{inner.expected}, several joined by ';'")


def _format_float(value: float) -> str:
    if not math.isfinite(value):
        raise ValueError(f"{value} cannot be written to a table; missing is None")
    text = repr(float(value))
    return text[:-2] if text.endswith(".0") else text


def _read_float(cell: str) -> float:
    if not _NUMBER.fullmatch(cell.strip()):
        raise ValueError
    value = float(cell)
    if not math.isfinite(value):
        raise ValueError
    return value


def _read_int(cell: str) -> int:
    if not _WHOLE.fullmatch(cell.strip()):
        raise ValueError
    return int(cell)


def _read_bool(cell: str) -> bool:
    try:
        return {"true": True, "false": False}[cell.strip().lower()]
    except KeyError:
        raise ValueError from None


def _read_date(cell: str) -> date:
    if not _DATE.fullmatch(cell.strip()):
        raise ValueError
    found = date.fromisoformat(cell.strip())
    if not is_plausible(found):
        raise ValueError
    return found


def is_plausible(day: date) -> bool:
    """Tell whether a date can be meant; 0001-01-01 and 9999-12-31 stand for none, and no interval reaches beyond them.

    Dates that an anonymiser moved by centuries are believed.
    """
    return _YEARS[0] <= day.year <= _YEARS[1]


def _read_datetime(cell: str) -> datetime:
    return datetime.fromisoformat(cell.strip())


_TEXT = _Codec(_guarded, str, "text")
# A text inside a tuple: the cell as a whole is guarded.
_PART = _Codec(str, str, "text")
_FLOAT = _Codec(_format_float, _read_float, "a number with a dot as decimal sign", float)
_CODECS: Mapping[Any, _Codec] = {
    str: _TEXT,
    float: _FLOAT,
    int: _Codec(str, _read_int, "a whole number", int),
    bool: _Codec(lambda value: "true" if value else "false", _read_bool, "true or false", bool),
    date: _Codec(date.isoformat, _read_date, f"a date YYYY-MM-DD from {_YEARS[0]} to {_YEARS[1]}", date),
    datetime: _Codec(datetime.isoformat, _read_datetime, "a date and time YYYY-MM-DDThh:mm:ss", datetime),
    Path: _Codec(lambda path: _guarded(path.as_posix()), Path, "a path"),
}
