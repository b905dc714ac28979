"""Probabilities of responses from the error of the measurements."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date, timedelta
from typing import Any

import numpy as np
import pytest

from mrresponse.domain import (
    Assessment,
    Measurement,
    MeasurementSource,
    MeasurementState,
    NewLesionStatus,
    Patient,
    Response,
    StudyRecord,
)
from mrresponse.errors import DataError
from mrresponse.respond import CRITERIA, RespondSettings, respond
from mrresponse.respond.criteria import MRECIST, QEASL, RECIST_1_1, VRECIST, Criterion, ProgressionScope
from mrresponse.respond.repeats import error_of_repeats
from mrresponse.respond.settings import MeasurementError, PartialResponse, ProbabilityMethod
from mrresponse.respond.targets import sum_targets
from mrresponse.respond.timeline import Visit
from mrresponse.respond.uncertainty import (
    Estimate,
    Probabilities,
    estimates_of,
    immune_probabilities,
    largest_nadir,
    response_probabilities,
)

START = date(2024, 1, 1)
NO_ERROR = MeasurementError(diameter_fraction=0.0, diameter_floor_mm=0.0, volume_fraction=0.0)


def at(visit: int) -> date:
    return START + timedelta(days=60 * visit)


def lesion(visit: int, size: float | None, name: str = "L01", **more: Any) -> Measurement:
    state = MeasurementState.NOT_ASSESSED if size is None else MeasurementState.MEASURED
    values: dict[str, Any] = {
        "state": MeasurementState.ABSENT if size == 0.0 else state,
        "longest_diameter_mm": size,
        "viable_longest_diameter_mm": size,
        "reader": "A",
        "source": MeasurementSource.MASK,
        **more,
    }
    return Measurement(patient_id="P", lesion_id=name, study_date=at(visit), **values)


def run(rows: list[Measurement], criterion: str = "RECIST 1.1", **more: Any) -> list[Assessment]:
    settings = RespondSettings(criteria=(criterion,), **more)
    days = sorted({row.study_date for row in rows})
    studies = [StudyRecord(patient_id="P", study_date=day, lesions_assessable=True) for day in days]
    found = respond(Patient(patient_id="P"), studies, rows, settings).assessments
    return [row for row in found if not row.is_baseline]


def chances(row: Assessment) -> tuple[float | None, ...]:
    return row.p_cr, row.p_pr, row.p_sd, row.p_pd


def normal_cdf(z: float) -> float:
    return 0.5 * math.erfc(-z / math.sqrt(2.0))


def test_progression_from_the_baseline_alone_is_the_closed_form_of_two_normals() -> None:
    # 52 from 40 mm, errors 6.1 % of each: P(S1 >= 1.2 S0), both normal; the 5 mm never decide at this size.
    (row,) = run([lesion(0, 40.0), lesion(1, 52.0)])
    sd = math.hypot(0.061 * 52.0, 1.2 * 0.061 * 40.0)
    assert row.p_pd == pytest.approx(normal_cdf((52.0 - 1.2 * 40.0) / sd), abs=2e-3)


def test_partial_response_to_the_baseline_is_the_closed_form_of_two_normals() -> None:
    (row,) = run([lesion(0, 50.0), lesion(1, 34.0)])
    sd = math.hypot(0.061 * 34.0, 0.7 * 0.061 * 50.0)
    assert row.p_pr == pytest.approx(normal_cdf((0.7 * 50.0 - 34.0) / sd), abs=2e-3)
    assert row.p_sd == pytest.approx(1.0 - row.p_pr, abs=2e-3)


def test_a_small_lesion_has_the_least_error_of_a_diameter() -> None:
    # 5 mm on 12 mm: the floor of the criterion decides, and each reading is off by 1.4 mm.
    (row,) = run([lesion(0, 12.0), lesion(1, 18.0)])
    assert row.p_pd == pytest.approx(normal_cdf((18.0 - 12.0 - 5.0) / (1.4 * math.sqrt(2.0))), abs=2e-3)


def test_a_stated_deviation_takes_the_place_of_the_default() -> None:
    (row,) = run([lesion(0, 40.0, longest_diameter_mm_sd=0.5), lesion(1, 52.0, longest_diameter_mm_sd=4.0)])
    assert row.p_pd == pytest.approx(normal_cdf(4.0 / math.hypot(4.0, 0.6)), abs=2e-3)


def in_every_quantity(sizes: Mapping[str, Sequence[float]]) -> list[Measurement]:
    """Return lesions of these longest diameters by visit, viable throughout, read in every quantity."""
    return [
        lesion(
            visit, size, name,
            perpendicular_diameter_mm=0.8 * size, viable_perpendicular_diameter_mm=0.8 * size,
            volume_ml=round(size**3 / 2000, 3), viable_volume_ml=round(size**3 / 2000, 3),
        )
        for name, series in sizes.items()
        for visit, size in enumerate(series)
    ]  # fmt: skip


@pytest.mark.parametrize("criterion", ["RECIST 1.1", "mRECIST", "WHO", "EASL", "vRECIST", "qEASL"])
def test_the_probabilities_of_a_course_are_those_of_many_simulated_courses(criterion: str) -> None:
    sizes = {"L01": [40.0, 30.0, 27.0, 33.0, 39.0], "L02": [25.0, 21.0, 16.0, 18.0, 21.0]}
    rows = in_every_quantity(sizes)
    found = run(rows, criterion)
    random = np.random.default_rng(7)
    diameters = np.array(list(sizes.values()))
    draws = 200_000
    if criterion in ("vRECIST", "qEASL"):
        means = np.round(diameters**3 / 2000, 3)
        deviations = 0.14 * means
        decrease, increase, is_strict, floor = 0.65, 0.73, False, 0.0
    elif criterion in ("WHO", "EASL"):
        across = 0.8 * diameters
        means = diameters * across
        deviations = np.hypot(
            across * np.maximum(1.4, 0.061 * diameters), diameters * np.maximum(1.4, 0.061 * across)
        )
        decrease, increase, is_strict, floor = 0.5, 0.25, True, 0.0
    else:
        means, deviations = diameters, np.maximum(1.4, 0.061 * diameters)
        decrease, increase, is_strict = 0.3, 0.2, False
        floor = 5.0 if criterion == "RECIST 1.1" else 0.0
    del is_strict  # of no consequence for continuous sizes
    sums = random.normal(means, deviations, (draws, *means.shape)).sum(axis=1)
    for visit in range(1, 5):
        nadir = sums[:, :visit].min(axis=1)
        grown = (sums[:, visit] >= (1.0 + increase) * nadir) & (sums[:, visit] - nadir >= floor)
        answered = ~grown & (sums[:, visit] <= (1.0 - decrease) * sums[:, 0])
        row = found[visit - 1]
        assert row.p_pd == pytest.approx(grown.mean(), abs=0.005), visit
        assert row.p_pr == pytest.approx(answered.mean(), abs=0.005), visit
        assert row.p_cr == 0.0
        assert sum(chances(row)) == pytest.approx(1.0, abs=2e-4)  # type: ignore[arg-type]


@pytest.mark.parametrize("criterion", sorted(CRITERIA))
def test_without_error_the_response_is_certain(criterion: str) -> None:
    sizes = [40.0, 28.0, 33.6, 10.0, 12.0]
    rows = [
        lesion(
            visit, size,
            perpendicular_diameter_mm=size, viable_perpendicular_diameter_mm=size,
            volume_ml=round(size**3 / 2000, 3), viable_volume_ml=round(size**3 / 2000, 3),
        )
        for visit, size in enumerate(sizes)
    ]  # fmt: skip
    plain = {"iCR": "CR", "iPR": "PR", "iSD": "SD", "iUPD": "PD", "iCPD": "PD"}
    for row in run(rows, criterion, measurement_error=NO_ERROR):
        word = plain.get(str(row.overall), str(row.overall))
        stated = dict(zip(("CR", "PR", "SD", "PD"), chances(row), strict=True))
        assert stated[word] == 1.0, (criterion, row.study_date, row.overall, stated)
        assert "near_threshold" not in row.flags


def test_a_visit_without_a_number_has_no_probability() -> None:
    rows = [lesion(0, 40.0), lesion(1, None)]
    assert chances(run(rows)[0]) == (None, None, None, None)


def test_with_a_target_missing_only_progression_has_a_probability() -> None:
    # 50 mm alone against a baseline of 40 mm: PD needs 48 mm; the rest to 1 is NE
    rows = [lesion(0, 25.0), lesion(0, 15.0, "L02"), lesion(1, 50.0), lesion(1, None, "L02")]
    (row,) = run(rows)
    assert (row.target, row.p_cr, row.p_pr, row.p_sd) == (Response.PD, 0.0, 0.0, 0.0)
    sd = math.hypot(0.061 * 50.0, 1.2 * math.hypot(0.061 * 25.0, 1.4))
    assert row.p_pd == pytest.approx(normal_cdf((50.0 - 48.0) / sd), abs=2e-3)


def test_a_visit_that_is_not_evaluable_is_no_nadir_of_the_next() -> None:
    rows = [lesion(0, 25.0), lesion(0, 25.0, "L02"), lesion(1, 5.0), lesion(1, None, "L02")]
    rows += [lesion(2, 25.0), lesion(2, 25.0, "L02")]
    assert run(rows)[1].p_pd == pytest.approx(0.0, abs=0.02)


def test_after_a_visit_that_is_not_evaluable_a_response_is_that_to_the_baseline() -> None:
    rows = [lesion(0, 25.0), lesion(0, 25.0, "L02"), lesion(1, 5.0), lesion(1, None, "L02")]
    rows += [lesion(2, 17.0), lesion(2, 17.0, "L02")]
    row = run(rows)[1]
    sd = math.sqrt(2.0) * math.hypot(1.4, 0.7 * 0.061 * 25.0)
    assert row.p_pr == pytest.approx(normal_cdf((0.7 * 50.0 - 34.0) / sd), abs=2e-3)


def test_each_earlier_sum_has_its_own_error() -> None:
    course = ((60.0, 0.1), (30.0, 3.0), (50.0, 0.1), (38.0, 1.0))
    rows = [lesion(visit, size, longest_diameter_mm_sd=sd) for visit, (size, sd) in enumerate(course)]
    # +20 % over the 30 mm of the second study, which are off by 3 mm; no other study is small enough
    expected = normal_cdf((38.0 - 1.2 * 30.0) / math.hypot(1.0, 1.2 * 3.0))
    assert run(rows)[2].p_pd == pytest.approx(expected, abs=2e-3)


def test_a_new_lesion_or_a_progressing_non_target_leaves_no_doubt() -> None:
    rows = [lesion(0, 40.0), lesion(1, 20.0)]
    rows.append(lesion(1, 20.0, "L02", new_lesion_status=NewLesionStatus.DEFINITE))
    assert chances(run(rows)[0]) == (0.0, 0.0, 0.0, 1.0)
    assert chances(run(rows, "iRECIST")[0]) == (0.0, 0.0, 0.0, 1.0)
    rows = [
        lesion(0, 40.0),
        lesion(1, None),
        lesion(1, 20.0, "L02", new_lesion_status=NewLesionStatus.DEFINITE),
    ]
    rows += [lesion(0, 40.0, "L03"), lesion(1, 40.0, "L03")]
    assert chances(run(rows)[0]) == (0.0, 0.0, 0.0, 1.0)


def test_a_non_target_that_persists_turns_complete_into_partial_response() -> None:
    small = {"state": MeasurementState.MEASURED}
    rows = [lesion(0, 40.0), lesion(0, 9.0, "L02", **small), lesion(1, 0.0), lesion(1, 9.0, "L02", **small)]
    (row,) = run(rows)
    assert (row.target, row.overall) == (Response.CR, Response.PR)
    assert chances(row) == (0.0, 1.0, 0.0, 0.0)


def test_what_is_gone_is_gone_and_what_is_tiny_may_be() -> None:
    assert chances(run([lesion(0, 40.0), lesion(1, 0.0)])[0]) == (1.0, 0.0, 0.0, 0.0)
    (row,) = run([lesion(0, 40.0), lesion(1, 1.4)])
    assert row.p_cr == pytest.approx(normal_cdf(-1.0), abs=1e-3)
    assert row.p_pr == pytest.approx(normal_cdf(1.0), abs=1e-3)


def test_a_node_is_gone_with_the_probability_that_it_is_normal() -> None:
    node = {"is_node": True, "organ": "nodes"}
    rows = [
        lesion(0, 30.0, perpendicular_diameter_mm=20.0, **node),
        lesion(1, 14.0, perpendicular_diameter_mm=9.0, **node),
    ]
    (row,) = run(rows)
    assert row.target is Response.CR
    assert row.p_cr == pytest.approx(normal_cdf(1.0 / 1.4), abs=1e-3)


def test_after_complete_response_any_true_size_is_progression() -> None:
    row = run([lesion(0, 40.0), lesion(1, 0.0), lesion(2, 2.8)])[1]
    assert (row.target, row.p_pd, row.p_cr) == (
        Response.PD,
        pytest.approx(normal_cdf(2.0), abs=1e-3),
        pytest.approx(normal_cdf(-2.0), abs=1e-3),
    )


def test_viable_tumour_after_complete_response_counts_from_five_millimetres() -> None:
    row = run([lesion(0, 40.0), lesion(1, 0.0), lesion(2, 6.4)], "mRECIST")[1]
    # 6.4 mm is one deviation above 5 mm; below it the complete response is kept
    assert row.p_pd == pytest.approx(normal_cdf(1.0), abs=1e-3)
    assert row.p_cr == pytest.approx(normal_cdf(-1.0), abs=1e-3)


def test_a_response_near_its_threshold_is_flagged() -> None:
    near, far = run([lesion(0, 50.0), lesion(1, 34.0)])[0], run([lesion(0, 50.0), lesion(1, 25.0)])[0]
    assert ("near_threshold" in near.flags, "near_threshold" in far.flags) == (True, False)
    certain = run([lesion(0, 50.0), lesion(1, 34.0)], near_threshold_probability=0.5)[0]
    assert "near_threshold" not in certain.flags


def test_probabilities_can_be_left_out() -> None:
    (row,) = run([lesion(0, 50.0), lesion(1, 34.0)], probability=ProbabilityMethod.NONE)
    assert chances(row) == (None, None, None, None)
    assert row.flags == ()


def test_a_sustained_partial_response_takes_the_place_of_stable_disease() -> None:
    rows = [lesion(0, 50.0), lesion(1, 25.0), lesion(2, 28.0), lesion(3, 27.0)]
    literal = run([*rows, lesion(4, 29.0)])[3]
    kept = run([*rows, lesion(4, 29.0)], partial_response=PartialResponse.SUSTAINED)[3]
    assert kept.p_sd == 0.0
    assert kept.p_pr == pytest.approx((literal.p_pr or 0.0) + (literal.p_sd or 0.0), abs=2e-4)
    assert kept.p_pd == literal.p_pd


def test_where_each_lesion_counts_progression_of_one_is_enough() -> None:
    more = {"perpendicular_diameter_mm": 30.0}
    rows = [lesion(0, 30.0, **more), lesion(0, 30.0, "L02", **more)]
    rows += [lesion(1, 38.0, **more), lesion(1, 30.0, "L02", **more)]
    (row,) = run(rows, "WHO", who_pd_scope=ProgressionScope.ANY_LESION)
    sd_of_30, sd_of_38 = 0.061 * 30.0, 0.061 * 38.0
    first = math.hypot(30.0 * sd_of_38, 38.0 * sd_of_30)
    each = [
        normal_cdf(
            (size * 30.0 - 1.25 * 900.0) / math.hypot(deviation, 1.25 * 30.0 * sd_of_30 * math.sqrt(2.0))
        )
        for size, deviation in ((38.0, first), (30.0, 30.0 * sd_of_30 * math.sqrt(2.0)))
    ]
    assert row.p_pd == pytest.approx(1.0 - (1.0 - each[0]) * (1.0 - each[1]), abs=3e-3)


def test_an_iupd_that_new_lesions_hold_is_certain_and_that_of_the_targets_is_not() -> None:
    targets = run([lesion(0, 40.0), lesion(1, 52.0)], "iRECIST")[0]
    assert targets.overall is Response.IUPD
    assert targets.p_pd == pytest.approx(0.823, abs=2e-3)


def test_a_complete_response_that_a_new_lesion_blocks_counts_as_partial() -> None:
    new = {"new_lesion_status": NewLesionStatus.DEFINITE, "organ": "lung"}
    rows = [lesion(0, 40.0), lesion(1, 30.0), lesion(1, 12.0, "L02", **new)]
    rows += [lesion(2, 0.0), lesion(2, 12.0, "L02", **new)]
    row = run(rows, "iRECIST")[1]
    assert row.overall is Response.IPR
    assert chances(row) == (0.0, 1.0, 0.0, 0.0)


@pytest.mark.parametrize(
    ("criterion", "current", "expected"),
    [
        (RECIST_1_1, 60.0, 50.0),
        (RECIST_1_1, 12.0, 7.0),
        (MRECIST, 12.0, 10.0),
        (VRECIST, 1.73, 1.0),
        (replace(RECIST_1_1, progression_floor=1.0), 3.0, 2.0),
        (
            replace(QEASL, progression_floor_sphere_mm=5.0),
            4.18879,
            0.523599,
        ),  # a sphere of 20 mm from one of 15 mm
    ],
)
def test_the_largest_nadir_is_where_the_progression_rule_just_holds(
    criterion: Any, current: float, expected: float
) -> None:
    if criterion.progression_floor_sphere_mm:
        # +73 % of the volume allows 2.42 mL, the sphere 15 mm across 1.767 mL: the smaller counts
        expected = math.pi / 6.0 * 15.0**3 / 1000.0
    assert largest_nadir(np.array([current]), criterion)[0] == pytest.approx(expected, rel=1e-5)


def test_the_largest_nadir_may_be_a_sphere_of_less_than_a_millimetre() -> None:
    criterion = replace(QEASL, progression_floor_sphere_mm=5.0)
    current, expected = (math.pi / 6.0 * diameter**3 / 1000.0 for diameter in (5.8, 0.8))
    assert largest_nadir(np.array([current]), criterion)[0] == pytest.approx(expected, rel=1e-6)


def test_a_sphere_too_small_to_have_grown_by_the_floor_cannot_progress() -> None:
    criterion = replace(QEASL, progression_floor_sphere_mm=5.0)
    assert largest_nadir(np.array([0.05]), criterion)[0] < 0.0


def test_an_estimate_without_error_is_below_or_not() -> None:
    assert Estimate(value=4.0, sd=0.0).chance_below(5.0) == 1.0
    assert Estimate(value=5.0, sd=0.0).chance_below(5.0) == 0.0
    assert Estimate(value=5.0, sd=1.0).chance_below(5.0) == 0.5


def readings(sizes: list[tuple[float, float]], **more: Any) -> list[Measurement]:
    return [
        lesion(number, size, reader=reader, viable_longest_diameter_mm=None, **more)
        for number, pair in enumerate(sizes)
        for reader, size in zip(("A/1", "A/2"), pair, strict=True)
    ]


def test_repeated_readings_give_a_constant_error_where_they_differ_by_as_much_at_every_size() -> None:
    # differences of 2 mm: SD of one reading 2 / sqrt(2)
    found = error_of_repeats(readings([(size, size + 2.0) for size in range(10, 70, 5)]), MeasurementError())
    assert (found.diameter_fraction, found.volume_fraction) == (0.0, 0.14)
    assert found.diameter_floor_mm == pytest.approx(math.sqrt(2.0))


def test_repeated_readings_give_a_share_where_they_differ_in_proportion() -> None:
    # differences of 20 % of the mean: SD of one reading 0.2 / sqrt(2)
    found = error_of_repeats(
        readings([(0.9 * size, 1.1 * size) for size in range(10, 70, 5)]), MeasurementError()
    )
    assert found.diameter_floor_mm == 0.0
    assert found.diameter_fraction == pytest.approx(0.2 / math.sqrt(2.0))


def test_repeated_volumes_give_the_share_of_a_volume() -> None:
    rows = readings([(30.0, 31.0)] * 12)
    rows = [replace(row, volume_ml=10.0 if row.reader == "A/1" else 12.0) for row in rows]
    # mean 11, deviation sqrt(2): 1.414 / 11
    assert error_of_repeats(rows, MeasurementError()).volume_fraction == pytest.approx(math.sqrt(2.0) / 11.0)


def test_too_few_repeated_readings_are_refused() -> None:
    with pytest.raises(DataError, match=r"repeats\.csv: found 9 repeated readings .*, expected at least 10"):
        error_of_repeats(readings([(30.0, 31.0)] * 9 + [(20.0, 0.0)]), MeasurementError())


def test_readings_that_never_differ_have_no_error() -> None:
    found = error_of_repeats(readings([(30.0, 30.0)] * 10), MeasurementError())
    assert (found.diameter_fraction, found.diameter_floor_mm) == (0.0, 0.0)


def test_a_refusal_of_repeats_says_what_they_are() -> None:
    with pytest.raises(DataError) as caught:
        error_of_repeats([], MeasurementError())
    assert caught.value.message == (
        "repeats.csv: found 0 repeated readings of a diameter, expected at least 10: two rows of one lesion and study "
        "under two readers"
    )
    assert caught.value.code == "bad_repeats"


def test_ten_repeats_are_enough_and_nine_volumes_keep_what_holds_otherwise() -> None:
    rows = readings([(30.0, 32.0)] * 10)
    volumes = [replace(row, volume_ml=9.0 if row.reader == "A/1" else 11.0) for row in rows]
    otherwise = MeasurementError(volume_fraction=0.3)
    # mean 10, deviation sqrt(2): 14.1 %
    assert error_of_repeats(volumes, otherwise).volume_fraction == pytest.approx(math.sqrt(2.0) / 10.0)
    nine = [replace(row, volume_ml=None) if row.study_date == at(0) else row for row in volumes]
    assert error_of_repeats(nine, otherwise).volume_fraction == 0.3
    # of three readings two are free: the deviations are 2, 0 and 2 mm
    three = [replace(row, reader="A/3", longest_diameter_mm=34.0) for row in rows[::2]]
    assert error_of_repeats([*rows, *three], otherwise).of_diameter(32.0) == pytest.approx(2.0)


PART = {"viable_longest_diameter_mm": 10.0, "viable_perpendicular_diameter_mm": 8.0}
WHOLE = {"longest_diameter_mm": 30.0, "perpendicular_diameter_mm": 20.0}
ESTIMATES: list[tuple[str, dict[str, Any], tuple[float, float, float, bool, bool] | None]] = [
    # criterion, measurement; value, deviation, size below which it is gone, node, viable part
    # 6.1 % of a diameter, at least 1.4 mm
    ("RECIST 1.1", {"longest_diameter_mm": 20.0}, (20.0, 1.4, 0.0, False, False)),
    ("RECIST 1.1", {"longest_diameter_mm": 40.0}, (40.0, 2.44, 0.0, False, False)),
    ("RECIST 1.1", {"longest_diameter_mm": 40.0, "longest_diameter_mm_sd": 0.7}, (40.0, 0.7, 0.0, False, False)),
    ("RECIST 1.1", {"longest_diameter_mm": 0.0}, (0.0, 0.0, 0.0, False, False)),
    (
        "RECIST 1.1", {**WHOLE, "is_node": True, "perpendicular_diameter_mm_sd": 0.9, "longest_diameter_mm_sd": 5.0},
        (20.0, 0.9, 10.0, True, False),
    ),
    ("RECIST 1.1", {**WHOLE, "is_node": True}, (20.0, 1.4, 10.0, True, False)),
    ("RECIST 1.1", {"state": MeasurementState.TOO_SMALL}, (5.0, 1.4, 0.0, False, False)),
    ("RECIST 1.1", {"state": MeasurementState.NOT_FOUND}, None),
    ("RECIST 1.1", {"state": MeasurementState.MERGED}, None),
    (
        "mRECIST", {**WHOLE, **PART, "viable_longest_diameter_mm_sd": 1.1, "longest_diameter_mm_sd": 5.0},
        (10.0, 1.1, 0.0, False, True),
    ),
    (
        "mRECIST", {**WHOLE, **PART, "organ": "lung", "longest_diameter_mm_sd": 5.0},
        (30.0, 5.0, 0.0, False, False),
    ),
    # 14 % of a volume
    ("vRECIST", {"volume_ml": 10.0, "viable_volume_ml_sd": 0.3}, (10.0, 1.4, 0.0, False, False)),
    ("vRECIST", {"volume_ml": 10.0, "volume_ml_sd": 0.9}, (10.0, 0.9, 0.0, False, False)),
    (
        "qEASL", {"viable_volume_ml": 10.0, "viable_volume_ml_sd": 0.3, "volume_ml_sd": 0.9},
        (10.0, 0.3, 0.0, False, True),
    ),
    ("qEASL", {"viable_volume_ml": 10.0, "volume_ml_sd": 0.9}, (10.0, 1.4, 0.0, False, True)),
    ("qEASL", {"volume_ml": 10.0, "volume_ml_sd": 0.9, "organ": "lung"}, (10.0, 0.9, 0.0, False, False)),
    # of a product: each diameter times the error of the other
    ("WHO", WHOLE, (600.0, math.hypot(20.0 * 1.83, 30.0 * 1.4), 0.0, False, False)),
    (
        "WHO", {**WHOLE, "longest_diameter_mm_sd": 1.0, "perpendicular_diameter_mm_sd": 2.0},
        (600.0, math.hypot(20.0, 60.0), 0.0, False, False),
    ),
    ("WHO", {**WHOLE, "is_node": True}, (600.0, math.hypot(20.0 * 1.83, 30.0 * 1.4), 0.0, True, False)),
    ("EASL", {**WHOLE, **PART}, (80.0, 1.4 * math.hypot(8.0, 10.0), 0.0, False, True)),
    (
        "EASL", {**PART, "viable_longest_diameter_mm_sd": 1.0, "viable_perpendicular_diameter_mm_sd": 2.0},
        (80.0, math.hypot(8.0, 20.0), 0.0, False, True),
    ),
    (
        "EASL", {**WHOLE, "organ": "lung", **PART}, (600.0, math.hypot(20.0 * 1.83, 30.0 * 1.4), 0.0, False, False),
    ),
    # too small to measure: 5 by 5 mm, whatever stands beside it
    ("WHO", {"state": MeasurementState.TOO_SMALL}, (25.0, 5.0 * math.hypot(1.4, 1.4), 0.0, False, False)),
    (
        "WHO", {"state": MeasurementState.TOO_SMALL, "longest_diameter_mm": 4.0, "perpendicular_diameter_mm": 2.0},
        (25.0, 5.0 * math.hypot(1.4, 1.4), 0.0, False, False),
    ),
    (
        "EASL", {**WHOLE, "viable_state": MeasurementState.TOO_SMALL},
        (25.0, 5.0 * math.hypot(1.4, 1.4), 0.0, False, True),
    ),
]  # fmt: skip


def estimate(visit: Visit, criterion: Criterion, settings: RespondSettings) -> Estimate | None:
    found = sum_targets(("L01",), visit, criterion, settings)
    return estimates_of(found, visit, criterion, settings).get("L01")


@pytest.mark.parametrize(("name", "given", "expected"), ESTIMATES)
def test_a_measurement_has_the_error_of_what_is_read_of_it(
    name: str, given: dict[str, Any], expected: tuple[float, float, float, bool, bool] | None
) -> None:
    values = {"state": MeasurementState.MEASURED, "reader": "A", **given}
    measurement = Measurement(patient_id="P", lesion_id="L01", study_date=START, **values)
    criterion, settings = CRITERIA[name], RespondSettings()
    found = estimate(Visit(study_date=START, measurements={"L01": measurement}), criterion, settings)
    if expected is None:
        assert found is None
        return
    assert found is not None
    value, sd, gone_below, is_node, is_part = expected
    assert found == Estimate(pytest.approx(value), pytest.approx(sd), gone_below, is_node, is_part)  # type: ignore[arg-type]
    assert estimate(Visit(study_date=START), criterion, settings) is None


def test_the_normal_size_of_a_node_is_a_setting() -> None:
    node = Measurement(
        patient_id="P", lesion_id="L01", study_date=START, reader="A", state=MeasurementState.MEASURED, is_node=True,
        perpendicular_diameter_mm=9.0,
    )  # fmt: skip
    visit = Visit(study_date=START, measurements={"L01": node})
    found = estimate(visit, RECIST_1_1, RespondSettings(node_normal_mm=8.0))
    assert found == Estimate(9.0, 1.4, 8.0, is_node=True)


TARGET = Probabilities(cr=0.1, pr=0.2, sd=0.3, pd=0.4)


def shares(cr: float, pr: float, sd: float, pd: float) -> dict[Response, Any]:
    words = Response.CR, Response.PR, Response.SD, Response.PD
    return dict(zip(words, map(pytest.approx, (cr, pr, sd, pd)), strict=True))


@pytest.mark.parametrize(
    ("non_target", "new", "expected"),
    [
        (None, "none", (0.1, 0.2, 0.3, 0.4)),
        (Response.CR, "equivocal", (0.1, 0.2, 0.3, 0.4)),
        # a target that is gone is a partial response while other disease persists or is not assessed
        (Response.NON_CR_NON_PD, "none", (0.0, 0.3, 0.3, 0.4)),
        (Response.NE, "none", (0.0, 0.3, 0.3, 0.4)),
        (Response.PD, "none", (0.0, 0.0, 0.0, 1.0)),
        (None, "definite", (0.0, 0.0, 0.0, 1.0)),
    ],
)
def test_the_other_components_turn_probabilities_of_the_targets_into_those_of_the_response(
    non_target: Response | None, new: str, expected: tuple[float, float, float, float]
) -> None:
    assert response_probabilities(TARGET, non_target, new) == shares(*expected)


@pytest.mark.parametrize(
    ("response", "target", "non_target", "expected"),
    [
        (Response.ISD, Response.ISD, None, (0.1, 0.2, 0.3, 0.4)),
        (Response.ISD, Response.ISD, Response.NON_ICR_NON_IUPD, (0.0, 0.3, 0.3, 0.4)),
        (Response.ICR, Response.ICR, Response.ICR, (0.1, 0.2, 0.3, 0.4)),
        # blocked by a new lesion that is still there
        (Response.IPR, Response.ICR, None, (0.0, 0.3, 0.3, 0.4)),
        (Response.IPR, Response.IPR, None, (0.1, 0.2, 0.3, 0.4)),
        # a progression of the targets stands or falls with them, any other is no matter of theirs
        (Response.IUPD, Response.IUPD, None, (0.1, 0.2, 0.3, 0.4)),
        (Response.ICPD, Response.IUPD, None, (0.1, 0.2, 0.3, 0.4)),
        (Response.IUPD, Response.ISD, None, (0.0, 0.0, 0.0, 1.0)),
        (Response.ICPD, Response.IPR, None, (0.0, 0.0, 0.0, 1.0)),
        (Response.ICPD, None, None, (0.0, 0.0, 0.0, 1.0)),
    ],
)
def test_under_irecist_progression_of_the_targets_alone_is_uncertain(
    response: Response,
    target: Response | None,
    non_target: Response | None,
    expected: tuple[float, float, float, float],
) -> None:
    assert immune_probabilities(TARGET, response, target, non_target) == shares(*expected)


def test_what_is_kept_after_complete_response_is_certain_without_error() -> None:
    def certain(criterion: str, *sizes: float) -> list[str]:
        words = []
        for row in run(
            [lesion(visit, size) for visit, size in enumerate(sizes)], criterion, measurement_error=NO_ERROR
        ):
            stated = dict(zip(("CR", "PR", "SD", "PD"), chances(row), strict=True))
            (word,) = [word for word, chance in stated.items() if chance == 1.0]
            assert word == row.overall
            words.append(word)
        return words

    # a trace keeps the category before it: complete response, or progression
    assert certain("mRECIST", 30.0, 0.0, 4.0, 5.0) == ["CR", "CR", "PD"]
    assert certain("mRECIST", 30.0, 0.0, 12.0, 4.0, 0.0) == ["CR", "PD", "PD", "CR"]
    assert certain("RECIST 1.1", 30.0, 0.0, 0.0, 3.0) == ["CR", "CR", "PD"]


def test_where_each_lesion_counts_a_missing_one_did_not_grow() -> None:
    def product(visit: int, size: float | None, name: str) -> Measurement:
        return lesion(visit, size, name, perpendicular_diameter_mm=size)

    rows = [product(0, 30.0, "L01"), product(0, 20.0, "L02")]
    settings = {"who_pd_scope": ProgressionScope.ANY_LESION, "measurement_error": NO_ERROR}
    (stable,) = run([*rows, product(1, 30.0, "L01"), product(1, None, "L02")], "WHO", **settings)
    assert (stable.overall, chances(stable)) == ("NE", (0.0, 0.0, 0.0, 0.0))
    (grown,) = run([*rows, product(1, 40.0, "L01"), product(1, None, "L02")], "WHO", **settings)
    assert (grown.overall, chances(grown)) == ("PD", (0.0, 0.0, 0.0, 1.0))


def test_an_estimate_that_is_nothing_is_gone_and_one_of_its_bound_is_not_below_it() -> None:
    assert Estimate(value=0.0, sd=0.0).chance_below(0.0) == 1.0
    assert Estimate(value=1.0, sd=0.0).chance_below(1.0) == 0.0
    assert Estimate(value=0.0, sd=0.0, gone_below=0.0).chance_gone == 1.0
    assert Estimate(value=9.0, sd=0.0, gone_below=10.0, is_node=True).chance_gone == 1.0
    assert Estimate(value=3.0, sd=0.0).chance_gone == 0.0


def test_where_each_lesion_counts_a_response_needs_that_none_has_grown() -> None:
    def product(visit: int, size: float, name: str) -> Measurement:
        return lesion(visit, size, name, perpendicular_diameter_mm=size)

    def chance(size: float) -> Assessment:
        # the small one has grown by 25 % of its product, as likely as not; the large one decides the sum
        rows = [product(0, 30.0, "L01"), product(0, 40.0, "L02"), product(1, size, "L01")]
        rows.append(product(1, 40.0 * 1.25**0.5, "L02"))
        (row,) = run(rows, "WHO", who_pd_scope=ProgressionScope.ANY_LESION)
        return row

    # 900 + 1600 to 2000 + 100 mm2 is no response of the sum, and none can be
    stable = chance(10.0)
    assert stable.p_pd == pytest.approx(0.5, abs=0.02)
    assert stable.p_pr == pytest.approx(0.0, abs=0.02)
    assert stable.p_sd == pytest.approx(1.0 - stable.p_pd, abs=0.02)

    def shrunk() -> Assessment:
        # 90,000 + 1600 to 900 + 2000 mm2 is one without doubt, where the small lesion has not grown
        rows = [product(0, 300.0, "L01"), product(0, 40.0, "L02"), product(1, 30.0, "L01")]
        rows.append(product(1, 40.0 * 1.25**0.5, "L02"))
        (row,) = run(rows, "WHO", who_pd_scope=ProgressionScope.ANY_LESION)
        return row

    row = shrunk()
    assert row.p_pd == pytest.approx(0.5, abs=0.02)
    assert row.p_pr == pytest.approx(1.0 - row.p_pd, abs=0.001)


def test_where_each_lesion_counts_nothing_grew_that_nobody_measured() -> None:
    rows = [lesion(0, 30.0, perpendicular_diameter_mm=30.0), lesion(1, None)]
    (row,) = run(rows, "WHO", who_pd_scope=ProgressionScope.ANY_LESION)
    assert (row.overall, row.p_pd) == ("NE", None)


def node(visit: int, short_axis: float, name: str = "L02") -> Measurement:
    more = {"organ": "nodes", "is_node": True, "perpendicular_diameter_mm": short_axis}
    return lesion(visit, short_axis + 5.0, name, **more)


def test_every_target_must_be_gone_for_a_complete_response() -> None:
    rows = [lesion(0, 30.0), lesion(0, 20.0, "L02"), lesion(1, 1.4), lesion(1, 2.8, "L02")]
    (row,) = run(rows)
    # each is off by 1.4 mm: gone with the probabilities of -1 and of -2 deviations
    gone = normal_cdf(-1.0) * normal_cdf(-2.0)
    assert chances(row) == pytest.approx((gone, 1.0 - gone, 0.0, 0.0), abs=1e-4)


def test_a_node_near_its_normal_size_may_be_gone_smaller_or_as_it_was() -> None:
    (row,) = run([node(0, 15.0), node(1, 10.3)])
    gone = normal_cdf((10.0 - 10.3) / 1.4)
    smaller = normal_cdf((0.7 * 15.0 - 10.3) / (1.4 * math.hypot(1.0, 0.7)))
    expected = gone, (1.0 - gone) * smaller, (1.0 - gone) * (1.0 - smaller), 0.0
    assert chances(row) == pytest.approx(expected, abs=2e-3)


def test_a_sum_that_may_have_grown_has_not_where_every_target_is_gone() -> None:
    # 1 + 6 mm to a node of 9.3 mm alone: +20 % as likely as not, and the node may be normal
    rows = [lesion(0, 30.0), node(0, 20.0), lesion(1, 1.0), node(1, 6.0), lesion(2, 0.0), node(2, 9.3)]
    row = run(rows, "mRECIST")[1]
    gone = normal_cdf((10.0 - 9.3) / 1.4)
    grown = normal_cdf((9.3 - 1.2 * 7.0) / (1.4 * math.hypot(1.0, 1.2, 1.2)))
    expected = gone, (1.0 - gone) * (1.0 - grown), 0.0, (1.0 - gone) * grown
    assert chances(row) == pytest.approx(expected, abs=2e-3)


@pytest.mark.parametrize("before", [6.0, 4.0])
def test_after_complete_response_a_node_that_grew_is_normal_or_progression(before: float) -> None:
    # a node of 9.5 mm, below 10 mm as likely as not, and 5 mm more than before with the probability `grown`
    rows = [lesion(0, 30.0), node(0, 20.0), lesion(1, 0.0), node(1, before), lesion(2, 0.0), node(2, 9.5)]
    row = run(rows)[1]
    gone = normal_cdf((10.0 - 9.5) / 1.4)
    grown = normal_cdf((9.5 - before - 5.0) / (1.4 * math.sqrt(2.0)))
    # normal nodes are no progression, so that of 4 mm (60 % grown, 64 % normal) leaves no room for anything else
    progression = min(grown, 1.0 - gone)
    expected = gone, 1.0 - gone - progression, 0.0, progression
    assert chances(row) == pytest.approx(expected, abs=2e-3)


@pytest.mark.parametrize("criterion", ["RECIST 1.1", "mRECIST"])
@pytest.mark.parametrize("size", [9.5, 10.5, 14.0])
def test_a_node_that_is_back_after_everything_was_gone_is_normal_or_progression(
    criterion: str, size: float
) -> None:
    rows = [
        lesion(0, 30.0),
        node(0, 20.0),
        lesion(1, 0.0),
        replace(node(1, 0.0), state=MeasurementState.ABSENT),
    ]
    rows += [lesion(2, 0.0), node(2, size)]
    row = run(rows, criterion)[1]
    assert row.target is (Response.CR if size < 10.0 else Response.PD)
    normal = normal_cdf((10.0 - size) / 1.4)
    assert chances(row) == pytest.approx((normal, 0.0, 0.0, 1.0 - normal), abs=1e-4)
    certain = run(rows, criterion, measurement_error=NO_ERROR)[1]
    assert chances(certain) == ((1.0, 0.0, 0.0, 0.0) if size < 10.0 else (0.0, 0.0, 0.0, 1.0))


@pytest.mark.parametrize(
    ("scope", "size", "expected"),
    [
        # a sum of products that was 0 progresses from 25 mm2, what is too small to measure
        (ProgressionScope.SUM, 6.0, Response.PD),
        (ProgressionScope.SUM, 4.0, Response.PR),
        # where each lesion counts, one that was 0 has no growth in per cent
        (ProgressionScope.ANY_LESION, 6.0, Response.PR),
    ],
)
def test_a_node_by_its_product_is_back_where_the_sum_is_large_enough(
    scope: ProgressionScope, size: float, expected: Response
) -> None:
    def product(visit: int, side: float) -> Measurement:
        return replace(node(visit, side, "L01"), longest_diameter_mm=side)

    rows = [product(0, 20.0), replace(product(1, 0.0), state=MeasurementState.ABSENT), product(2, size)]
    row = run(rows, "WHO", who_pd_scope=scope, measurement_error=NO_ERROR)[1]
    assert row.target is expected
    assert dict(zip(("CR", "PR", "SD", "PD"), chances(row), strict=True))[expected] == 1.0


def test_after_complete_response_every_target_can_be_back() -> None:
    # a normal node, which is none that is back, stands before the two that may be
    rows = [node(0, 20.0, "L01"), lesion(0, 30.0, "L02"), lesion(0, 30.0, "L03")]
    rows += [node(1, 5.0, "L01"), lesion(1, 0.0, "L02"), lesion(1, 0.0, "L03")]
    rows += [node(2, 5.0, "L01"), lesion(2, 1.4, "L02"), lesion(2, 1.4, "L03")]
    row = run(rows)[1]
    assert row.target is Response.PD
    gone = normal_cdf(-1.0) ** 2
    # the node is below 10 mm by more than 3 deviations, and 2.8 mm more than 5 mm are no growth by 5 mm
    assert row.p_cr == pytest.approx(gone, abs=1e-3)
    assert row.p_pd == pytest.approx(1.0 - gone, abs=1e-3)


def test_disease_that_is_measured_whole_is_back_at_any_size_under_a_criterion_of_viable_tumour() -> None:
    rows = [lesion(visit, size, organ="lung") for visit, size in enumerate((40.0, 0.0, 2.8))]
    row = run(rows, "mRECIST")[1]
    assert (row.target, row.p_pd) == (Response.PD, pytest.approx(normal_cdf(2.0), abs=1e-3))


def test_where_each_lesion_counts_the_sum_cannot_progress() -> None:
    # 900 mm2 of 3600 mm2, then 25 % more: a response for sure, unless the lesion has grown, as likely as not
    sides = (60.0, 30.0, 30.0 * 1.25**0.5)
    rows = [lesion(visit, side, perpendicular_diameter_mm=side) for visit, side in enumerate(sides)]
    row = run(rows, "WHO", who_pd_scope=ProgressionScope.ANY_LESION)[1]
    assert chances(row) == pytest.approx((0.0, 0.5, 0.0, 0.5), abs=0.01)


def test_where_each_lesion_counts_half_a_response_is_halved_by_half_a_growth() -> None:
    # 90,000 + 1600 mm2 to half of it, of which the small lesion has 25 % more than before
    small = 1600.0 * 1.25
    large = (90_000.0 + 1600.0) / 2.0 - small
    products = {"L01": (90_000.0, large), "L02": (1600.0, small)}
    rows = [
        lesion(visit, product**0.5, name, perpendicular_diameter_mm=product**0.5)
        for name, course in products.items()
        for visit, product in enumerate(course)
    ]
    (row,) = run(rows, "WHO", who_pd_scope=ProgressionScope.ANY_LESION)
    assert chances(row) == pytest.approx((0.0, 0.25, 0.25, 0.5), abs=0.02)


def test_where_each_lesion_counts_one_that_merged_has_no_nadir_of_its_own_there() -> None:
    def product(visit: int, side: float, name: str = "L01", **more: Any) -> Measurement:
        return lesion(visit, side, name, perpendicular_diameter_mm=side, **more)

    merged = {"state": MeasurementState.MERGED, "reason": "merged into L01"}
    rows = [product(0, 30.0), product(0, 20.0, "L02"), product(1, 30.0)]
    rows.append(replace(product(1, 1.0, "L02", **merged), longest_diameter_mm=None))
    rows += [product(2, 30.0), product(2, 20.0, "L02")]
    row = run(rows, "WHO", who_pd_scope=ProgressionScope.ANY_LESION, measurement_error=NO_ERROR)[1]
    assert (row.target, chances(row)) == (Response.SD, (0.0, 0.0, 1.0, 0.0))


def test_where_each_lesion_counts_one_alone_can_progress() -> None:
    rows = [lesion(visit, size, perpendicular_diameter_mm=30.0) for visit, size in enumerate((30.0, 38.0))]
    (row,) = run(rows, "WHO", who_pd_scope=ProgressionScope.ANY_LESION)
    of_30, of_38 = 30.0 * 1.83 * math.sqrt(2.0), math.hypot(30.0 * 0.061 * 38.0, 38.0 * 1.83)
    grown = normal_cdf((38.0 * 30.0 - 1.25 * 900.0) / math.hypot(of_38, 1.25 * of_30))
    assert row.p_pd == pytest.approx(grown, abs=2e-3)


def test_the_probabilities_of_a_criterion_are_the_same_beside_others() -> None:
    sizes = {"L01": [40.0, 33.0, 42.0], "L02": [25.0, 19.0, 26.0]}
    rows = in_every_quantity(sizes)
    studies = [StudyRecord(patient_id="P", study_date=at(visit)) for visit in range(3)]

    def found(*criteria: str) -> dict[tuple[str, date], tuple[float | None, ...]]:
        settings = RespondSettings(criteria=criteria, who_pd_scope=ProgressionScope.ANY_LESION)
        assessments = respond(Patient(patient_id="P"), studies, rows, settings).assessments
        return {(row.criterion, row.study_date): chances(row) for row in assessments if not row.is_baseline}

    names = ("mRECIST", "WHO", "RECIST 1.1", "iRECIST", "vRECIST")
    together = found(*names)
    assert len(set(together.values())) > len(names)
    assert together == {key: value for name in names for key, value in found(name).items()}
