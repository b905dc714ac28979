"""The curves of a patient's course: sums of targets, every lesion, and markers."""

from collections.abc import Iterable, Sequence

from markupsafe import Markup

from mrresponse.domain import Assessment, Marker, MeasurementState, PatientResult
from mrresponse.report.charts import Axis, Point, chart, from_zero, logarithmic, of_change
from mrresponse.report.lesion_table import (
    burden,
    groups_of_phases,
    leading_assessments,
    lesion_quantities,
)
from mrresponse.report.wording import Quantity, decimal, marker_words, signed_percent, size_cell, size_read

_LOG_FROM_RATIO = 20.0


def burden_panels(result: PatientResult, axis: Axis) -> list[tuple[Markup, float]]:
    """Draw one chart per unit; a curve breaks between treatment phases, whose targets differ."""
    curves: dict[str, dict[str, list[list[Point]]]] = {}
    own = groups_of_phases(result)
    readers = {group[0].reader for group in own}
    for group in own:
        first = group[0]
        name = first.criterion if len(readers) == 1 else f"{first.criterion} ({first.reader})"
        points = [_burden_point(row) for row in group]
        curves.setdefault(first.burden_unit, {}).setdefault(name, []).append(points)
    panels = []
    for unit, named in curves.items():
        highest = max((value for pieces in named.values() for value in _values(pieces)), default=1.0)
        heading = f"Sum of targets, {unit.replace('mm2', 'mm²')}"
        panels.append(chart(heading, list(named.items()), axis, from_zero(highest)))
    return panels


def _values(pieces: Iterable[Sequence[Point]]) -> Iterable[float]:
    return (point.value for piece in pieces for point in piece if point.value is not None)


def _burden_point(row: Assessment) -> Point:
    value = burden(row)
    shown = "not evaluable" if value is None else f"{decimal(value, row.burden_unit)} {row.burden_unit}"
    return Point(
        day=row.study_date,
        value=value,
        words=f"{row.study_date}, {row.criterion}, {row.treatment_phase}: {shown}",
    )


def lesion_panels(result: PatientResult, axis: Axis) -> list[tuple[Markup, float]]:
    """Draw the change of every lesion since it was first measured, by what the leading criterion reads."""
    rows = leading_assessments(result)
    if not rows:
        return []
    named = [
        (lesion_id, [points])
        for lesion_id, quantity in sorted(lesion_quantities(result, rows[0]).items())
        if (points := _lesion_points(result, lesion_id, result.measured_by(rows[0]), quantity))
    ]
    if not named:
        return []
    scale = of_change([value for _, pieces in named for value in _values(pieces)])
    heading = "Every lesion, change since first measured"
    return [chart(heading, named, axis, scale, named_at_end=True)]


def _lesion_points(result: PatientResult, lesion_id: str, reader: str, quantity: Quantity) -> list[Point]:
    own = sorted(
        (row for row in result.measurements if row.lesion_id == lesion_id and row.reader == reader),
        key=lambda row: row.study_date,
    )
    points: list[Point] = []
    first: float | None = None
    for row in own:
        value = size_read(row, quantity)
        first = first or value or None
        change = None if first is None or value is None else 100.0 * (value / first - 1.0)
        if first is not None:
            size = size_cell(row, quantity)
            shown = (
                size
                if value is None or row.state is not MeasurementState.MEASURED
                else f"{size} {quantity.unit}"
            )
            share = "" if change is None else f" ({signed_percent(change / 100.0)})"
            points.append(
                Point(
                    day=row.study_date, value=change, words=f"{row.study_date}, {lesion_id}: {shown}{share}"
                )
            )
    return points


def marker_panels(markers: Sequence[Marker], axis: Axis) -> list[tuple[Markup, float]]:
    named: dict[tuple[str, str], list[Marker]] = {}
    for marker in sorted(markers, key=lambda row: row.date):
        named.setdefault((marker.name, marker.unit), []).append(marker)
    panels = []
    for (name, unit), rows in list(named.items()):
        values = [row.value for row in rows]
        is_log = min(values) > 0 and max(values) / min(values) >= _LOG_FROM_RATIO
        points = [
            Point(
                day=row.date,
                value=row.value,
                words=f"{row.date}, {name}: {marker_words(row)}",
                is_bound=bool(row.qualifier),
            )
            for row in rows
        ]
        heading = f"{name}, {unit}{' (logarithmic)' if is_log else ''}"
        scale = logarithmic(values) if is_log else from_zero(max(values))
        panels.append(chart(heading, [(name, [points])], axis, scale))
    return panels
