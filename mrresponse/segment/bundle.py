"""Model folders: what a network is, and whether its weights are the ones that were shipped.

A model is a MONAI bundle folder. Its ``configs/metadata.json`` is read as plain data: a bundle's configuration may
hold expressions, and nothing read from a file is ever evaluated.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from mrresponse.domain import Certainty
from mrresponse.errors import ModelError
from mrresponse.resources import models_folder

_T = TypeVar("_T")
_REQUIRED = (
    "name",
    "version",
    "architecture",
    "architecture_arguments",
    "spacing_mm",
    "window",
    "normalisation",
    "sha256",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelCard:
    """A network's description: how to build it, what to feed it, and the digest of its weights.

    Parameters
    ----------
    architecture, architecture_arguments
        Key of ``ARCHITECTURES`` and the keyword arguments of its constructor.
    spacing_mm, window
        Grid the network was trained on, and the largest patch it is given at once, in voxels.
    normalisation
        Name of the function that prepares its input, in ``mrresponse.segment.normalise``.
    sha256
        Digest of ``models/model.pt``.
    certainty
        How sure a lesion network must be of a lesion.
    """

    folder: Path
    name: str
    version: str
    architecture: str
    architecture_arguments: Mapping[str, Any] = field(default_factory=dict)
    spacing_mm: tuple[float, float, float]
    window: tuple[int, int, int]
    normalisation: str
    sha256: str
    certainty: Certainty = field(default_factory=Certainty)

    @property
    def title(self) -> str:
        """Name and version, as they stand in tables."""
        return f"{self.name} {self.version}"

    @property
    def weights(self) -> Path:
        """File of the weights."""
        return self.folder / "models" / "model.pt"

    @property
    def description_digest(self) -> str:
        """SHA-256 of all that decides what is made of the weights; what is only told of them is left out."""
        decides = [
            self.architecture,
            dict(self.architecture_arguments),
            self.spacing_mm,
            self.window,
            self.normalisation,
            asdict(self.certainty),
        ]
        return hashlib.sha256(json.dumps(decides, sort_keys=True).encode()).hexdigest()


def read_model_card(model: str) -> ModelCard:
    """Read the description of a shipped model by name, or of any model folder by path.

    Raises
    ------
    ModelError
        The folder, its metadata or a required field is missing or malformed.
    """
    folder = Path(model) if "/" in model or Path(model).is_dir() else models_folder() / model
    file = folder / "configs" / "metadata.json"
    metadata = read_json_object(
        file,
        model=model,
        name="configs/metadata.json",
        expected="in its folder, expected the name of a shipped model or the folder of a model (of mrresponse, an "
        "nnU-Net v2 training result, or a MONAI bundle)",
    )
    missing = [key for key in _REQUIRED if key not in metadata]
    if missing:
        raise ModelError(f"model '{model}': configs/metadata.json lacks {', '.join(missing)}")
    try:
        return ModelCard(
            folder=folder,
            name=str(metadata["name"]),
            version=str(metadata["version"]),
            architecture=str(metadata["architecture"]),
            architecture_arguments=dict(metadata["architecture_arguments"]),
            spacing_mm=_three(float(value) for value in metadata["spacing_mm"]),
            window=_three(int(value) for value in metadata["window"]),
            normalisation=str(metadata["normalisation"]),
            sha256=str(metadata["sha256"]),
            certainty=_certainty(metadata.get("certainty", {})),
        )
    except (TypeError, ValueError) as error:
        raise ModelError(f"model '{model}': configs/metadata.json has a malformed field ({error})") from error


def read_json_object(file: Path, *, model: str, name: str, expected: str) -> dict[str, Any]:
    """Read what a model says of itself; ``expected`` goes on after "no readable NAME".

    Raises
    ------
    ModelError
        The file cannot be read, or holds something else than a JSON object.
    """
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise ModelError(f"model '{model}': no readable {name} {expected}") from error
    except ValueError as error:
        raise ModelError(f"model '{model}': {name} is not JSON ({error})") from error
    if not isinstance(content, dict):
        raise ModelError(f"model '{model}': {name} is no JSON object")
    return content


def verify_weights(card: ModelCard) -> None:
    """Compare the weights file with the digest of its card.

    Raises
    ------
    ModelError
        The file is missing, or its SHA-256 is another one.
    """
    try:
        content = card.weights.read_bytes()
    except OSError as error:
        raise ModelError(f"model '{card.name}': models/model.pt cannot be read") from error
    found = hashlib.sha256(content).hexdigest()
    if found != card.sha256:
        raise ModelError(
            f"model '{card.name}': weights have SHA-256 {found[:16]}…, expected {card.sha256[:16]}…; "
            "install the model again or package it with scripts/package_model.py"
        )


def _certainty(content: Mapping[str, Any]) -> Certainty:
    """Read how sure a network must be; what is not said is as in `Certainty`."""
    found = Certainty(**{name: float(value) for name, value in dict(content).items()})
    for name, value in asdict(found).items():
        if not 0 < value <= 1:
            raise ValueError(f"certainty.{name} is {value}, expected above 0 and at most 1")
    return found


def _three(values: Iterable[_T]) -> tuple[_T, _T, _T]:
    first, second, third = values
    return first, second, third
