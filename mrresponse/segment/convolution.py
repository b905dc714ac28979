"""3-D convolutions on the CPU by oneDNN, also where PyTorch would not ask it.

PyTorch 2.13 gives a single float32 image to oneDNN only where channels x the first two edges exceed 20,480
(`use_mkldnn` in aten/src/ATen/native/Convolution.cpp), which the deeper levels of a network never do. Its own routine
copies the input 27 times, takes three to four times as long, and uses one thread. In bfloat16 oneDNN is always asked.
"""

from typing import Any

import torch
from torch import nn


class OneDnnConv3d(nn.Conv3d):
    """A convolution that oneDNN computes in float32 on the CPU; elsewhere an ordinary one.

    For inference only: the gradient would come from PyTorch's routine.
    """

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """Convolve (B, C, I, J, K)."""
        kind = input.device.type
        if kind != "cpu" or input.dtype != torch.float32 or torch.is_autocast_enabled(kind):
            return super().forward(input)
        found: torch.Tensor = torch.ops.aten.mkldnn_convolution(
            input, self.weight, self.bias, self.padding, self.stride, self.dilation, self.groups
        )
        return found


def ask_onednn(network: Any) -> None:
    """Let oneDNN compute, in place, every 3-D convolution of a network that pads with zeros by a number of voxels."""
    if not torch.backends.mkldnn.is_available():
        return
    for module in network.modules():
        if type(module) is nn.Conv3d and module.padding_mode == "zeros" and isinstance(module.padding, tuple):
            module.__class__ = OneDnnConv3d
