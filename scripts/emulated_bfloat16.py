"""bfloat16 with float32 accumulation on a processor that has only float32: what `torch.autocast` computes, but fast.

Parameters and inputs of convolutions are rounded to bfloat16 and multiplied and summed in float32, as oneDNN and tensor
cores do; what autocast keeps in bfloat16 between operations is rounded where it is made. Sums in another order are the
only difference left.
"""

from typing import Any

import torch
from monai.networks.blocks.segresnet_block import ResBlock
from torch import nn

# Whether interpolation is computed, and handed on, in float32: AT_FORALL_FP32 of ATen/autocast_mode.h (PyTorch 2.13)
# names `upsample_trilinear3d` and `group_norm`, and is the list of CUDA. The CPU keeps both in bfloat16. For
# `group_norm` that makes no difference: only a ReLU lies between it and the convolution that rounds its input.
_INTERPOLATES_IN_FLOAT32 = {"cpu": False, "cuda": True}


def rounded(values: torch.Tensor) -> torch.Tensor:
    """Return the nearest bfloat16 of each value (ties to even), as float32."""
    return values.bfloat16().float()


def emulate_bfloat16(network: nn.Module, device_kind: str) -> None:
    """Let a SegResNet in float32 compute, in place, what autocast to bfloat16 computes on a kind of device.

    ``device_kind`` is ``cpu`` or ``cuda``. The network then returns bfloat16, as under autocast.
    """
    keeps_interpolated = _INTERPOLATES_IN_FLOAT32[device_kind]
    for module in network.modules():
        if isinstance(module, nn.Conv3d):
            for parameter in module.parameters():
                parameter.data = rounded(parameter.data)
            module.register_forward_pre_hook(_round_input)
        elif isinstance(module, ResBlock) and not keeps_interpolated:
            # what came from below plus what was skipped: the only sum outside a block
            module.register_forward_pre_hook(_round_input)
        is_rounded = (nn.Conv3d, nn.GroupNorm, ResBlock, *(() if keeps_interpolated else (nn.Upsample,)))
        if isinstance(module, is_rounded):
            module.register_forward_hook(_round_output)
    network.register_forward_hook(lambda _module, _inputs, found: found.bfloat16())


def _round_input(_module: nn.Module, inputs: tuple[torch.Tensor, ...]) -> torch.Tensor:
    return rounded(inputs[0])


def _round_output(_module: nn.Module, _inputs: Any, found: torch.Tensor) -> torch.Tensor:
    return rounded(found)
