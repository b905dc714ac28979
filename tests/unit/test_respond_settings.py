"""Settings of the response engine: each is worked into the criteria and into the fingerprint of the rows."""

from dataclasses import fields, replace
from datetime import date, timedelta
from typing import Any

import pytest

from mrresponse.domain import Measurement, MeasurementSource, MeasurementState, Patient, Response, StudyRecord
from mrresponse.errors import ConfigError
from mrresponse.respond import CRITERIA, MRECIST, RECIST_1_1, RespondSettings, respond, settings_id
from mrresponse.respond.criteria import ProgressionScope, sphere_diameter_mm, sphere_volume_ml
from mrresponse.respond.settings import MeasurementError, VolumeFloor, VolumeThresholds, criteria_of

READER, NETWORK = MeasurementSource.READER, MeasurementSource.NETWORK


def only(name: str, source: MeasurementSource = READER, **changes: Any) -> Any:
    (found,) = criteria_of(RespondSettings(criteria=(name,), **changes), "course", source=source)
    return found


def test_thresholds_are_those_of_the_specification() -> None:
    # response-criteria section 1: decrease, increase, floor
    expected = {
        "RECIST 1.1": (0.30, 0.20, 5.0),
        "iRECIST": (0.30, 0.20, 5.0),
        "mRECIST": (0.30, 0.20, 0.0),
        "EASL": (0.50, 0.25, 0.0),
        "WHO": (0.50, 0.25, 0.0),
        "vRECIST": (0.65, 0.73, 0.0),
        "qEASL": (0.65, 0.73, 0.0),
    }
    found = {
        name: (c.response_decrease, c.progression_increase, c.progression_floor)
        for name, c in CRITERIA.items()
    }
    assert found == expected
    assert all(criterion.citation for criterion in CRITERIA.values())


def test_target_limits_are_those_of_the_specification() -> None:
    limits = {name: (c.max_targets, c.max_targets_per_organ) for name, c in CRITERIA.items()}
    assert limits["RECIST 1.1"] == limits["mRECIST"] == limits["qEASL"] == (5, 2)
    assert limits["EASL"] == limits["WHO"] == (None, None)
    assert (RECIST_1_1.min_target_mm, RECIST_1_1.min_target_node_mm, RECIST_1_1.too_small) == (
        10.0,
        15.0,
        5.0,
    )


def test_each_setting_reaches_its_criterion() -> None:
    assert only("mRECIST", mrecist_pd_abs_mm=5.0).progression_floor == 5.0
    assert only("mRECIST").max_liver_targets == 2
    assert only("mRECIST", mrecist_max_liver_targets=5).max_liver_targets == 5
    assert (
        only("EASL", easl_pd_scope=ProgressionScope.ANY_LESION).progression_scope
        is ProgressionScope.ANY_LESION
    )
    assert (
        only("WHO", who_pd_scope=ProgressionScope.ANY_LESION).progression_scope is ProgressionScope.ANY_LESION
    )
    assert only("WHO", easl_pd_scope=ProgressionScope.ANY_LESION).progression_scope is ProgressionScope.SUM
    exact = only("qEASL", volume_thresholds=VolumeThresholds.EXACT)
    assert (exact.response_decrease, exact.progression_increase) == (0.657, 0.728)
    assert only("RECIST 1.1") == RECIST_1_1


@pytest.mark.parametrize(
    ("floor", "source", "expected"),
    [
        (VolumeFloor.AUTOMATIC_SEGMENTATION, NETWORK, 5.0),
        (VolumeFloor.AUTOMATIC_SEGMENTATION, READER, None),
        (VolumeFloor.ALWAYS, READER, 5.0),
        (VolumeFloor.NEVER, NETWORK, None),
    ],
)
def test_the_volume_floor_is_for_automatic_segmentation_unless_stated(
    floor: VolumeFloor, source: MeasurementSource, expected: float | None
) -> None:
    assert only("vRECIST", source, volume_abs_floor=floor).progression_floor_sphere_mm == expected


def test_the_sphere_floor_is_a_growth_of_its_diameter() -> None:
    criterion = only("vRECIST", volume_abs_floor=VolumeFloor.ALWAYS, volume_abs_floor_mm=4.0)
    nadir = sphere_volume_ml(20.0)
    assert criterion.floor_from(nadir) == pytest.approx(sphere_volume_ml(24.0) - nadir)
    assert sphere_diameter_mm(sphere_volume_ml(17.0)) == pytest.approx(17.0)
    assert sphere_volume_ml(10.0) == pytest.approx(0.524, abs=5e-4)


def test_phases_may_have_criteria_of_their_own_and_variants_replace() -> None:
    strict = replace(MRECIST, progression_floor=5.0)
    settings = RespondSettings(
        criteria=("mRECIST", "RECIST 1.1"), phase_criteria={"immune": ("iRECIST",)}, variants=(strict,)
    )
    assert [c.name for c in criteria_of(settings, "immune", source=READER)] == ["iRECIST"]
    assert criteria_of(settings, "other", source=READER) == (strict, RECIST_1_1)


def test_an_unknown_criterion_is_refused_with_its_key() -> None:
    with pytest.raises(ConfigError, match=r"respond\.criteria: unknown criterion 'RECIST'; known: .*mRECIST"):
        RespondSettings(criteria=("RECIST",))
    with pytest.raises(ConfigError, match=r"respond\.phase_criteria\.one: unknown criterion 'x'"):
        RespondSettings(phase_criteria={"one": ("x",)})


def test_every_setting_changes_the_fingerprint() -> None:
    settings = RespondSettings()
    changed: dict[str, Any] = {
        "criteria": ("WHO",),
        "phase_criteria": {"a": ("WHO",)},
        "variants": (replace(MRECIST, name="other"),),
        "markers": (),
        "measurement_error": MeasurementError(diameter_fraction=0.05),
    }
    ids = {settings_id(settings)}
    for field in fields(settings):
        value = getattr(settings, field.name)
        if field.name in changed:
            other = changed[field.name]
        elif hasattr(type(value), "__members__"):
            other = next(member for member in type(value) if member is not value)
        else:
            other = value + 1
        ids.add(settings_id(replace(settings, **{field.name: other})))
    assert len(ids) == 1 + len(fields(settings))
    assert settings_id(RespondSettings()) == settings_id(settings)
    assert len(settings_id(settings)) == 10


def test_a_variant_of_a_criterion_is_computed_beside_the_published_one() -> None:
    start = date(2024, 1, 1)
    rows = [
        Measurement(
            patient_id="P", lesion_id="L01", study_date=start + timedelta(days=60 * visit), reader="A",
            state=MeasurementState.MEASURED, longest_diameter_mm=size, viable_longest_diameter_mm=size,
            source=MeasurementSource.MASK,
        )
        for visit, size in enumerate((15.0, 19.0))
    ]  # fmt: skip
    settings = RespondSettings(
        criteria=("mRECIST", "mRECIST 5 mm"),
        variants=(replace(MRECIST, name="mRECIST 5 mm", progression_floor=5.0),),
    )
    studies = [
        StudyRecord(patient_id="P", study_date=row.study_date, lesions_assessable=True) for row in rows
    ]
    found = respond(Patient(patient_id="P"), studies, rows, settings).assessments
    words = {row.criterion: row.overall for row in found if not row.is_baseline}
    assert words == {"mRECIST": Response.PD, "mRECIST 5 mm": Response.SD}
    assert {row.settings_id for row in found} == {settings_id(settings)}
