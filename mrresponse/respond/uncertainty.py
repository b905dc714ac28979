"""From the error of each measurement to the probability of each category.

The true size of a lesion is taken to be normal around the measured one, with the standard deviation of one reading:
the ``_sd`` column of the measurement where it has one, else the settings (from the literature, or from the user's own
repeat readings). Errors of different lesions and studies are independent. Then the true sums are independent normals,
and the rules of the criterion, applied to them, have a probability that a single integral gives:

given the current sum ``s``, progression means that some earlier sum (the baseline included) is at most the largest
nadir that makes ``s`` a progression, and a partial response that it is none and the baseline is at least
``s / (1 - decrease)``. Both are products of normal distribution functions; the integral over ``s`` is a sum over
equally spaced nodes. There is no random number, so the same table gives the same probabilities.

What is no number has no error: that a lesion is absent or new, that a non-target progresses or a finding is there.
A measured lesion is gone with the probability that its true size is 0 or less.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from mrresponse.domain import Measurement, Response
from mrresponse.respond.criteria import Criterion
from mrresponse.respond.immune import PLAIN_WORDS
from mrresponse.respond.rules import ANY_LESION, CR, PD, PR, SD, TOLERANCE, TargetEvidence, overall_response
from mrresponse.respond.settings import MeasurementError, RespondSettings
from mrresponse.respond.targets import TargetSum
from mrresponse.respond.timeline import Visit
from mrresponse.respond.values import TOO_SMALL, is_viable_part

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.intp]
CATEGORIES = (CR, PR, SD, PD)
PROGRESSION_ANYHOW = (PD,) * len(CATEGORIES)

# The trapezoidal rule on a normal density; 25 nodes over 4 standard deviations are exact to 1e-4 unless an
# earlier sum has an error ten times smaller than the current one.
LEAST_SD = 1e-12  # keeps a comparison with a sum that has no error defined
NODES = 25
REACH = 4.0
ROOT_2 = math.sqrt(2.0)


@dataclass(slots=True)
class Estimate:
    """A measured value and the standard deviation of its error; a lesion that is ``gone_below`` a size is gone."""

    value: float
    sd: float
    gone_below: float = 0.0
    is_node: bool = False
    is_viable_part: bool = False

    def chance_below(self, bound: float) -> float:
        """Return the probability that the true value is below ``bound``."""
        if self.sd <= 0.0:
            return 1.0 if self.value < bound or self.value == bound == 0.0 else 0.0
        return 0.5 * math.erfc((self.value - bound) / (self.sd * ROOT_2))

    @property
    def chance_gone(self) -> float:
        """Probability that the lesion is gone: its true size is 0, or that of a node is normal."""
        return 1.0 if self.value == 0.0 else self.chance_below(self.gone_below)


class Probabilities(NamedTuple):
    """Probability of each target category; what is missing to 1 is not evaluable."""

    cr: float
    pr: float
    sd: float
    pd: float


@dataclass(slots=True)
class TargetErrors:
    """One visit for the probabilities.

    Parameters
    ----------
    estimates
        The targets that have a value, by lesion; empty where nothing was measured.
    evidence
        What decided the target response.
    response
        The target response that was called.
    enters_nadir
        The visit is evaluable and later visits are compared with it.
    """

    estimates: Mapping[str, Estimate]
    evidence: TargetEvidence
    response: Response
    enters_nadir: bool


def estimates_of(
    found: TargetSum, visit: Visit, criterion: Criterion, settings: RespondSettings
) -> dict[str, Estimate]:
    """Return the targets of a visit that have a value of their own, with the error of one reading.

    There is none where the visit was not read.
    """
    if visit.unread:
        return {}
    return {
        lesion_id: _with_error(m, size, criterion, settings)
        for lesion_id, size in found.sizes.items()
        if lesion_id not in found.merged and (m := visit.measurements.get(lesion_id)) is not None
    }


def _with_error(m: Measurement, size: float, criterion: Criterion, settings: RespondSettings) -> Estimate:
    is_part = is_viable_part(m, criterion)
    sd = 0.0 if size == 0.0 else _sd(m, size, criterion, settings.measurement_error, is_part=is_part)
    normal = settings.node_normal_mm if m.is_node and criterion.is_length else 0.0
    return Estimate(size, sd, normal, m.is_node, is_part)


def _sd(
    m: Measurement, value: float, criterion: Criterion, error: MeasurementError, *, is_part: bool
) -> float:
    if criterion.is_volume:
        stated = m.viable_volume_ml_sd if is_part else m.volume_ml_sd
        return stated if stated is not None else error.volume_fraction * value
    longest_sd = m.viable_longest_diameter_mm_sd if is_part else m.longest_diameter_mm_sd
    across_sd = m.viable_perpendicular_diameter_mm_sd if is_part else m.perpendicular_diameter_mm_sd
    if criterion.is_length:
        stated = across_sd if m.is_node else longest_sd
        return stated if stated is not None else error.of_diameter(value)
    longest = m.viable_longest_diameter_mm if is_part else m.longest_diameter_mm
    across = m.viable_perpendicular_diameter_mm if is_part else m.perpendicular_diameter_mm
    if m.state is TOO_SMALL or longest is None or across is None:
        longest = across = math.sqrt(value)
    return math.hypot(
        across * (longest_sd if longest_sd is not None else error.of_diameter(longest)),
        longest * (across_sd if across_sd is not None else error.of_diameter(across)),
    )


class TargetCourse(NamedTuple):
    """The targets of a phase under one criterion: at the baseline, and at each visit after it.

    ``sums`` are those of the targets with their errors (`sum_of`), the baseline first.
    """

    baseline: Mapping[str, Estimate]
    sums: Sequence[tuple[float, float]]
    visits: Sequence[TargetErrors]
    criterion: Criterion


def target_probabilities(courses: Sequence[TargetCourse]) -> list[tuple[Probabilities | None, ...]]:
    """Return the probabilities of the target response at each visit of each course; ``None`` without a measurement.

    Every course has the same number of visits, so that all integrals are one sum over an array.
    """
    if not courses:
        return []
    by_course = [_series_of(course) for course in courses]
    pd, pr = _integrated([series for found in by_course for series in found])
    result, start = [], 0
    for course, found in zip(courses, by_course, strict=True):
        own = slice(start, start + len(found))
        start = own.stop
        of_pd = _any_lesion_pd(course, pd[own]) if len(found) > 1 else pd[own][0]
        result.append(
            tuple(
                _probabilities(visit, one_pd, one_pr, course.criterion)
                for visit, one_pd, one_pr in zip(
                    course.visits, of_pd.tolist(), pr[own][0].tolist(), strict=True
                )
            )
        )
    return result


def response_probabilities(
    target: Probabilities, non_target: Response | None, new_lesions: str
) -> dict[Response, float]:
    """Return the probabilities of the response of a visit, the other components as they were called."""
    words = _overall(non_target, new_lesions)
    if words == CATEGORIES:
        return dict(zip(CATEGORIES, target, strict=True))
    found = dict.fromkeys(CATEGORIES, 0.0)
    if words == PROGRESSION_ANYHOW:
        found[PD] = 1.0
        return found
    for word, share in zip(words, target, strict=True):
        if word in found:
            found[word] += share
    return found


def immune_probabilities(
    target: Probabilities,
    response: Response,
    target_response: Response | None,
    non_target: Response | None,
) -> dict[Response, float]:
    """Return the same under iRECIST, iUPD and iCPD as PD.

    A progression that is not that of the targets is decided by the other components and the scans before, without
    doubt; one that is stands or falls with the targets.
    """
    if response in (Response.IUPD, Response.ICPD) and target_response is not Response.IUPD:
        return response_probabilities(target, Response.PD, "none")
    found = response_probabilities(target, PLAIN_WORDS[non_target] if non_target else None, "none")
    if response is Response.IPR and target_response is Response.ICR:
        # a new lesion that is still there blocks the complete response
        found[Response.PR] += found[Response.CR]
        found[Response.CR] = 0.0
    return found


@cache
def _overall(non_target: Response | None, new_lesions: str) -> tuple[Response, ...]:
    return tuple(overall_response(category, non_target, new_lesions) for category in CATEGORIES)


def _probabilities(visit: TargetErrors, pd: float, pr: float, criterion: Criterion) -> Probabilities | None:
    if not visit.estimates:
        return None
    evidence = visit.evidence
    if evidence.was_gone:
        pd = _reappearance(visit, criterion, pd)
    if evidence.missing:
        return Probabilities(cr=0.0, pr=0.0, sd=0.0, pd=pd)
    cr = 1.0
    for one in visit.estimates.values():
        cr *= one.chance_gone
    if criterion.progression_scope is ANY_LESION:
        pr *= 1.0 - pd
    # a target that is back is not gone: these two exclude each other; a sum and what is gone are independent
    pd = min(pd, 1.0 - cr) if evidence.was_gone else (1.0 - cr) * pd
    pr = min((1.0 - cr) * pr, 1.0 - cr - pd)
    sd = max(0.0, 1.0 - cr - pr - pd)
    if evidence.is_sustained:
        return Probabilities(cr=cr, pr=pr + sd, sd=0.0, pd=pd)
    if evidence.was_gone and not evidence.nadir:
        return _kept(visit, cr, pr + sd, pd)
    return Probabilities(cr=cr, pr=pr, sd=sd, pd=pd)


def _kept(visit: TargetErrors, cr: float, rest: float, pd: float) -> Probabilities:
    """Give what is too little to count after a complete response to the category that is kept."""
    kept = visit.response if visit.response is not Response.PD else visit.evidence.previous or Response.CR
    shares = {Response.CR: cr, Response.PR: 0.0, Response.SD: 0.0, Response.PD: pd}
    shares[kept] += rest
    return Probabilities(*shares.values())


def _reappearance(visit: TargetErrors, criterion: Criterion, pd: float) -> float:
    """Return the probability that a target is back after complete response, or that the sum progressed.

    A nodal target that is back counts in the sum; from a nadir of 0 that is a progression as soon as the sum is large
    enough (`rules.has_progressed`).
    """
    none = 1.0 - pd if visit.evidence.nadir else 1.0
    sum_counts = criterion.progression_scope is not ANY_LESION
    for one in visit.estimates.values():
        if not one.is_node:
            bound = criterion.reappearance_review if one.is_viable_part else None
            none *= one.chance_below(bound) if bound is not None else one.chance_gone
        elif sum_counts and not visit.evidence.nadir:
            none *= one.chance_below(max(one.gone_below, criterion.floor_from(0.0), criterion.too_small))
    return 1.0 - none


def sum_of(estimates: Mapping[str, Estimate]) -> tuple[float, float]:
    """Return the sum of the true values and its standard deviation."""
    values, squares = [], []
    for one in estimates.values():
        values.append(one.value)
        squares.append(one.sd * one.sd)
    return math.fsum(values), math.sqrt(math.fsum(squares))


Bound = Callable[[Floats, Criterion], Floats]


def largest_nadir(current: Floats, criterion: Criterion) -> Floats:
    """Return the largest nadir from which a sum is a progression; negative where it cannot be one."""
    bound = _largest_relative_nadir(current, criterion)
    if criterion.progression_floor > 0.0:
        bound = np.minimum(bound, current - criterion.progression_floor)
    if criterion.progression_floor_sphere_mm is not None:
        diameter = (
            np.cbrt(np.maximum(current, 0.0) * (6000.0 / math.pi)) - criterion.progression_floor_sphere_mm
        )
        bound = np.minimum(bound, np.where(diameter > 0.0, diameter**3 * (math.pi / 6000.0), -np.inf))
    return bound


def _largest_relative_nadir(current: Floats, criterion: Criterion) -> Floats:
    return current / (1.0 + criterion.progression_increase)


def _never(current: Floats, criterion: Criterion) -> Floats:
    return np.full_like(current, -np.inf)


class _Series(NamedTuple):
    """One size through time, the sum or a single target: means with deviations, the baseline first.

    A visit is compared with the baseline and the visits before it that are ``usable``.
    """

    sizes: Sequence[tuple[float, float]]
    usable: Sequence[bool]
    criterion: Criterion
    bound_of: Bound


def _series_of(course: TargetCourse) -> list[_Series]:
    """Return the sum, and each target where one alone can progress; then the sum cannot."""
    usable = [visit.enters_nadir for visit in course.visits]
    is_any = course.criterion.progression_scope is ANY_LESION
    found = [_Series(course.sums, usable, course.criterion, _never if is_any else largest_nadir)]
    if is_any:
        for name, start in course.baseline.items():
            ones = [visit.estimates.get(name) for visit in course.visits]
            sizes = [(one.value, one.sd) if one else (0.0, 0.0) for one in (start, *ones)]
            known = [one is not None and use for one, use in zip(ones, usable, strict=True)]
            found.append(_Series(sizes, known, course.criterion, _largest_relative_nadir))
    return found


def _any_lesion_pd(course: TargetCourse, pd: Floats) -> Floats:
    """Return the probability that at least one target grew beyond the threshold from its own nadir."""
    none = np.ones(len(course.visits))
    for name, of_target in zip(course.baseline, pd[1:], strict=True):
        none *= 1.0 - np.where([name in visit.estimates for visit in course.visits], of_target, 0.0)
    return 1.0 - none


def _integrated(series: Sequence[_Series]) -> tuple[Floats, Floats]:
    """Return the probabilities of progression and of partial response, by series and visit."""
    from scipy.special import ndtr

    nodes, weights = _normal_nodes()
    sizes = np.array([one.sizes for one in series])
    means, sds = sizes[..., 0], sizes[..., 1]
    current = means[:, 1:, None] + sds[:, 1:, None] * nodes
    bounds = [one.bound_of(sums, one.criterion) for one, sums in zip(series, current, strict=True)]
    bound = np.stack(bounds) * (1.0 + TOLERANCE)
    reference, reference_sd = means[:, :-1], np.maximum(sds[:, :-1], LEAST_SD)
    # survives[series, pair, node]: the true sum of the pair's earlier visit is above the bound, or it is no reference
    usable = np.array([one.usable for one in series])
    earlier, later, starts = _pairs(usable.shape[1])
    distance = (reference[:, earlier + 1, None] - bound[:, later]) / reference_sd[:, earlier + 1, None]
    survives = ndtr(distance)
    survives[~usable[:, earlier]] = 1.0
    others = np.ones_like(bound)
    if len(starts):
        others[:, 1:] = np.multiply.reduceat(survives, starts, axis=1)
    above_baseline = ndtr((reference[:, :1, None] - bound) / reference_sd[:, :1, None])
    decrease = np.array([one.criterion.response_decrease for one in series])[:, None, None]
    least_baseline = current * ((1.0 - TOLERANCE) / (1.0 - decrease))
    responds = ndtr((reference[:, :1, None] - least_baseline) / reference_sd[:, :1, None])
    pd = 1.0 - (above_baseline * others) @ weights
    return np.maximum(pd, 0.0), (responds * others) @ weights


@cache
def _pairs(visits: int) -> tuple[Ints, Ints, Ints]:
    """Return every visit after the first with each visit before it, and where the pairs of each later one start."""
    later, earlier = np.tril_indices(visits, -1)
    return earlier, later, np.searchsorted(later, np.arange(1, visits))


@cache
def _normal_nodes() -> tuple[Floats, Floats]:
    nodes = np.linspace(-REACH, REACH, NODES)
    weights = np.exp(-0.5 * nodes**2)
    return nodes, weights / weights.sum()
