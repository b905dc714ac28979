"""A model folder runs in MONAI's own runner and finds there what it finds here."""

import json
import subprocess
import sys
from pathlib import Path

import nibabel
import numpy as np
import pytest
import torch

from mrresponse.domain import Grid, Image
from mrresponse.segment import SegmentSettings
from mrresponse.segment.bundle import read_model_card
from mrresponse.segment.network import liver_probability, load_network
from mrresponse.segment.normalise import bundle_lesion_input
from mrresponse.training.package import write_bundle
from mrresponse.training.settings import TrainingSettings

pytestmark = pytest.mark.slow
SHAPE, SPACING = (40, 36, 20), (4.0, 4.0, 4.0)


def bundle(folder: Path, *, stage: str, classes: int) -> Path:
    """Write a model folder with random weights of a fixed seed."""
    from mrresponse.segment.architectures import ARCHITECTURES
    from mrresponse.training.loop import architecture_arguments

    settings = TrainingSettings.model_validate(
        {
            "stage": stage,
            "name": stage,
            "spacing_mm": SPACING,
            "patch_shapes": [[16, 16, 16]],
            "window": [32, 32, 16],
        }
    )
    torch.manual_seed(classes)
    network = ARCHITECTURES["segresnet"](**architecture_arguments(settings))
    checkpoint = folder / "checkpoint.pt"
    state = {
        "averaged": network.state_dict(),
        "step": 1,
        "examples": 1,
        "seconds": 1.0,
        "seed": 1,
        "templates": [],
        "lineage": [],
        "patients": 0,
    }
    torch.save(state, checkpoint)
    write_bundle(settings, checkpoint, folder / stage, figures={})
    (folder / stage / "input").mkdir()
    return folder / stage


def run_monai(folder: Path, *arguments: str) -> None:
    command = [sys.executable, "-m", "monai.bundle", "run", "--config_file", "configs/inference.json"]
    done = subprocess.run(
        [*command, "--bundle_root", ".", *arguments], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def save(file: Path, voxels: np.ndarray) -> None:
    # the first axis runs to the left in the file: the bundle has to turn it
    affine = np.diag([-4.0, 4.0, 4.0, 1.0])
    nibabel.save(nibabel.Nifti1Image(voxels[::-1], affine), file)


def test_the_liver_bundle_gives_the_mask_that_the_program_gives(tmp_path: Path) -> None:
    folder = bundle(tmp_path, stage="liver", classes=2)
    voxels = np.random.default_rng(1).uniform(0, 300, SHAPE).astype(np.float32)
    save(folder / "input" / "case.nii.gz", voxels)
    run_monai(folder)
    found = nibabel.load(folder / "output" / "case_seg.nii.gz")
    np.testing.assert_array_equal(found.affine, np.diag([-4.0, 4.0, 4.0, 1.0]))
    grid = Grid(shape=SHAPE, affine_rows=((4.0, 0.0, 0.0, 0.0), (0.0, 4.0, 0.0, 0.0), (0.0, 0.0, 4.0, 0.0)))
    # the volume in one window, as in the bundle
    metadata = folder / "configs" / "metadata.json"
    metadata.write_text(json.dumps({**json.loads(metadata.read_text()), "window": [64, 64, 64]}))
    network = load_network(read_model_card(str(folder)), SegmentSettings(device="cpu"))
    expected = liver_probability(network, Image(voxels=voxels, grid=grid)).voxels > 0.5
    assert 0.01 < expected.mean() < 0.99
    different = (np.asarray(found.dataobj)[::-1] > 0) != expected
    assert different.mean() < 1e-3


def test_the_lesion_bundle_takes_six_files_and_writes_three_classes(tmp_path: Path) -> None:
    folder = bundle(tmp_path, stage="lesions", classes=3)
    rng = np.random.default_rng(2)
    liver = np.zeros(SHAPE, np.float32)
    liver[8:30, 8:30, 4:16] = 1.0
    files = []
    for name in ("pre", "art", "pvp", "del"):
        save(folder / "input" / f"{name}.nii.gz", rng.uniform(50, 150, SHAPE).astype(np.float32))
        files.append(f"input/{name}.nii.gz")
    save(folder / "input" / "none.nii.gz", np.zeros(SHAPE, np.float32))
    save(folder / "input" / "liver.nii.gz", liver)
    run_monai(folder, "--images", json.dumps([[*files, "input/none.nii.gz", "input/liver.nii.gz"]]))
    (file,) = (folder / "output").glob("*.nii.gz")
    found = nibabel.load(file)
    assert found.shape == SHAPE
    assert set(np.unique(np.asarray(found.dataobj))) <= {0, 1, 2}


def test_an_absent_phase_is_zero_and_what_is_far_from_the_liver_is_hidden() -> None:
    images = np.full((6, 24, 24, 24), 100.0, dtype=np.float32)
    images[0] = 0.0
    images[1, 10:14] = 150.0
    images[5] = 0.0
    images[5, 8:16, 8:16, 8:16] = 1.0
    found = bundle_lesion_input(images, (3.0, 3.0, 3.0))
    assert not found[0].any()
    # half of the liver is 100, half 150: the median is 125, so the halves lie 20 % below and above
    assert found[1, 9, 10, 10] == pytest.approx(-0.4)
    assert found[1, 11, 10, 10] == pytest.approx(0.4)
    assert not found[2].any()
    assert found[1, 11, 11, 22] == 0.0
