"""Give a network more filters without changing what it says, so that a longer training can go on with a larger one.

Every channel is repeated, and what reads it is divided among the copies (Net2WiderNet, Chen 2016, arXiv 1511.05641).
Copies would stay copies if they were read alike, so each reader draws its own shares.
"""

from collections.abc import Mapping

import torch

_SHARE = (0.2, 0.8)
"""Range of what one copy gets before the shares of a reader are brought to a sum of 1."""


def widen(
    weights: Mapping[str, torch.Tensor], wide: Mapping[str, torch.Tensor], *, seed: int
) -> dict[str, torch.Tensor]:
    """Return the weights of a network in the shapes of a wider one of the same kind.

    Right for convolutions, whose weights are (out, in, ...), and normalisations over as many groups of neighbouring
    channels in both networks; what is equally wide in both stays as it is.

    Raises
    ------
    ValueError
        A tensor has no counterpart, or the wider one is no whole multiple of it.
    """
    generator = torch.Generator().manual_seed(seed)
    if weights.keys() != wide.keys():
        raise ValueError("the two networks are built differently")
    return {name: _widened(name, weights[name], target.shape, generator) for name, target in wide.items()}


def _widened(name: str, value: torch.Tensor, shape: torch.Size, generator: torch.Generator) -> torch.Tensor:
    if value.dim() != len(shape) or value.shape[2:] != shape[2:]:
        raise ValueError(f"{name} is {tuple(value.shape)}, which cannot become {tuple(shape)}")
    for axis in range(min(2, value.dim())):
        times, rest = divmod(shape[axis], value.shape[axis])
        if rest or not times:
            raise ValueError(f"{name} is {tuple(value.shape)}, which cannot become {tuple(shape)}")
        if times == 1:
            continue
        value = value.repeat_interleave(times, axis)
        if axis == 1:
            value = value * _shares(value.shape, times, generator)
    return value


def _shares(shape: torch.Size, times: int, generator: torch.Generator) -> torch.Tensor:
    """Draw what part of a weight each of ``times`` neighbouring copies along the second axis gets."""
    low, high = _SHARE
    drawn = torch.rand((shape[0], shape[1] // times, times, *shape[2:]), generator=generator)
    drawn = low + (high - low) * drawn
    return (drawn / drawn.sum(2, keepdim=True)).reshape(shape)
