"""A widened network says what the narrow one said, and its copies can become different."""

from typing import Any

import pytest

from mrresponse.segment.architectures import SEGRESNET_SMALL, build_segresnet
from mrresponse.training.widen import widen

torch = pytest.importorskip("torch")


def network(filters: int) -> Any:
    arguments = {**SEGRESNET_SMALL, "init_filters": filters, "in_channels": 2, "out_channels": 3}
    return build_segresnet(**arguments).eval()


@pytest.fixture(scope="module")
def pair() -> tuple[Any, Any]:
    torch.manual_seed(4)
    narrow, wide = network(8), network(16)
    with torch.no_grad():
        # a fresh norm has scale 1 and shift 0 everywhere, which would hide one that is misplaced
        for value in narrow.parameters():
            if value.dim() == 1:
                value.add_(0.3 * torch.randn(value.shape))
    wide.load_state_dict(widen(narrow.state_dict(), wide.state_dict(), seed=1))
    return narrow, wide


def test_a_wider_network_says_the_same(pair: tuple[Any, Any]) -> None:
    window = torch.randn(1, 2, 24, 16, 16, generator=torch.Generator().manual_seed(2))
    with torch.inference_mode():
        narrow, wide = (one(window) for one in pair)
    torch.testing.assert_close(wide, narrow, atol=1e-4, rtol=1e-4)


def test_copies_of_a_channel_are_read_differently_so_that_they_can_part(pair: tuple[Any, Any]) -> None:
    read = pair[1].state_dict()["down_layers.1.0.conv.weight"]
    assert (read[:, 0::2] - read[:, 1::2]).abs().min() > 0
    window = torch.randn(1, 2, 24, 16, 16, generator=torch.Generator().manual_seed(2))
    pair[1](window).square().mean().backward()
    gradient = pair[1].convInit.conv.weight.grad
    assert (gradient[0::2] - gradient[1::2]).abs().max() > 0


def test_equal_widths_change_nothing(pair: tuple[Any, Any]) -> None:
    weights = pair[0].state_dict()
    same = widen(weights, weights, seed=1)
    assert all(torch.equal(same[name], value) for name, value in weights.items())


@pytest.mark.parametrize("filters", [8, 24])
def test_what_is_no_multiple_is_refused(pair: tuple[Any, Any], filters: int) -> None:
    with pytest.raises(ValueError, match=r"convInit\.conv\.weight is .*, which cannot become"):
        widen(pair[1].state_dict(), network(filters).state_dict(), seed=1)


def test_another_architecture_is_refused(pair: tuple[Any, Any]) -> None:
    weights = dict(pair[0].state_dict())
    weights.pop("convInit.conv.weight")
    with pytest.raises(ValueError, match="built differently"):
        widen(weights, pair[1].state_dict(), seed=1)
