"""An assessment restated by a reader stands beside the reader's own, and everything after it follows."""

from dataclasses import replace
from datetime import date, timedelta
from typing import Any

import pytest

from mrresponse.domain import (
    Assessment,
    AuditRow,
    Finding,
    FindingKind,
    FindingStatus,
    Measurement,
    MeasurementSource,
    MeasurementState,
    NewLesionStatus,
    Override,
    Patient,
    PatientEdits,
    Response,
    ResponseResult,
    StudyRecord,
)
from mrresponse.errors import DataError
from mrresponse.respond import RespondSettings, respond

DAY = date(2024, 1, 1)
SECOND, THIRD, FOURTH = (DAY + timedelta(days=days) for days in (60, 120, 180))
# 40 -> 28 is -30 %, 28 -> 36 is +28.6 % over the nadir and more than 5 mm, 36 -> 27 is below the nadir again
SIZES = {DAY: 40.0, SECOND: 28.0, THIRD: 36.0, FOURTH: 27.0}


def measured(day: date, size: float, reader: str) -> Measurement:
    return Measurement(
        patient_id="P",
        lesion_id="L01",
        study_date=day,
        reader=reader,
        state=MeasurementState.MEASURED,
        longest_diameter_mm=size,
        source=MeasurementSource.READER,
    )


def restated(day: date = THIRD, **more: Any) -> Override:
    values: dict[str, Any] = {
        "treatment_phase": "course",
        "criterion": "RECIST 1.1",
        "reader": "Dr C",
        "reason": "measured across a vessel",
        "when": date(2024, 9, 1),
        **more,
    }
    return Override(patient_id="P", study_date=day, **values)


def read(
    *overrides: Override,
    readers: tuple[str, ...] = ("A",),
    findings: tuple[Finding, ...] = (),
    criterion: str = "RECIST 1.1",
) -> ResponseResult:
    return respond(
        Patient(patient_id="P", edits=PatientEdits(overrides=overrides), findings=findings),
        [StudyRecord(patient_id="P", study_date=day) for day in SIZES],
        [measured(day, size, reader) for reader in readers for day, size in SIZES.items()],
        RespondSettings(criteria=(criterion,)),
    )


def rows(result: ResponseResult, reader: str) -> list[Assessment]:
    return [row for row in result.assessments if row.reader == reader and not row.is_baseline]


def words(result: ResponseResult, reader: str) -> list[str | None]:
    return [row.overall for row in rows(result, reader)]


def test_the_restated_read_stands_beside_the_readers_own() -> None:
    result = read(restated(overall=Response.SD))
    assert words(result, "A") == ["PR", "PD", "PR"]
    assert words(result, "adjudicated") == ["PR", "SD", "PR"]
    assert [row.after_progression for row in rows(result, "A")] == [False, False, True]
    assert [row.after_progression for row in rows(result, "adjudicated")] == [False, False, False]
    own = read()
    assert rows(result, "A") == rows(own, "A")


def test_dates_and_best_response_of_the_restated_read_follow() -> None:
    result = read(restated(overall=Response.SD))
    own, adjudicated = (
        next(row for row in result.summaries if row.reader == reader and row.basis == "overall")
        for reader in ("A", "adjudicated")
    )
    assert (own.progression_date, adjudicated.progression_date) == (THIRD, None)
    # PR on day 60, nothing worse than PR until day 180 is 120 days later; SD between is not allowed by default
    assert (own.duration_of_response_days, adjudicated.duration_of_response_days) == (60, 120)


def test_a_restated_row_says_who_and_why_and_what_it_was() -> None:
    (row,) = [
        row for row in rows(read(restated(overall=Response.SD)), "adjudicated") if "restated" in row.flags
    ]
    assert row.study_date == THIRD
    assert row.reason.startswith("SD: restated by Dr C, measured across a vessel; A had PD: ")
    assert row.flags == ("restated",)
    # the numbers stay: 36 mm against a nadir of 28 mm
    assert (row.current_burden, row.nadir_burden) == (36.0, 28.0)


def test_the_audit_has_a_row_for_every_part_that_changed() -> None:
    audit = read(restated(overall=Response.SD)).audit
    assert [(row.what, row.before, row.after) for row in audit] == [
        ("liver_response of A, RECIST 1.1, course", "PD", "SD"),
        ("overall of A, RECIST 1.1, course", "PD", "SD"),
    ]
    assert {(row.edit, row.reader, row.reason, row.when, row.study_date) for row in audit} == {
        ("overrides.csv", "Dr C", "measured across a vessel", date(2024, 9, 1), THIRD)
    }


def test_the_overall_response_follows_from_restated_parts() -> None:
    result = read(restated(target=Response.SD))
    assert words(result, "adjudicated") == ["PR", "SD", "PR"]
    first = rows(read(restated(SECOND, new_lesions="definite")), "adjudicated")[0]
    assert (first.target, first.new_lesions, first.overall) == ("PR", "definite", "PD")


def test_the_liver_is_restated_by_its_own_column_where_there_is_other_disease() -> None:
    bone = Finding(
        patient_id="P",
        date=THIRD,
        kind=FindingKind.EXTRAHEPATIC_LESION,
        status=FindingStatus.NEW,
        site="ilium",
    )
    only_overall = rows(read(restated(overall=Response.SD), findings=(bone,)), "adjudicated")[1]
    assert (only_overall.liver_response, only_overall.overall) == ("PD", "SD")
    both = rows(
        read(restated(overall=Response.SD, liver_response=Response.SD), findings=(bone,)), "adjudicated"
    )[1]
    assert (both.liver_response, both.overall) == ("SD", "SD")


@pytest.mark.parametrize(
    ("overrides", "readers", "said"),
    [
        ((restated(overall=Response.SD),), ("A", "B"), "assessed_by: found nothing, expected one of A, B"),
        (
            (restated(overall=Response.SD, assessed_by="C"),),
            ("A",),
            "assessed_by: found 'C', expected one of A",
        ),
        ((restated(DAY, overall=Response.SD),), ("A",), "study_date: expected a visit after the baseline"),
        (
            (restated(overall=Response.SD, criterion="WHO"),),
            ("A",),
            "found treatment phase and criterion course / WHO, expected one with a baseline: course / RECIST 1.1",
        ),
        ((restated(overall=Response.ISD),), ("A",), "overall: found iSD, expected a response of RECIST 1.1"),
        ((restated(overall=Response.SD),) * 2, ("A",), "found two rows for RECIST 1.1 of this date"),
        (
            (
                restated(overall=Response.SD, assessed_by="A"),
                restated(FOURTH, overall=Response.SD, assessed_by="B"),
            ),
            ("A", "B"),
            "found assessments of A and of B restated in one phase",
        ),
        ((restated(overall=Response.SD),), ("adjudicated",), "found a reader named 'adjudicated'"),
    ],
)
def test_an_override_that_fits_nothing_is_refused(
    overrides: tuple[Override, ...], readers: tuple[str, ...], said: str
) -> None:
    with pytest.raises(DataError, match="P") as caught:
        read(*overrides, readers=readers)
    assert said in caught.value.message
    assert caught.value.patient_id == "P"


def test_a_restated_part_of_irecist_needs_its_overall_response() -> None:
    part = restated(SECOND, criterion="iRECIST", target=Response.ISD)
    with pytest.raises(DataError, match="expected the response by iRECIST"):
        read(part, criterion="iRECIST")
    whole = restated(SECOND, criterion="iRECIST", target=Response.ISD, overall=Response.ISD)
    assert words(read(whole, criterion="iRECIST"), "adjudicated")[0] == "iSD"


def test_an_early_immune_scan_counts_as_the_reader_restates_it() -> None:
    """40 to 60 mm is unconfirmed; two weeks later is too early to change that, unless a reader says so."""
    sizes = {DAY: 40.0, SECOND: 60.0, SECOND + timedelta(days=14): 20.0}
    early = restated(SECOND + timedelta(days=14), criterion="iRECIST", overall=Response.IPR)
    result = respond(
        Patient(patient_id="P", edits=PatientEdits(overrides=(early,))),
        [StudyRecord(patient_id="P", study_date=day) for day in sizes],
        [measured(day, size, "A") for day, size in sizes.items()],
        RespondSettings(criteria=("iRECIST",)),
    )
    found = {
        row.reader: (
            row.best_overall_response,
            row.response_date,
            row.progression_date,
            row.depth_of_response,
        )
        for row in result.summaries
    }
    assert found["A"] == (Response.IUPD, None, SECOND, 0.5)
    assert found["adjudicated"] == (Response.IPR, early.study_date, None, -0.5)
    assert ["early_scan_ignored" in row.flags for row in rows(result, "A")] == [False, True]
    assert ["early_scan_ignored" in row.flags for row in rows(result, "adjudicated")] == [False, False]


def test_every_column_of_a_restated_row_is_the_readers_own_but_for_what_was_restated() -> None:
    result = read(restated(target=Response.SD, non_target=Response.NON_CR_NON_PD))
    own = rows(result, "A")
    assert own[1].p_pd is not None
    expected = replace(
        own[1],
        reader="adjudicated",
        target=Response.SD,
        non_target=Response.NON_CR_NON_PD,
        liver_response=Response.SD,
        overall=Response.SD,
        reason=f"SD: restated by Dr C, measured across a vessel; A had {own[1].reason}",
        # probabilities are those of the numbers, which the reader overruled
        p_cr=None,
        p_pr=None,
        p_sd=None,
        p_pd=None,
        flags=("restated",),
    )
    assert rows(result, "adjudicated") == [
        replace(own[0], reader="adjudicated"),
        expected,
        replace(own[2], reader="adjudicated", after_progression=False),
    ]
    assert [(row.what.split(" ")[0], row.before, row.after) for row in result.audit] == [
        ("target", "PD", "SD"),
        ("non_target", "", "NON-CR/NON-PD"),
        ("liver_response", "PD", "SD"),
        ("overall", "PD", "SD"),
    ]


def test_a_part_that_a_reader_confirms_is_in_the_audit_too() -> None:
    (row,) = read(restated(target=Response.PD)).audit
    assert row == AuditRow(
        patient_id="P",
        study_date=THIRD,
        edit="overrides.csv",
        what="target of A, RECIST 1.1, course",
        before="PD",
        after="PD",
        reader="Dr C",
        reason="measured across a vessel",
        when=date(2024, 9, 1),
    )


def doubtful(day: date, size: float, status: NewLesionStatus) -> Measurement:
    more = {"organ": "lung", "lesion_id": "L02", "new_lesion_status": status}
    return replace(measured(day, size, "A"), **more)


def restated_with_a_new_lesion(*overrides: Override) -> ResponseResult:
    found = [measured(day, size, "A") for day, size in SIZES.items()]
    found += [
        doubtful(SECOND, 8.0, NewLesionStatus.EQUIVOCAL),
        doubtful(THIRD, 14.0, NewLesionStatus.DEFINITE),
    ]
    return respond(
        Patient(patient_id="P", edits=PatientEdits(overrides=overrides)),
        [StudyRecord(patient_id="P", study_date=day) for day in SIZES],
        found,
        RespondSettings(criteria=("RECIST 1.1",)),
    )


def test_a_progression_keeps_its_earlier_date_only_where_it_stays_one() -> None:
    still = restated_with_a_new_lesion(restated(target=Response.SD))
    assert [row.dated_from for row in rows(still, "adjudicated")] == [None, SECOND, None]
    no_more = restated_with_a_new_lesion(restated(target=Response.SD, new_lesions="none"))
    assert [row.dated_from for row in rows(no_more, "adjudicated")] == [None, None, None]
    # at the last visit the lesion is not looked at and stays what it was
    assert words(no_more, "adjudicated") == ["PR", "SD", "PD"]
    assert words(no_more, "A") == ["PR", "PD", "PD"]


def test_a_progression_without_its_new_lesion_is_not_dated_by_it() -> None:
    # the targets progress on the third visit by themselves
    result = restated_with_a_new_lesion(restated(new_lesions="none"))
    row = rows(result, "adjudicated")[1]
    assert (row.overall, row.new_lesions, row.dated_from) == ("PD", "none", None)
    assert "progression_dated_earlier" not in row.flags
    assert {
        (one.reader, one.progression_date) for one in result.summaries if one.basis == "overall"
    } == {("A", SECOND), ("adjudicated", THIRD)}  # fmt: skip


def test_what_is_not_restated_stays_as_it_was() -> None:
    result = restated_with_a_new_lesion(restated(non_target=Response.NON_CR_NON_PD))
    row = rows(result, "adjudicated")[1]
    assert (row.target, row.non_target, row.new_lesions) == ("PD", "NON-CR/NON-PD", "definite")
    # disease in the lung is none of the liver, whose response stays
    liver_alone = restated_with_a_new_lesion(restated(liver_response=Response.SD))
    row = rows(liver_alone, "adjudicated")[1]
    assert (row.liver_response, row.overall) == ("SD", "PD")
    assert [r.what.split(" ")[0] for r in liver_alone.audit] == ["liver_response"]


def test_overrides_of_a_reader_leave_the_others_alone() -> None:
    result = read(restated(overall=Response.SD, assessed_by="B"), readers=("A", "B"))
    assert {reader: words(result, reader)[1] for reader in ("A", "B", "adjudicated")} == {
        "A": "PD", "B": "PD", "adjudicated": "SD",
    }  # fmt: skip
    assert [row.reader for row in result.assessments[::4]] == ["A", "B", "adjudicated"]
    assert {row.what for row in result.audit} == {
        "liver_response of B, RECIST 1.1, course",
        "overall of B, RECIST 1.1, course",
    }


REFUSED = "edits/overrides.csv, course, {}, reader Dr C: {}"


@pytest.mark.parametrize(
    ("overrides", "readers", "criterion", "problem", "day"),
    [
        (
            (restated(overall=Response.SD),), ("A", "B"), "RECIST 1.1",
            "column assessed_by: found nothing, expected one of A, B", THIRD,
        ),
        (
            (restated(overall=Response.SD, assessed_by="C"),), ("A", "B"), "RECIST 1.1",
            "column assessed_by: found 'C', expected one of A, B", THIRD,
        ),
        (
            (restated(SECOND, overall=Response.SD), restated(DAY, overall=Response.SD)), ("A",), "RECIST 1.1",
            "column study_date: expected a visit after the baseline: 2024-03-01, 2024-04-30, 2024-06-29", DAY,
        ),
        (
            (restated(overall=Response.ISD),), ("A",), "RECIST 1.1",
            "column overall: found iSD, expected a response of RECIST 1.1", THIRD,
        ),
        (
            (restated(overall=Response.SD, target=Response.IUPD),), ("A",), "RECIST 1.1",
            "column target: found iUPD, expected a response of RECIST 1.1", THIRD,
        ),
        (
            (restated(overall=Response.SD, non_target=Response.NON_ICR_NON_IUPD),), ("A",), "RECIST 1.1",
            "column non_target: found NON-iCR/NON-iUPD, expected a response of RECIST 1.1", THIRD,
        ),
        (
            (restated(liver_response=Response.ICPD),), ("A",), "RECIST 1.1",
            "column liver_response: found iCPD, expected a response of RECIST 1.1", THIRD,
        ),
        (
            (restated(overall=Response.SD, criterion="iRECIST"),), ("A",), "iRECIST",
            "column overall: found SD, expected a response of iRECIST", THIRD,
        ),
        (
            (restated(target=Response.ISD, criterion="iRECIST"),), ("A",), "iRECIST",
            "column overall: found nothing, expected the response by iRECIST", THIRD,
        ),
        (
            (restated(overall=Response.SD), restated(FOURTH, overall=Response.SD), restated(overall=Response.PR)),
            ("A",), "RECIST 1.1", "found two rows for RECIST 1.1 of this date, expected one", THIRD,
        ),
        (
            (restated(overall=Response.SD, assessed_by="A"), restated(FOURTH, overall=Response.SD, assessed_by="B")),
            ("A", "B"), "RECIST 1.1",
            "found assessments of A and of B restated in one phase under RECIST 1.1, expected those of one reader",
            FOURTH,
        ),
        (
            (restated(overall=Response.SD, criterion="WHO"),), ("A",), "RECIST 1.1",
            "found treatment phase and criterion course / WHO, expected one with a baseline: course / RECIST 1.1",
            THIRD,
        ),
    ],
)  # fmt: skip
def test_a_refusal_names_the_row_what_is_wrong_with_it_and_what_would_be_right(
    overrides: tuple[Override, ...], readers: tuple[str, ...], criterion: str, problem: str, day: date
) -> None:
    with pytest.raises(DataError) as caught:
        read(*overrides, readers=readers, criterion=criterion)
    assert caught.value.message == REFUSED.format(overrides[-1].criterion, problem)
    assert (caught.value.code, caught.value.patient_id, caught.value.study_date) == ("bad_override", "P", day)


def test_a_reader_may_not_have_the_name_of_the_restated_read() -> None:
    with pytest.raises(DataError) as caught:
        read(restated(overall=Response.SD), readers=("A", "adjudicated"))
    assert caught.value.message == (
        "measurements: found a reader named 'adjudicated', expected another name beside overrides: it is kept for "
        "restated assessments"
    )
    assert (caught.value.code, caught.value.patient_id) == ("reserved_name", "P")
    # without overrides the name is nobody's
    assert words(read(readers=("adjudicated",)), "adjudicated") == ["PR", "PD", "PR"]


def test_an_override_of_a_patient_without_a_baseline_or_a_later_visit_fits_nothing() -> None:
    def attempt(records: list[StudyRecord], found: list[Measurement]) -> str:
        patient = Patient(
            patient_id="P", edits=PatientEdits(overrides=(restated(overall=Response.SD, assessed_by="A"),))
        )
        with pytest.raises(DataError) as caught:
            respond(patient, records, found, RespondSettings(criteria=("RECIST 1.1",)))
        return caught.value.message

    unread = [StudyRecord(patient_id="P", study_date=DAY, lesions_assessable=False, model="A")]
    assert attempt(unread, []) == REFUSED.format(
        "RECIST 1.1",
        "found treatment phase and criterion course / RECIST 1.1, expected one with a baseline: there is none",
    )
    alone = [StudyRecord(patient_id="P", study_date=DAY)]
    assert attempt(alone, [measured(DAY, 40.0, "A")]) == REFUSED.format(
        "RECIST 1.1", "column study_date: expected a visit after the baseline: none"
    )


def test_words_that_both_vocabularies_have_may_be_stated_under_either() -> None:
    for criterion in ("RECIST 1.1", "iRECIST"):
        for word in (Response.NE, Response.NED):
            result = read(restated(criterion=criterion, overall=word), criterion=criterion)
            assert words(result, "adjudicated")[1] == word
    immune = read(
        restated(criterion="iRECIST", overall=Response.ISD, new_lesions="none"), criterion="iRECIST"
    )
    assert words(immune, "adjudicated") == ["iPR", "iSD", "iPR"]


def test_a_finding_that_does_not_count_leaves_one_disease_to_restate() -> None:
    scar = Finding(patient_id="P", date=THIRD, kind=FindingKind.OTHER, status=FindingStatus.NEW, site="skin")
    row = rows(read(restated(overall=Response.SD), findings=(scar,)), "adjudicated")[1]
    assert (row.liver_response, row.overall) == ("SD", "SD")
    assert row.flags == ("finding_not_counted", "restated")


def test_a_progression_of_the_liver_that_was_restated_dates_no_later_one() -> None:
    # a nodule of the liver is doubtful on day 60 and definite on day 120; the liver is restated as stable there
    found = [measured(day, size, "A") for day, size in SIZES.items()]
    found += [
        replace(doubtful(SECOND, 8.0, NewLesionStatus.EQUIVOCAL), organ="liver"),
        replace(doubtful(THIRD, 14.0, NewLesionStatus.DEFINITE), organ="liver"),
    ]
    # other disease, so that the liver has a basis of its own
    found += [replace(measured(day, 8.0, "A"), lesion_id="L03", organ="lung") for day in SIZES]
    override = restated(overall=Response.SD, liver_response=Response.SD)
    result = respond(
        Patient(patient_id="P", edits=PatientEdits(overrides=(override,))),
        [StudyRecord(patient_id="P", study_date=day) for day in SIZES],
        found,
        RespondSettings(criteria=("RECIST 1.1",)),
    )
    dates = {(row.reader, row.basis): row.progression_date for row in result.summaries}
    assert dates == {
        ("A", "liver"): SECOND,
        ("A", "overall"): SECOND,
        ("adjudicated", "liver"): FOURTH,
        ("adjudicated", "overall"): FOURTH,
    }


def test_every_restated_visit_is_in_the_audit() -> None:
    result = read(restated(overall=Response.SD), restated(FOURTH, overall=Response.SD))
    assert words(result, "adjudicated") == ["PR", "SD", "SD"]
    assert [(row.study_date, row.what.split(" ")[0]) for row in result.audit] == [
        (THIRD, "liver_response"), (THIRD, "overall"), (FOURTH, "liver_response"), (FOURTH, "overall"),
    ]  # fmt: skip


def test_the_overall_response_follows_from_the_non_target_disease_too() -> None:
    result = read(restated(target=Response.CR, non_target=Response.NON_CR_NON_PD))
    # Eisenhauer 2009, table 1: complete, with non-target disease that persists, is partial
    assert words(result, "adjudicated")[1] == "PR"


def test_a_refusal_names_every_phase_and_criterion_that_was_assessed() -> None:
    patient = Patient(
        patient_id="P", edits=PatientEdits(overrides=(restated(overall=Response.SD, criterion="WHO"),))
    )
    with pytest.raises(DataError) as caught:
        respond(
            patient,
            [StudyRecord(patient_id="P", study_date=day) for day in SIZES],
            [measured(day, size, "A") for day, size in SIZES.items()],
            RespondSettings(criteria=("iRECIST", "RECIST 1.1")),
        )
    assert caught.value.message == REFUSED.format(
        "WHO",
        "found treatment phase and criterion course / WHO, expected one with a baseline: course / RECIST 1.1; "
        "course / iRECIST",
    )


def test_a_progression_of_the_liver_that_a_reader_confirms_keeps_its_earlier_date() -> None:
    found = [measured(day, 40.0, "A") for day in SIZES]
    found += [
        replace(doubtful(SECOND, 8.0, NewLesionStatus.EQUIVOCAL), organ="liver"),
        replace(doubtful(THIRD, 14.0, NewLesionStatus.DEFINITE), organ="liver"),
    ]
    # other disease, so that the liver has a basis of its own
    found += [replace(measured(day, 8.0, "A"), lesion_id="L03", organ="lung") for day in SIZES]
    result = respond(
        Patient(patient_id="P", edits=PatientEdits(overrides=(restated(liver_response=Response.PD),))),
        [StudyRecord(patient_id="P", study_date=day) for day in SIZES],
        found,
        RespondSettings(criteria=("RECIST 1.1",)),
    )
    dates = {(row.reader, row.basis): row.progression_date for row in result.summaries}
    assert dates == dict.fromkeys(
        [(reader, basis) for reader in ("A", "adjudicated") for basis in ("liver", "overall")], SECOND
    )


def dates_of(result: ResponseResult) -> dict[tuple[str, str], date | None]:
    return {(row.reader, row.basis): row.progression_date for row in result.summaries}


def test_a_lesion_that_a_reader_does_not_see_at_a_visit_dates_no_progression_there() -> None:
    # doubtful on day 60, where a reader says that nothing is new, and definite on day 120
    result = restated_with_a_new_lesion(restated(SECOND, new_lesions="none"))
    second, third, _ = rows(result, "adjudicated")
    assert (second.overall, second.new_lesions, third.overall, third.dated_from) == ("PR", "none", "PD", None)
    assert "progression_dated_earlier" not in third.flags
    # the doubt of day 60 is settled
    assert "new_lesion_equivocal" in rows(result, "A")[0].flags
    assert "new_lesion_equivocal" not in second.flags
    found = dates_of(result)
    assert (found["A", "overall"], found["adjudicated", "overall"]) == (SECOND, THIRD)


def course_of_a_nodule(
    *overrides: Override,
    organ: str,
    last: str,
    more: tuple[str, ...] = (),
    findings: tuple[Finding, ...] = (),
) -> ResponseResult:
    """Return a stable target, a doubtful nodule of days 60 and 120 with a status on day 180, and other disease."""
    words = {SECOND: "equivocal", THIRD: "equivocal", FOURTH: last}
    found = [measured(day, 40.0, "A") for day in SIZES]
    for name in ("L02", *more):
        days = (SECOND, THIRD, FOURTH) if name == "L02" else (THIRD, FOURTH)
        found += [
            replace(doubtful(day, 9.0, NewLesionStatus(words[day])), organ=organ, lesion_id=name)
            for day in days
        ]
    found += [replace(measured(day, 8.0, "A"), lesion_id="L03", organ="lung") for day in SIZES]
    return respond(
        Patient(patient_id="P", edits=PatientEdits(overrides=overrides), findings=findings),
        [StudyRecord(patient_id="P", study_date=day) for day in SIZES],
        found,
        RespondSettings(criteria=("RECIST 1.1",)),
    )


def test_a_date_that_is_moved_stops_at_the_next_visit_with_the_lesion() -> None:
    own = course_of_a_nodule(organ="lung", last="definite")
    assert dates_of(own)["A", "overall"] == SECOND
    moved = course_of_a_nodule(restated(SECOND, new_lesions="none"), organ="lung", last="definite")
    assert [row.dated_from for row in rows(moved, "adjudicated")] == [None, None, THIRD]
    assert dates_of(moved)["adjudicated", "overall"] == THIRD
    # seen on day 60, not there on day 120: first seen on day 180
    anew = course_of_a_nodule(restated(THIRD, new_lesions="none"), organ="lung", last="definite")
    assert dates_of(anew)["adjudicated", "overall"] == FOURTH
    in_liver = course_of_a_nodule(restated(SECOND, new_lesions="none"), organ="liver", last="definite")
    assert dates_of(in_liver) == {
        ("A", "liver"): SECOND, ("A", "overall"): SECOND,
        ("adjudicated", "liver"): THIRD, ("adjudicated", "overall"): THIRD,
    }  # fmt: skip


def test_a_doubtful_lesion_that_a_reader_calls_definite_is_dated_at_its_first_appearance() -> None:
    # RECIST 1.1: an equivocal lesion that is confirmed dates the progression at its first appearance
    result = course_of_a_nodule(restated(THIRD, new_lesions="definite"), organ="lung", last="equivocal")
    second, third, _ = rows(result, "adjudicated")
    assert (second.overall, third.overall, third.dated_from) == ("SD", "PD", SECOND)
    assert "progression_dated_earlier" in third.flags
    assert "new_lesion_equivocal" not in third.flags
    assert dates_of(result)["adjudicated", "overall"] == SECOND
    # of two that appeared one after the other nobody knows which one is meant
    two = course_of_a_nodule(
        restated(THIRD, new_lesions="definite"), organ="lung", last="equivocal", more=("L04",)
    )
    assert dates_of(two)["adjudicated", "overall"] == THIRD
    # nor whether it is the nodule, or what was reported without a baseline
    spot = Finding(
        patient_id="P",
        date=THIRD,
        kind=FindingKind.EXTRAHEPATIC_LESION,
        status=FindingStatus.STABLE,
        site="rib",
    )
    either = course_of_a_nodule(
        restated(THIRD, new_lesions="definite"), organ="lung", last="equivocal", findings=(spot,)
    )
    assert dates_of(either)["adjudicated", "overall"] == THIRD
    # what is no progression has no date
    stable = course_of_a_nodule(
        restated(THIRD, new_lesions="definite", overall=Response.SD), organ="lung", last="equivocal"
    )
    assert dates_of(stable)["adjudicated", "overall"] is None


def test_what_is_not_new_anywhere_is_not_new_in_the_liver() -> None:
    override = restated(FOURTH, new_lesions="none")
    result = course_of_a_nodule(override, organ="liver", last="definite")
    own, adjudicated = rows(result, "A")[-1], rows(result, "adjudicated")[-1]
    assert (own.liver_response, own.overall) == ("PD", "PD")
    assert (adjudicated.liver_response, adjudicated.overall) == ("SD", "SD")
    assert dates_of(result)["adjudicated", "liver"] is None
    stated = course_of_a_nodule(replace(override, liver_response=Response.PD), organ="liver", last="definite")
    assert rows(stated, "adjudicated")[-1].liver_response == "PD"


def test_the_liver_without_its_new_lesion_needs_a_word_of_irecist() -> None:
    found = [measured(day, 40.0, "A") for day in SIZES]
    found += [replace(doubtful(THIRD, 14.0, NewLesionStatus.DEFINITE), organ="liver")]
    found += [replace(measured(day, 8.0, "A"), lesion_id="L03", organ="lung") for day in SIZES]

    def attempt(**more: Any) -> ResponseResult:
        override = restated(criterion="iRECIST", overall=Response.ISD, new_lesions="none", **more)
        return respond(
            Patient(patient_id="P", edits=PatientEdits(overrides=(override,))),
            [StudyRecord(patient_id="P", study_date=day) for day in SIZES],
            found,
            RespondSettings(criteria=("iRECIST",)),
        )

    with pytest.raises(DataError) as caught:
        attempt()
    assert caught.value.message == REFUSED.format(
        "iRECIST", "column liver_response: found nothing, expected the response by iRECIST"
    )
    assert rows(attempt(liver_response=Response.ISD), "adjudicated")[1].liver_response == "iSD"


def test_a_new_lesion_that_is_restated_as_doubtful_is_flagged_so() -> None:
    result = course_of_a_nodule(restated(FOURTH, new_lesions="equivocal"), organ="liver", last="definite")
    row = rows(result, "adjudicated")[-1]
    assert (row.liver_response, row.overall, row.dated_from) == ("SD", "SD", None)
    assert row.flags == ("new_lesion_equivocal", "restated")
