"""The table a radiologist signs: for each assessment of a patient, lesions down and visits across.

The machine-readable truth is ``assessments.csv`` and ``measurements.csv``; this table is for eyes and opens in
a spreadsheet. A group is one patient, treatment phase, criterion and reader (roles and baseline belong to the
phase). Its columns ``visit_1`` to ``visit_n`` are the group's own visits, the first normally its baseline, and
the group begins with a row of their dates. A lesion's row gives the number that the criterion reads, ``0``
only where absence was shown, and otherwise the word for the state ("not found", "not assessed"). Text that a
spreadsheet would run as a formula is preceded by an apostrophe.
"""

import csv
import io
import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from mrresponse.domain import (
    ADJUDICATED,
    Assessment,
    LesionRole,
    Measurement,
    PatientResult,
    RoleRecord,
    is_single_phase,
)
from mrresponse.files import opened_atomically
from mrresponse.report.wording import (
    QUANTITIES,
    ROLE_WORDS,
    Quantity,
    decimal,
    organ_quantity,
    percent,
    phases_in_order,
    plain,
    quantity_of,
    role_quantity,
    size_cell,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class LesionTableRow:
    """One line of ``lesion_table.csv``; ``cells`` are the visits of its group in order of date."""

    patient_id: str
    treatment_phase: str
    criterion: str
    reader: str
    row: str
    lesion_id: str = ""
    role: str = ""
    unit: str = ""
    cells: tuple[str, ...] = ()


_COLUMNS = ("patient_id", "treatment_phase", "criterion", "reader", "row", "lesion_id", "role", "unit")

_SUMMARY: tuple[tuple[str, Callable[[Assessment], str]], ...] = (
    ("target response", lambda row: row.target or ""),
    ("non-target response", lambda row: row.non_target or ""),
    ("new lesions", lambda row: row.new_lesions or ""),
    ("liver response", lambda row: row.liver_response or ""),
    ("overall response", lambda row: row.overall or ""),
    ("reason", lambda row: row.reason),
    ("flags", lambda row: "; ".join(row.flags)),
)


def lesion_table(results: Iterable[PatientResult]) -> tuple[LesionTableRow, ...]:
    """Lay out every assessment of every patient as lesions by visits."""
    return tuple(
        row for result in results for group in assessment_groups(result) for row in _group_rows(result, group)
    )


def assessment_groups(result: PatientResult) -> tuple[tuple[Assessment, ...], ...]:
    """Split a patient's assessments by treatment phase, criterion and reader, each group in order of date."""
    groups: dict[tuple[str, str, str], list[Assessment]] = {}
    for row in result.response.assessments:
        groups.setdefault((row.treatment_phase, row.criterion, row.reader), []).append(row)
    order = phases_in_order(result.response.phases, result.response.assessments)
    keys = sorted(groups, key=lambda key: order.index(key[0]))
    return tuple(tuple(sorted(groups[key], key=lambda row: row.study_date)) for key in keys)


def groups_of_phases(result: PatientResult) -> tuple[tuple[Assessment, ...], ...]:
    """Give the groups of the single treatment phases; where there is no such phase, all of them."""
    groups = assessment_groups(result)
    return tuple(group for group in groups if is_single_phase(group[0].treatment_phase)) or groups


def leading_assessments(result: PatientResult) -> tuple[Assessment, ...]:
    """Give the assessments that the marks show: the first reader's by the first criterion, without the whole course.

    A phase that is not judged by that criterion shows its own first one; a restated read stands in place of what it
    restates.
    """
    groups = groups_of_phases(result)
    if not groups:
        return ()
    rows = result.response.assessments
    lead = next(row for row in rows if row.treatment_phase == groups[0][0].treatment_phase)
    by_phase: dict[str, list[tuple[Assessment, ...]]] = {}
    for group in groups:
        by_phase.setdefault(group[0].treatment_phase, []).append(group)
    return tuple(row for of_phase in by_phase.values() for row in _leading(of_phase, lead))


def _leading(groups: Sequence[tuple[Assessment, ...]], lead: Assessment) -> tuple[Assessment, ...]:
    criteria = [group[0].criterion for group in groups]
    criterion = lead.criterion if lead.criterion in criteria else criteria[0]
    by_reader = {group[0].reader: group for group in groups if group[0].criterion == criterion}
    return next(by_reader[name] for name in (ADJUDICATED, lead.reader, *by_reader) if name in by_reader)


def lesion_table_header(rows: Iterable[LesionTableRow]) -> list[str]:
    """Return the columns of a lesion table, with as many visits as the longest group needs."""
    return _header(max((len(row.cells) for row in rows), default=0))


def _header(visits: int) -> list[str]:
    return [*_COLUMNS, *(f"visit_{number}" for number in range(1, visits + 1))]


def write_lesion_table(path: Path, rows: Iterable[LesionTableRow]) -> None:
    """Write ``lesion_table.csv``, with as many visit columns as the longest group needs.

    That number is known when all rows have been seen; until then they wait on disk, for a cohort of any size.
    """
    visits = 0
    with tempfile.TemporaryFile("w+", encoding="utf-8", newline="") as waiting:
        writer = csv.writer(waiting, lineterminator="\n")
        for row in rows:
            visits = max(visits, len(row.cells))
            keys = [str(getattr(row, column)) for column in _COLUMNS]
            writer.writerow([_spreadsheet_safe(cell) for cell in [*keys, *row.cells]])
        waiting.seek(0)
        with opened_atomically(path) as file:
            text = io.TextIOWrapper(file, encoding="utf-8", newline="")
            final = csv.writer(text, lineterminator="\n")
            final.writerow(_header(visits))
            for cells in csv.reader(waiting):
                final.writerow([*cells, *[""] * (len(_COLUMNS) + visits - len(cells))])
            text.flush()
            text.detach()


def _group_rows(result: PatientResult, group: Sequence[Assessment]) -> list[LesionTableRow]:
    first = group[0]

    def line(
        row: str, cells: Iterable[str], *, unit: str = "", lesion: tuple[str, str] = ("", "")
    ) -> LesionTableRow:
        return LesionTableRow(
            patient_id=first.patient_id,
            treatment_phase=first.treatment_phase,
            criterion=first.criterion,
            reader=first.reader,
            row=row,
            lesion_id=lesion[0],
            role=lesion[1],
            unit=unit,
            cells=tuple(cells),
        )

    rows = [
        line("study date", (row.study_date.isoformat() for row in group)),
        line("timepoint", _timepoints(group)),
    ]
    reader = result.measured_by(first)
    for lesion_id, role in _lesions(result, group, reader).items():
        measurements = _of_lesion(result, lesion_id, reader)
        quantity = role_quantity(role, first.criterion, next(iter(measurements.values()), None))
        cells = (_cell(measurements, row, quantity) for row in group)
        word = ROLE_WORDS[role.role] if role else "no role"
        rows.append(line(quantity.name, cells, unit=quantity.unit, lesion=(lesion_id, word)))
    unit = first.burden_unit
    rows += [
        line("sum of targets", (_number(burden(row), unit) for row in group), unit=unit),
        line("change from baseline", (percent(row.change_from_baseline) for row in group), unit="%"),
        line("change from nadir", (percent(row.change_from_nadir) for row in group), unit="%"),
    ]
    return rows + [line(name, (value(row) for row in group)) for name, value in _SUMMARY]


def liver_quantity(result: PatientResult, row: Assessment | None) -> Quantity:
    """Give what the criterion of an assessment reads of liver lesions: as their roles say, else by its name.

    Without an assessment it is the longest diameter.
    """
    if row is None:
        return quantity_of("")
    in_liver = {m.lesion_id for m in result.measurements if m.organ == "liver" and not m.is_node}
    roles = _roles_under(result, row)
    named = (role_quantity(role, row.criterion, None) for name, role in roles.items() if name in in_liver)
    return next(named, quantity_of(row.criterion))


def lesion_quantities(result: PatientResult, row: Assessment | None) -> dict[str, Quantity]:
    """Give what the criterion of an assessment reads of each lesion; one without a role is read as its like."""
    roles = _roles_under(result, row) if row is not None else {}
    of_liver = liver_quantity(result, row)
    found = {}
    for measurement in result.measurements:
        like = organ_quantity(of_liver, measurement)
        role = roles.get(measurement.lesion_id)
        found[measurement.lesion_id] = (QUANTITIES.get(role.quantity) if role else None) or like
    return found


def _roles_under(result: PatientResult, row: Assessment) -> dict[str, RoleRecord]:
    return {
        role.lesion_id: role
        for role in result.response.roles
        if (role.criterion, role.reader) == (row.criterion, row.reader)
    }


def burden(row: Assessment) -> float | None:
    """Give the sum over targets at a visit; a baseline row may carry it as its baseline only."""
    return row.baseline_burden if row.is_baseline and row.current_burden is None else row.current_burden


def _timepoints(group: Sequence[Assessment]) -> Iterable[str]:
    for row in group:
        if row.is_baseline:
            yield "baseline"
        else:
            yield "after progression" if row.after_progression else "follow-up"


def _lesions(result: PatientResult, group: Sequence[Assessment], reader: str) -> dict[str, RoleRecord | None]:
    """List the group's lesions with their role, targets first; measured ones without a role come last."""
    key = (group[0].treatment_phase, group[0].criterion, group[0].reader)
    dates = {row.study_date for row in group}
    order = list(LesionRole)
    roles = sorted(
        (row for row in result.response.roles if (row.treatment_phase, row.criterion, row.reader) == key),
        key=lambda row: (order.index(row.role), row.lesion_id),
    )
    measured = {
        row.lesion_id for row in result.measurements if row.reader == reader and row.study_date in dates
    }
    with_role = {row.lesion_id: row for row in roles}
    return {**with_role, **dict.fromkeys(sorted(measured - with_role.keys()))}


def _of_lesion(result: PatientResult, lesion_id: str, reader: str) -> dict[date, Measurement]:
    return {
        row.study_date: row
        for row in result.measurements
        if row.lesion_id == lesion_id and row.reader == reader
    }


def _cell(measurements: dict[date, Measurement], row: Assessment, quantity: Quantity) -> str:
    measurement = measurements.get(row.study_date)
    if measurement is not None:
        return size_cell(measurement, quantity)
    return "not yet seen" if row.study_date < min(measurements, default=date.max) else "no record"


def _number(value: float | None, unit: str) -> str:
    return "" if value is None else decimal(value, unit)


def _spreadsheet_safe(cell: str) -> str:
    cell = plain(cell)
    if not cell.startswith(("=", "+", "-", "@")):
        return cell
    try:
        float(cell)
    except ValueError:
        return f"'{cell}"
    return cell
