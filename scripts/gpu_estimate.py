"""Work out what a GPU and its cores can sustain of `clinical` studies, from what was measured without one.

``gpu_estimate.py`` counts what both networks compute and move for one study (on PyTorch's meta device: nothing is
computed), turns it into seconds of a card by shares of its peak that are assumed, and sets beside it the processor
time that was measured per study. It is an estimate: ``benchmark.py gpu`` measures.
"""

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from cost_model import Costs, simulate
from figures import Figure, at_least, publish, reported
from monai.networks.blocks.segresnet_block import ResBlock
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from mrresponse.segment.architectures import ARCHITECTURES
from mrresponse.segment.network import checked_card

BYTES = 2  # bfloat16
STUDIES = 10_000
# The windows of the `clinical` phantom N3: model, shape of a window, how many.
WINDOWS = (("liver-mr", (1, 1, 96, 80, 56), 1), ("lesions-mr", (1, 6, 48, 64, 40), 4))


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What a network asks for: floating-point operations, bytes read and written, and operations handed out."""

    flops: float
    bytes_moved: float
    operations: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """Peaks of a graphics card in bfloat16, the shares of them that are assumed, and what handing out costs.

    Peaks are those of NVIDIA's data sheet of the H200 (SXM, dense). The shares are assumed, and low on purpose: with 8
    to 64 channels most of a tensor core's tile is empty; arXiv:2606.19365 names 1.45 as the utilisation of tensor cores
    in a 3-D U-Net of MRI before it was tuned, on the A100, and 9.98 after (read here as per cent).
    """

    flops_per_s: float = 989e12
    flops_share: float = 0.01
    bytes_per_s: float = 4.8e12
    bytes_share: float = 0.25
    kernels_per_operation: int = 3
    seconds_per_kernel: float = 10e-6


def work_of(network: nn.Module, shape: Sequence[int]) -> Work:
    """Count what a network on the meta device does with an input of a shape, every operation by itself."""
    moved = [0]

    def count(module: nn.Module, inputs: Any, found: torch.Tensor) -> None:
        if isinstance(module, ResBlock):
            # its sum reads two and writes one
            moved.append(3 * found.numel())
        elif not list(module.children()):
            parameters = sum(one.numel() for one in module.parameters())
            moved.append(inputs[0].numel() + found.numel() + parameters)

    hooks = [module.register_forward_hook(count) for module in network.modules()]
    with FlopCounterMode(display=False) as counted, torch.inference_mode():
        network(torch.empty(tuple(shape), device="meta"))
    for hook in hooks:
        hook.remove()
    return Work(
        flops=float(counted.get_total_flops()),
        bytes_moved=float(BYTES * sum(moved)),
        operations=len(moved) - 1,
    )


def card_seconds(work: Work, card: Card) -> float:
    """Return seconds on a card, as if computing, moving and handing out never overlapped."""
    return (
        work.flops / (card.flops_per_s * card.flops_share)
        + work.bytes_moved / (card.bytes_per_s * card.bytes_share)
        + work.operations * card.kernels_per_operation * card.seconds_per_kernel
    )


def limits(cores: int, processor_s: float, turn_s: float, card_s: float) -> Mapping[str, float]:
    """Return studies per second that each part could do if the others cost nothing.

    ``processor_s`` is all processor time of a study without what the card does; ``turn_s`` the part of it during
    which a worker has the card to itself, so that one core at a time does it.
    """
    return {
        "processors": cores / processor_s,
        "turns at the card": 1.0 / (turn_s + card_s),
        "card": 1.0 / card_s,
    }


def main(argv: Sequence[str] | None = None) -> int:
    """Print the estimate and return 1 where it misses one study per second."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--cores", type=int, default=16)
    parser.add_argument("--processor-s", type=float, default=9.4, help="of a study, without the networks")
    parser.add_argument("--turn-s", type=float, default=0.55, help="the part of it around the networks")
    parser.add_argument("--read-mb", type=float, default=60.0, help="read per study")
    parser.add_argument("--written-mb", type=float, default=100.0, help="written per study")
    parser.add_argument("--flops-share", type=float, default=Card().flops_share)
    chosen = parser.parse_args(argv)
    card = Card(flops_share=chosen.flops_share)
    figures: list[Figure] = []
    seconds = 0.0
    for model, shape, count in WINDOWS:
        found = checked_card(model)
        with torch.device("meta"):
            network = ARCHITECTURES[found.architecture](**found.architecture_arguments).eval()
        work = work_of(network, shape)
        seconds += count * card_seconds(work, card)
        figures += [
            reported(f"{model}: windows", count, ""),
            reported(f"{model}: computed per window", work.flops / 1e9, "GFLOP"),
            reported(f"{model}: moved per window", work.bytes_moved / 1e9, "GB"),
            reported(f"{model}: operations per window", work.operations, ""),
        ]
    figures.append(reported("both networks on the card", seconds, "s"))
    rates = limits(chosen.cores, chosen.processor_s, chosen.turn_s, seconds)
    figures += [reported(f"limit of {name}", rate, "per s") for name, rate in rates.items()]
    costs = Costs(
        processor_s=chosen.processor_s - chosen.turn_s,
        card_s=chosen.turn_s + seconds,
        read_mb=chosen.read_mb,
        written_mb=chosen.written_mb,
        table_s_per_patient=0.005,
        disk_mb_per_s=1000.0,
        cards=1,
    )
    rate = STUDIES / simulate(STUDIES, chosen.cores, costs).seconds
    figures.append(at_least("studies per second, played through", rate, "per s", 1.0))
    first = min(rates, key=lambda name: rates[name])
    return publish(figures, None, last=f"Estimate: {rate:.2f} studies per second; first full: {first}.")


if __name__ == "__main__":
    sys.exit(main())
