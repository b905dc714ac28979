"""Settings of what counts as a lesion are compared by what they find, how well, and what they invent."""

from datetime import date
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from mrresponse.domain import ContrastPhase, Grid, Image, LabelMap, PreparedStudy, Study
from mrresponse.evaluate import LesionComparison, LesionMatch
from mrresponse.lesions import LesionSettings

GRID = Grid(shape=(30, 30, 12), affine_rows=((2.0, 0, 0, 0), (0, 2.0, 0, 0), (0, 0, 2.0, 0)))


@pytest.fixture(scope="module")
def tune(checkout: Path) -> ModuleType:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(checkout / "scripts"))
        import tune_lesions
    return tune_lesions


def test_quality_is_the_overlap_of_what_is_found_over_that_and_half_of_both_errors(tune: ModuleType) -> None:
    found = LesionMatch(
        predicted=1,
        reference=1,
        iou=2 / 3,
        dice=0.8,
        predicted_diameter_mm=23.0,
        reference_diameter_mm=20.0,
        predicted_volume_ml=6.0,
        reference_volume_ml=4.0,
    )
    scan = LesionComparison(
        matches=(found,), missed_diameters_mm=(12.0, 9.0), false_positive_diameters_mm=(7.0, 15.0)
    )
    nothing = LesionComparison(matches=(), missed_diameters_mm=(), false_positive_diameters_mm=())
    figures = tune.figures([scan, nothing])
    # 0.8 / (1 found + 1/2 missed + 1/2 false); those of 9 and 7 mm do not count
    assert figures["panoptic_quality"] == pytest.approx(0.4)
    assert (figures["lesions"], figures["found"]) == (2, 1)
    assert figures["false_per_scan"] == 1.0
    assert figures["diameter_bias_mm"] == pytest.approx(3.0)


def test_a_higher_threshold_leaves_the_doubtful_border_out(tune: ModuleType) -> None:
    probability = np.zeros(GRID.shape, np.float32)
    probability[8:22, 8:22, 2:10] = 0.55
    probability[10:20, 10:20, 3:9] = 0.95
    image = Image(voxels=probability, grid=GRID)
    everywhere = np.ones(GRID.shape, np.uint16)
    prepared = PreparedStudy(
        study=Study(patient_id="P1", study_date=date(2024, 1, 1)),
        grid=GRID,
        native_grid=GRID,
        crop_start=(0, 0, 0),
        images={ContrastPhase.ARTERIAL: image},
        reference=ContrastPhase.ARTERIAL,
        liver=LabelMap(voxels=everywhere, grid=GRID),
        liver_probability=Image(voxels=everywhere.astype(np.float32), grid=GRID),
    )
    truth = np.zeros(GRID.shape, np.uint16)
    truth[10:20, 10:20, 3:9] = 1
    answer = tune.Answered(prepared=prepared, found=image, truth=truth)
    (exact,) = tune.compared(answer, LesionSettings(threshold=0.6, opening=0.0)).matches
    assert exact.dice == 1.0
    # a block with corners: the opening would round them
    (wide,) = tune.compared(answer, LesionSettings(threshold=0.5, opening=0.0)).matches
    # 2 x 600 voxels in common over 600 + 14 x 14 x 8
    assert wide.dice == pytest.approx(1200 / (600 + 1568))
    (invented,) = tune.compared(
        tune.Answered(prepared=prepared, found=image, truth=np.zeros_like(truth)), LesionSettings()
    ).false_positive_diameters_mm
    assert invented > 10.0
    assert not tune.compared(answer, LesionSettings(least_peak=0.98)).matches
