"""The steps of the study of fine-tuning fit together, are carried out once, and its figures are those of the claim."""

import json
from dataclasses import asdict
from datetime import date
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from mrresponse.domain import Certainty, ContrastPhase, Grid, Image, MeasurementSource
from mrresponse.resources import models_folder
from mrresponse.segment import Segmenter
from mrresponse.segment.precomputed import given_liver
from mrresponse.synthetic.judging import JudgingCase, JudgingSet
from mrresponse.synthetic.plans import StudyPlan
from mrresponse.synthetic.render import RenderedStudy
from mrresponse.training.cases import list_cases, split

PRE, ART = ContrastPhase.PRECONTRAST, ContrastPhase.ARTERIAL
GRID = Grid(shape=(36, 32, 20), affine_rows=((5.0, 0, 0, 0), (0, 5.0, 0, 0), (0, 0, 5.0, 0)))
ARGUMENTS = ("--cases", "3", "--test-cases", "2", "--minutes", "4")


@pytest.fixture(scope="module")
def study(checkout: Path) -> ModuleType:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(checkout / "scripts"))
        import fine_tuning_study
    return fine_tuning_study


def box_case(which: JudgingSet, number: int) -> JudgingCase:
    """Return a box for a liver, dark with iron, and a brighter box in it, a lesion."""
    liver, lesion = np.zeros(GRID.shape, bool), np.zeros(GRID.shape, bool)
    liver[6:30, 6:26, 4:16] = True
    lesion[12 + number % 5 : 18 + number % 5, 12:18, 7:12] = True
    tissue = liver.astype(int) + lesion
    noise = np.random.default_rng(number).normal(0, 2, GRID.shape)
    parenchyma = 40 if which is JudgingSet.IRON else 100
    images = {
        phase: (np.array([20, parenchyma, bright])[tissue] + noise).clip(0).astype(np.int16)
        for phase, bright in ((PRE, 120), (ART, 200))
    }
    rendered = RenderedStudy(
        plan=StudyPlan(study_date=date(2024, 1, 15), contrast_phases=(PRE, ART)),
        grid=GRID,
        images=images,
        liver=liver,
        lesions=(SimpleNamespace(whole_mask=lesion),),
    )
    return JudgingCase(name=f"{which}-{number}", study=rendered)


def box_segmenter(settings: Any) -> Segmenter:
    """Find what is bright; the shipped network does so in bright livers only."""

    def lesions(prepared):
        arterial = prepared.images[ART]
        blind = (
            settings.lesion_model == "lesions-mr"
            and np.median(arterial.voxels[prepared.liver.voxels > 0]) < 70
        )
        return Image(voxels=((arterial.voxels > 150) & (not blind)).astype(np.float32), grid=arterial.grid)

    return Segmenter(
        name="boxes",
        source=MeasurementSource.NETWORK,
        liver=lambda study, series, image: given_liver(settings.liver_masks, study, series, image),
        lesions=lesions,
    )


class Training:
    """In place of the training: what it was asked for, and how long it says it took."""

    def __init__(self) -> None:
        self.asked: list[Any] = []
        self.share = 1.0

    def train(self, settings: Any, out: Path) -> Path:
        self.asked.append(settings)
        trained_on, held_out = split(list_cases(settings.data), settings.data)
        assert len(held_out) == 1
        out.mkdir()
        torch.save(
            {
                "seconds": 60 * settings.minutes * self.share,
                "step": 7,
                "patients": len({case.patient_id for case in trained_on}),
            },
            out / "checkpoint.pt",
        )
        return out / "checkpoint.pt"


@pytest.fixture
def training(study: ModuleType, monkeypatch: pytest.MonkeyPatch) -> Training:
    training = Training()
    monkeypatch.setattr(study, "judging_case", box_case)
    monkeypatch.setattr(study, "make_segmenter", box_segmenter)
    monkeypatch.setattr(study, "train", training.train)
    monkeypatch.setattr(study, "write_bundle", lambda *_args, **_named: None)
    return training


def test_the_steps_fit_together_and_are_not_carried_out_twice(
    study: ModuleType, training: Training, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, file = tmp_path / "out", tmp_path / "figures.json"
    assert study.main([str(out), *ARGUMENTS, "--json", str(file)]) == 0
    figures = {row["name"]: row for row in json.loads(file.read_text())}
    assert figures["lesion Dice, new style, before"]["value"] == 0.0
    assert figures["lesion Dice, new style, after"]["value"] == 1.0
    assert figures["lesion Dice gained, new style"]["value"] == 1.0
    assert figures["lesion Dice lost, old style"]["value"] == 0.0
    assert figures["labelled studies trained on"]["value"] == 2
    (asked,) = training.asked
    # of four minutes, some seconds are left for what is not the loop
    assert 3.8 < asked.minutes == asked.total_minutes < 4.0
    assert (asked.threads, asked.workers, asked.device, asked.data.share) == (1, 0, "cpu", 0.5)
    # the shipped network's own width
    card = json.loads((asked.initial / "configs" / "metadata.json").read_text())
    assert asked.filters == card["architecture_arguments"]["init_filters"]
    # cases that are trained on are judged by nobody
    names = {
        folder: {path.name for path in (out / folder / "data" / "images").iterdir()}
        for folder in ("own", "new", "old")
    }
    assert names["own"] == {"iron-1000", "iron-1001", "iron-1002"}
    assert names["new"] == {"iron-0", "iron-1"}
    assert names["old"] == {"tuning-0", "tuning-1"}
    monkeypatch.setattr(study, "judging_case", None)
    monkeypatch.setattr(study, "make_segmenter", None)
    first = file.read_bytes()
    assert study.main([str(out), *ARGUMENTS, "--json", str(file)]) == 0
    assert len(training.asked) == 1
    assert file.read_bytes() == first


def test_a_training_that_was_ended_early_is_not_judged_but_begun_anew(
    study: ModuleType, training: Training, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    training.share = 0.5
    assert study.main([str(tmp_path / "out"), *ARGUMENTS]) == 2
    assert "training ended after 2.0 minutes, expected 3.9; run again" in capsys.readouterr().err
    assert not (tmp_path / "out" / "after.json").exists()
    training.share = 1.0
    assert study.main([str(tmp_path / "out"), *ARGUMENTS]) == 0


def test_a_folder_of_another_study_is_left_alone(
    study: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "asked.json").write_text('{"model": "lesions-mr", "cases": 20}')
    assert study.main([str(tmp_path), *ARGUMENTS]) == 2
    assert "holds a study with other settings" in capsys.readouterr().err


def test_both_networks_must_be_as_sure_as_the_shipped_one(
    study: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    patients = [SimpleNamespace(studies=["visit"])]
    monkeypatch.setattr(study, "make_segmenter", box_segmenter)
    monkeypatch.setattr(study, "ingest", lambda *_: SimpleNamespace(patients=patients))
    monkeypatch.setattr(study, "_scored", lambda _visit, _masks, segmenter, _settings: segmenter.suits)
    certainty = json.loads((models_folder() / "lesions-mr" / "configs" / "metadata.json").read_text())[
        "certainty"
    ]
    assert certainty != asdict(Certainty())
    for model in ("lesions-mr", str(tmp_path / "tuned")):
        (suits,) = study.judged(tmp_path, model)
        assert asdict(suits) == certainty


def test_the_claim_is_refuted_by_a_small_gain_or_by_what_is_lost(study: ModuleType) -> None:
    def scored(*values: float | None) -> list[Any]:
        return [study.Scored(case=str(n), dice=value, false_lesions=n) for n, value in enumerate(values)]

    before = {"new": scored(0.2, None, 0.4), "old": scored(0.8, 0.7)}
    after = {"new": scored(0.5, None, 0.2), "old": scored(0.75, 0.7)}
    asked = study.Asked(model="m", cases=20, test_cases=3, minutes=20.0)
    trained = study.Trained(steps=1, patients=19, minutes=19.6, cpu_minutes=19.0)
    rows = {row.name: row for row in study.figures(before, after, trained, asked)}
    # (0.3 - 0.2) / 2 and 0.05 / 2; the study without a lesion has no Dice
    assert (rows["lesion Dice gained, new style"].value, rows["lesion Dice gained, new style"].holds) == (
        0.05,
        False,
    )
    assert (rows["lesion Dice lost, old style"].value, rows["lesion Dice lost, old style"].holds) == (
        0.025,
        False,
    )
    assert rows["training"].holds
    assert rows["false lesions per study, new style, after"].value == 1.0
