"""Label maps of real organs are completed to a torso and deformed without exchanging the sides."""

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813  (its customary name)
import torch
import yaml

from mrresponse.errors import ConfigError
from mrresponse.synthetic.label_maps import deform, load_templates
from mrresponse.synthetic.tissues import Tissue, liver_mask


@pytest.fixture(scope="module")
def catalogue(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write a toy label map: a box of liver on the right, a spleen on the left, an aorta."""
    folder = tmp_path_factory.mktemp("labels")
    labels = np.zeros((40, 50, 60), dtype=np.uint8)
    labels[10:30, 15:35, 5:25] = 1
    labels[15:28, 25:38, 48:56] = 2
    labels[:, 34:38, 31:35] = 3
    image = sitk.GetImageFromArray(labels)
    # in LPS with identity direction the first index runs to the patient's left, so index 5-25 is on the right
    image.SetSpacing((5.0, 5.0, 5.0))
    sitk.WriteImage(image, str(folder / "toy.nii.gz"))
    entry = {
        "file": "toy.nii.gz",
        "name": "toy",
        "wall_mm": 10,
        "values": {"LIVER": [1], "SPLEEN": [2], "AORTA": [3]},
    }
    file = folder / "maps.yaml"
    file.write_text(yaml.safe_dump([entry]), encoding="utf-8")
    return file


def test_a_template_keeps_the_organs_and_gains_a_body(catalogue: Path) -> None:
    (template,) = load_templates(catalogue)
    assert template.name == "toy"
    volume_ml = float(liver_mask(template.tissue).sum()) * 27 / 1000
    assert volume_ml == pytest.approx(20 * 20 * 20 * 0.125, rel=0.1)
    present = {Tissue(int(value)) for value in template.tissue.unique()}
    assert {Tissue.SKIN, Tissue.SUBCUTANEOUS_FAT, Tissue.MUSCLE, Tissue.MARROW, Tissue.LUNG} <= present


def test_deformed_torsos_keep_the_liver_on_the_right_and_repeat_with_the_seed(catalogue: Path) -> None:
    (template,) = load_templates(catalogue)
    shape = (52, 40, 36)
    first, again = (deform(template, np.random.default_rng(2), shape, 8.0) for _ in range(2))
    assert torch.equal(first, again)
    where = liver_mask(first).nonzero()[:, 0].float().mean()
    spleen = (first == int(Tissue.SPLEEN)).nonzero()[:, 0].float().mean()
    assert float(where) > 26 > float(spleen)


def test_an_unreadable_catalogue_is_a_config_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="label_maps"):
        load_templates(tmp_path / "none.yaml")
