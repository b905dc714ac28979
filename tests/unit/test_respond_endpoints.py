"""Best response, confirmation, times to events, growth, cohort rates."""

from datetime import date, timedelta

import pytest

from mrresponse.domain import PhaseSummary, Response
from mrresponse.respond import RespondSettings, cohort_rows, exact_interval
from mrresponse.respond.endpoints import (
    Best,
    Survival,
    best_overall_response,
    clinical_benefit_date,
    confirmed_best_overall_response,
    confirmed_response_date,
    days_between,
    depth_of_response,
    duration_of_response,
    has_partial_after_complete,
    immune_best_overall_response,
    immune_progression_date,
    overall_survival,
    progression_date,
    progression_free,
    response_date,
    time_to_progression,
    until_progression,
)
from mrresponse.respond.growth import (
    doubling_time,
    early_shrinkage,
    growth_rate_percent_per_month,
    is_hyperprogression,
)
from mrresponse.respond.settings import DayCount, ResponseEnd

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


def test_without_targets_a_response_that_is_not_confirmed_is_no_stable_disease() -> None:
    visits = at((56, "CR"), (70, "NE"))
    best = confirmed_best_overall_response(visits, START, SETTINGS, is_measurable=False)
    assert best.response == "NON-CR/NON-PD"


def test_visits_after_the_first_progression_do_not_count() -> None:
    assert until_progression(at((60, "SD"), (90, "PD"), (120, "CR"))) == tuple(at((60, "SD"), (90, "PD")))


def test_depth_is_the_lowest_change_up_to_the_first_progression() -> None:
    changes = [
        (START, 0.1, "SD"),
        (START, -0.1, "SD"),
        (START, None, "NE"),
        (START, 0.3, "PD"),
        (START, -0.9, "PR"),
    ]
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


def on(day: int | None) -> date | None:
    return None if day is None else START + timedelta(days=day)


@pytest.mark.parametrize(
    ("visits", "plain", "confirmed"),
    [
        # visits, then best response and its day without and with confirmation
        ([(28, "PR"), (84, "CR"), (120, "CR")], ("CR", 84), ("CR", 84)),
        ([(28, "PR"), (56, "PR"), (90, "SD")], ("PR", 28), ("PR", 28)),
        # a partial response two weeks later neither confirms nor stands in the way
        ([(56, "PR"), (66, "PR"), (84, "PR")], ("PR", 56), ("PR", 56)),
        ([(56, "PR"), (66, "CR"), (84, "CR")], ("CR", 66), ("PR", 56)),
        ([(56, "CR"), (84, "PR")], ("CR", 56), ("SD", 56)),
        ([(56, "PR"), (83, "PR"), (111, "PR")], ("PR", 56), ("PR", 56)),
        # each visit in its turn: the first is not confirmed, the second is
        ([(56, "PR"), (84, "SD"), (112, "PR"), (140, "PR")], ("PR", 56), ("PR", 112)),
        ([(42, "PR"), (60, "PD")], ("PR", 42), ("SD", 42)),
        ([(41, "PR"), (60, "PD")], ("PR", 41), ("PD", 60)),
        ([(30, "NON-CR/NON-PD"), (60, "NON-CR/NON-PD")], ("NON-CR/NON-PD", 60), ("NON-CR/NON-PD", 60)),
        ([(30, "NE"), (60, "SD"), (90, "SD")], ("SD", 60), ("SD", 60)),
        ([(30, "NED"), (60, "PD")], ("NED", 30), ("NED", 30)),
        ([(30, "ND"), (60, "NE")], ("NE", 60), ("NE", 60)),
        ([(30, "ND")], ("ND", 30), ("ND", 30)),
        ([], (None, None), (None, None)),
    ],
)
def test_the_best_response_is_dated_at_the_first_visit_that_gives_it(
    visits: list[tuple[int, str]],
    plain: tuple[str | None, int | None],
    confirmed: tuple[str | None, int | None],
) -> None:
    for found, (word, day) in (
        (best_overall_response(at(*visits), START, SETTINGS), plain),
        (confirmed_best_overall_response(at(*visits), START, SETTINGS), confirmed),
    ):
        assert found == Best(response=word, study_date=on(day))


def test_a_protocol_may_allow_other_pauses_before_a_confirmation() -> None:
    stable = at((56, "PR"), (70, "SD"), (90, "PR"))
    assert confirmed_best_overall_response(
        stable, START, RespondSettings(confirm_max_stable=1)
    ).response == "PR"  # fmt: skip
    twice = at((56, "PR"), (70, "SD"), (80, "SD"), (90, "PR"))
    assert confirmed_best_overall_response(
        twice, START, RespondSettings(confirm_max_stable=1)
    ).response == "SD"  # fmt: skip
    # stable disease is no pause of a complete response
    complete = at((56, "CR"), (70, "SD"), (90, "CR"))
    assert confirmed_best_overall_response(
        complete, START, RespondSettings(confirm_max_stable=1)
    ).response == "SD"  # fmt: skip
    unread = at((56, "CR"), (70, "NE"), (90, "CR"))
    assert confirmed_best_overall_response(unread, START, SETTINGS).response == "CR"
    never = RespondSettings(confirm_max_not_evaluable=0)
    assert confirmed_best_overall_response(unread, START, never).response == "SD"


@pytest.mark.parametrize(
    ("visits", "first", "confirmed", "progression"),
    [
        ([(30, "SD"), (60, "PR"), (90, "CR"), (130, "PD")], 60, 60, 130),
        ([(60, "PR"), (90, "SD"), (120, "PR"), (150, "CR")], 60, 120, None),
        ([(60, "PR"), (87, "PR")], 60, None, None),
        ([(60, "iSD"), (90, "iPR"), (120, "iCR")], 90, None, None),
        ([(60, "iCR")], 60, None, None),
        ([(60, "CR")], 60, None, None),
        ([(60, "PD"), (90, "PD")], None, None, 60),
        ([], None, None, None),
    ],
)
def test_dates_of_response_and_progression(
    visits: list[tuple[int, str]], first: int | None, confirmed: int | None, progression: int | None
) -> None:
    dated = at(*visits)
    assert response_date(dated) == on(first)
    assert confirmed_response_date(dated, SETTINGS) == on(confirmed)
    assert progression_date(dated) == on(progression)


@pytest.mark.parametrize(
    ("visits", "words", "day"),
    [
        ([(41, "SD"), (42, "SD"), (60, "PR")], None, 42),
        # a response counts from its first day on, stable disease only after six weeks
        ([(30, "PR"), (60, "SD")], None, 30),
        ([(30, "SD"), (60, "NE")], None, None),
        ([(60, "NON-CR/NON-PD")], None, None),
        ([(60, "NON-CR/NON-PD")], ("CR", "PR", "SD", "NON-CR/NON-PD"), 60),
        ([(60, "SD"), (90, "PR")], ("CR", "PR"), 90),
    ],
)
def test_clinical_benefit_begins_with_a_response_or_with_lasting_stable_disease(
    visits: list[tuple[int, str]], words: tuple[str, ...] | None, day: int | None
) -> None:
    more = {} if words is None else {"words": words}
    assert clinical_benefit_date(at(*visits), START, SETTINGS, **more) == on(day)


def test_only_a_partial_response_right_after_a_complete_one_contradicts_it() -> None:
    words = {
        ("CR", "PR"): True,
        ("CR", "NE", "NE", "PR"): True,
        ("CR", "SD", "PR"): False,
        ("PR", "CR"): False,
        ("CR", "CR"): False,
        ("PR", "PR"): False,
    }
    for visits, expected in words.items():
        dated = at(*((30 * number, word) for number, word in enumerate(visits)))
        assert has_partial_after_complete(dated) is expected, visits


@pytest.mark.parametrize(
    ("visits", "best", "day"),
    [
        ([(30, "iSD"), (42, "iSD"), (90, "iPR")], "iPR", 90),
        ([(30, "iSD"), (42, "iSD"), (90, "iUPD")], "iSD", 42),
        ([(41, "iSD"), (90, "iUPD")], "iUPD", 90),
        ([(41, "NON-iCR/NON-iUPD")], "NE", 41),
        ([(42, "NON-iCR/NON-iUPD")], "NON-iCR/NON-iUPD", 42),
        ([(30, "iPR"), (60, "iCR")], "iCR", 60),
        ([(30, "NED"), (60, "iUPD")], "NED", 30),
        # what follows a confirmed progression does not count
        ([(56, "iUPD"), (90, "iCPD"), (120, "iPR")], "iCPD", 90),
        ([(56, "NE"), (90, "iUPD"), (120, "iUPD")], "iUPD", 90),
        ([(30, "iSD"), (60, "NE")], "NE", 60),
        ([(30, "iSD"), (35, "ND")], "NE", 30),
        ([], None, None),
    ],
)
def test_the_immune_best_response_and_its_day(
    visits: list[tuple[int, str]], best: str | None, day: int | None
) -> None:
    found = immune_best_overall_response(at(*visits), START, SETTINGS)
    assert found == Best(response=best, study_date=on(day))


@pytest.mark.parametrize(
    ("visits", "day"),
    [
        ([(56, "iUPD"), (70, "NE"), (90, "iCPD")], 56),
        ([(56, "iUPD"), (70, "ND"), (90, "iCPD")], 56),
        # the next evaluable visit confirms the iUPD before it
        ([(56, "iUPD"), (90, "iUPD"), (120, "NE"), (150, "iCPD")], 90),
        ([(56, "iUPD"), (90, "iSD"), (120, "iUPD"), (150, "iUPD")], 120),
        ([(56, "iUPD"), (90, "iSD"), (120, "iCPD")], 120),
        ([(56, "iUPD"), (90, "iPR"), (120, "NE")], None),
        ([(90, "iCPD"), (120, "iUPD")], 90),
        ([(56, "iSD")], None),
        ([], None),
    ],
)
def test_the_immune_progression_is_dated_where_it_was_first_seen_and_not_reset(
    visits: list[tuple[int, str]], day: int | None
) -> None:
    assert immune_progression_date(at(*visits)) == on(day)


CENSORED = "censored at last evaluable scan"


@pytest.mark.parametrize(
    ("visits", "phase_end", "death", "free", "radiological"),
    [
        # visits; start of the next therapy; death; day and event of progression-free survival, then of progression
        ([(60, "PD")], 100, 150, (60, "progression"), (60, "progression")),
        ([(60, "SD")], 100, 99, (99, "death"), (60, f"{CENSORED}: death")),
        ([(60, "SD")], 100, 100, (100, "death"), (60, f"{CENSORED}: death")),
        ([(60, "SD")], 100, 101, (60, f"{CENSORED}: new therapy"), (60, f"{CENSORED}: new therapy")),
        ([(60, "SD")], None, 101, (101, "death"), (60, f"{CENSORED}: death")),
        ([(60, "SD")], 100, None, (60, f"{CENSORED}: new therapy"), (60, f"{CENSORED}: new therapy")),
        ([(60, "SD"), (90, "NE")], None, None, (60, f"{CENSORED}: no event"), (60, f"{CENSORED}: no event")),
        (
            [(60, "SD"), (90, "NE"), (110, "NE")], None, 120,
            (60, f"{CENSORED}: 2 scans not evaluable before death"), (60, f"{CENSORED}: death"),
        ),
        ([(60, "SD"), (90, "NE")], None, 120, (120, "death"), (60, f"{CENSORED}: death")),
        # two missed scans long ago, with a good one since, censor nothing
        (
            [(30, "NE"), (40, "NE"), (60, "SD"), (90, "NE"), (120, "PD")], None, None, (120, "progression"),
            (120, "progression"),
        ),
        (
            [(30, "NE"), (60, "NE")], None, 90,
            (0, "censored at start: no evaluable scan (2 scans not evaluable before death)"),
            (0, "censored at start: no evaluable scan (death)"),
        ),
        (
            [(30, "NE")], 90, None, (0, "censored at start: no evaluable scan (new therapy)"),
            (0, "censored at start: no evaluable scan (new therapy)"),
        ),
        (
            [], None, None, (0, "censored at start: no evaluable scan (no event)"),
            (0, "censored at start: no evaluable scan (no event)"),
        ),
    ],
)  # fmt: skip
def test_what_ends_the_times_to_an_event(
    visits: list[tuple[int, str]],
    phase_end: int | None,
    death: int | None,
    free: tuple[int, str],
    radiological: tuple[int, str],
) -> None:
    ends = {"phase_end": on(phase_end), "death": on(death)}
    found = (
        progression_free(at(*visits), START, settings=SETTINGS, **ends),
        time_to_progression(at(*visits), START, **ends),
    )
    for one, (day, event) in zip(found, (free, radiological), strict=True):
        expected = START + timedelta(days=day)
        assert one == Survival(end=expected, is_event=event in ("progression", "death"), event=event)


def test_overall_survival_ends_with_death_or_the_last_day_alive() -> None:
    dead = overall_survival(START, death=on(50), last_known_alive=on(90))
    assert dead == Survival(end=START + timedelta(days=50), is_event=True, event="death")
    alive = overall_survival(START, death=None, last_known_alive=on(0))
    assert alive == Survival(end=START, is_event=False, event="censored at last contact")


@pytest.mark.parametrize(
    ("end", "found", "death", "expected"),
    [
        ("progression_or_death", (90, True, "progression"), 120, (90, True, "progression")),
        ("progression_or_death", (90, False, f"{CENSORED}: death"), 120, (120, True, "death")),
        ("progression_or_death", (90, False, f"{CENSORED}: new therapy"), 120, (90, False, f"{CENSORED}: new therapy")),
        ("progression_or_death", (90, False, f"{CENSORED}: no event"), None, (90, False, f"{CENSORED}: no event")),
        ("progression", (90, False, f"{CENSORED}: death"), 120, (90, False, f"{CENSORED}: death")),
    ],
)  # fmt: skip
def test_a_response_lasts_to_progression_or_where_stated_to_death(
    end: str, found: tuple[int, bool, str], death: int | None, expected: tuple[int, bool, str]
) -> None:
    def survival(day: int, is_event: bool, event: str) -> Survival:
        return Survival(end=START + timedelta(days=day), is_event=is_event, event=event)

    settings = RespondSettings(duration_of_response_end=ResponseEnd(end))
    ended = duration_of_response(survival(*found), death=on(death), settings=settings)
    assert ended == survival(*expected)


def test_early_shrinkage_has_a_window_of_six_to_twelve_weeks_and_a_fifth() -> None:
    def early(*changes: tuple[int, float | None]) -> tuple[float | None, bool | None]:
        return early_shrinkage(
            [(START + timedelta(days=day), change) for day, change in changes], START, SETTINGS
        )

    assert early((41, -0.5), (84, -0.2)) == (-0.2, True)
    assert early((84, -0.199)) == (-0.199, False)
    assert early((85, -0.5)) == (None, None)
    assert early((50, None), (60, -0.3), (70, -0.5)) == (-0.3, True)


def test_growth_is_defined_from_one_day_on_and_however_slow() -> None:
    # twice the volume in a day is 2 ** 30.4375 in a month
    assert growth_rate_percent_per_month(1.0, 2.0, 1.0, is_volume=True) == pytest.approx(
        100.0 * (2.0**30.4375 - 1.0)
    )
    assert growth_rate_percent_per_month(0.5, 0.25, 30.4375, is_volume=True) == pytest.approx(-50.0)
    assert growth_rate_percent_per_month(-1.0, 2.0, 30.0) is None
    assert growth_rate_percent_per_month(1.0, 0.0, 30.0) is None
    assert is_hyperprogression("PD", 0.5, 1.0, SETTINGS) is True
    assert is_hyperprogression("iCPD", 0.5, 0.9, SETTINGS) is False
    assert is_hyperprogression("PD", 10.0, None, SETTINGS) is None
    # at 0.5 % a month a volume doubles in ln 2 / ln 1.005 = 138.976 months
    assert doubling_time(0.5) == pytest.approx(30.4375 * 138.9757, rel=1e-6)
    assert doubling_time(-0.5) is None
