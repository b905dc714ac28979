"""The probabilities keep what they say, on lesions that are imaged, read and measured afresh."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from mrresponse.domain import Response


@pytest.fixture(scope="module")
def calibration(checkout: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("calibration", checkout / "scripts" / "calibration.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["calibration"] = module
    spec.loader.exec_module(module)
    return module


def test_the_calibration_error_is_the_weighted_distance_of_stated_and_observed(
    calibration: ModuleType,
) -> None:
    # nine calls stated 0.95, six of them right; one stated 0.35, wrong
    stated = np.array([0.95] * 9 + [0.35])
    right = np.array([1.0] * 6 + [0.0] * 4)
    bins = calibration.bins_of(stated, right)
    assert [one.n for one in bins] == [1, 9]
    assert calibration.calibration_error(bins) == pytest.approx((9 * (0.95 - 6 / 9) + 0.35) / 10)


def test_calls_are_judged_by_the_probability_of_what_was_called(calibration: ModuleType) -> None:
    call = calibration.Call(
        criterion="RECIST 1.1", visit=1, chances=(0.0, 0.6, 0.4, 0.0), called=Response.PR, true=Response.SD
    )
    (only,) = calibration.of_called([call])
    assert (only.n, only.stated, only.observed) == (1, 0.6, 0.0)
    assert sum(one.n for one in calibration.of_every_category([call])) == 4


def test_a_reading_of_a_known_body_is_near_its_true_size(calibration: ModuleType) -> None:
    random = np.random.default_rng(3)
    body = calibration.Lesion(ratios=(0.8, 0.8), angle_deg=30.0, diameters_mm=(40.0,)).at(0)
    longest, across, volume = calibration.read(body, random)
    assert calibration.true_sizes(body)[:2] == (40.0, 32.0)
    assert (longest, across) == (pytest.approx(40.0, abs=2.0), pytest.approx(32.0, abs=2.0))
    assert volume == pytest.approx(calibration.true_sizes(body)[2], rel=0.1)
    assert calibration.read(None, random) is None


@pytest.mark.slow
def test_probabilities_are_calibrated_on_fresh_readings_of_known_lesions(calibration: ModuleType) -> None:
    _, calls = calibration.judge(40, seed=2)
    assert len(calls) > 500
    assert calibration.calibration_error(calibration.of_called(calls)) <= calibration.BAR
    assert calibration.calibration_error(calibration.of_every_category(calls)) <= calibration.BAR
