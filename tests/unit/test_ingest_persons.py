"""One DICOM patient id for several people never makes a course of them, and nothing of a person is kept."""

import pytest

from mrresponse.ingest import IngestSettings, index, ingest
from mrresponse.ingest.check import write_identities, write_manifest
from mrresponse.ingest.headers import read_headers
from mrresponse.ingest.tree import CACHE
from tests.dicom_files import SeriesPlan, alter, write_dynamic, write_series

PLAIN = IngestSettings()
DAYS = ("20240105", "20240405", "20240705")
HEAD = "patient_id,study_date,contrast_phase,path\n"


def studies(data, *persons, patient="ANONYMOUS"):
    """Write a study for each person; returns the manifest rows that name a series of each, without the patient."""
    rows = []
    for day, person in zip(DAYS, persons, strict=False):
        write_dynamic(data / day, patient=patient, study=day, study_date=day, extra=person)
        rows.append(f"{day[:4]}-{day[4:6]}-{day[6:]},ART,{day}/0004")
    return rows


def states(sex="", born="", name="X"):
    return {"PatientSex": sex, "PatientBirthDate": born, "PatientName": name}


@pytest.mark.parametrize(
    ("persons", "said"),
    [
        ([states("F", "19500203"), states("M", "19410706")], "PatientSex and PatientBirthDate that differ"),
        ([states("F"), states("M")], "found PatientSex that differ between 2 MR studies"),
        (
            [states("F", "19500203"), states("F", "19410706"), states()],
            "PatientBirthDate that differ between 3",
        ),
    ],
)
def test_studies_of_several_people_under_one_id_are_no_patient(tmp_path, persons, said):
    studies(tmp_path, *persons)
    write_dynamic(tmp_path / "other", patient="HOSP-1")
    found = ingest(tmp_path, PLAIN)
    (failure,) = found.failures
    assert failure.code == "several_persons"
    assert said in failure.message
    assert [len(patient.studies) for patient in found.patients] == [1]
    assert failure.patient_id not in {patient.patient_id for patient in found.patients}
    shown = repr((found.failures, found.notes, found.left_out, found.patients))
    assert not any(secret in shown for secret in ("ANONYMOUS", "19500203", "1950-02-03", "19410706"))


@pytest.mark.filterwarnings("ignore:Invalid value for VR")
@pytest.mark.parametrize(
    "persons",
    [
        [states("F", "19500203"), states("", ""), states("O", "19000101")],
        [states("f", "1950.02.03"), states("F ", "19500203"), states("F", "00010101")],
        [states("F", "19500203", "Doe^Jane"), states("F", "19500203", "Roe^Jane")],
        [states("F", "", "Doe^Jane"), states("F", "", "JANE  DOE=X"), states("F", "", "")],
    ],
)
def test_what_is_not_stated_or_written_otherwise_contradicts_nothing(tmp_path, persons):
    studies(tmp_path, *persons)
    found = ingest(tmp_path, PLAIN)
    assert found.failures == ()
    assert found.notes == ()
    assert [len(patient.studies) for patient in found.patients] == [len(persons)]


def test_names_that_differ_are_noted_where_no_date_of_birth_confirms_them(tmp_path):
    studies(tmp_path, states("F", "", "Doe^Jane"), states("F", "", "Roe^Ann"))
    found = ingest(tmp_path, PLAIN)
    (patient,) = found.patients
    (note,) = found.notes
    assert note.startswith(f"{patient.patient_id}: 2 different PatientName under one PatientID")
    assert not any(word in note.lower() for word in ("doe", "roe", "jane", "ann,"))


def test_a_manifest_tells_people_under_one_id_apart(tmp_path):
    anna, bert = states("F", "19500203"), states("M", "19410706")
    first, second, third = studies(tmp_path, anna, bert, anna)
    (tmp_path / "manifest.csv").write_text(f"{HEAD}A,{first}\nB,{second}\nA,{third}\n")
    found = ingest(tmp_path, PLAIN)
    assert found.failures == ()
    assert found.notes == ()
    assert {one.patient_id: len(one.studies) for one in found.patients} == {"A": 2, "B": 1}
    assert all(len(study.series) == 4 for one in found.patients for study in one.studies)
    write_identities(tmp_path / "list.csv", found)
    assert (tmp_path / "list.csv").read_text().splitlines() == ["dicom_patient_id,patient_id"]


def test_studies_that_the_manifest_gives_to_one_person_are_taken_with_a_note(tmp_path):
    rows = studies(tmp_path, states("F", "19500203"), states("F", "19410706"))
    (tmp_path / "manifest.csv").write_text(HEAD + "".join(f"A,{row}\n" for row in rows))
    found = ingest(tmp_path, PLAIN)
    assert found.failures == ()
    assert found.notes == (
        "A: studies differ in PatientBirthDate; taken for one person, as manifest.csv says",
    )
    assert [len(one.studies) for one in found.patients] == [2]


def test_a_manifest_that_leaves_a_study_open_fails_all_whose_it_may_be(tmp_path):
    first, second, _ = studies(tmp_path, states("F"), states("M"), states("F"))
    (tmp_path / "manifest.csv").write_text(f"{HEAD}A,{first}\nB,{second}\n")
    (tmp_path / "identities.csv").write_text("dicom_patient_id,patient_id\nANONYMOUS,C\n")
    found = ingest(tmp_path, PLAIN)
    assert found.patients == ()
    assert [(failure.patient_id, failure.code) for failure in found.failures] == [
        (name, "several_persons") for name in "ABC"
    ]


def test_the_inferred_manifest_does_not_answer_the_question(tmp_path):
    studies(tmp_path, states("F"), states("M"))
    for _ in range(2):
        found = ingest(tmp_path, PLAIN)
        assert [failure.code for failure in found.failures] == ["several_persons"]
        write_manifest(tmp_path / "manifest.csv", found)
        write_identities(tmp_path / "identities.csv", found)


def test_people_without_id_and_study_uid_of_their_own_are_never_mixed(tmp_path):
    studies(tmp_path, states("F"), states("M"))
    for path in tmp_path.rglob("IM*"):
        alter(path, StudyInstanceUID=None, StudyDate=None)
    rows = [f"A,2024-01-05,ART,{DAYS[0]}/0004\n"]
    (tmp_path / "manifest.csv").write_text(HEAD + "".join(rows))
    assert ingest(tmp_path, PLAIN).patients == ()


def test_the_index_holds_nothing_of_a_person(tmp_path, monkeypatch):
    monkeypatch.setattr(index, "_SMALLEST", 2)
    studies(tmp_path, states("F", "19500203", "Doe^Jane"), states("M", "19410706", "Roe^John"))
    first = ingest(tmp_path, PLAIN)
    kept = (tmp_path / CACHE / "scan.jsonl").read_text().lower()
    # whole dates: four digits are in a time of change now and then
    assert not any(secret in kept for secret in ("19500203", "19410706", "doe", "roe", "jane", "john"))
    # read again from the index, and from one of the earlier format
    again = ingest(tmp_path, PLAIN)
    assert again.failures == first.failures
    lines = kept.splitlines()
    (tmp_path / CACHE / "scan.jsonl").write_text("\n".join(["mrresponse scan 4", *lines[1:]]))
    assert ingest(tmp_path, PLAIN).failures == first.failures


def test_few_digits_of_a_digest_are_kept_and_differ_from_id_to_id(tmp_path):
    marks = set()
    for number in range(40):
        plan = SeriesPlan(patient=f"P{number}", slices=1, extra=states("F", "19500203", "Doe^Jane"))
        (path,) = write_series(tmp_path / str(number), plan)
        person = read_headers(path).slices[0].person
        assert all(len(mark) == 2 for mark in (person.sex, person.birth_date, person.name))
        marks.add(person.birth_date)
    assert len(marks) > 20
