"""Agreement of readers against tables worked by hand and against distributions with known answers."""

import math
from dataclasses import replace
from datetime import date, timedelta
from typing import Any

import numpy as np
import pytest

from mrresponse.domain import AgreementVisit, Assessment, PhaseSummary, Response
from mrresponse.report import PatientSummary
from mrresponse.respond import (
    AgreementRow,
    agreement_rows,
    agreement_visits,
    limits_of_agreement,
    weighted_kappa,
    with_settled,
)
from mrresponse.store import figures_of

DAY = date(2024, 1, 1)


def assessed(
    patient: str, reader: str, day: int, overall: str | None, burden: float | None = 50.0, **more: Any
) -> Assessment:
    return Assessment(
        patient_id=patient, treatment_phase="one", criterion="mRECIST", study_date=DAY + timedelta(days=day),
        reader=reader, overall=Response(overall) if overall else None, current_burden=burden,
        is_baseline=overall is None, **more,
    )  # fmt: skip


def summary(patient: str, reader: str, best: str, **more: Any) -> PhaseSummary:
    return PhaseSummary(
        patient_id=patient, treatment_phase="one", criterion="mRECIST", basis="overall", reader=reader,
        best_overall_response=Response(best), **more,
    )  # fmt: skip


# --- weighted kappa -----------------------------------------------------------------------------------------------


def test_two_categories_give_the_textbook_kappa() -> None:
    # 20 yes-yes, 5 yes-no, 10 no-yes, 15 no-no: observed 0.7, by chance 0.5, kappa 0.4
    assert weighted_kappa(np.array([[20.0, 5.0], [10.0, 15.0]])) == pytest.approx(0.4, abs=1e-12)


def test_a_disagreement_weighs_as_far_as_it_is() -> None:
    counts = np.array([[4.0, 1.0, 1.0], [0.0, 3.0, 1.0], [0.0, 0.0, 2.0]])
    # n 12; observed distance 1*1 + 1*2 + 1*1 = 4; margins 6, 4, 2 and 4, 4, 4
    # by chance (6*4*1 + 6*4*2 + 4*4*1 + 4*4*1 + 2*4*2 + 2*4*1) / 12 = 128 / 12; kappa 1 - 4 * 12 / 128
    assert weighted_kappa(counts) == pytest.approx(0.625, abs=1e-12)


def test_kappa_is_1_for_full_agreement_0_for_chance_and_undefined_for_one_category() -> None:
    assert weighted_kappa(np.diag([3.0, 4.0, 5.0])) == pytest.approx(1.0)
    assert weighted_kappa(np.outer([2.0, 3.0], [1.0, 4.0])) == pytest.approx(0.0, abs=1e-12)
    assert weighted_kappa(np.diag([9.0, 0.0])) is None
    assert weighted_kappa(np.zeros((3, 3))) is None


# --- limits of agreement ------------------------------------------------------------------------------------------


def test_limits_of_single_visits_are_bias_and_standard_deviation() -> None:
    bias, low, high = limits_of_agreement({"P1": [1.0], "P2": [3.0], "P3": [5.0], "P4": [-1.0]})
    # mean 2, sum of squares 1 + 1 + 9 + 9 = 20, variance 20 / 3
    half = 1.959964 * math.sqrt(20.0 / 3.0)
    assert (bias, low, high) == pytest.approx((2.0, 2.0 - half, 2.0 + half))


def test_limits_of_several_visits_add_the_variance_between_and_within_patients() -> None:
    bias, low, high = limits_of_agreement({"P1": [0.0, 2.0], "P2": [4.0, 6.0], "P3": [-1.0, 1.0]})
    # means 1, 5, 0 around 2: between 2 * (1 + 9 + 4) / 2 = 14, within (2 + 2 + 2) / 3 = 2; (14 - 2) / 2 + 2 = 8
    half = 1.959964 * math.sqrt(8.0)
    assert (bias, low, high) == pytest.approx((2.0, 2.0 - half, 2.0 + half))


def test_one_difference_has_a_bias_and_no_limits() -> None:
    assert limits_of_agreement({"P1": [1.5]}) == (1.5, None, None)


def test_a_patient_with_more_visits_weighs_more_in_the_limits() -> None:
    bias, low, high = limits_of_agreement({"P1": [0.0, 2.0, 4.0], "P2": [6.0]})
    # means 2 and 6 around 3: between (3 * 1 + 1 * 9) / 1 = 12, within (4 + 0 + 4 + 0) / (4 - 2) = 4
    # visits per patient (4 - (9 + 1) / 4) / 1 = 1.5; (12 - 4) / 1.5 + 4 = 28 / 3
    half = 1.959964 * math.sqrt(28.0 / 3.0)
    assert (bias, low, high) == pytest.approx((3.0, 3.0 - half, 3.0 + half))


def test_patients_who_differ_less_than_their_visits_add_no_variance() -> None:
    # between 0, within (4 + 4 + 4 + 4) / (4 - 2) = 8: a variance between patients of (0 - 8) / 2 is none
    half = 1.959964 * math.sqrt(8.0)
    found = limits_of_agreement({"P1": [0.0, 4.0], "P2": [0.0, 4.0]})
    assert found == pytest.approx((2.0, 2.0 - half, 2.0 + half))


@pytest.mark.parametrize(
    ("differences", "bias", "variance"),
    [({"P1": [1.0], "P2": [3.0]}, 2.0, 2.0), ({"P1": [1.0, 3.0, 5.0]}, 3.0, 4.0)],
    ids=["two differences", "one patient"],
)
def test_two_differences_or_one_patient_have_limits(
    differences: dict[str, list[float]], bias: float, variance: float
) -> None:
    half = 1.959964 * math.sqrt(variance)
    assert limits_of_agreement(differences) == pytest.approx((bias, bias - half, bias + half))


def test_limits_hold_95_per_cent_of_new_differences() -> None:
    draw = np.random.default_rng(3)
    shifts = draw.normal(1.0, 2.0, 400)
    _, low, high = limits_of_agreement(
        {f"P{i}": list(shift + draw.normal(0.0, 3.0, 3)) for i, shift in enumerate(shifts)}
    )
    new = draw.normal(1.0, math.hypot(2.0, 3.0), 20_000)
    assert low is not None
    assert high is not None
    assert np.mean((new > low) & (new < high)) == pytest.approx(0.95, abs=0.01)


# --- pairs of readers ---------------------------------------------------------------------------------------------


def test_readers_are_paired_visit_by_visit_and_a_baseline_has_sums_only() -> None:
    rows = [
        assessed("P1", "B", 0, None, 41.0),
        assessed("P1", "A", 0, None, 40.0),
        assessed("P1", "A", 60, "PR", 20.0),
        assessed("P1", "B", 60, "SD", 30.5),
        assessed("P1", "net", 60, "NE", None),
        assessed("P1", "A", 120, "PD"),
    ]
    visits = agreement_visits(rows)
    assert [(v.reader_1, v.reader_2, v.study_date, v.burden_difference) for v in visits] == [
        ("A", "B", DAY, 1.0),
        ("A", "B", DAY + timedelta(days=60), 10.5),
        ("A", "net", DAY + timedelta(days=60), None),
        ("B", "net", DAY + timedelta(days=60), None),
    ]
    assert (visits[1].burden_mean, visits[1].overall_1, visits[1].overall_2) == (25.25, "PR", "SD")


def test_what_is_not_evaluable_counts_as_a_call_and_not_in_kappa() -> None:
    rows = [assessed("P1", reader, 60, word) for reader, word in (("A", "PR"), ("B", "NE"))]
    rows += [assessed("P2", reader, 60, word) for reader, word in (("A", "NE"), ("B", "NE"))]
    rows += [assessed("P3", reader, 60, word) for reader, word in (("A", "PR"), ("B", "PD"))]
    rows += [assessed("P4", reader, 60, word) for reader, word in (("A", "SD"), ("B", "SD"))]
    (row,) = agreement_rows(agreement_visits(rows), [])
    assert (row.n_patients, row.n_visits, row.same_response, row.n_ranked) == (4, 4, 0.5, 2)
    # PR-PD and SD-SD: observed distance 2 of 2, by chance (2 + 1 + 1 + 0) / 2 = 2, kappa 0
    assert row.weighted_kappa == pytest.approx(0.0)
    assert row.weighted_kappa_low is None


def test_best_responses_are_compared_by_patient() -> None:
    rows = [assessed(f"P{i}", reader, 60, "SD") for i in range(3) for reader in "AB"]
    best = [
        summary("P0", "A", "PR"),
        summary("P0", "B", "PR"),
        summary("P1", "A", "PD"),
        summary("P1", "B", "SD"),
    ]
    (row,) = agreement_rows(agreement_visits(rows), [*best, summary("P2", "A", "PR")])
    assert (row.n_best, row.same_best_response) == (2, 0.5)
    # PR-PR, PD-SD: observed 1 of 2, by chance (0 + 1 + 2 + 1) / 2 = 2, kappa 0.5
    assert row.best_response_weighted_kappa == pytest.approx(0.5)


def test_a_best_response_outside_the_order_is_compared_and_not_ranked() -> None:
    rows = [assessed(f"P{i}", reader, 60, "SD") for i in range(4) for reader in "AB"]
    calls = (("PR", "PR"), ("PD", "SD"), ("NE", "PR"), ("PR", "NE"))
    best = [
        summary(f"P{i}", reader, word)
        for i, pair in enumerate(calls)
        for reader, word in zip("AB", pair, strict=True)
    ]
    (row,) = agreement_rows(agreement_visits(rows), best)
    assert (row.n_best, row.same_best_response) == (4, 0.25)
    # PR-PR, PD-SD: observed 1 of 2, by chance (0 + 1 + 2 + 1) / 2 = 2, kappa 0.5
    assert row.best_response_weighted_kappa == pytest.approx(0.5)


def test_a_visit_that_is_the_baseline_of_one_reader_has_sums_and_no_pair_of_calls() -> None:
    rows = [assessed("P1", "A", 60, "SD", 50.0), assessed("P1", "B", 60, None, 52.0)]
    (row,) = agreement_rows(agreement_visits(rows), [])
    assert (row.n_patients, row.n_visits, row.same_response, row.n_ranked) == (1, 0, None, 0)
    assert (row.n_burdens, row.burden_bias) == (1, 2.0)


def test_the_same_pair_of_calls_at_two_visits_counts_twice() -> None:
    pairs = (("PR", "PR"), ("PR", "PR"), ("PD", "SD"))
    rows = [
        assessed("P1", reader, 60 * visit, word)
        for visit, pair in enumerate(pairs)
        for reader, word in zip("AB", pair, strict=True)
    ]
    (row,) = agreement_rows(agreement_visits(rows), [])
    # observed distance 1 of 3; by chance (2 * 1 * 1 + 1 * 2 * 2 + 1 * 1 * 1) / 3 = 7 / 3; kappa 1 - 3 / 7
    assert row.weighted_kappa == pytest.approx(4.0 / 7.0)


def test_phases_and_criteria_are_kept_apart() -> None:
    rows = [assessed("P1", reader, 60, "SD", burden) for reader, burden in (("A", 10.0), ("B", 12.0))]
    other = [replace(row, treatment_phase="two", current_burden=50.0) for row in rows]
    found = agreement_rows(agreement_visits([*rows, *other]), [])
    assert [(row.treatment_phase, row.burden_bias) for row in found] == [("one", 2.0), ("two", 0.0)]


def test_the_interval_covers_the_true_kappa_and_is_repeatable() -> None:
    words = ("CR", "PR", "SD", "PD")
    covered = 0
    trials = 60
    for trial in range(trials):
        draw = np.random.default_rng(trial)
        rows = []
        for patient in range(60):
            true = draw.integers(0, 4, 3)
            for visit, word in enumerate(true):
                said = word if draw.random() < 0.7 else draw.integers(0, 4)
                rows += [
                    assessed(f"P{patient}", "A", visit * 60, words[word]),
                    assessed(f"P{patient}", "B", visit * 60, words[said]),
                ]
        (row,) = agreement_rows(agreement_visits(rows), [])
        assert row.weighted_kappa_low is not None
        assert row.weighted_kappa_high is not None
        # a share of 0.7 repeats the word and the rest is drawn at random: kappa is 0.7 in the limit
        covered += row.weighted_kappa_low <= 0.7 <= row.weighted_kappa_high
        if trial == 0:
            assert agreement_rows(agreement_visits(rows), []) == (row,)
    # 95 % of 60 is 57; fewer than 53 would have a probability below 2 % if the interval kept its level
    assert covered >= 53


def test_visits_of_one_patient_are_not_taken_for_independent() -> None:
    draw = np.random.default_rng(8)
    words = ("PR", "SD", "PD")
    once, five = [], []
    for patient in range(40):
        word, said = draw.integers(0, 3, 2)
        said = word if draw.random() < 0.6 else said
        for visit in range(5):
            pair = [
                assessed(f"P{patient}", "A", visit * 60, words[word]),
                assessed(f"P{patient}", "B", visit * 60, words[said]),
            ]
            five += pair
            once += pair if visit == 0 else []
    (row,), (repeated,) = (agreement_rows(agreement_visits(rows), []) for rows in (once, five))
    widths = [one.weighted_kappa_high - one.weighted_kappa_low for one in (row, repeated)]  # type: ignore[operator]
    # five copies of one opinion say no more than one
    assert widths[1] == pytest.approx(widths[0])


def test_a_restated_read_is_paired_with_no_reader() -> None:
    rows = [
        *(assessed("P1", reader, day, "PD") for reader in ("A", "B") for day in (60, 120)),
        assessed("P1", "adjudicated", 60, "SD", flags=("restated",)),
        assessed("P1", "adjudicated", 120, "PD"),
        # a reader of that name, of whom nothing was restated
        *(assessed("P2", reader, 60, "PR") for reader in ("A", "adjudicated")),
    ]
    assert [(v.patient_id, v.reader_1, v.reader_2) for v in agreement_visits(rows)] == [
        ("P1", "A", "B"),
        ("P1", "A", "B"),
        ("P2", "A", "adjudicated"),
    ]


# --- the adjudicated read of a cohort -----------------------------------------------------------------------------


def test_patients_whose_readers_agree_count_in_the_adjudicated_cohort() -> None:
    rows = [
        summary("P1", "A", "PR"), summary("P1", "B", "PD"), summary("P1", "adjudicated", "PR"),
        summary("P2", "A", "SD"), summary("P2", "B", "SD"),
        summary("P3", "A", "SD"), summary("P3", "B", "PD"),
        summary("P4", "A", "CR"),
    ]  # fmt: skip
    added = with_settled(rows)[len(rows) :]
    assert [(row.patient_id, row.reader, row.best_overall_response) for row in added] == [
        ("P2", "adjudicated", "SD"),
        ("P4", "adjudicated", "CR"),
    ]
    without = [row for row in rows if row.reader != "adjudicated"]
    assert with_settled(without) == without


def test_a_group_without_a_restated_patient_leaves_the_next_one_alone() -> None:
    rows = [
        summary("P1", "A", "PR"),
        summary("P3", "A", "PR"),
        *(
            replace(summary(*one), criterion="WHO")
            for one in (("P1", "adjudicated", "SD"), ("P2", "A", "CR"))
        ),
    ]
    added = with_settled(rows)[len(rows) :]
    assert added == [replace(rows[3], reader="adjudicated")]


@pytest.mark.parametrize(
    "other",
    [
        {"best_overall_response": Response.SD},
        {"confirmed_best_overall_response": Response.SD},
        {"response_date": DAY},
        {"progression_date": DAY},
        {"progression_free_days": 60},
        {"event": "death"},
    ],
)
def test_readers_agree_where_responses_dates_and_events_are_the_same(other: dict[str, Any]) -> None:
    rows = [summary("P1", "adjudicated", "PR"), summary("P2", "A", "PR"), summary("P2", "B", "PR")]
    assert len(with_settled(rows)) == 4
    assert len(with_settled([*rows[:2], replace(rows[2], **other)])) == 3


def test_figures_of_the_adjudicated_read_show_the_patients_of_its_rates() -> None:
    first = {"start_date": DAY, "depth_of_response": -0.4}
    phases = {
        "P1": (summary("P1", "A", "PR", **first), summary("P1", "adjudicated", "SD", **first)),
        "P2": (summary("P2", "A", "PR", **first),),
        # these two differ without an override, and so count in neither
        "P3": (summary("P3", "A", "PR", **first), summary("P3", "B", "PD", **first)),
    }
    lines = [
        PatientSummary(
            patient_id=name,
            studies=2,
            first_study=DAY,
            last_study=DAY,
            phases=rows,
            assessments=tuple(
                assessed(name, row.reader, 60, "PR", change_from_baseline=-0.4) for row in rows
            ),
        )
        for name, rows in phases.items()
    ]
    (figure,) = [one for one in figures_of(lines, level=0.95) if one.group.reader == "adjudicated"]
    (rate,) = [row for row in figure.rates if row.endpoint == "objective_response_rate"]
    assert (figure.n, rate.n, rate.n_events) == (2, 2, 1)
    assert [bar.patient_id for bar in figure.bars] == ["P1", "P2"]
    assert [(line.patient_id, line.changes) for line in figure.lines] == [
        ("P1", (0.0, -0.4)),
        ("P2", (0.0, -0.4)),
    ]
    assert [[mark.response for mark in lane.marks] for lane in figure.lanes] == [["PR"], ["PR"]]


# --- whole rows ----------------------------------------------------------------------------------------------------


def test_every_column_of_a_pair_of_assessments() -> None:
    rows = [assessed("P1", reader, 60, word, burden, burden_unit="mm2")
            for reader, word, burden in (("B", "SD", 30.5), ("A", "PR", 20.0))]  # fmt: skip
    (visit,) = agreement_visits(rows)
    expected = AgreementVisit(
        patient_id="P1",
        treatment_phase="one",
        criterion="mRECIST",
        study_date=DAY + timedelta(days=60),
        reader_1="A",
        reader_2="B",
        overall_1=Response.PR,
        overall_2=Response.SD,
        burden_1=20.0,
        burden_2=30.5,
        burden_mean=25.25,
        burden_difference=10.5,
        burden_unit="mm2",
    )
    assert visit == expected
    for first, second in ((None, 20.0), (30.5, None), (None, None)):
        pair = replace(rows[1], current_burden=second), replace(rows[0], current_burden=first)
        assert agreement_visits(pair) == (
            replace(expected, burden_1=second, burden_2=first, burden_mean=None, burden_difference=None),
        )
    # means and differences have six decimals, as sums have
    seventh = agreement_visits([replace(rows[0], current_burden=30.5000009), rows[1]])[0]
    assert (seventh.burden_mean, seventh.burden_difference) == (25.25, 10.500001)
    # sums of different units are not compared
    (mixed,) = agreement_visits([rows[0], replace(rows[1], burden_unit="mm")])
    assert mixed == replace(expected, burden_mean=None, burden_difference=None, burden_unit="mm")


def test_every_column_of_two_readers_over_a_cohort() -> None:
    words = ("PR", "SD", "PD", "PR", "SD")
    rows = [
        assessed(f"P{number}", reader, 60, word, burden, burden_unit="mm2")
        for number, word in enumerate(words)
        for reader, burden in (("A", 50.0), ("B", 52.0))
    ]
    best = [summary(f"P{number}", reader, "PR" if number else "SD") for number in range(5) for reader in "AB"]
    # the liver's own best response is another matter
    best += [replace(summary(f"P{number}", "B", "PD"), basis="liver") for number in range(5)]
    best += [replace(summary("P9", reader, "PR"), best_overall_response=None) for reader in "AB"]
    expected = AgreementRow(
        treatment_phase="one",
        criterion="mRECIST",
        reader_1="A",
        reader_2="B",
        n_patients=5,
        n_visits=5,
        same_response=1.0,
        n_ranked=5,
        # whoever is drawn, the readers agree
        weighted_kappa=1.0,
        weighted_kappa_low=1.0,
        weighted_kappa_high=1.0,
        n_best=5,
        same_best_response=1.0,
        best_response_weighted_kappa=1.0,
        n_burdens=5,
        burden_bias=2.0,
        burden_bias_low=2.0,
        burden_bias_high=2.0,
        burden_limit_low=2.0,
        burden_limit_high=2.0,
        burden_unit="mm2",
    )
    assert agreement_rows(agreement_visits(rows), best) == (expected,)
    # of fewer than five patients nothing can be resampled
    (four,) = agreement_rows(agreement_visits(rows[:8]), [])
    assert (four.n_patients, four.weighted_kappa, four.burden_bias) == (4, 1.0, 2.0)
    assert (four.weighted_kappa_low, four.burden_bias_low, four.n_best, four.same_best_response) == (
        None, None, 0, None,
    )  # fmt: skip
    without = [replace(row, current_burden=None) for row in rows]
    (unmeasured,) = agreement_rows(agreement_visits(without), best)
    assert unmeasured == replace(
        expected, n_burdens=0, burden_bias=None, burden_bias_low=None, burden_bias_high=None, burden_limit_low=None,
        burden_limit_high=None,
    )  # fmt: skip


def test_the_interval_of_the_bias_comes_from_resampled_patients() -> None:
    # two of five patients differ by 10 mm: the number of them in a sample of five is binomial (5, 2/5), and
    # P(0) = 7.8 %, P(5) = 1.0 %, P(4 or 5) = 8.7 %: 2.5 and 97.5 % lie at 0 and at 4 patients
    rows = [
        assessed(f"P{number}", reader, 60, "SD", 50.0 + (10.0 if reader == "B" and number < 2 else 0.0))
        for number in range(5)
        for reader in "AB"
    ]
    (row,) = agreement_rows(agreement_visits(rows), [])
    assert (row.burden_bias, row.burden_bias_low, row.burden_bias_high) == (4.0, 0.0, 8.0)


def test_a_patient_weighs_by_visits_in_the_bias() -> None:
    rows = [
        assessed("P1" if day else "P2", reader, day, "SD", 50.0 + (6.0 if reader == "B" and day else 0.0))
        for day in (0, 60, 120)
        for reader in "AB"
    ]
    (row,) = agreement_rows(agreement_visits(rows), [])
    assert (row.burden_bias, row.n_burdens, row.n_patients, row.n_visits) == (4.0, 3, 2, 3)


def test_kappa_is_that_of_shares_as_well_as_of_counts() -> None:
    assert weighted_kappa(np.array([[0.2, 0.05], [0.1, 0.15]])) == pytest.approx(0.4, abs=1e-12)
    assert weighted_kappa(np.array([[0.0, 1.0], [1.0, 0.0]])) == pytest.approx(-1.0)


@pytest.mark.parametrize(
    ("words", "same", "kappa"),
    [
        # PR-SD and SD-PR: one step each; by chance (0 + 1 + 1 + 0) / 2 = 1 of 2 steps: kappa 1 - 2 / 1
        ((("PR", "SD"), ("SD", "PR")), 0.0, -1.0),
        # a non-target that persists ranks with stable disease, but is another word
        ((("SD", "NON-CR/NON-PD"), ("PD", "PD")), 0.5, 1.0),
        ((("iSD", "NON-iCR/NON-iUPD"), ("iUPD", "iUPD")), 0.5, 1.0),
        # iUPD-iCPD is one step, iCR-iCR none; by chance (1 + 3 + 4 + 0) / 2 = 4 steps: kappa 1 - 1 / 4
        ((("iUPD", "iCPD"), ("iCR", "iCR")), 0.5, 0.75),
        ((("NED", "NED"), ("NE", "PR")), 0.5, None),
    ],
)
def test_categories_have_ranks(words: tuple[tuple[str, str], ...], same: float, kappa: float | None) -> None:
    rows = [
        assessed(f"P{number}", reader, 60, word)
        for number, pair in enumerate(words)
        for reader, word in zip("AB", pair, strict=True)
    ]
    (row,) = agreement_rows(agreement_visits(rows), [])
    assert row.same_response == same
    assert row.weighted_kappa == (None if kappa is None else pytest.approx(kappa))
