"""The closed list of network architectures a model folder may name.

torch and MONAI are imported inside the functions: reading numbers needs neither.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

_SMALL: Mapping[str, Any] = MappingProxyType(
    {
        "spatial_dims": 3,
        "init_filters": 8,
        "blocks_down": [1, 2, 2, 4],
        "blocks_up": [1, 1, 1],
        "upsample_mode": "nontrainable",
    }
)
SHIPPED_ARGUMENTS: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {"segresnet": _SMALL, "subvoxel_segresnet": MappingProxyType({**_SMALL, "init_filters": 16})}
)
"""Constructor arguments of the networks that are trained here, without the channels."""

_FOLD = 2


def build_segresnet(**arguments: Any) -> Any:
    """Build MONAI's SegResNet with group normalisation."""
    from monai.networks.nets import SegResNet

    return SegResNet(norm=("GROUP", {"num_groups": 8}), **arguments)


def build_subvoxel_segresnet(*, in_channels: int, out_channels: int, **arguments: Any) -> Any:
    """Build a SegResNet that sees 2 x 2 x 2 voxels as channels of one, and gives each of the eight its classes.

    A SegResNet spends most of its time at the full grid, where it has the fewest filters. Folded, the same time buys
    twice the filters at every level and twice the reach; no voxel of the input is averaged away (sub-pixel convolution,
    doi 10.1109/CVPR.2016.207).
    """
    from monai.networks.utils import pixelshuffle, pixelunshuffle
    from torch import Tensor, nn

    class SubvoxelSegResNet(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            eight = _FOLD**3
            self.folded = build_segresnet(
                in_channels=eight * in_channels, out_channels=eight * out_channels, **arguments
            )

        def forward(self, x: Tensor) -> Tensor:
            folded = pixelunshuffle(x, spatial_dims=3, scale_factor=_FOLD)
            return pixelshuffle(self.folded(folded), spatial_dims=3, scale_factor=_FOLD)

    return SubvoxelSegResNet()


ARCHITECTURES: Mapping[str, Callable[..., Any]] = MappingProxyType(
    {"segresnet": build_segresnet, "subvoxel_segresnet": build_subvoxel_segresnet}
)
EDGE_MULTIPLE: Mapping[str, int] = MappingProxyType({"segresnet": 8, "subvoxel_segresnet": 16})
"""Every edge of a network's input must be a multiple of this: three halvings, and one more where voxels are folded."""
