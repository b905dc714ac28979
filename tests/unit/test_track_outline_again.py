"""A lesion that the network lost is outlined where its signal shows it, and nowhere else."""

from dataclasses import replace
from datetime import date

import numpy as np
import pytest

from mrresponse.domain import ContrastPhase, ExaminedStudy, Flag, MeasurementSource
from mrresponse.quality import review_level, with_outlined_by_signal
from mrresponse.registration import RegistrationSettings
from mrresponse.track import Followed, TrackSettings, track
from tests.phantoms import Body, Ellipsoid, ball, grid_around, label_map, lesion_map, mask_of, prepared_study

LIVER = Ellipsoid(centre_mm=(0.0, 0.0, 0.0), semi_axes_mm=(70.0, 55.0, 48.0))
SETTINGS = TrackSettings(registration=RegistrationSettings(study_mm=8.0, deformable_iterations=2))
# dead as a whole: dark in every contrast phase, as SIGNALS of the phantoms has it
DEAD = ball((30.0, 5.0, 5.0), 22.0, core=1.0)
STAYS = ball((-35.0, 0.0, 0.0), 20.0)


class Plain(Body):
    """A liver without vessels, so that what is there is what is drawn."""

    def _vessels(self, points: np.ndarray) -> np.ndarray:  # type: ignore[type-arg,override]
        return np.zeros(points.shape[:-1], dtype=bool)


def study(day: date, there: tuple[Ellipsoid, ...], drawn: tuple[Ellipsoid, ...]) -> ExaminedStudy:
    """Give a study whose images show some lesions and whose network found others."""
    grid = grid_around(LIVER, (2.0, 2.0, 3.0))
    prepared = prepared_study(
        study_date=day, body=Plain(liver=LIVER, lesions=there), grid=grid, noise_sd=0.03
    )
    return ExaminedStudy(
        prepared=prepared, lesion_map=lesion_map(label_map(drawn, grid), MeasurementSource.NETWORK)
    )


def followed(after: ExaminedStudy) -> Followed:
    before = study(date(2024, 1, 10), (DEAD, STAYS), (DEAD, STAYS))
    return track([before, after], SETTINGS)


def lost(there: tuple[Ellipsoid, ...] = (DEAD, STAYS)) -> ExaminedStudy:
    return study(date(2024, 4, 10), there, (STAYS,))


def test_a_dead_lesion_that_the_network_lost_is_outlined_and_asks_for_a_look() -> None:
    found = followed(lost())
    last = found.tracks[0].observations[-1]
    assert last.event.value == "matched"
    assert last.evidence.startswith("the network found nothing; outlined where its signal shows it")
    (label,) = last.labels
    after = found.studies[-1]
    outline = after.lesion_map.labels.voxels == label
    truth = mask_of(DEAD, after.prepared.grid)
    assert 2.0 * (outline & truth).sum() / (outline.sum() + truth.sum()) > 0.9
    described = after.lesion_map.lesions[-1]
    assert described.label == label
    assert described.volume_ml == pytest.approx(DEAD.volume_ml, rel=0.15)
    np.testing.assert_allclose(described.centroid_mm, DEAD.centre_mm, atol=1.0)
    flagged = with_outlined_by_signal(found.studies, found.tracks)
    assert [(flag.code, flag.lesion_id) for flag in flagged[-1].flags] == [
        ("outlined_by_signal", found.tracks[0].lesion_id)
    ]
    assert review_level(flagged[-1].flags) == "review"


def test_where_the_place_is_like_liver_nothing_is_outlined() -> None:
    last = followed(lost((STAYS,))).tracks[0].observations[-1]
    assert (last.event.value, last.labels) == ("absent", ())


def test_where_the_network_found_it_nothing_is_added() -> None:
    found = followed(study(date(2024, 4, 10), (DEAD, STAYS), (DEAD, STAYS)))
    assert found.studies[-1].lesion_map.outlined_by_signal == frozenset()


def test_nothing_is_outlined_in_images_that_are_in_doubt() -> None:
    flag = Flag(patient_id="P001", study_date=date(2024, 4, 10), code="ghosting", message="")
    assert followed(replace(lost(), flags=(flag,))).tracks[0].observations[-1].event.value == "not_found"


def test_what_a_given_mask_does_not_have_is_absent_whatever_the_images_show() -> None:
    after = lost()
    given = replace(after, lesion_map=replace(after.lesion_map, source=MeasurementSource.MASK))
    assert followed(given).tracks[0].observations[-1].event.value == "absent"


@pytest.mark.parametrize("factor", [1.8, 0.5])
def test_a_body_of_another_size_is_not_that_lesion(factor: float) -> None:
    other = ball(DEAD.centre_mm, 22.0 * factor, core=1.0)
    assert not followed(lost((other, STAYS))).tracks[0].observations[-1].labels


def test_what_is_brighter_than_the_liver_after_contrast_may_be_a_vessel() -> None:
    after = lost()
    venous = after.prepared.images[ContrastPhase.PORTAL_VENOUS]
    place = mask_of(DEAD, venous.grid)
    bright = replace(venous, voxels=np.where(place, np.float32(290.0), venous.voxels))
    images = {**after.prepared.images, ContrastPhase.PORTAL_VENOUS: bright}
    changed = replace(after, prepared=replace(after.prepared, images=images))
    assert followed(changed).tracks[0].observations[-1].event.value == "not_found"
