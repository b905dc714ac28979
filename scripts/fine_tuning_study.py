"""Fine-tune the shipped lesion network on a few labelled studies of a style that it has never seen, and judge it.

``fine_tuning_study.py OUT --json FILE`` renders synthetic studies of livers with iron overload, dark in every contrast
phase (set ``iron`` of ``evaluate.py``), which no training example shows on purpose: 20 to train on, 12 others to judge
on, and 12 of the usual style (set ``tuning``). The 20 are laid out as a site's own, and the public ``train`` goes
through them with ``configs/train-own.yaml`` for 20 minutes on one core, half of the batches synthetic as there; one of
them is held out, as training needs it. Reading and aligning the studies counts as training time.

Both networks are given the true liver: the liver network has never seen this style either, and what it misses would
hide what the lesion network finds. Lesion Dice is that of ``training/judge.py``, over all lesion voxels of a study,
after the thresholds of a run; its mean is over the studies that have a lesion.

``OUT`` keeps what each step made (studies, judged before, trained, judged after): run again to go on after the last
complete one.
"""

import argparse
import json
import shutil
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from figures import Figure, at_least, at_most, publish, reported

from mrresponse.config import Settings
from mrresponse.domain import LabelMap, Study
from mrresponse.errors import ConfigError, DataError, ModelError
from mrresponse.evaluate import bootstrap_interval, compare_lesions, dice
from mrresponse.files import write_atomically
from mrresponse.geometry import canonical_grid, paste, to_canonical
from mrresponse.ingest import ingest, read_study
from mrresponse.nifti import read_label_map, write_label_map
from mrresponse.pipeline import examine_images
from mrresponse.resources import configs_folder
from mrresponse.segment import Segmenter, make_segmenter
from mrresponse.segment.bundle import read_model_card
from mrresponse.synthetic.judging import TRAINING_FROM, JudgingCase, JudgingSet, judging_case
from mrresponse.synthetic.writers import ManifestRow, write_manifest, write_nifti_study
from mrresponse.training import TrainingSettings, load_training_settings, train
from mrresponse.training.judge import true_instances
from mrresponse.training.package import write_bundle

LEAST_GAIN = 0.1
LARGEST_LOSS = 0.02
NETWORK_SHARE = 0.98
"""Part of the minutes that the loop is given: starting it and its last step need the rest."""
IN_FEW_STEPS = {"warm_up_steps": 20, "pool_size": 12, "reuse": 40}
"""A few hundred steps are all there is time for: a short warm-up, and torsos that serve as often as in
``configs/train-lesions.yaml``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What a study is made of; another one needs another folder."""

    model: str
    cases: int
    test_cases: int
    minutes: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Scored:
    """What a network made of one study; ``dice`` is ``None`` where there is no lesion."""

    case: str
    dice: float | None
    false_lesions: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Trained:
    """What the training took; the clock of the wall and the processor's."""

    steps: int
    patients: int
    minutes: float
    cpu_minutes: float


def main(arguments: Sequence[str] | None = None) -> int:
    """Carry out what is left of the study; 1 where the claim does not hold, 2 where the study cannot be made."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("out", type=Path)
    parser.add_argument("--model", default="lesions-mr", help="lesion network to start from, name or folder")
    parser.add_argument("--cases", type=_at_least_two, default=20, help="labelled studies of the new style")
    parser.add_argument("--test-cases", type=_at_least_two, default=12, help="studies to judge on, per style")
    parser.add_argument("--minutes", type=float, default=20.0, help="of training")
    parser.add_argument("--json", type=Path, help="the figures")
    chosen = parser.parse_args(arguments)
    asked = Asked(
        model=chosen.model, cases=chosen.cases, test_cases=chosen.test_cases, minutes=chosen.minutes
    )
    torch.set_num_threads(1)
    try:
        return study(asked, chosen.out, chosen.json)
    except (ConfigError, DataError, ModelError) as error:
        sys.stderr.write(f"error: {error}\n")
        return 2


def study(asked: Asked, out: Path, file: Path | None) -> int:
    """Carry out every step that ``out`` does not hold yet and publish the figures."""
    _remember(asked, out)
    make_cases(JudgingSet.IRON, out / "own", count=asked.cases, first=TRAINING_FROM)
    make_cases(JudgingSet.IRON, out / "new", count=asked.test_cases)
    make_cases(JudgingSet.TUNING, out / "old", count=asked.test_cases)
    before = judged_once(asked.model, out, "before")
    trained = trained_once(asked, out)
    after = judged_once(str(out / "model"), out, "after")
    return publish(figures(before, after, trained, asked), file, last=_verdict(before, after))


def make_cases(which: JudgingSet, folder: Path, *, count: int, first: int = 0) -> None:
    """Write studies as a site would hold them, ``data`` with a manifest and ``masks``; the manifest comes last."""
    data, masks = folder / "data", folder / "masks"
    if (data / "manifest.csv").is_file():
        return
    rows: list[ManifestRow] = []
    for number in range(first, first + count):
        case = judging_case(which, number)
        rows += write_nifti_study(data, case.name, case.study)
        _write_masks(masks, case)
        print(f"{folder.name}: {case.name} made", flush=True)
    write_manifest(data, rows)


def judged_once(model: str, out: Path, when: str) -> dict[str, list[Scored]]:
    """Judge a network on both styles, or read how it was judged before."""
    file = out / f"{when}.json"
    if not file.is_file():
        found = {style: judged(out / style, model) for style in ("new", "old")}
        _write(file, {style: [asdict(one) for one in scores] for style, scores in found.items()})
    content = json.loads(file.read_text(encoding="utf-8"))
    return {style: [Scored(**row) for row in rows] for style, rows in content.items()}


def judged(folder: Path, model: str) -> list[Scored]:
    """Run the line with the true livers and a lesion network on every study of a folder."""
    settings = Settings()
    segment = replace(
        settings.segment, lesion_model=model, liver_masks=folder / "masks", device="cpu", threads=1
    )
    # one that was just trained says nothing of its own: the thresholds of the shipped one count for both
    shipped = read_model_card(settings.segment.lesion_model)
    segmenter = replace(make_segmenter(segment), suits=shipped.certainty)
    scores = []
    for patient in ingest(folder / "data", settings.ingest).patients:
        for visit in patient.studies:
            scores.append(_scored(visit, folder / "masks", segmenter, settings))
            print(f"{folder.name}: {scores[-1]}", flush=True)
    return scores


def trained_once(asked: Asked, out: Path) -> Trained:
    """Fine-tune and package the network, or read what that took.

    Raises
    ------
    DataError
        The training was ended from outside.
    """
    file = out / "trained.json"
    if not file.is_file():
        settings = training_settings(asked, out)
        # what was broken off goes on with a clock of its own, so it is begun anew
        shutil.rmtree(out / "run", ignore_errors=True)
        begun = time.process_time()
        checkpoint = train(settings, out / "run")
        cpu_minutes = (time.process_time() - begun) / 60
        state = torch.load(checkpoint, weights_only=True)
        minutes = float(state["seconds"]) / 60
        if minutes < 0.99 * settings.minutes:
            raise DataError(
                f"training ended after {minutes:.1f} minutes, expected {settings.minutes:.1f}; run again",
                code="training_stopped",
            )
        write_bundle(settings, checkpoint, out / "model", figures={})
        done = Trained(
            steps=int(state["step"]),
            patients=int(state["patients"]),
            minutes=minutes,
            cpu_minutes=cpu_minutes,
        )
        _write(file, asdict(done))
    return Trained(**json.loads(file.read_text(encoding="utf-8")))


def training_settings(asked: Asked, out: Path) -> TrainingSettings:
    """Return the published settings for one's own data, on one core, for a network of any width."""
    base = load_training_settings(configs_folder() / "train-own.yaml").model_dump()
    card = read_model_card(asked.model)
    limit = NETWORK_SHARE * asked.minutes
    return TrainingSettings.model_validate(
        {
            **base,
            **IN_FEW_STEPS,
            "name": "lesions-fine-tuned",
            "spacing_mm": card.spacing_mm,
            "window": card.window,
            "filters": card.architecture_arguments["init_filters"],
            "initial": card.folder,
            "minutes": limit,
            "total_minutes": limit,
            "device": "cpu",
            "threads": 1,
            "workers": 0,
            "data": {
                **base["data"],
                "folder": out / "own" / "data",
                "masks": out / "own" / "masks",
                # one study is held out: the least that there can be
                "folds": asked.cases,
            },
        }
    )


def figures(
    before: dict[str, list[Scored]], after: dict[str, list[Scored]], trained: Trained, asked: Asked
) -> list[Figure]:
    """Return what the claim is about, and what else there is to know."""
    gain, loss = (mean_change(before[style], after[style]) for style in ("new", "old"))
    rows = [
        at_least("lesion Dice gained, new style", gain, "", LEAST_GAIN),
        at_most("lesion Dice lost, old style", -loss, "", LARGEST_LOSS),
        at_most("training", trained.cpu_minutes, "CPU min", asked.minutes),
        reported("labelled studies trained on", trained.patients, ""),
        reported("steps", trained.steps, ""),
    ]
    for style in ("new", "old"):
        for when, scores in (("before", before[style]), ("after", after[style])):
            rows.append(reported(f"lesion Dice, {style} style, {when}", mean_dice(scores), ""))
            false = float(np.mean([one.false_lesions for one in scores]))
            rows.append(reported(f"false lesions per study, {style} style, {when}", false, ""))
        low, high = bootstrap_interval(changes(before[style], after[style])) or (np.nan, np.nan)
        rows.append(reported(f"change, {style} style, 95 % interval from", low, ""))
        rows.append(reported(f"change, {style} style, 95 % interval to", high, ""))
    return rows


def mean_dice(scores: Sequence[Scored]) -> float:
    """Return the mean over the studies that have a lesion."""
    return float(np.mean([one.dice for one in scores if one.dice is not None]))


def changes(before: Sequence[Scored], after: Sequence[Scored]) -> list[float]:
    """Return what the Dice of each study with a lesion has changed by."""
    then = {one.case: one.dice for one in before}
    pairs = [(then[one.case], one.dice) for one in after]
    return [new - old for old, new in pairs if old is not None and new is not None]


def mean_change(before: Sequence[Scored], after: Sequence[Scored]) -> float:
    """Return the mean change of the Dice over the studies that have a lesion.

    Raises
    ------
    DataError
        None of them has one.
    """
    values = changes(before, after)
    if not values:
        raise DataError("no study to judge on has a lesion, expected at least one", code="no_lesions")
    return float(np.mean(values))


def _verdict(before: dict[str, list[Scored]], after: dict[str, list[Scored]]) -> str:
    gain, change = (mean_change(before[style], after[style]) for style in ("new", "old"))
    return f"Lesion Dice changed by {gain:+.3f} in the new style and by {change:+.3f} in the old one."


def _scored(visit: Study, masks: Path, segmenter: Segmenter, settings: Settings) -> Scored:
    images = read_study(visit)
    examined = examine_images(visit, images, segmenter, settings)
    grid = canonical_grid(examined.prepared.native_grid)
    found = paste(examined.lesion_map.labels, examined.prepared.crop_start, grid).voxels
    file = masks / visit.patient_id / visit.study_date.isoformat() / "lesions.nii.gz"
    truth = to_canonical(read_label_map(file)).voxels
    compared = compare_lesions(found, truth, grid.spacing_mm, voxel_volume_ml=grid.voxel_volume_ml)
    return Scored(
        case=visit.patient_id,
        dice=dice(found > 0, truth > 0) if truth.any() else None,
        false_lesions=len(compared.false_positive_diameters_mm),
    )


def _write_masks(masks: Path, case: JudgingCase) -> None:
    folder = masks / case.name / case.study.plan.study_date.isoformat()
    grid = case.study.grid
    for name, voxels in (("liver", case.study.liver), ("lesions", true_instances(case.study))):
        write_label_map(folder / f"{name}.nii.gz", LabelMap(voxels=voxels.astype(np.uint16), grid=grid))


def _remember(asked: Asked, out: Path) -> None:
    """Keep what was asked for beside the results.

    Raises
    ------
    ConfigError
        ``out`` holds the results of something else.
    """
    file = out / "asked.json"
    if file.is_file() and json.loads(file.read_text(encoding="utf-8")) != asdict(asked):
        raise ConfigError(f"'{out.name}' holds a study with other settings; expected a new folder")
    _write(file, asdict(asked))


def _write(file: Path, content: Any) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(file, (json.dumps(content, indent=1) + "\n").encode())


def _at_least_two(text: str) -> int:
    value = int(text)
    if value < 2:
        raise argparse.ArgumentTypeError(f"found {value}, expected 2 or more")
    return value


if __name__ == "__main__":
    sys.exit(main())
