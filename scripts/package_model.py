"""Write a model folder: ``python scripts/package_model.py CONFIG CHECKPOINT models/NAME [--figures FILE]``."""

import argparse
import json
from pathlib import Path

from mrresponse.training.package import write_bundle
from mrresponse.training.settings import load_training_settings


def main() -> None:
    """Parse, load, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("config", type=Path)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--figures", type=Path, help="JSON written by scripts/evaluate_model.py")
    parser.add_argument("--studies", type=Path, help="JSON written by scripts/evaluate.py synthetic")
    parser.add_argument("--revision", help="version-control revision of the training code")
    arguments = parser.parse_args()
    figures = json.loads(arguments.figures.read_text(encoding="utf-8")) if arguments.figures else {}
    if arguments.studies:
        summary = json.loads(arguments.studies.read_text(encoding="utf-8"))["summary"]
        figures["whole_studies"] = {name: _rounded(value) for name, value in summary.items()}
    settings = load_training_settings(arguments.config)
    write_bundle(
        settings, arguments.checkpoint, arguments.folder, figures=figures, revision=arguments.revision
    )


def _rounded(value: object) -> object:
    """Round every number to three places, also within lists and tables."""
    if isinstance(value, float):
        return round(value, 3)
    if isinstance(value, list):
        return [_rounded(item) for item in value]
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    return value


if __name__ == "__main__":
    main()
