"""The picture of a measurement: orientation, place and what is drawn."""

from dataclasses import replace
from datetime import date

import numpy as np
import pytest

from mrresponse.domain import (
    ContrastPhase,
    ExaminedStudy,
    Image,
    LesionTrack,
    Observation,
    Snapshot,
    TrackEvent,
)
from mrresponse.measure import MeasureSettings, measure, take_snapshots
from tests.phantoms import Body, Ellipsoid, ball, grid_around, label_map, lesion_map, prepared_study

LIVER = Ellipsoid(centre_mm=(0.0, 0.0, 0.0), semi_axes_mm=(58.0, 45.0, 38.0))
GRID = grid_around(LIVER, (2.0, 2.0, 4.0))
LESION = ball((-20.0, 5.0, 0.0), 24.0)
DAY = date(2024, 1, 10)
SETTINGS = MeasureSettings()


def examined() -> ExaminedStudy:
    phases = (ContrastPhase.PRECONTRAST, ContrastPhase.ARTERIAL)
    prepared = prepared_study(body=Body(liver=LIVER, lesions=(LESION,)), grid=GRID, phases=phases)
    return ExaminedStudy(prepared=prepared, lesion_map=lesion_map(label_map((LESION,), GRID)))


def pictures(study: ExaminedStudy, observation: Observation) -> tuple[Snapshot, ...]:
    track = LesionTrack(patient_id="P001", lesion_id="L01", observations=(observation,))
    rows = measure([study], [track], SETTINGS)
    return take_snapshots([study], [track], rows, SETTINGS)


def test_a_measured_lesion_is_pictured_with_outline_and_calipers() -> None:
    (picture,) = pictures(examined(), Observation(study_date=DAY, event=TrackEvent.FIRST, labels=(1,)))
    assert picture.contrast_phase is ContrastPhase.ARTERIAL
    assert picture.pixels.dtype == np.uint8
    assert picture.pixels.shape == (100, 100)
    assert picture.spacing_mm == (0.8, 0.8)
    assert picture.caliper is not None
    length = 0.8 * float(np.hypot(*np.subtract(*picture.caliper)))
    assert length == pytest.approx(24.0, abs=2.5)
    assert len(picture.outlines) == 1
    assert len(picture.viable_outlines) >= 1
    outline = np.array(picture.outlines[0])
    assert 0.8 * np.ptp(outline, axis=0) == pytest.approx([24.0, 24.0], abs=3.0)
    assert outline.mean(axis=0) == pytest.approx([49.5, 49.5], abs=3.0)
    assert not picture.pixels.flags.writeable


def test_right_is_on_the_left_and_anterior_is_up() -> None:
    study = examined()
    x, y = (np.arange(GRID.shape[axis]) for axis in (0, 1))
    ramp = np.zeros(GRID.shape, dtype=np.float32)
    ramp += (10.0 * x[:, None, None] + 1000.0 * y[None, :, None]).astype(np.float32)
    images = {**study.prepared.images, ContrastPhase.ARTERIAL: Image(voxels=ramp, grid=GRID)}
    study = replace(study, prepared=replace(study.prepared, images=images))
    (picture,) = pictures(study, Observation(study_date=DAY, event=TrackEvent.FIRST, labels=(1,)))
    signal = picture.pixels.astype(int)
    # i runs to the patient's right in world terms of RAS+: larger i is further right, shown on the left.
    assert signal[10, 50] > signal[90, 50]
    assert signal[50, 10] >= signal[50, 90]


def test_a_lesion_that_is_not_found_is_pictured_at_its_registered_place() -> None:
    seen = Observation(study_date=DAY, event=TrackEvent.NOT_FOUND, place_mm=(-20.0, 5.0, 0.0), radius_mm=10.0)
    (picture,) = pictures(examined(), seen)
    assert picture.caliper is None
    assert picture.outlines == ()
    # The lesion is brighter than liver and stands in the middle.
    assert picture.pixels[45:55, 45:55].mean() > picture.pixels[45:55, 95:].mean()


def test_a_place_outside_the_images_or_unknown_has_no_picture() -> None:
    outside = Observation(study_date=DAY, event=TrackEvent.OUTSIDE, place_mm=(900.0, 0.0, 0.0))
    unknown = Observation(study_date=DAY, event=TrackEvent.NOT_FOUND)
    assert pictures(examined(), outside) == ()
    assert pictures(examined(), unknown) == ()


def test_a_large_lesion_gets_a_larger_window() -> None:
    seen = Observation(study_date=DAY, event=TrackEvent.NOT_FOUND, place_mm=(0.0, 0.0, 0.0), radius_mm=40.0)
    (picture,) = pictures(examined(), seen)
    # 1.5 x 80 + 20 = 140 mm at 0.8 mm.
    assert picture.pixels.shape == (175, 175)
