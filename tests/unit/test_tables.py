"""Rows survive the way to CSV and back; what cannot be read is named by file, row and column."""

import subprocess
import sys
from dataclasses import dataclass, replace
from datetime import date, datetime
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mrresponse.domain import (
    Agent,
    Assessment,
    Caliper,
    ContrastPhase,
    Measurement,
    MeasurementSource,
    MeasurementState,
    NewLesionStatus,
    Observation,
    Response,
    StudyRecord,
    TrackEvent,
)
from mrresponse.errors import DataError
from mrresponse.tables import column_names, format_rows, parse_rows, read_rows, unknown_columns, write_rows

DAY = date(2024, 1, 5)
# A carriage return, quotes, commas and formula signs included; surrogates cannot be written as UTF-8.
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
names = texts.filter(lambda text: text != "")
numbers = st.none() | st.floats(allow_nan=False, allow_infinity=False)
dates = st.dates(min_value=date(1900, 1, 1), max_value=date(2999, 12, 31))
points = st.tuples(*[st.floats(allow_nan=False, allow_infinity=False)] * 3)
calipers = st.none() | st.builds(Caliper, slice_index=st.integers(), start_mm=points, end_mm=points)
maybe_bool = st.none() | st.booleans()


def maybe(kind: type) -> st.SearchStrategy:
    return st.none() | st.sampled_from(list(kind))


measurements = st.builds(
    Measurement,
    patient_id=names,
    lesion_id=names,
    study_date=dates,
    reader=names,
    state=st.sampled_from(list(MeasurementState)),
    reason=texts,
    organ=names,
    is_node=st.booleans(),
    longest_diameter_mm=numbers,
    volume_ml_sd=numbers,
    viable_state=maybe(MeasurementState),
    caliper=calipers,
    viable_perpendicular_caliper=calipers,
    aphe=maybe_bool,
    washout=maybe_bool,
    pattern=st.none() | names,
    new_lesion_status=maybe(NewLesionStatus),
    source=st.sampled_from(list(MeasurementSource)),
)
assessments = st.builds(
    Assessment,
    patient_id=names,
    treatment_phase=names,
    criterion=names,
    study_date=dates,
    reader=names,
    is_baseline=st.booleans(),
    baseline_burden=numbers,
    burden_unit=names,
    overall=maybe(Response),
    reason=texts,
    flags=st.lists(texts, max_size=4).map(tuple),
)
studies = st.builds(
    StudyRecord,
    patient_id=names,
    study_date=dates,
    contrast_phases=st.lists(st.sampled_from(list(ContrastPhase)), max_size=4).map(tuple),
    agent=maybe(Agent),
    field_strength_t=numbers,
    reference_phase=maybe(ContrastPhase),
    lesions_assessable=maybe_bool,
    reason=texts,
    for_symptoms=maybe_bool,
)


def come_back(folder: Path, rows: list, row_type: type) -> None:
    write_rows(folder / "rows.csv", rows, row_type)
    assert read_rows(folder / "rows.csv", row_type) == tuple(rows)


@given(st.lists(measurements, max_size=2))
@settings(max_examples=60)
def test_measurements_come_back_exactly(tmp_path_factory, rows):
    come_back(tmp_path_factory.mktemp("table"), rows, Measurement)


@given(st.lists(assessments, max_size=2))
@settings(max_examples=60)
def test_assessments_come_back_exactly(tmp_path_factory, rows):
    come_back(tmp_path_factory.mktemp("table"), rows, Assessment)


@given(st.lists(studies, max_size=2))
@settings(max_examples=60)
def test_studies_come_back_exactly(tmp_path_factory, rows):
    come_back(tmp_path_factory.mktemp("table"), rows, StudyRecord)


def test_a_row_is_written_as_people_read_it():
    row = StudyRecord(
        patient_id="P1",
        study_date=DAY,
        contrast_phases=(ContrastPhase.PRECONTRAST, ContrastPhase.ARTERIAL),
        agent=Agent.GADOXETATE,
        field_strength_t=3.0,
        slice_thickness_mm=2.5,
        lesions_assessable=True,
        reason="thin, clear",
    )
    assert format_rows([row], StudyRecord).splitlines()[1] == (
        'P1,2024-01-05,PRE;ART,gadoxetate,3,2.5,,,,,true,"thin, clear",'
    )


def test_a_caliper_is_seven_columns():
    assert column_names(Measurement)[column_names(Measurement).index("caliper_slice_index") :][:7] == (
        "caliper_slice_index",
        "caliper_start_x_mm",
        "caliper_start_y_mm",
        "caliper_start_z_mm",
        "caliper_end_x_mm",
        "caliper_end_y_mm",
        "caliper_end_z_mm",
    )


@pytest.mark.parametrize("text", ["=1+1", "+49", "-x", "@sum", "\tx", "'=1", "''-"])
def test_text_that_a_spreadsheet_would_calculate_is_written_behind_an_apostrophe(tmp_path, text):
    row = StudyRecord(patient_id="P1", study_date=DAY, reason=text)
    write_rows(tmp_path / "t.csv", [row], StudyRecord)
    assert f"'{text}" in (tmp_path / "t.csv").read_text()
    assert read_rows(tmp_path / "t.csv", StudyRecord) == (row,)


def test_a_negative_number_is_not_behind_an_apostrophe():
    row = Assessment(
        patient_id="P", treatment_phase="c", criterion="m", study_date=DAY, reader="r", change_from_nadir=-0.3
    )
    assert ",-0.3," in format_rows([row], Assessment)


def test_a_point_and_whole_numbers_come_back(tmp_path):
    row = Observation(study_date=DAY, event=TrackEvent.SPLIT, labels=(3, 7), place_mm=(1.5, -2.0, 0.1))
    write_rows(tmp_path / "t.csv", [row], Observation)
    assert read_rows(tmp_path / "t.csv", Observation) == (row,)


def test_the_same_rows_give_the_same_bytes(tmp_path):
    row = StudyRecord(patient_id="P1", study_date=DAY)
    for name in ("a.csv", "b.csv"):
        write_rows(tmp_path / name, [row], StudyRecord)
    assert (tmp_path / "a.csv").read_bytes() == (tmp_path / "b.csv").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.csv", "b.csv"]


def test_not_a_number_is_never_written(tmp_path):
    row = StudyRecord(patient_id="P1", study_date=DAY, liver_volume_ml=float("nan"))
    with pytest.raises(ValueError, match="missing is None"):
        write_rows(tmp_path / "t.csv", [row], StudyRecord)
    assert list(tmp_path.iterdir()) == []


A_DATE = "a date YYYY-MM-DD from 1900 to 2999"


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        ("P1,2024-13-01,,", "t.csv row 2 column study_date: found '2024-13-01', expected " + A_DATE),
        ("P1,20240105,,", "t.csv row 2 column study_date: found '20240105', expected " + A_DATE),
        ("P1,,,", "t.csv row 2 column study_date: found nothing, expected " + A_DATE),
        ("P1,0001-01-01,,", "t.csv row 2 column study_date: found '0001-01-01', expected " + A_DATE),
        ("P1,9999-12-31,,", "t.csv row 2 column study_date: found '9999-12-31', expected " + A_DATE),
        (",2024-01-05,,", "t.csv row 2 column patient_id: found nothing, expected text"),
        (
            'P1,2024-01-05,"3,0",',
            "t.csv row 2 column field_strength_t: found '3,0', expected a number with a dot as decimal sign",
        ),
        (
            "P1,2024-01-05,nan,",
            "t.csv row 2 column field_strength_t: found 'nan', expected a number with a dot as decimal sign",
        ),
        (
            "P1,2024-01-05,,magnevist",
            "t.csv row 2 column agent: found 'magnevist', expected one of extracellular, gadoxetate",
        ),
        ("P1,2024-01-05", "t.csv row 2: found 2 cells, expected 4 as in the header"),
    ],
)
def test_a_bad_cell_is_named_with_what_was_found_and_expected(tmp_path, cells, message):
    path = tmp_path / "t.csv"
    path.write_text(f"patient_id,study_date,field_strength_t,agent\n{cells}\n")
    with pytest.raises(DataError) as caught:
        read_rows(path, StudyRecord)
    assert caught.value.message == message
    assert caught.value.code == "bad_value"


@pytest.mark.parametrize(
    ("content", "part"),
    [
        (b"study_date\n", "no column patient_id"),
        (b"patient_id;study_date\n", "separated by ';', expected ','"),
        (b"patient_id,study_date,patient_id\n", "column patient_id stands twice"),
        (b"", "found nothing"),
        ("patient_id,study_date\nJosé,2024-01-05\n".encode("latin-1"), "not UTF-8"),
        (b'patient_id,study_date\n"P1,2024-01-05\n', "expected comma-separated values"),
    ],
)
def test_a_file_that_is_no_table_is_refused_as_a_whole(tmp_path, content, part):
    (tmp_path / "t.csv").write_bytes(content)
    with pytest.raises(DataError, match=part) as caught:
        read_rows(tmp_path / "t.csv", StudyRecord)
    assert caught.value.code == "bad_table"


def test_a_bad_row_leaves_the_others(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("patient_id,study_date\nP1,2024-01-05\nP2,soon\n,\nP3,2024-01-07\n")
    rows = list(parse_rows(path, StudyRecord))
    assert [number for number, _ in rows] == [2, 3, 5]
    assert isinstance(rows[1][1], DataError)
    assert rows[1][1].patient_id == "P2"
    assert rows[2][1] == StudyRecord(patient_id="P3", study_date=date(2024, 1, 7))


def test_files_from_spreadsheets_are_read(tmp_path):
    path = tmp_path / "t.csv"
    path.write_bytes(
        "\ufeffstudy_date, patient_id ,colour,agent\r\n2024-01-05,P1,red,Gadoxetate\r\n".encode()
    )
    assert read_rows(path, StudyRecord) == (
        StudyRecord(patient_id="P1", study_date=DAY, agent=Agent.GADOXETATE),
    )
    assert unknown_columns(path, StudyRecord) == ("colour",)


def test_a_caliper_that_is_half_there_is_refused(tmp_path):
    row = Measurement(
        patient_id="P", lesion_id="L", study_date=DAY, reader="r", state=MeasurementState.MEASURED
    )
    whole = replace(row, caliper=Caliper(slice_index=4, start_mm=(1.0, 2.0, 3.0), end_mm=(4.0, 5.0, 6.5)))
    path = tmp_path / "t.csv"
    path.write_text(format_rows([whole], Measurement).replace("6.5", ""))
    with pytest.raises(DataError, match="expected all or none"):
        read_rows(path, Measurement)


def test_times_and_paths_come_back(tmp_path):
    @dataclass(frozen=True)
    class Row:
        when: datetime
        where: Path

    row = Row(datetime(2024, 1, 5, 10, 15), Path("a/b c"))
    write_rows(tmp_path / "t.csv", [row], Row)
    assert read_rows(tmp_path / "t.csv", Row) == (row,)


def test_the_numbers_half_loads_no_heavy_library():
    heavy = "torch SimpleITK nibabel pydicom pandas monai"
    code = (
        "import sys, mrresponse.tables, mrresponse.ingest.numbers; "
        f"sys.exit(','.join(set('{heavy}'.split()) & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stderr.strip() == ""
