"""Judge a network on held-out synthetic seeds: overlap, found lesions, false alarms."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from scipy import ndimage

from mrresponse.segment.architectures import ARCHITECTURES
from mrresponse.segment.normalise import near_liver, normalise_liver_input, window_lesion_input
from mrresponse.synthetic.examples import LiverExampleSettings, liver_examples
from mrresponse.synthetic.lesion_examples import LesionExampleSettings, lesion_examples
from mrresponse.training.loop import (
    ARCHITECTURE,
    architecture_arguments,
    load_cases,
    read_checkpoint,
    refuse_seen,
)
from mrresponse.training.real_examples import RealCase
from mrresponse.training.settings import Stage, TrainingSettings

HELD_OUT_SEED = 900_000_001
"""Far from every seed that training derives from its settings."""

MATCH_IOU = 0.1
"""Least overlap (intersection over union) at which a found lesion counts as the true one."""

MINIMUM_VOLUME_ML = 0.07
MINIMUM_PEAK = 0.7
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True)
class LesionTally:
    """One example: true lesions of at least 10 mm, how many of them were found, false alarms, Dice over all lesions."""

    present: int
    found: int
    false_alarms: int
    dice: float | None


def evaluate(settings: TrainingSettings, checkpoint: Path, *, cases: int) -> dict[str, Any]:
    """Return figures of a checkpoint on ``cases`` held-out synthetic examples without random contrast."""
    network = _network(settings, checkpoint)
    figures = _evaluate_liver if settings.stage is Stage.LIVER else _evaluate_lesions
    return {"cases": cases, "seed": HELD_OUT_SEED, **figures(settings, network, cases)}


def evaluate_patients(settings: TrainingSettings, checkpoint: Path) -> dict[str, Any]:
    """Return figures of a checkpoint on the patients that ``settings.data`` holds out; lesions within the true liver.

    Raises
    ------
    ConfigError
        The settings name no data, or hold out patients on whom the checkpoint was trained.
    DataError
        A case cannot be used.
    """
    network = _network(settings, checkpoint)
    refuse_seen(settings, read_checkpoint(settings, checkpoint).get("trained_on", ()))
    _, held_out = load_cases(settings)
    if settings.stage is Stage.LIVER:
        livers = {case.name: _liver_score(network, case) for case in held_out}
        return {"patients": _patients(held_out), "liver_dice": livers, "mean": _mean(livers.values())}
    tallies = {
        case.name: _lesion_tally(network, case, settings.spacing_mm)
        for case in held_out
        if case.lesions is not None
    }
    scores = {name: tally.dice for name, tally in tallies.items()}
    return {
        "patients": _patients(held_out),
        "lesions_of_10_mm": sum(tally.present for tally in tallies.values()),
        "found": sum(tally.found for tally in tallies.values()),
        "false_alarms": sum(tally.false_alarms for tally in tallies.values()),
        "lesion_dice": scores,
        "mean": _mean(score for score in scores.values() if score is not None),
    }


def _network(settings: TrainingSettings, checkpoint: Path) -> Any:
    torch.set_num_threads(settings.threads)
    network = ARCHITECTURES[ARCHITECTURE](**architecture_arguments(settings))
    network.load_state_dict(read_checkpoint(settings, checkpoint)["averaged"])
    return network.to(memory_format=torch.channels_last_3d).eval()


def _patients(cases: Sequence[RealCase]) -> int:
    return len({case.patient_id for case in cases})


def _mean(scores: Iterable[float]) -> float | None:
    values = list(scores)
    return _rounded(np.mean(values)) if values else None


def _liver_score(network: Any, case: RealCase) -> float:
    image = normalise_liver_input(case.images[0].numpy())[None]
    return _rounded(dice(_predict_whole(network, image)[1] > 0.5, case.liver.numpy()))


def _lesion_tally(network: Any, case: RealCase, spacing_mm: tuple[float, float, float]) -> LesionTally:
    liver = case.liver.numpy()
    near = near_liver(liver.astype(np.float32), spacing_mm)
    channels = [window_lesion_input(image, liver) * near for image in case.images.numpy()]
    probability = _predict_whole(network, np.stack([*channels, liver]).astype(np.float32))[2]
    lesions = torch.as_tensor(case.lesions).numpy()
    return tally_lesions(np.where(near, probability, 0.0), lesions, spacing_mm)


def _predict_whole(network: Any, channels: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Return class probabilities of ``[channel, i, j, k]`` of any size."""
    shape = channels.shape[1:]
    padded = np.pad(channels, [(0, 0), *((0, -size % 8) for size in shape)], mode="edge")
    return _predict(network, torch.from_numpy(padded)[None])[:, : shape[0], : shape[1], : shape[2]]


def _evaluate_liver(settings: TrainingSettings, network: Any, cases: int) -> Mapping[str, Any]:
    examples = LiverExampleSettings(
        spacing_mm=settings.spacing_mm[0],
        patch_shapes=settings.patch_shapes,
        pool_size=cases,
        reuse=2,
        share_random=0.0,
    )
    stream = liver_examples(examples, seed=HELD_OUT_SEED, batch=1)
    scores = []
    for _ in range(cases):
        image, liver = next(stream)
        mask = liver[0].numpy() > 0
        # a crop that hardly touches the liver says nothing about overlap
        if mask.sum() * np.prod(settings.spacing_mm) > 50_000:
            scores.append(dice(_predict(network, image)[1] > 0.5, mask))
    return {
        "liver_dice_mean": _rounded(np.mean(scores)),
        "liver_dice_median": _rounded(np.median(scores)),
        "liver_dice_5th_percentile": _rounded(np.percentile(scores, 5)),
        "liver_dice_worst": _rounded(np.min(scores)),
    }


def _evaluate_lesions(settings: TrainingSettings, network: Any, cases: int) -> Mapping[str, Any]:
    examples = LesionExampleSettings(
        spacing_mm=settings.spacing_mm,
        patch_shapes=settings.patch_shapes[:1],
        reuse=3,
        share_without_lesion=0.3,
        share_random=0.0,
    )
    stream = lesion_examples(examples, seed=HELD_OUT_SEED, batch=1)
    tallies = []
    for _ in range(cases):
        image, classes = next(stream)
        tallies.append(
            tally_lesions(_predict(network, image)[2], classes[0].numpy() == 2, settings.spacing_mm)
        )
    present = sum(tally.present for tally in tallies)
    scores = [tally.dice for tally in tallies if tally.dice is not None]
    return {
        "lesions_of_10_mm": present,
        "sensitivity_10_mm": _rounded(sum(tally.found for tally in tallies) / max(1, present)),
        "false_alarms_per_example": _rounded(np.mean([tally.false_alarms for tally in tallies])),
        "lesion_dice_mean": _rounded(np.mean(scores)),
        "lesion_dice_median": _rounded(np.median(scores)),
    }


def _predict(network: Any, image: torch.Tensor) -> npt.NDArray[np.float32]:
    """Return class probabilities [class, i, j, k]."""
    with torch.inference_mode():
        logits = network(image.contiguous(memory_format=torch.channels_last_3d))
    found: npt.NDArray[np.float32] = torch.softmax(logits.float(), dim=1)[0].numpy()
    return found


def tally_lesions(
    probability: npt.NDArray[np.float32], truth: Mask, spacing_mm: tuple[float, float, float]
) -> LesionTally:
    """Match found to true components by overlap; true lesions below 10 mm count for neither side."""
    voxel_ml = float(np.prod(spacing_mm)) / 1000.0
    connected = np.ones((3, 3, 3), dtype=int)
    true_labels, true_count = ndimage.label(truth, connected)
    labels, count = ndimage.label(probability > 0.5, connected)
    present = found = 0
    explained: set[int] = set()
    for number in range(1, true_count + 1):
        mask = true_labels == number
        diameter_mm = (6.0 * mask.sum() * voxel_ml * 1000.0 / np.pi) ** (1 / 3)
        touching = [int(value) for value in np.unique(labels[mask]) if value > 0]
        explained.update(touching)
        if diameter_mm < 10.0:
            continue
        present += 1
        found += any(_iou(labels == value, mask) >= MATCH_IOU for value in touching)
    false_alarms = 0
    for value in range(1, count + 1):
        component = labels == value
        big = component.sum() * voxel_ml >= MINIMUM_VOLUME_ML and probability[component].max() >= MINIMUM_PEAK
        false_alarms += bool(big and value not in explained)
    score = dice(probability > 0.5, truth) if truth.any() else None
    return LesionTally(present=present, found=found, false_alarms=false_alarms, dice=score)


def dice(predicted: Mask, reference: Mask) -> float:
    """Return the Dice coefficient; two empty masks agree perfectly."""
    total = int(predicted.sum()) + int(reference.sum())
    return 1.0 if total == 0 else 2.0 * float((predicted & reference).sum()) / total


def _iou(a: Mask, b: Mask) -> float:
    return float((a & b).sum()) / float((a | b).sum())


def _rounded(value: Any) -> float:
    return round(float(value), 3)
