"""Where the files are that the program brings with it: configurations and models.

In a checkout they lie at its top, where people edit them; a wheel carries copies inside the package.
"""

from pathlib import Path

PACKAGE = Path(__file__).resolve().parent


def configs_folder() -> Path:
    """Find the folder of the published configurations."""
    return _carried_folder("configs")


def models_folder() -> Path:
    """Find the folder of the shipped models, one folder per model."""
    return _carried_folder("models")


def _carried_folder(name: str) -> Path:
    packaged = PACKAGE / "_data" / name
    # the packaged copy first: beside an installed package, a folder `configs` is somebody else's
    return packaged if packaged.is_dir() else PACKAGE.parent / name
