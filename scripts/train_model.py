"""Train a network: ``python scripts/train_model.py CONFIG OUT [--minutes M]``; run again to go on."""

import argparse
import logging
from pathlib import Path

from mrresponse.training import load_training_settings, train


def main() -> None:
    """Parse, load, train."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("config", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--minutes", type=float, help="length of this segment")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    settings = load_training_settings(arguments.config)
    train(settings, arguments.out, minutes=arguments.minutes)


if __name__ == "__main__":
    main()
