"""Read what a person types of a lesion, and what the reason of a measurement says of mergers and fragments."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from mrresponse.domain import Measurement, MeasurementState

WORDS = {
    "too small": MeasurementState.TOO_SMALL,
    "not done": MeasurementState.NOT_ASSESSED,
    "not assessable": MeasurementState.NOT_ASSESSED,
    "absent": MeasurementState.ABSENT,
}
_PARENT = re.compile(r"merged into (\S+)")
_FRAGMENTS = re.compile(r"(\d+) fragments: diameters and volumes added")
_NUMBER = re.compile(r"\d+(\.\d*)?|\.\d+")


@dataclass(frozen=True, slots=True, kw_only=True)
class TypedMeasurement:
    """What a typed cell means: ``state`` is ``None`` for an empty or an invalid cell, ``problem`` says why."""

    state: MeasurementState | None
    value: float | None = None
    problem: str = ""


def parse_measurement(value: str | float | None) -> TypedMeasurement:
    """Return the number or the word of a typed cell.

    Bare non-negative numbers in the column's unit are values, 0 means absent; the words of the contract are states.
    Anything else (``12mm``, ``<5``, ``1e2``) is invalid with a message, never a guess.
    """
    if value is None:
        return TypedMeasurement(state=None)
    text = str(value).strip().lower()
    if not text:
        return TypedMeasurement(state=None)
    if text in WORDS:
        state = WORDS[text]
        return TypedMeasurement(state=state, value=0.0 if state is MeasurementState.ABSENT else None)
    if not _NUMBER.fullmatch(text):
        expected = "a bare number, or one of: " + ", ".join(WORDS)
        return TypedMeasurement(state=None, problem=f"found {value!r}, expected {expected}")
    number = float(text)
    state = MeasurementState.ABSENT if number == 0.0 else MeasurementState.MEASURED
    return TypedMeasurement(state=state, value=number)


def is_merged_away(measurement: Measurement) -> bool:
    """Tell whether the lesion is measured as part of another one."""
    return measurement.state is MeasurementState.MERGED and measurement.longest_diameter_mm is None


def merged_into(measurement: Measurement) -> str | None:
    """Return the lesion that a merged one is measured with, where the measurement names it."""
    found = _PARENT.search(measurement.reason)
    return found.group(1).rstrip(".,;:") if found else None


def words_for_fragments(count: int) -> str:
    """Say that a lesion was measured in several fragments: the reason of its measurement."""
    return f"{count} fragments: diameters and volumes added"


def fragments_measured(measurement: Measurement) -> int | None:
    """Return in how many fragments a lesion was measured, where its reason says so (`words_for_fragments`)."""
    found = _FRAGMENTS.search(measurement.reason)
    return int(found.group(1)) if found else None


def counted_with(measurement: Measurement, measurements: Mapping[str, Measurement]) -> str | None:
    """Return the lesion that a merged one is measured with at last: that one may have merged into a third.

    ``None`` where one on the way names no other. Where they name each other in a circle, it is the first that is named,
    which is merged away itself.
    """
    passed, named = {measurement.lesion_id}, merged_into(measurement)
    while True:
        parent = merged_into(measurement)
        if parent is None or parent in passed:
            return named if parent else None
        passed.add(parent)
        following = measurements.get(parent)
        if following is None or not is_merged_away(following):
            return parent
        measurement = following
