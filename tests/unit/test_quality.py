from dataclasses import replace
from datetime import date

import numpy as np
import pytest

from mrresponse.domain import (
    Agent,
    ContrastPhase,
    ExaminedStudy,
    Flag,
    GivenLesions,
    Image,
    MeasurementSource,
    PreparedStudy,
)
from mrresponse.geometry import fragments_of, voxel_to_world
from mrresponse.lesions import LesionSettings, find_lesions
from mrresponse.quality import (
    QualitySettings,
    check_quality,
    check_technique,
    review_level,
    with_lesions_in_pieces,
    with_nothing_found,
)
from mrresponse.track import TrackSettings, track
from tests.phantoms import (
    LIVER,
    Ellipsoid,
    ball,
    examined_study,
    grid_around,
    label_map,
    lesion_map,
    prepared_study,
    world_points,
)

ART, PRE = ContrastPhase.ARTERIAL, ContrastPhase.PRECONTRAST
WIDE = grid_around(margin_mm=40.0)
FIRST, SECOND = date(2024, 1, 10), date(2024, 4, 10)


def codes(prepared: PreparedStudy, *lesions: Ellipsoid) -> list[str]:
    found = lesion_map(label_map(lesions, prepared.grid))
    return [flag.code for flag in check_quality(prepared, found, QualitySettings())]


def scaled(prepared: PreparedStudy, phase: ContrastPhase, factor: float) -> PreparedStudy:
    image = prepared.images[phase]
    changed = Image(voxels=image.voxels * np.float32(factor), grid=image.grid)
    return replace(prepared, images={**prepared.images, phase: changed})


def test_a_good_study_has_no_flag() -> None:
    lesion = ball((20.0, 0.0, 0.0), 30.0)
    assert codes(prepared_study([lesion], grid=WIDE), lesion) == []


def test_an_implausible_liver_volume_is_flagged() -> None:
    small = Ellipsoid(centre_mm=LIVER.centre_mm, semi_axes_mm=(50.0, 40.0, 40.0))  # 335 mL
    study = prepared_study(grid=WIDE)
    study = replace(study, liver=label_map([small], study.grid))
    assert "liver_volume" in codes(study)


def test_a_liver_cut_by_the_volume_is_flagged() -> None:
    assert "liver_at_edge" in codes(prepared_study(grid=grid_around(margin_mm=-5.0)))


@pytest.mark.parametrize(
    ("shown_mm", "is_cut"),
    [((-200.0, 40.0), True), ((-40.0, 200.0), True), ((-60.0, 60.0), False)],
    ids=["the top is blank", "the bottom is blank", "both blank beyond the liver"],
)
def test_a_liver_that_ends_where_blank_slices_begin_is_flagged(
    shown_mm: tuple[float, float], is_cut: bool
) -> None:
    study = prepared_study(grid=WIDE)
    level = world_points(WIDE)[..., 2]
    shown = (level >= shown_mm[0]) & (level <= shown_mm[1])
    liver = replace(study.liver, voxels=np.where(shown, study.liver.voxels, np.uint16(0)))
    study = replace(study, liver=liver, fields={study.reference: shown})
    assert not shown.all()
    assert ("liver_at_edge" in codes(study)) is is_cut


def test_a_lesion_cut_by_the_volume_is_flagged_where_the_liver_mask_leaves_it_out() -> None:
    grid = grid_around(Ellipsoid(centre_mm=(0.0, 0.0, 0.0), semi_axes_mm=(85.0, 65.0, 55.0)), margin_mm=1.0)
    top = ball((0.0, 0.0, 50.0), 24.0)
    study = prepared_study([top], grid=grid)
    liver = np.where(world_points(grid)[..., 2] > 40.0, np.uint16(0), study.liver.voxels)
    study = replace(study, liver=replace(study.liver, voxels=liver))
    assert "liver_at_edge" not in codes(study)
    assert "liver_at_edge" in codes(study, top)


@pytest.mark.parametrize(
    ("spacing_mm", "codes_found"),
    [
        ((4.0, 7.0, 4.0), ["not_axial"]),  # coronal slices
        ((7.0, 4.0, 4.0), ["not_axial"]),  # sagittal slices
        ((4.0, 4.0, 7.0), []),
        ((4.0, 4.0, 4.0), []),
    ],
)
def test_slices_across_the_plane_of_measurement_are_flagged(
    spacing_mm: tuple[float, float, float], codes_found: list[str]
) -> None:
    """Diameters are measured in the axial plane, of which coronal slices of 7 mm show every seventh millimetre."""
    lesion = ball((20.0, 0.0, 0.0), 30.0)
    grid = grid_around(spacing_mm=spacing_mm, margin_mm=40.0)
    assert codes(prepared_study([lesion], grid=grid), lesion) == codes_found


def test_a_phase_that_shows_a_part_of_the_liver_is_flagged() -> None:
    """End slices that were lost. Above half of its semi-axis lies 5/32 of an ellipsoid: (2 + h)(1 - h)^2 / 4."""
    lesion = ball((20.0, 0.0, 0.0), 30.0)
    study = prepared_study([lesion], grid=WIDE)
    height = voxel_to_world(WIDE, np.argwhere(np.ones(WIDE.shape)))[:, 2].reshape(WIDE.shape)
    cut = replace(study, fields={PRE: height < 27.5})
    (flag,) = check_quality(cut, lesion_map(label_map([lesion], cut.grid)), QualitySettings())
    assert (flag.code, flag.study_date) == ("phase_cut", cut.study.study_date)
    assert flag.message.startswith("PRE shows 84 % of the liver, expected all of it")
    assert review_level([flag]) == "ok"
    assert codes(replace(study, fields={PRE: height < 57.5}), lesion) == []


def test_a_change_of_gain_is_flagged() -> None:
    study = prepared_study([ball((20.0, 0.0, 0.0), 30.0)], grid=WIDE)
    assert codes(scaled(study, ART, 1.6)) == ["gain"]
    assert codes(scaled(study, ART, 1.1)) == []


def test_an_arterial_phase_without_enhancement_is_flagged() -> None:
    study = prepared_study(grid=WIDE)
    unenhanced = replace(study, images={**study.images, ART: study.images[PRE]})
    assert "mistimed_arterial" in codes(unenhanced)


def test_an_arterial_phase_without_enhancement_is_flagged_where_the_precontrast_phase_ends_early() -> None:
    """Where PRE shows nothing, all of ART would count as enhancement."""
    study = prepared_study(grid=WIDE)
    shown = world_points(WIDE)[..., 2] < 30.0
    before = Image(voxels=np.where(shown, study.images[PRE].voxels, np.float32(0.0)), grid=WIDE)
    images = {**study.images, ART: study.images[PRE], PRE: before}
    assert "mistimed_arterial" in codes(replace(study, images=images, fields={PRE: shown}))


def test_an_inhomogeneous_liver_is_flagged() -> None:
    study = prepared_study(grid=WIDE)
    ramp = np.linspace(0.2, 1.8, WIDE.shape[0], dtype=np.float32)[:, None, None]
    image = Image(voxels=study.images[ART].voxels * ramp, grid=WIDE)
    assert "inhomogeneous" in codes(replace(study, images={ART: image}))


def test_a_lesion_outside_the_liver_is_flagged() -> None:
    assert "lesion_outside_liver" in codes(prepared_study(grid=WIDE), ball((0.0, 85.0, 0.0), 12.0))


def test_missing_phases_are_said_but_ask_for_no_review() -> None:
    study = prepared_study(grid=WIDE, phases=(ContrastPhase.PORTAL_VENOUS,))
    found = check_quality(study, lesion_map(label_map([], WIDE)), QualitySettings())
    assert [flag.message for flag in found] == ["missing: PRE, ART"]
    assert review_level(found) == "ok"


def test_flags_of_the_preparation_are_kept() -> None:
    flag = Flag(patient_id="P001", study_date=date(2024, 1, 10), code="fragments", message="two pieces")
    study = replace(prepared_study([ball((20.0, 0.0, 0.0), 30.0)], grid=WIDE), flags=(flag,))
    assert codes(study) == ["fragments"]


def test_one_doubt_asks_for_review_and_two_forbid_unedited_use() -> None:
    one = Flag(patient_id="P001", study_date=None, code="gain", message="")
    two = replace(one, code="inhomogeneous")
    assert [review_level(flags) for flags in ((), (one,), (one, two))] == [
        "ok",
        "review",
        "do not use unedited",
    ]


def test_noise_above_the_bar_is_flagged() -> None:
    lesion = ball((20.0, 0.0, 0.0), 30.0)
    # noise in units of pre-contrast liver; the arterial liver is 1.24 of them: 0.09 / 1.24 is 0.07
    assert codes(prepared_study([lesion], grid=WIDE, noise_sd=0.09), lesion)[-1:] == ["low_snr"]
    assert codes(prepared_study([lesion], grid=WIDE, noise_sd=0.04), lesion) == []


def without_fat_suppression(study: PreparedStudy) -> PreparedStudy:
    outside = study.liver.voxels == 0
    images = {
        phase: Image(voxels=np.where(outside, np.float32(169.0), image.voxels), grid=WIDE)
        for phase, image in study.images.items()
    }
    return replace(study, images=images)


def test_bright_fat_around_the_liver_is_flagged() -> None:
    study = prepared_study([ball((20.0, 0.0, 0.0), 30.0)], grid=WIDE)
    found = codes(without_fat_suppression(study))
    assert "fat_not_suppressed" in found
    # a given liver is not doubted for it
    assert "liver_doubtful" not in found


def test_a_liver_that_its_network_doubts_is_flagged_and_sooner_without_fat_suppression() -> None:
    study = prepared_study([ball((20.0, 0.0, 0.0), 30.0)], grid=WIDE)

    def doubt(study: PreparedStudy, expected: float) -> list[str]:
        study = replace(study, expected_liver_dice=expected)
        found = check_quality(study, lesion_map(label_map([], study.grid)), QualitySettings())
        return [flag.message for flag in found if flag.code == "liver_doubtful"]

    assert doubt(study, 0.916) == []
    assert doubt(study, 0.914) == [
        "by its own probabilities the liver found in ART is right with Dice 0.914, expected at least 0.915"
    ]
    bright = without_fat_suppression(study)
    assert doubt(bright, 0.941) == []
    assert doubt(bright, 0.939) == [
        "by its own probabilities the liver found in ART, in images without fat suppression, is right with Dice 0.914, "
        "expected at least 0.915"
    ]


def test_an_arterial_phase_taken_as_late_as_the_portal_venous_is_flagged() -> None:
    study = prepared_study([ball((20.0, 0.0, 0.0), 30.0)], grid=WIDE)
    late = replace(study, images={**study.images, ART: study.images[ContrastPhase.PORTAL_VENOUS]})
    assert "mistimed_arterial" in codes(late)


def examined(prepared: PreparedStudy, day: date, *flags: str) -> ExaminedStudy:
    said = tuple(Flag(patient_id="P001", study_date=day, code=code, message="") for code in flags)
    dated = replace(prepared, study=replace(prepared.study, study_date=day))
    return ExaminedStudy(prepared=dated, lesion_map=lesion_map(label_map([], prepared.grid)), flags=said)


def technique(before: ExaminedStudy, after: ExaminedStudy) -> list[str]:
    return [flag.message for flag in check_technique([before, after], QualitySettings())]


def test_two_studies_of_one_technique_have_no_flag() -> None:
    study = prepared_study(grid=WIDE)
    assert technique(examined(study, FIRST), examined(study, SECOND)) == []


def test_every_difference_of_technique_is_said_with_both_values() -> None:
    study = prepared_study(grid=WIDE)
    series = tuple(replace(one, field_strength_t=1.5) for one in study.study.series)
    before = replace(study, study=replace(study.study, series=series))
    thick = grid_around(spacing_mm=(4.0, 4.0, 8.0), margin_mm=40.0)
    other = prepared_study(grid=thick, phases=(PRE, ContrastPhase.PORTAL_VENOUS))
    series = tuple(replace(one, field_strength_t=3.0) for one in other.study.series)
    after = replace(other, agent=Agent.GADOXETATE, study=replace(other.study, series=series))
    said = technique(examined(before, FIRST), examined(after, SECOND, "fat_not_suppressed"))
    assert said == [
        "since 2024-01-10: contrast agent extracellular -> gadoxetate",
        "since 2024-01-10: field strength 1.5 -> 3 T",
        "since 2024-01-10: slices 5.0 -> 8.0 mm apart",
        "since 2024-01-10: measured on ART -> PRE",
        "since 2024-01-10: contrast phases: without ART, without DEL",
        "since 2024-01-10: fat suppression: sound -> doubtful",
    ]


def test_a_technique_that_one_study_cannot_show_is_not_compared() -> None:
    """Without a precontrast phase nothing is known of the suppression of fat, nor of the timing of the arterial."""
    without = prepared_study(grid=WIDE, phases=(ART, ContrastPhase.PORTAL_VENOUS))
    whole = prepared_study(grid=WIDE, phases=(PRE, ART, ContrastPhase.PORTAL_VENOUS))
    doubts = ("fat_not_suppressed", "mistimed_arterial")
    assert technique(examined(without, FIRST), examined(whole, SECOND, *doubts)) == [
        "since 2024-01-10: contrast phases: with PRE"
    ]
    assert len(technique(examined(whole, FIRST), examined(whole, SECOND, *doubts))) == 2


@pytest.mark.parametrize(
    ("lesions", "source", "flagged"),
    [
        ((0, 0, 1, 0), MeasurementSource.NETWORK, (True, True, False, False)),
        ((1, 0), MeasurementSource.NETWORK, (False, False)),
        ((0, 1), MeasurementSource.MASK, (False, False)),
    ],
)
def test_a_network_that_finds_nothing_at_first_asks_for_a_look(
    lesions: tuple[int, ...], source: MeasurementSource, flagged: tuple[bool, ...]
) -> None:
    studies = [
        examined_study([ball((0.0, 0.0, 0.0), 20.0)] * count, date(2024, month, 1), source=source)
        for month, count in enumerate(lesions, start=1)
    ]
    found = with_nothing_found(studies)
    assert tuple(any(flag.code == "no_lesion_found" for flag in one.flags) for one in found) == flagged
    assert [review_level(one.flags) for one in found] == ["review" if one else "ok" for one in flagged]


def test_where_lesions_cannot_be_assessed_nothing_found_says_nothing() -> None:
    study = examined_study([], date(2024, 1, 1), source=MeasurementSource.NETWORK)
    unclear = replace(study, lesion_map=replace(study.lesion_map, not_assessable="no T1 contrast phase"))
    assert with_nothing_found([unclear]) == [unclear]


def test_a_given_label_in_pieces_asks_for_a_look_and_specks_do_not() -> None:
    """A lesion that fell apart into two balls under one label is measured as both, if one lesion they are."""
    whole = Ellipsoid(centre_mm=(0.0, 0.0, 0.0), semi_axes_mm=(25.0, 12.0, 12.0))
    balls = [ball((-15.0, 0.0, 0.0), 22.0), ball((15.0, 0.0, 0.0), 20.0)]
    other = ball((0.0, 40.0, 0.0), 16.0)
    before = examined_study([whole, other], FIRST, grid=WIDE)
    after = examined_study([*balls, other], SECOND, grid=WIDE, labels=[1, 1, 2])
    studies = [before, after]
    flagged = with_lesions_in_pieces(studies, track(studies, TrackSettings()).tracks)
    assert [[(flag.code, flag.lesion_id) for flag in one.flags] for one in flagged] == [
        [],
        [("lesion_in_pieces", "L01")],
    ]
    assert "2 pieces that do not touch" in flagged[1].flags[0].message
    assert "see that they are one lesion" in flagged[1].flags[0].message
    assert review_level(flagged[1].flags) == "review"


def test_a_slice_left_out_of_a_mask_of_one_class_asks_for_a_look() -> None:
    """One ball of 20 mm, as it would be with a label of its own among others; not two lesions."""
    grid = grid_around(spacing_mm=(2.0, 2.0, 2.0), margin_mm=8.0)
    drawn = label_map([ball((-30.0, 0.0, 0.0), 20.0), ball((30.0, 0.0, 0.0), 12.0)], grid, [1, 1])
    drawn.voxels[:, :, grid.shape[2] // 2] = np.where(
        world_points(grid)[:, :, 0, 0] < 0.0, 0, drawn.voxels[:, :, grid.shape[2] // 2]
    )
    prepared = prepared_study(grid=grid)
    found = find_lesions(prepared, GivenLesions(labels=drawn), LesionSettings())
    assert len(found.lesions) == 2
    assert np.array_equal(found.labels.voxels > 0, drawn.voxels > 0)
    study = ExaminedStudy(prepared=prepared, lesion_map=found)
    tracks = track([study], TrackSettings()).tracks
    (flagged,) = with_lesions_in_pieces([study], tracks)
    assert [(flag.code, flag.lesion_id) for flag in flagged.flags] == [("lesion_in_pieces", "L01")]
    measured = fragments_of(found.labels.voxels == found.lesions[0].label, grid.voxel_volume_ml)
    assert len(measured) == 1


def test_specks_of_a_given_label_are_no_pieces() -> None:
    """Six voxels of 2 x 2 x 2 mm are a ball of 4.5 mm."""
    grid = grid_around(spacing_mm=(2.0, 2.0, 2.0))
    study = examined_study([ball((0.0, 0.0, 0.0), 20.0), ball((0.0, 40.0, 0.0), 10.0)], FIRST, grid=grid)
    voxels = study.lesion_map.labels.voxels.copy()
    i, j, k = np.argwhere(voxels == 1).max(axis=0)
    voxels[i + 3 : i + 6, j : j + 2, k] = 1
    specked = replace(study, lesion_map=lesion_map(replace(study.lesion_map.labels, voxels=voxels)))
    tracks = track([specked], TrackSettings()).tracks
    assert with_lesions_in_pieces([specked], tracks) == [specked]


def test_a_label_for_each_piece_is_one_lesion_that_fell_apart_and_asks_for_nothing() -> None:
    whole = Ellipsoid(centre_mm=(0.0, 0.0, 0.0), semi_axes_mm=(25.0, 12.0, 12.0))
    balls = [ball((-15.0, 0.0, 0.0), 22.0), ball((15.0, 0.0, 0.0), 20.0)]
    studies = [
        examined_study([whole], FIRST, grid=WIDE),
        examined_study(balls, SECOND, grid=WIDE, labels=[1, 2]),
    ]
    (one,) = track(studies, TrackSettings()).tracks
    assert one.observations[1].labels == (1, 2)
    assert with_lesions_in_pieces(studies, [one]) == studies
