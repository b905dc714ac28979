"""The target lesions of one treatment phase: sums, nadir and target response at each visit."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import NamedTuple

from mrresponse.domain import Measurement, Response
from mrresponse.respond.criteria import Criterion, ProgressionScope
from mrresponse.respond.rules import TargetDecision, TargetEvidence, decide_target
from mrresponse.respond.settings import PartialResponse, RespondSettings
from mrresponse.respond.timeline import Visit
from mrresponse.respond.values import NO_MEASUREMENT, LesionValue, describe_value, is_viable_part

_PARENT = re.compile(r"merged into (\w+)")


class TargetVisit(NamedTuple):
    """Target disease at one visit; ``burden`` is ``None`` where a target is missing."""

    decision: TargetDecision
    burden: float | None
    nadir: float | None
    lesions: str
    flags: tuple[str, ...] = ()


@dataclass(slots=True)
class TargetState:
    """What the baseline and the evaluable visits so far have established."""

    baseline: float
    lesions: str
    nadir: float
    lesion_nadirs: dict[str, float]
    start: dict[str, LesionValue]
    was_gone: bool = False
    previous: Response | None = None
    had_response: bool = False


class Judged(NamedTuple):
    """A visit judged against a state, which it has not changed yet."""

    visit: TargetVisit
    evidence: TargetEvidence
    values: dict[str, LesionValue]


def begin(
    targets: Sequence[str], baseline: Visit, criterion: Criterion, settings: RespondSettings
) -> TargetState:
    """Return the state at baseline."""
    values = target_values(targets, baseline, criterion, settings)
    start = _sum(values)
    return TargetState(
        baseline=start,
        lesions=_described(values, criterion),
        nadir=start,
        lesion_nadirs={lesion_id: v.value for lesion_id, v in values.items() if v.value is not None},
        start=values,
    )


def judge(
    state: TargetState, targets: Sequence[str], visit: Visit, criterion: Criterion, settings: RespondSettings
) -> Judged:
    """Return the target response of a visit from it and the visits before it."""
    values = target_values(targets, visit, criterion, settings)
    evidence = _evidence(values, visit, state, criterion)
    if state.had_response and settings.partial_response is PartialResponse.SUSTAINED:
        evidence = evidence._replace(is_sustained=True)
    decision = decide_target(evidence, criterion)
    judged = TargetVisit(
        decision=decision,
        burden=None if evidence.missing else evidence.current,
        nadir=state.nadir,
        lesions=_described(values, criterion),
        flags=_flags(values, evidence, decision, visit, (criterion, settings)),
    )
    return Judged(judged, evidence, values)


def accept(state: TargetState, judged: Judged) -> None:
    """Carry a judged visit into the state: its nadir, complete response and category."""
    response, evidence = judged.visit.decision.response, judged.evidence
    if evidence.lesion_growth is not None:
        for lesion_id, value in judged.values.items():
            if value.value is not None and not value.is_merged:
                least = state.lesion_nadirs.get(lesion_id, value.value)
                state.lesion_nadirs[lesion_id] = min(value.value, least)
    if response is Response.PD:
        state.had_response = False
    elif response in (Response.PR, Response.CR):
        state.had_response = True
    if evidence.missing or evidence.current is None:
        return
    state.nadir = min(state.nadir, evidence.current)
    state.was_gone = state.was_gone or evidence.is_gone
    state.previous = response


def target_values(
    targets: Sequence[str], visit: Visit, criterion: Criterion, settings: RespondSettings
) -> dict[str, LesionValue]:
    """Return what each target contributes to the sum of a visit; merged ones count with their parent."""
    if visit.unread:
        unread = LesionValue(None, visit.unread)
        return dict.fromkeys(targets, unread)
    known = visit.values(criterion, settings)
    values = {}
    for lesion_id in targets:
        value = known.get(lesion_id, NO_MEASUREMENT)
        if value.is_merged:
            value = _merged_value(value, visit.measurements[lesion_id], targets)
        values[lesion_id] = value
    return values


def _merged_value(value: LesionValue, measurement: Measurement, targets: Sequence[str]) -> LesionValue:
    """Count a merged target with its parent, which must itself be a target to hold the burden."""
    parent = _PARENT.search(measurement.reason)
    others = [lesion_id for lesion_id in targets if lesion_id != measurement.lesion_id]
    if others and (parent is None or parent.group(1) in others):
        return value
    name = parent.group(1) if parent else "a lesion"
    return LesionValue(None, f"merged into {name}, which is not a target")


def _sum(values: dict[str, LesionValue]) -> float:
    return round(math.fsum([v.value for v in values.values() if v.value is not None]), 6)


def _evidence(
    values: dict[str, LesionValue], visit: Visit, state: TargetState, criterion: Criterion
) -> TargetEvidence:
    missing: tuple[str, ...] = ()
    if visit.unread:
        missing = (visit.unread,)
    elif any(v.value is None for v in values.values()):
        missing = tuple(f"{lesion_id} {v.note}" for lesion_id, v in values.items() if v.value is None)
    whole, viable = 0.0, []
    if state.was_gone:
        for lesion_id, value in values.items():
            m = visit.measurements.get(lesion_id)
            if not value.value or m is None or m.is_node:
                continue
            if is_viable_part(m, criterion):
                viable.append(value.value)
            else:
                whole = max(whole, value.value)
    growth = None
    if criterion.progression_scope is ProgressionScope.ANY_LESION:
        growth = _largest_growth(values, state)
    return TargetEvidence(
        baseline=state.baseline,
        nadir=state.nadir,
        current=_sum(values),
        missing=missing,
        is_gone=not missing and all(v.is_gone for v in values.values()),
        was_gone=state.was_gone,
        reappeared=max(viable, default=0.0),
        reappeared_sum=math.fsum(viable),
        reappeared_whole=whole,
        lesion_growth=growth,
        previous=state.previous,
    )


def _largest_growth(values: dict[str, LesionValue], state: TargetState) -> float:
    growths = [
        (v.value - state.lesion_nadirs[lesion_id]) / state.lesion_nadirs[lesion_id]
        for lesion_id, v in values.items()
        if v.value is not None and state.lesion_nadirs.get(lesion_id)
    ]
    return max(growths, default=0.0)


def _flags(
    values: dict[str, LesionValue],
    evidence: TargetEvidence,
    decision: TargetDecision,
    visit: Visit,
    rules: tuple[Criterion, RespondSettings],
) -> tuple[str, ...]:
    criterion, settings = rules
    flags = [decision.flag] if decision.flag else []
    if decision.flag == "reappeared" and 0.0 < evidence.reappeared_whole < _review_bound(criterion, settings):
        flags.append("reappeared_small")
    if any(v.is_merged for v in values.values()):
        flags.append("merged")
    if evidence.missing and not visit.unread and any(v.note.startswith("not found") for v in values.values()):
        flags.append("not_found")
    if evidence.previous is Response.CR and decision.response is Response.PR:
        flags.append("pr_after_cr")
    if _differs_with_floor(evidence, decision, criterion, settings):
        flags.append("differs_with_5_mm_floor")
    return tuple(flags)


def _review_bound(criterion: Criterion, settings: RespondSettings) -> float:
    return settings.reappearance_review_mm if criterion.is_length else criterion.too_small


def _differs_with_floor(
    evidence: TargetEvidence, decision: TargetDecision, criterion: Criterion, settings: RespondSettings
) -> bool:
    floor = settings.mrecist_variant_pd_abs_mm
    if decision.response is not Response.PD or not (criterion.is_viable and criterion.is_length):
        return False
    if criterion.progression_floor >= floor:
        return False
    variant = decide_target(evidence, _with_floor(criterion, floor))
    return variant.response is not decision.response


@cache
def _with_floor(criterion: Criterion, floor: float) -> Criterion:
    return replace(criterion, progression_floor=floor)


def _described(values: dict[str, LesionValue], criterion: Criterion) -> str:
    unit = criterion.unit
    return ", ".join([describe_value(lesion_id, value, unit) for lesion_id, value in values.items()])
