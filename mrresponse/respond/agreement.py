"""How well readers agree, pair by pair: categories by weighted kappa, sums by limits of agreement.

The networks are a reader like any other. Visits of one patient are not independent, so intervals come from resampling
patients with all their visits (cluster bootstrap: Field CA, Welsh AH 2007, J R Stat Soc B 69:369-390), with a fixed
seed, and the limits of agreement allow for several visits per patient.
"""

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from itertools import combinations

import numpy as np
import numpy.typing as npt

from mrresponse.domain import AgreementVisit, Assessment, PhaseSummary, Response
from mrresponse.respond.restate import RESTATED

# Ordered categories; NE and NED have no place in the order. Stable disease of non-targets alone ranks with SD.
RANKS: Mapping[str, int] = {
    "CR": 0, "PR": 1, "SD": 2, "NON-CR/NON-PD": 2, "PD": 3,
    "iCR": 0, "iPR": 1, "iSD": 2, "NON-iCR/NON-iUPD": 2, "iUPD": 3, "iCPD": 4,
}  # fmt: skip
LEVELS = 5
RESAMPLES = 2000
SEED = 20240531
# Fewer patients cannot be resampled to any purpose.
LEAST_PATIENTS = 5
# 95 % of a normal distribution.
_NORMAL_95 = 1.959964

Counts = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class AgreementRow:
    """Two readers over all patients of a treatment phase under one criterion."""

    treatment_phase: str
    criterion: str
    reader_1: str
    reader_2: str
    n_patients: int
    n_visits: int
    same_response: float | None = None
    n_ranked: int
    weighted_kappa: float | None = None
    weighted_kappa_low: float | None = None
    weighted_kappa_high: float | None = None
    n_best: int
    same_best_response: float | None = None
    best_response_weighted_kappa: float | None = None
    n_burdens: int
    burden_bias: float | None = None
    burden_bias_low: float | None = None
    burden_bias_high: float | None = None
    burden_limit_low: float | None = None
    burden_limit_high: float | None = None
    burden_unit: str = "mm"


def agreement_visits(assessments: Iterable[Assessment]) -> tuple[AgreementVisit, ...]:
    """Pair the assessments that two readers made of one visit; at a baseline only the sums can differ.

    What was restated is no reading beside that of its reader, whose numbers and other visits it has.
    """
    by_visit: dict[tuple[str, str, str, date], dict[str, Assessment]] = defaultdict(dict)
    rows = tuple(assessments)
    restated = {_group(row) for row in rows if RESTATED in row.flags}
    for row in rows:
        if _group(row) in restated:
            continue
        by_visit[row.patient_id, row.treatment_phase, row.criterion, row.study_date][row.reader] = row
    return tuple(
        _visit(read[first], read[second])
        for read in by_visit.values()
        for first, second in combinations(sorted(read), 2)
    )


def agreement_rows(
    visits: Iterable[AgreementVisit], summaries: Iterable[PhaseSummary]
) -> tuple[AgreementRow, ...]:
    """Summarise every pair of readers per treatment phase and criterion."""
    groups: dict[tuple[str, str, str, str], list[AgreementVisit]] = {}
    for visit in visits:
        key = visit.treatment_phase, visit.criterion, visit.reader_1, visit.reader_2
        groups.setdefault(key, []).append(visit)
    best: dict[tuple[str, str, str], dict[str, Response]] = defaultdict(dict)
    for row in summaries:
        if row.basis == "overall" and row.best_overall_response is not None:
            best[row.treatment_phase, row.criterion, row.reader][row.patient_id] = row.best_overall_response
    return tuple(
        _row(key, members, best[(*key[:2], key[2])], best[(*key[:2], key[3])])
        for key, members in groups.items()
    )


def weighted_kappa(counts: Counts) -> float | None:
    """Return the kappa of a square table of counts, disagreement weighted by its distance (Cohen 1968).

    Linear weights; ``None`` where both readers used one and the same category throughout, or nothing was counted.

    References
    ----------
    Cohen J 1968, Psychological Bulletin 70:213-220.
    """
    value = float(_kappas(counts[np.newaxis])[0])
    return None if math.isnan(value) else value


def limits_of_agreement(
    differences: Mapping[str, Sequence[float]],
) -> tuple[float, float | None, float | None]:
    """Return bias and 95 % limits of differences that stand by patient.

    The variance is that between patients and that within a patient together, by one-way analysis of variance, for a
    quantity that changes from visit to visit. The limits are ``None`` with fewer than two differences.

    References
    ----------
    Bland JM, Altman DG 1986, Lancet 327:307-310; with several visits per patient: Bland JM, Altman DG 2007,
    J Biopharm Stat 17:571-582.
    """
    groups = [np.asarray(values, dtype=np.float64) for values in differences.values() if len(values)]
    together = np.concatenate(groups)
    bias = float(together.mean())
    if len(together) < 2:
        return bias, None, None
    half = _NORMAL_95 * math.sqrt(_total_variance(groups, together))
    return bias, bias - half, bias + half


def _group(row: Assessment) -> tuple[str, str, str, str]:
    return row.patient_id, row.treatment_phase, row.criterion, row.reader


def _visit(first: Assessment, second: Assessment) -> AgreementVisit:
    one, two = first.current_burden, second.current_burden
    has_both = one is not None and two is not None and first.burden_unit == second.burden_unit
    return AgreementVisit(
        patient_id=first.patient_id,
        treatment_phase=first.treatment_phase,
        criterion=first.criterion,
        study_date=first.study_date,
        reader_1=first.reader,
        reader_2=second.reader,
        overall_1=first.overall,
        overall_2=second.overall,
        burden_1=one,
        burden_2=two,
        burden_mean=round((one + two) / 2.0, 6) if has_both and one is not None and two is not None else None,
        burden_difference=round(two - one, 6) if has_both and one is not None and two is not None else None,
        burden_unit=first.burden_unit,
    )


def _row(
    key: tuple[str, str, str, str],
    visits: Sequence[AgreementVisit],
    best_1: Mapping[str, Response],
    best_2: Mapping[str, Response],
) -> AgreementRow:
    phase, criterion, reader_1, reader_2 = key
    called = [v for v in visits if v.overall_1 is not None and v.overall_2 is not None]
    ranked: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for v in called:
        if v.overall_1 in RANKS and v.overall_2 in RANKS:
            ranked[v.patient_id].append((str(v.overall_1), str(v.overall_2)))
    tables = [_counts(pairs) for pairs in ranked.values()]
    kappa, low, high = _with_interval(tables, _kappas)
    differences: dict[str, list[float]] = defaultdict(list)
    for v in visits:
        if v.burden_difference is not None:
            differences[v.patient_id].append(v.burden_difference)
    both = sorted(best_1.keys() & best_2.keys())
    best_pairs = [(str(best_1[name]), str(best_2[name])) for name in both]
    ranked_best = [pair for pair in best_pairs if pair[0] in RANKS and pair[1] in RANKS]
    return AgreementRow(
        treatment_phase=phase,
        criterion=criterion,
        reader_1=reader_1,
        reader_2=reader_2,
        n_patients=len({v.patient_id for v in visits}),
        n_visits=len(called),
        same_response=_share([(v.overall_1, v.overall_2) for v in called]),
        n_ranked=sum(map(len, ranked.values())),
        weighted_kappa=kappa,
        weighted_kappa_low=low,
        weighted_kappa_high=high,
        n_best=len(both),
        same_best_response=_share(best_pairs),
        best_response_weighted_kappa=weighted_kappa(_counts(ranked_best)),
        n_burdens=sum(map(len, differences.values())),
        burden_unit=visits[0].burden_unit,
        **_burden_columns(differences),
    )


def _burden_columns(differences: Mapping[str, Sequence[float]]) -> dict[str, float | None]:
    if not differences:
        return {}
    bias, limit_low, limit_high = limits_of_agreement(differences)
    sums = [np.array([math.fsum(values), len(values)]) for values in differences.values()]
    _, low, high = _with_interval(sums, lambda found: found[:, 0] / found[:, 1])
    return {
        "burden_bias": bias,
        "burden_bias_low": low,
        "burden_bias_high": high,
        "burden_limit_low": limit_low,
        "burden_limit_high": limit_high,
    }


def _share(pairs: Sequence[tuple[str | None, str | None]]) -> float | None:
    return sum(one == two for one, two in pairs) / len(pairs) if pairs else None


def _counts(pairs: Iterable[tuple[str, str]]) -> Counts:
    counts = np.zeros((LEVELS, LEVELS))
    for one, two in pairs:
        counts[RANKS[one], RANKS[two]] += 1.0
    return counts


def _kappas(counts: Counts) -> Counts:
    """Return the weighted kappa of each table of a stack; NaN where it is undefined."""
    ranks = np.arange(counts.shape[-1], dtype=np.float64)
    weights = np.abs(ranks[:, np.newaxis] - ranks)
    total = counts.sum(axis=(1, 2))
    rows, columns = counts.sum(axis=2), counts.sum(axis=1)
    observed = (counts * weights).sum(axis=(1, 2))
    expected = np.einsum("ni,ij,nj->n", rows, weights, columns)
    with np.errstate(invalid="ignore", divide="ignore"):
        kappas: Counts = np.where(expected > 0.0, 1.0 - observed * total / expected, np.nan)
    return kappas


def _with_interval(
    parts: Sequence[Counts], statistic: Callable[[Counts], Counts]
) -> tuple[float | None, float | None, float | None]:
    """Return a statistic of the summed parts, one per patient, and its interval over resampled patients."""
    if not parts:
        return None, None, None
    stacked = np.stack(parts)
    value = float(statistic(stacked.sum(axis=0)[np.newaxis])[0])
    if math.isnan(value):
        return None, None, None
    if len(parts) < LEAST_PATIENTS:
        return value, None, None
    drawn = np.random.default_rng(SEED).multinomial(
        len(parts), np.full(len(parts), 1.0 / len(parts)), RESAMPLES
    )
    found = statistic(np.tensordot(drawn.astype(np.float64), stacked, axes=1))
    found = found[~np.isnan(found)]
    low, high = np.quantile(found, [0.025, 0.975])
    return value, float(low), float(high)


def _total_variance(groups: Sequence[Counts], together: Counts) -> float:
    n, m = len(together), len(groups)
    if m in (1, n):
        return float(together.var(ddof=1))
    sizes = np.array([len(group) for group in groups], dtype=np.float64)
    means = np.array([group.mean() for group in groups])
    between = float((sizes * (means - together.mean()) ** 2).sum()) / (m - 1)
    within = sum(float(((group - group.mean()) ** 2).sum()) for group in groups) / (n - m)
    per_patient = (n - float((sizes**2).sum()) / n) / (m - 1)
    return max(0.0, (between - within) / per_patient) + within
