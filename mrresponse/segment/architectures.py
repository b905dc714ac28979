"""The closed list of network architectures a model folder may name."""

from collections.abc import Callable
from typing import Any

SEGRESNET_SMALL: dict[str, Any] = {
    "spatial_dims": 3,
    "init_filters": 8,
    "blocks_down": [1, 2, 2, 4],
    "blocks_up": [1, 1, 1],
    "upsample_mode": "nontrainable",
}


def build_segresnet(**arguments: Any) -> Any:
    """Build MONAI's SegResNet with group normalisation."""
    from monai.networks.nets import SegResNet

    return SegResNet(norm=("GROUP", {"num_groups": 8}), **arguments)


ARCHITECTURES: dict[str, Callable[..., Any]] = {"segresnet": build_segresnet}
