"""Published response criteria as values: thresholds, what is summed, what may be a target.

A variant of a criterion is another value of the same type; nothing here branches on a name. Lengths are mm,
areas mm2, volumes mL.
"""

import math
from dataclasses import dataclass, fields, replace
from enum import StrEnum
from functools import cached_property
from typing import NamedTuple


class Quantity(StrEnum):
    """What is summed over the target lesions."""

    DIAMETER = "longest diameter"
    VIABLE_DIAMETER = "viable diameter"
    AREA = "product of diameters"
    VIABLE_AREA = "product of viable diameters"
    VOLUME = "volume"
    VIABLE_VOLUME = "viable volume"


class NewLesionRule(StrEnum):
    """When a lesion that was not there at baseline counts as new disease."""

    UNEQUIVOCAL = "unequivocal"
    HCC_PATTERN = "hcc_pattern"


class ProgressionScope(StrEnum):
    """Whether progression is judged on the sum or on each target."""

    SUM = "sum"
    ANY_LESION = "any_lesion"


class ProgressionBoundary(StrEnum):
    """Whether a change of exactly the threshold is a progression."""

    INCLUSIVE = "inclusive"
    STRICT = "strict"


class ProgressionCall(StrEnum):
    """Whether one study can establish progression."""

    AT_ONCE = "at_once"
    CONFIRMED = "confirmed"


VIABLE_QUANTITIES = frozenset({Quantity.VIABLE_DIAMETER, Quantity.VIABLE_AREA, Quantity.VIABLE_VOLUME})
LENGTHS = frozenset({Quantity.DIAMETER, Quantity.VIABLE_DIAMETER})
VOLUMES = frozenset({Quantity.VOLUME, Quantity.VIABLE_VOLUME})
UNITS = {
    Quantity.DIAMETER: "mm",
    Quantity.VIABLE_DIAMETER: "mm",
    Quantity.AREA: "mm2",
    Quantity.VIABLE_AREA: "mm2",
    Quantity.VOLUME: "mL",
    Quantity.VIABLE_VOLUME: "mL",
}
SUM_NAMES = {
    Quantity.DIAMETER: "sum of diameters",
    Quantity.VIABLE_DIAMETER: "sum of viable diameters",
    Quantity.AREA: "sum of products",
    Quantity.VIABLE_AREA: "sum of viable products",
    Quantity.VOLUME: "sum of volumes",
    Quantity.VIABLE_VOLUME: "sum of viable volumes",
}


NOT_OF_TARGETS = frozenset({"name", "citation", "progression_call", "new_lesion_rule"})


class TargetRule(NamedTuple):
    """What decides the targets of a criterion and their values; criteria with the same one share both."""

    quantity: Quantity
    too_small: float
    max_targets: int | None
    max_targets_per_organ: int | None
    max_liver_targets: int | None
    min_target_mm: float
    min_target_node_mm: float
    min_target_quantity: float


@dataclass(frozen=True, kw_only=True)
class Criterion:
    """One response criterion.

    Parameters
    ----------
    quantity
        What is summed. Under a viable quantity lesions outside the liver are measured whole, nodes by short axis.
    response_decrease, progression_increase
        Fractions of the baseline sum and of the nadir.
    progression_floor
        Least absolute increase for progression, in the unit of the quantity; 0 where the source asks for none.
    progression_floor_sphere_mm
        For volumes, the floor as a growth in diameter of the sphere of the nadir's volume; ``None`` for no such floor.
    too_small
        Value of a lesion that is seen but cannot be measured reliably.
    max_targets, max_targets_per_organ
        ``None`` where the source sets no limit.
    max_liver_targets
        Limit for the liver where it differs from that of other organs.
    min_target_mm, min_target_node_mm, min_target_quantity
        Least longest diameter (and viable diameter under a viable quantity), least short axis of a node, and least
        value of the summed quantity for a target.
    reappearance_certain, reappearance_review
        Under a viable quantity, value of a target from which its reappearance after complete response is a
        progression, without and with a flag for review; below the second the category is kept.
        ``None``: any reappearance is a progression.
    """

    name: str
    citation: str
    quantity: Quantity
    response_decrease: float
    progression_increase: float
    progression_boundary: ProgressionBoundary = ProgressionBoundary.INCLUSIVE
    progression_scope: ProgressionScope = ProgressionScope.SUM
    progression_call: ProgressionCall = ProgressionCall.AT_ONCE
    progression_floor: float = 0.0
    progression_floor_sphere_mm: float | None = None
    too_small: float = 5.0
    max_targets: int | None = 5
    max_targets_per_organ: int | None = 2
    max_liver_targets: int | None = None
    min_target_mm: float = 10.0
    min_target_node_mm: float = 15.0
    min_target_quantity: float = 0.0
    reappearance_certain: float | None = None
    reappearance_review: float | None = None
    new_lesion_rule: NewLesionRule = NewLesionRule.UNEQUIVOCAL

    @cached_property
    def unit(self) -> str:
        """Unit of the burden."""
        return UNITS[self.quantity]

    @cached_property
    def target_rule(self) -> TargetRule:
        """What decides the targets and their values."""
        return TargetRule(*(getattr(self, name) for name in TargetRule._fields))

    @cached_property
    def target_call(self) -> tuple[object, ...]:
        """All that decides the target responses; criteria with the same one share them."""
        return tuple(getattr(self, one.name) for one in fields(self) if one.name not in NOT_OF_TARGETS)

    @cached_property
    def by_diameter(self) -> "Criterion":
        """The same by diameter, whole or viable: how non-target lesions are followed."""
        quantity = Quantity.VIABLE_DIAMETER if self.is_viable else Quantity.DIAMETER
        return replace(self, quantity=quantity, too_small=5.0)

    @cached_property
    def sum_name(self) -> str:
        """What the burden is called in a sentence."""
        return SUM_NAMES[self.quantity]

    @cached_property
    def is_viable(self) -> bool:
        """Whether only enhancing tumour of the liver is measured."""
        return self.quantity in VIABLE_QUANTITIES

    @cached_property
    def is_length(self) -> bool:
        """Whether the burden is a sum of diameters."""
        return self.quantity in LENGTHS

    @cached_property
    def is_volume(self) -> bool:
        """Whether the burden is a sum of volumes."""
        return self.quantity in VOLUMES

    @cached_property
    def response_bound(self) -> str:
        """Threshold of a response as it is read in a sentence."""
        return f"<= -{100.0 * self.response_decrease:.10g} %"

    @cached_property
    def progression_threshold(self) -> str:
        """Threshold of a progression as it is read in a sentence, where the floor is the same for every nadir."""
        return self.progression_threshold_with(self.progression_floor)

    @cached_property
    def progression_bound(self) -> str:
        """Relative threshold of a progression as it is read in a sentence."""
        sign = ">" if self.progression_boundary is ProgressionBoundary.STRICT else ">="
        return f"{sign} +{100.0 * self.progression_increase:.10g} %"

    def progression_threshold_with(self, floor: float) -> str:
        """Return the threshold of a progression with an absolute floor."""
        bound = self.progression_bound
        return f"{bound} and >= +{floor:.4g} {self.unit}" if floor > 0.0 else bound

    def floor_from(self, nadir: float) -> float:
        """Return the least absolute increase over ``nadir`` that can be a progression."""
        if self.progression_floor_sphere_mm is None:
            return self.progression_floor
        diameter = sphere_diameter_mm(nadir)
        return max(
            self.progression_floor, sphere_volume_ml(diameter + self.progression_floor_sphere_mm) - nadir
        )


def sphere_volume_ml(diameter_mm: float) -> float:
    """Return the volume of a sphere."""
    return math.pi / 6.0 * diameter_mm**3 / 1000.0


def sphere_diameter_mm(volume_ml: float) -> float:
    """Return the diameter of the sphere with a volume; an equivalent diameter, never a measured one."""
    return math.cbrt(6.0 * 1000.0 * volume_ml / math.pi)


TOO_SMALL_ML = 0.065  # sphere of 5 mm, response-criteria section 7
MEASURABLE_ML = 0.524  # sphere of 10 mm

RECIST_1_1 = Criterion(
    name="RECIST 1.1",
    citation="Eisenhauer EA et al. 2009, Eur J Cancer 45:228-247; Schwartz LH et al. 2016, Eur J Cancer 62:132-137",
    quantity=Quantity.DIAMETER,
    response_decrease=0.30,
    progression_increase=0.20,
    progression_floor=5.0,
)
IRECIST = replace(
    RECIST_1_1,
    name="iRECIST",
    citation="Seymour L et al. 2017, Lancet Oncol 18:e143-e152",
    progression_call=ProgressionCall.CONFIRMED,
)
MRECIST = Criterion(
    name="mRECIST",
    citation="Lencioni R, Llovet JM 2010, Semin Liver Dis 30:52-60; Llovet JM, Lencioni R 2020, J Hepatol 72:288-306",
    quantity=Quantity.VIABLE_DIAMETER,
    response_decrease=0.30,
    progression_increase=0.20,
    reappearance_certain=10.0,
    reappearance_review=5.0,
    new_lesion_rule=NewLesionRule.HCC_PATTERN,
)
EASL = Criterion(
    name="EASL",
    citation="Bruix J et al. 2001, J Hepatol 35:421-430",
    quantity=Quantity.VIABLE_AREA,
    response_decrease=0.50,
    progression_increase=0.25,
    progression_boundary=ProgressionBoundary.STRICT,
    too_small=25.0,
    max_targets=None,
    max_targets_per_organ=None,
    reappearance_certain=100.0,
    reappearance_review=25.0,
    new_lesion_rule=NewLesionRule.HCC_PATTERN,
)
WHO = Criterion(
    name="WHO",
    citation="Miller AB et al. 1981, Cancer 47:207-214",
    quantity=Quantity.AREA,
    response_decrease=0.50,
    progression_increase=0.25,
    too_small=25.0,
    max_targets=None,
    max_targets_per_organ=None,
)
VRECIST = Criterion(
    name="vRECIST",
    citation="Tacher V et al. 2016, Radiology 278:275-284",
    quantity=Quantity.VOLUME,
    response_decrease=0.65,
    progression_increase=0.73,
    too_small=TOO_SMALL_ML,
    min_target_quantity=MEASURABLE_ML,
)
QEASL = Criterion(
    name="qEASL",
    citation="Chapiro J et al. 2014, Radiology 273:746-758; Tacher V et al. 2016, Radiology 278:275-284",
    quantity=Quantity.VIABLE_VOLUME,
    response_decrease=0.65,
    progression_increase=0.73,
    too_small=TOO_SMALL_ML,
    min_target_quantity=MEASURABLE_ML,
    reappearance_certain=MEASURABLE_ML,
    reappearance_review=TOO_SMALL_ML,
    new_lesion_rule=NewLesionRule.HCC_PATTERN,
)

CRITERIA = {
    criterion.name: criterion for criterion in (RECIST_1_1, IRECIST, MRECIST, EASL, WHO, VRECIST, QEASL)
}
EXACT_VOLUME_DECREASE = 0.657  # 1 - 0.7^3, as printed
EXACT_VOLUME_INCREASE = 0.728  # 1.2^3 - 1, as printed
