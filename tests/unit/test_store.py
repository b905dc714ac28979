from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest

from mrresponse.domain import ExaminedStudy, Patient
from mrresponse.nifti import read_label_map, write_label_map
from mrresponse.store import RunFolder
from tests.phantoms import ball, examined_study

LESION = ball((20.0, 0.0, 0.0), 30.0)


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    return RunFolder.create(tmp_path / "run")


def typed_over(folder: RunFolder, study: ExaminedStudy) -> tuple[Path, bytes]:
    """Paint into the lesion mask of a run; give the file and what it holds then."""
    own = study.prepared.study
    file = folder.masks / own.patient_id / own.study_date.isoformat() / "lesions.nii.gz"
    mask = read_label_map(file)
    voxels = mask.voxels.copy()
    voxels[:3, :3, :3] = 7
    write_label_map(file, replace(mask, voxels=voxels))
    return file, file.read_bytes()


def kept(folder: RunFolder) -> list[Path]:
    return [path for path in (folder.path / "private" / "replaced").rglob("*") if path.is_file()]


def test_a_mask_of_the_run_that_was_painted_over_is_kept_and_told_when_it_is_written_anew(
    folder: RunFolder, caplog: pytest.LogCaptureFixture
) -> None:
    study = examined_study([LESION], date(2024, 1, 10))
    folder.keep_masks(study, None)
    file, painted = typed_over(folder, study)
    folder.keep_masks(study, None)
    assert file.read_bytes() != painted
    (copy,) = kept(folder)
    assert copy.read_bytes() == painted
    assert copy.stat().st_mode & 0o077 == 0
    (said,) = [record.getMessage() for record in caplog.records]
    name = file.relative_to(folder.path).as_posix()
    assert said == (
        f"{name} was changed by hand and is written anew; it is kept as {copy.relative_to(folder.path).as_posix()}, "
        f"and what is to stay belongs into edits/{name}"
    )
    # once: what is there now was written here
    folder.keep_masks(study, None)
    assert kept(folder) == [copy]


def test_a_painted_mask_is_kept_where_its_study_is_gone_and_one_that_was_not_is_taken_away(
    folder: RunFolder,
) -> None:
    study = examined_study([LESION], date(2024, 1, 10))
    folder.keep_masks(study, None)
    file, painted = typed_over(folder, study)
    folder.drop_other_studies(Patient(patient_id=study.prepared.study.patient_id))
    assert not file.parent.exists()
    (copy,) = kept(folder)
    assert copy.name.startswith("lesions_")
    assert copy.read_bytes() == painted
