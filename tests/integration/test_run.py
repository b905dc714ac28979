"""The whole line: from a data folder to tables and pages, with bad data beside good, and with a lesion missed."""

import csv
import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import nibabel
import numpy as np
import pytest

from mrresponse import Settings, assess_patient, make_segmenter
from mrresponse.cli import main
from mrresponse.domain import (
    GivenLesions,
    Image,
    MeasurementSource,
    MeasurementState,
    Patient,
    PatientResult,
    PreparedStudy,
    Response,
)
from mrresponse.ingest import ingest
from mrresponse.segment import Segmenter
from mrresponse.synthetic.scenarios import generate
from tests.dicom_files import SeriesPlan, alter, write_dynamic, write_series

TABLES = (
    "studies.csv",
    "tracks.csv",
    "measurements.csv",
    "roles.csv",
    "treatment_phases.csv",
    "assessments.csv",
    "phases.csv",
    "cohort.csv",
    "lesion_table.csv",
    "flags.csv",
    "failures.csv",
    "audit.csv",
    "agreement.csv",
    "agreement_visits.csv",
    "treatments.csv",
    "findings.csv",
    "markers.csv",
    "patients.csv",
)


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def tables_of(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in TABLES}


def answers(path: Path) -> dict[tuple[str, str, str], tuple[str, str]]:
    return {
        (row["treatment_phase"], row["criterion"], row["study_date"]): (row["liver_response"], row["overall"])
        for row in rows_of(path / "assessments.csv")
    }


@pytest.fixture(scope="module")
def phantom(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A lesion that stays and a new one with the pattern of HCC: progression by a new lesion."""
    folder = tmp_path_factory.mktemp("phantom") / "R5"
    generate("R5", size="tiny", seed=1, image_format="nifti", out=folder)
    return folder


@pytest.fixture(scope="module")
def finished(phantom: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run folder of that patient with the true masks."""
    out = tmp_path_factory.mktemp("run") / "out"
    assert main(["run", str(phantom / "data"), "--masks", str(phantom / "truth"), "--out", str(out)]) == 0
    return out


def test_a_run_gives_the_expected_responses(phantom: Path, finished: Path) -> None:
    expected = answers(phantom / "truth")
    found = answers(finished)
    assert {key: found[key] for key in expected} == expected


def test_a_run_writes_every_table_a_page_and_the_masks(finished: Path) -> None:
    assert [name for name in TABLES if not (finished / name).is_file()] == []
    assert (finished / "report" / "R5.html").is_file()
    assert (finished / "report" / "index.html").is_file()
    masks = {path.name for path in (finished / "masks" / "R5" / "2024-04-15").iterdir()}
    assert masks == {"liver.nii.gz", "lesions.nii.gz", "viable.nii.gz"}
    record = json.loads((finished / "run.json").read_text())
    assert record["segmenter"] == "mask"
    assert record["settings"]["measure"]
    assert (finished / "private").stat().st_mode & 0o077 == 0


def test_masks_come_back_as_they_went_in(phantom: Path, finished: Path) -> None:
    for date in ("2024-01-15", "2024-04-15"):
        for name in ("liver", "lesions", "viable"):
            given = nibabel.load(phantom / "truth" / "masks" / "R5" / date / f"{name}.nii.gz")
            kept = nibabel.load(finished / "masks" / "R5" / date / f"{name}.nii.gz")
            np.testing.assert_allclose(kept.affine, given.affine, atol=1e-4)
            given_voxels = np.asarray(given.dataobj) > 0
            kept_voxels = np.asarray(kept.dataobj) > 0
            # the liver is tidied (largest part, holes); lesions and their viable part are believed as they are
            if name == "liver":
                overlap = 2 * (given_voxels & kept_voxels).sum() / (given_voxels.sum() + kept_voxels.sum())
                assert overlap > 0.98
            else:
                assert (given_voxels == kept_voxels).all()


def test_the_same_input_gives_the_same_bytes_in_one_process_and_in_two(
    phantom: Path, finished: Path, tmp_path: Path
) -> None:
    out = tmp_path / "again"
    arguments = ["run", str(phantom / "data"), "--masks", str(phantom / "truth" / "masks")]
    assert main([*arguments, "--out", str(out), "--workers", "2"]) == 0
    assert tables_of(out) == tables_of(finished)


def test_responding_again_from_the_tables_changes_nothing(finished: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(finished, copy)
    assert main(["respond", str(copy)]) == 0
    assert tables_of(copy) == tables_of(finished)
    (copy / "report" / "R5.html").unlink()
    assert main(["report", str(copy)]) == 0
    assert (copy / "report" / "R5.html").read_bytes() == (finished / "report" / "R5.html").read_bytes()


def test_a_run_is_exported_in_every_format_of_numbers(finished: Path, tmp_path: Path) -> None:
    names = ("csv", "parquet", "xlsx", "html", "sdtm", "adam")
    wanted = [part for name in names for part in ("--to", name)]
    assert main(["export", str(finished), *wanted, "--out", str(tmp_path)]) == 0
    assert {path.name for path in tmp_path.iterdir()} == set(names)
    results = rows_of(tmp_path / "sdtm" / "tr.csv")
    sums = [row["TRSTRESN"] for row in results if row["TRTESTCD"] == "SUMDIAM"]
    burdens = [row["current_burden"] for row in rows_of(finished / "assessments.csv")]
    assert sorted(sums) == sorted(burdens)
    assert {row["TREVAL"] for row in results} == {"ALGORITHM"}
    new = [row for row in rows_of(tmp_path / "sdtm" / "tu.csv") if row["TUORRES"] == "NEW"]
    # the new lesion of this scenario, under both criteria
    assert {row["TUDTC"] for row in new} == {"2024-04-15"}
    assert len(new) == 2


def test_typed_tables_alone_are_enough_to_respond(tmp_path: Path) -> None:
    (tmp_path / "studies.csv").write_text("patient_id,study_date\nP1,2024-01-10\nP1,2024-04-10\n")
    (tmp_path / "measurements.csv").write_text(
        "patient_id,lesion_id,study_date,longest_diameter_mm,viable_longest_diameter_mm\n"
        "P1,L01,2024-01-10,40,40\nP1,L01,2024-04-10,38,27.9\n"
    )
    assert main(["respond", str(tmp_path)]) == 0
    overall = {
        row["criterion"]: row["overall"]
        for row in rows_of(tmp_path / "assessments.csv")
        if row["study_date"] == "2024-04-10"
    }
    # 38 of 40 mm is -5 %; 27.9 of 40 mm viable is -30.25 %
    assert overall["RECIST 1.1"] == "SD"
    assert overall["mRECIST"] == "PR"


# --- a lesion that the network misses -----------------------------------------------------------------------------


def as_network(masks: Path, *, erased_at: str | None) -> Segmenter:
    """Give the true masks as if a network had found them, and nothing at one study."""
    given = make_segmenter(Settings().segment, masks=masks)

    def lesions(prepared: PreparedStudy) -> Image:
        found = given.lesions(prepared)
        assert isinstance(found, GivenLesions)
        seen = found.labels.voxels > 0
        if prepared.study.study_date.isoformat() == erased_at:
            seen = np.zeros_like(seen)
        return Image(voxels=seen.astype(np.float32), grid=prepared.grid)

    return replace(given, name="network", source=MeasurementSource.NETWORK, lesions=lesions)


def only_patient(data: Path) -> Patient:
    (patient,) = ingest(data, Settings().ingest).patients
    return patient


def assessed(phantom: Path, *, erased_at: str | None) -> PatientResult:
    segmenter = as_network(phantom / "truth" / "masks", erased_at=erased_at)
    return assess_patient(only_patient(phantom / "data"), segmenter, Settings())


def test_a_lesion_the_network_misses_is_not_found_and_never_a_complete_response(phantom: Path) -> None:
    result = assessed(phantom, erased_at="2024-04-15")
    last = [row for row in result.measurements if row.study_date.isoformat() == "2024-04-15"]
    assert [row.state for row in last] == [MeasurementState.NOT_FOUND]
    assert last[0].longest_diameter_mm is None
    assert last[0].viable_longest_diameter_mm is None
    responses = {
        row.criterion: row
        for row in result.response.assessments
        if row.study_date.isoformat() == "2024-04-15" and row.treatment_phase == "course"
    }
    assert {row.overall for row in responses.values()} == {Response.NE}
    assert all("not found" in row.reason for row in responses.values())
    flagged = {flag.code for flag in result.response.flags if flag.study_date == last[0].study_date}
    assert "not_found" in flagged


def test_the_same_masks_seen_by_a_reader_show_its_absence(phantom: Path, tmp_path: Path) -> None:
    masks = tmp_path / "masks"
    shutil.copytree(phantom / "truth" / "masks", masks)
    for name in ("lesions", "viable"):
        path = masks / "R5" / "2024-04-15" / f"{name}.nii.gz"
        mask = nibabel.load(path)
        nibabel.save(nibabel.Nifti1Image(np.zeros(mask.shape, np.uint16), mask.affine), path)
    segmenter = make_segmenter(Settings().segment, masks=masks)
    result = assess_patient(only_patient(phantom / "data"), segmenter, Settings())
    last = [row for row in result.measurements if row.study_date.isoformat() == "2024-04-15"]
    assert [(row.state, row.longest_diameter_mm) for row in last] == [(MeasurementState.ABSENT, 0.0)]
    responses = [row for row in result.response.assessments if row.study_date.isoformat() == "2024-04-15"]
    assert {row.overall for row in responses} == {Response.CR}


# --- bad data beside good -----------------------------------------------------------------------------------------


def save(path: Path, voxels: np.ndarray, *, slice_mm: float = 3.0) -> None:
    nibabel.save(nibabel.Nifti1Image(voxels.astype(np.float32), np.diag([4.0, 4.0, slice_mm, 1.0])), path)


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(2).uniform(1, 100, shape)


def truncated(path: Path) -> None:
    save(path, noise(16, 16, 8))
    path.write_bytes(path.read_bytes()[:-400])


def with_nan(path: Path) -> None:
    voxels = noise(16, 16, 8)
    voxels[1, 2, 3] = np.nan
    save(path, voxels)


BAD_NIFTI: Mapping[str, tuple[Callable[[Path], None], str]] = {
    "B-TRUNCATED": (truncated, "truncated"),
    "B-FLAT": (lambda path: save(path, noise(16, 16)), "not_3d"),
    "B-NAN": (with_nan, "not_finite"),
    "B-SPACING": (lambda path: save(path, noise(16, 16, 8), slice_mm=1e-9), "bad_spacing"),
}


def add_bad_nifti(data: Path) -> dict[str, str]:
    lines = []
    for patient, (spoil, _) in BAD_NIFTI.items():
        spoil(data / f"{patient}.nii.gz")
        lines.append(f"{patient},2024-01-05,ART,{patient}.nii.gz")
    good, other, *_ = [path.relative_to(data) for path in data.rglob("*.nii.gz") if path.stem[0] != "B"]
    lines.append(f"B-PHASE,2024-01-05,LATE,{good}")
    lines += [f"B-TWICE,2024-01-05,ART,{path}" for path in (good, other)]
    lines.append(f"B-START,2024-01-05,ART,{good}")
    manifest = data / "manifest.csv"
    header = manifest.read_text().splitlines()[0].split(",")
    with manifest.open("a") as file:
        file.writelines(f"{line}{',' * (len(header) - 4)}\n" for line in lines)
    treatments = data / "treatments.csv"
    if not treatments.is_file():
        treatments.write_text("patient_id,treatment_phase,name,kind,start_date\n")
    with treatments.open("a") as file:
        file.write("B-START,one,sorafenib,systemic,\n")
    (data / "findings.csv").write_text("patient_id,date,kind,status\nB-NOBODY,2024-01-05,ascites,new\n")
    expected = {patient: code for patient, (_, code) in BAD_NIFTI.items()}
    return expected | {
        "B-PHASE": "unknown_contrast_phase",
        "B-TWICE": "two_studies",
        "B-START": "treatment_without_start",
        "B-NOBODY": "unknown_patient",
    }


def add_bad_dicom(data: Path) -> dict[str, str]:
    tree = data / "export"
    write_dynamic(tree / "gap", patient="GAP")["ART"][2].unlink()
    turned = write_dynamic(tree / "turn", patient="TURN")["ART"]
    alter(turned[1], ImageOrientationPatient=[1, 0, 0, 0, 0, -1])
    write_series(tree / "ct", SeriesPlan(patient="CT", extra={"Modality": "CT"}))
    write_dynamic(tree / "day1", patient="DAY", study="a")
    write_dynamic(tree / "day2", patient="DAY", study="b")
    (data / "identities.csv").write_text(
        "dicom_patient_id,patient_id\nGAP,D-GAP\nTURN,D-TURN\nCT,D-CT\nDAY,D-DAY\n"
    )
    return {
        "D-GAP": "missing_slice",
        "D-TURN": "mixed_orientation",
        "D-CT": "modality",
        "D-DAY": "two_studies",
    }


def test_bad_patients_fail_by_name_and_the_good_one_is_assessed(
    phantom: Path, finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data, out = tmp_path / "data", tmp_path / "out"
    shutil.copytree(phantom / "data", data)
    expected = add_bad_nifti(data) | add_bad_dicom(data)
    masks = str(phantom / "truth" / "masks")
    assert main(["run", str(data), "--masks", masks, "--out", str(out)]) == 1
    failures = rows_of(out / "failures.csv")
    assert {row["patient_id"]: row["code"] for row in failures} == expected
    assert len(failures) == len(expected)
    assert all(row["message"] for row in failures)
    found = answers(finished)
    assert answers(out) == found
    said = capsys.readouterr().err
    assert "Traceback" not in said
    for patient in expected:
        assert sum(f"error: {patient}" in line for line in said.splitlines()) == 1
    assert str(tmp_path) not in said


def test_paths_are_shown_only_when_asked_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], phantom: Path
) -> None:
    data = tmp_path / "data"
    data.mkdir()
    truncated(data / "cut.nii.gz")
    (data / "manifest.csv").write_text(
        "patient_id,study_date,contrast_phase,path\nP1,2024-01-05,ART,cut.nii.gz\n"
    )
    arguments = [
        "run",
        str(data),
        "--masks",
        str(phantom / "truth" / "masks"),
        "--out",
        str(tmp_path / "out"),
    ]
    assert main(arguments) == 1
    assert "cut.nii.gz" not in capsys.readouterr().err
    assert main([*arguments, "--show-paths"]) == 1
    assert "cut.nii.gz" in capsys.readouterr().err
    public = [
        path for path in (tmp_path / "out").rglob("*") if path.is_file() and "private" not in path.parts
    ]
    assert all(b"cut.nii.gz" not in path.read_bytes() for path in public)


# --- nothing is run -----------------------------------------------------------------------------------------------


def refused(arguments: list[str], capsys: pytest.CaptureFixture[str], out: Path) -> str:
    assert main([*arguments, "--out", str(out)]) == 2
    assert not out.exists()
    said = capsys.readouterr().err
    assert len(said.strip().splitlines()) == 1
    return said


def test_an_unknown_key_of_the_configuration_stops_everything(
    phantom: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "config.yaml"
    config.write_text("segment:\n  divice: cpu\n")
    said = refused(["run", str(phantom / "data"), "--config", str(config)], capsys, tmp_path / "out")
    assert "segment.divice: unknown key; did you mean 'device'?" in said


def test_altered_weights_stop_everything(
    phantom: Path, checkout: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = tmp_path / "liver-mr"
    shutil.copytree(checkout / "models" / "liver-mr", model)
    with (model / "models" / "model.pt").open("ab") as file:
        file.write(b"x")
    config = tmp_path / "config.yaml"
    config.write_text(f"segment:\n  liver_model: {model}\n")
    said = refused(["run", str(phantom / "data"), "--config", str(config)], capsys, tmp_path / "out")
    assert "SHA-256" in said


def test_cuda_where_there_is_none_stops_everything(
    phantom: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torch = pytest.importorskip("torch")
    if torch.cuda.is_available():
        pytest.skip("this machine has CUDA")
    words = ["run", str(phantom / "data"), "--device", "cuda"]
    assert "found 0 CUDA device(s)" in refused(words, capsys, tmp_path / "out")
    given = ["--masks", str(phantom / "truth" / "masks")]
    assert "found 0 CUDA device(s)" in refused([*words, *given], capsys, tmp_path / "out")


def test_masks_within_the_folder_of_the_run_are_refused_and_stay(
    phantom: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    shutil.copytree(phantom / "truth" / "masks", out / "masks")
    before = sorted((path, path.stat().st_mtime_ns) for path in out.rglob("*"))
    assert main(["run", str(phantom / "data"), "--masks", str(out / "masks"), "--out", str(out)]) == 2
    assert "edits/masks" in capsys.readouterr().err
    assert sorted((path, path.stat().st_mtime_ns) for path in out.rglob("*")) == before


def test_a_folder_that_holds_something_else_is_not_written_to(
    phantom: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "thesis.txt").write_text("do not touch")
    masks = str(phantom / "truth" / "masks")
    assert main(["run", str(phantom / "data"), "--masks", masks, "--out", str(tmp_path)]) == 2
    assert "expected an empty folder" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


@pytest.mark.parametrize(
    "arguments", [["run"], ["fly"], ["run", "nowhere", "--out", "x"], ["respond", "nowhere"]]
)
def test_wrong_usage_has_exit_code_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 2
    assert "Traceback" not in capsys.readouterr().err


# --- edits ----------------------------------------------------------------------------------------------------------


def typed_tables(folder: Path, *more: str) -> Path:
    (folder / "studies.csv").write_text(
        "patient_id,study_date\nP1,2024-01-10\nP1,2024-04-10\nP2,2024-01-10\nP2,2024-04-10\n"
    )
    (folder / "measurements.csv").write_text(
        "patient_id,lesion_id,study_date,longest_diameter_mm,viable_longest_diameter_mm\n"
        "P1,L01,2024-01-10,40,40\nP1,L01,2024-04-10,38,27.9\n"
        "P2,L01,2024-01-10,40,40\nP2,L01,2024-04-10,41,41\n" + "".join(more)
    )
    return folder


def override(folder: Path, row: str) -> None:
    (folder / "edits").mkdir(exist_ok=True)
    (folder / "edits" / "overrides.csv").write_text(
        f"patient_id,treatment_phase,criterion,study_date,reader,reason,overall\n{row}\n"
    )


def test_an_override_gives_an_adjudicated_row_and_an_audit_row_and_is_not_touched(tmp_path: Path) -> None:
    folder = typed_tables(tmp_path)
    override(folder, "P1,course,mRECIST,2024-04-10,Dr C,late arterial phase missed,SD")
    before = (folder / "edits" / "overrides.csv").read_bytes()
    for _ in range(2):
        assert main(["respond", str(folder)]) == 0
        found = {
            (row["reader"], row["overall"])
            for row in rows_of(folder / "assessments.csv")
            if (row["patient_id"], row["criterion"], row["is_baseline"]) == ("P1", "mRECIST", "false")
        }
        assert found == {("reader", "PR"), ("adjudicated", "SD")}
        audit = [(row["before"], row["after"], row["reader"]) for row in rows_of(folder / "audit.csv")]
        assert ("PR", "SD", "Dr C") in audit
        assert main(["report", str(folder)]) == 0
    assert (folder / "edits" / "overrides.csv").read_bytes() == before


def test_an_override_that_fits_nothing_fails_its_patient_only_until_it_is_mended(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = typed_tables(tmp_path)
    override(folder, "P1,course,mRECIST,2024-04-11,Dr C,typing error in the date,SD")
    assert main(["respond", str(folder)]) == 1
    assert "error: P1 2024-04-11: edits/overrides.csv, course, mRECIST, reader Dr C: column study_date" in (
        capsys.readouterr().err
    )
    (failure,) = rows_of(folder / "failures.csv")
    assert (failure["patient_id"], failure["code"], failure["step"]) == ("P1", "bad_override", "response")
    assert {row["patient_id"] for row in rows_of(folder / "assessments.csv")} == {"P2"}
    override(folder, "P1,course,mRECIST,2024-04-10,Dr C,right date,SD")
    assert main(["respond", str(folder)]) == 0
    assert rows_of(folder / "failures.csv") == []
    assert {row["patient_id"] for row in rows_of(folder / "assessments.csv")} == {"P1", "P2"}


def test_typed_tables_go_through_respond_and_report_and_a_bad_row_costs_its_patient_only(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    folder = typed_tables(tmp_path, "P3,L01,2024-01-10,12mm,\n")
    (folder / "studies.csv").write_text((folder / "studies.csv").read_text() + "P3,2024-01-10\n")
    (folder / "treatments.csv").write_text(
        "patient_id,treatment_phase,name,kind,start_date,ward\nP1,first,TACE,locoregional,2024-01-12,7\n"
    )
    typed = (folder / "measurements.csv").read_bytes()
    assert main(["respond", str(folder)]) == 1
    assert main(["report", str(folder)]) == 1
    said = capsys.readouterr().err
    assert (
        "error: P3 2024-01-10: measurements.csv row 6 (lesion L01) column longest_diameter_mm: found '12mm'"
        in said
    )
    assert "treatments.csv: unknown columns left out: ward" in caplog.text
    assert {path.name for path in (folder / "report").glob("*.html")} == {"P1.html", "P2.html", "index.html"}
    assert "P3" in (folder / "report" / "index.html").read_text(encoding="utf-8")
    (failure,) = rows_of(folder / "failures.csv")
    assert (failure["patient_id"], failure["study_date"], failure["code"]) == (
        "P3",
        "2024-01-10",
        "bad_value",
    )
    assert {row["patient_id"] for row in rows_of(folder / "lesion_table.csv")} == {"P1", "P2"}
    # what people typed is not written over
    assert (folder / "measurements.csv").read_bytes() == typed


def test_several_readers_have_rows_of_their_own_and_are_compared(tmp_path: Path) -> None:
    (tmp_path / "studies.csv").write_text("patient_id,study_date\nP1,2024-01-10\nP1,2024-04-10\n")
    (tmp_path / "measurements.csv").write_text(
        "patient_id,lesion_id,study_date,reader,longest_diameter_mm\n"
        "P1,L01,2024-01-10,A,40\nP1,L01,2024-04-10,A,28\nP1,L01,2024-01-10,B,42\nP1,L01,2024-04-10,B,32\n"
    )
    assert main(["respond", str(tmp_path)]) == 0
    found = {
        row["reader"]: row["overall"]
        for row in rows_of(tmp_path / "assessments.csv")
        if (row["criterion"], row["is_baseline"]) == ("RECIST 1.1", "false")
    }
    # 28 of 40 mm is -30 %, 32 of 42 mm is -23.8 %
    assert found == {"A": "PR", "B": "SD"}
    (row,) = [row for row in rows_of(tmp_path / "agreement.csv") if row["criterion"] == "RECIST 1.1"]
    assert (row["reader_1"], row["reader_2"], row["same_response"], row["n_burdens"]) == ("A", "B", "0", "2")
    # 42 - 40 and 32 - 28
    assert row["burden_bias"] == "3"
