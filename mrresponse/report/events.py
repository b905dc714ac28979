"""New lesions, and what was seen elsewhere, on the time axis: one line for each thing, a mark for each date."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date

from markupsafe import Markup

from mrresponse.domain import Finding, LesionRole, Measurement, PatientResult
from mrresponse.report import svg
from mrresponse.report.charts import MARGIN, Axis
from mrresponse.report.wording import decimal

_MOST_LINES = 10
_LINE = 27.0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Mark:
    """One date of a line; ``style`` names its colour."""

    day: date
    words: str
    style: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Line:
    """One thing through time; its words stand at the mark that matters most."""

    words: str
    marks: tuple[_Mark, ...]

    @property
    def leading(self) -> _Mark:
        """The first mark that is new or progressing, else the first."""
        return next((mark for mark in self.marks if mark.style in _PROGRESSIVE), self.marks[0])


_PROGRESSIVE = ("new", "progressing")
_DOUBTFUL = ("candidate", "equivocal")


def event_panel(result: PatientResult, axis: Axis) -> tuple[Markup, float]:
    """Draw a line for each new lesion and each finding, the progressive ones in colour, and give the height."""
    lines = sorted([*_new_lesions(result), *_findings(result)], key=lambda one: (one.leading.day, one.words))
    if not lines:
        return Markup(""), 0.0
    parts = [svg.label("New lesions, and findings elsewhere", 0, 12, class_="panel")]
    y = 40.0
    for one in lines[:_MOST_LINES]:
        parts += _drawn(one, axis, y)
        y += _LINE
    if len(lines) > _MOST_LINES:
        words = f"and {len(lines) - _MOST_LINES} more in the tables below"
        parts.append(svg.label(words, MARGIN, y, class_="tick"))
        y += _LINE
    return Markup("").join(parts), y - 10.0


def finding_words(finding: Finding) -> str:
    """Say what was seen, in words."""
    size = "" if finding.size_mm is None else f", {decimal(finding.size_mm)} mm"
    return f"{finding.status.value}: {_thing(finding)}{size}"


def _thing(finding: Finding) -> str:
    kind = finding.kind.value.replace("_", " ")
    return f"{kind}, {finding.site}" if finding.site else kind


def _new_lesions(result: PatientResult) -> Iterable[_Line]:
    """Gather the lesions that a treatment phase counts as new, at the study where each was first seen.

    How sure it is that they are new is what the rules made of them at some visit, else the last word on them: a doubt
    may have been settled, or a lesion rejected.
    """
    counted = {role.lesion_id for role in result.response.roles if role.role is LesionRole.NEW}
    first: dict[str, Measurement] = {}
    said: dict[str, str] = {}
    for row in sorted(result.measurements, key=lambda row: row.study_date):
        if row.new_lesion_status is not None or row.lesion_id in counted:
            first.setdefault(row.lesion_id, row)
        if row.new_lesion_status is not None:
            said[row.lesion_id] = row.new_lesion_status.value
    # the reason of a visit names the lesions that make it definite
    established = [row.reason for row in result.response.assessments if row.new_lesions == "definite"]
    together: dict[tuple[date, str, str], list[str]] = {}
    for lesion_id, row in first.items():
        status = said.get(lesion_id) or "equivocal"
        named = re.compile(rf"(?<!\S){re.escape(lesion_id)} first seen \d")
        if status in _DOUBTFUL and any(map(named.search, established)):
            status = "new"
        together.setdefault((row.study_date, row.organ, status), []).append(lesion_id)
    for (day, organ, status), lesion_ids in together.items():
        noun = "lesion" if len(lesion_ids) == 1 else "lesions"
        is_sure = status in ("new", "definite")
        place = organ.replace("_", " ")
        words = f"{'new' if is_sure else f'{status} new'} {noun} in the {place}: {', '.join(lesion_ids)}"
        yield _Line(words=words, marks=(_Mark(day=day, words=words, style="new" if is_sure else "present"),))


def _findings(result: PatientResult) -> Iterable[_Line]:
    together: dict[str, list[Finding]] = {}
    for finding in sorted(result.patient.findings, key=lambda row: row.date):
        together.setdefault(_thing(finding), []).append(finding)
    for thing, rows in together.items():
        marks = tuple(_Mark(day=row.date, words=finding_words(row), style=row.status.value) for row in rows)
        one = _Line(words=thing, marks=marks)
        prefix = f"{one.leading.style}: " if one.leading.style in _PROGRESSIVE else ""
        yield _Line(words=f"{prefix}{thing}", marks=marks)


def _drawn(one: _Line, axis: Axis, y: float) -> list[Markup]:
    """Draw a line: a thread from its first to its last date, its marks, and its words above."""
    first, last = axis.x(one.marks[0].day), axis.x(one.marks[-1].day)
    x = axis.x(one.leading.day)
    right, left = axis.width - x - 12, x - 12
    anchor, start, room = ("start", x - 4, right) if right >= left else ("end", x + 4, left)
    words = svg.label(
        svg.shortened(one.words, int(room / 5.9)),
        start,
        y - 14,
        class_=f"lane event-{one.leading.style}",
        text_anchor=anchor,
    )
    thread = svg.line(first, y - 5, last, y - 5, class_="thread")
    return [thread, *(_mark(mark, axis, y) for mark in one.marks), words]


def _mark(mark: _Mark, axis: Axis, y: float) -> Markup:
    x = axis.x(mark.day)
    diamond = svg.element(
        "path", d=f"M{x:.1f},{y - 10:.1f}l5,5l-5,5l-5,-5Z", class_=f"finding s-{mark.style}"
    )
    return svg.element("g", svg.title(f"{mark.day}: {mark.words}"), diamond, class_="tip")
