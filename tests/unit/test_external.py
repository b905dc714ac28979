"""Models of other libraries: what is refused before anything runs, and MONAI bundles from end to end."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mrresponse.batch import assess_cohort
from mrresponse.cli import main
from mrresponse.config import settings_from
from mrresponse.domain import (
    ContrastPhase,
    Failure,
    Grid,
    Image,
    Patient,
)
from mrresponse.errors import ConfigError, DataError, ModelError
from mrresponse.resume import study_key
from mrresponse.run_record import model_identity, run_info
from mrresponse.segment import make_segmenter
from mrresponse.segment.external import (
    ExternalLesionSettings,
    ExternalSettings,
    Stage,
    channel_image,
    checked_channels,
    checked_labels,
    guarded,
    require_extra,
)
from mrresponse.segment.models import check_models
from mrresponse.segment.nnunet import read_trained_model, refuse_code
from tests.external_models import (
    SERIES,
    STUDY,
    noise,
    prepared_with,
    save_checkpoint,
    write_bundle,
    write_description,
)

# MONAI's image readers say what they lack for DICOM, which no bundle is given here
pytestmark = pytest.mark.filterwarnings("ignore:NvImgCodecPydicomReader:UserWarning")

LABELS = {"background": 0, "liver": 1, "lesion": 2}
GRIDS = [
    Grid(
        shape=(20, 24, 18), affine_rows=((-2.0, 0.0, 0.0, 9.0), (0.0, 2.0, 0.0, 4.0), (0.0, 0.0, 2.0, -7.0))
    ),
    Grid(
        shape=(20, 24, 18), affine_rows=((2.0, 0.0, 0.0, 9.0), (0.0, -2.0, 0.0, 4.0), (0.0, 0.0, 2.0, -7.0))
    ),
]


def segment_settings(**segment: Any) -> Any:
    return settings_from({"segment": {"device": "cpu", **segment}}).segment


def trained_model(folder: Path, **description: Any) -> Path:
    """Write an nnU-Net folder whose checkpoint holds what a trainer saves, but no network of use."""
    target, plans, dataset = write_description(folder, **{"labels": LABELS, **description})
    state = {"weight": torch.zeros(2)}
    save_checkpoint(target / "fold_0" / "checkpoint_final.pth", state, plans, dataset)
    save_checkpoint(target / "fold_3" / "checkpoint_final.pth", state, plans, dataset)
    return target


def exit_code_and_words(
    segment: dict[str, Any], folder: Path, capsys: pytest.CaptureFixture[str]
) -> tuple[int, str]:
    """Run the command on an empty data folder and return its exit code and what it said."""
    config = folder / "config.yaml"
    config.write_text(json.dumps({"segment": segment}), encoding="utf-8")
    (folder / "data").mkdir(exist_ok=True)
    code = main(["run", str(folder / "data"), "--config", str(config), "--out", str(folder / "run")])
    assert not (folder / "run").exists()
    return code, " ".join(capsys.readouterr().err.split())


# --- MONAI bundles


def test_a_bundle_runs_nothing_without_trust(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    touched = tmp_path / "touched"
    folder = write_bundle(tmp_path / "bundle", device=f"$open('{touched}', 'w')")
    segment = {"lesion_model": str(folder), "lesion_external": {"labels": ["lesion"], "channels": ["PVP"]}}
    code, words = exit_code_and_words(segment, tmp_path, capsys)
    assert code == 2
    assert "segment.trust_expressions: false" in words
    assert "runs code when it is read" in words
    check_models(segment_settings(**segment, trust_expressions=True))
    assert not touched.exists()


@pytest.mark.parametrize("grid", GRIDS)
def test_a_bundle_finds_the_liver_through_its_own_transforms(tmp_path: Path, grid: Grid) -> None:
    folder = write_bundle(tmp_path / "bundle", channel_def={"0": "background", "1": "liver"})
    segmenter = make_segmenter(
        segment_settings(
            liver_model=str(folder), liver_external={"labels": ["liver"]}, trust_expressions=True
        )
    )
    assert segmenter.name.startswith("threshold 0.3.0 + lesions-mr")
    image = noise(1, grid)
    found = segmenter.liver(STUDY, SERIES, image)
    assert found is not None
    assert found.grid == grid
    np.testing.assert_array_equal(found.voxels, (image.voxels > 100.0).astype(np.float32))
    assert not Path("/nowhere").exists()


def test_the_lesions_of_a_bundle_come_from_the_phase_that_is_stated(tmp_path: Path) -> None:
    folder = write_bundle(tmp_path / "bundle")
    external = {"labels": [1], "channels": ["PVP"]}
    segmenter = make_segmenter(
        segment_settings(lesion_model=str(folder), lesion_external=external, trust_expressions=True)
    )
    images = {ContrastPhase.ARTERIAL: noise(2, GRIDS[0]), ContrastPhase.PORTAL_VENOUS: noise(3, GRIDS[0])}
    found = segmenter.lesions(prepared_with(images))
    assert isinstance(found, Image)
    expected = images[ContrastPhase.PORTAL_VENOUS].voxels > 100.0
    np.testing.assert_array_equal(found.voxels, expected.astype(np.float32))


def test_probabilities_of_a_bundle_are_kept_where_it_gives_them(tmp_path: Path) -> None:
    softmax = {"_target_": "Activationsd", "keys": "pred", "softmax": True}
    post = {"_target_": "Compose", "transforms": [softmax]}
    folder = write_bundle(tmp_path / "bundle", postprocessing=post)
    external = {"labels": ["lesion"], "channels": ["reference"]}
    segmenter = make_segmenter(
        segment_settings(lesion_model=str(folder), lesion_external=external, trust_expressions=True)
    )
    image = noise(4, GRIDS[0])
    found = segmenter.lesions(prepared_with({ContrastPhase.ARTERIAL: image}))
    assert isinstance(found, Image)
    # two classes with logits 0 and half of what is above 100; not turned back by the bundle, so brought back here
    inner = (slice(1, -1),) * 3
    expected = 1.0 / (1.0 + np.exp(-0.5 * (image.voxels.astype(np.float64) - 100.0)))
    np.testing.assert_allclose(found.voxels[inner], expected[inner], atol=1e-4)


def test_a_bundle_that_gives_no_probabilities_is_an_error(tmp_path: Path) -> None:
    folder = write_bundle(tmp_path / "bundle", postprocessing={"_target_": "Compose", "transforms": []})
    external = {"labels": ["lesion"], "channels": ["reference"]}
    segmenter = make_segmenter(
        segment_settings(lesion_model=str(folder), lesion_external=external, trust_expressions=True)
    )
    with pytest.raises(DataError, match="needs an activation"):
        segmenter.lesions(prepared_with({ContrastPhase.ARTERIAL: noise(4, GRIDS[0])}))


def test_a_study_without_a_t1_phase_is_not_shown_to_a_model(tmp_path: Path) -> None:
    folder = write_bundle(tmp_path / "bundle")
    external = {"labels": ["lesion"], "channels": ["ART"]}
    segmenter = make_segmenter(
        segment_settings(lesion_model=str(folder), lesion_external=external, trust_expressions=True)
    )
    found = segmenter.lesions(prepared_with({ContrastPhase.OTHER: noise(5, GRIDS[0])}))
    assert isinstance(found, Image)
    assert not found.voxels.any()


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda folder: (folder / "models" / "model.pt").unlink(), r"models/model\.pt cannot be read"),
        (lambda folder: (folder / "configs" / "metadata.json").write_text("{"), r"metadata\.json"),
        (lambda folder: (folder / "configs" / "metadata.json").write_text("{}"), "network_data_format"),
        (
            lambda folder: (folder / "configs" / "inference.json").write_text("{"),
            r"inference\.json cannot be read",
        ),
        (
            lambda folder: (folder / "configs" / "inference.json").write_text("{}"),
            "lacks preprocessing, inferer",
        ),
    ],
)
def test_an_incomplete_bundle_is_refused(tmp_path: Path, spoil: Any, words: str) -> None:
    folder = write_bundle(tmp_path / "bundle")
    spoil(folder)
    external = {"labels": ["lesion"], "channels": ["ART"]}
    with pytest.raises(ModelError, match=words):
        check_models(
            segment_settings(lesion_model=str(folder), lesion_external=external, trust_expressions=True)
        )


def test_a_bundle_whose_configuration_fails_is_a_model_error(tmp_path: Path) -> None:
    folder = write_bundle(tmp_path / "bundle", inferer="$1 / 0")
    external = {"labels": ["lesion"], "channels": ["ART"]}
    with pytest.raises(ModelError, match="cannot be loaded"):
        make_segmenter(
            segment_settings(lesion_model=str(folder), lesion_external=external, trust_expressions=True)
        )


def test_the_files_of_a_bundle_are_in_the_run_record_and_in_the_identity(tmp_path: Path) -> None:
    folder = write_bundle(tmp_path / "bundle")
    external = {"labels": ["lesion"], "channels": ["ART"]}
    settings = settings_from(
        {"segment": {"lesion_model": str(folder), "lesion_external": external, "trust_expressions": True}}
    )
    info = run_info(settings, None)
    assert info.segmenter.endswith(" + threshold 0.3.0")
    digests = info.model_digests or {}
    assert {"threshold 0.3.0: models/model.pt", "threshold 0.3.0: configs/inference.json"} <= set(digests)
    before = model_identity(settings, None)
    config = folder / "configs" / "inference.json"
    config.write_text(
        config.read_text(encoding="utf-8").replace("16, 16, 16", "24, 24, 16"), encoding="utf-8"
    )
    assert model_identity(settings, None) != before


# --- nnU-Net: what its folder says, without the library


def test_a_trained_model_says_its_labels_channels_and_folds(tmp_path: Path) -> None:
    found = read_trained_model(trained_model(tmp_path / "Dataset901_Liver", channels=2))
    assert found.name == "nnU-Net Dataset901_Liver 3d_fullres"
    assert found.labels == {"liver": 1, "lesion": 2}
    assert (found.channels, found.folds, found.has_regions) == (2, ("0", "3"), False)
    assert [file.parent.name for file in found.checkpoints] == ["fold_0", "fold_3"]


def test_regions_are_numbered_by_their_output_channel(tmp_path: Path) -> None:
    labels = {"background": 0, "liver": [1, 2], "lesion": [2], "ignore": 3}
    found = read_trained_model(trained_model(tmp_path / "Dataset901_Liver", labels=labels))
    assert found.labels == {"liver": 0, "lesion": 1}
    assert found.has_regions


def test_a_fold_that_is_not_there_is_refused(tmp_path: Path) -> None:
    folder = trained_model(tmp_path / "Dataset901_Liver")
    assert read_trained_model(folder, (3,)).folds == ("3",)
    with pytest.raises(ConfigError, match="found '1', expected some of 0, 3"):
        read_trained_model(folder, (1,))


@pytest.mark.parametrize(
    ("file", "content", "words"),
    [
        ("dataset.json", None, r"no readable dataset\.json"),
        ("plans.json", None, r"no readable plans\.json"),
        ("plans.json", "[", "not JSON"),
        ("plans.json", "[]", "no JSON object"),
        ("dataset.json", '{"labels": {}}', "lacks or garbles 'channel_names'"),
        ("dataset.json", '{"labels": 3, "channel_names": {}}', "lacks or garbles"),
    ],
)
def test_a_damaged_trained_model_is_refused(
    tmp_path: Path, file: str, content: str | None, words: str
) -> None:
    folder = trained_model(tmp_path / "Dataset901_Liver")
    (folder / file).unlink()
    if content is not None:
        (folder / file).write_text(content, encoding="utf-8")
    with pytest.raises(ModelError, match=words):
        read_trained_model(folder)


def test_a_trained_model_without_weights_is_refused(tmp_path: Path) -> None:
    folder, _, _ = write_description(tmp_path / "Dataset901_Liver", labels=LABELS)
    with pytest.raises(ModelError, match="expected its weights"):
        read_trained_model(folder)


def test_the_second_network_of_a_cascade_is_refused(tmp_path: Path) -> None:
    folder = trained_model(tmp_path / "Dataset901_Liver")
    plans = json.loads((folder / "plans.json").read_text(encoding="utf-8"))
    plans["configurations"]["3d_fullres"]["previous_stage"] = "3d_lowres"
    (folder / "plans.json").write_text(json.dumps(plans), encoding="utf-8")
    with pytest.raises(ModelError, match="cascade"):
        read_trained_model(folder)


class _Opens:
    """A pickle that opens a file for writing when it is read."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> tuple[Any, tuple[str, str]]:
        return open, (str(self.file), "w")


def test_a_checkpoint_that_would_run_code_is_refused_unread(tmp_path: Path) -> None:
    folder = trained_model(tmp_path / "Dataset901_Liver")
    # what a trainer saves beside the weights, NumPy's numbers among it, is no code
    refuse_code(read_trained_model(folder))
    checkpoint = folder / "fold_0" / "checkpoint_final.pth"
    torch.save({"network_weights": {}, "extra": _Opens(tmp_path / "touched")}, checkpoint)
    with pytest.raises(ModelError, match="could run as code"):
        refuse_code(read_trained_model(folder))
    assert not (tmp_path / "touched").exists()
    checkpoint.write_bytes(b"no checkpoint")
    with pytest.raises(ModelError, match=r"fold_0/checkpoint_final\.pth"):
        refuse_code(read_trained_model(folder))


@pytest.mark.parametrize(
    ("key", "name"),
    [
        ("network_class_name", "subprocess.Popen"),
        ("network_class_name", "dynamic_network_architectures.architectures.unet.torch.hub.load"),
        ("conv_op", "os.system"),
        ("conv_op", "torch.nn.modules.conv.torch.hub.load"),
    ],
)
def test_a_plan_that_names_something_else_than_a_network_is_refused(
    tmp_path: Path, key: str, name: str
) -> None:
    folder = trained_model(tmp_path / "Dataset901_Liver")
    plans = json.loads((folder / "plans.json").read_text(encoding="utf-8"))
    architecture = plans["configurations"]["3d_fullres"]["architecture"]
    (architecture if key in architecture else architecture["arch_kwargs"])[key] = name
    (folder / "plans.json").write_text(json.dumps(plans), encoding="utf-8")
    with pytest.raises(ModelError, match="expected a class of a network"):
        refuse_code(read_trained_model(folder))


# --- settings


def test_labels_are_chosen_by_name_or_number_and_never_guessed() -> None:
    available = {"liver": 1, "tumour": 2}
    for labels, expected in ((("liver", "tumour"), (1, 2)), ((2, "tumour"), (2,)), (("1",), (1,))):
        assert checked_labels(Stage.LIVER, ExternalSettings(labels=labels), available, "m") == expected
    with pytest.raises(
        ConfigError, match=r"segment\.liver_external\.labels: found none.*liver \(1\), tumour"
    ):
        checked_labels(Stage.LIVER, ExternalSettings(), available, "m")
    with pytest.raises(ConfigError, match=r"segment\.lesion_external\.labels: found 'lesion'"):
        checked_labels(Stage.LESION, ExternalSettings(labels=("lesion",)), available, "m")


def test_every_input_channel_needs_a_known_source() -> None:
    good = ExternalLesionSettings(channels=("PRE", "reference", "liver"))
    assert checked_channels(good, 3, "m") == ("PRE", "reference", "liver")
    with pytest.raises(ConfigError, match="found PRE, reference, liver, expected what each of the 2"):
        checked_channels(good, 2, "m")
    with pytest.raises(ConfigError, match="found none"):
        checked_channels(ExternalLesionSettings(), 1, "m")
    with pytest.raises(ConfigError, match="found 'T2', expected PRE, ART"):
        checked_channels(ExternalLesionSettings(channels=("T2",)), 1, "m")
    with pytest.raises(ModelError, match="one image at a time"):
        checked_channels(ExternalSettings(), 2, "m")


def test_a_channel_is_a_phase_the_reference_or_the_liver() -> None:
    images = {ContrastPhase.ARTERIAL: noise(6, GRIDS[0]), ContrastPhase.PRECONTRAST: noise(7, GRIDS[0])}
    prepared = prepared_with(images)
    for name, expected in (
        ("PRE", images[ContrastPhase.PRECONTRAST]),
        ("reference", images[ContrastPhase.ARTERIAL]),
        ("liver", prepared.liver_probability),
    ):
        assert channel_image(prepared, name, absent_as_zero=False) is expected
    assert not channel_image(prepared, "HBP", absent_as_zero=True).voxels.any()
    with pytest.raises(DataError, match="found no HBP"):
        channel_image(prepared, "HBP", absent_as_zero=False)


def test_settings_of_another_kind_of_model_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"segment\.liver_external\.labels: given, but model 'liver-mr'"):
        check_models(segment_settings(liver_external={"labels": ["liver"]}))
    with pytest.raises(ConfigError, match=r"segment\.lesion_external\.folds: given"):
        check_models(segment_settings(lesion_external={"folds": [0]}))


def test_a_misspelt_setting_of_a_model_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"segment\.lesion_external\.chanels.*did you mean 'channels'"):
        segment_settings(lesion_external={"chanels": ["ART"]})
    with pytest.raises(ConfigError, match=r"segment\.liver_external\.channels: unknown key"):
        segment_settings(liver_external={"channels": ["ART"]})


@pytest.mark.parametrize(
    ("stage", "model"),
    [
        ("liver", "totalsegmentator:liver_lesions_mr"),
        ("lesion", "totalsegmentator:total_mr"),
        ("liver", "totalsegmentator:"),
    ],
)
def test_a_task_of_the_other_stage_is_refused(stage: str, model: str) -> None:
    with pytest.raises(
        ConfigError, match=f"segment.{stage}_model: found '{model}', expected totalsegmentator:"
    ):
        check_models(segment_settings(**{f"{stage}_model": model}))


def test_a_library_that_is_not_installed_is_named_with_its_extra(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ModelError, match=r"pip install 'mrresponse\[nnunet\]'"):
        require_extra("no_such_library", "nnunet", "m")
    monkeypatch.setattr("mrresponse.segment.external.util.find_spec", lambda name: None)
    folder = trained_model(tmp_path / "Dataset901_Liver")
    for model, extra in ((str(folder), "nnunet"), ("totalsegmentator:total_mr", "totalsegmentator")):
        code, words = exit_code_and_words({"liver_model": model}, tmp_path, capsys)
        assert code == 2
        assert f"mrresponse[{extra}]" in words


def test_a_folder_that_is_no_model_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "empty").mkdir()
    code, words = exit_code_and_words({"lesion_model": str(tmp_path / "empty")}, tmp_path, capsys)
    assert code == 2
    assert "or a MONAI bundle" in words


def test_a_failure_of_a_model_costs_its_patient_only() -> None:
    def fails(_channels: object) -> Image:
        raise KeyError("spacing")

    def too_large(_channels: object) -> Image:
        raise torch.OutOfMemoryError("CUDA")

    with pytest.raises(DataError, match="model 'm' ended with KeyError") as broken:
        guarded(fails, "m")([])
    assert broken.value.code == "external_model"
    with pytest.raises(DataError, match="graphics memory") as full:
        guarded(too_large, "m")([])
    assert full.value.code == "gpu_memory"


def test_a_model_that_cannot_be_loaded_is_said_to_be_the_cause(tmp_path: Path) -> None:
    folder = write_bundle(tmp_path / "bundle", inferer="$1 / 0")
    external = {"labels": ["lesion"], "channels": ["ART"]}
    settings = settings_from(
        {"segment": {"lesion_model": str(folder), "lesion_external": external, "trust_expressions": True}}
    )
    (outcome,) = assess_cohort([Patient(patient_id="P1", studies=())], settings)
    assert isinstance(outcome, Failure)
    assert outcome.code == "model"
    assert "ZeroDivisionError" in outcome.message


def test_a_study_with_another_given_liver_is_done_again(tmp_path: Path) -> None:
    settings = settings_from({"segment": {"liver_masks": str(tmp_path)}})
    liver = tmp_path / "masks" / "P1" / "2020-01-01" / "liver.nii.gz"
    liver.parent.mkdir(parents=True)
    liver.write_bytes(b"one")
    before = study_key(STUDY, settings, "m", None)
    assert study_key(STUDY, settings, "m", None) == before
    liver.write_bytes(b"another")
    assert study_key(STUDY, settings, "m", None) != before
