"""Doubling times and the sentence on a new lesion; volumes and sizes are chosen so that the answers are whole."""

from dataclasses import replace
from datetime import date
from typing import Any

import pytest

from mrresponse.domain import LesionTrack, Measurement, MeasurementState, Observation, TrackEvent
from mrresponse.report.lesion_growth import doubling_days, growth_words, new_lesion_words

FIRST, SECOND, THIRD = date(2024, 1, 1), date(2024, 3, 1), date(2024, 4, 30)


def row(day: date, **more: Any) -> Measurement:
    state = more.pop("state", MeasurementState.MEASURED)
    return Measurement(patient_id="P", lesion_id="L02", study_date=day, reader="A", state=state, **more)


def track(was_liver: bool | None, event: TrackEvent = TrackEvent.NEW) -> LesionTrack:
    seen = Observation(
        study_date=SECOND, event=event, evidence="2024-01-01: no lesion there", was_liver_before=was_liver
    )
    return LesionTrack(patient_id="P", lesion_id="L02", observations=(seen,))


@pytest.mark.parametrize(
    ("before", "after", "days"),
    [
        ({"volume_ml": 1.0}, {"volume_ml": 2.0}, 60.0),
        ({"volume_ml": 1.0}, {"volume_ml": 4.0}, 30.0),
        # the volume of a sphere of twice the diameter has doubled three times
        ({"longest_diameter_mm": 10.0}, {"longest_diameter_mm": 20.0}, 20.0),
        # a volume decides where both studies have one
        (
            {"volume_ml": 1.0, "longest_diameter_mm": 10.0},
            {"volume_ml": 2.0, "longest_diameter_mm": 20.0},
            60.0,
        ),
        ({"volume_ml": 1.0, "longest_diameter_mm": 10.0}, {"longest_diameter_mm": 20.0}, 20.0),
    ],
)
def test_a_lesion_doubles_in_the_time_that_its_sizes_say(
    before: dict[str, float], after: dict[str, float], days: float
) -> None:
    found = doubling_days(row(FIRST, **before), row(SECOND, **after))
    assert found is not None
    assert found[0] == pytest.approx(days)


@pytest.mark.parametrize(
    "after",
    [
        row(SECOND, volume_ml=1.0),
        row(SECOND, volume_ml=0.5),
        row(SECOND),
        row(SECOND, volume_ml=9.0, state=MeasurementState.MERGED),
        row(SECOND, state=MeasurementState.NOT_FOUND),
    ],
)
def test_there_is_no_doubling_time_without_growth_or_without_two_sizes(after: Measurement) -> None:
    assert doubling_days(row(FIRST, volume_ml=1.0), after) is None


def test_growth_is_told_from_one_measured_study_to_the_next() -> None:
    rows = [
        row(FIRST, volume_ml=1.0),
        row(SECOND, state=MeasurementState.NOT_ASSESSED),
        row(THIRD, volume_ml=2.0),
    ]
    assert growth_words(rows) == {THIRD: "volume doubling time 120 days since 2024-01-01"}


def test_a_new_lesion_is_told_by_place_size_enhancement_and_growth() -> None:
    rows = [
        row(SECOND, longest_diameter_mm=12.0, aphe=True, washout=None),
        row(THIRD, longest_diameter_mm=17.5),
    ]
    assert new_lesion_words(rows, track(True)) == (
        "Before: 2024-01-01: no lesion there. Its place was like liver in every earlier study. "
        "On 2024-03-01 12.0 mm. Arterial hyperenhancement present, washout not assessed. +5.5 mm until 2024-04-30"
    )


def test_what_is_not_known_of_a_new_lesion_is_said() -> None:
    words = new_lesion_words([row(SECOND, aphe=False, washout=False)], track(None))
    assert "cannot be said" in words
    assert words.endswith(
        "On 2024-03-01 without a diameter. Arterial hyperenhancement absent, washout absent. "
        "No later diameter to compare with"
    )
    smaller = [row(SECOND, longest_diameter_mm=12.0), row(THIRD, longest_diameter_mm=10.0)]
    assert new_lesion_words(smaller, track(False)).endswith("−2.0 mm until 2024-04-30")
    assert "Its place was not like liver before" in new_lesion_words(smaller, track(False))


def test_a_lesion_that_was_there_from_the_start_has_no_such_sentence() -> None:
    assert new_lesion_words([row(SECOND)], track(True, TrackEvent.FIRST)) == ""
    assert new_lesion_words([row(SECOND)], None) == ""
    assert new_lesion_words([], replace(track(True))) != ""
