"""The evaluation script compares masks by place, whatever order of axes their files have."""

import json
import subprocess
import sys
from pathlib import Path

import nibabel
import numpy as np

AFFINE = np.diag([2.0, 2.0, 3.0, 1.0])


def save(path: Path, voxels: np.ndarray, affine: np.ndarray = AFFINE) -> None:
    path.parent.mkdir(exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(voxels.astype(np.uint16), affine), path)


def flipped(voxels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Give the same volume with its first axis running the other way."""
    affine = AFFINE.copy()
    affine[0] = [-2.0, 0.0, 0.0, 2.0 * (voxels.shape[0] - 1)]
    return voxels[::-1], affine


def test_lesions_are_compared_by_place(checkout: Path, tmp_path: Path) -> None:
    reference = np.zeros((40, 40, 12))
    reference[5:13, 5:13, 4:8] = 1
    reference[25:30, 25:30, 4:8] = 2
    predicted = np.zeros_like(reference)
    predicted[5:13, 5:13, 4:8] = 7
    predicted[2:5, 30:34, 1:3] = 9
    save(tmp_path / "references" / "a.nii.gz", reference)
    save(tmp_path / "predictions" / "a.nii.gz", *flipped(predicted))
    out = tmp_path / "out.json"
    arguments = ["--predictions", tmp_path / "predictions", "--references", tmp_path / "references"]
    script = checkout / "scripts" / "evaluate.py"
    done = subprocess.run(
        [sys.executable, script, "lesions", *arguments, "--out", out], check=False, capture_output=True
    )
    assert done.returncode == 0, done.stderr
    summary = json.loads(out.read_text())["summary"]
    # the first lesion is found exactly, the second missed, and one alarm is false
    assert summary["reference_lesions"] == 2
    assert summary["sensitivity"] == 0.5
    assert summary["false_positives_per_scan"] == 1
    assert summary["diameter_error_median_mm"] == 0


def test_a_prediction_of_another_image_is_named_and_fails(checkout: Path, tmp_path: Path) -> None:
    save(tmp_path / "references" / "a.nii.gz", np.ones((10, 10, 6)))
    save(tmp_path / "predictions" / "a.nii.gz", np.ones((10, 10, 7)))
    arguments = ["--predictions", tmp_path / "predictions", "--references", tmp_path / "references"]
    script = checkout / "scripts" / "evaluate.py"
    done = subprocess.run(
        [sys.executable, script, "lesions", *arguments, "--out", tmp_path / "out.json"],
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    failures = json.loads((tmp_path / "out.json").read_text())["failures"]
    assert [(row["case"], row["code"]) for row in failures] == [("a", "grid_mismatch")]
