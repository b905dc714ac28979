"""The edits folder is read, never written, and an edit that cannot be used is a failure that names its place."""

import os
from datetime import date
from pathlib import Path

import pytest

from mrresponse.domain import Patient, Response
from mrresponse.edits import read_edits, with_edits
from mrresponse.errors import DataError

HEADER = (
    "patient_id,treatment_phase,criterion,study_date,reader,reason,assessed_by,overall,new_lesions,when\n"
)
GOOD = "P1,course,mRECIST,2024-04-10,Dr C,perfusion change,reader A,SD,none,2024-05-02\n"


def overrides(folder: Path, text: str) -> Path:
    (folder / "edits").mkdir()
    file = folder / "edits" / "overrides.csv"
    file.write_text(text, encoding="utf-8")
    return file


def test_a_folder_without_edits_has_none(tmp_path: Path) -> None:
    edits = read_edits(tmp_path)
    assert (edits.overrides, edits.failures) == ((), ())


def test_an_override_is_read_with_its_reader_reason_and_date(tmp_path: Path) -> None:
    overrides(tmp_path, HEADER + GOOD)
    (row,) = read_edits(tmp_path).overrides
    assert (row.reader, row.reason, row.assessed_by) == ("Dr C", "perfusion change", "reader A")
    assert (row.overall, row.new_lesions, row.target) == (Response.SD, "none", None)
    assert row.when == date(2024, 5, 2)


def test_an_override_without_a_date_is_dated_by_the_change_of_the_file(tmp_path: Path) -> None:
    file = overrides(tmp_path, HEADER + GOOD.replace("2024-05-02", ""))
    os.utime(file, (1_700_000_000, 1_700_000_000))  # 2023-11-14 22:13:20 UTC
    assert read_edits(tmp_path).overrides[0].when == date(2023, 11, 14)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("SD,none", ",", "row 2: found nothing restated"),
        ("SD,none", "better,none", "row 2 column overall: found 'better', expected one of CR, PR"),
        ("SD,none", "SD,perhaps", "row 2 column new_lesions: found 'perhaps', expected one of none"),
        ("Dr C", "", "row 2 column reader: found nothing"),
        ("perfusion change", "", "row 2 column reason: found nothing"),
        ("2024-04-10", "10.4.2024", "row 2 column study_date: found '10.4.2024', expected a date"),
    ],
)
def test_a_bad_override_fails_its_patient_and_no_other(tmp_path: Path, old: str, new: str, said: str) -> None:
    overrides(tmp_path, HEADER + GOOD.replace(old, new) + GOOD.replace("P1", "P2"))
    edits = read_edits(tmp_path)
    (failure,) = edits.failures
    assert (failure.patient_id, failure.step) == ("P1", "response")
    assert said in failure.message
    patients, failures = with_edits([Patient(patient_id="P1"), Patient(patient_id="P2")], edits)
    assert [(one.patient_id, len(one.edits.overrides)) for one in patients] == [("P2", 1)]
    assert failures == (failure,)


def test_an_override_of_an_unknown_patient_is_a_failure_beside_the_others(tmp_path: Path) -> None:
    overrides(tmp_path, HEADER + GOOD.replace("P1", "P9"))
    patients, failures = with_edits([Patient(patient_id="P1")], read_edits(tmp_path))
    assert [one.patient_id for one in patients] == ["P1"]
    assert [(one.patient_id, one.code) for one in failures] == [("P9", "unknown_patient")]


def test_a_table_without_a_needed_column_is_refused(tmp_path: Path) -> None:
    overrides(tmp_path, "patient_id,overall\nP1,SD\n")
    with pytest.raises(DataError, match="no column treatment_phase, criterion, study_date, reader, reason"):
        read_edits(tmp_path)


def test_a_message_names_the_folder_since_a_run_has_tables_of_the_same_name(tmp_path: Path) -> None:
    edits_table(tmp_path, "measurements.csv", NUMBERS + 'P1,L01,2024-01-05,"20,5",,,,Dr C,seen\n')
    (failure,) = read_edits(tmp_path).failures
    assert failure.message.startswith("edits/measurements.csv row 2 (lesion L01) column longest_diameter_mm")
    edits_table(tmp_path, "measurements.csv", NUMBERS.replace("\n", ",Farbe\n"))
    assert read_edits(tmp_path).notes == ("edits/measurements.csv: unknown columns left out: Farbe",)
    edits_table(tmp_path, "measurements.csv", NUMBERS.replace(",", ";"))
    with pytest.raises(DataError, match=r"^edits/measurements\.csv: separated by ';'"):
        read_edits(tmp_path)


NUMBERS = (
    "patient_id,lesion_id,study_date,longest_diameter_mm,perpendicular_diameter_mm,"
    "viable_longest_diameter_mm,viable_perpendicular_diameter_mm,reader,reason\n"
)


def edits_table(folder: Path, name: str, text: str) -> None:
    (folder / "edits").mkdir(exist_ok=True)
    (folder / "edits" / name).write_text(text, encoding="utf-8")


@pytest.mark.parametrize(
    ("sizes", "said"),
    [
        ("10,20,,", "column perpendicular_diameter_mm: found 20 above longest_diameter_mm 10"),
        ("10,,12,", "column viable_longest_diameter_mm: found 12 above longest_diameter_mm 10"),
        (",,8,9.5", "column viable_perpendicular_diameter_mm: found 9.5 above viable_longest_diameter_mm 8"),
        # a word of the whole lesion holds for its viable part too
        (
            "absent,,12,",
            "column viable_longest_diameter_mm: found a viable part, expected none of a lesion that is abs",
        ),
        (
            "too small,,12,",
            "column viable_longest_diameter_mm: found 12 in a lesion that is too small, expected at m",
        ),
        (
            "not done,,12,",
            "column viable_longest_diameter_mm: found a viable part, expected none of a lesion that is n",
        ),
    ],
)
def test_a_reader_whose_sizes_contradict_each_other_is_told(tmp_path: Path, sizes: str, said: str) -> None:
    rows = f"P1,L01,2024-01-05,{sizes},Dr C,seen\nP2,L01,2024-01-05,20,20,8,8,Dr C,seen\n"
    edits_table(tmp_path, "measurements.csv", NUMBERS + rows)
    edits = read_edits(tmp_path)
    assert [row.patient_id for row in edits.measurements] == ["P2"]
    (failure,) = edits.failures
    assert (failure.patient_id, failure.code) == ("P1", "bad_value")
    assert said in failure.message


def test_a_number_is_of_the_patient_and_lesion_whose_names_have_blanks_around_them(tmp_path: Path) -> None:
    edits_table(tmp_path, "measurements.csv", f"{NUMBERS} P1 , L01,2024-01-05,20,,,,Dr C,seen\n")
    (row,) = read_edits(tmp_path).measurements
    assert (row.patient_id, row.lesion_id) == ("P1", "L01")


def test_a_number_of_a_patient_who_cannot_be_named_is_a_failure(tmp_path: Path) -> None:
    edits_table(tmp_path, "measurements.csv", f"{NUMBERS}Doe Jane,L01,2024-01-05,20,,,,Dr C,seen\n")
    edits = read_edits(tmp_path)
    assert edits.measurements == ()
    assert [(one.patient_id, one.code) for one in edits.failures] == [("(unnamed)", "bad_patient_id")]
    assert "Doe" not in edits.failures[0].message


DECISIONS = "patient_id,lesion_id,treatment_phase,role,new_lesion_status,same_as,reader,reason\n"


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        (
            ("L01,,,definite,", "L01,,,rejected,"),
            "column new_lesion_status: found definite and rejected for L01",
        ),
        (("L02,,,,L01", "L02,,,,L03"), "column same_as: found L01 and L03 for L02"),
        (("L02,one,target,,", "L02,one,excluded,,"), "column role: found excluded and target for L02"),
        (("L02,,target,,", "L02,,non_target,,"), "column role: found non_target and target for L02"),
        # one phase differs from the others, two readers agree, different columns
        (("L02,,target,,", "L02,one,excluded,,"), ""),
        (("L01,,,definite,", "L01,,,definite,"), ""),
        (("L01,,,definite,", "L01,,target,,"), ""),
    ],
)
def test_two_decisions_about_one_lesion_are_not_chosen_between(
    tmp_path: Path, rows: tuple[str, ...], said: str
) -> None:
    text = "".join(f"P1,{row},Dr {number},seen\n" for number, row in enumerate(rows))
    edits_table(tmp_path, "lesions.csv", DECISIONS + text)
    failures = read_edits(tmp_path).failures
    assert [(one.patient_id, one.step) for one in failures] == ([("P1", "response")] if said else [])
    assert all(said in one.message for one in failures)


@pytest.mark.parametrize(
    ("name", "patient_id"),
    [
        ("P1/2024-01-05/lesions.nii", "P1"),
        ("P1/2024-01-05/lesions.dcm", "P1"),
        ("P1/2024-01-05/Lesions.nii.gz", "P1"),
        ("P1/2024-01-05/lesions.seg.nrrd", "P1"),
        ("P1/2024-01-05/tumour.nii.gz", "P1"),
        ("P1/2024-01-05/lesions_corrected.nii", "P1"),
        ("P1/2024-01-05/Segmentation.seg.nrrd", "P1"),
        ("P1/2024-01-05/1-1.dcm", "P1"),
        ("P1/5.1.2024/lesions.nii.gz", "P1"),
        ("P1/lesions.nii.gz", "P1"),
        ("P1/2024-01-05/new/lesions.nii.gz", "P1"),
        ("lesions.nii.gz", "(unnamed)"),
    ],
)
def test_a_corrected_mask_that_would_not_be_read_is_a_failure(
    tmp_path: Path, name: str, patient_id: str
) -> None:
    for file in (name, "P2/2024-01-05/liver.nii.gz", "P2/2024-01-05/scene.mrml", "P2/2024-01-05/.DS_Store"):
        path = tmp_path / "edits" / "masks" / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    edits = read_edits(tmp_path)
    assert [(row.patient_id, row.mask) for row in edits.masks] == [("P2", "liver")]
    (failure,) = edits.failures
    assert (failure.patient_id, failure.code) == (patient_id, "bad_mask_name")
    assert f"found '{Path(name).name}' in the folder" in failure.message


def test_a_dicom_mask_without_a_suffix_is_a_failure(tmp_path: Path) -> None:
    place = tmp_path / "edits" / "masks" / "P1" / "2024-01-05"
    place.mkdir(parents=True)
    (place / "README").write_text("what viewers leave")
    (place / "IM0001").write_bytes(b"\0" * 128 + b"DICM")
    (failure,) = read_edits(tmp_path).failures
    assert (failure.patient_id, failure.code) == ("P1", "bad_mask_name")
    assert "found 'IM0001' in the folder '2024-01-05'" in failure.message


def test_who_corrected_a_mask_that_there_is_not_is_asked_for(tmp_path: Path) -> None:
    header = "patient_id,study_date,mask,reader\n"
    rows = "P1,2024-01-05,lesion,Dr C\nP2,2024-01-05,Lesions,Dr C\n"
    edits_table(tmp_path, "masks.csv", header + rows)
    mask = tmp_path / "edits" / "masks" / "P2" / "2024-01-05" / "lesions.nii.gz"
    mask.parent.mkdir(parents=True)
    mask.touch()
    edits = read_edits(tmp_path)
    assert [(row.patient_id, row.mask, row.reader) for row in edits.masks] == [("P2", "lesions", "Dr C")]
    (failure,) = edits.failures
    assert failure.patient_id == "P1"
    assert (
        failure.message
        == "edits/masks.csv row 2 column mask: found 'lesion', expected one of liver, lesions, viable"
    )


def test_a_mask_that_a_table_names_and_that_is_not_there_is_a_failure(tmp_path: Path) -> None:
    """The mask would otherwise be missing, or stand in the audit without its reader."""
    mask = tmp_path / "edits" / "masks" / "P1" / "2024-01-05" / "lesions.nii.gz"
    mask.parent.mkdir(parents=True)
    mask.touch()
    edits_table(
        tmp_path,
        "masks.csv",
        "patient_id,study_date,mask,reader\nP1,2024-01-05,lesions,Dr C\nP1,2024-01-06,lesions,Dr C\n",
    )
    (failure,) = read_edits(tmp_path).failures
    assert (failure.patient_id, failure.study_date, failure.code) == ("P1", date(2024, 1, 6), "bad_edit")
    assert failure.message == "edits/masks.csv: found no mask masks/P1/2024-01-06/lesions.nii.gz, expected it"


@pytest.mark.parametrize("decision", [",target,,L01", ",,definite,L01"])
def test_a_decision_about_a_lesion_that_is_another_one_is_refused(tmp_path: Path, decision: str) -> None:
    """It is measured as that lesion, so nothing is left that a role or a status could be of."""
    edits_table(tmp_path, "lesions.csv", f"{DECISIONS}P1,L02,{decision},Dr C,moved\n")
    (failure,) = read_edits(tmp_path).failures
    assert (failure.patient_id, failure.code) == ("P1", "bad_value")
    assert (
        "row 2: found same_as L01 beside another decision, expected that in a row of L01" in failure.message
    )


def test_two_readers_of_one_mask_are_not_chosen_between(tmp_path: Path) -> None:
    for name in ("lesions", "liver"):
        mask = tmp_path / "edits" / "masks" / "P1" / "2024-01-05" / f"{name}.nii.gz"
        mask.parent.mkdir(parents=True, exist_ok=True)
        mask.touch()
    header = "patient_id,study_date,mask,reader\n"
    same = "P1,2024-01-05,lesions,Dr C\nP1,2024-01-05,Lesions,Dr C\nP1,2024-01-05,liver,Dr D\n"
    edits_table(tmp_path, "masks.csv", header + same)
    assert read_edits(tmp_path).failures == ()
    edits_table(tmp_path, "masks.csv", header + same + "P1,2024-01-05,lesions,Dr D\n")
    (failure,) = read_edits(tmp_path).failures
    assert (failure.patient_id, failure.study_date, failure.step) == ("P1", date(2024, 1, 5), "images")
    assert (
        failure.message
        == "edits/masks.csv column reader: found Dr C and Dr D for the mask lesions, expected one"
    )


def test_a_file_of_edits_with_a_misspelt_name_is_noted(tmp_path: Path) -> None:
    edits_table(tmp_path, "measurement.csv", NUMBERS)
    edits_table(tmp_path, ".DS_Store", "")
    assert read_edits(tmp_path).notes == (
        "edits/measurement.csv is not read, expected one of lesions.csv, masks, masks.csv, measurements.csv, "
        "overrides.csv",
    )
