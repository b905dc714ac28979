"""Training and judging the two networks on synthetic images (needs torch and MONAI)."""

from mrresponse.training.loop import train
from mrresponse.training.settings import TrainingSettings, load_training_settings

__all__ = ["TrainingSettings", "load_training_settings", "train"]
