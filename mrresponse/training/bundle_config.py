"""The inference configuration of a model folder, for MONAI's own runner.

``python -m monai.bundle run --config_file configs/inference.json --bundle_root .`` applies the network to images and
writes masks on their grids. This program itself reads ``metadata.json`` only: expressions in a configuration are never
evaluated by it.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from mrresponse.training.loop import architecture_arguments
from mrresponse.training.settings import Stage, TrainingSettings

CLASSES: Mapping[Stage, tuple[str, ...]] = MappingProxyType(
    {Stage.LIVER: ("outside", "liver"), Stage.LESIONS: ("outside", "liver", "focal lesion")}
)
INPUTS: Mapping[Stage, tuple[str, ...]] = MappingProxyType(
    {
        Stage.LIVER: ("any contrast phase or sequence",),
        Stage.LESIONS: ("PRE", "ART", "PVP", "DEL", "HBP", "liver probability"),
    }
)

_PREDICT = (
    "$[@postprocessing({**item, 'pred': @inferer(item['image'][None].to(@device), @network)[0]})"
    " for item in @dataset]"
)


def inference_config(settings: TrainingSettings) -> dict[str, Any]:
    """Return the configuration as plain data.

    ``images`` lists the inputs: files of one image each for the liver; for lesions lists of six files on one grid, in
    the order of the metadata, an absent contrast phase being a file of zeros.
    """
    prepare = "bundle_liver_input" if settings.stage is Stage.LIVER else "bundle_lesion_input"
    return {
        "imports": [
            "$import glob",
            "$import monai",
            "$import numpy",
            "$import torch",
            f"$from mrresponse.segment.normalise import {prepare}",
        ],
        "bundle_root": ".",
        "device": "$torch.device('cuda' if torch.cuda.is_available() else 'cpu')",
        "images": "$sorted(glob.glob(@bundle_root + '/input/*.nii.gz'))",
        "output_dir": "$@bundle_root + '/output'",
        "network_def": {
            "_target_": "monai.networks.nets.SegResNet",
            **architecture_arguments(settings),
            "norm": ["GROUP", {"num_groups": 8}],
        },
        "network": "$@network_def.to(@device).eval()",
        "weights": "$torch.load(@bundle_root + '/models/model.pt', map_location=@device, weights_only=True)",
        "preprocessing": {"_target_": "Compose", "transforms": _preprocessing(settings)},
        "dataset": {
            "_target_": "Dataset",
            "data": "$[{'image': image} for image in @images]",
            "transform": "@preprocessing",
        },
        "inferer": _inferer(settings),
        "postprocessing": {"_target_": "Compose", "transforms": _postprocessing()},
        "initialize": [
            "$torch.set_grad_enabled(False)",
            "$@network.load_state_dict({name: value.float() for name, value in @weights.items()})",
        ],
        "run": [_PREDICT],
    }


def _preprocessing(settings: TrainingSettings) -> list[dict[str, Any]]:
    prepared = "bundle_liver_input(image)"
    if settings.stage is Stage.LESIONS:
        prepared = f"bundle_lesion_input(image, {tuple(settings.spacing_mm)})"
    # back to a tensor that remembers where it came from, or the mask would not find its way to the image's grid
    normalise = f"$lambda image: monai.utils.convert_to_dst_type({prepared}, image)[0]"
    return [
        {"_target_": "LoadImaged", "keys": "image", "ensure_channel_first": True, "image_only": True},
        {"_target_": "Orientationd", "keys": "image", "axcodes": "RAS", "labels": None},
        {"_target_": "Spacingd", "keys": "image", "pixdim": list(settings.spacing_mm), "mode": "bilinear"},
        {"_target_": "Lambdad", "keys": "image", "func": normalise, "track_meta": True},
        {"_target_": "EnsureTyped", "keys": "image"},
        {"_target_": "DivisiblePadd", "keys": "image", "k": 8, "mode": "edge", "method": "end"},
    ]


def _inferer(settings: TrainingSettings) -> dict[str, Any]:
    if settings.stage is Stage.LIVER:
        # a whole torso fits; a window larger than the image would pad it with air and change the group statistics
        return {"_target_": "SimpleInferer"}
    return {
        "_target_": "SlidingWindowInferer",
        "roi_size": list(settings.window),
        "sw_batch_size": 1,
        "overlap": 0.25,
        "mode": "gaussian",
    }


def _postprocessing() -> list[dict[str, Any]]:
    return [
        {
            "_target_": "Invertd",
            "keys": "pred",
            "transform": "@preprocessing",
            "orig_keys": "image",
            "nearest_interp": False,
            "to_tensor": True,
        },
        {"_target_": "AsDiscreted", "keys": "pred", "argmax": True},
        {
            "_target_": "SaveImaged",
            "keys": "pred",
            "output_dir": "@output_dir",
            "output_postfix": "seg",
            "output_dtype": "$numpy.uint8",
            "separate_folder": False,
            "resample": False,
        },
    ]
