"""The patient's course on one axis: treatment phases, responses, findings, sums of targets and markers."""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta

from markupsafe import Markup

from mrresponse.domain import Assessment, Finding, Marker, PatientResult, Response, TreatmentPhase
from mrresponse.report import svg
from mrresponse.report.lesion_table import assessment_groups, burden
from mrresponse.report.wording import COURSE, decimal

_MARGIN = 50.0
_LETTER = 6.3
_LANE = 30.0
_CHART = 96.0
_MOST_FINDINGS = 8
_LOG_FROM_RATIO = 20.0
_MONTH_STEPS = (1, 2, 3, 6, 12, 24, 60, 120)
_SHORT = {
    Response.NON_CR_NON_PD: "non",
    Response.NON_ICR_NON_IUPD: "inon",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Axis:
    """The time axis of a figure."""

    first: date
    last: date
    width: float

    def x(self, day: date) -> float:
        """Place a date."""
        share = (day - self.first).days / max((self.last - self.first).days, 1)
        return _MARGIN + share * (self.width - _MARGIN - 14.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One value of a curve; ``value`` is ``None`` where it could not be determined."""

    day: date
    value: float | None
    words: str
    is_bound: bool = False


def timeline(result: PatientResult, *, width: float) -> Markup:
    """Draw the whole course at a width in pixels; an empty figure where nothing has a date."""
    days = list(_all_dates(result))
    if not days:
        return Markup("")
    span = max((max(days) - min(days)).days, 28)
    pad = timedelta(days=max(span // 40, 3))
    axis = Axis(first=min(days) - pad, last=max(days) + pad, width=width)
    panels = [_phase_panel(result, axis), _response_panel(result, axis), _finding_panel(result, axis)]
    panels += _burden_panels(result, axis) + _marker_panels(result.patient.markers, axis)
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
        text = svg.shortened(full, int(inside / _LETTER)) if inside > 9 * _LETTER else str(number)
        parts.append(
            svg.element(
                "g",
                svg.title(f"Phase {number}: {phase.name}, {start} to {end}"),
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
            )
        )
    return Markup("").join(parts), 54.0 if phases else 0.0


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
    room = (axis.width - _MARGIN) / len(days)
    size = max(min(34.0, room - 3.0), 8.0)
    places = spread([axis.x(day) for day in days], size + 3.0, (_MARGIN, axis.width))
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
            parts.append(svg.element("g", words, text))
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


def _finding_panel(result: PatientResult, axis: Axis) -> tuple[Markup, float]:
    findings = sorted(result.patient.findings, key=lambda row: (row.date, row.kind, row.site))
    if not findings:
        return Markup(""), 0.0
    parts = [svg.label("Findings outside the measured lesions", 0, 12, class_="panel")]
    y = 28.0
    for finding in findings[:_MOST_FINDINGS]:
        parts.append(_finding_mark(finding, axis, y))
        y += 17.0
    if len(findings) > _MOST_FINDINGS:
        parts.append(
            svg.label(
                f"and {len(findings) - _MOST_FINDINGS} more in the table below", _MARGIN, y, class_="tick"
            )
        )
        y += 17.0
    return Markup("").join(parts), y + 2.0


def _finding_mark(finding: Finding, axis: Axis, y: float) -> Markup:
    words = finding_words(finding)
    x = axis.x(finding.date)
    right, left = axis.width - x - 12, x - 12
    anchor, start, room = ("start", x + 9, right) if right >= left else ("end", x - 9, left)
    return svg.element(
        "g",
        svg.title(f"{finding.date}: {words}"),
        svg.element(
            "path", d=f"M{x:.1f},{y - 10:.1f}l5,5l-5,5l-5,-5Z", class_=f"finding s-{finding.status.value}"
        ),
        svg.label(svg.shortened(words, int(room / 5.9)), start, y - 1, class_="lane", text_anchor=anchor),
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
    return [
        _chart(f"Sum of targets, {unit}", list(named.items()), axis, is_log=False)
        for unit, named in curves.items()
    ]


def _burden_point(row: Assessment) -> Point:
    value = burden(row)
    shown = "not evaluable" if value is None else f"{decimal(value, row.burden_unit)} {row.burden_unit}"
    return Point(
        day=row.study_date,
        value=value,
        words=f"{row.study_date}, {row.criterion}, {row.treatment_phase}: {shown}",
    )


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
        panels.append(_chart(heading, [(name, [points])], axis, is_log=is_log))
    return panels


def _chart(
    heading: str, curves: Sequence[tuple[str, list[list[Point]]]], axis: Axis, *, is_log: bool
) -> tuple[Markup, float]:
    """Draw curves over the time axis; an undetermined value is a cross on the floor, a bound an open mark."""
    values = [p.value for _, pieces in curves for piece in pieces for p in piece if p.value is not None]
    ticks = _log_ticks(values) if is_log else _ticks(max(values, default=1.0))
    low, high = ticks[0], ticks[-1]

    def y(value: float) -> float:
        share = math.log(value / low) / math.log(high / low) if is_log else (value - low) / (high - low)
        return 24.0 + (1.0 - share) * _CHART

    heading = svg.shortened(heading, int(axis.width / 7.6))
    parts = [svg.label(heading, 0, 12, class_="panel")]
    for tick in ticks:
        parts.append(svg.line(_MARGIN, y(tick), axis.width - 14, y(tick), class_="rule"))
        parts.append(svg.label(_tick_words(tick), _MARGIN - 5, y(tick) + 4, class_="tick", text_anchor="end"))
    x = len(heading) * 7.6 + 18
    for index, (name, pieces) in enumerate(curves):
        if len(curves) > 1:
            text = svg.shortened(name, 24)
            parts.append(_dot(x, 8.0, index, is_bound=False))
            parts.append(svg.label(text, x + 9, 12, class_="lane"))
            x += len(text) * _LETTER + 30
        for piece in pieces:
            parts += _curve(piece, index, axis, y)
    return Markup("").join(parts), 24.0 + _CHART + 18.0


def _curve(piece: Sequence[Point], index: int, axis: Axis, y: Callable[[float], float]) -> list[Markup]:
    parts: list[Markup] = []
    run: list[tuple[float, float]] = []
    marks: list[Markup] = []
    for point in [*piece, None]:
        if point is not None and point.value is not None:
            place = (axis.x(point.day), y(point.value))
            run.append(place)
            marks.append(
                svg.element("g", svg.title(point.words), _dot(*place, index, is_bound=point.is_bound))
            )
            continue
        if len(run) > 1:
            parts.append(svg.element("path", d=svg.path_of(run), class_=f"curve c{index % 4}"))
        run = []
        if point is not None:
            cross = svg.label(
                "×", axis.x(point.day), 24.0 + _CHART + 4, class_=f"cross c{index % 4}", text_anchor="middle"
            )
            marks.append(svg.element("g", svg.title(point.words), cross))
    return parts + marks


def _dot(x: float, y: float, index: int, *, is_bound: bool) -> Markup:
    """Draw a mark whose shape, like its colour, belongs to its curve."""
    style = f"dot c{index % 4}{' open' if is_bound else ''}"
    if index % 2 == 0:
        return svg.element("circle", cx=x, cy=y, r=3.6, class_=style)
    return svg.element("rect", x=x - 3.3, y=y - 3.3, width=6.6, height=6.6, class_=style)


def _ticks(highest: float) -> list[float]:
    rough = max(highest, 1e-6) / 3.0
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(m * power for m in (1.0, 2.0, 2.5, 5.0, 10.0) if m * power >= rough)
    return [step * n for n in range(math.ceil(highest / step) + 1)] if highest > 0 else [0.0, 1.0]


def _log_ticks(values: Sequence[float]) -> list[float]:
    low, high = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))
    high = max(high, low + 1)
    step = max(1, math.ceil((high - low) / 6))
    return [10.0**power for power in range(low, high + step, step)]


def _tick_words(value: float) -> str:
    """Write a tick short enough for its margin."""
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e4, "k")):
        if value >= size:
            return f"{value / (1e3 if letter == 'k' else size):g} {letter}"
    return f"{value:g}"
