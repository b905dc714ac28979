"""Write a model folder: ``python scripts/package_model.py CONFIG CHECKPOINT models/NAME [--figures FILE]``.

``--certainty 0.4 0.8 0.65 0.75`` says how sure a lesion network must be of a lesion: the least probability of its
voxels, their highest and their mean, and the least within its outline. ``tune_lesions.py`` finds out; without it they
are 0.5, 0.7, 0.5 and 0.5.
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

from mrresponse.domain import Certainty
from mrresponse.training.package import write_bundle
from mrresponse.training.settings import load_training_settings


def main() -> None:
    """Parse, load, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("config", type=Path)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--figures", type=Path, help="JSON written by scripts/evaluate_model.py")
    parser.add_argument(
        "--studies", type=Path, nargs="+", default=[], help="JSON files of scripts/evaluate.py synthetic"
    )
    parser.add_argument("--revision", help="version-control revision of the training code")
    parser.add_argument("--certainty", type=float, nargs=4, metavar=("THRESHOLD", "PEAK", "MEAN", "OUTLINE"))
    arguments = parser.parse_args()
    figures = json.loads(arguments.figures.read_text(encoding="utf-8")) if arguments.figures else {}
    for file in arguments.studies:
        judged = json.loads(file.read_text(encoding="utf-8"))
        summary = {name: _rounded(value) for name, value in judged["summary"].items()}
        figures.setdefault("whole_studies", {})[judged["set"]] = {"models": judged["model"], **summary}
    settings = load_training_settings(arguments.config)
    write_bundle(
        settings,
        arguments.checkpoint,
        arguments.folder,
        figures=figures,
        revision=arguments.revision,
        certainty=_certainty(arguments.certainty),
    )


def _certainty(values: Sequence[float] | None) -> Certainty | None:
    if values is None:
        return None
    threshold, peak, mean, outline = values
    return Certainty(threshold=threshold, least_peak=peak, least_mean=mean, outline=outline)


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
