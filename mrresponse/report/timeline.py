"""The patient's course on one axis: treatment phases, responses, findings, sums of targets and markers."""

from collections.abc import Iterable, Sequence
from datetime import date, timedelta

from markupsafe import Markup

from mrresponse.domain import Assessment, PatientResult, Response, Treatment, TreatmentPhase, is_single_phase
from mrresponse.report import svg
from mrresponse.report.charts import LETTER, MARGIN, Axis
from mrresponse.report.curves import burden_panels, lesion_panels, marker_panels
from mrresponse.report.events import event_panel
from mrresponse.report.lesion_table import leading_assessments

_MOST_TREATMENTS = 8
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
    panels = [
        _phase_panel(result, axis),
        _treatment_panel(result, axis),
        _response_panel(result, axis),
        event_panel(result, axis),
    ]
    panels += burden_panels(result, axis) + lesion_panels(result, axis)
    panels += marker_panels(result.patient.markers, axis)
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
    """Order the treatment phases by their start; all stand only where there is no such phase."""
    phases = result.response.phases
    own = tuple(phase for phase in phases if is_single_phase(phase.name)) or phases
    return tuple(sorted(own, key=lambda p: (p.start_date or p.baseline_date or date.max, p.name)))


def given(result: PatientResult, phase_name: str) -> str:
    """Name what was given in a phase, unless the phase is named after it."""
    names = [row.name for row in result.patient.treatments if row.treatment_phase == phase_name]
    missing = [name for name in dict.fromkeys(names) if name.lower() not in phase_name.lower()]
    return " + ".join(missing)


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
                place = min(x, axis.width - LETTER * len(text) / 2)
                parts.append(svg.label(text, place, height + 14, class_="tick", text_anchor="middle"))
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
        is_bare = phase.name.lower() == f"phase {number}"
        full = f"{number}  {(is_bare and given(result, phase.name)) or phase.name}"
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


def _treatment_panel(result: PatientResult, axis: Axis) -> tuple[Markup, float]:
    """Draw a bar for each thing given, to its end or, where none is stated, to that of its phase."""
    named: dict[str, list[Treatment]] = {}
    for row in sorted(result.patient.treatments, key=lambda row: row.start_date):
        named.setdefault(row.name, []).append(row)
    parts, y = [], 2.0
    for name, rows in list(named.items())[:_MOST_TREATMENTS]:
        for row in rows:
            parts.append(_treatment_bar(row, _treatment_end(result, row, axis), axis, y))
        x = axis.x(rows[0].start_date)
        near_end = axis.width - x < 130
        text = svg.shortened(name, int((x if near_end else axis.width - x) / LETTER))
        place, anchor = (x - 5, "end") if near_end else (x + 5, "start")
        parts.append(svg.label(text, place, y + 11, class_="lane", text_anchor=anchor))
        y += 17.0
    if len(named) > _MOST_TREATMENTS:
        words = f"and {len(named) - _MOST_TREATMENTS} more in the table of treatments"
        parts.append(svg.label(words, MARGIN, y + 11, class_="tick"))
        y += 17.0
    return Markup("").join(parts), y + 8.0 if named else 0.0


def _treatment_end(result: PatientResult, row: Treatment, axis: Axis) -> date:
    if row.end_date is not None:
        return row.end_date
    phases = numbered_phases(result)
    for number, phase in enumerate(phases):
        if phase.name == row.treatment_phase:
            following = phases[number + 1].start_date if number + 1 < len(phases) else None
            return phase.end_date or following or axis.last
    return axis.last


def _treatment_bar(row: Treatment, end: date, axis: Axis, y: float) -> Markup:
    x1, x2 = axis.x(row.start_date), axis.x(min(max(end, row.start_date), axis.last))
    until = f"to {row.end_date}" if row.end_date else "no end stated"
    words = f"{row.name}, from {row.start_date}, {until}{', ' + row.details if row.details else ''}"
    bar = svg.element(
        "rect",
        x=x1,
        y=y,
        width=max(x2 - x1, 3.0),
        height=14,
        rx=2,
        class_=f"given {'open' if row.end_date is None else ''}".strip(),
    )
    return svg.element("g", svg.title(words), bar, class_="tip")


def _drugs(result: PatientResult, phase: TreatmentPhase) -> str:
    """List what was given in a phase, for its tooltip."""
    given = [
        f"{row.name}{f' ({row.details})' if row.details else ''}"
        for row in result.patient.treatments
        if row.treatment_phase == phase.name
    ]
    return f": {'; '.join(given)}" if given else ""


def _response_panel(result: PatientResult, axis: Axis) -> tuple[Markup, float]:
    rows = leading_assessments(result)
    if not rows:
        return Markup(""), 0.0
    assessed = {row.study_date: row for row in rows if not row.is_baseline}
    baselines: dict[date, list[str]] = {}
    for first in filter(lambda one: one.is_baseline, rows):
        baselines.setdefault(first.study_date, []).append(first.treatment_phase)
    days = sorted({*assessed, *baselines})
    room = (axis.width - MARGIN) / len(days)
    size = max(min(34.0, room - 3.0), 8.0)
    places = spread([axis.x(day) for day in days], size + 3.0, (MARGIN, axis.width))
    criteria = " / ".join(dict.fromkeys(row.criterion for row in rows))
    parts = [svg.label(f"Response, {svg.shortened(criteria, 40)}", 0, 12, class_="panel")]
    for y, text in ((55.0, "liver"), (78.0, "overall"), (100.0, "baseline")):
        parts.append(svg.label(text, 0, y, class_="lane"))
    numbers = {phase.name: n for n, phase in enumerate(numbered_phases(result), 1)}
    for day, place in zip(days, places, strict=True):
        x = axis.x(day)
        parts.append(svg.element("path", d=f"M{x - 3.5:.1f},21h7l-3.5,6Z", class_="study"))
        parts.append(svg.element("path", d=svg.path_of([(x, 27.0), (place, 39.0)]), class_="leader"))
        if day in baselines:
            words = svg.title(f"{day}: baseline of {', '.join(baselines[day])}")
            named = ", ".join(str(numbers.get(phase, "–")) for phase in baselines[day])
            text = svg.label(f"of {named}", place, 100, class_="lane", text_anchor="middle")
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
