from dataclasses import replace
from datetime import date

import numpy as np

from mrresponse.domain import ContrastPhase, Flag, Image, PreparedStudy
from mrresponse.quality import QualitySettings, check_quality, review_level
from tests.phantoms import LIVER, Ellipsoid, ball, grid_around, label_map, lesion_map, prepared_study

ART, PRE = ContrastPhase.ARTERIAL, ContrastPhase.PRECONTRAST
WIDE = grid_around(margin_mm=40.0)


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


def test_a_change_of_gain_is_flagged() -> None:
    study = prepared_study([ball((20.0, 0.0, 0.0), 30.0)], grid=WIDE)
    assert codes(scaled(study, ART, 1.6)) == ["gain"]
    assert codes(scaled(study, ART, 1.1)) == []


def test_an_arterial_phase_without_enhancement_is_flagged() -> None:
    study = prepared_study(grid=WIDE)
    unenhanced = replace(study, images={**study.images, ART: study.images[PRE]})
    assert "mistimed_arterial" in codes(unenhanced)


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
