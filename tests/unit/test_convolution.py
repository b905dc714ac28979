"""oneDNN gives what PyTorch's own convolution gives, in every layer that it takes over."""

import pytest
import torch
from torch import nn

from mrresponse.segment.architectures import SEGRESNET_SMALL, build_segresnet
from mrresponse.segment.convolution import OneDnnConv3d, ask_onednn


def test_a_network_gives_the_same_with_and_without() -> None:
    torch.manual_seed(3)
    network = build_segresnet(**SEGRESNET_SMALL, in_channels=2, out_channels=3).eval()
    image = torch.randn(1, 2, 24, 16, 32).to(memory_format=torch.channels_last_3d)
    with torch.inference_mode():
        before = network(image)
        ask_onednn(network)
        after = network(image)
    taken = [module for module in network.modules() if isinstance(module, OneDnnConv3d)]
    assert len(taken) == len([module for module in network.modules() if isinstance(module, nn.Conv3d)]) > 20
    torch.testing.assert_close(after, before, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("dilation", [1, 2])
def test_a_convolution_is_the_sum_it_is_defined_as(stride: int, dilation: int) -> None:
    torch.manual_seed(1)
    layer = nn.Sequential(nn.Conv3d(2, 4, 3, stride=stride, dilation=dilation, padding=1))
    ask_onednn(layer)
    image = torch.randn(1, 2, 7, 6, 9)
    with torch.inference_mode():
        found = layer(image)
    (convolution,) = layer
    weight, padded = convolution.weight, nn.functional.pad(image, (1,) * 6)
    at = (1 * stride, 1 * stride, 2 * stride)
    corner = [slice(start, start + 2 * dilation + 1, dilation) for start in at]
    expected = (padded[0, :, *corner] * weight[3]).sum() + convolution.bias[3]
    assert found[0, 3, 1, 1, 2].item() == pytest.approx(expected.item(), rel=1e-4, abs=1e-5)


def test_what_pads_otherwise_is_left_alone() -> None:
    layer = nn.Sequential(
        nn.Conv3d(1, 1, 3, padding="same"), nn.Conv3d(1, 1, 3, padding=1, padding_mode="reflect")
    )
    ask_onednn(layer)
    assert not any(isinstance(module, OneDnnConv3d) for module in layer)


def test_half_precision_is_left_to_pytorch() -> None:
    layer = nn.Sequential(nn.Conv3d(1, 2, 3, padding=1))
    ask_onednn(layer)
    with torch.inference_mode(), torch.autocast("cpu", dtype=torch.bfloat16):
        assert layer(torch.randn(1, 1, 4, 4, 4)).dtype == torch.bfloat16
