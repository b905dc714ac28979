"""Rates, Kaplan-Meier curves, waterfall and swimmer data."""

from dataclasses import replace
from datetime import date, timedelta
from typing import Any

from mrresponse.domain import Assessment, PhaseSummary, Response
from mrresponse.respond import Endpoint, cohort_rows, groups_of, kaplan_meier, swimmer, waterfall

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
