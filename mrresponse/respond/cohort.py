"""A cohort: rates with exact intervals, Kaplan-Meier curves, and the data of waterfall and swimmer plots.

All functions work on rows of ``phases.csv`` and ``assessments.csv``. What is compared is always one `Group`: a
treatment phase under one criterion, on one basis, by one reader.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import date
from functools import lru_cache
from itertools import compress

from mrresponse.cohort import (
    CohortFigure,
    CohortRow,
    Endpoint,
    Group,
    SpiderLine,
    SurvivalCurve,
    SwimmerLane,
    SwimmerMark,
    WaterfallBar,
)
from mrresponse.domain import COURSE, Assessment, PhaseSummary, Response
from mrresponse.respond.criteria import CRITERIA
from mrresponse.respond.endpoints import days_between
from mrresponse.respond.settings import DayCount

OBJECTIVE = frozenset({Response.CR, Response.PR, Response.ICR, Response.IPR})
CONTROL = OBJECTIVE | {Response.SD, Response.NON_CR_NON_PD, Response.ISD, Response.NON_ICR_NON_IUPD}
PROGRESSED = frozenset({Response.PD, Response.ICPD})
_HALF = 0.5 * (1.0 + 1e-9)


def groups_of(summaries: Iterable[PhaseSummary]) -> Mapping[Group, tuple[PhaseSummary, ...]]:
    """Return the rows by group, in the order in which the groups first appear."""
    found: dict[Group, list[PhaseSummary]] = {}
    for row in summaries:
        group = Group(
            treatment_phase=row.treatment_phase,
            criterion=row.criterion,
            basis=row.basis,
            reader=row.reader,
        )
        found.setdefault(group, []).append(row)
    return {group: tuple(rows) for group, rows in found.items()}


def cohort_rows(summaries: Iterable[PhaseSummary], *, level: float = 0.95) -> tuple[CohortRow, ...]:
    """Return rates and median times per treatment phase, criterion, basis and reader.

    Every patient with the treatment phase counts in a rate; one without an evaluable visit is no responder. ``level``
    is that of the intervals.
    """
    rows: list[CohortRow] = []
    for group, members in groups_of(summaries).items():
        made_with = ";".join(sorted({row.settings_id for row in members if row.settings_id}))
        best = [row.best_overall_response for row in members]
        confirmed = [row.confirmed_best_overall_response for row in members]
        found = [
            _rate(group, "objective_response_rate", [word in OBJECTIVE for word in best], level),
            _rate(group, "disease_control_rate", [word in CONTROL for word in best], level),
            _rate(
                group, "confirmed_objective_response_rate", [word in OBJECTIVE for word in confirmed], level
            ),
            _rate(group, "clinical_benefit_rate", [row.clinical_benefit is True for row in members], level),
        ]
        for endpoint in Endpoint:
            curve = kaplan_meier(members, group, endpoint, level=level)
            if curve is not None:
                found.append(_median(curve))
        rows += [replace(row, settings_id=made_with) for row in found]
    return tuple(rows)


def _rate(group: Group, endpoint: str, hits: Sequence[bool], level: float) -> CohortRow:
    low, high = exact_interval(sum(hits), len(hits), level)
    return CohortRow(
        treatment_phase=group.treatment_phase,
        criterion=group.criterion,
        basis=group.basis,
        reader=group.reader,
        endpoint=endpoint,
        n=len(hits),
        n_events=sum(hits),
        value=sum(hits) / len(hits),
        interval_low=low,
        interval_high=high,
    )


def _median(curve: SurvivalCurve) -> CohortRow:
    return CohortRow(
        treatment_phase=curve.group.treatment_phase,
        criterion=curve.group.criterion,
        basis=curve.group.basis,
        reader=curve.group.reader,
        endpoint=f"median_{curve.endpoint.value}_days",
        n=curve.n,
        n_events=curve.n_events,
        value=curve.median_days,
        interval_low=curve.median_low,
        interval_high=curve.median_high,
    )


def exact_interval(hits: int, n: int, level: float) -> tuple[float, float]:
    """Return the exact binomial interval of a rate (Clopper CJ, Pearson ES 1934, Biometrika 26:404-413)."""
    from scipy.special import betaincinv

    tail = (1.0 - level) / 2.0
    low = 0.0 if hits == 0 else float(betaincinv(hits, n - hits + 1, tail))
    high = 1.0 if hits == n else float(betaincinv(hits + 1, n - hits, 1.0 - tail))
    return low, high


def cohort_figures(
    summaries: Iterable[PhaseSummary],
    assessments: Iterable[Assessment],
    *,
    most: int,
    level: float = 0.95,
    day_count: DayCount = DayCount.DIFFERENCE,
) -> tuple[CohortFigure, ...]:
    """Return what the figures show, of the largest groups at most so many.

    Of groups of one size the first to appear comes first, and treatment phases before the whole course. ``day_count``
    is that of the summaries.
    """
    by_group: dict[tuple[str, str, str], list[Assessment]] = {}
    for row in assessments:
        by_group.setdefault((row.treatment_phase, row.criterion, row.reader), []).append(row)
    groups = sorted(
        groups_of(summaries).items(), key=lambda item: (-len(item[1]), item[0].treatment_phase == COURSE)
    )
    return tuple(
        cohort_figure(
            group,
            members,
            by_group.get((group.treatment_phase, group.criterion, group.reader), ()),
            level=level,
            day_count=day_count,
        )
        for group, members in groups[:most]
    )


def cohort_figure(
    group: Group,
    members: Sequence[PhaseSummary],
    assessments: Sequence[Assessment],
    *,
    level: float = 0.95,
    day_count: DayCount = DayCount.DIFFERENCE,
) -> CohortFigure:
    """Return what the figures of one group show; ``assessments`` are those of its phase, criterion and reader."""
    curves = (kaplan_meier(members, group, endpoint, level=level) for endpoint in Endpoint)
    criterion = next((one for one in CRITERIA.values() if one.name == group.criterion), None)
    return CohortFigure(
        group=group,
        response_change=None if criterion is None else -criterion.response_decrease,
        progression_change=None if criterion is None else criterion.progression_increase,
        n=len(members),
        rates=cohort_rows(members, level=level),
        bars=waterfall(members),
        lines=spider(members, assessments),
        lanes=swimmer(members, assessments, day_count=day_count),
        curves=tuple(curve for curve in curves if curve is not None),
        level=level,
    )


def spider(members: Iterable[PhaseSummary], assessments: Iterable[Assessment]) -> tuple[SpiderLine, ...]:
    """Return the changes from baseline of each patient of one group, from its baseline on.

    A patient whose phase has no start, or no sum after the baseline, has no line.
    """
    by_patient: dict[str, list[Assessment]] = {}
    for row in assessments:
        if not row.is_baseline:
            by_patient.setdefault(row.patient_id, []).append(row)
    lines = []
    for summary in members:
        changes = [
            (row.study_date, change)
            for row in sorted(by_patient.get(summary.patient_id, ()), key=lambda row: row.study_date)
            if (change := _change(row, summary.basis)) is not None
        ]
        start = summary.start_date or summary.baseline_date
        if start is None or not changes:
            continue
        first = min(0, (summary.baseline_date - start).days) if summary.baseline_date else 0
        lines.append(
            SpiderLine(
                patient_id=summary.patient_id,
                days=(first, *((day - start).days for day, _ in changes)),
                changes=(0.0, *(change for _, change in changes)),
            )
        )
    return tuple(lines)


def _change(row: Assessment, basis: str) -> float | None:
    return row.liver_change_from_baseline if basis == "liver" else row.change_from_baseline


def waterfall(members: Iterable[PhaseSummary]) -> tuple[WaterfallBar, ...]:
    """Return the depth of response of each patient of one group, the largest growth first.

    A patient without an evaluable sum after the baseline has no bar.
    """
    bars = [
        WaterfallBar(
            patient_id=row.patient_id,
            change=row.depth_of_response,
            best_overall_response=row.best_overall_response,
        )
        for row in members
        if row.depth_of_response is not None
    ]
    return tuple(sorted(bars, key=lambda bar: (-bar.change, bar.patient_id)))


def swimmer(
    members: Iterable[PhaseSummary],
    assessments: Iterable[Assessment],
    *,
    day_count: DayCount = DayCount.DIFFERENCE,
) -> tuple[SwimmerLane, ...]:
    """Return the lane of each patient of one group, the longest first; a phase that has no start has no lane.

    ``assessments`` may hold rows of other groups; they are passed over. ``day_count`` is that of the survival in the
    summaries; in a lane the start is day 0 for everything.
    """
    rows = list(assessments)
    by_key: dict[tuple[str, str, str, str], list[Assessment]] = {}
    for row in rows:
        if not row.is_baseline:
            key = (row.patient_id, row.treatment_phase, row.criterion, row.reader)
            by_key.setdefault(key, []).append(row)
    lanes = []
    for summary in members:
        key = (summary.patient_id, summary.treatment_phase, summary.criterion, summary.reader)
        if summary.start_date is not None:
            survived = _days_after_start(summary.overall_survival_days, day_count)
            lanes.append(_lane(summary, summary.start_date, by_key.get(key, []), survived))
    return tuple(sorted(lanes, key=lambda lane: (-lane.end_day, lane.patient_id)))


def _days_after_start(days: int | None, day_count: DayCount) -> int | None:
    return None if days is None else days - days_between(date.min, date.min, day_count)


def _lane(
    summary: PhaseSummary, start: date, rows: Sequence[Assessment], survived: int | None
) -> SwimmerLane:
    def day(when: date | None) -> int | None:
        return None if when is None else (when - start).days

    marks = []
    for row in sorted(rows, key=lambda row: row.study_date):
        response = row.liver_response if summary.basis == "liver" else row.overall
        if response is not None:
            marks.append(SwimmerMark(day=(row.study_date - start).days, response=response))
    next_day, death_day = day(summary.end_date), None
    if summary.overall_survival_event:
        death_day = survived
    if next_day is not None and death_day is not None and death_day > next_day:
        death_day = None
    last = survived if next_day is None else next_day
    known = [mark.day for mark in marks] + [end for end in (last, next_day) if end is not None]
    end_day = death_day if death_day is not None else max(known, default=0)
    return SwimmerLane(
        patient_id=summary.patient_id,
        end_day=end_day,
        best_overall_response=summary.best_overall_response,
        marks=tuple(marks),
        response_day=day(summary.response_date),
        progression_day=day(summary.progression_date),
        next_therapy_day=next_day,
        death_day=death_day,
        is_ongoing=summary.progression_date is None and next_day is None and death_day is None,
    )


Observed = tuple[int | None, bool | None]
_TIMES: Mapping[Endpoint, Callable[[PhaseSummary], Observed]] = {
    Endpoint.PROGRESSION_FREE_SURVIVAL: lambda row: (row.progression_free_days, row.progression_free_event),
    Endpoint.TIME_TO_PROGRESSION: lambda row: (
        row.time_to_progression_days,
        row.progression_date is not None,
    ),
    Endpoint.DURATION_OF_RESPONSE: lambda row: (
        row.duration_of_response_days,
        row.duration_of_response_event,
    ),
    Endpoint.OVERALL_SURVIVAL: lambda row: (row.overall_survival_days, row.overall_survival_event),
}


def kaplan_meier(
    members: Iterable[PhaseSummary], group: Group, endpoint: Endpoint, *, level: float = 0.95
) -> SurvivalCurve | None:
    """Return the Kaplan-Meier curve of one group; ``None`` where no patient has the time.

    The interval is that of the log-log transformed survival (Kalbfleisch JD, Prentice RL 2002, section 1.4), and that
    of the median follows from it (Brookmeyer R, Crowley J 1982, Biometrics 38:29-41). It has no bounds where nobody is
    left without the event, so a limit of the median that would first be reached there is open.
    """
    observed = tuple(
        (float(days), bool(event))
        for days, event in map(_TIMES[endpoint], members)
        if days is not None and event is not None
    )
    return _curve(observed, group, endpoint, level) if observed else None


def load_curves() -> None:
    """Load the library of `kaplan_meier`, which the first curve would wait for."""
    import lifelines  # noqa: F401


# Tables and figures ask for the same curves, and each takes 20 ms.
@lru_cache(maxsize=64)
def _curve(
    observed: tuple[tuple[float, bool], ...], group: Group, endpoint: Endpoint, level: float
) -> SurvivalCurve:
    from lifelines import KaplanMeierFitter

    days, events = [day for day, _ in observed], [event for _, event in observed]
    fitter = KaplanMeierFitter(alpha=1.0 - level).fit(days, events)
    table, interval = fitter.event_table, fitter.confidence_interval_survival_function_
    timeline = tuple(float(day) for day in fitter.timeline)
    survival = tuple(float(value) for value in fitter.survival_function_.iloc[:, 0])
    low, high = (tuple(float(value) for value in interval.iloc[:, column]) for column in (0, 1))
    bounded = [0.0 < value < 1.0 for value in survival]
    return SurvivalCurve(
        group=group,
        endpoint=endpoint,
        n=len(observed),
        n_events=sum(events),
        days=timeline,
        survival=survival,
        low=low,
        high=high,
        at_risk=tuple(int(n) for n in table["at_risk"]),
        censored_days=tuple(sorted(day for day, event in observed if not event)),
        median_days=_halved(timeline, survival),
        median_low=_halved(compress(timeline, bounded), compress(low, bounded)),
        median_high=_halved(compress(timeline, bounded), compress(high, bounded)),
        level=level,
    )


def _halved(days: Iterable[float], shares: Iterable[float]) -> float | None:
    """Return the first day with a half or less; ``None`` where that is not reached.

    Shares are products of fractions: a half may come out as a little more.
    """
    return next((day for day, share in zip(days, shares, strict=True) if share <= _HALF), None)
