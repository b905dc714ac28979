"""MONAI bundles of others, run through their own inference configuration.

A bundle's configuration holds expressions and names functions to call: reading it runs code. That happens only where
``segment.trust_expressions`` says so. What is run is its network with the weights ``models/model.pt``, and around it
its preprocessing, inferer and postprocessing, all but what saves files.
"""

import json
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mrresponse.domain import FloatArray, Image
from mrresponse.errors import ConfigError, DataError, ModelError
from mrresponse.geometry import grid_of, is_same_grid, resample_image
from mrresponse.nifti import write_image
from mrresponse.segment.bundle import read_json_object
from mrresponse.segment.external import (
    Checked,
    Finder,
    ModelIdentity,
    Stage,
    cause_of,
    checked_channels,
    checked_labels,
    chosen,
    digests_of,
    refuse_unused,
)

_CONFIGS = ("inference.json", "inference.yaml", "inference.yml")
_WEIGHTS = "models/model.pt"
_ROUNDING = 0.01
"""By which resampling may leave the range of a probability."""
_PARTS = ("preprocessing", "inferer", "postprocessing")


def is_bundle(folder: Path) -> bool:
    """Tell a bundle with an inference configuration that is not one of this program from other folders."""
    if not any((folder / "configs" / name).is_file() for name in _CONFIGS):
        return False
    try:
        metadata = json.loads((folder / "configs" / "metadata.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return True
    return not (isinstance(metadata, dict) and "architecture" in metadata)


def check(settings: Any, stage: Stage) -> Checked:
    """Read and check the bundle of a stage; no expression is evaluated.

    Raises
    ------
    ConfigError
        Expressions are not trusted, or labels or channels do not fit the bundle.
    ModelError
        The bundle is incomplete.
    """
    model, external = chosen(settings, stage)
    folder = Path(model)
    config = next(folder / "configs" / name for name in _CONFIGS if (folder / "configs" / name).is_file())
    if not settings.trust_expressions:
        raise ConfigError(
            f"segment.trust_expressions: false, but '{model}' is a MONAI bundle, whose configs/{config.name} "
            "runs code when it is read; expected true, for a bundle whose author you trust"
        )
    refuse_unused(stage, external, ("labels", "channels", "absent_as_zero"), model)
    _refuse_incomplete(config, model)
    metadata = _metadata(folder, model)
    title = f"{metadata.get('name', folder.name)} {metadata.get('version', '')}".strip()
    formats = metadata.get("network_data_format", {})
    try:
        count = int(formats["inputs"]["image"]["num_channels"])
        names = {str(name): int(place) for place, name in formats["outputs"]["pred"]["channel_def"].items()}
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ModelError(
            f"model '{title}': configs/metadata.json has no readable network_data_format of image and pred "
            f"({error}), expected num_channels and channel_def"
        ) from error
    available = {name: place for name, place in names.items() if name.lower() != "background"}
    wanted = checked_labels(stage, external, available, title)
    channels = checked_channels(external, count, title)
    digests = digests_of(folder, _files(folder, config), title)
    single = len(names) == 1

    def load() -> Finder:
        from mrresponse.segment.network import resolve_device

        parts = _load(folder, config, title, resolve_device(settings.device))
        return lambda images: _found(parts, images, wanted, single=single)

    return Checked(
        identity=ModelIdentity(title=title, digests=digests),
        channels=channels,
        load=load,
    )


def _refuse_incomplete(config: Path, model: str) -> None:
    """Refuse a configuration without the parts that are run; it is read as plain data."""
    from monai.bundle import ConfigParser

    try:
        content = ConfigParser.load_config_file(config)
    # the broad catch: JSON and YAML say in ways of their own that a file is neither
    except Exception as error:
        raise ModelError(
            f"model '{model}': configs/{config.name} cannot be read: {cause_of(error)}"
        ) from error
    missing = [part for part in _PARTS if part not in content]
    if not {"network", "network_def"} & set(content):
        missing.append("network")
    if missing:
        raise ModelError(f"model '{model}': configs/{config.name} lacks {', '.join(missing)}")


def _files(folder: Path, config: Path) -> list[Path]:
    scripts = sorted((folder / "scripts").glob("**/*.py"))
    return [folder / _WEIGHTS, config, folder / "configs" / "metadata.json", *scripts]


def _metadata(folder: Path, model: str) -> dict[str, Any]:
    return read_json_object(
        folder / "configs" / "metadata.json",
        model=model,
        name="configs/metadata.json",
        expected="in its folder",
    )


def _load(folder: Path, config: Path, title: str, device: str) -> Mapping[str, Any]:
    """Build the parts of a bundle by its configuration and load its weights."""
    import torch
    from monai.bundle import ConfigParser

    try:
        parser = ConfigParser()
        parser.read_config(config)
        parser["bundle_root"] = str(folder)
        parser["device"] = f"$torch.device('{device}')"
        network = parser.get_parsed_content("network" if "network" in parser else "network_def")
        state = torch.load(folder / _WEIGHTS, map_location="cpu", weights_only=True)
        network.load_state_dict(next((state[key] for key in ("model", "state_dict") if key in state), state))
        parts = {part: parser.get_parsed_content(part) for part in _PARTS}
    # the broad catch: the expressions of a bundle may raise anything
    except Exception as error:
        raise ModelError(f"model '{title}': cannot be loaded: {cause_of(error)}") from error
    return {**parts, "network": network.to(device).eval(), "device": device}


def _found(
    parts: Mapping[str, Any], images: Sequence[Image], wanted: Sequence[int], *, single: bool
) -> Image:
    """Give the bundle its channels as files, as it expects them, and bring what it finds back to their grid."""
    import torch
    from monai.transforms import SaveImaged

    grid = images[0].grid
    with tempfile.TemporaryDirectory() as folder, torch.inference_mode():
        files = [Path(folder) / f"image_{place:04d}.nii.gz" for place in range(len(images))]
        for file, image in zip(files, images, strict=True):
            write_image(file, image)
        names = [str(file) for file in files]
        data = parts["preprocessing"]({"image": names if len(names) > 1 else names[0]})
        shown = data["image"][None].to(parts["device"])
        data["pred"] = parts["inferer"](shown, parts["network"])[0].cpu()
        for step in parts["postprocessing"].transforms:
            if not isinstance(step, SaveImaged):
                data = step(data)
        pred = data["pred"]
        affine = np.asarray(getattr(pred, "affine", data["image"].affine), dtype=np.float64)
        voxels = _wanted(np.asarray(pred.cpu(), dtype=np.float32), wanted, single=single)
    i, j, k = voxels.shape
    found = Image(voxels=voxels, grid=grid_of((i, j, k), affine))
    return Image(voxels=voxels, grid=grid) if is_same_grid(found.grid, grid) else resample_image(found, grid)


def _wanted(pred: FloatArray, wanted: Sequence[int], *, single: bool) -> FloatArray:
    """Return the probability of the wanted labels from ``[channel, i, j, k]``: channels, or one map of labels.

    Raises
    ------
    DataError
        ``external_model`` where the channels hold no probabilities, as without an activation in the postprocessing.
    """
    if (len(pred) > 1 or single) and not (pred.min() >= -_ROUNDING and pred.max() <= 1 + _ROUNDING):
        raise DataError(
            f"the model's pred is between {pred.min():.3g} and {pred.max():.3g}, expected probabilities from 0 to 1: "
            "the postprocessing of its bundle needs an activation (softmax or sigmoid)",
            code="external_model",
        )
    if len(pred) > 1:
        together = pred[list(wanted)].sum(axis=0)
    elif single:
        together = pred[0]
    else:
        together = np.isin(pred[0], wanted).astype(np.float32)
    return np.ascontiguousarray(together.clip(0.0, 1.0), dtype=np.float32)
