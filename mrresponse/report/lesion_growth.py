"""Words on one lesion over time: how fast it grew, and what speaks for a new lesion."""

import itertools
import math
from collections.abc import Sequence
from datetime import date

from mrresponse.domain import LesionTrack, Measurement, MeasurementState, TrackEvent


def doubling_days(first: Measurement, second: Measurement) -> tuple[float, str] | None:
    """Return in how many days a lesion that grows as between two studies doubles its volume, and what that rests on.

    ``days * ln 2 / ln(V2 / V1)`` (Schwartz 1961), from the volumes, or from the longest diameters as ``3 ln(D2 / D1)``
    (a sphere) where a volume is missing. ``None`` where the lesion was not measured twice or did not grow.
    """
    if not (first.state is second.state is MeasurementState.MEASURED):
        return None
    days = (second.study_date - first.study_date).days
    for earlier, later, power, name in (
        (first.volume_ml, second.volume_ml, 1.0, "volume"),
        (first.longest_diameter_mm, second.longest_diameter_mm, 3.0, "diameter"),
    ):
        if earlier and later:
            growth = power * math.log(later / earlier)
            return (days * math.log(2.0) / growth, name) if growth > 0.0 and days > 0 else None
    return None


def growth_words(rows: Sequence[Measurement]) -> dict[date, str]:
    """Say for each study of one lesion and reader how fast it grew since it was last measured, if it grew."""
    measured = sorted(
        (row for row in rows if row.state is MeasurementState.MEASURED), key=lambda row: row.study_date
    )
    words = {}
    for first, second in itertools.pairwise(measured):
        found = doubling_days(first, second)
        if found is not None:
            days, source = found
            basis = "" if source == "volume" else ", from the diameter"
            words[second.study_date] = f"volume doubling time {days:.0f} days since {first.study_date}{basis}"
    return words


def new_lesion_words(rows: Sequence[Measurement], track: LesionTrack | None) -> str:
    """Say what speaks for a lesion that came up later: size, enhancement, growth, and its place before; else nothing.

    ``rows`` are those of one lesion and reader.
    """
    if track is None or track.observations[0].event is not TrackEvent.NEW:
        return ""
    seen = track.observations[0]
    parts = [
        f"Before: {seen.evidence or 'nothing is recorded of its place'}",
        _place_words(seen.was_liver_before),
    ]
    first = next((row for row in rows if row.study_date == seen.study_date), None)
    if first is not None:
        parts += [_size_words(first), _enhancement_words(first), _change_words(first, rows)]
    return ". ".join(parts)


def _place_words(was_liver: bool | None) -> str:
    if was_liver is None:
        return "Whether its place was liver in earlier studies cannot be said"
    return (
        "Its place was like liver in every earlier study"
        if was_liver
        else "Its place was not like liver before"
    )


def _size_words(row: Measurement) -> str:
    if row.longest_diameter_mm is None:
        return f"On {row.study_date} without a diameter"
    return f"On {row.study_date} {row.longest_diameter_mm:.1f} mm"


def _enhancement_words(row: Measurement) -> str:
    pattern = f"pattern {row.pattern}, " if row.pattern else ""
    named = (("arterial hyperenhancement", row.aphe), ("washout", row.washout))
    words = [f"{name} {_ANSWERS[answer]}" for name, answer in named]
    text = f"{pattern}{', '.join(words)}"
    return text[0].upper() + text[1:]


_ANSWERS = {True: "present", False: "absent", None: "not assessed"}


def _change_words(first: Measurement, rows: Sequence[Measurement]) -> str:
    later = {
        row.study_date: row.longest_diameter_mm
        for row in rows
        if row.study_date > first.study_date and row.longest_diameter_mm is not None
    }
    if first.longest_diameter_mm is None or not later:
        return "No later diameter to compare with"
    last = max(later)
    change = f"{later[last] - first.longest_diameter_mm:+.1f}".replace("-", "−")
    return f"{change} mm until {last}"
