"""The picture of a measurement: orientation, place and what is drawn."""

from dataclasses import replace
from datetime import date

import numpy as np
import pytest
from scipy import ndimage
from skimage.measure import approximate_polygon, find_contours

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
from mrresponse.measure.snapshot import simplified
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
    assert picture.pixels.shape == (9, 100, 100)
    assert picture.spacing_mm == (0.8, 0.8)
    assert picture.caliper is not None
    length = 0.8 * float(np.hypot(*np.subtract(picture.caliper.start, picture.caliper.end)))
    assert length == pytest.approx(24.0, abs=2.5)
    shown = picture.slices[picture.caliper.slice_number]
    assert len(shown.outlines) == 1
    assert len(shown.viable_outlines) >= 1
    outline = np.array(shown.outlines[0])
    assert 0.8 * np.ptp(outline, axis=0) == pytest.approx([24.0, 24.0], abs=3.0)
    assert (outline.max(axis=0) + outline.min(axis=0)) / 2.0 == pytest.approx([49.5, 49.5], abs=3.0)
    assert not picture.pixels.flags.writeable


def test_slices_step_from_feet_to_head_over_the_lesion_and_say_how_far_off_they_lie() -> None:
    (picture,) = pictures(examined(), Observation(study_date=DAY, event=TrackEvent.FIRST, labels=(1,)))
    assert [one.step for one in picture.slices] == [-4, -3, -2, -1, 0, 1, 2, 3, 4]
    # slices are 4 mm apart and the lesion is a ball of 24 mm: it ends 12 mm off, between steps 2 and 4
    assert np.diff([one.offset_mm for one in picture.slices]) == pytest.approx([4.0] * 8)
    assert [bool(one.outlines) for one in picture.slices] == [False, False, *[True] * 5, False, False]
    assert np.diff([one.slice_index for one in picture.slices]).tolist() == [1] * 8


def test_subtraction_shows_the_enhancing_lesion_brighter_than_liver() -> None:
    (picture,) = pictures(examined(), Observation(study_date=DAY, event=TrackEvent.FIRST, labels=(1,)))
    assert picture.subtraction is not None
    assert picture.subtraction.shape == picture.pixels.shape
    assert picture.subtraction[4, 47:53, 47:53].mean() > 1.5 * picture.subtraction[4, 47:53, 92:].mean()


def test_without_a_precontrast_image_there_is_no_subtraction() -> None:
    study = examined()
    images = {ContrastPhase.ARTERIAL: study.prepared.images[ContrastPhase.ARTERIAL]}
    study = replace(study, prepared=replace(study.prepared, images=images))
    (picture,) = pictures(study, Observation(study_date=DAY, event=TrackEvent.FIRST, labels=(1,)))
    assert picture.subtraction is None


def test_liver_has_the_same_grey_whatever_the_gain_of_the_scanner() -> None:
    study = examined()
    images = {
        phase: Image(voxels=3.0 * image.voxels, grid=GRID) for phase, image in study.prepared.images.items()
    }
    louder = replace(study, prepared=replace(study.prepared, images=images))
    seen = Observation(study_date=DAY, event=TrackEvent.FIRST, labels=(1,))
    (picture,), (other,) = pictures(study, seen), pictures(louder, seen)
    assert np.abs(picture.pixels.astype(int) - other.pixels.astype(int)).max() <= 1


def test_both_visits_show_the_same_place_at_the_same_magnification_and_the_one_before_is_pictured() -> None:
    first, second = examined(), examined()
    later = date(2024, 4, 10)
    second = replace(
        second,
        prepared=replace(second.prepared, study=replace(second.prepared.study, study_date=later)),
    )
    place = (-26.0, 5.0, 4.0)
    track = LesionTrack(
        patient_id="P001",
        lesion_id="L01",
        observations=(Observation(study_date=later, event=TrackEvent.NEW, labels=(1,)),),
        places_mm=((DAY, place), (later, place)),
    )
    rows = measure([first, second], [track], SETTINGS)
    before, seen = take_snapshots([first, second], [track], rows, SETTINGS)
    assert (before.study_date, seen.study_date) == (DAY, later)
    assert before.pixels.shape == seen.pixels.shape
    assert np.array_equal(before.pixels, seen.pixels)
    assert all(one.outlines == () for one in before.slices)
    assert before.caliper is None
    # the lesion lies 6 mm to the patient's left of the place, on the right of the picture
    middle = next(one for one in seen.slices if one.step == 0)
    assert np.array(middle.outlines[0])[:, 0].mean() == pytest.approx(49.5 - 6.0 / 0.8, abs=2.0)


def test_right_is_on_the_left_and_anterior_is_up() -> None:
    study = examined()
    x, y = (np.arange(GRID.shape[axis]) for axis in (0, 1))
    ramp = np.zeros(GRID.shape, dtype=np.float32)
    ramp += (10.0 * x[:, None, None] + 1000.0 * y[None, :, None]).astype(np.float32)
    images = {**study.prepared.images, ContrastPhase.ARTERIAL: Image(voxels=ramp, grid=GRID)}
    study = replace(study, prepared=replace(study.prepared, images=images))
    (picture,) = pictures(study, Observation(study_date=DAY, event=TrackEvent.FIRST, labels=(1,)))
    signal = picture.pixels[4].astype(int)
    # i runs to the patient's right in world terms of RAS+: larger i is further right, shown on the left.
    assert signal[10, 50] > signal[90, 50]
    assert signal[50, 10] >= signal[50, 90]


def test_a_lesion_that_is_not_found_is_pictured_at_its_registered_place() -> None:
    seen = Observation(study_date=DAY, event=TrackEvent.NOT_FOUND, place_mm=(-20.0, 5.0, 0.0), radius_mm=10.0)
    (picture,) = pictures(examined(), seen)
    assert picture.caliper is None
    assert all(one.outlines == () for one in picture.slices)
    # The lesion is brighter than liver and stands in the middle.
    assert picture.pixels[4, 45:55, 45:55].mean() > picture.pixels[4, 45:55, 95:].mean()


def test_a_place_outside_the_images_or_unknown_has_no_picture() -> None:
    outside = Observation(study_date=DAY, event=TrackEvent.OUTSIDE, place_mm=(900.0, 0.0, 0.0))
    unknown = Observation(study_date=DAY, event=TrackEvent.NOT_FOUND)
    assert pictures(examined(), outside) == ()
    assert pictures(examined(), unknown) == ()


def test_a_large_lesion_gets_a_larger_window() -> None:
    seen = Observation(study_date=DAY, event=TrackEvent.NOT_FOUND, place_mm=(0.0, 0.0, 0.0), radius_mm=40.0)
    (picture,) = pictures(examined(), seen)
    # 1.5 x 80 + 20 = 140 mm at 0.8 mm.
    assert picture.pixels.shape[1:] == (175, 175)


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("tolerance", [0.1, 0.3, 2.0])
def test_outlines_are_simplified_as_by_an_independent_library(seed: int, tolerance: float) -> None:
    noise = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=(60, 60)), 3.0 + seed % 3)
    chains = [one for one in find_contours(np.pad(noise / noise.std(), 1), 0.7) if len(one) > 3]
    assert chains
    for chain in chains:
        np.testing.assert_array_equal(simplified(chain, tolerance), approximate_polygon(chain, tolerance))
