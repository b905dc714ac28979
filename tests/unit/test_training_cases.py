"""Labelled patients are found, dealt to folds as patients, and shown as inference would show them."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
import torch
from pydantic import ValidationError

from mrresponse.domain import ContrastPhase
from mrresponse.errors import ConfigError, DataError, ModelError
from mrresponse.ingest import IngestSettings, ingest
from mrresponse.training.cases import Case, DataSettings, Layout, list_cases, split
from mrresponse.training.evaluate import evaluate_patients
from mrresponse.training.loop import load_cases, refuse_seen, train
from mrresponse.training.losses import IGNORED, dice_cross_entropy
from mrresponse.training.package import write_bundle
from mrresponse.training.real_examples import (
    image_digests,
    load_lesion_case,
    load_liver_case,
    real_lesion_examples,
    real_liver_examples,
)
from mrresponse.training.settings import TrainingSettings, load_training_settings
from tests.dicom_files import SeriesPlan, write_series

SPACING = (8.0, 8.0, 8.0)
SHAPE = (32, 28, 24)


def write_case(
    folder: Path, name: str, *, image: str = "imagesTr/{}.nii.gz", label: str = "labelsTr/{}.nii.gz"
) -> None:
    """Write a bright box, the liver (1), with a brighter one in it, a lesion (2), 8 mm voxels."""
    labels = np.zeros(SHAPE, np.uint8)
    labels[6:22, 6:22, 5:19] = 1
    labels[10:16, 10:16, 9:15] = 2
    voxels = np.array([20.0, 100.0, 160.0], np.float32)[labels]
    voxels += np.random.default_rng(len(name)).normal(0, 1, SHAPE).astype(np.float32)
    for pattern, content in ((image, voxels), (label, labels)):
        file = folder / pattern.format(name)
        file.parent.mkdir(parents=True, exist_ok=True)
        nibabel.save(nibabel.Nifti1Image(content, np.diag([8.0, 8.0, 8.0, 1.0])), file)


def settings(folder: Path, **changes: Any) -> DataSettings:
    values = {
        "layout": "pairs",
        "folder": folder,
        "images": "imagesTr/*.nii.gz",
        "labels": "labelsTr/*.nii.gz",
        "contrast_phase": "ART",
    }
    return DataSettings.model_validate({**values, **changes})


def one_case(folder: Path) -> Case:
    write_case(folder, "p1")
    (case,) = list_cases(settings(folder))
    return case


def test_pairs_are_joined_by_what_the_star_stands_for(tmp_path: Path) -> None:
    for name in ("p1-a", "p1-b", "p2-a"):
        write_case(tmp_path, name, image="imagesTr/im{}.nii.gz", label="labelsTr/lb{}.nii.gz")
    (tmp_path / "imagesTr" / "imlonely.nii.gz").write_bytes(b"")
    chosen = settings(
        tmp_path, images="imagesTr/im*.nii.gz", labels="labelsTr/lb*.nii.gz", patient=r"^(p\d)-"
    )
    cases = list_cases(chosen)
    assert [(case.name, case.patient_id) for case in cases] == [
        ("p1-a", "p1"),
        ("p1-b", "p1"),
        ("p2-a", "p2"),
    ]
    assert set(cases[0].images) == {ContrastPhase.ARTERIAL}


def test_channels_of_a_dataset_json_become_contrast_phases(tmp_path: Path) -> None:
    for channel in ("0000", "0001"):
        write_case(tmp_path, "c7", image="imagesTr/{}_" + channel + ".nii.gz")
    (tmp_path / "dataset.json").write_text(json.dumps({"file_ending": ".nii.gz"}))
    chosen = settings(tmp_path, layout=Layout.DATASET_JSON, channels={0: "PRE", 1: "ART"})
    (case,) = list_cases(chosen)
    assert [path.name for path in case.images.values()] == ["c7_0000.nii.gz", "c7_0001.nii.gz"]
    with pytest.raises(ConfigError, match="channel 2 of case 'c7'"):
        list_cases(chosen.model_copy(update={"channels": {2: ContrastPhase.DELAYED}}))


def test_a_decathlon_list_names_its_own_labels(tmp_path: Path) -> None:
    write_case(tmp_path, "liver_3")
    entry = {"image": "./imagesTr/liver_3.nii.gz", "label": "./labelsTr/liver_3.nii.gz"}
    (tmp_path / "dataset.json").write_text(json.dumps({"training": [entry], "numTraining": 1}))
    (case,) = list_cases(settings(tmp_path, layout=Layout.DATASET_JSON, channels={0: "PVP"}))
    assert case.name == "liver_3"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"images": "nothing/*.nii.gz"}, "no labelled case"),
        ({"images": "imagesTr/p1.nii.gz"}, "needs exactly one"),
        ({"patient": "^(x)"}, "finds no patient in 'p1'"),
        ({"patient": "("}, "not a regular expression"),
        ({"layout": "dataset_json", "channels": {0: "ART"}}, "no readable dataset.json"),
        ({"layout": "results"}, "training.data.masks: missing"),
    ],
)
def test_what_is_wrong_with_a_data_set_is_said(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    write_case(tmp_path, "p1")
    with pytest.raises(ConfigError, match=message):
        list_cases(settings(tmp_path, **changes))


def test_every_patient_is_held_out_in_exactly_one_fold_with_all_its_studies(tmp_path: Path) -> None:
    cases = [
        Case(patient_id=f"p{patient}", name=f"p{patient}-{study}", images={})
        for patient in range(7)
        for study in range(2)
    ]
    held_out: list[str] = []
    for fold in range(3):
        train_on, test_on = split(cases, settings(tmp_path, folds=3, fold=fold))
        assert not {case.patient_id for case in train_on} & {case.patient_id for case in test_on}
        assert len(train_on) + len(test_on) == 14
        held_out += [case.name for case in test_on]
    assert sorted(held_out) == sorted(case.name for case in cases)


def test_too_few_patients_for_the_folds_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="1 patients cannot be dealt to 5 folds"):
        split([one_case(tmp_path)], settings(tmp_path))


def test_liver_examples_of_a_patient_keep_the_mask_on_the_organ(tmp_path: Path) -> None:
    case = load_liver_case(one_case(tmp_path), settings(tmp_path), SPACING)
    assert case.liver.sum() == 16 * 16 * 14
    stream = real_liver_examples([case], [(32, 24, 24)], SPACING, seed=1, batch=2)
    images, livers = next(stream)
    assert images.shape == (2, 1, 32, 24, 24)
    for image, liver in zip(images[:, 0], livers, strict=True):
        assert float(image[liver == 1].mean()) > float(image[liver == 0].mean()) + 0.5


def test_lesion_examples_of_a_patient_have_three_classes_and_one_phase(tmp_path: Path) -> None:
    case = load_lesion_case(one_case(tmp_path), settings(tmp_path), SPACING)
    assert case.lesions is not None
    assert int(case.lesions.sum()) == 6 * 6 * 6
    images, classes = next(real_lesion_examples([case], [(24, 24, 16)], SPACING, seed=1, batch=4))
    assert images.shape == (4, 6, 24, 24, 16)
    assert {int(value) for value in classes.unique()} == {0, 1, 2}
    # the arterial channel alone, and the lesion brighter than the liver in it
    assert not images[:, [0, 2, 3, 4]].any()
    arterial = images[:, 1]
    assert float(arterial[classes == 2].mean()) > float(arterial[classes == 1].mean()) + 0.5


def test_lesions_that_nobody_outlined_are_not_taught_as_liver(tmp_path: Path) -> None:
    chosen = settings(tmp_path, lesion_labels=None)
    case = load_lesion_case(one_case(tmp_path), chosen, SPACING)
    _, classes = next(real_lesion_examples([case], [(24, 24, 16)], SPACING, seed=1, batch=2))
    assert {int(value) for value in classes.unique()} == {IGNORED, 0}


def test_unknown_voxels_cost_nothing_whatever_is_said_of_them() -> None:
    torch.manual_seed(0)
    logits = torch.randn(1, 3, 4, 4, 4)
    target = torch.randint(0, 3, (1, 4, 4, 4))
    target[:, :2] = IGNORED
    other = logits.clone()
    other[:, :, :2] = 50 * torch.randn(1, 3, 2, 4, 4)
    weights = torch.tensor([1.0, 1.0, 3.0])
    known = dice_cross_entropy(logits, target, class_weights=weights)
    assert torch.allclose(known, dice_cross_entropy(other, target, class_weights=weights))
    nothing = dice_cross_entropy(logits, torch.full_like(target, IGNORED), class_weights=weights)
    assert float(nothing) == 0.0


def test_the_lesion_network_needs_a_contrast_phase(tmp_path: Path) -> None:
    write_case(tmp_path, "p1")
    chosen = settings(tmp_path, contrast_phase="OTHER")
    (case,) = list_cases(chosen)
    with pytest.raises(DataError, match="no T1 contrast phase"):
        load_lesion_case(case, chosen, SPACING)


def test_a_model_says_on_how_many_patients_it_was_trained(tmp_path: Path) -> None:
    for number in range(4):
        write_case(tmp_path / "data", f"p{number}")
    data = settings(tmp_path / "data", folds=4, share=1.0).model_dump()
    run = run_on(tmp_path / "data", stage="liver", minutes=0.001, data=data)
    checkpoint = train(run, tmp_path / "run")
    metadata = json.loads(write_bundle(run, checkpoint, tmp_path / "model", figures={}).read_text())
    assert metadata["training"]["patients"] == 3
    assert metadata["training"]["dataset"] == "synthetic images and 3 patients"
    card = (tmp_path / "model" / "docs" / "README.md").read_text()
    assert "Trained on **3 patients**" in card
    # fine-tuning does not forget whose images its start has seen
    again = train(run.model_copy(update={"initial": tmp_path / "model"}), tmp_path / "again")
    state = torch.load(again, weights_only=True)
    assert (state["patients"], state["lineage"]) == (6, ["own 0.1.0"])
    figures = evaluate_patients(run, checkpoint)
    assert figures["patients"] == 1
    assert 0.0 <= figures["mean"] <= 1.0


def test_what_is_left_out_of_a_data_set_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for name in ("p1", "p2", "p3"):
        write_case(tmp_path, name)
    (tmp_path / "labelsTr" / "p2.nii.gz").unlink()
    (tmp_path / "imagesTr" / "p3.nii.gz").unlink()
    assert [case.name for case in list_cases(settings(tmp_path))] == ["p1"]
    assert "left out, images without a label map: p2" in caplog.text
    assert "left out, label maps without an image: p3" in caplog.text


def test_a_channel_may_be_absent_in_some_cases_but_not_in_all(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("c7", "c8"):
        write_case(tmp_path, name, image="imagesTr/{}_0000.nii.gz")
    write_case(tmp_path, "c7", image="imagesTr/{}_0001.nii.gz")
    (tmp_path / "dataset.json").write_text(json.dumps({"file_ending": ".nii.gz"}))
    chosen = settings(tmp_path, layout=Layout.DATASET_JSON, channels={0: "PRE", 1: "ART"})
    first, second = list_cases(chosen)
    assert set(first.images) == {ContrastPhase.PRECONTRAST, ContrastPhase.ARTERIAL}
    assert set(second.images) == {ContrastPhase.PRECONTRAST}
    assert "without channel 1 (ART), which is shown as zeros: c8" in caplog.text
    (tmp_path / "imagesTr" / "c7_0001.nii.gz").unlink()
    with pytest.raises(ConfigError, match="no case has a channel 1"):
        list_cases(chosen)


def test_a_study_or_a_patient_without_use_for_training_is_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    data, masks = tmp_path / "data", tmp_path / "masks"
    rows = ["patient_id,study_date,contrast_phase,path"]
    for patient in ("A", "B"):
        write_case(data, patient)
        rows.append(f"{patient},2020-01-02,ART,imagesTr/{patient}.nii.gz")
    rows.append("C,2020-01-02,ART,imagesTr/absent.nii.gz")
    (data / "manifest.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    chosen = settings(data, layout=Layout.RESULTS, masks=masks)
    with pytest.raises(ConfigError, match=r"training\.data\.masks: 'masks' is not a folder"):
        list_cases(chosen)
    (masks / "A" / "2020-01-02").mkdir(parents=True)
    (data / "labelsTr" / "A.nii.gz").rename(masks / "A" / "2020-01-02" / "liver.nii.gz")
    assert [case.name for case in list_cases(chosen)] == ["A 2020-01-02"]
    assert "left out, studies without a mask liver.nii.gz: B 2020-01-02" in caplog.text
    assert "C 2020-01-02 cannot be used" in caplog.text


def test_masks_of_a_run_with_a_key_are_found_by_that_key(tmp_path: Path) -> None:
    data, masks, key = tmp_path / "data", tmp_path / "masks", tmp_path / "elsewhere" / "own.key"
    key.parent.mkdir()
    write_series(data / "series", SeriesPlan())
    (patient,) = ingest(data, IngestSettings(), key_file=key).patients
    folder = masks / patient.patient_id / patient.studies[0].study_date.isoformat()
    folder.mkdir(parents=True)
    (folder / "liver.nii.gz").touch()
    chosen = settings(data, layout="results", masks=masks, key=key)
    assert [case.patient_id for case in list_cases(chosen)] == [patient.patient_id]
    assert not (data / "mrresponse.key").exists()
    with pytest.raises(ConfigError, match=r"training\.data\.key: 'absent\.key' is not a file"):
        list_cases(settings(data, layout="results", masks=masks, key=tmp_path / "absent.key"))
    assert not (tmp_path / "absent.key").exists()
    # with another key the same patient has another name
    with pytest.raises(ConfigError, match=r"none of the 1 studies found has .*training\.data\.key"):
        list_cases(settings(data, layout="results", masks=masks))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"liver_labels": [1]}, "liver_labels lacks 2 of lesion_labels"),
        ({"channels": {0: "ART", 1: "ART"}}, "channels names ART twice"),
    ],
)
def test_settings_of_a_data_set_that_contradict_themselves_are_refused(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValidationError, match=message):
        settings(tmp_path, **changes)


def test_a_pattern_is_read_as_the_paths_are_written(tmp_path: Path) -> None:
    write_case(tmp_path, "p1")
    (case,) = list_cases(settings(tmp_path, images="./imagesTr/*.nii.gz"))
    assert case.name == "p1"
    with pytest.raises(ConfigError, match="is absolute"):
        list_cases(settings(tmp_path, images=f"{tmp_path}/imagesTr/*.nii.gz"))


def run_on(folder: Path, **changes: Any) -> TrainingSettings:
    values = {
        "stage": "lesions",
        "name": "own",
        "spacing_mm": SPACING,
        "patch_shapes": [[16, 16, 16]],
        "window": [32, 32, 32],
        "batch": 1,
        "minutes": 0.0001,
        "workers": 0,
        "device": "cpu",
        "data": settings(folder, folds=2, share=1.0).model_dump(),
    }
    return TrainingSettings.model_validate({**values, **changes})


@pytest.mark.parametrize("stage", ["liver", "lesions"])
def test_a_case_without_a_liver_is_named_before_anything_is_trained(tmp_path: Path, stage: str) -> None:
    for name in ("p1", "p2"):
        write_case(tmp_path, name)
    data = settings(tmp_path, folds=2, liver_labels=[63], lesion_labels=None).model_dump()
    message = r"^case 'p\d': found labels 1, 2, expected one of liver_labels \(63\)"
    with pytest.raises(DataError, match=message):
        # with a process of its own for the examples, whose errors are no errors of this program
        train(run_on(tmp_path, stage=stage, data=data, workers=1), tmp_path / "run")


def test_lesions_under_another_label_than_the_settings_name_are_an_error(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("p1", "p2"):
        write_case(tmp_path, name)
    wrong = settings(tmp_path, folds=2, liver_labels=[1, 3], lesion_labels=[3])
    with pytest.raises(ConfigError, match=r"lesion_labels: none of the 1 cases .* were found \(2\)"):
        load_cases(run_on(tmp_path, data=wrong.model_dump()))
    livers = settings(tmp_path, folds=2, liver_labels=[1], lesion_labels=None)
    load_cases(run_on(tmp_path, stage="liver", data=livers.model_dump()))
    assert "labels 2, which neither liver_labels nor lesion_labels name, are taken for outside" in caplog.text


def test_a_channel_of_zeros_is_a_phase_that_was_not_acquired(tmp_path: Path) -> None:
    write_case(tmp_path, "c7", image="imagesTr/{}_0001.nii.gz")
    write_case(tmp_path, "c7", image="imagesTr/{}_0000.nii.gz")
    zeros = tmp_path / "imagesTr" / "c7_0000.nii.gz"
    nibabel.save(nibabel.Nifti1Image(np.zeros(SHAPE, np.float32), np.diag([8.0, 8.0, 8.0, 1.0])), zeros)
    (tmp_path / "dataset.json").write_text(json.dumps({"file_ending": ".nii.gz"}))
    both = settings(tmp_path, layout=Layout.DATASET_JSON, channels={0: "ART", 1: "PVP"})
    alone = settings(tmp_path, layout=Layout.DATASET_JSON, channels={1: "PVP"})
    one, other = (load_lesion_case(list_cases(chosen)[0], chosen, SPACING) for chosen in (both, alone))
    assert torch.equal(one.images, other.images)


def test_a_patient_that_was_trained_on_is_never_held_out(tmp_path: Path) -> None:
    for name in ("p1", "p2", "p3"):
        write_case(tmp_path / "data", name)
    folds = [
        run_on(tmp_path / "data", data=settings(tmp_path / "data", folds=3, fold=fold).model_dump())
        for fold in (0, 1)
    ]
    checkpoint = train(folds[0], tmp_path / "run")
    message = r"training\.data\.fold: 1 of the 1 patients held out were trained on"
    with pytest.raises(ConfigError, match=message):
        train(folds[1], tmp_path / "run")
    with pytest.raises(ConfigError, match=message):
        train(folds[1].model_copy(update={"initial": checkpoint}), tmp_path / "other")
    with pytest.raises(ConfigError, match=message):
        evaluate_patients(folds[1], checkpoint)


def test_a_patient_that_was_trained_on_is_known_in_a_folder_that_was_moved(tmp_path: Path) -> None:
    # names of different lengths have different images
    for name in ("p1", "p02", "p003"):
        write_case(tmp_path / "data", name)
    checkpoint = train(
        run_on(tmp_path / "data", data=settings(tmp_path / "data", folds=3, fold=0).model_dump()),
        tmp_path / "run",
    )
    (tmp_path / "data").rename(tmp_path / "moved")
    same, other = (
        run_on(tmp_path / "moved", data=settings(tmp_path / "moved", folds=3, fold=fold).model_dump())
        for fold in (0, 1)
    )
    seen = torch.load(checkpoint, weights_only=True)["trained_on"]
    with pytest.raises(ConfigError, match=r"training\.data\.fold: 1 of the 1 patients held out"):
        refuse_seen(other, seen)
    refuse_seen(same, seen)
    train(same, tmp_path / "run")
    assert torch.load(checkpoint, weights_only=True)["patients"] == 2
    # equal names in another data set are other patients
    for file in (tmp_path / "moved" / "imagesTr").iterdir():
        image = nibabel.load(file)
        nibabel.save(nibabel.Nifti1Image(image.get_fdata(dtype=np.float32) + 1, image.affine), file)
    (tmp_path / "moved").rename(tmp_path / "others")
    refuse_seen(
        run_on(tmp_path, data=settings(tmp_path / "others", folds=3, fold=1).model_dump()),
        torch.load(checkpoint, weights_only=True)["trained_on"],
    )


def test_an_image_without_content_tells_nobody(tmp_path: Path) -> None:
    write_case(tmp_path, "p1")
    case = one_case(tmp_path)
    (digest,) = image_digests(case)
    image = case.images[ContrastPhase.ARTERIAL]
    assert isinstance(image, Path)
    # packed anew and under another name it is the same
    nibabel.save(nibabel.load(image), tmp_path / "again.nii")
    again = replace(case, images={ContrastPhase.ARTERIAL: tmp_path / "again.nii"})
    assert image_digests(again) == {digest}
    nibabel.save(nibabel.Nifti1Image(np.zeros(SHAPE, np.float32), np.eye(4)), image)
    assert image_digests(case) == set()
    image.unlink()
    assert image_digests(case) == set()


@pytest.mark.parametrize(
    ("file", "named"),
    # folders of a user's machine are nobody else's
    [("configs/train-own.yaml", "configs/train-own.yaml"), ("jane/trial.yaml", "trial.yaml")],
)
def test_the_card_names_the_settings_that_the_model_was_trained_with(
    tmp_path: Path, file: str, named: str
) -> None:
    synthetic = run_on(tmp_path, data=None)
    run = run_on(tmp_path, data=settings(tmp_path, share=0.25).model_dump())
    written = tmp_path / file
    written.parent.mkdir()
    written.write_text(json.dumps(run.model_dump(mode="json")), encoding="utf-8")
    checkpoint = train(synthetic, tmp_path / "run")
    write_bundle(load_training_settings(written), checkpoint, tmp_path / "model", figures={})
    card = tmp_path / "model" / "docs" / "README.md"
    page = card.read_text(encoding="utf-8")
    assert f"train_model.py {named} runs/own" in page
    assert f"package_model.py {named} runs/own/checkpoint.pt" in page
    assert f"evaluate_model.py {named} runs/own/checkpoint.pt" in page
    assert " examples (about 25 % of them of labelled patients, the others synthetic) in " in page
    assert "jane" not in page
    # whatever machine trained it
    assert "two-core" not in page
    write_bundle(synthetic, checkpoint, tmp_path / "model", figures={})
    page = card.read_text(encoding="utf-8")
    assert " synthetic examples in " in page
    assert "train_model.py CONFIG runs/own" in page


def test_patients_that_come_in_later_are_counted(tmp_path: Path) -> None:
    for name in ("p1", "p2"):
        write_case(tmp_path / "data", name)
    run = run_on(tmp_path / "data")
    checkpoint = train(run.model_copy(update={"data": None}), tmp_path / "run")
    assert torch.load(checkpoint, weights_only=True)["patients"] == 0
    train(run, tmp_path / "run")
    assert torch.load(checkpoint, weights_only=True)["patients"] == 1
    train(run, tmp_path / "run")
    assert torch.load(checkpoint, weights_only=True)["patients"] == 1


def test_a_checkpoint_of_other_settings_is_neither_packaged_nor_judged(tmp_path: Path) -> None:
    run = run_on(tmp_path, data=None)
    checkpoint = train(run, tmp_path / "run")
    (tmp_path / "junk.pt").write_bytes(b"no checkpoint")
    for other in (run_on(tmp_path, stage="liver"), run_on(tmp_path, spacing_mm=[4.0, 4.0, 4.0])):
        with pytest.raises(ModelError, match="stage lesions on a grid of 8 x 8 x 8 mm, which does not fit"):
            write_bundle(other, checkpoint, tmp_path / "model", figures={})
        with pytest.raises(ModelError, match="does not fit"):
            evaluate_patients(other, checkpoint)
    with pytest.raises(ModelError, match=r"'junk\.pt' is no checkpoint"):
        write_bundle(run, tmp_path / "junk.pt", tmp_path / "model", figures={})
    assert not (tmp_path / "model").exists()
    with pytest.raises(ConfigError, match=r"training\.initial: 'absent' is neither"):
        train(run.model_copy(update={"initial": Path("absent")}), tmp_path / "other")


def test_a_model_folder_names_no_patient_that_was_held_out(tmp_path: Path) -> None:
    run = run_on(tmp_path, data=None)
    figures = {"held_out": {"patients": 1, "lesion_dice": {"P001 2020-06-07": 0.7}, "mean": 0.7}}
    metadata = write_bundle(run, train(run, tmp_path / "run"), tmp_path / "model", figures=figures)
    assert json.loads(metadata.read_text())["figures"] == {"held_out": {"patients": 1, "mean": 0.7}}
    card = (tmp_path / "model" / "docs" / "README.md").read_text()
    assert "## Figures on patients held out\n- patients: 1\n- mean: 0.7\n" in card
    assert "P001" not in card
