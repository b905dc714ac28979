"""How sure it is that a lesion that was not there at first is a new malignant one, and what speaks for it."""

import math
from collections.abc import Collection, Sequence
from dataclasses import replace
from datetime import date

from mrresponse.domain import (
    CYST_LIKE,
    HAEMANGIOMA_LIKE,
    PERFUSION_LIKE,
    LesionTrack,
    Measurement,
    MeasurementSource,
    MeasurementState,
    NewLesionStatus,
    Observation,
    TrackEvent,
)
from mrresponse.measure.lesion import round_length
from mrresponse.measure.settings import MeasureSettings

_TOLERANCE = 1.0 - 1e-9
_ANSWERS = {True: "present", False: "absent", None: "not assessed"}


def with_new_lesion_status(
    track: LesionTrack,
    rows: Sequence[Measurement],
    settings: MeasureSettings,
    merged_on: Collection[date] = (),
) -> list[Measurement]:
    """State for every study of a new lesion how sure it is, and why, from what was known by then.

    Definite from the study on at which it has 10 mm or more with arterial hyperenhancement and washout, or
    has grown by 10 mm to 10 mm or more; equivocal until then [Lencioni 2010]. A benign pattern stays
    equivocal, and so does what a network found where the earlier studies did not show liver: it may have
    been missed there. Of a lesion that was too small to measure at first, growth counts from the most that it can
    have had, and is a lower bound.

    Parameters
    ----------
    rows
        Measurements of the lesion, by date.
    merged_on
        Dates at which others became one with it (`merger_dates`): what it gained then is no growth.
    """
    news = [seen for seen in track.observations if seen.event is TrackEvent.NEW]
    if not news:
        return list(rows)
    first: Measurement | None = None
    status = NewLesionStatus.EQUIVOCAL
    gained_mm, last_mm, is_joined = 0.0, 0.0, False
    result = []
    for row in rows:
        if row.study_date >= news[0].study_date and _is_seen(row):
            first = first or row
            growth = None if first is row else _growth_mm(row, first, settings)
            is_joined = first is not row and (is_joined or row.study_date in merged_on)
            if growth is not None:
                gained_mm += max(growth - last_mm, 0.0) if is_joined else 0.0
                last_mm, is_joined, growth = growth, False, growth - gained_mm
            if _is_believed(row, news) and _is_definite(row, growth, settings):
                status = NewLesionStatus.DEFINITE
            reason = _reason(row, (first, growth), news)
            row = replace(row, new_lesion_status=status, new_lesion_reason=reason)
        result.append(row)
    return result


def merger_dates(lesion_id: str, tracks: Sequence[LesionTrack]) -> frozenset[date]:
    """Return the dates at which other lesions became one with this one."""
    mergers = (
        [seen.study_date for seen in track.observations if seen.event is TrackEvent.MERGED]
        for track in tracks
        if track.merged_into == lesion_id and track.lesion_id != lesion_id
    )
    return frozenset([min(days) for days in mergers if days])


def _is_seen(row: Measurement) -> bool:
    """Tell whether a lesion has an extent of its own in a study; one that a reader typed has no caliper."""
    if row.caliper is not None:
        return True
    return row.state is MeasurementState.TOO_SMALL or bool(row.longest_diameter_mm)


def _is_believed(row: Measurement, news: Sequence[Observation]) -> bool:
    return row.source is not MeasurementSource.NETWORK or all(seen.was_liver_before is True for seen in news)


def _is_definite(row: Measurement, growth_mm: float | None, settings: MeasureSettings) -> bool:
    if (
        row.longest_diameter_mm is None
        or row.pattern in (CYST_LIKE, HAEMANGIOMA_LIKE, PERFUSION_LIKE)
        or row.longest_diameter_mm < settings.definite_new_mm * _TOLERANCE
    ):
        return False
    has_grown = growth_mm is not None and growth_mm >= settings.new_growth_mm * _TOLERANCE
    return bool(row.aphe and row.washout) or has_grown


def _growth_mm(row: Measurement, first: Measurement, settings: MeasureSettings) -> float | None:
    if row.longest_diameter_mm is None:
        return None
    return row.longest_diameter_mm - _most_mm(first, settings)


def _most_mm(first: Measurement, settings: MeasureSettings) -> float:
    """Return the size of a lesion, or the most that one has that is too small to measure.

    One of too few voxels can be longer than `too_small_mm`: its caliper says so.
    """
    if first.longest_diameter_mm is not None:
        return first.longest_diameter_mm
    if first.caliper is None:
        return settings.too_small_mm
    drawn = math.dist(first.caliper.start_mm, first.caliper.end_mm)
    return max(settings.too_small_mm, round_length(drawn))


def _reason(row: Measurement, since: tuple[Measurement, float | None], news: Sequence[Observation]) -> str:
    """Say what the status rests on: size, enhancement, growth, and the place in earlier studies."""
    first, growth_mm = since
    size = "too small to measure" if row.longest_diameter_mm is None else f"{row.longest_diameter_mm:.1f} mm"
    parts = [
        size,
        f"arterial hyperenhancement {_ANSWERS[row.aphe]}",
        f"washout {_ANSWERS[row.washout]}",
    ]
    if row.pattern:
        parts.append(f"pattern {row.pattern}")
    if growth_mm is not None:
        or_more = " or more" if first.longest_diameter_mm is None else ""
        parts.append(f"{growth_mm:+.1f} mm{or_more} since {first.study_date}")
    parts.append(_place(news))
    return "; ".join(parts)


def _place(news: Sequence[Observation]) -> str:
    answers = {seen.was_liver_before for seen in news}
    if answers == {True}:
        return "its place was like liver in every earlier study"
    if False in answers:
        return "its place was not like liver before"
    return "its place in earlier studies was not assessed"
