"""Model folders of other libraries whose networks can be worked out by hand.

Every network is a threshold: its label is there where a weighted sum of the input channels, one voxel along one axis
away, lies above a bound. No normalisation, so intensities are what the image says.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mrresponse.domain import ContrastPhase, Grid, Image, LabelMap, PreparedStudy, Series, Study

SHARPNESS = 0.5
DATASET = "Dataset901_Threshold"
STUDY = Study(patient_id="P1", study_date=date(2020, 1, 1), series=())
SERIES = Series(path=Path("pvp"), contrast_phase=ContrastPhase.PORTAL_VENOUS, phase_reason="stated")


def noise(seed: int, grid: Grid) -> Image:
    """Give an image that no one has seen before."""
    rng = np.random.default_rng(seed)
    return Image(voxels=rng.uniform(1.0, 300.0, grid.shape).astype(np.float32), grid=grid)


def prepared_with(images: Mapping[ContrastPhase, Image]) -> PreparedStudy:
    """Give a study of these images that is liver everywhere."""
    reference = next(iter(images))
    grid = images[reference].grid
    return PreparedStudy(
        study=STUDY,
        grid=grid,
        native_grid=grid,
        crop_start=(0, 0, 0),
        images=images,
        reference=reference,
        liver=LabelMap(voxels=np.ones(grid.shape, np.uint16), grid=grid),
        liver_probability=Image(voxels=np.full(grid.shape, 200.0, np.float32), grid=grid),
    )


@dataclass(frozen=True, kw_only=True)
class Threshold:
    """What the network of each fold does.

    Parameters
    ----------
    weights
        Of the input channels in the sum.
    bounds
        One per fold.
    label
        Output channel that is above the others where the sum exceeds the bound.
    shift
        Where the network looks, in voxels along its own z, y and x.
    """

    weights: Sequence[float] = (1.0,)
    bounds: Sequence[float] = (100.0,)
    label: int = 1
    shift: tuple[int, int, int] = (0, 0, 0)


def write_nnunet(
    folder: Path,
    *,
    labels: Mapping[str, Any],
    spacing_mm: Sequence[float] = (2.0, 2.0, 2.0),
    trainer: str = "nnUNetTrainer",
    reader: str = "SimpleITKIO",
    **threshold: Any,
) -> Path:
    """Write a trained-model folder; ``spacing_mm`` is the voxel size along z, y and x, the rest as `Threshold`."""
    what = Threshold(**threshold)
    target, plans, dataset = write_description(
        folder,
        labels=labels,
        channels=len(what.weights),
        spacing_mm=spacing_mm,
        trainer=trainer,
        reader=reader,
    )
    heads = len(labels) - ("regions_class_order" in dataset)
    for fold, bound in enumerate(what.bounds):
        state = threshold_network(plans, heads, what, bound)
        save_checkpoint(target / f"fold_{fold}" / "checkpoint_final.pth", state, plans, dataset, trainer)
    return target


def write_description(
    folder: Path,
    *,
    labels: Mapping[str, Any],
    channels: int = 1,
    spacing_mm: Sequence[float] = (2.0, 2.0, 2.0),
    trainer: str = "nnUNetTrainer",
    reader: str = "SimpleITKIO",
) -> tuple[Path, dict[str, Any], dict[str, Any]]:
    """Write a trained-model folder without its weights, and return it with its plans and data set."""
    target = folder / f"{trainer}__nnUNetPlans__3d_fullres"
    target.mkdir(parents=True)
    dataset: dict[str, Any] = {
        "channel_names": {str(place): f"channel {place}" for place in range(channels)},
        "labels": dict(labels),
        "numTraining": 1,
        "file_ending": ".nii.gz",
    }
    if any(isinstance(value, list) for value in labels.values()):
        dataset["regions_class_order"] = list(range(1, len(labels)))
    (target / "dataset.json").write_text(json.dumps(dataset), encoding="utf-8")
    plans = plans_of(channels, spacing_mm, reader=reader, name=folder.name)
    (target / "plans.json").write_text(json.dumps(plans), encoding="utf-8")
    return target, plans, dataset


def plans_of(
    channels: int, spacing_mm: Sequence[float], *, reader: str = "SimpleITKIO", name: str = DATASET
) -> dict[str, Any]:
    """Return the plans of a network of two stages and six features."""
    resampling = {"is_seg": False, "order": 1, "order_z": 0, "force_separate_z": None}
    function = "resample_data_or_seg_to_shape"
    configuration = {
        "data_identifier": "nnUNetPlans_3d_fullres",
        "preprocessor_name": "DefaultPreprocessor",
        "batch_size": 2,
        "patch_size": [16, 16, 16],
        "median_image_size_in_voxels": [32, 32, 32],
        "spacing": list(spacing_mm),
        "normalization_schemes": ["NoNormalization"] * channels,
        "use_mask_for_norm": [False] * channels,
        "resampling_fn_data": function,
        "resampling_fn_data_kwargs": resampling,
        "resampling_fn_seg": function,
        "resampling_fn_seg_kwargs": {**resampling, "is_seg": True},
        "resampling_fn_probabilities": function,
        "resampling_fn_probabilities_kwargs": resampling,
        "batch_dice": False,
        "architecture": {
            "network_class_name": "dynamic_network_architectures.architectures.unet.PlainConvUNet",
            "arch_kwargs": {
                "n_stages": 2,
                "features_per_stage": [2, 2],
                "conv_op": "torch.nn.modules.conv.Conv3d",
                "kernel_sizes": [[3, 3, 3], [3, 3, 3]],
                "strides": [[1, 1, 1], [2, 2, 2]],
                "n_conv_per_stage": [1, 1],
                "n_conv_per_stage_decoder": [1],
                "conv_bias": True,
                "norm_op": None,
                "norm_op_kwargs": None,
                "dropout_op": None,
                "dropout_op_kwargs": None,
                "nonlin": "torch.nn.LeakyReLU",
                "nonlin_kwargs": {"inplace": True},
            },
            "_kw_requires_import": ["conv_op", "norm_op", "dropout_op", "nonlin"],
        },
    }
    properties = {"max": 1.0, "mean": 0.0, "median": 0.0, "min": 0.0, "std": 1.0}
    return {
        "dataset_name": name,
        "plans_name": "nnUNetPlans",
        "original_median_spacing_after_transp": list(spacing_mm),
        "original_median_shape_after_transp": [32, 32, 32],
        "image_reader_writer": reader,
        "transpose_forward": [0, 1, 2],
        "transpose_backward": [0, 1, 2],
        "configurations": {"3d_fullres": configuration},
        "experiment_planner_used": "ExperimentPlanner",
        "label_manager": "LabelManager",
        "foreground_intensity_properties_per_channel": {
            str(place): {**properties, "percentile_00_5": 0.0, "percentile_99_5": 1.0}
            for place in range(channels)
        },
    }


def threshold_network(
    plans: Mapping[str, Any], outputs: int, what: Threshold, bound: float
) -> dict[str, Any]:
    """Return the state of the plan's network as a threshold: the first stage sums, the second is cut off."""
    from nnunetv2.utilities.get_network_from_plans import get_network_from_plans

    architecture = plans["configurations"]["3d_fullres"]["architecture"]
    network = get_network_from_plans(
        architecture["network_class_name"],
        architecture["arch_kwargs"],
        architecture["_kw_requires_import"],
        len(what.weights),
        outputs,
        deep_supervision=False,
    )
    z, y, x = (1 + step for step in what.shift)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.zero_()
        for name, parameter in network.named_parameters():
            if name.endswith("encoder.stages.0.0.convs.0.conv.weight"):
                parameter[0, :, z, y, x] = torch.tensor(what.weights)
            if name.endswith("decoder.stages.0.convs.0.conv.weight"):
                # the channels of the transposed convolution come first, those of the skip connection after them
                parameter[0, 2, 1, 1, 1] = 1.0
            if name.endswith("decoder.seg_layers.0.weight"):
                parameter[what.label, 0] = SHARPNESS
            if name.endswith("decoder.seg_layers.0.bias"):
                parameter[:] = -1000.0
                # of two labels, or a region beside another: the first is background or never there
                parameter[0] = -1000.0 if what.label == 0 else 0.0
                parameter[what.label] = -SHARPNESS * bound
    return dict(network.state_dict())


def save_checkpoint(
    file: Path, state: Mapping[str, Any], plans: Any, dataset: Any, trainer: str = "nnUNetTrainer"
) -> None:
    """Save a checkpoint with everything that nnU-Net's trainer puts beside the weights."""
    file.parent.mkdir(parents=True)
    content = {
        "network_weights": dict(state),
        "optimizer_state": {"state": {}, "param_groups": [{"lr": 0.01, "params": [0]}]},
        "grad_scaler_state": None,
        "logging": {"mean_fg_dice": [np.float64(0.5)], "lrs": [np.float32(0.01)], "dice": np.zeros(2)},
        "_best_ema": np.float64(0.5),
        "current_epoch": 1000,
        "init_args": {
            "plans": plans,
            "configuration": "3d_fullres",
            "fold": 0,
            "dataset_json": dataset,
            "device": torch.device("cpu"),
        },
        "trainer_name": trainer,
        "inference_allowed_mirroring_axes": (0, 1, 2),
    }
    torch.save(content, file)


def write_bundle(
    folder: Path, *, bound: float = 100.0, channel_def: Mapping[str, str] | None = None, **changes: Any
) -> Path:
    """Write a MONAI bundle that turns images to LPS, thresholds at a bound and turns the result back."""
    (folder / "configs").mkdir(parents=True)
    (folder / "models").mkdir()
    keys = {"keys": "image"}
    config = {
        "imports": ["$import torch"],
        "bundle_root": "/nowhere",
        "device": "$torch.device('cuda' if torch.cuda.is_available() else 'cpu')",
        "network_def": {"_target_": "torch.nn.Conv3d", "in_channels": 1, "out_channels": 2, "kernel_size": 1},
        "network": "$@network_def.to(@device)",
        "preprocessing": {
            "_target_": "Compose",
            "transforms": [
                {"_target_": "LoadImaged", **keys},
                {"_target_": "EnsureChannelFirstd", **keys},
                {"_target_": "Orientationd", **keys, "axcodes": "LPS"},
                {"_target_": "Spacingd", **keys, "pixdim": [2.0, 2.0, 2.0], "mode": "nearest"},
            ],
        },
        "inferer": {"_target_": "SlidingWindowInferer", "roi_size": [16, 16, 16], "overlap": 0.25},
        "postprocessing": {
            "_target_": "Compose",
            "transforms": [
                {"_target_": "Activationsd", "keys": "pred", "softmax": True},
                {
                    "_target_": "Invertd",
                    "keys": "pred",
                    "transform": "@preprocessing",
                    "orig_keys": "image",
                    "nearest_interp": False,
                    "to_tensor": True,
                },
                {"_target_": "AsDiscreted", "keys": "pred", "argmax": True},
                {"_target_": "SaveImaged", "keys": "pred", "output_dir": "/nowhere/at/all"},
            ],
        },
        **changes,
    }
    metadata = {
        "name": "threshold",
        "version": "0.3.0",
        "network_data_format": {
            "inputs": {"image": {"num_channels": 1}},
            "outputs": {"pred": {"channel_def": dict(channel_def or {"0": "background", "1": "lesion"})}},
        },
    }
    (folder / "configs" / "inference.json").write_text(json.dumps(config), encoding="utf-8")
    (folder / "configs" / "metadata.json").write_text(json.dumps(metadata), encoding="utf-8")
    state = {
        "weight": torch.tensor([0.0, SHARPNESS]).reshape(2, 1, 1, 1, 1),
        "bias": torch.tensor([0.0, -SHARPNESS * bound]),
    }
    torch.save(state, folder / "models" / "model.pt")
    return folder
