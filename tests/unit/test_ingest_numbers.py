"""Typed and stored tables of measurements mean the same; what is no bare number is named."""

from datetime import date, timedelta

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
        ("not done", "8", "measured", "measured", (None, 8.0)),
        ("not done", "too small", "measured", "too_small", (None, None)),
        ("too small", "5", "too_small", "measured", (None, 5.0)),
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
        f"measurements.csv row 2 (lesion L01) column longest_diameter_mm: found {typed.strip(chr(34))!r}, "
        "expected a bare number in mm, too small, not done, not assessable, absent"
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


HEADER = (
    "patient_id,lesion_id,study_date,reader,organ,is_node,state,longest_diameter_mm,perpendicular_diameter_mm,"
    "viable_longest_diameter_mm,volume_ml,viable_state,viable_volume_ml,source"
)


def one_row(tmp_path, **cells):
    columns = HEADER.split(",")
    values = {"patient_id": "P1", "lesion_id": "L01", "study_date": "2024-01-05", **cells}
    return read_numbers(folder(tmp_path, HEADER, ",".join(values.get(column, "") for column in columns)))


@pytest.mark.parametrize(
    ("cells", "said"),
    [
        ({"longest_diameter_mm": "absent", "viable_longest_diameter_mm": "12"}, "viable part"),
        ({"longest_diameter_mm": "0", "volume_ml": "5"}, "column volume_ml: found measured"),
        ({"longest_diameter_mm": "20", "volume_ml": "absent"}, "column volume_ml: found absent"),
        ({"longest_diameter_mm": "16", "perpendicular_diameter_mm": "28"}, "found 28 above longest_diameter_mm 16"),
        (
            {"longest_diameter_mm": "20", "viable_longest_diameter_mm": "30"},
            "column viable_longest_diameter_mm: found 30 above longest_diameter_mm 20, expected at most that",
        ),
        (
            {"state": "measured", "longest_diameter_mm": "20", "viable_longest_diameter_mm": "20.1"},
            "column viable_longest_diameter_mm: found 20.1 above longest_diameter_mm 20",
        ),
        ({"volume_ml": "4", "viable_volume_ml": "5"}, "column viable_volume_ml: found 5 above volume_ml 4"),
        ({"state": "absent", "longest_diameter_mm": "30"}, "found 30 beside state absent, expected no number"),
        ({"state": "not_found", "volume_ml": "3"}, "found 3 beside state not_found, expected no number"),
        ({"state": "not_assessed", "longest_diameter_mm": "0"}, "found 0 beside state not_assessed"),
        ({"state": "measured", "longest_diameter_mm": "0"}, "found 0 beside state measured"),
        ({"state": "too_small", "longest_diameter_mm": "30"}, "found 30 beside state too_small"),
        (
            {"state": "measured", "longest_diameter_mm": "10", "perpendicular_diameter_mm": "20"},
            "column perpendicular_diameter_mm: found 20 above longest_diameter_mm 10",
        ),
        (
            {"state": "measured", "viable_state": "absent", "viable_longest_diameter_mm": "12"},
            "column viable_longest_diameter_mm: found 12 beside state absent",
        ),
        (
            {"state": "measured", "viable_state": "not_assessed", "viable_volume_ml": "0"},
            "column viable_volume_ml: found 0 beside state not_assessed",
        ),
        ({"state": "measured", "longest_diameter_mm": "-30"}, "found -30, expected 0 or more"),
        ({"state": "measured", "viable_longest_diameter_mm": "-3"}, "found -3, expected 0 or more"),
        ({"perpendicular_diameter_mm": "9 mm"}, "found '9 mm', expected a bare number in mm, too small"),
    ],
)  # fmt: skip
def test_what_contradicts_itself_fails_its_patient_and_names_lesion_and_study(tmp_path, cells, said):
    numbers = one_row(tmp_path, **cells)
    assert [patient.patient_id for patient, _, _ in numbers.patients] == ["P2"]
    (failure,) = numbers.failures
    assert said in failure.message
    assert "measurements.csv row 2 (lesion L01)" in failure.message
    assert (failure.patient_id, failure.study_date.isoformat()) == ("P1", "2024-01-05")


def test_a_lesion_that_is_viable_as_a_whole_is_measured(tmp_path):
    cells = {
        "longest_diameter_mm": "20",
        "viable_longest_diameter_mm": "20.0",
        "volume_ml": "4",
        "viable_volume_ml": "4",
    }
    (measurement,) = one_row(tmp_path, **cells).patients[0][2]
    assert (measurement.viable_longest_diameter_mm, measurement.viable_volume_ml) == (20.0, 4.0)


def test_a_state_typed_by_a_person_does_not_make_a_network_of_her(tmp_path):
    numbers = one_row(tmp_path, state="measured", longest_diameter_mm="30")
    (measurement,) = numbers.patients[0][2]
    assert (measurement.reader, measurement.source.value) == ("reader", "reader")


def test_blanks_around_a_name_do_not_make_two_readers(tmp_path):
    (measurement,) = one_row(tmp_path, reader=" reader A ", longest_diameter_mm="30").patients[0][2]
    assert measurement.reader == "reader A"


@pytest.mark.parametrize(
    ("organ", "is_node", "found"),
    [
        ("Liver", "", ("liver", False)),
        (" LIVER ", "", ("liver", False)),
        ("Liver (segment 8)", "", ("liver", False)),
        ("liver S4a", "", ("liver", False)),
        ("Left lobe of the liver", "", ("liver", False)),
        ("liver hilum node", "", ("liver_hilum_node", True)),
        ("liver hilum", "true", ("liver_hilum", True)),
        ("liver vein thrombus", "", ("liver_vein_thrombus", False)),
        ("liverwort", "", ("liverwort", False)),
        ("Lymph node", "", ("lymph_node", True)),
        ("lymph_node", "false", ("lymph_node", False)),
        ("Lymph Nodes", "", ("lymph_nodes", True)),
        ("lymphnode", "", ("lymphnode", True)),
        ("Node", "", ("node", True)),
        ("porta hepatis lymph-node", "", ("porta_hepatis_lymph-node", True)),
        ("peritoneal nodule", "", ("peritoneal_nodule", False)),
        ("Adrenal gland", "", ("adrenal_gland", False)),
        ("", "", ("liver", False)),
    ],
)
def test_an_organ_is_known_however_it_is_spelled(tmp_path, organ, is_node, found):
    (measurement,) = one_row(tmp_path, organ=organ, is_node=is_node, longest_diameter_mm="30").patients[0][2]
    assert (measurement.organ, measurement.is_node) == found


def test_viable_tumour_of_an_organ_that_is_not_known_as_the_liver_is_not_left_out_without_a_word(tmp_path):
    sizes = {"longest_diameter_mm": "30", "viable_longest_diameter_mm": "20"}
    assert one_row(tmp_path, organ="Liver S8", **sizes).notes == ()
    assert one_row(tmp_path, organ="lung", longest_diameter_mm="absent").notes == ()
    assert one_row(tmp_path, organ="Segment 8", **sizes).notes == (
        "measurements.csv: organ 'segment_8' counts as outside the liver, where lesions are measured whole: "
        "its viable sizes are left out",
    )


@pytest.mark.parametrize(
    ("longest", "perpendicular", "state", "reason"),
    [
        ("", "too small", "too_small", ""),
        ("", "absent", "absent", ""),
        ("", "not assessable", "not_assessed", "not assessable"),
        ("30", "not done", "measured", ""),
        ("not done", "20", "measured", ""),
        ("too small", "", "too_small", ""),
    ],
)
def test_a_word_may_stand_in_any_size(tmp_path, longest, perpendicular, state, reason):
    numbers = one_row(tmp_path, longest_diameter_mm=longest, perpendicular_diameter_mm=perpendicular)
    (measurement,) = numbers.patients[0][2]
    assert (measurement.state.value, measurement.reason) == (state, reason)
    assert measurement.longest_diameter_mm == {"30": 30.0}.get(longest, 0.0 if state == "absent" else None)


def test_blanks_around_a_name_do_not_make_two_treatment_phases_or_markers(tmp_path):
    data = folder(tmp_path, HEADER, "P1,L01,2024-01-05,,,,,30,,,,,,")
    (data / "treatments.csv").write_text(
        "patient_id,treatment_phase,name,kind,start_date\n"
        "P1,one,A,systemic,2024-01-06\nP1, one ,B,systemic,2024-01-07\n"
    )
    (data / "markers.csv").write_text(
        "patient_id,date,name,value,unit\nP1,2024-01-05,AFP,20,ng/mL\nP1,2024-02-05,AFP ,10, ng/mL\n"
    )
    patient = read_numbers(data).patients[0][0]
    assert [row.treatment_phase for row in patient.treatments] == ["one", "one"]
    assert {(row.name, row.unit) for row in patient.markers} == {("AFP", "ng/mL")}
    (data / "treatments.csv").write_text(
        "patient_id,treatment_phase,name,kind,start_date\nP1,  ,A,systemic,2024-01-06\n"
    )
    (failure,) = read_numbers(data).failures
    assert "column treatment_phase: found blanks, expected a name" in failure.message


def test_a_death_before_a_study_fails_its_patient(tmp_path):
    (tmp_path / "studies.csv").write_text("patient_id,study_date\nP1,2024-01-05\nP2,2024-01-05\n")
    (tmp_path / "measurements.csv").write_text(
        "patient_id,lesion_id,study_date,longest_diameter_mm\nP1,L01,2024-01-05,20\nP2,L01,2024-01-05,20\n"
    )
    (tmp_path / "patients.csv").write_text("patient_id,death_date\nP1,2023-02-01\nP2,2024-02-01\n")
    numbers = read_numbers(tmp_path)
    assert [patient.patient_id for patient, _, _ in numbers.patients] == ["P2"]
    assert [(one.patient_id, one.code) for one in numbers.failures] == [("P1", "bad_value")]


@pytest.mark.parametrize(
    "cells",
    [
        {"state": "too_small", "longest_diameter_mm": "5", "volume_ml": "0.1"},
        {"state": "measured", "longest_diameter_mm": "20", "viable_state": "absent", "viable_volume_ml": "0"},
        # a reader changed one diameter of a row of a run
        {
            "state": "measured",
            "source": "reader",
            "longest_diameter_mm": "10",
            "perpendicular_diameter_mm": "11",
        },
    ],
)
def test_numbers_that_fit_their_state_are_kept(tmp_path, cells):
    assert one_row(tmp_path, **cells).failures == ()


def test_a_death_of_nobody_and_a_table_of_another_name_are_said(tmp_path):
    data = folder(tmp_path, "patient_id,lesion_id,study_date,longest_diameter_mm", "P1,L01,2024-01-05,20")
    (data / "patients.csv").write_text("patient_id,death_date\nP1,\nP-2,2024-06-01\n")
    (data / "treatment.csv").write_text("patient_id\n")
    (data / "treatment_phases.csv").write_text("patient_id\n")
    assert read_numbers(data).notes == (
        "treatment.csv is not read; did you mean treatments.csv?",
        "patients.csv: without a study: P-2",
    )


def test_a_study_dated_after_today_is_said(tmp_path):
    tomorrow = date.today() + timedelta(days=1)
    data = folder(tmp_path, "patient_id,lesion_id,study_date,longest_diameter_mm", "P1,L01,2024-01-05,20")
    write_rows(
        data / "studies.csv",
        [
            StudyRecord(patient_id="P1", study_date=date(2024, 1, 5)),
            StudyRecord(patient_id="P1", study_date=tomorrow),
        ],
        StudyRecord,
    )
    assert read_numbers(data).notes == (
        f"studies dated after today, {date.today()}: P1 {tomorrow}; taken as they are",
    )
