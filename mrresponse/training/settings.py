"""Settings of one training run, read from a YAML file."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import yaml
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PrivateAttr,
    ValidationError,
    ValidationInfo,
    field_validator,
)
from pydantic_core import PydanticCustomError

from mrresponse.config import read_yaml
from mrresponse.errors import ConfigError
from mrresponse.synthetic.examples import MEDIAN_DIAMETER_MM
from mrresponse.training.cases import DataSettings


class Stage(StrEnum):
    """Which of the two networks is trained."""

    LIVER = "liver"
    LESIONS = "lesions"


Edge = Annotated[int, Field(ge=8, multiple_of=8)]
"""Of a patch, in voxels: the network halves it three times and puts the halves together again."""
Step = Annotated[float, Field(gt=0, allow_inf_nan=False)]
"""Of a grid, mm."""


class TrainingSettings(BaseModel):
    """Everything that decides a training run; times in minutes of wall clock."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    stage: Stage
    name: str
    version: str = "0.1.0"
    seed: int = Field(default=1, ge=0)
    spacing_mm: tuple[Step, Step, Step]
    """Grid of the network; equal on the three axes for the liver."""
    patch_shapes: tuple[tuple[Edge, Edge, Edge], ...] = Field(min_length=1)
    window: tuple[int, int, int]
    batch: int = Field(default=2, ge=1)
    minutes: float = Field(default=9.0, gt=0)
    total_minutes: float = Field(default=60.0, gt=0)
    """Length of the cosine schedule over all segments."""
    learning_rate: float = Field(default=1e-3, gt=0)
    final_learning_rate: float = Field(default=1e-5, gt=0)
    warm_up_steps: int = Field(default=100, ge=1)
    weight_decay: float = Field(default=1e-4, ge=0)
    clip_norm: float = Field(default=3.0, gt=0)
    ema_decay: float = Field(default=0.998, gt=0, lt=1)
    lesion_weight: float = Field(default=1.5, gt=0)
    """Weight of the lesion class in the cross-entropy (lesion stage)."""
    tversky_weight: float = Field(default=0.0, ge=0)
    """Weight of the Tversky loss on lesions: finds more of them at the price of more false alarms."""
    lesionwise_weight: float = Field(default=0.0, ge=0)
    """Weight of the loss that counts every lesion alike (lesion stage): small ones are found more often."""
    pool_size: int = Field(default=16, ge=1)
    reuse: int = Field(default=10, ge=1)
    median_mm: float = Field(default=MEDIAN_DIAMETER_MM, gt=0)
    """Median diameter of the tumours drawn (lesion stage)."""
    label_maps: Path | None = None
    """Folder of users' own organ label maps, drawn half of the time in place of the procedural torso (liver stage)."""
    data: DataSettings | None = None
    """Labelled patients to train on besides synthetic images; by default there are none."""
    filters: int = Field(default=8, ge=8, multiple_of=8)
    """Channels at the full resolution; each coarser level has twice those of the one above."""
    initial: Path | None = None
    """Checkpoint of another run, or a model folder, whose weights this one starts from; one with fewer filters is
    widened so that it says the same."""
    threads: int = Field(default=1, ge=1)
    workers: int = Field(default=1, ge=0)
    """Processes that draw examples; 0 draws them between the steps."""
    device: str = "auto"
    """``auto`` (CUDA where there is one, else CPU), ``cpu``, ``cuda`` or ``cuda:N``."""
    tensorboard: bool = False
    """Write TensorBoard's log beside ``log.jsonl`` (needs the extra ``train``)."""
    log_every: int = Field(default=20, ge=1)
    checkpoint_minutes: float = Field(default=2.0, gt=0)
    _file: Path | None = PrivateAttr(default=None)

    @property
    def file(self) -> Path | None:
        """The file that the settings were read from, which the model card names."""
        return self._file

    @field_validator("spacing_mm")
    @classmethod
    def _as_examples_are_drawn(
        cls, spacing_mm: tuple[float, float, float], info: ValidationInfo
    ) -> tuple[float, float, float]:
        # a torso is drawn on voxels of the first value, and in use every image is brought to all three
        if info.data.get("stage") is Stage.LIVER and len(set(spacing_mm)) > 1:
            raise PydanticCustomError(
                "unequal_spacing",
                "expected equal on the three axes in stage liver, as its synthetic examples are drawn",
            )
        return spacing_mm


def load_training_settings(path: Path) -> TrainingSettings:
    """Read training settings from YAML.

    Raises
    ------
    ConfigError
        The file cannot be read, or a key is unknown, missing or of the wrong type.
    """
    try:
        content = read_yaml(path.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as error:
        raise ConfigError(f"training config '{path.name}': cannot be read as YAML: {error}") from error
    try:
        settings = TrainingSettings.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        raise ConfigError(f"training.{key}: {first['msg']} (found {first['input']!r})") from error
    settings._file = path
    return settings
