from dataclasses import replace

import numpy as np
import pytest

from mrresponse.domain import (
    Certainty,
    ContrastPhase,
    GivenLesions,
    Image,
    LabelMap,
    Lesion,
    LesionMap,
    MeasurementSource,
    PreparedStudy,
)
from mrresponse.errors import DataError
from mrresponse.lesions import LesionSettings, find_lesions, with_viable
from mrresponse.quality import QualitySettings, check_quality
from tests.phantoms import Ellipsoid, ball, grid_around, label_map, mask_of, prepared_study, world_points

GRID = grid_around(spacing_mm=(2.0, 2.0, 2.0), margin_mm=8.0)
# Flat images: where they show no border, an outline is that of the probability.
STUDY = replace(
    prepared_study(grid=GRID, phases=(ContrastPhase.PORTAL_VENOUS,)),
    images={
        ContrastPhase.PORTAL_VENOUS: Image(voxels=np.full(GRID.shape, 100.0, dtype=np.float32), grid=GRID)
    },
)


def probability(*bodies: Ellipsoid, value: float = 0.9) -> Image:
    """Give a probability map that is ``value`` inside the bodies."""
    inside = np.any([mask_of(body, GRID) for body in bodies], axis=0)
    return Image(voxels=np.where(inside, value, 0.05).astype(np.float32), grid=GRID)


def test_separate_balls_are_separate_lesions_largest_first() -> None:
    small, large = ball((-30.0, 0.0, 0.0), 14.0), ball((30.0, 0.0, 0.0), 24.0)
    found = find_lesions(STUDY, probability(small, large), LesionSettings())
    assert [lesion.label for lesion in found.lesions] == [1, 2]
    np.testing.assert_allclose(found.lesions[0].centroid_mm, (30.0, 0.0, 0.0), atol=0.5)
    assert abs(found.lesions[0].volume_ml / large.volume_ml - 1.0) < 0.05
    assert found.source is MeasurementSource.NETWORK
    assert found.lesions[0].mean_probability == pytest.approx(0.9, abs=1e-6)


def test_what_is_tiny_unsure_or_far_from_the_liver_is_no_lesion() -> None:
    tiny = probability(ball((0.0, 0.0, 0.0), 3.0))
    unsure = probability(ball((0.0, 0.0, 0.0), 20.0), value=0.6)
    far = probability(ball((0.0, 0.0, 61.0), 4.5))
    for found in (tiny, unsure, far):
        assert find_lesions(STUDY, found, LesionSettings()).lesions == ()


def sure_in_the_core(core: float, around: float) -> Image:
    """Give the probability of a lesion of 20 mm with a core of 8 mm."""
    whole = probability(ball((0.0, 0.0, 0.0), 20.0), value=around)
    inside = mask_of(ball((0.0, 0.0, 0.0), 8.0), GRID)
    return replace(whole, voxels=np.where(inside, np.float32(core), whole.voxels))


@pytest.mark.parametrize(
    ("core", "around", "strict", "mild"),
    [
        (0.96, 0.92, 1, 1),
        (0.94, 0.92, 0, 1),
        (0.99, 0.85, 0, 1),
        (0.99, 0.70, 1, 1),
        (0.72, 0.52, 0, 1),
        (0.68, 0.52, 0, 0),
    ],
)
def test_each_network_must_be_as_sure_as_suits_it(core: float, around: float, strict: int, mild: int) -> None:
    found = sure_in_the_core(core, around)
    sure = Certainty(threshold=0.75, least_peak=0.95, least_mean=0.9)
    for suits, count in ((sure, strict), (Certainty(), mild)):
        assert len(find_lesions(STUDY, found, LesionSettings(), suits=suits).lesions) == count


def test_what_is_set_counts_for_every_network() -> None:
    settings = LesionSettings(threshold=0.6, least_peak=0.65, least_mean=0.61)
    for suits in (Certainty(threshold=0.75, least_peak=0.95, least_mean=0.9), Certainty()):
        for core, count in ((0.66, 1), (0.64, 0)):
            found = sure_in_the_core(core, 0.62)
            assert len(find_lesions(STUDY, found, settings, suits=suits).lesions) == count


def test_a_lesion_is_found_at_one_probability_and_outlined_at_another() -> None:
    whole, core = (mask_of(ball((0.0, 0.0, 0.0), width), GRID) for width in (20.0, 8.0))
    suits = Certainty(threshold=0.6, least_peak=0.8, least_mean=0.6)
    # of a body of 20 mm the level is 0.86 where that of a large one is 0.99: no voxel reaches it
    for peak, outline, expected in (
        (0.96, 0.5, whole),
        (0.96, 0.65, whole),
        (0.96, 0.75, core),
        (0.85, 0.99, whole),
    ):
        found = sure_in_the_core(peak, 0.65)
        lesions = find_lesions(STUDY, found, LesionSettings(outline=outline, opening=0.0), suits=suits)
        np.testing.assert_array_equal(lesions.labels.voxels > 0, expected)
        assert [one.label for one in lesions.lesions] == [1]


@pytest.mark.parametrize(
    # halfway between 10 and 25 mm the level is halfway between 0.4 and 0.8: 0.62 is within, 0.5 is not
    ("width_mm", "kept_mm"),
    [(9.6, 9.6), (17.5, 14.0), (30.0, 18.0)],
)
def test_a_small_lesion_is_outlined_at_a_lower_probability_than_a_large_one(
    width_mm: float, kept_mm: float
) -> None:
    voxels = np.zeros(GRID.shape, dtype=np.float32)
    for share, level in ((1.0, 0.5), (0.8, 0.62), (0.6, 0.95)):
        voxels[mask_of(ball((0.0, 0.0, 0.0), share * width_mm), GRID)] = level
    found = Image(voxels=voxels, grid=GRID)
    settings = LesionSettings(threshold=0.4, least_peak=0.8, least_mean=0.4, outline=0.8, opening=0.0)
    lesions = find_lesions(STUDY, found, settings)
    np.testing.assert_array_equal(lesions.labels.voxels > 0, mask_of(ball((0.0, 0.0, 0.0), kept_mm), GRID))


def test_of_an_outline_in_pieces_the_largest_stays() -> None:
    found = probability(ball((-8.0, 0.0, 0.0), 12.0), ball((8.0, 0.0, 0.0), 9.0))
    between = mask_of(ball((0.0, 0.0, 0.0), 13.0), GRID) & (found.voxels < 0.5)
    found = replace(found, voxels=np.where(between, np.float32(0.62), found.voxels))
    settings = LesionSettings(threshold=0.6, least_peak=0.8, least_mean=0.6, neck=0.0, opening=0.0)
    (one,) = find_lesions(STUDY, found, replace(settings, outline=0.6)).lesions
    (closer,) = find_lesions(STUDY, found, replace(settings, outline=0.8)).lesions
    larger = mask_of(ball((-8.0, 0.0, 0.0), 12.0), GRID)
    assert closer.volume_ml == pytest.approx(larger.sum() * GRID.voxel_volume_ml)
    assert one.volume_ml > closer.volume_ml


@pytest.mark.parametrize("diameter_mm", [10.0, 24.0, 40.0])
def test_a_tail_does_not_lengthen_a_lesion(diameter_mm: float) -> None:
    body = mask_of(ball((0.0, 0.0, 0.0), diameter_mm), GRID)
    tail = mask_of(ball((0.0, 0.0, 0.0), diameter_mm + 24.0), GRID)
    middle = [size // 2 for size in GRID.shape]
    along = np.zeros(GRID.shape, dtype=bool)
    along[:, middle[1], middle[2]] = True
    found = probability(ball((0.0, 0.0, 0.0), diameter_mm))
    found = replace(found, voxels=np.where(tail & along, np.float32(0.95), found.voxels))
    (kept,), (opened,) = (
        find_lesions(STUDY, found, LesionSettings(opening=share)).lesions for share in (0.0, 0.5)
    )
    assert _length_mm(kept) == pytest.approx(diameter_mm + 24.0, abs=4.0)
    assert _length_mm(opened) == pytest.approx(diameter_mm, abs=4.0)
    assert opened.volume_ml == pytest.approx(body.sum() * GRID.voxel_volume_ml, rel=0.06)


def test_an_ellipsoid_is_as_long_opened_as_before() -> None:
    long = Ellipsoid(centre_mm=(0.0, 0.0, 0.0), semi_axes_mm=(21.0, 14.0, 14.0))
    kept, opened = (
        find_lesions(STUDY, probability(long), LesionSettings(opening=share)).lesions[0]
        for share in (0.0, 0.5)
    )
    assert _length_mm(opened) == _length_mm(kept)


def test_given_masks_are_not_opened() -> None:
    thin = np.zeros(GRID.shape, dtype=np.uint16)
    thin[10:30, 20:24, 20:24] = 1
    thin[30:40, 22, 22] = 1
    found = find_lesions(
        STUDY, GivenLesions(labels=LabelMap(voxels=thin, grid=GRID)), LesionSettings(opening=0.9)
    )
    np.testing.assert_array_equal(found.labels.voxels, thin)


def _length_mm(lesion: Lesion) -> float:
    low, high = lesion.bounding_box[0]
    return (high - low) * GRID.spacing_mm[0]


def test_two_balls_with_a_thin_neck_are_two_and_with_a_thick_neck_one() -> None:
    thin = probability(ball((-12.0, 0.0, 0.0), 25.0), ball((12.0, 0.0, 0.0), 25.0))
    thick = probability(ball((-6.0, 0.0, 0.0), 24.0), ball((6.0, 0.0, 0.0), 24.0))
    assert len(find_lesions(STUDY, thin, LesionSettings()).lesions) == 2
    assert len(find_lesions(STUDY, thick, LesionSettings()).lesions) == 1


def test_given_instance_labels_are_kept_even_in_pieces() -> None:
    pieces = label_map([ball((-20.0, 0.0, 0.0), 10.0), ball((20.0, 0.0, 0.0), 12.0)], GRID, [7, 7])
    both = np.where(mask_of(ball((0.0, 30.0, 0.0), 8.0), GRID), 3, pieces.voxels).astype(np.uint16)
    found = find_lesions(STUDY, GivenLesions(labels=replace(pieces, voxels=both)), LesionSettings())
    assert [lesion.label for lesion in found.lesions] == [7, 3]
    assert found.source is MeasurementSource.MASK


def test_a_given_mask_of_one_class_is_split_into_components() -> None:
    one_class = label_map([ball((-20.0, 0.0, 0.0), 10.0), ball((20.0, 0.0, 0.0), 12.0)], GRID, [1, 1])
    found = find_lesions(STUDY, GivenLesions(labels=one_class), LesionSettings())
    assert len(found.lesions) == 2


@pytest.mark.parametrize(("left_out", "count"), [(1, 1), (2, 2)])
def test_a_slice_left_out_does_not_make_two_lesions_of_one_class(left_out: int, count: int) -> None:
    drawn = label_map([ball((0.0, 0.0, 0.0), 20.0)], GRID)
    middle = GRID.shape[2] // 2
    drawn.voxels[:, :, middle : middle + left_out] = 0
    found = find_lesions(STUDY, GivenLesions(labels=drawn), LesionSettings())
    assert len(found.lesions) == count
    assert np.array_equal(found.labels.voxels > 0, drawn.voxels > 0)


def test_given_viable_voxels_carry_the_label_of_their_lesion() -> None:
    labels = label_map([ball((-20.0, 0.0, 0.0), 20.0), ball((20.0, 0.0, 0.0), 20.0)], GRID, [4, 9])
    viable = label_map([ball((20.0, 0.0, 0.0), 10.0), ball((20.0, 40.0, 0.0), 10.0)], GRID, [1, 1])
    found = find_lesions(STUDY, GivenLesions(labels=labels, viable=viable), LesionSettings())
    assert found.viable is not None
    assert set(np.unique(found.viable.voxels)) == {0, 9}


def test_a_given_viable_mask_beside_every_lesion_is_refused() -> None:
    """Where none of it lies in a lesion it would say that all tumour is dead."""
    labels = label_map([ball((-20.0, 0.0, 0.0), 20.0)], GRID)
    beside = label_map([ball((20.0, 0.0, 0.0), 10.0)], GRID)
    with pytest.raises(
        DataError, match=r"P001 2024-01-10: mask 'viable' .* none of them in a lesion"
    ) as caught:
        find_lesions(STUDY, GivenLesions(labels=labels, viable=beside), LesionSettings())
    assert caught.value.code == "viable_outside_lesions"
    found = find_lesions(STUDY, GivenLesions(labels=labels), LesionSettings())
    with pytest.raises(DataError, match="none of them in a lesion"):
        with_viable(found, beside, STUDY.study)
    nothing = replace(beside, voxels=np.zeros(GRID.shape, dtype=np.uint16))
    empty = find_lesions(STUDY, GivenLesions(labels=labels, viable=nothing), LesionSettings())
    assert empty.viable is not None


def _trimmed(voxels: int) -> tuple[str, ...]:
    """Give what is said of a viable mask of which so many voxels lie beside its lesion, given and corrected."""
    labels = label_map([ball((-20.0, 0.0, 0.0), 24.0)], GRID)
    drawn = label_map([ball((-20.0, 0.0, 0.0), 20.0)], GRID).voxels.copy()
    beside = np.argwhere(mask_of(ball((20.0, 0.0, 0.0), 20.0), GRID))[:voxels]
    drawn[tuple(beside.T)] = 1
    viable = LabelMap(voxels=drawn, grid=GRID)
    given = find_lesions(STUDY, GivenLesions(labels=labels, viable=viable), LesionSettings())
    corrected = with_viable(
        find_lesions(STUDY, GivenLesions(labels=labels), LesionSettings()), viable, STUDY.study
    )
    said = [
        tuple(
            flag.message
            for flag in check_quality(STUDY, found, QualitySettings())
            if flag.code == "viable_outside_lesions"
        )
        for found in (given, corrected)
    ]
    assert said[0] == said[1]
    return said[0]


def test_a_viable_mask_partly_beside_its_lesion_is_trimmed_and_says_so() -> None:
    inside = np.count_nonzero(label_map([ball((-20.0, 0.0, 0.0), 20.0)], GRID).voxels)
    outside = inside // 4
    (message,) = _trimmed(outside)
    volume_ml = outside * GRID.voxel_volume_ml
    assert f"20 % of the viable voxels ({volume_ml:.2f} mL) lie in no lesion and are not counted" in message
    assert _trimmed(0) == ()
    assert _trimmed(8) == ()


def test_a_hundredth_of_a_viable_mask_beside_its_lesion_is_a_slip_of_the_brush() -> None:
    labels = label_map([ball((0.0, 0.0, 0.0), 50.0)], GRID)
    drawn = labels.voxels.copy()
    count = np.count_nonzero(drawn)
    free = np.argwhere(drawn == 0)
    messages = []
    for share in (0.009, 0.012):
        viable = drawn.copy()
        viable[tuple(free[: int(share * count)].T)] = 1
        assert int(share * count) > 8
        found = GivenLesions(labels=labels, viable=LabelMap(voxels=viable, grid=GRID))
        flags = check_quality(STUDY, find_lesions(STUDY, found, LesionSettings()), QualitySettings())
        messages.append([flag.code for flag in flags if flag.code == "viable_outside_lesions"])
    assert messages == [[], ["viable_outside_lesions"]]


def test_without_a_t1_contrast_phase_lesions_are_not_assessable() -> None:
    other: PreparedStudy = replace(
        STUDY, images={ContrastPhase.OTHER: STUDY.images[ContrastPhase.PORTAL_VENOUS]}
    )
    found = find_lesions(other, probability(ball((0.0, 0.0, 0.0), 20.0)), LesionSettings())
    assert found.not_assessable == "no T1 contrast phase"
    assert found.lesions == ()


def test_given_masks_are_believed_without_a_t1_contrast_phase() -> None:
    other = replace(STUDY, images={ContrastPhase.OTHER: STUDY.images[ContrastPhase.PORTAL_VENOUS]})
    found = find_lesions(
        other, GivenLesions(labels=label_map([ball((0.0, 0.0, 0.0), 20.0)], GRID)), LesionSettings()
    )
    assert found.not_assessable is None
    assert len(found.lesions) == 1


def test_an_empty_given_mask_has_no_lesions() -> None:
    empty = LabelMap(voxels=np.zeros(GRID.shape, dtype=np.uint16), grid=GRID)
    assert find_lesions(STUDY, GivenLesions(labels=empty), LesionSettings()).lesions == ()


FINE = grid_around(ball((0.0, 0.0, 0.0), 60.0), spacing_mm=(1.5, 1.5, 3.0), margin_mm=0.0)
SHOWN = (ContrastPhase.ARTERIAL, ContrastPhase.PORTAL_VENOUS)


def shown_by(
    *bodies: Ellipsoid, contrast: float = -0.3, hidden: tuple[ContrastPhase, ...] = ()
) -> PreparedStudy:
    """Give a liver without vessels in which bodies differ from it by a fraction of its signal, in two phases."""
    inside = np.any([mask_of(body, FINE) for body in bodies], axis=0)
    image = Image(voxels=np.where(inside, 100.0 * (1.0 + contrast), 100.0).astype(np.float32), grid=FINE)
    flat = Image(voxels=np.full(FINE.shape, 100.0, dtype=np.float32), grid=FINE)
    study = prepared_study(grid=FINE, phases=SHOWN)
    return replace(
        study,
        images={phase: flat if phase in hidden else image for phase in SHOWN},
        liver=LabelMap(voxels=np.ones(FINE.shape, dtype=np.uint16), grid=FINE),
        fields={},
    )


def found_as(*bodies: Ellipsoid) -> Image:
    inside = np.any([mask_of(body, FINE) for body in bodies], axis=0)
    return Image(voxels=np.where(inside, 0.95, 0.0).astype(np.float32), grid=FINE)


def overlap(found: LesionMap, body: Ellipsoid) -> float:
    """Return the Dice of all that was found with a body."""
    one, other = found.labels.voxels > 0, mask_of(body, FINE)
    return 2.0 * float((one & other).sum()) / float(one.sum() + other.sum())


@pytest.mark.parametrize("contrast", [-0.3, 0.4], ids=["dark", "bright"])
@pytest.mark.parametrize(
    "seen",
    [ball((0.0, 0.0, 0.0), 24.0), ball((0.0, 0.0, 0.0), 16.0), ball((1.5, -1.5, 0.0), 20.0)],
    ids=["too large", "too small", "beside it"],
)
def test_an_outline_follows_the_edges_of_the_images(seen: Ellipsoid, contrast: float) -> None:
    true = ball((0.0, 0.0, 0.0), 20.0)
    study = shown_by(true, contrast=contrast, hidden=(ContrastPhase.PORTAL_VENOUS,))
    without = find_lesions(study, found_as(seen), LesionSettings(edge_mm=0.0))
    along = find_lesions(study, found_as(seen), LesionSettings(opening=0.0))
    assert overlap(without, true) < 0.87
    assert overlap(along, true) > 0.97


@pytest.mark.parametrize("diameter_mm", [8.0, 12.0, 24.0])
def test_where_the_images_show_no_edge_an_outline_stays(diameter_mm: float) -> None:
    seen = ball((0.0, 0.0, 0.0), diameter_mm)
    found = find_lesions(shown_by(seen, contrast=0.0), found_as(seen), LesionSettings(opening=0.0))
    np.testing.assert_array_equal(found.labels.voxels > 0, mask_of(seen, FINE))


def test_an_edge_in_a_phase_that_does_not_show_all_around_a_lesion_does_not_count() -> None:
    """Outside its field of view such an image is 0: an edge that is none of the lesion."""
    seen = ball((0.0, 0.0, 0.0), 20.0)
    study = shown_by(seen, contrast=0.0)
    shown = np.ones(FINE.shape, dtype=np.bool_)
    shown[: FINE.shape[0] // 2 - 5] = False
    cut = study.images[ContrastPhase.ARTERIAL]
    cut = replace(cut, voxels=np.where(shown, cut.voxels, np.float32(0.0)))
    study = replace(
        study,
        images={**study.images, ContrastPhase.ARTERIAL: cut},
        fields={ContrastPhase.ARTERIAL: shown},
    )
    found = find_lesions(study, found_as(seen), LesionSettings(opening=0.0))
    np.testing.assert_array_equal(found.labels.voxels > 0, mask_of(seen, FINE))


def test_an_outline_takes_nothing_from_another_lesion() -> None:
    """The image shows the one on the left 2 mm into the one on the right, which it does not show at all."""
    left, right = ball((-9.0, 0.0, 0.0), 18.0), ball((9.0, 0.0, 0.0), 18.0)
    study = shown_by(ball((-8.0, 0.0, 0.0), 20.0), contrast=0.4)
    found = found_as(left, right)
    without, along = (
        find_lesions(study, found, LesionSettings(edge_mm=reach, opening=0.0)).labels.voxels
        for reach in (0.0, 3.0)
    )
    names = [int(np.bincount(labels[mask_of(left, FINE)]).argmax()) for labels in (without, along)]
    of_right = (without > 0) & (without != names[0])
    assert (of_right & mask_of(ball((-8.0, 0.0, 0.0), 20.0), FINE)).any()
    assert (along == names[1]).sum() > (without == names[0]).sum()
    assert not (of_right & (along == names[1])).any()


def test_a_vessel_that_touches_does_not_lengthen_a_lesion() -> None:
    """Both are as bright: the border runs along the vessel, which is a tail."""
    true = ball((0.0, 0.0, 0.0), 18.0)
    away = np.abs(world_points(FINE)[..., 1:])
    vessel = (away[..., 0] <= 1.5) & (away[..., 1] <= 1.5)
    study = shown_by(true, contrast=0.4)
    image = study.images[ContrastPhase.ARTERIAL]
    image = replace(image, voxels=np.where(vessel, np.float32(140.0), image.voxels))
    study = replace(study, images=dict.fromkeys(SHOWN, image))
    with_tail = find_lesions(study, found_as(true), LesionSettings(opening=0.0)).lesions[0]
    (found,) = find_lesions(study, found_as(true), LesionSettings()).lesions
    assert _extent_mm(with_tail) > 21.0
    assert _extent_mm(found) < 20.0


def _extent_mm(lesion: Lesion) -> float:
    low, stop = lesion.bounding_box[0]
    return (stop - low) * FINE.spacing_mm[0]
