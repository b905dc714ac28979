"""nnU-Net v2: any folder of a trained model, ``TRAINER__PLANS__CONFIGURATION``.

A checkpoint is a pickle and a plan names classes by their path, so both could run code. Unless expressions are
trusted, a checkpoint must hold nothing but tensors, numbers and text, and a plan may name only network classes.
"""

import contextlib
import hashlib
import io
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np

from mrresponse.domain import FloatArray, Image, LabelArray
from mrresponse.errors import ConfigError, ModelError
from mrresponse.segment.bundle import read_json_object
from mrresponse.segment.external import (
    Checked,
    ExternalSettings,
    Finder,
    ModelIdentity,
    Stage,
    cause_of,
    checked_channels,
    checked_labels,
    chosen,
    digests_of,
    require_extra,
)

CHECKPOINT = "checkpoint_final.pth"
_STEP = 0.5
_LOADING = Lock()
_NETWORK_CLASS = re.compile(
    r"dynamic_network_architectures\.(architectures|building_blocks)\.[a-z_]+\.[A-Z]\w*"
)
_LAYER_CLASS = re.compile(r"torch\.nn\.(modules\.[a-z]+\.)?[A-Z]\w*")


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainedModel:
    """A trained-model folder that was read.

    Parameters
    ----------
    channels
        Number of input channels.
    labels
        Number of each label but the background by its name; of a model of regions, the place of the region.
    has_regions
        Whether labels may overlap, each with a probability of its own.
    turns_to_ras
        Whether its own reader turns images to RAS.
    """

    folder: Path
    name: str
    folds: tuple[int | str, ...]
    channels: int
    labels: Mapping[str, int]
    has_regions: bool
    turns_to_ras: bool

    @property
    def checkpoints(self) -> tuple[Path, ...]:
        """Files of the weights, one per fold."""
        return tuple(self.folder / f"fold_{fold}" / CHECKPOINT for fold in self.folds)

    @property
    def files(self) -> tuple[Path, ...]:
        """Every file that decides what the model says."""
        return (self.folder / "plans.json", self.folder / "dataset.json", *self.checkpoints)


@dataclass(frozen=True, slots=True, kw_only=True)
class Predictor:
    """A loaded model; one image at a time, since its folds take turns in one network."""

    predictor: Any
    lock: Any

    def probabilities(self, channels: FloatArray, spacing_mm: Sequence[float]) -> FloatArray:
        """Return ``[label, k, j, i]`` of ``[channel, k, j, i]``, in nnU-Net's order of axes."""
        with self.lock:
            _, found = self.predictor.predict_single_npy_array(
                channels, {"spacing": list(spacing_mm)}, save_or_return_probabilities=True
            )
        return np.asarray(found, dtype=np.float32)

    def labels(self, channels: FloatArray, spacing_mm: Sequence[float]) -> LabelArray:
        """Return the label of each voxel, ``[k, j, i]``."""
        with self.lock:
            found = self.predictor.predict_single_npy_array(channels, {"spacing": list(spacing_mm)})
        return np.asarray(found, dtype=np.uint16)


def is_trained_model(folder: Path) -> bool:
    """Tell a trained-model folder from others."""
    return (folder / "dataset.json").is_file() or (folder / "plans.json").is_file()


def check(settings: Any, stage: Stage) -> Checked:
    """Read and check the model of a stage.

    Raises
    ------
    ConfigError
        Labels, channels, folds or the orientation do not fit the model.
    ModelError
        The extra is not installed, or the folder is incomplete or not to be trusted.
    """
    model, external = chosen(settings, stage)
    folder = Path(model)
    require_extra("nnunetv2", "nnunet", model)
    trained = read_trained_model(folder, external.folds, key=f"segment.{stage.value}_external.folds")
    wanted = checked_labels(stage, external, trained.labels, trained.name)
    channels = checked_channels(external, trained.channels, trained.name)
    axes = _flipped_axes(trained, external, stage)
    digests = digests_of(folder, trained.files, trained.name)
    if not settings.trust_expressions:
        refuse_code(trained)
    identity = ModelIdentity(title=f"{trained.name} {_short(digests)}", digests=digests)

    def load() -> Finder:
        from mrresponse.segment.network import resolve_device

        predictor = load_predictor(
            trained, resolve_device(settings.device), step=_STEP, mirror=settings.average_views
        )

        def find(images: Sequence[Image]) -> Image:
            grid = images[0].grid
            shown = np.flip(np.stack([image.voxels for image in images]), axes).transpose(0, 3, 2, 1)
            found = predictor.probabilities(
                np.ascontiguousarray(shown, dtype=np.float32), grid.spacing_mm[::-1]
            )
            asked = found[list(wanted)]
            together = asked.max(axis=0) if trained.has_regions else asked.sum(axis=0)
            voxels = np.flip(together.transpose(2, 1, 0)[None], axes)[0]
            return Image(voxels=np.ascontiguousarray(voxels.clip(0.0, 1.0)), grid=grid)

        return find

    return Checked(identity=identity, channels=channels, load=load)


def read_trained_model(
    folder: Path, folds: Sequence[int | str] = (), *, key: str = "folds", name: str | None = None
) -> TrainedModel:
    """Read ``dataset.json`` and ``plans.json`` of a trained-model folder, and find its checkpoints.

    Parameters
    ----------
    folds
        Folds that are wanted; by default every one that is there.
    key
        Name of the setting that chose them.
    name
        What the model is called; by default its data set and configuration.

    Raises
    ------
    ConfigError
        A fold is wanted that is not there.
    ModelError
        A file is missing or malformed, or the model needs the output of another one.
    """
    title = name or folder.name
    dataset, plans = (_read_json(folder / file, title) for file in ("dataset.json", "plans.json"))
    configuration = folder.name.rpartition("__")[2]
    try:
        inputs = dataset["channel_names"]
        labels = {str(label): number for label, number in dataset["labels"].items() if label != "ignore"}
        has_regions = any(isinstance(number, list) and len(number) > 1 for number in labels.values())
        places = _regions(labels) if has_regions else {label: int(labels[label]) for label in labels}
        reader = dataset.get("overwrite_image_reader_writer") or plans.get("image_reader_writer")
        found = TrainedModel(
            folder=folder,
            name=name or f"nnU-Net {plans['dataset_name']} {configuration}",
            folds=_folds(folder, folds, key, title),
            channels=len(inputs),
            labels={label: place for label, place in places.items() if has_regions or place != 0},
            has_regions=has_regions,
            turns_to_ras=reader == "NibabelIOWithReorient",
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ModelError(f"model '{title}': dataset.json or plans.json lacks or garbles {error}") from error
    if plans.get("configurations", {}).get(configuration, {}).get("previous_stage"):
        raise ModelError(
            f"model '{title}': the second network of a cascade, expected one that needs no other"
        )
    return found


def refuse_code(trained: TrainedModel) -> None:
    """Refuse a plan or a checkpoint that could run code of its own.

    Raises
    ------
    ModelError
        One does, or a checkpoint cannot be read.
    """
    plans = _read_json(trained.folder / "plans.json", trained.name)
    for name in _classes(plans):
        if not (_NETWORK_CLASS.fullmatch(name) or _LAYER_CLASS.fullmatch(name)):
            raise ModelError(
                f"model '{trained.name}': plans.json names '{name}', expected a class of a network; "
                "segment.trust_expressions lets it run"
            )
    for file in trained.checkpoints:
        state = file.stat()
        problem = _pickle_problem(file, state.st_size, state.st_mtime_ns)
        if problem:
            raise ModelError(f"model '{trained.name}': {file.parent.name}/{file.name} {problem}")


def load_predictor(trained: TrainedModel, device: str, *, step: float, mirror: bool) -> Predictor:
    """Load the folds of a model onto a device.

    Raises
    ------
    ModelError
        The weights do not fit the plan.
    """
    import torch
    from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

    chosen_device = torch.device(device)
    benchmark = torch.backends.cudnn.benchmark
    try:
        # it announces what it does on the terminal
        with _LOADING, contextlib.redirect_stdout(io.StringIO()):
            predictor = nnUNetPredictor(
                tile_step_size=step,
                use_mirroring=mirror,
                perform_everything_on_device=chosen_device.type == "cuda",
                device=chosen_device,
                allow_tqdm=False,
            )
            predictor.initialize_from_trained_model_folder(
                str(trained.folder), use_folds=trained.folds, checkpoint_name=CHECKPOINT
            )
    # the broad catch: what a folder of another program lacks shows itself in any way
    except Exception as error:
        raise ModelError(f"model '{trained.name}': cannot be loaded: {cause_of(error)}") from error
    finally:
        torch.backends.cudnn.benchmark = benchmark
    return Predictor(predictor=predictor, lock=Lock())


def _flipped_axes(trained: TrainedModel, external: ExternalSettings, stage: Stage) -> tuple[int, ...]:
    """Return the axes of ``[channel, i, j, k]`` that run the other way in the model's images."""
    orientation = external.orientation or ("RAS" if trained.turns_to_ras else "LPS")
    if not re.fullmatch("[LR][AP][SI]", orientation):
        raise ConfigError(
            f"segment.{stage.value}_external.orientation: found '{orientation}', expected as LPS or RAS"
        )
    return tuple(axis for axis, code in enumerate(orientation, start=1) if code not in "RAS")


def _folds(folder: Path, wanted: Sequence[int | str], key: str, title: str) -> tuple[int | str, ...]:
    there = sorted(file.parent.name.removeprefix("fold_") for file in folder.glob(f"fold_*/{CHECKPOINT}"))
    if not there:
        raise ModelError(f"model '{title}': found no fold_*/{CHECKPOINT}, expected its weights")
    missing = next((fold for fold in wanted if str(fold) not in there), None)
    if missing is not None:
        raise ConfigError(f"{key}: found '{missing}', expected some of {', '.join(there)}")
    single = [fold for fold in there if fold != "all"]
    return tuple(str(fold) for fold in wanted) or tuple(single or there)


def _regions(labels: Mapping[str, Any]) -> dict[str, int]:
    """Return the output channel of each region: their order without what is background alone."""
    foreground = [name for name, values in labels.items() if values not in (0, [0])]
    return {name: place for place, name in enumerate(foreground)}


def _classes(plans: Mapping[str, Any]) -> Iterator[str]:
    """Yield every path of a class that a plan lets nnU-Net import."""
    for configuration in plans.get("configurations", {}).values():
        architecture = configuration.get("architecture") or {}
        if architecture:
            yield str(architecture.get("network_class_name"))
        arguments = architecture.get("arch_kwargs", {})
        for name in architecture.get("_kw_requires_import", ()):
            if arguments.get(name) is not None:
                yield str(arguments[name])


@lru_cache(maxsize=64)
def _pickle_problem(file: Path, _size: int, _changed: int) -> str:
    """Say what is wrong with a checkpoint; empty where it holds only tensors, numbers and text."""
    import pickle

    import torch

    # NumPy 1 and 2 name the makers of their numbers and arrays differently
    makers = {"scalar": np.float64(0.0).__reduce__()[0], "_reconstruct": np.zeros(1).__reduce__()[0]}
    numbers: list[Any] = [
        *(
            (maker, f"numpy.{core}.multiarray.{name}")
            for name, maker in makers.items()
            for core in ("core", "_core")
        ),
        np.ndarray,
        np.dtype,
        *(type(np.dtype(kind)) for kind in ("f4", "f8", "i4", "i8", "?")),
    ]
    try:
        with torch.serialization.safe_globals(numbers):
            torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        return (
            "holds more than tensors, numbers and text, which could run as code when it is read; "
            "segment.trust_expressions reads it all the same"
        )
    except (RuntimeError, OSError, EOFError, ValueError, KeyError):
        return "is no checkpoint that torch can read"
    return ""


def _read_json(file: Path, title: str) -> dict[str, Any]:
    expected = (
        "here, expected a folder TRAINER__PLANS__CONFIGURATION with dataset.json, plans.json and fold_*"
    )
    return read_json_object(file, model=title, name=file.name, expected=expected)


def _short(digests: Mapping[str, str]) -> str:
    return hashlib.sha256("".join(digests.values()).encode()).hexdigest()[:8]
