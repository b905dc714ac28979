"""Manifest and BIDS-like trees become patients; tables are joined; nothing is lost without a word."""

from datetime import date, timedelta

import numpy as np
import pytest

from mrresponse.domain import Agent, ContrastPhase, Grid, Image
from mrresponse.errors import DataError
from mrresponse.ingest import IngestSettings, ingest, read_patient_tables
from mrresponse.nifti import write_image

PLAIN = IngestSettings()
HEADER = "patient_id,study_date,contrast_phase,path"
GRID = Grid(shape=(4, 5, 3), affine_rows=((1.5, 0, 0, 0), (0, 1.5, 0, 0), (0, 0, 3.0, 0)))


def image(path):
    write_image(path, Image(voxels=np.arange(60, dtype=np.float32).reshape(4, 5, 3), grid=GRID))


def manifest(data, *rows, header=HEADER):
    (data / "manifest.csv").write_text("\n".join((header, *rows)) + "\n")


@pytest.fixture
def data(tmp_path):
    folder = tmp_path / "data"
    for name in ("art", "pre", "late", "another"):
        image(folder / f"{name}.nii.gz")
    return folder


@pytest.mark.parametrize("frame", [1, 2])
def test_a_frame_of_a_nifti_file_fails_its_patient(data, frame):
    manifest(
        data,
        f"P1,2024-01-05,ART,art.nii.gz#{frame}",
        "P1,2024-01-05,PRE,pre.nii.gz",
        "P2,2024-01-05,ART,late.nii.gz",
    )
    found = ingest(data, PLAIN)
    assert [patient.patient_id for patient in found.patients] == ["P2"]
    (failure,) = found.failures
    assert (failure.patient_id, failure.study_date, failure.code) == (
        "P1", date(2024, 1, 5), "manifest_mismatch",
    )  # fmt: skip
    assert f"row 2 column path: found frame {frame} of a NIfTI file" in failure.message


def test_a_manifest_becomes_patients_in_order_of_dates(data):
    manifest(
        data,
        "P2,2024-03-01,ART,another.nii.gz,,,x",
        "P1,2024-04-01,ART,late.nii.gz,T1 late,gadoxetate,x",
        "P1,2024-01-05,PRE,pre.nii.gz,,,x",
        "P1,2024-01-05,art,art.nii.gz,,,x",
        header=HEADER + ",series_description,agent,colour",
    )
    found = ingest(data, PLAIN)
    assert [patient.patient_id for patient in found.patients] == ["P1", "P2"]
    assert [study.study_date for study in found.patients[0].studies] == [date(2024, 1, 5), date(2024, 4, 1)]
    first, second = found.patients[0].studies
    assert [item.contrast_phase.value for item in first.series] == ["PRE", "ART"]
    assert (second.series[0].description, second.series[0].agent) == ("T1 late", Agent.GADOXETATE)
    assert second.series[0].slice_thickness_mm == 3.0
    assert found.notes == ("manifest.csv: unknown columns left out: colour",)


@pytest.mark.parametrize(
    ("row", "code", "part"),
    [
        ("P1,2024-01-05,T1,art.nii.gz", "unknown_contrast_phase", "row 3 column contrast_phase: found 'T1'"),
        ("P1,2024-01-05,,art.nii.gz", "unknown_contrast_phase", "found nothing, expected one of PRE, ART"),
        ("P1,05.01.2024,ART,art.nii.gz", "bad_value", "column study_date: found '05.01.2024'"),
        ("P1,2024-01-05,ART,gone.nii.gz", "unreadable", "no such file"),
        ("P1,2024-01-05,ART,../art.nii.gz", "path_outside", "leaves the data folder"),
        ("P1,2024-01-05,ART,x/../../art.nii.gz", "path_outside", "leaves the data folder"),
        ("Jane Doe,2024-01-05,ART,art.nii.gz", "bad_patient_id", "cannot name a folder"),
        ("../P1,2024-01-05,ART,art.nii.gz", "bad_patient_id", "cannot name a folder"),
    ],
)
def test_a_bad_row_fails_its_patient_and_the_others_go_on(data, row, code, part):
    manifest(data, "P9,2024-01-05,ART,art.nii.gz", row)
    found = ingest(data, PLAIN)
    assert [patient.patient_id for patient in found.patients] == ["P9"]
    (failure,) = found.failures
    assert failure.code == code
    assert part in failure.message
    assert failure.patient_id == ("P1" if row.startswith("P1") else "(unnamed)")
    assert "Jane" not in failure.message


@pytest.mark.parametrize(
    "second",
    ["P1,2024-01-05,PRE,./art.nii.gz", "P1,2024-04-05,ART,art.nii.gz", "P1,2024-01-05,ART,art.nii.gz"],
)
def test_one_file_in_two_rows_of_a_patient_is_a_failure(data, second):
    manifest(data, "P1,2024-01-05,ART,art.nii.gz", second, "P2,2024-01-05,ART,late.nii.gz")
    found = ingest(data, PLAIN)
    assert [patient.patient_id for patient in found.patients] == ["P2"]
    assert {(one.patient_id, one.code) for one in found.failures} == {("P1", "manifest_mismatch")}
    messages = {one.message for one in found.failures}
    assert "manifest.csv row 2: manifest.csv row 3 names this file too, expected one" in messages


def test_one_file_for_two_patients_is_noted(data):
    manifest(data, "P1,2024-01-05,ART,art.nii.gz", "P2,2024-01-05,ART,art.nii.gz")
    found = ingest(data, PLAIN)
    assert len(found.patients) == 2
    assert found.notes == ("manifest.csv: files named for more than one patient: 1",)


def test_two_agents_of_one_study_are_not_chosen_between(data):
    manifest(
        data,
        "P1,2024-01-05,PRE,pre.nii.gz,",
        "P1,2024-01-05,ART,art.nii.gz,extracellular",
        "P1,2024-01-05,DEL,late.nii.gz,gadoxetate",
        "P2,2024-01-05,ART,another.nii.gz,gadoxetate",
        header=HEADER + ",agent",
    )
    found = ingest(data, PLAIN)
    assert [patient.patient_id for patient in found.patients] == ["P2"]
    (failure,) = found.failures
    assert (failure.patient_id, failure.study_date, failure.code) == ("P1", date(2024, 1, 5), "two_agents")
    assert "extracellular and gadoxetate are stated for one study" in failure.message


def test_patients_whose_ids_differ_in_case_are_noted(data):
    manifest(data, "P1,2024-01-05,ART,art.nii.gz", "p1,2024-04-05,ART,late.nii.gz")
    found = ingest(data, PLAIN)
    assert [patient.patient_id for patient in found.patients] == ["P1", "p1"]
    assert found.notes == ("patients P1 and p1 are taken for different ones: their ids differ in case",)


@pytest.mark.parametrize("name", ["treatment.csv", "Treatments.csv", "treatments.CSV", "treatments.xlsx"])
def test_a_table_with_a_misspelt_name_is_noted(data, name):
    manifest(data, "P1,2024-01-05,ART,art.nii.gz")
    (data / name).write_text("patient_id,treatment_phase,name,kind,start_date\nP1,a,x,systemic,2024-01-10\n")
    (data / "identities.csv").write_text("dicom_patient_id,patient_id\n")
    (data / "Doe Jane.csv").touch()
    found = ingest(data, PLAIN)
    assert found.patients[0].treatments == ()
    assert found.notes == (f"{name} is not read; did you mean treatments.csv?",)


def test_an_absolute_path_is_believed(data, tmp_path):
    image(tmp_path / "elsewhere.nii.gz")
    manifest(data, f"P1,2024-01-05,ART,{tmp_path / 'elsewhere.nii.gz'}")
    assert len(ingest(data, PLAIN).patients) == 1


def test_a_path_that_no_file_system_could_hold_fails_its_patient(data):
    manifest(data, f"P1,2024-01-05,ART,{'9' * 400}.nii.gz", "P2,2024-01-05,ART,art.nii.gz")
    found = ingest(data, PLAIN)
    assert [(one.patient_id, one.code) for one in found.failures] == [("P1", "unreadable")]
    assert [patient.patient_id for patient in found.patients] == ["P2"]


def test_a_second_other_beside_a_t1_phase_is_left_out_with_a_reason(data):
    manifest(
        data,
        "P1,2024-01-05,ART,art.nii.gz",
        "P1,2024-01-05,OTHER,pre.nii.gz",
        "P1,2024-01-05,OTHER,late.nii.gz",
    )
    found = ingest(data, PLAIN)
    assert len(found.patients[0].studies[0].series) == 2
    assert found.left_out[0].reason == "further series stated as OTHER"


def test_an_empty_folder_has_no_input(tmp_path):
    for folder in (tmp_path, tmp_path / "absent"):
        with pytest.raises(DataError) as caught:
            ingest(folder, PLAIN)
        assert caught.value.code == "no_input"


def test_a_bids_like_tree_is_read(tmp_path):
    image(tmp_path / "sub-01/ses-20240105/anat/sub-01_ses-20240105_ce-ART_T1w.nii.gz")
    image(tmp_path / "sub-01/ses-20240105/anat/sub-01_ses-20240105_acq-venous_T1w.nii.gz")
    image(tmp_path / "sub-01/ses-20240105/anat/sub-01_ses-20240105_T2w.nii.gz")
    image(tmp_path / "sub-01/ses-B/anat/sub-01_ses-B_ce-PRE_T1w.nii.gz")
    (tmp_path / "sub-01/sub-01_sessions.tsv").write_text("session_id\tacq_time\nses-B\t2024-06-07T10:00:00\n")
    image(tmp_path / "sub-02/anat/sub-02_ce-OTHER_T2w.nii.gz")
    (tmp_path / "sub-02/sub-02_scans.tsv").write_text(
        "filename\tacq_time\nanat/sub-02_ce-OTHER_T2w.nii.gz\t2023-02-03\n"
    )
    image(tmp_path / "sub-03/anat/sub-03_ce-ART_T1w.nii.gz")
    image(tmp_path / "sub-04/ses-20240105/anat/sub-04_ses-20240105_T1w.nii.gz")
    found = ingest(tmp_path, PLAIN)
    one, two = found.patients
    assert [study.study_date for study in one.studies] == [date(2024, 1, 5), date(2024, 6, 7)]
    assert [item.contrast_phase.value for item in one.studies[0].series] == ["ART", "PVP"]
    assert one.studies[0].series[0].phase_reason == "file name: ce-ART"
    assert (two.patient_id, two.studies[0].study_date) == ("02", date(2023, 2, 3))
    assert two.studies[0].series[0].contrast_phase is ContrastPhase.OTHER
    assert [item.description for item in found.left_out] == ["T2w"]
    assert {(item.patient_id, item.code) for item in found.failures} == {
        ("03", "no_study_date"),
        ("04", "unknown_contrast_phase"),
    }


@pytest.mark.parametrize("suffix", ["T2w", "dwi", "mask", "dseg", "T1map"])
def test_what_a_bids_suffix_calls_no_t1_image_is_no_contrast_phase(tmp_path, suffix):
    image(tmp_path / "sub-01/ses-20240105/anat/sub-01_ses-20240105_ce-ART_T1w.nii.gz")
    image(tmp_path / f"sub-01/ses-20240105/anat/sub-01_ses-20240105_acq-pre_{suffix}.nii.gz")
    found = ingest(tmp_path, PLAIN)
    assert [item.contrast_phase.value for item in found.patients[0].studies[0].series] == ["ART"]
    assert [item.reason for item in found.left_out] == [
        f"file name: acq-pre, but {suffix} is not T1-weighted"
    ]


@pytest.mark.parametrize(
    ("content", "codes"),
    [
        (
            "filename\tacq_time\tnote\nanat/sub-02_ce-ART_T1w.nii.gz\t2023-02-03\tMüller\n".encode("latin-1"),
            [],
        ),
        (b"filename\tacq_time\n" + b"x" * 200_000 + b"\t2023-02-03\n", ["bad_table"]),
    ],
)
def test_a_table_of_a_bids_like_tree_stops_nobody_else(tmp_path, content, codes):
    image(tmp_path / "sub-01/ses-20240105/anat/sub-01_ses-20240105_ce-ART_T1w.nii.gz")
    image(tmp_path / "sub-02/anat/sub-02_ce-ART_T1w.nii.gz")
    (tmp_path / "sub-02/sub-02_scans.tsv").write_bytes(content)
    found = ingest(tmp_path, PLAIN)
    assert [patient.patient_id for patient in found.patients] == (["01"] if codes else ["01", "02"])
    assert [(one.patient_id, one.code) for one in found.failures] == [("02", code) for code in codes]
    if not codes:
        assert found.patients[1].studies[0].study_date == date(2023, 2, 3)


def test_tables_are_joined_and_sorted(data):
    manifest(data, "P1,2024-01-05,ART,art.nii.gz")
    (data / "patients.csv").write_text("patient_id,death_date\nP1,2025-01-01\nP7,\n")
    (data / "treatments.csv").write_text(
        "patient_id,treatment_phase,name,kind,start_date\n"
        "P1,second,TACE,locoregional,2024-06-01\nP1,first,lenvatinib,systemic,2024-01-10\n"
    )
    (data / "markers.csv").write_text(
        "patient_id,date,name,value,unit,qualifier\nP1,2024-01-01,AFP,400,ng/mL,>\n"
    )
    found = ingest(data, PLAIN)
    (patient,) = found.patients
    assert [treatment.treatment_phase for treatment in patient.treatments] == ["first", "second"]
    assert (patient.death_date, patient.markers[0].qualifier) == (date(2025, 1, 1), ">")
    assert found.notes == ("patients.csv: without a study: P7",)


@pytest.mark.parametrize(
    ("kind", "site", "affects", "is_of_liver"),
    [
        ("vein_thrombus", "portal vein", "", True),
        ("non_target", "liver segment 4", "", True),
        ("non_target", "lung", "", False),
        ("extrahepatic_lesion", "bone", "", False),
        ("vein_thrombus", "", "overall", False),
    ],
)
def test_what_a_finding_affects_follows_from_its_kind_unless_stated(
    tmp_path, kind, site, affects, is_of_liver
):
    (tmp_path / "findings.csv").write_text(
        f"patient_id,date,kind,status,site,affects\nP1,2024-01-05,{kind},present,{site},{affects}\n"
    )
    assert read_patient_tables(tmp_path).findings[0].is_of_liver is is_of_liver


@pytest.mark.parametrize(
    ("table", "content", "code"),
    [
        (
            "treatments.csv",
            "patient_id,treatment_phase,name,kind,start_date\nP1,a,x,systemic,",
            "treatment_without_start",
        ),
        (
            "treatments.csv",
            "patient_id,treatment_phase,name,kind,start_date,end_date\nP1,a,x,systemic,2024-02-01,2024-01-01",
            "bad_value",
        ),
        (
            "treatments.csv",
            "patient_id,treatment_phase,name,kind,start_date\nP1,a,x,chemo,2024-02-01",
            "bad_value",
        ),
        (
            "markers.csv",
            "patient_id,date,name,value,unit,qualifier\nP1,2024-01-01,AFP,4,ng/mL,~",
            "bad_value",
        ),
        ("markers.csv", "patient_id,date,name,value,unit\nP1,2024-01-01,AFP,<4,ng/mL", "bad_value"),
        ("markers.csv", "patient_id,date,name,value,unit\nP1,2024-01-01,AFP,-1,ng/mL", "bad_value"),
        ("findings.csv", "patient_id,date,kind,status,size_mm\nP1,2024-01-01,ascites,new,-3", "bad_value"),
        ("patients.csv", "patient_id,death_date,last_contact_date\nP1,2024-01-01,2024-02-01", "bad_value"),
    ],
)
def test_a_table_row_that_cannot_be_meant_fails_its_patient(data, table, content, code):
    manifest(data, "P1,2024-01-05,ART,art.nii.gz", "P2,2024-01-05,ART,art.nii.gz")
    (data / table).write_text(content + "\n")
    found = ingest(data, PLAIN)
    assert [patient.patient_id for patient in found.patients] == ["P2"]
    assert [(item.patient_id, item.code) for item in found.failures] == [("P1", code)]
    assert found.failures[0].message.startswith(f"{table} row 2")


def test_two_rows_of_one_patient_are_not_chosen_between(data):
    manifest(data, "P1,2024-01-05,ART,art.nii.gz", "P2,2024-01-05,ART,late.nii.gz")
    (data / "patients.csv").write_text(
        "patient_id,death_date,last_contact_date\nP1,,2024-03-01\nP2,,2024-03-01\nP1 ,2024-06-01,\n"
    )
    found = ingest(data, PLAIN)
    assert [patient.patient_id for patient in found.patients] == ["P2"]
    (failure,) = found.failures
    assert (failure.patient_id, failure.code) == ("P1", "bad_value")
    assert failure.message == "patients.csv: found 2 rows of this patient, expected one"


@pytest.mark.parametrize(
    ("death", "treated", "found_on", "drawn", "said"),
    [
        ("2023-01-05", "2023-01-01", "2023-01-01", "2023-01-01", "a study of 2024-01-05"),
        ("2024-02-01", "2024-02-10", "2024-01-05", "2024-01-05", "a treatment of 2024-02-10"),
        ("2024-02-01", "2024-01-10", "2024-03-01", "2024-01-05", "a finding of 2024-03-01"),
        ("2024-02-01", "2024-01-10", "2024-01-05", "2024-02-02", "a marker of 2024-02-02"),
        ("2024-01-05", "2024-01-05", "2024-01-05", "2024-01-05", ""),
    ],
)
def test_nobody_is_imaged_or_treated_or_tested_after_death(data, death, treated, found_on, drawn, said):
    manifest(data, "P1,2024-01-05,ART,art.nii.gz", "P2,2024-01-05,ART,late.nii.gz")
    (data / "patients.csv").write_text(f"patient_id,death_date\nP1,{death}\n")
    (data / "treatments.csv").write_text(
        f"patient_id,treatment_phase,name,kind,start_date\nP1,first,lenvatinib,systemic,{treated}\n"
    )
    (data / "findings.csv").write_text(f"patient_id,date,kind,status\nP1,{found_on},ascites,new\n")
    (data / "markers.csv").write_text(f"patient_id,date,name,value,unit\nP1,{drawn},AFP,12,ng/mL\n")
    found = ingest(data, PLAIN)
    assert [patient.patient_id for patient in found.patients] == (["P2"] if said else ["P1", "P2"])
    messages = [f"patients.csv: death_date {death} is before {said}, expected it on or after"] if said else []
    assert [(one.patient_id, one.code) for one in found.failures] == ([("P1", "bad_value")] if said else [])
    assert [one.message for one in found.failures] == messages


def test_a_table_without_its_columns_stops_everything(data):
    manifest(data, "P1,2024-01-05,ART,art.nii.gz")
    (data / "treatments.csv").write_text("patient_id,name\nP1,x\n")
    with pytest.raises(DataError, match="no column treatment_phase, kind, start_date"):
        ingest(data, PLAIN)


def test_studies_dated_after_today_are_noted(data):
    today, later = date.today(), [date.today() + timedelta(days=1 + at) for at in range(21)]
    days = (today, *later)
    for at in range(len(days)):
        image(data / f"{at}.nii.gz")
    manifest(data, *(f"P1,{day},ART,{at}.nii.gz" for at, day in enumerate(days)))
    found = ingest(data, PLAIN)
    assert [study.study_date for study in found.patients[0].studies] == list(days)
    listed = ", ".join(f"P1 {day}" for day in later[:20])
    assert found.notes == (f"studies dated after today, {today}: {listed} and 1 more; taken as they are",)


def test_files_of_a_bids_like_tree_that_a_manifest_does_not_name_are_counted(tmp_path):
    """The manifest holds for all images: with one line for one file the other patients are not read."""
    names = [
        f"sub-{number}/ses-20240105/anat/sub-{number}_ses-20240105_{entity}T1w.nii.gz"
        for number, entity in (("01", "ce-ART_"), ("02", "ce-ART_"), ("03", ""))
    ]
    for name in names:
        image(tmp_path / name)
    (failure,) = ingest(tmp_path, PLAIN).failures
    assert failure.message.endswith("or a manifest.csv that names every file")
    manifest(tmp_path, f"03,2024-01-05,ART,{names[2]}")
    found = ingest(tmp_path, PLAIN)
    assert [patient.patient_id for patient in found.patients] == ["03"]
    assert found.notes == (
        "manifest.csv names NIfTI files, so the others of the BIDS-like tree are not read: 2",
    )
    manifest(tmp_path, *(f"{at},2024-01-05,ART,{name}" for at, name in enumerate(names)))
    assert ingest(tmp_path, PLAIN).notes == ()
