"""Rates over patients: objective response and disease control with exact binomial intervals."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from mrresponse.domain import PhaseSummary, Response

OBJECTIVE = frozenset({Response.CR, Response.PR, Response.ICR, Response.IPR})
CONTROL = OBJECTIVE | {Response.SD, Response.NON_CR_NON_PD, Response.ISD, Response.NON_ICR_NON_IUPD}


@dataclass(frozen=True, slots=True, kw_only=True)
class CohortRow:
    """One row of ``cohort.csv``: an endpoint over the patients of a treatment phase."""

    treatment_phase: str
    criterion: str
    basis: str
    reader: str
    endpoint: str
    n: int
    value: float | None
    interval_low: float | None = None
    interval_high: float | None = None


def cohort_rows(summaries: Iterable[PhaseSummary], *, level: float = 0.95) -> tuple[CohortRow, ...]:
    """Return response and disease-control rates per treatment phase, criterion, basis and reader.

    Every patient with the treatment phase counts; one without an evaluable visit is no responder. ``level`` is that of
    the interval.
    """
    groups: dict[tuple[str, str, str, str], list[PhaseSummary]] = {}
    for row in summaries:
        groups.setdefault((row.treatment_phase, row.criterion, row.basis, row.reader), []).append(row)
    rows = []
    for key, members in groups.items():
        best = [row.best_overall_response for row in members]
        confirmed = [row.confirmed_best_overall_response for row in members]
        for endpoint, responses, wanted in (
            ("objective_response_rate", best, OBJECTIVE),
            ("disease_control_rate", best, CONTROL),
            ("confirmed_objective_response_rate", confirmed, OBJECTIVE),
        ):
            rows.append(_rate(key, endpoint, [response in wanted for response in responses], level))
    return tuple(rows)


def _rate(key: tuple[str, str, str, str], endpoint: str, hits: Sequence[bool], level: float) -> CohortRow:
    phase, criterion, basis, reader = key
    low, high = exact_interval(sum(hits), len(hits), level)
    return CohortRow(
        treatment_phase=phase,
        criterion=criterion,
        basis=basis,
        reader=reader,
        endpoint=endpoint,
        n=len(hits),
        value=sum(hits) / len(hits),
        interval_low=low,
        interval_high=high,
    )


def exact_interval(hits: int, n: int, level: float) -> tuple[float, float]:
    """Return the exact binomial interval of a rate (Clopper CJ, Pearson ES 1934, Biometrika 26:404-413)."""
    from scipy.stats import beta

    tail = (1.0 - level) / 2.0
    low = 0.0 if hits == 0 else float(beta.ppf(tail, hits, n - hits + 1))
    high = 1.0 if hits == n else float(beta.ppf(1.0 - tail, hits + 1, n - hits))
    return low, high
