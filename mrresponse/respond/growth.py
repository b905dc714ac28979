"""How fast the targets of a treatment phase shrink or grow: early shrinkage, growth rates, hyperprogression."""

import math
from collections.abc import Iterable, Sequence
from datetime import date
from typing import NamedTuple

from mrresponse.domain import Response
from mrresponse.respond.criteria import RECIST_1_1, VRECIST, Criterion
from mrresponse.respond.rules import falls_to, reaches
from mrresponse.respond.settings import RespondSettings
from mrresponse.respond.targets import sum_targets
from mrresponse.respond.timeline import Visit

DAYS_PER_MONTH = 30.4375
PROGRESSIONS = frozenset({Response.PD, Response.IUPD, Response.ICPD})


class Growth(NamedTuple):
    """Growth of the targets before and on a treatment phase, up to a study; ``None`` where it cannot be computed."""

    before: float | None = None
    on_treatment: float | None = None
    doubling_time_days: float | None = None
    until: date | None = None


def early_shrinkage(
    changes: Sequence[tuple[date, float | None]], start: date, settings: RespondSettings
) -> tuple[float | None, bool | None]:
    """Return the change at the first visit in the window (6 to 12 weeks) and whether it is an early shrinkage."""
    for day, change in changes:
        days = (day - start).days
        if (
            settings.early_shrinkage_from_days <= days <= settings.early_shrinkage_to_days
            and change is not None
        ):
            return change, falls_to(change, -settings.early_shrinkage_decrease)
    return None, None


def growth_rate_percent_per_month(
    first: float, second: float, days: float, *, is_volume: bool = False
) -> float | None:
    """Return the tumour growth rate, percent of volume per month (Ferte 2014).

    ``first`` and ``second`` are sums of longest diameters of the same targets, or volumes; undefined at 0.
    """
    if first <= 0.0 or second <= 0.0 or days <= 0:
        return None
    growth = (1.0 if is_volume else 3.0) * math.log(second / first) / (days / DAYS_PER_MONTH)
    return 100.0 * math.expm1(growth)


def is_hyperprogression(
    first_response: str, before: float | None, on_treatment: float | None, settings: RespondSettings
) -> bool | None:
    """Tell whether growth at least doubled with progression at the first evaluation (Champiat 2017).

    ``None`` where there was a progression and the growth before the phase is unknown or was none.
    """
    if first_response not in PROGRESSIONS:
        return False
    if before is None or on_treatment is None or before <= 0.0:
        return None
    return reaches(on_treatment / before, settings.hyperprogression_ratio)


def doubling_time(percent_per_month: float | None) -> float | None:
    """Return the days in which the volume doubles at a growth rate; ``None`` where it does not grow."""
    if percent_per_month is None or percent_per_month <= 0.0:
        return None
    return DAYS_PER_MONTH * math.log(2.0) / math.log1p(percent_per_month / 100.0)


def growth_of_targets(
    target_ids: Sequence[str],
    up_to_baseline: Sequence[Visit],
    follow_ups: Sequence[Visit],
    criterion: Criterion,
    settings: RespondSettings,
) -> Growth:
    """Return the growth rates up to the baseline and from it to the first evaluation.

    The same targets are summed at the three studies: the last before the baseline, the baseline, and the first after
    it, by longest diameter whatever the criterion sums, or by volume under a volume criterion. Visits are by date; one
    that lacks a target is passed over.
    """
    if not target_ids:
        return Growth()
    whole = VRECIST if criterion.is_volume else RECIST_1_1

    def first_sum(visits: Iterable[Visit]) -> tuple[date, float] | None:
        for visit in visits:
            found = sum_targets(target_ids, visit, whole, settings)
            if not found.missing:
                return visit.study_date, found.current
        return None

    def rate(first: tuple[date, float] | None, second: tuple[date, float] | None) -> float | None:
        if first is None or second is None:
            return None
        days = (second[0] - first[0]).days
        return growth_rate_percent_per_month(first[1], second[1], days, is_volume=criterion.is_volume)

    *earlier, baseline = up_to_baseline
    at_baseline = first_sum([baseline])
    evaluated = first_sum(follow_ups)
    on_treatment = rate(at_baseline, evaluated)
    return Growth(
        before=rate(first_sum(reversed(earlier)), at_baseline),
        on_treatment=on_treatment,
        doubling_time_days=doubling_time(on_treatment),
        until=evaluated[0] if evaluated else None,
    )
