"""A lesion that the network does not find is gone only where the images show it."""

from dataclasses import replace
from datetime import date

import numpy as np
import pytest

from mrresponse.domain import ContrastPhase, ExaminedStudy, Flag, MeasurementSource
from mrresponse.geometry import identity
from mrresponse.registration import Registration, RegistrationSettings
from mrresponse.track import TrackSettings, track
from mrresponse.track.look_again import look_at_ball
from tests.phantoms import (
    Body,
    Ellipsoid,
    ball,
    grid_around,
    label_map,
    lesion_map,
    mask_of,
    prepared_study,
    world_points,
)

LIVER = Ellipsoid(centre_mm=(0.0, 0.0, 0.0), semi_axes_mm=(70.0, 55.0, 48.0))
SETTINGS = TrackSettings(registration=RegistrationSettings(study_mm=8.0, deformable_iterations=2))
LESION = ball((30.0, 5.0, 5.0), 26.0)
STAYS = ball((-35.0, 0.0, 0.0), 20.0)
PHASES = (ContrastPhase.PRECONTRAST, ContrastPhase.ARTERIAL, ContrastPhase.PORTAL_VENOUS)
FIRST, SECOND = date(2024, 1, 10), date(2024, 4, 10)


class Plain(Body):
    """A liver without vessels and texture, so that what is there is what is drawn."""

    def _vessels(self, points: np.ndarray) -> np.ndarray:  # type: ignore[type-arg,override]
        return np.zeros(points.shape[:-1], dtype=bool)


def study(
    day: date,
    there: tuple[Ellipsoid, ...],
    drawn: tuple[Ellipsoid, ...],
    phases: tuple[ContrastPhase, ...] = PHASES,
    liver: Ellipsoid = LIVER,
) -> ExaminedStudy:
    """Give a study whose images show some lesions and whose network found others."""
    grid = grid_around(liver, (3.0, 3.0, 4.0))
    prepared = prepared_study(
        study_date=day, body=Plain(liver=liver, lesions=there), grid=grid, phases=phases, noise_sd=0.03
    )
    found = lesion_map(label_map(drawn, grid), MeasurementSource.NETWORK)
    return ExaminedStudy(prepared=prepared, lesion_map=found)


def last_event(after: ExaminedStudy, before: ExaminedStudy | None = None) -> tuple[str, str]:
    """Give the event, and its evidence, of the one lesion that was not found."""
    before = before or study(FIRST, (LESION, STAYS), (LESION, STAYS))
    (lost,) = (one for one in track([before, after], SETTINGS).tracks if not one.observations[-1].labels)
    return lost.observations[-1].event.value, lost.observations[-1].evidence


def test_a_lesion_whose_place_is_like_liver_is_absent() -> None:
    event, evidence = last_event(study(SECOND, (STAYS,), (STAYS,)))
    assert event == "absent", evidence
    assert "like liver" in evidence
    assert "in ART" in evidence


def test_a_lesion_that_is_still_there_is_not_absent() -> None:
    event, evidence = last_event(study(SECOND, (LESION, STAYS), (STAYS,)))
    assert event == "not_found"
    assert "not like liver" in evidence


def test_what_enhances_at_its_place_as_it_did_not_before_is_not_liver() -> None:
    """Dark in the portal venous phase alone when it was last seen, and bright in the arterial phase since."""
    after = study(SECOND, (STAYS,), (STAYS,))
    arterial = after.prepared.images[ContrastPhase.ARTERIAL]
    bright = np.where(mask_of(LESION, arterial.grid), 1.23 * arterial.voxels, arterial.voxels)
    images = {**after.prepared.images, ContrastPhase.ARTERIAL: replace(arterial, voxels=bright)}
    changed = replace(after, prepared=replace(after.prepared, images=images))
    before = study(FIRST, (LESION, STAYS), (LESION, STAYS))
    venous = {ContrastPhase.PORTAL_VENOUS: before.prepared.images[ContrastPhase.PORTAL_VENOUS]}
    before = replace(before, prepared=replace(before.prepared, images=venous))
    assert last_event(after, before)[0] == "absent"
    event, evidence = last_event(changed, before)
    assert event == "not_found"
    assert "1.2" in evidence


def with_field(one: ExaminedStudy, phase: ContrastPhase, below_mm: float) -> ExaminedStudy:
    """Give the same study as if a phase had been taken only below a height; elsewhere its image is 0."""
    image = one.prepared.images[phase]
    heights = world_points(image.grid)[..., 2]
    seen = heights < below_mm
    images = {
        **one.prepared.images,
        phase: replace(image, voxels=np.where(seen, image.voxels, np.float32(0.0))),
    }
    return replace(one, prepared=replace(one.prepared, images=images, fields={phase: seen}))


def test_a_phase_that_does_not_show_the_place_says_nothing_of_it() -> None:
    """The delayed phase, in which the lesion never stood out, ends below it; the portal venous one, in which it did.

    What the reference, the arterial phase, does not show lies outside of the volume.
    """
    phases = (*PHASES, ContrastPhase.DELAYED)
    after = study(SECOND, (STAYS,), (STAYS,), phases=phases)
    assert last_event(with_field(after, ContrastPhase.DELAYED, -15.0))[0] == "absent"
    event, evidence = last_event(with_field(after, ContrastPhase.PORTAL_VENOUS, -15.0))
    assert event == "not_found"
    assert "not in the field of view of PVP" in evidence
    assert last_event(with_field(after, ContrastPhase.ARTERIAL, -15.0))[0] == "outside"


def test_a_scar_in_images_of_another_kind_is_no_tumour() -> None:
    after = study(SECOND, (STAYS,), (STAYS,))
    image = after.prepared.images[ContrastPhase.PORTAL_VENOUS]
    scar = replace(image, voxels=np.where(mask_of(LESION, image.grid), 1.3 * image.voxels, image.voxels))
    images = {**after.prepared.images, ContrastPhase.OTHER: scar}
    assert last_event(replace(after, prepared=replace(after.prepared, images=images)))[0] == "absent"


def test_a_lesion_that_lies_a_little_beside_its_registered_place_is_not_absent() -> None:
    beside = LESION.moved((7.0, 0.0, 0.0))
    small = replace(beside, semi_axes_mm=(8.0, 8.0, 8.0))
    event, _ = last_event(study(SECOND, (small, STAYS), (STAYS,)))
    assert event == "not_found"


def test_a_lesion_missed_beside_one_that_fell_apart_is_not_absent() -> None:
    """The larger fragment lies 28 mm off the middle of the whole, though nothing moved."""
    liver = Ellipsoid(centre_mm=(0.0, 0.0, 0.0), semi_axes_mm=(95.0, 90.0, 60.0))
    giant, missed = ball((0.0, -25.0, 0.0), 92.0), ball((0.0, 40.0, 0.0), 12.0)
    pieces = ball((-28.0, -25.0, 0.0), 58.0), ball((28.0, -25.0, 0.0), 32.0)
    before = study(FIRST, (giant, missed), (giant, missed), liver=liver)
    event, evidence = last_event(study(SECOND, (*pieces, missed), pieces, liver=liver), before)
    assert event == "not_found", evidence
    assert "not like liver" in evidence


def test_a_lesion_still_at_its_registered_place_is_not_absent_whatever_its_neighbours_did() -> None:
    """Two lesions came up 19 mm beside two that went, are taken for them, and draw its place along by 15 mm."""
    went = ball((-4.0, -10.0, 22.0), 16.0), ball((-4.0, -10.0, -22.0), 16.0)
    came = tuple(one.moved((-19.0, 0.0, 0.0)) for one in went)
    missed = ball((20.0, -20.0, 0.0), 10.0)
    before = study(FIRST, (*went, missed), (*went, missed))
    event, evidence = last_event(study(SECOND, (*came, missed), came), before)
    assert event == "not_found", evidence


@pytest.mark.parametrize("code", ["low_snr", "registration_rejected", "mistimed_arterial"])
def test_doubtful_images_do_not_show_that_a_lesion_is_gone(code: str) -> None:
    doubt = Flag(patient_id="P001", study_date=SECOND, code=code, message="doubt")
    event, evidence = last_event(replace(study(SECOND, (STAYS,), (STAYS,)), flags=(doubt,)))
    assert event == "not_found"
    assert code in evidence


def test_a_contrast_phase_in_which_the_lesion_did_not_stand_out_shows_nothing() -> None:
    event, evidence = last_event(study(SECOND, (STAYS,), (STAYS,), phases=(ContrastPhase.DELAYED,)))
    assert event == "not_found"
    assert "no image of PRE, ART, PVP" in evidence


def test_what_never_looked_unlike_liver_cannot_be_shown_to_be_gone() -> None:
    """A network found it where the images show liver."""
    before = study(FIRST, (STAYS,), (LESION, STAYS))
    event, evidence = last_event(study(SECOND, (STAYS,), (STAYS,)), before)
    assert event == "not_found"
    assert "did not stand out" in evidence


def test_without_the_phase_that_showed_it_a_lesion_is_not_absent() -> None:
    """It was at 1.54 of the liver in the arterial phase, and the portal venous one alone was taken again."""
    event, evidence = last_event(study(SECOND, (STAYS,), (STAYS,), phases=(ContrastPhase.PORTAL_VENOUS,)))
    assert event == "not_found"
    assert "no image of PRE, ART" in evidence


def test_a_ball_is_compared_with_the_liver_beside_it() -> None:
    seen = look_at_ball(study(FIRST, (LESION,), ()), np.asarray(LESION.centre_mm), 6.0)
    assert seen is not None
    # 1.91 of viable tumour over 1.24 of liver in the arterial phase, 0.80 over 1 before contrast
    assert seen.ratios[ContrastPhase.ARTERIAL] == pytest.approx(1.91 / 1.24, rel=0.05)
    assert seen.ratios[ContrastPhase.PRECONTRAST] == pytest.approx(0.80, rel=0.05)
    assert not seen.is_like_liver(0.12)


def test_outside_the_liver_nothing_is_seen() -> None:
    assert look_at_ball(study(FIRST, (), ()), np.array([0.0, 80.0, 0.0]), 6.0) is None


def seen_before(
    earlier: ExaminedStudy, phases: tuple[ContrastPhase, ...] = PHASES
) -> tuple[bool | None, str]:
    """Say whether the place of a lesion that is new at the second study was liver, and what it rests on."""
    later = study(SECOND, (LESION, STAYS), (LESION, STAYS), phases=phases)
    (new,) = (one for one in track([earlier, later], SETTINGS).tracks if len(one.observations) == 1)
    return new.observations[0].was_liver_before, new.observations[0].evidence


def test_the_place_of_a_new_lesion_was_liver_where_every_phase_that_shows_it_says_so() -> None:
    was_liver, evidence = seen_before(study(FIRST, (STAYS,), (STAYS,)))
    assert was_liver is True, evidence
    was_liver, evidence = seen_before(study(FIRST, (LESION, STAYS), (STAYS,)))
    assert was_liver is False, evidence


def test_without_the_phase_that_shows_it_a_new_lesion_may_have_been_missed() -> None:
    """The lesion is at 1.54 of the liver in the arterial phase, which was not taken before."""
    portal_venous = (ContrastPhase.PORTAL_VENOUS,)
    was_liver, evidence = seen_before(study(FIRST, (STAYS,), (STAYS,), phases=portal_venous))
    assert was_liver is None
    assert "no image of PRE, ART" in evidence
    # what a phase does show counts: a cyst-like place, at 0.40 of the liver
    core = replace(LESION, core=1.0)
    was_liver, evidence = seen_before(study(FIRST, (core, STAYS), (STAYS,), phases=portal_venous))
    assert was_liver is False, evidence


@pytest.mark.parametrize("code", ["low_snr", "registration_rejected", "mistimed_arterial"])
def test_doubtful_images_do_not_show_that_a_lesion_was_not_there(code: str) -> None:
    doubt = Flag(patient_id="P001", study_date=FIRST, code=code, message="doubt")
    was_liver, evidence = seen_before(replace(study(FIRST, (STAYS,), (STAYS,)), flags=(doubt,)))
    assert was_liver is None
    assert code in evidence


def test_where_registration_was_refused_the_place_before_is_not_known(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(**_: object) -> Registration:
        return Registration(
            transform=identity(),
            accepted=False,
            similarity_before=0.5,
            similarity_after=0.5,
            reason="Dice of the livers 0.50 -> 0.50: left in place",
        )

    monkeypatch.setattr("mrresponse.track.register_studies", refuse)
    was_liver, evidence = seen_before(study(FIRST, (STAYS,), (STAYS,)))
    assert was_liver is None
    assert "its place is not known: Dice of the livers 0.50" in evidence
