"""A reader's corrections in the edits folder: a second run works them in, says so, and changes nothing else."""

import csv
import hashlib
import shutil
from pathlib import Path

import nibabel
import numpy as np
import pytest

from mrresponse.cli import main
from mrresponse.synthetic.scenarios import generate

FIRST, SECOND = "2024-01-15", "2024-04-15"


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def overall(run: Path) -> dict[tuple[str, str], str]:
    return {
        (row["criterion"], row["study_date"]): row["overall"]
        for row in rows_of(run / "assessments.csv")
        if row["treatment_phase"] == "course"
    }


def digests(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.fixture(scope="module")
def phantom(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Whole lesion 30 to 38 mm, viable part 30 to 18 mm: PD by RECIST 1.1, PR by mRECIST."""
    folder = tmp_path_factory.mktemp("phantom") / "R8"
    generate("R8", size="tiny", seed=1, image_format="nifti", out=folder)
    return folder


@pytest.fixture(scope="module")
def finished(phantom: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("run") / "out"
    assert main(["run", str(phantom / "data"), "--masks", str(phantom / "truth"), "--out", str(out)]) == 0
    return out


@pytest.fixture
def run(phantom: Path, finished: Path, tmp_path: Path) -> Path:
    out = tmp_path / "run"
    shutil.copytree(finished, out)
    (out / "edits").mkdir()
    return out


def again(phantom: Path, run: Path) -> int:
    return main(["run", str(phantom / "data"), "--masks", str(phantom / "truth"), "--out", str(run)])


def test_a_typed_number_changes_what_follows_from_it_and_nothing_else(phantom: Path, run: Path) -> None:
    before = {name: (run / name).read_bytes() for name in ("tracks.csv", "studies.csv", "registrations.csv")}
    assert overall(run)["RECIST 1.1", SECOND] == "PD"
    (run / "edits" / "measurements.csv").write_text(
        "patient_id,lesion_id,study_date,longest_diameter_mm,reader,reason\n"
        f"R8,L01,{SECOND},31,Dr C,the rim is perfusion\n"
    )
    given = digests(run / "edits")
    assert again(phantom, run) == 0
    # 31 of about 30 mm is neither -30 % nor +20 %
    assert overall(run)["RECIST 1.1", SECOND] == "SD"
    assert overall(run)["mRECIST", SECOND] == "PR"
    (audit,) = rows_of(run / "audit.csv")
    assert (audit["edit"], audit["after"], audit["reader"]) == ("measurements.csv", "31.0", "Dr C")
    (kept,) = rows_of(run / "measurements_before_edits.csv")
    assert kept["longest_diameter_mm"] == audit["before"]
    assert {name: (run / name).read_bytes() for name in before} == before
    assert digests(run / "edits") == given


def test_an_edit_that_is_taken_back_leaves_no_trace(phantom: Path, run: Path, finished: Path) -> None:
    (run / "edits" / "measurements.csv").write_text(
        "patient_id,lesion_id,study_date,longest_diameter_mm,reader,reason\n"
        f"R8,L01,{SECOND},absent,Dr C,resolved\n"
    )
    assert main(["respond", str(run)]) == 0
    assert overall(run)["RECIST 1.1", SECOND] == "CR"
    (run / "edits" / "measurements.csv").unlink()
    assert main(["respond", str(run)]) == 0
    for name in ("measurements.csv", "assessments.csv", "audit.csv", "measurements_before_edits.csv"):
        assert (run / name).read_bytes() == (finished / name).read_bytes(), name


def test_sizes_that_contradict_after_an_edit_ask_for_a_look_until_it_is_mended(
    phantom: Path, run: Path
) -> None:
    table = run / "edits" / "measurements.csv"
    page = run / "report" / "R8.html"
    columns = "patient_id,lesion_id,study_date,longest_diameter_mm,perpendicular_diameter_mm,reader,reason\n"

    def flags() -> list[dict[str, str]]:
        return [row for row in rows_of(run / "flags.csv") if row["code"] == "sizes_contradict"]

    table.write_text(f"{columns}R8,L01,{SECOND},10,,Dr C,the rim is perfusion\n")
    studies = (run / "studies.csv").read_bytes()
    for has_images in (False, True):
        assert (again(phantom, run) if has_images else main(["respond", str(run)])) == 0
        (flag,) = flags()
        assert (flag["study_date"], flag["lesion_id"], flag["step"]) == (SECOND, "L01", "response")
        assert "viable_longest_diameter_mm" in flag["message"]
        assert "sizes_contradict" in page.read_text(encoding="utf-8")
    table.write_text(f"{columns}R8,L01,{SECOND},31,30,Dr C,the rim is perfusion\n")
    assert main(["respond", str(run)]) == 0
    assert flags() == []
    assert "sizes_contradict" not in page.read_text(encoding="utf-8")
    assert (run / "studies.csv").read_bytes() == studies


def test_a_role_set_by_a_reader_wins_and_is_recorded(run: Path) -> None:
    (run / "edits" / "lesions.csv").write_text(
        "patient_id,lesion_id,role,reader,reason\nR8,L01,non_target,Dr C,not reproducible\n"
    )
    assert main(["respond", str(run)]) == 0
    roles = {row["criterion"]: row for row in rows_of(run / "roles.csv")}
    assert roles["RECIST 1.1"]["role"] == "non_target"
    assert roles["RECIST 1.1"]["reason"] == "set by Dr C: not reproducible"
    audit = [row for row in rows_of(run / "audit.csv") if row["edit"] == "lesions.csv"]
    assert {(row["before"], row["after"]) for row in audit} == {("target", "non_target")}
    assert overall(run)["mRECIST", SECOND] == "NON-CR/NON-PD"


@pytest.mark.slow
def test_a_corrected_viable_mask_is_believed(phantom: Path, run: Path) -> None:
    file = run / "masks" / "R8" / SECOND / "viable.nii.gz"
    viable = nibabel.load(file)
    target = run / "edits" / "masks" / "R8" / SECOND / "viable.nii.gz"
    target.parent.mkdir(parents=True)
    nibabel.save(nibabel.Nifti1Image(np.zeros(viable.shape, dtype=np.uint8), viable.affine), target)
    (run / "edits" / "masks.csv").write_text(
        f"patient_id,study_date,mask,reader,reason\nR8,{SECOND},viable,Dr C,haemorrhage\n"
    )
    given = digests(run / "edits")
    assert again(phantom, run) == 0
    assert overall(run)["mRECIST", SECOND] == "CR"
    assert overall(run)["RECIST 1.1", SECOND] == "PD"
    (audit,) = rows_of(run / "audit.csv")
    assert (audit["edit"], audit["after"], audit["reader"]) == ("masks/viable", "0.000 mL", "Dr C")
    assert float(audit["before"].removesuffix(" mL")) > 1.0
    assert audit["sha256"] == given[f"masks/R8/{SECOND}/viable.nii.gz"]
    assert digests(run / "edits") == given
    assert main(["respond", str(run)]) == 0
    nibabel.save(nibabel.Nifti1Image(np.ones(viable.shape, dtype=np.uint8), viable.affine), target)
    assert main(["respond", str(run)]) == 1
    (failure,) = rows_of(run / "failures.csv")
    assert "that was changed since it was used" in failure["message"]


@pytest.mark.slow
def test_a_corrected_viable_mask_partly_beside_its_lesion_says_so(phantom: Path, run: Path) -> None:
    file = run / "masks" / "R8" / SECOND / "viable.nii.gz"
    viable = nibabel.load(file)
    voxels = (np.asarray(viable.dataobj) > 0).astype(np.uint8)
    liver = np.asarray(nibabel.load(file.with_name("liver.nii.gz")).dataobj) > 0
    lesions = np.asarray(nibabel.load(file.with_name("lesions.nii.gz")).dataobj) > 0
    beside = np.argwhere(liver & ~lesions)[: max(20, np.count_nonzero(voxels) // 4)]
    voxels[tuple(beside.T)] = 1
    target = run / "edits" / "masks" / "R8" / SECOND / "viable.nii.gz"
    target.parent.mkdir(parents=True)
    nibabel.save(nibabel.Nifti1Image(voxels, viable.affine), target)
    assert "viable_outside_lesions" not in {row["code"] for row in rows_of(run / "flags.csv")}
    assert again(phantom, run) == 0
    (flag,) = [row for row in rows_of(run / "flags.csv") if row["code"] == "viable_outside_lesions"]
    assert flag["study_date"] == SECOND
    assert "lie in no lesion and are not counted" in flag["message"]
    levels = {row["study_date"]: row["review_level"] for row in rows_of(run / "studies.csv")}
    assert levels[SECOND] != "ok"


@pytest.mark.slow
def test_a_corrected_lesion_mask_is_measured_and_keeps_the_lesions_id(phantom: Path, run: Path) -> None:
    lesions = nibabel.load(run / "masks" / "R8" / FIRST / "lesions.nii.gz")
    voxels = np.asarray(lesions.dataobj).copy()
    index = np.argwhere(voxels > 0)
    middle = index.mean(axis=0)
    far = np.linalg.norm((index - middle) * nibabel.affines.voxel_sizes(lesions.affine), axis=1) > 9.0
    voxels[tuple(index[far].T)] = 0
    target = run / "edits" / "masks" / "R8" / FIRST / "lesions.nii.gz"
    target.parent.mkdir(parents=True)
    nibabel.save(nibabel.Nifti1Image(voxels, lesions.affine), target)
    before = {row["study_date"]: row for row in rows_of(run / "measurements.csv")}
    assert again(phantom, run) == 0
    after = {row["study_date"]: row for row in rows_of(run / "measurements.csv")}
    assert float(after[FIRST]["longest_diameter_mm"]) < 24.0 < float(before[FIRST]["longest_diameter_mm"])
    assert after[SECOND] == before[SECOND]
    assert {row["lesion_id"] for row in after.values()} == {"L01"}


WRONG = "patient_id,treatment_phase,criterion,study_date,overall,reader,reason\nR8,course,mRECIST,soon,SD,Dr C,x\n"


def test_numbers_outlive_an_edit_that_cannot_be_used(run: Path, finished: Path) -> None:
    (run / "edits" / "overrides.csv").write_text(WRONG)
    for _ in range(2):
        assert main(["respond", str(run)]) == 1
        assert rows_of(run / "assessments.csv") == []
    (run / "edits" / "overrides.csv").unlink()
    assert main(["respond", str(run)]) == 0
    for name in ("measurements.csv", "assessments.csv", "flags.csv", "audit.csv", "failures.csv"):
        assert (run / name).read_bytes() == (finished / name).read_bytes(), name


def test_a_patient_that_failed_in_a_run_is_not_forgotten_by_respond(
    phantom: Path, run: Path, finished: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (run / "edits" / "overrides.csv").write_text(WRONG)
    assert again(phantom, run) == 1
    assert rows_of(run / "studies.csv") == []
    (run / "edits" / "overrides.csv").unlink()
    for _ in range(2):
        assert main(["respond", str(run)]) == 1
        (failure,) = rows_of(run / "failures.csv")
        assert failure["message"].count("`mrresponse run` takes the patient up again") == 1
    assert again(phantom, run) == 0
    for name in ("measurements.csv", "assessments.csv", "flags.csv", "audit.csv", "failures.csv"):
        assert (run / name).read_bytes() == (finished / name).read_bytes(), name


@pytest.mark.slow
def test_an_edit_of_a_lesion_that_is_not_there_fails_the_patient_with_one_message(
    phantom: Path, run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (run / "edits" / "lesions.csv").write_text(
        "patient_id,lesion_id,same_as,reader,reason\nR8,L07,L01,Dr C,the same\n"
    )
    assert again(phantom, run) == 1
    assert (
        "edits/lesions.csv, L07, reader Dr C: found lesion L07, expected one of L01"
        in capsys.readouterr().err
    )
