"""An assessment restated by a reader stands beside the reader's own, and everything after it follows."""

from datetime import date, timedelta
from typing import Any

import pytest

from mrresponse.domain import (
    Assessment,
    Finding,
    FindingKind,
    FindingStatus,
    Measurement,
    MeasurementSource,
    MeasurementState,
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
