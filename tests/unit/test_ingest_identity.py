"""Pseudonyms are stable with the key, different without it, and never reveal an id."""

import pytest

from mrresponse.errors import ConfigError, DataError
from mrresponse.ingest import IngestSettings, ingest
from mrresponse.ingest.identity import DicomPatient, name_patients, pseudonym, read_identities
from tests.dicom_files import SeriesPlan, write_series

ANNA, BERT = DicomPatient(identifier="4711"), DicomPatient(identifier="4712")
EXPECTED = "P-SEZ53LEADA"


def test_a_key_file_is_made_once_for_its_owner_only(tmp_path):
    key = tmp_path / "mrresponse.key"
    first = name_patients({"a": ANNA}, {}, tmp_path, key)
    assert len(key.read_bytes()) == 32
    assert key.stat().st_mode & 0o777 == 0o600
    assert name_patients({"b": BERT, "a": ANNA}, {}, tmp_path, key)["a"] == first["a"]
    assert [path.name for path in tmp_path.iterdir()] == ["mrresponse.key"]


def test_a_pseudonym_is_the_published_keyed_hash():
    # python -c "import hmac,hashlib,base64; print(base64.b32encode(hmac.new(bytes(32), b'4711\0', 'sha256').digest()))"
    assert pseudonym(ANNA, bytes(32)) == EXPECTED
    assert pseudonym(ANNA, bytes([1] * 32)) != EXPECTED
    assert pseudonym(DicomPatient(identifier="4711", issuer="B"), bytes(32)) != EXPECTED


def test_names_of_the_user_come_before_the_hash_and_need_no_key(tmp_path):
    (tmp_path / "identities.csv").write_text("dicom_patient_id,patient_id\n4711,P001\n4712,P002\n")
    names = name_patients({"a": ANNA, "b": BERT}, {"b": "STATED"}, tmp_path, tmp_path / "key")
    assert names == {"a": "P001", "b": "STATED"}
    assert not (tmp_path / "key").exists()


@pytest.mark.parametrize("rows", ["4711,P001\n4711,P002\n", "4711,Jane Doe\n", "4711,\n", "4711,../up\n"])
def test_bad_identities_are_refused_without_repeating_them(tmp_path, rows):
    (tmp_path / "identities.csv").write_text(f"dicom_patient_id,patient_id\n{rows}")
    with pytest.raises(DataError) as caught:
        read_identities(tmp_path)
    assert "4711" not in str(caught.value)
    assert "Jane" not in str(caught.value)


def test_a_key_that_cannot_be_made_or_is_no_key_stops_everything(tmp_path):
    with pytest.raises(ConfigError, match="key_file"):
        name_patients({"a": ANNA}, {}, tmp_path, tmp_path / "absent" / "key")
    (tmp_path / "short").write_bytes(b"abc")
    with pytest.raises(ConfigError, match="3 bytes, expected 32"):
        name_patients({"a": ANNA}, {}, tmp_path, tmp_path / "short")


def test_two_patients_never_share_a_hashed_pseudonym(tmp_path):
    (tmp_path / "key").write_bytes(bytes(32))
    with pytest.raises(DataError) as caught:
        name_patients({"a": ANNA, "b": BERT}, {"b": EXPECTED}, tmp_path, tmp_path / "key")
    assert caught.value.code == "pseudonym_collision"


def test_rows_that_name_nobody_in_the_data_are_told_by_number_and_pseudonym(tmp_path):
    write_series(tmp_path / "a", SeriesPlan(patient="004711"))
    table = tmp_path / "identities.csv"
    # a spreadsheet took the zeros away
    table.write_text("dicom_patient_id,patient_id,ward\n4711,P001,\n,,\n4712 ,P002,\n")
    found = ingest(tmp_path, IngestSettings())
    assert found.notes == (
        "identities.csv: unknown columns left out: ward",
        "identities.csv: no DICOM patient in the data has the id of row 2 (P001), row 4 (P002)",
    )
    table.write_text("dicom_patient_id,patient_id\n 004711,P001\n")
    found = ingest(tmp_path, IngestSettings())
    assert found.notes == ()
    assert found.patients[0].patient_id == "P001"


def test_a_name_of_the_list_that_gives_way_to_the_manifest_is_noted(tmp_path):
    (file, *_) = write_series(tmp_path / "a", SeriesPlan(patient="004711"))
    (tmp_path / "identities.csv").write_text("dicom_patient_id,patient_id\n004711,P001\n")
    table = tmp_path / "manifest.csv"
    table.write_text(f"patient_id,study_date,contrast_phase,path\nP002,2024-01-05,ART,a/{file.name}\n")
    found = ingest(tmp_path, IngestSettings())
    assert [patient.patient_id for patient in found.patients] == ["P002"]
    assert found.notes == (
        "manifest.csv says P002 of a DICOM patient whom identities.csv calls P001; P002 is taken",
    )
    table.write_text(f"patient_id,study_date,contrast_phase,path\nP001,2024-01-05,ART,a/{file.name}\n")
    assert ingest(tmp_path, IngestSettings()).notes == ()
