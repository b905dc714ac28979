"""iRECIST through time (Seymour 2017 and the working group's clarifications), each course worked by hand.

Every course starts from a target of 50 mm: it progresses from 60 mm on and responds partially from 35 mm down.
"""

from datetime import date, timedelta
from typing import Any

import pytest

from mrresponse.domain import (
    Finding,
    FindingKind,
    FindingStatus,
    Measurement,
    MeasurementSource,
    MeasurementState,
    NewLesionStatus,
    Patient,
    ResponseResult,
    StudyRecord,
)
from mrresponse.respond import RespondSettings, respond

START = date(2024, 1, 1)
# a visit: day, size of the target, sizes of new lesions by name
Visit = tuple[int, float | None, dict[str, float | None]]


def lesion(name: str, day: int, size: float | None, **more: Any) -> Measurement:
    state = MeasurementState.NOT_ASSESSED if size is None else MeasurementState.MEASURED
    return Measurement(
        patient_id="P", lesion_id=name, study_date=START + timedelta(days=day), reader="A",
        state=MeasurementState.ABSENT if size == 0.0 else state, longest_diameter_mm=size,
        source=MeasurementSource.READER, **more,
    )  # fmt: skip


def run(*visits: Visit, progressing: tuple[int, ...] = (), **changes: Any) -> ResponseResult:
    rows = [lesion("T", 0, 50.0)]
    for day, size, new in visits:
        rows.append(lesion("T", day, size))
        for name, diameter in new.items():
            rows.append(lesion(name, day, diameter, organ=name, new_lesion_status=NewLesionStatus.DEFINITE))
    findings = [
        Finding(
            patient_id="P", date=START, kind=FindingKind.NON_TARGET, status=FindingStatus.PRESENT, site="bone"
        )
    ]
    findings += [
        Finding(
            patient_id="P", date=START + timedelta(days=day), kind=FindingKind.NON_TARGET, site="bone",
            status=FindingStatus.PROGRESSING if day in progressing else FindingStatus.STABLE,
        )
        for day, _, _ in visits
    ]  # fmt: skip
    studies = [
        StudyRecord(patient_id="P", study_date=START + timedelta(days=day), lesions_assessable=True)
        for day in (0, *(visit[0] for visit in visits))
    ]
    given = tuple(findings) if progressing else ()
    settings = RespondSettings(criteria=("iRECIST",), findings_window_days=0, **changes)
    return respond(Patient(patient_id="P", findings=given), studies, rows, settings)


def words(result: ResponseResult) -> list[str]:
    return [str(row.overall) for row in result.assessments if not row.is_baseline]


def flags(result: ResponseResult) -> list[set[str]]:
    kept = {"early_scan_ignored", "late_confirmation"}
    return [set(row.flags) & kept for row in result.assessments if not row.is_baseline]


def summary(result: ResponseResult) -> tuple[str | None, int | None]:
    (row,) = [row for row in result.summaries if row.basis == "overall"]
    day = None if row.progression_date is None else (row.progression_date - START).days
    return row.best_overall_response, day


LUNG = {"lung": 12.0}

COURSES: list[tuple[list[Visit], list[str], tuple[str, int | None]]] = [
    # visits, words, best response and day of progression
    ([(56, 62.0, {}), (84, 67.0, {})], ["iUPD", "iCPD"], ("iCPD", 56)),
    ([(56, 62.0, {}), (84, 66.9, {})], ["iUPD", "iUPD"], ("iUPD", 56)),
    ([(56, 62.0, {}), (90, 66.0, {}), (120, 67.0, {})], ["iUPD", "iUPD", "iCPD"], ("iCPD", 90)),
    ([(56, 62.0, {})], ["iUPD"], ("iUPD", 56)),
    # shrunk again: void; the next is measured from the nadir and needs its own confirmation
    ([(56, 62.0, {}), (90, 50.0, {}), (130, 61.0, {})], ["iUPD", "iSD", "iUPD"], ("iSD", 130)),
    ([(56, 62.0, {}), (90, 35.0, {}), (130, 42.0, {})], ["iUPD", "iPR", "iUPD"], ("iPR", 130)),
    ([(56, 62.0, {}), (90, 35.0, {}), (130, 41.9, {})], ["iUPD", "iPR", "iSD"], ("iPR", None)),
    # a visit that is not evaluable between changes nothing
    ([(56, 62.0, {}), (90, None, {}), (130, 67.0, {})], ["iUPD", "NE", "iCPD"], ("iCPD", 56)),
    # new lesions have a sum of their own
    ([(56, 50.0, LUNG), (90, 50.0, {"lung": 17.0})], ["iUPD", "iCPD"], ("iCPD", 56)),
    ([(56, 50.0, LUNG), (90, 50.0, {"lung": 16.9})], ["iUPD", "iUPD"], ("iUPD", 56)),
    ([(56, 50.0, LUNG), (90, 50.0, {"lung": 12.0, "bone": 11.0})], ["iUPD", "iCPD"], ("iCPD", 56)),
    # too small for a new target: any growth confirms
    ([(56, 50.0, {"lung": 8.0}), (90, 50.0, {"lung": 8.5})], ["iUPD", "iCPD"], ("iCPD", 56)),
    ([(56, 50.0, LUNG), (90, 50.0, {"lung": None})], ["iUPD", "NE"], ("iUPD", 56)),
    # a response reached after the new lesion voids it, one reached before does not
    ([(56, 50.0, LUNG), (90, 34.0, LUNG)], ["iUPD", "iPR"], ("iPR", None)),
    ([(56, 34.0, {}), (90, 34.0, LUNG), (125, 34.0, LUNG)], ["iPR", "iUPD", "iUPD"], ("iPR", 90)),
    # after that the old new lesion is a new progression from +20 % and +5 mm of its nadir on
    (
        [(56, 50.0, LUNG), (90, 34.0, LUNG), (130, 34.0, {"lung": 17.0})],
        ["iUPD", "iPR", "iUPD"],
        ("iPR", 130),
    ),
    (
        [(56, 50.0, LUNG), (90, 34.0, LUNG), (130, 34.0, {"lung": 16.9})],
        ["iUPD", "iPR", "iPR"],
        ("iPR", None),
    ),
    # complete response of the target: blocked while the new lesion is there
    ([(56, 50.0, LUNG), (90, 0.0, LUNG)], ["iUPD", "iPR"], ("iPR", None)),
    ([(56, 50.0, LUNG), (90, 0.0, {"lung": 0.0})], ["iUPD", "iCR"], ("iCR", None)),
    # another category progresses
    ([(56, 62.0, {}), (90, 62.0, LUNG)], ["iUPD", "iCPD"], ("iCPD", 56)),
    ([(56, 50.0, LUNG), (90, 60.0, LUNG)], ["iUPD", "iCPD"], ("iCPD", 56)),
    # what was confirmed stays
    ([(56, 62.0, {}), (90, 70.0, {}), (130, 10.0, {})], ["iUPD", "iCPD", "iCPD"], ("iCPD", 56)),
]


@pytest.mark.parametrize(("visits", "expected", "whole"), COURSES)
def test_a_course_under_irecist(
    visits: list[Visit], expected: list[str], whole: tuple[str, int | None]
) -> None:
    result = run(*visits)
    assert words(result) == expected
    assert summary(result) == whole


@pytest.mark.parametrize(
    ("day", "tolerance", "word", "flag"),
    [
        (83, 0, "iUPD", {"early_scan_ignored"}),
        (83, 1, "iCPD", set()),
        (84, 0, "iCPD", set()),
        (112, 0, "iCPD", set()),
        (113, 0, "iCPD", {"late_confirmation"}),
    ],
)
def test_a_confirmation_comes_after_four_weeks_and_is_late_after_eight(
    day: int, tolerance: int, word: str, flag: set[str]
) -> None:
    result = run((56, 62.0, {}), (day, 70.0, {}), irecist_confirm_tolerance_days=tolerance)
    assert words(result) == ["iUPD", word]
    assert flags(result)[1] == flag


def test_a_scan_that_comes_too_early_sets_no_nadir() -> None:
    # 30 mm after two weeks would make 42 mm a progression; from the nadir of 50 mm it is none
    result = run((56, 62.0, {}), (70, 30.0, {}), (100, 42.0, {}))
    assert words(result) == ["iUPD", "iUPD", "iSD"]


def test_a_non_target_confirms_by_any_further_progression_and_the_targets_by_their_own() -> None:
    both = run((56, 50.0, {}), (90, 50.0, {}), progressing=(56, 90))
    assert words(both) == ["iUPD", "iCPD"]
    other = run((56, 62.0, {}), (90, 62.0, {}), progressing=(90,))
    assert words(other) == ["iUPD", "iCPD"]
    stable = run((56, 50.0, {}), (90, 50.0, {}), progressing=(56,))
    assert words(stable) == ["iUPD", "iSD"]


def test_new_targets_are_limited_by_number_and_organ() -> None:
    five = {"a": 12.0, "b": 12.0, "c": 12.0, "d": 12.0, "e": 12.0}
    grown = {name: size + 1.0 for name, size in five.items()}
    # five lesions of one millimetre more each are five millimetres of the sum
    assert words(run((56, 50.0, five), (90, 50.0, grown))) == ["iUPD", "iCPD"]
    # with four new targets the fifth is a non-target, and any growth of it confirms
    result = run((56, 50.0, five), (90, 50.0, {**five, "e": 12.1}), irecist_new_targets=4)
    assert words(result) == ["iUPD", "iCPD"]
    assert words(run((56, 50.0, five), (90, 50.0, {**five, "e": 12.1}))) == ["iUPD", "iUPD"]
