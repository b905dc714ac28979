"""Best response, confirmation, times to events, growth, cohort rates."""

from datetime import date, timedelta

import pytest

from mrresponse.domain import PhaseSummary, Response
from mrresponse.respond import RespondSettings, cohort_rows, exact_interval
from mrresponse.respond.endpoints import (
    best_overall_response,
    clinical_benefit_date,
    confirmed_best_overall_response,
    days_between,
    depth_of_response,
    has_partial_after_complete,
    immune_best_overall_response,
    immune_progression_date,
    progression_free,
    response_date,
    time_to_progression,
    until_progression,
)
from mrresponse.respond.growth import (
    early_shrinkage,
    growth_rate_percent_per_month,
    is_hyperprogression,
)
from mrresponse.respond.settings import DayCount

START = date(2024, 1, 1)
SETTINGS = RespondSettings()


def at(*visits: tuple[int, str]) -> list[tuple[date, str]]:
    return [(START + timedelta(days=day), word) for day, word in visits]


@pytest.mark.parametrize(
    ("visits", "expected"),
    [
        ([(42, "SD")], "SD"),
        ([(41, "SD")], "NE"),
        ([(41, "SD"), (90, "PD")], "PD"),
        ([(41, "SD"), (90, "SD"), (120, "PD")], "SD"),
        ([(20, "PR"), (60, "SD")], "PR"),
        ([(60, "NE")], "NE"),
        ([], None),
    ],
)
def test_unconfirmed_best_response(visits: list[tuple[int, str]], expected: str | None) -> None:
    assert best_overall_response(at(*visits), START, SETTINGS).response == expected


@pytest.mark.parametrize(
    ("visits", "expected"),
    [
        ([(56, "CR"), (84, "CR")], "CR"),
        ([(56, "CR"), (83, "CR")], "SD"),
        ([(56, "PR"), (84, "CR")], "PR"),
        ([(56, "PR"), (70, "NE"), (84, "PR")], "PR"),
        ([(56, "PR"), (66, "NE"), (76, "NE"), (90, "PR")], "SD"),
        ([(56, "PR"), (70, "SD"), (90, "PR")], "SD"),
        ([(56, "PR"), (84, "PD")], "SD"),
        ([(28, "PR"), (56, "PD")], "PD"),
        ([(28, "CR")], "NE"),
        ([(28, "PR"), (84, "CR"), (120, "CR")], "CR"),
        (
            [(28, "PR"), (40, "CR"), (50, "PR"), (60, "PR")],
            "SD",
        ),  # a partial after a complete response confirms nothing
    ],
)
def test_confirmed_best_response_by_table_3(visits: list[tuple[int, str]], expected: str) -> None:
    assert confirmed_best_overall_response(at(*visits), START, SETTINGS).response == expected


def test_visits_after_the_first_progression_do_not_count() -> None:
    assert until_progression(at((60, "SD"), (90, "PD"), (120, "CR"))) == tuple(at((60, "SD"), (90, "PD")))


def test_depth_is_the_lowest_change_up_to_the_first_progression() -> None:
    changes = [(START, -0.1, "SD"), (START, None, "NE"), (START, 0.3, "PD"), (START, -0.9, "PR")]
    assert depth_of_response(changes) == -0.1
    assert depth_of_response([(START, 0.2, "SD")]) == 0.2
    assert depth_of_response([]) is None


def test_response_and_benefit_dates() -> None:
    visits = at((30, "SD"), (60, "SD"), (90, "PR"))
    assert response_date(visits) == START + timedelta(days=90)
    assert clinical_benefit_date(visits, START, SETTINGS) == START + timedelta(days=60)
    assert clinical_benefit_date(at((30, "SD")), START, SETTINGS) is None
    assert has_partial_after_complete(at((30, "CR"), (60, "NE"), (90, "PR")))
    assert not has_partial_after_complete(at((30, "PR"), (60, "CR"), (90, "SD")))


@pytest.mark.parametrize(
    ("visits", "phase_end", "death", "day", "event"),
    [
        ([(60, "SD"), (90, "PD")], None, None, 90, "progression"),
        ([(60, "SD")], None, None, 60, "censored at last evaluable scan: no event"),
        ([(60, "SD"), (90, "NE")], None, None, 60, "censored at last evaluable scan: no event"),
        ([(60, "SD")], 100, None, 60, "censored at last evaluable scan: new therapy"),
        ([(60, "SD")], None, 150, 150, "death"),
        ([(60, "SD")], 100, 150, 60, "censored at last evaluable scan: new therapy"),
        ([(60, "SD"), (90, "NE"), (120, "PD")], None, None, 120, "progression"),
        (
            [(60, "SD"), (90, "NE"), (105, "NE"), (120, "PD")],
            None,
            None,
            60,
            "censored at last evaluable scan: 2 scans not evaluable before progression",
        ),
        ([], None, None, 0, "censored at start: no evaluable scan (no event)"),
    ],
)
def test_progression_free_survival_and_its_censoring(
    visits: list[tuple[int, str]], phase_end: int | None, death: int | None, day: int, event: str
) -> None:
    ends = [None if n is None else START + timedelta(days=n) for n in (phase_end, death)]
    found = progression_free(at(*visits), START, phase_end=ends[0], death=ends[1], settings=SETTINGS)
    assert (found.end, found.event) == (START + timedelta(days=day), event)
    assert found.is_event == (not event.startswith("censored"))


def test_a_death_is_no_radiological_progression() -> None:
    found = time_to_progression(at((60, "SD")), START, phase_end=None, death=START + timedelta(days=100))
    assert (found.end, found.is_event) == (START + timedelta(days=60), False)
    assert "death" in found.event


def test_days_are_differences_or_counted_as_cdisc_does() -> None:
    assert days_between(START, START + timedelta(days=63), DayCount.DIFFERENCE) == 63
    assert days_between(START, START + timedelta(days=63), DayCount.INCLUSIVE) == 64


@pytest.mark.parametrize(
    ("visits", "best", "progression"),
    [
        ([(56, "iUPD"), (112, "iPR"), (168, "iUPD"), (224, "iCPD")], "iPR", 168),
        ([(56, "iUPD"), (112, "iUPD"), (168, "iCPD")], "iCPD", 112),
        ([(56, "iSD"), (112, "iUPD")], "iSD", 112),
        ([(56, "iUPD"), (112, "NE")], "iUPD", 56),
        ([(56, "iUPD"), (112, "iUPD")], "iUPD", 56),
        ([(30, "iSD"), (60, "NE")], "NE", None),
        ([(56, "iUPD"), (112, "iSD")], "iSD", None),
    ],
)
def test_immune_best_response_and_progression_date(
    visits: list[tuple[int, str]], best: str, progression: int | None
) -> None:
    assert immune_best_overall_response(at(*visits), START, SETTINGS).response == best
    wanted = None if progression is None else START + timedelta(days=progression)
    assert immune_progression_date(at(*visits)) == wanted


def test_growth_rate_of_a_doubling_diameter_in_one_month_is_700_percent() -> None:
    assert growth_rate_percent_per_month(10.0, 20.0, 30.4375) == pytest.approx(700.0)
    assert growth_rate_percent_per_month(1.0, 2.0, 30.4375, is_volume=True) == pytest.approx(100.0)
    assert growth_rate_percent_per_month(0.0, 20.0, 30.0) is None


def test_hyperprogression_doubles_the_growth_rate_at_a_first_progression() -> None:
    assert is_hyperprogression("PD", 10.0, 20.0, SETTINGS) is True
    assert is_hyperprogression("PD", 10.0, 19.9, SETTINGS) is False
    assert is_hyperprogression("SD", 10.0, 40.0, SETTINGS) is False
    assert is_hyperprogression("PD", None, 40.0, SETTINGS) is None


def test_early_shrinkage_is_read_at_the_first_visit_of_the_window() -> None:
    changes = [
        (START + timedelta(days=20), -0.5),
        (START + timedelta(days=42), -0.2),
        (START + timedelta(days=70), 0.1),
    ]
    assert early_shrinkage(changes, START, SETTINGS) == (-0.2, True)
    assert early_shrinkage(changes[:1], START, SETTINGS) == (None, None)


def test_exact_binomial_interval_agrees_with_published_values() -> None:
    # Clopper-Pearson 95 % interval of 3 of 10 (Newcombe 1998 method 5: 0.0667 to 0.6525).
    low, high = exact_interval(3, 10, 0.95)
    assert (low, high) == (pytest.approx(0.0667, abs=1e-4), pytest.approx(0.6525, abs=1e-4))
    assert exact_interval(0, 10, 0.95) == (0.0, pytest.approx(0.3085, abs=1e-4))
    assert exact_interval(10, 10, 0.95) == (pytest.approx(0.6915, abs=1e-4), 1.0)


def test_cohort_rates_count_every_patient_of_a_phase() -> None:
    words = [Response.CR, Response.PR, Response.SD, Response.PD, Response.NE, None]
    summaries = [
        PhaseSummary(
            patient_id=str(number),
            treatment_phase="course",
            criterion="mRECIST",
            basis="liver",
            reader="A",
            best_overall_response=word,
            confirmed_best_overall_response=Response.SD if word is Response.PR else word,
        )
        for number, word in enumerate(words)
    ]
    rates = {row.endpoint: row for row in cohort_rows(summaries)}
    assert {row.n for row in rates.values()} == {6}
    assert rates["objective_response_rate"].value == pytest.approx(2 / 6)
    assert rates["disease_control_rate"].value == pytest.approx(3 / 6)
    assert rates["confirmed_objective_response_rate"].value == pytest.approx(1 / 6)
