"""Average the weights of networks of one kind: ``average_weights.py OUT SHARE=SOURCE SHARE=SOURCE ...``.

A source is a checkpoint of ``train_model.py`` or a model folder. The first must be a checkpoint: of it OUT, a
checkpoint that ``package_model.py`` takes, keeps what is said of the training. Networks that went on from the same
weights can be averaged (Wortsman et al. 2022, arXiv 2203.05482); ``tune_lesions.py`` and ``evaluate.py`` say whether it
is worth it.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from mrresponse.errors import ModelError
from mrresponse.segment.bundle import read_model_card, verify_weights


def main(arguments: Sequence[str] | None = None) -> int:
    """Read, average, write; 2 where the networks do not fit together."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("out", type=Path)
    parser.add_argument("sources", type=_source, nargs="+", metavar="SHARE=SOURCE")
    chosen = parser.parse_args(arguments)
    total = sum(share for share, _ in chosen.sources)
    shares = [share / total for share, _ in chosen.sources]
    try:
        read = [_read(path) for _, path in chosen.sources]
        state = average(read, shares)
    except (ModelError, OSError) as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    torch.save(state, chosen.out)
    return 0


def average(read: Sequence[tuple[str, dict[str, Any]]], shares: Sequence[float]) -> dict[str, Any]:
    """Return the first state with the weighted mean of all weights, and with words for it.

    Raises
    ------
    ModelError
        The first is no checkpoint, or the weights have other names or shapes.
    """
    state = dict(read[0][1])
    if "step" not in state:
        raise ModelError(f"'{read[0][0]}' is a model folder, expected a checkpoint first")
    weights = [one["averaged"] for _, one in read]
    kinds = [{name: value.shape for name, value in one.items()} for one in weights]
    for (name, _), kind in zip(read, kinds, strict=True):
        if kind != kinds[0]:
            raise ModelError(f"'{name}' is another network than '{read[0][0]}'")
    state["averaged"] = {
        name: sum((share * one[name].float() for share, one in zip(shares, weights, strict=True)))
        if value.dtype.is_floating_point
        else value
        for name, value in weights[0].items()
    }
    others = [f"{share:.0%} of {name}" for share, (name, _) in zip(shares[1:], read[1:], strict=True)]
    state["mixture"] = ", ".join([f"{shares[0]:.0%} of this training", *others])
    return state


def _source(text: str) -> tuple[float, Path]:
    share, _, path = text.partition("=")
    try:
        value = float(share)
    except ValueError:
        value = 0.0
    if not path or not value > 0:
        raise argparse.ArgumentTypeError(
            f"found '{text}', expected SHARE=SOURCE, as 0.5=runs/own/checkpoint.pt"
        )
    return value, Path(path)


def _read(path: Path) -> tuple[str, dict[str, Any]]:
    if not path.is_dir():
        return path.parent.name, torch.load(path, map_location="cpu", weights_only=True)
    card = read_model_card(str(path))
    verify_weights(card)
    return card.title, {"averaged": torch.load(card.weights, map_location="cpu", weights_only=True)}


if __name__ == "__main__":
    sys.exit(main())
