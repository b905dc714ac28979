"""How sure it is that a lesion that was not there at first is a new malignant one, and what speaks for it."""

from collections.abc import Sequence
from dataclasses import replace

from mrresponse.domain import (
    LesionTrack,
    Measurement,
    MeasurementSource,
    NewLesionStatus,
    Observation,
    TrackEvent,
)
from mrresponse.measure.phenotype import CYST_LIKE, HAEMANGIOMA_LIKE
from mrresponse.measure.settings import MeasureSettings

_TOLERANCE = 1.0 - 1e-9
_ANSWERS = {True: "present", False: "absent", None: "not assessed"}


def with_new_lesion_status(
    track: LesionTrack, rows: Sequence[Measurement], settings: MeasureSettings
) -> list[Measurement]:
    """State for every study of a new lesion how sure it is, and why, from what was known by then.

    Definite from the study on at which it has 10 mm or more with arterial hyperenhancement and washout, or
    has grown by 10 mm to 10 mm or more; equivocal until then [Lencioni 2010]. A benign pattern stays
    equivocal, and so does what a network found where the earlier studies did not show liver: it may have
    been missed there.

    Parameters
    ----------
    rows
        Measurements of the lesion, by date.
    """
    news = [seen for seen in track.observations if seen.event is TrackEvent.NEW]
    if not news:
        return list(rows)
    first: Measurement | None = None
    status = NewLesionStatus.EQUIVOCAL
    result = []
    for row in rows:
        if row.study_date >= news[0].study_date and row.caliper is not None:
            if row.longest_diameter_mm is not None:
                first = first or row
                if _is_believed(row, news) and _is_definite(row, first, settings):
                    status = NewLesionStatus.DEFINITE
            row = replace(row, new_lesion_status=status, new_lesion_reason=_reason(row, first, news))
        result.append(row)
    return result


def _is_believed(row: Measurement, news: Sequence[Observation]) -> bool:
    return row.source is not MeasurementSource.NETWORK or all(seen.was_liver_before is True for seen in news)


def _is_definite(row: Measurement, first: Measurement, settings: MeasureSettings) -> bool:
    assert row.longest_diameter_mm is not None
    if (
        row.pattern in (CYST_LIKE, HAEMANGIOMA_LIKE)
        or row.longest_diameter_mm < settings.definite_new_mm * _TOLERANCE
    ):
        return False
    return bool(row.aphe and row.washout) or _growth(row, first) >= settings.new_growth_mm * _TOLERANCE


def _growth(row: Measurement, first: Measurement) -> float:
    assert row.longest_diameter_mm is not None
    assert first.longest_diameter_mm is not None
    return row.longest_diameter_mm - first.longest_diameter_mm


def _reason(row: Measurement, first: Measurement | None, news: Sequence[Observation]) -> str:
    """Say what the status rests on: size, enhancement, growth, and the place in earlier studies."""
    size = "too small to measure" if row.longest_diameter_mm is None else f"{row.longest_diameter_mm:.1f} mm"
    parts = [
        size,
        f"arterial hyperenhancement {_ANSWERS[row.aphe]}",
        f"washout {_ANSWERS[row.washout]}",
    ]
    if row.pattern:
        parts.append(f"pattern {row.pattern}")
    if first is not None and first is not row and row.longest_diameter_mm is not None:
        parts.append(f"{_growth(row, first):+.1f} mm since {first.study_date}")
    parts.append(_place(news))
    return "; ".join(parts)


def _place(news: Sequence[Observation]) -> str:
    answers = {seen.was_liver_before for seen in news}
    if answers == {True}:
        return "its place was like liver in every earlier study"
    if False in answers:
        return "its place was not like liver before"
    return "its place in earlier studies was not assessed"
