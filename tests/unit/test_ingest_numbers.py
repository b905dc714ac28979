"""Typed and stored tables of measurements mean the same; what is no bare number is named."""

from datetime import date

import pytest

from mrresponse.domain import Measurement, MeasurementSource, MeasurementState, StudyRecord
from mrresponse.errors import DataError
from mrresponse.ingest.numbers import read_numbers
from mrresponse.tables import write_rows

DAY = date(2024, 1, 5)


def folder(tmp_path, header, *rows):
    (tmp_path / "studies.csv").write_text(
        "patient_id,study_date\nP1,2024-01-05\nP1,2024-04-05\nP2,2024-01-05\n"
    )
    (tmp_path / "measurements.csv").write_text("\n".join((header, *rows)) + "\n")
    return tmp_path


@pytest.mark.parametrize(
    ("longest", "viable", "state", "viable_state", "numbers"),
    [
        ("12.5", "", "measured", None, (12.5, None)),
        ("12.5", "0", "measured", "absent", (12.5, 0.0)),
        ("12.5", "absent", "measured", "absent", (12.5, 0.0)),
        ("12.5", ".5", "measured", "measured", (12.5, 0.5)),
        ("", "8", "measured", "measured", (None, 8.0)),
        ("", "absent", "measured", "absent", (None, 0.0)),
        ("Too small", "", "too_small", None, (None, None)),
        ("absent", "", "absent", "absent", (0.0, 0.0)),
        ("0", "", "absent", "absent", (0.0, 0.0)),
        ("not done", "", "not_assessed", None, (None, None)),
        ("30", "not assessable", "measured", "not_assessed", (30.0, None)),
        ("", "", "not_assessed", None, (None, None)),
    ],
)
def test_the_state_follows_from_what_was_typed(tmp_path, longest, viable, state, viable_state, numbers):
    header = "patient_id,lesion_id,study_date,longest_diameter_mm,viable_longest_diameter_mm"
    data = folder(tmp_path, header, f"P1,L01,2024-01-05,{longest},{viable}")
    row = read_numbers(data).patients[0][2][0]
    assert row.state.value == state
    assert (row.viable_state and row.viable_state.value) == viable_state
    assert (row.longest_diameter_mm, row.viable_longest_diameter_mm) == numbers
    assert (row.reader, row.source) == ("reader", MeasurementSource.READER)
    assert (row.reason != "") == (state == "not_assessed")


@pytest.mark.parametrize("typed", ["12mm", "<5", "1e2", "-1", "n/a", '"12,5"', "nan"])
def test_anything_else_fails_its_patient_with_a_message(tmp_path, typed):
    header = "patient_id,lesion_id,study_date,longest_diameter_mm"
    data = folder(tmp_path, header, f"P1,L01,2024-01-05,{typed}", "P2,L01,2024-01-05,20")
    numbers = read_numbers(data)
    assert [patient.patient_id for patient, _, _ in numbers.patients] == ["P2"]
    (failure,) = numbers.failures
    assert failure.message == (
        f"measurements.csv row 2 column longest_diameter_mm: found {typed.strip(chr(34))!r}, expected a bare number "
        "in mm, too small, not done, not assessable, absent"
    )


def test_stored_rows_come_back_exactly_and_patients_without_lesions_too(tmp_path):
    studies = (
        StudyRecord(patient_id="P1", study_date=DAY, lesions_assessable=True),
        StudyRecord(patient_id="P2", study_date=DAY),
    )
    rows = (
        Measurement(
            patient_id="P1",
            lesion_id="L01",
            study_date=DAY,
            reader="net 0.1",
            state=MeasurementState.NOT_FOUND,
            viable_volume_ml_sd=1e-05,
        ),
    )
    write_rows(tmp_path / "studies.csv", studies, StudyRecord)
    write_rows(tmp_path / "measurements.csv", rows, Measurement)
    (_, *first), (patient, *second) = read_numbers(tmp_path).patients
    assert first == [studies[:1], rows]
    assert second == [studies[1:], ()]
    assert patient.studies[0].study_date == DAY


@pytest.mark.parametrize(
    ("row", "code"),
    [
        ("P1,L01,2024-02-02,9", "unknown_study"),
        ("P1,L01,2024-01-05,9\nP1,L01,2024-01-05,8", "two_measurements"),
        ("P1,,2024-01-05,9", "bad_value"),
        ("P9,L01,2024-01-05,9", "unknown_patient"),
    ],
)
def test_rows_that_fit_no_study_are_failures(tmp_path, row, code):
    numbers = read_numbers(folder(tmp_path, "patient_id,lesion_id,study_date,longest_diameter_mm", row))
    assert [failure.code for failure in numbers.failures] == [code]
    assert len(numbers.patients) == (2 if code == "unknown_patient" else 1)


def test_two_rows_for_one_study_are_a_failure(tmp_path):
    (tmp_path / "studies.csv").write_text("patient_id,study_date\nP1,2024-01-05\nP1,2024-01-05\n")
    (tmp_path / "measurements.csv").write_text("patient_id,lesion_id,study_date\n")
    numbers = read_numbers(tmp_path)
    assert numbers.patients == ()
    assert [failure.code for failure in numbers.failures] == ["two_studies"]


def test_a_folder_without_studies_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"studies\.csv: cannot be read"):
        read_numbers(tmp_path)
