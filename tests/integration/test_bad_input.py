"""Bad input gives one clear message for the patient it belongs to, and the other patients go on."""

from datetime import date

import nibabel
import numpy as np
import pytest

from mrresponse.errors import DataError
from mrresponse.ingest import IngestSettings, ingest, read_series
from tests.dicom_files import CORONAL, SECRETS, SeriesPlan, alter, write_dynamic, write_series

PLAIN = IngestSettings()
GOOD = {"patient": "HOSP-1", "study": "good"}


def outcome(data):
    """Ingest a folder and read every series: the codes of what failed, and how many patients are left."""
    found = ingest(data, PLAIN)
    failures = [(item.code, item.message) for item in found.failures]
    alive = 0
    for patient in found.patients:
        try:
            for study in patient.studies:
                for series in study.series:
                    read_series(series, patient_id=patient.patient_id, study_date=study.study_date)
            alive += 1
        except DataError as error:
            failures.append((error.code, str(error)))
    for _, message in failures:
        assert "/" not in message
        assert not any(secret in message for secret in SECRETS)
    return failures, alive


def dropped_slice(data):
    write_dynamic(data / "bad")["ART"][2].unlink()


def turned_slice(data):
    alter(write_dynamic(data / "bad")["ART"][2], ImageOrientationPatient=list(CORONAL))


def two_studies(data):
    write_dynamic(data / "bad")
    write_dynamic(data / "bad2", study="second", uid="x")


def unknown_phase(data):
    write_dynamic(data / "bad")
    write_series(data / "odd", SeriesPlan(number=9, description="t1_vibe_fs_tra"))


def computed_tomography(data):
    write_series(data / "bad", SeriesPlan(extra={"Modality": "CT"}))


def truncated_pixels(data):
    file = write_dynamic(data / "bad")["PVP"][1]
    file.write_bytes(file.read_bytes()[:-9])


def one_slice(data):
    write_series(data / "bad", SeriesPlan(slices=1))


def zero_spacing(data):
    write_dynamic(data / "bad", spacing=(0.0, 1.0, 3.0))


def no_position(data):
    alter(write_dynamic(data / "bad")["ART"][2], ImagePositionPatient=None)


def twice_the_same_place(data):
    files = write_dynamic(data / "bad")["ART"]
    alter(files[2], ImagePositionPatient=[-20.0, 30.0, -50.0])


def uneven_slices(data):
    alter(write_dynamic(data / "bad")["ART"][2], ImagePositionPatient=[-20.0, 30.0, -43.8])


def other_size(data):
    alter(write_dynamic(data / "bad")["ART"][2], Rows=6, Columns=5)


def no_patient_id(data):
    write_dynamic(data / "bad", patient="")


def no_study_date(data):
    write_dynamic(data / "bad", study_date="")


def multiframe(data):
    write_dynamic(data / "bad", extra={"SOPClassUID": "1.2.840.10008.5.1.4.1.1.4.1", "NumberOfFrames": 4})


def two_arterial(data):
    write_dynamic(data / "bad")
    write_series(data / "bad", SeriesPlan(number=8, description="t1_vibe_fs_tra_art", time="101010"))


def nothing_usable(data):
    write_series(data / "bad", SeriesPlan(description="t2_haste"))


@pytest.mark.parametrize(
    ("spoil", "code", "part"),
    [
        (dropped_slice, "missing_slice", "gap of 6.00 mm after slice 2 of 3, expected 3.00 mm"),
        (turned_slice, "mixed_orientation", "1 of 4 slices lie otherwise"),
        (two_studies, "two_studies", "found 2 MR studies, expected one"),
        (unknown_phase, "unknown_contrast_phase", "expected a line in manifest.csv"),
        (computed_tomography, "modality", "modality CT, expected MR"),
        (truncated_pixels, "truncated", "series 5 (PVP)"),
        (one_slice, "not_3d", "6x5x1 voxels, expected one volume of several slices"),
        (zero_spacing, "bad_spacing", "mm, expected 0.05 to 50 mm"),
        (no_position, "no_geometry", "1 of 4 slices without position"),
        (twice_the_same_place, "duplicate_slices", "1 slices lie where another one lies"),
        (uneven_slices, "uneven_slices", "gaps from 2.80 to 3.20 mm"),
        (other_size, "mixed_size", "5x6 and 6x5 pixels"),
        (no_patient_id, "no_patient_id", "without a patient id"),
        (no_study_date, "no_study_date", "without a study date"),
        (multiframe, "multiframe", "multi-frame MR that does not say"),
        (two_arterial, "ambiguous_phase", "series 4, 8 all look like ART"),
        (nothing_usable, "no_usable_series", "expected a T1 contrast phase"),
    ],
)
def test_bad_dicom_fails_its_patient_only(tmp_path, spoil, code, part):
    write_dynamic(tmp_path / "good", **GOOD)
    spoil(tmp_path)
    failures, alive = outcome(tmp_path)
    assert alive == 1
    assert {found for found, _ in failures} == {code}
    assert part in failures[0][1]


def test_a_ct_beside_good_studies_is_a_failure_and_the_patient_goes_on(tmp_path):
    write_dynamic(tmp_path / "mr")
    plan = SeriesPlan(study="ct", study_date="20240301", extra={"Modality": "CT"})
    write_series(tmp_path / "ct", plan)
    found = ingest(tmp_path, PLAIN)
    assert [(item.code, item.study_date) for item in found.failures] == [("modality", date(2024, 3, 1))]
    assert [study.study_date for study in found.patients[0].studies] == [date(2024, 1, 5)]


def test_a_real_ct_is_refused(shared_data, tmp_path):
    folder = shared_data / "dicom" / "dcmqi_liver_seg_sr" / "data" / "segmentations" / "ct-3slice"
    found = ingest(folder, PLAIN, key_file=tmp_path / "key")
    assert [(item.code, item.message) for item in found.failures] == [
        ("modality", "modality CT, expected MR")
    ]
    assert found.patients == ()


def save(path, voxels, affine=None):
    nibabel.save(
        nibabel.Nifti1Image(
            voxels.astype(np.float32), np.diag([1.5, 1.5, 3.0, 1.0]) if affine is None else affine
        ),
        path,
    )
    return path


def cut_off(path):
    save(path, np.random.default_rng(1).normal(size=(16, 16, 8)))
    path.write_bytes(path.read_bytes()[:-500])


def flat(path):
    save(path, np.ones((16, 16)))


def not_numbers(path):
    voxels = np.ones((16, 16, 8))
    voxels[3, 4, 5] = np.nan
    save(path, voxels)


def no_spacing(path):
    save(path, np.ones((16, 16, 8)), np.diag([1.5, 1.5, 1e-9, 1.0]))


def several_volumes(path):
    save(path, np.ones((16, 16, 8, 3)))


def constant(path):
    save(path, np.zeros((16, 16, 8)))


@pytest.mark.parametrize(
    ("spoil", "code"),
    [
        (cut_off, "truncated"),
        (flat, "not_3d"),
        (not_numbers, "not_finite"),
        (no_spacing, "bad_spacing"),
        (several_volumes, "not_3d"),
        (constant, "empty"),
    ],
)
def test_bad_nifti_fails_its_patient_only(tmp_path, spoil, code):
    save(tmp_path / "good.nii.gz", np.arange(2048).reshape(16, 16, 8))
    spoil(tmp_path / "bad.nii.gz")
    (tmp_path / "manifest.csv").write_text(
        "patient_id,study_date,contrast_phase,path\nP1,2024-01-05,ART,good.nii.gz\nP2,2024-01-05,ART,bad.nii.gz\n"
    )
    failures, alive = outcome(tmp_path)
    assert alive == 1
    assert [found for found, _ in failures] == [code]


def test_two_series_of_one_phase_at_one_date_are_a_failure(tmp_path):
    for name in ("good", "other"):
        save(tmp_path / f"{name}.nii.gz", np.arange(2048).reshape(16, 16, 8))
    rows = (
        "P1,2024-01-05,ART,good.nii.gz",
        "P2,2024-01-05,ART,good.nii.gz",
        "P2,2024-01-05,ART,other.nii.gz",
    )
    (tmp_path / "manifest.csv").write_text(
        "\n".join(("patient_id,study_date,contrast_phase,path", *rows)) + "\n"
    )
    failures, alive = outcome(tmp_path)
    assert alive == 1
    assert [found for found, _ in failures] == ["two_studies"]


@pytest.mark.parametrize(
    ("table", "content"),
    [
        ("findings.csv", "patient_id,date,kind,status\nP9,2024-01-05,ascites,new\n"),
        ("treatments.csv", "patient_id,treatment_phase,name,kind,start_date\nP9,a,x,systemic,2024-01-05\n"),
        ("markers.csv", "patient_id,date,name,value,unit\nP9,2024-01-05,AFP,3,ng/mL\n"),
    ],
)
def test_a_row_about_an_unknown_patient_is_a_failure_of_its_own(tmp_path, table, content):
    save(tmp_path / "good.nii.gz", np.arange(2048).reshape(16, 16, 8))
    (tmp_path / "manifest.csv").write_text(
        "patient_id,study_date,contrast_phase,path\nP1,2024-01-05,ART,good.nii.gz\n"
    )
    (tmp_path / table).write_text(content)
    failures, alive = outcome(tmp_path)
    assert alive == 1
    assert [found for found, _ in failures] == ["unknown_patient"]


def test_a_damaged_dicom_header_is_not_passed_over(tmp_path):
    write_dynamic(tmp_path / "good", **GOOD)
    (tmp_path / "broken").write_bytes(b"\0" * 128 + b"DICM" + b"\xff" * 40)
    failures, alive = outcome(tmp_path)
    assert alive == 1
    assert [found for found, _ in failures] == ["unreadable"]
