"""Targets through a course: what comes back after complete response, floors, merging, and the flags of each."""

from dataclasses import replace
from typing import Any

import pytest

from mrresponse.domain import (
    Assessment,
    Flag,
    Marker,
    Measurement,
    MeasurementSource,
    MeasurementState,
    Patient,
    ResponseResult,
    StudyRecord,
    Treatment,
    TreatmentKind,
)
from mrresponse.respond import RespondSettings, contributions, respond
from mrresponse.respond.criteria import ProgressionScope
from mrresponse.respond.rules import FLAG_MESSAGES
from mrresponse.respond.settings import PartialResponse, ProbabilityMethod
from tests.readings import DAY, on, reading, respond_to, treatments_from

PLAIN = RespondSettings(probability=ProbabilityMethod.NONE)
NODE = {"organ": "axilla", "is_node": True}
Sizes = tuple[float | None, ...]


def lesion(number: int, name: str, size: float | None, **more: Any) -> Measurement:
    """Return a lesion with one size for every quantity; ``None`` was not assessed."""
    values: dict[str, Any] = {
        "state": MeasurementState.NOT_ASSESSED if size is None else MeasurementState.MEASURED,
        "reason": "motion" if size is None else "",
        "perpendicular_diameter_mm": size,
        "viable_longest_diameter_mm": size,
        "viable_perpendicular_diameter_mm": size,
        **more,
    }
    return reading(number, name, size, **values)


def viable(number: int, name: str, whole: float, size: float) -> Measurement:
    return lesion(
        number,
        name,
        whole,
        viable_longest_diameter_mm=size,
        viable_perpendicular_diameter_mm=size,
        perpendicular_diameter_mm=whole,
    )


def run(measurements: list[Measurement], settings: RespondSettings = PLAIN, **more: Any) -> ResponseResult:
    return respond_to(measurements, settings, **more)


def course(criterion: str, settings: RespondSettings = PLAIN, /, **lesions: Any) -> list[Assessment]:
    """Return the follow-up rows of lesions measured every 60 days."""
    rows: list[Measurement] = []
    for name, sizes in lesions.items():
        more = NODE if name.startswith("N") else {}
        rows += [lesion(60 * number, name, size, **more) for number, size in enumerate(sizes)]
    result = run(rows, replace(settings, criteria=(criterion,)))
    return [row for row in result.assessments if not row.is_baseline]


def words(rows: list[Assessment]) -> list[str]:
    return [str(row.target) for row in rows]


COURSES: list[tuple[str, dict[str, Sizes], list[str], list[tuple[str, ...]]]] = [
    # criterion, sizes by lesion, target responses, flags
    # viable tumour that is back: from 10 mm it counts, from 5 mm it counts and is for review, below it is equivocal
    ("mRECIST", {"L01": (30.0, 0.0, 10.0)}, ["CR", "PD"], [(), ("reappeared",)]),
    ("mRECIST", {"L01": (30.0, 0.0, 9.9)}, ["CR", "PD"], [(), ("reappearance_review",)]),
    ("mRECIST", {"L01": (30.0, 0.0, 4.9)}, ["CR", "CR"], [(), ("equivocal_reappearance",)]),
    # what is equivocal keeps the category before it, whatever that is
    (
        "mRECIST",
        {"L01": (30.0, 0.0, 12.0, 4.0)},
        ["CR", "PD", "PD"],
        [(), ("reappeared",), ("equivocal_reappearance",)],
    ),
    # two traces are no more than traces, although together they have 8 mm
    ("mRECIST", {"L01": (30.0, 0.0, 4.0), "L02": (20.0, 0.0, 4.0)}, ["CR", "CR"], [(), ("equivocal_reappearance",)]),
    (
        "mRECIST", {"L01": (30.0, 0.0, 4.0), "L02": (20.0, 0.0, 6.0)}, ["CR", "PD"],
        [(), ("reappearance_review",)],
    ),
    # whole lesions: any size is progression, below 5 mm for review
    ("RECIST 1.1", {"L01": (30.0, 0.0, 4.9)}, ["CR", "PD"], [(), ("reappeared", "reappeared_small")]),
    ("RECIST 1.1", {"L01": (30.0, 0.0, 5.0)}, ["CR", "PD"], [(), ("reappeared",)]),
    ("RECIST 1.1", {"L01": (30.0, 0.0, 0.0)}, ["CR", "CR"], [(), ()]),
    ("RECIST 1.1", {"L01": (30.0, 0.0, 0.0), "L02": (20.0, 0.0, 7.0)}, ["CR", "PD"], [(), ("reappeared",)]),
    # one lesion back while the other is gone or missing
    ("RECIST 1.1", {"L01": (30.0, 0.0, None), "L02": (20.0, 0.0, 7.0)}, ["CR", "PD"], [(), ("target_missing",)]),
    ("RECIST 1.1", {"L01": (30.0, 0.0, None), "L02": (20.0, 0.0, 0.0)}, ["CR", "NE"], [(), ("target_missing",)]),
    # less than 5 mm would be no progression of the sum
    ("RECIST 1.1", {"L01": (30.0, 0.0, None), "L02": (20.0, 0.0, 4.0)}, ["CR", "PD"], [(), ("target_missing",)]),
    ("RECIST 1.1", {"L01": (30.0, 0.0, 0.9)}, ["CR", "PD"], [(), ("reappeared", "reappeared_small")]),
    ("mRECIST", {"N01": (20.0, 9.0, 10.9)}, ["CR", "PD"], [(), ("differs_with_5_mm_floor",)]),
    # nodes are gone below 10 mm; back above it they are judged by the sum
    ("RECIST 1.1", {"N01": (20.0, 9.0, 10.0)}, ["CR", "PR"], [(), ("pr_after_cr",)]),
    ("RECIST 1.1", {"N01": (20.0, 9.0, 14.0)}, ["CR", "PD"], [(), ()]),
    # 9 to 13.9 mm is +54 %, but less than 5 mm; it is also -30.5 % from the baseline
    ("RECIST 1.1", {"N01": (20.0, 9.0, 13.9)}, ["CR", "PR"], [(), ("pr_after_cr",)]),
    ("RECIST 1.1", {"N01": (20.0, 9.0, 9.0), "L01": (30.0, 0.0, 12.0)}, ["CR", "PD"], [(), ("reappeared",)]),
    # after progression a smaller sum is judged as ever
    ("RECIST 1.1", {"L01": (30.0, 20.0, 30.0, 20.0)}, ["PR", "PD", "PR"], [(), (), ()]),
    # the floor of 5 mm under mRECIST: computed beside, flagged where it matters
    ("mRECIST", {"L01": (20.0, 24.0)}, ["PD"], [("differs_with_5_mm_floor",)]),
    ("mRECIST", {"L01": (20.0, 24.9)}, ["PD"], [("differs_with_5_mm_floor",)]),
    ("mRECIST", {"L01": (20.0, 25.0)}, ["PD"], [()]),
    ("mRECIST", {"L01": (25.0, 30.0)}, ["PD"], [()]),
    ("RECIST 1.1", {"L01": (20.0, 24.0)}, ["SD"], [()]),
    # 100 to 9 mm2, then 12.25 mm2: +36 % and less than 5 mm2, which is no matter of millimetres
    ("EASL", {"L01": (10.0, 3.0, 3.5)}, ["PR", "PD"], [(), ()]),
    # a missing target: the nadir is that of all of them, and a sum without it never becomes one
    ("RECIST 1.1", {"L01": (30.0, 10.0, 30.0), "L02": (30.0, None, 30.0)}, ["NE", "SD"], [("target_missing",), ()]),
    (
        "RECIST 1.1", {"L01": (30.0, 72.0, 30.0), "L02": (30.0, None, 30.0)}, ["PD", "SD"],
        [("target_missing",), ()],
    ),
    ("RECIST 1.1", {"L01": (30.0, None)}, ["NE"], [("target_missing",)]),
]  # fmt: skip


@pytest.mark.parametrize(("criterion", "lesions", "expected", "flags"), COURSES)
def test_a_course_of_targets(
    criterion: str, lesions: dict[str, Sizes], expected: list[str], flags: list[tuple[str, ...]]
) -> None:
    rows = course(criterion, **lesions)
    assert words(rows) == expected
    assert [row.flags for row in rows] == flags


def test_sums_nadirs_and_changes_stand_in_the_row() -> None:
    rows = course("RECIST 1.1", L01=(30.0, 20.0, None, 25.0), L02=(20.0, 12.0, 14.0, 15.1))
    found = [
        (row.baseline_burden, row.nadir_burden, row.current_burden, row.change_from_baseline, row.change_from_nadir)
        for row in rows
    ]  # fmt: skip
    assert found[0] == (50.0, 50.0, 32.0, -0.36, -0.36)
    assert found[1] == (50.0, 32.0, None, None, None)
    assert found[2] == (50.0, 32.0, 40.1, pytest.approx(-0.198), pytest.approx(8.1 / 32.0))
    assert words(rows) == ["PR", "NE", "PD"]


def test_where_each_lesion_counts_it_is_judged_from_its_own_smallest_size() -> None:
    settings = replace(PLAIN, who_pd_scope=ProgressionScope.ANY_LESION)
    # products 900, 400, 484 (+21 %) and 576 mm2: +19 % from the visit before and +44 % from the smallest
    assert words(course("WHO", settings, L01=(30.0, 20.0, 22.0, 24.0))) == ["PR", "SD", "PD"]


@pytest.mark.parametrize("beside", [{}, {"L03": (12.0, 0.0)}], ids=["plain", "one is absent"])
def test_a_sum_has_six_decimals(beside: dict[str, Sizes]) -> None:
    (row,) = course("RECIST 1.1", L01=(20.0, 20.0000004), L02=(30.0, 30.0000009), **beside)
    assert row.current_burden == 50.000001


def test_a_partial_response_may_be_sustained_until_progression() -> None:
    sizes: Sizes = (100.0, 70.0, 80.0, None, 82.0, 90.0, 80.0)
    assert words(course("RECIST 1.1", L01=sizes)) == ["PR", "SD", "NE", "SD", "PD", "SD"]
    sustained = replace(PLAIN, partial_response=PartialResponse.SUSTAINED)
    assert words(course("RECIST 1.1", sustained, L01=sizes)) == ["PR", "PR", "NE", "PR", "PD", "SD"]
    # from a complete response on as well
    nodes: Sizes = (18.0, 9.0, 13.5, 14.1)
    assert words(course("RECIST 1.1", sustained, N01=(18.0, 9.0, 15.0, 13.5))) == ["CR", "PD", "SD"]
    assert words(course("RECIST 1.1", sustained, N01=nodes)) == ["CR", "PR", "PD"]


def test_other_floors_of_mrecist_are_settings() -> None:
    def flags(size: float, **more: Any) -> tuple[str, tuple[str, ...]]:
        (row,) = course("mRECIST", replace(PLAIN, **more), L01=(20.0, size))
        return str(row.target), row.flags

    assert flags(24.0, mrecist_pd_abs_mm=5.0) == ("SD", ())
    assert flags(25.0, mrecist_pd_abs_mm=5.0) == ("PD", ())
    assert flags(24.0, mrecist_pd_abs_mm=3.0) == ("PD", ("differs_with_5_mm_floor",))
    assert flags(25.0, mrecist_variant_pd_abs_mm=6.0) == ("PD", ("differs_with_5_mm_floor",))
    assert flags(24.0, mrecist_variant_pd_abs_mm=4.0) == ("PD", ())


@pytest.mark.parametrize(
    ("source", "word"),
    [(MeasurementSource.NETWORK, "SD"), (MeasurementSource.MASK, "PD"), (MeasurementSource.READER, "PD")],
)
def test_the_floor_of_volumes_is_that_of_the_readers_own_source(source: MeasurementSource, word: str) -> None:
    # a sphere of 10.5 mm has 0.606 mL; +80 % is less than 5 mm of its diameter
    rows = [
        lesion(day, "L01", 12.0, volume_ml=volume, source=source)
        for day, volume in ((0, 0.606), (60, 1.0908))
    ]
    # another reader's source is another reader's
    other = MeasurementSource.MASK if source is MeasurementSource.NETWORK else MeasurementSource.NETWORK
    rows += [replace(row, reader="B", source=other) for row in rows]
    result = run(rows, replace(PLAIN, criteria=("vRECIST",)))
    (found,) = [row for row in result.assessments if row.reader == "A" and not row.is_baseline]
    assert found.target == word


def test_a_merged_target_is_flagged_and_counts_with_the_one_it_merged_into() -> None:
    merged = lesion(
        60, "L02", None, state=MeasurementState.MERGED, reason="merged into L01 and counted there"
    )
    start = [lesion(0, name, 20.0) for name in ("L01", "L02")]
    (_, row) = run(
        [*start, lesion(60, "L01", 38.0), merged], replace(PLAIN, criteria=("RECIST 1.1",))
    ).assessments
    assert (row.target, row.current_burden, row.flags) == ("SD", 38.0, ("merged",))
    assert "[L01 38.0 mm, L02 0.0 mm (measured with the lesion it merged into)]" in row.reason
    lost = lesion(60, "L01", None, state=MeasurementState.NOT_FOUND, reason="")
    (_, row) = run([*start, lost, merged], replace(PLAIN, criteria=("RECIST 1.1",))).assessments
    assert (row.target, row.flags) == ("NE", ("target_missing", "merged", "not_found"))


def test_criteria_with_different_baselines_stand_side_by_side() -> None:
    no_arterial = {
        "viable_longest_diameter_mm": None,
        "viable_state": MeasurementState.NOT_ASSESSED,
        "viable_reason": "no arterial phase",
    }
    rows = [lesion(0, "L01", 30.0, **no_arterial), lesion(20, "L01", 20.0), lesion(80, "L01", 20.0)]
    result = run(rows, replace(PLAIN, criteria=("mRECIST", "RECIST 1.1", "EASL")))
    found = [(row.criterion, row.study_date, row.is_baseline, row.target) for row in result.assessments]
    assert found == [
        ("mRECIST", on(20), True, None),
        ("mRECIST", on(80), False, "SD"),
        ("RECIST 1.1", DAY, True, None),
        ("RECIST 1.1", on(20), False, "PR"),
        ("RECIST 1.1", on(80), False, "PR"),
        ("EASL", on(20), True, None),
        ("EASL", on(80), False, "SD"),
    ]
    assert [row.burden_unit for row in result.assessments] == ["mm"] * 5 + ["mm2"] * 2


def test_the_whole_course_begins_with_the_first_phase_that_has_a_baseline() -> None:
    one = replace(PLAIN, criteria=("RECIST 1.1",))
    rows = [lesion(day, "L01", 30.0) for day in (0, 100, 160)]
    result = run(rows, one, treatments=treatments_from(50, 110))
    assert [(row.study_date, row.is_baseline) for row in result.assessments if row.treatment_phase == "course"] == [
        (on(100), True),
        (on(160), False),
    ]  # fmt: skip
    none = run(rows, one, treatments=treatments_from(50, 300))
    assert {row.reason for row in none.assessments if row.treatment_phase == "course"} == {
        "NE: no baseline, no evaluable study from 2024-01-09 to 2024-02-27"
    }


def test_flags_of_rows_are_flags_of_the_patient_with_their_message() -> None:
    rows = [lesion(0, "L01", 20.0), lesion(60, "L01", None), lesion(120, "L01", 24.0)]
    markers = tuple(
        Marker(patient_id="P", date=on(day), name="AFP", value=5.0, unit=unit)
        for day, unit in ((0, "mol/L"), (30, "ng/mL"), (60, "mol/L"), (70, "kat"))
    )
    result = run(rows, replace(PLAIN, criteria=("mRECIST", "EASL")), markers=markers)
    unit = "expected ng/mL or one that converts into it"
    assert result.flags == (
        Flag(patient_id="P", study_date=None, code="marker_unit_unknown", message=f"AFP: found unit kat, {unit}"),
        Flag(patient_id="P", study_date=None, code="marker_unit_unknown", message=f"AFP: found unit mol/L, {unit}"),
        Flag(patient_id="P", study_date=on(60), code="target_missing", message=FLAG_MESSAGES["target_missing"]),
        Flag(
            patient_id="P", study_date=on(120), code="differs_with_5_mm_floor",
            message="the target response differs when progression also needs +5 mm",
        ),
    )  # fmt: skip


def test_a_target_merged_into_what_is_no_target_gives_nothing_to_the_sum() -> None:
    start = [lesion(0, "L01", 40.0), lesion(0, "L02", 30.0), lesion(0, "L03", 20.0)]
    merged = lesion(
        60, "L02", None, state=MeasurementState.MERGED, reason="merged into L03 and counted there"
    )
    measured = [*start, lesion(60, "L01", 40.0), lesion(60, "L03", 55.0), merged]
    one = replace(PLAIN, criteria=("RECIST 1.1",))
    patient = Patient(patient_id="P")
    studies = [StudyRecord(patient_id="P", study_date=on(day)) for day in (0, 60)]
    result = respond(patient, studies, measured, one)
    row = result.assessments[1]
    # 20 to 55 mm is beyond the guide for non-target lesions
    assert (row.target, row.current_burden) == ("NE", None)
    assert row.flags == ("target_missing", "non_target_growth")
    assert "[L01 40.0 mm, L02 merged into L03, which is not a target]" in row.reason
    given = contributions(patient, studies, measured, result, one)
    assert [(c.lesion_id, c.value, c.note) for c in given if c.study_date == on(60)] == [
        ("L01", 40.0, ""),
        ("L02", None, "merged into L03, which is not a target"),
        ("L03", 55.0, ""),
    ]


MERGED_ON: list[tuple[str, str, float | None, str, float | None]] = [
    # into which L02 and L03 merged, the size of L01; the target response, the sum
    ("merged into L03", "merged into L01", 50.0, "PR", 50.0),
    # nobody holds what they say of each other
    ("merged into L03", "merged into L02", 30.0, "NE", None),
    ("", "", None, "NE", None),
]


@pytest.mark.parametrize(("two", "three", "size", "response", "burden"), MERGED_ON)
def test_a_target_counts_with_the_lesion_that_holds_it_at_last(
    two: str, three: str, size: float | None, response: str, burden: float | None
) -> None:
    """L03 is no target: a third would be too many in the liver."""
    state = {"state": MeasurementState.MERGED}
    start = [lesion(0, "L01", 60.0), lesion(0, "L02", 30.0), lesion(0, "L03", 20.0)]
    one = lesion(60, "L01", size, **({} if size else state))
    measured = [*start, one, lesion(60, "L02", None, reason=two, **state)]
    measured.append(lesion(60, "L03", None, reason=three, **state))
    (_, row) = run(measured, replace(PLAIN, criteria=("RECIST 1.1",))).assessments
    assert (row.target, row.current_burden) == (response, burden)


def test_targets_that_merged_into_each_other_are_no_complete_response() -> None:
    state = {"state": MeasurementState.MERGED}
    start = [lesion(0, "L01", 60.0), lesion(0, "L02", 30.0)]
    for one, two in (("merged into L02", "merged into L01"), ("", "")):
        later = [
            lesion(60, "L01", None, reason=one, **state),
            lesion(60, "L02", None, reason=two, **state),
        ]
        (_, row) = run([*start, *later], replace(PLAIN, criteria=("RECIST 1.1",))).assessments
        assert (row.target, row.current_burden) == ("NE", None)
        assert "L01 merged into L02, which is merged too" in row.reason or not one


def test_a_treatment_phase_may_have_its_own_criteria() -> None:
    settings = replace(
        PLAIN, criteria=("RECIST 1.1",), phase_criteria={"one": ("iRECIST",), "course": ("WHO",)}
    )
    phases = tuple(
        Treatment(
            patient_id="P", treatment_phase=name, name="x", kind=TreatmentKind.SYSTEMIC, start_date=on(day)
        )
        for name, day in (("one", 0), ("two", 60))
    )
    rows = [lesion(day, "L01", 30.0) for day in (0, 60, 120)]
    patient = Patient(patient_id="P", treatments=phases)
    studies = [StudyRecord(patient_id="P", study_date=on(day)) for day in (0, 60, 120)]
    result = respond(patient, studies, rows, settings)
    expected = {"one": "iRECIST", "two": "RECIST 1.1", "course": "WHO"}
    assert {row.treatment_phase: row.criterion for row in result.assessments} == expected
    given = contributions(patient, studies, rows, result, settings)
    assert {row.treatment_phase: row.criterion for row in given} == expected


def test_a_patient_whom_nobody_read_has_a_reader_without_a_name() -> None:
    studies = [StudyRecord(patient_id="P", study_date=DAY)]
    result = respond(Patient(patient_id="P"), studies, [], PLAIN)
    assert {row.reader for row in result.assessments} == {"none"}
    named = [replace(studies[0], model=""), StudyRecord(patient_id="P", study_date=on(60), model="net")]
    assert {row.reader for row in respond(Patient(patient_id="P"), named, [], PLAIN).assessments} == {"net"}
