"""The training loop: a time-limited segment that resumes from the last checkpoint."""

import hashlib
import json
import logging
import math
import os
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from pickle import UnpicklingError
from types import FrameType
from typing import Any

import torch
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from mrresponse.errors import ConfigError, ModelError
from mrresponse.segment.architectures import ARCHITECTURES, SEGRESNET_SMALL
from mrresponse.segment.bundle import read_model_card, verify_weights
from mrresponse.segment.network import resolve_device
from mrresponse.segment.precision import autocast
from mrresponse.synthetic.examples import LiverExampleSettings, liver_examples
from mrresponse.synthetic.label_maps import load_templates, mixed_source
from mrresponse.synthetic.lesion_examples import LesionExampleSettings, lesion_examples
from mrresponse.training.cases import DataSettings, list_cases, split
from mrresponse.training.fused_norm import fuse_norm_and_relu
from mrresponse.training.losses import dice_cross_entropy, lesionwise_loss, tversky_loss
from mrresponse.training.real_examples import (
    RealCase,
    image_digests,
    load_lesion_case,
    load_liver_case,
    real_lesion_examples,
    real_liver_examples,
)
from mrresponse.training.settings import Stage, TrainingSettings
from mrresponse.training.widen import widen

_log = logging.getLogger(__name__)

ARCHITECTURE = "segresnet"
CHANNELS = {Stage.LIVER: (1, 2), Stage.LESIONS: (6, 3)}
CHECKPOINT = "checkpoint.pt"
_STOPPING: tuple[int, ...] = (signal.SIGTERM, signal.SIGINT)
_FIRST_WEIGHTS = "convInit.conv.weight"
"""Of the convolution at the full resolution; its outputs are the network's filters."""
Batch = tuple[torch.Tensor, torch.Tensor]


@dataclass(slots=True)
class _Run:
    """What changes while training."""

    network: Any
    device: torch.device
    averaged: dict[str, torch.Tensor]
    optimiser: torch.optim.Optimizer
    step: int = 0
    seconds: float = 0.0
    examples: int = 0
    templates: list[str] = field(default_factory=list)
    lineage: list[str] = field(default_factory=list)
    """Models and runs whose weights were the start, the oldest first."""
    patients: int = 0
    """Patients whose images they saw, counted once per run."""
    trained_on: set[str] = field(default_factory=set)
    """Digests by which these patients are known again, so that none of them is held out later."""


def architecture_arguments(settings: TrainingSettings) -> dict[str, Any]:
    """Return the constructor arguments of the network of a run."""
    inputs, classes = CHANNELS[settings.stage]
    return {
        **SEGRESNET_SMALL,
        "init_filters": settings.filters,
        "in_channels": inputs,
        "out_channels": classes,
    }


def train(settings: TrainingSettings, out_dir: Path, *, minutes: float | None = None) -> Path:
    """Train for ``minutes`` (``settings.minutes`` by default) and return the checkpoint written.

    A checkpoint found in ``out_dir`` is resumed; the log goes to ``log.jsonl`` beside it. Seeds follow the step at
    which a segment starts, so a resumed segment sees fresh examples.

    Raises
    ------
    ConfigError
        The network to start from has more filters than this one, or this one no multiple of them; or it was trained on
        patients that are held out now.
    ModelError
        A checkpoint to start from does not fit the network.
    DataError
        A labelled case cannot be used.
    """
    torch.set_num_threads(settings.threads)
    out_dir.mkdir(parents=True, exist_ok=True)
    run = _start(settings, out_dir)
    # read here and not by the processes that draw examples, whose errors would reach the user as tracebacks
    cases = None if settings.data is None else load_cases(settings)[0]
    seed = settings.seed * 1_000_003 + run.step
    weights = torch.tensor(_class_weights(settings), device=run.device)
    board = _board(settings, out_dir)
    begun = saved = time.monotonic()
    limit = 60 * (settings.minutes if minutes is None else minutes)
    base_seconds, losses, waited = run.seconds, [], 0.0
    with _batches(settings, cases, seed=seed) as batches, _stopped_by_signals() as stopped:
        while time.monotonic() - begun < limit and not stopped.is_set():
            before = time.monotonic()
            images, target = next(batches)
            waited += time.monotonic() - before
            losses.append(_step(run, settings, images, target, weights))
            run.seconds = base_seconds + time.monotonic() - begun
            run.examples += images.shape[0]
            if run.step % settings.log_every == 0:
                _write_log(out_dir, run, settings, losses, waited)
                if board is not None:
                    _write_board(board, run, losses)
                losses, waited = [], 0.0
            if time.monotonic() - saved > settings.checkpoint_minutes * 60:
                _save(run, settings, out_dir)
                saved = time.monotonic()
        if board is not None:
            board.close()
        return _save(run, settings, out_dir)


class _Stream(IterableDataset[Batch]):
    """Examples drawn in worker processes, each with a seed of its own."""

    def __init__(self, settings: TrainingSettings, cases: Sequence[RealCase] | None, seed: int) -> None:
        self.settings, self.cases, self.seed = settings, cases, seed

    def __iter__(self) -> Iterator[Batch]:
        worker = get_worker_info()
        number = worker.id if worker else 0
        return make_batches(self.settings, self.cases, seed=self.seed + 7_919 * number)


@contextmanager
def _batches(
    settings: TrainingSettings, cases: Sequence[RealCase] | None, *, seed: int
) -> Iterator[Iterator[Batch]]:
    """Draw batches while the block runs, and end the processes that draw them however it ends."""
    drawn = iter(_loader(settings, cases, seed=seed))
    try:
        yield drawn
    finally:
        # they are deaf to SIGTERM: after an error, whose traceback keeps them, the program would wait for them for ever
        end = getattr(drawn, "_shutdown_workers", None)
        if end is not None:
            end()


def _loader(settings: TrainingSettings, cases: Sequence[RealCase] | None, *, seed: int) -> DataLoader[Batch]:
    ahead = 3 if settings.workers else None
    return DataLoader(
        _Stream(settings, cases, seed),
        batch_size=None,
        num_workers=settings.workers,
        prefetch_factor=ahead,
        worker_init_fn=_leave_signals_to_parent,
        pin_memory=resolve_device(settings.device) != "cpu",
    )


def _class_weights(settings: TrainingSettings) -> tuple[float, ...]:
    return (1.0, 1.0) if settings.stage is Stage.LIVER else (1.0, 1.0, settings.lesion_weight)


def _leave_signals_to_parent(_worker: int) -> None:
    """Have a process that draws examples go on when all are told to end: the parent keeps its work, and ends it."""
    for number in _STOPPING:
        signal.signal(number, signal.SIG_IGN)


@contextmanager
def _stopped_by_signals() -> Iterator[threading.Event]:
    """Let SIGTERM and Ctrl-C end the segment after the running step, so that its work is kept; twice ends it at once.

    Raises
    ------
    KeyboardInterrupt
        After the block, where it was Ctrl-C that ended it.
    """
    stopped = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stopped
        return
    heard: list[int] = []

    def stop(number: int, _frame: FrameType | None) -> None:
        heard.append(number)
        stopped.set()
        signal.signal(number, before[number])

    before: dict[int, Any] = {}
    for number in _STOPPING:
        before[number] = signal.signal(number, stop)
    try:
        yield stopped
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if signal.SIGINT in heard:
        raise KeyboardInterrupt


def make_batches(
    settings: TrainingSettings, cases: Sequence[RealCase] | None, *, seed: int
) -> Iterator[Batch]:
    """Return the endless stream of batches of a stage: synthetic ones, mixed with those of labelled cases."""
    synthetic = _synthetic_batches(settings, seed=seed)
    if settings.data is None or cases is None:
        return synthetic
    examples = real_liver_examples if settings.stage is Stage.LIVER else real_lesion_examples
    real = examples(cases, settings.patch_shapes, settings.spacing_mm, seed=seed, batch=settings.batch)
    return _mixed(real, synthetic, settings.data.share, seed=seed)


def load_cases(settings: TrainingSettings) -> tuple[list[RealCase], list[RealCase]]:
    """Read the labelled patients of a run onto the network's grid: those to train on, and those held out.

    Raises
    ------
    ConfigError
        The settings name no data, nothing is found there, or the labels that they name for lesions are not those of
        the cases.
    DataError
        A case cannot be used.
    """
    data = settings.data
    if data is None:
        raise ConfigError("training.data: missing, expected a labelled data set")
    load = load_liver_case if settings.stage is Stage.LIVER else load_lesion_case
    parts = split(list_cases(data), data)
    train_on, held_out = ([load(case, data, settings.spacing_mm) for case in part] for part in parts)
    unnamed = sorted({label for case in (*train_on, *held_out) for label in case.unnamed_labels})
    listed = ", ".join(str(label) for label in unnamed)
    outlined = [case.lesions for case in train_on if case.lesions is not None]
    if outlined and not any(bool(lesions.any()) for lesions in outlined):
        if unnamed:
            raise ConfigError(
                f"training.data.lesion_labels: none of the {len(outlined)} cases to train on has a lesion, but labels "
                f"that neither liver_labels nor lesion_labels name were found ({listed})"
            )
        _log.warning("training.data: none of the %d cases to train on has a lesion", len(outlined))
    elif unnamed:
        _log.warning(
            "training.data: labels %s, which neither liver_labels nor lesion_labels name, are taken for outside",
            listed,
        )
    return train_on, held_out


def _mixed(real: Iterator[Batch], synthetic: Iterator[Batch], share: float, *, seed: int) -> Iterator[Batch]:
    rng = random.Random(seed)
    while True:
        yield next(real if rng.random() < share else synthetic)


def _synthetic_batches(settings: TrainingSettings, *, seed: int) -> Iterator[Batch]:
    if settings.stage is Stage.LIVER:
        examples = LiverExampleSettings(
            spacing_mm=settings.spacing_mm[0],
            patch_shapes=settings.patch_shapes,
            pool_size=settings.pool_size,
            reuse=settings.reuse,
        )
        source = mixed_source(settings.label_maps) if settings.label_maps is not None else None
        return liver_examples(examples, seed=seed, source=source, batch=settings.batch)
    lesion_settings = LesionExampleSettings(
        spacing_mm=settings.spacing_mm,
        patch_shapes=settings.patch_shapes,
        pool_size=settings.pool_size,
        reuse=settings.reuse,
        median_mm=settings.median_mm,
    )
    return lesion_examples(lesion_settings, seed=seed, batch=settings.batch)


def _start(settings: TrainingSettings, out_dir: Path) -> _Run:
    torch.manual_seed(settings.seed)
    device = torch.device(resolve_device(settings.device))
    network = ARCHITECTURES[ARCHITECTURE](**architecture_arguments(settings))
    network = network.to(device=device, memory_format=torch.channels_last_3d).train()
    if device.type == "cpu":
        fuse_norm_and_relu(network)
    optimiser = torch.optim.AdamW(
        network.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay
    )
    run = _Run(network, device, {k: v.detach().clone() for k, v in network.state_dict().items()}, optimiser)
    run.templates = template_names(settings)
    checkpoint, start = out_dir / CHECKPOINT, None
    try:
        if checkpoint.is_file():
            state = read_checkpoint(settings, checkpoint, device=device)
            network.load_state_dict(state["raw"])
            run.averaged = state["averaged"]
            optimiser.load_state_dict(state["optimiser"])
            run.step, run.seconds, run.examples = state["step"], state["seconds"], state["examples"]
            run.lineage, run.patients = state["lineage"], state["patients"]
            run.trained_on = set(state.get("trained_on", ()))
            return _with_patients(run, settings, known="trained_on" in state or not run.patients)
        elif settings.initial is not None:
            start = _initial(settings.initial)
            _check_filters(settings, start.weights)
            weights = widen(start.weights, network.state_dict(), seed=settings.seed)
            run.averaged = {name: value.to(device) for name, value in weights.items()}
            run.lineage, run.patients = start.lineage, start.patients
            network.load_state_dict(run.averaged)
    except (OSError, KeyError, RuntimeError, ValueError) as error:
        raise ModelError(f"checkpoint for '{settings.name}' does not fit its network ({error})") from error
    return _with_patients(run, settings, inherited=set() if start is None else start.trained_on)


def _with_patients(
    run: _Run, settings: TrainingSettings, *, inherited: Collection[str] = (), known: bool = True
) -> _Run:
    """Count the patients that a run trains on and did not before.

    ``inherited`` are those of the weights that it starts from; of an older checkpoint they are not ``known``.
    """
    if settings.data is not None:
        now, held_out = _digests(settings.data)
        _refuse(held_out, {*run.trained_on, *inherited})
        run.patients += sum(run.trained_on.isdisjoint(digests) for digests in now) if known else 0
        run.trained_on.update(*now)
    run.trained_on.update(inherited)
    return run


def refuse_seen(settings: TrainingSettings, trained_on: Collection[str]) -> None:
    """Refuse weights that were trained on patients whom the settings hold out, as after a change of the fold.

    Raises
    ------
    ConfigError
        They were.
    """
    if settings.data is not None and trained_on:
        _, held_out = _digests(settings.data)
        _refuse(held_out, trained_on)


def _refuse(held_out: Sequence[set[str]], trained_on: Collection[str]) -> None:
    seen = sum(not digests.isdisjoint(trained_on) for digests in held_out)
    if seen:
        raise ConfigError(
            f"training.data.fold: {seen} of the {len(held_out)} patients held out were trained on by these weights; "
            "expected the fold that they were trained with, or another folder for each fold"
        )


def _digests(data: DataSettings) -> tuple[list[set[str]], list[set[str]]]:
    """Return the digests by which each patient trained on, and each held out, is known again.

    By any of the images, also when the folder was moved or a name changed; and by folder and name, as in checkpoints of
    before. Equal names in another data set are other patients.
    """
    folder = data.folder.resolve()
    parts = split(list_cases(data), data)
    images: dict[str, set[str]] = {}
    for case in (case for part in parts for case in part):
        images.setdefault(case.patient_id, set()).update(image_digests(case))
    # an image that several patients share tells none of them from the others
    times = Counter(digest for digests in images.values() for digest in digests)
    train_on, held_out = (
        [
            {hashlib.sha256(f"{folder}\n{patient}".encode()).hexdigest()}
            | {digest for digest in images[patient] if times[digest] == 1}
            for patient in sorted({case.patient_id for case in part})
        ]
        for part in parts
    )
    return train_on, held_out


def read_checkpoint(
    settings: TrainingSettings, checkpoint: Path, *, device: torch.device | str = "cpu"
) -> dict[str, Any]:
    """Read a checkpoint that these settings trained.

    Raises
    ------
    ModelError
        It cannot be read, or is one of another stage, grid or network.
    """
    try:
        state: dict[str, Any] = torch.load(checkpoint, map_location=device, weights_only=True)
        there = {name: value.shape for name, value in state["averaged"].items()}
    except (OSError, KeyError, RuntimeError, ValueError, TypeError, AttributeError, UnpicklingError) as error:
        raise ModelError(f"'{checkpoint.name}' is no checkpoint of a training ({error})") from error
    network = ARCHITECTURES[ARCHITECTURE](**architecture_arguments(settings))
    ours = {name: value.shape for name, value in network.state_dict().items()}
    found = state.get("stage", str(settings.stage)), tuple(state.get("spacing_mm", settings.spacing_mm))
    if found != (str(settings.stage), settings.spacing_mm) or there != ours:
        spacing = " x ".join(f"{value:g}" for value in found[1])
        raise ModelError(
            f"'{checkpoint.name}' is a checkpoint of stage {found[0]} on a grid of {spacing} mm, which does not fit "
            f"the stage, spacing_mm and filters of '{settings.name}'"
        )
    return state


def _check_filters(settings: TrainingSettings, initial: Mapping[str, torch.Tensor]) -> None:
    """Refuse to start from a network that is wider than the one asked for, or that it is no multiple of."""
    first = initial.get(_FIRST_WEIGHTS)
    if first is not None and settings.filters % first.shape[0]:
        raise ConfigError(
            f"training.filters: found {settings.filters}, expected {first.shape[0]}, as in the network that "
            f"training.initial names, or a multiple of it"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Initial:
    """Weights that a run starts from, and what is to be said of them."""

    weights: dict[str, torch.Tensor]
    lineage: list[str]
    patients: int
    trained_on: set[str] = field(default_factory=set)


def _initial(source: Path) -> _Initial:
    """Read the averaged weights of a checkpoint, or the weights of a model folder, as float32."""
    trained_on: set[str] = set()
    if not source.exists():
        raise ConfigError(f"training.initial: '{source}' is neither a checkpoint nor a model folder")
    if source.is_dir():
        card = read_model_card(str(source))
        verify_weights(card)
        weights = torch.load(card.weights, map_location="cpu", weights_only=True)
        training = json.loads((source / "configs" / "metadata.json").read_text(encoding="utf-8")).get(
            "training", {}
        )
        lineage, patients = [*training.get("started_from", []), card.title], training.get("patients", 0)
    else:
        state = torch.load(source, map_location="cpu", weights_only=True)
        weights, lineage, patients = (
            state["averaged"],
            [*state["lineage"], source.parent.name],
            state["patients"],
        )
        trained_on = set(state.get("trained_on", ()))
    return _Initial(
        weights={
            name: value.float() if value.dtype.is_floating_point else value for name, value in weights.items()
        },
        lineage=lineage,
        patients=int(patients),
        trained_on=trained_on,
    )


def _step(
    run: _Run, settings: TrainingSettings, images: torch.Tensor, target: torch.Tensor, weights: torch.Tensor
) -> float:
    progress = min(1.0, run.seconds / (60 * settings.total_minutes))
    for group in run.optimiser.param_groups:
        group["lr"] = learning_rate(settings, step=run.step, progress=progress)
    images = images.to(run.device, non_blocking=True, memory_format=torch.channels_last_3d)
    target = target.to(run.device, non_blocking=True)
    with autocast(run.device.type, "auto")():
        logits = run.network(images)
    loss = dice_cross_entropy(logits, target, class_weights=weights)
    if settings.stage is Stage.LESIONS:
        lesion = torch.softmax(logits.float(), dim=1)[:, 2]
        if settings.tversky_weight:
            loss = loss + settings.tversky_weight * tversky_loss(lesion, (target == 2).float())
        if settings.lesionwise_weight:
            loss = loss + settings.lesionwise_weight * lesionwise_loss(lesion, target)
    run.optimiser.zero_grad(set_to_none=True)
    loss.backward()
    norm = torch.nn.utils.clip_grad_norm_(run.network.parameters(), settings.clip_norm)
    # bfloat16 on a processor gives gradients that are no numbers where the coarsest level has 2 x 2 x 2 voxels; one
    # such step would end a run of hours
    if torch.isfinite(norm):
        run.optimiser.step()
    run.step += 1
    _average(run, settings.ema_decay)
    return float(loss.detach())


def learning_rate(settings: TrainingSettings, *, step: int, progress: float) -> float:
    """Return the learning rate: linear warm-up, then half a cosine down to the final rate."""
    cosine = 0.5 * (1 + math.cos(math.pi * progress))
    rate = settings.final_learning_rate + cosine * (settings.learning_rate - settings.final_learning_rate)
    return rate * min(1.0, (step + 1) / settings.warm_up_steps)


def _average(run: _Run, decay: float) -> None:
    """Move the averaged weights towards the raw ones, faster at first so that early noise is forgotten."""
    keep = min(decay, (1 + run.step) / (20 + run.step))
    for name, value in run.network.state_dict().items():
        if value.dtype.is_floating_point:
            run.averaged[name].mul_(keep).add_(value.detach(), alpha=1 - keep)
        else:
            run.averaged[name].copy_(value)


def _save(run: _Run, settings: TrainingSettings, out_dir: Path) -> Path:
    """Write the checkpoint so that an interrupted write leaves the former one whole."""
    state = {
        "raw": run.network.state_dict(),
        "averaged": run.averaged,
        "optimiser": run.optimiser.state_dict(),
        "step": run.step,
        "seconds": run.seconds,
        "examples": run.examples,
        "seed": settings.seed,
        "stage": str(settings.stage),
        "spacing_mm": list(settings.spacing_mm),
        "templates": run.templates,
        "lineage": run.lineage,
        "patients": run.patients,
        "trained_on": sorted(run.trained_on),
    }
    partial = out_dir / (CHECKPOINT + ".partial")
    torch.save(state, partial)
    os.replace(partial, out_dir / CHECKPOINT)
    return out_dir / CHECKPOINT


def template_names(settings: TrainingSettings) -> list[str]:
    """Return the names of the label maps whose shapes a run uses, for the model card."""
    if settings.label_maps is None:
        return []
    return [template.name for template in load_templates(settings.label_maps)]


def _write_log(
    out_dir: Path, run: _Run, settings: TrainingSettings, losses: list[float], waited: float
) -> None:
    line = {
        "step": run.step,
        "minutes": round(run.seconds / 60, 2),
        "loss": round(sum(losses) / max(1, len(losses)), 4),
        "examples": run.examples,
        "seconds_waiting_for_examples": round(waited, 2),
        "learning_rate": run.optimiser.param_groups[0]["lr"],
    }
    with (out_dir / "log.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")
    _log.info("%s: %s", settings.name, line)


def _board(settings: TrainingSettings, out_dir: Path) -> Any | None:
    """Open TensorBoard's log where the settings ask for it."""
    if not settings.tensorboard:
        return None
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise ConfigError(
            "training.tensorboard: the package is not installed; pip install 'mrresponse[train]'"
        ) from error
    return SummaryWriter(str(out_dir / "tensorboard"))


def _write_board(board: Any, run: _Run, losses: list[float]) -> None:
    board.add_scalar("loss", sum(losses) / max(1, len(losses)), run.step)
    board.add_scalar("learning rate", run.optimiser.param_groups[0]["lr"], run.step)
    board.add_scalar("examples", run.examples, run.step)
