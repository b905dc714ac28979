"""Every default of the response rules as a named setting, and the criteria as the settings make them."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from enum import StrEnum
from functools import cached_property

from mrresponse.domain import MeasurementSource
from mrresponse.errors import ConfigError
from mrresponse.respond.criteria import (
    CRITERIA,
    EXACT_VOLUME_DECREASE,
    EXACT_VOLUME_INCREASE,
    Criterion,
    ProgressionScope,
    Quantity,
)


class VolumeThresholds(StrEnum):
    """Volume thresholds: -65 / +73 % as published, or the sphere's exact -65.7 / +72.8 %."""

    PUBLISHED = "published"
    EXACT = "exact"


class VolumeFloor(StrEnum):
    """When a volume must also grow by 5 mm of the equivalent sphere to be a progression."""

    AUTOMATIC_SEGMENTATION = "automatic_segmentation"
    ALWAYS = "always"
    NEVER = "never"


class TreatedLesions(StrEnum):
    """Whether RECIST takes a lesion treated before as a target; the paper leaves it to the protocol."""

    IF_PROGRESSING = "if_progressing"
    ALWAYS = "always"
    NEVER = "never"


class PartialResponse(StrEnum):
    """What small regrowth after a partial response is called until progression."""

    LITERAL = "literal"
    SUSTAINED = "sustained"


class DayCount(StrEnum):
    """Length of an interval: plain difference of dates, or end - start + 1 as CDISC counts."""

    DIFFERENCE = "difference"
    INCLUSIVE = "inclusive"


class ResponseEnd(StrEnum):
    """What ends a response besides the end of observation: progression alone, or death as well."""

    PROGRESSION = "progression"
    PROGRESSION_OR_DEATH = "progression_or_death"


class ProbabilityMethod(StrEnum):
    """Whether each response has probabilities from the error of the measurements."""

    MEASUREMENT_ERROR = "measurement_error"
    NONE = "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasurementError:
    """Standard deviation of one reading, where a measurement states none of its own.

    Parameters
    ----------
    diameter_fraction
        Share of the diameter. Repeated readings of one observer differ by -17.8 to 16.1 % (95 % limits of agreement;
        Yoon SH et al. 2016, Eur J Cancer 53:5-15): 33.9 / (2 x 1.96) / sqrt(2) = 6.1 % for one reading.
    diameter_floor_mm
        Least deviation of a diameter: two reads of HCC of about 28 mm on MRI differ by about 2 mm SD (Acad Radiol
        2020, doi 10.1016/j.acra.2019.05.021), 2 / sqrt(2) = 1.4 mm for one.
    volume_fraction
        Share of the volume: within-subject coefficient of variation of tumours of 10 to 34 mm (QIBA profile CT tumor
        volume change for advanced disease, 2018: 39 % is a true change, 39 / 2.77 = 14 %).
    """

    diameter_fraction: float = 0.061
    diameter_floor_mm: float = 1.4
    volume_fraction: float = 0.14

    def of_diameter(self, diameter_mm: float) -> float:
        """Return the standard deviation of one reading of a diameter, mm."""
        return max(self.diameter_floor_mm, self.diameter_fraction * diameter_mm)


@dataclass(frozen=True, slots=True, kw_only=True)
class MarkerRule:
    """What counts as a response of a laboratory marker.

    Parameters
    ----------
    aliases
        Other names that ``markers.csv`` may use; case and blanks do not matter.
    unit
        Unit of the numbers here; values in a unit that converts into it are converted.
    upper_limit
        Upper limit of normal.
    least_baseline, response_decrease
        A response is a fall of more than this fraction from a baseline of at least this value.
    rise
        A rise is a value more than this fraction above the lowest one so far, and above the upper limit.
    """

    name: str
    unit: str
    upper_limit: float
    least_baseline: float
    response_decrease: float = 0.5
    rise: float = 0.5
    aliases: tuple[str, ...] = ()
    citation: str = ""


AFP = MarkerRule(
    name="AFP",
    unit="ng/mL",
    upper_limit=20.0,
    least_baseline=200.0,
    aliases=("alpha-fetoprotein", "alphafetoprotein"),
    citation="Memon K et al. 2012, J Hepatol 56:1112-1120: a fall of more than 50 % from at least 200 ng/mL",
)
PIVKA_II = MarkerRule(
    name="PIVKA-II",
    unit="mAU/mL",
    upper_limit=40.0,
    least_baseline=60.0,
    aliases=("PIVKA", "PIVKAII", "DCP", "des-gamma-carboxyprothrombin"),
    citation="Oncology 2016, 91:317 (early prediction after TACE): a fall of more than 50 % from at least 60 mAU/mL",
)


@dataclass(frozen=True, kw_only=True)
class RespondSettings:
    """Choices of the response engine; each default is that of the specification's section named beside it.

    Parameters
    ----------
    criteria
        Names of the criteria to compute side by side.
    phase_criteria
        Other criteria for single treatment phases, by the phase's name.
    variants
        Criteria spelled out in full; named in ``criteria`` like the published ones, which they may replace.
    """

    criteria: tuple[str, ...] = ("mRECIST", "RECIST 1.1")
    phase_criteria: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    variants: tuple[Criterion, ...] = ()
    # thresholds where sources differ (section 6)
    mrecist_pd_abs_mm: float = 0.0  # 6.1
    mrecist_variant_pd_abs_mm: float = 5.0  # 6.1, computed beside and flagged where it differs
    mrecist_max_liver_targets: int = 2  # 6.11
    partial_response: PartialResponse = PartialResponse.LITERAL  # 6.3
    easl_pd_scope: ProgressionScope = ProgressionScope.SUM  # section 5
    who_pd_scope: ProgressionScope = ProgressionScope.SUM  # Miller 1981 judges each lesion
    volume_thresholds: VolumeThresholds = VolumeThresholds.PUBLISHED  # section 1
    volume_abs_floor: VolumeFloor = VolumeFloor.AUTOMATIC_SEGMENTATION  # section 7
    volume_abs_floor_mm: float = 5.0
    # lesions (sections 2 and 4)
    treated_lesions: TreatedLesions = TreatedLesions.IF_PROGRESSING
    node_normal_mm: float = 10.0
    porta_hepatis_node_mm: float = 20.0
    thick_slice_mm: float = 5.0
    new_lesion_min_mm: float = 10.0
    new_lesion_growth_mm: float = 10.0
    non_target_guide_increase: float = 0.20
    non_target_guide_floor_mm: float = 5.0
    reappearance_review_mm: float = 5.0
    # timeline (section 9)
    baseline_window_days: int = 28
    baseline_fallback_before_days: int = 42
    baseline_fallback_after_days: int = 7
    findings_window_days: int = 28
    locoregional_early_days: int = 28
    radiotherapy_early_days: int = 90
    session_baseline: bool = (
        False  # a secondary view of repeated locoregional sessions, each against the scan before
    )
    # best response and endpoints (sections 6 and 8)
    sd_min_days: int = 42  # 6.8
    confirm_min_days: int = 28  # 6.9
    confirm_max_not_evaluable: int = 1
    confirm_max_stable: int = 0
    missed_scans_censor: int = 2
    day_count: DayCount = DayCount.DIFFERENCE
    # iRECIST (section 3)
    irecist_confirm_min_days: int = 28
    irecist_confirm_max_days: int = 56
    irecist_confirm_tolerance_days: int = 0
    irecist_confirm_growth_mm: float = 5.0
    irecist_new_target_mm: float = 10.0
    irecist_new_targets: int = 5
    irecist_new_targets_per_organ: int = 2
    # growth (section 8)
    early_shrinkage_from_days: int = 42
    early_shrinkage_to_days: int = 84
    early_shrinkage_decrease: float = 0.20
    hyperprogression_ratio: float = 2.0
    clinical_benefit_days: int = 168  # stated by the protocol; 24 weeks
    duration_of_response_end: ResponseEnd = ResponseEnd.PROGRESSION
    interval_level: float = 0.95
    # probabilities
    probability: ProbabilityMethod = ProbabilityMethod.MEASUREMENT_ERROR
    measurement_error: MeasurementError = field(default_factory=MeasurementError)
    near_threshold_probability: float = 0.8
    # markers
    markers: tuple[MarkerRule, ...] = (AFP, PIVKA_II)
    marker_window_days: int = 28

    def __post_init__(self) -> None:
        known = set(CRITERIA) | {variant.name for variant in self.variants}
        chosen = [("criteria", self.criteria)]
        chosen += [(f"phase_criteria.{phase}", names) for phase, names in self.phase_criteria.items()]
        for key, names in chosen:
            for name in names:
                if name not in known:
                    raise ConfigError(
                        f"respond.{key}: unknown criterion {name!r}; known: {', '.join(sorted(known))}"
                    )

    @cached_property
    def has_probabilities(self) -> bool:
        """Whether each response has probabilities."""
        return self.probability is ProbabilityMethod.MEASUREMENT_ERROR

    @cached_property
    def fingerprint(self) -> str:
        """Short hash of every setting."""
        content = json.dumps(asdict(self), sort_keys=True, default=str)
        return hashlib.sha256(content.encode()).hexdigest()[:10]

    @cached_property
    def configured(self) -> Mapping[MeasurementSource, Mapping[str, Criterion]]:
        """Every criterion with the settings worked into it, by source of the measurements."""
        variants = {variant.name: variant for variant in self.variants}
        return {
            source: {name: _configured(one, self, source) for name, one in CRITERIA.items()} | variants
            for source in MeasurementSource
        }


def settings_id(settings: RespondSettings) -> str:
    """Return a short hash of every setting, written into each result."""
    return settings.fingerprint


def criteria_of(
    settings: RespondSettings, treatment_phase: str, *, source: MeasurementSource
) -> tuple[Criterion, ...]:
    """Return the criteria of a treatment phase with the settings worked into them.

    ``source`` of the measurements decides the volume floor, which is meant for automatic segmentation.
    """
    names = settings.phase_criteria.get(treatment_phase, settings.criteria)
    known = settings.configured[source]
    return tuple(known[name] for name in names)


def _configured(criterion: Criterion, settings: RespondSettings, source: MeasurementSource) -> Criterion:
    match criterion.quantity:
        case Quantity.VIABLE_DIAMETER:
            return replace(
                criterion,
                progression_floor=settings.mrecist_pd_abs_mm,
                max_liver_targets=settings.mrecist_max_liver_targets,
            )
        case Quantity.VIABLE_AREA:
            return replace(criterion, progression_scope=settings.easl_pd_scope)
        case Quantity.AREA:
            return replace(criterion, progression_scope=settings.who_pd_scope)
        case Quantity.VOLUME | Quantity.VIABLE_VOLUME:
            return _configured_volume(criterion, settings, source)
        case _:
            return criterion


def _configured_volume(
    criterion: Criterion, settings: RespondSettings, source: MeasurementSource
) -> Criterion:
    if settings.volume_thresholds is VolumeThresholds.EXACT:
        criterion = replace(
            criterion, response_decrease=EXACT_VOLUME_DECREASE, progression_increase=EXACT_VOLUME_INCREASE
        )
    floor = settings.volume_abs_floor
    automatic = floor is VolumeFloor.AUTOMATIC_SEGMENTATION and source is MeasurementSource.NETWORK
    if floor is not VolumeFloor.ALWAYS and not automatic:
        return criterion
    return replace(criterion, progression_floor_sphere_mm=settings.volume_abs_floor_mm)
