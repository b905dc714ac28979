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


def run(
    *visits: Visit, progressing: tuple[int, ...] = (), for_symptoms: int | None = None, **changes: Any
) -> ResponseResult:
    rows = [lesion("T", 0, 50.0)]
    for day, size, new in visits:
        rows.append(lesion("T", day, size))
        for name, diameter in new.items():
            organ = name.strip("123")
            rows.append(lesion(name, day, diameter, organ=organ, new_lesion_status=NewLesionStatus.DEFINITE))
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
        StudyRecord(
            patient_id="P",
            study_date=START + timedelta(days=day),
            lesions_assessable=True,
            for_symptoms=True if day == for_symptoms else None,
        )
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


def test_a_scan_too_early_to_confirm_gives_no_depth_and_no_early_shrinkage() -> None:
    """50 mm, 62 (+24 %), then 30 (-40 %) only 15 days later, which changes nothing, then 45 (-10 %)."""
    result = run((35, 62.0, {}), (50, 30.0, {}), (70, 45.0, {}))
    assert words(result) == ["iUPD", "iUPD", "iSD"]
    assert flags(result) == [set(), {"early_scan_ignored"}, set()]
    for row in result.summaries:
        assert row.depth_of_response == pytest.approx(-0.10)
        assert (row.early_change, row.early_shrinkage) == (pytest.approx(-0.10), False)


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
    # no change from the last assessment is no further increase and no shrinkage (working group's clarifications)
    stable = run((56, 50.0, {}), (90, 50.0, {}), progressing=(56,))
    assert words(stable) == ["iUPD", "iUPD"]


def test_new_targets_are_limited_by_number_and_organ() -> None:
    five = {"a": 12.0, "b": 12.0, "c": 12.0, "d": 12.0, "e": 12.0}
    grown = {name: size + 1.0 for name, size in five.items()}
    # five lesions of one millimetre more each are five millimetres of the sum
    assert words(run((56, 50.0, five), (90, 50.0, grown))) == ["iUPD", "iCPD"]
    # with four new targets the fifth is a non-target, and any growth of it confirms
    result = run((56, 50.0, five), (90, 50.0, {**five, "e": 12.1}), irecist_new_targets=4)
    assert words(result) == ["iUPD", "iCPD"]
    assert words(run((56, 50.0, five), (90, 50.0, {**five, "e": 12.1}))) == ["iUPD", "iUPD"]


FEB_26, MAR_25, MAR_31 = "2024-02-26", "2024-03-25", "2024-03-31"  # days 56, 84 and 90
FIRST = "first progression: to be confirmed after 4 to 8 weeks"
STILL = f"no further change since the iUPD of {FEB_26}"


def notes(result: ResponseResult) -> list[tuple[str, str]]:
    """Return the response of each visit and the last part of its reason."""
    return [
        (str(row.overall), row.reason.split("; the liver alone")[0].rsplit("; ", 1)[-1])
        for row in result.assessments
        if not row.is_baseline
    ]


NOTES: list[tuple[list[Visit], tuple[int, ...], list[tuple[str, str]]]] = [
    # visits, days of non-target progression, response and note of each visit
    (
        [(56, 62.0, {}), (70, 70.0, {}), (84, 67.0, {}), (112, 20.0, {}), (140, None, {})],
        (),
        [
            ("iUPD", FIRST),
            ("iUPD", f"14 days after the iUPD of {FEB_26}: changes nothing"),
            ("iCPD", f"confirms the iUPD of {FEB_26}: target sum 67.0 mm, at least 5.0 mm above 62.0 mm"),
            ("iCPD", f"progression was confirmed on {MAR_25}"),
            ("iCPD", f"progression was confirmed on {MAR_25}"),
        ],
    ),
    ([(56, 62.0, {}), (90, 62.0, {})], (), [("iUPD", FIRST), ("iUPD", STILL)]),
    ([(56, 62.0, {}), (90, None, {})], (), [("iUPD", FIRST), ("NE", "not evaluable")]),
    ([(56, 62.0, {}), (90, 50.0, {})], (), [("iUPD", FIRST), ("iSD", "new lesions none")]),
    (
        [(56, 50.0, LUNG), (90, 50.0, {"lung": None})],
        (),
        [("iUPD", FIRST), ("NE", "new lesion lung not measured")],
    ),
    (
        [(56, 50.0, {"bone": 12.0, **LUNG}), (90, 50.0, {"bone": None, "lung": None})],
        (),
        [("iUPD", FIRST), ("NE", "new lesion bone, lung not measured")],
    ),
    (
        [(56, 50.0, LUNG), (90, 0.0, LUNG)],
        (),
        [("iUPD", FIRST), ("iPR", "complete response is blocked by a new lesion that is still there")],
    ),
    (
        [(56, 50.0, LUNG), (90, 50.0, {"bone": 11.0, **LUNG})],
        (),
        [("iUPD", FIRST), ("iCPD", f"confirms the iUPD of {FEB_26}: another new lesion: bone")],
    ),
    (
        [(56, 50.0, LUNG), (90, 60.0, LUNG)],
        (),
        [("iUPD", FIRST), ("iCPD", f"confirms the iUPD of {FEB_26}: targets progress too")],
    ),
    (
        [(56, 62.0, {}), (90, 62.0, {})],
        (90,),
        [("iUPD", FIRST), ("iCPD", f"confirms the iUPD of {FEB_26}: non-targets progress too")],
    ),
    (
        [(56, 50.0, {}), (90, 50.0, {})],
        (56, 90),
        [("iUPD", FIRST), ("iCPD", f"confirms the iUPD of {FEB_26}: non-targets increased further")],
    ),
    (
        [(56, 50.0, {"lung": 8.0}), (90, 50.0, {"lung": 8.5})],
        (),
        [
            ("iUPD", FIRST),
            ("iCPD", f"confirms the iUPD of {FEB_26}: new non-target lung increased to 8.5 mm"),
        ],
    ),
    # a new target that is gone counts 0 in their sum: 12 + 12 is 24 mm, 0 + 30 is 30 mm
    (
        [(56, 50.0, {"bone": 12.0, **LUNG}), (90, 50.0, {"bone": 0.0, "lung": 30.0})],
        (),
        [
            ("iUPD", FIRST),
            (
                "iCPD",
                f"confirms the iUPD of {FEB_26}: new target sum 30 mm, at least 5.0 mm above 24 mm",
            ),
        ],
    ),
    (
        [(56, 50.0, {"bone": 12.0, **LUNG}), (90, 50.0, {"bone": 0.0, "lung": 28.9})],
        (),
        [("iUPD", FIRST), ("iUPD", STILL)],
    ),
    # what is new at the scan that confirms nothing is compared from then on as any other
    (
        [(56, 62.0, {}), (90, 62.0, {}), (120, 67.0, {})],
        (),
        [
            ("iUPD", FIRST),
            ("iUPD", STILL),
            ("iCPD", f"confirms the iUPD of {FEB_26}: target sum 67.0 mm, at least 5.0 mm above 62.0 mm"),
        ],
    ),
]


@pytest.mark.parametrize(("visits", "progressing", "expected"), NOTES)
def test_the_reason_says_what_became_of_the_progression(
    visits: list[Visit], progressing: tuple[int, ...], expected: list[tuple[str, str]]
) -> None:
    assert notes(run(*visits, progressing=progressing)) == expected


def test_the_lowest_size_of_an_old_new_lesion_is_what_it_grows_from() -> None:
    # 20, then 12 and 14 mm: 17 mm is +42 % and +5 mm from 12 mm; 16.9 mm is not yet
    start: list[Visit] = [(56, 50.0, {"lung": 20.0}), (90, 34.0, LUNG), (130, 34.0, {"lung": 14.0})]
    assert words(run(*start, (160, 34.0, {"lung": 17.0}))) == ["iUPD", "iPR", "iPR", "iUPD"]
    assert words(run(*start, (160, 34.0, {"lung": 16.9}))) == ["iUPD", "iPR", "iPR", "iPR"]
    # from 30 mm five millimetres are less than a fifth
    large: list[Visit] = [(56, 50.0, {"lung": 30.0}), (90, 34.0, {"lung": 30.0})]
    assert words(run(*large, (130, 34.0, {"lung": 35.9}))) == ["iUPD", "iPR", "iPR"]
    assert words(run(*large, (130, 34.0, {"lung": 36.0}))) == ["iUPD", "iPR", "iUPD"]


def test_a_visit_that_is_not_evaluable_sets_no_nadir() -> None:
    # 30 mm would make 37 mm a progression of the targets; from the nadir of 50 mm it is none
    result = run((56, 50.0, LUNG), (90, 30.0, {"lung": None}), (130, 37.0, LUNG))
    assert words(result) == ["iUPD", "NE", "iSD"]


def test_the_words_of_all_components_are_those_of_irecist() -> None:
    # non-target disease persists: without it the target that is gone would give a complete response
    result = run((56, 62.0, {}), (90, 0.0, {}), (130, 0.0, {}), progressing=(130,))
    assert [
        (row.target, row.non_target, row.overall) for row in result.assessments if not row.is_baseline
    ] == [
        ("iUPD", "NON-iCR/NON-iUPD", "iUPD"),
        ("iCR", "NON-iCR/NON-iUPD", "iPR"),
        ("iCR", "iUPD", "iUPD"),
    ]


def test_a_third_new_lesion_of_an_organ_is_no_new_target() -> None:
    three = {"lung1": 12.0, "lung2": 12.0, "lung3": 12.0}
    # any growth of a new non-target confirms, less than 5 mm of a new target does not
    assert notes(run((56, 50.0, three), (90, 50.0, {**three, "lung3": 12.1})))[1] == (
        "iCPD",
        f"confirms the iUPD of {FEB_26}: new non-target lung3 increased to 12.1 mm",
    )
    assert words(run((56, 50.0, three), (90, 50.0, {**three, "lung2": 16.9}))) == ["iUPD", "iUPD"]


NON_TARGET_ONLY = {"pattern": "infiltrative"}


def non_target_course(*visits: tuple[int, float | None, float | None]) -> ResponseResult:
    """Return a patient with non-target disease of 20 mm alone: day, its size, the size of a new lung lesion."""
    rows = [lesion("N", 0, 20.0, **NON_TARGET_ONLY)]
    for day, size, new in visits:
        rows.append(lesion("N", day, size, **NON_TARGET_ONLY))
        if new is not None:
            state = {"longest_diameter_mm": new} if new else {}
            rows.append(
                Measurement(
                    patient_id="P",
                    lesion_id="L",
                    study_date=START + timedelta(days=day),
                    reader="A",
                    state=MeasurementState.MEASURED if new else MeasurementState.NOT_ASSESSED,
                    organ="lung",
                    new_lesion_status=NewLesionStatus.DEFINITE,
                    source=MeasurementSource.READER,
                    **state,
                )
            )
    studies = [
        StudyRecord(patient_id="P", study_date=day) for day in sorted({row.study_date for row in rows})
    ]
    return respond(Patient(patient_id="P"), studies, rows, RespondSettings(criteria=("iRECIST",)))


def test_non_target_disease_progresses_by_the_guide_and_confirms_by_any_growth() -> None:
    assert notes(non_target_course((56, 30.0, None), (90, 30.1, None))) == [
        ("iUPD", FIRST),
        ("iCPD", f"confirms the iUPD of {FEB_26}: non-target sum 30.1 mm above 30.0 mm"),
    ]
    assert notes(non_target_course((56, 30.0, None), (90, 30.0, None))) == [("iUPD", FIRST), ("iUPD", STILL)]
    assert words(non_target_course((56, 30.0, None), (90, 20.0, None))) == ["iUPD", "NON-iCR/NON-iUPD"]


def test_progressing_non_targets_stay_so_where_a_new_lesion_is_not_measured() -> None:
    # progression still, although what is new cannot be judged
    assert notes(non_target_course((56, 30.0, 12.0), (90, 30.0, 0.0))) == [
        ("iUPD", FIRST),
        ("iUPD", "new lesion L not measured"),
    ]
    assert words(non_target_course((56, 20.0, 12.0), (90, 20.0, 0.0))) == ["iUPD", "NE"]


SAID = tuple[int, FindingStatus, float | None]
PRESENT, WORSE, STABLE = FindingStatus.PRESENT, FindingStatus.PROGRESSING, FindingStatus.STABLE


def bone(*said: SAID, sizes: tuple[float, ...] = (50.0, 50.0, 50.0, 50.0)) -> ResponseResult:
    """Return a patient with a target measured on days 0, 56, 90 and 130, and non-target disease of a bone."""
    days = (0, 56, 90, 130)
    found = tuple(
        Finding(
            patient_id="P",
            date=START + timedelta(days=day),
            kind=FindingKind.NON_TARGET,
            status=status,
            site="bone",
            size_mm=size,
        )
        for day, status, size in ((0, PRESENT, 20.0), *said)
    )
    studies = [StudyRecord(patient_id="P", study_date=START + timedelta(days=day)) for day in days]
    rows = [lesion("T", day, size) for day, size in zip(days, sizes, strict=True)]
    return respond(
        Patient(patient_id="P", findings=found),
        studies,
        rows,
        RespondSettings(criteria=("iRECIST",), findings_window_days=0),
    )


@pytest.mark.parametrize(
    ("later", "expected", "day"),
    [
        # no change from the last assessment: iUPD again, and a further increase confirms
        (((90, STABLE, None), (130, WORSE, None)), ["iUPD", "iUPD", "iCPD"], 90),
        (((90, PRESENT, 30.0), (130, STABLE, 30.0)), ["iUPD", "iUPD", "iUPD"], 56),
        # smaller than when it progressed, or gone: void, and the next one needs its own confirmation
        (((90, STABLE, 25.0), (130, WORSE, 35.0)), ["iUPD", "iSD", "iUPD"], 130),
        (((90, FindingStatus.GONE, None), (130, FindingStatus.GONE, None)), ["iUPD", "iSD", "iSD"], None),
        # not looked at: nothing is known of it
        (((130, WORSE, None),), ["iUPD", "NE", "iCPD"], 56),
        ((), ["iUPD", "NE", "NE"], 56),
    ],
)
def test_a_reported_progression_is_void_only_where_it_shrank(
    later: tuple[SAID, ...], expected: list[str], day: int | None
) -> None:
    result = bone((56, WORSE, 30.0), *later)
    assert words(result) == expected
    assert summary(result)[1] == day


def test_targets_that_shrink_do_not_void_a_progression_of_non_targets_that_stay() -> None:
    # Seymour 2017, table 2: targets iPR, non-targets iUPD, no new lesions: remains iUPD
    result = bone((56, WORSE, None), (90, STABLE, None), (130, STABLE, None), sizes=(50.0, 50.0, 30.0, 30.0))
    assert [(row.target, row.non_target, row.overall) for row in result.assessments[2:]] == [
        ("iPR", "iUPD", "iUPD"),
        ("iPR", "iUPD", "iUPD"),
    ]
    assert notes(result)[1] == ("iUPD", STILL)


def test_a_progression_of_non_targets_that_are_not_assessed_is_not_void() -> None:
    assert notes(bone((56, WORSE, None)))[1] == ("NE", "non-targets, which progressed, not assessed")
    measured_only = non_target_course((56, 30.0, None), (90, None, None), (130, 30.5, None))
    assert words(measured_only) == ["iUPD", "NE", "iCPD"]


def two_targets(*visits: tuple[int, float | None, float | None]) -> ResponseResult:
    """Return a patient with targets of 25 mm each: day, and their sizes."""
    rows = [lesion(name, 0, 25.0) for name in "TU"]
    for day, first, second in visits:
        rows += [lesion("T", day, first), lesion("U", day, second)]
    studies = [
        StudyRecord(patient_id="P", study_date=day) for day in sorted({row.study_date for row in rows})
    ]
    return respond(Patient(patient_id="P"), studies, rows, RespondSettings(criteria=("iRECIST",)))


def test_growth_since_a_progression_by_a_partial_sum_is_unknown_until_all_are_measured() -> None:
    # 62 of 50 mm by one target alone; 82 mm may be less than there was; 87 mm is 5 mm above that
    result = two_targets((56, 62.0, None), (90, 62.0, 20.0), (130, 66.9, 20.0), (170, 67.0, 20.0))
    assert notes(result) == [
        ("iUPD", FIRST),
        (
            "iUPD",
            f"whether it grew further since the iUPD of {FEB_26} is not known: targets not all measured",
        ),
        ("iUPD", STILL),
        ("iCPD", f"confirms the iUPD of {FEB_26}: target sum 87.0 mm, at least 5.0 mm above 82.0 mm"),
    ]
    assert summary(result) == ("iCPD", 130)


def test_targets_measured_alone_confirm_where_they_exceed_the_whole_sum_by_enough() -> None:
    # 65 mm together at the iUPD: one target of 70 mm is 5 mm more, whatever the other one has
    assert notes(two_targets((56, 40.0, 25.0), (90, 70.0, None)))[1] == (
        "iCPD",
        f"confirms the iUPD of {FEB_26}: targets measured alone 70.0 mm, at least 5.0 mm above 65.0 mm",
    )
    assert notes(two_targets((56, 40.0, 25.0), (90, 69.9, None)))[1] == (
        "iUPD",
        f"whether it grew further since the iUPD of {FEB_26} is not known: targets not all measured",
    )


def reported(*said: tuple[int, FindingStatus, str], sizes: tuple[float, ...]) -> ResponseResult:
    """Return a patient with a target measured on days 0, 56, 90 and 130, and findings outside the liver."""
    days = (0, 56, 90, 130)[: len(sizes)]
    found = tuple(
        Finding(
            patient_id="P",
            date=START + timedelta(days=day),
            kind=FindingKind.EXTRAHEPATIC_LESION,
            status=status,
            site=site,
        )
        for day, status, site in said
    )
    studies = [StudyRecord(patient_id="P", study_date=START + timedelta(days=day)) for day in days]
    rows = [lesion("T", day, size) for day, size in zip(days, sizes, strict=True)]
    return respond(
        Patient(patient_id="P", findings=found), studies, rows, RespondSettings(criteria=("iRECIST",))
    )


def test_another_reported_lesion_confirms_and_the_same_one_does_not() -> None:
    rib, ilium = (56, FindingStatus.NEW, "rib"), (90, FindingStatus.NEW, "ilium")
    assert notes(reported(rib, sizes=(50.0, 50.0, 50.0))) == [("iUPD", FIRST), ("iUPD", STILL)]
    # a rib is none of the liver
    alone = reported(rib, sizes=(50.0, 50.0, 50.0)).assessments
    assert [row.liver_response for row in alone] == [None, "iSD", "iSD"]
    assert notes(reported(rib, ilium, sizes=(50.0, 50.0, 50.0)))[1] == (
        "iCPD",
        f"confirms the iUPD of {FEB_26}: another new lesion: extrahepatic lesion ilium",
    )
    both = reported(rib, ilium, (90, FindingStatus.NEW, "femur"), sizes=(50.0, 50.0, 50.0))
    assert notes(both)[1][1].endswith(
        "another new lesion: extrahepatic lesion femur, extrahepatic lesion ilium"
    )


def test_a_reported_lesion_blocks_complete_response_until_it_is_gone() -> None:
    rib = (56, FindingStatus.NEW, "rib")
    blocked = reported(rib, sizes=(50.0, 50.0, 0.0, 0.0))
    assert words(blocked) == ["iUPD", "iPR", "iPR"]
    gone = reported(rib, (130, FindingStatus.GONE, "rib"), sizes=(50.0, 50.0, 0.0, 0.0))
    assert words(gone) == ["iUPD", "iPR", "iCR"]


def test_new_lesions_that_are_gone_void_the_progression_they_were() -> None:
    # measured or reported, and although nothing else shrank
    rib, gone = (56, FindingStatus.NEW, "rib"), (90, FindingStatus.GONE, "rib")
    assert words(reported(rib, gone, sizes=(50.0, 50.0, 50.0))) == ["iUPD", "iSD"]
    assert words(run((56, 50.0, LUNG), (90, 50.0, {"lung": 0.0}))) == ["iUPD", "iSD"]
    # one of two that is gone changes nothing
    ilium = (56, FindingStatus.NEW, "ilium")
    assert words(reported(rib, ilium, gone, sizes=(50.0, 50.0, 50.0))) == ["iUPD", "iUPD"]


def test_new_nodes_are_new_targets_by_their_short_axis_from_15_mm() -> None:
    def course(axis: float, later: float) -> list[str]:
        rows = [lesion("T", day, 50.0) for day in (0, 56, 90)]
        rows += [
            lesion(
                "N",
                day,
                30.0,
                organ="axilla",
                is_node=True,
                perpendicular_diameter_mm=size,
                new_lesion_status=NewLesionStatus.DEFINITE,
            )
            for day, size in ((56, axis), (90, later))
        ]
        studies = [StudyRecord(patient_id="P", study_date=START + timedelta(days=day)) for day in (0, 56, 90)]
        result = respond(Patient(patient_id="P"), studies, rows, RespondSettings(criteria=("iRECIST",)))
        return words(result)

    assert course(15.0, 19.9) == ["iUPD", "iUPD"]
    assert course(15.0, 20.0) == ["iUPD", "iCPD"]
    assert course(14.9, 15.0) == ["iUPD", "iCPD"]


def test_a_new_lesion_seen_without_a_number_is_no_new_target() -> None:
    def course(size: float | None) -> ResponseResult:
        rows = [lesion("T", day, 50.0) for day in (0, 56, 90)]
        rows += [
            Measurement(
                patient_id="P",
                lesion_id="L",
                study_date=START + timedelta(days=day),
                reader="A",
                state=MeasurementState.MEASURED,
                organ="lung",
                longest_diameter_mm=diameter,
                new_lesion_status=NewLesionStatus.DEFINITE,
                source=MeasurementSource.READER,
            )
            for day, diameter in ((56, None), (90, size))
        ]
        studies = [StudyRecord(patient_id="P", study_date=START + timedelta(days=day)) for day in (0, 56, 90)]
        return respond(Patient(patient_id="P"), studies, rows, RespondSettings(criteria=("iRECIST",)))

    # nothing to compare: it is still there, and neither larger nor another one
    assert notes(course(None)) == [("iUPD", FIRST), ("iUPD", STILL)]
    assert notes(course(30.0)) == [("iUPD", FIRST), ("iUPD", STILL)]


def test_after_a_confirmed_progression_an_unread_study_is_not_evaluable() -> None:
    days = (0, 56, 90, 130)
    studies = [
        StudyRecord(patient_id="P", study_date=START + timedelta(days=day), lesions_assessable=day != 130)
        for day in days
    ]
    rows = [
        Measurement(
            patient_id="P",
            lesion_id="T",
            study_date=START + timedelta(days=day),
            reader="A",
            state=MeasurementState.MEASURED,
            longest_diameter_mm=size,
            source=MeasurementSource.MASK,
        )
        for day, size in zip(days, (50.0, 62.0, 70.0), strict=False)
    ]
    result = respond(Patient(patient_id="P"), studies, rows, RespondSettings(criteria=("iRECIST",)))
    assert words(result) == ["iUPD", "iCPD", "NE"]


def test_the_growth_that_confirms_is_a_setting() -> None:
    assert words(run((56, 62.0, {}), (90, 62.5, {}), irecist_confirm_growth_mm=1.0)) == ["iUPD", "iUPD"]
    assert words(run((56, 62.0, {}), (90, 63.0, {}), irecist_confirm_growth_mm=1.0)) == ["iUPD", "iCPD"]


@pytest.mark.parametrize(
    ("visits", "for_symptoms", "expected"),
    [
        # day 70 is too early to confirm what was seen on day 56
        ([(56, 62.0, {}), (70, 62.0, LUNG), (130, 62.0, LUNG)], None, ["iUPD", "iUPD", "iCPD"]),
        ([(56, 62.0, {}), (70, 62.0, LUNG), (130, 62.0, LUNG)], 70, ["iUPD", "iCPD", "iCPD"]),
        ([(56, 50.0, LUNG), (70, 50.0, {**LUNG, "bone": 11.0})], 70, ["iUPD", "iCPD"]),
        # growth, and a lesion that was there before, confirm nothing early
        ([(56, 62.0, {}), (70, 80.0, {})], 70, ["iUPD", "iUPD"]),
        ([(56, 50.0, LUNG), (70, 50.0, {"lung": 30.0})], 70, ["iUPD", "iUPD"]),
        # nor does a scan for symptoms call progression at once
        ([(56, 50.0, LUNG)], 56, ["iUPD"]),
    ],
)
def test_only_another_new_lesion_on_a_scan_for_new_symptoms_confirms_early(
    visits: list[Visit], for_symptoms: int | None, expected: list[str]
) -> None:
    assert words(run(*visits, for_symptoms=for_symptoms)) == expected


def test_an_early_confirmation_says_on_what_it_rests() -> None:
    result = run((56, 62.0, {}), (70, 62.0, {"liver": 12.0}), for_symptoms=70)
    assert "on a scan for new symptoms: another new lesion: liver" in result.assessments[-1].reason
    assert flags(result)[-1] == set()
    assert summary(result) == ("iCPD", 56)


def test_without_disease_at_baseline_an_unread_study_is_not_evaluable() -> None:
    studies = [
        StudyRecord(patient_id="P", study_date=START + timedelta(days=day), lesions_assessable=day != 60)
        for day in (0, 60, 120)
    ]
    result = respond(
        Patient(patient_id="P"), studies, [], RespondSettings(criteria=("RECIST 1.1", "iRECIST"))
    )
    found: dict[str, list[str | None]] = {}
    for row in result.assessments:
        found.setdefault(row.criterion, []).append(row.overall)
    assert found == {"RECIST 1.1": [None, "NE", "NED"], "iRECIST": [None, "NE", "NED"]}


@pytest.mark.parametrize(
    ("target", "words", "dated"),
    [
        # L is 8 mm and equivocal on day 40, definite on day 100, and grows by 6 mm up to day 140
        ((50.0, 50.0, 50.0), ["iSD", "iUPD", "iCPD"], 40),
        # the target alone progresses on day 40; the new lesion confirms it, and was there then
        ((60.0, 60.0, 60.0), ["iUPD", "iCPD", "iCPD"], 40),
        # a response voids the progression of day 100, and with it the date
        ((50.0, 50.0, 35.0), ["iSD", "iUPD", "iPR"], None),
    ],
)
def test_a_progression_by_a_lesion_that_was_doubtful_is_dated_as_its_reason_says(
    target: tuple[float, ...], words: list[str], dated: int | None
) -> None:
    sizes = (8.0, 20.0, 26.0) if target[2] == 50.0 else (8.0, 20.0, 20.0)
    statuses = (NewLesionStatus.EQUIVOCAL, NewLesionStatus.DEFINITE, NewLesionStatus.DEFINITE)
    rows = [lesion("T", day, size) for day, size in zip((0, 40, 100, 140), (50.0, *target), strict=True)]
    studies = [StudyRecord(patient_id="P", study_date=row.study_date) for row in rows]
    rows += [
        lesion("L", day, size, new_lesion_status=status)
        for day, size, status in zip((40, 100, 140), sizes, statuses, strict=True)
    ]
    result = respond(Patient(patient_id="P"), studies, rows, RespondSettings(criteria=("iRECIST",)))
    assert [row.overall for row in result.assessments[1:]] == words
    first_seen = START + timedelta(days=40)
    assert [row.dated_from for row in result.assessments[1:]] == [None, first_seen, None]
    expected = None if dated is None else START + timedelta(days=dated)
    assert {row.progression_date for row in result.summaries} == {expected}


@pytest.mark.parametrize(
    ("target", "words", "best", "responded", "progressed"),
    [
        # L is in doubt on day 40, and the target responds on day 70: that would have voided an iUPD of day 40
        ((50.0, 35.0, 35.0), ["iSD", "iPR", "iUPD", "iCPD"], "iPR", 70, 100),
        # it responds further than on day 40
        ((35.0, 30.0, 30.0), ["iPR", "iPR", "iUPD", "iCPD"], "iPR", 40, 100),
        # it had responded by day 40, and nothing shrank since: the iUPD stands there, and none of it was a response
        ((35.0, 35.0, 35.0), ["iPR", "iPR", "iUPD", "iCPD"], "iCPD", None, 40),
        ((50.0, 50.0, 50.0), ["iSD", "iSD", "iUPD", "iCPD"], "iCPD", None, 40),
    ],
)
def test_a_response_while_a_lesion_is_in_doubt_counts_or_the_progression_dates_before_it(
    target: tuple[float, ...], words: list[str], best: str, responded: int | None, progressed: int
) -> None:
    days = (0, 40, 70, 100, 140)
    sizes = (50.0, *target, target[-1])
    rows = [lesion("T", day, size) for day, size in zip(days, sizes, strict=True)]
    studies = [StudyRecord(patient_id="P", study_date=row.study_date) for row in rows]
    in_doubt, sure = NewLesionStatus.EQUIVOCAL, NewLesionStatus.DEFINITE
    rows += [
        lesion("L", day, size, new_lesion_status=status)
        for day, size, status in zip(
            days[1:], (8.0, 8.0, 20.0, 26.0), (in_doubt, in_doubt, sure, sure), strict=True
        )
    ]
    result = respond(Patient(patient_id="P"), studies, rows, RespondSettings(criteria=("iRECIST",)))
    assert [row.overall for row in result.assessments[1:]] == words
    dates = [None if day is None else START + timedelta(days=day) for day in (responded, progressed)]
    for row in result.summaries:
        assert (row.best_overall_response, row.response_date, row.progression_date) == (best, *dates)
    dated = {row.dated_from for row in result.assessments} - {None}
    assert dated == ({dates[1]} if progressed == 40 else set())
