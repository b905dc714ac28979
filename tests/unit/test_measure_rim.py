"""A thin smooth rim of a treated lesion is not viable; a thick or nodular part of it is."""

from collections.abc import Callable
from datetime import date

import numpy as np
import numpy.typing as npt
import pytest
from scipy import ndimage

from mrresponse.domain import LesionTrack, Observation, Point, TrackEvent, Treatment, TreatmentKind
from mrresponse.measure import treated_labels
from mrresponse.measure.rim import without_thin_rim

Mask = npt.NDArray[np.bool_]
Points = npt.NDArray[np.float64]
Triple = tuple[int, int, int]
SPACING = (1.0, 1.0, 3.0)
BEFORE, START, AFTER = date(2024, 1, 1), date(2024, 2, 1), date(2024, 4, 1)


def disc(radius_mm: float, centre: tuple[float, float] = (30.0, 30.0)) -> Mask:
    i, j, _ = np.indices((61, 61, 3))
    return np.asarray(np.hypot(i - centre[0], j - centre[1]) <= radius_mm)


LESION = disc(20.0)


def test_a_rim_of_two_millimetres_is_left_out() -> None:
    rim = LESION & ~disc(18.0)
    assert not without_thin_rim(rim, LESION, SPACING, rim_mm=3.0).any()


def test_a_rim_of_six_millimetres_is_viable() -> None:
    rim = LESION & ~disc(14.0)
    np.testing.assert_array_equal(without_thin_rim(rim, LESION, SPACING, rim_mm=3.0), rim)


def test_of_a_rim_with_a_nodule_the_nodule_stays() -> None:
    nodule = disc(6.0, (30.0, 43.0)) & LESION
    found = without_thin_rim((LESION & ~disc(18.0)) | nodule, LESION, SPACING, rim_mm=3.0)
    assert found[nodule].mean() > 0.95
    assert found.sum() < 1.4 * nodule.sum()


def test_a_thin_band_through_the_middle_is_no_rim() -> None:
    band = LESION & (np.abs(np.indices(LESION.shape)[0] - 30) <= 1)
    np.testing.assert_array_equal(without_thin_rim(band, LESION, SPACING, rim_mm=3.0), band)


def test_a_small_lesion_that_enhances_throughout_is_viable() -> None:
    small = disc(2.5)
    np.testing.assert_array_equal(without_thin_rim(small, small, SPACING, rim_mm=3.0), small)


def test_nothing_is_left_out_where_the_rule_is_switched_off() -> None:
    rim = LESION & ~disc(18.0)
    np.testing.assert_array_equal(without_thin_rim(rim, LESION, SPACING, rim_mm=0.0), rim)


def shares(
    inside: Callable[[Points], Mask], semi_mm: Point, spacing: Point, offset: Point, fine: Triple
) -> npt.NDArray[np.float64]:
    """Give the share of every voxel of a grid around an ellipsoid that lies inside, from `fine` points per axis."""
    axes = []
    for semi, step, shift, count in zip(semi_mm, spacing, offset, fine, strict=True):
        reach = int(np.ceil(semi / step)) + 2
        centres = (np.arange(-reach, reach + 1) + shift) * step
        within = ((np.arange(count) + 0.5) / count - 0.5) * step
        axes.append((centres[:, None] + within).ravel())
    found = inside(np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1))
    i, j, k = (len(axis) // count for axis, count in zip(axes, fine, strict=True))
    return np.asarray(found.reshape(i, fine[0], j, fine[1], k, fine[2]).mean(axis=(1, 3, 5)))


def body_mm(points: Points, semi_mm: Point, less_mm: float = 0.0) -> Mask:
    return np.asarray(((points / (np.array(semi_mm) - less_mm)) ** 2).sum(axis=-1) <= 1.0)


SPHERE, OBLONG, UPRIGHT = (15.0, 15.0, 15.0), (18.0, 12.0, 13.0), (12.0, 13.0, 18.0)
SAMPLED, PARTIAL = (1, 1, 1), (3, 3, 7)
OFFSETS = [(0.0, 0.0, 0.0), (0.3, -0.2, 0.25), (0.5, 0.5, 0.5)]


@pytest.mark.parametrize("slices_mm", [1.5, 3.0, 5.0])
@pytest.mark.parametrize("semi_mm", [SPHERE, OBLONG, UPRIGHT])
@pytest.mark.parametrize("fine", [SAMPLED, PARTIAL])
def test_the_rim_of_a_rounded_lesion_is_left_out_where_slices_graze_it(
    slices_mm: float, semi_mm: Point, fine: Triple
) -> None:
    for pixel in (1.0, 1.4):
        for offset in OFFSETS:
            spacing = (pixel, pixel, slices_mm)
            lesion = shares(lambda at: body_mm(at, semi_mm), semi_mm, spacing, offset, fine) >= 0.5
            core = shares(lambda at: body_mm(at, semi_mm, 2.0), semi_mm, spacing, offset, fine)
            # a voxel enhances where a third of it does
            rim = lesion & (core <= (0.5 if fine == SAMPLED else 0.67))
            assert not without_thin_rim(rim, lesion, spacing, rim_mm=3.0).any()


@pytest.mark.parametrize(
    ("slices_mm", "diameters_mm"),
    [(1.5, (6.0, 8.0, 10.0, 15.0)), (3.0, (8.0, 10.0, 15.0)), (5.0, (12.0, 15.0))],
)
@pytest.mark.parametrize("place", [(0.0, 0.0, 1.0), (1.0, 0.0, 0.0), (0.6, 0.0, -0.8)])
@pytest.mark.parametrize("fine", [SAMPLED, PARTIAL])
def test_a_nodule_in_the_rim_of_a_sphere_stays_wherever_it_lies(
    slices_mm: float, diameters_mm: tuple[float, ...], place: Point, fine: Triple
) -> None:
    spacing = (1.0, 1.0, slices_mm)
    for diameter in diameters_mm:
        centre = np.array(place) * (15.0 - diameter / 2.0)  # it touches the surface

        def is_nodule(at: Points, centre: Points = centre, radius: float = diameter / 2.0) -> Mask:
            return np.asarray(np.linalg.norm(at - centre, axis=-1) <= radius)

        def is_rim(at: Points) -> Mask:
            return body_mm(at, SPHERE) & ~body_mm(at, SPHERE, 2.0)

        for offset in OFFSETS:
            lesion = shares(lambda at: body_mm(at, SPHERE), SPHERE, spacing, offset, fine) >= 0.5
            enough = 0.5 if fine == SAMPLED else 0.33
            nodule = lesion & (shares(is_nodule, SPHERE, spacing, offset, fine) >= enough)
            rim = lesion & (shares(is_rim, SPHERE, spacing, offset, fine) >= enough)
            found = without_thin_rim(nodule | rim, lesion, spacing, rim_mm=3.0)
            areas = [int(part.sum(axis=(0, 1)).max()) for part in (found & nodule, nodule)]
            assert areas[0] > 0.8**2 * areas[1]  # a fifth of its diameter at most is lost
            # what else stays of the rim is beside it
            far = ndimage.distance_transform_edt(~nodule, sampling=spacing)
            assert far[found].max() <= 6.0


def test_a_nodule_at_the_pole_without_a_rim_is_viable_even_in_one_slice() -> None:
    spacing = (1.0, 1.0, 5.0)
    lesion = shares(lambda at: body_mm(at, SPHERE), SPHERE, spacing, (0.0, 0.0, 0.4), SAMPLED) >= 0.5
    top = np.flatnonzero(lesion.any(axis=(0, 1)))[-1]
    nodule = np.zeros_like(lesion)
    nodule[:, :, top] = lesion[:, :, top]
    np.testing.assert_array_equal(without_thin_rim(nodule, lesion, spacing, rim_mm=3.0), nodule)


def test_a_lesion_of_two_slices_is_judged_in_their_plane_alone() -> None:
    flat, spacing = LESION[:, :, :2], (1.0, 1.0, 5.0)
    rim, nodule = flat & ~disc(18.0)[:, :, :2], disc(6.0, (30.0, 43.0))[:, :, :2] & flat
    assert not without_thin_rim(rim, flat, spacing, rim_mm=3.0).any()
    assert without_thin_rim(rim | nodule, flat, spacing, rim_mm=3.0)[nodule].mean() > 0.95


def test_a_viable_half_beside_a_necrotic_one_stays() -> None:
    for slices_mm in (1.5, 3.0, 5.0):
        spacing = (1.0, 1.0, slices_mm)
        lesion = shares(lambda at: body_mm(at, SPHERE), SPHERE, spacing, (0.2, 0.3, 0.1), SAMPLED) >= 0.5
        for half in (np.s_[: lesion.shape[0] // 2], np.s_[:, :, : lesion.shape[2] // 2]):
            viable = np.zeros_like(lesion)
            viable[half] = lesion[half]
            kept = without_thin_rim(viable, lesion, spacing, rim_mm=3.0)
            assert kept[viable].mean() > 0.97


def history(*days: tuple[date, tuple[int, ...]]) -> LesionTrack:
    seen = tuple(Observation(study_date=day, event=TrackEvent.MATCHED, labels=labels) for day, labels in days)
    return LesionTrack(patient_id="P1", lesion_id="L01", observations=seen)


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        (TreatmentKind.LOCOREGIONAL, {AFTER: {4}}),
        (TreatmentKind.RADIOTHERAPY, {AFTER: {4}}),
        (TreatmentKind.SYSTEMIC, {}),
    ],
)
def test_a_lesion_seen_before_a_local_treatment_is_a_treated_one_afterwards(
    kind: TreatmentKind, expected: dict[date, set[int]]
) -> None:
    treatment = Treatment(patient_id="P1", treatment_phase="1", name="x", kind=kind, start_date=START)
    found = treated_labels([history((BEFORE, (2,)), (AFTER, (4,)))], [treatment])
    assert found == expected


def test_a_lesion_first_seen_after_the_treatment_was_not_treated() -> None:
    treatment = Treatment(
        patient_id="P1", treatment_phase="1", name="TACE", kind=TreatmentKind.LOCOREGIONAL, start_date=START
    )
    assert treated_labels([history((AFTER, (4,)))], [treatment]) == {}
