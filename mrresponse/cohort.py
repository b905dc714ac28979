"""The nouns of a cohort: what rates, curves and figures over patients are made of."""

from dataclasses import dataclass
from enum import StrEnum

from mrresponse.domain import Response


class Endpoint(StrEnum):
    """A time to an event."""

    PROGRESSION_FREE_SURVIVAL = "progression_free_survival"
    TIME_TO_PROGRESSION = "time_to_progression"
    DURATION_OF_RESPONSE = "duration_of_response"
    OVERALL_SURVIVAL = "overall_survival"


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Group:
    """What the patients of a figure have in common."""

    treatment_phase: str
    criterion: str
    basis: str
    reader: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CohortRow:
    """One row of ``cohort.csv``: an endpoint over the patients of a treatment phase.

    ``value`` of a time is the Kaplan-Meier median in days, ``None`` where it is not reached; ``n_events`` counts
    responders of a rate, events of a time.
    """

    treatment_phase: str
    criterion: str
    basis: str
    reader: str
    endpoint: str
    n: int
    n_events: int | None = None
    value: float | None
    interval_low: float | None = None
    interval_high: float | None = None
    settings_id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class WaterfallBar:
    """One patient of a waterfall plot; ``change`` is the depth of response, a fraction of the baseline."""

    patient_id: str
    change: float
    best_overall_response: Response | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SwimmerMark:
    """A response at a study, days after the start of the phase."""

    day: int
    response: Response


@dataclass(frozen=True, slots=True, kw_only=True)
class SwimmerLane:
    """One patient of a swimmer plot, in days from the start of the phase.

    Parameters
    ----------
    end_day
        Last day of the lane: the next therapy, death, or the last study or contact.
    marks
        The response at every follow-up study.
    response_day, progression_day, death_day
        ``None`` where there was none.
    is_ongoing
        No progression, next therapy or death was observed.
    """

    patient_id: str
    end_day: int
    best_overall_response: Response | None
    marks: tuple[SwimmerMark, ...] = ()
    response_day: int | None = None
    progression_day: int | None = None
    next_therapy_day: int | None = None
    death_day: int | None = None
    is_ongoing: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class SurvivalCurve:
    """A Kaplan-Meier curve: a step at each of ``days``, the first of them 0.

    ``low`` and ``high`` are the pointwise log-log interval, ``at_risk`` the patients before each step and
    ``censored_days`` the times of the censored ones. A median that is not reached is ``None``. ``level`` is that of
    the intervals.
    """

    group: Group
    endpoint: Endpoint
    n: int
    n_events: int
    days: tuple[float, ...]
    survival: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    at_risk: tuple[int, ...]
    censored_days: tuple[float, ...]
    median_days: float | None = None
    median_low: float | None = None
    median_high: float | None = None
    level: float = 0.95


@dataclass(frozen=True, slots=True, kw_only=True)
class SpiderLine:
    """One patient of a spider plot: change from baseline, a fraction, at days after the start of the phase.

    A follow-up whose sum could not be determined is left out.
    """

    patient_id: str
    days: tuple[int, ...]
    changes: tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class CohortFigure:
    """All that the figures of one group show; ``n`` counts every patient with the phase.

    ``response_change`` and ``progression_change`` are the published thresholds of the criterion, fractions of the
    baseline and of the nadir; ``None`` for a criterion that the settings made up. ``level`` is that of the intervals.
    """

    group: Group
    n: int
    response_change: float | None = None
    progression_change: float | None = None
    rates: tuple[CohortRow, ...] = ()
    bars: tuple[WaterfallBar, ...] = ()
    lines: tuple[SpiderLine, ...] = ()
    lanes: tuple[SwimmerLane, ...] = ()
    curves: tuple[SurvivalCurve, ...] = ()
    level: float = 0.95
