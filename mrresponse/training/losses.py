"""Losses: cross-entropy plus soft Dice, and Tversky for the rare class."""

import numpy as np
import torch
import torch.nn.functional as functional
from scipy import ndimage

IGNORED = -1
"""Target of voxels whose class nobody knows; they count for nothing."""

_LESION = 2
_AROUND_VOXELS = 4
_TOUCHING = np.ones((3, 3, 3), dtype=bool)


def dice_cross_entropy(
    logits: torch.Tensor, target: torch.Tensor, *, class_weights: torch.Tensor
) -> torch.Tensor:
    """Return weighted cross-entropy plus the mean soft Dice loss of the foreground classes.

    Shapes: logits (B, C, I, J, K), target (B, I, J, K) of class numbers or ``IGNORED``.
    """
    logits = logits.float()
    known = target != IGNORED
    sums = functional.cross_entropy(
        logits, target, weight=class_weights, ignore_index=IGNORED, reduction="sum"
    )
    # a patch in which nothing is known costs nothing, where a mean over nothing would not be a number
    entropy = sums / class_weights[target[known]].sum().clamp(min=1.0)
    probability = torch.softmax(logits, dim=1) * known[:, None]
    losses = [
        1.0 - soft_dice(probability[:, index], (target == index).float())
        for index in range(1, logits.shape[1])
    ]
    return entropy + torch.stack(losses).mean()


def soft_dice(probability: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Return the batch mean of the soft Dice coefficient; an absent structure scores by the little found of it."""
    axes = tuple(range(1, probability.dim()))
    overlap = (probability * mask).sum(axes)
    sizes = probability.sum(axes) + mask.sum(axes)
    return ((2 * overlap + 50.0) / (sizes + 50.0)).mean()


def tversky_loss(
    probability: torch.Tensor, mask: torch.Tensor, *, alpha: float = 0.3, beta: float = 0.7
) -> torch.Tensor:
    """Return 1 - Tversky index over the batch: ``alpha`` weighs false positives, ``beta`` false negatives."""
    hit = (probability * mask).sum()
    false_positive = (probability * (1 - mask)).sum()
    missed = ((1 - probability) * mask).sum()
    return 1.0 - (hit + 50.0) / (hit + alpha * false_positive + beta * missed + 50.0)


def lesionwise_loss(probability: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Return the mean over all lesions of 1 - soft Dice near each: a small lesion counts as much as a large one.

    Shapes: probability of a lesion and target, both (B, I, J, K). A lesion is a connected body of class
    2; what is compared is the box around it and four voxels more, without the voxels of other lesions and those that
    nobody knows. After blob loss (Kofler et al. 2023, doi 10.1007/978-3-031-34048-2_58), which compares the whole
    patch: there what is found elsewhere would hide what is missed here. A batch without a lesion costs nothing.
    """
    losses = []
    for found, classes in zip(probability, target, strict=True):
        bodies, _ = ndimage.label(classes.cpu().numpy() == _LESION, structure=_TOUCHING)
        for number, cut in enumerate(ndimage.find_objects(bodies), start=1):
            near = tuple(
                slice(max(0, part.start - _AROUND_VOXELS), part.stop + _AROUND_VOXELS) for part in cut
            )
            own = torch.from_numpy(bodies[near] == number).to(found.device)
            counted = own | ((classes[near] != _LESION) & (classes[near] != IGNORED))
            here = found[near] * counted
            losses.append(1.0 - (2 * (here * own).sum() + 10.0) / (here.sum() + own.sum() + 10.0))
    return torch.stack(losses).mean() if losses else probability.sum() * 0.0
