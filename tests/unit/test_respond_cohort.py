"""Rates, Kaplan-Meier curves, waterfall and swimmer data."""

import math
from dataclasses import replace
from datetime import date, timedelta
from typing import Any

import pytest

from mrresponse.cohort import (
    CohortFigure,
    CohortRow,
    Group,
    SpiderLine,
    SurvivalCurve,
    SwimmerLane,
    SwimmerMark,
    WaterfallBar,
)
from mrresponse.domain import Assessment, PhaseSummary, Response
from mrresponse.respond import (
    Endpoint,
    RespondSettings,
    cohort_figures,
    cohort_rows,
    groups_of,
    kaplan_meier,
    spider,
    swimmer,
    waterfall,
)
from mrresponse.respond.settings import DayCount
from tests.readings import reading, respond_to, treatments_from

START = date(2024, 1, 1)
# Weeks of remission under 6-mercaptopurine (Freireich EJ et al. 1963, Blood 21:699-716): event or still in remission.
REMISSIONS = [(6, 1), (6, 1), (6, 1), (6, 0), (7, 1), (9, 0), (10, 1), (10, 0), (11, 0), (13, 1), (16, 1), (17, 0),
              (19, 0), (20, 0), (22, 1), (23, 1), (25, 0), (32, 0), (32, 0), (34, 0), (35, 0)]  # fmt: skip
# The published product-limit estimate after each event (Cox DR, Oakes D 1984, table 1.1).
PUBLISHED = {6: 0.857, 7: 0.807, 10: 0.753, 13: 0.690, 16: 0.627, 22: 0.538, 23: 0.448}


def summary(patient: str = "P1", **more: Any) -> PhaseSummary:
    values = {"treatment_phase": "one", "criterion": "mRECIST", "basis": "overall", "reader": "A", **more}
    return PhaseSummary(patient_id=patient, **values)


def test_kaplan_meier_gives_the_published_curve() -> None:
    rows = [
        summary(str(number), progression_free_days=weeks, progression_free_event=bool(event))
        for number, (weeks, event) in enumerate(REMISSIONS)
    ]
    (group,) = groups_of(rows)
    curve = kaplan_meier(rows, group, Endpoint.PROGRESSION_FREE_SURVIVAL)
    assert curve is not None
    found = dict(zip(curve.days, curve.survival, strict=True))
    assert {week: round(found[week], 3) for week in PUBLISHED} == PUBLISHED
    assert (curve.n, curve.n_events, curve.median_days) == (21, 9, 23.0)
    assert (curve.median_low, curve.median_high) == (13.0, None)
    at_risk = dict(zip(curve.days, curve.at_risk, strict=True))
    assert (at_risk[6.0], at_risk[7.0], at_risk[23.0]) == (21, 17, 6)
    assert len(curve.censored_days) == 12
    assert curve.days[0] == 0.0


def test_the_interval_of_a_curve_is_that_of_the_log_log_transform() -> None:
    rows = [
        summary(str(number), progression_free_days=weeks, progression_free_event=bool(event))
        for number, (weeks, event) in enumerate(REMISSIONS)
    ]
    (group,) = groups_of(rows)
    curve = kaplan_meier(rows, group, Endpoint.PROGRESSION_FREE_SURVIVAL)
    assert curve is not None
    index = curve.days.index(10.0)
    # Kalbfleisch & Prentice: week 10, S = 0.753, Greenwood SE 0.0963 -> (0.503, 0.889)
    assert (round(curve.low[index], 3), round(curve.high[index], 3)) == (0.503, 0.889)


def test_each_time_comes_from_its_own_columns() -> None:
    row = summary(
        start_date=START,
        progression_date=START + timedelta(days=50),
        time_to_progression_days=50,
        progression_free_days=40,
        progression_free_event=True,
        duration_of_response_days=30,
        duration_of_response_event=False,
        overall_survival_days=90,
        overall_survival_event=True,
    )
    (group,) = groups_of([row])
    curves = {endpoint: kaplan_meier([row], group, endpoint) for endpoint in Endpoint}
    found = {endpoint: (c.days[-1], c.n_events) for endpoint, c in curves.items() if c is not None}
    assert found == {
        Endpoint.PROGRESSION_FREE_SURVIVAL: (40.0, 1),
        Endpoint.TIME_TO_PROGRESSION: (50.0, 1),
        Endpoint.DURATION_OF_RESPONSE: (30.0, 0),
        Endpoint.OVERALL_SURVIVAL: (90.0, 1),
    }
    assert kaplan_meier([summary()], group, Endpoint.DURATION_OF_RESPONSE) is None


def test_the_cohort_table_has_rates_and_medians_of_each_group() -> None:
    rows = [
        summary(
            str(number),
            best_overall_response=Response.PR if number < 2 else Response.SD,
            confirmed_best_overall_response=Response.SD,
            clinical_benefit=number < 3,
            progression_free_days=10 * (number + 1),
            progression_free_event=number < 3,
        )
        for number in range(4)
    ]
    assert {row.settings_id for row in cohort_rows([replace(row, settings_id="abc") for row in rows])} == {
        "abc"
    }
    found = {row.endpoint: (row.n, row.n_events, row.value) for row in cohort_rows(rows)}
    assert found == {
        "objective_response_rate": (4, 2, 0.5),
        "disease_control_rate": (4, 4, 1.0),
        "confirmed_objective_response_rate": (4, 0, 0.0),
        "clinical_benefit_rate": (4, 3, 0.75),
        "median_progression_free_survival_days": (4, 3, 20.0),
    }


def test_a_median_that_is_not_reached_is_empty() -> None:
    rows = [summary(str(n), progression_free_days=10, progression_free_event=False) for n in range(3)]
    (row,) = [row for row in cohort_rows(rows) if row.endpoint.startswith("median")]
    assert (row.value, row.interval_low, row.interval_high, row.n_events) == (None, None, None, 0)


def curve_of(times: list[tuple[int, bool]]) -> SurvivalCurve:
    rows = [
        summary(str(number), overall_survival_days=days, overall_survival_event=event)
        for number, (days, event) in enumerate(times)
    ]
    (group,) = groups_of(rows)
    curve = kaplan_meier(rows, group, Endpoint.OVERALL_SURVIVAL)
    assert curve is not None
    return curve


@pytest.mark.parametrize(
    ("times", "expected"),
    [
        # 4/6 x 3/4
        ([(0, True), (0, True), (28, True), (49, False), (77, True), (84, True)], 28.0),
        # 3/6
        ([(21, True), (21, True), (21, True), (42, False), (56, True), (70, True)], 21.0),
        # one is censored first, then 5/6 x 4/5 x 3/4
        ([(21, False), (28, True), (42, True), (70, True), (77, True), (84, True), (84, True)], 70.0),
    ],
)  # fmt: skip
def test_the_median_is_where_half_are_left_to_the_last_digit(
    times: list[tuple[int, bool]], expected: float
) -> None:
    assert curve_of(times).median_days == expected


@pytest.mark.parametrize(
    ("times", "expected"),
    [
        # survival goes from 1 to 0: nothing between to put an interval around
        ([(10, True)], (10.0, None, None)),
        # at day 10 half are left, from 0.006 to 0.910; at day 20 nobody
        ([(10, True), (20, True)], (10.0, 10.0, None)),
        # at day 20 a third is left, from 0.009 to 0.774
        ([(10, True), (20, True), (30, True)], (20.0, 10.0, None)),
    ],
)
def test_a_limit_of_the_median_is_open_where_it_would_rest_on_nobody(
    times: list[tuple[int, bool]], expected: tuple[float | None, ...]
) -> None:
    curve = curve_of(times)
    assert (curve.median_days, curve.median_low, curve.median_high) == expected


def test_groups_keep_phase_criterion_basis_and_reader_apart() -> None:
    rows = [summary(), summary(basis="liver"), summary(criterion="EASL"), summary(reader="B"), summary("P2")]
    found = groups_of(rows)
    assert [len(members) for members in found.values()] == [2, 1, 1, 1]


def test_waterfall_bars_fall_from_growth_to_shrinkage() -> None:
    rows = [
        summary(name, depth_of_response=change) for name, change in [("A", -0.4), ("B", 0.3), ("C", None)]
    ]
    rows.append(summary("D", depth_of_response=-1.0, best_overall_response=Response.CR))
    bars = waterfall(rows)
    assert [(bar.patient_id, bar.change) for bar in bars] == [("B", 0.3), ("A", -0.4), ("D", -1.0)]
    assert bars[-1].best_overall_response is Response.CR


def assessment(patient: str, day: int, **more: Any) -> Assessment:
    values = {"treatment_phase": "one", "criterion": "mRECIST", "reader": "A", **more}
    return Assessment(patient_id=patient, study_date=START + timedelta(days=day), **values)


def test_swimmer_lanes_have_the_responses_of_their_basis_and_end_with_what_ended_them() -> None:
    rows = [
        summary("A", start_date=START, progression_date=START + timedelta(days=90), overall_survival_days=300,
                overall_survival_event=True, response_date=START + timedelta(days=60)),
        summary("B", start_date=START, end_date=START + timedelta(days=120), overall_survival_days=400,
                overall_survival_event=True),
        summary("C", start_date=START, overall_survival_days=200, overall_survival_event=False),
        summary("D"),
    ]  # fmt: skip
    seen = [
        assessment("A", -5, is_baseline=True),
        assessment("A", 90, overall=Response.PD, liver_response=Response.PR),
        assessment("A", 60, overall=Response.PR, liver_response=Response.PR),
        assessment("A", 60, overall=Response.CR, liver_response=Response.CR, criterion="EASL"),
        assessment("B", 60, overall=Response.SD, liver_response=Response.SD),
    ]
    lanes = {lane.patient_id: lane for lane in swimmer(rows, seen)}
    assert list(lanes) == ["A", "C", "B"]
    a, b, c = lanes["A"], lanes["B"], lanes["C"]
    assert [(mark.day, mark.response) for mark in a.marks] == [(60, Response.PR), (90, Response.PD)]
    assert (a.end_day, a.response_day, a.progression_day, a.death_day) == (300, 60, 90, 300)
    assert (b.end_day, b.next_therapy_day, b.death_day, b.is_ongoing) == (120, 120, None, False)
    assert (c.end_day, c.is_ongoing, c.marks) == (200, True, ())
    liver = swimmer([summary("A", start_date=START, basis="liver")], seen)[0]
    assert [mark.response for mark in liver.marks] == [Response.PR, Response.PR]


def ten_events() -> list[PhaseSummary]:
    """Return ten patients of whom one progresses every ten days."""
    return [
        summary(str(number), progression_free_days=10 * (number + 1), progression_free_event=True)
        for number in range(10)
    ]


def test_a_curve_has_a_step_with_its_interval_and_those_at_risk_for_every_event() -> None:
    rows = ten_events()
    (group,) = groups_of(rows)
    curve = kaplan_meier(rows, group, Endpoint.PROGRESSION_FREE_SURVIVAL)
    assert curve is not None
    assert (curve.group, curve.endpoint) == (group, Endpoint.PROGRESSION_FREE_SURVIVAL)
    assert (curve.n, curve.n_events, curve.censored_days) == (10, 10, ())
    assert curve.days == tuple(10.0 * step for step in range(11))
    assert curve.survival == pytest.approx([1.0 - step / 10 for step in range(11)], abs=1e-12)
    assert curve.at_risk == (10, *range(10, 0, -1))
    for step in range(1, 10):
        # Greenwood: the sum of 1 / (r (r - 1)) over those at risk telescopes to 1 / (10 - step) - 1 / 10
        survival = 1.0 - step / 10
        width = 1.959964 * math.sqrt(1.0 / (10 - step) - 0.1) / abs(math.log(survival))
        assert curve.low[step] == pytest.approx(survival ** math.exp(width), abs=1e-6)
        assert curve.high[step] == pytest.approx(survival ** math.exp(-width), abs=1e-6)
    # the lower bound is 0.473 at day 10; the upper one 0.578 at day 70 and 0.475 at day 80
    assert (curve.median_days, curve.median_low, curve.median_high) == (50.0, 10.0, 80.0)


def test_censored_days_are_those_without_an_event_by_day() -> None:
    rows = [summary(str(n), progression_free_days=days, progression_free_event=event)
            for n, (days, event) in enumerate([(30, False), (20, True), (10, False)])]  # fmt: skip
    rows.append(summary("4", progression_free_days=5))
    rows.append(summary("5", progression_free_event=True))
    (group,) = groups_of(rows)
    curve = kaplan_meier(rows, group, Endpoint.PROGRESSION_FREE_SURVIVAL)
    assert curve is not None
    assert (curve.n, curve.n_events, curve.censored_days) == (3, 1, (10.0, 30.0))


def test_a_curve_has_the_level_that_was_asked_for() -> None:
    rows = ten_events()
    (group,) = groups_of(rows)
    curve = kaplan_meier(rows, group, Endpoint.PROGRESSION_FREE_SURVIVAL, level=0.5)
    assert curve is not None
    # 50 % of a normal distribution lie within 0.67449 standard deviations
    width = 0.67449 * math.sqrt(1.0 / 9 - 0.1) / abs(math.log(0.9))
    assert curve.low[1] == pytest.approx(0.9 ** math.exp(width), abs=1e-5)
    (median,) = [row for row in cohort_rows(rows, level=0.5) if row.endpoint.startswith("median")]
    assert (median.interval_low, median.interval_high) == (curve.median_low, curve.median_high)
    assert (median.interval_low, median.interval_high) != (10.0, 80.0)


def test_every_column_of_a_cohort_row_is_filled() -> None:
    words = (Response.CR, Response.PR, Response.SD, Response.PD)
    rows = [
        replace(
            ten_events()[number],
            best_overall_response=word,
            confirmed_best_overall_response=word if word is Response.CR else Response.SD,
            clinical_benefit=True,
            progression_free_days=10,
            progression_free_event=False,
            settings_id="b" if number else "a",
        )
        for number, word in enumerate(words)
    ]
    common = {"treatment_phase": "one", "criterion": "mRECIST", "basis": "overall", "reader": "A", "n": 4,
              "settings_id": "a;b"}  # fmt: skip
    # bounds at 50 %: of 4 in 4 the lower is 0.25 ** (1/4); of 3 in 4 the upper is 0.75 ** (1/4), and the lower p has
    # 4 p^3 - 3 p^4 = 1/4; of 2 in 4 the lower has 6 p^2 - 8 p^3 + 3 p^4 = 1/4, the upper is 1 less it
    all_low, three_low, three_high, two_low = 0.25**0.25, 0.4563217, 0.75**0.25, 0.2430221
    rates = [
        ("objective_response_rate", 2, 0.5, two_low, 1.0 - two_low),
        ("disease_control_rate", 3, 0.75, three_low, three_high),
        ("confirmed_objective_response_rate", 1, 0.25, 1.0 - three_high, 1.0 - three_low),
        ("clinical_benefit_rate", 4, 1.0, all_low, 1.0),
    ]
    expected = [
        CohortRow(endpoint=name, n_events=events, value=value, interval_low=pytest.approx(low, abs=1e-6),
                  interval_high=pytest.approx(high, abs=1e-6), **common)
        for name, events, value, low, high in rates
    ]  # fmt: skip
    median = CohortRow(
        endpoint="median_progression_free_survival_days", n_events=0, value=None, interval_low=None,
        interval_high=None, **common,
    )  # fmt: skip
    assert list(cohort_rows(rows, level=0.5)) == [*expected, median]
    # 95 % where nothing is said: of 4 in 4 the lower bound is 0.025 ** (1/4)
    usual = {row.endpoint: row.interval_low for row in cohort_rows(rows)}
    assert usual["clinical_benefit_rate"] == pytest.approx(0.025**0.25)


def test_what_counts_as_response_and_as_control_under_both_vocabularies() -> None:
    def rates(word: Response) -> tuple[float | None, ...]:
        found = {row.endpoint: row.value for row in cohort_rows([summary(best_overall_response=word)])}
        return found["objective_response_rate"], found["disease_control_rate"]

    assert {word: rates(word) for word in Response} == {
        **dict.fromkeys(Response, (0.0, 0.0)),
        **dict.fromkeys((Response.CR, Response.PR, Response.ICR, Response.IPR), (1.0, 1.0)),
        **dict.fromkeys((Response.SD, Response.NON_CR_NON_PD), (0.0, 1.0)),
        **dict.fromkeys((Response.ISD, Response.NON_ICR_NON_IUPD), (0.0, 1.0)),
    }


def test_the_lines_of_a_spider_plot_run_from_the_baseline_through_every_sum() -> None:
    members = [
        summary("A", start_date=START, baseline_date=START - timedelta(days=10)),
        # a baseline after the start of the treatment is drawn at the start
        summary("B", start_date=START, baseline_date=START + timedelta(days=3)),
        summary("C", baseline_date=START - timedelta(days=10)),
        summary("D"),
        summary("E", start_date=START),
        summary("F", start_date=START),
    ]
    seen = [
        assessment("A", -10, is_baseline=True, change_from_baseline=0.0),
        assessment("A", 120, change_from_baseline=0.0),
        assessment("A", 60, change_from_baseline=-0.25),
        assessment("A", 90),
        assessment("B", 60, change_from_baseline=0.5),
        assessment("C", 50, change_from_baseline=0.1),
        assessment("D", 60, change_from_baseline=0.5),
        assessment("F", 60, change_from_baseline=-1.0),
    ]
    assert spider(members, seen) == (
        SpiderLine(patient_id="A", days=(-10, 60, 120), changes=(0.0, -0.25, 0.0)),
        SpiderLine(patient_id="B", days=(0, 60), changes=(0.0, 0.5)),
        SpiderLine(patient_id="C", days=(0, 60), changes=(0.0, 0.1)),
        SpiderLine(patient_id="F", days=(0, 60), changes=(0.0, -1.0)),
    )


def test_the_lines_of_the_liver_are_those_of_its_own_sum() -> None:
    # the liver shrinks from 30 to 20 mm, the lung grows from 30 to 40 mm
    rows = [
        reading(day, name, size, organ=organ)
        for name, organ, sizes in (("L01", "liver", (30.0, 20.0)), ("L02", "lung", (30.0, 40.0)))
        for day, size in zip((0, 60), sizes, strict=True)
    ]
    settings = RespondSettings(criteria=("RECIST 1.1",))
    result = respond_to(rows, settings, treatments=treatments_from(1))
    figures = cohort_figures(result.summaries, result.assessments, most=2)
    found = {figure.group.basis: (figure.bars[0].change, figure.lines[0].changes) for figure in figures}
    assert found == {
        "liver": (pytest.approx(-1 / 3), (0.0, pytest.approx(-1 / 3))),
        "overall": (0.0, (0.0, 0.0)),
    }


def test_a_lane_is_as_long_as_what_is_known_and_says_whether_it_goes_on() -> None:
    def lane(*seen: Assessment, **more: Any) -> SwimmerLane:
        (found,) = swimmer([summary("A", start_date=START, **more)], seen)
        return found

    common = {"patient_id": "A", "best_overall_response": None}
    seen = assessment("A", 60, overall=Response.SD), assessment("A", 30, overall=Response.NE)
    marks = (
        SwimmerMark(day=30, response=Response.NE),
        SwimmerMark(day=60, response=Response.SD),
    )
    assert lane() == SwimmerLane(end_day=0, is_ongoing=True, **common)
    assert lane(*seen) == SwimmerLane(end_day=60, marks=marks, is_ongoing=True, **common)
    # without a response there is no mark
    assert lane(assessment("A", 60)) == SwimmerLane(end_day=0, is_ongoing=True, **common)
    assert lane(*seen, overall_survival_days=100) == SwimmerLane(
        end_day=100, marks=marks, is_ongoing=True, **common
    )
    # a study after the last contact that is known ends the lane
    assert lane(*seen, overall_survival_days=50).end_day == 60
    dead = {"overall_survival_days": 100, "overall_survival_event": True}
    assert lane(*seen, **dead) == SwimmerLane(end_day=100, marks=marks, death_day=100, **common)
    # the next therapy ends a lane although the study of its start comes later, and death after it is not this lane's
    next_therapy = {"end_date": START + timedelta(days=99)}
    assert lane(**dead, **next_therapy) == SwimmerLane(end_day=99, next_therapy_day=99, **common)
    on_the_day = lane(**dead, end_date=START + timedelta(days=100))
    assert (on_the_day.end_day, on_the_day.death_day, on_the_day.next_therapy_day) == (100, 100, 100)
    progressed = lane(progression_date=START + timedelta(days=60), best_overall_response=Response.PD)
    assert progressed == SwimmerLane(
        patient_id="A", end_day=0, best_overall_response=Response.PD, progression_day=60
    )
    answered = lane(response_date=START + timedelta(days=30))
    assert (answered.response_day, answered.is_ongoing) == (30, True)


@pytest.mark.parametrize(("day_count", "days"), [(DayCount.DIFFERENCE, 100), (DayCount.INCLUSIVE, 101)])
def test_a_lane_counts_days_after_the_start_however_survival_is_counted(
    day_count: DayCount, days: int
) -> None:
    dead = {"start_date": START, "overall_survival_days": days, "overall_survival_event": True}
    next_therapy = START + timedelta(days=100)
    rows = [
        summary("A", **dead),
        summary("B", **dead, end_date=next_therapy),
        summary("C", start_date=START, overall_survival_days=days),
        summary("D", **dead, end_date=next_therapy - timedelta(days=1)),
    ]
    figures = cohort_figures(rows, [], most=1, day_count=day_count)
    lanes = {lane.patient_id: (lane.end_day, lane.death_day) for lane in figures[0].lanes}
    assert lanes == {"A": (100, 100), "B": (100, 100), "C": (100, None), "D": (99, None)}


def test_bars_and_lanes_of_one_length_stand_by_patient() -> None:
    rows = [summary(name, depth_of_response=-0.5, start_date=START) for name in "BCA"]
    assert [bar.patient_id for bar in waterfall(rows)] == ["A", "B", "C"]
    assert [lane.patient_id for lane in swimmer(rows, [])] == ["A", "B", "C"]


def test_a_figure_holds_what_its_own_group_shows() -> None:
    times = {"progression_free_days": 60, "progression_free_event": True, "depth_of_response": -0.4}
    members = [summary(name, start_date=START, **times) for name in "AB"]
    other = [summary("A", criterion="EASL", start_date=START, **times)]
    seen = [assessment("A", 60, overall=Response.PR, change_from_baseline=-0.4)]
    strangers = [
        assessment("B", 60, overall=Response.CR, change_from_baseline=-1.0, **more)
        for more in ({"criterion": "EASL"}, {"treatment_phase": "two"}, {"reader": "B"})
    ]
    figures = cohort_figures([*other, *members], [*strangers, *seen], most=2, level=0.5)
    (group, easl) = (figure.group for figure in figures)
    curve = kaplan_meier(members, group, Endpoint.PROGRESSION_FREE_SURVIVAL, level=0.5)
    assert figures[0] == CohortFigure(
        group=Group(treatment_phase="one", criterion="mRECIST", basis="overall", reader="A"),
        n=2,
        # Lencioni 2010: -30 % of the baseline, +20 % of the nadir
        response_change=-0.3,
        progression_change=0.2,
        rates=cohort_rows(members, level=0.5),
        bars=tuple(WaterfallBar(patient_id=name, change=-0.4, best_overall_response=None) for name in "AB"),
        lines=(SpiderLine(patient_id="A", days=(0, 60), changes=(0.0, -0.4)),),
        lanes=swimmer(members, seen),
        curves=(curve,),
        level=0.5,
    )
    assert [len(lane.marks) for lane in figures[0].lanes] == [1, 0]
    # Bruix 2001: -50 % and +25 %
    assert (easl.criterion, figures[1].response_change, figures[1].progression_change) == ("EASL", -0.5, 0.25)
    assert cohort_figures([*other, *members], seen, most=1) == (
        replace(
            figures[0],
            rates=cohort_rows(members),
            curves=(kaplan_meier(members, group, Endpoint.PROGRESSION_FREE_SURVIVAL),),
            level=0.95,
        ),
    )


def test_the_largest_groups_are_shown_and_phases_before_the_course() -> None:
    rows = [
        summary(treatment_phase="course"),
        summary(treatment_phase="two"),
        summary(treatment_phase="one"),
        *(summary(name, treatment_phase="large") for name in "AB"),
        summary(criterion="of our own"),
    ]
    figures = cohort_figures(rows, [], most=10)
    assert [figure.group.treatment_phase for figure in figures] == ["large", "two", "one", "one", "course"]
    own = figures[3]
    assert (own.group.criterion, own.response_change, own.progression_change) == ("of our own", None, None)
    assert [figure.group.treatment_phase for figure in cohort_figures(rows, [], most=2)] == ["large", "two"]
