"""Turn a training checkpoint into a model folder (MONAI bundle) that inference can check and load."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mrresponse import __version__
from mrresponse.domain import Certainty
from mrresponse.training.bundle_config import CLASSES, INPUTS, inference_config
from mrresponse.training.loop import ARCHITECTURE, CHANNELS, architecture_arguments, read_checkpoint
from mrresponse.training.model_card import TASKS, card_text
from mrresponse.training.settings import Stage, TrainingSettings

GENERATOR_VERSION = "5"
"""Raised whenever the synthetic images change so that equal seeds give other examples."""

NORMALISATION = {Stage.LIVER: "normalise_liver_input", Stage.LESIONS: "window_lesion_input"}


def write_bundle(
    settings: TrainingSettings,
    checkpoint: Path,
    folder: Path,
    *,
    figures: Mapping[str, Any],
    revision: str | None = None,
    certainty: Certainty | None = None,
) -> Path:
    """Write the averaged weights (fp16) and the description of a model; return the metadata file.

    ``figures`` are measured results on held-out synthetic seeds, copied into the metadata; ``certainty`` is how sure a
    lesion network must be where a user's settings do not say. The weights are written
    before their digest, so a folder whose digest fits is complete. The figures of single patients stay behind: a model
    is handed on, and their names and dates are nobody else's.

    Raises
    ------
    ModelError
        The checkpoint is not one of these settings.
    """
    state = read_checkpoint(settings, checkpoint)
    weights = {
        name: value.half().contiguous() if value.dtype.is_floating_point else value
        for name, value in state["averaged"].items()
    }
    target = folder / "models" / "model.pt"
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_suffix(".partial")
    torch.save(weights, partial)
    partial.replace(target)
    digest = hashlib.sha256(target.read_bytes()).hexdigest()
    metadata = folder / "configs" / "metadata.json"
    metadata.parent.mkdir(parents=True, exist_ok=True)
    content = describe(settings, state, digest=digest, figures=figures, revision=revision)
    if certainty is not None:
        content["certainty"] = asdict(certainty)
    metadata.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    inference = folder / "configs" / "inference.json"
    inference.write_text(json.dumps(inference_config(settings), indent=2) + "\n", encoding="utf-8")
    card = folder / "docs" / "README.md"
    card.parent.mkdir(exist_ok=True)
    card.write_text(card_text(settings, content), encoding="utf-8")
    return metadata


def describe(
    settings: TrainingSettings,
    state: Mapping[str, Any],
    *,
    digest: str,
    figures: Mapping[str, Any],
    revision: str | None,
) -> dict[str, Any]:
    """Return the content of ``metadata.json``: MONAI's usual fields and those of this program's model card."""
    import monai

    inputs, classes = CHANNELS[settings.stage]
    return {
        "schema": "https://github.com/Project-MONAI/MONAI-extra-test-data/releases/download/0.8.1/meta_schema_20240725.json",
        "name": settings.name,
        "version": settings.version,
        "monai_version": monai.__version__,
        "pytorch_version": torch.__version__.split("+")[0],
        "numpy_version": np.__version__,
        "required_packages_version": {"mrresponse": __version__},
        "changelog": {settings.version: "see CHANGELOG.md of mrresponse"},
        "task": TASKS[settings.stage],
        "description": f"{TASKS[settings.stage]}, trained on {_dataset(state['patients'])}",
        "authors": "mrresponse contributors",
        "copyright": "Apache-2.0",
        "intended_use": "research; a reader confirms every contour; not validated on patients",
        "architecture": ARCHITECTURE,
        "architecture_arguments": architecture_arguments(settings),
        "parameters": sum(value.numel() for value in state["averaged"].values()),
        "spacing_mm": list(settings.spacing_mm),
        "window": list(settings.window),
        "normalisation": NORMALISATION[settings.stage],
        "input_channels": list(INPUTS[settings.stage]),
        "classes": list(CLASSES[settings.stage]),
        "sha256": digest,
        "training": {
            "dataset": _dataset(state["patients"]),
            "patients": int(state["patients"]),
            "label_map_templates": state["templates"],
            "steps": int(state["step"]),
            "examples": int(state["examples"]),
            "minutes": round(float(state["seconds"]) / 60, 1),
            "seed": int(state["seed"]),
            "generator_version": GENERATOR_VERSION,
            "source_revision": revision,
            "started_from": state["lineage"],
        },
        "figures": {
            name: {key: one for key, one in value.items() if not isinstance(one, Mapping)}
            if name == "held_out"
            else value
            for name, value in figures.items()
        },
        "network_data_format": {
            "inputs": {
                "image": {
                    "type": "image",
                    "format": "magnitude",
                    "modality": "MR",
                    "num_channels": inputs,
                    "spatial_shape": ["8*n", "8*n", "8*n"],
                    "dtype": "float32",
                    "value_range": [],
                    "is_patch_data": True,
                    "channel_def": {str(i): name for i, name in enumerate(INPUTS[settings.stage])},
                }
            },
            "outputs": {
                "pred": {
                    "type": "image",
                    "format": "segmentation",
                    "num_channels": classes,
                    "spatial_shape": ["8*n", "8*n", "8*n"],
                    "dtype": "float32",
                    "value_range": [],
                    "is_patch_data": True,
                    "channel_def": {str(i): name for i, name in enumerate(CLASSES[settings.stage])},
                }
            },
        },
    }


def _dataset(patients: int) -> str:
    return f"synthetic images and {patients} patients" if patients else "synthetic images only"
