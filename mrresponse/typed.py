"""Read a size typed by a person: a bare number, or a word for its absence."""

import re
from dataclasses import dataclass

from mrresponse.domain import MeasurementState

WORDS = {
    "too small": MeasurementState.TOO_SMALL,
    "not done": MeasurementState.NOT_ASSESSED,
    "not assessable": MeasurementState.NOT_ASSESSED,
    "absent": MeasurementState.ABSENT,
}
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
