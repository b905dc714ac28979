"""The cohort's page: who needs review first, the figures of the cohort, and a table of all patients.

The figures' numbers stand in the page as JSON, rounded for drawing, and the page's script draws the chosen group; so a
cohort of a thousand patients stays small and quick. Changes that a reader sees as numbers stand there in words.
"""

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from mrresponse.cohort import CohortFigure, CohortRow, SurvivalCurve, SwimmerLane
from mrresponse.domain import COURSE, Response
from mrresponse.report.summary import PatientSummary
from mrresponse.report.timeline import response_class
from mrresponse.report.wording import signed_percent

RATE_WORDS = {
    "objective_response_rate": "Objective response (CR + PR)",
    "confirmed_objective_response_rate": "Objective response, confirmed",
    "disease_control_rate": "Disease control (CR + PR + SD)",
    "clinical_benefit_rate": "Clinical benefit",
}
ENDPOINT_WORDS = {
    "progression_free_survival": "Progression-free survival",
    "time_to_progression": "Time to progression",
    "duration_of_response": "Duration of response",
    "overall_survival": "Overall survival",
}
_SORT_ORDER = ("CR", "PR", "SD", "NON-CR/NON-PD", "NED", "PD", "NE")


@dataclass(frozen=True, slots=True, kw_only=True)
class DoubtCount:
    """A kind of doubt and how many patients have it."""

    code: str
    patients: int
    example: str


def doubt_counts(summaries: Iterable[PatientSummary]) -> tuple[DoubtCount, ...]:
    """Count the patients with each kind of doubt, the most frequent first."""
    counts: Counter[str] = Counter()
    examples: dict[str, str] = {}
    for summary in summaries:
        counts.update(summary.doubts.keys())
        for code, message in summary.doubts.items():
            examples.setdefault(code, message)
    return tuple(
        DoubtCount(code=code, patients=count, example=examples[code])
        for code, count in sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    )


def sort_rank(response: Response | None) -> int:
    """Give the place of a response in the order of the table: the best first, none last."""
    word = (
        ""
        if response is None
        else response.value.removeprefix("i").replace("NON-iCR/NON-iUPD", "NON-CR/NON-PD")
    )
    word = {"UPD": "PD", "CPD": "PD"}.get(word, word)
    return _SORT_ORDER.index(word) if word in _SORT_ORDER else len(_SORT_ORDER)


def group_name(figure: CohortFigure) -> str:
    """Name a group in the list that chooses it."""
    group = figure.group
    phase = "whole course" if group.treatment_phase == COURSE else group.treatment_phase
    return f"{phase} · {group.criterion} · {group.basis} · read by {group.reader} (n = {figure.n})"


def figure_data(figures: Sequence[CohortFigure], summaries: Sequence[PatientSummary]) -> Markup:
    """Write what the page's script draws as JSON that no text in it can break out of."""
    number = {summary.patient_id: place for place, summary in enumerate(summaries)}
    content = {
        "patients": [[summary.patient_id, summary.link] for summary in summaries],
        "classes": {word.value: response_class(word) for word in Response},
        "figures": [_figure(figure, number) for figure in figures],
    }
    text = json.dumps(content, separators=(",", ":"), ensure_ascii=True)
    return Markup(text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026"))


def _figure(figure: CohortFigure, number: Mapping[str, int]) -> dict[str, Any]:
    known = number.keys()
    return {
        "name": group_name(figure),
        "n": figure.n,
        "level": figure.level,
        "thresholds": [figure.response_change, figure.progression_change],
        "rates": [_rate(row) for row in figure.rates if row.endpoint in RATE_WORDS],
        "bars": [
            [
                number[bar.patient_id],
                round(bar.change, 4),
                bar.best_overall_response,
                signed_percent(bar.change),
            ]
            for bar in figure.bars
            if bar.patient_id in known
        ],
        "lines": [
            [
                number[line.patient_id],
                line.days,
                [round(change, 4) for change in line.changes],
                signed_percent(line.changes[-1]),
            ]
            for line in figure.lines
            if line.patient_id in known
        ],
        "lanes": [
            [number[lane.patient_id], *_lane(lane)] for lane in figure.lanes if lane.patient_id in known
        ],
        "curves": [_curve(curve) for curve in figure.curves],
    }


def _rate(row: CohortRow) -> list[Any]:
    return [RATE_WORDS[row.endpoint], row.n, row.n_events, row.value, row.interval_low, row.interval_high]


def _lane(lane: SwimmerLane) -> list[Any]:
    marks = [[mark.day, mark.response] for mark in lane.marks]
    events = (lane.response_day, lane.progression_day, lane.next_therapy_day, lane.death_day)
    return [lane.end_day, lane.best_overall_response, marks, *events, lane.is_ongoing]


def _curve(curve: SurvivalCurve) -> dict[str, Any]:
    def rounded(values: Iterable[float]) -> list[float]:
        return [round(value, 4) for value in values]

    return {
        "name": ENDPOINT_WORDS[curve.endpoint.value],
        "n": curve.n,
        "events": curve.n_events,
        "days": rounded(curve.days),
        "survival": rounded(curve.survival),
        "low": rounded(curve.low),
        "high": rounded(curve.high),
        "atRisk": curve.at_risk,
        "censored": rounded(curve.censored_days),
        "median": [curve.median_days, curve.median_low, curve.median_high],
    }
