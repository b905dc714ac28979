"""Time one pass of an nnU-Net of the default plan, to set beside the shipped networks.

The plan is what nnU-Net 2.8's `ExperimentPlanner` makes, with its default memory target of 8 GB, for images of five
contrast phases of 256 x 209 x 180 voxels of 1.5 mm with the labels liver and lesion: a PlainConvUNet of six stages. Its
weights are random, which changes no time. One pass is what nnU-Net's own predictor does with one fold: windows that
overlap by half, weighted by a Gaussian, without mirroring; resampling and normalisation are not counted.
"""

import time
from importlib import util
from typing import Any

GRID = (180, 209, 256)
PATCH = (112, 128, 160)
CHANNELS, LABELS = 5, {"background": 0, "liver": 1, "lesion": 2}
_STRIDES = [[1, 1, 1], [2, 2, 2], [2, 2, 2], [2, 2, 2], [2, 2, 2], [1, 2, 2]]


def is_installed() -> bool:
    """Tell whether the extra `nnunet` is there."""
    return util.find_spec("nnunetv2") is not None


def nnunet_pass(grid: tuple[int, int, int] = GRID, patch: tuple[int, int, int] = PATCH) -> tuple[float, int]:
    """Return the seconds of one pass over a grid (z, y, x), and the number of its windows."""
    import torch

    predictor = _predictor(patch)
    windows = len(
        predictor._internal_get_sliding_window_slicers(tuple(map(max, zip(grid, patch, strict=True))))
    )
    volume = torch.zeros((CHANNELS, *grid))
    start = time.perf_counter()
    predictor.predict_sliding_window_return_logits(volume)
    return time.perf_counter() - start, windows


def _predictor(patch: tuple[int, int, int]) -> Any:
    import torch
    from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
    from nnunetv2.utilities.get_network_from_plans import get_network_from_plans
    from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

    plans = _plans(patch)
    architecture = plans["configurations"]["3d_fullres"]["architecture"]
    network = get_network_from_plans(
        architecture["network_class_name"],
        architecture["arch_kwargs"],
        architecture["_kw_requires_import"],
        CHANNELS,
        len(LABELS),
        deep_supervision=False,
    )
    manager = PlansManager(plans)
    predictor = nnUNetPredictor(use_mirroring=False, device=torch.device("cpu"), allow_tqdm=False)
    predictor.manual_initialization(
        network,
        manager,
        manager.get_configuration("3d_fullres"),
        None,
        {"labels": LABELS, "channel_names": {str(place): "phase" for place in range(CHANNELS)}},
        "nnUNetTrainer",
        None,
    )
    return predictor


def _plans(patch: tuple[int, int, int]) -> dict[str, Any]:
    """Return the parts of the plan that inference asks for."""
    architecture = {
        "network_class_name": "dynamic_network_architectures.architectures.unet.PlainConvUNet",
        "arch_kwargs": {
            "n_stages": 6,
            "features_per_stage": [32, 64, 128, 256, 320, 320],
            "conv_op": "torch.nn.modules.conv.Conv3d",
            "kernel_sizes": [[3, 3, 3]] * 6,
            "strides": _STRIDES,
            "n_conv_per_stage": [2] * 6,
            "n_conv_per_stage_decoder": [2] * 5,
            "conv_bias": True,
            "norm_op": "torch.nn.modules.instancenorm.InstanceNorm3d",
            "norm_op_kwargs": {"eps": 1e-05, "affine": True},
            "dropout_op": None,
            "dropout_op_kwargs": None,
            "nonlin": "torch.nn.LeakyReLU",
            "nonlin_kwargs": {"inplace": True},
        },
        "_kw_requires_import": ["conv_op", "norm_op", "dropout_op", "nonlin"],
    }
    configuration = {"patch_size": list(patch), "spacing": [1.5, 1.5, 1.5], "architecture": architecture}
    return {
        "dataset_name": "Dataset001_Liver",
        "plans_name": "nnUNetPlans",
        "label_manager": "LabelManager",
        "configurations": {"3d_fullres": configuration},
    }
