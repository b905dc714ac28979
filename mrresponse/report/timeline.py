"""The patient's course on one axis: treatment phases, responses, findings, sums of targets and markers."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta

from markupsafe import Markup

from mrresponse.domain import (
    Assessment,
    Finding,
    LesionRole,
    Marker,
    Measurement,
    MeasurementState,
    PatientResult,
    Response,
    TreatmentPhase,
)
from mrresponse.report import svg
from mrresponse.report.charts import LETTER, MARGIN, Axis, Point, chart, from_zero, logarithmic, of_change
from mrresponse.report.lesion_table import assessment_groups, burden
from mrresponse.report.wording import COURSE, decimal, quantity_of, signed_percent, size_cell

_LANE = 30.0
_MOST_EVENTS = 10
_LOG_FROM_RATIO = 20.0
_MONTH_STEPS = (1, 2, 3, 6, 12, 24, 60, 120)
_SHORT = {
    Response.NON_CR_NON_PD: "non",
    Response.NON_ICR_NON_IUPD: "inon",
}


def timeline(result: PatientResult, *, width: float) -> Markup:
    """Draw the whole course at a width in pixels; an empty figure where nothing has a date."""
    days = list(_all_dates(result))
    if not days:
        return Markup("")
    span = max((max(days) - min(days)).days, 28)
    pad = timedelta(days=max(span // 40, 3))
    axis = Axis(first=min(days) - pad, last=max(days) + pad, width=width)
    panels = [_phase_panel(result, axis), _response_panel(result, axis), _event_panel(result, axis)]
    panels += _burden_panels(result, axis) + _lesion_panels(result, axis)
    panels += _marker_panels(result.patient.markers, axis)
    y, drawn = 4.0, []
    for content, height in panels:
        if height:
            drawn.append(svg.element("g", content, transform=f"translate(0,{y:.1f})"))
            y += height
    grid = _axis_lines(result, axis, y)
    spoken = svg.title(f"Course of {result.patient.patient_id}") + svg.element(
        "desc",
        Markup(
            "Treatment phases, responses, findings, sums of targets and markers on one time axis; "
            "the tables below carry the same values."
        ),
    )
    box = f"0 0 {width:.0f} {y + 20:.0f}"
    return svg.element("svg", spoken, grid, *drawn, viewBox=box, role="img", class_="timeline")


def _all_dates(result: PatientResult) -> Iterable[date]:
    patient = result.patient
    yield from (row.study_date for row in result.studies)
    yield from (row.study_date for row in result.response.assessments)
    yield from (row.date for row in patient.findings)
    yield from (row.date for row in patient.markers)
    for treatment in patient.treatments:
        yield treatment.start_date
    if patient.death_date:
        yield patient.death_date


def numbered_phases(result: PatientResult) -> tuple[TreatmentPhase, ...]:
    """Order the treatment phases by their start; the whole course stands only where there is nothing else."""
    phases = result.response.phases
    own = tuple(phase for phase in phases if phase.name != COURSE) or phases
    return tuple(sorted(own, key=lambda p: (p.start_date or p.baseline_date or date.max, p.name)))


def _axis_lines(result: PatientResult, axis: Axis, height: float) -> Markup:
    months = (axis.last - axis.first).days / 30.4
    step = next((s for s in _MONTH_STEPS if months / s <= axis.width / 62.0), _MONTH_STEPS[-1])
    parts = []
    for year in range(axis.first.year, axis.last.year + 1):
        for month in range(1, 13):
            day = date(year, month, 1)
            if (year * 12 + month - 1) % step == 0 and axis.first <= day <= axis.last:
                x = axis.x(day)
                parts.append(svg.line(x, 0, x, height, class_="grid"))
                text = f"{year}" if month == 1 and step >= 12 else f"{year}-{month:02d}"
                parts.append(svg.label(text, x, height + 14, class_="tick", text_anchor="middle"))
    for phase in numbered_phases(result):
        if phase.start_date and axis.first <= phase.start_date <= axis.last:
            x = axis.x(phase.start_date)
            parts.append(svg.line(x, 20, x, height, class_="phase-start"))
    return svg.element("g", *parts)


def _phase_panel(result: PatientResult, axis: Axis) -> tuple[Markup, float]:
    phases = numbered_phases(result)
    parts = [svg.label("Treatment phases", 0, 12, class_="panel")]
    for number, phase in enumerate(phases, 1):
        start = phase.start_date or phase.baseline_date or axis.first
        following = phases[number].start_date if number < len(phases) else None
        end = phase.end_date or following or axis.last
        x1, x2 = axis.x(max(start, axis.first)), axis.x(min(end, axis.last))
        inside = x2 - x1 - 12
        full = f"{number}  {phase.name}"
        text = svg.shortened(full, int(inside / LETTER)) if inside > 9 * LETTER else str(number)
        parts.append(
            svg.element(
                "g",
                svg.title(f"Phase {number}: {phase.name}, {start} to {end}{_drugs(result, phase)}"),
                svg.element(
                    "rect",
                    x=x1 + 0.5,
                    y=20,
                    width=max(x2 - x1 - 1, 3.0),
                    height=22,
                    rx=3,
                    class_=f"phase p{number % 2}",
                ),
                svg.label(text, x1 + 6, 35, class_="phase-name"),
                class_="tip",
            )
        )
    return Markup("").join(parts), 54.0 if phases else 0.0


def _drugs(result: PatientResult, phase: TreatmentPhase) -> str:
    """List what was given in a phase, for its tooltip."""
    given = [
        f"{row.name}{f' ({row.details})' if row.details else ''}"
        for row in result.patient.treatments
        if row.treatment_phase == phase.name
    ]
    return f": {'; '.join(given)}" if given else ""


def leading_assessments(result: PatientResult) -> tuple[Assessment, ...]:
    """Give the assessments that the marks show: the first criterion and reader, without the whole course."""
    groups = [group for group in assessment_groups(result) if group[0].treatment_phase != COURSE]
    groups = groups or list(assessment_groups(result))
    if not groups:
        return ()
    rows = result.response.assessments
    lead = next(row for row in rows if row.treatment_phase == groups[0][0].treatment_phase)
    return tuple(
        row
        for group in groups
        for row in group
        if (row.criterion, row.reader) == (lead.criterion, lead.reader)
    )


def _response_panel(result: PatientResult, axis: Axis) -> tuple[Markup, float]:
    rows = leading_assessments(result)
    if not rows:
        return Markup(""), 0.0
    assessed = {row.study_date: row for row in rows if not row.is_baseline}
    baselines = {row.study_date: row.treatment_phase for row in rows if row.is_baseline}
    days = sorted({*assessed, *baselines})
    room = (axis.width - MARGIN) / len(days)
    size = max(min(34.0, room - 3.0), 8.0)
    places = spread([axis.x(day) for day in days], size + 3.0, (MARGIN, axis.width))
    parts = [svg.label(f"Response, {svg.shortened(rows[0].criterion, 40)}", 0, 12, class_="panel")]
    for y, text in ((55.0, "liver"), (78.0, "overall"), (100.0, "baseline")):
        parts.append(svg.label(text, 0, y, class_="lane"))
    numbers = {phase.name: n for n, phase in enumerate(numbered_phases(result), 1)}
    for day, place in zip(days, places, strict=True):
        x = axis.x(day)
        parts.append(svg.element("path", d=f"M{x - 3.5:.1f},21h7l-3.5,6Z", class_="study"))
        parts.append(svg.element("path", d=svg.path_of([(x, 27.0), (place, 39.0)]), class_="leader"))
        if day in baselines:
            phase = baselines[day]
            words = svg.title(f"{day}: baseline of {phase}")
            text = svg.label(f"of {numbers.get(phase, '–')}", place, 100, class_="lane", text_anchor="middle")
            parts.append(svg.element("g", words, text, class_="tip"))
        row = assessed.get(day)
        liver, overall = (row.liver_response, row.overall) if row else (None, None)
        for y, response in ((40.0, liver), (63.0, overall)):
            parts.append(_response_mark(place - size / 2, y, size, response, row, day))
    return Markup("").join(parts), 120.0


def _response_mark(
    x: float, y: float, size: float, response: Response | None, row: Assessment | None, day: date
) -> Markup:
    words = (
        f"{day}: baseline, no response"
        if row is None
        else f"{day}, {row.treatment_phase}: {response or 'no response'}. {row.reason}"
    )
    text = _SHORT.get(response, str(response)) if response else "–"
    return svg.element(
        "g",
        svg.title(words),
        svg.element("rect", x=x, y=y, width=size, height=20, rx=4, class_=f"mark {response_class(response)}"),
        svg.label(
            text, x + size / 2, y + 14, text_anchor="middle", class_=f"mark-text {response_class(response)}"
        ),
        class_="tip",
    )


def response_class(response: Response | None) -> str:
    """Name the colour of a response; the letters always stand beside it."""
    if response is None:
        return "r-none"
    word = response.value.removeprefix("i")
    return {
        "CR": "r-cr",
        "NED": "r-cr",
        "PR": "r-pr",
        "SD": "r-sd",
        "PD": "r-pd",
        "CPD": "r-pd",
        "UPD": "r-upd",
        "NE": "r-ne",
    }.get(word, "r-non")


def spread(places: Sequence[float], gap: float, limits: tuple[float, float]) -> list[float]:
    """Move marks apart along a line until each has its gap, keeping their order and staying inside the limits."""
    low, high = limits[0] + gap / 2, limits[1] - gap / 2
    moved: list[float] = []
    for place in places:
        moved.append(max(place, moved[-1] + gap if moved else low))
    for index in range(len(moved) - 1, -1, -1):
        bound = high if index == len(moved) - 1 else moved[index + 1] - gap
        moved[index] = min(moved[index], bound)
    return moved


@dataclass(frozen=True, slots=True, kw_only=True)
class _Event:
    """Something that appeared or was seen on a day; ``style`` names the colour of its mark."""

    day: date
    words: str
    style: str


def _event_panel(result: PatientResult, axis: Axis) -> tuple[Markup, float]:
    """Name new lesions and what was seen elsewhere, each at its date, the progressive ones in colour."""
    events = sorted([*_new_lesions(result), *_findings(result)], key=lambda event: (event.day, event.words))
    if not events:
        return Markup(""), 0.0
    parts = [svg.label("New lesions, and findings elsewhere", 0, 12, class_="panel")]
    y = 28.0
    for event in events[:_MOST_EVENTS]:
        parts.append(_event_mark(event, axis, y))
        y += 17.0
    if len(events) > _MOST_EVENTS:
        words = f"and {len(events) - _MOST_EVENTS} more in the tables below"
        parts.append(svg.label(words, MARGIN, y, class_="tick"))
        y += 17.0
    return Markup("").join(parts), y + 2.0


def _new_lesions(result: PatientResult) -> Iterable[_Event]:
    """Gather the lesions that a treatment phase counts as new, at the study where each was first seen."""
    counted = {role.lesion_id for role in result.response.roles if role.role is LesionRole.NEW}
    first: dict[str, Measurement] = {}
    for row in sorted(result.measurements, key=lambda row: row.study_date):
        if row.new_lesion_status is not None or row.lesion_id in counted:
            first.setdefault(row.lesion_id, row)
    together: dict[tuple[date, str, str], list[str]] = {}
    for lesion_id, row in first.items():
        status = row.new_lesion_status.value if row.new_lesion_status else "new"
        together.setdefault((row.study_date, row.organ, status), []).append(lesion_id)
    for (day, organ, status), lesion_ids in together.items():
        noun = "lesion" if len(lesion_ids) == 1 else "lesions"
        prefix = "new" if status == "new" else f"{status} new"
        style = "new" if status in ("new", "definite") else "present"
        yield _Event(day=day, words=f"{prefix} {noun} in the {organ}: {', '.join(lesion_ids)}", style=style)


def _findings(result: PatientResult) -> Iterable[_Event]:
    for finding in result.patient.findings:
        yield _Event(day=finding.date, words=finding_words(finding), style=finding.status.value)


def _event_mark(event: _Event, axis: Axis, y: float) -> Markup:
    x = axis.x(event.day)
    right, left = axis.width - x - 12, x - 12
    anchor, start, room = ("start", x + 9, right) if right >= left else ("end", x - 9, left)
    return svg.element(
        "g",
        svg.title(f"{event.day}: {event.words}"),
        svg.element("path", d=f"M{x:.1f},{y - 10:.1f}l5,5l-5,5l-5,-5Z", class_=f"finding s-{event.style}"),
        svg.label(
            svg.shortened(event.words, int(room / 5.9)),
            start,
            y - 1,
            class_=f"lane event-{event.style}",
            text_anchor=anchor,
        ),
        class_="tip",
    )


def finding_words(finding: Finding) -> str:
    """Say what was seen, in words."""
    words = f"{finding.status.value}: {finding.kind.value.replace('_', ' ')}"
    size = "" if finding.size_mm is None else f", {decimal(finding.size_mm)} mm"
    return f"{words}{', ' + finding.site if finding.site else ''}{size}"


def _burden_panels(result: PatientResult, axis: Axis) -> list[tuple[Markup, float]]:
    """Draw one chart per unit; a curve breaks between treatment phases, whose targets differ."""
    curves: dict[str, dict[str, list[list[Point]]]] = {}
    groups = assessment_groups(result)
    own = [group for group in groups if group[0].treatment_phase != COURSE] or list(groups)
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


def _lesion_panels(result: PatientResult, axis: Axis) -> list[tuple[Markup, float]]:
    """Draw the change of every lesion since it was first measured, by what the leading criterion reads."""
    rows = leading_assessments(result)
    if not rows:
        return []
    named = [
        (lesion_id, [points])
        for lesion_id in sorted({row.lesion_id for row in result.measurements})
        if (points := _lesion_points(result, lesion_id, rows[0]))
    ]
    if not named:
        return []
    scale = of_change([value for _, pieces in named for value in _values(pieces)])
    heading = "Every lesion, change since first measured"
    return [chart(heading, named, axis, scale, named_at_end=True)]


def _lesion_points(result: PatientResult, lesion_id: str, leading: Assessment) -> list[Point]:
    own = sorted(
        (row for row in result.measurements if row.lesion_id == lesion_id and row.reader == leading.reader),
        key=lambda row: row.study_date,
    )
    points: list[Point] = []
    first: float | None = None
    for row in own:
        quantity = quantity_of(leading.criterion, row)
        value = 0.0 if row.state is MeasurementState.ABSENT else quantity.value(row)
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


def _marker_panels(markers: Sequence[Marker], axis: Axis) -> list[tuple[Markup, float]]:
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
                words=f"{row.date}, {name}: {row.qualifier}{row.value:g} {unit}",
                is_bound=bool(row.qualifier),
            )
            for row in rows
        ]
        heading = f"{name}, {unit}{' (logarithmic)' if is_log else ''}"
        scale = logarithmic(values) if is_log else from_zero(max(values))
        panels.append(chart(heading, [(name, [points])], axis, scale))
    return panels
