"""nnU-Net and TotalSegmentator themselves, with networks whose answers are known: thresholds.

Not run by ``scripts/test.sh``: ``pytest -m external tests/external``, in an environment with both extras.
"""

import json
import socket
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mrresponse.cli import main
from mrresponse.config import Settings, settings_from
from mrresponse.domain import ContrastPhase, Grid, Image, PreparedStudy
from mrresponse.errors import DataError, ModelError
from mrresponse.run_record import model_identity, run_info
from mrresponse.segment import Segmenter, make_segmenter
from tests.external_models import SERIES, STUDY, noise, prepared_with, write_nnunet

pytest.importorskip("nnunetv2", reason="nnU-Net is not installed: pip install 'mrresponse[nnunet]'")
pytestmark = [
    pytest.mark.external,
    # libraries that are not ours, at import and in use
    pytest.mark.filterwarnings("default"),
]

LABELS = {"background": 0, "liver": 1, "lesion": 2}
SHAPE = (20, 24, 18)
LPS = Grid(shape=SHAPE, affine_rows=((-2.0, 0.0, 0.0, 9.0), (0.0, -2.0, 0.0, 4.0), (0.0, 0.0, 2.0, -7.0)))
RAS = Grid(shape=SHAPE, affine_rows=((2.0, 0.0, 0.0, 9.0), (0.0, 2.0, 0.0, 4.0), (0.0, 0.0, 2.0, -7.0)))


def settings_with(**segment: Any) -> Settings:
    return settings_from({"segment": {"device": "cpu", **segment}})


def segmenter_with(**segment: Any) -> Segmenter:
    return make_segmenter(settings_with(**segment).segment)


def liver_in(segmenter: Segmenter, image: Image) -> np.ndarray:
    found = segmenter.liver(STUDY, SERIES, image)
    assert found is not None
    assert found.grid == image.grid
    return found.voxels


def lesions_in(segmenter: Segmenter, prepared: PreparedStudy) -> np.ndarray:
    found = segmenter.lesions(prepared)
    assert isinstance(found, Image)
    assert found.grid == prepared.grid
    return found.voxels


def clear(values: np.ndarray, bound: float) -> np.ndarray:
    """Voxels whose value is so far from the bound that half precision and interpolation do not matter."""
    return np.abs(values - bound) > 5.0


@pytest.mark.parametrize("grid", [LPS, RAS])
def test_a_liver_comes_from_any_trained_model(tmp_path: Path, grid: Grid) -> None:
    folder = write_nnunet(tmp_path / "Dataset901_Liver", labels=LABELS)
    segmenter = segmenter_with(liver_model=str(folder), liver_external={"labels": ["liver"]})
    image = noise(1, grid)
    found = liver_in(segmenter, image)
    sure = clear(image.voxels, 100.0)
    np.testing.assert_array_equal(found[sure] > 0.5, image.voxels[sure] > 100.0)


@pytest.mark.parametrize(
    ("orientation", "reader", "signs"),
    [
        (None, "SimpleITKIO", (-1, -1, 1)),
        ("RAS", "SimpleITKIO", (1, 1, 1)),
        (None, "NibabelIOWithReorient", (1, 1, 1)),
        ("LPI", "SimpleITKIO", (-1, -1, -1)),
    ],
)
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_the_axes_run_where_the_model_expects_them(
    tmp_path: Path, orientation: str | None, reader: str, signs: tuple[int, int, int], axis: int
) -> None:
    shift = [0, 0, 0]
    shift[2 - axis] = 1  # its axes are z, y, x
    folder = write_nnunet(tmp_path / "Dataset901_Liver", labels=LABELS, shift=tuple(shift), reader=reader)
    external = {"labels": ["liver"], "orientation": orientation}
    image = noise(2, RAS)
    found = liver_in(segmenter_with(liver_model=str(folder), liver_external=external), image)
    # the network looks one voxel on along its axis
    seen = np.roll(image.voxels, -signs[axis], axis)
    inner = (slice(2, -2),) * 3
    sure = clear(seen, 100.0)[inner]
    np.testing.assert_array_equal(found[inner][sure] > 0.5, seen[inner][sure] > 100.0)


def test_contrast_phases_are_shown_in_the_order_that_is_stated(tmp_path: Path) -> None:
    folder = write_nnunet(
        tmp_path / "Dataset902_Lesion", labels=LABELS, weights=(-1.0, 1.0), bounds=(50.0,), label=2
    )
    pre, art = noise(3, RAS), noise(4, RAS)
    prepared = prepared_with({ContrastPhase.ARTERIAL: art, ContrastPhase.PRECONTRAST: pre})
    for channels, rise in (
        (["PRE", "ART"], art.voxels - pre.voxels),
        (["reference", "PRE"], pre.voxels - art.voxels),
    ):
        external = {"labels": ["lesion"], "channels": channels}
        found = lesions_in(segmenter_with(lesion_model=str(folder), lesion_external=external), prepared)
        sure = clear(rise, 50.0)
        np.testing.assert_array_equal(found[sure] > 0.5, rise[sure] > 50.0)


def test_an_absent_phase_is_an_error_unless_zeros_are_wanted(tmp_path: Path) -> None:
    folder = write_nnunet(tmp_path / "Dataset902_Lesion", labels=LABELS, weights=(1.0, 1.0), label=2)
    prepared = prepared_with({ContrastPhase.ARTERIAL: noise(5, RAS)})
    external: dict[str, Any] = {"labels": ["lesion"], "channels": ["ART", "HBP"]}
    with pytest.raises(DataError, match="found no HBP") as refused:
        lesions_in(segmenter_with(lesion_model=str(folder), lesion_external=external), prepared)
    assert refused.value.code == "phase_missing"
    external["absent_as_zero"] = True
    found = lesions_in(segmenter_with(lesion_model=str(folder), lesion_external=external), prepared)
    art = prepared.images[ContrastPhase.ARTERIAL].voxels
    sure = clear(art, 100.0)
    np.testing.assert_array_equal(found[sure] > 0.5, art[sure] > 100.0)


def test_the_mean_of_the_chosen_folds_counts(tmp_path: Path) -> None:
    folder = write_nnunet(tmp_path / "Dataset901_Liver", labels=LABELS, bounds=(100.0, 200.0))
    image = noise(6, RAS)
    # the mean of two thresholds of equal slope is the threshold between them
    for folds, bound in (([], 150.0), ([0], 100.0), ([1], 200.0), ([0, 1], 150.0)):
        external = {"labels": ["liver"], "folds": folds}
        found = liver_in(segmenter_with(liver_model=str(folder), liver_external=external), image)
        sure = clear(image.voxels, bound)
        np.testing.assert_array_equal(found[sure] > 0.5, image.voxels[sure] > bound)


def test_labels_of_regions_overlap(tmp_path: Path) -> None:
    labels = {"background": 0, "liver": [1, 2], "lesion": [2]}
    folder = write_nnunet(tmp_path / "Dataset903_Regions", labels=labels, label=0)
    image = noise(7, RAS)
    sure = clear(image.voxels, 100.0)
    for wanted, expected in (
        (["liver"], image.voxels > 100.0),
        (["lesion"], image.voxels < 0.0),
        (["liver", "lesion"], image.voxels > 100.0),
    ):
        found = liver_in(segmenter_with(liver_model=str(folder), liver_external={"labels": wanted}), image)
        np.testing.assert_array_equal(found[sure] > 0.5, expected[sure])


def test_an_image_of_another_spacing_comes_back_on_its_own_grid(tmp_path: Path) -> None:
    folder = write_nnunet(tmp_path / "Dataset901_Liver", labels=LABELS, spacing_mm=(3.0, 1.5, 1.5))
    grid = Grid(
        shape=(40, 36, 20), affine_rows=((1.2, 0.0, 0.0, 0.0), (0.0, 1.2, 0.0, 0.0), (0.0, 0.0, 2.5, 0.0))
    )
    at = np.moveaxis(np.indices(grid.shape), 0, -1) * grid.spacing_mm
    inside = np.linalg.norm(at - at[20, 18, 10], axis=-1) < 14.0
    image = Image(voxels=np.where(inside, 200.0, 1.0).astype(np.float32), grid=grid)
    found = (
        liver_in(segmenter_with(liver_model=str(folder), liver_external={"labels": ["liver"]}), image) > 0.5
    )
    assert 2 * (found & inside).sum() / (found.sum() + inside.sum()) > 0.95


def test_a_model_is_loaded_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

    loads = []
    load: Callable[..., None] = nnUNetPredictor.initialize_from_trained_model_folder
    monkeypatch.setattr(
        nnUNetPredictor,
        "initialize_from_trained_model_folder",
        lambda self, *args, **kwargs: (loads.append(1), load(self, *args, **kwargs))[1],
    )
    folder = write_nnunet(tmp_path / "Dataset901_Liver", labels=LABELS)
    segmenter = segmenter_with(liver_model=str(folder), liver_external={"labels": ["liver"]})
    for seed in (1, 2, 3):
        liver_in(segmenter, noise(seed, RAS))
    assert len(loads) == 1


def test_other_weights_are_another_model(tmp_path: Path) -> None:
    folder = write_nnunet(tmp_path / "Dataset901_Liver", labels=LABELS, bounds=(100.0,))
    other = write_nnunet(tmp_path / "other" / "Dataset901_Liver", labels=LABELS, bounds=(120.0,))
    settings = settings_with(liver_model=str(folder), liver_external={"labels": ["liver"]})
    before = model_identity(settings, None)
    (other / "fold_0" / "checkpoint_final.pth").replace(folder / "fold_0" / "checkpoint_final.pth")
    assert model_identity(settings, None) != before
    digests = run_info(settings, None).model_digests or {}
    (name,) = [key for key in digests if "checkpoint_final.pth" in key]
    assert name == "nnU-Net Dataset901_Liver 3d_fullres: fold_0/checkpoint_final.pth"


def test_a_run_goes_through_with_a_trained_model_for_the_lesions(tmp_path: Path) -> None:
    assert (
        main(["phantom", "--scenario", "R1", "--size", "tiny", "--seed", "1", "--out", str(tmp_path / "p")])
        == 0
    )
    folder = write_nnunet(
        tmp_path / "Dataset902_Lesion",
        labels=LABELS,
        weights=(-1.0, 1.0),
        bounds=(60.0,),
        label=2,
        spacing_mm=(4.0, 4.0, 4.0),
    )
    config = tmp_path / "config.yaml"
    truth = tmp_path / "p" / "truth" / "masks"
    lines = {"liver_masks": str(truth), "lesion_model": str(folder), "device": "cpu"}
    external = {"labels": ["lesion"], "channels": ["PRE", "ART"]}
    config.write_text(json.dumps({"segment": {**lines, "lesion_external": external}}), encoding="utf-8")
    run = tmp_path / "run"
    assert main(["run", str(tmp_path / "p" / "data"), "--config", str(config), "--out", str(run)]) == 0
    record = json.loads((run / "run.json").read_text(encoding="utf-8"))
    assert record["segmenter"].startswith("given livers + nnU-Net Dataset902_Lesion 3d_fullres ")
    assert sum("checkpoint_final.pth" in name for name in record["models"]) == 1
    assert all(len(digest) == 64 for digest in record["models"].values())


@pytest.fixture
def totalsegmentator(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Weights of TotalSegmentator's tasks as thresholds, in a home of its own that reports nothing."""
    pytest.importorskip(
        "totalsegmentator",
        reason="TotalSegmentator is not installed: pip install 'mrresponse[totalsegmentator]'",
    )
    from totalsegmentator.map_to_binary import class_map, class_map_parts_mr

    home = tmp_path / "home"
    home.mkdir()
    quiet = {
        "totalseg_id": "test",
        "send_usage_stats": False,
        "prediction_counter": 0,
        "statistics_disclaimer_shown": True,
    }
    (home / "config.json").write_text(json.dumps(quiet), encoding="utf-8")
    monkeypatch.setenv("TOTALSEG_HOME_DIR", str(home))
    weights = tmp_path / "weights"
    monkeypatch.setenv("TOTALSEG_WEIGHTS_PATH", str(weights))
    trainer = "nnUNetTrainer_2000epochs_NoMirroring"
    total = {"background": 0} | {name: number for number, name in class_map["total_mr"].items()}
    organs = {"background": 0} | {
        name: number for number, name in class_map_parts_mr["class_map_part_organs"].items()
    }
    write_nnunet(
        weights / "Dataset852_TotalSegMRI_total_3mm_1088subj",
        labels=total,
        bounds=(120.0,),
        label=total["liver"],
        trainer=trainer,
        spacing_mm=(3.0,) * 3,
    )
    write_nnunet(
        weights / "Dataset850_TotalSegMRI_part1_organs_1088subj",
        labels=organs,
        bounds=(90.0,),
        label=organs["liver"],
        trainer=trainer,
        spacing_mm=(1.5,) * 3,
    )
    write_nnunet(
        weights / "Dataset589_ct_mri_liver_lesions_750subj",
        labels={"background": 0, "liver_lesions": 1},
        bounds=(180.0,),
        trainer="nnUNetTrainer_DASegOrd0",
        spacing_mm=(1.0, 0.857421875, 0.8603515625),
    )
    (weights / "Dataset851_TotalSegMRI_part2_muscles_1088subj").mkdir()
    return weights


def blobs(grid: Grid) -> Image:
    """A liver of 150 with a lesion of 220 in a body of 40, all blurred."""
    from scipy import ndimage

    at = np.moveaxis(np.indices(grid.shape), 0, -1) * grid.spacing_mm
    voxels = np.full(grid.shape, 40.0)
    voxels[np.linalg.norm(at - [40.0, 34.0, 30.0], axis=-1) < 20.0] = 150.0
    voxels[np.linalg.norm(at - [46.0, 30.0, 32.0], axis=-1) < 8.0] = 220.0
    return Image(voxels=ndimage.gaussian_filter(voxels, 1.0).astype(np.float32), grid=grid)


ODD = Grid(
    shape=(38, 34, 22), affine_rows=((2.3, 0.0, 0.0, 9.0), (0.0, 2.1, 0.0, 4.0), (0.0, 0.0, 3.1, -7.0))
)


def api_mask(image: Image, label: str, **arguments: Any) -> np.ndarray:
    """Ask TotalSegmentator's own Python API."""
    import nibabel
    from totalsegmentator.map_to_binary import class_map
    from totalsegmentator.python_api import totalsegmentator as ask

    number = next(key for key, name in class_map[arguments["task"]].items() if name == label)
    given = nibabel.Nifti1Image(image.voxels, image.grid.affine)
    found = ask(given, None, device="cpu", quiet=True, nr_thr_saving=1, **arguments)
    return np.asarray(found.dataobj) == number


def test_the_liver_is_that_of_totalsegmentators_own_api(totalsegmentator: Path) -> None:
    image = blobs(ODD)
    for model, arguments in (
        ("totalsegmentator:total_fast_mr", {"task": "total_mr", "fast": True}),
        ("totalsegmentator:total_mr", {"task": "total_mr", "roi_subset": ["liver"]}),
    ):
        found = liver_in(segmenter_with(liver_model=model), image)
        expected = api_mask(image, "liver", **arguments)
        assert 1000 < expected.sum() < expected.size / 2
        np.testing.assert_array_equal(found, expected.astype(np.float32))


def test_lesions_are_those_of_totalsegmentators_own_api(totalsegmentator: Path) -> None:
    image = blobs(ODD)
    expected = api_mask(image, "liver_lesions", task="liver_lesions_mr")
    assert expected.sum() > 50
    prepared = prepared_with({ContrastPhase.PORTAL_VENOUS: image})
    found = lesions_in(segmenter_with(lesion_model="totalsegmentator:liver_lesions_mr"), prepared) > 0.5
    # the API crops to its own liver first, so its resampled grid is another one
    assert 2 * (found & expected).sum() / (found.sum() + expected.sum()) > 0.95


def test_totalsegmentators_networks_are_in_the_run_record(totalsegmentator: Path) -> None:
    info = run_info(settings_with(liver_model="totalsegmentator:total_mr"), None)
    assert info.segmenter.startswith("TotalSegmentator 2.")
    assert "total_mr + lesions-mr" in info.segmenter
    files = [name for name in info.model_digests or {} if name.endswith("checkpoint_final.pth")]
    assert len(files) == 2


def test_absent_weights_are_named_and_never_fetched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("totalsegmentator", reason="TotalSegmentator is not installed")
    monkeypatch.setenv("TOTALSEG_HOME_DIR", str(tmp_path / "home"))
    monkeypatch.setenv("TOTALSEG_WEIGHTS_PATH", str(tmp_path / "weights"))

    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("no connection is wanted")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    config = tmp_path / "config.yaml"
    config.write_text("segment: {liver_model: 'totalsegmentator:total_mr'}\n", encoding="utf-8")
    (tmp_path / "data").mkdir()
    assert main(["run", str(tmp_path / "data"), "--config", str(config), "--out", str(tmp_path / "run")]) == 2
    said = " ".join(capsys.readouterr().err.split())
    assert "totalseg_download_weights -t total_fast_mr" in said
    assert not (tmp_path / "weights").exists()
    assert not (tmp_path / "home").exists()
    assert not (tmp_path / "run").exists()


def test_a_narrow_range_of_intensities_is_refused(totalsegmentator: Path) -> None:
    image = blobs(ODD)
    dim = replace(image, voxels=image.voxels / 200.0)
    with pytest.raises(DataError, match="whole numbers"):
        liver_in(segmenter_with(liver_model="totalsegmentator:total_fast_mr"), dim)


def test_weights_that_do_not_fit_their_plan_are_a_model_error(tmp_path: Path) -> None:
    folder = write_nnunet(tmp_path / "Dataset901_Liver", labels=LABELS)
    dataset = json.loads((folder / "dataset.json").read_text(encoding="utf-8"))
    dataset["labels"]["spleen"] = 3
    (folder / "dataset.json").write_text(json.dumps(dataset), encoding="utf-8")
    with pytest.raises(ModelError, match="cannot be loaded"):
        segmenter_with(liver_model=str(folder), liver_external={"labels": ["liver"]})


def test_a_pass_of_a_default_plan_is_timed(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(checkout / "scripts"))
    from benchmark_compare import GRID, PATCH, nnunet_pass

    # windows advance by half: 16 voxels, so three of them cover 64
    seconds, windows = nnunet_pass(grid=(64, 32, 20), patch=(32, 32, 32))
    assert seconds > 0.0
    assert windows == 3
    assert (GRID, PATCH) == ((180, 209, 256), (112, 128, 160))


def test_the_comparison_stands_beside_both_networks(
    checkout: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.syspath_prepend(str(checkout / "scripts"))
    import benchmark
    import benchmark_compare

    figures = (benchmark.Figure(name="both networks", value=2.0, unit="s"),)
    monkeypatch.setitem(benchmark.BENCHMARKS, "study", lambda: figures)
    monkeypatch.setattr(benchmark_compare, "nnunet_pass", lambda: (200.0, 27))
    assert benchmark.main(["study", "--compare", "nnunet"]) == 0
    assert "100.000 times" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        benchmark.main(["startup", "--compare", "nnunet"])
