"""The rules of a visit: ordered tables of (sentence, predicate, category), and the overall-response tables.

The first rule that holds decides and its sentence, filled with the numbers it used, is the reason of the result.
Every comparison with a threshold of a criterion goes through `reaches`, `exceeds`, `falls_to` or `is_below`: stored
values, relative tolerance 1e-9, the boundary counts as reached (contracts, section 5).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from math import isclose
from typing import NamedTuple

from mrresponse.domain import Response
from mrresponse.respond.criteria import Criterion, ProgressionBoundary, ProgressionScope

TOLERANCE = 1e-9
# names of their own: these are looked up at every visit, which an enumeration makes slow
ANY_LESION, STRICT = ProgressionScope.ANY_LESION, ProgressionBoundary.STRICT
CR, PR, SD, PD, NE = Response.CR, Response.PR, Response.SD, Response.PD, Response.NE
NON_CR_NON_PD, NED = Response.NON_CR_NON_PD, Response.NED


def reaches(value: float, bound: float) -> bool:
    """Tell whether a value is at or above a bound."""
    return value >= bound or isclose(value, bound, rel_tol=TOLERANCE)


def exceeds(value: float, bound: float) -> bool:
    """Tell whether a value is strictly above a bound."""
    return value > bound and not isclose(value, bound, rel_tol=TOLERANCE)


def falls_to(value: float, bound: float) -> bool:
    """Tell whether a value is at or below a bound."""
    return value <= bound or isclose(value, bound, rel_tol=TOLERANCE)


def is_below(value: float, bound: float) -> bool:
    """Tell whether a value is strictly below a bound."""
    return value < bound and not isclose(value, bound, rel_tol=TOLERANCE)


def has_grown(before: float, now: float, *, by_share: float, by_mm: float) -> bool:
    """Tell whether a size has reached a growth, both as a share of what it was and in millimetres."""
    return reaches(now, before * (1.0 + by_share)) and reaches(now - before, by_mm)


@dataclass(slots=True)
class TargetEvidence:
    """All that decides the target response of one visit.

    Parameters
    ----------
    baseline, nadir, current
        Sums in the criterion's unit; ``current`` is the sum of the targets measured. ``None``: no baseline.
    missing
        Targets without a value, each with its reason.
    is_gone
        Every non-nodal target is 0 and every nodal target is below its normal size.
    was_gone
        That held at an earlier visit of the treatment phase.
    reappeared, reappeared_sum
        Where ``was_gone``: the largest non-nodal target of which only viable tumour is measured, and the sum of these.
    reappeared_whole
        Where ``was_gone``: the largest non-nodal target that is measured whole.
    lesion_growth
        Largest growth of one target over its own nadir, as a fraction; used only where the criterion asks for it.
    previous
        Target response of the last evaluable visit.
    is_sustained
        A partial response was reached, nothing progressed since, and the settings sustain it.
    """

    baseline: float | None
    nadir: float | None
    current: float | None
    missing: tuple[str, ...] = ()
    is_gone: bool = False
    was_gone: bool = False
    reappeared: float = 0.0
    reappeared_sum: float = 0.0
    reappeared_whole: float = 0.0
    lesion_growth: float | None = None
    previous: Response | None = None
    is_sustained: bool = False


TargetPredicate = Callable[[TargetEvidence, Criterion], bool]
Describe = Callable[[TargetEvidence, Criterion], str]


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetRule:
    """One line of the target table; ``category`` ``None`` keeps that of the visit before."""

    holds: TargetPredicate
    category: Response | None
    sentence: Describe
    flag: str = ""


@dataclass(slots=True)
class TargetDecision:
    """Target response with the sentence of the rule that fired and its flag."""

    response: Response
    sentence: str
    flag: str = ""


def has_progressed(evidence: TargetEvidence, criterion: Criterion) -> bool:
    """Tell whether the sum, or one target where the criterion says so, meets the progression rule."""
    if evidence.nadir is None or evidence.current is None:
        return False
    is_over = exceeds if criterion.progression_boundary is STRICT else reaches
    if evidence.lesion_growth is not None and criterion.progression_scope is ANY_LESION:
        return is_over(evidence.lesion_growth, criterion.progression_increase)
    burden, nadir = evidence.current, evidence.nadir
    if evidence.was_gone:
        burden -= trace(evidence, criterion)
    if nadir == 0.0:
        return burden > 0.0 and reaches(burden, max(criterion.floor_from(nadir), criterion.too_small))
    grown = is_over(burden, nadir * (1.0 + criterion.progression_increase))
    return grown and reaches(burden - nadir, criterion.floor_from(nadir))


def trace(evidence: TargetEvidence, criterion: Criterion) -> float:
    """Return the viable tumour that reappeared but is too little to count (section 6.2)."""
    bound = criterion.reappearance_review
    if bound is None or not evidence.was_gone or reaches(evidence.reappeared, bound):
        return 0.0
    return evidence.reappeared_sum


def _has_reappeared_whole(evidence: TargetEvidence, criterion: Criterion) -> bool:
    return evidence.was_gone and evidence.reappeared_whole > 0.0


def _has_reappeared_viable(evidence: TargetEvidence, bound: float | None) -> bool:
    return evidence.was_gone and bound is not None and reaches(evidence.reappeared, bound)


def number(value: float) -> str:
    """Return a stored value as it is read in a sentence: at least one decimal, no binary noise."""
    # hundreds for each patient, in two thirds of the time of an f-string
    text = "%.10g" % value  # noqa: UP031
    return text if "." in text or "e" in text else f"{text}.0"


def percent(value: float, reference: float | None, bound: float) -> str:
    """Return a relative change with as many decimals as it takes to see on which side of ``bound`` it lies."""
    if not reference:
        return "change undefined"
    change = 100.0 * (value - reference) / reference
    distance = abs(change - bound)
    if distance > 0.1:
        return "%+.1f %%" % change  # noqa: UP031
    digits = 1
    while digits < 6 and distance > 1e-6 and abs(round(change, digits) - bound) < 1e-9:
        digits += 1
    return f"{change:+.{digits}f} %"


def _from_baseline(e: TargetEvidence, c: Criterion) -> str:
    current, baseline, unit = e.current or 0.0, e.baseline, c.unit
    change = percent(current, baseline, -100.0 * c.response_decrease)
    return f"{c.sum_name} {number(current)} {unit} is {change} from baseline {number(baseline or 0.0)} {unit}"


def _nadir_change(e: TargetEvidence, c: Criterion) -> str:
    current, nadir, unit = e.current or 0.0, e.nadir or 0.0, c.unit
    change = percent(current, nadir, 100.0 * c.progression_increase)
    difference = round(current - nadir, 6)
    sign = "" if difference < 0.0 else "+"
    return f"{change} ({sign}{number(difference)} {unit}) from nadir {number(nadir)} {unit}"


def _from_nadir(e: TargetEvidence, c: Criterion) -> str:
    return f"{c.sum_name} {number(e.current or 0.0)} {c.unit} is {_nadir_change(e, c)}"


def _progression_threshold(e: TargetEvidence, c: Criterion) -> str:
    if c.progression_floor_sphere_mm is None:
        return c.progression_threshold
    return c.progression_threshold_with(c.floor_from(e.nadir or 0.0))


def _progressed(e: TargetEvidence, c: Criterion) -> str:
    if e.lesion_growth is not None and c.progression_scope is ANY_LESION:
        return f"a target grew {100.0 * e.lesion_growth:+.1f} % from its own nadir ({_progression_threshold(e, c)})"
    return f"{_from_nadir(e, c)} ({_progression_threshold(e, c)})"


def _missing(e: TargetEvidence) -> str:
    return "; ".join(e.missing)


def _neither(e: TargetEvidence, c: Criterion) -> str:
    return (
        f"{_from_baseline(e, c)} (not {c.response_bound}) and "
        f"{_nadir_change(e, c)} (not {_progression_threshold(e, c)})"
    )


def _complete(e: TargetEvidence, c: Criterion) -> str:
    gone = "no arterial enhancement in any target" if c.is_viable else "every target is gone"
    nodes = ", nodes below normal size" if e.current else ""
    return f"{gone}{nodes} ({_from_baseline(e, c)})"


def _incomplete(e: TargetEvidence, c: Criterion) -> str:
    rest = f"; the rest, {number(e.current)} {c.unit}, is no progression" if e.current else ""
    nadir = f" from nadir {number(e.nadir)} {c.unit}" if e.current and e.nadir else ""
    return f"not evaluable: {_missing(e)}{rest}{nadir}"


def _reappeared(e: TargetEvidence, c: Criterion) -> str:
    missing = f"; not evaluable: {_missing(e)}" if e.missing else ""
    if e.reappeared_whole > 0.0:
        return (
            f"a target of {number(e.reappeared_whole)} {c.unit} reappeared after complete response{missing}"
        )
    return f"viable tumour of {number(e.reappeared)} {c.unit} reappeared after complete response{missing}"


# Order: response-criteria section 0, arithmetic 3 (NE with the progression exception, CR, PD, PR, SD).
TARGET_RULES: tuple[TargetRule, ...] = (
    TargetRule(
        holds=lambda e, c: e.baseline is None or e.nadir is None,
        category=Response.NE,
        sentence=lambda e, c: "no evaluable baseline",
    ),
    TargetRule(
        holds=lambda e, c: bool(e.missing) and has_progressed(e, c),
        category=Response.PD,
        sentence=lambda e, c: (
            f"the targets measured alone progress: {_progressed(e, c)}; not evaluable: {_missing(e)}"
        ),
        flag="target_missing",
    ),
    TargetRule(
        holds=lambda e, c: bool(e.missing) and _has_reappeared_whole(e, c),
        category=Response.PD,
        sentence=_reappeared,
        flag="target_missing",
    ),
    TargetRule(
        holds=lambda e, c: bool(e.missing) and _has_reappeared_viable(e, c.reappearance_certain),
        category=Response.PD,
        sentence=lambda e, c: f"{_reappeared(e, c)} (>= {c.reappearance_certain} {c.unit})",
        flag="target_missing",
    ),
    TargetRule(
        holds=lambda e, c: bool(e.missing) or e.current is None,
        category=Response.NE,
        sentence=_incomplete,
        flag="target_missing",
    ),
    TargetRule(
        holds=lambda e, c: e.is_gone,
        category=Response.CR,
        sentence=_complete,
    ),
    TargetRule(
        holds=_has_reappeared_whole,
        category=Response.PD,
        sentence=_reappeared,
        flag="reappeared",
    ),
    TargetRule(
        holds=lambda e, c: _has_reappeared_viable(e, c.reappearance_certain),
        category=Response.PD,
        sentence=lambda e, c: f"{_reappeared(e, c)} (>= {c.reappearance_certain} {c.unit})",
        flag="reappeared",
    ),
    TargetRule(
        holds=lambda e, c: _has_reappeared_viable(e, c.reappearance_review),
        category=Response.PD,
        sentence=lambda e, c: (
            f"{_reappeared(e, c)} ({c.reappearance_review} to < {c.reappearance_certain} {c.unit}: for review)"
        ),
        flag="reappearance_review",
    ),
    TargetRule(
        holds=has_progressed,
        category=Response.PD,
        sentence=_progressed,
    ),
    TargetRule(
        holds=lambda e, c: trace(e, c) > 0.0,
        category=None,
        sentence=lambda e, c: (
            f"{_reappeared(e, c)}: equivocal (< {c.reappearance_review} {c.unit}), the category before is kept"
        ),
        flag="equivocal_reappearance",
    ),
    TargetRule(
        holds=lambda e, c: falls_to(e.current or 0.0, (e.baseline or 0.0) * (1.0 - c.response_decrease)),
        category=Response.PR,
        sentence=lambda e, c: f"{_from_baseline(e, c)} ({c.response_bound})",
    ),
    TargetRule(
        holds=lambda e, c: e.is_sustained,
        category=Response.PR,
        sentence=lambda e, c: f"partial response continues until progression: {_neither(e, c)}",
    ),
    TargetRule(
        holds=lambda e, c: True,
        category=Response.SD,
        sentence=_neither,
    ),
)


# The rules of an ordinary visit, where there is a baseline, every target is measured, and none was gone before: what
# asks for one of these is the first rule and those with a flag.
ORDINARY_RULES = tuple(rule for rule in TARGET_RULES[1:] if not rule.flag)


def decide_target(evidence: TargetEvidence, criterion: Criterion) -> TargetDecision:
    """Return the target response by the first rule that holds."""
    response, rule = deciding_rule(evidence, criterion)
    return TargetDecision(response, rule.sentence(evidence, criterion), rule.flag)


def deciding_rule(evidence: TargetEvidence, criterion: Criterion) -> tuple[Response, TargetRule]:
    """Return the target response and the first rule that holds."""
    e = evidence
    has_sums = e.baseline is not None and e.nadir is not None and e.current is not None
    is_ordinary = has_sums and not e.missing and not e.was_gone
    for rule in ORDINARY_RULES if is_ordinary else TARGET_RULES:
        if rule.holds(evidence, criterion):
            break
    return rule.category or evidence.previous or CR, rule


def target_response(
    criterion: Criterion, *, baseline: float | None, nadir: float | None, current: float | None
) -> Response:
    """Return the target response to three sums of non-nodal lesions; a sum of 0 means all are gone."""
    seen = current or 0.0
    evidence = TargetEvidence(
        baseline=baseline,
        nadir=nadir,
        current=current,
        is_gone=current == 0.0,
        was_gone=nadir == 0.0,
        reappeared=seen,
        reappeared_sum=seen,
        reappeared_whole=0.0 if criterion.is_viable else seen,
    )
    return decide_target(evidence, criterion).response


class NonTargetEvidence(NamedTuple):
    """What is known of the non-target disease at one visit; each entry names a lesion or finding and why."""

    progressing: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    present: tuple[str, ...] = ()
    gone: tuple[str, ...] = ()


NO_NON_TARGET = "no non-target disease"
# response-criteria section 2.5 and 4.3; one for each kind of evidence, in its order
NON_TARGET_RULES: tuple[tuple[str, Response], ...] = (
    ("unequivocal progression", PD),
    ("not assessed", NE),
    ("persists", NON_CR_NON_PD),
    ("gone", CR),
)


def decide_non_target(evidence: NonTargetEvidence) -> tuple[Response | None, str]:
    """Return the non-target response and its sentence; ``None`` where there is no non-target disease."""
    for found, (words, category) in zip(evidence, NON_TARGET_RULES, strict=True):
        if found:
            return category, f"{words}: {'; '.join(found)}"
    return None, NO_NON_TARGET


NONE = None
ANY = frozenset(Response) | {NONE}
YES, NO = frozenset({"definite"}), frozenset({"none", "equivocal", "candidate", "not assessed"})
NOT_PD = frozenset({CR, NON_CR_NON_PD, NE, NONE})
Cell = frozenset[Response | None]
OverallTable = tuple[tuple[Cell, Cell, frozenset[str], Response], ...]


def _one(*responses: Response | None) -> Cell:
    return frozenset(responses)


# Eisenhauer 2009, table 1 (and the table of Lencioni & Llovet 2010, which has the same rows):
# time point response with measurable disease at baseline. NONE: no non-target disease.
MEASURABLE: OverallTable = (
    # target         non-target                 new       overall
    (_one(CR), _one(CR, NONE), NO, CR),
    (_one(CR), _one(NON_CR_NON_PD), NO, PR),
    (_one(CR), _one(NE), NO, PR),
    (_one(PR), NOT_PD, NO, PR),
    (_one(SD), NOT_PD, NO, SD),
    (_one(NE), NOT_PD, NO, NE),
    (_one(PD), ANY, YES | NO, PD),
    (ANY, _one(PD), YES | NO, PD),
    (ANY, ANY, YES, PD),
)
# Eisenhauer 2009, table 2: non-target disease only.
NON_MEASURABLE: OverallTable = (
    (_one(NONE), _one(CR), NO, CR),
    (_one(NONE), _one(NON_CR_NON_PD), NO, NON_CR_NON_PD),
    (_one(NONE), _one(NE), NO, NE),
    (_one(NONE), _one(PD), YES | NO, PD),
    (_one(NONE), ANY, YES, PD),
)
# No disease at baseline (response-criteria section 2.7).
NO_DISEASE: OverallTable = (
    (_one(NONE), _one(NONE), frozenset({"none", "equivocal", "candidate"}), NED),
    (_one(NONE), _one(NONE), frozenset({"not assessed"}), NE),
    (_one(NONE), ANY, YES, PD),
)


@lru_cache(maxsize=1024)
def overall_response(target: Response | None, non_target: Response | None, new_lesions: str) -> Response:
    """Combine the three components of a visit.

    ``target`` ``None`` means no measurable disease at baseline, ``non_target`` ``None`` no non-target disease;
    ``new_lesions`` is definite, equivocal, candidate, none or not assessed. Words outside the tables give NE.
    """
    if target is not None:
        table = MEASURABLE
    elif non_target is not None:
        table = NON_MEASURABLE
    else:
        table = NO_DISEASE
    for targets, non_targets, new, overall in table:
        if target in targets and non_target in non_targets and new_lesions in new:
            return overall
    return Response.NE


FLAG_MESSAGES: Mapping[str, str] = {
    "target_missing": "a target has no value at this visit",
    "not_found": "a known lesion was not found and its absence is not shown: look again",
    "reappeared": "a target reappeared after complete response",
    "reappeared_small": "a target below 5 mm reappeared after complete response: review",
    "reappearance_review": "viable tumour of 5 to 10 mm after complete response: review",
    "equivocal_reappearance": "viable tumour below 5 mm after complete response: equivocal",
    "differs_with_5_mm_floor": "the target response differs when progression also needs +5 mm",
    "pr_after_cr": "partial after complete response: the earlier call may have been partial, or this is progression",
    "non_target_growth": "non-target lesions grew beyond the guide for unequivocal progression: review",
    "new_lesion_equivocal": "a new lesion is equivocal",
    "new_lesion_candidate": "a possible new lesion was found by the network: confirm or reject",
    "new_lesion_grows": "a doubtful lesion that was not there or was overlooked at baseline has grown by as much as "
    "makes a new one definite: progression, unless it is no tumour",
    "progression_dated_earlier": "progression is dated at the first appearance of a lesion that was equivocal then",
    "early_after_locoregional": "read within 4 weeks of locoregional therapy",
    "early_after_radiotherapy": "complete response or progression called within 3 months of radiotherapy",
    "baseline_fallback": "the baseline study is outside the window of 28 days before treatment",
    "nothing_viable_at_baseline": "no lesion enhances at the baseline: a complete response from then on says only that "
    "none enhances now, not that the treatment was answered",
    "no_baseline": "no study can serve as baseline",
    "technique_changed": "another contrast agent than at baseline",
    "merged": "a target merged with another lesion",
    "cytology_missing": "new or growing fluid without positive cytology does not count as progression",
    "finding_without_baseline": "a finding reported as present was not reported at baseline",
    "finding_not_counted": "a finding of this kind, or a node of this size, does not enter the response",
    "benign_pattern": "a lesion with a benign pattern is not counted as disease",
    "marker_rises_images_respond": "a tumour marker rises while the images show a response",
    "marker_falls_images_progress": "a tumour marker fell as in a response while the images show progression",
    "near_threshold": "another reading of the same images could give another category: see the probabilities",
    "late_confirmation": "confirmed later than 8 weeks after the first progression",
    "restated": "a reader restated this assessment; audit.csv says who, when and why",
    "early_scan_ignored": "less than 4 weeks after the first progression: the scan changes no state",
}
