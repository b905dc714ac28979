from collections.abc import Callable
from datetime import date
from pathlib import Path

import numpy as np
import pytest

from mrresponse import geometry
from mrresponse.domain import Agent, ContrastPhase, Grid, Image, Series, Study
from mrresponse.errors import DataError
from mrresponse.prepare import LiverPhases, PrepareSettings, expected_dice, prepare
from mrresponse.registration import Registration, identity
from tests.phantoms import LIVER, Body, Ellipsoid, ball, grid_around, mask_of, rigid, world_points

ART, PRE, PVP = ContrastPhase.ARTERIAL, ContrastPhase.PRECONTRAST, ContrastPhase.PORTAL_VENOUS
OTHER = ContrastPhase.OTHER
WIDE = grid_around(spacing_mm=(4.0, 4.0, 5.0), margin_mm=45.0)
BODY = Body(lesions=(ball((20.0, 10.0, 5.0), 30.0),))


def study_of(*phases: ContrastPhase) -> Study:
    series = tuple(
        Series(path=Path(f"{phase}.nii"), contrast_phase=phase, agent=Agent.EXTRACELLULAR) for phase in phases
    )
    return Study(patient_id="P017", study_date=date(2023, 4, 11), series=series)


def true_liver(series: Series, image: Image) -> Image | None:
    """Give the liver of the resting body, in the reference phase only."""
    if series.contrast_phase in (PRE, PVP):
        return None
    inside = LIVER.level(world_points(image.grid)) <= 1.0
    return Image(voxels=inside.astype(np.float32), grid=image.grid)


def flipped(image: Image) -> Image:
    """Store the same image with its axes reversed and exchanged, as files do."""
    move = np.zeros((4, 4))
    n = image.grid.shape
    move[0, 1], move[1, 0], move[2, 2] = -1, -1, -1
    move[:3, 3] = (n[0] - 1, n[1] - 1, n[2] - 1)
    move[3, 3] = 1
    voxels = image.voxels[::-1, ::-1, ::-1].transpose(1, 0, 2)
    affine = image.grid.affine @ move
    rows = tuple(tuple(float(v) for v in row) for row in affine[:3])
    return Image(voxels=np.ascontiguousarray(voxels), grid=Grid(shape=(n[1], n[0], n[2]), affine_rows=rows))


def test_the_study_is_cropped_around_the_liver_on_the_native_grid() -> None:
    images = {ART: BODY.image(WIDE, ART)}
    found = prepare(study_of(ART), images, true_liver, PrepareSettings(margin_mm=20.0))
    assert found.reference is ART
    assert found.agent is Agent.EXTRACELLULAR
    # 80 mm semi-axis: +-20 voxels of 4 mm and 5 voxels of margin; the grid has +-32 voxels
    assert found.grid.shape[0] == 2 * 25 + 1
    assert found.crop_start[0] == 32 - 25
    full = geometry.paste(found.liver, found.crop_start, geometry.canonical_grid(found.native_grid))
    np.testing.assert_array_equal(full.voxels > 0, mask_of(LIVER, WIDE))


def test_the_order_of_the_file_does_not_matter() -> None:
    image = BODY.image(WIDE, ART)
    one = prepare(study_of(ART), {ART: image}, true_liver, PrepareSettings())
    two = prepare(study_of(ART), {ART: flipped(image)}, true_liver, PrepareSettings())
    np.testing.assert_array_equal(one.images[ART].voxels, two.images[ART].voxels)
    assert geometry.is_same_grid(one.grid, two.grid)
    assert two.native_grid.shape == flipped(image).grid.shape


def test_another_contrast_phase_is_brought_into_register() -> None:
    images = {
        ART: BODY.image(WIDE, ART),
        PRE: BODY.image(WIDE, PRE, motion=rigid((0.0, 0.0, 10.0))),
    }
    found = prepare(study_of(ART, PRE), images, true_liver, PrepareSettings())
    still = BODY.image(found.grid, PRE).voxels
    inside = found.liver.voxels > 0
    unmoved = geometry.resample_image(images[PRE], found.grid).voxels
    before = np.abs(unmoved - still)[inside].mean()
    assert np.abs(found.images[PRE].voxels - still)[inside].mean() < 0.7 * before
    assert not found.flags


def test_phases_brought_into_register_side_by_side_are_the_same() -> None:
    images = {
        ART: BODY.image(WIDE, ART),
        PRE: BODY.image(WIDE, PRE, motion=rigid((0.0, 0.0, 10.0))),
        PVP: BODY.image(WIDE, PVP, motion=rigid((4.0, 0.0, 0.0))),
    }
    one = prepare(study_of(*images), images, true_liver, PrepareSettings())
    two = prepare(study_of(*images), images, true_liver, PrepareSettings(), phases_at_once=2)
    assert one.registrations == two.registrations
    for phase in images:
        np.testing.assert_array_equal(one.images[phase].voxels, two.images[phase].voxels)


def test_other_sequences_are_used_only_alone() -> None:
    both = prepare(
        study_of(ART, OTHER),
        {ART: BODY.image(WIDE, ART), OTHER: BODY.image(WIDE, ART)},
        true_liver,
        PrepareSettings(),
    )
    assert set(both.images) == {ART}
    alone = prepare(study_of(OTHER), {OTHER: BODY.image(WIDE, ART)}, true_liver, PrepareSettings())
    assert alone.reference is OTHER


def test_what_a_phase_does_not_show_is_known() -> None:
    # slices of 5 mm from -100 to 100 mm; the precontrast phase ends at 30 mm, where the liver reaches 55 mm, and its
    # lowest six are empty, where the liver begins at -55 mm
    before = BODY.image(WIDE, PRE)
    top = int(np.rint(geometry.world_to_voxel(WIDE, [(0.0, 0.0, 30.0)])[0, 2]))
    before.voxels[:, :, : int(np.rint(geometry.world_to_voxel(WIDE, [(0.0, 0.0, -35.0)])[0, 2])) + 1] = 0.0
    low = geometry.crop(before, (0, 0, 0), (WIDE.shape[0], WIDE.shape[1], top + 1))
    settings = PrepareSettings()
    found = prepare(study_of(ART, PRE), {ART: BODY.image(WIDE, ART), PRE: low}, true_liver, settings)
    assert set(found.fields) == {PRE}
    shown = found.fields[PRE].any(axis=(0, 1))
    height = geometry.voxel_to_world(found.grid, [(0, 0, k) for k in range(found.grid.shape[2])])[:, 2]
    # where the two are moved onto each other by less than a slice
    assert shown[(height > -26.0) & (height < 26.0)].all()
    assert not shown[(height < -36.0) | (height > 34.0)].any()
    whole = prepare(study_of(ART), {ART: BODY.image(WIDE, ART)}, true_liver, settings)
    assert not whole.fields


def test_no_liver_is_an_error_that_names_the_series() -> None:
    def nothing(series: Series, image: Image) -> Image:
        return Image(voxels=np.zeros(image.grid.shape, dtype=np.float32), grid=image.grid)

    with pytest.raises(DataError, match=r"P017 2023-04-11 series \(ART\): found no liver") as caught:
        prepare(study_of(ART), {ART: BODY.image(WIDE, ART)}, nothing, PrepareSettings())
    assert caught.value.code == "no_liver"


def test_livers_of_two_phases_that_disagree_are_flagged() -> None:
    def shifted_in_pre(series: Series, image: Image) -> Image:
        centre = (60.0, 0.0, 0.0) if series.contrast_phase is PRE else (0.0, 0.0, 0.0)
        inside = LIVER.moved(centre).level(world_points(image.grid)) <= 1.0
        return Image(voxels=np.where(inside, 0.9, 0.0).astype(np.float32), grid=image.grid)

    images = {ART: BODY.image(WIDE, ART), PRE: BODY.image(WIDE, PRE)}
    settings = PrepareSettings(liver_phases=LiverPhases.ALL)
    found = prepare(study_of(ART, PRE), images, shifted_in_pre, settings)
    assert [flag.code for flag in found.flags] == ["cross_phase_dice"]


def at_rest(*, accepted: bool) -> Callable[..., Registration]:
    """Give what stands for a registration: nothing is moved."""
    found = Registration(
        transform=identity(), accepted=accepted, similarity_before=0.0, similarity_after=0.0, reason="at rest"
    )
    return lambda moving, fixed: found


def network_liver(series: Series, image: Image) -> Image:
    inside = LIVER.level(world_points(image.grid)) <= 1.0
    return Image(voxels=np.where(inside, 0.9, 0.0).astype(np.float32), grid=image.grid)


ALL_PHASES = PrepareSettings(liver_phases=LiverPhases.ALL)


def test_a_phase_that_is_not_in_register_has_no_say_where_the_liver_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """In PRE the liver lies 40 mm to the side; half of the liver would be at the mean 0.45 of both."""

    def shifted_in_pre(series: Series, image: Image) -> Image:
        centre = (40.0, 0.0, 0.0) if series.contrast_phase is PRE else (0.0, 0.0, 0.0)
        inside = LIVER.moved(centre).level(world_points(image.grid)) <= 1.0
        return Image(voxels=np.where(inside, 0.9, 0.0).astype(np.float32), grid=image.grid)

    images = {ART: BODY.image(WIDE, ART), PRE: BODY.image(WIDE, PRE)}
    monkeypatch.setattr("mrresponse.prepare.register_phases", at_rest(accepted=False))
    found = prepare(study_of(ART, PRE), images, shifted_in_pre, ALL_PHASES)
    alone = prepare(study_of(ART), {ART: images[ART]}, network_liver, ALL_PHASES)
    np.testing.assert_array_equal(found.liver_probability.voxels, alone.liver_probability.voxels)
    np.testing.assert_array_equal(found.liver.voxels, alone.liver.voxels)
    assert [flag.code for flag in found.flags] == ["registration_rejected"]


def test_a_phase_has_no_say_about_the_liver_outside_of_its_field_of_view(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """PRE ends in the middle of the liver; above, 0.9 and a 0 for nothing seen would have the mean 0.45."""
    top = int(np.rint(geometry.world_to_voxel(WIDE, [(0.0, 0.0, 0.0)])[0, 2]))
    before = geometry.crop(BODY.image(WIDE, PRE), (0, 0, 0), (WIDE.shape[0], WIDE.shape[1], top + 1))
    image = BODY.image(WIDE, ART)
    monkeypatch.setattr("mrresponse.prepare.register_phases", at_rest(accepted=True))
    found = prepare(study_of(ART, PRE), {ART: image, PRE: before}, network_liver, ALL_PHASES)
    alone = prepare(study_of(ART), {ART: image}, network_liver, ALL_PHASES)
    np.testing.assert_allclose(found.liver_probability.voxels, alone.liver_probability.voxels, rtol=1e-6)
    np.testing.assert_array_equal(found.liver.voxels, alone.liver.voxels)
    assert not found.flags


def test_a_given_liver_in_pieces_is_kept_whole() -> None:
    """As after a resection: the second piece ends 43 mm beyond the largest one, and 20 mm are kept around that."""
    left = Ellipsoid(centre_mm=(0.0, 85.0, 0.0), semi_axes_mm=(45.0, 18.0, 30.0))

    def in_two(series: Series, image: Image) -> Image:
        points = world_points(image.grid)
        inside = (LIVER.level(points) <= 1.0) | (left.level(points) <= 1.0)
        return Image(voxels=inside.astype(np.float32), grid=image.grid)

    found = prepare(study_of(ART), {ART: BODY.image(WIDE, ART)}, in_two, PrepareSettings())
    given = mask_of(LIVER, WIDE) | mask_of(left, WIDE)
    full = geometry.paste(found.liver, found.crop_start, geometry.canonical_grid(found.native_grid))
    np.testing.assert_array_equal(full.voxels > 0, given)
    assert [flag.code for flag in found.flags] == ["fragments"]


def test_the_dice_that_a_network_expects_of_its_outline() -> None:
    probability = np.zeros((10, 10, 10), dtype=np.float32)
    probability[:5, :2] = 0.75
    mask = probability >= 0.5
    # of 100 voxels 75 are expected to be liver
    assert expected_dice(probability, mask) == pytest.approx(2 * 75 / (100 + 75))
    # and 20 more of 50 elsewhere
    probability[:5, 5] = 0.4
    assert expected_dice(probability, mask) == pytest.approx(2 * 75 / (100 + 75 + 20))
    assert expected_dice(mask.astype(np.float32), mask) == 1.0


def unsure_liver(series: Series, image: Image) -> Image:
    """Give the liver, and half as much doubt about all that lies within 40 mm of it on one side."""
    points = world_points(image.grid)
    inside = LIVER.level(points) <= 1.0
    beside = (LIVER.level(points - np.array([40.0, 0.0, 0.0])) <= 1.0) & ~inside
    return Image(voxels=np.where(inside, 0.9, 0.45 * beside).astype(np.float32), grid=image.grid)


def test_what_a_network_expects_of_its_liver_is_kept_and_a_given_one_is_right() -> None:
    images = {ART: BODY.image(WIDE, ART)}
    assert prepare(study_of(ART), images, unsure_liver, PrepareSettings()).expected_liver_dice < 0.9
    assert prepare(study_of(ART), images, true_liver, PrepareSettings()).expected_liver_dice == 1.0


def test_a_networks_liver_is_its_largest_piece_filled_and_closed() -> None:
    def with_flaws(series: Series, image: Image) -> Image:
        points = world_points(image.grid)
        value = np.where(LIVER.level(points) <= 1.0, 0.9, 0.1)
        value[ball((0.0, 0.0, 0.0), 16.0).level(points) <= 1.0] = 0.2
        value[ball((0.0, 95.0, 0.0), 30.0).level(points) <= 1.0] = 0.8
        return Image(voxels=value.astype(np.float32), grid=image.grid)

    found = prepare(study_of(ART), {ART: BODY.image(WIDE, ART)}, with_flaws, PrepareSettings())
    volume_ml = int((found.liver.voxels > 0).sum()) * found.grid.voxel_volume_ml
    assert abs(volume_ml / LIVER.volume_ml - 1.0) < 0.04


def blurred_liver(series: Series, image: Image) -> Image:
    """Say where the liver is as a network with voxels of 8 mm would."""
    inside = (LIVER.level(world_points(image.grid)) <= 1.0).astype(np.float32)
    sizes = [max(1, round(8.0 / step)) for step in image.grid.spacing_mm]
    coarse = np.zeros_like(inside)
    index = np.indices(inside.shape)
    cells = [axis // size * size for axis, size in zip(index, sizes, strict=True)]
    np.add.at(coarse, tuple(cells), inside)
    return Image(voxels=(coarse / np.prod(sizes))[tuple(cells)].astype(np.float32), grid=image.grid)


def overlap_with_truth(image: Image, **settings: float) -> float:
    found = prepare(study_of(ART), {ART: image}, blurred_liver, PrepareSettings(**settings))
    full = (
        geometry.paste(found.liver, found.crop_start, geometry.canonical_grid(found.native_grid)).voxels > 0
    )
    truth = LIVER.level(world_points(image.grid)) <= 1.0
    return 2.0 * float((full & truth).sum()) / float(full.sum() + truth.sum())


FINE = grid_around(spacing_mm=(2.0, 2.0, 3.0), margin_mm=45.0)


def test_the_border_of_a_networks_liver_follows_the_image() -> None:
    image = Body().image(FINE, ART, noise_sd=0.05)
    as_found = overlap_with_truth(image, edge_mm=0.0)
    assert as_found < 0.965
    assert overlap_with_truth(image) > as_found + 0.01


def test_without_an_edge_the_border_of_a_networks_liver_stays() -> None:
    flat = Image(voxels=np.full(FINE.shape, 100.0, dtype=np.float32), grid=FINE)
    assert overlap_with_truth(flat) >= overlap_with_truth(flat, edge_mm=0.0)


def test_thick_slices_do_not_change_each_other_at_the_livers_border() -> None:
    grid = grid_around(spacing_mm=(2.0, 2.0, 8.0), margin_mm=45.0)
    image = Body().image(grid, ART)
    other = image.voxels.copy()
    middle = grid.shape[2] // 2
    # the signal of the liver, by which all of the image is scaled, stays as it is
    beside = blurred_liver(study_of(ART).series[0], image).voxels[:, :, middle] < 0.5
    other[:, :, middle][beside] = np.median(image.voxels)

    def liver_of(voxels: np.ndarray) -> np.ndarray:
        settings = PrepareSettings(closing_mm=0.0)
        shown = Image(voxels=voxels, grid=grid)
        found = prepare(study_of(ART), {ART: shown}, blurred_liver, settings)
        return geometry.paste(found.liver, found.crop_start, geometry.canonical_grid(grid)).voxels

    before, after = liver_of(image.voxels), liver_of(other)
    same = [bool((before[:, :, k] == after[:, :, k]).all()) for k in range(grid.shape[2])]
    assert same.index(False) == middle
    assert same.count(False) == 1
