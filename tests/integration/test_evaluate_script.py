"""The evaluation script compares masks by place, and judges a set of synthetic studies in parts."""

import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import nibabel
import numpy as np
import pytest

from mrresponse.evaluate import LesionComparison
from mrresponse.training import judge_set
from mrresponse.training.judge import JudgedCase

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


@pytest.fixture
def evaluate(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Give the script with networks, rendering and judging replaced: case ``n`` has a liver Dice of 1 / (n + 1)."""
    monkeypatch.syspath_prepend(str(checkout / "scripts"))
    import evaluate

    def judge(number: int, *_: object) -> JudgedCase:
        return JudgedCase(
            case=f"unseen-{number}",
            liver_dice=1 / (number + 1),
            liver_surface_dice_2mm=0.5,
            lesion_dice=None,
            lesions=LesionComparison(matches=(), missed_diameters_mm=(), false_positive_diameters_mm=()),
            flags=(),
            expected_liver_dice=0.9,
        )

    monkeypatch.setattr(judge_set, "judging_case", lambda _, number: number)
    monkeypatch.setattr(judge_set, "judge_case", judge)
    monkeypatch.setattr(evaluate, "model_identity", lambda *_: "stub 1.0 0123")
    monkeypatch.setattr(evaluate, "make_segmenter", lambda _: SimpleNamespace(name="stub 1.0"))
    return evaluate


def synthetic(*more: object) -> list[str]:
    return ["synthetic", "--set", "unseen", "--cases", "5", *map(str, more)]


def test_parts_of_a_set_give_the_result_of_one_run(evaluate: ModuleType, tmp_path: Path) -> None:
    whole, parts = tmp_path / "whole.json", tmp_path / "parts.json"
    assert evaluate.main(synthetic("--out", whole)) == 0
    assert evaluate.main(synthetic("--out", parts, "--part", "2/2")) == 0
    kept = sorted(file.name for file in (tmp_path / "parts.json.cases").iterdir())
    assert kept == ["1.json", "3.json"]
    assert not parts.exists()
    assert evaluate.main(synthetic("--out", parts, "--part", "1/2")) == 0
    assert evaluate.main(synthetic("--out", parts)) == 0
    assert parts.read_bytes() == whole.read_bytes()
    result = json.loads(whole.read_text())
    assert [case["case"] for case in result["cases"]] == [f"unseen-{number}" for number in range(5)]
    assert result["summary"]["liver_dice_worst"] == 0.2


def test_cases_of_another_model_are_one_line_and_nothing_is_written(
    evaluate: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    out = tmp_path / "u.json"
    assert evaluate.main(synthetic("--out", out, "--part", "1/5")) == 0
    monkeypatch.setattr(evaluate, "model_identity", lambda *_: "stub 1.0 4567")
    caplog.clear()
    assert evaluate.main(synthetic("--out", out)) == 2
    (said,) = caplog.messages
    assert "judged with model 'stub 1.0 0123', expected 'stub 1.0 4567'" in said
    assert not out.exists()


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--part", "1/2"], "--part: needs --out"),
        (["--part", "1/2", "--out", "{}/u.json", "--pictures", "{}/p"], "--pictures: not with --part"),
        (["--out", "{}"], "--out: this is a folder"),
        (["--pictures", "{}/file"], "--pictures: this folder cannot be made"),
    ],
)
def test_options_that_do_not_go_together_are_refused_at_once(
    evaluate: ModuleType, tmp_path: Path, caplog: pytest.LogCaptureFixture, more: list[str], said: str
) -> None:
    (tmp_path / "file").write_text("")
    assert evaluate.main(synthetic(*(word.format(tmp_path) for word in more))) == 2
    (line,) = caplog.messages
    assert line.startswith(said)


@pytest.mark.parametrize("more", [["--part", "0/2"], ["--part", "3/2"], ["--part", "2"], ["--cases", "0"]])
def test_a_part_or_a_number_that_makes_no_sense_is_refused(
    evaluate: ModuleType, capsys: pytest.CaptureFixture[str], more: list[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        evaluate.main(synthetic(*more))
    assert f"found '{more[1]}', expected" in capsys.readouterr().err


def test_best_median_and_worst_are_drawn_under_the_name_of_their_set(
    evaluate: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn = {}
    monkeypatch.setattr(
        evaluate, "judging_case", lambda _, number: SimpleNamespace(study=None, number=number)
    )
    monkeypatch.setattr(evaluate, "found_in", lambda *_: None)
    monkeypatch.setattr(
        evaluate, "case_picture", lambda case, found, judged, *, rank: (case.number, judged.case, rank)
    )
    monkeypatch.setattr(
        evaluate, "save", lambda figure, path: drawn.update({path.relative_to(tmp_path).as_posix(): figure})
    )
    assert evaluate.main(synthetic("--out", tmp_path / "u.json", "--pictures", tmp_path / "p")) == 0
    assert drawn == {
        "p/unseen-best.png": (0, "unseen-0", "best of 5"),
        "p/unseen-median.png": (2, "unseen-2", "median of 5"),
        "p/unseen-worst.png": (4, "unseen-4", "worst of 5"),
    }
