"""bfloat16 is emulated operation by operation as autocast computes it, and masks of two number formats are compared."""

from copy import deepcopy
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

torch = pytest.importorskip("torch")


@pytest.fixture(scope="module")
def study(checkout: Path) -> ModuleType:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(checkout / "scripts"))
        import precision_study
    return precision_study


def operations_under_autocast(network, window):
    """Return input and output of every operation of a network in true bfloat16, by the name of its module."""
    from monai.networks.blocks.segresnet_block import ResBlock

    seen = {}
    kinds = (torch.nn.Conv3d, torch.nn.GroupNorm, torch.nn.Upsample, ResBlock)
    for name, module in network.named_modules():
        if isinstance(module, kinds):
            module.register_forward_hook(
                lambda module, inputs, found, name=name: seen.update(
                    # what follows works in place
                    {name: (module, inputs[0].clone(), found.clone())}
                )
            )
    with torch.inference_mode(), torch.autocast("cpu", dtype=torch.bfloat16):
        network(window)
    return seen


@pytest.fixture(scope="module")
def operations(study: ModuleType):
    from emulated_bfloat16 import emulate_bfloat16

    liver, _ = study.networks("float32")
    emulated = deepcopy(liver.module)
    emulate_bfloat16(emulated, "cpu")
    window = torch.randn(1, 1, 32, 24, 16, generator=torch.Generator().manual_seed(1))
    return operations_under_autocast(liver.module, window), dict(emulated.named_modules())


def test_each_operation_is_that_of_autocast_but_for_ties_that_a_sum_in_another_order_breaks(
    operations,
) -> None:
    true, emulated = operations
    elements = differing = 0
    for name, (module, given, expected) in true.items():
        if hasattr(module, "conv1"):
            continue
        assert expected.dtype == torch.bfloat16
        with torch.inference_mode():
            found = emulated[name](given.float())
        assert torch.equal(found, found.bfloat16().float())
        differing += int((found != expected.float()).sum())
        elements += found.numel()
        # bfloat16 has 8 significant bits: neighbours are at most 2**-7 apart, relative to the value
        torch.testing.assert_close(found, expected.float(), rtol=2.0**-7, atol=1e-5)
    # none at all where sums happen to be made in the same order
    assert differing < elements / 10_000


def test_sums_of_a_block_are_rounded_once_as_under_autocast(operations) -> None:
    true, emulated = operations
    blocks = {name: row for name, row in true.items() if hasattr(row[0], "conv1")}
    # [1, 2, 2, 4] on the way down, one for each of three levels on the way up
    assert len(blocks) == 12
    for name, (_, given, expected) in blocks.items():
        last = true[f"{name}.conv2.conv"][2]
        assert torch.equal(expected, (last.float() + given.float()).bfloat16())
        with torch.inference_mode():
            found = emulated[name](given.float())
        assert torch.equal(found, found.bfloat16().float())


@pytest.mark.parametrize(("kind", "expected"), [("cpu", 1.0), ("cuda", 1.0 + 2.0**-9)])
def test_on_cuda_what_is_interpolated_stays_in_float32(study: ModuleType, kind: str, expected: float) -> None:
    from emulated_bfloat16 import emulate_bfloat16

    class Recorded(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.up = torch.nn.Upsample(scale_factor=2, mode="trilinear")

        def forward(self, values):
            self.seen = self.up(values)
            return self.seen

    network = Recorded()
    emulate_bfloat16(network, kind)
    # neighbours in bfloat16; what lies a quarter of the way between them is none
    network(torch.tensor([1.0, 1.0 + 2.0**-7]).reshape(1, 1, 2, 1, 1))
    assert network.seen[0, 0, 1, 0, 0] == expected


def box(study: ModuleType, start: tuple[int, int, int], *, filled: bool = True):
    return study.Placed(mask=np.full((2, 2, 2), filled), start=start)


def test_masks_are_compared_where_they_lie_in_the_volume(study: ModuleType) -> None:
    # two cubes of eight voxels share a face's width of four
    assert study.overlap(box(study, (3, 3, 3)), box(study, (4, 3, 3))) == pytest.approx(2 * 4 / 16)
    assert study.overlap(box(study, (3, 3, 3)), box(study, (3, 3, 5))) == 0.0
    assert study.overlap(box(study, (0, 0, 0), filled=False), box(study, (3, 0, 0), filled=False)) is None


def test_a_category_that_is_there_only_once_has_changed(study: ModuleType) -> None:
    one = {"visit 1 overall": "PR", "visit 2 overall": "SD", "visit 1 new_lesions": ""}
    other = {"visit 1 overall": "PR", "visit 1 new_lesions": "", "visit 3 overall": "PD"}
    lines, compared = study.changed(one, other)
    assert compared == 3
    assert lines == ["visit 2 overall: SD -> -", "visit 3 overall: - -> PD"]


def test_studies_without_a_lesion_in_either_format_have_no_dice(study: ModuleType) -> None:
    def found(lesion, overall: str):
        masks = {"2020-01-01 liver": box(study, (0, 0, 0)), "2020-01-01 lesion": lesion}
        return study.Found(masks=masks, categories={"overall": overall}, diameters={}, wrong=())

    none = box(study, (0, 0, 0), filled=False)
    pairs = {
        "A": (found(none, "NED"), found(none, "NED")),
        "B": (found(box(study, (0, 0, 0)), "PD"), found(box(study, (1, 0, 0)), "SD")),
    }
    figures = {figure.name: figure for figure in study.agreement_figures(pairs)}
    assert figures["lesion masks empty in both"].value == 1
    assert figures["lesion masks compared"].value == 1
    assert (figures["lesion Dice, minimum"].value, figures["lesion Dice, minimum"].holds) == (0.5, False)
    assert (figures["liver Dice, minimum"].value, figures["liver Dice, minimum"].holds) == (1.0, True)
    assert (figures["categories compared"].value, figures["categories changed"].value) == (2, 1)
    assert not figures["categories changed"].holds


def test_what_is_compared_is_as_sure_of_a_lesion_as_the_program(study: ModuleType) -> None:
    from mrresponse.segment import SegmentSettings, make_segmenter

    found = study.segmenter(*study.networks("float32"))
    assert found.suits == make_segmenter(SegmentSettings(device="cpu")).suits
