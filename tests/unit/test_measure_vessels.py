"""A vessel along the edge of a lesion is no viable tumour; tumour beside a vessel is."""

from dataclasses import replace
from datetime import date

import numpy as np
import pytest

from mrresponse.domain import BoolArray, ContrastPhase, ExaminedStudy, LesionTrack, Observation, TrackEvent
from mrresponse.measure import MeasureSettings, find_viable
from mrresponse.measure.vessels import vessel_signal, without_vessels
from mrresponse.quality import review_level, with_only_vessels
from tests.phantoms import Ellipsoid, ball, grid_around, label_map, lesion_map, mask_of, prepared_study

SPACING = (1.5, 1.5, 3.0)
SHAPE = (60, 60, 20)
AT_I, AT_J, AT_K = np.indices(SHAPE)


def cylinder(i: int, j: int, radius: float) -> BoolArray:
    """A vessel along k through the whole box."""
    return np.hypot(AT_I - i, AT_J - j) <= radius


LESION = (np.hypot(np.hypot(AT_I - 30, AT_J - 30), 2.0 * (AT_K - 10)) <= 12) & (np.abs(AT_K - 10) < 6)
VESSEL = cylinder(42, 30, 3.0)
EVERYWHERE = np.ones(SHAPE, dtype=bool)
NODULE = np.hypot(np.hypot(AT_I - 24, AT_J - 30), 2.0 * (AT_K - 10)) <= 4.0


def kept(
    viable: BoolArray, bright: BoolArray, lesion: BoolArray = LESION, edge: BoolArray = EVERYWHERE
) -> BoolArray:
    return without_vessels(viable & lesion, lesion, lesion, (bright, edge), SPACING)


def test_a_vessel_that_runs_past_a_dead_tumour_is_left_out() -> None:
    assert (VESSEL & LESION).sum() > 30
    assert not kept(VESSEL, VESSEL).any()


def test_its_blurred_edge_goes_with_it() -> None:
    blurred = cylinder(42, 30, 3.5)
    assert not kept(blurred, VESSEL).any()


def test_viable_tumour_elsewhere_in_the_lesion_stays() -> None:
    np.testing.assert_array_equal(kept(VESSEL | NODULE, VESSEL), NODULE)


def test_what_is_as_bright_as_blood_but_does_not_go_on_outside_stays() -> None:
    """As a haemangioma, or a tumour without washout."""
    np.testing.assert_array_equal(kept(NODULE, NODULE), NODULE)


def test_tumour_that_washes_out_beside_a_vessel_stays() -> None:
    """Only the vessel is as bright as blood in the portal venous phase; the tumour at its edge is darker than liver."""
    beside = cylinder(45, 30, 3.0)
    rim = LESION & (AT_I >= 41) & (np.abs(AT_J - 30) <= 3)
    np.testing.assert_array_equal(kept(rim, beside, edge=beside), rim)
    assert not kept(rim, beside).any()


def test_a_sliver_beside_a_vessel_goes_though_the_dead_tumour_darkens_it() -> None:
    beside = cylinder(45, 30, 3.0)
    sliver = LESION & (AT_I >= 41) & (np.abs(AT_J - 30) <= 1)
    assert sliver.sum() * np.prod(SPACING) < 125.0
    assert not kept(sliver, beside, edge=beside).any()
    assert kept(sliver, NODULE, edge=beside).any()


def test_tumour_that_reaches_deep_into_its_lesion_is_no_vessel_however_bright() -> None:
    deep = (np.hypot(np.hypot(AT_I - 36, AT_J - 30), 2.0 * (AT_K - 10)) <= 6.0) & LESION
    np.testing.assert_array_equal(kept(deep, deep | VESSEL), deep)


def test_what_is_most_of_a_lesion_is_no_vessel() -> None:
    small = VESSEL & (np.abs(AT_K - 10) < 4)
    np.testing.assert_array_equal(kept(small, VESSEL, lesion=small), small)


def test_a_vessel_is_nearer_to_blood_than_liver_is() -> None:
    liver = np.ones((20, 20, 10), dtype=bool)
    venous = np.full(liver.shape, 100.0, dtype=np.float32)
    venous[:, :2] = 150.0
    assert vessel_signal(venous, liver, 100.0, level=0.35) == pytest.approx(117.5)
    venous[:, :2] = 105.0
    assert vessel_signal(venous, liver, 100.0, level=0.35) is None
    assert vessel_signal(venous, np.zeros_like(liver), 100.0, level=0.35) is None


# The same through `find_viable`, on images.

GRID = grid_around(spacing_mm=(2.0, 2.0, 3.0), margin_mm=10.0)
DEAD = ball((20.0, 0.0, 0.0), 24.0)
RUNS_PAST = Ellipsoid(centre_mm=(33.0, 0.0, 0.0), semi_axes_mm=(4.0, 4.0, 40.0))
PHASES = (ContrastPhase.PRECONTRAST, ContrastPhase.ARTERIAL, ContrastPhase.PORTAL_VENOUS)


def study() -> ExaminedStudy:
    """A dead tumour, drawn 3 mm too large, and a vessel beside it: blood at 1.6 and 1.5 of the liver."""
    prepared = prepared_study(grid=GRID, phases=PHASES, study_date=date(2024, 1, 10))
    liver = prepared.liver.voxels > 0
    dead, vessel = mask_of(DEAD, GRID), mask_of(RUNS_PAST, GRID) & liver
    far = mask_of(Ellipsoid(centre_mm=(-20.0, 0.0, 0.0), semi_axes_mm=(12.0, 12.0, 40.0)), GRID) & liver
    rng = np.random.default_rng(7)
    signals = {
        ContrastPhase.PRECONTRAST: (100.0, 80.0, 70.0),
        ContrastPhase.ARTERIAL: (120.0, 85.0, 190.0),
        ContrastPhase.PORTAL_VENOUS: (190.0, 90.0, 290.0),
    }
    images = {}
    for phase, (of_liver, of_dead, of_blood) in signals.items():
        voxels = np.where(vessel | far, of_blood, np.where(dead, of_dead, np.where(liver, of_liver, 60.0)))
        images[phase] = replace(
            prepared.images[phase], voxels=(voxels + rng.normal(0.0, 2.0, GRID.shape)).astype(np.float32)
        )
    outline = replace(DEAD, semi_axes_mm=(14.0, 14.0, 14.0))
    found = lesion_map(label_map([outline], GRID))
    return ExaminedStudy(prepared=replace(prepared, images=images), lesion_map=found)


def test_a_vessel_under_an_outline_is_not_viable_and_somebody_is_asked_to_look() -> None:
    one = study()
    found = find_viable(one, MeasureSettings())
    assert found.labels is not None
    assert not (found.labels.voxels[mask_of(RUNS_PAST, GRID)] > 0).any()
    assert "mL of a vessel along the edge is not counted" in found.evidence[1]
    track = LesionTrack(
        patient_id="P001",
        lesion_id="L01",
        observations=(Observation(study_date=one.study_date, event=TrackEvent.FIRST, labels=(1,)),),
    )
    (asked,) = with_only_vessels([one], [{1}], [track])
    assert [(flag.code, flag.lesion_id) for flag in asked.flags] == [("only_vessel_enhances", "L01")]
    assert review_level(asked.flags) == "review"
    (plain,) = with_only_vessels([one], [set()], [track])
    assert plain.flags == ()


def test_vessels_can_be_left_in() -> None:
    found = find_viable(study(), MeasureSettings(vessel_level=1.0))
    assert found.labels is not None
    assert (found.labels.voxels[mask_of(RUNS_PAST, GRID)] > 0).any()
    assert "vessel along the edge" not in found.evidence[1]
    assert found.emptied == frozenset()
