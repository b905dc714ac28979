"""Synthetic patients on disk: same bytes, both formats alike, and masks that have the sizes the catalogue states."""

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
import torch

from mrresponse.errors import ConfigError
from mrresponse.nifti import read_grid, read_image, read_label_map
from mrresponse.synthetic.catalogue import SCENARIOS
from mrresponse.synthetic.placement import place_patient
from mrresponse.synthetic.scenarios import generate
from mrresponse.synthetic.study_geometry import SIZES, locate_study
from mrresponse.synthetic.truth import mask_extents

STUDIES = ("2024-01-15", "2024-04-15")


def files_of(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }


def table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def truth_of(folder: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((folder / "truth" / "truth.json").read_text())
    return content


@pytest.fixture(scope="module")
def nifti(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("phantom") / "nifti"
    generate("R2", size="tiny", seed=7, image_format="nifti", out=folder)
    return folder


@pytest.fixture(scope="module")
def dicom(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("phantom") / "dicom"
    generate("R2", size="tiny", seed=7, image_format="dicom", out=folder)
    return folder


def test_the_same_seed_gives_the_same_nifti_bytes(nifti: Path, tmp_path: Path) -> None:
    assert generate("R2", size="tiny", seed=7, image_format="nifti", out=tmp_path / "again") == ("R2",)
    assert files_of(tmp_path / "again") == files_of(nifti)


def test_the_same_seed_gives_the_same_dicom_bytes(tmp_path: Path) -> None:
    for name in ("once", "again"):
        generate("M1", size="tiny", seed=7, image_format="dicom", out=tmp_path / name)
    assert files_of(tmp_path / "once") == files_of(tmp_path / "again")


def test_the_truth_does_not_depend_on_the_image_format(nifti: Path, dicom: Path) -> None:
    assert files_of(nifti / "truth") == files_of(dicom / "truth")


def test_dicom_slices_hold_the_voxels_of_the_nifti_files(nifti: Path, dicom: Path) -> None:
    wanted = {
        (row["study_date"].replace("-", ""), row["series_description"]): row["path"]
        for row in table(nifti / "data" / "manifest.csv")
    }
    images = {key: read_image(nifti / "data" / path) for key, path in wanted.items()}
    seen = dict.fromkeys(images, 0)
    for path in (dicom / "data").rglob("*"):
        if path.suffix == ".csv" or not path.is_file():
            continue
        header = pydicom.dcmread(path)
        key = (header.StudyDate, header.SeriesDescription)
        image = images[key]
        seen[key] += 1
        # first pixel, LPS to RAS, then to voxels of the NIfTI file
        x, y, z = (float(value) for value in header.ImagePositionPatient)
        i, j, k = np.linalg.inv(image.grid.affine)[:3] @ np.array([-x, -y, z, 1.0])
        assert (round(i), round(j)) == (image.grid.shape[0] - 1, image.grid.shape[1] - 1)
        assert k == pytest.approx(round(k), abs=1e-3)
        np.testing.assert_array_equal(header.pixel_array, image.voxels[::-1, ::-1, round(k)].T)
    assert set(seen.values()) == {SIZES["tiny"].shape[2]}


def test_a_dicom_export_names_the_person_and_joins_the_tables(dicom: Path) -> None:
    (identity,) = table(dicom / "data" / "identities.csv")
    slices = [path for path in (dicom / "data").rglob("*") if path.is_file() and path.suffix != ".csv"]
    header = pydicom.dcmread(slices[0], stop_before_pixels=True)
    assert identity == {"dicom_patient_id": header.PatientID, "patient_id": "R2"}
    assert str(header.PatientName) == "PHANTOM^HCC"
    assert header.PatientID != "R2"


def test_no_truth_lies_in_the_data_folder(nifti: Path) -> None:
    names = {path.split("/")[0] for path in files_of(nifti / "data")}
    assert names == {"images", "manifest.csv"}


def test_masks_lie_on_the_grid_of_the_arterial_phase(nifti: Path) -> None:
    for day in STUDIES:
        grid = read_grid(nifti / "data" / "images" / "R2" / day / "art.nii.gz")
        for name in ("liver", "lesions", "viable"):
            assert read_grid(nifti / "truth" / "masks" / "R2" / day / f"{name}.nii.gz") == grid


def test_viable_voxels_lie_in_their_lesion_and_lesions_in_the_liver(nifti: Path) -> None:
    for day in STUDIES:
        liver, lesions, viable = (
            read_label_map(nifti / "truth" / "masks" / "R2" / day / f"{name}.nii.gz").voxels
            for name in ("liver", "lesions", "viable")
        )
        assert (lesions[viable > 0] == viable[viable > 0]).all()
        assert (liver[lesions > 0] == 1).all()


def test_the_truth_maps_labels_to_lesions_and_states_their_sizes(nifti: Path) -> None:
    truth = truth_of(nifti)
    assert (truth["scenario"], truth["seed"], truth["size"]) == ("R2", 7, "tiny")
    for study in truth["patients"][0]["studies"]:
        folder = nifti / "truth" / "masks" / "R2" / study["study_date"]
        lesions = read_label_map(folder / "lesions.nii.gz")
        assert {lesion["label"] for lesion in study["lesions"]} == set(np.unique(lesions.voxels)) - {0}
        for lesion in study["lesions"]:
            volume = (lesions.voxels == lesion["label"]).sum() * lesions.grid.voxel_volume_ml
            assert lesion["voxelised"]["volume_ml"] == pytest.approx(volume, abs=1e-3)
            centre = np.argwhere(lesions.voxels == lesion["label"]).mean(axis=0)
            world = lesions.grid.affine @ [*centre, 1.0]
            np.testing.assert_allclose(world[:3], lesion["centre_mm"], atol=2.0)
    first, second = truth["patients"][0]["studies"]
    assert [lesion["analytic"]["longest_diameter_mm"] for lesion in first["lesions"]] == [40.0, 25.0]
    assert [lesion["analytic"]["viable_longest_diameter_mm"] for lesion in second["lesions"]] == [24.0, 14.0]


def test_viable_tumour_enhances_and_necrosis_does_not(nifti: Path) -> None:
    day = STUDIES[1]
    folder = nifti / "truth" / "masks" / "R2" / day
    liver, lesions, viable = (
        read_label_map(folder / f"{name}.nii.gz").voxels for name in ("liver", "lesions", "viable")
    )
    art = read_image(nifti / "data" / "images" / "R2" / day / "art.nii.gz").voxels
    level = {
        "liver": float(np.median(art[(liver > 0) & (lesions == 0)])),
        "viable": float(np.median(art[viable > 0])),
        "necrosis": float(np.median(art[(lesions > 0) & (viable == 0)])),
    }
    assert level["viable"] > 1.1 * level["liver"]
    assert level["necrosis"] < 0.9 * level["liver"]


def test_expected_responses_are_written_for_both_criteria(nifti: Path) -> None:
    rows = table(nifti / "truth" / "assessments.csv")
    found = {(row["criterion"], row["study_date"], row["liver_response"], row["overall"]) for row in rows}
    assert found == {
        ("RECIST 1.1", STUDIES[0], "", ""),
        ("RECIST 1.1", STUDIES[1], "SD", "SD"),
        ("mRECIST", STUDIES[0], "", ""),
        ("mRECIST", STUDIES[1], "PR", "PR"),
    }


def test_a_study_without_an_arterial_phase_has_no_viable_mask(tmp_path: Path) -> None:
    generate("M1", size="tiny", seed=1, image_format="nifti", out=tmp_path)
    names = {path.name for path in (tmp_path / "truth" / "masks" / "M1" / STUDIES[0]).iterdir()}
    assert names == {"liver.nii.gz", "lesions.nii.gz"}
    assert truth_of(tmp_path)["patients"][0]["studies"][0]["reference_phase"] == "PVP"


@pytest.mark.parametrize(
    ("size", "image_format", "seed", "message"),
    [("huge", "nifti", 1, "--size"), ("tiny", "png", 1, "--format"), ("tiny", "nifti", -1, "--seed")],
)
def test_a_wrong_option_is_refused_by_name(
    size: str, image_format: Any, seed: int, message: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=message):
        generate("R1", size=size, seed=seed, image_format=image_format, out=tmp_path / "new")


def test_an_earlier_phantom_is_never_overwritten(nifti: Path) -> None:
    with pytest.raises(ConfigError, match="already holds"):
        generate("R2", size="tiny", seed=7, image_format="nifti", out=nifti)


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def category(sums: list[float], *, new: bool, floor_mm: float) -> str:
    """Work out the response at the last of several sums as the criteria's papers say it."""
    *earlier, last = sums
    nadir = min(earlier)
    if new or (last >= 1.2 * nadir and last - nadir >= floor_mm):
        return "PD"
    if last == 0:
        return "CR"
    return "PR" if last <= 0.7 * earlier[0] else "SD"


@pytest.mark.slow
@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("name", [name for name in SCENARIOS if name[0] in "RH"])
@pytest.mark.parametrize("seed", [1, 2])
def test_masks_at_standard_size_keep_sizes_and_categories(name: str, seed: int) -> None:
    size = SIZES["standard"]
    (plan,) = SCENARIOS[name].patients
    patient = place_patient(plan, seed=seed)
    known = {lesion.identity for lesion in plan.lesions if lesion.sizes[0]}
    sums: dict[str, list[float]] = {"RECIST 1.1": [], "mRECIST": []}
    for number, study_plan in enumerate(plan.studies):
        study = locate_study(patient, number, size=size, seed=seed)
        now = dict.fromkeys(sums, 0.0)
        for lesion in study.lesions:
            parts = {
                "RECIST 1.1": (lesion.whole_mask, lesion.size.whole_mm, lesion.whole),
                "mRECIST": (lesion.viable_mask, lesion.size.viable_mm, lesion.viable),
            }
            for criterion, (mask, diameter, shape) in parts.items():
                if shape is None:
                    assert not mask.any()
                    continue
                extents = mask_extents(mask, size.spacing_mm)
                assert extents is not None
                assert abs(extents.longest_mm - diameter) <= size.spacing_mm[0] + 0.5
                volume = mask.sum() * study.grid.voxel_volume_ml
                assert diameter < 20 or volume == pytest.approx(shape.volume_ml, rel=0.05)
                if lesion.placed.plan.identity in known:
                    now[criterion] += extents.longest_mm
        new = any(lesion.placed.plan.identity not in known for lesion in study.lesions)
        for criterion, floor_mm in (("RECIST 1.1", 5.0), ("mRECIST", 0.0)):
            sums[criterion].append(now[criterion])
            if number:
                expected = [
                    row.overall
                    for row in plan.expected
                    if row.criterion == criterion and row.study_date == study_plan.study_date
                ]
                assert [category(sums[criterion], new=new, floor_mm=floor_mm)] == expected
