"""Laboratory markers (AFP, PIVKA-II and others) over a treatment phase, and where they contradict the images.

A value that the assay gave only as a bound (``<`` or ``>``) is kept as that bound: a fall or a rise counts only where
it holds whatever the true value is. Values in units that cannot be converted are left out and flagged.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from itertools import pairwise

from mrresponse.domain import Marker, MarkerOutcome, MarkerSummary, Response, TreatmentPhase
from mrresponse.respond.rules import exceeds, number, reaches
from mrresponse.respond.settings import MarkerRule, RespondSettings

RESPONDING = frozenset({Response.CR, Response.PR, Response.ICR, Response.IPR})
PROGRESSING = frozenset({Response.PD, Response.IUPD, Response.ICPD})
RISES, FALLS = "marker_rises_images_respond", "marker_falls_images_progress"
UNKNOWN_UNIT = "marker_unit_unknown"

# Into the unit of the rule, by marker. 1 IU of AFP is 1.21 ng (WHO international standard 72/225); the protein's
# mass units differ by powers of ten only.
_TO_NG_ML = {"ng/ml": 1.0, "ug/l": 1.0, "µg/l": 1.0, "μg/l": 1.0, "iu/ml": 1.21, "kiu/l": 1.21, "ku/l": 1.21}
_TO_MAU_ML = {"mau/ml": 1.0, "au/l": 1.0, "au/ml": 1000.0}
UNITS: Mapping[str, Mapping[str, float]] = {"ng/mL": _TO_NG_ML, "mAU/mL": _TO_MAU_ML}


@dataclass(frozen=True, slots=True, kw_only=True)
class MarkerValue:
    """One value in the unit of its marker, as the interval that the assay leaves open."""

    date: date
    low: float
    high: float
    stated: float

    @property
    def is_bounded(self) -> bool:
        """Whether the assay gave only a bound."""
        return self.low != self.high


@dataclass(frozen=True, slots=True, kw_only=True)
class MarkerSeries:
    """All usable values of one marker of one patient, by date; ``rule`` is ``None`` for a marker without one."""

    name: str
    unit: str
    rule: MarkerRule | None
    values: tuple[MarkerValue, ...]
    unusable: tuple[Marker, ...] = ()


def marker_series(markers: Iterable[Marker], settings: RespondSettings) -> tuple[MarkerSeries, ...]:
    """Return the values by marker, names and units brought together; by name.

    A marker that the settings have no rule for keeps its own name and the unit of its first value.
    """
    rules = {_plain(name): rule for rule in settings.markers for name in (rule.name, *rule.aliases)}
    grouped: dict[str, list[Marker]] = {}
    for marker in sorted(markers, key=lambda m: (m.date, m.name, m.value, m.qualifier)):
        rule = rules.get(_plain(marker.name))
        grouped.setdefault(rule.name if rule else marker.name.strip(), []).append(marker)
    return tuple(_series(name, rows, rules.get(_plain(name))) for name, rows in sorted(grouped.items()))


def _series(name: str, rows: Sequence[Marker], rule: MarkerRule | None) -> MarkerSeries:
    unit = rule.unit if rule else rows[0].unit.strip()
    values, unusable = [], []
    for row in rows:
        factor = _factor(row.unit, unit)
        if factor is None:
            unusable.append(row)
            continue
        value = row.value * factor
        values.append(
            MarkerValue(
                date=row.date,
                low=0.0 if row.qualifier == "<" else value,
                high=math.inf if row.qualifier == ">" else value,
                stated=value,
            )
        )
    return MarkerSeries(name=name, unit=unit, rule=rule, values=tuple(values), unusable=tuple(unusable))


def _factor(found: str, wanted: str) -> float | None:
    plain = _plain(found)
    if plain == _plain(wanted):
        return 1.0
    return UNITS.get(wanted, {}).get(plain)


def _plain(text: str) -> str:
    return text.strip().lower().replace(" ", "").replace("_", "-")


def summarise_marker(
    series: MarkerSeries, phase: TreatmentPhase, patient_id: str, settings: RespondSettings
) -> MarkerSummary | None:
    """Return one marker over one treatment phase; ``None`` where the phase has no value of it.

    The baseline is the last value in the baseline window before the start (of a phase without a start: the first
    value). The nadir is the lowest value after the baseline, up to the start of the next phase.
    """
    baseline = _baseline(series.values, phase, settings)
    later = _later(series.values, phase, baseline)
    if baseline is None and not later:
        return None
    nadir = min(later, key=lambda v: (v.stated, v.date), default=None)
    outcome, reason = _outcome(series, baseline, nadir)
    known = [value for value in (baseline, *later) if value is not None]
    change = None
    if baseline is not None and nadir is not None and baseline.stated > 0.0:
        change = (nadir.stated - baseline.stated) / baseline.stated
    return MarkerSummary(
        patient_id=patient_id,
        treatment_phase=phase.name,
        marker=series.name,
        unit=series.unit,
        baseline_date=baseline.date if baseline else None,
        baseline_value=baseline.stated if baseline else None,
        nadir_date=nadir.date if nadir else None,
        nadir_value=nadir.stated if nadir else None,
        last_date=known[-1].date,
        last_value=known[-1].stated,
        change_to_nadir=change,
        is_bounded=any(v is not None and v.is_bounded for v in (baseline, nadir)),
        days_above_limit=_days_above(known, series.rule),
        response=outcome,
        reason=reason,
    )


def _baseline(
    values: Sequence[MarkerValue], phase: TreatmentPhase, settings: RespondSettings
) -> MarkerValue | None:
    start = phase.start_date
    if start is None:
        return values[0] if values else None
    first = start - timedelta(days=settings.marker_window_days)
    return next((value for value in reversed(values) if first <= value.date <= start), None)


def _later(
    values: Sequence[MarkerValue], phase: TreatmentPhase, baseline: MarkerValue | None
) -> list[MarkerValue]:
    dates = (phase.start_date, baseline.date if baseline is not None else None)
    after = max((day for day in dates if day is not None), default=None)
    return [
        value
        for value in values
        if (after is None or value.date > after) and (phase.end_date is None or value.date <= phase.end_date)
    ]


def _outcome(
    series: MarkerSeries, baseline: MarkerValue | None, nadir: MarkerValue | None
) -> tuple[MarkerOutcome | None, str]:
    """Return the marker response by the rule of its settings, and the sentence to redo it."""
    rule = series.rule
    if rule is None:
        return None, "no rule for this marker"
    if baseline is None:
        return MarkerOutcome.NOT_EVALUABLE, "no baseline value"
    if nadir is None:
        return MarkerOutcome.NOT_EVALUABLE, "no value after the baseline"
    least = f"{number(rule.least_baseline)} {rule.unit}"
    if not reaches(baseline.low, rule.least_baseline):
        return MarkerOutcome.NOT_EVALUABLE, f"baseline {_shown(baseline)} is not known to reach {least}"
    bound = 1.0 - rule.response_decrease
    text = f"{_shown(nadir)} from {_shown(baseline)} {rule.unit}"
    wanted = f"> {100.0 * rule.response_decrease:.10g} % of a baseline >= {least}"
    # a fall of more than the threshold, for every value that the bounds allow
    if _is_over(baseline.low * bound, nadir.high):
        return MarkerOutcome.RESPONSE, f"fell {text}: {wanted}"
    if not _is_over(baseline.high * bound, nadir.low):
        return MarkerOutcome.NO_RESPONSE, f"{text}: no fall {wanted}"
    return MarkerOutcome.NOT_EVALUABLE, f"{text}: the bounds leave it open"


def _is_over(value: float, bound: float) -> bool:
    """Tell whether a value is strictly above a bound, either of them unbounded."""
    if math.isinf(value) or math.isinf(bound):
        return value > bound
    return exceeds(value, bound)


def _shown(value: MarkerValue) -> str:
    sign = "<" if value.low < value.stated else ">" if value.high > value.stated else ""
    return f"{sign}{number(value.stated)}"


def _days_above(values: Sequence[MarkerValue], rule: MarkerRule | None) -> int | None:
    """Return the days above the upper limit of normal, each value carried forward to the next."""
    if rule is None or len(values) < 2:
        return None
    return sum(
        (after.date - before.date).days
        for before, after in pairwise(values)
        if exceeds(before.low, rule.upper_limit)
    )


def discordance(
    all_series: Sequence[MarkerSeries],
    phase: TreatmentPhase,
    day: date,
    response: Response | None,
    settings: RespondSettings,
) -> tuple[tuple[str, str], ...]:
    """Return the markers that contradict the response of one study: name and flag.

    The value nearest to the study within ``marker_window_days`` is compared with the lowest value before it in the
    phase (a rise while the images respond) and with the baseline (a response while the images progress).
    """
    if response not in RESPONDING and response not in PROGRESSING:
        return ()
    found = []
    for series in all_series:
        if series.rule is None:
            continue
        flag = _contradiction(series, series.rule, phase, day, response in RESPONDING, settings)
        if flag:
            found.append((series.name, flag))
    return tuple(found)


def _contradiction(
    series: MarkerSeries,
    rule: MarkerRule,
    phase: TreatmentPhase,
    day: date,
    is_responding: bool,
    settings: RespondSettings,
) -> str:
    baseline = _baseline(series.values, phase, settings)
    later = _later(series.values, phase, baseline)
    near = [v for v in later if abs((v.date - day).days) <= settings.marker_window_days]
    if baseline is None or not near:
        return ""
    now = min(near, key=lambda v: (abs((v.date - day).days), v.date))
    if is_responding:
        before = [baseline, *(v for v in later if v.date < now.date)]
        least = min(value.high for value in before)
        rises = _is_over(now.low, least * (1.0 + rule.rise)) and exceeds(now.low, rule.upper_limit)
        return RISES if rises else ""
    return FALLS if _outcome(series, baseline, now)[0] is MarkerOutcome.RESPONSE else ""
