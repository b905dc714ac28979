"""What one measurement gives to a sum, state by state, and the targets that count one by one."""

from dataclasses import replace
from datetime import date, timedelta
from typing import Any

import pytest

from mrresponse.domain import Measurement, MeasurementState, Response
from mrresponse.respond import EASL, MRECIST, QEASL, RECIST_1_1, VRECIST, WHO, RespondSettings
from mrresponse.respond.criteria import Criterion, ProgressionScope
from mrresponse.respond.targets import accept, begin, judge, sum_targets
from mrresponse.respond.timeline import Visit
from mrresponse.respond.values import is_benign, is_porta_hepatis, lesion_value

START = date(2024, 1, 1)
STATE = MeasurementState


def lesion(name: str = "L01", day: int = 0, **values: Any) -> Measurement:
    given = {"state": STATE.MEASURED, "reader": "A", **values}
    return Measurement(patient_id="P", lesion_id=name, study_date=START + timedelta(days=day), **given)


VALUES: list[tuple[Criterion, dict[str, Any], float | None, str, bool]] = [
    (RECIST_1_1, {"longest_diameter_mm": 20.0}, 20.0, "", False),
    (RECIST_1_1, {"longest_diameter_mm": 0.0}, 0.0, "", True),
    (RECIST_1_1, {}, None, "no longest diameter given", False),
    (RECIST_1_1, {"state": STATE.ABSENT}, 0.0, "absent", True),
    (RECIST_1_1, {"state": STATE.TOO_SMALL}, 5.0, "too small to measure", False),
    (RECIST_1_1, {"state": STATE.TOO_SMALL, "is_node": True}, 5.0, "too small to measure", True),
    (RECIST_1_1, {"state": STATE.NOT_FOUND}, None, "not found", False),
    (RECIST_1_1, {"state": STATE.NOT_ASSESSED, "reason": "motion"}, None, "not assessed: motion", False),
    (RECIST_1_1, {"state": STATE.MERGED}, 0.0, "measured with the lesion it merged into", True),
    (RECIST_1_1, {"state": STATE.MERGED, "longest_diameter_mm": 30.0}, 30.0, "", False),
    (RECIST_1_1, {"is_node": True, "perpendicular_diameter_mm": 12.0}, 12.0, "short axis", False),
    (RECIST_1_1, {"is_node": True, "perpendicular_diameter_mm": 10.0}, 10.0, "short axis", False),
    (RECIST_1_1, {"is_node": True, "perpendicular_diameter_mm": 9.9}, 9.9, "short axis", True),
    (RECIST_1_1, {"is_node": True, "longest_diameter_mm": 20.0}, None, "no short axis given", False),
    (MRECIST, {"viable_longest_diameter_mm": 15.0}, 15.0, "", False),
    (MRECIST, {"viable_longest_diameter_mm": 0.0}, 0.0, "no arterial enhancement", True),
    (MRECIST, {"viable_state": STATE.ABSENT}, 0.0, "no arterial enhancement", True),
    (MRECIST, {"longest_diameter_mm": 20.0, "aphe": False}, 0.0, "no arterial enhancement", True),
    (MRECIST, {"longest_diameter_mm": 20.0, "aphe": True}, None, "no viable diameter given", False),
    (
        MRECIST, {"viable_state": STATE.NOT_ASSESSED, "viable_reason": "no ART"}, None,
        "viability not assessed: no ART", False,
    ),
    (MRECIST, {"viable_state": STATE.NOT_FOUND}, None, "viability not found", False),
    (MRECIST, {"viable_state": STATE.TOO_SMALL}, 5.0, "viable part too small to measure", False),
    (MRECIST, {"state": STATE.TOO_SMALL}, 5.0, "too small to measure", False),
    (MRECIST, {"organ": "lung", "longest_diameter_mm": 20.0}, 20.0, "", False),
    (EASL, {"viable_longest_diameter_mm": 20.0, "viable_perpendicular_diameter_mm": 10.0}, 200.0, "", False),
    (EASL, {"viable_longest_diameter_mm": 20.0}, None, "no product of viable diameters given", False),
    (EASL, {"viable_longest_diameter_mm": 0.0}, 0.0, "no arterial enhancement", True),
    (WHO, {"longest_diameter_mm": 20.0, "perpendicular_diameter_mm": 15.0}, 300.0, "", False),
    (WHO, {"longest_diameter_mm": 1.0, "perpendicular_diameter_mm": 1.0}, 1.0, "", False),
    (WHO, {"longest_diameter_mm": 0.0}, 0.0, "", True),
    (WHO, {"longest_diameter_mm": 20.0}, None, "no pair of diameters given", False),
    (WHO, {"perpendicular_diameter_mm": 20.0}, None, "no pair of diameters given", False),
    (WHO, {"state": STATE.TOO_SMALL}, 25.0, "too small to measure", False),
    (VRECIST, {"volume_ml": 4.2}, 4.2, "", False),
    (VRECIST, {}, None, "no volume given", False),
    (VRECIST, {"state": STATE.TOO_SMALL}, 0.065, "too small to measure", False),
    (QEASL, {"viable_volume_ml": 1.5}, 1.5, "", False),
    (QEASL, {"organ": "lung"}, None, "no volume given", False),
    (QEASL, {"volume_ml": 3.0}, None, "no viable volume given", False),
]  # fmt: skip


@pytest.mark.parametrize(("criterion", "given", "value", "note", "is_gone"), VALUES)
def test_a_measurement_counts_by_its_state_and_the_quantity_of_the_criterion(
    criterion: Criterion, given: dict[str, Any], value: float | None, note: str, is_gone: bool
) -> None:
    found = lesion_value(lesion(**given), criterion, node_normal_mm=10.0)
    assert (found.value, found.note, found.is_gone) == (value, note, is_gone)
    assert found.is_merged == (note == "measured with the lesion it merged into")


def test_no_measurement_is_missing() -> None:
    found = lesion_value(None, RECIST_1_1, node_normal_mm=10.0)
    assert (found.value, found.note, found.is_gone) == (None, "no measurement", False)


@pytest.mark.parametrize("word", ["cyst-like", "Cyst_like", " cyst like ", "haemangioma", "HAEMANGIOMA LIKE"])
def test_benign_patterns_are_recognised_however_they_are_written(word: str) -> None:
    assert is_benign(lesion(pattern=word))
    assert not is_benign(lesion(pattern="hcc-like"))
    assert not is_benign(lesion())


@pytest.mark.parametrize("site", ["porta hepatis", "Porta_Hepatis", "node, porta-hepatis"])
def test_the_porta_hepatis_is_recognised_however_it_is_written(site: str) -> None:
    assert is_porta_hepatis(site)
    assert not is_porta_hepatis("mediastinum")


EACH = replace(WHO, progression_scope=ProgressionScope.ANY_LESION)


def visit(day: int, **sizes: float | None) -> Visit:
    rows = [
        lesion(name, day, longest_diameter_mm=size, perpendicular_diameter_mm=size)
        if size is not None
        else lesion(name, day, state=STATE.NOT_ASSESSED, reason="motion")
        for name, size in sizes.items()
    ]
    return Visit(study_date=START + timedelta(days=day), measurements={row.lesion_id: row for row in rows})


def responses(criterion: Criterion, baseline: Visit, *later: Visit) -> list[tuple[Response, str]]:
    settings, names = RespondSettings(), tuple(baseline.measurements)
    state = begin(sum_targets(names, baseline, criterion, settings))
    found = []
    for one in later:
        judged = judge(state, sum_targets(names, one, criterion, settings), one, criterion, settings)
        accept(state, judged)
        found.append((judged.response, judged.sentence))
    return found


def test_one_target_that_grows_from_its_own_nadir_is_progression_where_each_counts() -> None:
    # A: 400, 100, 125 mm2 is +25 % from its own nadir; the sum falls to 29 % of its baseline
    found = responses(
        EACH, visit(0, A=20.0, B=20.0), visit(60, A=10.0, B=11.0), visit(120, A=125**0.5, B=10.0)
    )
    assert found[0][0] is Response.PR
    assert found[1] == (Response.PD, "a target grew +25.0 % from its own nadir (>= +25 %)")
    by_sum = responses(
        WHO, visit(0, A=20.0, B=20.0), visit(60, A=10.0, B=11.0), visit(120, A=125**0.5, B=10.0)
    )
    assert [word for word, _ in by_sum] == [Response.PR, Response.PR]


def test_a_target_without_a_value_or_from_nothing_has_no_growth() -> None:
    found = responses(EACH, visit(0, A=20.0, B=20.0), visit(60, A=20.0, B=None), visit(120, A=20.0, B=0.0),
                      visit(180, A=20.0, B=12.0))  # fmt: skip
    assert [word for word, _ in found] == [Response.NE, Response.PR, Response.SD]


def test_a_target_that_comes_back_small_is_flagged_below_the_bound_of_its_unit() -> None:
    settings = RespondSettings(reappearance_review_mm=7.0)
    for criterion, size, is_small in (
        (RECIST_1_1, 6.9, True),
        (RECIST_1_1, 7.0, False),
        (WHO, 4.9, True),
        (WHO, 6.0, False),
    ):
        start, gone, back = (
            (one, sum_targets(("A",), one, criterion, settings))
            for one in (visit(0, A=20.0), visit(60, A=0.0), visit(120, A=size))
        )
        state = begin(start[1])
        accept(state, judge(state, gone[1], gone[0], criterion, settings))
        flags = judge(state, back[1], back[0], criterion, settings).flags
        assert ("reappeared_small" in flags) is is_small, (criterion.name, size)


def test_a_target_merged_into_one_that_is_not_named_counts_with_another_target_or_not_at_all() -> None:
    merged = lesion("A", 60, state=STATE.MERGED)
    alone = Visit(study_date=START + timedelta(days=60), measurements={"A": merged})
    found = responses(RECIST_1_1, visit(0, A=20.0), alone)
    assert found == [(Response.NE, "not evaluable: A merged into a lesion, which is not a target")]
    both = Visit(
        study_date=alone.study_date,
        measurements={"A": merged, "B": lesion("B", 60, longest_diameter_mm=36.0)},
    )
    assert responses(RECIST_1_1, visit(0, A=20.0, B=20.0), both)[0][0] is Response.SD
