"""TotalSegmentator: its MR networks for the liver and for liver lesions, from the weights that its own tool fetched.

Its Python API loads the network anew for every image, fetches weights that are absent and reports its use over the
network. Here the same networks are loaded once and nothing leaves the machine; the steps, voxel sizes and windows are
those of the API (task table of TotalSegmentator 2.18), so the masks are the same.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from mrresponse.domain import BoolArray, Image, LabelArray
from mrresponse.errors import ConfigError, DataError, ModelError
from mrresponse.geometry import bounding_box, box_slices, grow_box
from mrresponse.segment.external import (
    REFERENCE,
    Checked,
    ExternalLesionSettings,
    Finder,
    ModelIdentity,
    Stage,
    checked_channels,
    chosen,
    digests_of,
    refuse_unused,
    require_extra,
)
from mrresponse.segment.nnunet import Predictor, TrainedModel, load_predictor, read_trained_model, refuse_code

PREFIX = "totalsegmentator:"
_TOTAL, _LESIONS = "total_mr", "liver_lesions_mr"
# The API looks for the liver with the 3 mm network first and shows the other ones its surroundings.
_FAST_DATASET, _SURROUNDINGS_MM = 852, 20.0
# The API rounds intensities to whole numbers.
_LEAST_RANGE = 50.0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Step:
    """One network of a task: the grid it works on, and the share of a window by which its windows advance."""

    dataset: int
    spacing_mm: tuple[float, float, float]
    trainer: str
    window_step: float
    label: int
    download: str


def check(settings: Any, stage: Stage) -> Checked:
    """Find and check the networks of a task.

    Raises
    ------
    ConfigError
        The task is none of the stage, or a setting does not fit it.
    ModelError
        The extra is not installed, or weights are absent.
    """
    model, external = chosen(settings, stage)
    task = model.removeprefix(PREFIX)
    known = (_LESIONS,) if stage is Stage.LESION else (_TOTAL, "total_fast_mr")
    if task not in known:
        names = " or ".join(PREFIX + name for name in known)
        raise ConfigError(f"segment.{stage.value}_model: found '{model}', expected {names}")
    require_extra("totalsegmentator", "totalsegmentator", model)
    refuse_unused(stage, external, ("channels", "absent_as_zero"), model)
    given = external.channels if isinstance(external, ExternalLesionSettings) else ()
    channels = checked_channels(external, 1, model) if given else (REFERENCE,)
    title = f"TotalSegmentator {metadata.version('TotalSegmentator')} {task}"
    steps = _steps(task)
    networks = [_network(step, title) for step in steps]
    root = _weights_folder()
    digests = digests_of(root, [file for network in networks for file in network.files], title)
    if not settings.trust_expressions:
        for network in networks:
            refuse_code(network)

    def load() -> Finder:
        from mrresponse.segment.network import resolve_device

        device = resolve_device(settings.device)
        loaded = [
            (step, load_predictor(network, device, step=step.window_step, mirror=False))
            for step, network in zip(steps, networks, strict=True)
        ]
        return lambda images: _found(loaded, images)

    return Checked(
        identity=ModelIdentity(title=title, digests=digests),
        channels=channels,
        load=load,
    )


def _steps(task: str) -> list[_Step]:
    from totalsegmentator.map_tasks_config import TASK_CONFIGS
    from totalsegmentator.map_to_binary import class_map, class_map_parts_mr

    if task == _LESIONS:
        table = TASK_CONFIGS[_LESIONS]
        (label,) = class_map[_LESIONS]
        return [_step(table, table["task_id"], 0.5, label, _LESIONS)]
    modes = TASK_CONFIGS[_TOTAL]["sub_modes"]
    liver = _number(class_map[_TOTAL], "liver")
    fast = _step(modes["fast"], _FAST_DATASET, 0.8, liver, "total_fast_mr")
    if task != _TOTAL:
        return [fast]
    part = _number(class_map_parts_mr["class_map_part_organs"], "liver")
    return [fast, _step(modes["default"], modes["default"]["task_id"][0], 0.8, part, _TOTAL)]


def _step(table: Any, dataset: int, window_step: float, label: int, download: str) -> _Step:
    x, y, z = np.broadcast_to(np.asarray(table["resample"], dtype=float), 3).tolist()
    return _Step(
        dataset=dataset,
        spacing_mm=(x, y, z),
        trainer=table["trainer"],
        window_step=window_step,
        label=label,
        download=download,
    )


def _number(labels: Any, name: str) -> int:
    return next(int(number) for number, label in labels.items() if label == name)


def _weights_folder() -> Path:
    from totalsegmentator.config import get_weights_dir

    return Path(get_weights_dir())


def _network(step: _Step, title: str) -> TrainedModel:
    from totalsegmentator.map_tasks_config import TASK_ID_WEIGHTS_CONFIGS

    name = TASK_ID_WEIGHTS_CONFIGS[step.dataset]["foldername"]
    folder = _weights_folder() / name / f"{step.trainer}__nnUNetPlans__3d_fullres"
    if not folder.is_dir():
        raise ModelError(
            f"model '{title}': its weights ({name}) are not in TotalSegmentator's folder and are never fetched "
            f"unasked; expected: totalseg_download_weights -t {step.download}"
        )
    return read_trained_model(folder, (0,), name=title)


def _found(loaded: Sequence[tuple[_Step, Predictor]], images: Sequence[Image]) -> Image:
    """Run the networks one after another, each within the surroundings of what the one before found."""
    (image,) = images
    spread = float(np.ptp(image.voxels))
    if spread < _LEAST_RANGE:
        raise DataError(
            f"found intensities that span {spread:.3g}, expected at least {_LEAST_RANGE:g}: "
            "TotalSegmentator rounds them to whole numbers",
            code="intensity_range",
        )
    (first, predictor), *others = loaded
    mask = _labels(first, predictor, image.voxels, image.grid.spacing_mm) == first.label
    for step, predictor in others:
        box = _surroundings(mask, image.grid.spacing_mm)
        if box is None:
            break
        mask = np.zeros(image.grid.shape, dtype=bool)
        # a part is rounded before it is resampled, as the API does
        voxels = image.voxels[box].astype(np.int32)
        mask[box] = _labels(step, predictor, voxels, image.grid.spacing_mm) == step.label
    return Image(voxels=mask.astype(np.float32), grid=image.grid)


def _labels(
    step: _Step, predictor: Predictor, voxels: Any, spacing_mm: tuple[float, float, float]
) -> LabelArray:
    """Return the label of each voxel, by TotalSegmentator's own resampling there and back."""
    import nibabel
    from totalsegmentator.resampling import change_spacing

    affine = np.diag([*spacing_mm, 1.0])
    there = nibabel.Nifti1Image(voxels, affine)
    shown = change_spacing(there, list(step.spacing_mm), order=1, dtype=np.int32, nr_cpus=1)
    resampled = np.ascontiguousarray(np.asarray(shown.dataobj, dtype=np.float32).transpose(2, 1, 0))
    labels = predictor.labels(resampled[None], [float(value) for value in shown.header.get_zooms()][::-1])
    found = nibabel.Nifti1Image(labels.transpose(2, 1, 0).astype(np.uint8), shown.affine)
    back = change_spacing(
        found, list(step.spacing_mm), there.shape, order=0, dtype=np.uint8, nr_cpus=1, force_affine=affine
    )
    return np.asarray(back.dataobj)


def _surroundings(mask: BoolArray, spacing_mm: tuple[float, float, float]) -> tuple[slice, ...] | None:
    """Return the box around a mask with whole voxels of a margin, or ``None`` where the mask is empty."""
    box = bounding_box(mask)
    if box is None:
        return None
    i, j, k = (int(_SURROUNDINGS_MM / step) for step in spacing_mm)
    return box_slices(grow_box(box, mask.shape, (i, j, k)))
