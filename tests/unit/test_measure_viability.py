"""Viability from images whose signal is known, and the clean-up of viable masks on paper."""

from dataclasses import replace
from datetime import date
from functools import cache

import numpy as np
import numpy.typing as npt
import pytest

from mrresponse.domain import (
    ContrastPhase,
    ExaminedStudy,
    Flag,
    Image,
    LabelMap,
    PreparedStudy,
)
from mrresponse.measure import MeasureSettings, ViableMap, find_viable
from mrresponse.measure.settings import WithoutPrecontrast
from mrresponse.measure.viability import clean_viable
from tests import phantoms
from tests.phantoms import (
    Body,
    Ellipsoid,
    ball,
    grid_around,
    label_map,
    lesion_map,
    mask_of,
    refused_registration,
)

Mask = npt.NDArray[np.bool_]
SETTINGS = MeasureSettings()
LIVER = Ellipsoid(centre_mm=(0.0, 0.0, 0.0), semi_axes_mm=(58.0, 45.0, 38.0))
GRID = grid_around(LIVER, (3.0, 3.0, 4.0))
PRE, ART, PVP = ContrastPhase.PRECONTRAST, ContrastPhase.ARTERIAL, ContrastPhase.PORTAL_VENOUS


@cache
def prepared_study(
    lesions: tuple[Ellipsoid, ...],
    phases: tuple[ContrastPhase, ...] = (PRE, ART, PVP),
    noise_sd: float = 0.0,
) -> PreparedStudy:
    body = Body(liver=LIVER, lesions=lesions)
    return phantoms.prepared_study(body=body, grid=GRID, phases=phases, noise_sd=noise_sd)


def examined(lesions: tuple[Ellipsoid, ...], prepared: PreparedStudy) -> ExaminedStudy:
    return ExaminedStudy(prepared=prepared, lesion_map=lesion_map(label_map(lesions, prepared.grid)))


def viable_volume_ml(found: ViableMap, label: int = 1) -> float:
    assert found.labels is not None
    return int((found.labels.voxels == label).sum()) * found.labels.grid.voxel_volume_ml


def changed(prepared: PreparedStudy, phase: ContrastPhase, voxels: npt.NDArray[np.float32]) -> PreparedStudy:
    images = {**prepared.images, phase: Image(voxels=voxels.astype(np.float32), grid=prepared.grid)}
    return replace(prepared, images=images)


def test_an_enhancing_lesion_is_viable_and_its_necrotic_core_is_not() -> None:
    lesions = (ball((-20.0, 5.0, 0.0), 36.0, core=0.6),)
    study = examined(lesions, prepared_study(lesions, noise_sd=0.08))
    found = find_viable(study, SETTINGS)
    truth = mask_of(lesions[0], GRID) & ~mask_of(ball((-20.0, 5.0, 0.0), 36.0 * 0.6), GRID)
    assert found.labels is not None
    assert float((found.labels.voxels > 0)[truth].mean()) > 0.95
    core = mask_of(ball((-20.0, 5.0, 0.0), 36.0 * 0.6), GRID)
    assert float((found.labels.voxels > 0)[core].mean()) < 0.05


def test_haemorrhage_that_is_bright_before_contrast_is_not_viable() -> None:
    lesion = ball((-20.0, 5.0, 0.0), 30.0)
    prepared = prepared_study((lesion,), noise_sd=0.05)
    inside = mask_of(lesion, GRID)
    arterial = prepared.images[ART].voxels.copy()
    before = prepared.images[PRE].voxels.copy()
    before[inside] = 133.0
    arterial[inside] = 134.0
    prepared = changed(changed(prepared, PRE, before), ART, arterial)
    assert viable_volume_ml(find_viable(examined((lesion,), prepared), SETTINGS)) == 0.0


def test_without_an_arterial_phase_nothing_is_said() -> None:
    lesions = (ball((-20.0, 5.0, 0.0), 30.0),)
    prepared = prepared_study(lesions, phases=(PRE, PVP))
    found = find_viable(examined(lesions, prepared), SETTINGS)
    assert found.labels is None
    assert found.reason == "no arterial phase"


def test_without_a_precontrast_phase_nothing_is_said() -> None:
    lesions = (ball((-20.0, 5.0, 0.0), 30.0, core=0.5),)
    found = find_viable(examined(lesions, prepared_study(lesions, phases=(ART, PVP))), SETTINGS)
    assert found.labels is None
    assert found.reason == "no precontrast phase: haemorrhage cannot be told from enhancement"


def test_a_necrotic_lesion_is_not_viable_where_the_precontrast_image_ends_below_it() -> None:
    dead, other = ball((-10.0, 0.0, 20.0), 20.0, core=1.0), ball((20.0, 0.0, -12.0), 20.0, core=0.5)
    prepared = prepared_study((dead, other), noise_sd=0.03)
    assert viable_volume_ml(find_viable(examined((dead, other), prepared), SETTINGS)) == 0.0
    shown = phantoms.world_points(GRID)[..., 2] < 18.0
    before = np.where(shown, prepared.images[PRE].voxels, np.float32(0.0))
    ended = replace(changed(prepared, PRE, before), fields={PRE: shown})
    found = find_viable(examined((dead, other), ended), SETTINGS)
    assert found.not_assessed == {1: "the lesion is not wholly in the field of view of PRE"}
    assert viable_volume_ml(found) == 0.0
    assert viable_volume_ml(found, 2) == pytest.approx(other.viable_volume_ml, rel=0.1)
    # the arterial signal alone needs no precontrast phase
    late = replace(prepared, images={ART: ended.images[ART], PVP: ended.images[PVP]}, fields={PVP: shown})
    alone = replace(SETTINGS, without_precontrast=WithoutPrecontrast.ARTERIAL)
    assert not find_viable(examined((dead, other), late), alone).not_assessed


def test_on_request_the_arterial_signal_alone_decides_with_lower_confidence() -> None:
    lesions = (ball((-20.0, 5.0, 0.0), 30.0, core=0.5),)
    prepared = prepared_study(lesions, phases=(ART, PVP), noise_sd=0.05)
    alone = replace(SETTINGS, without_precontrast=WithoutPrecontrast.ARTERIAL)
    found = find_viable(examined(lesions, prepared), alone)
    assert "no precontrast image: lower confidence" in found.reason
    assert viable_volume_ml(found) == pytest.approx(lesions[0].viable_volume_ml, rel=0.1)


@pytest.mark.parametrize(
    ("code", "said"), [("mistimed_arterial", "late arterial phase"), ("gain", "ART - PRE >")]
)
def test_a_mistimed_arterial_phase_says_nothing_of_viability(code: str, said: str) -> None:
    lesions = (ball((-20.0, 5.0, 0.0), 30.0),)
    study = examined(lesions, prepared_study(lesions, noise_sd=0.05))
    flag = Flag(patient_id="P001", study_date=date(2024, 1, 10), code=code, message="doubt")
    found = find_viable(replace(study, flags=(flag,)), SETTINGS)
    assert said in found.reason
    assert (found.labels is None) is (code == "mistimed_arterial")


def test_a_precontrast_phase_out_of_register_says_nothing_of_viability() -> None:
    lesions = (ball((-20.0, 5.0, 0.0), 30.0),)
    prepared = prepared_study(lesions, noise_sd=0.05)
    refused = refused_registration(PRE)
    found = find_viable(examined(lesions, replace(prepared, registrations=(refused,))), SETTINGS)
    assert found.labels is None
    assert found.reason.startswith("motion:")
    other = replace(prepared, registrations=(refused_registration(PVP),))
    assert find_viable(examined(lesions, other), SETTINGS).labels is not None


def test_vessels_are_not_looked_for_in_a_phase_out_of_register() -> None:
    """In PVP the vessels lie 12 mm beside their places in ART: left in, they would raise the threshold."""
    lesions = (ball((-20.0, 5.0, 0.0), 30.0),)
    prepared = prepared_study(lesions, noise_sd=0.03)
    refused = refused_registration(PVP)
    moved = changed(prepared, PVP, np.roll(prepared.images[PVP].voxels, 4, axis=0))
    found = find_viable(examined(lesions, replace(moved, registrations=(refused,))), SETTINGS)
    assert found.enhancement is not None
    # liver enhances by 0.24 of its signal before contrast; noise of 0.03 in both images is 0.04 of their difference
    assert found.enhancement.reference_mean == pytest.approx(0.24, abs=0.02)
    assert found.enhancement.reference_sd < 0.08
    assert found.reason.endswith("vessels not removed: no portal venous phase in register")


def test_noise_that_hides_enhancement_is_not_read_as_necrosis() -> None:
    lesions = (ball((-20.0, 5.0, 0.0), 30.0),)
    found = find_viable(examined(lesions, prepared_study(lesions, noise_sd=0.4)), SETTINGS)
    # noise of 0.4 in both images: 2 x 0.4 x sqrt(2) = 1.13 above the liver, more than weak HCC enhances
    assert found.labels is None
    assert found.reason.startswith("motion or noise:")


def test_the_reason_names_threshold_reference_and_sensitivity() -> None:
    lesions = (ball((-20.0, 5.0, 0.0), 30.0),)
    found = find_viable(examined(lesions, prepared_study(lesions, noise_sd=0.05)), SETTINGS)
    # Liver enhances by 0.24 of its signal before contrast.
    assert found.reason.startswith("ART - PRE > 0.24 + 2 x 0.")
    assert "mL liver" in found.reason
    assert found.evidence[1].startswith("viable volume at k 1.5/2/3: ")


def test_a_higher_multiple_never_gives_more_viable_tissue() -> None:
    lesions = (ball((-20.0, 5.0, 0.0), 30.0, core=0.5),)
    study = examined(lesions, prepared_study(lesions, noise_sd=0.1))
    volumes = [
        viable_volume_ml(find_viable(study, replace(SETTINGS, viable_k_sd=k))) for k in (1.5, 2.0, 3.0)
    ]
    assert volumes == sorted(volumes, reverse=True)


def test_the_reference_keeps_off_borders_lesions_and_vessels() -> None:
    lesions = (ball((-20.0, 5.0, 0.0), 30.0),)
    prepared = prepared_study(lesions)
    found = find_viable(examined(lesions, prepared), SETTINGS)
    assert found.reference is not None
    sample = found.reference.sample
    near_lesion = mask_of(ball((-20.0, 5.0, 0.0), 30.0 + 2 * 7.0), GRID)
    inner_liver = mask_of(Ellipsoid(centre_mm=(0.0, 0.0, 0.0), semi_axes_mm=(55.0, 42.0, 35.0)), GRID)
    assert not (sample & near_lesion).any()
    assert not (sample & ~inner_liver).any()
    assert float(prepared.images[PVP].voxels[sample].max()) < 285.0
    assert found.reference.volume_ml > 5.0


def test_too_little_liver_to_compare_with_is_not_assessed() -> None:
    lesion = Ellipsoid(centre_mm=(0.0, 0.0, 0.0), semi_axes_mm=(56.0, 43.0, 36.0))
    found = find_viable(examined((lesion,), prepared_study((lesion,))), SETTINGS)
    assert found.labels is None
    assert "less than 5 mL" in found.reason


def test_a_gross_change_of_gain_is_found_and_corrected() -> None:
    lesions = (ball((-20.0, 5.0, 0.0), 30.0, core=0.5),)
    prepared = prepared_study(lesions, noise_sd=0.03)
    louder = changed(prepared, ART, prepared.images[ART].voxels * np.float32(1.5))
    plain = find_viable(examined(lesions, prepared), SETTINGS)
    found = find_viable(examined(lesions, louder), SETTINGS)
    assert plain.enhancement is not None
    assert found.enhancement is not None
    assert plain.enhancement.gain == 1.0
    assert found.enhancement.gain == pytest.approx(1.5, rel=0.05)
    assert "gain 1.5" in found.reason
    assert viable_volume_ml(found) == pytest.approx(viable_volume_ml(plain), rel=0.05)


@pytest.mark.parametrize("gain", [0.1, 8.0])
def test_a_gain_of_another_scale_is_found_and_corrected(gain: float) -> None:
    """Series of one study may be stored in different units: liver and dead tissue stay what they are."""
    lesions = (ball((-20.0, 5.0, 0.0), 30.0, core=0.5),)
    prepared = prepared_study(lesions, noise_sd=0.03)
    other = changed(prepared, ART, prepared.images[ART].voxels * np.float32(gain))
    found = find_viable(examined(lesions, other), SETTINGS)
    assert found.enhancement is not None
    assert found.enhancement.gain == pytest.approx(gain, rel=0.05)
    assert viable_volume_ml(found) == pytest.approx(lesions[0].viable_volume_ml, rel=0.1)


def test_the_reference_lies_where_every_phase_shows_the_liver() -> None:
    """Towards the end of a phase its signal fades: liver there seems to enhance, and is no reference."""
    lesions = (ball((-20.0, 5.0, 0.0), 30.0),)
    prepared = prepared_study(lesions, noise_sd=0.03)
    height = phantoms.world_points(GRID)[..., 2]
    shown = height < 14.0
    faded = changed(prepared, PRE, np.where(shown, prepared.images[PRE].voxels, 30.0).astype(np.float32))
    found = find_viable(examined(lesions, replace(faded, fields={PRE: shown})), SETTINGS)
    assert found.reference is not None
    assert found.enhancement is not None
    assert not (found.reference.sample & ~shown).any()
    # liver enhances by 0.24 of its signal before contrast
    assert found.enhancement.reference_mean == pytest.approx(0.24, abs=0.02)


def test_a_given_viable_mask_is_believed() -> None:
    lesions = (ball((-20.0, 5.0, 0.0), 30.0),)
    study = examined(lesions, prepared_study(lesions))
    given = np.zeros(GRID.shape, dtype=np.uint16)
    place = tuple(int(x) for x in np.argwhere(study.lesion_map.labels.voxels == 1)[0])
    given[place] = 1
    kept = replace(study, lesion_map=replace(study.lesion_map, viable=LabelMap(voxels=given, grid=GRID)))
    found = find_viable(kept, SETTINGS)
    assert found.labels is not None
    assert np.array_equal(found.labels.voxels, given)
    assert found.reason == "given viable mask"


def test_lesions_that_are_not_assessable_have_no_viability() -> None:
    prepared = prepared_study(())
    empty = lesion_map(label_map((), GRID), not_assessable="no T1 contrast phase")
    found = find_viable(ExaminedStudy(prepared=prepared, lesion_map=empty), SETTINGS)
    assert found.labels is None
    assert found.reason == "no T1 contrast phase"


def ring(radius_mm: float, thickness_mm: float, pixel_mm: float, offset: float = 0.0) -> Mask:
    count = int(radius_mm / pixel_mm) + 3
    at = (np.arange(-count, count + 1) + offset) * pixel_mm
    distance = np.hypot(at[:, None], at[None, :])
    return ((distance <= radius_mm) & (distance > radius_mm - thickness_mm))[:, :, None]


@pytest.mark.parametrize("pixel", [0.7, 0.9, 1.0, 1.2, 1.4, 1.6, 1.8, 2.0])
@pytest.mark.parametrize("offset", [0.0, 0.3, 0.5])
def test_a_rim_of_two_millimetres_stays(pixel: float, offset: float) -> None:
    for radius in (6.0, 12.0, 25.0):
        rim = ring(radius, 2.0, pixel, offset)
        kept = clean_viable(rim, np.ones_like(rim), (pixel, pixel, 3.0), thin_mm=2.0)
        assert float(kept[rim].mean()) > 0.95


@pytest.mark.parametrize("pixel", [0.7, 1.0, 1.2, 1.6, 2.0])
@pytest.mark.parametrize("offset", [0.0, 0.25, 0.5])
def test_a_viable_region_of_five_millimetres_is_never_emptied(pixel: float, offset: float) -> None:
    disc = ring(2.5, 2.6, pixel, offset)
    kept = clean_viable(disc, np.ones_like(disc), (pixel, pixel, 3.0), thin_mm=2.0)
    assert float(kept[disc].mean()) > 0.95


@pytest.mark.parametrize("pixel", [0.7, 1.0, 1.2, 1.6])
def test_single_voxels_and_threads_are_removed(pixel: float) -> None:
    mask = np.zeros((60, 40, 3), dtype=bool)
    mask[2:14, 10:22, 1] = True
    mask[40:52, 10:22, 1] = True
    body = mask.copy()
    mask[14:40, 16, 1] = True
    mask[30, 30, 1] = mask[30, 34, 0] = True
    kept = clean_viable(mask, np.ones_like(mask), (pixel, pixel, 3.0), thin_mm=2.0)
    assert kept[body].all()
    assert int((kept & ~body).sum()) <= 4  # the roots of the thread, next to the bodies
    assert not kept[18:36, 16, 1].any()
    assert not kept[30, 30, 1]
    assert not kept[30, 34, 0]


def test_thickness_is_judged_in_the_slice_only() -> None:
    plate = np.zeros((20, 20, 5), dtype=bool)
    plate[4:16, 4:16, 2] = True
    kept = clean_viable(plate, np.ones_like(plate), (1.2, 1.2, 1.0), thin_mm=2.0)
    assert np.array_equal(kept, plate)


def test_enclosed_pinholes_are_filled_and_notches_stay() -> None:
    lesion = np.zeros((24, 24, 1), dtype=bool)
    lesion[2:22, 2:22] = True
    viable = lesion.copy()
    viable[10, 10] = False
    viable[2, 12] = False
    kept = clean_viable(viable, lesion, (1.2, 1.2, 3.0), thin_mm=2.0)
    assert kept[10, 10, 0]
    assert not kept[2, 12, 0]
