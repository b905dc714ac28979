"""What one measurement contributes under one criterion, and whether it shows disease at all."""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from operator import attrgetter
from typing import NamedTuple

from mrresponse.domain import (
    CYST_LIKE,
    HAEMANGIOMA_LIKE,
    LIVER,
    MISSING_STATES,
    PERFUSION_LIKE,
    SEEN_STATES,
    Measurement,
    MeasurementState,
)
from mrresponse.respond.criteria import Criterion, Quantity
from mrresponse.respond.rules import is_below, number
from mrresponse.typed import is_merged_away

NODES = "lymph_node"
# names of their own: a member is looked up for every value, which an enumeration makes slow
MEASURED, TOO_SMALL, ABSENT = MeasurementState.MEASURED, MeasurementState.TOO_SMALL, MeasurementState.ABSENT
NOT_FOUND, NOT_ASSESSED = MeasurementState.NOT_FOUND, MeasurementState.NOT_ASSESSED
MERGED, SPLIT = MeasurementState.MERGED, MeasurementState.SPLIT
BENIGN_PATTERNS = frozenset(
    {CYST_LIKE, HAEMANGIOMA_LIKE, PERFUSION_LIKE, "cyst", "haemangioma", "hemangioma-like"}
)
INFILTRATIVE = "infiltrative"
SHORT_AXIS = "short axis"
NAMES = {quantity: str(quantity) for quantity in Quantity}
# What is read of disease outside the liver under a criterion of viable tumour.
WHOLE = {
    Quantity.VIABLE_DIAMETER: Quantity.DIAMETER,
    Quantity.VIABLE_AREA: Quantity.AREA,
    Quantity.VIABLE_VOLUME: Quantity.VOLUME,
}


class LesionValue(NamedTuple):
    """A lesion's contribution to the burden; ``value`` ``None`` is missing and ``note`` says why."""

    value: float | None
    note: str = ""
    is_gone: bool = False
    is_merged: bool = False


NO_MEASUREMENT = LesionValue(None, "no measurement")
GONE = LesionValue(0.0, "absent", is_gone=True)
NOT_VIABLE = LesionValue(0.0, "no arterial enhancement", is_gone=True)
COUNTED_ELSEWHERE = LesionValue(0.0, "measured with the lesion it merged into", is_gone=True, is_merged=True)


Reading = Callable[[Measurement], float | None]


def _product(longest: str, across: str) -> Reading:
    pair = attrgetter(longest, across)

    def read(measurement: Measurement) -> float | None:
        diameter, perpendicular = pair(measurement)
        if diameter == 0.0:
            return 0.0
        return None if diameter is None or perpendicular is None else diameter * perpendicular

    return read


# What is read of a lesion that is no node.
READ: Mapping[Quantity, Reading] = {
    Quantity.DIAMETER: attrgetter("longest_diameter_mm"),
    Quantity.VIABLE_DIAMETER: attrgetter("viable_longest_diameter_mm"),
    Quantity.AREA: _product("longest_diameter_mm", "perpendicular_diameter_mm"),
    Quantity.VIABLE_AREA: _product("viable_longest_diameter_mm", "viable_perpendicular_diameter_mm"),
    Quantity.VOLUME: attrgetter("volume_ml"),
    Quantity.VIABLE_VOLUME: attrgetter("viable_volume_ml"),
}


def lesion_value(
    measurement: Measurement | None, criterion: Criterion, *, node_normal_mm: float
) -> LesionValue:
    """Return what a lesion contributes at one visit (response-criteria section 2.2, contracts section 4).

    Nodes count by their short axis; under a viable criterion lesions of the liver count by their enhancing part,
    others whole. Absent is 0, too small is the criterion's default, not found and not assessed are missing.
    """
    if measurement is None:
        return NO_MEASUREMENT
    state, is_node = measurement.state, measurement.is_node
    if state is not MEASURED:
        stated = _value_of_state(measurement)
        if stated is not None:
            return stated
    if criterion.is_viable and not is_node and measurement.organ == LIVER:
        return _viable_value(measurement, criterion)
    if state is TOO_SMALL:
        return LesionValue(criterion.too_small, "too small to measure", is_gone=is_node)
    if is_node and criterion.is_length:
        value = short_axis_mm(measurement)
        if value is not None:
            return LesionValue(value, "short axis", is_below(value, node_normal_mm))
    else:
        value = READ[WHOLE.get(criterion.quantity, criterion.quantity)](measurement)
        if value is not None:
            return LesionValue(value, "", value == 0.0)
    return LesionValue(None, f"no {_whole_name(measurement, criterion)} given")


@dataclass(slots=True)
class VisitValues:
    """What the lesions of one visit contribute: plain numbers, and values with a note or none at all."""

    sizes: Mapping[str, float]
    others: Mapping[str, LesionValue]

    def of(self, lesion_id: str) -> LesionValue:
        """Return the contribution of one lesion."""
        size = self.sizes.get(lesion_id)
        return self.others.get(lesion_id, NO_MEASUREMENT) if size is None else LesionValue(size)

    def size_of(self, lesion_id: str) -> float | None:
        """Return the number that a lesion contributes; ``None`` where it has none."""
        size = self.sizes.get(lesion_id)
        return self.others.get(lesion_id, NO_MEASUREMENT).value if size is None else size


def visit_values(
    measurements: Mapping[str, Measurement], criterion: Criterion, *, is_plain: bool, node_normal_mm: float
) -> VisitValues:
    """Return what every measured lesion of a visit contributes (`lesion_value`).

    Where all ``are_plain`` under the criterion, only their numbers are read.
    """
    if is_plain:
        read = READ[criterion.quantity]
        sizes = {lesion_id: size for lesion_id, m in measurements.items() if (size := read(m))}
        if len(sizes) == len(measurements):
            return VisitValues(sizes, {})
    sizes, others = {}, {}
    for lesion_id, m in measurements.items():
        value = lesion_value(m, criterion, node_normal_mm=node_normal_mm)
        if value.value and not value.note and not value.is_gone:
            sizes[lesion_id] = value.value
        else:
            others[lesion_id] = value
    return VisitValues(sizes, others)


def are_plain(measurements: Iterable[Measurement], *, is_viable: bool) -> bool:
    """Tell whether every lesion was measured, in full, and none is a node or, of viable tumour, outside the liver."""
    for m in measurements:
        if m.state is not MEASURED or m.is_node:
            return False
        if is_viable and (m.viable_state is not MEASURED or m.organ != LIVER):
            return False
    return True


def _value_of_state(measurement: Measurement) -> LesionValue | None:
    """Return the value that the state alone gives, whatever is read under a criterion."""
    if measurement.state is ABSENT:
        return GONE
    if measurement.state in MISSING_STATES:
        return LesionValue(None, _why(measurement.state, measurement.reason))
    return COUNTED_ELSEWHERE if is_merged_away(measurement) else None


def is_viable_part(measurement: Measurement, criterion: Criterion) -> bool:
    """Tell whether only the enhancing part of this lesion is measured."""
    return criterion.is_viable and measurement.organ == LIVER and not measurement.is_node


def quantity_name(measurement: Measurement | None, criterion: Criterion) -> str:
    """Name what is read of a lesion: a node's short axis, and disease outside the liver whole."""
    if measurement is None:
        return NAMES[criterion.quantity]
    if measurement.is_node and criterion.is_length:
        return SHORT_AXIS
    if not criterion.is_viable or is_viable_part(measurement, criterion):
        return NAMES[criterion.quantity]
    return NAMES[WHOLE[criterion.quantity]]


def is_seen(measurement: Measurement) -> bool:
    """Tell whether the lesion is there at this visit, whatever its viability."""
    return measurement.state in SEEN_STATES and measurement.longest_diameter_mm != 0.0


def lesion_is_gone(measurement: Measurement) -> bool:
    """Tell whether the lesion was looked for and shown to be gone."""
    return measurement.state is ABSENT or measurement.longest_diameter_mm == 0.0


def is_stated(measurement: Measurement, criterion: Criterion) -> bool:
    """Tell whether a lesion is recorded as seen, where a number is not needed: non-target disease of a reader."""
    return criterion.is_length and is_seen(measurement) and measurement.viable_state not in MISSING_STATES


def is_benign(measurement: Measurement) -> bool:
    """Tell whether the lesion's pattern is that of a cyst, a haemangioma or a change of perfusion."""
    return measurement.pattern is not None and _plain(measurement.pattern) in BENIGN_PATTERNS


def is_thrombus(measurement: Measurement) -> bool:
    """Tell whether the lesion is tumour in a vein: never measurable."""
    text = f"{measurement.organ} {measurement.pattern or ''}".lower()
    return "thrombus" in text or "vein" in text


def is_infiltrative(measurement: Measurement) -> bool:
    """Tell whether the pattern names an infiltrative tumour."""
    return measurement.pattern is not None and INFILTRATIVE in measurement.pattern.lower()


def is_porta_hepatis(site: str) -> bool:
    """Tell whether a site is the porta hepatis."""
    return "porta hepatis" in _plain(site).replace("-", " ")


def organ_of(measurement: Measurement) -> str:
    """Return the organ that limits count by; all nodes are one organ, and so are both of a pair."""
    return NODES if measurement.is_node else _without_side(measurement.organ)


@cache
def _without_side(organ: str) -> str:
    """Return an organ without ``left`` or ``right``: both lungs are one organ (RECIST 1.1, Eisenhauer 2009)."""
    words = [word for word in re.split("[ _]", organ) if word.strip("(),") not in ("left", "right")]
    return "_".join(words) or organ


def is_liver(measurement: Measurement) -> bool:
    """Tell whether the lesion enters the response of the liver."""
    return not measurement.is_node and (measurement.organ == LIVER or is_thrombus(measurement))


def short_axis_mm(measurement: Measurement) -> float | None:
    """Return a node's short axis: its longest perpendicular diameter."""
    return measurement.perpendicular_diameter_mm


def describe_value(lesion_id: str, value: LesionValue, unit: str) -> str:
    """Return a lesion's contribution as it is read in a reason."""
    size, note, _, _ = value
    if size is None:
        return f"{lesion_id} {note}"
    return f"{lesion_id} {number(size)} {unit} ({note})" if note else f"{lesion_id} {number(size)} {unit}"


def _viable_value(measurement: Measurement, criterion: Criterion) -> LesionValue:
    state = measurement.viable_state
    if state is not MEASURED:
        if state is ABSENT:
            return NOT_VIABLE
        if state in MISSING_STATES:
            return LesionValue(None, f"viability {_why(state, measurement.viable_reason)}")
        if state is TOO_SMALL:
            return LesionValue(criterion.too_small, "viable part too small to measure")
    value = READ[criterion.quantity](measurement)
    if value is not None:
        return LesionValue(value) if value else NOT_VIABLE
    if measurement.aphe is False:
        return NOT_VIABLE
    if measurement.state is TOO_SMALL:
        return LesionValue(criterion.too_small, "too small to measure")
    return LesionValue(None, f"no {criterion.quantity.value} given")


def _whole_name(m: Measurement, criterion: Criterion) -> str:
    if criterion.is_length:
        return "short axis" if m.is_node else "longest diameter"
    return "volume" if criterion.is_volume else "pair of diameters"


def _why(state: MeasurementState | None, reason: str) -> str:
    words = "not found" if state is NOT_FOUND else "not assessed"
    return f"{words}: {reason}" if reason else words


def _plain(text: str) -> str:
    return text.strip().lower().replace("_", "-").replace(" ", "-")
