"""Judge a checkpoint on held-out synthetic seeds, and on the patients that its config holds out.

Usage: ``python scripts/evaluate_model.py CONFIG CHECKPOINT --json FILE``.
"""

import argparse
import json
import logging
from pathlib import Path

from mrresponse.training.evaluate import evaluate, evaluate_patients
from mrresponse.training.settings import load_training_settings


def main() -> None:
    """Parse, evaluate, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("config", type=Path)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--cases", type=int, default=40)
    parser.add_argument("--json", type=Path, required=True)
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    settings = load_training_settings(arguments.config)
    figures = evaluate(settings, arguments.checkpoint, cases=arguments.cases)
    if settings.data is not None:
        figures["held_out"] = evaluate_patients(settings, arguments.checkpoint)
    arguments.json.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    logging.getLogger(__name__).info("%s", figures)


if __name__ == "__main__":
    main()
