"""How numbers, states and categories are written for a reader: rounding for display happens only here."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from mrresponse.domain import (
    COURSE,
    MISSING_STATES,
    SEEN_STATES,
    Assessment,
    ContrastPhase,
    LesionRole,
    Marker,
    Measurement,
    MeasurementSource,
    MeasurementState,
    RoleRecord,
    TreatmentPhase,
)

STATE_WORDS = {
    MeasurementState.MEASURED: "measured",
    MeasurementState.TOO_SMALL: "too small",
    MeasurementState.ABSENT: "absent",
    MeasurementState.NOT_FOUND: "not found",
    MeasurementState.NOT_ASSESSED: "not assessed",
    MeasurementState.MERGED: "merged",
    MeasurementState.SPLIT: "split",
}

ROLE_WORDS = {
    LesionRole.TARGET: "target",
    LesionRole.NON_TARGET: "non-target",
    LesionRole.NEW: "new",
    LesionRole.EXCLUDED: "not counted",
}

CONTRAST_WORDS = {
    ContrastPhase.PRECONTRAST: "precontrast",
    ContrastPhase.ARTERIAL: "arterial",
    ContrastPhase.PORTAL_VENOUS: "portal venous",
    ContrastPhase.DELAYED: "delayed",
    ContrastPhase.HEPATOBILIARY: "hepatobiliary",
    ContrastPhase.OTHER: "other contrast",
}

CONTRAST_SHORT = CONTRAST_WORDS | {ContrastPhase.OTHER: "as given"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Quantity:
    """What a criterion sums: its name and unit, where its number stands, and whether it is the viable part."""

    name: str
    unit: str
    value: Callable[[Measurement], float | None]
    is_viable: bool = False


def _product(first: float | None, second: float | None) -> float | None:
    if first == 0.0:
        return 0.0
    return None if first is None or second is None else first * second


_WHOLE = Quantity(name="longest diameter", unit="mm", value=lambda m: m.longest_diameter_mm)
_SHORT = Quantity(name="short axis", unit="mm", value=lambda m: m.perpendicular_diameter_mm)
_VIABLE = Quantity(
    name="longest viable diameter", unit="mm", value=lambda m: m.viable_longest_diameter_mm, is_viable=True
)
_VIABLE_AREA = Quantity(
    name="viable longest x perpendicular diameter",
    unit="mm2",
    value=lambda m: _product(m.viable_longest_diameter_mm, m.viable_perpendicular_diameter_mm),
    is_viable=True,
)
_AREA = Quantity(
    name="longest x perpendicular diameter",
    unit="mm2",
    value=lambda m: _product(m.longest_diameter_mm, m.perpendicular_diameter_mm),
)
_VOLUME = Quantity(name="volume", unit="mL", value=lambda m: m.volume_ml)
_VIABLE_VOLUME = Quantity(name="viable volume", unit="mL", value=lambda m: m.viable_volume_ml, is_viable=True)

# As the rules name what they read of a lesion, in roles.csv.
QUANTITIES: Mapping[str, Quantity] = {
    "longest diameter": _WHOLE,
    "short axis": _SHORT,
    "viable diameter": _VIABLE,
    "product of diameters": _AREA,
    "product of viable diameters": _VIABLE_AREA,
    "volume": _VOLUME,
    "viable volume": _VIABLE_VOLUME,
}
# The first name that a criterion's name contains decides (response-criteria, section 1).
_QUANTITIES = (
    ("qeasl", _VIABLE_VOLUME),
    ("vrecist", _VOLUME),
    ("easl", _VIABLE_AREA),
    ("mrecist", _VIABLE),
    ("who", _AREA),
)


def quantity_of(criterion: str, measurement: Measurement | None = None) -> Quantity:
    """Give the quantity that a criterion reads by its name: of nodes the short axis, of other organs the whole.

    A criterion of one's own may have any name: where a lesion has a role, `role_quantity` knows better.
    """
    named = next((quantity for name, quantity in _QUANTITIES if name in criterion.lower()), _WHOLE)
    return named if measurement is None else organ_quantity(named, measurement)


def organ_quantity(of_liver: Quantity, measurement: Measurement) -> Quantity:
    """Give the quantity of one lesion where that of liver lesions is known: of nodes the short axis, else the whole."""
    if measurement.is_node and of_liver.unit == "mm":
        return _SHORT
    if measurement.organ == "liver" and not measurement.is_node:
        return of_liver
    return {"mm": _WHOLE, "mm2": _AREA, "mL": _VOLUME}[of_liver.unit]


def role_quantity(role: RoleRecord | None, criterion: str, measurement: Measurement | None) -> Quantity:
    """Give the quantity that the rules read of a lesion, as its role says."""
    found = QUANTITIES.get(role.quantity) if role is not None else None
    return found or quantity_of(criterion, measurement)


def decimal(value: float, unit: str = "mm") -> str:
    """Write a stored number with the digits of its unit, as rounded when it was measured."""
    digits = {"mL": 3, "mm2": 0}.get(unit, 1)
    text = f"{value:.{digits}f}"
    return text.rstrip("0").rstrip(".") if unit == "mL" and "." in text else text


def amount(value: float | None, unit: str = "mm") -> str:
    """Write a number with its unit; a missing one as a dash."""
    return "–" if value is None else f"{decimal(value, unit)} {unit.replace('mm2', 'mm²')}"


def marker_words(marker: Marker) -> str:
    """Write a laboratory value with all of its digits: AFP goes into the millions."""
    return f"{marker.qualifier}{marker.value:.15g} {marker.unit}"


def percent(fraction: float | None) -> str:
    """Write a fraction in per cent, with as many digits as keep it apart from a round number beside it.

    Published thresholds are multiples of five: -29.96 % must not be read as the -30 % of a partial response.
    """
    if fraction is None:
        return ""
    exact = 100.0 * fraction
    for digits in (1, 2, 3):
        shown = round(exact, digits)
        if shown % 5.0 or abs(shown - exact) < 1e-6:
            break
    return f"{0.0 if shown == 0 else shown:.{digits}f}"


def signed_percent(fraction: float | None) -> str:
    """Write a change for the page: with its sign, a true minus, and a dash where it is undefined."""
    text = percent(fraction)
    if not text:
        return "–"
    return f"−{text[1:]} %" if text.startswith("-") else f"+{text} %"


def state_read(measurement: Measurement, quantity: Quantity) -> MeasurementState:
    """Give the state of what a criterion reads, as the rules see it: of a lesion that is there, of its viable part.

    A lesion without arterial hyperenhancement has no viable part, where none was measured.
    """
    state = measurement.state
    is_counted_elsewhere = state is MeasurementState.MERGED and measurement.longest_diameter_mm is None
    if not quantity.is_viable or state not in SEEN_STATES or is_counted_elsewhere:
        return state
    viable = measurement.viable_state
    if viable in (MeasurementState.ABSENT, MeasurementState.TOO_SMALL, *MISSING_STATES):
        return viable
    if quantity.value(measurement) is not None:
        return viable or state
    return MeasurementState.ABSENT if measurement.aphe is False else state


def size_read(measurement: Measurement, quantity: Quantity) -> float | None:
    """Give the number that a criterion reads, 0 for what was shown to be absent; ``None`` where there is none."""
    state = state_read(measurement, quantity)
    if state in MISSING_STATES:
        return None
    return 0.0 if state is MeasurementState.ABSENT else quantity.value(measurement)


def size_cell(measurement: Measurement, quantity: Quantity) -> str:
    """Write what a criterion reads from a lesion at one study: a number, or the word for why there is none.

    0 is written only for what was shown to be absent; a default such as 5 mm stands behind its word.
    """
    value = quantity.value(measurement)
    state = state_read(measurement, quantity)
    if state is MeasurementState.ABSENT:
        return "0"
    if state in MISSING_STATES:
        return STATE_WORDS[state]
    if state is MeasurementState.TOO_SMALL:
        return "too small" if value is None else f"too small ({decimal(value, quantity.unit)})"
    if value is None:
        return "not assessed" if state is MeasurementState.MEASURED else STATE_WORDS[state]
    return decimal(value, quantity.unit)


_CONTROLS = re.compile(r"[\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f]")
# Tabs, and all that Unicode takes for the end of a line.
_LINE_BREAKS = re.compile(r"[\t-\r\x1c-\x1f\x85\u2028\u2029]+")


def phases_in_order(phases: Iterable[TreatmentPhase], assessments: Sequence[Assessment]) -> tuple[str, ...]:
    """Order the treatment phases by their start, the whole course last."""
    starts = {phase.name: phase.start_date for phase in phases}
    for row in assessments:
        starts.setdefault(row.treatment_phase, None)
    first = {name: _first_date(name, assessments) for name in starts}
    return tuple(
        sorted(starts, key=lambda name: (name == COURSE, str(starts[name] or first[name]), first[name], name))
    )


def _first_date(name: str, assessments: Sequence[Assessment]) -> str:
    dates = [row.study_date.isoformat() for row in assessments if row.treatment_phase == name]
    return min(dates, default="")


def first_reader_first(measurements: Sequence[Measurement]) -> tuple[Measurement, ...]:
    """Order the measurements of one lesion and study: masks and networks, which have pictures, then readers."""
    return tuple(sorted(measurements, key=lambda m: (m.source is MeasurementSource.READER, m.reader)))


def plain(text: str) -> str:
    """Drop control characters, which no page or table can show; a blank stands where a line ended between words."""
    # none at the ends: a cell that begins with a formula sign behind a line break is still seen to do so
    return " ".join(filter(None, _LINE_BREAKS.split(_CONTROLS.sub("", text))))
